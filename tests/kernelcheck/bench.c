/* bench: kernelcheck's clock. Linear kernels: 512 tokens on one matrix in cache (GOP/s) and 1 token on many matrices that together
 * are far larger than the caches (GB/s of packed weights), beside what this core reads at in the same moment. One thread, median. */
#include "base/cpu.h"
#include "base/mem.h"
#include "kernelcheck.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { K = 1536, ROWS = 1536, TOKENS = 512, SPAN = 192 << 20, RUNS = 7 };

/* This thread's CPU time: being preempted by others is not the kernel's fault (sharing its caches still shows). */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    return v[n / 2];
}

static volatile uint64_t sink;

/* Plain sequential read of SPAN bytes. */
static double read_seconds(const uint8_t *p)
{
    uint64_t s[8] = {0};
    double t = now();
    for (size_t i = 0; i < SPAN; i += 64)
        for (int j = 0; j < 8; j++) {
            uint64_t v;
            memcpy(&v, p + i + 8 * (size_t)j, sizeof v);
            s[j] += v;
        }
    t = now() - t;
    for (int j = 0; j < 8; j++)
        sink += s[j];
    return t;
}

static void report(const char *level, const char *entry, const char *what, double v, const char *unit, bool json)
{
    if (json)
        printf("{\"level\":\"%s\",\"entry\":\"%s\",\"case\":\"%s\",\"value\":%.2f,\"unit\":\"%s\"}\n", level, entry,
               what, v, unit);
    else
        printf("%-7s %-12s %-22s %9.1f %s\n", level, entry, what, v, unit);
    fflush(stdout);
}

/* As the program holds its weights: whole pages, huge ones where the system gives them. Never freed: the tool ends. */
static void *room(size_t n)
{
    void *p = mem_pages(n);
    if (!p) {
        fprintf(stderr, "kernelcheck: out of memory\n");
        exit(1);
    }
    memset(p, 0, n);
    return p;
}

struct linear_bench {
    uint8_t *w;
    float *x, *y;
    void *act, *scratch;
};

static double timed_mul(const struct kernels *k, enum dtype t, const struct linear_bench *b, size_t tok, bool wide,
                        size_t at)
{
    struct linear_args a = {.w = b->w + at,
                            .act = k->linear[t].float_act ? (void *)b->x : b->act,
                            .y = b->y,
                            .scratch = b->scratch,
                            .k = K,
                            .n_rows = ROWS,
                            .ldy = ROWS,
                            .g1 = ROWS / 16,
                            .t1 = tok,
                            .n_tok = tok,
                            .wide = wide,
                            .ahead = cpu_stream_ahead()};
    double s = now();
    k->linear[t].mul(&a);
    return now() - s;
}

/* Weights that mean something: one encoded group, copied everywhere. */
static void fill(const struct kernels *k, enum dtype t, uint8_t *w, size_t span)
{
    const struct dtype_info *d = dtype_info(t);
    size_t row = K / d->block * d->bytes, gb = k->linear[t].group_bytes(K);
    uint8_t *file = room(16 * row);
    float *x = room(K * 4);
    struct random r = {99};
    for (size_t i = 0; i < 16; i++) {
        for (size_t j = 0; j < K; j++)
            x[j] = random_gauss(&r);
        d->encode(file + i * row, x, K);
    }
    k->linear[t].pack(w, file, row, 16, K);
    for (size_t at = gb; at + gb <= span; at += gb)
        memcpy(w + at, w, gb);
}

static void bench_linear(const struct kernels *k, enum dtype t, const char *name, bool json)
{
    size_t matrix = ROWS / 16 * k->linear[t].group_bytes(K);
    struct random r = {7};
    struct linear_bench b = {room(SPAN), room((size_t)TOKENS * K * 4), room((size_t)TOKENS * ROWS * 4), NULL,
                             room(k->linear_scratch(K, TOKENS))};
    b.act = room(k->act_bytes(K, TOKENS, true));
    fill(k, t, b.w, SPAN);
    for (size_t i = 0; i < (size_t)TOKENS * K; i++)
        b.x[i] = random_gauss(&r);
    static const size_t COUNTS[] = {512, 16, 8, 4};
    double v[RUNS], w[RUNS];
    for (int wide = 0; wide < 2 && !(wide && k->linear[t].float_act); wide++) {
        for (size_t c = 0; c < sizeof COUNTS / sizeof *COUNTS; c++) {
            char what[32];
            size_t tok = COUNTS[c];
            snprintf(what, sizeof what, "%zu tokens%s", tok, wide ? " wide" : "");
            k->act_quantize(b.act, NULL, b.x, K, K, tok, 0, tok, wide);
            for (int i = 0; i < RUNS; i++)
                v[i] = timed_mul(k, t, &b, tok, wide, 0);
            report(k->level, name, what, 2e-9 * (double)(tok * K) * ROWS / median(v, RUNS), "GOP/s", json);
        }
        k->act_quantize(b.act, NULL, b.x, K, K, 1, 0, 1, wide);
        for (int i = 0; i < RUNS; i++)
            v[i] = timed_mul(k, t, &b, 1, wide, 0) / (double)matrix;
        report(k->level, name, wide ? "1 token, cached, wide" : "1 token, cached", 1e-9 / median(v, RUNS), "GB/s",
               json);
        for (int i = 0; i < RUNS; i++) {
            size_t n = SPAN / matrix;
            v[i] = w[i] = 0;
            for (size_t m = 0; m < n; m++)
                v[i] += timed_mul(k, t, &b, 1, wide, m * matrix);
            v[i] /= (double)(n * matrix);
            w[i] = read_seconds(b.w) / SPAN;
        }
        report(k->level, name, wide ? "1 token wide" : "1 token", 1e-9 / median(v, RUNS), "GB/s", json);
        report(k->level, name, "read beside it", 1e-9 / median(w, RUNS), "GB/s", json);
    }
}

static void bench_attn(const struct kernels *k, enum dtype t, size_t n_q, size_t hd, size_t n_pos, bool json)
{
    size_t pages = n_pos / KERNEL_PAGE, half = kernel_kv_bytes(t, hd), bytes = 2 * half;
    uint8_t *kv = room(pages * bytes);
    const uint8_t **list = room(pages * sizeof *list);
    float *q = room(n_q * hd * 4), *out = room(n_q * hd * 4);
    const float **qp = room(n_q * sizeof *qp);
    float **op = room(n_q * sizeof *op);
    int32_t *pos = room(n_q * sizeof *pos);
    void *scratch = room(k->attn_scratch(n_q, hd));
    struct random r = {3};
    for (size_t i = 0; i < pages; i++)
        list[i] = kv + i * bytes;
    for (size_t j = 0; j < n_pos; j++) {
        float a[512], b[512];
        for (size_t d = 0; d < hd; d++) {
            a[d] = random_gauss(&r);
            b[d] = random_gauss(&r);
        }
        k->attn[t].store(&(struct store_args){.block = kv + j / KERNEL_PAGE * bytes,
                                              .v_off = half,
                                              .k = a,
                                              .v = b,
                                              .head_dim = hd,
                                              .slot = j % KERNEL_PAGE,
                                              .n = 1});
    }
    for (size_t i = 0; i < n_q; i++) {
        qp[i] = q + i * hd;
        op[i] = out + i * hd;
        pos[i] = (int32_t)(n_pos - 1);
        for (size_t d = 0; d < hd; d++)
            q[i * hd + d] = random_gauss(&r) * 0.1f;
    }
    struct attn_args a = {.q = qp, .out = op, .pos = pos, .n_q = n_q, .head_dim = hd, .pages = list, .v_off = half};
    a.scratch = scratch;
    double v[RUNS];
    for (int i = 0; i < RUNS; i++) {
        double s = now();
        k->attn[t].attn(&a);
        v[i] = now() - s;
    }
    char what[40], name[24];
    snprintf(name, sizeof name, "attn.%s", dtype_info(t)->name);
    snprintf(what, sizeof what, "q %zu hd %zu pos %zu", n_q, hd, n_pos);
    double s = median(v, RUNS);
    report(k->level, name, what, 4e-9 * (double)(n_q * hd) * (double)n_pos / s, "GFLOP/s", json);
    if (n_q < 16)
        report(k->level, name, what, 1e-9 * (double)(pages * bytes) / s, "GB/s", json);
}

static void bench_rows(const struct kernels *k, bool json)
{
    enum { N = 8960, TIMES = 200 };
    float *a = room(N * 4), *b = room(N * 4), *d = room(N * 4);
    void *act = room(k->act_bytes(N, 8, true));
    struct random r = {5};
    double s, ns = 1e9 / ((double)TIMES * N);
    for (int i = 0; i < N; i++) {
        a[i] = random_gauss(&r);
        b[i] = random_gauss(&r);
    }
#define TIME(NAME, CALL)                                                                                               \
    s = now();                                                                                                         \
    for (int i = 0; i < TIMES; i++)                                                                                    \
        CALL;                                                                                                          \
    report(k->level, NAME, "n 8960", 1e3 * (now() - s) * ns, "ps/element", json)
    TIME("rmsnorm", k->rmsnorm(d, a, b, N, 1e-6f));
    TIME("add", k->add(d, a, b, N));
    TIME("silu_mul", k->silu_mul(d, a, b, N));
    TIME("gelu_mul", k->gelu_mul(d, a, b, N));
    TIME("argmax", sink += k->argmax(a, N));
    struct weigh wa = {.max = 8, .temperature = 0.8f, .least = 1e-37f};
    TIME("weigh", k->weigh(d, a, N, &wa));
    TIME("act_quantize", k->act_quantize(act, NULL, a, N, N, 1, 0, 1, false));
    TIME("act_quantize wide", k->act_quantize(act, NULL, a, N, N, 1, 0, 1, true));
}

void bench_run(const struct kernels *k, const char *only, bool json)
{
    for (int t = 0; t < DT_COUNT; t++) {
        char name[24];
        snprintf(name, sizeof name, "linear.%s", dtype_info((enum dtype)t)->name);
        if (k->linear[t].mul && (!only || strcmp(only, name) == 0))
            bench_linear(k, (enum dtype)t, name, json);
    }
    for (int t = 0; t < DT_COUNT; t++) {
        char name[24];
        snprintf(name, sizeof name, "attn.%s", dtype_info((enum dtype)t)->name);
        if (!k->attn[t].attn || (only && strcmp(only, "attn") != 0 && strcmp(only, name) != 0))
            continue;
        bench_attn(k, (enum dtype)t, 63, 64, 512, json);
        bench_attn(k, (enum dtype)t, 60, 128, 4096, json);
        bench_attn(k, (enum dtype)t, 7, 64, 16384, json);
        bench_attn(k, (enum dtype)t, 6, 128, 16384, json);
        bench_attn(k, (enum dtype)t, 1, 64, 32768, json);
    }
    if (!only || strcmp(only, "rows") == 0)
        bench_rows(k, json);
}
