/* float: F32, F16 and BF16 weights in vectors, lanes = rows, one fma chain per output. Included after a level's vec.h.
 *
 * FLOAT_TOK tokens at a time are transposed into the scratch, [k][n], so that the tile reads one stream of weights and one of
 * activations (rows of tokens at a power-of-two distance would fight for the same cache lines). One token takes the rows
 * as they are, with two groups in flight, because a single chain per lane cannot hide the latency of fma. */
#ifndef HEARTH_KERNEL_SIMD_FLOAT_H
#define HEARTH_KERNEL_SIMD_FLOAT_H
#include "kernel/kernel.h"
#include <string.h>

enum { FLOAT_VECS = 16 / VW };

VEC vf float_weights(const uint8_t *p, enum dtype t)
{
    if (t == DT_F32)
        return v_load((const float *)(const void *)p);
    return t == DT_F16 ? v_load_half(p) : v_load_bf16(p);
}

VEC size_t float_group_bytes(size_t k, enum dtype t)
{
    return t == DT_F32 ? k * 64 : (k * 32 + 63) & ~(size_t)63;
}

VEC void float_store(const struct linear_args *a, size_t g, size_t t, const vf *acc)
{
    float buf[16], *y = a->y + t * a->ldy + g * 16;
    size_t left = a->n_rows - g * 16, n = left < 16 ? left : 16;
    for (int v = 0; v < FLOAT_VECS; v++)
        v_store(buf + v * VW, acc[v]);
    for (size_t r = 0; r < n; r++)
        y[r] = a->bias ? buf[r] + a->bias[g * 16 + r] : buf[r];
}

/* ng groups from g, n tokens from t0: token i's activation for k is x[k * xk + i * xt]. */
VEC void float_tile(const struct linear_args *a, size_t g, const float *x, size_t xk, size_t t0, int n, int ng,
                    enum dtype t)
{
    const size_t vec = (size_t)VW * (t == DT_F32 ? 4 : 2), gb = float_group_bytes(a->k, t);
    const uint8_t *w = (const uint8_t *)a->w + g * gb;
    vf acc[2][FLOAT_TOK][FLOAT_VECS];
    for (int q = 0; q < ng; q++)
        for (int i = 0; i < n; i++)
            for (int v = 0; v < FLOAT_VECS; v++)
                acc[q][i][v] = v_set1(0.0f);
    for (size_t k = 0; k < a->k; k++, x += xk, w += vec * FLOAT_VECS)
        for (int q = 0; q < ng; q++) {
            vf c[FLOAT_VECS];
            for (int v = 0; v < FLOAT_VECS; v++)
                c[v] = float_weights(w + (size_t)q * gb + (size_t)v * vec, t);
            for (int i = 0; i < n; i++) {
                vf b = v_set1(x[i]);
                for (int v = 0; v < FLOAT_VECS; v++)
                    acc[q][i][v] = v_fma(c[v], b, acc[q][i][v]);
            }
        }
    for (int q = 0; q < ng; q++)
        for (int i = 0; i < n; i++)
            float_store(a, g + (size_t)q, t0 + (size_t)i, acc[q][i]);
}

/* All groups of the call for n tokens. */
VEC void float_groups(const struct linear_args *a, size_t g1, const float *x, size_t xk, size_t t0, int n, enum dtype t)
{
    size_t g = a->g0;
    for (; n <= 2 && g + 2 <= g1; g += 2)
        float_tile(a, g, x, xk, t0, n, 2, t);
    for (; g < g1; g++)
        float_tile(a, g, x, xk, t0, n, 1, t);
}

VEC void float_panel(float *to, const float *x, size_t k, int n)
{
    for (size_t i = 0; i < k; i++)
        for (int j = 0; j < n; j++)
            *to++ = x[(size_t)j * k + i];
}

VEC size_t float_scratch(size_t k)
{
    return (k * FLOAT_TOK * sizeof(float) + 63) & ~(size_t)63;
}

VEC void float_mul(const struct linear_args *a, enum dtype type)
{
    size_t groups = (a->n_rows + 15) / 16, g1 = a->g1 < groups ? a->g1 : groups;
    for (size_t t = a->t0; t < a->t1;) {
        const float *x = (const float *)a->act + t * a->k;
        float *panel = a->scratch;
        size_t left = a->t1 - t;
        int n = left >= FLOAT_TOK ? FLOAT_TOK : left > FLOAT_TOK / 2 ? FLOAT_TOK / 2 : left >= 4 ? 4 : (int)left;
        if (n > 1)
            float_panel(panel, x, a->k, n);
        if (n == FLOAT_TOK)
            float_groups(a, g1, panel, FLOAT_TOK, t, FLOAT_TOK, type);
        else if (n == FLOAT_TOK / 2)
            float_groups(a, g1, panel, FLOAT_TOK / 2, t, FLOAT_TOK / 2, type);
        else if (n == 4)
            float_groups(a, g1, panel, 4, t, 4, type);
        else if (n == 3)
            float_groups(a, g1, panel, 3, t, 3, type);
        else if (n == 2)
            float_groups(a, g1, panel, 2, t, 2, type);
        else
            float_groups(a, g1, x, 1, t, 1, type);
        t += (size_t)n;
    }
}

#endif
