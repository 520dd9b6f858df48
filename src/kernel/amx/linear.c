/* amx/linear: quantised weights, calls of many tokens (few tokens are avx512's). A tile product adds, for 16 tokens and the 16
 * rows of a group, the 32 exact products of one block; so one block is one product of 16 x 32 activations and 8 quads x 16 rows
 * of codes, which packing has laid out as the instruction wants it (layout.h).
 *
 * Two groups at a time (a pair), eight blocks at a time: both groups' codes are unpacked once for a stripe of tokens (unpack.h);
 * then for every 16 or 32 tokens first all tile products are stored as integers, and after that AVX-512 does what ref/linear.c does
 * with them, eight tokens of two groups in registers. Two phases because a core that has just used its tiles runs vector
 * multiplications on one port instead of two for about 270 cycles; and a tile is stored two products after its own, because a
 * store that waits for its tile holds up the products behind it. Activations are copied to rows of 16 tokens once a call. */
#include "kernel/amx/amx.h"
#include "kernel/amx/unpack.h"
#include "kernel/avx512/avx512.h"
#include <immintrin.h>
#include <string.h>

enum {
    STRIPE = 128, /* tokens that share unpacked weights */
    FEW = 9,      /* below this a half empty tile is slower than avx512 */
    SUMS = 256,   /* numbers in a tile of 16 tokens and 16 rows */
};

/* One thread's scratch. Behind it lie the activations of a stripe, panel by panel of AMX_BLOCKS blocks, in a panel 16 tokens after
 * 16 tokens: [block] { hi[16][32], lo[16][32] when wide }, and then in the same order [block] { dx[16], xs[16] }. */
struct amx_work {
    struct amx_panel w[2];
    int32_t sums[16 * SUMS];
    float acc[2][STRIPE][16];
    int8_t x[];
};

/* 16 tokens, some blocks of a panel, two groups. */
struct amx_part {
    struct amx_work *s;
    const int8_t *x; /* from block b on */
    const float *dx; /* likewise */
    size_t first;    /* token of the stripe */
    bool start;      /* no blocks came before these */
    int b, n;        /* blocks b.. of the panel, n of them */
};

/* ---- activations ---- */

static size_t work_panels(size_t k)
{
    return (k / 32 + AMX_BLOCKS - 1) / AMX_BLOCKS;
}

static size_t work_block_bytes(bool wide) /* of 16 tokens */
{
    return wide ? 1024 : 512;
}

static size_t work_x_bytes(size_t k, size_t tiles, bool wide)
{
    return work_panels(k) * tiles * AMX_BLOCKS * work_block_bytes(wide);
}

/* Eight tokens of a block, and their eight numbers. */
AMX_INLINE void copy_eight(int8_t *x, const int8_t *from)
{
    for (int i = 0; i < 256; i += 64)
        _mm512_storeu_si512(x + i, _mm512_loadu_si512(from + i));
}

AMX_INLINE void copy_numbers(float *dx, const float *from)
{
    _mm256_storeu_ps(dx, _mm256_loadu_ps(from));
}

/* Copies n tokens, all of one tile of eight, from token t on; to: their place in the stripe, all in one tile of 16 of `tiles`. */
AMX_INLINE void gather_tile(int8_t *x, float *dx, const struct linear_args *a, const size_t t[2], size_t to,
                            size_t tiles)
{
    const uint8_t *tile = (const uint8_t *)a->act + layout_tile_offset(a->k, t[0], a->wide);
    size_t w = layout_tile_width(a->n_tok, t[0]), blocks = a->k / 32, row = to % 16, n = t[1] - t[0], in = t[0] % 8;
    size_t bytes = work_block_bytes(a->wide);
    for (size_t b = 0; b < blocks; b++) {
        size_t at = (b / AMX_BLOCKS * tiles + to / 16) * AMX_BLOCKS + b % AMX_BLOCKS;
        struct act_block from = layout_act(tile, w, b, a->wide);
        int8_t *hi = x + at * bytes + 32 * row;
        float *d = dx + at * 32 + row;
        if (n == 8) {
            copy_eight(hi, from.hi);
            if (a->wide)
                copy_eight(hi + 512, from.lo);
            copy_numbers(d, from.dx);
            copy_numbers(d + 16, from.xs);
        } else {
            memcpy(hi, from.hi + 32 * in, 32 * n);
            if (a->wide)
                memcpy(hi + 512, from.lo + 32 * in, 32 * n);
            memcpy(d, from.dx + in, 4 * n);
            memcpy(d + 16, from.xs + in, 4 * n);
        }
    }
}

static void gather(int8_t *x, float *dx, const struct linear_args *a, const size_t t[2])
{
    size_t tiles = (t[1] - t[0] + 15) / 16;
    for (size_t at = t[0]; at < t[1];) {
        size_t to = at - t[0], n = 8 - at % 8; /* a tile of eight may lie in two of 16 */
        n = n < 16 - to % 16 ? n : 16 - to % 16;
        n = n < t[1] - at ? n : t[1] - at;
        gather_tile(x, dx, a, (const size_t[]){at, at + n}, to, tiles);
        at += n;
    }
}

/* ---- tile products ---- */

struct tile_cfg {
    uint8_t palette, start, zero[14];
    uint16_t bytes[16];
    uint8_t rows[16];
};

/* Tiles 0 to 3: sums; 4 and 5: 16 tokens of a block or of half a block; 6 and 7: its codes. */
static const struct tile_cfg CFG_BLOCK = {1, 0, {0}, {64, 64, 64, 64, 32, 32, 64, 64}, {16, 16, 16, 16, 16, 16, 8, 8}};
static const struct tile_cfg CFG_HALF = {1, 0, {0}, {64, 64, 64, 64, 16, 16, 64, 64}, {16, 16, 16, 16, 16, 16, 4, 4}};

/* Four products: activations x0 by codes q[0] and q[1], then x1 by q[2] and q[3]; the last two are stored by the next call. */
AMX_INLINE void products(const int8_t *x0, const int8_t *x1, const int8_t *const q[4], int32_t *sums, int32_t *before)
{
    _tile_loadd(4, x0, 32);
    _tile_loadd(6, q[0], 64);
    _tile_zero(0);
    _tile_dpbssd(0, 4, 6);
    if (before)
        _tile_stored(2, before + 2 * SUMS, 64);
    _tile_loadd(7, q[1], 64);
    _tile_zero(1);
    _tile_dpbssd(1, 4, 7);
    if (before)
        _tile_stored(3, before + 3 * SUMS, 64);
    _tile_loadd(5, x1, 32);
    if (q[2] != q[0])
        _tile_loadd(6, q[2], 64);
    _tile_zero(2);
    _tile_dpbssd(2, 5, 6);
    _tile_stored(0, sums, 64);
    if (q[2] != q[0])
        _tile_loadd(7, q[3], 64);
    _tile_zero(3);
    _tile_dpbssd(3, 5, 7);
    _tile_stored(1, sums + SUMS, 64);
}

/* Stores the sums of a part, four tiles a step:
 *     halves          step b: half h, group g at 2h + g; wide: step 2b + plane
 *     wide            step b: plane p, group g at 2p + g
 *     else            step b / 2: block b, group g at 2 (b % 2) + g; an odd last block has a neighbour that nobody reads */
AMX_INLINE void all_products(const struct amx_part *p, const struct kernel_format *f, bool wide)
{
    const size_t bytes = wide ? 1024 : 512;
    int32_t *out = p->s->sums, *before = NULL;
    __asm__ volatile("" ::: "memory"); /* stores come before the tiles' loads, of which the compiler knows nothing */
    for (int b = 0; b < p->n; b += f->halves || wide ? 1 : 2) {
        const int8_t *x = p->x + (size_t)b * bytes, *q0 = p->s->w[0].q[p->b + b][0], *q1 = p->s->w[1].q[p->b + b][0];
        for (int plane = 0; plane < (f->halves && wide ? 2 : 1); plane++, before = out, out += 4 * SUMS) {
            const int8_t *h = x + 512 * plane;
            if (f->halves)
                products(h, h + 16, (const int8_t *const[]){q0, q1, q0 + 256, q1 + 256}, out, before);
            else if (wide)
                products(h, h + 512, (const int8_t *const[]){q0, q1, q0, q1}, out, before);
            else
                products(h, h + 512, (const int8_t *const[]){q0, q1, q0 + 512, q1 + 512}, out, before);
        }
    }
    _tile_stored(2, before + 2 * SUMS, 64);
    _tile_stored(3, before + 3 * SUMS, 64);
    __asm__ volatile("" ::: "memory");
}

/* ---- what ref does with the sums ---- */

/* The sum of one token as floats; wide: its second plane lies `low` numbers on. */
AMX_INLINE __m512 sum_ps(const int32_t *s, bool wide, int low)
{
    __m512i v = _mm512_load_si512(s);
    if (wide)
        v = _mm512_add_epi32(_mm512_slli_epi32(v, 7), _mm512_load_si512(s + low));
    return _mm512_cvtepi32_ps(v);
}

/* Tokens first.. of a part, eight of them, both groups, through all its blocks. */
AMX_INLINE void eight(const struct amx_part *p, size_t first, const struct kernel_format *f, bool wide)
{
    const struct amx_panel *w = p->s->w;
    const int per = f->halves && wide ? 8 * SUMS : f->halves || wide ? 4 * SUMS : 2 * SUMS;
    const int low = f->halves ? 4 * SUMS : 2 * SUMS;
    const int32_t *s = p->s->sums + 16 * first;
    const float *dx = p->dx + first;
    float *at[2] = {p->s->acc[0][p->first + first], p->s->acc[1][p->first + first]};
    __m512 acc[2][8];
    for (int g = 0; g < 2; g++)
        for (int i = 0; i < 8; i++)
            acc[g][i] = p->start ? _mm512_setzero_ps() : _mm512_load_ps(at[g] + 16 * i);
    const int8_t *next = p->x + (size_t)p->n * (wide ? 1024 : 512) + 16 * (wide ? 2 : 1) * first * 2;
    for (int b = p->b; b < p->b + p->n; b++, s += per, dx += 32, next += wide ? 1024 : 512) {
        for (int i = 0; i < (wide ? 512 : 256); i += 64)
            _mm_prefetch((const char *)next + i, _MM_HINT_T0);
        __m512 d[2] = {_mm512_load_ps(w[0].d[b]), _mm512_load_ps(w[1].d[b])}, m[2] = {d[0], d[1]};
        if (f->minimum || f->halves) {
            m[0] = _mm512_load_ps(w[0].m[b]);
            m[1] = _mm512_load_ps(w[1].m[b]);
        }
        for (int i = 0; i < 8; i++) {
            __m512 x = _mm512_set1_ps(dx[i]);
            for (int g = 0; g < 2; g++) {
                __m512 v = _mm512_mul_ps(sum_ps(s + SUMS * g + 16 * i, wide, low), d[g]);
                if (f->halves)
                    v = _mm512_fmadd_ps(sum_ps(s + SUMS * (2 + g) + 16 * i, wide, low), m[g], v);
                acc[g][i] = _mm512_fmadd_ps(v, x, acc[g][i]);
                if (f->minimum)
                    acc[g][i] = _mm512_fmadd_ps(m[g], _mm512_set1_ps(dx[16 + i]), acc[g][i]);
            }
        }
    }
    for (int g = 0; g < 2; g++)
        for (int i = 0; i < 8; i++)
            _mm512_store_ps(at[g] + 16 * i, acc[g][i]);
}

/* ---- loops ---- */

static void store_rows(const struct linear_args *a, size_t g, size_t t0, size_t t1, float (*acc)[16])
{
    size_t left = a->n_rows - g * 16;
    __mmask16 m = left >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << left) - 1);
    __m512 bias = a->bias ? _mm512_maskz_loadu_ps(m, a->bias + g * 16) : _mm512_setzero_ps();
    const __m512 factor = _mm512_set1_ps(linear_factor(a));
    for (size_t t = t0; t < t1; t++) {
        __m512 v = _mm512_mul_ps(_mm512_load_ps(acc[t - t0]), factor);
        _mm512_mask_storeu_ps(a->y + t * a->ldy + g * 16, m, a->bias ? _mm512_add_ps(v, bias) : v);
    }
}

/* A panel of both groups for all tokens of the stripe. */
AMX_INLINE void panel_mul(struct amx_part p, int n, size_t tokens, const struct kernel_format *f, bool wide)
{
    const bool start = p.start;
    const int span = AMX_BLOCKS / (f->halves ? 2 : 1) / (wide ? 2 : 1); /* the sums shall stay in L1 */
    for (p.first = 0; p.first < tokens; p.first += 16) {
        const int8_t *x = p.x;
        const float *dx = p.dx;
        for (p.b = 0; p.b < n; p.b += span) {
            p.n = n - p.b < span ? n - p.b : span;
            p.start = start && p.b == 0;
            all_products(&p, f, wide);
            eight(&p, 0, f, wide);
            eight(&p, 8, f, wide);
            p.x += (size_t)span * work_block_bytes(wide);
            p.dx += span * 32;
        }
        p.x = x + AMX_BLOCKS * work_block_bytes(wide);
        p.dx = dx + (size_t)AMX_BLOCKS * 32;
    }
}

/* Groups g[0] and g[1], the same one when there is only one left, for tokens t[0].. that have been gathered. */
AMX_INLINE void pair_mul(const struct linear_args *a, const size_t g[2], const size_t t[2],
                         const struct kernel_format *f, bool wide)
{
    size_t blocks = a->k / 32, tokens = t[1] - t[0], tiles = (tokens + 15) / 16;
    size_t bytes = AMX_BLOCKS / (size_t)f->blocks * layout_unit_bytes(f);
    const uint8_t *w[2];
    struct amx_part p = {.s = a->scratch};
    p.x = p.s->x;
    p.dx = (const float *)(const void *)(p.s->x + work_x_bytes(a->k, tiles, wide));
    for (int i = 0; i < 2; i++)
        w[i] = (const uint8_t *)a->w + g[i] * layout_group_bytes(f, a->k);
    for (size_t b = 0; b < blocks; b += AMX_BLOCKS, w[0] += bytes, w[1] += bytes) {
        int n = blocks - b < AMX_BLOCKS ? (int)(blocks - b) : AMX_BLOCKS;
        unpack_panel(&p.s->w[0], w[0], n, f);
        unpack_panel(&p.s->w[1], w[1], n, f);
        for (size_t i = 0; i < bytes; i += 64) { /* the next panels, while this one works */
            _mm_prefetch((const char *)w[0] + bytes + i, _MM_HINT_T0);
            _mm_prefetch((const char *)w[1] + bytes + i, _MM_HINT_T0);
        }
        p.start = b == 0;
        panel_mul(p, n, tokens, f, wide);
        p.x += tiles * AMX_BLOCKS * work_block_bytes(wide);
        p.dx += tiles * AMX_BLOCKS * 32;
    }
    store_rows(a, g[0], t[0], t[1], p.s->acc[0]);
    if (g[1] != g[0])
        store_rows(a, g[1], t[0], t[1], p.s->acc[1]);
}

AMX_INLINE void mul(const struct linear_args *a, const struct kernel_format *f, bool wide)
{
    struct amx_work *s = a->scratch;
    size_t groups = (a->n_rows + 15) / 16, g1 = a->g1 < groups ? a->g1 : groups;
    _tile_loadconfig(f->halves ? &CFG_HALF : &CFG_BLOCK);
    for (size_t t[2] = {a->t0}; t[0] < a->t1; t[0] = t[1]) {
        t[1] = t[0] + STRIPE < a->t1 ? t[0] + STRIPE : a->t1;
        if (t[1] - t[0] < FEW) {
            struct linear_args rest = *a;
            rest.t0 = t[0];
            avx512_linear_mul(&rest, f->dtype);
            break;
        }
        gather(s->x, (float *)(void *)(s->x + work_x_bytes(a->k, (t[1] - t[0] + 15) / 16, wide)), a, t);
        for (size_t g[2] = {a->g0}; g[0] < g1; g[0] += 2) {
            g[1] = g[0] + 1 < g1 ? g[0] + 1 : g[0];
            pair_mul(a, g, t, f, wide);
        }
    }
    _tile_release();
}

/* For both widths of activations, and for what AVX-512 does here: few tokens and float weights. */
static size_t linear_scratch(size_t k, size_t n_tok)
{
    size_t tiles = ((n_tok < STRIPE ? n_tok : STRIPE) + 15) / 16, other = avx512_scratch(k, n_tok);
    size_t own = sizeof(struct amx_work) + work_x_bytes(k, tiles, true) + work_panels(k) * tiles * AMX_BLOCKS * 128;
    return own > other ? own : other;
}

#define FORMATS(X) X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q8_0) X(Q4_K) X(Q5_K) X(Q6_K) X(MXFP4) X(NVFP4)
#define DEFINE(T)                                                                                                      \
    static void mul_##T(const struct linear_args *a)                                                                   \
    {                                                                                                                  \
        if (a->t1 - a->t0 < FEW)                                                                                       \
            avx512_linear_mul(a, DT_##T);                                                                              \
        else if (a->wide)                                                                                              \
            mul(a, &FORMAT_##T, true);                                                                                 \
        else                                                                                                           \
            mul(a, &FORMAT_##T, false);                                                                                \
    }
FORMATS(DEFINE)

void amx_init_linear(struct kernels *k)
{
#define ROW(T) k->linear[DT_##T].mul = mul_##T;
    FORMATS(ROW) k->linear_scratch = linear_scratch;
    k->linear_groups = 32;
    k->linear_tokens = STRIPE;
}
