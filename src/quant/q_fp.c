/* q_fp: numbers of 8 and 4 bits with an exponent of their own: E4M3 (FP8 without infinity, bias 7), E2M1 (FP4) and E8M0 (a power of
 * two), by the OCP specifications of 8-bit floating point and of microscaling. Encoding rounds to nearest even and saturates.
 *
 * And the blocks made of them, as GGUF has them. MXFP4: a byte E8M0, then 32 codes E2M1, byte j = element j | element j+16 << 4.
 * NVFP4: four bytes E4M3, each for 16 elements, then 4 x 8 bytes, byte j = element j | element j+8 << 4. What GGUF's own reader
 * makes of scales that are no number is kept: 0xff is 2^128 in MXFP4; in NVFP4 the sign is dropped, but then 0x7f is 0 and 0xff
 * is 480. */
#include "quant/q_blocks.h"
#include "quant/quant.h"
#include <math.h>
#include <string.h>

/* 4 exponent and 3 mantissa bits lie where a float has them, once moved by 20; 2^120 mends the bias, of subnormals, too. */
float e4m3_to_f32(uint8_t b)
{
    uint32_t sign = (uint32_t)(b & 0x80u) << 24, u = (uint32_t)(b & 0x7fu) << 20;
    float f;
    if ((b & 0x7f) == 0x7f) {
        u = sign | 0x7fc00000u;
        memcpy(&f, &u, sizeof f);
        return f;
    }
    memcpy(&f, &u, sizeof f);
    f *= 0x1p120f;
    return sign ? -f : f;
}

/* Adding 2^p puts the grid at the last mantissa bit, so that the sum rounds there: 2^-9 below the least normal number. */
uint8_t f32_to_e4m3(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    uint8_t sign = (uint8_t)(u >> 24 & 0x80u);
    u &= 0x7fffffffu;
    if (u > 0x7f800000u)
        return sign | 0x7f;
    if (u >= 0x43e00000u) /* 448 */
        return sign | 0x7e;
    if (u < 0x3c800000u) { /* 2^-6 */
        memcpy(&x, &u, sizeof x);
        x += 0x1p14f;
        memcpy(&u, &x, sizeof u);
        return (uint8_t)(sign | (u & 15u));
    }
    u += 0x7ffffu + (u >> 20 & 1u);
    return (uint8_t)(sign | ((u >> 20) - (120u << 3)));
}

float e2m1_to_f32(uint8_t code)
{
    static const float value[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
    float f = value[code & 7];
    return code & 8 ? -f : f;
}

/* The bounds between neighbours; a tie goes to the even mantissa, down at .25, 1.25, 2.5 and 5, up at .75, 1.75 and 3.5. */
uint8_t f32_to_e2m1(float x)
{
    float a = fabsf(x);
    int code = (a > 0.25f) + (a >= 0.75f) + (a > 1.25f) + (a >= 1.75f) + (a > 2.5f) + (a >= 3.5f) + (a > 5.0f);
    return (uint8_t)(code | (signbit(x) ? 8 : 0));
}

float e8m0_to_f32(uint8_t b)
{
    uint32_t u = b ? (uint32_t)b << 23 : 0x00400000u;
    float f;
    if (b == 0xff)
        u = 0x7fc00000u;
    memcpy(&f, &u, sizeof f);
    return f;
}

void f8_e4m3_decode(float *dst, const void *src, size_t n)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < n; i++)
        dst[i] = e4m3_to_f32(p[i]);
}

void f8_e4m3_encode(void *dst, const float *src, size_t n)
{
    uint8_t *p = dst;
    for (size_t i = 0; i < n; i++)
        p[i] = f32_to_e4m3(src[i]);
}

/* Twice the value, so that codes are integers; scales are halved instead, which is exact. */
static const int8_t DOUBLED[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

float e8m0_half(uint8_t b)
{
    uint32_t u = b < 2 ? 0x00200000u << b : (uint32_t)(b - 1) << 23;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

float e4m3_half(uint8_t b)
{
    return b == 0x7f ? 0.0f : b == 0xff ? 240.0f : 0.5f * e4m3_to_f32(b & 0x7f);
}

static void decode_codes(float *dst, const uint8_t *qs, int n, float d)
{
    for (int j = 0; j < n; j++) {
        dst[j] = (float)DOUBLED[qs[j] & 15] * d;
        dst[j + n] = (float)DOUBLED[qs[j] >> 4] * d;
    }
}

/* Codes of x / d, d a number that f32 divides by without overflow or 0: then all codes are 0. Returns the squared error. */
static double encode_codes(uint8_t *qs, const float *x, int n, float d)
{
    double sum = 0;
    for (int j = 0; j < n; j++) {
        uint8_t lo = d > 0 ? f32_to_e2m1(x[j] / d) : 0, hi = d > 0 ? f32_to_e2m1(x[j + n] / d) : 0;
        double a = (double)x[j] - (double)e2m1_to_f32(lo) * (double)d;
        double b = (double)x[j + n] - (double)e2m1_to_f32(hi) * (double)d;
        qs[j] = (uint8_t)(lo | hi << 4);
        sum += a * a + b * b;
    }
    return sum;
}

static float abs_max(const float *x, int n)
{
    float best = 0;
    for (int j = 0; j < n; j++)
        best = fabsf(x[j]) > best ? fabsf(x[j]) : best;
    return best;
}

void mxfp4_decode(float *dst, const void *src, size_t n)
{
    const uint8_t *p = src;
    for (size_t b = 0; b < n / 32; b++, p += 17)
        decode_codes(dst + 32 * b, p + 1, 16, e8m0_half(p[0]));
}

/* The scale that the specification names (the greatest power of two with amax / scale >= 4, which saturates what is above 6), or
 * the next greater, whichever errs less. */
void mxfp4_encode(void *dst, const float *src, size_t n)
{
    uint8_t *p = dst;
    for (size_t b = 0; b < n / 32; b++, p += 17, src += 32) {
        float amax = abs_max(src, 32);
        int e = 0;
        uint8_t other[16];
        if (amax > 0)
            frexpf(amax < INFINITY ? amax : 0x1p127f, &e);
        e += 124; /* amax = f 2^e, f in [1/2, 1): the bias of 127, and 3 for the 4 */
        e = amax > 0 && e > 0 ? e : 0;
        p[0] = (uint8_t)e;
        if (encode_codes(p + 1, src, 16, amax > 0 ? e8m0_to_f32((uint8_t)e) : 0) >
            encode_codes(other, src, 16, amax > 0 ? e8m0_to_f32((uint8_t)(e + 1)) : 0)) {
            p[0]++;
            memcpy(p + 1, other, sizeof other);
        }
    }
}

void nvfp4_decode(float *dst, const void *src, size_t n)
{
    const uint8_t *p = src;
    for (size_t b = 0; b < n / 64; b++, p += 36)
        for (int s = 0; s < 4; s++, dst += 16)
            decode_codes(dst, p + 4 + 8 * s, 8, e4m3_half(p[s]));
}

/* amax / 6 as the scale; what is too small for one keeps the least there is. */
void nvfp4_encode(void *dst, const float *src, size_t n)
{
    uint8_t *p = dst;
    for (size_t b = 0; b < n / 64; b++, p += 36)
        for (int s = 0; s < 4; s++, src += 16) {
            float amax = abs_max(src, 16);
            p[s] = f32_to_e4m3(amax / 6);
            if (amax > 0 && p[s] == 0)
                p[s] = 1;
            encode_codes(p + 4 + 8 * s, src, 8, e4m3_to_f32(p[s]));
        }
}
