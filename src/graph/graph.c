/* graph: building and checking the node list. Owns its arrays; copies what it is given. */
#include "graph/graph.h"

#include "base/mem.h"
#include <stdio.h>
#include <string.h>

static const struct graph_op_info op_table[OP_COUNT] = {
    [OP_EMBED] = {"embed", 0, 1, 1},   [OP_SELECT] = {"select", 1, 0, 0}, [OP_RMSNORM] = {"rmsnorm", 1, 1, 1},
    [OP_LINEAR] = {"linear", 1, 1, 2}, [OP_ROPE] = {"rope", 1, 0, 0},     [OP_ATTN] = {"attn", 3, 0, 0},
    [OP_ADD] = {"add", 2, 0, 0},       [OP_SCALE] = {"scale", 1, 0, 0},   [OP_SWIGLU] = {"swiglu", 2, 0, 0},
    [OP_GEGLU] = {"geglu", 2, 0, 0},
};

const struct graph_op_info *graph_op_info(enum graph_op op)
{
    return op < OP_COUNT ? &op_table[op] : NULL;
}

struct graph *graph_new(void)
{
    struct graph *g = mem_calloc(1, sizeof *g);
    if (g)
        g->logits = -1;
    return g;
}

void graph_free(struct graph *g)
{
    if (!g)
        return;
    mem_free(g->node);
    mem_free(g->value);
    mem_free(g->weight);
    mem_free(g->kv);
    mem_free(g);
}

static int graph_fail(struct graph *g, int code, const char *why)
{
    if (!g->failed) {
        g->failed = code;
        snprintf(g->why, sizeof g->why, "%s", why);
    }
    return -1;
}

/* Room for one more element of an array; NULL (and the sticky error) when memory is short. */
static void *graph_grow(struct graph *g, void *p, size_t *cap, int n, size_t elem)
{
    void *q = mem_grow(p, cap, (size_t)n + 1, elem);
    if (!q)
        graph_fail(g, ERR_NOMEM, "out of memory while building the graph");
    return q;
}

/* Nodes that rotate alike share one table of cosines and sines. */
static int graph_rope_table(struct graph *g, const struct graph_node *n)
{
    for (int i = 0; i < g->n_node; i++) {
        const struct graph_node *o = &g->node[i];
        if (o->op == OP_ROPE && o->rope_base == n->rope_base && o->rope_scale == n->rope_scale &&
            o->head_dim == n->head_dim)
            return o->rope_table;
    }
    return g->n_rope++;
}

int graph_add(struct graph *g, const struct graph_node *n, int width, bool wanted_rows)
{
    if (g->failed)
        return -1;
    struct graph_node *node = graph_grow(g, g->node, &g->cap_node, g->n_node, sizeof *node);
    if (!node)
        return -1;
    g->node = node;
    struct graph_value *value = graph_grow(g, g->value, &g->cap_value, g->n_value, sizeof *value);
    if (!value)
        return -1;
    g->value = value;

    struct graph_node copy = *n;
    const struct graph_op_info *info = graph_op_info(n->op);
    for (int i = info ? info->n_in : 0; i < 3; i++)
        copy.in[i] = -1;
    copy.out = g->n_value;
    if (copy.op == OP_ROPE)
        copy.rope_table = graph_rope_table(g, &copy);
    node[g->n_node++] = copy;
    value[g->n_value] = (struct graph_value){width, wanted_rows};
    return g->n_value++;
}

int graph_add_weight(struct graph *g, const struct graph_weight *w)
{
    if (g->failed)
        return -1;
    struct graph_weight *p = graph_grow(g, g->weight, &g->cap_weight, g->n_weight, sizeof *p);
    if (!p)
        return -1;
    g->weight = p;
    p[g->n_weight] = *w;
    return g->n_weight++;
}

int graph_add_kv(struct graph *g, int n_kv_head, int head_dim, int window, enum dtype dtype)
{
    if (g->failed)
        return -1;
    struct graph_kv_layer *p = graph_grow(g, g->kv, &g->cap_kv, g->n_kv, sizeof *p);
    if (!p)
        return -1;
    g->kv = p;
    if ((uint32_t)head_dim % dtype_info(dtype)->block)
        dtype = DT_F16; /* heads that no group divides */
    size_t head = (size_t)head_dim / dtype_info(dtype)->block * 64 * dtype_info(dtype)->bytes,
           half = (size_t)n_kv_head * head;
    int cls = window > 0;
    struct graph_kv_class *c = &g->kv_class[cls];
    p[g->n_kv] = (struct graph_kv_layer){.n_kv_head = n_kv_head,
                                         .head_dim = head_dim,
                                         .window = window,
                                         .cls = cls,
                                         .dtype = dtype,
                                         .k_off = c->block_bytes,
                                         .v_off = c->block_bytes + half,
                                         .head_bytes = head};
    c->block_bytes += 2 * half;
    c->window = window > c->window ? window : c->window;
    return g->n_kv++;
}

static int graph_width(const struct graph *g, int value)
{
    return value >= 0 && value < g->n_value ? g->value[value].width : -1;
}

/* The shape rule of one node: NULL when it holds, else what is wrong. */
static const char *graph_check_shape(const struct graph *g, const struct graph_node *n)
{
    int out = graph_width(g, n->out), a = graph_width(g, n->in[0]), b = graph_width(g, n->in[1]);
    const struct graph_weight *w = n->w[0] >= 0 ? &g->weight[n->w[0]] : NULL;
    switch (n->op) {
    case OP_EMBED:
        return w->k == (uint64_t)out ? NULL : "row length is not the value's width";
    case OP_LINEAR:
        if (w->k != (uint64_t)a || w->rows != (uint64_t)out)
            return "weight shape does not fit input and output";
        if (w->factor && (w->factor > g->n_weight || g->weight[w->factor - 1].rows * g->weight[w->factor - 1].k != 1))
            return "a weight's factor is not one number";
        if (n->w[1] >= 0 && g->weight[n->w[1]].k != (uint64_t)out)
            return "bias length is not the output's width";
        return NULL;
    case OP_RMSNORM:
        if (w->k == 0 || a != out || (uint64_t)a % w->k)
            return "norm weight does not divide the row";
        return NULL;
    case OP_ROPE:
        return n->head_dim > 0 && n->head_dim % 2 == 0 && a == out && a % n->head_dim == 0
                   ? NULL
                   : "heads do not divide the row";
    case OP_ATTN:
        if (n->layer < 0 || n->layer >= g->n_kv || n->n_kv_head <= 0 || n->n_head % n->n_kv_head || n->head_dim % 8)
            return "bad heads or cache layer";
        if (a != n->n_head * n->head_dim || out != a || b != n->n_kv_head * n->head_dim ||
            graph_width(g, n->in[2]) != b)
            return "query, key and value widths do not fit the heads";
        return NULL;
    case OP_ADD:
    case OP_SWIGLU:
    case OP_GEGLU:
        return a == b && a == out ? NULL : "operands differ in width";
    case OP_SELECT:
    case OP_SCALE:
        return a == out ? NULL : "input and output differ in width";
    case OP_COUNT:
        break;
    }
    return "unknown op";
}

static const char *graph_check_rows(const struct graph *g, const struct graph_node *n, int n_in)
{
    bool out = g->value[n->out].wanted_rows;
    if (n->op == OP_SELECT)
        return out && !g->value[n->in[0]].wanted_rows ? NULL : "select goes from all rows to wanted rows";
    if ((n->op == OP_EMBED || n->op == OP_ATTN || n->op == OP_ROPE) && out)
        return "needs all rows";
    for (int i = 0; i < n_in; i++)
        if (g->value[n->in[i]].wanted_rows != out)
            return "mixes all rows and wanted rows";
    return NULL;
}

int graph_check(const struct graph *g, struct err *e)
{
    if (g->failed)
        return err_set(e, g->failed, "%s", g->why);
    for (int i = 0; i < g->n_node; i++) {
        const struct graph_node *n = &g->node[i];
        const struct graph_op_info *info = graph_op_info(n->op);
        if (!info)
            return err_set(e, ERR_FORMAT, "node %d: unknown op %d", i, (int)n->op);
        for (int j = 0; j < info->n_in; j++)
            if (n->in[j] < 0 || n->in[j] >= n->out)
                return err_set(e, ERR_FORMAT, "node %d (%s): input %d is not defined before it", i, info->name, j);
        for (int j = 0; j < 2; j++)
            if (n->w[j] >= g->n_weight || (j < info->n_w_min && n->w[j] < 0) || (j >= info->n_w_max && n->w[j] >= 0))
                return err_set(e, ERR_FORMAT, "node %d (%s): bad weight %d", i, info->name, j);
        const char *why = graph_check_shape(g, n);
        if (!why)
            why = graph_check_rows(g, n, info->n_in);
        if (why)
            return err_set(e, ERR_FORMAT, "node %d (%s): %s", i, info->name, why);
    }
    if (g->logits < 0 || g->logits >= g->n_value || !g->value[g->logits].wanted_rows)
        return err_set(e, ERR_FORMAT, "the graph has no logits");
    if (g->value[g->logits].width != g->n_vocab)
        return err_set(e, ERR_FORMAT, "logits have width %d, the vocabulary %d", g->value[g->logits].width, g->n_vocab);
    return 0;
}
