/* amx: inside kernel: the level for AMX int8 tiles beside AVX-512. It overrides the quantised linear layers only. */
#ifndef HEARTH_KERNEL_AMX_AMX_H
#define HEARTH_KERNEL_AMX_AMX_H
#include "kernel/kernel.h"
#include "kernel/layout.h"

#define AMX_INLINE static inline __attribute__((always_inline))

void amx_init(struct kernels *k);
void amx_init_linear(struct kernels *k);

#endif
