/* avx2/linear: quantised weights times several tokens, without VNNI. One 32-bit lane is one row. Few tokens: few.c, e2m1.c; 15-bit
 * activations and 8-bit codes: pairs.c.
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
 * The tile: 16 rows x 5 tokens, ten sums in registers, for 4 k two vectors of codes and five broadcasts. For a chunk of blocks, and a
 * stripe of tokens, the activations are put together in the scratch, the group's codes and scales are unpacked there, and all tiles of
 * the stripe follow, out of L1; the float sums of the batch wait in the scratch, too. */
#include "kernel/avx2/e2m1.h"

enum { STRIPE = 64, CHUNK = 4, BATCH = 32, TILE = 5 };

/* How a block becomes a number. */
enum kind {
    MINIMUM,      /* 4 bits with a minimum */
    ZERO,         /* any code with a zero point */
    ZERO_MINIMUM, /* 5 bits with a minimum */
    HALVES,       /* a scale for each half */
    UNITS,        /* NVFP4, integer scales */
    FAR,          /* the same, scales too far apart */
    KINDS
};

/* One block of a group. */
struct block256 {
    uint8_t q[512];     /* [quad][16 lanes] */
    float d[16], m[16]; /* scales, minima or the second half's scales */
    int32_t s[16];      /* NVFP4: both scales */
    enum kind kind;
    int dx; /* which factor of the activation */
};

/* One token's share of one block. */
struct token256 {
    int8_t x[32];
    float dx[2]; /* NVFP4: times 2^-7 and 2^-10, what scales in units of 2^-6 and 2^-9 leave, codes being doubled */
    float xs;
    int32_t sum; /* 16 * sum(x) */
    int32_t z[2];
};

struct work256 {
    float acc[BATCH][STRIPE][16];
    struct token256 x[CHUNK * STRIPE];
    struct block256 w[CHUNK];
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

/* Token i of a tile. zero: of the codes, as they are unpacked. */
AVX2_INLINE void put_entry(struct token256 *to, const struct act_block *x, size_t i, int zero,
                           const struct kernel_format *f)
{
    const bool paired = f->e2m1 && f->halves;
    __m256i v = paired ? paired_order(x->hi + 32 * i) : load256((const uint8_t *)x->hi + 32 * i);
    _mm256_storeu_si256((__m256i *)(void *)to->x, v);
    if (zero) {
        __m256i z = zero_pairs(v, zero);
        if (!f->halves || paired)
            z = _mm256_add_epi16(z, _mm256_permute2x128_si256(z, z, 1));
        to->z[0] = _mm256_extract_epi32(z, 0);
        to->z[1] = _mm256_extract_epi32(z, 4);
    }
    to->sum = -2 * x->n8[i];
    to->dx[0] = paired ? x->dx[i] * 0x1p-7f : x->dx[i];
    to->dx[1] = x->dx[i] * 0x1p-10f;
    to->xs = x->xs[i];
}

/* Blocks [b0, b0 + nb) of tokens [t0, t0 + n), block by block. */
AVX2_INLINE void put_entries(struct token256 *to, const struct linear_args *a, size_t t0, size_t n, size_t b0,
                             size_t nb, const struct kernel_format *f)
{
    const int zero = f->e2m1 ? E2M1_ZERO : f->bits == 5 ? 16 : f->zero;
    for (size_t b = b0; b < b0 + nb; b++)
        for (size_t i = 0; i < n; i++, to++) {
            const uint8_t *tile = (const uint8_t *)a->act + layout_tile_offset(a->k, t0 + i, false);
            struct act_block x = layout_act(tile, layout_tile_width(a->n_tok, t0 + i), b, false);
            put_entry(to, &x, (t0 + i) % 8, zero, f);
        }
}

/* ---- weights ---- */

AVX2_INLINE __m256i scale_int(const uint8_t *p, float per_unit)
{
    return _mm256_cvtps_epi32(_mm256_mul_ps(e5m3_ps(p), _mm256_set1_ps(per_unit)));
}

/* How the blocks of a unit are scaled. NVFP4: 0x58 is 2^-3, 0x9f is 60. */
AVX2_INLINE void choose_kind(struct block256 *w, const uint8_t *head, const struct kernel_format *f)
{
    w->dx = 0;
    w->kind = f->halves ? HALVES : f->minimum ? f->bits == 5 ? ZERO_MINIMUM : MINIMUM : ZERO;
    if (!f->e2m1 || !f->halves)
        return;
    const __m256i one = _mm256_set1_epi8(1), least = _mm256_set1_epi8(0x57), most = _mm256_set1_epi8((char)0x9f);
    __m256i a = load256(head), b = load256(head + 32), high = _mm256_max_epu8(a, b);
    __m256i low = _mm256_min_epu8(_mm256_sub_epi8(a, one), _mm256_sub_epi8(b, one)); /* 0 becomes the greatest */
    bool unit6 = _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(low, least), low)) == -1;
    bool unit9 = _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(high, most), most)) == -1;
    w->dx = !unit6 && unit9;
    w->kind = unit6 || unit9 ? UNITS : FAR;
}

/* Both scales of half h (0 or 8: first row) of a block of NVFP4 as integers. */
AVX2_INLINE void put_scales(struct block256 *w, const uint8_t *s, int h)
{
    float per_unit = w->dx ? 0x1p10f : 0x1p7f;
    __m256i both = _mm256_or_si256(scale_int(s, per_unit), _mm256_slli_epi32(scale_int(s + 16, per_unit), 16));
    _mm256_storeu_si256((__m256i *)(void *)(w->s + h), both);
}

/* Block b of the unit at head. */
AVX2_INLINE void put_block(struct block256 *w, const struct unit256 *unit, const uint8_t *head, int b,
                           const struct kernel_format *f)
{
    choose_kind(w, head, f);
    for (int h = 0; h < 16; h += 8) {
        struct half256 blk;
        if (f->e2m1)
            load_e2m1(&blk, head, b, h, 0x1p7f, f, E2M1_ZERO, f->halves); /* dx[0] is 2^-7 of itself */
        else
            load_half_block(&blk, unit, head, b, h, f);
        if (w->kind == UNITS)
            put_scales(w, head + 32 * b + h, h);
        _mm256_storeu_ps(w->d + h, blk.d);
        if (f->minimum || f->halves)
            _mm256_storeu_ps(w->m + h, blk.m);
        for (int j = 0; j < 8; j++)
            _mm256_storeu_si256((__m256i *)(void *)(w->q + 64 * j + 4 * h), blk.q[j]);
    }
}

/* Blocks [b0, b0 + nb) of a group. */
AVX2_INLINE void put_blocks(struct block256 *w, const struct linear_args *a, size_t g, size_t b0, size_t nb,
                            const struct kernel_format *f)
{
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
            put_block(w, &unit, head, (int)(own + i), f);
        }
    }
}

/* ---- tiles ---- */

/* n tokens' sums start: from z, or 0. */
AVX2_INLINE void tile_start(__m256i s[TILE][2], const struct token256 *x, int z, int n, enum kind kind)
{
    for (int i = 0; i < n; i++)
        s[i][0] = s[i][1] = kind == MINIMUM ? _mm256_setzero_si256() : _mm256_set1_epi32(x[i].z[z]);
}

/* Adds quads [j0, j1) of n tokens and both halves of the group. */
AVX2_INLINE void tile_sums(__m256i s[TILE][2], const uint8_t *q, const struct token256 *x, int j0, int j1, int n)
{
#pragma GCC unroll 8
    for (int j = j0; j < j1; j++)
        for (int i = 0; i < n; i++) {
            __m256i v = quad(x[i].x + 4 * j);
            for (int h = 0; h < 2; h++) {
                s[i][h] = _mm256_add_epi16(s[i][h], _mm256_maddubs_epi16(load256(q + 64 * j + 32 * h), v));
                __asm__("" : "+x"(s[i][h])); /* now: gcc would add when all products are made, and spilled */
            }
        }
}

AVX2_INLINE __m256 widened(__m256i s)
{
    return _mm256_cvtepi32_ps(_mm256_madd_epi16(s, _mm256_set1_epi16(1)));
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
        if (kind == MINIMUM || kind == ZERO || kind == ZERO_MINIMUM)
            __asm__("" : "+x"(to->d[h]));
        if (kind == MINIMUM)
            __asm__("" : "+x"(to->m[h]));
    }
}

/* The product of half h of the group's rows with a token but for dx. first: what the first 16 k gave (HALVES). */
AVX2_INLINE __m256 tile_value(__m256i s, const struct scales256 *w, const struct token256 *x, int h, __m256 first,
                              enum kind kind)
{
    if (kind == UNITS)
        return _mm256_cvtepi32_ps(_mm256_madd_epi16(s, w->s[h]));
    if (kind == FAR) {
        first = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(s, 16), 16)), w->d[h]);
        return _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_srai_epi32(s, 16)), w->m[h], first);
    }
    if (kind == ZERO_MINIMUM) {
        s = _mm256_add_epi32(_mm256_madd_epi16(s, _mm256_set1_epi16(1)), _mm256_set1_epi32(x->sum));
        return _mm256_mul_ps(_mm256_cvtepi32_ps(s), w->d[h]);
    }
    return kind == HALVES ? _mm256_fmadd_ps(widened(s), w->m[h], first) : _mm256_mul_ps(widened(s), w->d[h]);
}

/* Adds nb blocks of a group times n tokens. ldx: entries from a block to the next. */
AVX2_INLINE void tile(float *acc, const struct block256 *w, const struct token256 *x, size_t nb, size_t ldx, int n,
                      enum kind kind)
{
    for (size_t b = 0; b < nb; b++, w++, x += ldx) {
        __m256i s[TILE][2];
        __m256 first[TILE][2];
        __asm__("" ::: "memory"); /* the float sums stay there: registers are short */
        tile_start(s, x, 0, n, kind);
        tile_sums(s, w->q, x, 0, kind == HALVES ? 4 : 8, n);
        if (kind == HALVES) {
            for (int i = 0; i < n; i++)
                for (int h = 0; h < 2; h++)
                    first[i][h] = _mm256_mul_ps(widened(s[i][h]), _mm256_loadu_ps(w->d + 8 * h));
            tile_start(s, x, 1, n, kind);
            tile_sums(s, w->q, x, 4, 8, n);
        }
        struct scales256 scales;
        tile_scales(&scales, w, kind);
        for (int i = 0; i < n; i++) {
            __m256 dx = _mm256_set1_ps(x[i].dx[kind == UNITS ? w->dx : 0]), xs = _mm256_set1_ps(x[i].xs);
            for (int h = 0; h < 2; h++) {
                float *to = acc + 16 * i + 8 * h;
                __m256 v = tile_value(s[i][h], &scales, x + i, h, first[i][h], kind);
                v = _mm256_fmadd_ps(v, dx, _mm256_loadu_ps(to));
                if (kind == MINIMUM || kind == ZERO_MINIMUM)
                    v = _mm256_fmadd_ps(scales.m[h], xs, v);
                _mm256_storeu_ps(to, v);
            }
        }
    }
}

#define TILE_OF(KIND, N)                                                                                               \
    static void tile_##KIND##_##N(float *acc, const struct block256 *w, const struct token256 *x, size_t nb,           \
                                  size_t ldx)                                                                          \
    {                                                                                                                  \
        tile(acc, w, x, nb, ldx, N, KIND);                                                                             \
    }
#define EVERY_KIND(X)  X(MINIMUM) X(ZERO) X(ZERO_MINIMUM) X(HALVES) X(UNITS) X(FAR)
#define TILES_OF(KIND) TILE_OF(KIND, 1) TILE_OF(KIND, 2) TILE_OF(KIND, 3) TILE_OF(KIND, 4) TILE_OF(KIND, 5)
EVERY_KIND(TILES_OF)
#define TILE_ROW(KIND) [KIND] = {tile_##KIND##_1, tile_##KIND##_2, tile_##KIND##_3, tile_##KIND##_4, tile_##KIND##_5},
static void (*const TILES[KINDS][TILE])(float *acc, const struct block256 *w, const struct token256 *x, size_t nb,
                                        size_t ldx) = {EVERY_KIND(TILE_ROW)};

/* ---- the loops around them ---- */

/* A chunk of one group times the stripe's n tokens. */
static void chunk_mul(float *acc, const struct block256 *w, const struct token256 *x, size_t nb, size_t n)
{
    for (size_t b = 0, run; b < nb; b += run) {
        for (run = 1; b + run < nb && w[b + run].kind == w[b].kind; run++) {
        }
        for (size_t i = 0, m; i < n; i += m) {
            m = n - i < TILE ? n - i : TILE;
            TILES[w[b].kind][m - 1](acc + 16 * i, w + b, x + b * n + i, run, n);
        }
    }
}

/* Groups [g0, g0 + ng), ng <= BATCH, times tokens [t0, t0 + n), n <= STRIPE. */
AVX2_INLINE void batch_mul(const struct linear_args *a, size_t g0, size_t ng, size_t t0, size_t n,
                           const struct kernel_format *f)
{
    struct work256 *work = a->scratch;
    size_t blocks = a->k / 32, gb = layout_group_bytes(f, a->k);
    const uint8_t *w = (const uint8_t *)a->w + g0 * gb;
    for (size_t g = 0; g < ng; g++)
        memset(work->acc[g], 0, n * sizeof work->acc[g][0]);
    for (size_t b = 0; b < blocks; b += CHUNK) {
        size_t nb = blocks - b < CHUNK ? blocks - b : CHUNK;
        put_entries(work->x, a, t0, n, b, nb, f);
        for (size_t g = 0; g < ng; g++) {
            put_blocks(work->w, a, g0 + g, b, nb, f);
            fetch_blocks(w + (g + 1) % ng * gb, g + 1 < ng ? b : b + nb, nb, f);
            fetch_act(a, t0, t0 + n, g, b + nb, nb);
            chunk_mul(work->acc[g][0], work->w, work->x, nb, n);
        }
    }
    for (size_t g = 0; g < ng; g++)
        for (size_t i = 0; i < n; i++)
            store_rows(a, g0 + g, t0 + i, work->acc[g][i]);
}

/* Tokens [t, t + n), every group of the call. */
AVX2_INLINE void many(const struct linear_args *a, size_t t, size_t n, const struct kernel_format *f)
{
    size_t groups = (a->n_rows + 15) / 16, g1 = a->g1 < groups ? a->g1 : groups;
    for (size_t g = a->g0; g < g1; g += BATCH)
        batch_mul(a, g, g1 - g < BATCH ? g1 - g : BATCH, t, n, f);
}

AVX2_INLINE void mul(const struct linear_args *a, const struct kernel_format *f)
{
    const bool pairs = a->wide || f->bits == 8;
    const size_t most_few = f->e2m1 ? 8 : AVX2_FEW;
    for (size_t t = a->t0, n; t < a->t1; t += n) {
        size_t left = a->t1 - t, room = 8 - t % 8, most = pairs ? AVX2_PAIRS_TOK : STRIPE;
        n = left < most ? left : most;
        if (left <= most_few && !f->e2m1)
            avx2_few(a, f->dtype, t, n = left);
        else if (left > most_few && pairs)
            avx2_pairs(a, f->dtype, t, n);
        else if (left > most_few)
            many(a, t, n, f);
        else {
            n = left < room ? left : room;
            avx2_e2m1_few(a, f->halves, t, n);
        }
    }
}

size_t avx2_linear_scratch(void)
{
    return sizeof(struct work256) > avx2_pairs_scratch() ? sizeof(struct work256) : avx2_pairs_scratch();
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
