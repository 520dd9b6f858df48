/* avx2/pairs: 15-bit activations, and 8-bit codes at any width, times several tokens: vpmaddwd multiplies pairs of int16, 16 of them
 * for 8 rows x 32 k, where vpmaddubsw would take two planes, or vpsignb. At most 2^15 * 128 * 32: exact.
 *
 * As linear.c: for a chunk of blocks and a stripe of tokens the activations are put together in the scratch, the group's codes become
 * signed int16 there, and all tiles of 16 rows x 4 tokens follow, eight int32 sums in registers, the float sums in the scratch. */
#include "kernel/avx2/e2m1.h"

enum { STRIPE = AVX2_PAIRS_TOK, CHUNK = 2, BATCH = 32, TILE = 4, PAIRS = 16 };

/* One block of a group: pairs of quad j are its elements 0 and 2, then 1 and 3. */
struct block256 {
    uint8_t q[64 * PAIRS]; /* [pair][16 lanes of two int16] */
    float d[16], m[16];    /* scales, minima or the second half's scales */
};

/* One token's share of one block. */
struct token256 {
    int32_t p[PAIRS]; /* two int16 each */
    float dx, xs;
    int32_t unused[6]; /* entries are whole vectors */
};

struct work256 {
    float acc[BATCH][STRIPE][16];
    struct token256 x[CHUNK * STRIPE];
    struct block256 w[CHUNK];
};

/* ---- activations and weights ---- */

/* Blocks [b0, b0 + nb) of tokens [t0, t0 + n), block by block. */
AVX2_INLINE void put_entries(struct token256 *to, const struct linear_args *a, size_t t0, size_t n, size_t b0,
                             size_t nb, bool wide)
{
    for (size_t b = b0; b < b0 + nb; b++)
        for (size_t t = t0; t < t0 + n; t++, to++) {
            const uint8_t *tile = (const uint8_t *)a->act + layout_tile_offset(a->k, t, wide);
            struct act_block x = layout_act(tile, layout_tile_width(a->n_tok, t), b, wide);
            size_t i = t % 8;
            for (size_t h = 0; h < 2; h++)
                put_pairs(to->p + 8 * h, x.hi + 32 * i + 16 * h, x.lo + 32 * i + 16 * h, wide);
            to->dx = x.dx[i];
            to->xs = x.xs[i];
        }
}

/* Quads as signed int16, elements 0 and 2 and elements 1 and 3 of each, half h (0 or 8: first row) of the group. */
AVX2_INLINE void put_codes(struct block256 *w, const __m256i q[8], int h, const struct kernel_format *f)
{
    const __m256i zero = _mm256_set1_epi16((int16_t)f->zero), low = _mm256_set1_epi16(255);
    const bool is_signed = f->bits == 8 || f->e2m1;
    for (int j = 0; j < 8; j++) {
        __m256i even = _mm256_and_si256(q[j], low), odd = _mm256_srli_epi16(q[j], 8);
        if (is_signed) {
            even = _mm256_srai_epi16(_mm256_slli_epi16(q[j], 8), 8);
            odd = _mm256_srai_epi16(q[j], 8);
        } else if (f->zero) {
            even = _mm256_sub_epi16(even, zero);
            odd = _mm256_sub_epi16(odd, zero);
        }
        _mm256_storeu_si256((__m256i *)(void *)(w->q + 128 * j + 4 * h), even);
        _mm256_storeu_si256((__m256i *)(void *)(w->q + 128 * j + 64 + 4 * h), odd);
    }
}

/* Blocks [b0, b0 + nb) of a group. */
AVX2_INLINE void put_blocks(struct block256 *w, const struct linear_args *a, size_t g, size_t b0, size_t nb,
                            const struct kernel_format *f)
{
    const uint8_t *group = (const uint8_t *)a->w + g * layout_group_bytes(f, a->k);
    struct unit256 unit;
    for (size_t b = b0; b < b0 + nb; b++, w++) {
        const uint8_t *head = group + b / (size_t)f->blocks * layout_unit_bytes(f);
        int own = (int)(b % (size_t)f->blocks);
        fetch(head, a->ahead, own, f);
        if (!f->e2m1 && (f->blocks == 1 || b == b0))
            load_unit(&unit, head, own, CHUNK, f);
        for (int h = 0; h < 16; h += 8) {
            struct half256 blk;
            if (f->e2m1)
                load_e2m1(&blk, head, own, h, 1.0f, f, 0, false);
            else
                load_half_block(&blk, &unit, head, own, h, f);
            put_codes(w, blk.q, h, f);
            _mm256_storeu_ps(w->d + h, blk.d);
            if (f->minimum || f->halves)
                _mm256_storeu_ps(w->m + h, blk.m);
        }
    }
}

/* ---- tiles ---- */

/* Sums of pairs [j0, j0 + nj) of n tokens and both halves of the group. */
AVX2_INLINE void tile_sums(__m256i s[TILE][2], const uint8_t *q, const struct token256 *x, int j0, int nj, int n)
{
#pragma GCC unroll 16
    for (int j = j0; j < j0 + nj; j++)
        for (int i = 0; i < n; i++) {
            __m256i v = _mm256_set1_epi32(x[i].p[j]);
            for (int h = 0; h < 2; h++) {
                __m256i product = _mm256_madd_epi16(load256(q + 64 * j + 32 * h), v);
                s[i][h] = j == j0 ? product : _mm256_add_epi32(s[i][h], product);
                __asm__("" : "+x"(s[i][h])); /* now: gcc would add when all products are made, and spilled */
            }
        }
}

/* Adds nb blocks of a group times n tokens. ldx: entries from a block to the next. */
AVX2_INLINE void tile(float *acc, const struct block256 *w, const struct token256 *x, size_t nb, size_t ldx, int n,
                      bool halves, bool minimum)
{
    for (size_t b = 0; b < nb; b++, w++, x += ldx) {
        __m256i s[TILE][2];
        __m256 first[TILE][2];
        __asm__("" ::: "memory"); /* the float sums stay there: registers are short */
        tile_sums(s, w->q, x, 0, halves ? PAIRS / 2 : PAIRS, n);
        if (halves) {
            for (int i = 0; i < n; i++)
                for (int h = 0; h < 2; h++)
                    first[i][h] = _mm256_mul_ps(_mm256_cvtepi32_ps(s[i][h]), _mm256_loadu_ps(w->d + 8 * h));
            tile_sums(s, w->q, x, PAIRS / 2, PAIRS / 2, n);
        }
        __m256 d[2], m[2];
        for (int h = 0; h < 2; h++) { /* loaded once for all tokens, where there are registers left */
            d[h] = _mm256_loadu_ps(w->d + 8 * h);
            m[h] = _mm256_loadu_ps(w->m + 8 * h);
            if (!halves)
                __asm__("" : "+x"(d[h]));
            if (minimum)
                __asm__("" : "+x"(m[h]));
        }
        for (int i = 0; i < n; i++)
            for (int h = 0; h < 2; h++) {
                float *to = acc + 16 * i + 8 * h;
                __m256 v = _mm256_cvtepi32_ps(s[i][h]);
                v = halves ? _mm256_fmadd_ps(v, m[h], first[i][h]) : _mm256_mul_ps(v, d[h]);
                v = _mm256_fmadd_ps(v, _mm256_set1_ps(x[i].dx), _mm256_loadu_ps(to));
                if (minimum)
                    v = _mm256_fmadd_ps(m[h], _mm256_set1_ps(x[i].xs), v);
                _mm256_storeu_ps(to, v);
            }
    }
}

/* A chunk of one group times the stripe's n tokens. */
AVX2_INLINE void chunk_mul(float *acc, const struct block256 *w, const struct token256 *x, size_t nb, size_t n,
                           bool halves, bool minimum)
{
    size_t i = 0;
    for (; i + TILE <= n; i += TILE)
        tile(acc + 16 * i, w, x + i, nb, n, TILE, halves, minimum);
    for (; i < n; i++)
        tile(acc + 16 * i, w, x + i, nb, n, 1, halves, minimum);
}

static void chunk_plain(float *acc, const struct block256 *w, const struct token256 *x, size_t nb, size_t n)
{
    chunk_mul(acc, w, x, nb, n, false, false);
}

static void chunk_minimum(float *acc, const struct block256 *w, const struct token256 *x, size_t nb, size_t n)
{
    chunk_mul(acc, w, x, nb, n, false, true);
}

static void chunk_halves(float *acc, const struct block256 *w, const struct token256 *x, size_t nb, size_t n)
{
    chunk_mul(acc, w, x, nb, n, true, false);
}

/* ---- the loops around them ---- */

/* Groups [g0, g0 + ng), ng <= BATCH, times tokens [t0, t0 + n), n <= STRIPE. */
AVX2_INLINE void batch_mul(const struct linear_args *a, size_t g0, size_t ng, size_t t0, size_t n,
                           const struct kernel_format *f, bool wide)
{
    struct work256 *work = a->scratch;
    size_t blocks = a->k / 32, gb = layout_group_bytes(f, a->k);
    const uint8_t *w = (const uint8_t *)a->w + g0 * gb;
    for (size_t g = 0; g < ng; g++)
        memset(work->acc[g], 0, n * sizeof work->acc[g][0]);
    for (size_t b = 0; b < blocks; b += CHUNK) {
        size_t nb = blocks - b < CHUNK ? blocks - b : CHUNK;
        put_entries(work->x, a, t0, n, b, nb, wide);
        for (size_t g = 0; g < ng; g++) {
            put_blocks(work->w, a, g0 + g, b, nb, f);
            fetch_blocks(w + (g + 1) % ng * gb, g + 1 < ng ? b : b + nb, nb, f);
            fetch_act(a, t0, t0 + n, g, b + nb, nb);
            if (f->halves)
                chunk_halves(work->acc[g][0], work->w, work->x, nb, n);
            else if (f->minimum)
                chunk_minimum(work->acc[g][0], work->w, work->x, nb, n);
            else
                chunk_plain(work->acc[g][0], work->w, work->x, nb, n);
        }
    }
    for (size_t g = 0; g < ng; g++)
        for (size_t i = 0; i < n; i++)
            store_rows(a, g0 + g, t0 + i, work->acc[g][i]);
}

AVX2_INLINE void mul(const struct linear_args *a, size_t t, size_t n, const struct kernel_format *f)
{
    size_t groups = (a->n_rows + 15) / 16, g1 = a->g1 < groups ? a->g1 : groups;
    for (size_t g = a->g0; g < g1; g += BATCH)
        batch_mul(a, g, g1 - g < BATCH ? g1 - g : BATCH, t, n, f, a->wide);
}

size_t avx2_pairs_scratch(void)
{
    return sizeof(struct work256);
}

#define FORMATS(X) X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q8_0) X(Q4_K) X(Q5_K) X(Q6_K) X(MXFP4) X(NVFP4)
#define DEFINE(T)                                                                                                      \
    static void mul_##T(const struct linear_args *a, size_t t, size_t n)                                               \
    {                                                                                                                  \
        mul(a, t, n, &FORMAT_##T);                                                                                     \
    }
FORMATS(DEFINE)

void avx2_pairs(const struct linear_args *a, enum dtype d, size_t t, size_t n)
{
#define ROW(T) [DT_##T] = mul_##T,
    static void (*const table[DT_COUNT])(const struct linear_args *, size_t, size_t) = {FORMATS(ROW)};
    table[d](a, t, n);
}
