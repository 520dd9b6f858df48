/* fit: POST /api/fit: what a model would take in this server's memory, and who would have to go. Nothing is loaded. */
#include "api/loader.h"
#include "api/params.h"
#include "api/routes.h"

static int fit_read(struct api *a, const struct params *q, struct hearth_fit *f, struct problem *p)
{
    enum { MOST_CTX = 1 << 30, MOST_PARALLEL = 4096 };
    char name[512];
    struct err e = {0};
    int ctx = 0, parallel = 0;
    if (!q->model)
        return reply_problem_set(p, 400, "missing_parameter", "model", "model is missing");
    if (params_int(q->root, "ctx", 1, MOST_CTX, &ctx, p) ||
        params_int(q->root, "parallel", 1, MOST_PARALLEL, &parallel, p) ||
        loader_resolve(a, q->model, name, sizeof name, p))
        return -1;
    return hearth_fit(a->h, name, ctx, parallel, f, &e) ? reply_problem_from(p, &e, "model") : 0;
}

enum route_result fit_post(struct api *a, struct http_req *r)
{
    struct params q = {.budget = &a->budget};
    struct problem p;
    struct hearth_fit f;
    size_t n;
    const char *body = http_body(r, &n);
    struct buf b = {0};
    int rc = params_read_body(body, n, &q, &p);
    if (!rc)
        rc = fit_read(a, &q, &f, &p);
    if (rc) {
        reply_problem(a, r, &p);
    } else {
        hearth_fit_json(&f, &b);
        reply_json(a, r, 200, &b);
    }
    params_done(&q);
    return ROUTE_ANSWERED;
}
