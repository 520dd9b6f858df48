/* float: F32, F16 and BF16 weights in vectors, lanes = rows, one fma chain per output. Included after a level's vec.h.
 *
 * Many tokens: for a chunk of k the weights of FLOAT_GROUPS groups become f32 in the scratch (F32 itself is used where it lies) and
 * meet a stripe of tokens, FLOAT_TOK at a time, in registers; sums wait in the scratch between chunks. All groups of a batch pass
 * before the next chunk, so that the chunk's activations stay in the second-level cache. Up to four tokens: a stream over the weights,
 * converted as they are loaded, with two groups in flight where one has too few chains to hide the latency of fma. */
#ifndef HEARTH_KERNEL_SIMD_FLOAT_H
#define HEARTH_KERNEL_SIMD_FLOAT_H
#include "kernel/kernel.h"
#include <string.h>

enum { FLOAT_VECS = 16 / VW, FLOAT_GROUPS = VW == 16 ? 2 : 1, FLOAT_K = 128, FLOAT_STRIPE = 64, FLOAT_BATCH = 12 };

VEC vf float_weights(const uint8_t *p, enum dtype t)
{
    if (t == DT_F32)
        return v_load((const float *)(const void *)p);
    return t == DT_F16 ? v_load_half(p) : v_load_bf16(p);
}

VEC size_t float_group_bytes(size_t k, enum dtype t)
{
    return t == DT_F32 ? k * 64 : (k * 32 + 63) & ~(size_t)63;
}

VEC void float_store(const struct linear_args *a, size_t g, size_t t, const float *acc)
{
    float *y = a->y + t * a->ldy + g * 16, factor = linear_factor(a);
    const float *bias = a->bias ? a->bias + g * 16 : NULL;
    size_t left = a->n_rows - g * 16, n = left < 16 ? left : 16;
    for (size_t r = 0; n == 16 && r < 16; r += VW) {
        vf v = v_mul(v_load(acc + r), v_set1(factor));
        v_store(y + r, bias ? v_add(v, v_load(bias + r)) : v);
    }
    for (size_t r = 0; n < 16 && r < n; r++)
        y[r] = bias ? acc[r] * factor + bias[r] : acc[r] * factor;
}

/* Some groups times some tokens over a stretch of k. */
struct float_part {
    const uint8_t *w; /* group q's weights begin at w + q * gb */
    size_t gb;
    const float *x; /* token i's activations begin at x + i * ldx */
    size_t ldx, n_k;
    float *acc; /* [16] of group q and token i at acc + q * ldacc + 16 * i */
    size_t ldacc;
    size_t ahead; /* bytes; see linear_args */
};

struct float_work {
    float acc[FLOAT_BATCH][FLOAT_STRIPE][16];
    float panel[FLOAT_GROUPS][FLOAT_K][16];
};

VEC void float_tile(const struct float_part *p, int n, int ng, enum dtype t)
{
    const size_t vec = (size_t)VW * (t == DT_F32 ? 4 : 2);
    const uint8_t *w = p->w;
    const float *x = p->x;
    vf acc[2][FLOAT_TOK][FLOAT_VECS];
    for (int q = 0; q < ng; q++)
        for (int i = 0; i < n; i++)
            for (int v = 0; v < FLOAT_VECS; v++)
                acc[q][i][v] = v_load(p->acc + (size_t)q * p->ldacc + (size_t)(16 * i + v * VW));
    for (size_t k = 0; k < p->n_k; k++, x++, w += vec * FLOAT_VECS) {
        vf c[2][FLOAT_VECS];
        if (p->ahead && ((size_t)(const void *)w & 63) < vec * FLOAT_VECS)
            for (int q = 0; q < ng; q++)
                v_fetch(w + (size_t)q * p->gb + p->ahead);
        for (int q = 0; q < ng; q++)
            for (int v = 0; v < FLOAT_VECS; v++)
                c[q][v] = float_weights(w + (size_t)q * p->gb + (size_t)v * vec, t);
        for (int i = 0; i < n; i++) {
            vf b = v_set1(x[(size_t)i * p->ldx]);
            for (int q = 0; q < ng; q++)
                for (int v = 0; v < FLOAT_VECS; v++)
                    acc[q][i][v] = v_fma(c[q][v], b, acc[q][i][v]);
        }
    }
    for (int q = 0; q < ng; q++)
        for (int i = 0; i < n; i++)
            for (int v = 0; v < FLOAT_VECS; v++)
                v_store(p->acc + (size_t)q * p->ldacc + (size_t)(16 * i + v * VW), acc[q][i][v]);
}

/* ---- few tokens ---- */

VEC void float_stream(const struct linear_args *a, size_t g1, size_t t0, int n, enum dtype t)
{
    float(*acc)[FLOAT_TOK][16] = a->scratch;
    struct float_part p = {
        .gb = float_group_bytes(a->k, t), .x = (const float *)a->act + t0 * a->k, .ldx = a->k, .n_k = a->k};
    p.acc = acc[0][0];
    p.ldacc = FLOAT_TOK * 16;
    p.ahead = a->ahead;
    for (size_t g = a->g0, ng; g < g1; g += ng) {
        ng = n * FLOAT_VECS <= 4 && g + 2 <= g1 ? 2 : 1;
        memset(acc, 0, ng * sizeof *acc);
        p.w = (const uint8_t *)a->w + g * p.gb;
        if (n * FLOAT_VECS <= 4 && ng == 2)
            float_tile(&p, n, 2, t);
        else
            float_tile(&p, n, 1, t);
        for (size_t q = 0; q < ng; q++)
            for (int i = 0; i < n; i++)
                float_store(a, g + q, t0 + (size_t)i, acc[q][i]);
    }
}

/* ---- many tokens ---- */

/* next: how far behind w lie the weights that will be converted next, which are fetched; 0: the hardware does it better. */
VEC void float_convert(float to[][16], const uint8_t *w, size_t n_k, size_t next, enum dtype t)
{
    for (size_t k = 0; k < n_k; k++, w += 32) {
        if (next && k % 2 == 0)
            v_fetch(w + next);
        for (size_t v = 0; v < FLOAT_VECS; v++)
            v_store(to[k] + v * VW, float_weights(w + 2 * VW * v, t));
    }
}

VEC void float_tile_of(const struct float_part *p, size_t n, int ng)
{
    _Static_assert(FLOAT_TOK <= 8, "a tile of every width has its own code");
    if (n == 8)
        float_tile(p, FLOAT_TOK < 8 ? FLOAT_TOK : 8, ng, DT_F32);
    else if (n == 7)
        float_tile(p, FLOAT_TOK < 7 ? FLOAT_TOK : 7, ng, DT_F32);
    else if (n == 6)
        float_tile(p, FLOAT_TOK < 6 ? FLOAT_TOK : 6, ng, DT_F32);
    else if (n == 5)
        float_tile(p, FLOAT_TOK < 5 ? FLOAT_TOK : 5, ng, DT_F32);
    else if (n == 4)
        float_tile(p, 4, ng, DT_F32);
    else if (n == 3)
        float_tile(p, 3, ng, DT_F32);
    else if (n == 2)
        float_tile(p, 2, ng, DT_F32);
    else
        float_tile(p, 1, ng, DT_F32);
}

/* n tokens of f32 weights in tiles; the last two share what is left evenly. */
static __attribute__((noinline)) void float_tokens(struct float_part p, size_t n, size_t ng)
{
    for (size_t m; n; n -= m, p.x += m * p.ldx, p.acc += m * 16) {
        m = n <= FLOAT_TOK ? n : n < 2 * FLOAT_TOK ? (n + 1) / 2 : FLOAT_TOK;
        if (ng == FLOAT_GROUPS)
            float_tile_of(&p, m, FLOAT_GROUPS);
        else
            float_tile_of(&p, m, 1);
    }
}

/* Groups [g0, g0 + n_group) times tokens [t0, t0 + n), at most a batch and a stripe. */
VEC void float_batch(const struct linear_args *a, size_t g0, size_t n_group, size_t t0, size_t n, enum dtype t)
{
    struct float_work *work = a->scratch;
    const size_t gb = float_group_bytes(a->k, t), elem = t == DT_F32 ? 64 : 32;
    memset(work->acc, 0, n_group * sizeof *work->acc);
    for (size_t k = 0; k < a->k; k += FLOAT_K) {
        struct float_part p = {.x = (const float *)a->act + t0 * a->k + k, .ldx = a->k, .ldacc = FLOAT_STRIPE * 16};
        p.n_k = a->k - k < FLOAT_K ? a->k - k : FLOAT_K;
        for (size_t g = 0, ng; g < n_group; g += ng) {
            const uint8_t *w = (const uint8_t *)a->w + (g0 + g) * gb + k * elem;
            ng = n_group - g < FLOAT_GROUPS ? n_group - g : FLOAT_GROUPS;
            for (size_t q = 0; t != DT_F32 && q < ng; q++)
                float_convert(work->panel[q], w + q * gb, p.n_k, a->ahead ? ng * gb : 0, t);
            p.w = t == DT_F32 ? w : (const uint8_t *)work->panel;
            p.gb = t == DT_F32 ? gb : sizeof work->panel[0];
            p.acc = work->acc[g][0];
            float_tokens(p, n, ng);
        }
    }
    for (size_t g = 0; g < n_group; g++)
        for (size_t i = 0; i < n; i++)
            float_store(a, g0 + g, t0 + i, work->acc[g][i]);
}

VEC size_t float_scratch(void)
{
    return sizeof(struct float_work);
}

VEC void float_mul(const struct linear_args *a, enum dtype type)
{
    size_t groups = (a->n_rows + 15) / 16, g1 = a->g1 < groups ? a->g1 : groups;
    for (size_t t = a->t0, n; t < a->t1; t += n) {
        n = a->t1 - t < FLOAT_STRIPE ? a->t1 - t : FLOAT_STRIPE;
        if (n > 4) {
            for (size_t g = a->g0; g < g1; g += FLOAT_BATCH)
                float_batch(a, g, g1 - g < FLOAT_BATCH ? g1 - g : FLOAT_BATCH, t, n, type);
            continue;
        }
        if (n == 4)
            float_stream(a, g1, t, 4, type);
        else if (n == 3)
            float_stream(a, g1, t, 3, type);
        else if (n == 2)
            float_stream(a, g1, t, 2, type);
        else
            float_stream(a, g1, t, 1, type);
    }
}

#endif
