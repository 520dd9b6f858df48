/* avx2/elem: the row-wise and elementwise functions at this level's width. */
#include "kernel/avx2/avx2.h"
#include "kernel/avx2/vec.h"
#include "kernel/simd/elem_table.h"

void avx2_init_elem(struct kernels *k)
{
    elem_fill(k);
}
