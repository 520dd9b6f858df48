/* room: the arithmetic of memory: what is free for a load, what one request may hope for, what was promised to those that are here, and who
 * waits until there is enough. A request begins only when all that it may come to need would be there if others gave theirs back; what it waits
 * for is that loads end and models leave, and for the latter whoever owns the models sees (engine_starved). It takes nothing meanwhile,
 * but loads leave it its room (room_promised), so it is not overtaken by them. */
#include "base/clock.h"
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
        size_t arrays = request_array_bytes((size_t)mid * KV_BLOCK, 0, -1);
        if (kv_bytes(m->graph, (int64_t)mid * KV_BLOCK, g->max_tok) + arrays <= room)
            fit = mid;
        else
            more = mid;
    }
    return fit * KV_BLOCK < m->graph->n_ctx ? fit * KV_BLOCK : m->graph->n_ctx;
}

/* ---- who waits for it ---- */

/* What a model holds beside keys and values as long as it is here. Asked of its owners: the name of one may begin like another's, or be
 * the same. */
static size_t stays(const struct engine_model *m)
{
    return room_held(m->own_header) + room_held(m->own_weights) + room_held(m->own_staging) +
           room_held(m->own_scratch) + room_held(m->own_requests) + m->beside;
}

size_t room_at_best(const struct engine *g, const struct request *r)
{
    size_t used = ledger_used(g->ledger), go = ledger_held_below(g->ledger, "model/") + room_held(g->kv.own_free);
    size_t stay = (used > go ? used - go : 0) + stays(r->model) + (r->model->draft ? stays(r->model->draft) : 0);
    size_t ceiling = ledger_ceiling(g->ledger);
    return ceiling > stay ? ceiling - stay : 0;
}

int room_refuse(const struct request *r, size_t room, struct err *e)
{
    return err_set(
        e, ERR_NOMEM,
        "%d prompt tokens and up to %d new ones need %.1f MiB of KV cache, but beside what else is loaded only %.1f MiB "
        "of the %.1f MiB ceiling are left: ask for fewer tokens or unload a model",
        r->n_prompt, r->max_tokens, (double)r->worst_bytes / 1048576.0, (double)room / 1048576.0,
        (double)ledger_ceiling(r->model->engine->ledger) / 1048576.0);
}

static size_t room_now(struct engine *g)
{
    pthread_mutex_lock(&g->lock);
    size_t room = room_alone(g);
    pthread_mutex_unlock(&g->lock);
    return room;
}

/* Who was taken in because there was room begins as it is, unless the machine has become short of memory. */
bool room_bars(struct request *r, struct room_look *look)
{
    struct engine *g = r->model->engine;
    bool may = atomic_load(&r->begun) || (r->room_s <= 0 && !look->pressed);
    if (!may && !look->known) {
        look->room = room_now(g);
        look->known = true;
    }
    size_t lacks = may || r->worst_bytes <= look->room ? 0 : r->worst_bytes - look->room;
    if (lacks && !r->lacks) {
        r->short_ns = clock_ns();
        g->more_starve = true;
    }
    r->lacks = lacks;
    return lacks > 0;
}

void room_tell(struct engine *g, bool stuck)
{
    struct request *first = NULL;
    if (!g->starve && !g->more_starve)
        return;
    for (size_t i = 0; i < g->n_active; i++)
        for (size_t j = 0; j < g->active[i]->n_live; j++) {
            struct request *r = g->active[i]->live[j];
            stuck &= r->lacks > 0;
            if (r->lacks && (!first || request_before(r, first)))
                first = r;
        }
    stuck &= first != NULL;
    pthread_mutex_lock(&g->lock);
    bool news = g->more_starve || first != g->starving || stuck != g->stuck || g->starve != (first != NULL);
    g->starving = first;
    g->stuck = stuck;
    pthread_mutex_unlock(&g->lock);
    g->starve = first != NULL;
    g->more_starve = false;
    if (news && g->opts.on_starved)
        g->opts.on_starved(g->opts.on_starved_arg);
}

void room_forget(struct engine *g, const struct request *r)
{
    if (g->starving == r)
        g->starving = NULL;
}

/* Of this moment: the engine thread may not have looked yet since the request was cancelled, or since memory came free. */
void engine_starved(struct engine *g, struct engine_starved *out)
{
    *out = (struct engine_starved){0};
    pthread_mutex_lock(&g->lock);
    struct request *r = g->starving;
    size_t room = r ? room_alone(g) : 0;
    if (r && atomic_load(&r->stop) == REQUEST_GO && r->worst_bytes > room)
        *out = (struct engine_starved){r->worst_bytes - room, r->model, g->stuck};
    pthread_mutex_unlock(&g->lock);
}

bool room_over(const struct request *r, uint64_t now)
{
    return r->lacks && r->room_s > 0 && (double)(now - r->short_ns) * 1e-9 >= r->room_s;
}

void room_give_up(struct request *r, uint64_t now)
{
    struct err why, e;
    room_refuse(r, room_now(r->model->engine), &why);
    err_set(&e, ERR_NOMEM, "waited %.0f s for memory: %.400s", (double)(now - r->short_ns) * 1e-9, why.msg);
    engine_end(r, EVENT_ERROR, FINISH_STOP, &e);
}

bool room_loading(struct engine *g)
{
    bool any = false;
    pthread_mutex_lock(&g->lock);
    for (const struct engine_model *m = g->models; m; m = m->next)
        any |= m->load_need != 0;
    pthread_mutex_unlock(&g->lock);
    return any;
}

void engine_refuse_last(struct engine *g)
{
    atomic_store(&g->refuse, true);
    engine_kick(g);
}

/* Every request was looked at just before. */
void room_refuse_last(struct engine *g)
{
    struct request *first = NULL, *last = NULL;
    if (room_loading(g) || ledger_limit(g->ledger) < ledger_ceiling(g->ledger)) /* both pass */
        return;
    for (size_t i = 0; i < g->n_active; i++)
        for (size_t j = 0; j < g->active[i]->n_live; j++) {
            struct request *r = g->active[i]->live[j];
            if (!r->lacks)
                return;
            first = !first || request_before(r, first) ? r : first;
        }
    for (size_t i = 0; i < g->n_active; i++)
        for (size_t j = 0; j < g->active[i]->n_live; j++) {
            struct request *r = g->active[i]->live[j];
            if (r->model != first->model && (!last || request_before(last, r)))
                last = r;
        }
    struct err e;
    if (!last)
        return;
    room_refuse(last, room_now(g), &e);
    engine_end(last, EVENT_ERROR, FINISH_STOP, &e);
}
