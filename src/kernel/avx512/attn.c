/* avx512/attn: attention at this level's width. */
#include "kernel/avx512/avx512.h"
#include "kernel/avx512/vec.h"
#define ATTN_MANY_ROWS 1
#include "kernel/simd/attn_table.h"

void avx512_init_attn(struct kernels *k)
{
    attn_fill(k);
}
