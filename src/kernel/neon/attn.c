/* neon/attn: attention at this level's width. */
#include "kernel/neon/neon.h"
#include "kernel/neon/vec.h"
#include "kernel/simd/attn.h"

static size_t attn_scratch(size_t n_q, size_t head_dim)
{
    return attn_scratch_bytes(n_q, head_dim);
}

static void attn(const struct attn_args *a)
{
    attn_run(a);
}

static void kv_store(uint8_t *block, size_t k_off, size_t v_off, const float *k, const float *v, size_t head_dim,
                     size_t slot)
{
    attn_kv_store(block, k_off, v_off, k, v, head_dim, slot);
}

void neon_init_attn(struct kernels *k)
{
    k->attn_scratch = attn_scratch;
    k->attn = attn;
    k->kv_store = kv_store;
}
