/* vnni: quantised weights by dot products of four bytes, a u8 code times an s8 activation each, added to an int32 lane; lanes = rows.
 * Exact: 4 * 255 * 127 < 2^17, no saturation in this form, and ref/linear.c bounds the sum.
 *
 * One group after the other, so that the weights are one stream, fetched ahead while tokens are multiplied. A block is unpacked
 * once, all tokens of a stripe meet it, VNNI_TOK at a time; the float sums wait in L1. Zero points enter as the chain's start value,
 * which costs nothing. 15-bit activations are two planes: 128 times the sum of the one is where the other's starts.
 *
 * Included after a level's vec.h and, over VNNI_VECS vectors of rows,
 *     vi, vi_set1, vi_add, vi_shl, vi_ps    VW int32
 *     vi_xor, vi_madd                       the same, and as pairs of int16, multiplied and added
 *     VNNI_TOK                              tokens whose sums are in registers at a time: 4 or 8
 *     VNNI_SHORT                            1 where there are sixteen registers
 *     struct vnni_unit, vnni_block          header numbers of a unit; a block: codes, scales d[], and m[], minima or the second
 *                                           half's scales, or, NVFP4, both as integers s[] with a unit
 * and before the functions declared here. */
#ifndef HEARTH_KERNEL_SIMD_VNNI_H
#define HEARTH_KERNEL_SIMD_VNNI_H
#include "kernel/layout.h"

/* VNNI_INT: tokens that make up for NVFP4's scales becoming integers. */
enum { VNNI_VECS = 16 / VW, VNNI_STRIPE = 64, VNNI_AHEAD = 2048, VNNI_INT = 16 };

/* What decides the loops: constants once inlined. */
struct vnni_shape {
    const struct kernel_format *f;
    bool wide;
    bool one;  /* a token that is alone in its call */
    bool ints; /* NVFP4: scales are made integers where they can */
};

VEC void vnni_load_unit(struct vnni_unit *u, const uint8_t *head, const struct vnni_shape *of);
/* Block b of the unit at head. */
VEC void vnni_load_block(struct vnni_block *w, struct vnni_unit *u, const uint8_t *head, int b,
                         const struct vnni_shape *of);
/* s[i] += quad j times four activations of token i of n, at x + 32 i. */
VEC void vnni_quad(vi (*s)[VNNI_VECS], const struct vnni_block *w, int j, const int8_t *x, int n,
                   const struct vnni_shape *of);
/* Chains of n tokens, of one half of a block each, begin at start[0..n). */
VEC void vnni_begin(vi (*s)[VNNI_VECS], const int32_t *start, int n);
/* to[i] = x[i] * by, n of them, into memory; there is room for eight. */
VEC void vnni_scale(float *to, const float *x, float by, int n);
/* Writes a token's sums of group g, times the factor, plus the bias. */
VEC void vnni_store(const struct linear_args *a, size_t g, size_t t, const vf *sum);

/* Start value of a chain: what the zero point subtracts over the whole block (h < 0) or half h (layout.h: n8 = -8 sum). */
VEC vi vnni_start(const struct act_block *a, int t, int h, int zero)
{
    if (h >= 0)
        return vi_set1(h ? a->n1[t] : a->n0[t]);
    if (zero == 0)
        return vi_set1(0);
    vi n = vi_set1(a->n8[t]);
    return zero == 8 ? n : vi_shl(n, zero == 16 ? 1 : 4);
}

/* Token t of a tile becomes its first. The compiler is not to see where the planes begin: else it computes the places of their quads,
 * and keeps them in vector registers. */
VEC struct act_block vnni_token(const struct act_block *a, size_t t, bool wide)
{
    struct act_block x = {a->hi + 32 * t, a->lo + 32 * t, a->dx + t, a->xs + t, a->n8 + t, a->n0 + t, a->n1 + t};
    __asm__("" : "+r"(x.hi));
    if (wide)
        __asm__("" : "+r"(x.lo));
    return x;
}

/* Of one token, quads [j, end) of both planes. Two chains: one would be twice as long, and a core sees only so far ahead. */
VEC void vnni_sum_wide(vi (*s)[VNNI_VECS], const struct vnni_block *w, const struct act_block *a, int j, int end,
                       vi start, const struct vnni_shape *of)
{
    vi hi[1][VNNI_VECS];
    for (int v = 0; v < VNNI_VECS; v++) {
        hi[0][v] = vi_set1(0);
        s[0][v] = start;
    }
#pragma GCC unroll 8
    for (; j < end; j++) {
        vnni_quad(hi, w, j, a->hi + 4 * j, 1, of);
        vnni_quad(s, w, j, a->lo + 4 * j, 1, of);
    }
    for (int v = 0; v < VNNI_VECS; v++)
        s[0][v] = vi_add(vi_shl(hi[0][v], 7), s[0][v]);
}

/* Exact integer sums of the first n tokens over the whole block (h < 0), or half h, where each has its own scale. */
VEC void vnni_sums(vi (*s)[VNNI_VECS], const struct vnni_block *w, const struct act_block *a, int n, int h,
                   const struct vnni_shape *of)
{
    const int j0 = h < 0 ? 0 : 4 * h, j1 = h < 0 ? 8 : j0 + 4, zero = of->f->zero;
    if (of->wide && n == 1) {
        vnni_sum_wide(s, w, a, j0, j1, vnni_start(a, 0, h, zero), of);
        return;
    }
    if (h >= 0 && !of->wide)
        vnni_begin(s, h ? a->n1 : a->n0, n);
    else
        for (int i = 0; i < n; i++)
            for (int v = 0; v < VNNI_VECS; v++)
                s[i][v] = of->wide ? vi_set1(0) : vnni_start(a, i, h, zero);
#pragma GCC unroll 8
    for (int j = j0; j < j1; j++)
        vnni_quad(s, w, j, a->hi + 4 * j, n, of);
    if (!of->wide)
        return;
    for (int i = 0; i < n; i++)
        for (int v = 0; v < VNNI_VECS; v++)
            s[i][v] = vi_add(vi_shl(s[i][v], 7), vnni_start(a, i, h, zero));
#pragma GCC unroll 8
    for (int j = j0; j < j1; j++)
        vnni_quad(s, w, j, a->lo + 4 * j, n, of);
}

/* NVFP4, 8-bit activations: one chain and one multiplication for both halves of a block in place of two: the second half's sum, at most
 * 16 * 12 * 127 = 24384, goes to the upper int16 of a lane, the first half's is added below. While it grows it is 2^15 too large,
 * so that nothing is borrowed from above. avx2/linear.c says when scales are integers, and why that is the same number. */
VEC void vnni_step_int(vf (*acc)[VNNI_VECS], const struct vnni_block *w, const struct act_block *a, int n,
                       const struct vnni_shape *of)
{
    const vi bias = vi_set1(0x8000);
    vi s[VNNI_TOK][VNNI_VECS];
    float dx[8];
    vnni_scale(dx, a->dx, w->unit, n);
    for (int i = 0; i < n; i++)
        for (int v = 0; v < VNNI_VECS; v++)
            s[i][v] = vi_set1(a->n1[i]);
#pragma GCC unroll 4
    for (int j = 4; j < 8; j++)
        vnni_quad(s, w, j, a->hi + 4 * j, n, of);
    for (int i = 0; i < n; i++)
        for (int v = 0; v < VNNI_VECS; v++)
            s[i][v] = vi_add(vi_add(vi_shl(s[i][v], 16), bias), vi_set1(a->n0[i]));
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++)
        vnni_quad(s, w, j, a->hi + 4 * j, n, of);
    for (int i = 0; i < n; i++)
        for (int v = 0; v < VNNI_VECS; v++) {
            vf p = vi_ps(vi_madd(vi_xor(s[i][v], bias), w->s[v]));
            acc[i][v] = v_fma(p, v_set1(dx[i]), acc[i][v]);
        }
}

/* Where registers are short x waits in memory: the compiler would rather spill sums. */
VEC void vnni_wait(vf *x, const struct vnni_shape *of)
{
    if (VNNI_SHORT && !of->one)
        __asm__ volatile("" : "+m"(*x));
}

/* Tokens t .. t + n of the tile. */
VEC void vnni_step(vf (*acc)[VNNI_VECS], struct vnni_block *w, const struct act_block *tile, size_t t, int n,
                   const struct vnni_shape *of)
{
    const struct act_block x = vnni_token(tile, t, of->wide), *a = &x;
    if (of->ints && w->unit > 0) {
        vnni_step_int(acc, w, a, n, of);
        return;
    }
    vi s[VNNI_TOK][VNNI_VECS];
    vf first[VNNI_TOK][VNNI_VECS];
    vnni_sums(s, w, a, n, of->f->halves ? 0 : -1, of);
    for (int v = 0; v < VNNI_VECS; v++)
        vnni_wait(w->d + v, of);
    if (of->f->halves) {
        for (int i = 0; i < n; i++)
            for (int v = 0; v < VNNI_VECS; v++)
                first[i][v] = v_mul(vi_ps(s[i][v]), w->d[v]);
        vnni_sums(s, w, a, n, 1, of);
    }
    for (int v = 0; v < VNNI_VECS && (of->f->halves || of->f->minimum); v++)
        vnni_wait(w->m + v, of);
    for (int i = 0; i < n; i++)
        for (int v = 0; v < VNNI_VECS; v++) {
            vf p = vi_ps(s[i][v]);
            p = of->f->halves ? v_fma(p, w->m[v], first[i][v]) : v_mul(p, w->d[v]);
            p = v_fma(p, v_set1(a->dx[i]), acc[i][v]);
            if (of->f->minimum)
                p = v_fma(w->m[v], v_set1(a->xs[i]), p);
            acc[i][v] = p;
        }
}

/* Block b's share of its unit, `ahead` bytes later in the stream. Past the end it does no harm. */
VEC void vnni_fetch(const uint8_t *w, size_t ahead, int b, const struct kernel_format *f)
{
    size_t share = layout_unit_bytes(f) / (size_t)f->blocks;
    for (size_t i = 0; ahead && i < share; i += 64)
        _mm_prefetch((const char *)w + ahead + (size_t)b * share + i, _MM_HINT_T0);
}

/* One token: a stream over the weights. */
VEC void vnni_single(const struct linear_args *a, size_t g, size_t t, const struct vnni_shape *of)
{
    const struct kernel_format *f = of->f;
    size_t units = a->k / 32 / (size_t)f->blocks, width = layout_tile_width(a->n_tok, t);
    const uint8_t *w = (const uint8_t *)a->w + g * layout_group_bytes(f, a->k),
                  *tile = (const uint8_t *)a->act + layout_tile_offset(a->k, t, of->wide);
    vf acc[1][VNNI_VECS];
    for (int v = 0; v < VNNI_VECS; v++)
        acc[0][v] = v_set1(0);
    for (size_t u = 0; u < units; u++, w += layout_unit_bytes(f)) {
        struct vnni_unit unit;
        vnni_load_unit(&unit, w, of);
        for (int b = 0; b < f->blocks; b++, tile += width * layout_token_bytes(of->wide)) {
            struct vnni_block blk;
            vnni_fetch(w, a->ahead, b, f);
            vnni_load_block(&blk, &unit, w, b, of);
            struct act_block x = layout_act(tile, width, 0, of->wide);
            vnni_step(acc, &blk, &x, t % 8, 1, of);
        }
    }
    vnni_store(a, g, t, acc[0]);
}

/* The compiler is not to compute what tiles of all sizes share before the choice of one: it would keep that, and spill sums. */
VEC void vnni_tile(vf (*acc)[VNNI_VECS], struct vnni_block *w, const struct act_block *tile, size_t t, int n,
                   const struct vnni_shape *of)
{
    __asm__ volatile("" : "+r"(t), "+r"(acc));
    vnni_step(acc, w, tile, t, n, of);
}

/* The first m = 1, 2, 3 or 4 of n tokens, from t of a tile on; returns m. */
VEC size_t vnni_some(vf (*acc)[VNNI_VECS], struct vnni_block *w, const struct act_block *tile, size_t t, size_t n,
                     const struct vnni_shape *of)
{
    if (n > 3) {
        vnni_tile(acc, w, tile, t, 4, of);
        return 4;
    }
    if (n == 3) {
        vnni_tile(acc, w, tile, t, 3, of);
        return 3;
    }
    if (n == 2) {
        vnni_tile(acc, w, tile, t, 2, of);
        return 2;
    }
    vnni_tile(acc, w, tile, t, 1, of);
    return 1;
}

/* Tokens [t, t + n), n <= VNNI_STRIPE: whole tiles of eight, then a part of one. Where one token alone is best left to the hardware's
 * prefetcher, several are not: it stops while they are multiplied. Where a tile lies is found by one addition: a core sees little
 * beyond the products of a tile, and waits for what takes long to compute. */
VEC void vnni_stripe(const struct linear_args *a, size_t g, size_t t, size_t n, const struct vnni_shape *of)
{
    const struct kernel_format *f = of->f;
    const bool wide = of->wide;
    const uint8_t *w = (const uint8_t *)a->w + g * layout_group_bytes(f, a->k);
    size_t units = a->k / 32 / (size_t)f->blocks, ahead = a->ahead ? a->ahead : VNNI_AHEAD,
           whole = t % 8 ? 0 : n / 8 * 8;
    size_t rest_width = layout_tile_width(a->n_tok, t + whole), tile_bytes = layout_tile_offset(a->k, 8, wide);
    const uint8_t *tiles = (const uint8_t *)a->act + layout_tile_offset(a->k, t, wide),
                  *rest = (const uint8_t *)a->act + layout_tile_offset(a->k, t + whole, wide);
    vf acc[VNNI_STRIPE][VNNI_VECS];
    for (size_t i = 0; i < n; i++)
        for (int v = 0; v < VNNI_VECS; v++) {
            acc[i][v] = v_set1(0);
            __asm__("" : "+m"(acc[i][v])); /* else gcc makes it a string instruction, which is slow to begin */
        }
    for (size_t u = 0; u < units; u++, w += layout_unit_bytes(f)) {
        struct vnni_unit unit;
        vnni_load_unit(&unit, w, of);
        for (int b = 0; b < f->blocks; b++) {
            struct vnni_block blk;
            vnni_fetch(w, ahead, b, f);
            vnni_load_block(&blk, &unit, w, b, of);
            const uint8_t *at = tiles;
            for (size_t i = 0; i < whole; i += 8, at += tile_bytes) {
                struct act_block x = layout_act(at, 8, 0, wide);
                for (size_t j = 0; j < 8; j += VNNI_TOK)
                    vnni_step(acc + i + j, &blk, &x, j, VNNI_TOK, of);
            }
            struct act_block x = layout_act(rest, rest_width, 0, wide);
            for (size_t i = whole; i < n;)
                i += vnni_some(acc + i, &blk, &x, (t + i) % 8, n - i, of);
            tiles += 8 * layout_token_bytes(wide);
            rest += rest_width * layout_token_bytes(wide);
        }
    }
    for (size_t i = 0; i < n; i++)
        vnni_store(a, g, t + i, acc[i]);
}

typedef void vnni_single_fn(const struct linear_args *a, size_t g1, size_t t);

/* one: the groups before g1 for a single token, which has a function of its own, with all registers. */
VEC void vnni_mul(const struct linear_args *a, const struct vnni_shape *of, vnni_single_fn *one)
{
    const struct vnni_shape many = {of->f, of->wide, false, !of->wide && of->f->dtype == DT_NVFP4};
    size_t groups = (a->n_rows + 15) / 16, g1 = a->g1 < groups ? a->g1 : groups;
    for (size_t t = a->t0, n; t < a->t1; t += n) {
        size_t most = t % 8 ? 8 - t % 8 : VNNI_STRIPE;
        n = a->t1 - t < most ? a->t1 - t : most;
        if (n == 1)
            one(a, g1, t);
        else if (many.ints && n >= VNNI_INT)
            for (size_t g = a->g0; g < g1; g++)
                vnni_stripe(a, g, t, n, &many);
        else
            for (size_t g = a->g0; g < g1; g++)
                vnni_stripe(a, g, t, n, of);
    }
}

#define VNNI_FORMATS(X) X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q8_0) X(Q4_K) X(Q5_K) X(Q6_K) X(MXFP4) X(NVFP4)
#define VNNI_ONE(T, NAME, WIDE)                                                                                        \
    static __attribute__((noinline)) void NAME##_##T(const struct linear_args *a, size_t g1, size_t t)                 \
    {                                                                                                                  \
        const struct vnni_shape of = {&FORMAT_##T, WIDE, true, false};                                                 \
        for (size_t g = a->g0; g < g1; g++)                                                                            \
            vnni_single(a, g, t, &of);                                                                                 \
    }
#define VNNI_DEFINE(T)                                                                                                 \
    VNNI_ONE(T, one, false)                                                                                            \
    VNNI_ONE(T, one_wide, true)                                                                                        \
    static void mul_##T(const struct linear_args *a)                                                                   \
    {                                                                                                                  \
        const struct vnni_shape narrow = {&FORMAT_##T, false, false, false}, wide = {&FORMAT_##T, true, false, false}; \
        if (a->wide)                                                                                                   \
            vnni_mul(a, &wide, one_wide_##T);                                                                          \
        else                                                                                                           \
            vnni_mul(a, &narrow, one_##T);                                                                             \
    }
#define VNNI_ROW(T) k->linear[DT_##T].mul = mul_##T;

#endif
