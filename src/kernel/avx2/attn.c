/* avx2/attn: attention at this level's width. */
#include "kernel/avx2/avx2.h"
#include "kernel/avx2/vec.h"
#define ATTN_MANY_ROWS 0
#include "kernel/simd/attn_table.h"

void avx2_init_attn(struct kernels *k)
{
    attn_fill(k);
}
