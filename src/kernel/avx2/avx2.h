/* avx2: inside kernel: the level for AVX2 + FMA + F16C. 8 lanes: each half of a group's 16 rows in turn. */
#ifndef HEARTH_KERNEL_AVX2_AVX2_H
#define HEARTH_KERNEL_AVX2_AVX2_H
#include "kernel/kernel.h"
#include "kernel/layout.h"

#define AVX2_INLINE static inline __attribute__((always_inline))

/* Tokens [t, t + n), n <= AVX2_FEW, every group of the call. */
enum { AVX2_FEW = 16 };
void avx2_few(const struct linear_args *a, enum dtype d, size_t t, size_t n);
size_t avx2_few_scratch(size_t k, size_t n_tok);
size_t avx2_linear_scratch(void); /* what the quantised kernels need */

void avx2_init(struct kernels *k);
void avx2_init_linear(struct kernels *k);
void avx2_init_float(struct kernels *k);
void avx2_init_act(struct kernels *k);
void avx2_init_attn(struct kernels *k);
void avx2_init_elem(struct kernels *k);

#endif
