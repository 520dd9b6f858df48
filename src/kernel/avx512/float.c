/* avx512/float: F32, F16 and BF16 weights at this level's width. */
#include "kernel/avx512/avx512.h"
#include "kernel/avx512/vec.h"
#include "kernel/simd/float.h"

static void mul_F32(const struct linear_args *a)
{
    float_mul(a, DT_F32);
}

static void mul_F16(const struct linear_args *a)
{
    float_mul(a, DT_F16);
}

static void mul_BF16(const struct linear_args *a)
{
    float_mul(a, DT_BF16);
}

size_t avx512_scratch(size_t k, size_t n_tok)
{
    (void)k;
    (void)n_tok;
    return float_scratch();
}

void avx512_init_float(struct kernels *k)
{
    k->linear[DT_F32].mul = mul_F32;
    k->linear[DT_F16].mul = mul_F16;
    k->linear[DT_BF16].mul = mul_BF16;
    k->linear_scratch = avx512_scratch;
}
