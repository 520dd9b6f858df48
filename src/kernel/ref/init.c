/* ref/init: the reference's table. */
#include "kernel/ref/ref.h"
#include <string.h>

void ref_init(struct kernels *k)
{
    memset(k, 0, sizeof *k);
    k->level = "ref";
    ref_init_pack(k);
    ref_init_linear(k);
    ref_init_act(k);
    ref_init_attn(k);
    ref_init_elem(k);
}
