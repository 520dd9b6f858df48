/* kv: see kv.h. A block that is used again is zeroed: what one request wrote can neither be seen nor, as a stray infinity
 * under a mask, be felt by the next. 64 positions cost far more to compute than to clear. */
#include "engine/kv.h"
#include "base/mem.h"
#include "engine/prefix.h"
#include <string.h>

enum { FIRST_BUCKETS = 1024 };

static void give(void *arg, size_t bytes)
{
    kv_trim(arg, bytes);
}

int kv_store_init(struct kv_store *s, struct ledger *l, struct err *e)
{
    *s = (struct kv_store){.ledger = l};
    int rc = ledger_owner_new(l, "kv/free", &s->own_free, e);
    if (rc == 0)
        rc = ledger_owner_new(l, "kv/index", &s->own_index, e);
    void *mem = NULL;
    if (rc == 0)
        rc = ledger_alloc(s->own_index, FIRST_BUCKETS * sizeof(struct kv_page *), &mem, e);
    if (rc < 0) {
        ledger_owner_free(s->own_free);
        ledger_owner_free(s->own_index);
        *s = (struct kv_store){0};
        return rc;
    }
    s->bucket = mem;
    s->n_bucket = FIRST_BUCKETS;
    pthread_mutex_init(&s->lock, NULL);
    ledger_on_short(l, give, s);
    return 0;
}

void kv_store_done(struct kv_store *s)
{
    if (!s->ledger)
        return;
    ledger_on_short(s->ledger, NULL, NULL);
    ledger_dealloc(s->own_index, s->bucket, s->n_bucket * sizeof(struct kv_page *));
    ledger_owner_free(s->own_free);
    ledger_owner_free(s->own_index);
    pthread_mutex_destroy(&s->lock);
    *s = (struct kv_store){0};
}

size_t kv_alloc_bytes(size_t block_bytes)
{
    size_t unit = mem_page_size(); /* so that each goes back alone, however many were taken at once */
    return block_bytes ? (block_bytes + 63 + sizeof(struct kv_page) + unit - 1) / unit * unit : 0;
}

int kv_pool_init(struct kv_pool *p, struct kv_store *s, const struct graph_kv_class *c, struct err *e)
{
    size_t bytes = kv_alloc_bytes(c->block_bytes);
    p->store = s;
    p->block_bytes = c->block_bytes;
    p->window = c->window;
    if (!c->block_bytes)
        return 0;
    pthread_mutex_lock(&s->lock);
    struct kv_shape *shape = s->shapes;
    while (shape && shape->bytes != bytes)
        shape = shape->next;
    if (!shape && (shape = mem_calloc(1, sizeof *shape))) {
        shape->bytes = bytes;
        shape->next = s->shapes;
        s->shapes = shape;
    }
    if (shape) {
        shape->users++;
        p->shape = shape;
        p->next = s->pools;
        s->pools = p;
    }
    pthread_mutex_unlock(&s->lock);
    return shape ? 0 : err_set(e, ERR_NOMEM, "no memory for a pool of KV blocks");
}

/* Blocks of a list of free pages go back to the ledger. */
static size_t dealloc_list(struct ledger_owner *o, struct kv_page *list)
{
    size_t bytes = 0;
    while (list) {
        struct kv_page *next = list->next;
        const struct kv_shape *shape = list->shape;
        bytes += shape->bytes;
        ledger_dealloc(o, kv_block_of(shape, list), shape->bytes);
        list = next;
    }
    return bytes;
}

static void push(struct kv_page **list, struct kv_page *page)
{
    page->next = *list;
    *list = page;
}

static void free_push(struct kv_store *s, struct kv_page *page, struct ledger_owner *from)
{
    struct kv_shape *shape = page->shape;
    ledger_move(from, s->own_free, shape->bytes);
    s->stats.free_bytes += shape->bytes;
    push(&shape->free, page);
}

static struct kv_page *free_pop(struct kv_store *s, struct kv_shape *shape)
{
    struct kv_page *page = shape->free;
    if (page) {
        shape->free = page->next;
        s->stats.free_bytes -= shape->bytes;
    }
    return page;
}

static void lru_unlink(struct kv_page *page)
{
    struct kv_pool *p = page->pool;
    *(page->prev ? &page->prev->next : &p->newest) = page->next;
    *(page->next ? &page->next->prev : &p->oldest) = page->prev;
    page->prev = page->next = NULL;
    p->store->stats.cached_pages--;
    p->store->stats.cached_bytes -= p->shape->bytes;
}

static void lru_push(struct kv_page *page)
{
    struct kv_pool *p = page->pool;
    page->prev = NULL;
    page->next = p->newest;
    *(p->newest ? &p->newest->prev : &p->oldest) = page;
    p->newest = page;
    page->value = p->store->clock + p->worth;
    page->stamp = p->store->n_stamp++;
    p->store->stats.cached_pages++;
    p->store->stats.cached_bytes += p->shape->bytes;
}

void kv_page_ref(struct kv_page *page)
{
    if (page->refs++ == 0) {
        lru_unlink(page);
        ledger_move(page->pool->own_cached, page->pool->own_used, page->pool->shape->bytes);
    }
}

void kv_page_unref(struct kv_page *page)
{
    if (--page->refs > 0)
        return;
    if (!page->n_tok) {
        free_push(page->pool->store, page, page->pool->own_used);
        return;
    }
    ledger_move(page->pool->own_used, page->pool->own_cached, page->pool->shape->bytes);
    lru_push(page);
}

static bool less_valuable(const struct kv_page *a, const struct kv_page *b)
{
    return a->value != b->value ? a->value < b->value : a->stamp < b->stamp;
}

/* The cache's least valuable page becomes a free one; false: it keeps none. */
static bool evict(struct kv_store *s)
{
    struct kv_page *worst = NULL;
    for (struct kv_pool *p = s->pools; p; p = p->next)
        if (p->oldest && (!worst || less_valuable(p->oldest, worst)))
            worst = p->oldest;
    if (!worst)
        return false;
    s->clock = worst->value > s->clock ? worst->value : s->clock;
    s->stats.evicted_pages++;
    prefix_forget(worst);
    lru_unlink(worst);
    free_push(s, worst, worst->pool->own_cached);
    return true;
}

static struct kv_page *take_free(struct kv_store *s, size_t bytes)
{
    struct kv_page *list = NULL, *page;
    size_t sum = 0;
    for (struct kv_shape *shape = s->shapes; shape; shape = shape->next)
        for (; sum < bytes && (page = free_pop(s, shape)); sum += shape->bytes)
            push(&list, page);
    return list;
}

size_t kv_trim(struct kv_store *s, size_t bytes)
{
    pthread_mutex_lock(&s->lock);
    while (s->stats.free_bytes < bytes && evict(s))
        ;
    struct kv_page *list = take_free(s, bytes);
    size_t n = dealloc_list(s->own_free, list); /* under the lock: a shape goes with its last pool */
    pthread_mutex_unlock(&s->lock);
    return n;
}

size_t kv_trim_free(struct kv_store *s)
{
    pthread_mutex_lock(&s->lock);
    size_t n = dealloc_list(s->own_free, take_free(s, SIZE_MAX));
    pthread_mutex_unlock(&s->lock);
    return n;
}

size_t kv_spare(struct kv_store *s)
{
    pthread_mutex_lock(&s->lock);
    size_t n = s->stats.free_bytes + s->stats.cached_bytes;
    pthread_mutex_unlock(&s->lock);
    return n;
}

void kv_stats(struct kv_store *s, struct kv_stats *out)
{
    pthread_mutex_lock(&s->lock);
    *out = s->stats;
    pthread_mutex_unlock(&s->lock);
}

void kv_pool_done(struct kv_pool *p)
{
    struct kv_store *s = p->store;
    if (!p->shape)
        return;
    pthread_mutex_lock(&s->lock);
    while (p->oldest) {
        struct kv_page *page = p->oldest;
        prefix_forget(page);
        lru_unlink(page);
        free_push(s, page, p->own_cached);
    }
    struct kv_pool **at = &s->pools;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    if (--p->shape->users == 0) {
        struct kv_page *list = NULL, *page;
        while ((page = free_pop(s, p->shape)))
            push(&list, page);
        dealloc_list(s->own_free, list);
        struct kv_shape **sh = &s->shapes;
        while (*sh != p->shape)
            sh = &(*sh)->next;
        *sh = p->shape->next;
        mem_free(p->shape);
    }
    p->shape = NULL;
    pthread_mutex_unlock(&s->lock);
}

/* ---- blocks of a sequence (engine thread) ---- */

/* Free blocks; when memory is short, those that the cache gives up, too: they may fit as they are. Returns how many. */
static int take_known(struct kv_pool *p, uint8_t **block, int n)
{
    struct kv_store *s = p->store;
    struct kv_shape *shape = p->shape;
    int have = 0;
    pthread_mutex_lock(&s->lock);
    for (; have < n; have++) {
        struct kv_page *page = free_pop(s, shape);
        if (!page && ledger_free_bytes(s->ledger) < (size_t)(n - have) * shape->bytes && evict(s))
            page = free_pop(s, shape);
        if (!page)
            break;
        ledger_move(s->own_free, p->own_used, shape->bytes);
        block[have] = kv_block_of(shape, page);
    }
    pthread_mutex_unlock(&s->lock);
    return have;
}

int kv_take(struct kv_pool *p, uint8_t **block, int n, struct err *e)
{
    struct kv_store *s = p->store;
    size_t bytes = p->shape->bytes;
    int known = take_known(p, block, n);
    void *fresh = NULL;
    int rc = known < n ? ledger_alloc(p->own_used, (size_t)(n - known) * bytes, &fresh, e) : 0;
    if (rc < 0) {
        pthread_mutex_lock(&s->lock);
        while (known-- > 0)
            free_push(s, kv_page_of(p, block[known]), p->own_used);
        pthread_mutex_unlock(&s->lock);
        return rc;
    }
    for (int i = known; i < n; i++)
        block[i] = (uint8_t *)fresh + (size_t)(i - known) * bytes;
    return 0;
}

void kv_begin(struct kv_pool *p, uint8_t *block)
{
    struct kv_page *page = kv_page_of(p, block);
    page->prev = page->next = page->chain = NULL;
    page->pool = p;
    page->shape = p->shape;
    page->refs = 1;
    page->n_tok = 0;
}

int kv_grow(struct kv_pool *p, struct kv_seq *s, struct err *e)
{
    uint8_t *block;
    int rc = kv_take(p, &block, 1, e);
    if (rc < 0)
        return rc;
    kv_begin(p, block);
    memset(block, 0, p->block_bytes);
    s->page[s->n_page++] = block;
    return 0;
}

int kv_own(struct kv_pool *p, struct kv_seq *s, int j, struct err *e)
{
    uint8_t **at = &s->page[j], *copy = NULL;
    struct kv_page *page = kv_page_of(p, *at);
    pthread_mutex_lock(&p->store->lock);
    bool mine = page->refs == 1 && !page->n_tok;
    pthread_mutex_unlock(&p->store->lock);
    int rc = mine ? 0 : kv_take(p, &copy, 1, e);
    if (copy) {
        kv_begin(p, copy);
        memcpy(copy, *at, p->block_bytes);
    }
    pthread_mutex_lock(&p->store->lock);
    if (copy) {
        kv_page_unref(page);
        *at = copy;
    } else if (rc < 0 && page->refs == 1) { /* no memory for a copy: what the cache has of it is given up */
        prefix_forget(page);
        rc = 0;
    }
    pthread_mutex_unlock(&p->store->lock);
    s->shared = rc < 0;
    return rc;
}

void kv_drop(struct kv_pool *p, struct kv_seq *s)
{
    if (!p->shape)
        return;
    pthread_mutex_lock(&p->store->lock);
    for (int j = s->n_page; j-- > s->first;) {
        kv_page_unref(kv_page_of(p, s->page[j]));
        s->page[j] = NULL;
    }
    pthread_mutex_unlock(&p->store->lock);
    s->first = s->n_page = 0;
    s->shared = false;
}

void kv_slide(struct kv_pool *p, struct kv_seq *s, int next)
{
    int end = kv_first(p->window, next);
    end = end < s->n_page ? end : s->n_page;
    if (s->first >= end)
        return;
    pthread_mutex_lock(&p->store->lock);
    for (; s->first < end; s->first++) {
        kv_page_unref(kv_page_of(p, s->page[s->first]));
        s->page[s->first] = NULL;
    }
    pthread_mutex_unlock(&p->store->lock);
}

size_t kv_bytes(const struct graph *g, int64_t n_pos, int chunk)
{
    size_t sum = 0;
    for (int c = 0; c < GRAPH_KV_CLASSES; c++) {
        int64_t n = kv_blocks(n_pos), w = g->kv_class[c].window;
        if (w > 0 && kv_blocks(w + chunk) + 1 < n)
            n = kv_blocks(w + chunk) + 1;
        sum += (size_t)n * kv_alloc_bytes(g->kv_class[c].block_bytes);
    }
    return sum;
}
