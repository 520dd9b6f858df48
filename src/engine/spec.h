/* spec: guessing ahead. A step that reads all weights for one token can run some more tokens for little: what probably comes next is
 * drafted, run in the same step as ordinary tokens, and the sampler then decides as if each had come alone. Wrong guesses
 * cost time and change nothing. This file guesses (from the sequence's own text: Saxena, "Prompt Lookup Decoding", 2023) and decides how
 * many guesses pay; step.c runs them. Plain structs, no clock, no allocation. */
#ifndef HEARTH_ENGINE_SPEC_H
#define HEARTH_ENGINE_SPEC_H
#include <stddef.h>
#include <stdint.h>

enum { SPEC_MAX = 8, SPEC_GRAM = 3 }; /* guesses in a step at most; tokens that must agree for a guess from the text */

/* What a step of one sequence costs, measured: a property of model and machine. */
struct spec_cost {
    double step[SPEC_MAX + 2]; /* [tokens] seconds, running mean; 0: not measured */
};
void spec_cost_add(struct spec_cost *c, int n_tok, double seconds);

enum spec_source { SPEC_TEXT, SPEC_DRAFT, SPEC_SOURCES }; /* the sequence's own text; a smaller model (draft.h) */

struct spec_seq { /* of one request */
    int32_t *
        last; /* [mask + 1] where the text went on after SPEC_GRAM tokens, by their hash; 0: never seen. Owned by the request */
    uint32_t mask;
    int n_seen;                /* tokens that are in the table */
    double rate[SPEC_SOURCES]; /* how often a guess of each was right, running mean */
    enum spec_source source;   /* of the guesses of this step */
    int n_drafted, n_accepted; /* totals, kept by step.c */
};
size_t spec_bytes(int n_all); /* of the table for a request of n_all tokens */
void spec_init(struct spec_seq *s, void *mem, int n_all);

/* Guesses for token[n_token..], written there, at most max; returns how many. The room behind n_token must be there. */
int spec_lookup(struct spec_seq *s, int32_t *token, int n_token, int max);
/* How many guesses to run, 0..max: the most tokens per second to be expected. `each`: seconds that making one guess takes. */
int spec_length(const struct spec_cost *c, double rate, double each, int max);
/* `drafted` guesses were run and the first `accepted` were right. A possible draft that was not run is (0, 0): it moves the rate
 * a little towards hope, so that what does not pay now is tried again some day. */
void spec_learn(struct spec_seq *s, int drafted, int accepted);

#endif
