/* block: inside avx2: what the loops over quantised weights share: reading codes and scales, fetching ahead, writing rows. */
#ifndef HEARTH_KERNEL_AVX2_BLOCK_H
#define HEARTH_KERNEL_AVX2_BLOCK_H
#include "kernel/avx2/avx2.h"
#include <immintrin.h>
#include <string.h>

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

/* 16 activations as int16, of each four the elements 0 and 2, then 1 and 3, as a quad's bytes fall apart with the least work. */
AVX2_INLINE void put_pairs(int32_t *to, const int8_t *hi, const int8_t *lo, bool wide)
{
    const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15, 0, 1, 4, 5, 2, 3, 6, 7,
                                           8, 9, 12, 13, 10, 11, 14, 15);
    __m256i v = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)hi));
    if (wide)
        v = _mm256_add_epi16(_mm256_slli_epi16(v, 7),
                             _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)lo)));
    _mm256_store_si256((__m256i *)(void *)to, _mm256_shuffle_epi8(v, order));
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

/* n blocks of a group whose turn is next: such a piece is too short for the hardware's prefetcher. Past the end it does no harm. */
AVX2_INLINE void fetch_blocks(const uint8_t *group, size_t b, size_t n, const struct kernel_format *f)
{
    size_t end = layout_block_offset(f, b + n);
    for (size_t at = layout_block_offset(f, b); at < end; at += 64)
        _mm_prefetch((const char *)group + at, _MM_HINT_T0);
}

/* n blocks from block b on of a tile of activations, token t0's or the i-th after it, which tokens up to t1 need next. */
AVX2_INLINE void fetch_act(const struct linear_args *a, size_t t0, size_t t1, size_t i, size_t b, size_t n)
{
    size_t t = t0 + 8 * i, bytes = layout_tile_width(a->n_tok, t) * layout_token_bytes(a->wide);
    if (t >= t1)
        return;
    const char *tile = (const char *)a->act + layout_tile_offset(a->k, t, a->wide) + b * bytes;
    for (size_t at = 0; at < n * bytes; at += 64)
        _mm_prefetch(tile + at, _MM_HINT_T1);
}

#endif
