/* avx2/act: ref/act.c, a group of 32 as four vectors. Four groups at a time, so that the steps that one number per group takes (its
 * largest magnitude, quotients, sums) are vectors of four groups; one alone where a group is broken, zero, or left over. */
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

AVX2_INLINE void put(int8_t *to, __m256i x)
{
    _mm256_storeu_si256((__m256i *)(void *)to, x);
}

/* 32 integers that fit 8 bits; the packs interleave 128-bit halves, the permutation puts them back. */
AVX2_INLINE __m256i pack32(const __m256i *x)
{
    __m256i p = _mm256_packs_epi16(_mm256_packs_epi32(x[0], x[1]), _mm256_packs_epi32(x[2], x[3]));
    return _mm256_permutevar8x32_epi32(p, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* The planes of 32 integers; narrow ones have none but hi. */
AVX2_INLINE void planes(__m256i *hi, __m256i *lo, const __m256i *x, bool wide)
{
    if (!wide) {
        *hi = pack32(x);
        return;
    }
    const __m256i c64 = _mm256_set1_epi32(64), c127 = _mm256_set1_epi32(127);
    __m256i h[4], l[4];
    for (int i = 0; i < 4; i++) {
        l[i] = _mm256_sub_epi32(_mm256_and_si256(_mm256_add_epi32(x[i], c64), c127), c64);
        h[i] = _mm256_srai_epi32(_mm256_sub_epi32(x[i], l[i]), 7); /* exact: a multiple of 128 */
    }
    *hi = pack32(h);
    *lo = pack32(l);
}

/* 32 signed bytes -> sums of four neighbours. */
AVX2_INLINE __m256i sum_bytes(__m256i x)
{
    return _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), x), _mm256_set1_epi16(1));
}

/* 32 numbers of -127 to 127 -> sums of four neighbours' squares. */
AVX2_INLINE __m256i square_bytes(__m256i x)
{
    x = _mm256_abs_epi8(x);
    return _mm256_madd_epi16(_mm256_maddubs_epi16(x, x), _mm256_set1_epi16(1));
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
        __m256i h, l;
        planes(&h, &l, x, wide);
        put(hi, h);
        if (wide)
            put(lo, l);
        s0 = sum_lanes(_mm256_add_epi32(x[0], x[1]));
        s1 = sum_lanes(_mm256_add_epi32(x[2], x[3]));
        if (!wide)
            square = sum_lanes(square_bytes(h));
    }
    ((float *)a->dx)[t] = dx;
    ((float *)a->xs)[t] = dx * (float)(s0 + s1);
    ((int32_t *)a->n8)[t] = -8 * (s0 + s1);
    ((int32_t *)a->n0)[t] = -32 * s0;
    ((int32_t *)a->n1)[t] = -32 * s1;
    return square;
}

/* The largest lane of each of four vectors. */
AVX2_INLINE __m128i max_lanes(const __m256i m[4])
{
    __m128i a[4];
    for (int g = 0; g < 4; g++)
        a[g] = _mm_max_epi32(_mm256_castsi256_si128(m[g]), _mm256_extracti128_si256(m[g], 1));
    __m128i p = _mm_max_epi32(_mm_unpacklo_epi32(a[0], a[1]), _mm_unpackhi_epi32(a[0], a[1]));
    __m128i q = _mm_max_epi32(_mm_unpacklo_epi32(a[2], a[3]), _mm_unpackhi_epi32(a[2], a[3]));
    return _mm_max_epi32(_mm_unpacklo_epi64(p, q), _mm_unpackhi_epi64(p, q));
}

/* Of each of four vectors the sum of the low four lanes, then of the high four. */
AVX2_INLINE __m256i sum_halves(const __m256i s[4])
{
    return _mm256_hadd_epi32(_mm256_hadd_epi32(s[0], s[1]), _mm256_hadd_epi32(s[2], s[3]));
}

enum { RUN = 8 }; /* fours */

/* What one number per group is, four groups each. */
struct four {
    float dx[4], inv[4], xs[4];
    int32_t n8[4], n0[4], n1[4], square[4];
};

/* False: one of them is broken or zero. */
AVX2_INLINE bool four_scales(struct four *f, const float *v, float top)
{
    __m256i m[4];
    for (int g = 0; g < 4; g++, v += 32)
        m[g] = _mm256_max_epi32(_mm256_max_epi32(abs_bits(_mm256_loadu_ps(v)), abs_bits(_mm256_loadu_ps(v + 8))),
                                _mm256_max_epi32(abs_bits(_mm256_loadu_ps(v + 16)), abs_bits(_mm256_loadu_ps(v + 24))));
    __m128i bits = max_lanes(m), least = _mm_castps_si128(_mm_set1_ps(0x1p-100f)), most = _mm_set1_epi32(0x7f7fffff);
    if (_mm_movemask_epi8(_mm_or_si128(_mm_cmpgt_epi32(least, bits), _mm_cmpgt_epi32(bits, most))))
        return false;
    __m128 amax = _mm_castsi128_ps(bits), tops = _mm_set1_ps(top);
    _mm_storeu_ps(f->dx, _mm_div_ps(amax, tops));
    _mm_storeu_ps(f->inv, _mm_div_ps(tops, amax));
    return true;
}

AVX2_INLINE void store4(int32_t *to, __m128i x)
{
    _mm_storeu_si128((__m128i *)(void *)to, x);
}

/* s: sums of the halves, low and high. */
AVX2_INLINE void four_sums(struct four *f, __m256i s)
{
    __m128i s0 = _mm256_castsi256_si128(s), s1 = _mm256_extracti128_si256(s, 1), sum = _mm_add_epi32(s0, s1),
            zero = _mm_setzero_si128();
    _mm_storeu_ps(f->xs, _mm_mul_ps(_mm_loadu_ps(f->dx), _mm_cvtepi32_ps(sum)));
    store4(f->n8, _mm_sub_epi32(zero, _mm_slli_epi32(sum, 3)));
    store4(f->n0, _mm_sub_epi32(zero, _mm_slli_epi32(s0, 5)));
    store4(f->n1, _mm_sub_epi32(zero, _mm_slli_epi32(s1, 5)));
}

/* Four groups of token t, the first in block a, the others `stride` bytes apart; f has their scales. */
AVX2_INLINE void quantize_four(const struct act_block *a, size_t stride, size_t t, const float *v, bool wide,
                               struct four *f)
{
    __m256i sum[4], square[4];
    for (size_t g = 0; g < 4; g++, v += 32) {
        int8_t *hi = (int8_t *)a->hi + stride * g + 32 * t, *lo = (int8_t *)a->lo + stride * g + 32 * t;
        __m256i x[4];
        for (int i = 0; i < 4; i++) /* the default rounding: to nearest even */
            x[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(v + 8 * i), _mm256_set1_ps(f->inv[g])));
        __m256i h, l;
        planes(&h, &l, x, wide);
        put(hi, h);
        sum[g] = sum_bytes(h);
        if (wide) {
            put(lo, l);
            sum[g] = _mm256_add_epi32(_mm256_slli_epi32(sum[g], 7), sum_bytes(l));
        } else {
            square[g] = square_bytes(h);
        }
    }
    four_sums(f, sum_halves(sum));
    if (!wide) {
        __m256i q = sum_halves(square);
        store4(f->square, _mm_add_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1)));
    }
    for (size_t g = 0; g < 4; g++) {
        size_t at = stride / sizeof(float) * g + t;
        ((float *)a->dx)[at] = f->dx[g];
        ((float *)a->xs)[at] = f->xs[g];
        ((int32_t *)a->n8)[at] = f->n8[g];
        ((int32_t *)a->n0)[at] = f->n0[g];
        ((int32_t *)a->n1)[at] = f->n1[g];
    }
}

/* The i-th four of n groups; the last may share some with the one before. */
AVX2_INLINE size_t four_at(size_t i, size_t n)
{
    return 4 * i + 4 <= n ? 4 * i : n - 4;
}

/* The first n groups of token t of a tile, at most 4 * RUN. All scales come first: what needs them then need not wait. */
AVX2_INLINE void quantize_run(uint8_t *tile, size_t w, size_t t, const float *v, size_t n, bool wide,
                              struct act_spread *spread)
{
    const size_t stride = w * layout_token_bytes(wide), fours = n < 4 ? 0 : (n + 3) / 4;
    struct four f[RUN];
    bool whole[RUN];
    for (size_t i = 0; i < fours; i++)
        whole[i] = four_scales(&f[i], v + 32 * four_at(i, n), wide ? 16256.0f : 127.0f);
    for (size_t i = 0, b = 0; b < n; i++) {
        struct four *at = &f[i];
        size_t from = fours ? four_at(i, n) : 0, to = fours ? from + 4 : n;
        struct act_block a = layout_act(tile + stride * from, w, 0, wide);
        if (fours && whole[i])
            quantize_four(&a, stride, t, v + 32 * from, wide, at);
        else
            for (size_t g = b; g < to; g++) {
                a = layout_act(tile + stride * g, w, 0, wide);
                at->square[g - from] = quantize_group(&a, t, v + 32 * g, wide);
                at->dx[g - from] = a.dx[t];
            }
        for (; b < to; b++)
            if (!wide)
                layout_spread(spread, at->dx[b - from], at->square[b - from]);
    }
}

AVX2_INLINE void quantize_token(uint8_t *tile, size_t w, size_t t, const float *v, size_t blocks, bool wide,
                                struct act_spread *spread)
{
    for (size_t b = 0, n; b < blocks; b += n) {
        n = blocks - b < 4 * RUN ? blocks - b : 4 * RUN;
        quantize_run(tile + w * layout_token_bytes(wide) * b, w, t, v + 32 * b, n, wide, spread);
    }
}

static void act_quantize(void *act, uint8_t *outliers, const float *x, size_t ldx, size_t k, size_t n_tok, size_t t0,
                         size_t t1, bool wide)
{
    for (size_t t = t0; t < t1; t++) {
        uint8_t *tile = (uint8_t *)act + layout_tile_offset(k, t, wide);
        size_t w = layout_tile_width(n_tok, t);
        struct act_spread s = {0, 0};
        if (wide)
            quantize_token(tile, w, t % 8, x + t * ldx, k / 32, true, &s);
        else
            quantize_token(tile, w, t % 8, x + t * ldx, k / 32, false, &s);
        layout_outlier(outliers, t, &s, wide);
    }
}

void avx2_init_act(struct kernels *k)
{
    k->act_quantize = act_quantize;
}
