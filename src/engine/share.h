/* share: what a request takes from others and leaves to others: blocks of the prefix cache, and the block that a running sequence
 * is still filling (n choices of one prompt). Engine thread. */
#ifndef HEARTH_ENGINE_SHARE_H
#define HEARTH_ENGINE_SHARE_H
#include "engine/prefix.h"
#include <stdbool.h>

struct request;

/* r's tokens as far as they may come from the cache. */
struct prefix_query share_query(struct request *r);
/* Bytes that r would share with running sequences if it started now. */
size_t share_peek(struct request *r);
int share_begin(struct request *r); /* position where r would begin now */
/* r has no blocks: it gets what is there of its tokens, and n_done moves on accordingly. */
void share_find(struct request *r);
/* A running request is about to compute a good part of what r needs: r had better wait for it. */
bool share_waits(struct request *r);
/* After a step: r's blocks that have become full are found by others from now on. */
void share_publish(struct request *r);
/* All blocks of r are let go of; what is complete stays in the cache. n_done is 0. */
void share_leave(struct request *r);

#endif
