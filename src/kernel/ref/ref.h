/* ref: inside kernel: the plain C level, which is the definition of every result. */
#ifndef HEARTH_KERNEL_REF_REF_H
#define HEARTH_KERNEL_REF_REF_H
#include "kernel/kernel.h"
#include "kernel/layout.h"

void ref_init(struct kernels *k);

/* The table rows, file by file. */
void ref_init_pack(struct kernels *k);
void ref_init_linear(struct kernels *k);
void ref_init_act(struct kernels *k);
void ref_init_attn(struct kernels *k);
void ref_init_elem(struct kernels *k);

/* The fixed tree over 16 virtual lanes that every float reduction ends with. */
float ref_tree16(const float *lane);

#endif
