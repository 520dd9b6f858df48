/* avx2/e2m1: MXFP4 and NVFP4 times up to eight tokens: a stream over the weights, as few.c. What may be added in int16 is in linear.c;
 * here codes are in natural order and zero is taken off after widening. */
#include "kernel/avx2/e2m1.h"

struct e2m1_block { /* one block of eight rows, ready to multiply */
    __m256i q[8];
    __m256 d0, d1; /* MXFP4: d0 = scale. NVFP4: the halves' */
};

/* Half h of a block: four quads stay within int16, 4 * 6096 = 24384; zero is taken off after widening. */
AVX2_INLINE __m256i few_half(const __m256i q[8], const int8_t *x, int h)
{
    __m256i s[4];
    for (int j = 0; j < 4; j++)
        s[j] = _mm256_maddubs_epi16(q[4 * h + j], quad(x + 16 * h + 4 * j));
    return _mm256_madd_epi16(_mm256_add_epi16(_mm256_add_epi16(s[0], s[1]), _mm256_add_epi16(s[2], s[3])),
                             _mm256_set1_epi16(1));
}

/* sum of c x over a half, exact; n is -32 times the sum of its activations. */
AVX2_INLINE __m256i few_sum(const __m256i q[8], const int8_t *hi, const int8_t *lo, int h, int32_t n, bool wide)
{
    __m256i s = few_half(q, hi, h);
    if (wide)
        s = _mm256_add_epi32(_mm256_slli_epi32(s, 7), few_half(q, lo, h));
    return _mm256_add_epi32(s, _mm256_set1_epi32(n / 8 * 3));
}

/* acc with the block added, token i of its tile. */
AVX2_INLINE __m256 few_step(__m256 acc, const struct e2m1_block *w, const struct act_block *x, size_t i, bool nvfp4,
                            bool wide)
{
    const int8_t *hi = x->hi + 32 * i, *lo = x->lo + 32 * i;
    __m256i s0 = few_sum(w->q, hi, lo, 0, x->n0[i], wide), s1 = few_sum(w->q, hi, lo, 1, x->n1[i], wide);
    __m256 p;
    if (nvfp4)
        p = _mm256_fmadd_ps(_mm256_cvtepi32_ps(s1), w->d1, _mm256_mul_ps(_mm256_cvtepi32_ps(s0), w->d0));
    else
        p = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_add_epi32(s0, s1)), w->d0);
    return _mm256_fmadd_ps(p, _mm256_set1_ps(x->dx[i]), acc);
}

AVX2_INLINE void few_load(struct e2m1_block *w, const uint8_t *head, int b, int h, bool nvfp4)
{
    const struct kernel_format *f = nvfp4 ? &FORMAT_NVFP4 : &FORMAT_MXFP4;
    w->d0 = nvfp4 ? e5m3_ps(head + 32 * b + h) : e8m0_ps(head + h);
    if (nvfp4)
        w->d1 = e5m3_ps(head + 32 * b + 16 + h);
    e2m1_codes(w->q, head + f->header + (size_t)b * layout_block_bytes(f) + 4 * h, E2M1_ZERO, false);
}

/* One token: sums in registers. The scales are made where they are used, which is what the compiler schedules best. */
AVX2_INLINE void single(const struct linear_args *a, size_t g, size_t t, bool nvfp4, bool wide)
{
    const struct kernel_format *f = nvfp4 ? &FORMAT_NVFP4 : &FORMAT_MXFP4;
    const uint8_t *tile = (const uint8_t *)a->act + layout_tile_offset(a->k, t, wide);
    const uint8_t *head = (const uint8_t *)a->w + g * layout_group_bytes(f, a->k);
    size_t width = layout_tile_width(a->n_tok, t), i = t % 8;
    __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (size_t b = 0; b < a->k / 32; b += (size_t)f->blocks, head += layout_unit_bytes(f))
        for (int own = 0; own < f->blocks; own++) {
            struct act_block x = layout_act(tile, width, b + (size_t)own, wide);
            const int8_t *hi = x.hi + 32 * i, *lo = x.lo + 32 * i;
            fetch(head, a->ahead, own, f);
            for (int h = 0; h < 2; h++) {
                struct e2m1_block w;
                __asm__("" : "+r"(hi)); /* else the broadcasts of both halves are merged, and spilled */
                e2m1_codes(w.q, head + f->header + (size_t)own * layout_block_bytes(f) + 32 * h, E2M1_ZERO, false);
                __m256i s0 = few_sum(w.q, hi, lo, 0, x.n0[i], wide), s1 = few_sum(w.q, hi, lo, 1, x.n1[i], wide);
                __m256 p;
                if (nvfp4)
                    p = _mm256_fmadd_ps(_mm256_cvtepi32_ps(s1), e5m3_ps(head + 32 * own + 16 + 8 * h),
                                        _mm256_mul_ps(_mm256_cvtepi32_ps(s0), e5m3_ps(head + 32 * own + 8 * h)));
                else
                    p = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_add_epi32(s0, s1)), e8m0_ps(head + 8 * h));
                sum[h] = _mm256_fmadd_ps(p, _mm256_set1_ps(x.dx[i]), sum[h]);
            }
        }
    float acc[16];
    _mm256_storeu_ps(acc, sum[0]);
    _mm256_storeu_ps(acc + 8, sum[1]);
    store_rows(a, g, t, acc);
}

/* Tokens [t, t + n) of one tile: a block is unpacked once for all. */
AVX2_INLINE void few(const struct linear_args *a, size_t g, size_t t, size_t n, bool nvfp4, bool wide)
{
    const struct kernel_format *f = nvfp4 ? &FORMAT_NVFP4 : &FORMAT_MXFP4;
    const uint8_t *tile = (const uint8_t *)a->act + layout_tile_offset(a->k, t, wide);
    const uint8_t *head = (const uint8_t *)a->w + g * layout_group_bytes(f, a->k);
    size_t width = layout_tile_width(a->n_tok, t);
    float acc[8][16] __attribute__((aligned(32))) = {{0}};
    for (size_t b = 0; b < a->k / 32; b += (size_t)f->blocks, head += layout_unit_bytes(f))
        for (int own = 0; own < f->blocks; own++) {
            struct act_block x = layout_act(tile, width, b + (size_t)own, wide);
            fetch(head, a->ahead, own, f);
            for (int h = 0; h < 16; h += 8) {
                struct e2m1_block w;
                few_load(&w, head, own, h, nvfp4);
                for (size_t i = 0; i < n; i++)
                    _mm256_store_ps(acc[i] + h, few_step(_mm256_load_ps(acc[i] + h), &w, &x, t % 8 + i, nvfp4, wide));
            }
        }
    for (size_t i = 0; i < n; i++)
        store_rows(a, g, t + i, acc[i]);
}

AVX2_INLINE void mul(const struct linear_args *a, size_t t, size_t n, bool nvfp4, bool wide)
{
    size_t groups = (a->n_rows + 15) / 16;
    for (size_t g = a->g0; g < a->g1 && g < groups; g++)
        if (n == 1)
            single(a, g, t, nvfp4, wide);
        else
            few(a, g, t, n, nvfp4, wide);
}

void avx2_e2m1_few(const struct linear_args *a, bool nvfp4, size_t t, size_t n)
{
    if (nvfp4 && a->wide)
        mul(a, t, n, true, true);
    else if (nvfp4)
        mul(a, t, n, true, false);
    else if (a->wide)
        mul(a, t, n, false, true);
    else
        mul(a, t, n, false, false);
}
