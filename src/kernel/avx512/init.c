/* avx512/init: the entries that this level overrides. */
#include "kernel/avx512/avx512.h"

void avx512_init(struct kernels *k)
{
    avx512_init_linear(k);
    avx512_init_float(k);
    avx512_init_attn(k);
    avx512_init_elem(k);
}
