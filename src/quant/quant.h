/* quant: what a number is. THE dtype table and the scalar codecs. One row per format: name, GGUF id, block, bytes, decode.
 * Decoding here is the definition (bit-equal to the format's specification); kernels repack, but never redefine it. */
#ifndef HEARTH_QUANT_H
#define HEARTH_QUANT_H
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dtype {
    DT_F32,
    DT_F16,
    DT_BF16,
    DT_Q4_0,
    DT_Q4_1,
    DT_Q5_0,
    DT_Q5_1,
    DT_Q8_0,
    DT_Q4_K,
    DT_Q5_K,
    DT_Q6_K,
    DT_MXFP4,
    DT_NVFP4,
    DT_F8_E4M3, /* only inside the program (KV caches): no file type and no linear kernel */
    DT_COUNT
};

#define DTYPE_NO_GGUF UINT32_MAX /* no file has this type */

struct dtype_info {
    const char *name; /* "Q4_K" */
    uint32_t gguf_id; /* ggml type number in GGUF files, or DTYPE_NO_GGUF */
    uint32_t block;   /* elements per block */
    uint32_t bytes;   /* bytes per block */
    /* Decodes n elements (a multiple of block) of one row. src need not be aligned. */
    void (*decode)(float *dst, const void *src, size_t n);
    /* Encodes n elements by the format's plain rule (round to nearest; K-quants by a simple scale search): for tests and bench. */
    void (*encode)(void *dst, const float *src, size_t n);
};

const struct dtype_info *dtype_info(enum dtype t);
int dtype_from_gguf(uint32_t gguf_id, enum dtype *out, struct err *e); /* ERR_UNSUPPORTED names the number */
int dtype_from_name(const char *name, enum dtype *out);
/* Bytes of one row of k elements; ERR_FORMAT if k is no multiple of the block or the product overflows. */
int dtype_row_bytes(enum dtype t, uint64_t k, uint64_t *out, struct err *e);

/* Scalar codecs, bit-exact, round to nearest even. */
float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f);
float bf16_to_f32(uint16_t h);
uint16_t f32_to_bf16(float f);
float e4m3_to_f32(uint8_t b);    /* FP8: 0x7f and 0xff are NaN, there is no infinity, 448 is the largest */
uint8_t f32_to_e4m3(float f);    /* saturates, infinities too */
float e2m1_to_f32(uint8_t code); /* FP4, the low four bits */
uint8_t f32_to_e2m1(float f);    /* saturates at 6; keeps the sign, of zero too; a NaN gives zero */
float e8m0_to_f32(uint8_t b);    /* 2^(b-127); 0xff is NaN */

/* Half of a block's scale as the decoders of MXFP4 and NVFP4 take it: beside it, codes are integers (twice their value). */
float e8m0_half(uint8_t b);
float e4m3_half(uint8_t b);

#endif
