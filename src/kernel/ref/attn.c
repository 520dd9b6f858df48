/* ref/attn: attention of one KV head, the definition. Per query row, for each segment of 512 absolute positions that it sees:
 *     s[j] = chain over d of fmaf(q[d], K[d][j])            m = largest s
 *     p[j] = fm_expf(s[j] - m)                               l = 16 lanes by j % 16, j ascending, then the fixed tree
 *     o[d] = chain over j ascending of fmaf(p[j], V[j][d])
 * and the segments are merged in ascending order:
 *     M' = max(M, m)   a = fm_expf(M - M')   b = fm_expf(m - M')   L = fmaf(L, a, l * b)   O = fmaf(O, a, o * b)
 * At the end out = O * (1 / L). Positions outside the window are never touched. */
#include "base/fmath.h"
#include "kernel/ref/ref.h"
#include <math.h>
#include <string.h>

/* One cached number: f16, or f32 for models whose weights are f32. */
static float cached(const uint8_t *page, size_t off, size_t i, bool f32)
{
    uint16_t h;
    float f;
    if (f32) {
        memcpy(&f, page + off + 4 * i, sizeof f);
        return f;
    }
    memcpy(&h, page + off + 2 * i, sizeof h);
    return f16_to_f32(h);
}

/* Keys [lo, hi] of one segment; s has room for 512 scores and, behind them, head_dim values: the segment's output. */
static inline void segment(const struct attn_args *a, const float *q, size_t lo, size_t hi, float *s, float *m,
                           float *l, bool f32)
{
    float lane[16] = {0}, *o = s + KERNEL_SEGMENT;
    *m = -INFINITY;
    for (size_t j = lo; j <= hi; j++) {
        float dot = 0;
        for (size_t d = 0; d < a->head_dim; d++)
            dot = fmaf(q[d], cached(a->pages[j / KERNEL_PAGE], a->k_off, d * KERNEL_PAGE + j % KERNEL_PAGE, f32), dot);
        s[j % KERNEL_SEGMENT] = dot;
        *m = dot > *m ? dot : *m;
    }
    memset(o, 0, a->head_dim * sizeof *o);
    for (size_t j = lo; j <= hi; j++) {
        float p = fm_expf(s[j % KERNEL_SEGMENT] - *m);
        lane[j % 16] += p;
        for (size_t d = 0; d < a->head_dim; d++)
            o[d] = fmaf(p, cached(a->pages[j / KERNEL_PAGE], a->v_off, j % KERNEL_PAGE * a->head_dim + d, f32), o[d]);
    }
    *l = ref_tree16(lane);
}

static inline void attend(const struct attn_args *a, bool f32)
{
    float *s = a->scratch, *o = s + KERNEL_SEGMENT, *sum = o + a->head_dim;
    for (size_t i = 0; i < a->n_q; i++) {
        size_t last = (size_t)a->pos[i], first = 0;
        if (a->window > 0 && a->pos[i] >= a->window)
            first = (size_t)(a->pos[i] - a->window + 1);
        float top = 0, len = 0;
        for (size_t lo = first; lo <= last; lo = (lo / KERNEL_SEGMENT + 1) * KERNEL_SEGMENT) {
            size_t end = (lo / KERNEL_SEGMENT + 1) * KERNEL_SEGMENT - 1;
            float m, l;
            segment(a, a->q[i], lo, end < last ? end : last, s, &m, &l, f32);
            if (lo == first) {
                top = m;
                len = l;
                memcpy(sum, o, a->head_dim * sizeof *o);
                continue;
            }
            float up = m > top ? m : top, ka = fm_expf(top - up), kb = fm_expf(m - up);
            top = up;
            len = fmaf(len, ka, l * kb);
            for (size_t d = 0; d < a->head_dim; d++)
                sum[d] = fmaf(sum[d], ka, o[d] * kb);
        }
        float inv = 1.0f / len;
        for (size_t d = 0; d < a->head_dim; d++)
            a->out[i][d] = sum[d] * inv;
    }
}

static void attn(const struct attn_args *a)
{
    attend(a, false);
}

static void attn_f32(const struct attn_args *a)
{
    attend(a, true);
}

static size_t attn_scratch(size_t n_q, size_t head_dim)
{
    (void)n_q;
    return (KERNEL_SEGMENT + 2 * head_dim) * sizeof(float);
}

static void kv_store(uint8_t *block, size_t k_off, size_t v_off, const float *k, const float *v, size_t head_dim,
                     size_t slot)
{
    for (size_t d = 0; d < head_dim; d++) {
        uint16_t hk = f32_to_f16(k[d]), hv = f32_to_f16(v[d]);
        memcpy(block + k_off + 2 * (d * KERNEL_PAGE + slot), &hk, sizeof hk);
        memcpy(block + v_off + 2 * (slot * head_dim + d), &hv, sizeof hv);
    }
}

static void kv_store_f32(uint8_t *block, size_t k_off, size_t v_off, const float *k, const float *v, size_t head_dim,
                         size_t slot)
{
    for (size_t d = 0; d < head_dim; d++) {
        memcpy(block + k_off + 4 * (d * KERNEL_PAGE + slot), &k[d], sizeof *k);
        memcpy(block + v_off + 4 * (slot * head_dim + d), &v[d], sizeof *v);
    }
}

void ref_init_attn(struct kernels *k)
{
    k->attn_scratch = attn_scratch;
    k->attn = attn;
    k->kv_store = kv_store;
    k->attn_f32 = attn_f32;
    k->kv_store_f32 = kv_store_f32;
}
