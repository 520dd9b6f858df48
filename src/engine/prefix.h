/* prefix: blocks that are found again by what they were computed from. The key is the chain hash of all tokens before the
 * block, seeded by the model's fingerprint; the block's own tokens are compared. Full blocks are indexed when they are filled,
 * prompt and answer alike; the last, partly filled one when its sequence ends. An indexed block is never written again: who goes on
 * behind its middle copies it. A hit holds the very bits that a miss would compute.
 *
 * Eviction: each pool keeps its unused blocks by recency. A block's value is a clock plus the seconds per byte that computing it
 * again takes (GreedyDual-Size, Cao and Irani 1997); the clock is the value of the last one that went, so what is not asked for
 * grows old. A sequence lets go of its deepest blocks first, so a chain is eaten from its end. */
#ifndef HEARTH_ENGINE_PREFIX_H
#define HEARTH_ENGINE_PREFIX_H
#include "engine/kv.h"

struct prefix_query {
    struct kv_pool *pool;       /* [GRAPH_KV_CLASSES] of the model */
    const int32_t *token;       /* [limit] */
    const struct kv_hash *hash; /* [limit / KV_BLOCK + 1]: chain hash before block j */
    int limit;                  /* positions that may come from the cache */
    struct kvdisk *disk;        /* prefix_reach only: its blocks count as if they were here; or NULL */
};

struct prefix_hit {
    int n_pos;   /* positions found, in every class */
    size_t used; /* bytes of them that sequences hold already */
};

struct kv_hash prefix_chain(struct kv_hash parent, const int32_t token[KV_BLOCK]);
/* What of the query is there. With `seq` its blocks are referenced and entered in the (empty) tables of both classes. */
struct prefix_hit prefix_find(const struct prefix_query *q, struct kv_seq *seq);
/* Block j of s holds n_tok positions for these tokens and will not be written before kv_own: from now on it is found. An equal
 * block that is there already takes its place in s. true: it is new. */
bool prefix_publish(struct kv_pool *p, struct kv_seq *s, int j, struct kv_hash parent, const int32_t *token, int n_tok);
/* How many positions prefix_find would find, those of the disk included; whether block j of a class is here for n_tok tokens. */
int prefix_reach(const struct prefix_query *q);
bool prefix_has(const struct prefix_query *q, int cls, int j, int n_tok);
void prefix_forget(struct kv_page *page); /* store.lock held: out of the index, if in it */
int prefix_reserve(struct kv_store *s);   /* keeps the index's buckets few to a chain; before locks are taken */

#endif
