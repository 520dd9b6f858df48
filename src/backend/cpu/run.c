/* run: one step of the engine: the workers walk the plan's steps together, taking pieces of each from a shared counter and going
 * on when all its pieces are done. Only pieces are waited for, never workers: one whose core is busy elsewhere holds up nobody
 * unless it lost the core in the middle of a piece. Which worker computes a piece never shows in the result. */
#include "backend/cpu/cpu.h"
#include "base/mem.h"

#include <string.h>

static uint8_t *run_few(const struct run *r, const struct few_slot *s)
{
    if (s->made == r->few)
        return r->own + s->own.offset;
    return r->p->mem + r->p->few.off + s->shared.offset;
}

float *run_value(const struct run *r, int value)
{
    bool own = r->few >= 0 && r->p->few.value[value].made == r->few;
    if (value == r->p->graph->logits && !own)
        return r->logits;
    if (r->few >= 0)
        return (float *)(void *)run_few(r, &r->p->few.value[value]);
    return (float *)(void *)(r->p->mem + r->p->value[value].offset);
}

struct act_view run_act(const struct run *r, int act)
{
    const struct plan *p = r->p;
    const struct act *a = &p->act[act];
    const struct graph_value *v = &p->graph->value[a->value];
    uint8_t *mem = r->few >= 0 ? run_few(r, &p->few.act[act]) : p->mem + a->slot.offset;
    int rows = r->few >= 0 ? p->few.rows : v->wanted_rows ? p->max_wanted : p->max_tok;
    return plan_act(&r->b->kernels, mem, (size_t)v->width, (size_t)rows, a->wide);
}

/* ---- row operations ---- */

static void run_rows(const struct run *r, int step)
{
    const struct step *s = &r->p->step[step];
    size_t n = (size_t)(s->wanted ? r->in->n_wanted : r->in->n_tok), begin, end, count = 0;
    for (; pool_take(&r->work[step], n, KERNEL_TOK, &begin, &end); count += end - begin)
        for (int i = 0; i < s->n; i++) {
            const struct micro *m = &r->p->micro[s->first + i];
            m->row(r, m, (int)begin, (int)end);
        }
    pool_wait(r->b->pool, &r->work[step], n, count);
}

/* ---- linear layers ---- */

/* How one step's matrices are cut: chunks of row groups, each for tiles of tokens (tiles vary fastest: a chunk of weights is
 * used while it is in the cache). */
struct cut {
    size_t groups, tokens;
};
/* Each call prepares its tokens' activations once for all its groups, so it should have several. */
enum { CUT = 6 };

size_t run_groups(const struct run *r, const struct micro *m)
{
    return ((size_t)r->p->graph->value[m->out].width + KERNEL_MR - 1) / KERNEL_MR;
}

static struct cut run_cut(const struct run *r, const struct step *s, size_t n_tok, int n_threads)
{
    size_t total = 0;
    for (int i = 0; i < s->n; i++)
        total += run_groups(r, &r->p->micro[s->first + i]);
    const struct kernels *k = &r->b->kernels;
    struct cut c = {.tokens = k->linear_tokens};
    size_t tiles = (n_tok + c.tokens - 1) / c.tokens;
    c.groups = total * tiles / ((size_t)n_threads * 4) / CUT * CUT;
    if (n_tok > 16 && c.groups > k->linear_groups)
        c.groups = k->linear_groups;
    if (c.groups < CUT)
        c.groups = CUT;
    return c;
}

static bool run_any(const uint8_t *outliers, size_t t0, size_t t1)
{
    for (size_t t = t0; t < t1; t += KERNEL_TOK)
        if (outliers[t / KERNEL_TOK])
            return true;
    return false;
}

/* Products of the outliers' second rows with groups [g0, g1), added to a's rows. The weights are still in the cache. */
static void run_refine(const struct run *r, const struct act_view *v, const struct linear_args *a,
                       const struct linear_kernel *l)
{
    struct linear_args f = *a;
    size_t row = a->g0 * KERNEL_MR;
    f.w = (const uint8_t *)a->w + a->g0 * l->group_bytes(a->k);
    f.g0 = f.t0 = 0;
    f.g1 = a->g1 - a->g0;
    f.n_rows = f.ldy = a->n_rows - row < f.g1 * KERNEL_MR ? a->n_rows - row : f.g1 * KERNEL_MR;
    f.bias = NULL;
    f.y =
        (float *)(void *)((uint8_t *)a->scratch + cpu_round(r->b->kernels.linear_scratch(a->k, (size_t)r->p->max_tok)));
    for (size_t t = a->t0; t < a->t1; t += KERNEL_TOK) {
        unsigned mask = v->outliers[t / KERNEL_TOK];
        if (!mask)
            continue;
        f.act = v->fine + r->b->kernels.act_bytes(a->k, t, false);
        f.t1 = f.n_tok = (size_t)__builtin_popcount(mask);
        l->mul(&f);
        const float *more = f.y;
        for (size_t i = t; mask; mask >>= 1, i++)
            if (mask & 1) {
                float *y = a->y + i * a->ldy + row;
                r->b->kernels.add(y, y, more, f.n_rows);
                more += f.ldy;
            }
    }
}

size_t run_scratch_bytes(const struct kernels *k, size_t width, size_t max_tok, bool wide)
{
    size_t most = k->linear_scratch(width, max_tok);
    if (wide)
        return most;
    most = cpu_round(most) + KERNEL_TOK * k->linear_groups * KERNEL_MR * sizeof(float);
    return most > width * sizeof(float) ? most : width * sizeof(float); /* rows_refine's */
}

void run_matmul(const struct run *r, const struct micro *m, const struct linear_args *part)
{
    const struct graph *g = r->p->graph;
    const struct graph_node *n = m->node;
    const struct graph_weight *w = &g->weight[n->w[0]];
    struct linear_args a = *part;
    a.w = r->p->weights->packed[n->w[0]].data;
    struct act_view v = {.rows = NULL};
    if (m->act >= 0)
        v = run_act(r, m->act);
    a.act = m->act >= 0 ? (void *)v.rows : run_value(r, m->a);
    a.bias = n->w[1] >= 0 ? (const float *)(const void *)r->p->weights->packed[n->w[1]].data : NULL;
    if (w->factor)
        a.factor = (const float *)(const void *)r->p->weights->packed[w->factor - 1].data;
    a.y = run_value(r, m->out);
    a.scratch = r->scratch;
    a.k = (size_t)w->k;
    a.n_rows = a.ldy = (size_t)w->rows;
    a.wide = n->wide;
    a.ahead = r->b->ahead;
    const struct linear_kernel *l = &r->b->kernels.linear[w->dtype];
    bool refine = v.outliers && run_any(v.outliers, a.t0, a.t1);
    size_t end = a.g1, step = refine ? r->b->kernels.linear_groups : end - a.g0;
    for (; a.g0 < end; a.g0 = a.g1) {
        a.g1 = a.g0 + step < end ? a.g0 + step : end;
        l->mul(&a);
        if (refine)
            run_refine(r, &v, &a, l);
    }
}

static void run_matmuls(const struct run *r, int step, int n_threads)
{
    const struct step *s = &r->p->step[step];
    size_t n_tok = (size_t)(s->wanted ? r->in->n_wanted : r->in->n_tok);
    struct cut cut = run_cut(r, s, n_tok, n_threads);
    size_t tiles = (n_tok + cut.tokens - 1) / cut.tokens, n_item = 0, begin, end, count = 0;
    for (int i = 0; i < s->n; i++)
        n_item += (run_groups(r, &r->p->micro[s->first + i]) + cut.groups - 1) / cut.groups * tiles;
    for (; pool_take(&r->work[step], n_item, 1, &begin, &end); count++) {
        size_t item = begin;
        for (int i = 0; i < s->n; i++) {
            const struct micro *m = &r->p->micro[s->first + i];
            size_t groups = run_groups(r, m), items = (groups + cut.groups - 1) / cut.groups * tiles;
            if (item >= items) {
                item -= items;
                continue;
            }
            struct linear_args part = {
                .g0 = item / tiles * cut.groups, .t0 = item % tiles * cut.tokens, .n_tok = n_tok};
            part.g1 = part.g0 + cut.groups < groups ? part.g0 + cut.groups : groups;
            part.t1 = part.t0 + cut.tokens < n_tok ? part.t0 + cut.tokens : n_tok;
            run_matmul(r, m, &part);
            break;
        }
    }
    pool_wait(r->b->pool, &r->work[step], n_item, count);
}

/* ---- attention ---- */

static void run_attn(const struct run *r, int step, int n_threads)
{
    const struct micro *m = &r->p->micro[r->p->step[step].first];
    struct attend_cut c = attend_cut(r, m, n_threads);
    size_t n = c.pieces, begin, end, count = 0;
    for (; pool_take(&r->work[step], n, 1, &begin, &end); count++)
        attend_piece(r, m, &c, n - 1 - begin, false); /* late positions see most keys: start with them */
    pool_wait(r->b->pool, &r->work[step], n, count);
}

/* Cuts the batch's tokens into tiles of one sequence each, at most CPU_QUERY_ROWS query rows per KV head. */
static int run_items(const struct batch *in, int query_tokens, struct attn_item *items)
{
    int n = 0;
    for (int t = 0; t < in->n_tok;) {
        int len = 1;
        while (len < query_tokens && t + len < in->n_tok && in->seq[t + len] == in->seq[t])
            len++;
        items[n++] = (struct attn_item){t, len};
        t += len;
    }
    return n;
}

/* ---- the walk ---- */

bool run_go_on(const struct run *r, int thread, int at)
{
    if (thread == 0 && at > r->p->at && r->in->poll)
        atomic_store_explicit(r->stop, (int)r->in->poll(r->in->poll_arg), memory_order_relaxed);
    return atomic_load_explicit(r->stop, memory_order_relaxed) == BATCH_GO;
}

static int run_walk(const struct run *r, int thread, int n_threads)
{
    for (int s = r->p->at; s < r->p->n_step; s++) {
        const struct step *step = &r->p->step[s];
        if (step->wanted && !r->in->n_wanted)
            break;
        if (!run_go_on(r, thread, s))
            return s;
        if (step->kind == MICRO_ROW)
            run_rows(r, s);
        else if (step->kind == MICRO_MATMUL)
            run_matmuls(r, s, n_threads);
        else
            run_attn(r, s, n_threads);
    }
    return r->p->n_step;
}

/* Whoever enters a step stays until all its pieces are done: what the farthest one has behind him is complete. */
static void run_worker(void *arg, int thread, int n_threads)
{
    struct run view = *(const struct run *)arg, *r = &view;
    r->scratch = r->p->mem + r->p->scratch_off + (size_t)thread * r->p->scratch_bytes;
    r->own = r->p->mem + r->p->few.own_off + (size_t)thread * r->p->few.own_bytes;
    int at = r->few >= 0 ? few_walk(r, thread, n_threads) : run_walk(r, thread, n_threads), far = atomic_load(r->far);
    while (at > far && !atomic_compare_exchange_weak(r->far, &far, at))
        ;
}

static int run_check(const struct plan *p, const struct batch *in, struct err *e)
{
    if (in->n_tok < 1 || in->n_tok > p->max_tok || in->n_wanted < 0 || in->n_wanted > p->max_wanted)
        return err_set(e, ERR_RANGE, "a step of %d tokens and %d wanted rows; the plan has room for %d and %d",
                       in->n_tok, in->n_wanted, p->max_tok, p->max_wanted);
    for (int t = 0; t < in->n_tok; t++)
        if (in->token[t] < 0 || in->token[t] >= p->graph->n_vocab)
            return err_set(e, ERR_RANGE, "token id %d is outside the vocabulary of %d", in->token[t],
                           p->graph->n_vocab);
    return 0;
}

/* Every tile of query rows must hold all its sequence's tokens: whoever attends stores the keys it needs. */
static bool run_is_few(const struct run *r)
{
    if (r->in->n_tok > r->p->few.rows || r->in->n_wanted > r->p->few.rows)
        return false;
    for (int i = 1; i < r->n_items; i++)
        if (r->in->seq[r->items[i].t0] == r->in->seq[r->items[i - 1].t0])
            return false;
    return true;
}

int backend_run(struct backend *b, struct plan *p, const struct batch *in, float *logits, struct err *e)
{
    int rc = run_check(p, in, e);
    if (rc)
        return rc;
    atomic_int stop = BATCH_GO, far = 0;
    struct run r = {.b = b, .p = p, .in = in, .logits = logits, .work = p->work, .items = p->items, .stop = &stop};
    r.far = &far;
    if (!p->at) { /* what lies ahead of a walk that rested is untouched */
        memset(p->work, 0, (size_t)p->n_step * sizeof *p->work);
        memset(p->mem + p->few.share_off, 0, few_share_bytes(&p->few, (size_t)b->n_threads));
    }
    r.n_items = run_items(in, p->query_tokens, p->items);
    r.few = run_is_few(&r) ? 0 : -1;
    pool_share(b->pool, run_worker, &r);
    p->at = 0;
    if (stop == BATCH_CANCEL)
        return err_set(e, ERR_CANCELLED, "the step was cancelled");
    p->at_end = r.few >= 0 ? p->few.n_step : p->n_step;
    if (far == p->at_end)
        return 0;
    p->at = far;
    return BACKEND_PAUSED;
}

void backend_drop(struct plan *p)
{
    p->at = 0;
}

double backend_done(const struct plan *p)
{
    return p->at ? (double)p->at / p->at_end : 0;
}

/* ---- backend and plans as objects ---- */

int backend_new(struct backend **out, const struct backend_opts *o, struct err *e)
{
    struct backend *b = mem_calloc(1, sizeof *b);
    if (!b)
        return err_set(e, ERR_NOMEM, "out of memory for the backend");
    int rc = pool_new(&b->pool, o->n_threads, e);
    if (rc) {
        mem_free(b);
        return rc;
    }
    b->n_threads = pool_threads(b->pool);
    b->ahead = cpu_stream_ahead();
    kernels_init(&b->kernels, cpu_features() & o->cpu_mask);
    *out = b;
    return 0;
}

void backend_free(struct backend *b)
{
    if (!b)
        return;
    pool_free(b->pool);
    mem_free(b);
}

int backend_threads(const struct backend *b)
{
    return b->n_threads;
}

struct pool *backend_pool(struct backend *b)
{
    return b->pool;
}

const struct kernels *backend_kernels(const struct backend *b)
{
    return &b->kernels;
}

size_t backend_plan_bytes(const struct backend *b, const struct graph *g, int max_tok, int max_wanted)
{
    struct plan p = {.graph = g, .max_tok = max_tok, .max_wanted = max_wanted};
    int rc = plan_compile(&p, &b->kernels, b->n_threads, NULL);
    plan_done(&p);
    return rc ? 0 : p.mem_bytes;
}

int backend_plan(struct backend *b, const struct graph *g, const struct weights *w, int max_tok, int max_wanted,
                 struct ledger_owner *owner, struct plan **out, struct err *e)
{
    if (max_tok < 1 || max_wanted < 1)
        return err_set(e, ERR_RANGE, "a plan for %d tokens and %d wanted rows", max_tok, max_wanted);
    struct plan *p = mem_calloc(1, sizeof *p);
    if (!p)
        return err_set(e, ERR_NOMEM, "out of memory for a plan");
    *p = (struct plan){.graph = g, .weights = w, .max_tok = max_tok, .max_wanted = max_wanted, .owner = owner};
    void *mem = NULL;
    int rc = plan_compile(p, &b->kernels, b->n_threads, e);
    if (!rc)
        rc = ledger_alloc(owner, p->mem_bytes, &mem, e);
    if (rc) {
        p->mem = NULL;
        backend_plan_free(p);
        return rc;
    }
    p->mem = mem;
    memset(p->mem, 0,
           p->mem_bytes); /* touched now: what the ledger calls held is held, and no prompt pays for page faults */
    p->work = (struct pool_work *)(void *)(p->mem + p->work_off);
    p->items = (struct attn_item *)(void *)(p->mem + p->items_off);
    p->part = (float *)(void *)(p->mem + p->part_off);
    p->part_done = (atomic_int *)(void *)(p->part + p->part_floats);
    *out = p;
    return 0;
}

void backend_plan_free(struct plan *p)
{
    if (!p)
        return;
    if (p->mem)
        ledger_dealloc(p->owner, p->mem, p->mem_bytes);
    plan_done(p);
    mem_free(p);
}
