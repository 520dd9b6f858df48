/* cpu: what the files of the CPU backend share. Private to backend/. */
#ifndef HEARTH_BACKEND_CPU_H
#define HEARTH_BACKEND_CPU_H
#include "backend/backend.h"
#include "base/cpu.h"
#include "base/pool.h"
#include "kernel/kernel.h"

/* What lies in a backend's memory begins on a cache line. */
static inline size_t cpu_round(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

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
size_t weights_row_bytes(const struct graph_weight *w); /* of a row in the file */
int loader_fill(struct backend *b, const struct load_args *a, struct weights *w, struct err *e);

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
/* The memory of a quantised activation. Of a tile of KERNEL_TOK tokens with n outliers (kernel.h), the second rows are n tokens
 * of their own, at the tile's place in `fine`. */
struct act_view {
    uint8_t *rows, *fine, *outliers; /* the latter two NULL when wide */
};
struct act_view plan_act(const struct kernels *k, uint8_t *mem, size_t width, size_t rows, bool wide);
size_t plan_act_bytes(const struct kernels *k, size_t width, size_t rows, bool wide);

/* ---- few: the plan's other walk, for at most CPU_FEW tokens (few.c) ---- */

enum { CPU_FEW = KERNEL_TOK };
/* One step between two waits: every worker that takes a piece first runs the chain of row operations for itself. */
struct few_step {
    int first, n; /* micro[first .. first + n): the chain */
    int step;     /* the MATMUL or ATTN step that follows it; -1: the chain is all */
    int glu;      /* micro that gates the step's two outputs piece by piece, -1 none */
    bool wanted;
};
/* Where a value, or a quantised activation, lies in this walk. What a chain makes is each worker's own; what is read by a later
 * step is copied to the shared area by whoever took the first piece. */
struct few_slot {
    struct slot shared, own; /* lifetimes in few steps; first -1: unused */
    int made;                /* few step whose chain makes it, -1: written by pieces */
};
struct few {
    struct few_step *step;
    struct few_slot *value, *act; /* [n_value], [n_act] */
    int n_step, rows;             /* rows: tokens there is room for */
    size_t off, bytes;            /* in plan.mem: the shared area */
    size_t own_off, own_bytes;    /* one area per thread */
    size_t rope_off;              /* in such an area: RoPE rows */
    size_t share_off;             /* in plan.mem: what of its share of each step each thread has left */
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
    int at, at_end;          /* step (or few step) before which the running batch rests, of so many; 0: it does not */
    float *part;             /* [part_floats] in mem: attention's segments that wait to be merged (attend.c) */
    atomic_int *part_done;   /* [part_units] in mem: finished pieces of an item and head; zero between steps */
    size_t part_off, part_floats, part_units;
    struct few few;
    struct ledger_owner *owner;
};
/* Query tokens [t0, t0 + n) of one sequence: one piece of attention work per KV head. */
struct attn_item {
    int t0, n;
};
int plan_compile(struct plan *p, const struct kernels *k, int n_threads, struct err *e);
void plan_done(struct plan *p);
/* Offsets by lifetime for slots that are used at all; returns where the last one ends. placed: room for n. */
size_t plan_place(struct slot *const *slots, int n, int n_step, struct slot **placed);

struct run { /* one worker's view of it */
    struct backend *b;
    struct plan *p;
    const struct batch *in;
    float *logits;
    struct pool_work *work;        /* [n_step] */
    const struct attn_item *items; /* attention work of this batch */
    int n_items;
    atomic_int *stop; /* enum batch_go; not GO: enter no more steps */
    atomic_int *far;  /* the farthest step (or few step) before which a worker stopped */
    int few;          /* few step that is being walked, -1: not that walk */
    uint8_t *own;     /* few: this worker's area */
    uint8_t *scratch; /* this worker's */
};
float *run_value(const struct run *r, int value);
struct act_view run_act(const struct run *r, int act);
void run_matmul(const struct run *r, const struct micro *m, const struct linear_args *part);
size_t run_scratch_bytes(const struct kernels *k, size_t width, size_t max_tok, bool wide); /* that run_matmul takes */
size_t run_groups(const struct run *r, const struct micro *m);                              /* of KERNEL_MR rows */
bool run_go_on(const struct run *r, int thread, int at); /* false: do not enter step `at` */

struct attend_cut {
    size_t pieces;
    size_t chunk; /* segments of a piece; 0: items are not cut */
};
struct attend_cut attend_cut(const struct run *r, const struct micro *m, int n_threads);
/* One piece. store: the item's own keys and values are not in the cache yet. */
void attend_piece(const struct run *r, const struct micro *m, const struct attend_cut *c, size_t piece, bool store);
void attend_plan(struct plan *p, int n_threads);

int few_compile(struct plan *p, const struct kernels *k);
void few_done(struct few *f);
size_t few_share_bytes(const struct few *f, size_t threads); /* at share_off, zero before a walk */
int few_walk(struct run *r, int thread, int n_threads);      /* the few step before which it stopped */

/* Row operations, one per op that works row by row (run.c); NULL for the others. */
micro_fn rows_op(enum graph_op op);
void rows_rope_table(const struct run *r, const struct micro *m, int t0, int t1);
void rows_quantise(const struct run *r, const struct micro *m, int t0, int t1);
void rows_kv_store(const struct run *r, const struct micro *m, int t0, int t1);
void rows_kv_store_head(const struct run *r, const struct micro *m, int t0, int t1, int head);

enum { CPU_QUERY_ROWS = 64 }; /* query rows (tokens x heads of one KV head) of one attention item */

#endif
