/* bench_roof: see bench.h. Every roof is the best of several short tries: a neighbour on the same core only ever slows one down. */
#include "base/clock.h"
#include "base/cpu.h"
#include "base/pool.h"
#include "base/rng.h"
#include "cli/bench.h"
#include "kernel/kernel.h"
#include <stdio.h>
#include <string.h>

enum {
    READ_BYTES = 256 << 20,
    READ_TRIES = 8,
    ROWS = 64,
    K = 1024,
    TOKENS = 64,
    CALLS = 24,
    MUL_TRIES = 6,
    TRY_MS = 200, /* no further try after that: plain C and emulators take long for one */
    THREADS = 256
};

struct reading {
    const char *data;
    size_t bytes; /* of all threads together */
    int threads, streams, passes;
    uint64_t sum[THREADS][8]; /* a cache line each; kept so that the reads are not dropped */
};

/* One thread's share, as `streams` runs side by side, a cache line of each in turn. */
static void read_part(void *arg, int thread, int n_threads)
{
    struct reading *r = arg;
    (void)n_threads;
    if (thread >= r->threads)
        return;
    size_t run = r->bytes / (size_t)r->threads / (size_t)r->streams & ~(size_t)127;
    const char *p = r->data + run * (size_t)r->streams * (size_t)thread;
    uint64_t s[16] = {0};
    for (int pass = 0; pass < r->passes; pass++)
        for (size_t i = 0; i < run; i += 128)
            for (int k = 0; k < r->streams; k++) {
                const uint64_t *q = (const uint64_t *)(const void *)(p + run * (size_t)k + i);
                for (size_t j = 0; j < 16; j++)
                    s[j] += q[j];
            }
    for (size_t j = 0; j < 16; j++)
        r->sum[thread % THREADS][0] += s[j];
}

static double read_best(struct backend *b, struct reading *r, int tries)
{
    double best = 0, end = clock_s() + TRY_MS / 1e3;
    for (int i = 0; i < tries && (!i || clock_s() < end); i++) {
        double t = clock_s();
        pool_run(backend_pool(b), read_part, r);
        t = clock_s() - t;
        double rate = t > 0 ? (double)r->bytes * r->passes / t : 0;
        best = rate > best ? rate : best;
    }
    return best;
}

static void add_read(struct bench_reads *out, const char *name, int threads, int streams, size_t bytes)
{
    if (out->n == BENCH_READS || !bytes)
        return;
    out->row[out->n].threads = threads;
    out->row[out->n].streams = streams;
    out->row[out->n].bytes = bytes;
    snprintf(out->row[out->n++].name, sizeof out->row[0].name, "%s", name);
}

int bench_roof_reads(struct backend *b, struct ledger *l, struct bench_reads *out, struct err *e)
{
    struct ledger_owner *o;
    static struct reading r;
    void *mem;
    int all = backend_threads(b), err = ledger_owner_new(l, "bench/roof", &o, e);
    if (err)
        return err;
    *out = (struct bench_reads){0};
    for (int n = 1; n < all; n *= 2)
        add_read(out, "memory", n, 1, READ_BYTES);
    for (int s = 1; s <= 8; s *= 2)
        add_read(out, "memory", all, s, READ_BYTES);
    for (int level = 1; level <= 3; level++) {
        static const char *const names[] = {"L1 cache", "L2 cache", "L3 cache"};
        size_t size = cpu_cache_bytes(level) / 2, least = level > 1 ? cpu_cache_bytes(level - 1) : 0;
        if (size > (32u << 20))
            size = 32u << 20; /* others share it */
        add_read(out, names[level - 1], 1, 1, size > least ? size & ~(size_t)4095 : 0);
    }
    if (!(err = ledger_alloc(o, READ_BYTES, &mem, e))) {
        memset(mem, 1, READ_BYTES);
        for (int i = 0; i < out->n; i++) {
            r = (struct reading){.data = mem, .bytes = out->row[i].bytes, .threads = out->row[i].threads};
            r.streams = out->row[i].streams;
            r.passes = out->row[i].bytes < READ_BYTES ? (int)((64u << 20) / out->row[i].bytes) + 1 : 1;
            out->row[i].rate = read_best(b, &r, MUL_TRIES);
        }
        ledger_dealloc(o, mem, READ_BYTES);
    }
    ledger_owner_free(o);
    return err;
}

static int read_roof(struct backend *b, struct ledger_owner *o, double *out, struct err *e)
{
    void *mem;
    static struct reading r;
    int err = ledger_alloc(o, READ_BYTES, &mem, e);
    if (err)
        return err;
    memset(mem, 1, READ_BYTES); /* every page is there, and none is the shared zero page */
    r = (struct reading){.data = mem, .bytes = READ_BYTES, .threads = backend_threads(b), .streams = 1, .passes = 1};
    *out = read_best(b, &r, READ_TRIES);
    ledger_dealloc(o, mem, READ_BYTES);
    return 0;
}

struct multiplying {
    const struct kernels *k;
    enum dtype type;
    char *mem;                    /* one part per thread */
    size_t part, act, scratch, y; /* offsets in a part: packed weights at 0 */
};

static void mul_part(void *arg, int thread, int n_threads)
{
    struct multiplying *m = arg;
    char *p = m->mem + m->part * (size_t)thread;
    struct linear_args a = {.w = p,
                            .act = p + m->act,
                            .y = (float *)(p + m->y),
                            .scratch = p + m->scratch,
                            .k = K,
                            .n_rows = ROWS,
                            .ldy = ROWS,
                            .g1 = ROWS / KERNEL_MR,
                            .t1 = TOKENS,
                            .n_tok = TOKENS};
    (void)n_threads;
    for (int i = 0; i < CALLS; i++)
        m->k->linear[m->type].mul(&a);
}

static size_t round_up(size_t n)
{
    return (n + 4095) & ~(size_t)4095;
}

static void prepare_part(const struct multiplying *m, char *p, const float *x, char *encoded)
{
    const struct dtype_info *d = dtype_info(m->type);
    const struct linear_kernel *l = &m->k->linear[m->type];
    size_t row = K / d->block * d->bytes;
    for (size_t r = 0; r < KERNEL_MR; r++)
        d->encode(encoded + r * row, x + r * K, K);
    for (size_t g = 0; g < ROWS / KERNEL_MR; g++)
        l->pack(p + g * l->group_bytes(K), encoded, row, KERNEL_MR, K);
    if (l->float_act)
        memcpy(p + m->act, x, TOKENS * K * sizeof *x);
    else
        m->k->act_quantize(p + m->act, NULL, x, K, K, TOKENS, 0, TOKENS, false);
}

static int mul_roof(struct backend *b, struct ledger_owner *o, enum dtype t, double *best, struct err *e)
{
    const struct kernels *k = backend_kernels(b);
    const struct linear_kernel *l = &k->linear[t];
    size_t threads = (size_t)backend_threads(b), x_bytes = TOKENS * K * sizeof(float);
    struct multiplying m = {.k = k, .type = t};
    m.act = round_up(ROWS / KERNEL_MR * l->group_bytes(K));
    m.scratch = m.act + round_up(l->float_act ? x_bytes : k->act_bytes(K, TOKENS, false));
    m.y = m.scratch + round_up(k->linear_scratch(K, TOKENS));
    m.part = m.y + round_up(TOKENS * ROWS * sizeof(float));
    size_t all = m.part * threads + 2 * x_bytes;
    void *mem;
    int err = ledger_alloc(o, all, &mem, e);
    if (err)
        return err;
    m.mem = mem;
    float *x = (float *)(m.mem + m.part * threads);
    for (size_t i = 0; i < TOKENS * K; i++)
        x[i] = (float)(rng_uniform(3, 0, i) * 2 - 1);
    for (size_t i = 0; i < threads; i++)
        prepare_part(&m, m.mem + m.part * i, x, (char *)x + x_bytes);
    double ops = 2.0 * ROWS * K * TOKENS * CALLS * (double)threads, end = clock_s() + TRY_MS / 1e3;
    for (int i = 0; i < MUL_TRIES && (!i || clock_s() < end); i++) {
        double s = clock_s();
        pool_run(backend_pool(b), mul_part, &m);
        s = clock_s() - s;
        if (s > 0 && ops / s > *best)
            *best = ops / s;
    }
    ledger_dealloc(o, mem, all);
    return 0;
}

int bench_roof_measure(struct backend *b, struct ledger *l, struct bench_roof *out, struct err *e)
{
    static const enum dtype quantised[] = {DT_Q4_0, DT_Q4_1, DT_Q8_0, DT_Q4_K};
    struct ledger_owner *o;
    *out = (struct bench_roof){0};
    int r = ledger_owner_new(l, "bench/roof", &o, e);
    if (r)
        return r;
    r = read_roof(b, o, &out->read_bytes, e);
    for (size_t i = 0; !r && i < sizeof quantised / sizeof quantised[0]; i++)
        r = mul_roof(b, o, quantised[i], &out->kernel_int8, e);
    if (!r)
        r = mul_roof(b, o, DT_F32, &out->kernel_f32, e);
    bench_probe(b, &out->int8_ops, &out->f32_ops);
    /* also should a neighbour have disturbed the probe only */
    if (out->int8_ops < out->kernel_int8)
        out->int8_ops = out->kernel_int8;
    if (out->f32_ops < out->kernel_f32)
        out->f32_ops = out->kernel_f32;
    ledger_owner_free(o);
    return r;
}
