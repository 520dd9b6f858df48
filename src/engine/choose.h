/* choose: the next token of each sequence of a step, chosen by the pool's threads side by side. What is chosen depends on a sequence's
 * own row, history and seed alone, so who chooses shows in nothing. */
#ifndef HEARTH_ENGINE_CHOOSE_H
#define HEARTH_ENGINE_CHOOSE_H
#include "engine/sample.h"

struct engine;
struct engine_model;
struct request;

enum { CHOOSE_THREADS = 4 }; /* at most: each has a scratch of its own for the whole vocabulary */

size_t choose_scratch_bytes(const struct engine *g, size_t n_vocab);
void choose_scratch_set(struct engine_model *m, void *mem, size_t n_vocab);

/* The token after r's last known one, and what is asked for of its log probabilities. */
int choose_token(struct request *r, const float *logits, struct sample_scratch *s, int32_t *id, struct err *e);
/* Every sequence of m's step, which has run, that chooses one token: `choice` if `chosen`. A choice that failed is left to be made again. */
void choose_all(struct engine_model *m);

#endif
