/* avx512/act: ref/act.c, a group of 32 as two vectors. */
#include "kernel/avx512/avx512.h"
#include <immintrin.h>
#include <math.h>
#include <string.h>

AVX512_INLINE __m512i round_group(__m512 v, __m512 inv)
{
    return _mm512_cvtps_epi32(_mm512_mul_ps(v, inv)); /* the default rounding: to nearest even */
}

/* Stores 16 activations and returns their sum. */
AVX512_INLINE int32_t put16(int8_t *hi, int8_t *lo, __m512i x, bool wide)
{
    __m512i h = x;
    if (wide) {
        const __m512i c64 = _mm512_set1_epi32(64);
        __m512i l = _mm512_sub_epi32(_mm512_and_si512(_mm512_add_epi32(x, c64), _mm512_set1_epi32(127)), c64);
        h = _mm512_srai_epi32(_mm512_sub_epi32(x, l), 7); /* exact: x - l is a multiple of 128 */
        _mm_storeu_si128((__m128i *)(void *)lo, _mm512_cvtepi32_epi8(l));
    }
    _mm_storeu_si128((__m128i *)(void *)hi, _mm512_cvtepi32_epi8(h));
    return _mm512_reduce_add_epi32(x);
}

AVX512_INLINE void quantize_group(const struct act_block *a, size_t t, const float *v, bool wide)
{
    int8_t *hi = (int8_t *)a->hi + 32 * t, *lo = (int8_t *)a->lo + 32 * t;
    const __m512i mask = _mm512_set1_epi32(0x7fffffff);
    __m512 v0 = _mm512_loadu_ps(v), v1 = _mm512_loadu_ps(v + 16);
    __m512i m = _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(v0), mask),
                                 _mm512_and_si512(_mm512_castps_si512(v1), mask));
    int32_t bits = _mm512_reduce_max_epi32(m), s0 = 0, s1 = 0;
    float amax, top = wide ? 16256.0f : 127.0f, dx;
    memcpy(&amax, &bits, sizeof amax);
    if (bits >= 0x7f800000 || !(amax >= 0x1p-100f)) {
        dx = bits >= 0x7f800000 ? NAN : 0.0f;
        memset(hi, 0, 32);
        if (wide)
            memset(lo, 0, 32);
    } else {
        __m512 inv = _mm512_set1_ps(top / amax);
        dx = amax / top;
        s0 = put16(hi, lo, round_group(v0, inv), wide);
        s1 = put16(hi + 16, lo + 16, round_group(v1, inv), wide);
    }
    ((float *)a->dx)[t] = dx;
    ((float *)a->xs)[t] = dx * (float)(s0 + s1);
    ((int32_t *)a->n8)[t] = -8 * (s0 + s1);
    ((int32_t *)a->n0)[t] = -32 * s0;
    ((int32_t *)a->n1)[t] = -32 * s1;
}

static void act_quantize(void *act, const float *x, size_t ldx, size_t k, size_t n_tok, size_t t0, size_t t1, bool wide)
{
    for (size_t t = t0; t < t1; t++) {
        uint8_t *tile = (uint8_t *)act + layout_tile_offset(k, t, wide);
        size_t w = layout_tile_width(n_tok, t);
        for (size_t b = 0; b < k / 32; b++) {
            struct act_block a = layout_act(tile, w, b, wide);
            if (wide)
                quantize_group(&a, t % 8, x + t * ldx + 32 * b, true);
            else
                quantize_group(&a, t % 8, x + t * ldx + 32 * b, false);
        }
    }
}

void avx512_init_act(struct kernels *k)
{
    k->act_quantize = act_quantize;
}
