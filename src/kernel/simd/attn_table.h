/* simd/attn_table: attention's rows of the kernel table, compiled by each level with its own vectors (its vec.h comes first).
 * The inner loop exists for the types that it reads as they are. */
#ifndef HEARTH_KERNEL_SIMD_ATTN_TABLE_H
#define HEARTH_KERNEL_SIMD_ATTN_TABLE_H
#include "kernel/simd/attn.h"

static size_t attn_scratch(size_t n_q, size_t head_dim)
{
    return attn_scratch_bytes(n_q, head_dim);
}

static void attn_merge(const struct attn_args *a)
{
    attn_merge_parts(a);
}

static void mul_F32(const struct attn_mul *m, int rows, int vecs)
{
    attn_mul_any(m, DT_F32, rows, vecs);
}

static void mul_F16(const struct attn_mul *m, int rows, int vecs)
{
    attn_mul_any(m, DT_F16, rows, vecs);
}

static void mul_BF16(const struct attn_mul *m, int rows, int vecs)
{
    attn_mul_any(m, DT_BF16, rows, vecs);
}

static void attn_F32(const struct attn_args *a)
{
    attn_run(a, DT_F32, mul_F32, mul_F32);
}

static void attn_F16(const struct attn_args *a)
{
    attn_run(a, DT_F16, mul_F16, mul_F32);
}

static void attn_BF16(const struct attn_args *a)
{
    attn_run(a, DT_BF16, mul_BF16, mul_F32);
}

static void attn_Q8_0(const struct attn_args *a)
{
    attn_run(a, DT_Q8_0, NULL, mul_F32);
}

static void attn_F8_E4M3(const struct attn_args *a)
{
    attn_run(a, DT_F8_E4M3, NULL, mul_F32);
}

static void store_F16(const struct store_args *a)
{
    attn_store_half(a);
}

static void attn_fill(struct kernels *k)
{
    k->attn_scratch = attn_scratch;
    k->attn_merge = attn_merge;
    k->attn[DT_F32].attn = attn_F32;
    k->attn[DT_F16] = (struct attn_kernel){attn_F16, store_F16};
    k->attn[DT_BF16].attn = attn_BF16;
    k->attn[DT_Q8_0].attn = attn_Q8_0;
    k->attn[DT_F8_E4M3].attn = attn_F8_E4M3;
}

#endif
