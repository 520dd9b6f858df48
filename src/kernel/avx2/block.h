/* block: inside avx2: one block of eight rows of the quantised formats, unpacked, and its product with one token. Included by
 * linear.c and few.c; what may be added in int16 is in linear.c. */
#ifndef HEARTH_KERNEL_AVX2_BLOCK_H
#define HEARTH_KERNEL_AVX2_BLOCK_H
#include "kernel/avx2/avx2.h"
#include <immintrin.h>
#include <string.h>

/* One token's share of one block. In a panel: quads over 8 lanes, then three vectors: dx, and what the format adds: xs, or what the
 * zero point subtracts. */
struct entry256 {
    const int8_t *hi, *lo;
    const float *dx, *xs;
    const int32_t *z0, *z1;
};

struct half256 { /* one block of eight rows, ready to multiply */
    __m256i q[8];
    __m256 d, m; /* Q6_K: scales of the two 16-element halves */
};

AVX2_INLINE __m256i load256(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

AVX2_INLINE __m256i quad(const int8_t *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm256_set1_epi32(v);
}

/* p: the block's planes, already moved to this half's 32 bytes of each. */
AVX2_INLINE void load_codes(__m256i q[8], const uint8_t *p, int bits)
{
    const __m256i low = _mm256_set1_epi8(15);
    if (bits == 8) {
        for (int j = 0; j < 8; j++)
            q[j] = _mm256_xor_si256(load256(p + 64 * j), _mm256_set1_epi8(-128));
        return;
    }
    for (int j = 0; j < 4; j++) {
        __m256i z = load256(p + 64 * j);
        q[j] = _mm256_and_si256(z, low);
        q[j + 4] = _mm256_and_si256(_mm256_srli_epi16(z, 4), low);
    }
    if (bits == 5) { /* bit j of the plane becomes bit 4 of quad j */
        __m256i h = load256(p + 256), bit = _mm256_set1_epi8(16);
        for (int j = 0; j < 8; j++) {
            __m256i at4 = j < 4 ? _mm256_slli_epi16(h, 4 - j) : _mm256_srli_epi16(h, j - 4);
            q[j] = _mm256_or_si256(q[j], _mm256_and_si256(at4, bit));
        }
    }
    if (bits == 6) { /* bits 2s..2s+1 of plane p become bits 4..5 of quad 4p+s */
        __m256i two = _mm256_set1_epi8(48);
        for (int j = 0; j < 8; j++) {
            __m256i h = load256(p + 256 + 64 * (j / 4));
            int s = j % 4;
            __m256i at4 = s < 2 ? _mm256_slli_epi16(h, 4 - 2 * s) : _mm256_srli_epi16(h, 2 * s - 4);
            q[j] = _mm256_or_si256(q[j], _mm256_and_si256(at4, two));
        }
    }
}

AVX2_INLINE __m256 load_half(const uint8_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

AVX2_INLINE __m256 bytes_ps(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}

AVX2_INLINE __m256 sbytes_ps(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}

/* The scales of a unit as floats, both halves: d[block][16], and minima. */
struct unit256 {
    float d[8][16], m[8][16];
};

/* The twelve packed bytes of 16 rows -> bytes [8 scales, 8 minima][16 rows]. */
AVX2_INLINE void unpack_k_scales(uint8_t s[256], const uint8_t *head)
{
    const __m256i m63 = _mm256_set1_epi8(63), m15 = _mm256_set1_epi8(15), m48 = _mm256_set1_epi8(48);
    for (int i = 0; i < 64; i += 32) {
        __m256i a = load256(head + 64 + i), b = load256(head + 128 + i), c = load256(head + 192 + i);
        __m256i a2 = _mm256_and_si256(_mm256_srli_epi16(a, 2), m48),
                b2 = _mm256_and_si256(_mm256_srli_epi16(b, 2), m48);
        __m256i *to = (__m256i *)(void *)(s + i);
        _mm256_storeu_si256(to, _mm256_and_si256(a, m63));
        _mm256_storeu_si256(to + 2, _mm256_or_si256(_mm256_and_si256(c, m15), a2));
        _mm256_storeu_si256(to + 4, _mm256_and_si256(b, m63));
        _mm256_storeu_si256(to + 6, _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(c, 4), m15), b2));
    }
}

/* Blocks [b0, b0 + nb) of a unit of eight, or the only one. */
AVX2_INLINE void load_unit(struct unit256 *u, const uint8_t *head, int b0, int nb, const struct kernel_format *f)
{
    uint8_t s[256];
    bool k = f->minimum && f->blocks == 8;
    if (k)
        unpack_k_scales(s, head);
    for (int h = 0; h < 16; h += 8) {
        __m256 d = load_half(head + 2 * h), m = f->minimum ? load_half(head + 32 + 2 * h) : _mm256_setzero_ps();
        __m256 neg = _mm256_sub_ps(_mm256_setzero_ps(), m);
        for (int b = k ? b0 : 0; b < (k ? b0 + nb : 1); b++) {
            _mm256_storeu_ps(u->d[b] + h, k ? _mm256_mul_ps(d, bytes_ps(s + 16 * b + h)) : d);
            if (f->minimum)
                _mm256_storeu_ps(u->m[b] + h, k ? _mm256_mul_ps(neg, bytes_ps(s + 128 + 16 * b + h)) : m);
        }
    }
}

/* Half h (0 or 8: first row) of block b. */
AVX2_INLINE void load_half_block(struct half256 *w, const struct unit256 *u, const uint8_t *head, int b, int h,
                                 const struct kernel_format *f)
{
    int own = f->dtype == DT_Q6_K ? 0 : b; /* one d for all blocks */
    w->d = _mm256_loadu_ps(u->d[own] + h);
    if (f->minimum)
        w->m = _mm256_loadu_ps(u->m[own] + h);
    if (f->dtype == DT_Q6_K) {
        w->m = _mm256_mul_ps(w->d, sbytes_ps(head + 48 + 32 * b + h));
        w->d = _mm256_mul_ps(w->d, sbytes_ps(head + 32 + 32 * b + h));
    }
    load_codes(w->q, head + f->header + (size_t)b * layout_block_bytes(f) + 4 * h, f->bits);
}

/* Quad j for all lanes: spread in the panel already, or broadcast now. */
AVX2_INLINE __m256i quads(const int8_t *x, int j, bool panel)
{
    return panel ? load256((const uint8_t *)x + 32 * j) : quad(x + 4 * j);
}

AVX2_INLINE __m256i pair(const struct half256 *w, const int8_t *x, int j, bool panel)
{
    return _mm256_maddubs_epi16(w->q[j], quads(x, j, panel));
}

AVX2_INLINE __m256i quarter(const struct half256 *w, const int8_t *x, int j, bool panel) /* four quads, in int16 */
{
    return _mm256_add_epi16(_mm256_add_epi16(pair(w, x, j, panel), pair(w, x, j + 1, panel)),
                            _mm256_add_epi16(pair(w, x, j + 2, panel), pair(w, x, j + 3, panel)));
}

/* sum of code * x over half h of a Q6_K block, one plane of activations. */
AVX2_INLINE __m256i half_sum(const struct half256 *w, const int8_t *x, int h, bool panel)
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i a = _mm256_add_epi16(pair(w, x, 4 * h, panel), pair(w, x, 4 * h + 1, panel));
    __m256i b = _mm256_add_epi16(pair(w, x, 4 * h + 2, panel), pair(w, x, 4 * h + 3, panel));
    return _mm256_add_epi32(_mm256_madd_epi16(a, ones), _mm256_madd_epi16(b, ones));
}

/* sum of code * x over the block, one plane of activations. */
AVX2_INLINE __m256i plane_sum(const struct half256 *w, const int8_t *x, int bits, bool panel)
{
    const __m256i ones = _mm256_set1_epi16(1);
    if (bits == 8) {
        __m256i s = _mm256_setzero_si256();
        for (int j = 0; j < 8; j++) {
            __m256i p = _mm256_maddubs_epi16(_mm256_abs_epi8(w->q[j]), _mm256_sign_epi8(quads(x, j, panel), w->q[j]));
            s = _mm256_add_epi32(s, _mm256_madd_epi16(p, ones));
        }
        return s;
    }
    __m256i a = quarter(w, x, 0, panel), b = quarter(w, x, 4, panel);
    if (bits == 5)
        return _mm256_add_epi32(_mm256_madd_epi16(a, ones), _mm256_madd_epi16(b, ones));
    return _mm256_madd_epi16(_mm256_add_epi16(a, b), ones);
}

AVX2_INLINE __m256i z_lanes(const int32_t *z, bool panel)
{
    return panel ? load256((const uint8_t *)z) : _mm256_set1_epi32(*z);
}

AVX2_INLINE __m256 f_lanes(const float *v, bool panel)
{
    return panel ? _mm256_load_ps(v) : _mm256_set1_ps(*v);
}

/* (float) of the exact sum of half h of a Q6_K block, zero point taken off. */
AVX2_INLINE __m256 half_total(const struct half256 *w, const struct entry256 *e, int h, bool wide, bool panel)
{
    if (panel) {
        __m256i p = _mm256_add_epi16(quarter(w, e->hi, 4 * h, true), z_lanes(h ? e->z1 : e->z0, true));
        return _mm256_cvtepi32_ps(_mm256_madd_epi16(p, _mm256_set1_epi16(1)));
    }
    __m256i s = half_sum(w, e->hi, h, panel);
    if (wide)
        s = _mm256_add_epi32(_mm256_slli_epi32(s, 7), half_sum(w, e->lo, h, panel));
    return _mm256_cvtepi32_ps(_mm256_add_epi32(s, z_lanes(h ? e->z1 : e->z0, panel)));
}

AVX2_INLINE __m256 total(const struct half256 *w, const struct entry256 *e, const struct kernel_format *f, bool wide,
                         bool panel)
{
    if (panel && f->zero == 16) {
        __m256i p = _mm256_add_epi16(quarter(w, e->hi, 0, true), quarter(w, e->hi, 4, true));
        p = _mm256_add_epi16(p, z_lanes(e->z0, true));
        return _mm256_cvtepi32_ps(_mm256_madd_epi16(p, _mm256_set1_epi16(1)));
    }
    __m256i s = plane_sum(w, e->hi, f->bits, panel);
    if (wide)
        s = _mm256_add_epi32(_mm256_slli_epi32(s, 7), plane_sum(w, e->lo, f->bits, panel));
    if (f->zero == 8 || f->zero == 16) {
        __m256i z = z_lanes(e->z0, panel);
        s = _mm256_add_epi32(s, f->zero == 16 ? _mm256_slli_epi32(z, 1) : z);
    }
    return _mm256_cvtepi32_ps(s);
}

/* One token: returns acc with the block added. */
AVX2_INLINE __m256 step(__m256 acc, const struct half256 *w, const struct entry256 *e, const struct kernel_format *f,
                        bool wide, bool panel)
{
    __m256 p;
    if (f->dtype == DT_Q6_K)
        p = _mm256_fmadd_ps(half_total(w, e, 1, wide, panel), w->m,
                            _mm256_mul_ps(half_total(w, e, 0, wide, panel), w->d));
    else
        p = _mm256_mul_ps(total(w, e, f, wide, panel), w->d);
    acc = _mm256_fmadd_ps(p, f_lanes(e->dx, panel), acc);
    if (f->minimum)
        acc = _mm256_fmadd_ps(w->m, f_lanes(e->xs, panel), acc);
    return acc;
}

AVX2_INLINE void store_rows(const struct linear_args *a, size_t g, size_t t, const float *acc)
{
    size_t left = a->n_rows - g * 16, n = left < 16 ? left : 16;
    const float *bias = a->bias ? a->bias + g * 16 : NULL;
    float *y = a->y + t * a->ldy + g * 16, factor = linear_factor(a);
    for (size_t r = 0; n == 16 && r < 16; r += 8) {
        __m256 v = _mm256_mul_ps(_mm256_loadu_ps(acc + r), _mm256_set1_ps(factor));
        _mm256_storeu_ps(y + r, bias ? _mm256_add_ps(v, _mm256_loadu_ps(bias + r)) : v);
    }
    for (size_t r = 0; n < 16 && r < n; r++)
        y[r] = bias ? acc[r] * factor + bias[r] : acc[r] * factor;
}

/* Block b's share of its unit, `ahead` bytes later in the stream. Past the end it does no harm. */
AVX2_INLINE void fetch(const uint8_t *w, size_t ahead, int b, const struct kernel_format *f)
{
    size_t share = layout_unit_bytes(f) / (size_t)f->blocks;
    for (size_t i = 0; ahead && i < share; i += 64)
        _mm_prefetch((const char *)w + ahead + (size_t)b * share + i, _MM_HINT_T0);
}

AVX2_INLINE struct entry256 act_entry(const struct act_block *x, size_t i, const struct kernel_format *f)
{
    return (struct entry256){
        x->hi + 32 * i, x->lo + 32 * i, x->dx + i, x->xs + i, f->dtype == DT_Q6_K ? x->n0 + i : x->n8 + i, x->n1 + i};
}

#endif
