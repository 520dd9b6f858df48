/* avx2/few: quantised weights times up to AVX2_FEW tokens: a stream over the weights, activations broadcast. What may be added in
 * int16, and why, is in linear.c.
 *
 * Both halves of a group meet the same tokens: a block is unpacked once, into L1, and multiplied with tiles of 4 x 16, so that a
 * broadcast serves two products and an unpacked vector four. For one token nothing is unpacked but on the way, plane by plane: the sums
 * of a group are two registers.
 *
 * 15-bit activations and 8-bit codes are multiplied as pairs of int16; their activations are widened once per call. So are the words
 * that take the zero point off int16 sums. Both wait in the scratch. */
#include "kernel/avx2/stream.h"

enum { TILE = 4 };

/* What of a format and the activations' width decides the loop: constants once inlined. */
struct shape {
    const struct kernel_format *f;
    bool pairs, wide;
    int words; /* of a token's block in the scratch */
};

/* One block of 16 rows, in halves of eight. */
struct block256 {
    const uint8_t *p; /* the planes */
    __m256 d[2], m[2];
    __m256i q[16][2]; /* quads, or pairs: the even bytes of a quad, then the odd ones */
};

/* n neighbouring tokens of one tile of activations, one block. */
struct tokens256 {
    const int8_t *x;
    const float *dx, *xs;
    const int32_t *n8, *n0, *n1;
    const int32_t *word;
};

/* ---- activations ---- */

/* What the zero point subtracts from the two int16 of a lane: [0] of the lower 16 k, [1] of the upper, where each has its scale. */
AVX2_INLINE void put_zeros(int32_t *to, const struct act_block *x, size_t i, const struct kernel_format *f)
{
    __m256i zero = _mm256_set1_epi8((char)zero_of(f));
    __m256i p = _mm256_maddubs_epi16(zero, load256((const uint8_t *)x->hi + 32 * i));
    p = _mm256_add_epi16(p, _mm256_shuffle_epi32(p, 0x4E));
    p = _mm256_add_epi16(p, _mm256_shuffle_epi32(p, 0xB1));
    p = _mm256_sub_epi16(_mm256_setzero_si256(), p);
    __m128i a = _mm256_castsi256_si128(p), b = _mm256_extracti128_si256(p, 1);
    to[0] = _mm_cvtsi128_si32(f->halves ? a : _mm_add_epi16(a, b));
    to[1] = f->halves ? _mm_cvtsi128_si32(b) : -2 * x->n8[i]; /* 5 bits with a minimum: given back */
}

/* Tokens [t, t + n): word[block][n][s->words]. */
AVX2_INLINE void prepare(int32_t *word, const struct linear_args *a, size_t t, size_t n, const struct shape *s)
{
    for (size_t b = 0; s->words && b < a->k / 32; b++)
        for (size_t i = t; i < t + n; i++, word += s->words) {
            const uint8_t *tile = (const uint8_t *)a->act + layout_tile_offset(a->k, i, s->wide);
            struct act_block x = layout_act(tile, layout_tile_width(a->n_tok, i), b, s->wide);
            if (!s->pairs) {
                put_zeros(word, &x, i % 8, s->f);
                continue;
            }
            for (size_t h = 0; h < 2; h++)
                put_pairs(word + 8 * h, x.hi + 32 * (i % 8) + 16 * h, x.lo + 32 * (i % 8) + 16 * h, s->wide);
        }
}

/* ---- weights ---- */

/* Quad i, or pair i, of half h. */
AVX2_INLINE __m256i code_at(const uint8_t *p, int i, int h, const struct shape *s)
{
    if (!s->pairs)
        return code(p + 32 * h, i, s->f, E2M1_ZERO);
    __m256i q = code(p + 32 * h, i / 2, s->f, E2M1_ZERO);
    return i % 2 ? _mm256_srli_epi16(q, 8) : _mm256_and_si256(q, _mm256_set1_epi16(255));
}

/* ---- one block, n tokens ---- */

/* The exact sum of a block, or of half one, zero point taken off. */
AVX2_INLINE __m256 sum_ps(__m256i v, const struct tokens256 *x, size_t t, int part, const struct shape *s)
{
    const struct kernel_format *f = s->f;
    if (!s->pairs) {
        if (f->bits > 4 || f->e2m1)
            v = _mm256_add_epi16(v, _mm256_set1_epi32(x->word[2 * t + (size_t)part]));
        v = _mm256_madd_epi16(v, _mm256_set1_epi16(1));
        if (f->bits == 5 && f->minimum)
            v = _mm256_add_epi32(v, _mm256_set1_epi32(x->word[2 * t + 1]));
        if (f->zero == 8)
            v = _mm256_add_epi32(v, _mm256_set1_epi32(x->n8[t]));
    } else if (f->e2m1) {
        v = _mm256_add_epi32(v, _mm256_set1_epi32((f->halves ? part ? x->n1[t] : x->n0[t] : 4 * x->n8[t]) / 8 * 3));
    } else if (f->halves) {
        v = _mm256_add_epi32(v, _mm256_set1_epi32(part ? x->n1[t] : x->n0[t]));
    } else if (f->zero) {
        v = _mm256_add_epi32(v, _mm256_set1_epi32(x->n8[t] * (f->zero / 8)));
    }
    return _mm256_cvtepi32_ps(v);
}

/* acc[t] += block * token t. direct: nothing was unpacked. */
AVX2_INLINE void tile_mul(__m256 (*acc)[2], const struct block256 *w, struct tokens256 *x, int n, bool direct,
                          const struct shape *s)
{
    /* gcc would compute what tiles of all sizes share before the choice of one, put off the additions, and spill both. */
    if (!direct)
        __asm__ volatile("" : "+r"(x->x), "+r"(x->word), "+r"(x->dx), "+r"(x->xs));
    const int steps = s->pairs ? 16 : 8, each = s->pairs ? 2 : 1;
    __m256i sum[2][TILE][2];
    __m256 v[TILE][2];
#pragma GCC unroll 16
    for (int e = 0; e < steps; e++) {
        /* direct: the quads of one plane, j and j + 4, one after the other */
        int i = direct ? (e / each % 2 * 4 + e / each / 2) * each + e % each : e, part = s->f->halves && i >= steps / 2;
        const bool first = s->f->halves ? i % (steps / 2) == 0 : i == 0;
        __m256i q[2];
        for (int h = 0; h < 2; h++) {
            q[h] = direct ? code_at(w->p, i, h, s) : w->q[i][h];
            __asm__ volatile("" : "+x"(q[h]));
        }
        for (int t = 0; t < n; t++) {
            __m256i xv = s->pairs ? _mm256_set1_epi32(x->word[16 * t + i]) : quad(x->x + 32 * t + 4 * i);
            for (int h = 0; h < 2; h++) {
                __m256i product = s->pairs ? _mm256_madd_epi16(q[h], xv) : _mm256_maddubs_epi16(q[h], xv),
                        *to = &sum[part][t][h];
                *to = first ? product : s->pairs ? _mm256_add_epi32(*to, product) : _mm256_add_epi16(*to, product);
                __asm__ volatile("" : "+x"(*to));
            }
        }
        if (s->f->halves && e == (direct ? steps - 1 : steps / 2 - 1))
            for (int t = 0; t < n; t++)
                for (int h = 0; h < 2; h++)
                    v[t][h] = _mm256_mul_ps(sum_ps(sum[0][t][h], x, (size_t)t, 0, s), w->d[h]);
    }
    for (int t = 0; t < n; t++)
        for (int h = 0; h < 2; h++) {
            if (s->f->halves)
                v[t][h] = _mm256_fmadd_ps(sum_ps(sum[1][t][h], x, (size_t)t, 1, s), w->m[h], v[t][h]);
            else
                v[t][h] = _mm256_mul_ps(sum_ps(sum[0][t][h], x, (size_t)t, 0, s), w->d[h]);
            acc[t][h] = _mm256_fmadd_ps(v[t][h], _mm256_set1_ps(x->dx[t]), acc[t][h]);
            if (s->f->minimum)
                acc[t][h] = _mm256_fmadd_ps(w->m[h], _mm256_set1_ps(x->xs[t]), acc[t][h]);
        }
}

/* ---- a group ---- */

/* Block b of a tile of activations, from its token `at` on; word: what was prepared for that. */
AVX2_INLINE struct tokens256 tokens_at(const uint8_t *tile, size_t width, size_t b, size_t at, const int32_t *word,
                                       const struct shape *s)
{
    struct act_block x = layout_act(tile, width, b, s->wide);
    return (struct tokens256){x.hi + 32 * at, x.dx + at, x.xs + at, x.n8 + at, x.n0 + at, x.n1 + at, word};
}

AVX2_INLINE void group_mul(const struct linear_args *a, size_t g, size_t t, size_t n, const struct shape *s, bool one)
{
    const struct kernel_format *f = s->f;
    const uint8_t *w = (const uint8_t *)a->w + g * layout_group_bytes(f, a->k);
    const int steps = s->pairs ? 16 : 8;
    const int32_t *word = a->scratch;
    const uint8_t *tile = (const uint8_t *)a->act + layout_tile_offset(a->k, t, s->wide);
    size_t blocks = a->k / 32, width = layout_tile_width(a->n_tok, t), ahead = a->ahead;
    __m256 acc[AVX2_FEW][2];
    for (size_t i = 0; i < n; i++)
        acc[i][0] = acc[i][1] = _mm256_setzero_ps();
    for (size_t b0 = 0; b0 < blocks; b0 += (size_t)f->blocks, w += layout_unit_bytes(f)) {
        struct head256 u;
        load_head(&u, w, f);
        for (int b = 0; b < f->blocks; b++) {
            struct block256 blk;
            fetch(w, ahead, b, f);
            load_scales(blk.d, blk.m, &u, w, b, f);
            blk.p = w + f->header + (size_t)b * layout_block_bytes(f);
            if (one) {
                struct tokens256 x = tokens_at(tile, width, b0 + (size_t)b, t % 8, word, s);
                word += s->words;
                tile_mul(acc, &blk, &x, 1, true, s);
                continue;
            }
#pragma GCC unroll 16
            for (int i = 0; i < steps; i++)
                for (int h = 0; h < 2; h++)
                    blk.q[i][h] = code_at(blk.p, i, h, s);
            for (size_t i = 0, m; i < n; i += m, word += m * (size_t)s->words) { /* tiles of 4, 2, 1 tokens */
                size_t at = (t + i) % 8, left = n - i < 8 - at ? n - i : 8 - at;
                tile = (const uint8_t *)a->act + layout_tile_offset(a->k, t + i, s->wide);
                width = layout_tile_width(a->n_tok, t + i);
                struct tokens256 x = tokens_at(tile, width, b0 + (size_t)b, at, word, s);
                m = left > 3 ? 4 : left > 1 ? 2 : 1;
                if (m == 4)
                    tile_mul(acc + i, &blk, &x, 4, false, s);
                else if (m == 2)
                    tile_mul(acc + i, &blk, &x, 2, false, s);
                else
                    tile_mul(acc + i, &blk, &x, 1, false, s);
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        float sum[16];
        _mm256_storeu_ps(sum, acc[i][0]);
        _mm256_storeu_ps(sum + 8, acc[i][1]);
        store_rows(a, g, t + i, sum);
    }
}

AVX2_INLINE void mul(const struct linear_args *a, size_t t, size_t n, const struct kernel_format *f, bool wide)
{
    const bool pairs = wide || f->bits == 8;
    const struct shape s = {f, pairs, wide, pairs ? 16 : f->bits > 4 || f->e2m1 ? 2 : 0};
    size_t groups = (a->n_rows + 15) / 16, g1 = a->g1 < groups ? a->g1 : groups;
    prepare(a->scratch, a, t, n, &s);
    for (size_t g = a->g0; g < g1; g++)
        if (n == 1)
            group_mul(a, g, t, 1, &s, true);
        else
            group_mul(a, g, t, n, &s, false);
}

size_t avx2_few_scratch(size_t k, size_t n_tok)
{
    return k / 32 * (n_tok < AVX2_FEW ? n_tok : AVX2_FEW) * 64;
}

#define FORMATS(X) X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q8_0) X(Q4_K) X(Q5_K) X(Q6_K) X(MXFP4) X(NVFP4)
#define DEFINE(T)                                                                                                      \
    static void few_##T(const struct linear_args *a, size_t t, size_t n)                                               \
    {                                                                                                                  \
        if (a->wide)                                                                                                   \
            mul(a, t, n, &FORMAT_##T, true);                                                                           \
        else                                                                                                           \
            mul(a, t, n, &FORMAT_##T, false);                                                                          \
    }
FORMATS(DEFINE)

void avx2_few(const struct linear_args *a, enum dtype d, size_t t, size_t n)
{
#define ENTRY(T) [DT_##T] = few_##T,
    static void (*const table[DT_COUNT])(const struct linear_args *, size_t, size_t) = {FORMATS(ENTRY)};
    table[d](a, t, n);
}
