/* draft: guesses by a smaller model of the same vocabulary (Leviathan et al., "Fast Inference from Transformers via Speculative
 * Decoding", 2023; here the sampler decides token by token, so the answer is the large model's bit for bit). The small model
 * keeps a cache of its own of the sequence and samples as the request would, with the same random numbers. Engine thread. */
#ifndef HEARTH_ENGINE_DRAFT_H
#define HEARTH_ENGINE_DRAFT_H
#include <stdbool.h>

struct engine_model;
struct err;
struct request;

/* Only their headers are looked at; ERR_RANGE: another vocabulary. */
int draft_check(const struct engine_model *m, const struct engine_model *draft, struct err *e);

/* Guesses for token[n_token..], written there, at most max; returns how many. A long prompt is first read into the draft's cache, a
 * chunk a call, and nothing is guessed meanwhile. Memory that is refused means no guess. */
int draft_guess(struct request *r, int max);
double draft_cost(const struct engine_model *m); /* seconds for one guess, measured or a first estimate; 0: no draft */
bool draft_drop(struct request *r);              /* lets go of the draft's blocks; false: there were none */

#endif
