/* avxvnni/init: the entries that this level overrides. */
#include "kernel/avxvnni/avxvnni.h"

void avxvnni_init(struct kernels *k)
{
    avxvnni_init_linear(k);
}
