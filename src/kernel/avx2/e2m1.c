/* avx2/e2m1: MXFP4 and NVFP4 without VNNI. The shape is linear.c's (activations spread over the lanes into a panel, accumulators in
 * the scratch); the arithmetic is made for codes that are twice a number of E2M1, |c| <= 12.
 *
 * vpmaddubsw eats c + 12 in 0..24, pairs up to 2 * 24 * 127 = 6096. All eight quads of a block are added in int16, which may wrap,
 * and then z = -12 * (sum of the activations that met this int16) in the same arithmetic: what is left is the sum of c * x over 16
 * elements, at most 16 * 12 * 127 = 24384, so it is exact after all.
 *
 * An int16 collects 16 of the block's 32 elements, and vpmaddwd adds the two of a lane. MXFP4 does not care which are which. For
 * NVFP4 the low one collects the first half of the block, the high one the second: vpmaddwd by the two scales, made integers,
 * gives the block's sum at once, and it is cheaper than Q4_0, which must still multiply by a float. Scales are E4M3 with a fixed
 * unit, of 2^-6 when no scale of the two blocks at hand is below 2^-3 (and not 0), else of 2^-9 when none is above 60: at most
 * 15 * 2^11 = 30720, and a lane's sum 2 * 24384 * 30720 < 2^31. Where blocks have both, the halves are scaled as floats; ref/linear.c
 * says why that is the same number. */
#include "kernel/avx2/avx2.h"
#include <immintrin.h>
#include <string.h>

enum { CHUNK = 2, BATCH = 32, ENTRY = 256 + 96, ENTRY_WIDE = 512 + 96, PANEL_TOK = 32, FEW = 8 };

/* How sums become floats. */
enum e2m1_mode {
    MODE_POWER, /* MXFP4 */
    MODE_UNIT6, /* NVFP4, 8-bit activations, integer scales in units of 2^-6 or of 2^-9 */
    MODE_UNIT9,
    MODE_FLOAT, /* the same, scales too far apart */
};

struct e2m1_block { /* one block of eight rows, ready to multiply */
    __m256i q[8];
    __m256i s;     /* pairs of int16: what vpmaddwd multiplies a lane's two sums with */
    __m256 d0, d1; /* MXFP4: d0 = scale. MODE_FLOAT: the halves' */
};

AVX2_INLINE __m256i load256(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

AVX2_INLINE __m256i load8(const uint8_t *p) /* eight bytes -> int32 */
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
}

/* 2^(e - 128) of eight bytes e. Below 2 it is subnormal, and the second number the greater. */
AVX2_INLINE __m256 e8m0_ps(const uint8_t *p)
{
    __m256i e = load8(p), one = _mm256_set1_epi32(1);
    return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_slli_epi32(_mm256_sub_epi32(e, one), 23),
                                                _mm256_slli_epi32(_mm256_add_epi32(e, one), 21)));
}

/* Eight of NVFP4's scales, halved. */
AVX2_INLINE __m256 e5m3_ps(const uint8_t *p)
{
    __m128i v = _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)p));
    return _mm256_cvtph_ps(_mm_slli_epi16(v, 7));
}

AVX2_INLINE __m256i scale_int(const uint8_t *p, float per_unit)
{
    return _mm256_cvtps_epi32(_mm256_mul_ps(e5m3_ps(p), _mm256_set1_ps(per_unit)));
}

/* p: the block's planes, already moved to this half's 32 bytes of each. In natural order q[j] is quad j. Paired (NVFP4), of plane
 * j, which has a quad of the first half in the low nibbles and one of the second in the high ones: q[2j] is elements 0 and 1 of
 * the one and 2 and 3 of the other, q[2j+1] the rest, so the low int16 of a lane is always of the first half. */
AVX2_INLINE void load_codes(__m256i q[8], const uint8_t *p, bool paired)
{
    const __m256i low = _mm256_set1_epi8(15), plus = _mm256_set1_epi8(12);
    const __m256i swap = _mm256_set_epi8(13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2, 13, 12, 15, 14, 9, 8, 11,
                                         10, 5, 4, 7, 6, 1, 0, 3, 2);
    __m256i e2m1 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)LAYOUT_E2M1));
    e2m1 = _mm256_add_epi8(e2m1, plus);
    for (int j = 0; j < 4; j++) {
        __m256i z = load256(p + 64 * j), y = _mm256_srli_epi16(z, 4), a = z, b = y;
        if (paired) {
            a = _mm256_blend_epi16(z, y, 0xaa);
            b = _mm256_shuffle_epi8(_mm256_blend_epi16(y, z, 0xaa), swap);
        }
        q[paired ? 2 * j : j] = _mm256_shuffle_epi8(e2m1, _mm256_and_si256(a, low));
        q[paired ? 2 * j + 1 : j + 4] = _mm256_shuffle_epi8(e2m1, _mm256_and_si256(b, low));
    }
}

/* Half h (0 or 8: first row) of block b of the unit at head. */
AVX2_INLINE void load_block(struct e2m1_block *w, const uint8_t *head, int b, int h, enum e2m1_mode mode)
{
    const struct kernel_format *f = mode == MODE_POWER ? &FORMAT_MXFP4 : &FORMAT_NVFP4;
    const uint8_t *s = head + 32 * b + h;
    if (mode == MODE_POWER)
        w->d0 = e8m0_ps(head + h);
    if (mode == MODE_FLOAT) {
        w->d0 = _mm256_mul_ps(e5m3_ps(s), _mm256_set1_ps(0x1p7f)); /* dx in the panel is 2^-7 of itself */
        w->d1 = _mm256_mul_ps(e5m3_ps(s + 16), _mm256_set1_ps(0x1p7f));
    }
    if (mode == MODE_UNIT6 || mode == MODE_UNIT9) {
        const float per_unit = mode == MODE_UNIT6 ? 0x1p7f : 0x1p10f;
        w->s = _mm256_or_si256(scale_int(s, per_unit), _mm256_slli_epi32(scale_int(s + 16, per_unit), 16));
    }
    load_codes(w->q, head + f->header + (size_t)b * layout_block_bytes(f) + 4 * h, mode != MODE_POWER);
}

/* ---- sums to floats ---- */

AVX2_INLINE __m256i quarter(const __m256i *q, const uint8_t *x)
{
    return _mm256_add_epi16(
        _mm256_add_epi16(_mm256_maddubs_epi16(q[0], load256(x)), _mm256_maddubs_epi16(q[1], load256(x + 32))),
        _mm256_add_epi16(_mm256_maddubs_epi16(q[2], load256(x + 64)), _mm256_maddubs_epi16(q[3], load256(x + 96))));
}

/* The sums of 16 c x each of a lane's two int16, of one plane of activations. */
AVX2_INLINE __m256i plane_sum(const __m256i q[8], const uint8_t *x, const uint8_t *z)
{
    return _mm256_add_epi16(_mm256_add_epi16(quarter(q, x), quarter(q + 4, x + 128)), load256(z));
}

/* One half of NVFP4's block: the exact sum. h picks the int16 of a lane. */
AVX2_INLINE __m256 half_sum(__m256i hi, __m256i lo, int h, bool wide)
{
    if (!wide)
        return _mm256_cvtepi32_ps(_mm256_srai_epi32(h ? hi : _mm256_slli_epi32(hi, 16), 16));
    __m256i s = _mm256_madd_epi16(hi, _mm256_set1_epi32(h ? 128 << 16 : 128));
    return _mm256_cvtepi32_ps(_mm256_add_epi32(s, _mm256_madd_epi16(lo, _mm256_set1_epi32(h ? 1 << 16 : 1))));
}

/* The block's product with a token whose plane sums are hi and lo, but for dx. */
AVX2_INLINE __m256 scaled(const struct e2m1_block *w, __m256i hi, __m256i lo, enum e2m1_mode mode, bool wide)
{
    if (mode == MODE_POWER) {
        __m256i s = _mm256_madd_epi16(hi, _mm256_set1_epi16(wide ? 128 : 1));
        if (wide)
            s = _mm256_add_epi32(s, _mm256_madd_epi16(lo, _mm256_set1_epi16(1)));
        return _mm256_mul_ps(_mm256_cvtepi32_ps(s), w->d0);
    }
    if (mode == MODE_FLOAT)
        return _mm256_fmadd_ps(half_sum(hi, lo, 1, wide), w->d1, _mm256_mul_ps(half_sum(hi, lo, 0, wide), w->d0));
    return _mm256_cvtepi32_ps(_mm256_madd_epi16(hi, w->s));
}

AVX2_INLINE void store_rows(const struct linear_args *a, size_t g, size_t t, const float *acc)
{
    size_t left = a->n_rows - g * 16, n = left < 16 ? left : 16;
    const float *bias = a->bias ? a->bias + g * 16 : NULL;
    float *y = a->y + t * a->ldy + g * 16, factor = linear_factor(a);
    for (size_t r = 0; n == 16 && r < 16; r += 8) {
        __m256 v = _mm256_mul_ps(_mm256_loadu_ps(acc + r), _mm256_set1_ps(factor));
        _mm256_storeu_ps(y + r, bias ? _mm256_add_ps(v, _mm256_loadu_ps(bias + r)) : v);
    }
    for (size_t r = 0; n < 16 && r < n; r++)
        y[r] = bias ? acc[r] * factor + bias[r] : acc[r] * factor;
}

/* ---- several tokens ---- */

/* One token's share of one block in the panel: quads over 8 lanes, hi, then lo when wide, in the order of load_codes; then vectors of
 * equal lanes: dx (NVFP4: times 2^-7, what a scale in units of 2^-6 leaves, codes being doubled); z of hi; z of lo when wide, else
 * dx for units of 2^-9. */
AVX2_INLINE void spread_plane(uint8_t *to, uint8_t *z, const int8_t *x, bool paired)
{
    const __m128i swap = _mm_set_epi8(13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2);
    __m128i lo = _mm_loadu_si128((const __m128i *)(const void *)x);
    __m128i hi = _mm_loadu_si128((const __m128i *)(const void *)(x + 16));
    if (paired) {
        __m128i turned = _mm_shuffle_epi8(hi, swap);
        hi = _mm_unpackhi_epi16(lo, turned);
        lo = _mm_unpacklo_epi16(lo, turned);
    }
    for (int j = 0; j < 4; j++, lo = _mm_srli_si128(lo, 4), hi = _mm_srli_si128(hi, 4)) {
        _mm256_store_si256((__m256i *)(void *)(to + 32 * j), _mm256_broadcastd_epi32(lo));
        _mm256_store_si256((__m256i *)(void *)(to + 32 * j + 128), _mm256_broadcastd_epi32(hi));
    }
    __m256i sum = _mm256_setzero_si256(), twelve = _mm256_set1_epi8(12);
    for (int j = 0; j < 8; j++)
        sum = _mm256_sub_epi16(sum, _mm256_maddubs_epi16(twelve, load256(to + 32 * j)));
    _mm256_store_si256((__m256i *)(void *)z, sum);
}

AVX2_INLINE void spread(uint8_t *to, const struct linear_args *a, size_t t, size_t b, bool paired, bool wide)
{
    const uint8_t *tile = (const uint8_t *)a->act + layout_tile_offset(a->k, t, wide);
    struct act_block x = layout_act(tile, layout_tile_width(a->n_tok, t), b, wide);
    size_t i = t % 8;
    uint8_t *rest = to + (wide ? 512 : 256);
    float dx = x.dx[i];
    spread_plane(to, rest + 32, x.hi + 32 * i, paired);
    if (wide)
        spread_plane(to + 256, rest + 64, x.lo + 32 * i, paired);
    else
        _mm256_store_ps((float *)(void *)(rest + 64), _mm256_set1_ps(dx * 0x1p-10f));
    _mm256_store_ps((float *)(void *)rest, _mm256_set1_ps(paired ? dx * 0x1p-7f : dx));
}

/* Blocks [b0, b0 + nb) of one group times the panel's n tokens. */
AVX2_INLINE void chunk_mul(float *acc, const uint8_t *panel, const uint8_t *group, size_t b0, size_t nb, size_t n,
                           enum e2m1_mode mode, bool wide)
{
    const struct kernel_format *f = mode == MODE_POWER ? &FORMAT_MXFP4 : &FORMAT_NVFP4;
    const size_t entry = wide ? ENTRY_WIDE : ENTRY, rest = wide ? 512 : 256;
    for (size_t b = b0; b < b0 + nb; b++) {
        const uint8_t *head = group + b / (size_t)f->blocks * layout_unit_bytes(f);
        for (int h = 0; h < 16; h += 8) {
            struct e2m1_block w;
            load_block(&w, head, (int)(b % (size_t)f->blocks), h, mode);
            const uint8_t *p = panel + (b - b0) * n * entry;
            float *to = acc + h;
            for (size_t i = 0; i < n; i++, to += 16, p += entry) {
                __m256i hi = plane_sum(w.q, p, p + rest + 32), lo = hi;
                if (wide) /* the asm: one plane after the other, else sixteen products at a time, and most of them spilled */
                    __asm__("" : "+r"(p), "+x"(hi));
                if (wide)
                    lo = plane_sum(w.q, p + 256, p + rest + 64);
                const float *dx = (const float *)(const void *)(p + rest + (mode == MODE_UNIT9 ? 64 : 0));
                __m256 v = scaled(&w, hi, lo, mode, wide);
                _mm256_store_ps(to, _mm256_fmadd_ps(v, _mm256_load_ps(dx), _mm256_load_ps(to)));
            }
        }
    }
}

/* What NVFP4's scales in the headers of n units allow: 0x58 is 2^-3, 0x9f is 60. */
AVX2_INLINE enum e2m1_mode unit_mode(const uint8_t *head, size_t n)
{
    const __m256i one = _mm256_set1_epi8(1), least = _mm256_set1_epi8(0x57), most = _mm256_set1_epi8((char)0x9f);
    __m256i low = _mm256_set1_epi8(-1), high = _mm256_setzero_si256();
    for (size_t i = 0; i < n; i++, head += layout_unit_bytes(&FORMAT_NVFP4))
        for (int h = 0; h < 64; h += 32) {
            __m256i v = load256(head + h);
            low = _mm256_min_epu8(low, _mm256_sub_epi8(v, one)); /* 0 becomes the greatest */
            high = _mm256_max_epu8(high, v);
        }
    if (_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(low, least), low)) == -1)
        return MODE_UNIT6;
    return _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(high, most), most)) == -1 ? MODE_UNIT9 : MODE_FLOAT;
}

AVX2_INLINE void chunk(float *acc, const uint8_t *panel, const uint8_t *group, size_t b0, size_t nb, size_t n,
                       bool nvfp4, bool wide)
{
    if (!nvfp4) {
        chunk_mul(acc, panel, group, b0, nb, n, MODE_POWER, wide);
        return;
    }
    switch (wide ? MODE_FLOAT : unit_mode(group + b0 / 2 * layout_unit_bytes(&FORMAT_NVFP4), nb / 2)) {
    case MODE_UNIT6:
        chunk_mul(acc, panel, group, b0, nb, n, MODE_UNIT6, wide);
        break;
    case MODE_UNIT9:
        chunk_mul(acc, panel, group, b0, nb, n, MODE_UNIT9, wide);
        break;
    default:
        chunk_mul(acc, panel, group, b0, nb, n, MODE_FLOAT, wide);
    }
}

/* Groups [g0, g0 + ng), ng <= BATCH, times tokens [t0, t0 + n). */
AVX2_INLINE void batch_mul(const struct linear_args *a, size_t g0, size_t ng, size_t t0, size_t n, bool nvfp4,
                           bool wide)
{
    float *acc = a->scratch;
    uint8_t *panel = (uint8_t *)a->scratch + BATCH * PANEL_TOK * 64;
    size_t blocks = a->k / 32, gb = layout_group_bytes(nvfp4 ? &FORMAT_NVFP4 : &FORMAT_MXFP4, a->k);
    memset(acc, 0, ng * n * 64);
    for (size_t b = 0; b < blocks; b += CHUNK) {
        size_t nb = blocks - b < CHUNK ? blocks - b : CHUNK;
        for (size_t j = 0; j < nb; j++)
            for (size_t i = 0; i < n; i++)
                spread(panel + (j * n + i) * (wide ? ENTRY_WIDE : ENTRY), a, t0 + i, b + j, nvfp4, wide);
        for (size_t g = 0; g < ng; g++)
            chunk(acc + g * n * 16, panel, (const uint8_t *)a->w + (g0 + g) * gb, b, nb, n, nvfp4, wide);
    }
    for (size_t g = 0; g < ng; g++)
        for (size_t i = 0; i < n; i++)
            store_rows(a, g0 + g, t0 + i, acc + (g * n + i) * 16);
}

/* ---- few tokens: a stream over the weights ---- */

/* Half h of a block: four quads stay within int16, 4 * 6096 = 24384; zero is taken off after widening. */
AVX2_INLINE __m256i few_half(const __m256i q[8], const int8_t *x, int h)
{
    __m256i s[4];
    for (int j = 0; j < 4; j++) {
        int32_t v;
        memcpy(&v, x + 16 * h + 4 * j, sizeof v);
        s[j] = _mm256_maddubs_epi16(q[4 * h + j], _mm256_set1_epi32(v));
    }
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
    load_codes(w->q, head + f->header + (size_t)b * layout_block_bytes(f) + 4 * h, false);
}

/* Block b's share of its unit, `ahead` bytes later in the stream. Past the end it does no harm. */
AVX2_INLINE void fetch(const uint8_t *head, size_t ahead, int b, const struct kernel_format *f)
{
    size_t share = layout_unit_bytes(f) / (size_t)f->blocks;
    for (size_t i = 0; ahead && i < share; i += 64)
        _mm_prefetch((const char *)head + ahead + (size_t)b * share + i, _MM_HINT_T0);
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
                load_codes(w.q, head + f->header + (size_t)own * layout_block_bytes(f) + 32 * h, false);
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

AVX2_INLINE void mul(const struct linear_args *a, bool nvfp4, bool wide)
{
    const size_t most = wide ? PANEL_TOK / 2 : PANEL_TOK;
    size_t groups = (a->n_rows + 15) / 16, g1 = a->g1 < groups ? a->g1 : groups;
    for (size_t t = a->t0, n; t < a->t1; t += n) {
        size_t left = a->t1 - t, room = 8 - t % 8;
        if (left > FEW) {
            n = left < most ? left : most;
            for (size_t g = a->g0; g < g1; g += BATCH)
                batch_mul(a, g, g1 - g < BATCH ? g1 - g : BATCH, t, n, nvfp4, wide);
            continue;
        }
        n = left < room ? left : room;
        for (size_t g = a->g0; g < g1; g++)
            if (n == 1)
                single(a, g, t, nvfp4, wide);
            else
                few(a, g, t, n, nvfp4, wide);
    }
}

size_t avx2_e2m1_scratch(void)
{
    return BATCH * PANEL_TOK * 64 + CHUNK * PANEL_TOK * ENTRY;
}

static void mul_mxfp4(const struct linear_args *a)
{
    if (a->wide)
        mul(a, false, true);
    else
        mul(a, false, false);
}

static void mul_nvfp4(const struct linear_args *a)
{
    if (a->wide)
        mul(a, true, true);
    else
        mul(a, true, false);
}

void avx2_init_e2m1(struct kernels *k)
{
    k->linear[DT_MXFP4].mul = mul_mxfp4;
    k->linear[DT_NVFP4].mul = mul_nvfp4;
}
