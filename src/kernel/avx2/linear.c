/* avx2/linear: quantised weights times several tokens, without VNNI. One 32-bit lane is one row. Few tokens: few.c.
 *
 * vpmaddubsw multiplies u8 codes by s8 activations and adds pairs in int16. The eight products of a block are added in int16, which
 * may wrap, and where codes have a zero point (or one is put to them) the sum starts from
 *     z = -zero * (sum of the activations that meet this int16),
 * so that what is left is a sum over 16 elements and exact after all, |x| being at most 127:
 *     4 bits, unsigned        16 * 15 * 127 = 30480
 *     5 bits, zero point 16   16 * 16 * 127 = 32512; with a minimum 16 * sum(x) is added after widening
 *     6 bits, zero point 32   8 * 32 * 127 = 32512 over half a block, which has a scale of its own
 *     E2M1 + 12               16 * 12 * 127 = 24384
 * and one product pair, at most 2 * 63 * 127, does not saturate. vpmaddwd by ones then widens to int32. NVFP4's low int16 holds the
 * first half of a block, the high one the second: vpmaddwd by the two scales, made integers, gives the block's sum at once. They
 * are E4M3 with a fixed unit, of 2^-6 when no scale of the two blocks at hand is below 2^-3 (and not 0), else of 2^-9 when none is
 * above 60: at most 15 * 2^11 = 30720, and a lane's sum 2 * 24384 * 30720 < 2^31. Where blocks have both, the halves are scaled as
 * floats; ref/linear.c says why that is the same number.
 *
 * 15-bit activations, and 8-bit codes at any width, are pairs: vpmaddwd multiplies two int16, 16 of them for 8 rows x 32 k, where
 * vpmaddubsw would take two planes, or vpsignb. At most 2^15 * 128 * 32: exact.
 *
 * For a chunk of blocks, and a stripe of tokens, the activations are put together in the scratch, the group's codes and scales are
 * unpacked there, and all tiles of the stripe (tile.c) follow, out of L1; the float sums of the batch wait in the scratch, too. */
#include "kernel/avx2/e2m1.h"
#include "kernel/avx2/tile.h"

enum { STRIPE = 64, CHUNK = 4, CHUNK_OF_PAIRS = 2, BATCH = 32 };

struct work256 {
    float acc[BATCH][STRIPE][16];
    int32_t x[CHUNK * STRIPE * TILE_QUADS]; /* as many steps in a chunk of pairs */
    struct token256 t[CHUNK * STRIPE];
    struct block256 w[CHUNK];
};

/* What decides the loops: constants once inlined. */
struct shape {
    const struct kernel_format *f;
    bool pairs, wide;
};

/* ---- activations ---- */

/* What the zero point subtracts from the int16 that collect the quads of each 128-bit lane. */
AVX2_INLINE __m256i zero_pairs(__m256i x, int zero)
{
    __m256i p = _mm256_maddubs_epi16(_mm256_set1_epi8((char)zero), x);
    p = _mm256_add_epi16(p, _mm256_shuffle_epi32(p, 0x4E));
    p = _mm256_add_epi16(p, _mm256_shuffle_epi32(p, 0xB1));
    return _mm256_sub_epi16(_mm256_setzero_si256(), p);
}

/* The order of NVFP4's codes (e2m1_codes). */
AVX2_INLINE __m256i paired_order(const int8_t *x)
{
    const __m128i swap = _mm_set_epi8(13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2);
    __m128i lo = _mm_loadu_si128((const __m128i *)(const void *)x);
    __m128i hi = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(x + 16)), swap);
    return _mm256_set_m128i(_mm_unpackhi_epi16(lo, hi), _mm_unpacklo_epi16(lo, hi));
}

/* Token i of a tile: four bytes a step. */
AVX2_INLINE void put_quads(int32_t *to, struct token256 *t, const struct act_block *x, size_t i,
                           const struct kernel_format *f)
{
    const bool paired = f->e2m1 && f->halves;
    const int zero = zero_of(f);
    __m256i v = paired ? paired_order(x->hi + 32 * i) : load256((const uint8_t *)x->hi + 32 * i);
    _mm256_storeu_si256((__m256i *)(void *)to, v);
    if (zero) {
        __m256i z = zero_pairs(v, zero);
        if (!f->halves || paired)
            z = _mm256_add_epi16(z, _mm256_permute2x128_si256(z, z, 1));
        t->z[0] = _mm256_extract_epi32(z, 0);
        t->z[1] = _mm256_extract_epi32(z, 4);
    }
    if (f->bits == 5)
        t->sum = -2 * x->n8[i];
    t->dx[0] = paired ? x->dx[i] * 0x1p-7f : x->dx[i];
    if (paired)
        t->dx[1] = x->dx[i] * 0x1p-10f;
    t->xs = x->xs[i];
}

/* The same as pairs of int16. */
AVX2_INLINE void put_int16(int32_t *to, struct token256 *t, const struct act_block *x, size_t i, bool wide)
{
    for (size_t h = 0; h < 2; h++)
        put_pairs(to + 8 * h, x->hi + 32 * i + 16 * h, x->lo + 32 * i + 16 * h, wide);
    t->dx[0] = x->dx[i];
    t->xs = x->xs[i];
}

/* Blocks [b0, b0 + nb) of tokens [t0, t0 + n), block by block. */
AVX2_INLINE void put_tokens(struct work256 *work, const struct linear_args *a, size_t t0, size_t n, size_t b0,
                            size_t nb, const struct shape *s)
{
    int32_t *to = work->x;
    struct token256 *t = work->t;
    for (size_t b = b0; b < b0 + nb; b++)
        for (size_t i = t0, of_tile; i < t0 + n; i += of_tile) {
            const uint8_t *tile = (const uint8_t *)a->act + layout_tile_offset(a->k, i, s->wide);
            struct act_block x = layout_act(tile, layout_tile_width(a->n_tok, i), b, s->wide);
            of_tile = 8 - i % 8 < t0 + n - i ? 8 - i % 8 : t0 + n - i;
            for (size_t j = i % 8; j < i % 8 + of_tile; j++, t++) {
                if (s->pairs)
                    put_int16(to, t, &x, j, s->wide);
                else
                    put_quads(to, t, &x, j, s->f);
                to += s->pairs ? TILE_PAIRS : TILE_QUADS;
            }
        }
}

/* ---- weights ---- */

/* How the blocks of a unit are scaled. */
AVX2_INLINE void choose_kind(struct block256 *w, float per_unit, const struct shape *s)
{
    const struct kernel_format *f = s->f;
    w->dx = per_unit == 0x1p10f;
    if (s->pairs)
        w->kind = f->halves ? PAIRS_HALVES : f->minimum ? PAIRS_MINIMUM : PAIRS;
    else if (f->e2m1 && f->halves)
        w->kind = per_unit > 0 ? UNITS : FAR;
    else
        w->kind = f->halves ? HALVES : f->minimum ? f->bits == 5 ? ZERO_MINIMUM : MINIMUM : ZERO;
}

/* Eight rows' quads as they are. */
AVX2_INLINE void put_codes(uint8_t *to, const __m256i q[8])
{
    for (int j = 0; j < 8; j++)
        _mm256_storeu_si256((__m256i *)(void *)(to + 64 * j), q[j]);
}

/* The same as signed int16: of each quad the elements 0 and 2, then 1 and 3. */
AVX2_INLINE void put_code_pairs(uint8_t *to, const __m256i q[8], const struct kernel_format *f)
{
    const __m256i zero = _mm256_set1_epi16((int16_t)f->zero), low = _mm256_set1_epi16(255);
    const bool is_signed = f->bits == 8 || f->e2m1;
    for (int j = 0; j < 8; j++, to += 128) {
        __m256i even = _mm256_and_si256(q[j], low), odd = _mm256_srli_epi16(q[j], 8);
        if (is_signed) {
            even = _mm256_srai_epi16(_mm256_slli_epi16(q[j], 8), 8);
            odd = _mm256_srai_epi16(q[j], 8);
        } else if (f->zero) {
            even = _mm256_sub_epi16(even, zero);
            odd = _mm256_sub_epi16(odd, zero);
        }
        _mm256_storeu_si256((__m256i *)(void *)to, even);
        _mm256_storeu_si256((__m256i *)(void *)(to + 64), odd);
    }
}

/* Block b of the unit at head. */
AVX2_INLINE void put_block(struct block256 *w, const struct unit256 *unit, const uint8_t *head, int b,
                           const struct shape *s)
{
    const struct kernel_format *f = s->f;
    const float per_unit = f->e2m1 && f->halves && !s->pairs ? e5m3_per_unit(head) : 0;
    choose_kind(w, per_unit, s);
    for (int h = 0; h < 16; h += 8) {
        struct half256 blk;
        if (f->e2m1 && s->pairs)
            load_e2m1(&blk, head, b, h, 1.0f, f, 0, false);
        else if (f->e2m1)
            load_e2m1(&blk, head, b, h, 0x1p7f, f, E2M1_ZERO, f->halves); /* dx[0] is 2^-7 of itself */
        else
            load_half_block(&blk, unit, head, b, h, f);
        if (w->kind == UNITS)
            _mm256_storeu_si256((__m256i *)(void *)(w->s + h), e5m3_ints(head + 32 * b + h, per_unit));
        _mm256_storeu_ps(w->d + h, blk.d);
        if (f->minimum || f->halves)
            _mm256_storeu_ps(w->m + h, blk.m);
        if (s->pairs)
            put_code_pairs(w->q + 4 * h, blk.q, f);
        else
            put_codes(w->q + 4 * h, blk.q);
    }
}

/* Blocks [b0, b0 + nb) of a group. */
AVX2_INLINE void put_blocks(struct block256 *w, const struct linear_args *a, size_t g, size_t b0, size_t nb,
                            const struct shape *s)
{
    const struct kernel_format *f = s->f;
    const uint8_t *group = (const uint8_t *)a->w + g * layout_group_bytes(f, a->k);
    for (size_t b = b0, n; b < b0 + nb; b += n) {
        size_t per = (size_t)f->blocks, own = b % per, left = b0 + nb - b;
        const uint8_t *head = group + b / per * layout_unit_bytes(f);
        struct unit256 unit;
        n = per - own < left ? per - own : left;
        if (!f->e2m1)
            load_unit(&unit, head, (int)own, (int)n, f);
        for (size_t i = 0; i < n; i++, w++) {
            fetch(head, a->ahead, (int)(own + i), f);
            put_block(w, &unit, head, (int)(own + i), s);
        }
    }
}

/* ---- the loops around them ---- */

/* Groups [g0, g0 + ng), ng <= BATCH, times tokens [t0, t0 + n), n <= STRIPE. */
AVX2_INLINE void batch_mul(const struct linear_args *a, size_t g0, size_t ng, size_t t0, size_t n,
                           const struct shape *s)
{
    struct work256 *work = a->scratch;
    const size_t chunk = s->pairs ? CHUNK_OF_PAIRS : CHUNK;
    size_t blocks = a->k / 32, gb = layout_group_bytes(s->f, a->k);
    const uint8_t *w = (const uint8_t *)a->w + g0 * gb;
    for (size_t g = 0; g < ng; g++)
        memset(work->acc[g], 0, n * sizeof work->acc[g][0]);
    for (size_t b = 0; b < blocks; b += chunk) {
        size_t nb = blocks - b < chunk ? blocks - b : chunk;
        put_tokens(work, a, t0, n, b, nb, s);
        for (size_t g = 0; g < ng; g++) {
            put_blocks(work->w, a, g0 + g, b, nb, s);
            fetch_blocks(w + (g + 1) % ng * gb, g + 1 < ng ? b : b + nb, nb, s->f);
            fetch_act(a, t0, t0 + n, g, b + nb, nb);
            avx2_tiles(work->acc[g][0], work->w, work->x, work->t, nb, n);
        }
    }
    for (size_t i = 0; i < n; i++) /* a token's rows lie together */
        for (size_t g = 0; g < ng; g++)
            store_rows(a, g0 + g, t0 + i, work->acc[g][i]);
}

/* Tokens [t, t + n), every group of the call. */
AVX2_INLINE void many(const struct linear_args *a, size_t t, size_t n, const struct kernel_format *f, bool pairs,
                      bool wide)
{
    const struct shape s = {f, pairs, wide};
    size_t groups = (a->n_rows + 15) / 16, g1 = a->g1 < groups ? a->g1 : groups;
    for (size_t g = a->g0; g < g1; g += BATCH)
        batch_mul(a, g, g1 - g < BATCH ? g1 - g : BATCH, t, n, &s);
}

AVX2_INLINE void mul(const struct linear_args *a, const struct kernel_format *f)
{
    const size_t few = f->e2m1 || f->bits == 8 ? 8 : AVX2_FEW; /* for more, unpacking for a stripe is faster */
    for (size_t t = a->t0, n; t < a->t1; t += n) {
        size_t left = a->t1 - t;
        n = left < STRIPE ? left : STRIPE;
        if (left <= few)
            avx2_few(a, f->dtype, t, n);
        else if (a->wide)
            many(a, t, n, f, true, true);
        else
            many(a, t, n, f, f->bits == 8, false);
    }
}

size_t avx2_linear_scratch(void)
{
    return sizeof(struct work256);
}

#define FORMATS(X) X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q8_0) X(Q4_K) X(Q5_K) X(Q6_K) X(MXFP4) X(NVFP4)
#define DEFINE(T)                                                                                                      \
    static void mul_##T(const struct linear_args *a)                                                                   \
    {                                                                                                                  \
        mul(a, &FORMAT_##T);                                                                                           \
    }
FORMATS(DEFINE)

void avx2_init_linear(struct kernels *k)
{
#define ROW(T) k->linear[DT_##T].mul = mul_##T;
    FORMATS(ROW) k->linear_groups = 24;
}
