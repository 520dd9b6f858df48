/* backend: how a graph runs. Today the CPU: the worker pool around kernel/, packed weights, plans (lifetimes -> offsets,
 * chosen kernels). The engine thread is the only caller of backend_run; loading may run on another thread meanwhile. */
#ifndef HEARTH_BACKEND_H
#define HEARTH_BACKEND_H
#include "base/err.h"
#include "base/fs.h"
#include "graph/graph.h"
#include "ledger/ledger.h"

struct backend;
struct weights; /* packed, immutable, ledger-owned */
struct plan;    /* a graph with offsets and scratch for up to max_tok tokens and max_wanted rows */

struct backend_opts {
    int n_threads;     /* 0: all usable cores */
    unsigned cpu_mask; /* features that may be used (base/cpu.h); ~0u: all that are there */
};
int backend_new(struct backend **out, const struct backend_opts *o, struct err *e);
void backend_free(struct backend *b);
int backend_threads(const struct backend *b);
struct pool;
struct pool *backend_pool(struct backend *b);
struct kernels;
const struct kernels *backend_kernels(const struct backend *b);

/* What a load will take: packed weights, and the fixed staging buffer while it runs. */
size_t backend_weights_bytes(const struct backend *b, const struct graph *g);
size_t backend_staging_bytes(const struct backend *b, const struct graph *g);
/* Reads and packs g's weights from the file. Parallel, cancellable; on failure nothing stays reserved. progress may be NULL;
 * it is called on the calling thread with bytes done and total, and cancels the load by returning non-zero. */
struct load_args {
    const struct graph *graph;
    const struct fs_reader *data;
    struct ledger_owner *weights_owner, *staging_owner;
    int (*progress)(void *arg, uint64_t done, uint64_t total);
    void *progress_arg;
};
int backend_load(struct backend *b, const struct load_args *a, struct weights **out, struct err *e);
void backend_unload(struct weights *w);

size_t backend_plan_bytes(const struct backend *b, const struct graph *g, int max_tok, int max_wanted);
int backend_plan(struct backend *b, const struct graph *g, const struct weights *w, int max_tok, int max_wanted,
                 struct ledger_owner *owner, struct plan **out, struct err *e);
void backend_plan_free(struct plan *p);

/* Runs one step. logits: [n_wanted][n_vocab], caller's memory. ERR_CANCELLED when batch->poll said so: the KV of the step's
 * positions is then undefined. Same bits for any split of the same tokens into batches and for any thread count.
 * BACKEND_PAUSED when batch->poll said so: other plans may run now; the next backend_run of p, with the same batch and logits, goes on
 * where this one stopped, to the same bits. Or backend_drop forgets it, as if it was cancelled. */
enum { BACKEND_PAUSED = 1 };
int backend_run(struct backend *b, struct plan *p, const struct batch *in, float *logits, struct err *e);
void backend_drop(struct plan *p);
double backend_done(const struct plan *p); /* share of a resting run's steps that lie behind it; 0: none rests */

#endif
