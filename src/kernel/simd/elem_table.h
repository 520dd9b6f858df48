/* simd/elem_table: the row-wise and elementwise rows of the kernel table, compiled by each level with its own vectors (its vec.h
 * comes first). */
#ifndef HEARTH_KERNEL_SIMD_ELEM_TABLE_H
#define HEARTH_KERNEL_SIMD_ELEM_TABLE_H
#include "kernel/simd/elem.h"

static void rmsnorm(float *dst, const float *x, const float *w, size_t n, float eps)
{
    elem_rmsnorm(dst, x, w, n, eps);
}

static void add(float *dst, const float *a, const float *b, size_t n)
{
    elem_map(ELEM_ADD, dst, a, b, 0, n);
}

static void scale(float *dst, const float *a, float s, size_t n)
{
    elem_map(ELEM_SCALE, dst, a, NULL, s, n);
}

static void silu_mul(float *dst, const float *gate, const float *up, size_t n)
{
    elem_map(ELEM_SILU_MUL, dst, gate, up, 0, n);
}

static void gelu_mul(float *dst, const float *gate, const float *up, size_t n)
{
    elem_map(ELEM_GELU_MUL, dst, gate, up, 0, n);
}

static void rope(float *x, const float *cs, size_t d, bool neox)
{
    elem_rope(x, cs, d, neox);
}

static size_t argmax(const float *x, size_t n)
{
    return elem_argmax(x, n);
}

static void weigh(float *w, const float *x, size_t n, struct weigh *a)
{
    elem_weigh(w, x, n, a);
}

static void elem_fill(struct kernels *k)
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

#endif
