/* model: what a network is. One file per family {read hyper-parameters, bind weights, build graph} and one row in the list.
 * Loading is checking: every tensor's name, shape and dtype is verified here, before a byte of weights is read. */
#ifndef HEARTH_MODEL_H
#define HEARTH_MODEL_H
#include "base/err.h"
#include "file/file.h"
#include "graph/graph.h"

struct model_info {
    char family[24];                                                        /* "llama", "qwen2", "gemma3" */
    char name[96];                                                          /* general.name */
    int n_layer, n_embd, n_head, n_kv_head, head_dim, n_ff, n_vocab, n_ctx; /* n_ctx: trained context */
    float rms_eps, rope_base, rope_base_local, rope_scale;
    int window; /* sliding window, 0 = none */
    uint64_t n_params;
    char quant[24]; /* the dtype most weight bytes have, or general.file_type's name: "Q4_K_M" */
};

/* model_build flags: wide activations everywhere; and from bit MODEL_KV on the type of the cache, which model_kv_flag makes (0: the
 * model's own, f16, or f32 where the weights are). */
enum { MODEL_PRECISE = 1, MODEL_KV = 8 };
/* The cache's types are f32, f16, bf16, q8_0 and f8_e4m3. ERR_USAGE names them. */
int model_kv_flag(const char *name, unsigned *out, struct err *e);
const char *model_kv_name(int i); /* "F32"; NULL past the end */

int model_read(const struct model_file *f, struct model_info *out, struct err *e);
/* Builds the graph (weights bound by index, KV layout, logits). Caller frees with graph_free. */
int model_build(const struct model_file *f, const struct model_info *info, unsigned flags, struct graph **out,
                struct err *e);
const char *model_family_name(int i); /* NULL past the end */

#endif
