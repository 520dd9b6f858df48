/* quant: the dtype table and the scalar codecs. Owns the answer to "what number do these bytes mean"; knows nothing of
 * matrices, packing or speed. The block formats themselves are in q_simple.c (32 wide) and q_super.c (256 wide), the smallest floats and their blocks in q_fp.c. */
#include "quant/quant.h"
#include "quant/q_blocks.h"
#include <string.h>

static uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static float float_of(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

float f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exp = (h >> 10) & 31u, man = h & 0x3ffu;
    if (exp == 31) /* a signalling NaN becomes quiet, as the conversion instructions make it */
        return float_of(sign | 0x7f800000u | man << 13 | (man ? 0x400000u : 0));
    if (exp)
        return float_of(sign | (exp + 112) << 23 | man << 13);
    float f = (float)man * 0x1p-24f; /* subnormal: exact */
    return float_of(sign | bits_of(f));
}

uint16_t f32_to_f16(float f)
{
    uint32_t u = bits_of(f), a = u & 0x7fffffffu;
    uint16_t sign = (uint16_t)((u >> 16) & 0x8000u);
    if (a > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | ((a >> 13) & 0x3ffu));
    if (a >= 0x477ff000u) /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    /* below 2^-14: adding 1/2 puts the 2^-24 grid at the last mantissa bit, so the sum rounds there */
    if (a < 0x38800000u) {
        uint32_t r = bits_of(float_of(a) + 0.5f) - 0x3f000000u;
        return (uint16_t)(sign | r);
    }
    a += 0xfffu + ((a >> 13) & 1u);
    return (uint16_t)(sign | ((a >> 13) - (112u << 10)));
}

float bf16_to_f32(uint16_t h)
{
    return float_of((uint32_t)h << 16);
}

uint16_t f32_to_bf16(float f)
{
    uint32_t u = bits_of(f);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

static void f32_decode(float *dst, const void *src, size_t n)
{
    memcpy(dst, src, n * sizeof *dst);
}

static void f32_encode(void *dst, const float *src, size_t n)
{
    memcpy(dst, src, n * sizeof *src);
}

static void f16_decode(float *dst, const void *src, size_t n)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < n; i++)
        dst[i] = f16_to_f32(q_u16(p + 2 * i));
}

static void f16_encode(void *dst, const float *src, size_t n)
{
    uint8_t *p = dst;
    for (size_t i = 0; i < n; i++)
        q_put16(p + 2 * i, f32_to_f16(src[i]));
}

static void bf16_decode(float *dst, const void *src, size_t n)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < n; i++)
        dst[i] = bf16_to_f32(q_u16(p + 2 * i));
}

static void bf16_encode(void *dst, const float *src, size_t n)
{
    uint8_t *p = dst;
    for (size_t i = 0; i < n; i++)
        q_put16(p + 2 * i, f32_to_bf16(src[i]));
}

/* clang-format off */
static const struct dtype_info TABLE[DT_COUNT] = {
    [DT_F32]  = {"F32",   0,   1,   4, f32_decode,  f32_encode},
    [DT_F16]  = {"F16",   1,   1,   2, f16_decode,  f16_encode},
    [DT_BF16] = {"BF16", 30,   1,   2, bf16_decode, bf16_encode},
    [DT_Q4_0] = {"Q4_0",  2,  32,  18, q4_0_decode, q4_0_encode},
    [DT_Q4_1] = {"Q4_1",  3,  32,  20, q4_1_decode, q4_1_encode},
    [DT_Q5_0] = {"Q5_0",  6,  32,  22, q5_0_decode, q5_0_encode},
    [DT_Q5_1] = {"Q5_1",  7,  32,  24, q5_1_decode, q5_1_encode},
    [DT_Q8_0] = {"Q8_0",  8,  32,  34, q8_0_decode, q8_0_encode},
    [DT_Q4_K] = {"Q4_K", 12, 256, 144, q4_k_decode, q4_k_encode},
    [DT_Q5_K] = {"Q5_K", 13, 256, 176, q5_k_decode, q5_k_encode},
    [DT_Q6_K] = {"Q6_K", 14, 256, 210, q6_k_decode, q6_k_encode},
    [DT_MXFP4] = {"MXFP4", 39, 32, 17, mxfp4_decode, mxfp4_encode},
    [DT_NVFP4] = {"NVFP4", 40, 64, 36, nvfp4_decode, nvfp4_encode},
    [DT_F8_E4M3] = {"F8_E4M3", DTYPE_NO_GGUF, 1, 1, f8_e4m3_decode, f8_e4m3_encode},
};
/* clang-format on */

const struct dtype_info *dtype_info(enum dtype t)
{
    return &TABLE[t];
}

int dtype_from_gguf(uint32_t gguf_id, enum dtype *out, struct err *e)
{
    for (int t = 0; t < DT_COUNT; t++)
        if (TABLE[t].gguf_id == gguf_id && gguf_id != DTYPE_NO_GGUF) {
            *out = (enum dtype)t;
            return 0;
        }
    return err_set(e, ERR_UNSUPPORTED, "tensor type %u is not supported", gguf_id);
}

int dtype_from_name(const char *name, enum dtype *out)
{
    for (int t = 0; t < DT_COUNT; t++)
        if (strcmp(TABLE[t].name, name) == 0) {
            *out = (enum dtype)t;
            return 0;
        }
    return ERR_NOTFOUND;
}

int dtype_row_bytes(enum dtype t, uint64_t k, uint64_t *out, struct err *e)
{
    const struct dtype_info *d = &TABLE[t];
    if (k % d->block)
        return err_set(e, ERR_FORMAT, "a row of %llu elements is no multiple of %s's block of %u",
                       (unsigned long long)k, d->name, d->block);
    if (k / d->block > UINT64_MAX / d->bytes)
        return err_set(e, ERR_FORMAT, "a row of %llu elements of %s has no size", (unsigned long long)k, d->name);
    *out = k / d->block * d->bytes;
    return 0;
}
