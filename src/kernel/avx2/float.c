/* avx2/float: F32, F16 and BF16 weights at this level's width. */
#include "kernel/avx2/avx2.h"
#include "kernel/avx2/vec.h"
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

static size_t linear_scratch(size_t k, size_t n_tok)
{
    size_t f = float_scratch(), q = avx2_linear_scratch(), few = avx2_few_scratch(k, n_tok);
    q = q > few ? q : few;
    return f > q ? f : q;
}

void avx2_init_float(struct kernels *k)
{
    k->linear[DT_F32].mul = mul_F32;
    k->linear[DT_F16].mul = mul_F16;
    k->linear[DT_BF16].mul = mul_BF16;
    k->linear_scratch = linear_scratch;
}
