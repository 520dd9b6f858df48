/* q_simple: the formats with one block of 32: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0. A block is an f16 scale, perhaps an f16 minimum,
 * perhaps 32 fifth bits, then the codes; 4-bit codes sit as byte j = element j | element j+16 << 4. */
#include "quant/q_blocks.h"
#include "quant/quant.h"
#include <math.h>

enum { QK = 32 };

/* Fifth bit of element j in the 32-bit plane at p, moved to bit 4. */
static int bit5(const uint8_t *p, int j)
{
    return (p[j / 8] >> (j % 8) & 1) << 4;
}

void q4_0_decode(float *dst, const void *src, size_t n)
{
    const uint8_t *p = src;
    for (size_t b = 0; b < n / QK; b++, p += 18, dst += QK) {
        float d = f16_to_f32(q_u16(p));
        for (int j = 0; j < 16; j++) {
            dst[j] = (float)((p[2 + j] & 15) - 8) * d;
            dst[j + 16] = (float)((p[2 + j] >> 4) - 8) * d;
        }
    }
}

void q4_1_decode(float *dst, const void *src, size_t n)
{
    const uint8_t *p = src;
    for (size_t b = 0; b < n / QK; b++, p += 20, dst += QK) {
        float d = f16_to_f32(q_u16(p)), m = f16_to_f32(q_u16(p + 2));
        for (int j = 0; j < 16; j++) {
            dst[j] = (float)(p[4 + j] & 15) * d + m;
            dst[j + 16] = (float)(p[4 + j] >> 4) * d + m;
        }
    }
}

void q5_0_decode(float *dst, const void *src, size_t n)
{
    const uint8_t *p = src;
    for (size_t b = 0; b < n / QK; b++, p += 22, dst += QK) {
        float d = f16_to_f32(q_u16(p));
        for (int j = 0; j < 16; j++) {
            dst[j] = (float)(((p[6 + j] & 15) | bit5(p + 2, j)) - 16) * d;
            dst[j + 16] = (float)(((p[6 + j] >> 4) | bit5(p + 2, j + 16)) - 16) * d;
        }
    }
}

void q5_1_decode(float *dst, const void *src, size_t n)
{
    const uint8_t *p = src;
    for (size_t b = 0; b < n / QK; b++, p += 24, dst += QK) {
        float d = f16_to_f32(q_u16(p)), m = f16_to_f32(q_u16(p + 2));
        for (int j = 0; j < 16; j++) {
            dst[j] = (float)((p[8 + j] & 15) | bit5(p + 4, j)) * d + m;
            dst[j + 16] = (float)((p[8 + j] >> 4) | bit5(p + 4, j + 16)) * d + m;
        }
    }
}

void q8_0_decode(float *dst, const void *src, size_t n)
{
    const uint8_t *p = src;
    for (size_t b = 0; b < n / QK; b++, p += 34, dst += QK) {
        float d = f16_to_f32(q_u16(p));
        for (int j = 0; j < QK; j++)
            dst[j] = (float)(int8_t)p[2 + j] * d;
    }
}

/* The element of largest magnitude, with its sign: it takes the code -half, the one value without a positive twin. */
static float signed_max(const float *x)
{
    float best = 0;
    for (int j = 0; j < QK; j++)
        if (fabsf(x[j]) > fabsf(best))
            best = x[j];
    return best;
}

static void min_max(const float *x, float *lo, float *hi)
{
    *lo = *hi = x[0];
    for (int j = 1; j < QK; j++) {
        *lo = x[j] < *lo ? x[j] : *lo;
        *hi = x[j] > *hi ? x[j] : *hi;
    }
}

static int code(float v, int top)
{
    int q = v > 0 ? (v < 256.0f ? (int)v : 256) : 0; /* also for NaN */
    return q > top ? top : q;
}

static void put_codes(uint8_t *qs, uint8_t *high, const int *q)
{
    for (int j = 0; j < 16; j++)
        qs[j] = (uint8_t)((q[j] & 15) | (q[j + 16] & 15) << 4);
    for (int j = 0; high && j < 4; j++) {
        high[j] = 0;
        for (int i = 0; i < 8; i++)
            high[j] |= (uint8_t)((q[8 * j + i] >> 4 & 1) << i);
    }
}

/* bits 4 or 5, codes centred on half the range. */
static void encode_centred(uint8_t *p, const float *x, int bits)
{
    int half = 1 << (bits - 1), q[QK];
    float d = signed_max(x) / -(float)half, id = d != 0.0f ? 1.0f / d : 0.0f;
    q_put16(p, f32_to_f16(d));
    for (int j = 0; j < QK; j++)
        q[j] = code(x[j] * id + (float)half + 0.5f, 2 * half - 1);
    put_codes(p + (bits == 5 ? 6 : 2), bits == 5 ? p + 2 : NULL, q);
}

static void encode_minimum(uint8_t *p, const float *x, int bits)
{
    int top = (1 << bits) - 1, q[QK];
    float lo, hi;
    min_max(x, &lo, &hi);
    float d = (hi - lo) / (float)top, id = d != 0.0f ? 1.0f / d : 0.0f;
    q_put16(p, f32_to_f16(d));
    q_put16(p + 2, f32_to_f16(lo));
    for (int j = 0; j < QK; j++)
        q[j] = code((x[j] - lo) * id + 0.5f, top);
    put_codes(p + (bits == 5 ? 8 : 4), bits == 5 ? p + 4 : NULL, q);
}

void q4_0_encode(void *dst, const float *src, size_t n)
{
    for (size_t b = 0; b < n / QK; b++)
        encode_centred((uint8_t *)dst + b * 18, src + b * QK, 4);
}

void q4_1_encode(void *dst, const float *src, size_t n)
{
    for (size_t b = 0; b < n / QK; b++)
        encode_minimum((uint8_t *)dst + b * 20, src + b * QK, 4);
}

void q5_0_encode(void *dst, const float *src, size_t n)
{
    for (size_t b = 0; b < n / QK; b++)
        encode_centred((uint8_t *)dst + b * 22, src + b * QK, 5);
}

void q5_1_encode(void *dst, const float *src, size_t n)
{
    for (size_t b = 0; b < n / QK; b++)
        encode_minimum((uint8_t *)dst + b * 24, src + b * QK, 5);
}

void q8_0_encode(void *dst, const float *src, size_t n)
{
    uint8_t *p = dst;
    for (size_t b = 0; b < n / QK; b++, p += 34, src += QK) {
        float d = fabsf(signed_max(src)) / 127.0f, id = d != 0.0f ? 1.0f / d : 0.0f;
        q_put16(p, f32_to_f16(d));
        for (int j = 0; j < QK; j++) {
            float v = src[j] * id;
            p[2 + j] = (uint8_t)(int8_t)(v >= -127.5f && v <= 127.5f ? roundf(v) : 0.0f);
        }
    }
}
