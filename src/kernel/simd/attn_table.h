/* simd/attn_table: attention's rows of the kernel table, compiled by each level with its own vectors (its vec.h comes first).
 * The inner loop exists for each type, and of Q8_0 for keys and for values. */
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

#define ATTN_MUL(NAME, T, KIND)                                                                                        \
    static void mul_##NAME(const struct attn_mul *m, int rows, int vecs)                                               \
    {                                                                                                                  \
        attn_mul_any(m, DT_##T, KIND, rows, vecs);                                                                     \
    }
ATTN_MUL(F32, F32, ATTN_PLAIN)
ATTN_MUL(F16, F16, ATTN_PLAIN)
ATTN_MUL(BF16, BF16, ATTN_PLAIN)
ATTN_MUL(F8_E4M3, F8_E4M3, ATTN_PLAIN)
ATTN_MUL(keys_Q8_0, Q8_0, ATTN_KEYS)
ATTN_MUL(values_Q8_0, Q8_0, ATTN_VALUES)

#define ATTN_TYPE(T, KEYS, VALUES)                                                                                     \
    static void attn_##T(const struct attn_args *a)                                                                    \
    {                                                                                                                  \
        static const struct attn_muls muls = {KEYS, VALUES, mul_F32};                                                  \
        attn_run(a, DT_##T, &muls);                                                                                    \
    }
ATTN_TYPE(F32, mul_F32, mul_F32)
ATTN_TYPE(F16, mul_F16, mul_F16)
ATTN_TYPE(BF16, mul_BF16, mul_BF16)
ATTN_TYPE(F8_E4M3, mul_F8_E4M3, mul_F8_E4M3)
ATTN_TYPE(Q8_0, mul_keys_Q8_0, mul_values_Q8_0)

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
