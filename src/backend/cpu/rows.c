/* rows: operations whose output row depends on the same row of their inputs alone, so chunks of tokens need no barrier. */
#include "backend/cpu/cpu.h"
#include "base/fmath.h"

#include <string.h>

static float *row_at(const struct run *r, int value, int t)
{
    return run_value(r, value) + (size_t)t * (size_t)r->p->graph->value[value].width;
}

static size_t row_width(const struct run *r, const struct micro *m)
{
    return (size_t)r->p->graph->value[m->out].width;
}

static void rows_embed(const struct run *r, const struct micro *m, int t0, int t1)
{
    int i = m->node->w[0];
    const struct graph_weight *w = &r->p->graph->weight[i];
    const struct packed *p = &r->p->weights->packed[i];
    size_t k = (size_t)w->k;
    for (int t = t0; t < t1; t++) {
        size_t row = (size_t)r->in->token[t];
        if (w->use == WEIGHT_LINEAR) {
            r->b->kernels.linear[w->dtype].unpack_row(row_at(r, m->out, t), p->data, row, k);
        } else {
            const struct dtype_info *d = dtype_info(w->dtype);
            d->decode(row_at(r, m->out, t), p->data + row * (k / d->block * d->bytes), k);
        }
    }
}

static void rows_select(const struct run *r, const struct micro *m, int t0, int t1)
{
    for (int t = t0; t < t1; t++)
        memcpy(row_at(r, m->out, t), row_at(r, m->a, r->in->wanted[t]), row_width(r, m) * sizeof(float));
}

static void rows_rmsnorm(const struct run *r, const struct micro *m, int t0, int t1)
{
    size_t n = (size_t)r->p->graph->weight[m->node->w[0]].k, width = row_width(r, m);
    const float *w = (const float *)(const void *)r->p->weights->packed[m->node->w[0]].data;
    for (int t = t0; t < t1; t++)
        for (size_t i = 0; i < width; i += n)
            r->b->kernels.rmsnorm(row_at(r, m->out, t) + i, row_at(r, m->a, t) + i, w, n, m->node->f);
}

/* Cosines and sines of token t's position: [cos d/2, sin d/2] in rows of rope_half. */
static float *rows_cs(const struct run *r, int table, int t)
{
    const struct plan *p = r->p;
    size_t tokens = (size_t)(r->few >= 0 ? p->few.rows : p->max_tok);
    uint8_t *base = r->few >= 0 ? r->own + p->few.rope_off : p->mem + p->rope_off;
    return (float *)(void *)base + ((size_t)table * tokens + (size_t)t) * 2 * (size_t)p->rope_half;
}

static void rows_rope(const struct run *r, const struct micro *m, int t0, int t1)
{
    size_t width = row_width(r, m), d = (size_t)m->node->head_dim;
    for (int t = t0; t < t1; t++) {
        float *x = row_at(r, m->out, t);
        if (x != row_at(r, m->a, t))
            memcpy(x, row_at(r, m->a, t), width * sizeof(float));
        const float *row = rows_cs(r, m->node->rope_table, t);
        for (size_t i = 0; i < width; i += d)
            r->b->kernels.rope(x + i, row, d, m->node->neox);
    }
}

static void rows_add(const struct run *r, const struct micro *m, int t0, int t1)
{
    size_t n = row_width(r, m) * (size_t)(t1 - t0);
    r->b->kernels.add(row_at(r, m->out, t0), row_at(r, m->a, t0), row_at(r, m->b, t0), n);
}

static void rows_scale(const struct run *r, const struct micro *m, int t0, int t1)
{
    size_t n = row_width(r, m) * (size_t)(t1 - t0);
    r->b->kernels.scale(row_at(r, m->out, t0), row_at(r, m->a, t0), m->node->f, n);
}

static void rows_swiglu(const struct run *r, const struct micro *m, int t0, int t1)
{
    size_t n = row_width(r, m) * (size_t)(t1 - t0);
    r->b->kernels.silu_mul(row_at(r, m->out, t0), row_at(r, m->a, t0), row_at(r, m->b, t0), n);
}

static void rows_geglu(const struct run *r, const struct micro *m, int t0, int t1)
{
    size_t n = row_width(r, m) * (size_t)(t1 - t0);
    r->b->kernels.gelu_mul(row_at(r, m->out, t0), row_at(r, m->a, t0), row_at(r, m->b, t0), n);
}

micro_fn rows_op(enum graph_op op)
{
    static const micro_fn table[OP_COUNT] = {
        [OP_EMBED] = rows_embed, [OP_SELECT] = rows_select, [OP_RMSNORM] = rows_rmsnorm, [OP_ROPE] = rows_rope,
        [OP_ADD] = rows_add,     [OP_SCALE] = rows_scale,   [OP_SWIGLU] = rows_swiglu,   [OP_GEGLU] = rows_geglu,
    };
    return table[op];
}

/* Cosines and sines of every token's position, for every RoPE table of the graph: [table][token][cos d/2, sin d/2]. */
void rows_rope_table(const struct run *r, const struct micro *m, int t0, int t1)
{
    (void)m;
    const struct plan *p = r->p;
    for (int table = 0; table < p->graph->n_rope; table++)
        for (int t = t0; t < t1; t++) {
            int half = p->rope_dim[table] / 2;
            float *cs = rows_cs(r, table, t);
            for (int i = 0; i < half; i++) {
                double s, c;
                fm_sincos(r->in->pos[t] * p->rope_freq[table * p->rope_half + i], &s, &c);
                cs[i] = (float)c;
                cs[half + i] = (float)s;
            }
        }
}

/* The second rows of the outliers among the KERNEL_TOK tokens from t0 on. */
static void rows_refine(const struct run *r, const struct act_view *v, const float *x, size_t k, size_t n, size_t t0)
{
    const struct kernels *ker = &r->b->kernels;
    unsigned mask = v->outliers[t0 / KERNEL_TOK];
    size_t outliers = (size_t)__builtin_popcount(mask), i = 0;
    float *rest = (float *)(void *)r->scratch;
    for (size_t t = t0; mask; mask >>= 1, t++) {
        if (!(mask & 1))
            continue;
        ker->act_residual(rest, v->rows, x + t * k, k, n, t);
        ker->act_quantize(v->fine + ker->act_bytes(k, t0, false), NULL, rest, 0, k, outliers, i, i + 1, false);
        i++;
    }
}

void rows_quantise(const struct run *r, const struct micro *m, int t0, int t1)
{
    const struct act *a = &r->p->act[m->act];
    size_t k = (size_t)r->p->graph->value[m->a].width;
    size_t n = (size_t)(m->wanted ? r->in->n_wanted : r->in->n_tok);
    struct act_view v = run_act(r, m->act);
    r->b->kernels.act_quantize(v.rows, v.outliers, run_value(r, m->a), k, k, n, (size_t)t0, (size_t)t1, a->wide);
    for (int t = t0; !a->wide && t < t1; t += KERNEL_TOK)
        if (v.outliers[t / KERNEL_TOK])
            rows_refine(r, &v, run_value(r, m->a), k, n, (size_t)t);
}

/* The first of the tokens after t and before t1 that does not follow on it in its sequence and block. */
static int same_block_end(const struct run *r, int t, int t1)
{
    const struct batch *in = r->in;
    int end = t + 1;
    while (end < t1 && in->seq[end] == in->seq[t] && in->pos[end] == in->pos[t] + (end - t) &&
           in->pos[end] % KERNEL_PAGE)
        end++;
    return end;
}

void rows_kv_store_head(const struct run *r, const struct micro *m, int t0, int t1, int head)
{
    const struct graph_kv_layer *l = &r->p->graph->kv[m->node->layer];
    size_t h = (size_t)head;
    struct store_args a = {.k_off = l->k_off + h * l->head_bytes, .v_off = l->v_off + h * l->head_bytes};
    a.head_dim = (size_t)l->head_dim;
    a.ld = (size_t)r->p->graph->value[m->b].width; /* as wide as the values */
    for (int t = t0, end; t < t1; t = end) {
        size_t pos = (size_t)r->in->pos[t];
        end = same_block_end(r, t, t1);
        a.block = r->in->seqs[r->in->seq[t]].pages[l->cls][pos / KERNEL_PAGE];
        a.k = row_at(r, m->b, t) + h * a.head_dim;
        a.v = row_at(r, m->c, t) + h * a.head_dim;
        a.slot = pos % KERNEL_PAGE;
        a.n = (size_t)(end - t);
        r->b->kernels.attn[l->dtype].store(&a);
    }
}

void rows_kv_store(const struct run *r, const struct micro *m, int t0, int t1)
{
    for (int h = 0; h < r->p->graph->kv[m->node->layer].n_kv_head; h++)
        rows_kv_store_head(r, m, t0, t1, h);
}
