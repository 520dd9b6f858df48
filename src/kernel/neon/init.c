/* neon/init: the entries that this level overrides. */
#include "kernel/neon/neon.h"

void neon_init(struct kernels *k)
{
    neon_init_linear(k);
    neon_init_float(k);
    neon_init_attn(k);
    neon_init_elem(k);
}
