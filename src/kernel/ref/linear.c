/* ref/linear: y = x W^T, the definition. For quantised weights, per output, blocks of 32 k ascending:
 *
 *     isum = sum (q - zero) x                     exact, int32
 *     acc  = fmaf((float)isum * dw, dx, acc)
 *     acc  = fmaf(mw, xs, acc)                     formats with a minimum: w = dw q + mw; xs = dx * sum(x), in the activation
 *
 * dw and mw are f16 times an integer of at most 8 bits: exact in f32, so no level can round them differently. |isum| is at most
 * 255 * 32 * 16256 < 2^31. MXFP4 and NVFP4 are such formats, too: q - zero is twice a number of E2M1, dw half the scale. Q6_K and
 * NVFP4 have a scale per 16, so a sum i_h and a scale d_h per half h:
 *
 *     acc  = fmaf(fmaf((float)i_1, d_1, (float)i_0 * d_0), dx, acc)
 *
 * With 8-bit activations NVFP4's |i_h| is at most 16 * 12 * 127 = 24384 and d_h has four bits, so the inner expression is the exact
 * sum, rounded once: levels may add integers instead (i_h times the scale in units of the least) and round that.
 *
 * Float weights: acc = fmaf(w, x, acc), k ascending. A matrix's factor is multiplied to the end, the bias
 * is added last: y = acc * factor + bias, rounded twice (a factor of 1 changes nothing). */
#include "kernel/ref/ref.h"
#include <math.h>
#include <string.h>

struct unit_scales {          /* of one unit of one group */
    float d[8][16], m[8][16]; /* formats with two scales a block: m is the second half's scale */
};

static float half_at(const uint8_t *p, size_t i)
{
    uint16_t h;
    memcpy(&h, p + 2 * i, sizeof h);
    return f16_to_f32(h);
}

static void read_scales(struct unit_scales *u, const uint8_t *head, const struct kernel_format *f)
{
    for (size_t r = 0; r < 16 && f->e2m1; r++)
        for (size_t b = 0; b < (size_t)f->blocks; b++) {
            u->d[b][r] = f->halves ? layout_e5m3(head[32 * b + r]) : e8m0_half(head[r]);
            u->m[b][r] = f->halves ? layout_e5m3(head[32 * b + 16 + r]) : 0.0f;
        }
    for (size_t r = 0; r < 16 && !f->e2m1; r++) {
        float d = half_at(head, r), m = f->minimum ? half_at(head + 32, r) : 0.0f;
        const uint8_t *s = head + 64 + r;
        for (int b = 0; b < f->blocks; b++) {
            u->d[b][r] = d;
            u->m[b][r] = m;
            if (f->dtype == DT_Q6_K) {
                u->d[b][r] = d * (float)(int8_t)head[32 + 16 * (2 * b) + (int)r];
                u->m[b][r] = d * (float)(int8_t)head[32 + 16 * (2 * b + 1) + (int)r];
            } else if (f->blocks == 8) {
                int sc = b < 4 ? s[16 * b] & 63 : (s[16 * (b + 4)] & 15) | s[16 * (b - 4)] >> 6 << 4;
                int mn = b < 4 ? s[16 * (b + 4)] & 63 : s[16 * (b + 4)] >> 4 | s[16 * b] >> 6 << 4;
                u->d[b][r] = d * (float)sc;
                u->m[b][r] = -(m * (float)mn);
            }
        }
    }
}

/* The 32 codes of every row of a block: q[row][k]. */
static void read_codes(uint8_t q[16][32], const uint8_t *planes, const struct kernel_format *f)
{
    int bits = f->bits;
    for (int r = 0; r < 16; r++)
        for (int i = 0; i < 32; i++) {
            int j = i / 4, at = 4 * r + i % 4;
            int v = bits == 8 ? planes[64 * j + at] : planes[64 * (j % 4) + at] >> (j / 4 * 4) & 15;
            if (bits == 5)
                v |= (planes[256 + at] >> j & 1) << 4;
            if (bits == 6)
                v |= (planes[256 + 64 * (j / 4) + at] >> (2 * (j % 4)) & 3) << 4;
            q[r][i] = (uint8_t)(f->e2m1 ? LAYOUT_E2M1[v] + f->zero : v);
        }
}

/* Exact sum of codes times activations over 16 k. */
static int32_t dot16(const uint8_t *q, const int8_t *hi, const int8_t *lo, bool wide)
{
    int32_t h = 0, l = 0;
    for (int i = 0; i < 16; i++) {
        h += q[i] * hi[i];
        l += wide ? q[i] * lo[i] : 0;
    }
    return wide ? 128 * h + l : h;
}

static void block_mul(float *acc, uint8_t q[16][32], const struct unit_scales *u, int b, const struct act_block *a,
                      size_t t, const struct kernel_format *f, bool wide)
{
    const int8_t *hi = a->hi + 32 * t, *lo = a->lo + 32 * t;
    for (size_t r = 0; r < 16; r++) {
        int32_t c0 = dot16(q[r], hi, lo, wide), c1 = dot16(q[r] + 16, hi + 16, lo + 16, wide);
        float p = f->halves ? fmaf((float)(c1 + a->n1[t]), u->m[b][r], (float)(c0 + a->n0[t]) * u->d[b][r])
                            : (float)(c0 + c1 + f->zero / 8 * a->n8[t]) * u->d[b][r];
        acc[r] = fmaf(p, a->dx[t], acc[r]);
        if (f->minimum)
            acc[r] = fmaf(u->m[b][r], a->xs[t], acc[r]);
    }
}

static void store_rows(const struct linear_args *a, size_t g, size_t t, const float *acc)
{
    for (size_t r = 0; r < 16 && g * 16 + r < a->n_rows; r++) {
        size_t row = g * 16 + r;
        a->y[t * a->ldy + row] = a->bias ? acc[r] * linear_factor(a) + a->bias[row] : acc[r] * linear_factor(a);
    }
}

/* Tokens [ta, tb) of one tile times one group. */
static void group_mul(const struct linear_args *a, size_t g, size_t ta, size_t tb, const struct kernel_format *f)
{
    const uint8_t *tile = (const uint8_t *)a->act + layout_tile_offset(a->k, ta, a->wide);
    const uint8_t *w = (const uint8_t *)a->w + g * layout_group_bytes(f, a->k);
    size_t width = layout_tile_width(a->n_tok, ta), units = a->k / 32 / (size_t)f->blocks;
    float acc[8][16] = {{0}};
    for (size_t u = 0; u < units; u++, w += layout_unit_bytes(f)) {
        struct unit_scales s;
        read_scales(&s, w, f);
        for (int b = 0; b < f->blocks; b++) {
            uint8_t q[16][32];
            read_codes(q, w + f->header + (size_t)b * layout_block_bytes(f), f);
            struct act_block x = layout_act(tile, width, u * (size_t)f->blocks + (size_t)b, a->wide);
            for (size_t t = ta; t < tb; t++)
                block_mul(acc[t % 8], q, &s, b, &x, t % 8, f, a->wide);
        }
    }
    for (size_t t = ta; t < tb; t++)
        store_rows(a, g, t, acc[t % 8]);
}

static inline void mul(const struct linear_args *a, const struct kernel_format *f)
{
    for (size_t t = a->t0; t < a->t1;) {
        size_t end = (t | 7) + 1 < a->t1 ? (t | 7) + 1 : a->t1;
        for (size_t g = a->g0; g < a->g1 && g * 16 < a->n_rows; g++)
            group_mul(a, g, t, end, f);
        t = end;
    }
}

static inline void mul_float(const struct linear_args *a, enum dtype type)
{
    size_t elem = dtype_info(type)->bytes, group = (a->k * 16 * elem + 63) & ~(size_t)63;
    for (size_t g = a->g0; g < a->g1 && g * 16 < a->n_rows; g++)
        for (size_t t = a->t0; t < a->t1; t++) {
            const uint8_t *w = (const uint8_t *)a->w + g * group;
            const float *x = (const float *)a->act + t * a->k;
            float acc[16] = {0}, v[16];
            for (size_t i = 0; i < a->k; i++, w += 16 * elem) {
                dtype_info(type)->decode(v, w, 16);
                for (int r = 0; r < 16; r++)
                    acc[r] = fmaf(v[r], x[i], acc[r]);
            }
            store_rows(a, g, t, acc);
        }
}

static size_t linear_scratch(size_t k, size_t n_tok)
{
    (void)k;
    (void)n_tok;
    return 64;
}

#define FORMATS(X) X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q8_0) X(Q4_K) X(Q5_K) X(Q6_K) X(MXFP4) X(NVFP4)
#define DEFINE(T)                                                                                                      \
    static void mul_##T(const struct linear_args *a)                                                                   \
    {                                                                                                                  \
        mul(a, &FORMAT_##T);                                                                                           \
    }
FORMATS(DEFINE)

static void mul_F32(const struct linear_args *a)
{
    mul_float(a, DT_F32);
}

static void mul_F16(const struct linear_args *a)
{
    mul_float(a, DT_F16);
}

static void mul_BF16(const struct linear_args *a)
{
    mul_float(a, DT_BF16);
}

void ref_init_linear(struct kernels *k)
{
#define ROW(T) k->linear[DT_##T].mul = mul_##T;
    FORMATS(ROW) ROW(F32) ROW(F16) ROW(BF16) k->linear_scratch = linear_scratch;
    k->linear_groups = 8;
    k->linear_tokens = 64;
}
