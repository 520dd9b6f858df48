/* neon/elem: the row-wise and elementwise functions at this level's width. */
#include "kernel/neon/neon.h"
#include "kernel/neon/vec.h"
#include "kernel/simd/elem_table.h"

void neon_init_elem(struct kernels *k)
{
    elem_fill(k);
}
