/* attend: how one attention step is cut into pieces. An item (query tokens of one sequence) and a KV head make one piece; when there
 * are few of them and their contexts are long, each is cut further, by segments, so that threads share one sequence and nobody
 * waits for a slow core. Such pieces leave their segments apart in the plan's memory, and whoever finishes an item's last
 * piece merges them in order: the kernel's definition has the segments apart anyway, so no bit depends on the cut.
 * The last piece of an item has every segment that its own tokens' keys go to: where they are stored by whoever attends, he is the
 * only one to look at them. */
#include "backend/cpu/cpu.h"

#include <string.h>

/* Query rows of an item for one KV head, as the kernel wants them; lists and positions at the front of the scratch. */
static void attend_args(const struct run *r, const struct micro *m, const struct attn_item *it, int head,
                        uint8_t *scratch, struct attn_args *a)
{
    const struct graph_node *n = m->node;
    const struct graph_kv_layer *l = &r->p->graph->kv[n->layer];
    size_t d = (size_t)n->head_dim, row = (size_t)n->n_head * d;
    int group = n->n_head / n->n_kv_head, n_q = 0;
    const float **q = (const float **)(void *)scratch;
    float **out = (float **)(void *)(scratch + CPU_QUERY_ROWS * sizeof(void *));
    int32_t *pos = (int32_t *)(void *)(scratch + CPU_QUERY_ROWS * 2 * sizeof(void *));
    for (int t = it->t0; t < it->t0 + it->n; t++)
        for (int h = 0; h < group; h++, n_q++) {
            size_t at = (size_t)t * row + (size_t)(head * group + h) * d;
            q[n_q] = run_value(r, m->a) + at;
            out[n_q] = run_value(r, m->out) + at;
            pos[n_q] = r->in->pos[t];
        }
    *a = (struct attn_args){.q = q, .out = out, .pos = pos, .n_q = (size_t)n_q, .head_dim = d, .window = n->window};
    a->pages = (const uint8_t *const *)r->in->seqs[r->in->seq[it->t0]].pages[l->cls];
    a->k_off = l->k_off + (size_t)head * l->head_bytes;
    a->v_off = l->v_off + (size_t)head * l->head_bytes;
    a->scratch = scratch + CPU_QUERY_ROWS * 32;
}

/* Segments [first, end) that an item's rows see; from `own` on they may hold its own keys. */
struct span {
    size_t first, own, end;
};

static struct span attend_span(const struct run *r, const struct attn_item *it, int window)
{
    int32_t from = r->in->pos[it->t0], to = r->in->pos[it->t0 + it->n - 1];
    size_t seen = window > 0 && from >= window ? (size_t)(from - window + 1) : 0;
    return (struct span){seen / KERNEL_SEGMENT, (size_t)from / KERNEL_SEGMENT, (size_t)to / KERNEL_SEGMENT + 1};
}

static size_t attend_pieces(const struct span *s, size_t chunk)
{
    return (s->own - s->first + chunk - 1) / chunk + 1;
}

/* Floats of an item's segments, one KV head. */
static size_t attend_part(const struct micro *m, const struct attn_item *it, const struct span *s)
{
    const struct graph_node *n = m->node;
    return (size_t)(it->n * (n->n_head / n->n_kv_head)) * (s->end - s->first) * kernel_part((size_t)n->head_dim);
}

struct attend_cut attend_cut(const struct run *r, const struct micro *m, int n_threads)
{
    size_t heads = (size_t)m->node->n_kv_head, units = (size_t)r->n_items * heads, total = 0, part = 0;
    struct attend_cut c = {.pieces = units};
    if (n_threads < 2 || units > r->p->part_units)
        return c;
    for (int i = 0; i < r->n_items; i++) {
        struct span s = attend_span(r, &r->items[i], m->node->window);
        total += heads * (s.end - s.first);
        part += heads * attend_part(m, &r->items[i], &s);
    }
    if (part > r->p->part_floats || total == units)
        return c;
    enum { PIECES = 8 }; /* per thread */
    c.chunk = (total + (size_t)n_threads * PIECES - 1) / ((size_t)n_threads * PIECES);
    c.pieces = 0;
    for (int i = 0; i < r->n_items; i++) {
        struct span s = attend_span(r, &r->items[i], m->node->window);
        c.pieces += heads * attend_pieces(&s, c.chunk);
    }
    return c;
}

static void attend_whole(const struct run *r, const struct micro *m, size_t unit, bool store)
{
    size_t heads = (size_t)m->node->n_kv_head;
    const struct attn_item *it = &r->items[unit / heads];
    struct attn_args a;
    if (store)
        rows_kv_store_head(r, m, it->t0, it->t0 + it->n, (int)(unit % heads));
    attend_args(r, m, it, (int)(unit % heads), r->scratch, &a);
    r->b->kernels.attn[r->p->graph->kv[m->node->layer].dtype].attn(&a);
}

void attend_piece(const struct run *r, const struct micro *m, const struct attend_cut *c, size_t piece, bool store)
{
    if (!c->chunk) {
        attend_whole(r, m, piece, store);
        return;
    }
    size_t heads = (size_t)m->node->n_kv_head, unit = 0, n = 0, at = 0;
    const struct attn_item *it = r->items;
    struct span s;
    for (;; it++) { /* few items: whose piece is it */
        s = attend_span(r, it, m->node->window);
        n = attend_pieces(&s, c->chunk);
        if (piece < heads * n)
            break;
        piece -= heads * n;
        unit += heads;
        at += heads * attend_part(m, it, &s);
    }
    size_t head = piece % heads,
           k = piece / heads; /* k: which of the item's pieces, the last (it has most to do) first */
    struct attn_args a;
    if (store && k == 0)
        rows_kv_store_head(r, m, it->t0, it->t0 + it->n, (int)head);
    attend_args(r, m, it, (int)head, r->scratch, &a);
    a.part = r->p->part + at + head * attend_part(m, it, &s);
    a.part_first = s.first;
    a.part_n = s.end - s.first;
    a.seg0 = k ? s.first + (k - 1) * c->chunk : s.own;
    a.seg1 = !k ? s.end : a.seg0 + c->chunk < s.own ? a.seg0 + c->chunk : s.own;
    r->b->kernels.attn[r->p->graph->kv[m->node->layer].dtype].attn(&a);
    atomic_int *done = &r->p->part_done[unit + head];
    if (atomic_fetch_add_explicit(done, 1, memory_order_acq_rel) + 1 < (int)n)
        return;
    atomic_store_explicit(done, 0, memory_order_relaxed); /* the next step is behind a wait */
    r->b->kernels.attn_merge(&a);
}

void attend_plan(struct plan *p, int n_threads)
{
    enum { UNITS = 8, TOKENS = 4, MOST = 8 << 20 };
    const struct graph *g = p->graph;
    size_t segments = (size_t)g->n_ctx / KERNEL_SEGMENT + 2, most = 0;
    for (int i = 0; i < g->n_node; i++) {
        const struct graph_node *n = &g->node[i];
        size_t one = n->op == OP_ATTN ? (size_t)n->n_head * segments * kernel_part((size_t)n->head_dim) : 0;
        size_t some = one * TOKENS * sizeof(float) < MOST ? one * TOKENS : one; /* a long context for one token */
        most = some > most ? some : most;
    }
    p->part_floats = n_threads > 1 ? most : 0;
    p->part_units = n_threads > 1 ? UNITS * (size_t)n_threads : 0;
}
