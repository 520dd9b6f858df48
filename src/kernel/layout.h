/* layout: inside kernel: the packed weights and activations that every level reads and writes. One place, no code path.
 *
 * Weights, quantised. A group is 16 rows. It is a sequence of units; a unit is one block of 32 k (simple formats), two (NVFP4)
 * or eight (super formats), and begins with a header of per-row numbers, row r at element r of each array:
 *     Q4_0 Q5_0 Q8_0   f16 d[16]                          Q4_1 Q5_1   f16 d[16], f16 m[16]
 *     Q4_K Q5_K        f16 d[16], f16 dmin[16], u8 s[12][16] (the file's twelve bytes, bits unchanged)
 *     Q6_K             f16 d[16], s8 s[16][16]
 *     MXFP4            E8M0 e[16]                         NVFP4 (units of two blocks)   u8 s[4][16]
 * NVFP4's scales are not the file's E4M3: moved by 7 bits, s is an f16, half the scale (5 bits of exponent, so no subnormals, and a
 * number where the file has none).
 * and then, block by block, the codes as planes of 64 bytes: 16 lanes of 4 bytes, lane = row, byte = one of 4 consecutive
 * k ("quad" j is k 4j..4j+3), which is what one 32-bit lane of a dot-product instruction eats:
 *     4 bits           4 planes: plane j holds quad j in the low nibbles and quad j+4 in the high ones; MXFP4's and NVFP4's
 *                      codes name a number of LAYOUT_E2M1
 *     fifth bit        then 1 plane: bit j of a byte belongs to quad j
 *     bits 5 and 6     then 2 planes: plane p, bits 2s..2s+1 belong to quad 4p+s
 *     8 bits           8 planes, code + 128
 * This is byte for byte as large as the file's rows. A group is padded to 64 bytes.
 *
 * Weights, float: [k][16] elements of the file's type.
 *
 * Activations. Tiles of 8 tokens (the last one w = n_tok % 8 wide, so that one token alone is dense), block by block; in a
 * block of a tile of w tokens:
 *     s8 hi[w][32]; s8 lo[w][32] when wide; f32 dx[w]; f32 xs[w]; s32 n8[w]; s32 n0[w]; s32 n1[w]
 * where the integer activation is x = hi, or 128 hi + lo when wide; dx is its scale; xs = dx * sum(x), rounded once; and
 * n8 = -8 sum(x) of 32, n0 = -32 sum(x) of the first 16, n1 of the last 16 (what zero points subtract). */
#ifndef HEARTH_KERNEL_LAYOUT_H
#define HEARTH_KERNEL_LAYOUT_H
#include "kernel/kernel.h"

/* What the loops must know of a quantised format. */
struct kernel_format {
    enum dtype dtype;
    int bits;   /* 4, 5, 6 or 8 */
    int blocks; /* blocks of 32 in a unit: 1, 2 for NVFP4, 8 for the super formats */
    int zero; /* the code that means 0; 0 where there is a minimum. E2M1: what a level adds to make its numbers positive */
    bool minimum; /* w = d q + m */
    int header;   /* bytes before the planes of a unit */
    bool e2m1;    /* codes are E2M1 */
    bool halves;  /* a scale for each 16 of a block */
};

/* clang-format off */
static const struct kernel_format
    FORMAT_Q4_0  = {DT_Q4_0,  4, 1,   8, false,  32, false, false},
    FORMAT_Q4_1  = {DT_Q4_1,  4, 1,   0, true,   64, false, false},
    FORMAT_Q5_0  = {DT_Q5_0,  5, 1,  16, false,  32, false, false},
    FORMAT_Q5_1  = {DT_Q5_1,  5, 1,   0, true,   64, false, false},
    FORMAT_Q8_0  = {DT_Q8_0,  8, 1, 128, false,  32, false, false},
    FORMAT_Q4_K  = {DT_Q4_K,  4, 8,   0, true,  256, false, false},
    FORMAT_Q5_K  = {DT_Q5_K,  5, 8,   0, true,  256, false, false},
    FORMAT_Q6_K  = {DT_Q6_K,  6, 8,  32, false, 288, false, true},
    FORMAT_MXFP4 = {DT_MXFP4, 4, 1,  16, false,  16, true,  false},
    FORMAT_NVFP4 = {DT_NVFP4, 4, 2,  32, false,  64, true,  true};
/* clang-format on */

/* Half of NVFP4's scale s. */
static inline float layout_e5m3(uint8_t s)
{
    return f16_to_f32((uint16_t)(s << 7));
}

/* Twice the numbers of E2M1. */
static const int8_t LAYOUT_E2M1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static inline size_t layout_block_bytes(const struct kernel_format *f)
{
    return (size_t)f->bits * 64;
}

static inline size_t layout_unit_bytes(const struct kernel_format *f)
{
    return (size_t)f->header + (size_t)f->blocks * layout_block_bytes(f);
}

static inline size_t layout_group_bytes(const struct kernel_format *f, size_t k)
{
    return (k / 32 / (size_t)f->blocks * layout_unit_bytes(f) + 63) & ~(size_t)63;
}

/* Where block b begins in its group; the first of a unit has the header before it. */
static inline size_t layout_block_offset(const struct kernel_format *f, size_t b)
{
    size_t own = b % (size_t)f->blocks;
    return b / (size_t)f->blocks * layout_unit_bytes(f) + (own ? (size_t)f->header + own * layout_block_bytes(f) : 0);
}

static inline size_t layout_token_bytes(bool wide) /* one token's share of one block */
{
    return (wide ? 64u : 32u) + 20u;
}

/* One block of one tile of activations. */
struct act_block {
    const int8_t *hi, *lo;
    const float *dx, *xs;
    const int32_t *n8, *n0, *n1;
};

/* Tokens in the tile that token t belongs to. */
static inline size_t layout_tile_width(size_t n_tok, size_t t)
{
    size_t left = n_tok - (t & ~(size_t)7);
    return left < 8 ? left : 8;
}

static inline size_t layout_tile_offset(size_t k, size_t t, bool wide)
{
    return (t & ~(size_t)7) * (k / 32) * layout_token_bytes(wide);
}

/* The arrays of block b of the tile at `tile`, w tokens wide. */
static inline struct act_block layout_act(const uint8_t *tile, size_t w, size_t b, bool wide)
{
    const uint8_t *p = tile + b * w * layout_token_bytes(wide);
    struct act_block a;
    a.hi = (const int8_t *)p;
    a.lo = a.hi + (wide ? 32 * w : 0);
    a.dx = (const float *)(const void *)(a.lo + 32 * w);
    a.xs = a.dx + w;
    a.n8 = (const int32_t *)(const void *)(a.xs + w);
    a.n0 = a.n8 + w;
    a.n1 = a.n0 + w;
    return a;
}

/* Whether a token is an outlier (kernel.h): summed in the order of its groups. */
struct act_spread {
    double squares, groups;
};

static inline void layout_spread(struct act_spread *s, float dx, int32_t square)
{
    double d = (double)dx * (double)dx;
    s->squares += d * (double)square;
    s->groups += d;
}

static inline void layout_outlier(uint8_t *outliers, size_t t, const struct act_spread *s, bool wide)
{
    if (!outliers)
        return;
    bool is = !wide && s->groups > 0 && s->squares <= KERNEL_OUTLIER * s->groups;
    unsigned before = outliers[t / KERNEL_TOK] & ((1u << t % KERNEL_TOK) - 1);
    outliers[t / KERNEL_TOK] = (uint8_t)(before | (unsigned)is << t % KERNEL_TOK);
}

#endif
