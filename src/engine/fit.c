/* fit: what a model takes, told before it is loaded. The sums are not a model of the load: load.c announces these very numbers, and
 * backend, kv and requests ask the ledger for them. */
#include "engine/state.h"

void fit_load(const struct engine *g, const struct graph *graph, struct engine_fit *f)
{
    size_t n_vocab = (size_t)graph->n_vocab;
    f->n_ctx = graph->n_ctx;
    f->weights = backend_weights_bytes(g->backend, graph);
    f->staging = backend_staging_bytes(g->backend, graph);
    f->scratch = backend_plan_bytes(g->backend, graph, g->max_tok, g->opts.max_batch) + n_vocab * sizeof(float) +
                 choose_scratch_bytes(g, n_vocab) + step_bytes(g);
    f->kv_token =
        kv_alloc_bytes(graph->kv_class[0].block_bytes) / KV_BLOCK; /* beyond its window class 1 does not grow */
}

/* Logits of `parallel` answers in one step, beyond the row that is always there. */
static size_t fit_rows(const struct engine *g, const struct graph *graph, int parallel)
{
    int rows = 1;
    while (rows < parallel)
        rows *= 2; /* step.c grows them so */
    rows = rows < g->opts.max_batch ? rows : g->opts.max_batch;
    return (size_t)(rows - 1) * (size_t)graph->n_vocab * sizeof(float);
}

int engine_fit(struct engine *g, const struct engine_load *a, int ctx, int parallel, struct engine_fit *out,
               struct err *e)
{
    struct engine_model *m;
    int rc = load_begin(g, a, &m, e);
    if (rc < 0)
        return rc;
    struct engine_fit f = {.header = m->file->header_bytes};
    size_t n = parallel > 0 ? (size_t)parallel : 0;
    fit_load(g, m->graph, &f);
    ctx = ctx < f.n_ctx ? ctx : f.n_ctx;
    if (n && ctx > 0) { /* the last token is never run, so it needs no place in the cache */
        f.kv = n * kv_bytes(m->graph, ctx > 1 ? ctx - 1 : 1, g->max_tok);
        f.rows = fit_rows(g, m->graph, parallel);
        f.requests = n * request_array_bytes((size_t)ctx, 0, -1);
    }
    *out = f;
    engine_model_unref(m);
    return 0;
}

int engine_fit_draft(struct engine *g, const struct engine_load *a, const struct engine_load *draft, int ctx,
                     int parallel, struct err *e)
{
    struct engine_model *m, *d;
    int rc = load_begin(g, a, &m, e);
    if (rc < 0)
        return rc;
    if ((rc = load_begin(g, draft, &d, e)) == 0) {
        struct engine_fit f = {.header = d->file->header_bytes};
        size_t n = parallel > 0 ? (size_t)parallel : 0;
        fit_load(g, d->graph, &f);
        ctx = ctx < m->graph->n_ctx ? ctx : m->graph->n_ctx;
        if (n && ctx > 0) /* neither the last guess is run nor the token behind it */
            f.kv = n * kv_bytes(d->graph, ctx > 2 ? ctx - 2 : 1, g->max_tok);
        if ((rc = draft_check(m, d, e)) == 0)
            *draft->fit = f;
        engine_model_unref(d);
    }
    engine_model_unref(m);
    return rc;
}
