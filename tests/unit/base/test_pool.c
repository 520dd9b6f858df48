/* pool: every worker runs, barriers order memory, work is handed out once, idle workers sleep, more threads than cores. */
#include "../check.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "base/pool.h"
#include <stdint.h>
#include <time.h>

enum { MAX_THREADS = 9, ITEMS = 10007 };

struct job {
    struct pool *pool;
    struct pool_work work[4];
    int seen[MAX_THREADS];
    long plain[MAX_THREADS]; /* written without atomics: only barriers make this right */
    unsigned char taken[ITEMS], stage[4][ITEMS];
    int wrong;
};

static void count_worker(void *arg, int thread, int n)
{
    struct job *j = arg;
    j->seen[thread]++;
    if (n != pool_threads(j->pool))
        j->wrong = 1;
}

static void stages(void *arg, int thread, int n)
{
    struct job *j = arg;
    for (long stage = 0; stage < 200; stage++) {
        j->plain[thread] = stage;
        pool_barrier(j->pool);
        for (int i = 0; i < n; i++)
            if (j->plain[i] != stage)
                __atomic_store_n(&j->wrong, 1, __ATOMIC_RELAXED);
        pool_barrier(j->pool);
    }
}

static void take_all(void *arg, int thread, int n)
{
    struct job *j = arg;
    size_t begin, end;
    (void)thread;
    (void)n;
    for (size_t pass = 0; pass < 4; pass++) {
        while (pool_take(&j->work[pass], ITEMS, 1 + pass * 13, &begin, &end))
            for (size_t i = begin; i < end; i++)
                j->taken[i]++;
        pool_barrier(j->pool);
    }
}

/* Stages of a shared run: each reads what all items of the one before wrote; whoever comes late must find nothing to do. */
static void shared_stages(void *arg, int thread, int n)
{
    struct job *j = arg;
    (void)thread;
    (void)n;
    for (size_t pass = 0; pass < 4; pass++) {
        size_t begin, end, count = 0;
        for (; pool_take(&j->work[pass], ITEMS, 97, &begin, &end); count += end - begin)
            for (size_t i = begin; i < end; i++) {
                if (pass && j->stage[pass - 1][ITEMS - 1 - i] != pass)
                    __atomic_store_n(&j->wrong, 1, __ATOMIC_RELAXED);
                j->stage[pass][i] = (unsigned char)(j->stage[pass][i] + pass + 1);
            }
        pool_wait(j->pool, &j->work[pass], ITEMS, count);
    }
}

static void share(struct job *j)
{
    for (int round = 0; round < 50; round++) {
        memset(j->work, 0, sizeof j->work);
        memset(j->stage, 0, sizeof j->stage);
        pool_share(j->pool, shared_stages, j);
        int missed = 0;
        for (size_t i = 0; i < ITEMS; i++)
            missed += j->stage[3][i] != 4;
        CHECK_INT(missed, 0);
        if (round % 7 == 0)
            pool_run(j->pool, count_worker, j); /* both kinds of run in turn */
    }
    CHECK_INT(j->wrong, 0);
}

static void with_threads(int n)
{
    static struct job j;
    struct err e = {0};
    memset(&j, 0, sizeof j);
    CHECK_INT(pool_new(&j.pool, n, &e), 0);
    if (!j.pool)
        return;
    CHECK_INT(pool_threads(j.pool), n);
    for (int i = 0; i < 300; i++)
        pool_run(j.pool, count_worker, &j);
    for (int i = 0; i < n; i++)
        CHECK_INT(j.seen[i], 300);
    pool_run(j.pool, stages, &j);
    pool_run(j.pool, take_all, &j);
    int missed = 0;
    for (size_t i = 0; i < ITEMS; i++)
        missed += j.taken[i] != 4;
    CHECK_INT(missed, 0);
    CHECK_INT(j.wrong, 0);
    share(&j);
    pool_free(j.pool);
}

static void one_thread(void)
{
    with_threads(1);
}

static void two_threads(void)
{
    with_threads(2);
}

static void three_threads(void)
{
    with_threads(3);
}

static void more_than_cores(void)
{
    with_threads(MAX_THREADS);
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void idle_sleeps(void)
{
    struct job j = {0};
    CHECK_INT(pool_new(&j.pool, 2, NULL), 0);
    pool_run(j.pool, count_worker, &j);
    struct timespec pause = {0, 20000000};
    nanosleep(&pause, NULL); /* the bounded spin is long over */
    double before = cpu_seconds();
    pause.tv_nsec = 200000000;
    nanosleep(&pause, NULL);
    CHECK(cpu_seconds() - before < 0.1); /* a spinning worker would have used 0.2 */
    pool_run(j.pool, count_worker, &j);  /* and wakes again */
    CHECK_INT(j.seen[1], 2);
    pool_free(j.pool);
}

static void late_worker(void *arg, int thread, int n)
{
    struct job *j = arg;
    size_t begin, end, count = 0;
    (void)n;
    if (thread == 0)
        nanosleep(&(struct timespec){0, 150000000}, NULL);
    pool_barrier(j->pool);
    for (; pool_take(&j->work[0], 2, 1, &begin, &end); count++)
        nanosleep(&(struct timespec){0, begin ? 150000000 : 1}, NULL);
    pool_wait(j->pool, &j->work[0], 2, count);
}

/* Whoever waits long, at a barrier or for a piece, leaves the processor to others. */
static void waiting_sleeps(void)
{
    struct job j = {0};
    CHECK_INT(pool_new(&j.pool, 2, NULL), 0);
    double before = cpu_seconds();
    pool_run(j.pool, late_worker, &j);
    CHECK(cpu_seconds() - before < 0.1); /* of 0.3 */
    pool_free(j.pool);
}

static void take_edges(void)
{
    struct pool_work w = {0};
    size_t b = 7, e = 7;
    CHECK_INT(pool_take(&w, 0, 4, &b, &e), 0);
    w = (struct pool_work){0};
    CHECK_INT(pool_take(&w, 5, 4, &b, &e), 1);
    CHECK(b == 0 && e == 4);
    CHECK_INT(pool_take(&w, 5, 4, &b, &e), 1);
    CHECK(b == 4 && e == 5);
    CHECK_INT(pool_take(&w, 5, 4, &b, &e), 0);
    w = (struct pool_work){0};
    CHECK_INT(pool_take(&w, 5, SIZE_MAX / 2, &b, &e), 1);
    CHECK(b == 0 && e == 5);
}

static void refusals(void)
{
    struct pool *p;
    struct err e = {0};
    CHECK_INT(pool_new(&p, -1, &e), ERR_RANGE);
    CHECK(p == NULL);
    CHECK_INT(pool_new(&p, 100000, &e), ERR_RANGE);
    for (long n = 0; n < 2; n++) {
        mem_fail_after(n);
        CHECK_INT(pool_new(&p, 2, &e), ERR_NOMEM);
        mem_fail_after(-1);
        CHECK(p == NULL);
    }
    pool_free(NULL);
    CHECK_INT(pool_new(&p, 0, &e), 0);
    CHECK_INT(pool_threads(p), cpu_count());
    pool_free(p);
}

static void clock_goes_on(void)
{
    uint64_t a = clock_ns();
    double s = clock_s();
    CHECK(clock_ns() >= a && s > 0);
    CHECK(clock_unix() > 1600000000);
}

int main(void)
{
    RUN(one_thread);
    RUN(two_threads);
    RUN(three_threads);
    RUN(more_than_cores);
    RUN(idle_sleeps);
    RUN(waiting_sleeps);
    RUN(take_edges);
    RUN(refusals);
    RUN(clock_goes_on);
    return check_done();
}
