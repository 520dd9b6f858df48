/* tile: inside avx2: many tokens: what the loops of linear.c put together in L1 for the inner products of tile.c. */
#ifndef HEARTH_KERNEL_AVX2_TILE_H
#define HEARTH_KERNEL_AVX2_TILE_H
#include "kernel/avx2/avx2.h"

/* How a block becomes a number. PAIRS: codes and activations are int16, two of them a step; without it, bytes, four a step. */
enum kind {
    MINIMUM,      /* 4 bits with a minimum */
    ZERO,         /* any code with a zero point */
    ZERO_MINIMUM, /* 5 bits with a minimum */
    HALVES,       /* a scale for each half */
    UNITS,        /* NVFP4, integer scales */
    FAR,          /* the same, scales too far apart */
    PAIRS,
    PAIRS_MINIMUM,
    PAIRS_HALVES,
    KINDS
};

enum { TILE_QUADS = 8, TILE_PAIRS = 16 }; /* steps of a block */

/* One block of a group. */
struct block256 {
    uint8_t q[64 * TILE_PAIRS] __attribute__((aligned(64))); /* [step][16 lanes of four bytes] */
    float d[16], m[16];                                      /* scales, minima or the second half's scales */
    int32_t s[16];                                           /* UNITS: both scales */
    enum kind kind;
    int dx; /* which factor of the activation */
};

/* One token's share of one block but for its activations, which are int32_t[steps]. */
struct token256 {
    float dx[2]; /* NVFP4: times 2^-7 and 2^-10, what scales in units of 2^-6 and 2^-9 leave, codes being doubled */
    float xs;
    int32_t sum; /* ZERO_MINIMUM: 16 * sum(x) */
    int32_t z[2];
    int32_t unused[2];
};

/* acc[n][16] += nb blocks of a group times n tokens, whose shares lie block by block. Blocks are all of PAIRS or none. */
void avx2_tiles(float *acc, const struct block256 *w, const int32_t *x, const struct token256 *t, size_t nb, size_t n);

#endif
