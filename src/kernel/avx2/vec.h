/* vec: the few float operations that simd/ is written in, 8 lanes wide. */
#ifndef HEARTH_KERNEL_AVX2_VEC_H
#define HEARTH_KERNEL_AVX2_VEC_H
#include "kernel/avx2/columns.h"
#include <immintrin.h>
#include <stdint.h>

#define VEC static inline __attribute__((always_inline))
typedef __m256 vf;
enum {
    VW = 8,
    ATTN_ROWS = 6, /* times 2 vectors, or 3 times 4: 12 accumulators, 2 loads and a broadcast of 16 registers */
    ATTN_ACC = 12,
    FLOAT_TOK = 6
};

VEC void v_fetch(const uint8_t *p)
{
    _mm_prefetch((const char *)p, _MM_HINT_T1);
} /* towards the second-level cache */
VEC vf v_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
VEC void v_store(float *p, vf a)
{
    _mm256_storeu_ps(p, a);
}
VEC vf v_set1(float a)
{
    return _mm256_set1_ps(a);
}
VEC vf v_fma(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}
VEC vf v_fms(vf a, vf b, vf c)
{
    return _mm256_fmsub_ps(a, b, c);
}
VEC vf v_add(vf a, vf b)
{
    return _mm256_add_ps(a, b);
}
VEC vf v_sub(vf a, vf b)
{
    return _mm256_sub_ps(a, b);
}
VEC vf v_mul(vf a, vf b)
{
    return _mm256_mul_ps(a, b);
}
VEC vf v_div(vf a, vf b)
{
    return _mm256_div_ps(a, b);
}
VEC vf v_max(vf a, vf b)
{
    return _mm256_max_ps(a, b);
} /* a > b ? a : b, so b when either is NaN */
VEC vf v_if_lt(vf a, vf b, vf yes, vf no)
{
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
VEC vf v_if_nan(vf a, vf yes, vf no)
{
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}
VEC vf v_abs(vf a)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
VEC vf v_copysign(vf mag, vf sign)
{
    vf s = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(s, mag), _mm256_and_ps(s, sign));
}
/* p * 2^k in two exact steps, k the integer whose bits z carries above those of 0x1.8p23 */
VEC vf v_scale2(vf p, vf z)
{
    __m256i k = _mm256_sub_epi32(_mm256_castps_si256(z), _mm256_set1_epi32(0x4B400000)), h = _mm256_srai_epi32(k, 1);
    __m256i bias = _mm256_set1_epi32(127);
    vf a = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(h, bias), 23));
    vf b = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(k, h), bias), 23));
    return _mm256_mul_ps(_mm256_mul_ps(p, a), b);
}
/* p * 2^k where k is -126 or more and the result is no less than 2^-126 */
VEC vf v_scale1(vf p, vf z)
{
    __m256i k = _mm256_add_epi32(_mm256_castps_si256(z), _mm256_set1_epi32(127));
    return _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(k, 23)));
}
VEC vf v_load_half(const uint8_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}
VEC float v_half(uint16_t h)
{
    return _cvtsh_ss(h);
}
VEC vf v_load_bf16(const uint8_t *p)
{
    return _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)), 16));
}
VEC vf v_load_s8(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}
/* An E4M3 number's bits are those of an f16 2^8 times smaller, but for NaN. */
VEC vf v_load_e4m3(const uint8_t *p)
{
    __m128i b = _mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)p)), top = _mm_set1_epi16(0x3f80);
    __m128i h = _mm_and_si128(_mm_slli_epi16(b, 7), _mm_set1_epi16((short)0xbf80));
    __m128i nan = _mm_cmpeq_epi16(_mm_and_si128(h, top), top);
    h = _mm_or_si128(h, _mm_and_si128(nan, _mm_set1_epi16(0x7e00)));
    return _mm256_mul_ps(_mm256_cvtph_ps(h), _mm256_set1_ps(256.0f));
}
VEC void v_store_half(uint8_t *p, vf a)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

#endif
