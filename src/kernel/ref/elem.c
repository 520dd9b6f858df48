/* ref/elem: the row-wise and elementwise functions, the definition. Sums run in 16 virtual lanes (element i in lane i % 16)
 * and end in one fixed tree, which is what every vector width can repeat. */
#include "base/fmath.h"
#include "kernel/ref/ref.h"
#include <math.h>

float ref_tree16(const float *lane)
{
    float t[8];
    for (int i = 0; i < 8; i++)
        t[i] = lane[i] + lane[i + 8];
    for (int i = 0; i < 4; i++)
        t[i] = t[i] + t[i + 4];
    return (t[0] + t[2]) + (t[1] + t[3]);
}

static void rmsnorm(float *dst, const float *x, const float *w, size_t n, float eps)
{
    float lane[16] = {0};
    for (size_t i = 0; i < n; i++)
        lane[i % 16] = fmaf(x[i], x[i], lane[i % 16]);
    float r = 1.0f / sqrtf(ref_tree16(lane) / (float)n + eps);
    for (size_t i = 0; i < n; i++)
        dst[i] = x[i] * r * w[i];
}

static void add(float *dst, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = a[i] + b[i];
}

static void scale(float *dst, const float *a, float s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = a[i] * s;
}

static void silu_mul(float *dst, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = gate[i] / (1.0f + fm_expf(-gate[i])) * up[i];
}

/* 0.5 g (1 + tanh(sqrt(2/pi) (g + 0.044715 g^3))) */
static void gelu_mul(float *dst, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float g = gate[i];
        float u = fmaf(g * g * 0.044715f, g, g) * 0.797884561f;
        dst[i] = 0.5f * g * (1.0f + fm_tanhf(u)) * up[i];
    }
}

static void rope(float *x, const float *cs, size_t d, bool neox)
{
    size_t half = d / 2;
    for (size_t i = 0; i < half; i++) {
        float *p = neox ? &x[i] : &x[2 * i], *q = neox ? &x[i + half] : &x[2 * i + 1];
        float a = *p, b = *q, c = cs[i], s = cs[half + i];
        *p = fmaf(a, c, -(b * s));
        *q = fmaf(b, c, a * s);
    }
}

static size_t argmax(const float *x, size_t n)
{
    size_t best = 0;
    float top = -INFINITY;
    for (size_t i = 0; i < n; i++)
        if (x[i] > top) {
            top = x[i];
            best = i;
        }
    return best;
}

static void weigh(float *w, const float *x, size_t n, struct weigh *a)
{
    float lane[16] = {0};
    a->top = 0;
    for (size_t i = 0; i < n; i++) {
        float e = fm_expf((x[i] - a->max) / a->temperature);
        w[i] = e < a->least ? 0 : e;
        lane[i % 16] += w[i];
        a->top = w[i] > a->top ? w[i] : a->top;
    }
    a->sum = ref_tree16(lane);
}

void ref_init_elem(struct kernels *k)
{
    k->rmsnorm = rmsnorm;
    k->add = add;
    k->scale = scale;
    k->silu_mul = silu_mul;
    k->gelu_mul = gelu_mul;
    k->rope = rope;
    k->argmax = argmax;
    k->weigh = weigh;
}
