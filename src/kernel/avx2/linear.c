/* avx2/linear: quantised weights without VNNI. One 32-bit lane is one row; the two halves of a group are done in turn.
 *
 * vpmaddubsw multiplies u8 codes by s8 activations and adds pairs in int16, which must not saturate. |x| <= 127 (both planes of
 * a wide activation too), so one product pair is at most 2 * 127 * code:
 *     4 bits: 15 -> 3810; all eight quads of a block may be added in int16: 30480 < 32767
 *     5 bits: 31 -> 7874; four quads: 31496
 *     6 bits: 63 -> 16002; two quads: 32004
 *     8 bits: codes are signed, so |code| (up to 128) meets sign(code) * x: 2 * 128 * 127 = 32512, no addition in int16
 * vpmaddwd by ones then widens to int32.
 *
 * 5 and 6 bits need no more steps than 4: int16 sums may wrap on the way, and the zero point is taken off in the same arithmetic,
 * -zero * (sum of the activations that met this int16); what is left is at most 16 * 16 * 127 (5 bits) or 8 * 32 * 127 (half a block
 * of 6 bits) = 32512, so it is exact after all.
 *
 * Many tokens: issue slots are the limit, so activations are spread over the lanes once per call and batch of groups, into a panel
 * that stays in L1, and then enter vpmaddubsw, vpaddd and fma as memory operands: 22 instructions for 8 rows x 32 k where
 * broadcasting each quad anew takes 31. A block is unpacked into eight registers and meets every token of the panel; the accumulators
 * of the batch wait in the scratch. 15-bit activations and 8-bit codes, which vpmaddubsw would take two planes or vpsignb for, are
 * multiplied as pairs of int16 by vpmaddwd: 16 of them and 15 additions for 8 rows x 32 k, at every width and format.
 * Few tokens: few.c. */
#include "kernel/avx2/block.h"

enum { CHUNK = 2, BATCH = 32, ENTRY = 256 + 96, ENTRY_PAIRS = 512 + 64, PANEL_TOK = 32 };

/* ---- several tokens: panels of activations spread over the lanes ---- */

/* Of quads, or of pairs of int16. */
AVX2_INLINE size_t entry_bytes(bool pairs)
{
    return pairs ? ENTRY_PAIRS : ENTRY;
}

AVX2_INLINE struct entry256 panel_entry(const uint8_t *p)
{
    const uint8_t *rest = p + 256;
    return (struct entry256){(const int8_t *)p,
                             NULL,
                             (const float *)(const void *)rest,
                             (const float *)(const void *)(rest + 32),
                             (const int32_t *)(const void *)(rest + 32),
                             (const int32_t *)(const void *)(rest + 64)};
}

/* What the zero point subtracts from the two int16 that collect quads (of 32 k: the lower and the upper 16 in one 128-bit lane each). */
AVX2_INLINE __m256i zero_pairs(const int8_t *x, int zero)
{
    __m256i p = _mm256_maddubs_epi16(_mm256_set1_epi8((char)zero), load256((const uint8_t *)x));
    p = _mm256_add_epi16(p, _mm256_shuffle_epi32(p, 0x4E));
    p = _mm256_add_epi16(p, _mm256_shuffle_epi32(p, 0xB1));
    return _mm256_sub_epi16(_mm256_setzero_si256(), p);
}

AVX2_INLINE void put256(uint8_t *to, __m256i v)
{
    _mm256_store_si256((__m256i *)(void *)to, v);
}

AVX2_INLINE void spread_quads(uint8_t *to, const struct act_block *x, size_t i, const struct kernel_format *f)
{
    for (int j = 0; j < 8; j++)
        put256(to + 32 * j, quad(x->hi + 32 * i + 4 * j));
    if (f->zero == 8)
        put256(to + 288, _mm256_set1_epi32(x->n8[i]));
    if (f->zero == 16 || f->zero == 32) {
        __m256i z = zero_pairs(x->hi + 32 * i, f->zero), swapped = _mm256_permute2x128_si256(z, z, 1);
        z = f->zero == 16 ? _mm256_add_epi16(z, swapped) : z;
        put256(to + 288, f->zero == 16 ? z : _mm256_permute2x128_si256(z, z, 0x00));
        put256(to + 320, _mm256_permute2x128_si256(z, z, 0x11));
    }
}

/* Quad j becomes two pairs of int16: its elements 0 and 2, 1 and 3, as codes fall apart with the least work (load_pairs). */
AVX2_INLINE void spread_pairs(uint8_t *to, const struct act_block *x, size_t i, bool wide)
{
    const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15, 0, 1, 4, 5, 2, 3, 6, 7,
                                           8, 9, 12, 13, 10, 11, 14, 15);
    int32_t p[16];
    for (int h = 0; h < 2; h++) {
        const int8_t *hi = x->hi + 32 * i + 16 * h, *lo = x->lo + 32 * i + 16 * h;
        __m256i v = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)hi));
        if (wide)
            v = _mm256_add_epi16(_mm256_slli_epi16(v, 7),
                                 _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)lo)));
        _mm256_storeu_si256((__m256i *)(void *)(p + 8 * h), _mm256_shuffle_epi8(v, order));
    }
    for (int j = 0; j < 16; j++)
        put256(to + 32 * j, _mm256_set1_epi32(p[j]));
}

/* Token t of the call, block b -> its entry. */
AVX2_INLINE void spread(uint8_t *to, const struct linear_args *a, size_t t, size_t b, const struct kernel_format *f,
                        bool pairs, bool wide)
{
    const uint8_t *tile = (const uint8_t *)a->act + layout_tile_offset(a->k, t, wide);
    struct act_block x = layout_act(tile, layout_tile_width(a->n_tok, t), b, wide);
    size_t i = t % 8;
    if (pairs)
        spread_pairs(to, &x, i, wide);
    else
        spread_quads(to, &x, i, f);
    to += pairs ? 512 : 256;
    _mm256_store_ps((float *)(void *)to, _mm256_set1_ps(x.dx[i]));
    if (f->minimum)
        _mm256_store_ps((float *)(void *)(to + 32), _mm256_set1_ps(x.xs[i]));
}

/* Half a block times the panel's n tokens, by quads. */
AVX2_INLINE void quads_mul(float *acc, const struct half256 *w, const uint8_t *p, size_t n,
                           const struct kernel_format *f)
{
    for (size_t i = 0; i < n; i++, acc += 16, p += ENTRY) {
        struct entry256 e = panel_entry(p);
        _mm256_store_ps(acc, step(_mm256_load_ps(acc), w, &e, f, false, true));
    }
}

/* Quads 4h..4h+3 as signed int16, elements 0 and 2 and elements 1 and 3 of each. */
AVX2_INLINE void load_pairs(__m256i w[8], const __m256i q[8], int h, const struct kernel_format *f)
{
    const __m256i zero = _mm256_set1_epi16((int16_t)f->zero), low = _mm256_set1_epi16(255);
    for (int j = 0; j < 4; j++) {
        __m256i v = q[4 * h + j];
        if (f->bits == 8) { /* signed already */
            w[2 * j] = _mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8);
            w[2 * j + 1] = _mm256_srai_epi16(v, 8);
        } else {
            w[2 * j] = _mm256_and_si256(v, low);
            w[2 * j + 1] = _mm256_srli_epi16(v, 8);
        }
        if (f->zero && f->bits < 8) {
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
    __m256i w[8], part[PANEL_TOK];
    load_pairs(w, blk->q, 0, f);
    for (size_t i = 0; i < n; i++) {
        part[i] = pairs_sum(w, p + i * ENTRY_PAIRS);
        if (f->dtype == DT_Q6_K)
            part[i] = _mm256_castps_si256(_mm256_mul_ps(_mm256_cvtepi32_ps(part[i]), blk->d));
    }
    load_pairs(w, blk->q, 1, f);
    for (size_t i = 0; i < n; i++, acc += 16, p += ENTRY_PAIRS) {
        __m256i s = pairs_sum(w, p + 256);
        __m256 v, sum = _mm256_load_ps(acc);
        if (f->dtype == DT_Q6_K)
            v = _mm256_fmadd_ps(_mm256_cvtepi32_ps(s), blk->m, _mm256_castsi256_ps(part[i]));
        else
            v = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_add_epi32(s, part[i])), blk->d);
        sum = _mm256_fmadd_ps(v, _mm256_load_ps((const float *)(const void *)(p + 512)), sum);
        if (f->minimum)
            sum = _mm256_fmadd_ps(blk->m, _mm256_load_ps((const float *)(const void *)(p + 544)), sum);
        _mm256_store_ps(acc, sum);
    }
}

/* What a panel holds: nb blocks from b0 on, n tokens. */
struct chunk256 {
    size_t b0, nb, n, ahead;
};

/* The panel times one group. */
AVX2_INLINE void chunk_mul(float *acc, const uint8_t *panel, const uint8_t *group, const struct chunk256 *c,
                           const struct kernel_format *f, bool pairs)
{
    struct unit256 unit;
    for (size_t b = c->b0; b < c->b0 + c->nb; b++, panel += c->n * entry_bytes(pairs)) {
        const uint8_t *head = group + b / (size_t)f->blocks * layout_unit_bytes(f);
        int own = (int)(b % (size_t)f->blocks);
        fetch(head, c->ahead, own, f);
        if (f->blocks == 1 || b == c->b0)
            load_unit(&unit, head, own, CHUNK, f);
        for (int h = 0; h < 16; h += 8) {
            struct half256 blk;
            load_half_block(&blk, &unit, head, own, h, f);
            if (pairs)
                pairs_mul(acc + h, &blk, panel, c->n, f);
            else
                quads_mul(acc + h, &blk, panel, c->n, f);
        }
    }
}

/* Groups [g0, g0 + ng), ng <= BATCH, times tokens [t0, t0 + n). */
AVX2_INLINE void batch_mul(const struct linear_args *a, size_t g0, size_t ng, size_t t0, size_t n,
                           const struct kernel_format *f, bool wide)
{
    const bool pairs = wide || f->bits == 8;
    float *acc = a->scratch;
    uint8_t *panel = (uint8_t *)a->scratch + (size_t)BATCH * PANEL_TOK * 64;
    size_t blocks = a->k / 32, gb = layout_group_bytes(f, a->k);
    memset(acc, 0, ng * n * 64);
    for (size_t b = 0; b < blocks; b += CHUNK) {
        size_t nb = blocks - b < CHUNK ? blocks - b : CHUNK;
        for (size_t j = 0; j < nb; j++)
            for (size_t i = 0; i < n; i++)
                spread(panel + (j * n + i) * entry_bytes(pairs), a, t0 + i, b + j, f, pairs, wide);
        struct chunk256 c = {b, nb, n, a->ahead};
        for (size_t g = 0; g < ng; g++)
            chunk_mul(acc + g * n * 16, panel, (const uint8_t *)a->w + (g0 + g) * gb, &c, f, pairs);
    }
    for (size_t g = 0; g < ng; g++)
        for (size_t i = 0; i < n; i++)
            store_rows(a, g0 + g, t0 + i, acc + (g * n + i) * 16);
}

AVX2_INLINE void mul(const struct linear_args *a, const struct kernel_format *f, bool wide)
{
    const size_t most = wide || f->bits == 8 ? PANEL_TOK / 2 : PANEL_TOK;
    /* Where a panel begins to pay: later on cores that need the stream (linear_args.ahead). */
    const size_t is_few = wide ? f->bits == 8 ? 4 : 8 : a->ahead ? 16 : 8;
    size_t groups = (a->n_rows + 15) / 16, g1 = a->g1 < groups ? a->g1 : groups;
    for (size_t t = a->t0, n; t < a->t1; t += n) {
        size_t left = a->t1 - t, room = 8 - t % 8;
        n = left < most ? left : most;
        if (left > is_few) {
            for (size_t g = a->g0; g < g1; g += BATCH)
                batch_mul(a, g, g1 - g < BATCH ? g1 - g : BATCH, t, n, f, wide);
            continue;
        }
        n = left < room ? left : room;
        avx2_few(a, f->dtype, t, n);
    }
}

size_t avx2_linear_scratch(void)
{
    return (size_t)BATCH * PANEL_TOK * 64 + (size_t)CHUNK * PANEL_TOK * ENTRY;
}

#define FORMATS(X) X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q8_0) X(Q4_K) X(Q5_K) X(Q6_K)
#define DEFINE(T)                                                                                                      \
    static void mul_##T(const struct linear_args *a)                                                                   \
    {                                                                                                                  \
        if (a->wide)                                                                                                   \
            mul(a, &FORMAT_##T, true);                                                                                 \
        else                                                                                                           \
            mul(a, &FORMAT_##T, false);                                                                                \
    }
FORMATS(DEFINE)

void avx2_init_linear(struct kernels *k)
{
#define ROW(T) k->linear[DT_##T].mul = mul_##T;
    FORMATS(ROW) k->linear_groups = 12;
}
