/* fit: what a model would take and who would have to go for it. The sums are the engine's and the tokeniser's own; who goes says
 * residency.h, as it does when the load is real. */
#include "base/log.h"
#include "base/mem.h"
#include "session/state.h"
#include <stdio.h>
#include <string.h>

enum { FIT_CTX = 4096 };

static int build_text(void *arg, const struct model_file *f, struct err *e)
{
    struct hearth_model *m = arg;
    int rc = model_text_build(m, f, e);
    model_text_free(m);
    return rc;
}

static size_t idle(const struct hearth_fit *f)
{
    return f->weights + f->scratch + f->header + f->text;
}

static size_t draft_idle(const struct hearth_fit *f)
{
    return f->draft.weights + f->draft.scratch + f->draft.header + f->draft.text;
}

static int read_sizes(struct hearth *h, const struct wanted *w, struct hearth_fit *f, struct err *e)
{
    struct hearth_model *m = mem_calloc(1, sizeof *m); /* on no list: a place for its tokeniser to be built in */
    if (!m)
        return err_set(e, ERR_NOMEM, "no memory to look at %s", w->name);
    m->h = h;
    snprintf(m->name, sizeof m->name, "%s", w->name);
    struct engine_load a = {.path = w->path,
                            .name = w->name,
                            .precise = h->precise,
                            .kv = open_kv_of(h, w->name),
                            .header = build_text,
                            .header_arg = m};
    struct engine_fit s;
    int rc = engine_fit(h->engine, &a, f->ctx ? f->ctx : FIT_CTX, f->parallel, &s, e);
    if (rc == 0) {
        f->weights = s.weights;
        f->scratch = s.scratch;
        f->header = s.header;
        f->load = s.staging;
        f->kv = s.kv;
        f->kv_token = s.kv_token;
        f->rows = s.rows;
        f->requests = s.requests;
        f->n_ctx = s.n_ctx;
        f->text = m->text_bytes;
        f->ctx = f->ctx ? f->ctx : FIT_CTX;
        f->ctx = f->ctx < s.n_ctx ? f->ctx : s.n_ctx;
        f->total = idle(f) + f->kv + f->rows + f->requests;
    }
    mem_free(m);
    return rc;
}

static int read_draft(struct hearth *h, const struct wanted *of, const struct wanted *w, struct hearth_fit *f,
                      struct err *e)
{
    struct hearth_model *m = mem_calloc(1, sizeof *m);
    if (!m)
        return err_set(e, ERR_NOMEM, "no memory to look at %s", w->name);
    m->h = h;
    snprintf(m->name, sizeof m->name, "%s", w->name);
    struct engine_fit s;
    struct engine_load a = {.path = of->path, .name = of->name, .precise = h->precise};
    struct engine_load d = {.path = w->path,
                            .name = w->name,
                            .precise = h->precise,
                            .kv = open_kv_of(h, w->name),
                            .header = build_text,
                            .header_arg = m,
                            .fit = &s};
    int rc = engine_fit_draft(h->engine, &a, &d, f->ctx, f->parallel, e);
    if (rc == 0) {
        f->draft = (struct hearth_fit_draft){.weights = s.weights,
                                             .scratch = s.scratch,
                                             .header = s.header,
                                             .text = m->text_bytes,
                                             .load = s.staging,
                                             .kv = s.kv,
                                             .kv_token = s.kv_token};
        snprintf(f->draft.name, sizeof f->draft.name, "%s", w->name);
        f->total += draft_idle(f) + f->draft.kv;
    }
    mem_free(m);
    return rc;
}

/* As drafts_attach does when the load is real. *w: the draft's, for the caller to free. */
static int find_draft(struct hearth *h, const struct wanted *of, struct wanted *w, struct hearth_fit *f, struct err *e)
{
    const struct hearth_draft *d = drafts_of(h, of->name, of->path);
    if (!d)
        return 0;
    int rc = models_resolve(h, d->draft, w, e);
    if (rc < 0)
        return err_prefix(e, rc, "the draft %s of %s", d->draft, of->name);
    if ((rc = read_draft(h, of, w, f, e)) == ERR_RANGE && !d->model[0]) {
        log_line(LOG_WARNING, "%s", e ? e->msg : "the draft has another vocabulary");
        rc = 0;
    }
    return rc;
}

/* At its height, which is at work or at its load, beyond what is free and what the model holds already. */
static size_t missing(const struct hearth_fit *f, size_t own)
{
    size_t load = f->resident ? 0 : idle(f) + f->load; /* and only then the draft's begins */
    size_t next = f->draft.resident ? 0 : idle(f) + draft_idle(f) + f->draft.load;
    load = load > next ? load : next;
    size_t most = load > f->total ? load : f->total, free = f->ceiling > f->used ? f->ceiling - f->used : 0;
    return most > own + free + f->spare ? most - own - free - f->spare : 0;
}

void hearth_fit_under(struct hearth_fit *f, size_t ceiling)
{
    f->ceiling = ceiling;
    f->need = missing(f, (f->resident ? idle(f) : 0) + (f->draft.resident ? draft_idle(f) : 0));
    f->fits = f->go_bytes >= f->need;
}

/* Under lock. What others hold beside it, who of them may go, and whether that is enough. */
static void find_place(struct hearth *h, const struct wanted *w, const struct wanted *draft, struct hearth_fit *f)
{
    struct residency_row rows[MODELS_MAX];
    struct hearth_model *of[MODELS_MAX];
    size_t n = models_rows(h, w->path, rows, of), own = 0;
    f->ceiling = ledger_ceiling(h->ledger);
    f->used = ledger_used(h->ledger);
    f->spare = engine_spare(h->engine);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(of[i]->path, w->path) == 0) {
            f->resident = true;
            own += rows[i].bytes;
        } else if (f->draft.name[0] && strcmp(of[i]->path, draft->path) == 0) {
            f->draft.resident = rows[i].pinned = true;
            own += rows[i].bytes;
        } else if (rows[i].pinned) {
            f->busy_bytes += rows[i].bytes;
        }
    }
    f->need = missing(f, own);
    f->go_bytes = residency_pick(rows, n, f->need, true);
    f->fits = f->go_bytes >= f->need;
    for (size_t i = 0; i < n; i++)
        if (rows[i].picked && f->n_go++ < HEARTH_FIT_GO)
            snprintf(f->go[f->n_go - 1], sizeof f->go[0], "%s", of[i]->name);
}

int hearth_fit(struct hearth *h, const char *name, int ctx, int parallel, struct hearth_fit *out, struct err *e)
{
    struct wanted w = {0}, draft = {0};
    *out = (struct hearth_fit){.ctx = ctx, .parallel = parallel ? parallel : 1};
    if (ctx < 0 || parallel < 0)
        return err_set(e, ERR_RANGE, "a context of %d tokens for %d requests is no size", ctx, parallel);
    int rc = models_resolve(h, name, &w, e);
    if (rc == 0) {
        snprintf(out->name, sizeof out->name, "%s", w.name);
        rc = read_sizes(h, &w, out, e);
    }
    if (rc == 0)
        rc = find_draft(h, &w, &draft, out, e);
    if (rc == 0) {
        pthread_mutex_lock(&h->lock);
        find_place(h, &w, &draft, out);
        pthread_mutex_unlock(&h->lock);
    }
    mem_free(draft.path);
    mem_free(w.path);
    return rc;
}

struct size {
    const char *key;
    size_t v;
};

static void write_sizes(struct jsonw *w, const struct size *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        jsonw_kint(w, s[i].key, (int64_t)s[i].v);
}

static void write_draft(struct jsonw *w, const struct hearth_fit_draft *d)
{
    const struct size sizes[] = {{"weights", d->weights},  {"scratch", d->scratch}, {"header", d->header},
                                 {"text", d->text},        {"load", d->load},       {"kv", d->kv},
                                 {"kv_token", d->kv_token}};
    if (!d->name[0]) {
        jsonw_null(w);
        return;
    }
    jsonw_obj(w);
    jsonw_kstr(w, "model", d->name);
    write_sizes(w, sizes, sizeof sizes / sizeof *sizes);
    jsonw_kbool(w, "resident", d->resident);
    jsonw_end_obj(w);
}

void hearth_fit_json(const struct hearth_fit *f, struct buf *out)
{
    const struct size sizes[] = {
        {"weights", f->weights},   {"scratch", f->scratch}, {"header", f->header},     {"text", f->text},
        {"load", f->load},         {"kv", f->kv},           {"rows", f->rows},         {"requests", f->requests},
        {"kv_token", f->kv_token}, {"total", f->total},     {"ceiling", f->ceiling},   {"used", f->used},
        {"spare", f->spare},       {"need", f->need},       {"go_bytes", f->go_bytes}, {"busy", f->busy_bytes}};
    struct jsonw w;
    jsonw_init(&w, out);
    jsonw_obj(&w);
    jsonw_kstr(&w, "model", f->name);
    jsonw_kint(&w, "n_ctx", f->n_ctx);
    jsonw_kint(&w, "ctx", f->ctx);
    jsonw_kint(&w, "parallel", f->parallel);
    write_sizes(&w, sizes, sizeof sizes / sizeof *sizes);
    jsonw_key(&w, "draft");
    write_draft(&w, &f->draft);
    jsonw_kbool(&w, "resident", f->resident);
    jsonw_kbool(&w, "fits", f->fits);
    jsonw_key(&w, "go");
    jsonw_arr(&w);
    for (int i = 0; i < f->n_go && i < HEARTH_FIT_GO; i++)
        jsonw_str(&w, f->go[i]);
    jsonw_end_arr(&w);
    jsonw_end_obj(&w);
}
