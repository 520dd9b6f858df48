/* ref/act: the activation quantiser. Per group of 32: amax, dx = amax / 127 (wide: / 16256), x = round to nearest even of
 * v * (127 / amax), both quotients correctly rounded. A group whose amax is below 2^-100 is zero (its reciprocal could
 * overflow); a group holding a NaN or an infinity gets dx = NaN and codes 0, so that the damage shows in the output instead of
 * being hidden or undefined. */
#include "kernel/ref/ref.h"
#include <math.h>
#include <string.h>

static size_t act_bytes(size_t k, size_t n_tok, bool wide)
{
    return n_tok * (k / 32) * layout_token_bytes(wide);
}

/* Largest magnitude as bits: for non-negative floats integer order is float order, with infinity and NaN above all. */
static uint32_t amax_bits(const float *x)
{
    uint32_t best = 0;
    for (int i = 0; i < 32; i++) {
        uint32_t u;
        memcpy(&u, &x[i], sizeof u);
        u &= 0x7fffffffu;
        best = u > best ? u : best;
    }
    return best;
}

/* A 15-bit x in [-16256, 16256] as 128 hi + lo: lo in [-64, 63] and hi in [-127, 127], since 16256 = 127 * 128. So both
 * planes obey the bounds that the 8-bit kernels rely on. */
static int32_t quantize_group(struct act_block *a, size_t t, const float *v, bool wide)
{
    int8_t *hi = (int8_t *)a->hi + 32 * t, *lo = (int8_t *)a->lo + 32 * t;
    float top = wide ? 16256.0f : 127.0f, amax, dx, inv;
    uint32_t bits = amax_bits(v);
    memcpy(&amax, &bits, sizeof amax);
    bool broken = bits >= 0x7f800000u, zero = !(amax >= 0x1p-100f);
    dx = broken ? NAN : zero ? 0.0f : amax / top;
    inv = broken || zero ? 0.0f : top / amax;
    int32_t sum[2] = {0, 0}, square = 0;
    for (int i = 0; i < 32; i++) {
        int32_t x = inv == 0.0f ? 0 : (int32_t)rintf(v[i] * inv);
        sum[i / 16] += x;
        square += wide ? 0 : x * x;
        int32_t l = ((x + 64) & 127) - 64;
        hi[i] = (int8_t)(wide ? (x - l) / 128 : x);
        if (wide)
            lo[i] = (int8_t)l;
    }
    ((float *)a->dx)[t] = dx;
    ((float *)a->xs)[t] = dx * (float)(sum[0] + sum[1]);
    ((int32_t *)a->n8)[t] = -8 * (sum[0] + sum[1]);
    ((int32_t *)a->n0)[t] = -32 * sum[0];
    ((int32_t *)a->n1)[t] = -32 * sum[1];
    return square;
}

static void act_quantize(void *act, uint8_t *outliers, const float *x, size_t ldx, size_t k, size_t n_tok, size_t t0,
                         size_t t1, bool wide)
{
    for (size_t t = t0; t < t1; t++) {
        uint8_t *tile = (uint8_t *)act + layout_tile_offset(k, t, wide);
        size_t w = layout_tile_width(n_tok, t);
        struct act_spread s = {0, 0};
        for (size_t b = 0; b < k / 32; b++) {
            struct act_block a = layout_act(tile, w, b, wide);
            int32_t square = quantize_group(&a, t % 8, x + t * ldx + 32 * b, wide);
            if (!wide)
                layout_spread(&s, a.dx[t % 8], square);
        }
        layout_outlier(outliers, t, &s, wide);
    }
}

static void act_residual(float *r, const void *act, const float *x, size_t k, size_t n_tok, size_t t)
{
    const uint8_t *tile = (const uint8_t *)act + layout_tile_offset(k, t, false);
    for (size_t b = 0; b < k / 32; b++) {
        struct act_block a = layout_act(tile, layout_tile_width(n_tok, t), b, false);
        for (size_t i = 0; i < 32; i++) {
            float q = a.dx[t % 8] * (float)a.hi[32 * (t % 8) + i];
            r[32 * b + i] = x[32 * b + i] - q;
        }
    }
}

void ref_init_act(struct kernels *k)
{
    k->act_bytes = act_bytes;
    k->act_quantize = act_quantize;
    k->act_residual = act_residual;
}
