/* kv: the paged cache of one model. A block holds 64 positions of all layers of a class (graph.h says where); blocks are taken
 * one by one from the ledger, so a refusal is known before memory is touched. Class 1 keeps only what its window still shows.
 * Any thread may trim; only the engine thread takes. */
#ifndef HEARTH_ENGINE_KV_H
#define HEARTH_ENGINE_KV_H
#include "base/err.h"
#include "graph/graph.h"
#include "ledger/ledger.h"
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

enum { KV_BLOCK = 64 }; /* positions in a block */

struct kv_pool {
    struct ledger_owner *owner; /* not owned */
    size_t block_bytes;
    pthread_mutex_t lock;
    uint8_t
        *free_list; /* blocks given back and not yet returned to the ledger; the first bytes of each link to the next */
    size_t n_free;
};

struct kv_seq {        /* block table of one sequence and class */
    uint8_t **page;    /* owned by the request, room for its longest length; NULL before `first` */
    int first, n_page; /* page[first .. n_page) are held */
};

void kv_init(struct kv_pool *p, struct ledger_owner *owner, size_t block_bytes);
void kv_done(struct kv_pool *p); /* every block must have come back */
size_t kv_free_blocks(struct kv_pool *p);
size_t kv_trim(struct kv_pool *p); /* gives the free list back to the ledger; returns bytes */
int kv_grow(struct kv_pool *p, struct kv_seq *s, struct err *e); /* one block more, zeroed */
void kv_drop(struct kv_pool *p, struct kv_seq *s);               /* all blocks of s onto the free list */
/* Position `next` is the first that is still to be computed: blocks that no position from there on sees go onto the free list. */
void kv_slide(struct kv_pool *p, struct kv_seq *s, int window, int next);

static inline int kv_blocks(int64_t n_pos)
{
    return (int)((n_pos + KV_BLOCK - 1) / KV_BLOCK);
}

/* First block that the position `next` and later ones see. */
static inline int kv_first(int window, int next)
{
    return window > 0 && next >= window ? (next - window + 1) / KV_BLOCK : 0;
}

/* Bytes of a sequence of n_pos positions that is computed in steps of at most `chunk`, at its largest. */
size_t kv_bytes(const struct graph *g, int64_t n_pos, int chunk);

#endif
