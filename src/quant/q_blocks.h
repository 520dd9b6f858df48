/* q_blocks: inside quant: the block codecs behind the dtype table, and little-endian access to unaligned bytes. */
#ifndef HEARTH_QUANT_Q_BLOCKS_H
#define HEARTH_QUANT_Q_BLOCKS_H
#include <stddef.h>
#include <stdint.h>

static inline uint16_t q_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline void q_put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

void q4_0_decode(float *dst, const void *src, size_t n);
void q4_0_encode(void *dst, const float *src, size_t n);
void q4_1_decode(float *dst, const void *src, size_t n);
void q4_1_encode(void *dst, const float *src, size_t n);
void q5_0_decode(float *dst, const void *src, size_t n);
void q5_0_encode(void *dst, const float *src, size_t n);
void q5_1_decode(float *dst, const void *src, size_t n);
void q5_1_encode(void *dst, const float *src, size_t n);
void q8_0_decode(float *dst, const void *src, size_t n);
void q8_0_encode(void *dst, const float *src, size_t n);
void q4_k_decode(float *dst, const void *src, size_t n);
void q4_k_encode(void *dst, const float *src, size_t n);
void q5_k_decode(float *dst, const void *src, size_t n);
void q5_k_encode(void *dst, const float *src, size_t n);
void q6_k_decode(float *dst, const void *src, size_t n);
void q6_k_encode(void *dst, const float *src, size_t n);
void mxfp4_decode(float *dst, const void *src, size_t n);
void mxfp4_encode(void *dst, const float *src, size_t n);
void nvfp4_decode(float *dst, const void *src, size_t n);
void nvfp4_encode(void *dst, const float *src, size_t n);
void f8_e4m3_decode(float *dst, const void *src, size_t n);
void f8_e4m3_encode(void *dst, const float *src, size_t n);

#endif
