/* avx512/elem: the row-wise and elementwise functions at this level's width. */
#include "kernel/avx512/avx512.h"
#include "kernel/avx512/vec.h"
#include "kernel/simd/elem_table.h"

void avx512_init_elem(struct kernels *k)
{
    elem_fill(k);
}
