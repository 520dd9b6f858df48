/* llama: the pre-norm decoder with RMSNorm, RoPE, grouped-query attention and SwiGLU (Touvron et al. 2023), and qwen2, which
 * adds biases to q, k, v.
 *
 * Traps. GGUF's llama files have the rows of q and k permuted so that RoPE pairs neighbours (2i, 2i+1); qwen2's are not
 * permuted and pair (i, i + d/2). The head may be tied: then output.weight is absent and token_embd serves.
 * In the last layer everything after the attention is needed for the wanted rows only. */
#include "model/build.h"
#include <math.h>

struct layer_weights {
    int attn_norm, q, k, v, q_bias, k_bias, v_bias, o, ffn_norm, gate, up, down;
};

static struct layer_weights llama_layer(struct builder *b, int l, bool qkv_bias)
{
    const struct model_info *i = b->info;
    uint64_t e = (uint64_t)i->n_embd, qw = (uint64_t)i->n_head * (uint64_t)i->head_dim;
    uint64_t kvw = (uint64_t)i->n_kv_head * (uint64_t)i->head_dim, ff = (uint64_t)i->n_ff;
    struct layer_weights w = {.q_bias = -1, .k_bias = -1, .v_bias = -1};
    w.attn_norm = build_weight(b, l, "attn_norm.weight", 1, e, WEIGHT_VECTOR);
    w.q = build_weight(b, l, "attn_q.weight", qw, e, WEIGHT_LINEAR);
    w.k = build_weight(b, l, "attn_k.weight", kvw, e, WEIGHT_LINEAR);
    w.v = build_weight(b, l, "attn_v.weight", kvw, e, WEIGHT_LINEAR);
    if (qkv_bias) {
        w.q_bias = build_weight(b, l, "attn_q.bias", 1, qw, WEIGHT_VECTOR);
        w.k_bias = build_weight(b, l, "attn_k.bias", 1, kvw, WEIGHT_VECTOR);
        w.v_bias = build_weight(b, l, "attn_v.bias", 1, kvw, WEIGHT_VECTOR);
    }
    w.o = build_weight(b, l, "attn_output.weight", e, qw, WEIGHT_LINEAR);
    w.ffn_norm = build_weight(b, l, "ffn_norm.weight", 1, e, WEIGHT_VECTOR);
    w.gate = build_weight(b, l, "ffn_gate.weight", ff, e, WEIGHT_LINEAR);
    w.up = build_weight(b, l, "ffn_up.weight", ff, e, WEIGHT_LINEAR);
    w.down = build_weight(b, l, "ffn_down.weight", e, ff, WEIGHT_LINEAR);
    return w;
}

void llama_build(struct builder *b, bool qkv_bias, bool neox)
{
    const struct model_info *i = b->info;
    uint64_t e = (uint64_t)i->n_embd, vocab = (uint64_t)i->n_vocab;
    int embd = build_weight(b, -1, "token_embd.weight", vocab, e, WEIGHT_EMBED);
    int x = build_embed(b, embd);
    for (int l = 0; l < i->n_layer && !b->rc; l++) {
        struct layer_weights w = llama_layer(b, l, qkv_bias);
        bool wide = build_wide(b, l), qkv_wide = wide || !qkv_bias; /* biases: qwen2 */
        int h = build_norm(b, x, w.attn_norm);
        int q = build_linear(b, h, w.q, w.q_bias, qkv_wide);
        int k = build_linear(b, h, w.k, w.k_bias, qkv_wide);
        int v = build_linear(b, h, w.v, w.v_bias, qkv_wide);
        q = build_rope(b, q, i->head_dim, i->rope_base, neox);
        k = build_rope(b, k, i->head_dim, i->rope_base, neox);
        q = build_scale(b, q, 1.0f / sqrtf((float)i->head_dim));
        int a = build_attn(b, q, k, v, build_kv(b, w.k, 0), 0);
        if (l == i->n_layer - 1) {
            a = build_select(b, a);
            x = build_select(b, x);
        }
        x = build_binary(b, OP_ADD, x, build_linear(b, a, w.o, -1, wide));
        h = build_norm(b, x, w.ffn_norm);
        int gate = build_linear(b, h, w.gate, -1, wide);
        int up = build_linear(b, h, w.up, -1, wide);
        h = build_binary(b, OP_SWIGLU, gate, up);
        x = build_binary(b, OP_ADD, x, build_linear(b, h, w.down, -1, wide));
    }
    x = build_norm(b, x, build_weight(b, -1, "output_norm.weight", 1, e, WEIGHT_VECTOR));
    int head = build_optional(b, -1, "output.weight", vocab, e, WEIGHT_LINEAR);
    if (head < 0)
        head = build_weight(b, -1, "token_embd.weight", vocab, e, WEIGHT_LINEAR);
    b->g->logits = build_linear(b, x, head, -1, true);
}

static void llama_build_graph(struct builder *b)
{
    llama_build(b, false, false);
}

const struct model_family model_llama = {"llama", NULL, llama_build_graph};
