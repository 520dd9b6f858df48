/* vec: the few float operations that simd/ is written in, 16 lanes wide. */
#ifndef HEARTH_KERNEL_AVX512_VEC_H
#define HEARTH_KERNEL_AVX512_VEC_H
#include "kernel/avx2/columns.h"
#include <immintrin.h>
#include <stdint.h>

#define VEC static inline __attribute__((always_inline))
typedef __m512 vf;
enum {
    VW = 16,
    ATTN_ROWS = 12, /* times 2 vectors, or 6 times 4: 24 accumulators, 2 to 4 loads and a broadcast of 32 registers */
    ATTN_ACC = 24,
    FLOAT_TOK = 8
};

VEC void v_fetch(const uint8_t *p)
{
    _mm_prefetch((const char *)p, _MM_HINT_T1);
} /* towards the second-level cache */
VEC vf v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
VEC void v_store(float *p, vf a)
{
    _mm512_storeu_ps(p, a);
}
VEC vf v_set1(float a)
{
    return _mm512_set1_ps(a);
}
VEC vf v_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}
VEC vf v_fms(vf a, vf b, vf c)
{
    return _mm512_fmsub_ps(a, b, c);
}
VEC vf v_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}
VEC vf v_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}
VEC vf v_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}
VEC vf v_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}
VEC vf v_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
} /* a > b ? a : b, so b when either is NaN */
VEC vf v_if_lt(vf a, vf b, vf yes, vf no)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}
VEC vf v_if_nan(vf a, vf yes, vf no)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), no, yes);
}
VEC vf v_abs(vf a)
{
    return _mm512_abs_ps(a);
}
VEC vf v_copysign(vf mag, vf sign) /* 0xE4: bit of b where c is 0, bit of a where it is 1 */
{
    __m512i m = _mm512_set1_epi32(0x7fffffff);
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_castps_si512(mag), _mm512_castps_si512(sign), m, 0xE4));
}
/* p * 2^k in two exact steps, k the integer whose bits z carries above those of 0x1.8p23 */
VEC vf v_scale2(vf p, vf z)
{
    __m512i k = _mm512_sub_epi32(_mm512_castps_si512(z), _mm512_set1_epi32(0x4B400000)), h = _mm512_srai_epi32(k, 1);
    __m512i bias = _mm512_set1_epi32(127);
    vf a = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(h, bias), 23));
    vf b = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_sub_epi32(k, h), bias), 23));
    return _mm512_mul_ps(_mm512_mul_ps(p, a), b);
}
/* p * 2^k where k is -126 or more and the result is no less than 2^-126 */
VEC vf v_scale1(vf p, vf z)
{
    __m512i k = _mm512_add_epi32(_mm512_castps_si512(z), _mm512_set1_epi32(127));
    return _mm512_mul_ps(p, _mm512_castsi512_ps(_mm512_slli_epi32(k, 23)));
}
VEC vf v_load_half(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
VEC float v_half(uint16_t h)
{
    return _cvtsh_ss(h);
}
VEC vf v_load_bf16(const uint8_t *p)
{
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p)), 16));
}
VEC vf v_load_s8(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}
/* An E4M3 number's bits are those of an f16 2^8 times smaller, but for NaN. */
VEC vf v_load_e4m3(const uint8_t *p)
{
    __m256i b = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p));
    __m256i h = _mm256_and_si256(_mm256_slli_epi16(b, 7), _mm256_set1_epi16((short)0xbf80));
    __m256i top = _mm256_set1_epi16(0x3f80);
    __mmask16 nan = _mm256_cmpeq_epi16_mask(_mm256_and_si256(h, top), top);
    h = _mm256_mask_mov_epi16(h, nan, _mm256_or_si256(h, _mm256_set1_epi16(0x7e00)));
    return _mm512_mul_ps(_mm512_cvtph_ps(h), _mm512_set1_ps(256.0f));
}
VEC void v_store_half(uint8_t *p, vf a)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

#endif
