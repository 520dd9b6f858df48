/* avx512: inside kernel: the level for AVX-512 F/BW/DQ/VL with VNNI. 16 lanes = the 16 rows of a group. */
#ifndef HEARTH_KERNEL_AVX512_AVX512_H
#define HEARTH_KERNEL_AVX512_AVX512_H
#include "kernel/kernel.h"
#include "kernel/layout.h"

#define AVX512_INLINE static inline __attribute__((always_inline))

size_t avx512_scratch(size_t k, size_t n_tok); /* what linear layers need */

void avx512_init(struct kernels *k);
void avx512_init_linear(struct kernels *k);
void avx512_init_float(struct kernels *k);
void avx512_init_attn(struct kernels *k);
void avx512_init_elem(struct kernels *k);

/* The linear layer of a quantised dtype, for the level above. */
void avx512_linear_mul(const struct linear_args *a, enum dtype dtype);

#endif
