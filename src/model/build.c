/* build: see build.h. */
#include "model/build.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static int build_fail(struct builder *b, int code)
{
    if (!b->rc)
        b->rc = code;
    return -1;
}

static int build_bound(const struct builder *b, const char *name)
{
    for (int i = 0; i < b->g->n_weight; i++)
        if (strcmp(b->g->weight[i].name, name) == 0)
            return i;
    return -1;
}

static int build_bind(struct builder *b, const struct graph_weight *want, bool optional);

/* NVFP4 files keep a number per matrix beside it, in "X.scale" for "X.weight" (and "X.input_scale", which is for those who round
 * activations by it): 1 + the weight's index, 0 when there is none. A tied head's is output.scale. */
static int build_factor(struct builder *b, const char *name)
{
    static const char tail[] = ".weight";
    struct graph_weight w = {.rows = 1, .k = 1, .use = WEIGHT_VECTOR};
    size_t n = strlen(name), stem = n - (sizeof tail - 1);
    if (n < sizeof tail || strcmp(name + stem, tail) != 0)
        return 0;
    if (strcmp(name, "token_embd.weight") == 0)
        snprintf(w.name, sizeof w.name, "output.scale");
    else
        snprintf(w.name, sizeof w.name, "%.*s.scale", (int)stem, name);
    return build_bind(b, &w, true) + 1;
}

static int build_bind(struct builder *b, const struct graph_weight *want, bool optional)
{
    if (b->rc)
        return -1;
    const struct file_tensor *t = file_tensor_find(b->file, want->name);
    if (!t) {
        if (optional)
            return -1;
        return build_fail(b, err_set(&b->err, ERR_FORMAT, "tensor %s is missing", want->name));
    }
    if (t->dim[0] != want->k || t->dim[1] != want->rows || t->dim[2] != 1 || t->dim[3] != 1)
        return build_fail(b, err_set(&b->err, ERR_FORMAT, "tensor %s has shape [%llu, %llu], expected [%llu, %llu]",
                                     want->name, (unsigned long long)t->dim[0], (unsigned long long)t->dim[1],
                                     (unsigned long long)want->k, (unsigned long long)want->rows));
    if (want->use == WEIGHT_LINEAR && want->k % 32)
        return build_fail(b,
                          err_set(&b->err, ERR_UNSUPPORTED, "tensor %s: rows of %llu elements (not a multiple of 32)",
                                  want->name, (unsigned long long)want->k));
    int have = build_bound(b, want->name);
    if (have >= 0) {                              /* tied: the packed form serves both uses */
        int factor = build_factor(b, want->name); /* may move the weights */
        b->g->weight[have].use = WEIGHT_LINEAR;
        b->g->weight[have].factor = factor;
        return have;
    }
    struct graph_weight w = *want;
    w.dtype = t->dtype;
    w.offset = t->offset;
    w.bytes = t->bytes;
    w.factor = w.use == WEIGHT_LINEAR ? build_factor(b, want->name) : 0;
    return graph_add_weight(b->g, &w);
}

static void build_name(char out[72], int layer, const char *name)
{
    if (layer < 0)
        snprintf(out, 72, "%s", name);
    else
        snprintf(out, 72, "blk.%d.%s", layer, name);
}

int build_weight(struct builder *b, int layer, const char *name, uint64_t rows, uint64_t k, enum weight_use use)
{
    struct graph_weight w = {.rows = rows, .k = k, .use = use};
    build_name(w.name, layer, name);
    return build_bind(b, &w, false);
}

int build_optional(struct builder *b, int layer, const char *name, uint64_t rows, uint64_t k, enum weight_use use)
{
    struct graph_weight w = {.rows = rows, .k = k, .use = use};
    build_name(w.name, layer, name);
    return build_bind(b, &w, true);
}

/* 15-bit activations go where 8-bit ones cost the most fidelity for the least time: the head, everything in the first and the last
 * layer, which is what this says, and q, k and v of every layer where the norm before them makes a few channels much larger
 * than the rest, which Qwen's does not (docs/perf-log.md has the measurements). A property of the model alone, so prefill and
 * decode agree. Elsewhere single tokens are computed more finely (outliers: kernel/kernel.h). */
bool build_wide(const struct builder *b, int layer)
{
    return (b->flags & MODEL_PRECISE) || layer == 0 || layer == b->info->n_layer - 1;
}

static int build_width(const struct builder *b, int x)
{
    return x >= 0 && x < b->g->n_value ? b->g->value[x].width : 0;
}

static bool build_wanted(const struct builder *b, int x)
{
    return x >= 0 && x < b->g->n_value && b->g->value[x].wanted_rows;
}

static int build_add(struct builder *b, const struct graph_node *n, int width)
{
    if (b->rc)
        return -1;
    bool wanted = n->op == OP_SELECT || (n->op != OP_EMBED && build_wanted(b, n->in[0]));
    return graph_add(b->g, n, width, wanted);
}

int build_embed(struct builder *b, int w)
{
    return build_add(b, &(struct graph_node){.op = OP_EMBED, .w = {w, -1}}, b->info->n_embd);
}

int build_norm(struct builder *b, int x, int w)
{
    return build_add(b, &(struct graph_node){.op = OP_RMSNORM, .in = {x}, .w = {w, -1}, .f = b->info->rms_eps},
                     build_width(b, x));
}

int build_linear(struct builder *b, int x, int w, int bias, bool wide)
{
    int rows = w >= 0 ? (int)b->g->weight[w].rows : 0;
    return build_add(b, &(struct graph_node){.op = OP_LINEAR, .in = {x}, .w = {w, bias}, .wide = wide}, rows);
}

int build_rope(struct builder *b, int x, int head_dim, float base, bool neox)
{
    struct graph_node n = {.op = OP_ROPE,
                           .in = {x},
                           .w = {-1, -1},
                           .head_dim = head_dim,
                           .rope_base = base,
                           .rope_scale = b->info->rope_scale,
                           .neox = neox};
    return build_add(b, &n, build_width(b, x));
}

int build_kv(struct builder *b, int k_weight, int window)
{
    bool f32 = k_weight >= 0 && b->g->weight[k_weight].dtype == DT_F32;
    unsigned asked = b->flags >> MODEL_KV;
    enum dtype dtype = asked ? (enum dtype)(asked - 1) : f32 ? DT_F32 : DT_F16;
    return graph_add_kv(b->g, b->info->n_kv_head, b->info->head_dim, window, dtype);
}

int build_attn(struct builder *b, int q, int k, int v, int layer, int window)
{
    const struct model_info *i = b->info;
    struct graph_node n = {.op = OP_ATTN,
                           .in = {q, k, v},
                           .w = {-1, -1},
                           .layer = layer,
                           .n_head = i->n_head,
                           .n_kv_head = i->n_kv_head,
                           .head_dim = i->head_dim,
                           .window = window};
    return build_add(b, &n, build_width(b, q));
}

int build_binary(struct builder *b, enum graph_op op, int x, int y)
{
    return build_add(b, &(struct graph_node){.op = op, .in = {x, y}, .w = {-1, -1}}, build_width(b, x));
}

int build_scale(struct builder *b, int x, float f)
{
    return build_add(b, &(struct graph_node){.op = OP_SCALE, .in = {x}, .w = {-1, -1}, .f = f}, build_width(b, x));
}

int build_select(struct builder *b, int x)
{
    return build_add(b, &(struct graph_node){.op = OP_SELECT, .in = {x}, .w = {-1, -1}}, build_width(b, x));
}
