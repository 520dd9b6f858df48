/* amx/unpack: inside amx: blocks of one group as tile operands. Codes become signed, their zero point taken off, so that the
 * tiles' exact sums need no correction; per row there is a scale and a minimum (formats of two scales a block: those of its halves). */
#ifndef HEARTH_KERNEL_AMX_UNPACK_H
#define HEARTH_KERNEL_AMX_UNPACK_H
#include "kernel/amx/amx.h"
#include <immintrin.h>

enum { AMX_BLOCKS = 8 }; /* blocks of 32 k in a panel: a whole unit of the super formats */

struct amx_panel {               /* of one group */
    int8_t q[AMX_BLOCKS][8][64]; /* [block][quad][row x 4 k]: a tile of 8 rows */
    float d[AMX_BLOCKS][16];     /* [block][row] */
    float m[AMX_BLOCKS][16];
};

AMX_INLINE void unpack_codes(int8_t q[8][64], const uint8_t *p, const struct kernel_format *f)
{
    const __m512i low = _mm512_set1_epi8(15), zero = _mm512_set1_epi8((char)f->zero);
    const __m512i e2m1 = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)LAYOUT_E2M1));
    for (int j = 0; j < 8 && f->bits == 8; j++) /* code + 128 to code */
        _mm512_store_si512(q[j], _mm512_xor_si512(_mm512_loadu_si512(p + 64 * j), zero));
    for (int j = 0; j < 8 && f->bits != 8; j++) {
        __m512i z = _mm512_loadu_si512(p + 64 * (j % 4));
        z = _mm512_and_si512(j < 4 ? z : _mm512_srli_epi16(z, 4), low);
        if (f->bits == 5) { /* bit j of the plane becomes bit 4 of quad j; 0xF8: a | (b & c) */
            __m512i h = _mm512_loadu_si512(p + 256);
            h = j < 4 ? _mm512_slli_epi16(h, (unsigned)(4 - j) & 7) : _mm512_srli_epi16(h, (unsigned)(j - 4) & 7);
            z = _mm512_ternarylogic_epi32(z, h, _mm512_set1_epi8(16), 0xF8);
        }
        if (f->bits == 6) { /* bits 2s..2s+1 of plane j / 4 become bits 4..5, s = j % 4 */
            __m512i h = _mm512_loadu_si512(p + 256 + 64 * (j / 4));
            int up = 4 - 2 * (j % 4);
            h = up >= 0 ? _mm512_slli_epi16(h, (unsigned)up & 7) : _mm512_srli_epi16(h, (unsigned)-up & 7);
            z = _mm512_ternarylogic_epi32(z, h, _mm512_set1_epi8(48), 0xF8);
        }
        if (f->e2m1)
            z = _mm512_shuffle_epi8(e2m1, z);
        else if (f->zero)
            z = _mm512_sub_epi8(z, zero);
        _mm512_store_si512(q[j], z);
    }
}

AMX_INLINE __m512 load_half(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

AMX_INLINE __m512 bytes_ps(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

AMX_INLINE __m512 sbytes_ps(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

/* 2^(e - 128) of 16 bytes e. Below 2 it is subnormal, and the second number the greater. */
AMX_INLINE __m512 e8m0_ps(const uint8_t *p)
{
    __m512i e = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)), one = _mm512_set1_epi32(1);
    return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_slli_epi32(_mm512_sub_epi32(e, one), 23),
                                                _mm512_slli_epi32(_mm512_add_epi32(e, one), 21)));
}

/* 16 of NVFP4's scales, halved. */
AMX_INLINE __m512 e5m3_ps(const uint8_t *p)
{
    __m256i v = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p));
    return _mm512_cvtph_ps(_mm256_slli_epi16(v, 7));
}

/* Q4_K and Q5_K: the twelve packed bytes of 16 rows become scales and minima of eight blocks (layout.h). */
AMX_INLINE void unpack_super_scales(struct amx_panel *w, const uint8_t *head)
{
    const __m512i m63 = _mm512_set1_epi8(63), m15 = _mm512_set1_epi8(15), m48 = _mm512_set1_epi8(48);
    __m512i a = _mm512_loadu_si512(head + 64), b = _mm512_loadu_si512(head + 128), c = _mm512_loadu_si512(head + 192);
    __m512i a2 = _mm512_srli_epi16(a, 2), b2 = _mm512_srli_epi16(b, 2), c4 = _mm512_srli_epi16(c, 4);
    uint8_t s[256] __attribute__((aligned(64))); /* [8 scales, 8 minima][16 rows] */
    _mm512_store_si512(s, _mm512_and_si512(a, m63));
    _mm512_store_si512(s + 64, _mm512_ternarylogic_epi32(_mm512_and_si512(c, m15), a2, m48, 0xF8));
    _mm512_store_si512(s + 128, _mm512_and_si512(b, m63));
    _mm512_store_si512(s + 192, _mm512_ternarylogic_epi32(_mm512_and_si512(c4, m15), b2, m48, 0xF8));
    __m512 d = load_half(head), m = _mm512_sub_ps(_mm512_setzero_ps(), load_half(head + 32));
    for (int i = 0; i < 8; i++) {
        _mm512_store_ps(w->d[i], _mm512_mul_ps(d, bytes_ps(s + 16 * i)));
        _mm512_store_ps(w->m[i], _mm512_mul_ps(m, bytes_ps(s + 128 + 16 * i)));
    }
}

/* Block i's numbers, which stand in the header of its unit, where it is block b. */
AMX_INLINE void unpack_scales(struct amx_panel *w, int i, const uint8_t *head, int b, const struct kernel_format *f)
{
    if (f->dtype == DT_Q6_K) {
        _mm512_store_ps(w->d[i], _mm512_mul_ps(load_half(head), sbytes_ps(head + 32 + 32 * b)));
        _mm512_store_ps(w->m[i], _mm512_mul_ps(load_half(head), sbytes_ps(head + 48 + 32 * b)));
    } else if (f->e2m1) {
        _mm512_store_ps(w->d[i], f->halves ? e5m3_ps(head + 32 * b) : e8m0_ps(head));
        if (f->halves)
            _mm512_store_ps(w->m[i], e5m3_ps(head + 32 * b + 16));
    } else {
        _mm512_store_ps(w->d[i], load_half(head));
        if (f->minimum)
            _mm512_store_ps(w->m[i], load_half(head + 32));
    }
}

/* n blocks from p on, where a unit begins. */
AMX_INLINE void unpack_panel(struct amx_panel *w, const uint8_t *p, int n, const struct kernel_format *f)
{
    bool super = f->minimum && f->blocks == 8;
    if (super)
        unpack_super_scales(w, p);
    for (int i = 0; i < n; i++) {
        int b = i % f->blocks;
        const uint8_t *head = p + (size_t)(i / f->blocks) * layout_unit_bytes(f);
        if (!super)
            unpack_scales(w, i, head, b, f);
        unpack_codes(w->q[i], head + f->header + (size_t)b * layout_block_bytes(f), f);
    }
}

#endif
