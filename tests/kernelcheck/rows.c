/* rows: kernelcheck's cases of attention and of the row-wise functions. */
#include "kernelcheck.h"
#include <math.h>
#include <string.h>

enum { MAX_Q = 70, MAX_POS = 1500, MAX_PAGES = MAX_POS / KERNEL_PAGE + 1 };

struct attn_case {
    size_t n_q, hd, n_pages, off;
    int32_t window, pos[MAX_Q];
    uint8_t *block[MAX_PAGES];
    const uint8_t *pages[MAX_PAGES];
    float *q, *out;
    const float *qp[MAX_Q];
    float *op[MAX_Q];
};

/* Pages hold NaN wherever no visible key was stored, and are NULL where no query looks. */
static void attn_fill(struct attn_case *a, struct random *r, const struct kernels *ref)
{
    static const size_t DIMS[] = {8, 16, 24, 40, 64, 64, 80, 96, 128, 128, 256, 512};
    a->hd = DIMS[random_below(r, sizeof DIMS / sizeof *DIMS)];
    a->n_q = random_below(r, 2) ? random_in(r, 1, 9) : random_in(r, 1, MAX_Q);
    a->window = random_below(r, 2) ? 0 : (int32_t)random_in(r, 1, 700);
    a->off = 64 * random_below(r, 3);
    int32_t base = (int32_t)random_below(r, random_below(r, 2) ? 100 : MAX_POS - MAX_Q), last = 0, first = MAX_POS;
    bool adjacent = random_below(r, 2);
    for (size_t i = 0; i < a->n_q; i++) {
        a->pos[i] = adjacent ? base + (int32_t)(i / 2) : (int32_t)random_below(r, (size_t)base + 1);
        last = a->pos[i] > last ? a->pos[i] : last;
        int32_t from = a->window && a->pos[i] >= a->window ? a->pos[i] - a->window + 1 : 0;
        first = from < first ? from : first;
    }
    a->n_pages = (size_t)last / KERNEL_PAGE + 1;
    float k[512], v[512], amp = random_below(r, 4) ? 1.0f : 12.0f;
    size_t bytes = a->off + 2 * a->hd * KERNEL_PAGE * 2;
    for (size_t p = 0; p < a->n_pages; p++) {
        a->block[p] = guard_new(bytes);
        memset(a->block[p], 0xff, bytes);
        a->pages[p] = (int32_t)(p + 1) * KERNEL_PAGE <= first ? NULL : a->block[p];
    }
    for (int32_t j = first; j <= last; j++) {
        for (size_t d = 0; d < a->hd; d++) {
            k[d] = random_gauss(r) * amp;
            v[d] = random_gauss(r);
        }
        ref->kv_store(a->block[j / KERNEL_PAGE], a->off, a->off + a->hd * 128, k, v, a->hd, (size_t)j % KERNEL_PAGE);
    }
    a->q = guard_new(a->n_q * a->hd * 4);
    a->out = guard_new(a->n_q * a->hd * 4);
    for (size_t i = 0; i < a->n_q; i++) {
        a->qp[i] = a->q + i * a->hd;
        a->op[i] = a->out + i * a->hd;
        for (size_t d = 0; d < a->hd; d++)
            a->q[i * a->hd + d] = random_gauss(r) * 0.3f;
    }
}

const char *check_attn(const struct check *c)
{
    struct attn_case a;
    attn_fill(&a, c->r, c->ref);
    size_t bytes = a.n_q * a.hd * 4;
    void *s0 = guard_new(c->ref->attn_scratch(a.n_q, a.hd)), *s1 = guard_new(c->k->attn_scratch(a.n_q, a.hd));
    float *want = guard_new(bytes);
    struct attn_args args = {a.qp, a.op, a.pos, a.n_q, a.hd, a.pages, a.off, a.off + a.hd * 128, a.window, s0};
    c->ref->attn(&args);
    memcpy(want, a.out, bytes);
    digest_add(c, want, bytes / 4);
    memset(a.out, 0xA7, bytes);
    args.scratch = s1;
    c->k->attn(&args);
    const char *bad = memcmp(want, a.out, bytes) != 0 ? "results differ" : NULL;
    if (!guard_intact(a.out) || !guard_intact(s1))
        bad = "wrote outside its memory";
    for (size_t p = 0; p < a.n_pages; p++)
        guard_free(a.block[p]);
    guard_free(s0), guard_free(s1), guard_free(want), guard_free(a.q), guard_free(a.out);
    return bad;
}

const char *check_kv_store(const struct check *c)
{
    size_t hd = 8 * random_in(c->r, 1, 64), off = 64 * random_below(c->r, 3), bytes = off + 2 * hd * 128;
    uint8_t *b0 = guard_new(bytes), *b1 = guard_new(bytes);
    float k[512], v[512];
    for (size_t i = 0; i < 40; i++) {
        for (size_t d = 0; d < hd; d++) {
            k[d] = random_gauss(c->r) * (random_below(c->r, 9) ? 1.0f : 1e-6f);
            v[d] = random_gauss(c->r) * (random_below(c->r, 9) ? 1.0f : 9e4f);
        }
        size_t slot = random_below(c->r, KERNEL_PAGE);
        c->ref->kv_store(b0, off, off + hd * 128, k, v, hd, slot);
        c->k->kv_store(b1, off, off + hd * 128, k, v, hd, slot);
    }
    digest_add(c, (const float *)(const void *)b0, bytes / 4);
    const char *bad = memcmp(b0, b1, bytes) != 0 ? "results differ"
                      : !guard_intact(b1)        ? "wrote outside its memory"
                                                 : NULL;
    guard_free(b0), guard_free(b1);
    return bad;
}

/* rmsnorm, add, scale, silu_mul, gelu_mul: entry 0..4, with and without dst being an input. */
static void row_call(const struct kernels *k, int entry, float *dst, const float *a, const float *b, size_t n, float f)
{
    switch (entry) {
    case 0:
        k->rmsnorm(dst, a, b, n, f);
        break;
    case 1:
        k->add(dst, a, b, n);
        break;
    case 2:
        k->scale(dst, a, f, n);
        break;
    case 3:
        k->silu_mul(dst, a, b, n);
        break;
    default:
        k->gelu_mul(dst, a, b, n);
    }
}

const char *check_rows(const struct check *c)
{
    static const float ODD[] = {0.0f,   -0.0f,  1e-42f,  87.33f, -87.34f,  88.72f,   88.73f,
                                -88.8f, 300.0f, -300.0f, 1e18f,  INFINITY, -INFINITY};
    struct random *r = c->r;
    size_t n = random_below(r, 2) ? random_in(r, 1, 70) : random_in(r, 1, 3000);
    float *a0 = guard_new(n * 4), *a1 = guard_new(n * 4), *b = guard_new(n * 4), *d = guard_new(n * 4),
          f = random_gauss(r) * random_gauss(r);
    for (size_t i = 0; i < n; i++) {
        a0[i] = random_gauss(r) * (random_below(r, 2) ? 1.0f : 40.0f);
        b[i] = random_gauss(r);
        if (random_below(r, 50) == 0 && c->entry != 0)
            a0[i] = ODD[random_below(r, c->entry >= 3 ? 13 : 11)];
    }
    memcpy(a1, a0, n * 4);
    bool in_place = random_below(r, 2);
    row_call(c->ref, c->entry, a0, a0, b, n, f * f);
    row_call(c->k, c->entry, in_place ? a1 : d, a1, b, n, f * f);
    digest_add(c, a0, n);
    float *got = in_place ? a1 : d;
    const char *bad = NULL;
    for (size_t i = 0; i < n && !bad; i++) /* inf - inf and inf * 0 may give either sign of NaN */
        if (memcmp(&a0[i], &got[i], 4) != 0 && !(a0[i] != a0[i] && got[i] != got[i]))
            bad = "results differ";
    if (!guard_intact(a1) || !guard_intact(d))
        bad = "wrote outside its memory";
    guard_free(a0), guard_free(a1), guard_free(b), guard_free(d);
    return bad;
}

const char *check_rope(const struct check *c)
{
    size_t d = 2 * random_in(c->r, 1, 130);
    bool neox = random_below(c->r, 2);
    float *x0 = guard_new(d * 4), *x1 = guard_new(d * 4), *cs = guard_new(d * 4);
    for (size_t i = 0; i < d; i++) {
        x0[i] = x1[i] = random_gauss(c->r);
        cs[i] = random_gauss(c->r);
    }
    c->ref->rope(x0, cs, d, neox);
    c->k->rope(x1, cs, d, neox);
    digest_add(c, x0, d);
    const char *bad = memcmp(x0, x1, d * 4) != 0 ? "results differ"
                      : !guard_intact(x1)        ? "wrote outside its memory"
                                                 : NULL;
    guard_free(x0), guard_free(x1), guard_free(cs);
    return bad;
}

const char *check_argmax(const struct check *c)
{
    size_t n = random_below(c->r, 2) ? random_in(c->r, 1, 80) : random_in(c->r, 1, 5000);
    float *x = guard_new(n * 4);
    bool coarse = random_below(c->r, 2); /* many ties */
    for (size_t i = 0; i < n; i++) {
        x[i] = coarse ? (float)random_below(c->r, 4) : random_gauss(c->r);
        if (random_below(c->r, 30) == 0)
            x[i] = random_below(c->r, 2) ? NAN : -INFINITY;
    }
    if (random_below(c->r, 20) == 0)
        for (size_t i = 0; i < n; i++)
            x[i] = random_below(c->r, 2) ? NAN : -INFINITY;
    const char *bad = c->ref->argmax(x, n) != c->k->argmax(x, n) ? "results differ" : NULL;
    guard_free(x);
    return bad;
}
