/* models: GET /v1/models and /v1/models/{id}: what is resident and what is installed, as OpenAI lists models; POST /api/load and
 * /api/unload. */
#include "api/gen.h"
#include "api/models.h"
#include "api/routes.h"
#include "base/mem.h"
#include <string.h>

static void copy(char *to, const char *from, size_t max)
{
    size_t n = strnlen(from, max - 1);
    memcpy(to, from, n);
    to[n] = 0;
}

static void from_status(struct model_row *row, const struct hearth_model_status *m)
{
    copy(row->name, m->name, sizeof row->name);
    copy(row->family, m->family, sizeof row->family);
    copy(row->quant, m->quant, sizeof row->quant);
    copy(row->state, m->state, sizeof row->state);
    row->resident = true;
    row->bytes = m->bytes;
    row->n_ctx = m->n_ctx;
    row->running = m->running;
    row->load_s = m->load_s;
    row->progress = m->progress;
    row->last_used = m->last_used;
    row->chat = m->chat;
    row->waiting = m->waiting;
    row->users = m->users;
    row->keep = m->keep;
    row->value = m->value;
}

static void from_store(struct model_row *row, const struct store_model *m)
{
    copy(row->good_for, m->good_for, sizeof row->good_for);
    row->added = m->added;
    if (row->resident)
        return;
    copy(row->name, m->name, sizeof row->name);
    copy(row->family, m->family, sizeof row->family);
    copy(row->quant, m->quant, sizeof row->quant);
    copy(row->state, "installed", sizeof row->state);
    row->bytes = m->bytes;
    row->n_ctx = m->n_ctx;
}

int models_list(struct api *a, struct model_row **out, size_t *n)
{
    enum { MAX = 64 };
    struct hearth_model_status live[MAX];
    struct store_model *kept = NULL;
    size_t n_live = hearth_models(a->h, live, MAX), n_kept = 0;
    n_live = n_live < MAX ? n_live : MAX;
    if (store_list(hearth_store(a->h), false, &kept, &n_kept, NULL) != 0)
        n_kept = 0; /* an unreadable index must not hide what runs */
    struct model_row *rows = mem_calloc(n_live + n_kept + 1, sizeof *rows);
    if (!rows) {
        mem_free(kept);
        return ERR_NOMEM;
    }
    *n = 0;
    for (size_t i = 0; i < n_live; i++)
        from_status(&rows[(*n)++], &live[i]);
    for (size_t i = 0; i < n_kept; i++) {
        size_t k = 0;
        while (k < n_live && strcmp(rows[k].name, kept[i].name) != 0)
            k++;
        from_store(k < n_live ? &rows[k] : &rows[(*n)++], &kept[i]);
    }
    mem_free(kept);
    *out = rows;
    return 0;
}

static void write_model(struct jsonw *w, const struct model_row *m, int64_t started)
{
    jsonw_obj(w);
    jsonw_kstr(w, "id", m->name);
    jsonw_kstr(w, "object", "model");
    jsonw_kint(w, "created", m->added ? m->added : started);
    jsonw_kstr(w, "owned_by", "hearth");
    jsonw_kstr(w, "root", m->name);
    jsonw_kstr(w, "parent", NULL);
    jsonw_key(w, "max_model_len");
    if (m->n_ctx)
        jsonw_int(w, m->n_ctx);
    else
        jsonw_null(w);
    jsonw_kstr(w, "state", m->state);
    jsonw_key(w, "status"); /* as llama.cpp's router has it, and how far */
    jsonw_obj(w);
    bool leaving = !strcmp(m->state, "unloading");
    jsonw_kstr(w, "value", !m->resident || leaving ? "unloaded" : !strcmp(m->state, "ready") ? "loaded" : "loading");
    jsonw_kdouble(w, "progress", m->resident && !leaving ? m->progress : 0);
    jsonw_kbool(w, "waits_for_memory", m->waiting);
    jsonw_end_obj(w);
    jsonw_end_obj(w);
}

static enum route_result no_memory(struct api *a, struct http_req *r)
{
    struct buf failed = {.failed = true};
    reply_json(a, r, 200, &failed); /* becomes a 503 */
    return ROUTE_ANSWERED;
}

enum route_result models_get(struct api *a, struct http_req *r)
{
    struct model_row *rows;
    size_t n;
    struct buf b = {0};
    struct jsonw w;
    if (models_list(a, &rows, &n))
        return no_memory(a, r);
    jsonw_init(&w, &b);
    jsonw_obj(&w);
    jsonw_kstr(&w, "object", "list");
    jsonw_key(&w, "data");
    jsonw_arr(&w);
    for (size_t i = 0; i < n; i++)
        write_model(&w, &rows[i], a->start_unix);
    jsonw_end_arr(&w);
    jsonw_end_obj(&w);
    mem_free(rows);
    reply_json(a, r, 200, &b);
    return ROUTE_ANSWERED;
}

enum route_result models_get_one(struct api *a, struct http_req *r)
{
    const char *id = http_path(r) + strlen("/v1/models/");
    struct model_row *rows;
    size_t n, i = 0;
    struct buf b = {0};
    struct jsonw w;
    if (models_list(a, &rows, &n))
        return no_memory(a, r);
    while (i < n && strcmp(rows[i].name, id) != 0)
        i++;
    if (i < n) {
        jsonw_init(&w, &b);
        write_model(&w, &rows[i], a->start_unix);
        reply_json(a, r, 200, &b);
    } else {
        struct problem p;
        reply_problem_set(&p, 404, "model_not_found", "model",
                          "the model \"%.200s\" is not installed: see GET /v1/models, or `hearth pull`", id);
        reply_problem(a, r, &p);
    }
    mem_free(rows);
    return ROUTE_ANSWERED;
}

static void load_start(struct gen *g)
{
    struct jsonw w;
    hearth_model_keep(g->m, g->p.rq.keep_alive);
    jsonw_init(&w, &g->answer);
    jsonw_obj(&w);
    jsonw_kstr(&w, "model", hearth_model_name(g->m));
    jsonw_kstr(&w, "state", "ready");
    jsonw_kbool(&w, "chat", hearth_model_has_template(g->m));
    jsonw_end_obj(&w);
    gen_answer(g);
}

enum route_result models_load_post(struct api *a, struct http_req *r)
{
    return gen_with_model(a, r, load_start);
}

enum route_result models_unload_post(struct api *a, struct http_req *r)
{
    struct params q = {.budget = &a->budget};
    struct problem p;
    struct err e = {0};
    size_t n;
    const char *body = http_body(r, &n);
    struct buf b = {0};
    struct jsonw w;
    int rc = params_read_body(body, n, &q, &p);
    if (!rc && !q.model)
        rc = reply_problem_set(&p, 400, "missing_parameter", "model", "model is missing");
    if (!rc && (rc = hearth_model_unload(a->h, q.model, &e)) != 0) {
        if (e.code == ERR_BUSY)
            reply_problem_set(&p, 409, "model_busy", "model", "%s", e.msg);
        else
            reply_problem_from(&p, &e, "model");
    }
    if (rc) {
        reply_problem(a, r, &p);
    } else {
        jsonw_init(&w, &b);
        jsonw_obj(&w);
        jsonw_kstr(&w, "model", q.model);
        jsonw_kstr(&w, "state", "installed");
        jsonw_end_obj(&w);
        reply_json(a, r, 200, &b);
    }
    params_done(&q);
    return ROUTE_ANSWERED;
}
