/* avx2/tile: the inner products for many tokens: tiles of 16 rows x 5 tokens, ten sums in registers; in a step two vectors of codes meet
 * five broadcasts. Pairs of int16 take tiles of 4 tokens, which are no slower and leave registers for the scales. */
#include "kernel/avx2/tile.h"
#include "kernel/avx2/block.h"

enum { TILE = 5, TILE_OF_PAIRS = 4 };

AVX2_INLINE bool is_pairs(enum kind k)
{
    return k >= PAIRS;
}

AVX2_INLINE bool has_minimum(enum kind k)
{
    return k == MINIMUM || k == ZERO_MINIMUM || k == PAIRS_MINIMUM;
}

AVX2_INLINE bool has_halves(enum kind k)
{
    return k == HALVES || k == PAIRS_HALVES;
}

/* n tokens' sums start: from z, or 0. */
AVX2_INLINE void tile_start(__m256i s[TILE][2], const struct token256 *t, int z, int n, enum kind kind)
{
    const bool zero = kind != MINIMUM && !is_pairs(kind);
    for (int i = 0; i < n; i++)
        s[i][0] = s[i][1] = zero ? _mm256_set1_epi32(t[i].z[z]) : _mm256_setzero_si256();
}

/* Adds steps [j0, j1) of n tokens and both halves of the group. */
AVX2_INLINE void tile_sums(__m256i s[TILE][2], const uint8_t *q, const int32_t *x, int j0, int j1, int n,
                           enum kind kind)
{
    const int steps = is_pairs(kind) ? TILE_PAIRS : TILE_QUADS;
#pragma GCC unroll 16
    for (int j = j0; j < j1; j++)
        for (int i = 0; i < n; i++) {
            __m256i v = _mm256_set1_epi32(x[steps * i + j]);
            for (int h = 0; h < 2; h++) {
                __m256i c = load256(q + 64 * j + 32 * h);
                s[i][h] = is_pairs(kind) ? _mm256_add_epi32(s[i][h], _mm256_madd_epi16(c, v))
                                         : _mm256_add_epi16(s[i][h], _mm256_maddubs_epi16(c, v));
                __asm__("" : "+x"(s[i][h])); /* now: gcc would add when all products are made, and spilled */
            }
        }
}

/* A block's scales, as tiles need them: loaded once for all their tokens where there are registers left. */
struct scales256 {
    __m256 d[2], m[2];
    __m256i s[2];
};

AVX2_INLINE void tile_scales(struct scales256 *to, const struct block256 *w, enum kind kind)
{
    for (int h = 0; h < 2; h++) {
        to->d[h] = _mm256_loadu_ps(w->d + 8 * h);
        to->m[h] = _mm256_loadu_ps(w->m + 8 * h);
        to->s[h] = load256((const uint8_t *)(w->s + 8 * h));
        if (kind == UNITS)
            __asm__("" : "+x"(to->s[h]));
        if (has_minimum(kind) || kind == ZERO || kind == PAIRS)
            __asm__("" : "+x"(to->d[h]));
        if (kind == MINIMUM || kind == PAIRS_MINIMUM)
            __asm__("" : "+x"(to->m[h]));
    }
}

/* The sum of one lane's products, as it is before any scale. */
AVX2_INLINE __m256 tile_sum(__m256i s, const struct token256 *t, enum kind kind)
{
    if (!is_pairs(kind))
        s = _mm256_madd_epi16(s, _mm256_set1_epi16(1));
    if (kind == ZERO_MINIMUM)
        s = _mm256_add_epi32(s, _mm256_set1_epi32(t->sum));
    return _mm256_cvtepi32_ps(s);
}

/* The product of half h of the group's rows with a token but for dx. first: what the first 16 k gave (halves). */
AVX2_INLINE __m256 tile_value(__m256i s, const struct scales256 *w, const struct token256 *t, int h, __m256 first,
                              enum kind kind)
{
    if (kind == UNITS)
        return _mm256_cvtepi32_ps(_mm256_madd_epi16(s, w->s[h]));
    if (kind == FAR) {
        first = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(s, 16), 16)), w->d[h]);
        return _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_srai_epi32(s, 16)), w->m[h], first);
    }
    return has_halves(kind) ? _mm256_fmadd_ps(tile_sum(s, t, kind), w->m[h], first)
                            : _mm256_mul_ps(tile_sum(s, t, kind), w->d[h]);
}

/* Adds nb blocks of a group times n tokens. ldx: shares from a block to the next. */
AVX2_INLINE void tile(float *acc, const struct block256 *w, const int32_t *x, const struct token256 *t, size_t nb,
                      size_t ldx, int n, enum kind kind)
{
    const int steps = is_pairs(kind) ? TILE_PAIRS : TILE_QUADS;
    for (size_t b = 0; b < nb; b++, w++, t += ldx, x += (size_t)steps * ldx) {
        __m256i s[TILE][2];
        __m256 first[TILE][2];
        __asm__("" ::: "memory"); /* the float sums stay there: registers are short */
        tile_start(s, t, 0, n, kind);
        tile_sums(s, w->q, x, 0, has_halves(kind) ? steps / 2 : steps, n, kind);
        if (has_halves(kind)) {
            for (int i = 0; i < n; i++)
                for (int h = 0; h < 2; h++)
                    first[i][h] = _mm256_mul_ps(tile_sum(s[i][h], t + i, kind), _mm256_loadu_ps(w->d + 8 * h));
            tile_start(s, t, 1, n, kind);
            tile_sums(s, w->q, x, steps / 2, steps, n, kind);
        }
        struct scales256 scales;
        tile_scales(&scales, w, kind);
        for (int i = 0; i < n; i++) {
            __m256 dx = _mm256_set1_ps(t[i].dx[kind == UNITS ? w->dx : 0]), xs = _mm256_set1_ps(t[i].xs);
            for (int h = 0; h < 2; h++) {
                float *to = acc + 16 * i + 8 * h;
                __m256 v = tile_value(s[i][h], &scales, t + i, h, first[i][h], kind);
                v = _mm256_fmadd_ps(v, dx, _mm256_loadu_ps(to));
                if (has_minimum(kind))
                    v = _mm256_fmadd_ps(scales.m[h], xs, v);
                _mm256_storeu_ps(to, v);
            }
        }
    }
}

/* The same for any n. */
AVX2_INLINE void tiles(float *acc, const struct block256 *w, const int32_t *x, const struct token256 *t, size_t nb,
                       size_t n, enum kind kind)
{
    const size_t steps = is_pairs(kind) ? TILE_PAIRS : TILE_QUADS, most = is_pairs(kind) ? TILE_OF_PAIRS : TILE;
    size_t left = n;
    for (; left >= most; left -= most, acc += 16 * most, x += steps * most, t += most)
        tile(acc, w, x, t, nb, n, (int)most, kind);
    if (left == 4)
        tile(acc, w, x, t, nb, n, 4, kind);
    else if (left == 3)
        tile(acc, w, x, t, nb, n, 3, kind);
    else if (left == 2)
        tile(acc, w, x, t, nb, n, 2, kind);
    else if (left == 1)
        tile(acc, w, x, t, nb, n, 1, kind);
}

#define EVERY_KIND(X)                                                                                                  \
    X(MINIMUM)                                                                                                         \
    X(ZERO) X(ZERO_MINIMUM) X(HALVES) X(UNITS) X(FAR) X(PAIRS) X(PAIRS_MINIMUM) X(PAIRS_HALVES)
#define DEFINE(KIND)                                                                                                   \
    static void tiles_##KIND(float *acc, const struct block256 *w, const int32_t *x, const struct token256 *t,         \
                             size_t nb, size_t n)                                                                      \
    {                                                                                                                  \
        tiles(acc, w, x, t, nb, n, KIND);                                                                              \
    }
EVERY_KIND(DEFINE)

void avx2_tiles(float *acc, const struct block256 *w, const int32_t *x, const struct token256 *t, size_t nb, size_t n)
{
#define ENTRY(KIND) [KIND] = tiles_##KIND,
    static void (*const table[KINDS])(float *, const struct block256 *, const int32_t *, const struct token256 *,
                                      size_t, size_t) = {EVERY_KIND(ENTRY)};
    const size_t steps = is_pairs(w->kind) ? TILE_PAIRS : TILE_QUADS;
    for (size_t b = 0, run; b < nb; b += run) {
        for (run = 1; b + run < nb && w[b + run].kind == w[b].kind; run++) {
        }
        table[w[b].kind](acc, w + b, x + steps * b * n, t + b * n, run, n);
    }
}
