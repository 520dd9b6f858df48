/* prefix: see prefix.h. One hash table over all models: chains of pages by parent hash; the siblings in a chain differ in
 * tokens, class or model. */
#include "engine/prefix.h"
#include "engine/kvdisk.h"
#include <string.h>
#include <xxhash.h>

struct kv_hash prefix_chain(struct kv_hash parent, const int32_t token[KV_BLOCK])
{
    struct {
        struct kv_hash parent;
        int32_t token[KV_BLOCK];
    } in = {.parent = parent};
    memcpy(in.token, token, sizeof in.token);
    XXH128_hash_t h = XXH3_128bits(&in, sizeof in);
    return (struct kv_hash){h.low64, h.high64};
}

static struct kv_page **bucket_of(const struct kv_store *s, struct kv_hash h)
{
    return &s->bucket[h.lo & (s->n_bucket - 1)];
}

int prefix_reserve(struct kv_store *s)
{
    size_t old = s->n_bucket, n = old * 2, bytes = sizeof(struct kv_page *);
    pthread_mutex_lock(&s->lock); /* a model that leaves takes its blocks along */
    bool space = s->n_indexed < old;
    pthread_mutex_unlock(&s->lock);
    if (space)
        return 0;
    void *mem;
    int rc = ledger_alloc(s->own_index, n * bytes, &mem, NULL);
    if (rc < 0)
        return rc; /* longer chains, then */
    struct kv_page **from = s->bucket;
    pthread_mutex_lock(&s->lock);
    s->bucket = mem;
    s->n_bucket = n;
    for (size_t i = 0; i < old; i++)
        for (struct kv_page *p = from[i], *next; p; p = next) {
            next = p->chain;
            struct kv_page **at = bucket_of(s, p->parent);
            p->chain = *at;
            *at = p;
        }
    pthread_mutex_unlock(&s->lock);
    ledger_dealloc(s->own_index, from, old * bytes);
    return 0;
}

void prefix_forget(struct kv_page *page)
{
    if (!page->n_tok)
        return;
    struct kv_store *s = page->pool->store;
    struct kv_page **at = bucket_of(s, page->parent);
    while (*at != page)
        at = &(*at)->chain;
    *at = page->chain;
    page->chain = NULL;
    page->n_tok = 0;
    s->n_indexed--;
}

static int same_tokens(const int32_t *a, const int32_t *b, int n)
{
    int i = 0;
    while (i < n && a[i] == b[i])
        i++;
    return i;
}

/* The page behind `parent` that shares most of the n tokens; *common of them. NULL: none shares one. */
static struct kv_page *best_child(const struct kv_pool *p, struct kv_hash parent, const int32_t *token, int n,
                                  int *common)
{
    struct kv_page *best = NULL;
    *common = 0;
    for (struct kv_page *c = *bucket_of(p->store, parent); c && *common < n; c = c->chain) {
        if (c->pool != p || c->parent.lo != parent.lo || c->parent.hi != parent.hi)
            continue;
        int t = same_tokens(c->token, token, n < c->n_tok ? n : c->n_tok);
        if (t > *common) {
            *common = t;
            best = c;
        }
    }
    return best;
}

static struct kv_page *full_child(const struct prefix_query *q, int cls, int j)
{
    int common;
    struct kv_page *c = best_child(&q->pool[cls], q->hash[j], q->token + (size_t)j * KV_BLOCK, KV_BLOCK, &common);
    return common == KV_BLOCK ? c : NULL;
}

/* How many of n_tok tokens of block j are here, or on disk. */
static int reach(const struct prefix_query *q, int cls, int j, int n_tok)
{
    int here;
    const int32_t *token = q->token + (size_t)j * KV_BLOCK;
    best_child(&q->pool[cls], q->hash[j], token, n_tok, &here);
    if (here == n_tok || !q->disk)
        return here;
    struct kvdisk_key k = {q->hash[j], token, n_tok, cls, q->pool[cls].block_bytes};
    int there = kvdisk_find(q->disk, &k);
    return there > here ? there : here;
}

/* Blocks first..n-1 of a class, looked up from the end; -1 when all are there, else the last one that is missing. */
static int missing(const struct prefix_query *q, int cls, int first, int n)
{
    for (int j = n; j-- > first;)
        if (reach(q, cls, j, KV_BLOCK) < KV_BLOCK)
            return j;
    return -1;
}

/* Positions of the next block that every class has, behind n full ones; at least one class has layers. */
static int partial(const struct prefix_query *q, int n)
{
    int most = q->limit - n * KV_BLOCK < KV_BLOCK ? q->limit - n * KV_BLOCK : KV_BLOCK;
    for (int c = 0; c < GRAPH_KV_CLASSES; c++)
        if (q->pool[c].shape)
            most = reach(q, c, n, most);
    return most;
}

/* The longest continuation that every class can serve. A class with a window needs only what the next position sees. */
static int longest(const struct prefix_query *q)
{
    int n = q->limit / KV_BLOCK;
    for (int c = 0; c < GRAPH_KV_CLASSES; c++)
        if (q->pool[c].shape && !q->pool[c].window)
            for (int j = 0; j < n; j++)
                if (reach(q, c, j, KV_BLOCK) < KV_BLOCK)
                    n = j;
    for (;;) {
        int lost = -1, n_pos = n * KV_BLOCK + partial(q, n);
        for (int c = 0; c < GRAPH_KV_CLASSES && lost < 0; c++)
            if (q->pool[c].shape && q->pool[c].window)
                lost = missing(q, c, kv_first(q->pool[c].window, n_pos), n);
        if (lost < 0)
            return n_pos;
        n = lost; /* what the longer ones need the shorter ones behind it need, too */
    }
}

static void reference(struct kv_seq *s, struct kv_pool *p, int j, struct kv_page *page)
{
    kv_page_ref(page);
    s->page[j] = kv_block_of(p->shape, page);
}

/* Enters the blocks of the first n_pos positions in the table, or only adds up what of them is in use. */
static size_t collect(const struct prefix_query *q, int cls, int n_pos, struct kv_seq *s)
{
    struct kv_pool *p = &q->pool[cls];
    int n = n_pos / KV_BLOCK, rest = n_pos % KV_BLOCK, first = kv_first(p->window, n_pos);
    size_t used = 0;
    if (s) {
        s->first = first;
        s->n_page = kv_blocks(n_pos);
        s->shared = rest > 0;
    }
    for (int j = first; j < kv_blocks(n_pos); j++) {
        int common;
        struct kv_page *page =
            j < n ? full_child(q, cls, j) : best_child(p, q->hash[j], q->token + (size_t)j * KV_BLOCK, rest, &common);
        used += page->refs ? p->shape->bytes : 0;
        if (s)
            reference(s, p, j, page);
    }
    return used;
}

struct prefix_hit prefix_find(const struct prefix_query *q, struct kv_seq *seq)
{
    struct prefix_hit hit = {0};
    struct kv_store *s = q->pool->store;
    if (q->limit <= 0)
        return hit;
    pthread_mutex_lock(&s->lock);
    hit.n_pos = longest(q);
    for (int c = 0; c < GRAPH_KV_CLASSES && hit.n_pos; c++)
        if (q->pool[c].shape)
            hit.used += collect(q, c, hit.n_pos, seq ? &seq[c] : NULL);
    if (seq) {
        s->stats.lookups++;
        s->stats.hits += hit.n_pos > 0;
        s->stats.hit_tokens += (uint64_t)hit.n_pos;
        s->stats.missed_tokens += (uint64_t)(q->limit - hit.n_pos);
    }
    pthread_mutex_unlock(&s->lock);
    return hit;
}

int prefix_reach(const struct prefix_query *q)
{
    if (q->limit <= 0)
        return 0;
    pthread_mutex_lock(&q->pool->store->lock);
    int n = longest(q);
    pthread_mutex_unlock(&q->pool->store->lock);
    return n;
}

bool prefix_has(const struct prefix_query *q, int cls, int j, int n_tok)
{
    int common;
    pthread_mutex_lock(&q->pool->store->lock);
    best_child(&q->pool[cls], q->hash[j], q->token + (size_t)j * KV_BLOCK, n_tok, &common);
    pthread_mutex_unlock(&q->pool->store->lock);
    return common == n_tok;
}

/* Pages of which `token` is a continuation say nothing that the new one does not: those that nobody uses go. */
static void drop_beginnings(struct kv_pool *p, struct kv_hash parent, const int32_t *token, int n_tok)
{
    for (struct kv_page *c = *bucket_of(p->store, parent), *next; c; c = next) {
        next = c->chain;
        if (c->pool == p && !c->refs && c->n_tok <= n_tok && c->parent.lo == parent.lo && c->parent.hi == parent.hi &&
            same_tokens(c->token, token, c->n_tok) == c->n_tok) {
            kv_page_ref(c);
            prefix_forget(c);
            kv_page_unref(c);
        }
    }
}

bool prefix_publish(struct kv_pool *p, struct kv_seq *s, int j, struct kv_hash parent, const int32_t *token, int n_tok)
{
    struct kv_store *store = p->store;
    struct kv_page *page = kv_page_of(p, s->page[j]), *same;
    int common;
    prefix_reserve(store);
    pthread_mutex_lock(&store->lock);
    if (page->n_tok || page->refs > 1) { /* it is, or somebody forked from it and it will be, by him */
        pthread_mutex_unlock(&store->lock);
        return false;
    }
    same = best_child(p, parent, token, n_tok, &common);
    if (same && common == n_tok) {
        if (n_tok == KV_BLOCK) {
            reference(s, p, j, same);
            kv_page_unref(page);
        }
        pthread_mutex_unlock(&store->lock);
        return false;
    }
    drop_beginnings(p, parent, token, n_tok);
    struct kv_page **at = bucket_of(store, parent);
    page->parent = parent;
    page->n_tok = n_tok;
    memcpy(page->token, token, (size_t)n_tok * sizeof *token);
    page->chain = *at;
    *at = page;
    store->n_indexed++;
    pthread_mutex_unlock(&store->lock);
    return true;
}
