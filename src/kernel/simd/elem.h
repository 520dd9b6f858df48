/* elem: ref/elem.c in vectors, for any width that divides 16. Included after a level's vec.h by that level's elem.c. The last
 * incomplete vector goes through a buffer, so that nothing outside the rows is read or written. */
#ifndef HEARTH_KERNEL_SIMD_ELEM_H
#define HEARTH_KERNEL_SIMD_ELEM_H
#include "kernel/kernel.h"
#include "kernel/simd/expf.h"
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum elem_op { ELEM_ADD, ELEM_SCALE, ELEM_SILU_MUL, ELEM_GELU_MUL };

VEC vf elem_one(enum elem_op op, vf a, vf b)
{
    vf one = v_set1(1.0f);
    if (op == ELEM_ADD)
        return v_add(a, b);
    if (op == ELEM_SCALE)
        return v_mul(a, b);
    if (op == ELEM_SILU_MUL)
        return v_mul(v_div(a, v_add(one, v_expf(v_sub(v_set1(-0.0f), a)))), b);
    vf u = v_mul(v_fma(v_mul(v_mul(a, a), v_set1(0.044715f)), a, a), v_set1(0.797884561f));
    return v_mul(v_mul(v_mul(v_set1(0.5f), a), v_add(one, v_tanhf(u))), b);
}

/* b NULL: every element meets s. */
VEC void elem_map(enum elem_op op, float *dst, const float *a, const float *b, float s, size_t n)
{
    size_t i = 0;
    for (; i + VW <= n; i += VW)
        v_store(dst + i, elem_one(op, v_load(a + i), b ? v_load(b + i) : v_set1(s)));
    if (i == n)
        return;
    float x[VW] = {0}, y[VW] = {0};
    memcpy(x, a + i, (n - i) * sizeof *x);
    if (b)
        memcpy(y, b + i, (n - i) * sizeof *y);
    v_store(x, elem_one(op, v_load(x), b ? v_load(y) : v_set1(s)));
    memcpy(dst + i, x, (n - i) * sizeof *x);
}

VEC float elem_tree16(const float *lane)
{
    float t[8];
    for (int i = 0; i < 8; i++)
        t[i] = lane[i] + lane[i + 8];
    for (int i = 0; i < 4; i++)
        t[i] = t[i] + t[i + 4];
    return (t[0] + t[2]) + (t[1] + t[3]);
}

VEC void elem_rmsnorm(float *dst, const float *x, const float *w, size_t n, float eps)
{
    enum { V = 16 / VW };
    vf acc[V];
    float lane[16];
    size_t i = 0;
    for (int v = 0; v < V; v++)
        acc[v] = v_set1(0.0f);
    for (; i + 16 <= n; i += 16)
        for (int v = 0; v < V; v++) {
            vf a = v_load(x + i + (size_t)(v * VW));
            acc[v] = v_fma(a, a, acc[v]);
        }
    for (int v = 0; v < V; v++)
        v_store(lane + v * VW, acc[v]);
    for (size_t j = i; j < n; j++)
        lane[j - i] = fmaf(x[j], x[j], lane[j - i]);
    float r = 1.0f / sqrtf(elem_tree16(lane) / (float)n + eps);
    vf rv = v_set1(r);
    for (i = 0; i + VW <= n; i += VW)
        v_store(dst + i, v_mul(v_mul(v_load(x + i), rv), v_load(w + i)));
    for (; i < n; i++)
        dst[i] = x[i] * r * w[i];
}

VEC void elem_rope(float *x, const float *cs, size_t d, bool neox)
{
    size_t half = d / 2, i = 0;
    for (; neox && i + VW <= half; i += VW) {
        vf a = v_load(x + i), b = v_load(x + half + i), c = v_load(cs + i), s = v_load(cs + half + i);
        v_store(x + i, v_fms(a, c, v_mul(b, s)));
        v_store(x + half + i, v_fma(b, c, v_mul(a, s)));
    }
    for (; i < half; i++) {
        float *p = neox ? &x[i] : &x[2 * i], *q = neox ? &x[i + half] : &x[2 * i + 1];
        float a = *p, b = *q, c = cs[i], s = cs[half + i];
        *p = fmaf(a, c, -(b * s));
        *q = fmaf(b, c, a * s);
    }
}

/* Largest value by lanes, then the first place where it stands: two reads, no index bookkeeping. */
VEC size_t elem_argmax(const float *x, size_t n)
{
    vf best[4];
    float lane[VW], top = -INFINITY;
    size_t i = 0;
    for (int v = 0; v < 4; v++)
        best[v] = v_set1(-INFINITY);
    for (; i + 4 * VW <= n; i += 4 * VW)
        for (int v = 0; v < 4; v++)
            best[v] = v_max(v_load(x + i + (size_t)(v * VW)), best[v]); /* NaN loses */
    v_store(lane, v_max(v_max(best[0], best[1]), v_max(best[2], best[3])));
    for (int l = 0; l < VW; l++)
        top = lane[l] > top ? lane[l] : top;
    for (; i < n; i++)
        top = x[i] > top ? x[i] : top;
    for (i = 0; top > -INFINITY && i < n; i++)
        if (x[i] == top)
            return i;
    return 0;
}

/* 16 numbers, each in its lane. */
VEC void elem_weigh16(float *w, const float *x, const struct weigh *a, vf *sum, vf *top)
{
    vf zero = v_set1(0.0f);
    for (int v = 0; v < 16 / VW; v++) {
        vf y = v_div(v_sub(v_load(x + v * VW), v_set1(a->max)), v_set1(a->temperature));
        vf e = v_expf_falling(y);
        e = v_if_lt(e, v_set1(a->least), zero, e);
        v_store(w + v * VW, e);
        sum[v] = v_add(sum[v], e);
        *top = v_max(e, *top);
    }
}

VEC void elem_weigh(float *w, const float *x, size_t n, struct weigh *a)
{
    vf sum[16 / VW], top = v_set1(0.0f);
    float lane[16], y[16];
    size_t i = 0;
    for (int v = 0; v < 16 / VW; v++)
        sum[v] = top;
    for (; i + 16 <= n; i += 16)
        elem_weigh16(w + i, x + i, a, sum, &top);
    if (i < n) { /* the rest of the lanes gets weights of 0 */
        for (size_t j = 0; j < 16; j++)
            y[j] = i + j < n ? x[i + j] : -INFINITY;
        elem_weigh16(lane, y, a, sum, &top);
        memcpy(w + i, lane, (n - i) * sizeof *w);
    }
    v_store(lane, top);
    a->top = 0;
    for (int l = 0; l < VW; l++)
        a->top = lane[l] > a->top ? lane[l] : a->top;
    for (int v = 0; v < 16 / VW; v++)
        v_store(lane + v * VW, sum[v]);
    a->sum = elem_tree16(lane);
}

#endif
