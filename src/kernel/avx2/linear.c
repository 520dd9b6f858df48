/* avx2/linear: quantised weights without VNNI. One 32-bit lane is one row; the two halves of a group are done in turn.
 *
 * vpmaddubsw multiplies u8 codes by s8 activations and adds pairs in int16, which must not saturate. |x| <= 127 (both planes of
 * a wide activation too), so one product pair is at most 2 * 127 * code:
 *     4 bits: 15 -> 3810; all eight quads of a block may be added in int16: 30480 < 32767
 *     5 bits: 31 -> 7874; four quads: 31496
 *     6 bits: 63 -> 16002; two quads: 32004
 *     8 bits: codes are signed, so |code| (up to 128) meets sign(code) * x: 2 * 128 * 127 = 32512, no addition in int16
 * vpmaddwd by ones then widens to int32.
 *
 * 5 and 6 bits need no more steps than 4: int16 sums may wrap on the way, and the zero point is taken off in the same arithmetic,
 * -zero * (sum of the activations that met this int16); what is left is at most 16 * 16 * 127 (5 bits) or 8 * 32 * 127 (half a block
 * of 6 bits) = 32512, so it is exact after all.
 *
 * Many tokens: issue slots are the limit, so activations are spread over the lanes once per call and batch of groups, into a panel
 * that stays in L1, and then enter vpmaddubsw, vpaddd and fma as memory operands: 22 instructions for 8 rows x 32 k where
 * broadcasting each quad anew takes 31. A block is unpacked into eight registers and meets every token of the panel; the accumulators
 * of the batch wait in the scratch. 15-bit activations and 8-bit codes, which vpmaddubsw would take two planes or vpsignb for, are
 * multiplied as pairs of int16 by vpmaddwd: 16 of them and 15 additions for 8 rows x 32 k, at every width and format.
 * Few tokens: a stream over the weights, broadcasting; the float sums in L1, or in registers for one token. */
#include "kernel/avx2/avx2.h"
#include <immintrin.h>
#include <string.h>

enum { CHUNK = 2, BATCH = 32, ENTRY = 256 + 96, ENTRY_PAIRS = 512 + 64, PANEL_TOK = 32 };

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

/* ---- several tokens: panels of activations spread over the lanes ---- */

/* Of quads, or of pairs of int16. */
AVX2_INLINE size_t entry_bytes(bool pairs)
{
    return pairs ? ENTRY_PAIRS : ENTRY;
}

AVX2_INLINE struct entry256 panel_entry(const uint8_t *p)
{
    const uint8_t *rest = p + 256;
    return (struct entry256){(const int8_t *)p,
                             NULL,
                             (const float *)(const void *)rest,
                             (const float *)(const void *)(rest + 32),
                             (const int32_t *)(const void *)(rest + 32),
                             (const int32_t *)(const void *)(rest + 64)};
}

/* What the zero point subtracts from the two int16 that collect quads (of 32 k: the lower and the upper 16 in one 128-bit lane each). */
AVX2_INLINE __m256i zero_pairs(const int8_t *x, int zero)
{
    __m256i p = _mm256_maddubs_epi16(_mm256_set1_epi8((char)zero), load256((const uint8_t *)x));
    p = _mm256_add_epi16(p, _mm256_shuffle_epi32(p, 0x4E));
    p = _mm256_add_epi16(p, _mm256_shuffle_epi32(p, 0xB1));
    return _mm256_sub_epi16(_mm256_setzero_si256(), p);
}

AVX2_INLINE void put256(uint8_t *to, __m256i v)
{
    _mm256_store_si256((__m256i *)(void *)to, v);
}

AVX2_INLINE void spread_quads(uint8_t *to, const struct act_block *x, size_t i, const struct kernel_format *f)
{
    for (int j = 0; j < 8; j++)
        put256(to + 32 * j, quad(x->hi + 32 * i + 4 * j));
    if (f->zero == 8)
        put256(to + 288, _mm256_set1_epi32(x->n8[i]));
    if (f->zero == 16 || f->zero == 32) {
        __m256i z = zero_pairs(x->hi + 32 * i, f->zero), swapped = _mm256_permute2x128_si256(z, z, 1);
        z = f->zero == 16 ? _mm256_add_epi16(z, swapped) : z;
        put256(to + 288, f->zero == 16 ? z : _mm256_permute2x128_si256(z, z, 0x00));
        put256(to + 320, _mm256_permute2x128_si256(z, z, 0x11));
    }
}

/* Quad j becomes two pairs of int16: its elements 0 and 2, 1 and 3, as codes fall apart with the least work (load_pairs). */
AVX2_INLINE void spread_pairs(uint8_t *to, const struct act_block *x, size_t i, bool wide)
{
    const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15, 0, 1, 4, 5, 2, 3, 6, 7,
                                           8, 9, 12, 13, 10, 11, 14, 15);
    int32_t p[16];
    for (int h = 0; h < 2; h++) {
        const int8_t *hi = x->hi + 32 * i + 16 * h, *lo = x->lo + 32 * i + 16 * h;
        __m256i v = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)hi));
        if (wide)
            v = _mm256_add_epi16(_mm256_slli_epi16(v, 7),
                                 _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)lo)));
        _mm256_storeu_si256((__m256i *)(void *)(p + 8 * h), _mm256_shuffle_epi8(v, order));
    }
    for (int j = 0; j < 16; j++)
        put256(to + 32 * j, _mm256_set1_epi32(p[j]));
}

/* Token t of the call, block b -> its entry. */
AVX2_INLINE void spread(uint8_t *to, const struct linear_args *a, size_t t, size_t b, const struct kernel_format *f,
                        bool pairs, bool wide)
{
    const uint8_t *tile = (const uint8_t *)a->act + layout_tile_offset(a->k, t, wide);
    struct act_block x = layout_act(tile, layout_tile_width(a->n_tok, t), b, wide);
    size_t i = t % 8;
    if (pairs)
        spread_pairs(to, &x, i, wide);
    else
        spread_quads(to, &x, i, f);
    to += pairs ? 512 : 256;
    _mm256_store_ps((float *)(void *)to, _mm256_set1_ps(x.dx[i]));
    if (f->minimum)
        _mm256_store_ps((float *)(void *)(to + 32), _mm256_set1_ps(x.xs[i]));
}

/* Half a block times the panel's n tokens, by quads. */
AVX2_INLINE void quads_mul(float *acc, const struct half256 *w, const uint8_t *p, size_t n,
                           const struct kernel_format *f)
{
    for (size_t i = 0; i < n; i++, acc += 16, p += ENTRY) {
        struct entry256 e = panel_entry(p);
        _mm256_store_ps(acc, step(_mm256_load_ps(acc), w, &e, f, false, true));
    }
}

/* Quads 4h..4h+3 as signed int16, elements 0 and 2 and elements 1 and 3 of each. */
AVX2_INLINE void load_pairs(__m256i w[8], const __m256i q[8], int h, const struct kernel_format *f)
{
    const __m256i zero = _mm256_set1_epi16((int16_t)f->zero), low = _mm256_set1_epi16(255);
    for (int j = 0; j < 4; j++) {
        __m256i v = q[4 * h + j];
        if (f->bits == 8) { /* signed already */
            w[2 * j] = _mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8);
            w[2 * j + 1] = _mm256_srai_epi16(v, 8);
        } else {
            w[2 * j] = _mm256_and_si256(v, low);
            w[2 * j + 1] = _mm256_srli_epi16(v, 8);
        }
        if (f->zero && f->bits < 8) {
            w[2 * j] = _mm256_sub_epi16(w[2 * j], zero);
            w[2 * j + 1] = _mm256_sub_epi16(w[2 * j + 1], zero);
        }
    }
}

/* At most 2^15 * 128 * 32: exact. */
AVX2_INLINE __m256i pairs_sum(const __m256i w[8], const uint8_t *p)
{
    __m256i a = _mm256_madd_epi16(w[0], load256(p)), b = _mm256_madd_epi16(w[1], load256(p + 32));
    for (int j = 2; j < 8; j += 2) {
        a = _mm256_add_epi32(a, _mm256_madd_epi16(w[j], load256(p + 32 * j)));
        b = _mm256_add_epi32(b, _mm256_madd_epi16(w[j + 1], load256(p + 32 * j + 32)));
    }
    return _mm256_add_epi32(a, b);
}

/* The same by pairs of int16: eight registers hold 16 k, so the sums of the lower 16 wait. */
AVX2_INLINE void pairs_mul(float *acc, const struct half256 *blk, const uint8_t *p, size_t n,
                           const struct kernel_format *f)
{
    __m256i w[8], part[PANEL_TOK];
    load_pairs(w, blk->q, 0, f);
    for (size_t i = 0; i < n; i++) {
        part[i] = pairs_sum(w, p + i * ENTRY_PAIRS);
        if (f->dtype == DT_Q6_K)
            part[i] = _mm256_castps_si256(_mm256_mul_ps(_mm256_cvtepi32_ps(part[i]), blk->d));
    }
    load_pairs(w, blk->q, 1, f);
    for (size_t i = 0; i < n; i++, acc += 16, p += ENTRY_PAIRS) {
        __m256i s = pairs_sum(w, p + 256);
        __m256 v, sum = _mm256_load_ps(acc);
        if (f->dtype == DT_Q6_K)
            v = _mm256_fmadd_ps(_mm256_cvtepi32_ps(s), blk->m, _mm256_castsi256_ps(part[i]));
        else
            v = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_add_epi32(s, part[i])), blk->d);
        sum = _mm256_fmadd_ps(v, _mm256_load_ps((const float *)(const void *)(p + 512)), sum);
        if (f->minimum)
            sum = _mm256_fmadd_ps(blk->m, _mm256_load_ps((const float *)(const void *)(p + 544)), sum);
        _mm256_store_ps(acc, sum);
    }
}

/* What a panel holds: nb blocks from b0 on, n tokens. */
struct chunk256 {
    size_t b0, nb, n, ahead;
};

/* The panel times one group. */
AVX2_INLINE void chunk_mul(float *acc, const uint8_t *panel, const uint8_t *group, const struct chunk256 *c,
                           const struct kernel_format *f, bool pairs)
{
    struct unit256 unit;
    for (size_t b = c->b0; b < c->b0 + c->nb; b++, panel += c->n * entry_bytes(pairs)) {
        const uint8_t *head = group + b / (size_t)f->blocks * layout_unit_bytes(f);
        int own = (int)(b % (size_t)f->blocks);
        fetch(head, c->ahead, own, f);
        if (f->blocks == 1 || b == c->b0)
            load_unit(&unit, head, own, CHUNK, f);
        for (int h = 0; h < 16; h += 8) {
            struct half256 blk;
            load_half_block(&blk, &unit, head, own, h, f);
            if (pairs)
                pairs_mul(acc + h, &blk, panel, c->n, f);
            else
                quads_mul(acc + h, &blk, panel, c->n, f);
        }
    }
}

/* Groups [g0, g0 + ng), ng <= BATCH, times tokens [t0, t0 + n). */
AVX2_INLINE void batch_mul(const struct linear_args *a, size_t g0, size_t ng, size_t t0, size_t n,
                           const struct kernel_format *f, bool wide)
{
    const bool pairs = wide || f->bits == 8;
    float *acc = a->scratch;
    uint8_t *panel = (uint8_t *)a->scratch + (size_t)BATCH * PANEL_TOK * 64;
    size_t blocks = a->k / 32, gb = layout_group_bytes(f, a->k);
    memset(acc, 0, ng * n * 64);
    for (size_t b = 0; b < blocks; b += CHUNK) {
        size_t nb = blocks - b < CHUNK ? blocks - b : CHUNK;
        for (size_t j = 0; j < nb; j++)
            for (size_t i = 0; i < n; i++)
                spread(panel + (j * n + i) * entry_bytes(pairs), a, t0 + i, b + j, f, pairs, wide);
        struct chunk256 c = {b, nb, n, a->ahead};
        for (size_t g = 0; g < ng; g++)
            chunk_mul(acc + g * n * 16, panel, (const uint8_t *)a->w + (g0 + g) * gb, &c, f, pairs);
    }
    for (size_t g = 0; g < ng; g++)
        for (size_t i = 0; i < n; i++)
            store_rows(a, g0 + g, t0 + i, acc + (g * n + i) * 16);
}

/* ---- few tokens: a stream over the weights ---- */

/* ---- few tokens: a stream over the weights ---- */

/* One token: sums in registers. */
AVX2_INLINE void single(const struct linear_args *a, size_t g, size_t t, const struct kernel_format *f, bool wide)
{
    const uint8_t *tile = (const uint8_t *)a->act + layout_tile_offset(a->k, t, wide);
    const uint8_t *w = (const uint8_t *)a->w + g * layout_group_bytes(f, a->k);
    size_t units = a->k / 32 / (size_t)f->blocks, width = layout_tile_width(a->n_tok, t);
    __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (size_t u = 0; u < units; u++, w += layout_unit_bytes(f)) {
        struct unit256 unit;
        load_unit(&unit, w, 0, 8, f);
        for (int b = 0; b < f->blocks; b++) {
            struct act_block x = layout_act(tile, width, u * (size_t)f->blocks + (size_t)b, wide);
            struct entry256 e = act_entry(&x, t % 8, f);
            fetch(w, a->ahead, b, f);
            for (int h = 0; h < 2; h++) {
                struct half256 blk;
                __asm__("" : "+r"(e.hi)); /* else the broadcasts of both halves are merged, and spilled */
                load_half_block(&blk, &unit, w, b, 8 * h, f);
                sum[h] = step(sum[h], &blk, &e, f, wide, false);
            }
        }
    }
    float acc[16];
    _mm256_storeu_ps(acc, sum[0]);
    _mm256_storeu_ps(acc + 8, sum[1]);
    store_rows(a, g, t, acc);
}

/* Tokens [t, t + n) of one tile: a block is unpacked once for all. */
AVX2_INLINE void few(const struct linear_args *a, size_t g, size_t t, size_t n, const struct kernel_format *f,
                     bool wide)
{
    const uint8_t *tile = (const uint8_t *)a->act + layout_tile_offset(a->k, t, wide);
    const uint8_t *w = (const uint8_t *)a->w + g * layout_group_bytes(f, a->k);
    size_t units = a->k / 32 / (size_t)f->blocks, width = layout_tile_width(a->n_tok, t);
    float acc[8][16] __attribute__((aligned(32))) = {{0}};
    for (size_t u = 0; u < units; u++, w += layout_unit_bytes(f)) {
        struct unit256 unit;
        load_unit(&unit, w, 0, 8, f);
        for (int b = 0; b < f->blocks; b++) {
            struct act_block x = layout_act(tile, width, u * (size_t)f->blocks + (size_t)b, wide);
            fetch(w, a->ahead, b, f);
            for (int h = 0; h < 16; h += 8) {
                struct half256 blk;
                load_half_block(&blk, &unit, w, b, h, f);
                for (size_t i = 0; i < n; i++) {
                    struct entry256 e = act_entry(&x, t % 8 + i, f);
                    _mm256_store_ps(acc[i] + h, step(_mm256_load_ps(acc[i] + h), &blk, &e, f, wide, false));
                }
            }
        }
    }
    for (size_t i = 0; i < n; i++)
        store_rows(a, g, t + i, acc[i]);
}

AVX2_INLINE void mul(const struct linear_args *a, const struct kernel_format *f, bool wide)
{
    const size_t most = wide || f->bits == 8 ? PANEL_TOK / 2 : PANEL_TOK;
    /* Where a panel begins to pay: later on cores that need the stream (linear_args.ahead). */
    const size_t is_few = wide ? f->bits == 8 ? 4 : 8 : a->ahead ? 16 : 8;
    size_t groups = (a->n_rows + 15) / 16, g1 = a->g1 < groups ? a->g1 : groups;
    for (size_t t = a->t0, n; t < a->t1; t += n) {
        size_t left = a->t1 - t, room = 8 - t % 8;
        n = left < most ? left : most;
        if (left > is_few) {
            for (size_t g = a->g0; g < g1; g += BATCH)
                batch_mul(a, g, g1 - g < BATCH ? g1 - g : BATCH, t, n, f, wide);
            continue;
        }
        n = left < room ? left : room;
        for (size_t g = a->g0; g < g1; g++)
            if (n == 1)
                single(a, g, t, f, wide);
            else
                few(a, g, t, n, f, wide);
    }
}

size_t avx2_linear_scratch(void)
{
    return (size_t)BATCH * PANEL_TOK * 64 + (size_t)CHUNK * PANEL_TOK * ENTRY;
}

#define FORMATS(X) X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q8_0) X(Q4_K) X(Q5_K) X(Q6_K)
#define DEFINE(T)                                                                                                      \
    static void mul_##T(const struct linear_args *a)                                                                   \
    {                                                                                                                  \
        if (a->wide)                                                                                                   \
            mul(a, &FORMAT_##T, true);                                                                                 \
        else                                                                                                           \
            mul(a, &FORMAT_##T, false);                                                                                \
    }
FORMATS(DEFINE)

void avx2_init_linear(struct kernels *k)
{
#define ROW(T) k->linear[DT_##T].mul = mul_##T;
    FORMATS(ROW) k->linear_groups = 12;
}
