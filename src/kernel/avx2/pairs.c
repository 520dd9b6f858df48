/* avx2/pairs: 15-bit activations, and 8-bit codes at any width, times several tokens: vpmaddwd multiplies pairs of int16, 16 of them
 * for 8 rows x 32 k, where vpmaddubsw would take two planes, or vpsignb. At most 2^15 * 128 * 32: exact.
 *
 * The multiplier takes twice as long as in linear.c, so here instructions are saved instead: activations are spread over the lanes once
 * per batch of groups, into a panel, and enter vpmaddwd as memory operands; a block's codes lie in eight registers, 16 k at a time,
 * and meet every token of the panel. */
#include "kernel/avx2/e2m1.h"

enum { CHUNK = 2, BATCH = 32, ENTRY = 512 + 64 };

AVX2_INLINE void put256(uint8_t *to, __m256i v)
{
    _mm256_store_si256((__m256i *)(void *)to, v);
}

/* Quad j becomes two pairs of int16, over the lanes. */
AVX2_INLINE void spread_pairs(uint8_t *to, const struct act_block *x, size_t i, bool wide)
{
    int32_t p[16] __attribute__((aligned(32)));
    for (size_t h = 0; h < 2; h++)
        put_pairs(p + 8 * h, x->hi + 32 * i + 16 * h, x->lo + 32 * i + 16 * h, wide);
    for (int j = 0; j < 16; j++)
        put256(to + 32 * j, _mm256_set1_epi32(p[j]));
}

/* Token t of the call, block b -> its entry: then two vectors: dx and xs. */
AVX2_INLINE void spread(uint8_t *to, const struct linear_args *a, size_t t, size_t b)
{
    const uint8_t *tile = (const uint8_t *)a->act + layout_tile_offset(a->k, t, a->wide);
    struct act_block x = layout_act(tile, layout_tile_width(a->n_tok, t), b, a->wide);
    size_t i = t % 8;
    spread_pairs(to, &x, i, a->wide);
    _mm256_store_ps((float *)(void *)(to + 512), _mm256_set1_ps(x.dx[i]));
    _mm256_store_ps((float *)(void *)(to + 544), _mm256_set1_ps(x.xs[i]));
}

/* Quads 4h..4h+3 as signed int16, elements 0 and 2 and elements 1 and 3 of each. */
AVX2_INLINE void load_pairs(__m256i w[8], const __m256i q[8], int h, const struct kernel_format *f)
{
    const __m256i zero = _mm256_set1_epi16((int16_t)f->zero), low = _mm256_set1_epi16(255);
    for (int j = 0; j < 4; j++) {
        __m256i v = q[4 * h + j];
        if (f->bits == 8 || f->e2m1) { /* signed already */
            w[2 * j] = _mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8);
            w[2 * j + 1] = _mm256_srai_epi16(v, 8);
        } else {
            w[2 * j] = _mm256_and_si256(v, low);
            w[2 * j + 1] = _mm256_srli_epi16(v, 8);
        }
        if (f->zero && f->bits < 8 && !f->e2m1) {
            w[2 * j] = _mm256_sub_epi16(w[2 * j], zero);
            w[2 * j + 1] = _mm256_sub_epi16(w[2 * j + 1], zero);
        }
    }
}

/* At most 2^15 * 128 * 32: exact. */
AVX2_INLINE __m256i pairs_sum(const __m256i w[8], const uint8_t *p)
{
    __m256i a = _mm256_madd_epi16(w[0], load256(p)), b = _mm256_madd_epi16(w[1], load256(p + 32));
    for (int j = 2; j < 8; j += 2) {
        a = _mm256_add_epi32(a, _mm256_madd_epi16(w[j], load256(p + 32 * j)));
        b = _mm256_add_epi32(b, _mm256_madd_epi16(w[j + 1], load256(p + 32 * j + 32)));
    }
    return _mm256_add_epi32(a, b);
}

/* The same by pairs of int16: eight registers hold 16 k, so the sums of the lower 16 wait. */
AVX2_INLINE void pairs_mul(float *acc, const struct half256 *blk, const uint8_t *p, size_t n,
                           const struct kernel_format *f)
{
    __m256i w[8], part[AVX2_PAIRS_TOK];
    load_pairs(w, blk->q, 0, f);
    for (size_t i = 0; i < n; i++) {
        part[i] = pairs_sum(w, p + i * ENTRY);
        if (f->halves)
            part[i] = _mm256_castps_si256(_mm256_mul_ps(_mm256_cvtepi32_ps(part[i]), blk->d));
    }
    load_pairs(w, blk->q, 1, f);
    for (size_t i = 0; i < n; i++, acc += 16, p += ENTRY) {
        __m256i s = pairs_sum(w, p + 256);
        __m256 v, sum = _mm256_load_ps(acc);
        if (f->halves)
            v = _mm256_fmadd_ps(_mm256_cvtepi32_ps(s), blk->m, _mm256_castsi256_ps(part[i]));
        else
            v = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_add_epi32(s, part[i])), blk->d);
        sum = _mm256_fmadd_ps(v, _mm256_load_ps((const float *)(const void *)(p + 512)), sum);
        if (f->minimum)
            sum = _mm256_fmadd_ps(blk->m, _mm256_load_ps((const float *)(const void *)(p + 544)), sum);
        _mm256_store_ps(acc, sum);
    }
}

/* nb blocks from b0 on of one group times the panel's n tokens. */
AVX2_INLINE void chunk_mul(float *acc, const uint8_t *panel, const uint8_t *group, size_t b0, size_t nb, size_t n,
                           size_t ahead, const struct kernel_format *f)
{
    struct unit256 unit;
    for (size_t b = b0; b < b0 + nb; b++, panel += n * ENTRY) {
        const uint8_t *head = group + b / (size_t)f->blocks * layout_unit_bytes(f);
        int own = (int)(b % (size_t)f->blocks);
        fetch(head, ahead, own, f);
        if (!f->e2m1 && (f->blocks == 1 || b == b0))
            load_unit(&unit, head, own, CHUNK, f);
        for (int h = 0; h < 16; h += 8) {
            struct half256 blk;
            if (f->e2m1)
                load_e2m1(&blk, head, own, h, 1.0f, f, 0, false);
            else
                load_half_block(&blk, &unit, head, own, h, f);
            pairs_mul(acc + h, &blk, panel, n, f);
        }
    }
}

/* Groups [g0, g0 + ng), ng <= BATCH, times tokens [t0, t0 + n). */
AVX2_INLINE void batch_mul(const struct linear_args *a, size_t g0, size_t ng, size_t t0, size_t n,
                           const struct kernel_format *f)
{
    float *acc = a->scratch;
    uint8_t *panel = (uint8_t *)a->scratch + (size_t)BATCH * AVX2_PAIRS_TOK * 64;
    size_t blocks = a->k / 32, gb = layout_group_bytes(f, a->k);
    memset(acc, 0, ng * n * 64);
    for (size_t b = 0; b < blocks; b += CHUNK) {
        size_t nb = blocks - b < CHUNK ? blocks - b : CHUNK;
        for (size_t j = 0; j < nb; j++)
            for (size_t i = 0; i < n; i++)
                spread(panel + (j * n + i) * ENTRY, a, t0 + i, b + j);
        for (size_t g = 0; g < ng; g++)
            chunk_mul(acc + g * n * 16, panel, (const uint8_t *)a->w + (g0 + g) * gb, b, nb, n, a->ahead, f);
    }
    for (size_t g = 0; g < ng; g++)
        for (size_t i = 0; i < n; i++)
            store_rows(a, g0 + g, t0 + i, acc + (g * n + i) * 16);
}

AVX2_INLINE void mul(const struct linear_args *a, size_t t, size_t n, const struct kernel_format *f)
{
    size_t groups = (a->n_rows + 15) / 16, g1 = a->g1 < groups ? a->g1 : groups;
    for (size_t g = a->g0; g < g1; g += BATCH)
        batch_mul(a, g, g1 - g < BATCH ? g1 - g : BATCH, t, n, f);
}

size_t avx2_pairs_scratch(void)
{
    return (size_t)BATCH * AVX2_PAIRS_TOK * 64 + (size_t)CHUNK * AVX2_PAIRS_TOK * ENTRY;
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
