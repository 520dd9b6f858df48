/* avxvnni: inside kernel: the level for AVX-VNNI beside AVX2, without AVX-512: desktop processors. It overrides the quantised linear
 * layers only. */
#ifndef HEARTH_KERNEL_AVXVNNI_AVXVNNI_H
#define HEARTH_KERNEL_AVXVNNI_AVXVNNI_H
#include "kernel/kernel.h"

void avxvnni_init(struct kernels *k);
void avxvnni_init_linear(struct kernels *k);

#endif
