/* kv: the blocks of keys and values. A block holds 64 positions of all layers of a class (graph.h says where) and behind them a
 * struct kv_page that says who uses it. All models of an engine share one store: blocks of a size have one free list.
 *
 * A block is in one of three states, each with its owner in the ledger: used by sequences (refs > 0; model/NAME/kv), kept by the
 * prefix cache alone (model/NAME/prefix), or free (kv/free). Class 1 keeps only what its window still shows. What the
 * cache keeps is given back whenever the ledger is short of anything (ledger_on_short). Any thread may trim; the rest is the
 * engine thread's. */
#ifndef HEARTH_ENGINE_KV_H
#define HEARTH_ENGINE_KV_H
#include "base/err.h"
#include "graph/graph.h"
#include "ledger/ledger.h"
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KV_BLOCK = 64 }; /* positions in a block */

struct kv_hash { /* of a chain of tokens: 128 bits */
    uint64_t lo, hi;
};

struct kv_page {                 /* lies behind its block; all under store.lock */
    struct kv_page *prev, *next; /* kept by the cache alone: the pool's list, most recent first; free: the free list */
    struct kv_page *chain;       /* next of the index's bucket */
    struct kv_pool *pool;        /* class and model; of no meaning when free */
    struct kv_shape *shape;
    struct kv_hash parent; /* chain hash of all tokens before it; where the index finds it */
    double value;          /* the least valuable goes first (prefix.h); of equals the one let go of first */
    uint64_t stamp;
    int refs;  /* sequences that use it */
    int n_tok; /* positions it is indexed with: immutable then; 0: not in the index */
    int32_t token[KV_BLOCK];
};

struct kv_shape { /* blocks of one size, whoever's */
    struct kv_shape *next;
    struct kv_page *free; /* given back and not yet returned to the ledger */
    size_t bytes;         /* block and page, as allocated */
    int users;            /* pools */
};

struct kv_stats { /* counters since the start, and what there is now */
    uint64_t lookups, hits, hit_tokens, missed_tokens, evicted_pages;
    size_t cached_pages, cached_bytes, free_bytes;
};

struct kv_store {
    pthread_mutex_t lock; /* outside the ledger's */
    struct ledger *ledger;
    struct ledger_owner *own_free, *own_index;
    struct kv_shape *shapes;
    struct kv_pool *pools;
    struct kv_page **bucket; /* [n_bucket], a power of two: the index (prefix.c) */
    size_t n_bucket, n_indexed;
    double clock; /* value of what was evicted last */
    uint64_t n_stamp;
    struct kv_stats stats;
};

struct kv_pool { /* one class of one model */
    struct kv_store *store;
    struct kv_shape *shape;                     /* NULL: the model has no such layers */
    struct kv_pool *next;                       /* store.pools */
    struct ledger_owner *own_used, *own_cached; /* not owned */
    struct kv_page *newest, *oldest;            /* pages kept by the cache alone */
    size_t block_bytes;
    int window;
    double worth; /* seconds that computing a byte of it again takes; set by the engine thread */
};

struct kv_seq {        /* block table of one sequence and class */
    uint8_t **page;    /* owned by the request, room for its longest length; NULL before `first` */
    int first, n_page; /* page[first .. n_page) are held */
    bool shared;       /* the one that is written next may be somebody else's, too */
};

int kv_store_init(struct kv_store *s, struct ledger *l, struct err *e);
void kv_store_done(struct kv_store *s); /* pools before */
int kv_pool_init(struct kv_pool *p, struct kv_store *s, const struct graph_kv_class *c, struct err *e);
void kv_pool_done(
    struct kv_pool *p); /* no sequence may hold a block; what the cache keeps of it goes. Zeroed is fine */

/* Gives free blocks, then the cache's least valuable ones back to the ledger until `bytes` are; returns how many were. */
size_t kv_trim(struct kv_store *s, size_t bytes);
size_t kv_trim_free(struct kv_store *s); /* free blocks only */
size_t kv_spare(struct kv_store *s);     /* bytes that kv_trim could give */
void kv_stats(struct kv_store *s, struct kv_stats *out);

/* Memory for n blocks, or none; it holds anything. Many at once lie side by side, on huge pages if these are to be had. None is
 * touched, so that who fills them bears the page faults; kv_begin makes each a block of one reference before anybody else sees it. */
int kv_take(struct kv_pool *p, uint8_t **block, int n, struct err *e);
void kv_begin(struct kv_pool *p, uint8_t *block);
int kv_grow(struct kv_pool *p, struct kv_seq *s, struct err *e); /* one block more, zeroed */
/* Block j, if shared or indexed, is replaced by a copy that may be written. */
int kv_own(struct kv_pool *p, struct kv_seq *s, int j, struct err *e);
void kv_drop(struct kv_pool *p, struct kv_seq *s); /* lets go of all blocks, the deepest first */
/* Position `next` is the first that is still to be computed: lets go of blocks that no position from there on sees. */
void kv_slide(struct kv_pool *p, struct kv_seq *s, int next);

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
size_t kv_alloc_bytes(size_t block_bytes); /* of one block with its page: whole pages of memory; 0 for none */

/* The page of a block, and the block of a page. */
static inline struct kv_page *kv_page_of(const struct kv_pool *p, uint8_t *block)
{
    return (struct kv_page *)(void *)(block + p->shape->bytes - sizeof(struct kv_page));
}

static inline uint8_t *kv_block_of(const struct kv_shape *s, struct kv_page *page)
{
    return (uint8_t *)page + sizeof *page - s->bytes;
}

/* Under store.lock, for prefix.c: one reference more or less. */
void kv_page_ref(struct kv_page *page);
void kv_page_unref(struct kv_page *page);

#endif
