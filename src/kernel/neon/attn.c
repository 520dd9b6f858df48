/* neon/attn: attention at this level's width. */
#include "kernel/neon/neon.h"
#include "kernel/neon/vec.h"
#define ATTN_MANY_ROWS 0
#include "kernel/simd/attn_table.h"

void neon_init_attn(struct kernels *k)
{
    attn_fill(k);
}
