/* rows: kernelcheck's cases of the row-wise functions. */
#include "kernelcheck.h"
#include <math.h>
#include <string.h>

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

const char *check_weigh(const struct check *c)
{
    size_t n = random_below(c->r, 2) ? random_in(c->r, 1, 80) : random_in(c->r, 1, 2000);
    float *x = guard_new(n * 4), *w0 = guard_new(n * 4), *w1 = guard_new(n * 4);
    struct weigh a = {.max = 3 * random_gauss(c->r), .least = random_below(c->r, 2) ? 1e-37f : 0.01f}, b;
    a.temperature = random_below(c->r, 9) ? 0.05f + 2 * fabsf(random_gauss(c->r)) : 1e-40f;
    for (size_t i = 0; i < n; i++)
        x[i] = random_below(c->r, 20) == 0   ? -INFINITY
               : random_below(c->r, 20) == 0 ? a.max
                                             : a.max - 9 * fabsf(random_gauss(c->r));
    b = a;
    c->ref->weigh(w0, x, n, &a);
    c->k->weigh(w1, x, n, &b);
    digest_add(c, w0, n);
    const char *bad = memcmp(w0, w1, n * 4) != 0 || memcmp(&a, &b, sizeof a) != 0 ? "results differ"
                      : !guard_intact(w1)                                         ? "wrote outside its memory"
                                                                                  : NULL;
    guard_free(x), guard_free(w0), guard_free(w1);
    return bad;
}
