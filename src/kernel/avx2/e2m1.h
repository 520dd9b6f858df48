/* e2m1: inside avx2: what MXFP4 and NVFP4 consist of, unpacked. The bounds are in linear.c. */
#ifndef HEARTH_KERNEL_AVX2_E2M1_H
#define HEARTH_KERNEL_AVX2_E2M1_H
#include "kernel/avx2/block.h"

enum { E2M1_ZERO = 12 }; /* added to a code, |code| <= 12 */

/* The zero point of a format's codes as they are unpacked for vpmaddubsw. */
AVX2_INLINE int zero_of(const struct kernel_format *f)
{
    return f->e2m1 ? E2M1_ZERO : f->bits == 5 ? 16 : f->zero;
}

/* 2^(e - 128) of eight bytes e. Below 2 it is subnormal, and the second number the greater. */
AVX2_INLINE __m256 e8m0_ps(const uint8_t *p)
{
    __m256i e = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)), one = _mm256_set1_epi32(1);
    return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_slli_epi32(_mm256_sub_epi32(e, one), 23),
                                                _mm256_slli_epi32(_mm256_add_epi32(e, one), 21)));
}

/* Eight of NVFP4's scales, halved. */
AVX2_INLINE __m256 e5m3_ps(const uint8_t *p)
{
    __m128i v = _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)p));
    return _mm256_cvtph_ps(_mm_slli_epi16(v, 7));
}

/* What makes integers of a unit's scales (linear.c): 2^7, 2^10 (halves are what e5m3_ps gives), or 0: nothing does. 0x58 is 2^-3,
 * 0x9f is 60. */
AVX2_INLINE float e5m3_per_unit(const uint8_t *head)
{
    const __m256i one = _mm256_set1_epi8(1), least = _mm256_set1_epi8(0x57), most = _mm256_set1_epi8((char)0x9f);
    __m256i a = load256(head), b = load256(head + 32), high = _mm256_max_epu8(a, b);
    __m256i low = _mm256_min_epu8(_mm256_sub_epi8(a, one), _mm256_sub_epi8(b, one)); /* 0 becomes the greatest */
    if (_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(low, least), low)) == -1)
        return 0x1p7f;
    return _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(high, most), most)) == -1 ? 0x1p10f : 0;
}

/* Both scales of a block's rows, eight of them, as pairs of int16. */
AVX2_INLINE __m256i e5m3_ints(const uint8_t *p, float per_unit)
{
    __m256 per = _mm256_set1_ps(per_unit);
    return _mm256_or_si256(_mm256_cvtps_epi32(_mm256_mul_ps(e5m3_ps(p), per)),
                           _mm256_slli_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(e5m3_ps(p + 16), per)), 16));
}

/* The numbers, something added, for both 128-bit lanes. */
AVX2_INLINE __m256i e2m1_table(int plus)
{
    __m256i t = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)LAYOUT_E2M1));
    return _mm256_add_epi8(t, _mm256_set1_epi8((char)plus));
}

/* p: the block's planes, already moved to this half's 32 bytes of each. Codes + plus. In natural order q[j] is quad j. Paired, of
 * plane j, which has a quad of the first half in the low nibbles and one of the second in the high ones: q[2j] is elements 0 and 1
 * of the one and 2 and 3 of the other, q[2j+1] the rest, so the low int16 of a lane is always of the first half. */
AVX2_INLINE void e2m1_codes(__m256i q[8], const uint8_t *p, int plus, bool paired)
{
    const __m256i low = _mm256_set1_epi8(15);
    const __m256i swap = _mm256_set_epi8(13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2, 13, 12, 15, 14, 9, 8, 11,
                                         10, 5, 4, 7, 6, 1, 0, 3, 2);
    const __m256i e2m1 = e2m1_table(plus);
    for (int j = 0; j < 4; j++) {
        __m256i z = load256(p + 64 * j), y = _mm256_srli_epi16(z, 4), a = z, b = y;
        if (paired) {
            a = _mm256_blend_epi16(z, y, 0xaa);
            b = _mm256_shuffle_epi8(_mm256_blend_epi16(y, z, 0xaa), swap);
        }
        q[paired ? 2 * j : j] = _mm256_shuffle_epi8(e2m1, _mm256_and_si256(a, low));
        q[paired ? 2 * j + 1 : j + 4] = _mm256_shuffle_epi8(e2m1, _mm256_and_si256(b, low));
    }
}

/* Half h (0 or 8: first row) of block b of the unit at head. NVFP4's scales are multiplied by `factor`, a power of 2. */
AVX2_INLINE void load_e2m1(struct half256 *w, const uint8_t *head, int b, int h, float factor,
                           const struct kernel_format *f, int plus, bool paired)
{
    w->d = f->halves ? _mm256_mul_ps(e5m3_ps(head + 32 * b + h), _mm256_set1_ps(factor)) : e8m0_ps(head + h);
    if (f->halves)
        w->m = _mm256_mul_ps(e5m3_ps(head + 32 * b + 16 + h), _mm256_set1_ps(factor));
    e2m1_codes(w->q, head + f->header + (size_t)b * layout_block_bytes(f) + 4 * h, plus, paired);
}

#endif
