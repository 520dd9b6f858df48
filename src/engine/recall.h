/* recall: blocks of a waiting request that only the disk has are read into the prefix cache before it starts. Engine thread; the
 * reading is done by the disk's threads. */
#ifndef HEARTH_ENGINE_RECALL_H
#define HEARTH_ENGINE_RECALL_H
#include "base/err.h"
#include <stdbool.h>

struct request;
struct recall;
struct engine_model;

/* r, which has no blocks yet, had better wait: its blocks are being read. The first call begins it. */
bool recall_waits(struct request *r);
void recall_stop(struct request *r); /* what is still on its way is given up */
/* The item's block was read, or its n_tok is 0: in the first case it becomes the cache's. */
struct kv_pool;
struct kvdisk_item;
void recall_give(struct kv_pool *p, struct kvdisk_item *it);
/* What m computes depends on this: file, precision, cache layout, and the program. */
int recall_fingerprint(struct engine_model *m, const char *path, bool precise, struct err *e);

#endif
