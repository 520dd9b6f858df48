/* qwen2: llama's decoder with biases on q, k, v and RoPE over (i, i + d/2). */
#include "model/build.h"

static void qwen2_build(struct builder *b)
{
    llama_build(b, true, true);
}

const struct model_family model_qwen2 = {"qwen2", NULL, qwen2_build};
