/* ref/attn: attention of one KV head, the definition. Per query row, for each segment of 512 absolute positions that it sees:
 *     s[j] = chain over d of fmaf(q[d], K[d][j])            m = largest s
 *     p[j] = fm_expf(s[j] - m)                               l = 16 lanes by j % 16, j ascending, then the fixed tree
 *     o[d] = chain over j ascending of fmaf(p[j], V[j][d])
 * and the segments are merged in ascending order:
 *     M' = max(M, m)   a = fm_expf(M - M')   b = fm_expf(m - M')   L = fmaf(L, a, l * b)   O = fmaf(O, a, o * b)
 * At the end out = O * (1 / L). Positions outside the window are never touched. A cached number is decoded to f32 first, which is
 * exact for every dtype (Q8_0: code times f16 scale has 19 bits). Q8_0's queries and keys are turned before (kernel_turn). */
#include "base/fmath.h"
#include "kernel/ref/ref.h"
#include <math.h>
#include <string.h>

/* Number i of one head's matrix; `scale`: the index of its scale. */
static inline float cached(const uint8_t *p, size_t i, size_t head_dim, size_t scale, enum dtype t)
{
    uint16_t h;
    float f;
    if (t == DT_F32) {
        memcpy(&f, p + 4 * i, sizeof f);
        return f;
    }
    if (t == DT_Q8_0) {
        memcpy(&h, p + KERNEL_PAGE * head_dim + 2 * scale, sizeof h);
        return (float)(int8_t)p[i] * f16_to_f32(h);
    }
    if (t == DT_F8_E4M3)
        return e4m3_to_f32(p[i]);
    memcpy(&h, p + 2 * i, sizeof h);
    return t == DT_F16 ? f16_to_f32(h) : bf16_to_f32(h);
}

static inline float cached_k(const struct attn_args *a, size_t j, size_t d, enum dtype t)
{
    size_t slot = j % KERNEL_PAGE;
    return cached(a->pages[j / KERNEL_PAGE] + a->k_off, d * KERNEL_PAGE + slot, a->head_dim,
                  d / KERNEL_GROUP * KERNEL_PAGE + slot, t);
}

static inline float cached_v(const struct attn_args *a, size_t j, size_t d, enum dtype t)
{
    size_t slot = j % KERNEL_PAGE;
    return cached(a->pages[j / KERNEL_PAGE] + a->v_off, slot * a->head_dim + d, a->head_dim,
                  slot * (a->head_dim / KERNEL_GROUP) + d / KERNEL_GROUP, t);
}

/* Keys [lo, hi] of one segment; s has room for 512 scores. The result goes to m, l and o[head_dim]. */
static inline void segment(const struct attn_args *a, const float *q, const size_t *key, float *s, float *m, float *l,
                           float *o, enum dtype t)
{
    float lane[16] = {0};
    *m = -INFINITY;
    for (size_t j = key[0]; j <= key[1]; j++) {
        float dot = 0;
        for (size_t d = 0; d < a->head_dim; d++)
            dot = fmaf(q[d], cached_k(a, j, d, t), dot);
        s[j % KERNEL_SEGMENT] = dot;
        *m = dot > *m ? dot : *m;
    }
    memset(o, 0, a->head_dim * sizeof *o);
    for (size_t j = key[0]; j <= key[1]; j++) {
        float p = fm_expf(s[j % KERNEL_SEGMENT] - *m);
        lane[j % 16] += p;
        for (size_t d = 0; d < a->head_dim; d++)
            o[d] = fmaf(p, cached_v(a, j, d, t), o[d]);
    }
    *l = ref_tree16(lane);
}

/* What a row has merged so far; sum lies in the caller's memory. */
struct merged {
    float top, len, *sum;
    bool any;
};

static void merge(struct merged *g, float m, float l, const float *o, size_t head_dim)
{
    if (!g->any) {
        g->any = true;
        g->top = m;
        g->len = l;
        memcpy(g->sum, o, head_dim * sizeof *o);
        return;
    }
    float up = m > g->top ? m : g->top, ka = fm_expf(g->top - up), kb = fm_expf(m - up);
    g->top = up;
    g->len = fmaf(g->len, ka, l * kb);
    for (size_t d = 0; d < head_dim; d++)
        g->sum[d] = fmaf(g->sum[d], ka, o[d] * kb);
}

static void finish(const struct attn_args *a, size_t i, const struct merged *g)
{
    float inv = 1.0f / g->len;
    for (size_t d = 0; d < a->head_dim; d++)
        a->out[i][d] = g->sum[d] * inv;
}

static size_t first_key(const struct attn_args *a, size_t i)
{
    return a->window > 0 && a->pos[i] >= a->window ? (size_t)(a->pos[i] - a->window + 1) : 0;
}

static inline void attend(const struct attn_args *a, enum dtype t)
{
    float *s = a->scratch, *o = s + KERNEL_SEGMENT, *turned = o + 2 * a->head_dim;
    for (size_t i = 0; i < a->n_q; i++) {
        memcpy(turned, a->q[i], a->head_dim * sizeof *turned);
        if (t == DT_Q8_0)
            kernel_turn(turned, a->head_dim, true);
        struct merged g = {.sum = o + a->head_dim};
        size_t first = first_key(a, i), last = (size_t)a->pos[i];
        for (size_t lo = first; lo <= last; lo = (lo / KERNEL_SEGMENT + 1) * KERNEL_SEGMENT) {
            size_t seg = lo / KERNEL_SEGMENT, end = (seg + 1) * KERNEL_SEGMENT - 1;
            const size_t key[2] = {lo, end < last ? end : last};
            if (a->part) {
                float *to = a->part + (i * a->part_n + seg - a->part_first) * kernel_part(a->head_dim);
                if (seg >= a->seg0 && seg < a->seg1)
                    segment(a, turned, key, s, &to[0], &to[1], to + 16, t);
                continue;
            }
            float m, l;
            segment(a, turned, key, s, &m, &l, o, t);
            merge(&g, m, l, o, a->head_dim);
        }
        if (!a->part)
            finish(a, i, &g);
    }
}

static void attn_merge(const struct attn_args *a)
{
    for (size_t i = 0; i < a->n_q; i++) {
        struct merged g = {.sum = a->scratch};
        for (size_t seg = first_key(a, i) / KERNEL_SEGMENT; seg <= (size_t)a->pos[i] / KERNEL_SEGMENT; seg++) {
            const float *p = a->part + (i * a->part_n + seg - a->part_first) * kernel_part(a->head_dim);
            merge(&g, p[0], p[1], p + 16, a->head_dim);
        }
        finish(a, i, &g);
    }
}

static size_t attn_scratch(size_t n_q, size_t head_dim)
{
    (void)n_q;
    return (KERNEL_SEGMENT + 3 * head_dim) * sizeof(float);
}

/* Types of one number a block: encoded in a row, K then spread over its column. */
static inline void store(uint8_t *kp, uint8_t *vp, const float *k, const float *v, size_t head_dim, size_t slot,
                         enum dtype t)
{
    const struct dtype_info *info = dtype_info(t);
    size_t size = info->bytes;
    uint8_t row[4 * 512];
    info->encode(row, k, head_dim);
    for (size_t d = 0; d < head_dim; d++)
        memcpy(kp + size * (d * KERNEL_PAGE + slot), row + size * d, size);
    info->encode(vp + size * slot * head_dim, v, head_dim);
}

static inline void store_q8_0(uint8_t *kp, uint8_t *vp, const float *k, const float *v, size_t head_dim, size_t slot)
{
    enum { BLOCK = 2 + KERNEL_GROUP };
    const struct dtype_info *info = dtype_info(DT_Q8_0);
    uint8_t row[512 / KERNEL_GROUP * BLOCK], *p = row;
    size_t groups = head_dim / KERNEL_GROUP;
    float turned[512];
    memcpy(turned, k, head_dim * sizeof *turned);
    kernel_turn(turned, head_dim, false);
    info->encode(row, turned, head_dim);
    for (size_t g = 0; g < groups; g++, p += BLOCK) {
        memcpy(kp + KERNEL_PAGE * head_dim + 2 * (g * KERNEL_PAGE + slot), p, 2);
        for (size_t i = 0; i < KERNEL_GROUP; i++)
            kp[(g * KERNEL_GROUP + i) * KERNEL_PAGE + slot] = p[2 + i];
    }
    info->encode(row, v, head_dim);
    p = row;
    for (size_t g = 0; g < groups; g++, p += BLOCK) {
        memcpy(vp + KERNEL_PAGE * head_dim + 2 * (slot * groups + g), p, 2);
        memcpy(vp + slot * head_dim + g * KERNEL_GROUP, p + 2, KERNEL_GROUP);
    }
}

#define KV(T, STORE)                                                                                                   \
    static void attn_##T(const struct attn_args *a)                                                                    \
    {                                                                                                                  \
        attend(a, DT_##T);                                                                                             \
    }                                                                                                                  \
    static void store_##T(const struct store_args *a)                                                                  \
    {                                                                                                                  \
        for (size_t i = 0; i < a->n; i++) {                                                                            \
            uint8_t *kp = a->block + a->k_off, *vp = a->block + a->v_off;                                              \
            const float *k = a->k + i * a->ld, *v = a->v + i * a->ld;                                                  \
            STORE;                                                                                                     \
        }                                                                                                              \
    }
#define KV_PLAIN(T) KV(T, store(kp, vp, k, v, a->head_dim, a->slot + i, DT_##T))
KV_PLAIN(F32)
KV_PLAIN(F16)
KV_PLAIN(BF16)
KV_PLAIN(F8_E4M3)
KV(Q8_0, store_q8_0(kp, vp, k, v, a->head_dim, a->slot + i))

void ref_init_attn(struct kernels *k)
{
    k->attn_scratch = attn_scratch;
    k->attn_merge = attn_merge;
    k->attn[DT_F32] = (struct attn_kernel){attn_F32, store_F32};
    k->attn[DT_F16] = (struct attn_kernel){attn_F16, store_F16};
    k->attn[DT_BF16] = (struct attn_kernel){attn_BF16, store_BF16};
    k->attn[DT_Q8_0] = (struct attn_kernel){attn_Q8_0, store_Q8_0};
    k->attn[DT_F8_E4M3] = (struct attn_kernel){attn_F8_E4M3, store_F8_E4M3};
}
