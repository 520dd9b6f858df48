/* q_fp: numbers of 8 and 4 bits with an exponent of their own: E4M3 (FP8 without infinity, bias 7), E2M1 (FP4) and E8M0 (a power of
 * two), by the OCP specifications of 8-bit floating point and of microscaling. Encoding rounds to nearest even and saturates. */
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
