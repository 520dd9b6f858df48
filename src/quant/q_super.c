/* q_super: the formats with super-blocks of 256: Q4_K, Q5_K (8 sub-blocks of 32 with a 6-bit scale and a 6-bit minimum each) and
 * Q6_K (16 sub-blocks of 16 with a signed 8-bit scale). The encoders try a few scales per sub-block and keep the one with
 * the least squared error: good enough for tests and benchmarks, no claim to be the best quantiser. */
#include "quant/q_blocks.h"
#include "quant/quant.h"
#include <math.h>
#include <string.h>

enum { SUPER = 256, Q4_K_BYTES = 144, Q5_K_BYTES = 176, Q6_K_BYTES = 210 };

/* Scale and minimum j of the 12-byte table: the first four lie whole in 6 bits, the last four are 4 bits plus 2 borrowed. */
static void get_scale_min(const uint8_t *s, int j, int *sc, int *m)
{
    if (j < 4) {
        *sc = s[j] & 63;
        *m = s[j + 4] & 63;
    } else {
        *sc = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
        *m = s[j + 4] >> 4 | (s[j] >> 6) << 4;
    }
}

static void put_scale_min(uint8_t *s, const int *sc, const int *m)
{
    for (int j = 0; j < 4; j++) {
        s[j] = (uint8_t)(sc[j] | (sc[j + 4] >> 4) << 6);
        s[j + 4] = (uint8_t)(m[j] | (m[j + 4] >> 4) << 6);
        s[j + 8] = (uint8_t)((sc[j + 4] & 15) | (m[j + 4] & 15) << 4);
    }
}

/* One super-block of Q4_K (qh NULL) or Q5_K: element 64c+l is the low nibble of qs[32c+l], element 64c+32+l the high one. */
static void decode_4_5(float *dst, const uint8_t *p, const uint8_t *qh, const uint8_t *qs)
{
    float d = f16_to_f32(q_u16(p)), dmin = f16_to_f32(q_u16(p + 2));
    for (int j = 0; j < 8; j++) {
        int sc, m;
        get_scale_min(p + 4, j, &sc, &m);
        float ds = d * (float)sc, ms = dmin * (float)m;
        for (int l = 0; l < 32; l++) {
            int q = qs[32 * (j / 2) + l] >> (j & 1 ? 4 : 0) & 15;
            if (qh)
                q |= (qh[l] >> j & 1) << 4;
            dst[32 * j + l] = ds * (float)q - ms;
        }
    }
}

void q4_k_decode(float *dst, const void *src, size_t n)
{
    const uint8_t *p = src;
    for (size_t b = 0; b < n / SUPER; b++, p += Q4_K_BYTES, dst += SUPER)
        decode_4_5(dst, p, NULL, p + 16);
}

void q5_k_decode(float *dst, const void *src, size_t n)
{
    const uint8_t *p = src;
    for (size_t b = 0; b < n / SUPER; b++, p += Q5_K_BYTES, dst += SUPER)
        decode_4_5(dst, p, p + 16, p + 48);
}

void q6_k_decode(float *dst, const void *src, size_t n)
{
    const uint8_t *p = src;
    for (size_t b = 0; b < n / SUPER; b++, p += Q6_K_BYTES, dst += SUPER) {
        const int8_t *sc = (const int8_t *)p + 192;
        float d = f16_to_f32(q_u16(p + 208));
        for (int i = 0; i < SUPER; i++) {
            int h = i / 128, quarter = i / 32 % 4, l = i % 32;
            int lo = p[64 * h + 32 * (quarter & 1) + l] >> (quarter & 2 ? 4 : 0) & 15;
            int hi = p[128 + 32 * h + l] >> (2 * quarter) & 3;
            dst[i] = d * (float)sc[i / 16] * (float)((lo | hi << 4) - 32);
        }
    }
}

static int clamp_round(float v, int lo, int hi)
{
    if (!(v > (float)lo))
        return lo;
    return v < (float)hi ? (int)lrintf(v) : hi;
}

/* Scale and minimum (w = d q - m) of 32 values for codes 0..top: spread over the whole range, then nine slightly finer
 * scales, because giving up the extreme values often lowers the error of the rest. */
static void fit_minimum(const float *x, int top, float *scale, float *min)
{
    float lo = 0, hi = 0, best = INFINITY;
    for (int i = 0; i < 32; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    *scale = 0;
    *min = -lo;
    for (int k = 0; k < 9 && hi > lo; k++) {
        float d = (hi - lo) / ((float)top + 0.12f * (float)k), err = 0;
        for (int i = 0; i < 32; i++) {
            float diff = d * (float)clamp_round((x[i] - lo) / d, 0, top) + lo - x[i];
            err += diff * diff;
        }
        if (err < best) {
            best = err;
            *scale = d;
        }
    }
}

static void encode_4_5(uint8_t *p, const float *x, int top, uint8_t *qh, uint8_t *qs)
{
    float scale[8], min[8], max_scale = 0, max_min = 0;
    int sc[8], m[8];
    for (int j = 0; j < 8; j++) {
        fit_minimum(x + 32 * j, top, &scale[j], &min[j]);
        max_scale = scale[j] > max_scale ? scale[j] : max_scale;
        max_min = min[j] > max_min ? min[j] : max_min;
    }
    q_put16(p, f32_to_f16(max_scale / 63.0f));
    q_put16(p + 2, f32_to_f16(max_min / 63.0f));
    float d = f16_to_f32(q_u16(p)), dmin = f16_to_f32(q_u16(p + 2));
    memset(qs, 0, 128);
    if (qh)
        memset(qh, 0, 32);
    for (int j = 0; j < 8; j++) {
        sc[j] = d > 0 ? clamp_round(scale[j] / d, 0, 63) : 0;
        m[j] = dmin > 0 ? clamp_round(min[j] / dmin, 0, 63) : 0;
        float ds = d * (float)sc[j], ms = dmin * (float)m[j];
        for (int l = 0; l < 32; l++) {
            int q = ds > 0 ? clamp_round((x[32 * j + l] + ms) / ds, 0, top) : 0;
            qs[32 * (j / 2) + l] |= (uint8_t)((q & 15) << (j & 1 ? 4 : 0));
            if (qh)
                qh[l] |= (uint8_t)((q >> 4) << j);
        }
    }
    put_scale_min(p + 4, sc, m);
}

void q4_k_encode(void *dst, const float *src, size_t n)
{
    uint8_t *p = dst;
    for (size_t b = 0; b < n / SUPER; b++, p += Q4_K_BYTES, src += SUPER)
        encode_4_5(p, src, 15, NULL, p + 16);
}

void q5_k_encode(void *dst, const float *src, size_t n)
{
    uint8_t *p = dst;
    for (size_t b = 0; b < n / SUPER; b++, p += Q5_K_BYTES, src += SUPER)
        encode_4_5(p, src, 31, p + 16, p + 48);
}

/* Scale of 16 values for codes -32..31; the value of largest magnitude goes to -32 or a little inside. */
static float fit_signed(const float *x)
{
    float big = 0, best = INFINITY, scale = 0;
    for (int i = 0; i < 16; i++)
        if (fabsf(x[i]) > fabsf(big))
            big = x[i];
    for (int k = 0; k < 9 && big != 0.0f; k++) {
        float d = big / (-32.0f + 0.2f * (float)k), err = 0;
        for (int i = 0; i < 16; i++) {
            float diff = d * (float)clamp_round(x[i] / d, -32, 31) - x[i];
            err += diff * diff;
        }
        if (err < best) {
            best = err;
            scale = d;
        }
    }
    return scale;
}

static void q6_k_put(uint8_t *p, int i, int q)
{
    int h = i / 128, quarter = i / 32 % 4, l = i % 32;
    p[64 * h + 32 * (quarter & 1) + l] |= (uint8_t)((q & 15) << (quarter & 2 ? 4 : 0));
    p[128 + 32 * h + l] |= (uint8_t)((q >> 4) << (2 * quarter));
}

void q6_k_encode(void *dst, const float *src, size_t n)
{
    uint8_t *p = dst;
    for (size_t b = 0; b < n / SUPER; b++, p += Q6_K_BYTES, src += SUPER) {
        float scale[16], big = 0;
        for (int j = 0; j < 16; j++) {
            scale[j] = fit_signed(src + 16 * j);
            big = fabsf(scale[j]) > fabsf(big) ? scale[j] : big;
        }
        memset(p, 0, Q6_K_BYTES);
        q_put16(p + 208, f32_to_f16(big / -128.0f));
        float d = f16_to_f32(q_u16(p + 208));
        for (int j = 0; j < 16; j++) {
            int sc = d != 0.0f ? clamp_round(scale[j] / d, -128, 127) : 0;
            p[192 + j] = (uint8_t)sc;
            float ds = d * (float)sc;
            for (int i = 0; i < 16; i++)
                q6_k_put(p, 16 * j + i, (ds != 0.0f ? clamp_round(src[16 * j + i] / ds, -32, 31) : 0) + 32);
        }
    }
}
