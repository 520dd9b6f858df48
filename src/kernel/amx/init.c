/* amx/init: the entries that this level overrides. */
#include "kernel/amx/amx.h"

void amx_init(struct kernels *k)
{
    amx_init_linear(k);
}
