/* kernel: pure compute on the caller's memory, one thread. No allocation, no threads, no logging, no globals.
 *
 * ref/ (plain C) is the definition of right; every other folder repeats it bit for bit (simd/ holds the float code that avx2/,
 * avx512/ and neon/ share, and the linear layers of avxvnni/ and avx512/, each including it after its own vec.h). SIMD lanes are weight ROWS (linear),
 * KEYS (attention scores) or DIMENSIONS (attention values, elementwise), so each output has one accumulation order over k,
 * whatever the batch, the tile or the thread. Packed layouts are the same for every ISA, so a packed model can be run by
 * any level and kernelcheck compares with memcmp.
 *
 * Linear layers. Weights are packed once: rows in groups of KERNEL_MR (the last group padded with zero rows), each group
 * stored k-block by k-block (32 wide) so that a group is one sequential stream. Quantised weights take activations
 * rounded to signed 8 bit per 32-group (f32 scale), or, `wide`, to 15 bit as two 8-bit planes. F32/F16/BF16 weights take f32
 * activations. Definition for quantised types, per output row and token, blocks b ascending:
 *     isum = sum q*x (exact integer);  acc = fmaf((float)isum * dw[b], dx[b], acc);  types with a minimum also
 *     acc = fmaf(mw[b], dx[b]*(float)sum(x), acc)   -- exact order, and two scales a block (Q6_K, NVFP4): kernel/ref/linear.c.
 * An outlier is a token whose 8-bit groups are mostly one number that is much larger than its 31 neighbours (the first token of a
 * text is one in many models): sum over groups of dx^2 * sum(x^2) <= KERNEL_OUTLIER * sum of dx^2. What rounding took from
 * it is quantised as a second row, whose product the backend adds. A property of the token's own numbers alone. */
#ifndef HEARTH_KERNEL_H
#define HEARTH_KERNEL_H
#include "quant/quant.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    KERNEL_OUTLIER = 127 * 127 + 31 * 6 * 6
}; /* of at most 32 * 127^2; one large number alone gives 127^2 = 16129, noise about 117000 */
enum { KERNEL_MR = 16, KERNEL_GROUP = 32, KERNEL_PAGE = 64, KERNEL_SEGMENT = 512, KERNEL_TOK = 8 };

/* One call computes rows [g0*MR, min(g1*MR, n_rows)) for tokens [t0, t1). */
struct linear_args {
    const void *w;     /* packed weights of the whole matrix; group g begins at w + g*group_bytes */
    const void *act;   /* quantised: from act_quantize; float types: f32 [n_tok][k] contiguous */
    const float *bias; /* [n_rows] or NULL: added last, y = acc * factor + bias, rounded twice */
    float *y;          /* y[t*ldy + row] */
    void *scratch;     /* this thread's, linear_scratch bytes, 64-byte aligned */
    size_t k, n_rows, ldy;
    size_t g0, g1, t0, t1;
    size_t n_tok;        /* tokens act was made for */
    bool wide;           /* the activation's width */
    size_t ahead;        /* bytes of the weight stream to fetch ahead of use; 0: the hardware's prefetcher alone */
    const float *factor; /* [1] or NULL (1): the whole matrix is multiplied by it (NVFP4's tensor scale) */
};

static inline float linear_factor(const struct linear_args *a)
{
    return a->factor ? *a->factor : 1.0f;
}

struct linear_kernel {               /* one per dtype */
    size_t (*group_bytes)(size_t k); /* bytes of one packed group of MR rows; multiple of 64 */
    /* Packs one group: src points at n (1..MR) consecutive encoded rows, row_bytes apart. */
    void (*pack)(void *dst, const void *src, size_t row_bytes, size_t n, size_t k);
    void (*unpack_row)(float *dst, const void *w, size_t row,
                       size_t k); /* decoded row, == dtype decode (embedding lookup) */
    void (*mul)(const struct linear_args *a);
    bool float_act; /* takes f32 activations instead of act_quantize's */
};

/* Attention of one KV head for n_q query rows of one sequence. A page holds 64 positions, of one dtype per layer, decoded to f32
 * exactly: K is [head_dim][64] (keys are lanes), V [64][head_dim]; Q8_0 (groups of 32 along the head's dimensions) keeps its
 * codes as such a matrix of s8 and behind it the f16 scales, K [head_dim / 32][64], V [64][head_dim / 32].
 * Query row i sees keys max(0, pos[i]-window+1) .. pos[i] (window 0: from 0). Segments of 512 absolute positions are computed
 * independently (scores, max, exp, sum, values in key order) and merged in ascending order, so neither the prefill chunk nor the
 * thread split changes a bit. A call with `part` computes only the segments [seg0, seg1) and leaves them unmerged, so that
 * several threads can share one long sequence; attn_merge ends it. */
struct attn_args {
    const float *const *q;       /* [n_q] -> row of head_dim (already scaled, rotated) */
    float *const *out;           /* [n_q] -> row of head_dim */
    const int32_t *pos;          /* [n_q] */
    size_t n_q, head_dim;        /* head_dim: multiple of 8, at most 512 */
    const uint8_t *const *pages; /* pages[j]: KV block of positions 64j..64j+63 (NULL if wholly outside every window) */
    size_t k_off, v_off;         /* byte offsets of this layer's and head's K and V inside a block */
    int32_t window;
    void *scratch;     /* attn_scratch(n_q, head_dim) bytes */
    float *part;       /* NULL: everything. Else [n_q][part_n][kernel_part(head_dim)], from segment part_first on */
    size_t seg0, seg1; /* with part: the segments of this call */
    size_t part_first, part_n;
};
/* Floats of one segment's result: largest score, sum, 14 unused, the values. */
static inline size_t kernel_part(size_t head_dim)
{
    return 16 + (head_dim + 15) / 16 * 16;
}

/* Bytes of one head's K, or V, in a block. */
static inline size_t kernel_kv_bytes(enum dtype t, size_t head_dim)
{
    return head_dim / dtype_info(t)->block * dtype_info(t)->bytes * KERNEL_PAGE;
}

/* Q8_0's keys, and the queries that meet them, are turned by a Hadamard matrix: large dimensions, which would spoil their
 * group's scale, are spread over all. Groups of n, the largest power of two in head_dim; stage by stage, sums of pairs 1, 2, 4, ...
 * apart. The factor 1/n is the queries' alone, and exact. */
static inline void kernel_turn(float *x, size_t head_dim, bool query)
{
    size_t n = head_dim & (~head_dim + 1);
    for (size_t len = 1; len < n; len *= 2)
        for (size_t i = 0; i < head_dim; i += 2 * len)
            for (size_t j = i; j < i + len; j++) {
                float a = x[j], b = x[j + len];
                x[j] = a + b;
                x[j + len] = a - b;
            }
    for (size_t i = 0; query && i < head_dim; i++)
        x[i] *= 1.0f / (float)n;
}

/* K and V of one head for n neighbouring positions of a block. */
struct store_args {
    uint8_t *block;
    size_t k_off, v_off;
    const float *k, *v; /* of the first position; the next one's are ld floats further */
    size_t ld, head_dim, slot, n;
};

struct attn_kernel { /* one per dtype that a cache can have; NULL for the others */
    void (*attn)(const struct attn_args *a);
    void (*store)(const struct store_args *a); /* K as columns slot .. slot + n - 1, V as rows, rounded to the dtype */
};

/* What the weights of a draw are made with, and what comes of it. */
struct weigh {
    float max, temperature, least; /* max: of all logits, finite */
    float sum, top;                /* of the call's weights; the largest */
};

struct kernels {
    const char *level; /* "ref", "avx2", "avxvnni", "avx512", "amx", "neon", "i8mm" */
    struct linear_kernel linear[DT_COUNT];

    /* Activation quantiser: x [n_tok][k] with row stride ldx -> act, tokens [t0, t1) only. outliers: NULL, or a byte for each
     * KERNEL_TOK tokens in which bit t % KERNEL_TOK is set or cleared for each token of the call, and bits after it are
     * cleared; never set when wide. */
    size_t (*act_bytes)(size_t k, size_t n_tok, bool wide);
    void (*act_quantize)(void *act, uint8_t *outliers, const float *x, size_t ldx, size_t k, size_t n_tok, size_t t0,
                         size_t t1, bool wide);
    /* r[k] = x - its quantised form, which is token t of act (8 bits). */
    void (*act_residual)(float *r, const void *act, const float *x, size_t k, size_t n_tok, size_t t);
    size_t (*linear_scratch)(size_t k, size_t n_tok);
    size_t linear_groups,
        linear_tokens; /* how much of a layer of many tokens one call of mul should be, if there is enough */

    size_t (*attn_scratch)(size_t n_q, size_t head_dim);
    struct attn_kernel attn[DT_COUNT];
    void (*attn_merge)(const struct attn_args *a); /* merges `part`, complete for every row, into out */

    /* Elementwise and row-wise, f32. Reductions use 16 virtual lanes and a fixed tree. dst may equal an input. */
    void (*rmsnorm)(float *dst, const float *x, const float *w, size_t n, float eps); /* x / sqrt(mean x^2 + eps) * w */
    void (*add)(float *dst, const float *a, const float *b, size_t n);
    void (*scale)(float *dst, const float *a, float s, size_t n);
    void (*silu_mul)(float *dst, const float *gate, const float *up, size_t n); /* gate*sigmoid(gate)*up */
    void (*gelu_mul)(float *dst, const float *gate, const float *up, size_t n); /* tanh form of GELU */
    /* Rotates one head in place; cs: [d/2] cos then [d/2] sin. neox: pairs (i, i+d/2); else (2i, 2i+1). */
    void (*rope)(float *x, const float *cs, size_t d, bool neox);
    /* Largest value, lowest index on ties; NaN never wins. */
    size_t (*argmax)(const float *x, size_t n);
    /* w = e^((x - max) / temperature), or 0 where that is below `least`. x: no NaN, at most max. */
    void (*weigh)(float *w, const float *x, size_t n, struct weigh *a);
};

/* Fills *k for the features in `mask` (base/cpu.h), ref first, better levels over it. Never chooses what the mask lacks. */
void kernels_init(struct kernels *k, unsigned mask);

/* Names and levels of every entry, for doctor, kernelcheck and the bench. */
const char *kernel_entry_name(size_t i); /* NULL past the end */
const char *kernel_entry_level(const struct kernels *k, size_t i);

#endif
