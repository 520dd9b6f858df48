/* api: start and stop, and the way of a request through guard and routes to its handler. */
#include "api/api.h"
#include "api/guard.h"
#include "api/loader.h"
#include "api/gen.h"
#include "api/routes.h"
#include "base/clock.h"
#include "base/mem.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

static int on_reserve(void *arg, size_t bytes)
{
    return ledger_reserve(((struct api *)arg)->owner, bytes, NULL);
}

static void on_release(void *arg, size_t bytes)
{
    ledger_release(((struct api *)arg)->owner, bytes);
}

/* JSON, or what curl -d claims by default; a form, a file or plain text is a mistake worth telling. */
static bool takes_type(const char *type)
{
    if (!type || !strncasecmp(type, "application/x-www-form-urlencoded", 33))
        return true;
    size_t n = strcspn(type, "; \t");
    return (n == 16 && !strncasecmp(type, "application/json", n)) || (n > 5 && !strncasecmp(type + n - 5, "+json", 5));
}

static void answer_options(struct api *a, struct http_req *r, const char *allowed)
{
    char methods[80];
    snprintf(methods, sizeof methods, "%s%sOPTIONS", allowed, allowed[0] ? ", " : "");
    struct reply y = {.status = 204, .body = "", .fixed = true};
    reply_add(&y, "Allow", methods);
    if (guard_foreign_origin(a, r)) {
        reply_add(&y, "Access-Control-Allow-Methods", methods);
        reply_add(&y, "Access-Control-Allow-Headers", "Authorization, Content-Type, X-Hearth-Priority");
        reply_add(&y, "Access-Control-Max-Age", "600");
    }
    reply_send(a, r, &y);
}

static int no_route(struct http_req *r, const char *allowed, struct problem *p)
{
    const char *path = http_path(r), *method = http_method(r);
    if (allowed[0])
        return reply_problem_set(p, 405, "method_not_allowed", NULL, "%.20s is not a method of %.100s: use %s", method,
                                 path, allowed);
    return reply_problem_set(p, 404, "not_found", NULL, "there is nothing at %.200s", path);
}

static void refuse_method(struct api *a, struct http_req *r, const struct problem *p, const char *allowed)
{
    struct buf b = {0};
    reply_problem_json(p, &b);
    struct reply y = {.status = p->status, .type = "application/json", .body = b.data, .len = b.len};
    reply_add(&y, "Allow", allowed);
    reply_send(a, r, &y);
    buf_done(&b);
}

static void on_head(void *arg, struct http_req *r)
{
    struct api *a = arg;
    struct problem p;
    char allowed[64];
    const struct route *t = routes_find(http_method(r), http_path(r), allowed, sizeof allowed);
    http_set_user(r, (void *)(uintptr_t)t);
    bool options = !strcmp(http_method(r), "OPTIONS");
    /* an unknown path needs the key, too: nothing is told to those who have none */
    if (guard_check(a, r, !options && (!t || t->needs_key), &p)) {
        reply_problem(a, r, &p);
    } else if (options) {
        answer_options(a, r, allowed);
    } else if (!t) {
        no_route(r, allowed, &p);
        if (allowed[0])
            refuse_method(a, r, &p, allowed);
        else
            reply_problem(a, r, &p);
    } else if (!strcmp(t->method, "POST") && !takes_type(http_header(r, "Content-Type"))) {
        reply_problem_set(&p, 415, "unsupported_media_type", NULL,
                          "the body's type is \"%.100s\", but must be application/json",
                          http_header(r, "Content-Type"));
        reply_problem(a, r, &p);
    } else if (t->queues && guard_full(a, &p)) {
        reply_problem(a, r, &p);
    } else if (t->at_once) {
        t->handler(a, r);
    }
}

static void on_refuse(void *arg, struct http_req *r, int status)
{
    struct api *a = arg;
    struct problem p;
    if (status == 413)
        reply_problem_set(&p, 413, "body_too_large", NULL, "the body is longer than the limit of %zu bytes",
                          a->body_max);
    else if (atomic_load(&a->stopping))
        reply_problem_set(&p, 503, "stopping", NULL, "Hearth is stopping");
    else
        reply_problem_set(&p, 503, "insufficient_memory", NULL, "no memory left for the body");
    reply_problem(a, r, &p);
}

static void on_handle(void *arg, struct http_req *r)
{
    const struct route *t = http_user(r);
    if (t->handler(arg, r) == ROUTE_ANSWERED)
        http_release(r);
}

static void on_done(void *arg, struct http_req *r)
{
    struct api *a = arg;
    const struct route *t = http_user(r);
    if (!t)
        return;
    int status = http_status(r);
    atomic_fetch_add(&a->meter.status[routes_index(t)][status >= 100 && status < 600 ? status / 100 : 0], 1);
    meter_observe(&a->meter.latency[routes_index(t)], http_age_s(r));
}

static void api_free(struct api *a)
{
    for (size_t i = 0; a->origins && i < a->n_origins; i++)
        mem_free(a->origins[i]);
    for (size_t i = 0; a->models && i < a->n_models; i++)
        mem_free(a->models[i].given);
    mem_free(a->origins);
    mem_free(a->models);
    mem_free(a->host);
    mem_free(a->key);
    ledger_owner_free(a->owner);
    pthread_mutex_destroy(&a->preset_mu);
    mem_free(a);
}

static int copy_opts(struct api *a, const struct api_opts *o, struct err *e)
{
    bool ok = (!o->host || (a->host = mem_strdup(o->host))) && (!o->api_key || (a->key = mem_strdup(o->api_key)));
    a->origins = mem_calloc(o->n_allow_origins + 1, sizeof *a->origins);
    a->models = mem_calloc(o->n_models + 1, sizeof *a->models);
    for (; ok && a->origins && a->n_origins < o->n_allow_origins; a->n_origins++)
        ok = (a->origins[a->n_origins] = mem_strdup(o->allow_origins[a->n_origins])) != NULL;
    for (; ok && a->models && a->n_models < o->n_models; a->n_models++)
        ok = (a->models[a->n_models].given = mem_strdup(o->models[a->n_models])) != NULL;
    a->body_max = o->body_max ? o->body_max : (size_t)32 << 20;
    return ok && a->origins && a->models ? 0 : err_set(e, ERR_NOMEM, "no memory to start the server");
}

static int listen_now(struct api *a, const struct api_opts *o, struct err *e)
{
    struct http_opts h = {
        .host = o->host,
        .port = o->port,
        .max_connections = o->max_connections,
        .stall_ms = o->stall_s * 1000,
        .body_max = a->body_max,
        .reserve = on_reserve,
        .release = on_release,
        .head = on_head,
        .refuse = on_refuse,
        .handle = on_handle,
        .done = on_done,
        .arg = a,
    };
    return http_start(&a->http, &h, e);
}

int api_check(const struct api_opts *o, struct err *e)
{
    if (!guard_is_loopback(o->host) && !(o->api_key && o->api_key[0]))
        return err_set(e, ERR_DENIED,
                       "the host %s is reachable from other machines: set a key with --api-key, or stay on 127.0.0.1",
                       o->host);
    if (o->api_key && !o->api_key[0])
        return err_set(e, ERR_USAGE, "the API key is empty");
    return 0;
}

int api_start(struct api **out, struct hearth *h, const struct api_opts *o, struct err *e)
{
    int rc = api_check(o, e);
    if (rc)
        return rc;
    struct api *a = mem_calloc(1, sizeof *a);
    if (!a)
        return err_set(e, ERR_NOMEM, "no memory to start the server");
    a->h = h;
    a->start_ns = clock_ns();
    a->start_unix = clock_unix();
    meter_init(&a->meter);
    loader_init(&a->loader);
    pthread_mutex_init(&a->preset_mu, NULL);
    rc = copy_opts(a, o, e);
    if (!rc)
        rc = ledger_owner_new(hearth_ledger(h), "http", &a->owner, e);
    if (rc) {
        loader_done(&a->loader);
        api_free(a);
        return rc;
    }
    loader_name_presets(a);
    a->budget = (struct json_budget){on_reserve, on_release, a};
    rc = pump_start(a, e);
    if (!rc)
        rc = listen_now(a, o, e);
    if (rc) {
        pump_stop(a);
        loader_done(&a->loader);
        api_free(a);
        return rc;
    }
    loader_preload(a);
    *out = a;
    return 0;
}

const char *api_url(const struct api *a)
{
    return http_url(a->http);
}

void api_stop(struct api *a, int drain_ms)
{
    if (!a)
        return;
    atomic_store(&a->stopping, true); /* nothing new begins, loads are given up */
    http_stop(a->http, drain_ms);
    pump_stop(a);
    loader_done(&a->loader);
    http_free(a->http);
    api_free(a);
}
