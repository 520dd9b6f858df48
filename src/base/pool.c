/* pool: workers, the barrier they meet at, and how they wait.
 *
 * Whoever waits, waits for a 32-bit word to change: the number of the next run, the phase of the barrier, the finished pieces of
 * a stage. It spins for some tens of microseconds, then sleeps in the kernel with the word as futex: cores may be shared and
 * processor time rationed, so nobody burns what the one who is waited for could use. Whoever changes the word wakes only if
 * somebody said that he sleeps: `asleep` and the word are written and read in opposite order on the two sides with sequential
 * consistency, so either the changer sees the sleeper or the kernel sees the new word. With more workers than cores nobody spins.
 *
 * The end of a run is the same barrier as inside a run.
 *
 * A shared run (pool_share) has the lowest bit of `run` set. A worker enters it by adding one to `inside` and then looking whether
 * the run is still `open`; the caller closes it and then waits for `inside` to fall to zero. Both sides write before they read,
 * sequentially consistent, so a worker that comes too late never touches fn and arg. */
#include "base/pool.h"
#include "base/cpu.h"
#include "base/mem.h"
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { POOL_MAX = 1024, POOL_SPIN = 2000 };

struct pool_worker {
    struct pool *pool;
    pthread_t id;
    int index;
};

struct pool {
    int n, spin;
    pool_fn fn;
    void *arg;
    bool stop;
    struct pool_worker *workers; /* [n], 0 is the caller and has no thread of its own */
    void *block;                 /* what mem_alloc gave: the pool lies inside, aligned */
    _Alignas(64) atomic_uint run;
    atomic_int asleep;
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_uint phase;
    _Alignas(64) atomic_uint open; /* number of the shared run that may be entered, 0 none */
    atomic_uint inside;
};

enum { RUN_SHARED = 1, RUN_STEP = 2 };

static inline void pool_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* After a sequentially consistent change of `word`. */
static void pool_tell(struct pool *p, atomic_uint *word)
{
    if (atomic_load(&p->asleep) > 0)
        syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, POOL_MAX, NULL, NULL, 0);
}

/* Waits until *word is not `seen`; returns what it is. */
static unsigned pool_await(struct pool *p, atomic_uint *word, unsigned seen)
{
    unsigned now;
    for (int i = 0; (now = atomic_load_explicit(word, memory_order_acquire)) == seen; i++) {
        if (i < p->spin) {
            pool_pause();
            continue;
        }
        atomic_fetch_add(&p->asleep, 1);
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
        atomic_fetch_sub(&p->asleep, 1);
    }
    return now;
}

void pool_barrier(struct pool *p)
{
    if (p->n == 1)
        return;
    unsigned phase = atomic_load_explicit(&p->phase, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&p->arrived, 1, memory_order_acq_rel) == p->n - 1) {
        atomic_store_explicit(&p->arrived, 0, memory_order_relaxed);
        atomic_store(&p->phase, phase + 1);
        pool_tell(p, &p->phase);
        return;
    }
    pool_await(p, &p->phase, phase);
}

static void pool_publish(struct pool *p, unsigned run)
{
    atomic_store(&p->run, run);
    pool_tell(p, &p->run);
}

static void *pool_main(void *arg)
{
    struct pool_worker *w = arg;
    struct pool *p = w->pool;
    unsigned seen = 0;
    for (;;) {
        seen = pool_await(p, &p->run, seen);
        if (seen & RUN_SHARED) {
            atomic_fetch_add(&p->inside, 1);
            if (atomic_load(&p->open) == seen)
                p->fn(p->arg, w->index, p->n);
            atomic_fetch_sub(&p->inside, 1);
            pool_tell(p, &p->inside);
            continue;
        }
        if (p->stop)
            return NULL;
        p->fn(p->arg, w->index, p->n);
        pool_barrier(p);
    }
}

static unsigned pool_next_run(const struct pool *p, unsigned kind)
{
    return ((atomic_load_explicit(&p->run, memory_order_relaxed) & ~(unsigned)RUN_SHARED) + RUN_STEP) | kind;
}

void pool_run(struct pool *p, pool_fn fn, void *arg)
{
    if (p->n == 1) {
        fn(arg, 0, 1);
        return;
    }
    p->fn = fn;
    p->arg = arg;
    pool_publish(p, pool_next_run(p, 0));
    fn(arg, 0, p->n);
    pool_barrier(p);
}

void pool_share(struct pool *p, pool_fn fn, void *arg)
{
    if (p->n == 1) {
        fn(arg, 0, 1);
        return;
    }
    unsigned run = pool_next_run(p, RUN_SHARED);
    p->fn = fn;
    p->arg = arg;
    atomic_store(&p->open, run);
    pool_publish(p, run);
    fn(arg, 0, p->n);
    atomic_store(&p->open, 0);
    for (unsigned inside; (inside = atomic_load(&p->inside)) != 0;)
        pool_await(p, &p->inside, inside);
}

/* Workers leave every signal to the threads that expect them. */
static int pool_start(struct pool *p, int index)
{
    struct pool_worker *w = &p->workers[index];
    *w = (struct pool_worker){.pool = p, .index = index};
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&w->id, NULL, pool_main, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc == 0) {
        char name[16];
        snprintf(name, sizeof name, "hearth-w%hd", (short)index);
        pthread_setname_np(w->id, name);
    }
    return rc;
}

static void pool_stop(struct pool *p, int started)
{
    p->stop = true;
    pool_publish(p, pool_next_run(p, 0));
    for (int i = 1; i < started; i++)
        pthread_join(p->workers[i].id, NULL);
    mem_free(p->workers);
    mem_free(p->block);
}

int pool_new(struct pool **out, int n_threads, struct err *e)
{
    *out = NULL;
    int cores = cpu_count();
    int n = n_threads ? n_threads : cores < POOL_MAX ? cores : POOL_MAX;
    if (n < 1 || n > POOL_MAX)
        return err_set(e, ERR_RANGE, "%d threads asked for, 1 to %d are possible", n_threads, POOL_MAX);
    void *block = mem_calloc(1, sizeof(struct pool) + 64);
    struct pool_worker *workers = mem_calloc((size_t)n, sizeof *workers);
    if (!block || !workers) {
        mem_free(block);
        mem_free(workers);
        return err_set(e, ERR_NOMEM, "out of memory for %d threads", n);
    }
    struct pool *p = (struct pool *)(((uintptr_t)block + 63) & ~(uintptr_t)63);
    p->n = n;
    p->spin = n <= cores ? POOL_SPIN : 1;
    p->workers = workers;
    p->block = block;
    for (int i = 1; i < n; i++) {
        int rc = pool_start(p, i);
        if (rc) {
            pool_stop(p, i);
            return err_set(e, ERR_NOMEM, "cannot start thread %d of %d (error %d of the system)", i + 1, n, rc);
        }
    }
    *out = p;
    return 0;
}

void pool_free(struct pool *p)
{
    if (p)
        pool_stop(p, p->n);
}

int pool_threads(const struct pool *p)
{
    return p->n;
}

int pool_take(struct pool_work *w, size_t n, size_t chunk, size_t *begin, size_t *end)
{
    size_t at = atomic_fetch_add_explicit(&w->next, chunk, memory_order_relaxed);
    if (at >= n)
        return 0;
    *begin = at;
    *end = n - at < chunk ? n : at + chunk;
    return 1;
}

void pool_wait(struct pool *p, struct pool_work *w, size_t n, size_t count)
{
    if (count) {
        atomic_fetch_add(&w->done, (unsigned)count);
        pool_tell(p, &w->done);
    }
    for (unsigned done; (done = atomic_load_explicit(&w->done, memory_order_acquire)) < n;)
        pool_await(p, &w->done, done);
}
