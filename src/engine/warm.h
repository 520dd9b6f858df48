/* warm: what the disk tier has of a model comes back into the prefix cache as soon as the model is there and nobody asks for anything:
 * after a restart a conversation goes on as if there had been none. Engine thread; the disk's threads read. */
#ifndef HEARTH_ENGINE_WARM_H
#define HEARTH_ENGINE_WARM_H
#include <stdbool.h>

struct engine;
/* Begins, takes what has come, or, when there is other work, gives up: who asks reads what he needs himself. */
void warm_turn(struct engine *g, bool work);

#endif
