/* bench_run: see bench.h. Drives the backend as the engine would, step by step. The cache of the first `depth` positions is
 * filled with random numbers instead of being computed: attention takes as long, and 8k of depth costs nothing to set up. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cli/bench.h"
#include "cli/cli.h"
#include "kernel/kernel.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

int bench_model_look(struct bench_model *m, const struct bench_open *o, struct err *e)
{
    *m = (struct bench_model){.backend = o->backend, .ledger = o->ledger, .max_batch = o->max_batch};
    int r = file_open(&m->file, o->path, e);
    if (r || (r = model_read(m->file, &m->info, e)) || (r = model_build(m->file, &m->info, o->flags, &m->graph, e))) {
        bench_model_close(m);
        return r;
    }
    m->file_bytes = m->file->data.size;
    return 0;
}

int bench_model_open(struct bench_model *m, const struct bench_open *o, struct err *e)
{
    struct backend *b = o->backend;
    struct ledger *l = o->ledger;
    int max_batch = o->max_batch, r = bench_model_look(m, o, e);
    if (r)
        return r;
    if ((r = ledger_owner_new(l, "bench/weights", &m->own_weights, e)) ||
        (r = ledger_owner_new(l, "bench/staging", &m->own_staging, e)) ||
        (r = ledger_owner_new(l, "bench/plan", &m->own_plan, e)) ||
        (r = ledger_owner_new(l, "bench/kv", &m->own_kv, e)))
        goto fail;
    m->weights_bytes = backend_weights_bytes(b, m->graph);
    struct load_args a = {
        .graph = m->graph, .data = &m->file->data, .weights_owner = m->own_weights, .staging_owner = m->own_staging};
    m->load_s = clock_s();
    if ((r = backend_load(b, &a, &m->weights, e)))
        goto fail;
    m->load_s = clock_s() - m->load_s;
    int max_tok = max_batch > BENCH_CHUNK ? max_batch : BENCH_CHUNK;
    if ((r = backend_plan(b, m->graph, m->weights, max_tok, max_batch, m->own_plan, &m->plan, e)))
        goto fail;
    void *mem;
    m->logits_bytes = (size_t)max_batch * (size_t)m->graph->n_vocab * sizeof(float);
    if ((r = ledger_alloc(m->own_plan, m->logits_bytes, &mem, e)))
        goto fail;
    m->logits = mem;
    return 0;
fail:
    bench_model_close(m);
    return r;
}

void bench_model_close(struct bench_model *m)
{
    if (m->logits)
        ledger_dealloc(m->own_plan, m->logits, m->logits_bytes);
    if (m->plan)
        backend_plan_free(m->plan);
    if (m->weights)
        backend_unload(m->weights);
    ledger_owner_free(m->own_kv);
    ledger_owner_free(m->own_plan);
    ledger_owner_free(m->own_staging);
    ledger_owner_free(m->own_weights);
    graph_free(m->graph);
    file_close(m->file);
    *m = (struct bench_model){0};
}

/* One step: n_tok tokens of each of n_seq sequences from position pos on. */
static void add_step(const struct bench_model *m, struct bench_cost *c, int pos, int n_tok, int n_seq, int wanted)
{
    const struct kernels *k = backend_kernels(m->backend);
    const struct graph *g = m->graph;
    for (int i = 0; i < g->n_node; i++) {
        const struct graph_node *n = &g->node[i];
        if (n->op == OP_LINEAR) {
            const struct graph_weight *w = &g->weight[n->w[0]];
            const struct linear_kernel *l = &k->linear[w->dtype];
            double rows = g->value[n->out].wanted_rows ? wanted : (double)n_tok * n_seq,
                   ops = 2.0 * (double)w->rows * (double)w->k * rows;
            if (rows == 0)
                continue;
            c->bytes += (double)((w->rows + KERNEL_MR - 1) / KERNEL_MR) * (double)l->group_bytes((size_t)w->k);
            *(l->float_act ? &c->f32_ops : &c->int8_ops) += ops;
        } else if (n->op == OP_ATTN) {
            double keys = 0; /* over all queries of one sequence */
            for (int t = 0; t < n_tok; t++)
                keys += n->window && pos + t + 1 > n->window ? n->window : pos + t + 1;
            int read = pos + n_tok; /* keys that the step reads once from memory */
            if (n->window && read > n->window + n_tok)
                read = n->window + n_tok;
            c->f32_ops += 4.0 * n->n_head * n->head_dim * keys * n_seq;
            const struct graph_kv_layer *l = &g->kv[n->layer];
            c->bytes += 2.0 * n->n_kv_head * (double)l->head_bytes / KERNEL_PAGE * read * n_seq; /* K and V */
        }
    }
}

void bench_cost(const struct bench_model *m, const struct bench_test *t, struct bench_cost *out)
{
    *out = (struct bench_cost){0};
    if (t->decode) {
        for (int i = 0; i < t->n; i++)
            add_step(m, out, t->depth + i, 1, t->batch, t->batch);
        return;
    }
    for (int i = 0; i < t->n; i += BENCH_CHUNK) {
        int n = t->n - i < BENCH_CHUNK ? t->n - i : BENCH_CHUNK;
        add_step(m, out, t->depth + i, n, 1, i + n == t->n);
    }
}

const char *bench_bound(const struct bench_cost *c, const struct bench_roof *r, double *seconds)
{
    double mem = c->bytes / r->read_bytes, i8 = c->int8_ops / r->int8_ops, f32 = c->f32_ops / r->f32_ops;
    *seconds = mem > i8 + f32 ? mem : i8 + f32;
    return mem > i8 + f32 ? "bandwidth" : i8 > f32 ? "int8" : "f32";
}

struct cache {
    void *mem;
    size_t bytes, n_pages; /* pages per sequence */
    uint8_t **page;        /* [class][batch][n_pages] */
    struct batch_seq *seq;
};

static void cache_free(struct bench_model *m, struct cache *c)
{
    if (c->mem)
        ledger_dealloc(m->own_kv, c->mem, c->bytes);
    mem_free(c->page);
    mem_free(c->seq);
}

/* Random keys and values, as the layers' types have them, in one block of a class. */
static void cache_fill(const struct bench_model *m, uint8_t *block, int cls)
{
    const struct kernels *k = backend_kernels(m->backend);
    float row[2][512];
    for (int i = 0; i < m->graph->n_kv; i++) {
        const struct graph_kv_layer *l = &m->graph->kv[i];
        for (size_t h = 0; l->cls == cls && h < (size_t)l->n_kv_head; h++)
            for (size_t slot = 0; slot < KERNEL_PAGE; slot++) {
                for (int d = 0; d < 2 * l->head_dim; d++)
                    row[d & 1][d / 2] =
                        (float)rng_uniform((uint64_t)i, h * KERNEL_PAGE + slot, (uint64_t)d) / 4 - 0.125f;
                struct store_args a = {.block = block, .k = row[0], .v = row[1]};
                a.k_off = l->k_off + h * l->head_bytes;
                a.v_off = l->v_off + h * l->head_bytes;
                a.head_dim = (size_t)l->head_dim;
                a.slot = slot;
                a.n = 1;
                k->attn[l->dtype].store(&a);
            }
    }
}

static int cache_new(struct bench_model *m, const struct bench_test *t, struct cache *c, struct err *e)
{
    const struct graph_kv_class *cls = m->graph->kv_class;
    size_t both = cls[0].block_bytes + cls[1].block_bytes, batch = (size_t)t->batch;
    *c = (struct cache){.n_pages = ((size_t)t->depth + (size_t)t->n + KERNEL_PAGE - 1) / KERNEL_PAGE};
    c->bytes = batch * c->n_pages * both;
    c->page = mem_calloc(GRAPH_KV_CLASSES * batch * c->n_pages, sizeof *c->page);
    c->seq = mem_calloc(batch, sizeof *c->seq);
    int r = c->page && c->seq ? ledger_alloc(m->own_kv, c->bytes, &c->mem, e) : err_set(e, ERR_NOMEM, "out of memory");
    if (r) {
        cache_free(m, c);
        return r;
    }
    uint8_t *at = c->mem, **page = c->page;
    for (int k = 0; k < GRAPH_KV_CLASSES; k++) {
        uint8_t *first = at;
        for (size_t s = 0; s < batch; s++) {
            c->seq[s].pages[k] = page;
            for (size_t p = 0; p < c->n_pages; p++, at += cls[k].block_bytes) {
                if (*page++ = at, at == first)
                    cache_fill(m, at, k);
                else
                    memcpy(at, first, cls[k].block_bytes);
            }
        }
    }
    return 0;
}

static enum batch_go go_on(void *arg)
{
    (void)arg;
    return cli_interrupted() ? BATCH_CANCEL : BATCH_GO;
}

enum { TOKENS = 4096 };
struct step_arrays {
    int32_t token[TOKENS], pos[TOKENS], seq[TOKENS], wanted[TOKENS];
};

static int run_step(struct bench_model *m, struct step_arrays *a, const struct cache *c, int n_tok, int n_seq,
                    int n_wanted, struct err *e)
{
    struct batch b = {.token = a->token,
                      .pos = a->pos,
                      .seq = a->seq,
                      .n_tok = n_tok,
                      .seqs = c->seq,
                      .n_seq = n_seq,
                      .wanted = a->wanted,
                      .n_wanted = n_wanted,
                      .poll = go_on};
    return backend_run(m->backend, m->plan, &b, m->logits, e);
}

static int run_once(struct bench_model *m, const struct bench_test *t, struct step_arrays *a, const struct cache *c,
                    uint64_t salt, struct err *e)
{
    int r = 0, vocab = m->graph->n_vocab;
    if (t->decode) {
        for (int i = 0; i < t->n && !r; i++) {
            for (int s = 0; s < t->batch; s++) {
                a->token[s] = (int32_t)(rng_uniform(salt, (uint64_t)s, (uint64_t)i) * vocab);
                a->pos[s] = t->depth + i;
                a->seq[s] = a->wanted[s] = s;
            }
            r = run_step(m, a, c, t->batch, t->batch, t->batch, e);
        }
        return r;
    }
    for (int i = 0; i < t->n && !r; i += BENCH_CHUNK) {
        int n = t->n - i < BENCH_CHUNK ? t->n - i : BENCH_CHUNK;
        for (int j = 0; j < n; j++) {
            a->token[j] = (int32_t)(rng_uniform(salt, 0, (uint64_t)(i + j)) * vocab);
            a->pos[j] = t->depth + i + j;
            a->seq[j] = 0;
        }
        a->wanted[0] = n - 1;
        r = run_step(m, a, c, n, 1, i + n == t->n, e);
    }
    return r;
}

int bench_run(struct bench_model *m, const struct bench_test *t, struct bench_reps reps, double *seconds, struct err *e)
{
    struct cache c;
    if (t->batch > m->max_batch || t->batch > TOKENS)
        return err_set(e, ERR_LIMIT, "%d sequences together, but the plan is for %d; use a larger --batch", t->batch,
                       m->max_batch);
    if (t->depth + t->n > m->graph->n_ctx)
        return err_set(e, ERR_LIMIT, "depth %d plus %d is beyond the model's context of %d; use a smaller --depth",
                       t->depth, t->n, m->graph->n_ctx);
    struct step_arrays *a = mem_calloc(1, sizeof *a);
    if (!a)
        return err_set(e, ERR_NOMEM, "out of memory");
    int r = cache_new(m, t, &c, e);
    if (r) {
        mem_free(a);
        return r;
    }
    for (int i = reps.no_warm_up ? 0 : -1; i < reps.n && !r; i++) { /* -1: the warm-up, not counted */
        double from = clock_s();
        r = run_once(m, t, a, &c, (uint64_t)(i + 2), e);
        if (i >= 0)
            seconds[i] = clock_s() - from;
    }
    cache_free(m, &c);
    mem_free(a);
    return r;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

double bench_deviation(const double *v, int n)
{
    double mean = 0, sq = 0;
    for (int i = 0; i < n; i++)
        mean += v[i] / n;
    for (int i = 0; i < n; i++)
        sq += (v[i] - mean) * (v[i] - mean);
    return n > 1 ? sqrt(sq / (n - 1)) : 0;
}
