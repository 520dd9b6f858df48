/* pool: the worker threads. One pool per process, owned by the backend; the thread that calls pool_run is worker 0.
 *
 * Within one run the workers meet at barriers and take work from shared counters. Who waits spins shortly, then sleeps in the kernel: an
 * idle server uses no CPU, and where cores are shared or rationed waiting costs nothing. No lock, no allocation and no system call
 * inside a run as long as the workers keep up. */
#ifndef HEARTH_BASE_POOL_H
#define HEARTH_BASE_POOL_H
#include "base/err.h"
#include <stdatomic.h>
#include <stddef.h>

struct pool;
typedef void (*pool_fn)(void *arg, int thread, int n_threads);

int pool_new(struct pool **out, int n_threads, struct err *e); /* n_threads 0: cpu_count() */
void pool_free(struct pool *p);
int pool_threads(const struct pool *p);
void pool_run(struct pool *p, pool_fn fn, void *arg); /* all workers run fn once; returns when all are done */
void pool_barrier(struct pool *p);                    /* inside a run: every worker calls it the same number of times */

/* The caller runs fn, and so does every worker that comes while the caller is at it; a worker whose core is busy with
 * something else is not waited for. fn takes all its work by pool_take and orders stages by pool_wait, never pool_barrier. */
void pool_share(struct pool *p, pool_fn fn, void *arg);

/* Shared work counter: items [0, n) are handed out in chunks; which worker gets which never matters for results. */
struct pool_work {
    _Alignas(64) atomic_size_t next;
    atomic_uint done; /* items, fewer than 2^32 */
};
/* Next chunk [*begin, *end) of n items, `chunk` at a time; 0 when none is left. */
int pool_take(struct pool_work *w, size_t n, size_t chunk, size_t *begin, size_t *end);
/* Reports `count` taken items as finished, then waits until all n are: what they wrote is visible afterwards. */
void pool_wait(struct pool *p, struct pool_work *w, size_t n, size_t count);

#endif
