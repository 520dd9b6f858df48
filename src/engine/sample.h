/* sample: logits in, one token out. A pure function of (logits, parameters, history, seed, position): no state, no libm, one
 * order for every sum and for every tie, so the same request gives the same tokens on every machine and in every batch. */
#ifndef HEARTH_ENGINE_SAMPLE_H
#define HEARTH_ENGINE_SAMPLE_H
#include "engine/engine.h"

struct sample_cand { /* a token still in the race; `key` orders as the logit does, as an integer */
    int32_t key, id;
};

struct kernels;
struct sample_scratch { /* one per model and thread: [n_vocab] each, memory of the caller, count[] zero between calls */
    struct sample_cand *cand;
    float *work; /* logits after bias, mask and penalties: the raw ones stay as they are */
    float *weight;
    uint32_t *count;
    uint32_t *bits; /* [(n_vocab + 31) / 32] for a constraint's mask */
    float *top;     /* [n_vocab / 64, rounded up] largest logit of each block */
    const struct kernels *kernels;
};
size_t sample_scratch_bytes(size_t n_vocab);
void sample_scratch_set(struct sample_scratch *s, const struct kernels *k, void *mem, size_t n_vocab);

struct sample_in {
    const float *logits; /* [n_vocab], raw */
    size_t n_vocab;
    const int32_t *token; /* prompt and output so far [n_token]; the new token's position is n_token */
    int n_prompt, n_token;
    const struct sample_params *params;
    const struct constraint *constraint; /* or NULL */
};
/* ERR_RANGE when the logits hold a NaN or +infinity, or when bias and constraint leave no token. */
int sample_token(const struct sample_in *in, struct sample_scratch *s, int32_t *out, struct err *e);

/* log softmax of the raw logits: of `id` into lp[0], of the k best (value, then lowest id) into lp[1..k] and top_id[0..k-1];
 * a vocabulary of less than k leaves id -1. */
struct sample_want {
    int32_t id;
    int k;
    float *lp;       /* [1 + k] */
    int32_t *top_id; /* [k] */
};
void sample_logprobs(const float *logits, size_t n_vocab, const struct sample_want *w, struct sample_scratch *s);

#endif
