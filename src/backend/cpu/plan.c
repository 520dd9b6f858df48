/* plan: a graph becomes steps. Each node is turned into micro-operations; neighbours that need no barrier between them share
 * a step: row operations are chained per chunk of tokens (norm, quantise, ...), linear layers of one input run as one. Then
 * every value and quantised activation gets an offset by its lifetime, counted in steps. */
#include "backend/cpu/cpu.h"
#include "base/fmath.h"
#include "base/mem.h"

#include <string.h>

struct compiler {
    struct plan *p;
    const struct kernels *k;
    int *last_node; /* [n_value] last node that reads the value */
    int rc;
};

static bool plan_is_wanted(const struct plan *p, int value)
{
    return p->graph->value[value].wanted_rows;
}

/* Appends a micro-operation, opening a new step unless it may run beside the last one without a barrier. */
static void compile_micro(struct compiler *c, const struct micro *m, bool join)
{
    struct plan *p = c->p;
    struct micro *micro = mem_grow(p->micro, &p->cap_micro, (size_t)p->n_micro + 1, sizeof *micro);
    if (!micro) {
        c->rc = ERR_NOMEM;
        return;
    }
    p->micro = micro;
    struct step *s = p->n_step ? &p->step[p->n_step - 1] : NULL;
    if (!s || !join || s->kind != m->kind || s->wanted != m->wanted) {
        struct step *step = mem_grow(p->step, &p->cap_step, (size_t)p->n_step + 1, sizeof *step);
        if (!step) {
            c->rc = ERR_NOMEM;
            return;
        }
        p->step = step;
        s = &step[p->n_step++];
        *s = (struct step){m->kind, p->n_micro, 0, m->wanted};
    }
    micro[p->n_micro++] = *m;
    s->n++;
}

/* Index of the quantised form of a value, appending the operation that makes it when it is new. */
static int compile_quantise(struct compiler *c, int value, bool wide)
{
    struct plan *p = c->p;
    for (int i = 0; i < p->n_act; i++)
        if (p->act[i].value == value && p->act[i].wide == wide)
            return i;
    struct act *act = mem_grow(p->act, &p->cap_act, (size_t)p->n_act + 1, sizeof *act);
    if (!act) {
        c->rc = ERR_NOMEM;
        return 0;
    }
    p->act = act;
    act[p->n_act] = (struct act){value, wide, {.first = -1, .alias = -1}};
    struct micro m = {.kind = MICRO_ROW,
                      .row = rows_quantise,
                      .a = value,
                      .b = -1,
                      .c = -1,
                      .out = -1,
                      .act = p->n_act,
                      .wanted = plan_is_wanted(p, value)};
    compile_micro(c, &m, true);
    return p->n_act++;
}

/* True when no matmul of the open step writes this value. */
static bool compile_independent(const struct plan *p, int value)
{
    const struct step *s = p->n_step ? &p->step[p->n_step - 1] : NULL;
    for (int i = 0; s && i < s->n; i++)
        if (p->micro[s->first + i].out == value)
            return false;
    return true;
}

static void compile_node(struct compiler *c, const struct graph_node *n)
{
    struct plan *p = c->p;
    struct micro m = {.node = n,
                      .a = n->in[0],
                      .b = n->in[1],
                      .c = n->in[2],
                      .out = n->out,
                      .act = -1,
                      .wanted = plan_is_wanted(p, n->out)};
    if (n->op == OP_LINEAR) {
        const struct graph_weight *w = &p->graph->weight[n->w[0]];
        if (!c->k->linear[w->dtype].float_act)
            m.act = compile_quantise(c, n->in[0], n->wide);
        m.kind = MICRO_MATMUL;
        compile_micro(c, &m, compile_independent(p, n->in[0]));
    } else if (n->op == OP_ATTN) {
        struct micro store = m;
        store.kind = MICRO_ROW;
        store.row = rows_kv_store;
        store.out = -1;
        compile_micro(c, &store, true);
        m.kind = MICRO_ATTN;
        compile_micro(c, &m, false);
    } else {
        m.kind = MICRO_ROW;
        m.row = rows_op(n->op);
        compile_micro(c, &m, true);
    }
}

/* ---- lifetimes ---- */

struct act_view plan_act(const struct kernels *k, uint8_t *mem, size_t width, size_t rows, bool wide)
{
    size_t bytes = cpu_round(k->act_bytes(width, rows, wide));
    if (wide)
        return (struct act_view){.rows = mem};
    return (struct act_view){mem, mem + bytes, mem + 2 * bytes};
}

size_t plan_act_bytes(const struct kernels *k, size_t width, size_t rows, bool wide)
{
    size_t bytes = cpu_round(k->act_bytes(width, rows, wide));
    return wide ? bytes : 2 * bytes + cpu_round((rows + KERNEL_TOK - 1) / KERNEL_TOK);
}

static struct slot *plan_root(struct plan *p, int value)
{
    while (p->value[value].alias >= 0)
        value = p->value[value].alias;
    return &p->value[value];
}

static void plan_touch(struct slot *s, int step)
{
    if (s->first < 0)
        s->first = step;
    s->last = step;
}

/* Row operations may overwrite their first input when nobody reads it later. */
static void plan_alias(struct compiler *c, int node_index)
{
    struct plan *p = c->p;
    const struct graph_node *n = &p->graph->node[node_index];
    if (n->op == OP_EMBED || n->op == OP_SELECT || n->op == OP_LINEAR || n->op == OP_ATTN)
        return;
    if (c->last_node[n->in[0]] == node_index && p->graph->value[n->in[0]].width == p->graph->value[n->out].width)
        p->value[n->out].alias = n->in[0];
}

static void plan_lifetimes(struct compiler *c)
{
    struct plan *p = c->p;
    for (int i = 0; i < p->graph->n_value; i++) {
        const struct graph_value *v = &p->graph->value[i];
        size_t rows = (size_t)(v->wanted_rows ? p->max_wanted : p->max_tok);
        p->value[i] =
            (struct slot){.bytes = cpu_round(rows * (size_t)v->width * sizeof(float)), .first = -1, .alias = -1};
    }
    for (int i = 0; i < p->graph->n_node; i++)
        plan_alias(c, i);
    for (int s = 0; s < p->n_step; s++)
        for (int i = 0; i < p->step[s].n; i++) {
            const struct micro *m = &p->micro[p->step[s].first + i];
            const int ids[4] = {m->a, m->b, m->c, m->out};
            for (int j = 0; j < 4; j++)
                if (ids[j] >= 0)
                    plan_touch(plan_root(p, ids[j]), s);
            if (m->act >= 0)
                plan_touch(&p->act[m->act].slot, s);
        }
    for (int i = 0; i < p->n_act; i++) {
        const struct graph_value *v = &p->graph->value[p->act[i].value];
        size_t rows = (size_t)(v->wanted_rows ? p->max_wanted : p->max_tok);
        p->act[i].slot.bytes = plan_act_bytes(c->k, (size_t)v->width, rows, p->act[i].wide);
    }
    /* The logits go straight to the caller's memory. */
    p->value[p->graph->logits].first = -1;
}

/* First fit by first use: the slot takes the lowest gap among those that live at the same time. */
static size_t plan_fit(struct slot *const *placed, int n, const struct slot *s)
{
    size_t at = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (int i = 0; i < n; i++) {
            const struct slot *o = placed[i];
            bool together = o->first <= s->last && s->first <= o->last;
            if (together && at < o->offset + o->bytes && o->offset < at + s->bytes) {
                at = o->offset + o->bytes;
                moved = true;
            }
        }
    }
    return at;
}

size_t plan_place(struct slot *const *slots, int n, int n_step, struct slot **placed)
{
    int n_placed = 0;
    size_t end = 0;
    for (int step = 0; step < n_step; step++)
        for (int i = 0; i < n; i++) {
            struct slot *s = slots[i];
            if (s->first != step)
                continue;
            s->offset = plan_fit(placed, n_placed, s);
            placed[n_placed++] = s;
            if (s->offset + s->bytes > end)
                end = s->offset + s->bytes;
        }
    return end;
}

static size_t plan_place_all(struct compiler *c)
{
    struct plan *p = c->p;
    int n = 0, most = p->graph->n_value + p->n_act;
    struct slot **slots = mem_calloc(2 * (size_t)most, sizeof(struct slot *));
    if (!slots) {
        c->rc = ERR_NOMEM;
        return 0;
    }
    for (int i = 0; i < p->graph->n_value; i++)
        if (p->value[i].alias < 0)
            slots[n++] = &p->value[i];
    for (int i = 0; i < p->n_act; i++)
        slots[n++] = &p->act[i].slot;
    size_t end = plan_place(slots, n, p->n_step, slots + most);
    mem_free(slots);
    for (int i = 0; i < p->graph->n_value; i++)
        p->value[i].offset = plan_root(p, i)->offset;
    return end;
}

/* ---- tables and scratch ---- */

static void plan_rope(struct compiler *c)
{
    struct plan *p = c->p;
    const struct graph *g = p->graph;
    for (int i = 0; i < g->n_node; i++)
        if (g->node[i].op == OP_ROPE && g->node[i].head_dim / 2 > p->rope_half)
            p->rope_half = g->node[i].head_dim / 2;
    p->rope_freq = mem_calloc((size_t)g->n_rope * (size_t)p->rope_half + 1, sizeof *p->rope_freq);
    p->rope_dim = mem_calloc((size_t)g->n_rope + 1, sizeof *p->rope_dim);
    if (!p->rope_freq || !p->rope_dim) {
        c->rc = ERR_NOMEM;
        return;
    }
    for (int i = 0; i < g->n_node; i++) {
        const struct graph_node *n = &g->node[i];
        if (n->op != OP_ROPE)
            continue;
        p->rope_dim[n->rope_table] = n->head_dim;
        for (int j = 0; j < n->head_dim / 2; j++)
            p->rope_freq[n->rope_table * p->rope_half + j] =
                fm_pow((double)n->rope_base, -2.0 * j / n->head_dim) / (double)n->rope_scale;
    }
}

/* One thread's scratch: the kernels' own, and for attention two pointers and a position per query row before it. */
static size_t plan_scratch(const struct plan *p, const struct kernels *k)
{
    size_t most = 64;
    for (int i = 0; i < p->n_micro; i++) {
        const struct graph_node *n = p->micro[i].node;
        size_t need = 0;
        if (p->micro[i].kind == MICRO_MATMUL)
            need = run_scratch_bytes(k, (size_t)p->graph->value[n->in[0]].width, (size_t)p->max_tok, n->wide);
        else if (p->micro[i].kind == MICRO_ATTN)
            need = CPU_QUERY_ROWS * 32 + k->attn_scratch(CPU_QUERY_ROWS, (size_t)n->head_dim);
        if (need > most)
            most = need;
    }
    return (most + 4095) & ~(size_t)4095;
}

static int plan_query_tokens(const struct graph *g)
{
    int tokens = CPU_QUERY_ROWS;
    for (int i = 0; i < g->n_node; i++)
        if (g->node[i].op == OP_ATTN && CPU_QUERY_ROWS / (g->node[i].n_head / g->node[i].n_kv_head) < tokens)
            tokens = CPU_QUERY_ROWS / (g->node[i].n_head / g->node[i].n_kv_head);
    return tokens;
}

int plan_compile(struct plan *p, const struct kernels *k, int n_threads, struct err *e)
{
    const struct graph *g = p->graph;
    struct compiler c = {.p = p, .k = k};
    p->value = mem_calloc((size_t)g->n_value, sizeof *p->value);
    c.last_node = mem_calloc((size_t)g->n_value, sizeof *c.last_node);
    if (!p->value || !c.last_node)
        c.rc = ERR_NOMEM;
    for (int i = 0; !c.rc && i < g->n_node; i++)
        for (int j = 0; j < 3; j++)
            if (g->node[i].in[j] >= 0)
                c.last_node[g->node[i].in[j]] = i;
    if (!c.rc)
        compile_micro(
            &c,
            &(struct micro){.kind = MICRO_ROW, .row = rows_rope_table, .a = -1, .b = -1, .c = -1, .out = -1, .act = -1},
            true);
    for (int i = 0; !c.rc && i < g->n_node; i++)
        compile_node(&c, &g->node[i]);
    if (!c.rc)
        plan_rope(&c);
    p->query_tokens = plan_query_tokens(g);
    if (!c.rc) {
        plan_lifetimes(&c);
        size_t at = (plan_place_all(&c) + 4095) & ~(size_t)4095;
        p->rope_off = at;
        at += (size_t)g->n_rope * (size_t)p->max_tok * 2 * (size_t)p->rope_half * sizeof(float);
        p->work_off = cpu_round(at);
        p->items_off = p->work_off + (size_t)p->n_step * sizeof(struct pool_work);
        at = p->items_off + (size_t)p->max_tok * sizeof(struct attn_item);
        p->scratch_off = (at + 4095) & ~(size_t)4095;
        p->scratch_bytes = plan_scratch(p, k);
        attend_plan(p, n_threads);
        p->part_off = p->scratch_off + (size_t)n_threads * p->scratch_bytes;
        at = p->part_off + p->part_floats * sizeof(float) + p->part_units * sizeof(atomic_int);
        p->few.off = (at + 4095) & ~(size_t)4095;
        if (!c.rc)
            c.rc = few_compile(p, k);
        p->few.own_off = p->few.off + p->few.bytes;
        p->few.share_off = p->few.own_off + (size_t)n_threads * p->few.own_bytes;
        p->mem_bytes = p->few.share_off + few_share_bytes(&p->few, (size_t)n_threads);
    }
    mem_free(c.last_node);
    return c.rc ? err_set(e, c.rc, "out of memory while planning the graph") : 0;
}

void plan_done(struct plan *p)
{
    mem_free(p->micro);
    mem_free(p->step);
    mem_free(p->value);
    mem_free(p->act);
    mem_free(p->rope_freq);
    mem_free(p->rope_dim);
    few_done(&p->few);
}
