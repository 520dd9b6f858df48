/* avx2/act: ref/act.c, a group of 32 as four vectors. */
#include "kernel/avx2/avx2.h"
#include <immintrin.h>
#include <math.h>
#include <string.h>

AVX2_INLINE __m256i abs_bits(__m256 v)
{
    return _mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(0x7fffffff));
}

AVX2_INLINE int32_t max_lane(__m256i m)
{
    __m128i a = _mm_max_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
    a = _mm_max_epi32(a, _mm_shuffle_epi32(a, 0x4E));
    a = _mm_max_epi32(a, _mm_shuffle_epi32(a, 0xB1));
    return _mm_cvtsi128_si32(a);
}

AVX2_INLINE int32_t sum_lanes(__m256i m)
{
    __m128i a = _mm_add_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
    a = _mm_add_epi32(a, _mm_shuffle_epi32(a, 0x4E));
    a = _mm_add_epi32(a, _mm_shuffle_epi32(a, 0xB1));
    return _mm_cvtsi128_si32(a);
}

/* Sums of squares of sixteen integers that fit 8 bits. */
AVX2_INLINE __m256i squares(__m256i a, __m256i b)
{
    __m256i p = _mm256_packs_epi32(a, b);
    return _mm256_madd_epi16(p, p);
}

/* 32 integers that fit 8 bits; the packs interleave 128-bit halves, the permutation puts them back. */
AVX2_INLINE void put32(int8_t *to, const __m256i *x)
{
    __m256i p = _mm256_packs_epi16(_mm256_packs_epi32(x[0], x[1]), _mm256_packs_epi32(x[2], x[3]));
    p = _mm256_permutevar8x32_epi32(p, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((__m256i *)(void *)to, p);
}

AVX2_INLINE void put_group(int8_t *hi, int8_t *lo, const __m256i *x, bool wide)
{
    if (!wide) {
        put32(hi, x);
        return;
    }
    const __m256i c64 = _mm256_set1_epi32(64), c127 = _mm256_set1_epi32(127);
    __m256i h[4], l[4];
    for (int i = 0; i < 4; i++) {
        l[i] = _mm256_sub_epi32(_mm256_and_si256(_mm256_add_epi32(x[i], c64), c127), c64);
        h[i] = _mm256_srai_epi32(_mm256_sub_epi32(x[i], l[i]), 7); /* exact: a multiple of 128 */
    }
    put32(hi, h);
    put32(lo, l);
}

AVX2_INLINE int32_t quantize_group(const struct act_block *a, size_t t, const float *v, bool wide)
{
    int8_t *hi = (int8_t *)a->hi + 32 * t, *lo = (int8_t *)a->lo + 32 * t;
    __m256 f[4];
    for (int i = 0; i < 4; i++)
        f[i] = _mm256_loadu_ps(v + 8 * i);
    __m256i m = _mm256_max_epi32(_mm256_max_epi32(abs_bits(f[0]), abs_bits(f[1])),
                                 _mm256_max_epi32(abs_bits(f[2]), abs_bits(f[3])));
    int32_t bits = max_lane(m), s0 = 0, s1 = 0, square = 0;
    float amax, top = wide ? 16256.0f : 127.0f, dx;
    memcpy(&amax, &bits, sizeof amax);
    if (bits >= 0x7f800000 || !(amax >= 0x1p-100f)) {
        dx = bits >= 0x7f800000 ? NAN : 0.0f;
        memset(hi, 0, 32);
        if (wide)
            memset(lo, 0, 32);
    } else {
        __m256 inv = _mm256_set1_ps(top / amax);
        __m256i x[4];
        dx = amax / top;
        for (int i = 0; i < 4; i++)
            x[i] = _mm256_cvtps_epi32(_mm256_mul_ps(f[i], inv)); /* the default rounding: to nearest even */
        put_group(hi, lo, x, wide);
        s0 = sum_lanes(_mm256_add_epi32(x[0], x[1]));
        s1 = sum_lanes(_mm256_add_epi32(x[2], x[3]));
        if (!wide)
            square = sum_lanes(_mm256_add_epi32(squares(x[0], x[1]), squares(x[2], x[3])));
    }
    ((float *)a->dx)[t] = dx;
    ((float *)a->xs)[t] = dx * (float)(s0 + s1);
    ((int32_t *)a->n8)[t] = -8 * (s0 + s1);
    ((int32_t *)a->n0)[t] = -32 * s0;
    ((int32_t *)a->n1)[t] = -32 * s1;
    return square;
}

static void act_quantize(void *act, uint8_t *outliers, const float *x, size_t ldx, size_t k, size_t n_tok, size_t t0,
                         size_t t1, bool wide)
{
    for (size_t t = t0; t < t1; t++) {
        uint8_t *tile = (uint8_t *)act + layout_tile_offset(k, t, wide);
        size_t w = layout_tile_width(n_tok, t);
        struct act_spread s = {0, 0};
        for (size_t b = 0; b < k / 32; b++) {
            struct act_block a = layout_act(tile, w, b, wide);
            const float *v = x + t * ldx + 32 * b;
            if (wide)
                quantize_group(&a, t % 8, v, true);
            else {
                int32_t square = quantize_group(&a, t % 8, v, false);
                layout_spread(&s, a.dx[t % 8], square);
            }
        }
        layout_outlier(outliers, t, &s, wide);
    }
}

void avx2_init_act(struct kernels *k)
{
    k->act_quantize = act_quantize;
}
