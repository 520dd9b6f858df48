/* neon: inside kernel: the level for Arm with the dot-product instructions (Armv8.2 and later). Four lanes: a quarter of a group.
 * Equal to the reference under emulation; never timed, so no claim of speed. */
#ifndef HEARTH_KERNEL_NEON_NEON_H
#define HEARTH_KERNEL_NEON_NEON_H
#include "kernel/kernel.h"
#include "kernel/layout.h"

#define NEON_INLINE static inline __attribute__((always_inline))

void neon_init(struct kernels *k);
void neon_init_linear(struct kernels *k);
void neon_init_float(struct kernels *k);
void neon_init_attn(struct kernels *k);
void neon_init_elem(struct kernels *k);
void neon_init_i8mm(struct kernels *k); /* over neon_init: needs the int8 matrix instructions */

#endif
