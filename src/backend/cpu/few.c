/* few: the walk for at most CPU_FEW tokens, where waiting costs more than computing. Row operations (norm, quantise, rope, ...) of so
 * few rows take a microsecond, and two waits around them as long again; so every worker repeats them, in its own area, when it
 * has taken its first piece of the matrices (or heads) that need them. A layer then has five waits instead of ten. The same
 * functions run on the same numbers, so the bits are those of the other walk.
 *
 * A worker that comes late, or was away, never repeats what lies behind: it computes a chain only while it holds a piece of that
 * step, and as long as it does, nobody goes on and what the chain reads stays. That is why whatever later steps read is copied
 * to the shared area, by the worker that holds the first piece.
 *
 * Every worker has a share of a matrix, and takes it in pieces from front to back: a stream of memory is read at full speed only
 * some 64 KiB behind its beginning, so it shall have one beginning. Who is through with his share helps the others with
 * theirs, from the back, and the last pieces, for which all wait, are small. Heads of one page of the cache lie side by side, too. */
#include "backend/cpu/cpu.h"
#include "base/mem.h"

#include <string.h>

/* ---- compiling: after the plan's own steps are known ---- */

static void few_touch(struct slot *s, int step)
{
    if (s->first < 0)
        s->first = step;
    s->last = step;
}

/* A use, or the making, of a value or activation in few step f. */
static void few_use(struct few_slot *s, int f, bool made_by_chain)
{
    if (made_by_chain)
        s->made = f;
    if (s->made == f)
        few_touch(&s->own, f);
    if (s->made < f) {
        few_touch(&s->shared, f);
        if (s->made >= 0)
            s->shared.first = s->made; /* published there */
    }
}

static void few_use_micro(struct few *few, const struct micro *m, int f, bool chain)
{
    const int in[3] = {m->a, m->b, m->c};
    for (int i = 0; i < 3; i++)
        if (in[i] >= 0)
            few_use(&few->value[in[i]], f, false);
    if (m->out >= 0)
        few_use(&few->value[m->out], f, chain);
    if (m->act >= 0)
        few_use(&few->act[m->act], f, m->kind == MICRO_ROW);
}

/* Whether anything but micro `but` reads the value. */
static bool few_read_elsewhere(const struct plan *p, int value, int but)
{
    for (int i = 0; i < p->n_micro; i++)
        if (i != but && (p->micro[i].a == value || p->micro[i].b == value || p->micro[i].c == value))
            return true;
    return value == p->graph->logits;
}

/* The gating that begins the next chain can be done by whoever computes both of its inputs' rows. */
static int few_glu(const struct plan *p, const struct step *s, int next)
{
    if (s->kind != MICRO_MATMUL || s->n != 2 || next >= p->n_micro)
        return -1;
    const struct micro *g = &p->micro[s->first], *u = g + 1, *m = &p->micro[next];
    bool gate = m->kind == MICRO_ROW && m->node && (m->node->op == OP_SWIGLU || m->node->op == OP_GEGLU);
    if (!gate || m->a != g->out || m->b != u->out || few_read_elsewhere(p, g->out, next) ||
        few_read_elsewhere(p, u->out, next))
        return -1;
    return next;
}

static void few_steps(struct plan *p, struct few *few)
{
    struct few_step open = {.step = -1, .glu = -1};
    for (int i = 0; i < p->n_step; i++) {
        const struct step *s = &p->step[i];
        if (s->kind == MICRO_ROW) {
            open.n += s->first + s->n - (open.first + open.n);
            open.wanted = s->wanted;
            if (i + 1 < p->n_step)
                continue;
        } else {
            open.step = i;
            open.wanted = s->wanted;
            open.glu = few_glu(p, s, s->first + s->n);
        }
        few->step[few->n_step++] = open;
        int next = open.glu >= 0 ? open.glu + 1 : s->first + s->n;
        open = (struct few_step){.first = next, .step = -1, .glu = -1};
    }
}

static void few_lifetimes(const struct plan *p, struct few *few)
{
    for (int f = 0; f < few->n_step; f++) {
        const struct few_step *s = &few->step[f];
        for (int i = 0; i < s->n; i++)
            few_use_micro(few, &p->micro[s->first + i], f, true);
        for (int i = 0; s->step >= 0 && i < p->step[s->step].n; i++)
            few_use_micro(few, &p->micro[p->step[s->step].first + i], f, false);
        if (s->glu >= 0)
            few_use_micro(few, &p->micro[s->glu], f, false);
    }
    few_use(&few->value[p->graph->logits], few->n_step, false); /* the caller reads them */
    few->value[p->graph->logits].shared.first = -1;             /* where they lie is his business */
}

static void few_sizes(const struct plan *p, struct few *few, const struct kernels *k)
{
    size_t rows = (size_t)few->rows;
    for (int i = 0; i < p->graph->n_value; i++) {
        struct few_slot *s = &few->value[i];
        s->shared.bytes = s->own.bytes = cpu_round(rows * (size_t)p->graph->value[i].width * sizeof(float));
    }
    for (int i = 0; i < p->n_act; i++) {
        size_t width = (size_t)p->graph->value[p->act[i].value].width;
        struct few_slot *s = &few->act[i];
        s->shared.bytes = s->own.bytes = plan_act_bytes(k, width, rows, p->act[i].wide);
    }
}

static int few_place(const struct plan *p, struct few *few)
{
    int n = p->graph->n_value + p->n_act;
    struct slot **slots = mem_calloc(3 * (size_t)n, sizeof(struct slot *));
    if (!slots)
        return ERR_NOMEM;
    for (int i = 0; i < n; i++) {
        struct few_slot *s = i < p->graph->n_value ? &few->value[i] : &few->act[i - p->graph->n_value];
        slots[i] = &s->shared;
        slots[n + i] = &s->own;
    }
    few->bytes = (plan_place(slots, n, few->n_step, slots + 2 * n) + 4095) & ~(size_t)4095;
    few->rope_off = plan_place(slots + n, n, few->n_step, slots + 2 * n);
    few->own_bytes = few->rope_off + 2 * sizeof(float) * (size_t)(p->graph->n_rope * few->rows * p->rope_half);
    few->own_bytes = (few->own_bytes + 4095) & ~(size_t)4095;
    mem_free(slots);
    return 0;
}

int few_compile(struct plan *p, const struct kernels *k)
{
    struct few *few = &p->few;
    size_t n = (size_t)(p->graph->n_value + p->n_act);
    few->rows = p->max_tok < CPU_FEW ? p->max_tok : CPU_FEW;
    few->step = mem_calloc((size_t)p->n_step + 1, sizeof *few->step);
    few->value = mem_calloc(n, sizeof *few->value);
    if (!few->step || !few->value)
        return ERR_NOMEM;
    few->act = few->value + p->graph->n_value;
    for (size_t i = 0; i < n; i++)
        few->value[i] = (struct few_slot){.shared = {.first = -1}, .own = {.first = -1}, .made = -1};
    few_steps(p, few);
    few_lifetimes(p, few);
    few_sizes(p, few, k);
    return few_place(p, few);
}

void few_done(struct few *f)
{
    mem_free(f->step);
    mem_free(f->value);
}

/* ---- walking ---- */

/* Units [begin, end) of a step, `most` or fewer. */
struct few_piece {
    size_t begin, end, most;
};

/* Of each thread's share of a step's units: how many were taken from its front, and from its back. */
enum { FEW_BITS = 32, FEW_LINE = 64 / sizeof(atomic_ullong) };
static const unsigned long long FEW_FRONT = (1ull << FEW_BITS) - 1;

static size_t few_line(size_t threads)
{
    return (threads + FEW_LINE - 1) / FEW_LINE * FEW_LINE;
}

size_t few_share_bytes(const struct few *f, size_t threads)
{
    return (size_t)f->n_step * few_line(threads) * sizeof(atomic_ullong);
}

static atomic_ullong *few_shares(const struct plan *p, size_t threads, int step)
{
    return (atomic_ullong *)(void *)(p->mem + p->few.share_off) + (size_t)step * few_line(threads);
}

static void few_publish(const struct run *r, const struct few_step *s)
{
    struct plan *p = r->p;
    struct run shared = *r;
    shared.few = p->few.n_step; /* as a later step sees it */
    for (int i = 0; i < s->n; i++) {
        const struct micro *m = &p->micro[s->first + i];
        size_t n = (size_t)(m->wanted ? r->in->n_wanted : r->in->n_tok);
        if (m->out >= 0 && (p->few.value[m->out].shared.first == r->few || m->out == p->graph->logits))
            memcpy(run_value(&shared, m->out), run_value(r, m->out),
                   n * (size_t)p->graph->value[m->out].width * sizeof(float));
        if (m->act >= 0 && p->few.act[m->act].shared.first == r->few)
            memcpy(run_act(&shared, m->act).rows, run_act(r, m->act).rows, p->few.act[m->act].own.bytes);
    }
}

/* The row operations before a step. RoPE's table is there already; keys and values are stored by whoever attends with them. */
static void few_chain(const struct run *r, const struct few_step *s)
{
    for (int i = 0; i < s->n; i++) {
        const struct micro *m = &r->p->micro[s->first + i];
        if (m->row != rows_rope_table && m->row != rows_kv_store)
            m->row(r, m, 0, m->wanted ? r->in->n_wanted : r->in->n_tok);
    }
}

/* Takes at most p->most of thread `of`'s share of n units: of what is left, three quarters from the front for its owner, half from
 * the back for others. More at once is hardly faster, and a thread whose core is shared would hold up the others. */
static bool few_take(atomic_ullong *shares, size_t n, size_t threads, size_t of, bool owner, struct few_piece *p)
{
    size_t from = n * of / threads, size = n * (of + 1) / threads - from;
    unsigned long long taken = atomic_load_explicit(&shares[of], memory_order_relaxed), next;
    do {
        size_t front = (size_t)(taken & FEW_FRONT), back = (size_t)(taken >> FEW_BITS), left = size - front - back;
        if (left == 0)
            return false;
        size_t some = owner ? (3 * left + 3) / 4 : (left + 1) / 2;
        some = some < p->most ? some : p->most;
        p->begin = from + (owner ? front : size - back - some);
        p->end = p->begin + some;
        next = taken + (owner ? some : (unsigned long long)some << FEW_BITS);
    } while (
        !atomic_compare_exchange_weak_explicit(&shares[of], &taken, next, memory_order_relaxed, memory_order_relaxed));
    return true;
}

/* The next piece for `thread`: of its own share, then of others'. */
static bool few_next(const struct run *r, size_t n, size_t thread, size_t threads, struct few_piece *p)
{
    atomic_ullong *shares = few_shares(r->p, threads, r->few);
    for (size_t i = 0; i < threads; i++)
        if (few_take(shares, n, threads, (thread + i) % threads, i == 0, p))
            return true;
    return false;
}

static void few_gate(const struct run *r, const struct micro *m, size_t r0, size_t r1, int n_tok)
{
    size_t width = (size_t)r->p->graph->value[m->out].width;
    const struct kernels *k = &r->b->kernels;
    r1 = r1 < width ? r1 : width;
    for (size_t at = r0; n_tok--; at += width)
        (m->node->op == OP_SWIGLU ? k->silu_mul : k->gelu_mul)(run_value(r, m->out) + at, run_value(r, m->a) + at,
                                                               run_value(r, m->b) + at, r1 - r0);
}

/* Groups [begin, end) of the step's matrices as if they were one. */
static void few_rows(const struct run *r, const struct step *s, size_t begin, size_t end)
{
    struct linear_args part = {.n_tok = (size_t)(s->wanted ? r->in->n_wanted : r->in->n_tok)};
    part.t1 = part.n_tok;
    for (int i = 0; i < s->n && begin < end; i++) {
        const struct micro *m = &r->p->micro[s->first + i];
        size_t n = (size_t)run_groups(r, m);
        if (begin < n) {
            part.g0 = begin;
            part.g1 = end < n ? end : n;
            run_matmul(r, m, &part);
        }
        begin = begin < n ? 0 : begin - n;
        end = end < n ? 0 : end - n;
    }
}

/* Gate and up of the same rows, then the gating: it finds both in the cache. */
static void few_glu_rows(const struct run *r, const struct few_step *f, size_t begin, size_t end)
{
    const struct step *s = &r->p->step[f->step];
    struct linear_args part = {.n_tok = (size_t)(s->wanted ? r->in->n_wanted : r->in->n_tok), .g0 = begin, .g1 = end};
    part.t1 = part.n_tok;
    run_matmul(r, &r->p->micro[s->first], &part);
    run_matmul(r, &r->p->micro[s->first + 1], &part);
    few_gate(r, &r->p->micro[f->glu], begin * KERNEL_MR, end * KERNEL_MR, (int)part.n_tok);
}

/* What a few step's pieces are cut from: row groups, or the chain alone. */
static size_t few_units(const struct run *r, const struct few_step *f)
{
    if (f->step < 0)
        return 1;
    const struct step *s = &r->p->step[f->step];
    size_t n = 0;
    for (int i = 0; i < (f->glu >= 0 ? 1 : s->n); i++)
        n += (size_t)run_groups(r, &r->p->micro[s->first + i]);
    return n;
}

static void few_do(const struct run *r, const struct few_step *f, size_t begin, size_t end)
{
    if (f->step < 0)
        return;
    const struct step *s = &r->p->step[f->step];
    if (f->glu >= 0)
        few_glu_rows(r, f, begin, end);
    else
        few_rows(r, s, begin, end);
}

/* The attention of a step, NULL if it is another. */
static const struct micro *few_attn(const struct plan *p, const struct few_step *f)
{
    const struct step *s = f->step >= 0 ? &p->step[f->step] : NULL;
    return s && s->kind == MICRO_ATTN ? &p->micro[s->first] : NULL;
}

int few_walk(struct run *r, int thread, int n_threads)
{
    const struct few *few = &r->p->few;
    size_t threads = (size_t)n_threads;
    rows_rope_table(r, NULL, 0, r->in->n_tok);
    for (r->few = r->p->at; r->few < few->n_step; r->few++) {
        const struct few_step *f = &few->step[r->few];
        if (f->wanted && !r->in->n_wanted)
            break;
        if (!run_go_on(r, thread, r->few))
            return r->few;
        const struct micro *attn = few_attn(r->p, f);
        struct attend_cut cut = {.pieces = 0};
        if (attn)
            cut = attend_cut(r, attn, n_threads);
        size_t units = attn ? cut.pieces : few_units(r, f), count = 0;
        struct few_piece p = {.most = attn ? 1 : units};
        for (; few_next(r, units, (size_t)thread, threads, &p); count += p.end - p.begin) {
            if (!count)
                few_chain(r, f);
            if (p.begin == 0)
                few_publish(r, f);
            if (attn)
                attend_piece(r, attn, &cut, p.begin, true);
            else
                few_do(r, f, p.begin, p.end);
        }
        pool_wait(r->b->pool, &r->work[r->few], units, count);
    }
    return few->n_step;
}
