/* room: the arithmetic of memory: what is free for a load, what one request may hope for, what was promised to those that are here. */
#include "engine/state.h"

size_t room_held(const struct ledger_owner *o)
{
    return o ? ledger_held(o) : 0;
}

size_t room_pending(const struct engine *g)
{
    size_t sum = 0;
    for (const struct engine_model *m = g->models; m; m = m->next) {
        size_t held = room_held(m->own_weights) + room_held(m->own_scratch) + room_held(m->own_staging);
        if (m->load_need > held)
            sum += m->load_need - held;
    }
    return sum;
}

static size_t kv_held(const struct engine *g)
{
    size_t sum = 0;
    for (const struct engine_model *m = g->models; m; m = m->next)
        sum += room_held(m->own_kv);
    return sum + kv_spare((struct kv_store *)&g->kv);
}

/* Bytes held that are no KV, with those that running loads will still take. */
static size_t foreign(const struct engine *g)
{
    /* blocks may be taken between the two readings: read until the KV sum stands still, so that no block counts as foreign */
    size_t before, used;
    int tries = 0;
    do {
        before = kv_held(g);
        used = ledger_used(g->ledger);
    } while (kv_held(g) != before && ++tries < 100);
    return (used > before ? used - before : 0) + room_pending(g);
}

size_t room_alone(const struct engine *g)
{
    size_t other = foreign(g), limit = ledger_limit(g->ledger);
    return limit > other ? limit - other : 0;
}

size_t room_ever(const struct engine *g)
{
    size_t other = foreign(g), ceiling = ledger_ceiling(g->ledger);
    return ceiling > other ? ceiling - other : 0;
}

/* The largest KV that a live request may come to need: a load must leave room for it, or that request could never end. */
size_t room_promised(const struct engine *g, bool begun)
{
    size_t most = 0;
    for (const struct request *r = g->all; r; r = r->next)
        if ((atomic_load(&r->begun) || !begun) && r->worst_bytes > most)
            most = r->worst_bytes;
    return most;
}

void engine_limit(struct engine *g, size_t bytes)
{
    enum { SMALL = 8 << 20 }; /* answers that are being written, bodies, block tables */
    pthread_mutex_lock(&g->lock);
    size_t floor = foreign(g) + room_promised(g, true) + SMALL;
    ledger_set_limit(g->ledger, bytes > floor ? bytes : floor);
    pthread_mutex_unlock(&g->lock);
}

size_t engine_short(struct engine *g, size_t need, size_t *hard)
{
    pthread_mutex_lock(&g->lock);
    size_t room = room_alone(g), promised = room_promised(g, false), pending = room_pending(g);
    size_t free = ledger_free_bytes(g->ledger) + kv_spare(&g->kv),
           a = need + pending > free ? need + pending - free : 0;
    size_t b = need + promised > room ? need + promised - room : 0;
    pthread_mutex_unlock(&g->lock);
    *hard = a;
    return a > b ? a : b;
}

int engine_model_room(const struct engine_model *m)
{
    struct engine *g = m->engine;
    pthread_mutex_lock(&g->lock);
    size_t room = room_alone(g);
    pthread_mutex_unlock(&g->lock);
    int fit = 0, more = kv_blocks(m->graph->n_ctx) + 1; /* blocks: the largest that fits, the least that does not */
    while (more - fit > 1) {
        int mid = fit + (more - fit) / 2;
        if (kv_bytes(m->graph, (int64_t)mid * KV_BLOCK, g->max_tok) <= room)
            fit = mid;
        else
            more = mid;
    }
    return fit * KV_BLOCK < m->graph->n_ctx ? fit * KV_BLOCK : m->graph->n_ctx;
}
