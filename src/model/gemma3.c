/* gemma3: Gemma 3 text models (Gemma Team 2025): norms before and after each block, norm on every head of q and k, GeGLU,
 * five sliding-window layers for one global, each kind with its own RoPE base, tied head.
 *
 * Traps. Embeddings are multiplied by sqrt(n_embd). The converter already added 1 to every norm weight. Heads may be wider
 * than n_embd / n_head (270m: 4 x 256 in 640). Layer l is global when (l + 1) % 6 == 0: base rope.freq_base; the others use
 * 10,000 and a window that counts the position itself. The linear RoPE scaling of larger models applies to global layers. */
#include "model/build.h"
#include <math.h>

enum { GEMMA3_PERIOD = 6 };

static int gemma3_read(const struct model_file *f, struct model_info *info, struct err *e)
{
    info->rope_base_local = 10000.0f;
    int rc = file_get_f32(f, "gemma3.rope.local.freq_base", &info->rope_base_local, e);
    if (rc && rc != ERR_NOTFOUND)
        return rc;
    uint32_t window = 0;
    rc = file_get_u32(f, "gemma3.attention.sliding_window", &window, e);
    if (rc)
        return rc;
    if (window < 1 || window > 1u << 20)
        return err_set(e, ERR_FORMAT, "gemma3.attention.sliding_window is %u", window);
    info->window = (int)window;
    return 0;
}

static int gemma3_attention(struct builder *b, int x, int l)
{
    const struct model_info *i = b->info;
    uint64_t e = (uint64_t)i->n_embd, d = (uint64_t)i->head_dim;
    uint64_t qw = (uint64_t)i->n_head * d, kvw = (uint64_t)i->n_kv_head * d;
    bool global = (l + 1) % GEMMA3_PERIOD == 0;
    float base = global ? i->rope_base : i->rope_base_local;
    int window = global ? 0 : i->window;

    int q = build_linear(b, x, build_weight(b, l, "attn_q.weight", qw, e, WEIGHT_LINEAR), -1, true);
    int wk = build_weight(b, l, "attn_k.weight", kvw, e, WEIGHT_LINEAR);
    int k = build_linear(b, x, wk, -1, true);
    int v = build_linear(b, x, build_weight(b, l, "attn_v.weight", kvw, e, WEIGHT_LINEAR), -1, true);
    q = build_norm(b, q, build_weight(b, l, "attn_q_norm.weight", 1, d, WEIGHT_VECTOR));
    k = build_norm(b, k, build_weight(b, l, "attn_k_norm.weight", 1, d, WEIGHT_VECTOR));
    struct model_info local = *i;
    if (!global)
        local.rope_scale = 1.0f;
    b->info = &local;
    q = build_rope(b, q, i->head_dim, base, true);
    k = build_rope(b, k, i->head_dim, base, true);
    b->info = i;
    q = build_scale(b, q, 1.0f / sqrtf((float)i->head_dim));
    return build_attn(b, q, k, v, build_kv(b, wk, window), window);
}

static int gemma3_ffn(struct builder *b, int x, int l, bool wide)
{
    uint64_t e = (uint64_t)b->info->n_embd, ff = (uint64_t)b->info->n_ff;
    int gate = build_linear(b, x, build_weight(b, l, "ffn_gate.weight", ff, e, WEIGHT_LINEAR), -1, wide);
    int up = build_linear(b, x, build_weight(b, l, "ffn_up.weight", ff, e, WEIGHT_LINEAR), -1, wide);
    int h = build_binary(b, OP_GEGLU, gate, up);
    return build_linear(b, h, build_weight(b, l, "ffn_down.weight", e, ff, WEIGHT_LINEAR), -1, wide);
}

static void gemma3_build(struct builder *b)
{
    const struct model_info *i = b->info;
    uint64_t e = (uint64_t)i->n_embd, vocab = (uint64_t)i->n_vocab, qw = (uint64_t)i->n_head * (uint64_t)i->head_dim;
    int embd = build_weight(b, -1, "token_embd.weight", vocab, e, WEIGHT_EMBED);
    int x = build_scale(b, build_embed(b, embd), sqrtf((float)i->n_embd));
    for (int l = 0; l < i->n_layer && !b->rc; l++) {
        bool wide = build_wide(b, l);
        int h = build_norm(b, x, build_weight(b, l, "attn_norm.weight", 1, e, WEIGHT_VECTOR));
        int a = gemma3_attention(b, h, l);
        if (l == i->n_layer - 1) {
            a = build_select(b, a);
            x = build_select(b, x);
        }
        a = build_linear(b, a, build_weight(b, l, "attn_output.weight", e, qw, WEIGHT_LINEAR), -1, wide);
        a = build_norm(b, a, build_weight(b, l, "post_attention_norm.weight", 1, e, WEIGHT_VECTOR));
        x = build_binary(b, OP_ADD, x, a);
        h = build_norm(b, x, build_weight(b, l, "ffn_norm.weight", 1, e, WEIGHT_VECTOR));
        h = gemma3_ffn(b, h, l, wide);
        h = build_norm(b, h, build_weight(b, l, "post_ffw_norm.weight", 1, e, WEIGHT_VECTOR));
        x = build_binary(b, OP_ADD, x, h);
    }
    x = build_norm(b, x, build_weight(b, -1, "output_norm.weight", 1, e, WEIGHT_VECTOR));
    int head = build_optional(b, -1, "output.weight", vocab, e, WEIGHT_LINEAR);
    if (head < 0)
        head = build_weight(b, -1, "token_embd.weight", vocab, e, WEIGHT_LINEAR);
    b->g->logits = build_linear(b, x, head, -1, true);
}

const struct model_family model_gemma3 = {"gemma3", gemma3_read, gemma3_build};
