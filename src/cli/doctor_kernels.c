/* doctor_kernels: each kernel entry against kernel/ref by memcmp, on inputs small enough to take milliseconds. The
 * thorough comparison is tests/kernelcheck; this one is for the user's machine. */
#include "base/mem.h"
#include "base/rng.h"
#include "cli/doctor.h"
#include "kernel/kernel.h"
#include <stdio.h>
#include <string.h>

enum { K = 256, ROWS = 40, TOKENS = 9, HEAD = 64, KEYS = 130, PAGES = 3, SPACE = 1 << 20, AREAS = 6 };

struct bench_area { /* memory of the test: page-aligned areas of SPACE bytes */
    char *area[AREAS];
};

struct check {
    const struct kernels *ref, *k;
    struct bench_area *m;
    enum dtype type;
};

static void fill(float *x, size_t n, uint64_t key, float scale)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(rng_uniform(key, 0, i) * 2 - 1) * scale;
}

/* One matrix of the format, packed and multiplied by both; the areas: 0 encoded, 1 packed, 2 activations, 3 scratch. */
static bool run_linear(const struct kernels *k, const struct bench_area *m, enum dtype t, bool wide, float *y)
{
    const struct linear_kernel *l = &k->linear[t];
    const struct dtype_info *d = dtype_info(t);
    size_t row = K / d->block * d->bytes, groups = (ROWS + KERNEL_MR - 1) / KERNEL_MR, gb = l->group_bytes(K);
    float *x = (float *)m->area[5];
    if (groups * gb > SPACE || k->act_bytes(K, TOKENS, wide) > SPACE || k->linear_scratch(K, TOKENS) > SPACE)
        return false;
    memset(m->area[1], 0, SPACE);
    for (size_t g = 0; g < groups; g++) {
        size_t n = ROWS - g * KERNEL_MR < KERNEL_MR ? ROWS - g * KERNEL_MR : KERNEL_MR;
        l->pack(m->area[1] + g * gb, m->area[0] + g * KERNEL_MR * row, row, n, K);
    }
    fill(x, TOKENS * K, 7, 2);
    const void *act = x;
    if (!l->float_act) {
        k->act_quantize(m->area[2], NULL, x, K, K, TOKENS, 0, TOKENS, wide);
        act = m->area[2];
    }
    struct linear_args a = {.w = m->area[1],
                            .act = act,
                            .y = y,
                            .scratch = m->area[3],
                            .k = K,
                            .n_rows = ROWS,
                            .ldy = ROWS,
                            .g1 = groups,
                            .t1 = TOKENS,
                            .n_tok = TOKENS,
                            .wide = wide};
    l->mul(&a);
    return true;
}

static bool check_linear(const struct check *c)
{
    const struct dtype_info *d = dtype_info(c->type);
    float *w = (float *)c->m->area[5];
    for (size_t r = 0; r < ROWS; r++) {
        fill(w, K, 100 + r, 0.5f);
        d->encode(c->m->area[0] + r * (K / d->block * d->bytes), w, K);
    }
    for (int wide = 0; wide < 2; wide++) {
        float *a = (float *)c->m->area[4], *b = a + ROWS * TOKENS;
        if (!run_linear(c->ref, c->m, c->type, wide, a) || !run_linear(c->k, c->m, c->type, wide, b) ||
            memcmp(a, b, ROWS * TOKENS * sizeof *a) != 0)
            return false;
    }
    return true;
}

static bool check_act(const struct check *c)
{
    float *x = (float *)c->m->area[5];
    fill(x, TOKENS * K, 11, 3);
    for (int wide = 0; wide < 2; wide++) {
        size_t n = c->ref->act_bytes(K, TOKENS, wide);
        if (n > SPACE || n != c->k->act_bytes(K, TOKENS, wide))
            return false;
        memset(c->m->area[0], 0, n);
        memset(c->m->area[1], 0, n);
        c->ref->act_quantize(c->m->area[0], NULL, x, K, K, TOKENS, 0, TOKENS, wide);
        c->k->act_quantize(c->m->area[1], NULL, x, K, K, TOKENS, 0, TOKENS, wide);
        if (memcmp(c->m->area[0], c->m->area[1], n) != 0)
            return false;
    }
    return true;
}

static void run_attn(const struct kernels *k, const struct bench_area *m, enum dtype t, char *pages, float *out)
{
    const size_t v_off = kernel_kv_bytes(t, HEAD), bytes = 2 * v_off;
    const uint8_t *page[PAGES];
    float *kv = (float *)m->area[5], *q = kv + 2 * HEAD * KEYS;
    const float *qs[2] = {q, q + HEAD};
    float *outs[2] = {out, out + HEAD};
    const int32_t pos[2] = {KEYS - 2, KEYS - 1};
    memset(pages, 0, PAGES * bytes);
    for (int p = 0; p < PAGES; p++)
        page[p] = (uint8_t *)pages + (size_t)p * bytes;
    for (size_t i = 0; i < KEYS; i++)
        fill(kv + 2 * HEAD * i, 2 * HEAD, 1000 + i, 1);
    for (size_t i = 0; i < KEYS; i += KERNEL_PAGE) {
        struct store_args s = {.v_off = v_off, .k = kv + 2 * HEAD * i, .head_dim = HEAD, .ld = 2 * HEAD};
        s.v = s.k + HEAD;
        s.block = (uint8_t *)pages + i / KERNEL_PAGE * bytes;
        s.n = KEYS - i < KERNEL_PAGE ? KEYS - i : KERNEL_PAGE;
        k->attn[t].store(&s);
    }
    fill(q, 2 * HEAD, 5, 1);
    struct attn_args a = {.q = qs,
                          .out = outs,
                          .pos = pos,
                          .n_q = 2,
                          .head_dim = HEAD,
                          .pages = page,
                          .v_off = v_off,
                          .scratch = m->area[3]};
    k->attn[t].attn(&a);
}

static bool check_attn(const struct check *c)
{
    float *a = (float *)c->m->area[4], *b = a + 2 * HEAD;
    if (c->ref->attn_scratch(2, HEAD) > SPACE || c->k->attn_scratch(2, HEAD) > SPACE)
        return false;
    run_attn(c->ref, c->m, c->type, c->m->area[0], a);
    run_attn(c->k, c->m, c->type, c->m->area[1], b);
    return memcmp(a, b, 2 * HEAD * sizeof *a) == 0 &&
           memcmp(c->m->area[0], c->m->area[1], PAGES * 2 * kernel_kv_bytes(c->type, HEAD)) == 0;
}

enum row_op { ROW_RMSNORM, ROW_ADD, ROW_SCALE, ROW_SILU, ROW_GELU, ROW_ROPE, ROW_ARGMAX, ROW_WEIGH, ROW_OPS };
static const char *const row_names[] = {"rmsnorm", "add", "scale", "silu_mul", "gelu_mul", "rope", "argmax", "weigh"};

static void run_row(const struct kernels *k, enum row_op op, const float *x, const float *y, float *out, size_t n)
{
    switch (op) {
    case ROW_RMSNORM:
        k->rmsnorm(out, x, y, n, 1e-6f);
        break;
    case ROW_ADD:
        k->add(out, x, y, n);
        break;
    case ROW_SCALE:
        k->scale(out, x, 0.3f, n);
        break;
    case ROW_SILU:
        k->silu_mul(out, x, y, n);
        break;
    case ROW_GELU:
        k->gelu_mul(out, x, y, n);
        break;
    case ROW_ROPE:
        memcpy(out, x, n * sizeof *x);
        k->rope(out, y, HEAD, true);
        k->rope(out + HEAD, y, HEAD, false);
        break;
    case ROW_WEIGH: {
        struct weigh a = {.max = x[k->argmax(x, n)], .temperature = 0.8f, .least = 1e-37f};
        k->weigh(out, x, n, &a);
        break;
    }
    default:
        out[0] = (float)k->argmax(x, n);
    }
}

static bool check_row(const struct check *c, enum row_op op)
{
    enum { N = 203 }; /* no multiple of any vector length */
    float *x = (float *)c->m->area[5], *y = x + N, *a = (float *)c->m->area[4], *b = a + N;
    fill(x, N, 21, 4);
    fill(y, N, 22, 1);
    memset(a, 0, 2 * N * sizeof *a);
    run_row(c->ref, op, x, y, a, N);
    run_row(c->k, op, x, y, b, N);
    return memcmp(a, b, N * sizeof *a) == 0;
}

int doctor_kernels(const struct kernels *k, struct doctor_kernel *rows, struct err *e)
{
    struct bench_area m = {0};
    struct kernels ref;
    int n = 0;
    kernels_init(&ref, 0);
    for (int i = 0; i < AREAS; i++)
        if (!(m.area[i] = mem_pages(SPACE)))
            n = err_set(e, ERR_NOMEM, "out of memory for the kernels' self-test");
    struct check c = {.ref = &ref, .k = k, .m = &m};
    for (int t = 0; n >= 0 && t < DT_COUNT; t++) {
        if (!k->linear[t].mul)
            continue;
        c.type = (enum dtype)t;
        snprintf(rows[n].name, sizeof rows[n].name, "linear %s", dtype_info(c.type)->name);
        rows[n++].ok = check_linear(&c);
    }
    if (n >= 0) {
        snprintf(rows[n].name, sizeof rows[n].name, "act_quantize");
        rows[n++].ok = check_act(&c);
        for (int t = 0; t < DT_COUNT; t++) {
            if (!k->attn[t].attn)
                continue;
            c.type = (enum dtype)t;
            snprintf(rows[n].name, sizeof rows[n].name, "attn, store %s", dtype_info(c.type)->name);
            rows[n++].ok = check_attn(&c);
        }
        for (int op = 0; op < ROW_OPS; op++) {
            snprintf(rows[n].name, sizeof rows[n].name, "%s", row_names[op]);
            rows[n++].ok = check_row(&c, (enum row_op)op);
        }
    }
    for (int i = 0; i < AREAS; i++)
        if (m.area[i])
            mem_pages_free(m.area[i], SPACE);
    return n;
}
