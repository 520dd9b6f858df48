/* avx512/linear: quantised weights. One 32-bit lane is one row; vpdpbusd adds four products of u8 code and s8 activation to it,
 * exactly (4 * 255 * 127 < 2^17, no saturation in this form, and ref/linear.c bounds the sum).
 *
 * One group after the other, so that the weights are one stream, fetched ahead while tokens are multiplied. A block is unpacked
 * into registers, where all tokens of a stripe meet it, eight at a time; the float sums wait in L1. Zero points enter as the
 * chain's start value, which costs nothing. */
#include "kernel/avx512/avx512.h"
#include <immintrin.h>
#include <string.h>

enum { STRIPE = 64, AHEAD = 2048 };

struct block512 { /* one block of one group, ready to multiply */
    __m512i q[8];
    __m512 d, m; /* two scales a block: those of its halves */
};

/* s + codes times four activations of all lanes. Zen 4 gives a broadcast of its own a place among the multiplications; as part of one
 * it costs nothing. */
AVX512_INLINE __m512i dot_quad(__m512i s, __m512i q, const int8_t *p)
{
    typedef int32_t __attribute__((may_alias, aligned(1))) word;
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(s) : "v"(q), "m"(*(const word *)(const void *)p));
    return s;
}

/* The numbers of E2M1, zero added. */
AVX512_INLINE __m512i e2m1_table(int zero)
{
    __m128i t = _mm_loadu_si128((const __m128i *)(const void *)LAYOUT_E2M1);
    return _mm512_broadcast_i32x4(_mm_add_epi8(t, _mm_set1_epi8((char)zero)));
}

/* 64 bytes in a register. As an operand they would be loaded once for each use, and half the units do not begin on a line. */
AVX512_INLINE __m512i load_plane(const uint8_t *p)
{
    __m512i x = _mm512_loadu_si512(p);
    __asm__("" : "+v"(x));
    return x;
}

AVX512_INLINE void load_codes(__m512i q[8], const uint8_t *p, const struct kernel_format *f)
{
    const __m512i low = _mm512_set1_epi8(15), e2m1 = f->e2m1 ? e2m1_table(f->zero) : low;
    const int bits = f->bits;
    if (bits == 8) {
        for (int j = 0; j < 8; j++)
            q[j] = _mm512_loadu_si512(p + 64 * j);
        return;
    }
    for (int j = 0; j < 4; j++) {
        __m512i z = bits == 6 ? load_plane(p + 64 * j) : _mm512_loadu_si512(p + 64 * j);
        q[j] = _mm512_and_si512(z, low);
        q[j + 4] = _mm512_and_si512(_mm512_srli_epi16(z, 4), low);
    }
    for (int j = 0; f->e2m1 && j < 8; j++)
        q[j] = _mm512_shuffle_epi8(e2m1, q[j]);
    if (bits == 5) { /* bit j of the plane becomes bit 4 of quad j; 0xF8: a | (b & c) */
        __m512i h = _mm512_loadu_si512(p + 256), bit = _mm512_set1_epi8(16);
        for (int j = 0; j < 8; j++) {
            __m512i at4 = j < 4 ? _mm512_slli_epi16(h, (unsigned)(4 - j)) : _mm512_srli_epi16(h, (unsigned)(j - 4));
            q[j] = _mm512_ternarylogic_epi32(q[j], at4, bit, 0xF8);
        }
    }
    if (bits == 6) { /* bits 2s..2s+1 of plane p become bits 4..5 of quad 4p+s */
        __m512i two = _mm512_set1_epi8(48), plane[2] = {load_plane(p + 256), load_plane(p + 320)};
        for (int j = 0; j < 8; j++) {
            __m512i h = plane[j / 4];
            int s = j % 4;
            __m512i at4 =
                s < 2 ? _mm512_slli_epi16(h, (unsigned)(4 - 2 * s)) : _mm512_srli_epi16(h, (unsigned)(2 * s - 4));
            q[j] = _mm512_ternarylogic_epi32(q[j], at4, two, 0xF8);
        }
    }
}

AVX512_INLINE __m512 load_half(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

/* The twelve packed bytes of 16 rows -> bytes [8 scales, 8 minima][16 rows]. In registers: a core does not forward a part of a store. */
AVX512_INLINE void unpack_k_scales(__m512i s[4], const uint8_t *head)
{
    const __m512i m63 = _mm512_set1_epi8(63), m15 = _mm512_set1_epi8(15), m48 = _mm512_set1_epi8(48);
    __m512i a = _mm512_loadu_si512(head + 64), b = _mm512_loadu_si512(head + 128), c = _mm512_loadu_si512(head + 192);
    __m512i a2 = _mm512_srli_epi16(a, 2), b2 = _mm512_srli_epi16(b, 2), c4 = _mm512_srli_epi16(c, 4);
    s[0] = _mm512_and_si512(a, m63);
    s[1] = _mm512_ternarylogic_epi32(_mm512_and_si512(c, m15), a2, m48, 0xF8);
    s[2] = _mm512_and_si512(b, m63);
    s[3] = _mm512_ternarylogic_epi32(_mm512_and_si512(c4, m15), b2, m48, 0xF8);
}

/* The first 16 of a queue of 128 bytes, which go to its end. */
AVX512_INLINE __m512 next_bytes_ps(__m512i q[2])
{
    __m512 first = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm512_castsi512_si128(q[0])));
    __m512i rest = _mm512_alignr_epi32(q[1], q[0], 4);
    q[1] = _mm512_alignr_epi32(q[0], q[1], 4);
    q[0] = rest;
    return first;
}

AVX512_INLINE __m512 sbytes_ps(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

/* 2^(e - 128) of 16 bytes e. Below 2 it is subnormal, and the second number the greater. */
AVX512_INLINE __m512 e8m0_ps(const uint8_t *p)
{
    __m512i e = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)), one = _mm512_set1_epi32(1);
    return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_slli_epi32(_mm512_sub_epi32(e, one), 23),
                                                _mm512_slli_epi32(_mm512_add_epi32(e, one), 21)));
}

/* 16 of NVFP4's scales, halved. */
AVX512_INLINE __m512 e5m3_ps(const uint8_t *p)
{
    __m256i v = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p));
    return _mm512_cvtph_ps(_mm256_slli_epi16(v, 7));
}

/* Header numbers of a unit. */
struct unit512 {
    __m512 d, m;
    __m512i s[4]; /* bytes [8 scales, 8 minima][16 rows], of the next block first */
};

AVX512_INLINE void load_unit(struct unit512 *u, const uint8_t *head, const struct kernel_format *f)
{
    if (f->e2m1) /* their scales belong to one block */
        return;
    u->d = load_half(head);
    if (f->minimum)
        u->m = load_half(head + 32);
    if (f->minimum && f->blocks == 8) {
        u->m = _mm512_sub_ps(_mm512_setzero_ps(), u->m);
        unpack_k_scales(u->s, head);
    }
}

AVX512_INLINE void load_block(struct block512 *w, struct unit512 *u, const uint8_t *head, int b,
                              const struct kernel_format *f)
{
    if (f->e2m1) {
        w->d = f->halves ? e5m3_ps(head + 32 * b) : e8m0_ps(head);
        if (f->halves)
            w->m = e5m3_ps(head + 32 * b + 16);
    } else {
        w->d = u->d;
        w->m = u->m;
    }
    if (f->dtype == DT_Q6_K) {
        w->d = _mm512_mul_ps(u->d, sbytes_ps(head + 32 + 32 * b));
        w->m = _mm512_mul_ps(u->d, sbytes_ps(head + 48 + 32 * b));
    } else if (f->blocks == 8) {
        w->d = _mm512_mul_ps(u->d, next_bytes_ps(u->s));
        w->m = _mm512_mul_ps(u->m, next_bytes_ps(u->s + 2));
    }
    load_codes(w->q, head + f->header + (size_t)b * layout_block_bytes(f), f);
}

/* Start value of a chain: what the zero point subtracts (layout.h: n8 = -8 sum). */
AVX512_INLINE __m512i zero_start(const struct act_block *a, int t, int zero)
{
    if (zero == 0)
        return _mm512_setzero_si512();
    __m512i n = _mm512_set1_epi32(a->n8[t]);
    return zero == 8 ? n : _mm512_slli_epi32(n, zero == 16 ? 1 : 4);
}

/* Token t of a tile becomes its first. The compiler is not to see where the planes begin: else it computes the places of their quads,
 * and keeps them in vector registers. */
AVX512_INLINE struct act_block token(const struct act_block *a, size_t t, bool wide)
{
    struct act_block x = {a->hi + 32 * t, a->lo + 32 * t, a->dx + t, a->xs + t, a->n8 + t, a->n0 + t, a->n1 + t};
    __asm__("" : "+r"(x.hi));
    if (wide)
        __asm__("" : "+r"(x.lo));
    return x;
}

/* Of one token, quads [j, end) of both planes. Two chains: one would be twice as long, and a core sees only so far ahead. */
AVX512_INLINE __m512i sum_wide(const struct block512 *w, const struct act_block *a, int j, int end, __m512i lo)
{
    __m512i hi = _mm512_setzero_si512();
    for (; j < end; j++) {
        hi = dot_quad(hi, w->q[j], a->hi + 4 * j);
        lo = dot_quad(lo, w->q[j], a->lo + 4 * j);
    }
    return _mm512_add_epi32(_mm512_slli_epi32(hi, 7), lo);
}

/* Exact integer sums of the first n tokens. */
AVX512_INLINE void sums(__m512i *s, const struct block512 *w, const struct act_block *a, int n,
                        const struct kernel_format *f, bool wide)
{
    if (wide && n == 1) {
        s[0] = sum_wide(w, a, 0, 8, zero_start(a, 0, f->zero));
        return;
    }
    for (int i = 0; i < n; i++)
        s[i] = wide ? _mm512_setzero_si512() : zero_start(a, i, f->zero);
    for (int j = 0; j < 8; j++)
        for (int i = 0; i < n; i++)
            s[i] = dot_quad(s[i], w->q[j], a->hi + 32 * i + 4 * j);
    if (!wide)
        return;
    for (int i = 0; i < n; i++)
        s[i] = _mm512_add_epi32(_mm512_slli_epi32(s[i], 7), zero_start(a, i, f->zero));
    for (int j = 0; j < 8; j++)
        for (int i = 0; i < n; i++)
            s[i] = dot_quad(s[i], w->q[j], a->lo + 32 * i + 4 * j);
}

/* Half h (quads 4h..4h+3) of a block with two scales, zero point taken off. */
AVX512_INLINE void half_sums(__m512i *s, const struct block512 *w, const struct act_block *a, int n, int h, bool wide)
{
    const int32_t *start = h ? a->n1 : a->n0;
    if (wide && n == 1) {
        s[0] = sum_wide(w, a, 4 * h, 4 * h + 4, _mm512_set1_epi32(start[0]));
        return;
    }
    for (int i = 0; i < n; i++)
        s[i] = wide ? _mm512_setzero_si512() : _mm512_set1_epi32(start[i]);
    for (int j = 4 * h; j < 4 * h + 4; j++)
        for (int i = 0; i < n; i++)
            s[i] = dot_quad(s[i], w->q[j], a->hi + 32 * i + 4 * j);
    if (!wide)
        return;
    for (int i = 0; i < n; i++)
        s[i] = _mm512_add_epi32(_mm512_slli_epi32(s[i], 7), _mm512_set1_epi32(start[i]));
    for (int j = 4 * h; j < 4 * h + 4; j++)
        for (int i = 0; i < n; i++)
            s[i] = dot_quad(s[i], w->q[j], a->lo + 32 * i + 4 * j);
}

/* Tokens t .. t + n of the tile. */
AVX512_INLINE void step(__m512 *acc, const struct block512 *w, const struct act_block *tile, size_t t, int n,
                        const struct kernel_format *f, bool wide)
{
    const struct act_block x = token(tile, t, wide), *a = &x;
    __m512i s[8], s1[8];
    if (f->halves) {
        half_sums(s, w, a, n, 0, wide);
        half_sums(s1, w, a, n, 1, wide);
    } else {
        sums(s, w, a, n, f, wide);
    }
    for (int i = 0; i < n; i++) {
        __m512 p = _mm512_mul_ps(_mm512_cvtepi32_ps(s[i]), w->d);
        if (f->halves)
            p = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s1[i]), w->m, p);
        p = _mm512_fmadd_ps(p, _mm512_set1_ps(a->dx[i]), acc[i]);
        if (f->minimum)
            p = _mm512_fmadd_ps(w->m, _mm512_set1_ps(a->xs[i]), p);
        acc[i] = p;
    }
}

AVX512_INLINE void store_rows(const struct linear_args *a, size_t g, size_t t, __m512 acc)
{
    size_t left = a->n_rows - g * 16;
    __mmask16 m = left >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << left) - 1);
    acc = _mm512_mul_ps(acc, _mm512_set1_ps(linear_factor(a)));
    if (a->bias)
        acc = _mm512_add_ps(acc, _mm512_maskz_loadu_ps(m, a->bias + g * 16));
    _mm512_mask_storeu_ps(a->y + t * a->ldy + g * 16, m, acc);
}

/* Block b's share of its unit, `ahead` bytes later in the stream. Past the end it does no harm. */
AVX512_INLINE void fetch(const uint8_t *w, size_t ahead, int b, const struct kernel_format *f)
{
    size_t share = layout_unit_bytes(f) / (size_t)f->blocks;
    for (size_t i = 0; ahead && i < share; i += 64)
        _mm_prefetch((const char *)w + ahead + (size_t)b * share + i, _MM_HINT_T0);
}

/* One token: a stream over the weights. */
AVX512_INLINE void single(const struct linear_args *a, size_t g, size_t t, const struct kernel_format *f, bool wide)
{
    size_t units = a->k / 32 / (size_t)f->blocks, width = layout_tile_width(a->n_tok, t);
    const uint8_t *w = (const uint8_t *)a->w + g * layout_group_bytes(f, a->k),
                  *tile = (const uint8_t *)a->act + layout_tile_offset(a->k, t, wide);
    __m512 acc = _mm512_setzero_ps();
    for (size_t u = 0; u < units; u++, w += layout_unit_bytes(f)) {
        struct unit512 unit;
        load_unit(&unit, w, f);
        for (int b = 0; b < f->blocks; b++, tile += width * layout_token_bytes(wide)) {
            struct block512 blk;
            fetch(w, a->ahead, b, f);
            load_block(&blk, &unit, w, b, f);
            struct act_block x = layout_act(tile, width, 0, wide);
            step(&acc, &blk, &x, t % 8, 1, f, wide);
        }
    }
    store_rows(a, g, t, acc);
}

/* The first m = 1, 2 or 4 of n tokens, from t of a tile on; returns m. */
AVX512_INLINE size_t some(__m512 *acc, const struct block512 *w, const struct act_block *tile, size_t t, size_t n,
                          const struct kernel_format *f, bool wide)
{
    if (n > 3) {
        step(acc, w, tile, t, 4, f, wide);
        return 4;
    }
    if (n > 1) {
        step(acc, w, tile, t, 2, f, wide);
        return 2;
    }
    step(acc, w, tile, t, 1, f, wide);
    return 1;
}

/* Tokens [t, t + n), n <= STRIPE: whole tiles of eight, then a part of one. Where one token alone is best left to the hardware's
 * prefetcher, several are not: it stops while they are multiplied. Where a tile lies is found by one addition: a core sees little
 * beyond the products of a tile, and waits for what takes long to compute. */
AVX512_INLINE void stripe(const struct linear_args *a, size_t g, size_t t, size_t n, const struct kernel_format *f,
                          bool wide)
{
    const uint8_t *w = (const uint8_t *)a->w + g * layout_group_bytes(f, a->k);
    size_t units = a->k / 32 / (size_t)f->blocks, ahead = a->ahead ? a->ahead : AHEAD, whole = t % 8 ? 0 : n / 8 * 8;
    size_t rest_width = layout_tile_width(a->n_tok, t + whole), tile_bytes = layout_tile_offset(a->k, 8, wide);
    const uint8_t *tiles = (const uint8_t *)a->act + layout_tile_offset(a->k, t, wide),
                  *rest = (const uint8_t *)a->act + layout_tile_offset(a->k, t + whole, wide);
    __m512 acc[STRIPE];
    for (size_t i = 0; i < n; i++) {
        acc[i] = _mm512_setzero_ps();
        __asm__("" : "+m"(acc[i])); /* else gcc makes it a string instruction, which is slow to begin */
    }
    for (size_t u = 0; u < units; u++, w += layout_unit_bytes(f)) {
        struct unit512 unit;
        load_unit(&unit, w, f);
        for (int b = 0; b < f->blocks; b++) {
            struct block512 blk;
            fetch(w, ahead, b, f);
            load_block(&blk, &unit, w, b, f);
            for (int j = 0; j < 8; j++)
                __asm__("" : "+v"(blk.q[j])); /* in registers, for all tokens */
            const uint8_t *at = tiles;
            for (size_t i = 0; i < whole; i += 8, at += tile_bytes) {
                struct act_block x = layout_act(at, 8, 0, wide);
                step(acc + i, &blk, &x, 0, 8, f, wide);
            }
            struct act_block x = layout_act(rest, rest_width, 0, wide);
            for (size_t i = whole; i < n;)
                i += some(acc + i, &blk, &x, (t + i) % 8, n - i, f, wide);
            tiles += 8 * layout_token_bytes(wide);
            rest += rest_width * layout_token_bytes(wide);
        }
    }
    for (size_t i = 0; i < n; i++)
        store_rows(a, g, t + i, acc[i]);
}

typedef void single_fn(const struct linear_args *a, size_t g1, size_t t);

/* one: the groups before g1 for a single token, which has a function of its own, with all registers. */
AVX512_INLINE void mul(const struct linear_args *a, const struct kernel_format *f, bool wide, single_fn *one)
{
    size_t groups = (a->n_rows + 15) / 16, g1 = a->g1 < groups ? a->g1 : groups;
    for (size_t t = a->t0, n; t < a->t1; t += n) {
        size_t most = t % 8 ? 8 - t % 8 : STRIPE;
        n = a->t1 - t < most ? a->t1 - t : most;
        if (n == 1)
            one(a, g1, t);
        else
            for (size_t g = a->g0; g < g1; g++)
                stripe(a, g, t, n, f, wide);
    }
}

#define FORMATS(X) X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q8_0) X(Q4_K) X(Q5_K) X(Q6_K) X(MXFP4) X(NVFP4)
#define DEFINE(T)                                                                                                      \
    static __attribute__((noinline)) void one_##T(const struct linear_args *a, size_t g1, size_t t)                    \
    {                                                                                                                  \
        for (size_t g = a->g0; g < g1; g++)                                                                            \
            single(a, g, t, &FORMAT_##T, false);                                                                       \
    }                                                                                                                  \
    static __attribute__((noinline)) void one_wide_##T(const struct linear_args *a, size_t g1, size_t t)               \
    {                                                                                                                  \
        for (size_t g = a->g0; g < g1; g++)                                                                            \
            single(a, g, t, &FORMAT_##T, true);                                                                        \
    }                                                                                                                  \
    static void mul_##T(const struct linear_args *a)                                                                   \
    {                                                                                                                  \
        if (a->wide)                                                                                                   \
            mul(a, &FORMAT_##T, true, one_wide_##T);                                                                   \
        else                                                                                                           \
            mul(a, &FORMAT_##T, false, one_##T);                                                                       \
    }
FORMATS(DEFINE)

void avx512_linear_mul(const struct linear_args *a, enum dtype dtype)
{
#define MUL(T) [DT_##T] = mul_##T,
    static void (*const MULS[DT_COUNT])(const struct linear_args *a) = {FORMATS(MUL)};
    MULS[dtype](a);
}

void avx512_init_linear(struct kernels *k)
{
#define ROW(T) k->linear[DT_##T].mul = mul_##T;
    FORMATS(ROW)
}
