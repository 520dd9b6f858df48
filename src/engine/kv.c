/* kv: see kv.h. A block that is used again is zeroed: what one request wrote can neither be seen nor, as a stray infinity
 * under a mask, be felt by the next. 64 positions cost far more to compute than to clear. */
#include "engine/kv.h"
#include <string.h>

void kv_init(struct kv_pool *p, struct ledger_owner *owner, size_t block_bytes)
{
    *p = (struct kv_pool){.owner = owner, .block_bytes = block_bytes};
    pthread_mutex_init(&p->lock, NULL);
}

void kv_done(struct kv_pool *p)
{
    if (!p->owner)
        return;
    kv_trim(p);
    pthread_mutex_destroy(&p->lock);
    p->owner = NULL;
}

size_t kv_free_blocks(struct kv_pool *p)
{
    pthread_mutex_lock(&p->lock);
    size_t n = p->n_free;
    pthread_mutex_unlock(&p->lock);
    return n;
}

static uint8_t *next_block(const uint8_t *block)
{
    uint8_t *next;
    memcpy(&next, block, sizeof next);
    return next;
}

size_t kv_trim(struct kv_pool *p)
{
    pthread_mutex_lock(&p->lock);
    uint8_t *b = p->free_list;
    size_t n = p->n_free;
    p->free_list = NULL;
    p->n_free = 0;
    pthread_mutex_unlock(&p->lock);
    while (b) {
        uint8_t *next = next_block(b);
        ledger_dealloc(p->owner, b, p->block_bytes);
        b = next;
    }
    return n * p->block_bytes;
}

int kv_grow(struct kv_pool *p, struct kv_seq *s, struct err *e)
{
    pthread_mutex_lock(&p->lock);
    uint8_t *b = p->free_list;
    if (b) {
        p->free_list = next_block(b);
        p->n_free--;
    }
    pthread_mutex_unlock(&p->lock);
    if (b) {
        memset(b, 0, p->block_bytes);
    } else {
        void *fresh;
        int rc = ledger_alloc(p->owner, p->block_bytes, &fresh, e);
        if (rc < 0)
            return rc;
        b = fresh;
    }
    s->page[s->n_page++] = b;
    return 0;
}

static void drop_to(struct kv_pool *p, struct kv_seq *s, int end)
{
    pthread_mutex_lock(&p->lock);
    for (; s->first < end; s->first++) {
        uint8_t **b = &s->page[s->first];
        memcpy(*b, &p->free_list, sizeof p->free_list);
        p->free_list = *b;
        p->n_free++;
        *b = NULL;
    }
    pthread_mutex_unlock(&p->lock);
}

void kv_drop(struct kv_pool *p, struct kv_seq *s)
{
    if (s->first < s->n_page)
        drop_to(p, s, s->n_page);
    s->first = s->n_page = 0;
}

void kv_slide(struct kv_pool *p, struct kv_seq *s, int window, int next)
{
    int first = kv_first(window, next);
    if (s->first < first)
        drop_to(p, s, first < s->n_page ? first : s->n_page);
}

size_t kv_bytes(const struct graph *g, int64_t n_pos, int chunk)
{
    size_t sum = 0;
    for (int c = 0; c < GRAPH_KV_CLASSES; c++) {
        int64_t n = kv_blocks(n_pos), w = g->kv_class[c].window;
        if (w > 0 && kv_blocks(w + chunk) + 1 < n)
            n = kv_blocks(w + chunk) + 1;
        sum += (size_t)n * g->kv_class[c].block_bytes;
    }
    return sum;
}
