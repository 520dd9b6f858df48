/* avx2/init: the entries that this level overrides. */
#include "kernel/avx2/avx2.h"

void avx2_init(struct kernels *k)
{
    avx2_init_attn(k);
    avx2_init_linear(k);
    avx2_init_float(k);
    avx2_init_act(k);
    avx2_init_elem(k);
}
