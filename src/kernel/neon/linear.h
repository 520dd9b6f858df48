/* neon/linear: inside neon: quantised weights, once with sdot and once, where the compiler may use it, with smmla besides. One 32-bit
 * lane is one row; a group is four vectors of rows, done in turn. sdot adds four products of s8 by s8 to a lane exactly; codes below
 * 64 are their own signed form, those of Q8_0 are stored with 128 added, and lose it again here. A block's quarter is unpacked into
 * eight registers and meets every token of the stripe. smmla adds the products of two rows and two tokens, eight k at a time: two
 * tokens together, as exactly. */
#ifndef HEARTH_KERNEL_NEON_LINEAR_H
#define HEARTH_KERNEL_NEON_LINEAR_H
#include "kernel/neon/neon.h"
#include <arm_neon.h>
#include <string.h>

enum { STRIPE = 32 };

struct quarter { /* one block of four rows, ready to multiply */
    int8x16_t q[8];
    float32x4_t d, m; /* two scales a block: those of its halves */
};

/* p: the block's planes, already moved to this quarter's 16 bytes of each. */
NEON_INLINE void load_codes(int8x16_t q[8], const uint8_t *p, const struct kernel_format *f)
{
    const int8x16_t e2m1 = vaddq_s8(vld1q_s8(LAYOUT_E2M1), vdupq_n_s8((int8_t)f->zero));
    const int bits = f->bits;
    const uint8x16_t low = vdupq_n_u8(15);
    if (bits == 8) {
        for (int j = 0; j < 8; j++)
            q[j] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(p + 64 * j), vdupq_n_u8(128)));
        return;
    }
    for (int j = 0; j < 8; j++) {
        uint8x16_t z = vld1q_u8(p + 64 * (j % 4)), c = j < 4 ? vandq_u8(z, low) : vshrq_n_u8(z, 4);
        if (bits == 5) { /* bit j of the plane becomes bit 4 of quad j */
            uint8x16_t h = vshlq_u8(vld1q_u8(p + 256), vdupq_n_s8((int8_t)(4 - j)));
            c = vorrq_u8(c, vandq_u8(h, vdupq_n_u8(16)));
        }
        if (bits == 6) { /* bits 2s..2s+1 of plane p become bits 4..5 of quad 4p+s */
            uint8x16_t h = vshlq_u8(vld1q_u8(p + 256 + 64 * (j / 4)), vdupq_n_s8((int8_t)(4 - 2 * (j % 4))));
            c = vorrq_u8(c, vandq_u8(h, vdupq_n_u8(48)));
        }
        q[j] = f->e2m1 ? vqtbl1q_s8(e2m1, c) : vreinterpretq_s8_u8(c);
    }
}

NEON_INLINE float32x4_t load_half(const uint8_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}

/* Four numbers per block of a unit, for four rows from row r. */
NEON_INLINE void load_scales(struct quarter *w, const uint8_t *head, int b, int r, const struct kernel_format *f)
{
    float d[4], m[4];
    if (f->e2m1) {
        for (int i = 0; i < 4; i++) {
            d[i] = f->halves ? layout_e5m3(head[32 * b + r + i]) : e8m0_half(head[r + i]);
            m[i] = f->halves ? layout_e5m3(head[32 * b + 16 + r + i]) : 0.0f;
        }
        w->d = vld1q_f32(d);
        w->m = vld1q_f32(m);
        return;
    }
    w->d = load_half(head + 2 * r);
    w->m = f->minimum ? load_half(head + 32 + 2 * r) : vdupq_n_f32(0);
    if (f->blocks == 1)
        return;
    for (int i = 0; i < 4; i++) {
        const uint8_t *s = head + (f->minimum ? 64 : 32) + r + i;
        if (f->minimum) {
            d[i] = (float)(b < 4 ? s[16 * b] & 63 : (s[16 * (b + 4)] & 15) | s[16 * (b - 4)] >> 6 << 4);
            m[i] = -(float)(b < 4 ? s[16 * (b + 4)] & 63 : s[16 * (b + 4)] >> 4 | s[16 * b] >> 6 << 4);
        } else {
            d[i] = (float)(int8_t)s[32 * b];
            m[i] = (float)(int8_t)s[32 * b + 16];
        }
    }
    w->m = vmulq_f32(f->minimum ? w->m : w->d, vld1q_f32(m));
    w->d = vmulq_f32(w->d, vld1q_f32(d));
}

/* Adds four quads times 16 activations to s. */
NEON_INLINE int32x4_t dot4(int32x4_t s, const int8x16_t *q, const int8_t *x)
{
    int8x16_t v = vld1q_s8(x);
    s = vdotq_laneq_s32(s, q[0], v, 0);
    s = vdotq_laneq_s32(s, q[1], v, 1);
    s = vdotq_laneq_s32(s, q[2], v, 2);
    return vdotq_laneq_s32(s, q[3], v, 3);
}

/* Exact sum over k [16 h0, 16 h1) of the block, from start. */
NEON_INLINE float32x4_t total(const struct quarter *w, const struct act_block *a, size_t t, int h0, int h1,
                              int32_t start, bool wide)
{
    int32x4_t s = vdupq_n_s32(wide ? 0 : start);
    for (int h = h0; h < h1; h++)
        s = dot4(s, w->q + 4 * h, a->hi + 32 * t + 16 * h);
    if (wide) {
        s = vaddq_s32(vshlq_n_s32(s, 7), vdupq_n_s32(start));
        for (int h = h0; h < h1; h++)
            s = dot4(s, w->q + 4 * h, a->lo + 32 * t + 16 * h);
    }
    return vcvtq_f32_s32(s);
}

/* What a block adds to a token's accumulator; s: its sums, of halves where they have scales of their own. */
NEON_INLINE float32x4_t scaled(float32x4_t acc, const struct quarter *w, const float32x4_t s[2],
                               const struct act_block *a, size_t t, const struct kernel_format *f)
{
    float32x4_t p = vmulq_f32(s[0], w->d);
    if (f->halves)
        p = vfmaq_f32(p, s[1], w->m);
    acc = vfmaq_f32(acc, p, vdupq_n_f32(a->dx[t]));
    return f->minimum ? vfmaq_f32(acc, w->m, vdupq_n_f32(a->xs[t])) : acc;
}

/* What zero points subtract from the sum of half h, or of the block. */
NEON_INLINE int32_t zero_start(const struct act_block *a, size_t t, int h, const struct kernel_format *f)
{
    return f->halves ? (h ? a->n1 : a->n0)[t] : f->bits == 8 ? 0 : f->zero / 8 * a->n8[t];
}

NEON_INLINE float32x4_t step(float32x4_t acc, const struct quarter *w, const struct act_block *a, size_t t,
                             const struct kernel_format *f, bool wide)
{
    float32x4_t s[2] = {total(w, a, t, 0, f->halves ? 1 : 2, zero_start(a, t, 0, f), wide)};
    if (f->halves)
        s[1] = total(w, a, t, 1, 2, zero_start(a, t, 1, f), wide);
    return scaled(acc, w, s, a, t, f);
}

#ifdef __ARM_FEATURE_MATMUL_INT8
/* Adds to s[i], which has [row 2i, 2i+1][token x, y], the products of octets [from, to) of two tokens' activations. */
NEON_INLINE void pair_products(int32x4_t s[2], const int8x16_t *q, const int8_t *x, int from, int to)
{
    for (int o = from; o < to; o++) {
        int8x16_t v = vcombine_s8(vld1_s8(x + 8 * o), vld1_s8(x + 32 + 8 * o));
        int32x4_t q0 = vreinterpretq_s32_s8(q[2 * o]), q1 = vreinterpretq_s32_s8(q[2 * o + 1]);
        s[0] = vmmlaq_s32(s[0], vreinterpretq_s8_s32(vzip1q_s32(q0, q1)), v);
        s[1] = vmmlaq_s32(s[1], vreinterpretq_s8_s32(vzip2q_s32(q0, q1)), v);
    }
}

/* Sums of octets [from, to) of tokens t and t + 1 of one tile. */
NEON_INLINE void pair_total(float32x4_t out[2], const struct quarter *w, const struct act_block *a, size_t t,
                            const int octet[2], const int32_t start[2], bool wide)
{
    int32x4_t s[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};
    pair_products(s, w->q, a->hi + 32 * t, octet[0], octet[1]);
    if (wide) {
        s[0] = vshlq_n_s32(s[0], 7);
        s[1] = vshlq_n_s32(s[1], 7);
        pair_products(s, w->q, a->lo + 32 * t, octet[0], octet[1]);
    }
    out[0] = vcvtq_f32_s32(vaddq_s32(vuzp1q_s32(s[0], s[1]), vdupq_n_s32(start[0])));
    out[1] = vcvtq_f32_s32(vaddq_s32(vuzp2q_s32(s[0], s[1]), vdupq_n_s32(start[1])));
}

/* Tokens t and t + 1 of one tile; their accumulators lie 16 numbers apart. */
NEON_INLINE void pair_step(float *acc, const struct quarter *w, const struct act_block *a, size_t t,
                           const struct kernel_format *f, bool wide)
{
    float32x4_t s[2][2];
    for (int h = 0; h < (f->halves ? 2 : 1); h++) {
        const int octet[2] = {2 * h, f->halves ? 2 * h + 2 : 4};
        const int32_t start[2] = {zero_start(a, t, h, f), zero_start(a, t + 1, h, f)};
        pair_total(s[h], w, a, t, octet, start, wide);
    }
    if (!f->halves)
        s[1][0] = s[1][1] = vdupq_n_f32(0);
    for (int i = 0; i < 2; i++)
        vst1q_f32(acc + 16 * i,
                  scaled(vld1q_f32(acc + 16 * i), w, (const float32x4_t[]){s[0][i], s[1][i]}, a, t + (size_t)i, f));
}
#else
NEON_INLINE void pair_step(float *acc, const struct quarter *w, const struct act_block *a, size_t t,
                           const struct kernel_format *f, bool wide)
{
    for (size_t i = 0; i < 2; i++)
        vst1q_f32(acc + 16 * i, step(vld1q_f32(acc + 16 * i), w, a, t + i, f, wide));
}
#endif

static void store_rows(const struct linear_args *a, size_t g, size_t t, const float *acc)
{
    size_t left = a->n_rows - g * 16, n = left < 16 ? left : 16;
    float *y = a->y + t * a->ldy + g * 16, factor = linear_factor(a);
    for (size_t r = 0; r < n; r++)
        y[r] = a->bias ? acc[r] * factor + a->bias[g * 16 + r] : acc[r] * factor;
}

/* Tokens [ta, tb), at most STRIPE, ta's tile being the first of the stripe. */
NEON_INLINE void stripe(const struct linear_args *a, size_t g, size_t ta, size_t tb, const struct kernel_format *f,
                        bool wide)
{
    float acc[STRIPE][16];
    const uint8_t *group = (const uint8_t *)a->w + g * layout_group_bytes(f, a->k);
    memset(acc, 0, (tb - ta) * sizeof *acc);
    for (size_t b = 0; b < a->k / 32; b++) {
        const uint8_t *head = group + b / (size_t)f->blocks * layout_unit_bytes(f);
        int own = (int)(b % (size_t)f->blocks);
        for (int r = 0; r < 16; r += 4) {
            struct quarter w;
            load_scales(&w, head, own, r, f);
            load_codes(w.q, head + f->header + (size_t)own * layout_block_bytes(f) + 4 * r, f);
            for (size_t t = ta, n; t < tb; t += n) {
                const uint8_t *tile = (const uint8_t *)a->act + layout_tile_offset(a->k, t, wide);
                struct act_block x = layout_act(tile, layout_tile_width(a->n_tok, t), b, wide);
                float *to = acc[t - ta] + r;
                n = t % 8 < 7 && t + 1 < tb ? 2 : 1;
                if (n == 2)
                    pair_step(to, &w, &x, t % 8, f, wide);
                else
                    vst1q_f32(to, step(vld1q_f32(to), &w, &x, t % 8, f, wide));
            }
        }
    }
    for (size_t t = ta; t < tb; t++)
        store_rows(a, g, t, acc[t - ta]);
}

NEON_INLINE void mul(const struct linear_args *a, const struct kernel_format *f, bool wide)
{
    size_t groups = (a->n_rows + 15) / 16, g1 = a->g1 < groups ? a->g1 : groups;
    for (size_t t = a->t0, n; t < a->t1; t += n) {
        n = a->t1 - t < STRIPE ? a->t1 - t : STRIPE;
        for (size_t g = a->g0; g < g1; g++)
            stripe(a, g, t, t + n, f, wide);
    }
}

/* One function of the table per format. */
#define LINEAR_FORMATS(X) X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q8_0) X(Q4_K) X(Q5_K) X(Q6_K) X(MXFP4) X(NVFP4)
#define LINEAR_DEFINE(T)                                                                                               \
    static void mul_##T(const struct linear_args *a)                                                                   \
    {                                                                                                                  \
        if (a->wide)                                                                                                   \
            mul(a, &FORMAT_##T, true);                                                                                 \
        else                                                                                                           \
            mul(a, &FORMAT_##T, false);                                                                                \
    }
#define LINEAR_ROW(T) k->linear[DT_##T].mul = mul_##T;

#endif
