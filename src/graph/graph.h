/* graph: what to compute, as plain data: a flat list of nodes in execution order, values by integer id. Knows no kernels,
 * no threads, no weights' bytes. Model code appends nodes; the backend plans and runs them; training will walk them back.
 *
 * A value is a matrix [rows, width] f32, row-major; rows is symbolic: every token of the batch, or only the wanted rows. */
#ifndef HEARTH_GRAPH_H
#define HEARTH_GRAPH_H
#include "base/err.h"
#include "quant/quant.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum graph_op {
    OP_EMBED,   /* out[t] = row token[t] of weight w[0] */
    OP_SELECT,  /* out[i] = in0[wanted[i]]: rows whose logits are asked for */
    OP_RMSNORM, /* per group of `width` (whole row, or one head), weight w[0] */
    OP_LINEAR,  /* out = in0 * w[0]^T (* its factor) (+ w[1] bias) */
    OP_ROPE,    /* rotates heads of `head_dim` by the token's position, base `rope_base` */
    OP_ATTN,    /* in0 = q, in1 = k, in2 = v: stores k and v in the cache of `layer`, then attends */
    OP_ADD,     /* in0 + in1 */
    OP_SCALE,   /* in0 * f */
    OP_SWIGLU,  /* silu(in0) * in1 */
    OP_GEGLU,   /* gelu_tanh(in0) * in1 */
    OP_COUNT
};

struct graph_op_info { /* THE op table: one row per op */
    const char *name;
    int n_in, n_w_min, n_w_max;
};
const struct graph_op_info *graph_op_info(enum graph_op op);

struct graph_node {
    enum graph_op op;
    int in[3]; /* value ids, -1 unused */
    int out;   /* value id */
    int w[2];  /* weight indices, -1 unused */
    int layer; /* OP_ATTN: cache layer */
    int n_head, n_kv_head, head_dim;
    int window;                  /* OP_ATTN: 0 = all */
    float f;                     /* eps, scale, attention scale */
    float rope_base, rope_scale; /* OP_ROPE: theta; position is divided by rope_scale */
    int rope_table;              /* filled by graph_add: nodes with equal base, scale and head_dim share a table */
    bool neox;
    bool wide; /* OP_LINEAR: 15-bit activations (a property of the model, never of the batch) */
};

struct graph_value {
    int width;
    bool wanted_rows; /* rows = wanted rows, else all tokens */
};

/* A weight the graph refers to by index: what the model binds, what the backend loads and packs. */
enum weight_use { WEIGHT_LINEAR, WEIGHT_EMBED, WEIGHT_VECTOR };
struct graph_weight {
    char name[72]; /* tensor name in the file */
    enum dtype dtype;
    uint64_t rows, k;       /* [rows, k]; vectors: rows 1 */
    uint64_t offset, bytes; /* in the file */
    enum weight_use use;    /* EMBED and LINEAR may share one tensor: then one weight serves both (tied head) */
    int factor; /* LINEAR: 1 + index of the vector of one number that its product is multiplied by; 0: none */
};

/* Layers whose K and V share blocks, because they need the same positions: class 0 sees all, class 1 the last `window`. */
enum { GRAPH_KV_CLASSES = 2 };
struct graph_kv_class {
    int window;         /* widest of its layers; 0: all positions */
    size_t block_bytes; /* one block of 64 positions, all layers of the class; 0: it has none */
};

/* Where a layer's K and V lie inside one block of its class. K: [n_kv][d][64], V: [n_kv][64][d], of `dtype`; a head's scales,
 * where the dtype has some, follow its numbers (kernel/kernel.h). */
struct graph_kv_layer {
    int n_kv_head, head_dim, window;
    int cls;          /* 0, or 1 with a window */
    enum dtype dtype; /* F32, F16, BF16, Q8_0 or F8_E4M3 */
    size_t k_off, v_off;
    size_t head_bytes; /* from one head's K (or V) to the next */
};

struct graph {
    struct graph_node *node;
    struct graph_value *value;
    struct graph_weight *weight;
    struct graph_kv_layer *kv;
    int n_node, n_value, n_weight, n_kv;
    size_t cap_node, cap_value, cap_weight, cap_kv;
    int logits; /* value id of the result */
    int n_vocab, n_ctx, n_rope;
    struct graph_kv_class kv_class[GRAPH_KV_CLASSES];
    int failed; /* sticky error code: builders check once, in graph_check */
    char why[160];
};

struct graph *graph_new(void);
void graph_free(struct graph *g);
int graph_add(struct graph *g, const struct graph_node *n, int width, bool wanted_rows); /* returns the out value id */
int graph_add_weight(struct graph *g, const struct graph_weight *w);                     /* returns its index */
int graph_add_kv(struct graph *g, int n_kv_head, int head_dim, int window, enum dtype dtype); /* returns the layer */
int graph_check(const struct graph *g, struct err *e); /* shapes, arities, ids; every model passes it before it runs */

/* One step's input: plain data, filled by the engine, read-only for everyone else. */
struct batch_seq {
    /* pages[c][j]: block of class c of positions 64j..64j+63; set where the step writes or a query of it sees a position */
    uint8_t *const *pages[GRAPH_KV_CLASSES];
};
enum batch_go { BATCH_GO, BATCH_PAUSE, BATCH_CANCEL };
struct batch {
    const int32_t *token, *pos, *seq; /* [n_tok]; tokens of one sequence are adjacent, positions ascending */
    int n_tok;
    const struct batch_seq *seqs;
    int n_seq;
    const int32_t *wanted; /* [n_wanted] token indices, ascending */
    int n_wanted;
    /* Asked before each step of the plan but the first, by the thread that called: whether to go on. May be NULL. */
    enum batch_go (*poll)(void *arg);
    void *poll_arg;
};

#endif
