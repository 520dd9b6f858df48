/* status: GET /api/status (one object; its form is told in api.h) and GET /health. */
#include "api/gen.h"
#include "api/models.h"
#include "api/routes.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "engine/engine.h"
#include <string.h>
#include <unistd.h>

enum route_result status_health_get(struct api *a, struct http_req *r)
{
    static const char ok[] = "{\"status\":\"ok\"}";
    struct reply y = {.status = 200, .type = "application/json", .body = ok, .len = sizeof ok - 1, .fixed = true};
    reply_add(&y, "Cache-Control", "no-store");
    reply_send(a, r, &y);
    return ROUTE_ANSWERED;
}

static void known_or_null(struct jsonw *w, const char *key, double v)
{
    jsonw_key(w, key);
    if (v < 0)
        jsonw_null(w);
    else
        jsonw_double(w, (double)(int64_t)(v * 1e3 + 0.5) / 1e3);
}

static void write_pressure(struct jsonw *w, struct hearth *h)
{
    struct hearth_pressure p;
    hearth_pressure(h, &p);
    jsonw_kint(w, "limit", (int64_t)p.limit);
    jsonw_kstr(w, "pressure", p.level);
    jsonw_kint(w, "machine_left", (int64_t)p.left);
    known_or_null(w, "stalled_some", p.some10);
    known_or_null(w, "stalled_full", p.full10);
    jsonw_kint(w, "models_evicted", (int64_t)p.evicted);
}

static void write_memory(struct jsonw *w, struct hearth *h)
{
    enum { ROWS = 64 };
    struct ledger *l = hearth_ledger(h);
    struct ledger_row rows[ROWS];
    size_t used, n = ledger_list(l, rows, ROWS, &used);
    jsonw_obj(w);
    jsonw_kint(w, "ceiling", (int64_t)ledger_ceiling(l));
    write_pressure(w, h);
    jsonw_kint(w, "used", (int64_t)used);
    jsonw_kint(w, "free", (int64_t)ledger_free_bytes(l));
    jsonw_kint(w, "peak", (int64_t)ledger_peak(l));
    jsonw_kint(w, "rss", (int64_t)cpu_rss());
    jsonw_key(w, "owners");
    jsonw_arr(w);
    for (size_t i = 0; i < n && i < ROWS; i++) {
        jsonw_obj(w);
        jsonw_kstr(w, "path", rows[i].path);
        jsonw_kint(w, "bytes", (int64_t)rows[i].bytes);
        jsonw_end_obj(w);
    }
    jsonw_end_arr(w);
    jsonw_end_obj(w);
}

static void write_model(struct jsonw *w, const struct model_row *m, bool is_default)
{
    jsonw_obj(w);
    jsonw_kstr(w, "name", m->name);
    jsonw_kstr(w, "state", m->state);
    jsonw_kbool(w, "resident", m->resident);
    jsonw_kbool(w, "default", is_default);
    jsonw_kstr(w, "family", m->family);
    jsonw_kstr(w, "quant", m->quant);
    jsonw_kint(w, "bytes", (int64_t)m->bytes);
    jsonw_kint(w, "n_ctx", m->n_ctx);
    jsonw_kint(w, "running", m->running);
    jsonw_kdouble(w, "progress", m->progress);
    jsonw_kbool(w, "waiting", m->waiting);
    jsonw_kdouble(w, "load_s", m->load_s);
    jsonw_kint(w, "users", m->users);
    jsonw_key(w, "keep_alive");
    if (m->resident)
        jsonw_int(w, m->keep == HEARTH_KEEP_NOT ? 0 : m->keep);
    else
        jsonw_null(w);
    jsonw_kdouble(w, "value", m->value);
    jsonw_kint(w, "last_used", m->last_used);
    jsonw_key(w, "chat");
    if (!strcmp(m->state, "ready"))
        jsonw_bool(w, m->chat);
    else
        jsonw_null(w);
    jsonw_kstr(w, "good_for", m->good_for);
    jsonw_end_obj(w);
}

static void write_models(struct api *a, struct jsonw *w, const char *by_default)
{
    struct model_row *rows = NULL;
    size_t n = 0;
    if (models_list(a, &rows, &n))
        w->out->failed = true;
    jsonw_arr(w);
    for (size_t i = 0; rows && i < n; i++)
        write_model(w, &rows[i], !strcmp(rows[i].name, by_default));
    jsonw_end_arr(w);
    mem_free(rows);
}

static const char *phase_name(const struct gen *g)
{
    switch ((enum gen_phase)atomic_load(&g->phase)) {
    case GEN_LOADING:
        return "loading";
    case GEN_STARTING:
        return "prefill";
    default:
        return atomic_load(&g->n_tokens) > 0 ? "decode" : "prefill";
    }
}

static int write_requests(struct api *a, struct jsonw *w)
{
    struct pump *u = &a->pump;
    uint64_t now = clock_ns();
    int loading = 0;
    jsonw_arr(w);
    pthread_mutex_lock(&u->mu);
    for (const struct gen *g = u->all; g; g = g->next) {
        const char *phase = phase_name(g);
        loading += phase[0] == 'l';
        jsonw_obj(w);
        jsonw_kstr(w, "id", g->id);
        jsonw_kstr(w, "model", g->model);
        jsonw_kstr(w, "phase", phase);
        jsonw_kbool(w, "stream", g->p.stream);
        jsonw_kdouble(w, "age_s", (double)((now - g->born_ns) / 1000000) / 1e3);
        jsonw_kint(w, "prompt_tokens", atomic_load(&g->n_prompt_tokens));
        jsonw_kint(w, "output_tokens", atomic_load(&g->n_tokens));
        jsonw_end_obj(w);
    }
    pthread_mutex_unlock(&u->mu);
    jsonw_end_arr(w);
    return loading;
}

static void write_activity(struct api *a, struct jsonw *w)
{
    struct engine_stats s;
    engine_stats(hearth_engine(a->h), &s);
    jsonw_key(w, "requests");
    jsonw_obj(w);
    jsonw_kint(w, "running", s.n_running);
    jsonw_kint(w, "waiting", s.n_waiting);
    jsonw_kint(w, "waiting_tokens", s.waiting_tokens);
    jsonw_key(w, "list");
    int loading = write_requests(a, w);
    jsonw_kint(w, "loading", loading);
    jsonw_end_obj(w);
    jsonw_key(w, "speed");
    jsonw_obj(w);
    known_or_null(w, "tokens_per_s", meter_rate(&a->meter));
    known_or_null(w, "last_tokens_per_s", atomic_load(&a->meter.last_tokens_per_s));
    known_or_null(w, "last_ttft_ms", atomic_load(&a->meter.last_ttft_ms));
    jsonw_end_obj(w);
    jsonw_key(w, "prefix_cache");
    jsonw_obj(w);
    jsonw_kint(w, "blocks", (int64_t)s.prefix_blocks);
    jsonw_kint(w, "bytes", (int64_t)s.prefix_bytes);
    jsonw_kint(w, "lookups", (int64_t)s.prefix_lookups_total);
    jsonw_kint(w, "hits", (int64_t)s.prefix_hits_total);
    jsonw_kint(w, "hit_tokens", (int64_t)s.prefix_hit_tokens_total);
    jsonw_kint(w, "missed_tokens", (int64_t)s.prefix_missed_tokens_total);
    jsonw_end_obj(w);
    jsonw_key(w, "totals");
    jsonw_obj(w);
    jsonw_kint(w, "requests", (int64_t)s.requests_total);
    jsonw_kint(w, "cancelled", (int64_t)s.cancelled_total);
    jsonw_kint(w, "refused", (int64_t)(s.refused_total + atomic_load(&a->meter.refused)));
    jsonw_kint(w, "timed_out", (int64_t)s.timeout_total);
    jsonw_kint(w, "preempted", (int64_t)s.preempted_total);
    jsonw_kint(w, "prompt_tokens", (int64_t)s.tokens_prompt_total);
    jsonw_kint(w, "output_tokens", (int64_t)s.tokens_output_total);
    jsonw_end_obj(w);
}

enum route_result status_get(struct api *a, struct http_req *r)
{
    struct buf b = {0};
    struct jsonw w;
    char by_default[512] = "";
    bool has_default = loader_default(a, by_default, sizeof by_default);
    jsonw_init(&w, &b);
    jsonw_obj(&w);
    jsonw_kstr(&w, "version", HEARTH_VERSION);
    jsonw_kstr(&w, "url", http_url(a->http));
    jsonw_kint(&w, "pid", getpid());
    jsonw_kdouble(&w, "uptime_s", (double)((clock_ns() - a->start_ns) / 1000000) / 1e3);
    jsonw_kstr(&w, "default_model", has_default ? by_default : NULL);
    jsonw_key(&w, "memory");
    write_memory(&w, a->h);
    jsonw_key(&w, "models");
    write_models(a, &w, by_default);
    write_activity(a, &w);
    jsonw_end_obj(&w);
    reply_json(a, r, 200, &b);
    return ROUTE_ANSWERED;
}
