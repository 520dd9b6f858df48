/* cpu: what the files of the CPU backend share. Private to backend/. */
#ifndef HEARTH_BACKEND_CPU_H
#define HEARTH_BACKEND_CPU_H
#include "backend/backend.h"
#include "base/cpu.h"
#include "base/pool.h"
#include "kernel/kernel.h"

struct backend {
    struct pool *pool;
    struct kernels kernels;
    int n_threads;
    size_t ahead; /* linear_args.ahead */
};

/* One weight in memory. LINEAR: packed groups. EMBED: the file's rows as they are. VECTOR: f32. */
struct packed {
    uint8_t *data;      /* inside weights.mem */
    size_t bytes;       /* rounded up to 64 */
    size_t group_bytes; /* LINEAR only */
};
struct weights {
    struct packed *packed; /* [n] */
    int n;
    void *mem;
    size_t mem_bytes;
    struct ledger_owner *owner;
};
size_t weights_packed_bytes(const struct kernels *k, const struct graph_weight *w);

/* ---- plan: nodes become micro-operations, micro-operations become steps between two barriers ---- */

enum micro_kind {
    MICRO_ROW,    /* computes rows [t0, t1) of its output from the same rows of its inputs */
    MICRO_MATMUL, /* one LINEAR: split by row groups and token tiles */
    MICRO_ATTN,   /* split by sequence, KV head and query tile */
};
struct run; /* one backend_run */
struct micro;
typedef void (*micro_fn)(const struct run *r, const struct micro *m, int t0, int t1);
struct micro {
    enum micro_kind kind;
    const struct graph_node *node;
    micro_fn row;     /* MICRO_ROW */
    int a, b, c, out; /* value ids */
    int act;          /* index of a quantised activation, -1 none: written by quantise, read by matmul */
    bool wanted;      /* rows are wanted rows */
};
struct step {
    enum micro_kind kind;
    int first, n; /* micro[first .. first + n) */
    bool wanted;
    bool poll; /* ask whether the step was cancelled */
};
/* Memory of a value or a quantised activation: lives from the step that writes it to the last that reads it. */
struct slot {
    size_t bytes, offset;
    int first, last; /* steps; first -1: unused */
    int alias;       /* value id whose memory is reused in place, -1 none */
};
struct act {
    int value;
    bool wide;
    struct slot slot;
};

struct plan {
    const struct graph *graph;
    const struct weights *weights;
    struct micro *micro;
    struct step *step;
    struct slot *value; /* [n_value] */
    struct act *act;
    int n_micro, n_step, n_act;
    size_t cap_micro, cap_step, cap_act;
    int max_tok, max_wanted;
    double *rope_freq; /* [n_rope][max d/2] inverse frequencies */
    int rope_half;     /* max d/2 */
    int *rope_dim;     /* [n_rope] head_dim */
    uint8_t *mem;      /* ledger: values, activations, RoPE rows, per-thread scratch */
    size_t mem_bytes, rope_off, work_off, items_off, scratch_off, scratch_bytes;
    struct pool_work *work;  /* [n_step] in mem: who took which piece of the running step */
    struct attn_item *items; /* [max_tok] in mem: query tiles of the running batch */
    int query_tokens;        /* tokens per query tile */
    struct ledger_owner *owner;
};
/* Query tokens [t0, t0 + n) of one sequence: one piece of attention work per KV head. */
struct attn_item {
    int t0, n;
};
int plan_compile(struct plan *p, const struct kernels *k, int n_threads, struct err *e);
void plan_done(struct plan *p);

struct run {
    struct backend *b;
    struct plan *p;
    const struct batch *in;
    float *logits;
    struct pool_work *work;        /* [n_step] */
    const struct attn_item *items; /* attention work of this batch */
    int n_items;
    atomic_int stop; /* the batch was cancelled: take no more pieces */
};
/* Row operations, one per op that works row by row (run.c); NULL for the others. */
micro_fn rows_op(enum graph_op op);
void rows_rope_table(const struct run *r, const struct micro *m, int t0, int t1);
void rows_quantise(const struct run *r, const struct micro *m, int t0, int t1);
void rows_kv_store(const struct run *r, const struct micro *m, int t0, int t1);

enum { CPU_QUERY_ROWS = 64 }; /* query rows (tokens x heads of one KV head) of one attention item */

#endif
