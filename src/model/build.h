/* build: what the family files share: binding a tensor by name with its shape checked, and the common node shorthands.
 * Errors stick in the builder; the family checks once at the end. Private to model/. */
#ifndef HEARTH_MODEL_BUILD_H
#define HEARTH_MODEL_BUILD_H
#include "model/model.h"

struct builder {
    const struct model_file *file;
    const struct model_info *info;
    struct graph *g;
    unsigned flags;
    int rc;         /* first error */
    struct err err; /* its text */
};

/* Binds tensor "blk.<layer>.<name>" (layer -1: "<name>") of shape [rows, k]; returns its weight index, -1 after an error. A tensor
 * bound twice (a tied head) is one weight. Optional tensors give -1 without an error when absent. */
int build_weight(struct builder *b, int layer, const char *name, uint64_t rows, uint64_t k, enum weight_use use);
int build_optional(struct builder *b, int layer, const char *name, uint64_t rows, uint64_t k, enum weight_use use);

/* Whether all linear layers of `layer` take 15-bit activations. */
bool build_wide(const struct builder *b, int layer);

int build_embed(struct builder *b, int w);
int build_norm(struct builder *b, int x, int w);
int build_linear(struct builder *b, int x, int w, int bias, bool wide);
int build_rope(struct builder *b, int x, int head_dim, float base, bool neox);
int build_kv(struct builder *b, int k_weight,
             int window); /* a cache layer: as the flags say, else f32 where the model is, else f16 */
int build_attn(struct builder *b, int q, int k, int v, int layer, int window);
int build_binary(struct builder *b, enum graph_op op, int x, int y);
int build_scale(struct builder *b, int x, float f);
int build_select(struct builder *b, int x);

/* One family: name as in general.architecture; build appends the whole graph. */
struct model_family {
    const char *arch;
    int (*read)(const struct model_file *f, struct model_info *info,
                struct err *e); /* beyond the common keys; may be NULL */
    void (*build)(struct builder *b);
};
extern const struct model_family model_llama, model_qwen2, model_gemma3;

/* The pre-norm decoder that llama and qwen2 share: they differ in biases and in how RoPE pairs its dimensions. */
void llama_build(struct builder *b, bool qkv_bias, bool neox);

#endif
