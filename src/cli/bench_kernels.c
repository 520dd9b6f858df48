/* bench_kernels: every kernel on its own, one thread: how long a call takes, and how near it comes to what this core can do. Few
 * tokens stream through far more weights than caches hold, as decoding does; many tokens stay on one matrix in the cache. Cycles
 * are counted by a chain of dependent additions, one cycle each, timed beside every case: it follows the core's clock. */
#include "base/clock.h"
#include "base/cpu.h"
#include "base/rng.h"
#include "cli/bench.h"
#include "kernel/kernel.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { K = 1536, ROWS = 1536, RUNS = 7, STREAM_TOKENS = 16, ROW_N = 8960, ROW_CALLS = 100, MAX_Q = 64, CHAIN = 400000 };
enum { SPAN = 256 << 20, SPARE = 96 << 20 };

struct area {
    char *mem;
    size_t used;
};

static void *area_take(struct area *a, size_t n)
{
    void *p = a->mem + a->used;
    a->used += (n + 63) & ~(size_t)63;
    return a->used <= (size_t)SPAN + SPARE ? p : NULL;
}

static void noise(float *x, size_t n, uint64_t salt)
{
    for (size_t i = 0; i < n; i++) /* a triangle, about as wide as a Gaussian of deviation 1 */
        x[i] = (float)((rng_uniform(salt, 0, i) + rng_uniform(salt, 1, i) - 1) * 2.45);
}

static double clock_hz(void)
{
    uint64_t x = 0;
    double best = 0;
    for (int t = 0; t < 3; t++) {
        double s = clock_s();
        for (int i = 0; i < CHAIN; i++) {
            x += 1;
            __asm__ volatile("" : "+r"(x));
        }
        s = clock_s() - s;
        best = s > 0 && CHAIN / s > best ? CHAIN / s : best;
    }
    return best;
}

struct timing {
    const struct bench_kernels *b;
    struct bench_kernel *row;
    void (*call)(void *arg, int i); /* the i-th call of a run */
    void *arg;
    int calls;
};

/* Median of some runs of `calls` calls; fills what follows from the time. */
static void timing_run(const struct timing *t)
{
    double s[RUNS], hz[RUNS];
    struct bench_kernel *r = t->row;
    for (int run = -1; run < RUNS; run++) {
        double from = clock_s();
        for (int i = 0; i < t->calls; i++)
            t->call(t->arg, i);
        if (run >= 0) {
            s[run] = (clock_s() - from) / t->calls;
            hz[run] = clock_hz();
        }
    }
    double seconds = bench_median(s, RUNS), mem = r->streams ? r->bytes / t->b->roof->read_bytes : 0,
           ops = r->ops / (r->is_f32 ? t->b->roof->f32_ops : t->b->roof->int8_ops);
    r->ns = seconds * 1e9;
    r->cycles = seconds * bench_median(hz, RUNS);
    r->gb_s = r->bytes / seconds / 1e9;
    r->gop_s = r->ops / seconds / 1e9;
    r->share = (mem > ops ? mem : ops) / seconds;
    r->bound = mem > ops ? "bandwidth" : r->is_f32 ? "f32" : "int8";
}

struct linear_case {
    const struct kernels *k;
    struct linear_args a;
    const char *w;
    size_t matrix;
    enum dtype type;
};

static void call_linear(void *arg, int i)
{
    struct linear_case *c = arg;
    c->a.w = c->w + (size_t)i * c->matrix;
    c->k->linear[c->type].mul(&c->a);
}

/* One encoded group that means something, copied over `bytes`. */
static void fill_weights(const struct kernels *k, enum dtype t, char *w, size_t bytes, float *x)
{
    const struct dtype_info *d = dtype_info(t);
    size_t row = K / d->block * d->bytes, group = k->linear[t].group_bytes(K);
    char *encoded = (char *)(x + K);
    for (size_t r = 0; r < KERNEL_MR; r++) {
        noise(x, K, 100 + r);
        d->encode(encoded + r * row, x, K);
    }
    k->linear[t].pack(w, encoded, row, KERNEL_MR, K);
    for (size_t at = group; at + group <= bytes; at += group)
        memcpy(w + at, w, group);
}

static int run_linear(const struct bench_kernels *b, enum dtype t, size_t tok, bench_kernel_fn tell, void *arg)
{
    struct area a = {.mem = b->mem};
    const struct linear_kernel *l = &b->k->linear[t];
    size_t matrix = ROWS / KERNEL_MR * l->group_bytes(K);
    bool stream = tok <= STREAM_TOKENS, wide = b->precise && !l->float_act;
    int calls = stream ? (int)(SPAN / matrix) : 1 + (int)(1024 / tok);
    struct bench_kernel row = {.streams = stream, .is_f32 = l->float_act, .ops = 2.0 * K * ROWS * (double)tok};
    row.bytes = (double)matrix;
    char *w = area_take(&a, SPAN);
    float *spare = area_take(&a, (size_t)K * 4 * (KERNEL_MR + 1)), *x = area_take(&a, tok * K * 4),
          *y = area_take(&a, tok * ROWS * 4);
    void *act = area_take(&a, b->k->act_bytes(K, tok, wide)), *scratch = area_take(&a, b->k->linear_scratch(K, tok));
    if (!scratch)
        return 0; /* more tokens than the area holds: --tokens is limited so that this cannot be */
    fill_weights(b->k, t, w, stream ? SPAN : matrix, spare);
    noise(x, tok * K, 7);
    if (!l->float_act)
        b->k->act_quantize(act, NULL, x, K, K, tok, 0, tok, wide);
    struct linear_case c = {.k = b->k, .w = w, .matrix = stream ? matrix : 0, .type = t};
    c.a = (struct linear_args){.act = l->float_act ? (void *)x : act,
                               .y = y,
                               .scratch = scratch,
                               .k = K,
                               .n_rows = ROWS,
                               .ldy = ROWS,
                               .g1 = ROWS / KERNEL_MR,
                               .t1 = tok,
                               .n_tok = tok,
                               .wide = wide,
                               .ahead = cpu_stream_ahead()};
    snprintf(row.name, sizeof row.name, "linear.%s", dtype_info(t)->name);
    snprintf(row.what, sizeof row.what, "%zu token%s%s", tok, tok > 1 ? "s" : "", wide ? ", precise" : "");
    timing_run(&(struct timing){b, &row, call_linear, &c, calls});
    return tell(arg, &row);
}

struct attn_case {
    const struct kernels *k;
    struct attn_args a;
    const uint8_t *const *pages;
    size_t step; /* pages from one call's cache to the next's */
    enum dtype type;
};

static void call_attn(void *arg, int i)
{
    struct attn_case *c = arg;
    c->a.pages = c->pages + (size_t)i * c->step;
    c->k->attn[c->type].attn(&c->a);
}

struct attn_shape {
    size_t n_q, head_dim, n_pos;
};

static int run_attn(const struct bench_kernels *b, enum dtype t, const struct attn_shape *s, bench_kernel_fn tell,
                    void *arg)
{
    const float *q[MAX_Q];
    float *out[MAX_Q];
    int32_t pos[MAX_Q];
    struct area a = {.mem = b->mem};
    size_t half = kernel_kv_bytes(t, s->head_dim), pages = s->n_pos / KERNEL_PAGE;
    bool stream = s->n_q < STREAM_TOKENS; /* as when decoding: every call reads another cache */
    size_t calls = stream ? SPAN / (pages * 2 * half) : 1, n = calls * pages;
    char *kv = area_take(&a, n * 2 * half);
    const uint8_t **list = area_take(&a, n * sizeof *list);
    float *rows = area_take(&a, 2 * MAX_Q * s->head_dim * 4), *x = area_take(&a, 2 * s->head_dim * 4);
    void *scratch = area_take(&a, b->k->attn_scratch(s->n_q, s->head_dim));
    for (size_t p = 0; p < n; p++)
        list[p] = (uint8_t *)kv + p * 2 * half;
    for (size_t j = 0; j < KERNEL_PAGE; j++) { /* one page, then copies of it */
        noise(x, 2 * s->head_dim, j);
        b->k->attn[t].store(&(struct store_args){.block = (uint8_t *)kv,
                                                 .v_off = half,
                                                 .k = x,
                                                 .v = x + s->head_dim,
                                                 .head_dim = s->head_dim,
                                                 .slot = j,
                                                 .n = 1});
    }
    for (size_t p = 1; p < n; p++)
        memcpy(kv + p * 2 * half, kv, 2 * half);
    noise(rows, s->n_q * s->head_dim, 5);
    for (size_t i = 0; i < s->n_q; i++) {
        q[i] = rows + i * s->head_dim;
        out[i] = rows + (MAX_Q + i) * s->head_dim;
        pos[i] = (int32_t)s->n_pos - 1;
    }
    struct attn_case c = {.k = b->k, .pages = list, .step = pages, .type = t};
    c.a = (struct attn_args){.q = q, .out = out, .pos = pos, .n_q = s->n_q, .head_dim = s->head_dim};
    c.a.v_off = half;
    c.a.scratch = scratch;
    struct bench_kernel row = {.is_f32 = true, .streams = stream};
    row.bytes = (double)(pages * 2 * half);
    row.ops = 4.0 * (double)(s->n_q * s->head_dim * s->n_pos);
    snprintf(row.name, sizeof row.name, "attn.%s", dtype_info(t)->name);
    snprintf(row.what, sizeof row.what, "%zu rows of %zu, %zu keys", s->n_q, s->head_dim, s->n_pos);
    timing_run(&(struct timing){b, &row, call_attn, &c, (int)calls});
    return tell(arg, &row);
}

struct row_case {
    const struct kernels *k;
    float *a, *b, *d;
    void *act;
    size_t sum;
};
static void call_rmsnorm(void *arg, int i)
{
    struct row_case *c = arg;
    (void)i;
    c->k->rmsnorm(c->d, c->a, c->b, ROW_N, 1e-6f);
}
static void call_add(void *arg, int i)
{
    struct row_case *c = arg;
    (void)i;
    c->k->add(c->d, c->a, c->b, ROW_N);
}
static void call_scale(void *arg, int i)
{
    struct row_case *c = arg;
    (void)i;
    c->k->scale(c->d, c->a, 0.5f, ROW_N);
}
static void call_silu(void *arg, int i)
{
    struct row_case *c = arg;
    (void)i;
    c->k->silu_mul(c->d, c->a, c->b, ROW_N);
}
static void call_gelu(void *arg, int i)
{
    struct row_case *c = arg;
    (void)i;
    c->k->gelu_mul(c->d, c->a, c->b, ROW_N);
}
static void call_rope(void *arg, int i)
{
    struct row_case *c = arg;
    (void)i;
    for (size_t h = 0; h + 128 <= ROW_N; h += 128)
        c->k->rope(c->d + h, c->b, 128, true);
}
static void call_argmax(void *arg, int i)
{
    struct row_case *c = arg;
    (void)i;
    c->sum += c->k->argmax(c->a, ROW_N);
}
static void call_weigh(void *arg, int i)
{
    struct row_case *c = arg;
    struct weigh a = {.max = 8, .temperature = 0.8f, .least = 1e-37f};
    (void)i;
    c->k->weigh(c->d, c->a, ROW_N, &a);
}
static void call_quantize(void *arg, int i)
{
    struct row_case *c = arg;
    (void)i;
    c->k->act_quantize(c->act, NULL, c->a, ROW_N, ROW_N, 1, 0, 1, false);
}
static void call_quantize_wide(void *arg, int i)
{
    struct row_case *c = arg;
    (void)i;
    c->k->act_quantize(c->act, NULL, c->a, ROW_N, ROW_N, 1, 0, 1, true);
}

static const struct row_kernel {
    const char *name;
    void (*call)(void *arg, int i);
    double bytes, ops; /* per number */
} row_kernels[] = {{"rmsnorm", call_rmsnorm, 12, 4},      {"add", call_add, 12, 1},
                   {"scale", call_scale, 8, 1},           {"silu_mul", call_silu, 12, 0},
                   {"gelu_mul", call_gelu, 12, 0},        {"rope", call_rope, 8, 3},
                   {"argmax", call_argmax, 4, 1},         {"weigh", call_weigh, 8, 0},
                   {"act_quantize", call_quantize, 5, 0}, {"act_quantize.wide", call_quantize_wide, 6, 0}};

static int run_row(const struct bench_kernels *b, const struct row_kernel *rk, bench_kernel_fn tell, void *arg)
{
    struct area a = {.mem = b->mem};
    struct row_case c = {.k = b->k};
    c.a = area_take(&a, ROW_N * 4);
    c.b = area_take(&a, ROW_N * 4);
    c.d = area_take(&a, ROW_N * 4);
    c.act = area_take(&a, b->k->act_bytes(ROW_N, 1, true));
    noise(c.a, ROW_N, 1);
    noise(c.b, ROW_N, 2);
    noise(c.d, ROW_N, 3);
    struct bench_kernel row = {.is_f32 = true, .bytes = rk->bytes * ROW_N, .ops = rk->ops * ROW_N};
    snprintf(row.name, sizeof row.name, "%s", rk->name);
    snprintf(row.what, sizeof row.what, "%d numbers", ROW_N);
    timing_run(&(struct timing){b, &row, rk->call, &c, ROW_CALLS});
    if (rk->ops == 0)
        row.share = 0; /* what it computes has no roof of its own */
    return tell(arg, &row);
}

static bool wanted(const struct bench_kernels *b, const char *family, const char *member)
{
    char name[32];
    snprintf(name, sizeof name, "%s%s%s", family, *member ? "." : "", member);
    for (int i = 0; i < b->n_names; i++)
        if (strstr(name, b->names[i]))
            return true;
    return b->n_names == 0;
}

static int run_all(const struct bench_kernels *b, bench_kernel_fn tell, void *arg)
{
    static const struct attn_shape shapes[] = {{1, 64, 32768}, {6, 128, 16384}, {60, 128, 4096}, {63, 64, 512}};
    int r = 0;
    for (int t = 0; t < DT_COUNT; t++)
        for (size_t i = 0; i < b->n_tokens && !r; i++)
            if (b->k->linear[t].mul && wanted(b, "linear", dtype_info((enum dtype)t)->name))
                r = run_linear(b, (enum dtype)t, (size_t)b->tokens[i], tell, arg);
    for (int t = 0; t < DT_COUNT; t++)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0] && !r; i++)
            if (b->k->attn[t].attn && wanted(b, "attn", dtype_info((enum dtype)t)->name))
                r = run_attn(b, (enum dtype)t, &shapes[i], tell, arg);
    for (size_t i = 0; i < sizeof row_kernels / sizeof row_kernels[0] && !r; i++)
        if (wanted(b, row_kernels[i].name, ""))
            r = run_row(b, &row_kernels[i], tell, arg);
    return r;
}

int bench_kernels_run(struct bench_kernels *b, struct ledger *l, bench_kernel_fn tell, void *arg, struct err *e)
{
    struct ledger_owner *o;
    void *mem;
    int r = ledger_owner_new(l, "bench/kernels", &o, e);
    if (r)
        return r;
    if (!(r = ledger_alloc(o, (size_t)SPAN + SPARE, &mem, e))) {
        memset(mem, 0, (size_t)SPAN + SPARE); /* every page is there */
        b->mem = mem;
        if (run_all(b, tell, arg))
            r = err_set(e, ERR_CANCELLED, "interrupted");
        ledger_dealloc(o, mem, (size_t)SPAN + SPARE);
    }
    ledger_owner_free(o);
    return r;
}
