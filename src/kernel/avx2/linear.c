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
 * A block is unpacked into eight registers and used for every token of a stripe; the accumulators wait in L1. */
#include "kernel/avx2/avx2.h"
#include <immintrin.h>
#include <string.h>

enum { STRIPE = 32 };

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
        __m256i a2 = _mm256_and_si256(_mm256_srli_epi16(a, 2), m48), b2 = _mm256_and_si256(_mm256_srli_epi16(b, 2), m48);
        __m256i *to = (__m256i *)(void *)(s + i);
        _mm256_storeu_si256(to, _mm256_and_si256(a, m63));
        _mm256_storeu_si256(to + 2, _mm256_or_si256(_mm256_and_si256(c, m15), a2));
        _mm256_storeu_si256(to + 4, _mm256_and_si256(b, m63));
        _mm256_storeu_si256(to + 6, _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(c, 4), m15), b2));
    }
}

AVX2_INLINE void load_unit(struct unit256 *u, const uint8_t *head, const struct kernel_format *f)
{
    uint8_t s[256];
    bool k = f->minimum && f->blocks == 8;
    if (k)
        unpack_k_scales(s, head);
    for (int h = 0; h < 16; h += 8) {
        __m256 d = load_half(head + 2 * h), m = f->minimum ? load_half(head + 32 + 2 * h) : _mm256_setzero_ps();
        __m256 neg = _mm256_sub_ps(_mm256_setzero_ps(), m);
        for (int b = 0; b < (k ? 8 : 1); b++) {
            _mm256_storeu_ps(u->d[b] + h, k ? _mm256_mul_ps(d, bytes_ps(s + 16 * b + h)) : d);
            if (f->minimum)
                _mm256_storeu_ps(u->m[b] + h, k ? _mm256_mul_ps(neg, bytes_ps(s + 128 + 16 * b + h)) : m);
        }
    }
}

/* Half h (0 or 8: first row) of block b. */
AVX2_INLINE void load_half_block(struct half256 *w, const struct unit256 *u, const uint8_t *head, int b, int h, const struct kernel_format *f)
{
    int own = f->dtype == DT_Q6_K ? 0 : b;
    w->d = _mm256_loadu_ps(u->d[own] + h);
    if (f->minimum)
        w->m = _mm256_loadu_ps(u->m[own] + h);
    if (f->dtype == DT_Q6_K) {
        w->m = _mm256_mul_ps(w->d, sbytes_ps(head + 48 + 32 * b + h));
        w->d = _mm256_mul_ps(w->d, sbytes_ps(head + 32 + 32 * b + h));
    }
    load_codes(w->q, head + f->header + (size_t)b * layout_block_bytes(f) + 4 * h, f->bits);
}

AVX2_INLINE __m256i pair(const struct half256 *w, const int8_t *x, int j)
{
    return _mm256_maddubs_epi16(w->q[j], quad(x + 4 * j));
}

/* sum of code * x over half h of a Q6_K block, one plane of activations. */
AVX2_INLINE __m256i half_sum(const struct half256 *w, const int8_t *x, int h)
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i a = _mm256_add_epi16(pair(w, x, 4 * h), pair(w, x, 4 * h + 1));
    __m256i b = _mm256_add_epi16(pair(w, x, 4 * h + 2), pair(w, x, 4 * h + 3));
    return _mm256_add_epi32(_mm256_madd_epi16(a, ones), _mm256_madd_epi16(b, ones));
}

/* (float) of the whole sum of one half of a Q6_K block, zero point taken off. */
AVX2_INLINE __m256 half_total(const struct half256 *w, const struct act_block *a, size_t t, int h, bool wide)
{
    __m256i s = half_sum(w, a->hi + 32 * t, h);
    if (wide)
        s = _mm256_add_epi32(_mm256_slli_epi32(s, 7), half_sum(w, a->lo + 32 * t, h));
    return _mm256_cvtepi32_ps(_mm256_add_epi32(s, _mm256_set1_epi32(h ? a->n1[t] : a->n0[t])));
}

/* sum of code * x over the block, one plane of activations. */
AVX2_INLINE __m256i plane_sum(const struct half256 *w, const int8_t *x, int bits)
{
    const __m256i ones = _mm256_set1_epi16(1);
    if (bits == 8) {
        __m256i s = _mm256_setzero_si256();
        for (int j = 0; j < 8; j++) {
            __m256i p = _mm256_maddubs_epi16(_mm256_abs_epi8(w->q[j]), _mm256_sign_epi8(quad(x + 4 * j), w->q[j]));
            s = _mm256_add_epi32(s, _mm256_madd_epi16(p, ones));
        }
        return s;
    }
    __m256i a = _mm256_add_epi16(_mm256_add_epi16(pair(w, x, 0), pair(w, x, 1)), _mm256_add_epi16(pair(w, x, 2), pair(w, x, 3)));
    __m256i b = _mm256_add_epi16(_mm256_add_epi16(pair(w, x, 4), pair(w, x, 5)), _mm256_add_epi16(pair(w, x, 6), pair(w, x, 7)));
    if (bits == 5)
        return _mm256_add_epi32(_mm256_madd_epi16(a, ones), _mm256_madd_epi16(b, ones));
    return _mm256_madd_epi16(_mm256_add_epi16(a, b), ones);
}

/* One token: returns acc with the block added. */
AVX2_INLINE __m256 total(const struct half256 *w, const struct act_block *a, size_t t, const struct kernel_format *f, bool wide)
{
    __m256i s = plane_sum(w, a->hi + 32 * t, f->bits);
    if (wide)
        s = _mm256_add_epi32(_mm256_slli_epi32(s, 7), plane_sum(w, a->lo + 32 * t, f->bits));
    if (f->zero == 8)
        s = _mm256_add_epi32(s, _mm256_set1_epi32(a->n8[t]));
    if (f->zero == 16)
        s = _mm256_add_epi32(s, _mm256_slli_epi32(_mm256_set1_epi32(a->n8[t]), 1));
    return _mm256_cvtepi32_ps(s);
}

/* One token: returns acc with the block added. */
AVX2_INLINE __m256 step(__m256 acc, const struct half256 *w, const struct act_block *a, size_t t, const struct kernel_format *f, bool wide)
{
    __m256 p;
    if (f->dtype == DT_Q6_K)
        p = _mm256_fmadd_ps(half_total(w, a, t, 1, wide), w->m, _mm256_mul_ps(half_total(w, a, t, 0, wide), w->d));
    else
        p = _mm256_mul_ps(total(w, a, t, f, wide), w->d);
    acc = _mm256_fmadd_ps(p, _mm256_set1_ps(a->dx[t]), acc);
    if (f->minimum)
        acc = _mm256_fmadd_ps(w->m, _mm256_set1_ps(a->xs[t]), acc);
    return acc;
}

static void store_rows(const struct linear_args *a, size_t g, size_t t, const float *acc)
{
    size_t left = a->n_rows - g * 16, n = left < 16 ? left : 16;
    float *y = a->y + t * a->ldy + g * 16;
    for (size_t r = 0; r < n; r++)
        y[r] = a->bias ? acc[r] + a->bias[g * 16 + r] : acc[r];
}

/* Tokens [ta, tb), at most STRIPE, ta's tile being the first of the stripe. */
AVX2_INLINE void stripe(const struct linear_args *a, size_t g, size_t ta, size_t tb, const struct kernel_format *f, bool wide)
{
    float acc[STRIPE + 8][16] __attribute__((aligned(32)));
    const uint8_t *w = (const uint8_t *)a->w + g * layout_group_bytes(f, a->k);
    size_t units = a->k / 32 / (size_t)f->blocks, first = ta & ~(size_t)7;
    memset(acc, 0, (tb - first) * sizeof *acc);
    for (size_t u = 0; u < units; u++, w += layout_unit_bytes(f)) {
        struct unit256 unit;
        load_unit(&unit, w, f);
        for (int b = 0; b < f->blocks; b++)
            for (int h = 0; h < 16; h += 8) {
                struct half256 blk;
                load_half_block(&blk, &unit, w, b, h, f);
                for (size_t t = first; t < tb; t += 8) {
                    const uint8_t *tile = (const uint8_t *)a->act + layout_tile_offset(a->k, t, wide);
                    size_t i = t < ta ? ta - t : 0, end = tb - t < 8 ? tb - t : 8;
                    struct act_block x = layout_act(tile, layout_tile_width(a->n_tok, t), u * (size_t)f->blocks + (size_t)b, wide);
                    for (float *to = acc[t - first + i] + h; i < end; i++, to += 16)
                        _mm256_store_ps(to, step(_mm256_load_ps(to), &blk, &x, i, f, wide));
                }
            }
    }
    for (size_t t = ta; t < tb; t++)
        store_rows(a, g, t, acc[t - first]);
}

/* One token: a stream over the weights. */
AVX2_INLINE void single(const struct linear_args *a, size_t g, size_t t, const struct kernel_format *f, bool wide)
{
    const uint8_t *tile = (const uint8_t *)a->act + layout_tile_offset(a->k, t, wide);
    const uint8_t *w = (const uint8_t *)a->w + g * layout_group_bytes(f, a->k);
    size_t units = a->k / 32 / (size_t)f->blocks, width = layout_tile_width(a->n_tok, t);
    __m256 acc0 = _mm256_setzero_ps(), acc1 = acc0;
    for (size_t u = 0; u < units; u++, w += layout_unit_bytes(f)) {
        struct unit256 unit;
        load_unit(&unit, w, f);
        for (int b = 0; b < f->blocks; b++) {
            struct act_block x = layout_act(tile, width, u * (size_t)f->blocks + (size_t)b, wide);
            struct half256 blk;
            load_half_block(&blk, &unit, w, b, 0, f);
            acc0 = step(acc0, &blk, &x, t % 8, f, wide);
            load_half_block(&blk, &unit, w, b, 8, f);
            acc1 = step(acc1, &blk, &x, t % 8, f, wide);
        }
    }
    float acc[16];
    _mm256_storeu_ps(acc, acc0);
    _mm256_storeu_ps(acc + 8, acc1);
    store_rows(a, g, t, acc);
}

AVX2_INLINE void mul(const struct linear_args *a, const struct kernel_format *f, bool wide)
{
    size_t groups = (a->n_rows + 15) / 16, g1 = a->g1 < groups ? a->g1 : groups;
    for (size_t t = a->t0; t < a->t1;) {
        size_t end = (t & ~(size_t)7) + STRIPE;
        end = end < a->t1 ? end : a->t1;
        for (size_t g = a->g0; g < g1; g++)
            if (end - t == 1)
                single(a, g, t, f, wide);
            else
                stripe(a, g, t, end, f, wide);
        t = end;
    }
}

#define FORMATS(X) X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q8_0) X(Q4_K) X(Q5_K) X(Q6_K)
#define DEFINE(T)                                            \
    static void mul_##T(const struct linear_args *a)         \
    {                                                        \
        if (a->wide)                                         \
            mul(a, &FORMAT_##T, true);                       \
        else                                                 \
            mul(a, &FORMAT_##T, false);                      \
    }
FORMATS(DEFINE)

void avx2_init_linear(struct kernels *k)
{
#define ROW(T) k->linear[DT_##T].mul = mul_##T;
    FORMATS(ROW)
}
