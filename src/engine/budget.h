/* budget: how many prompt tokens a step of a model reads, and what its steps are learnt to cost. What sched decides is asked for here
 * with the engine's own clock and lists. Engine thread. */
#ifndef HEARTH_ENGINE_BUDGET_H
#define HEARTH_ENGINE_BUDGET_H
#include "engine/sched.h"

struct engine;
struct engine_model;

/* What a step aims to stay below when nobody waits for a token of its model, but somebody might come. */
static const double BUDGET_ALONE_S = 0.5;

/* Prompt tokens of m's next step, m->sched being filled; and what is promised of it: m->limit_s. */
int budget_chunk(const struct engine *g, struct engine_model *m);
/* m's step has run. And: something of m was computed, which took so long. */
void budget_learn(struct engine_model *m);
void budget_took(struct engine_model *m, const struct sched_did *d);

#endif
