/* avx2/few: quantised weights times few tokens: a stream over the weights, activations broadcast; the float sums in L1, or in
 * registers for one token. The arithmetic is linear.c's. */
#include "kernel/avx2/block.h"

/* One token: sums in registers. */
AVX2_INLINE void single(const struct linear_args *a, size_t g, size_t t, const struct kernel_format *f, bool wide)
{
    const uint8_t *tile = (const uint8_t *)a->act + layout_tile_offset(a->k, t, wide);
    const uint8_t *w = (const uint8_t *)a->w + g * layout_group_bytes(f, a->k);
    size_t units = a->k / 32 / (size_t)f->blocks, width = layout_tile_width(a->n_tok, t);
    __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (size_t u = 0; u < units; u++, w += layout_unit_bytes(f)) {
        struct unit256 unit;
        load_unit(&unit, w, 0, 8, f);
        for (int b = 0; b < f->blocks; b++) {
            struct act_block x = layout_act(tile, width, u * (size_t)f->blocks + (size_t)b, wide);
            struct entry256 e = act_entry(&x, t % 8, f);
            fetch(w, a->ahead, b, f);
            for (int h = 0; h < 2; h++) {
                struct half256 blk;
                __asm__("" : "+r"(e.hi)); /* else the broadcasts of both halves are merged, and spilled */
                load_half_block(&blk, &unit, w, b, 8 * h, f);
                sum[h] = step(sum[h], &blk, &e, f, wide, false);
            }
        }
    }
    float acc[16];
    _mm256_storeu_ps(acc, sum[0]);
    _mm256_storeu_ps(acc + 8, sum[1]);
    store_rows(a, g, t, acc);
}

/* Tokens [t, t + n) of one tile: a block is unpacked once for all. */
AVX2_INLINE void few(const struct linear_args *a, size_t g, size_t t, size_t n, const struct kernel_format *f,
                     bool wide)
{
    const uint8_t *tile = (const uint8_t *)a->act + layout_tile_offset(a->k, t, wide);
    const uint8_t *w = (const uint8_t *)a->w + g * layout_group_bytes(f, a->k);
    size_t units = a->k / 32 / (size_t)f->blocks, width = layout_tile_width(a->n_tok, t);
    float acc[8][16] __attribute__((aligned(32))) = {{0}};
    for (size_t u = 0; u < units; u++, w += layout_unit_bytes(f)) {
        struct unit256 unit;
        load_unit(&unit, w, 0, 8, f);
        for (int b = 0; b < f->blocks; b++) {
            struct act_block x = layout_act(tile, width, u * (size_t)f->blocks + (size_t)b, wide);
            fetch(w, a->ahead, b, f);
            for (int h = 0; h < 16; h += 8) {
                struct half256 blk;
                load_half_block(&blk, &unit, w, b, h, f);
                for (size_t i = 0; i < n; i++) {
                    struct entry256 e = act_entry(&x, t % 8 + i, f);
                    _mm256_store_ps(acc[i] + h, step(_mm256_load_ps(acc[i] + h), &blk, &e, f, wide, false));
                }
            }
        }
    }
    for (size_t i = 0; i < n; i++)
        store_rows(a, g, t + i, acc[i]);
}

AVX2_INLINE void mul(const struct linear_args *a, size_t t, size_t n, const struct kernel_format *f, bool wide)
{
    size_t groups = (a->n_rows + 15) / 16, g1 = a->g1 < groups ? a->g1 : groups;
    for (size_t g = a->g0; g < g1; g++)
        if (n == 1)
            single(a, g, t, f, wide);
        else
            few(a, g, t, n, f, wide);
}

#define FORMATS(X) X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q8_0) X(Q4_K) X(Q5_K) X(Q6_K)
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
