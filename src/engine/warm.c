/* warm: see warm.h. First the plan: chains from the model's fingerprint on, depth first, the newest branch first, until the share of the
 * free memory is used up that may be. Then it is read from its end: so the newest chain's beginning is what the cache keeps longest. */
#include "engine/warm.h"
#include "engine/state.h"
#include <string.h>

enum { ITEMS = 4096, DEEP = 2048, BATCH = 32, SHARE = 4 }; /* at most a quarter of the free memory */

struct place { /* in the tree of blocks: who was seen of those behind `parent` */
    struct kv_hash parent;
    struct kvdisk_cursor at;
};

struct warm {               /* one ledger_alloc, with its items behind it */
    struct engine_model *m; /* a reference */
    size_t bytes;
    int n; /* items still to read; those of `job` lie behind them */
    struct kvdisk_job job;
    struct kvdisk_item item[];
};

static size_t room(const struct engine *g)
{
    size_t share = ledger_free_bytes(g->ledger) / SHARE;
    bool pressed = ledger_limit(g->ledger) < ledger_ceiling(g->ledger);
    return pressed ? 0 : share < g->opts.kv_warm_bytes ? share : g->opts.kv_warm_bytes;
}

/* A model that is loaded and was not looked at yet, with a reference; NULL: none, or another is being loaded and may need the memory. */
static struct engine_model *fresh(struct engine *g)
{
    struct engine_model *found = NULL;
    bool loading = false;
    pthread_mutex_lock(&g->lock);
    for (struct engine_model *m = g->models; m; m = m->next) {
        loading |= m->load_need != 0;
        found = m->warmed || m->dying ? found : m;
    }
    int refs = found && !loading ? atomic_load(&found->refs) : 0;
    while (refs > 0 && !atomic_compare_exchange_weak(&found->refs, &refs, refs + 1))
        ;
    if (refs > 0)
        found->warmed = true;
    pthread_mutex_unlock(&g->lock);
    return refs > 0 ? found : NULL;
}

/* A block that the disk has becomes the plan's next item, unless it is here. Returns its bytes. */
static size_t add(struct warm *w, struct kv_hash parent, const struct kvdisk_found *f)
{
    struct kv_pool *p = &w->m->kv[f->cls];
    if (!p->shape || p->block_bytes != f->bytes)
        return 0;
    struct kvdisk_item *it = &w->item[w->n];
    memcpy(it->token, f->token, sizeof it->token);
    it->key = (struct kvdisk_key){parent, it->token, f->n_tok, f->cls, f->bytes};
    struct prefix_query q = {.pool = w->m->kv, .token = it->token, .hash = &it->key.parent, .limit = f->n_tok};
    if (prefix_has(&q, f->cls, 0, f->n_tok))
        return 0;
    w->n++;
    return p->shape->bytes;
}

/* Only a class that keeps every position has whole chains; what the other has lies beside them. */
static void plan(struct warm *w, size_t bytes, struct place *stack)
{
    struct kvdisk *d = w->m->engine->disk;
    struct kvdisk_found f;
    size_t sum = 0;
    int deep = 0;
    stack[0] = (struct place){.parent = w->m->fingerprint};
    while (deep >= 0 && w->n < ITEMS && sum < bytes) {
        struct place *at = &stack[deep];
        if (!kvdisk_behind(d, at->parent, &at->at, &f)) {
            deep--;
            continue;
        }
        sum += add(w, at->parent, &f);
        if (f.cls == 0 && f.n_tok == KV_BLOCK && deep + 1 < DEEP)
            stack[++deep] = (struct place){.parent = prefix_chain(at->parent, f.token)};
    }
}

static void drop(struct engine *g)
{
    struct warm *w = g->warm;
    struct engine_model *m = w->m;
    g->warm = NULL;
    ledger_dealloc(m->own_requests, w, w->bytes);
    engine_model_unref(m);
}

static void begin(struct engine *g)
{
    struct engine_model *m = fresh(g);
    size_t bytes = sizeof(struct warm) + ITEMS * sizeof(struct kvdisk_item), stack = DEEP * sizeof(struct place);
    void *mem = NULL, *places = NULL;
    if (!m)
        return;
    if (room(g) > bytes + stack && ledger_alloc(m->own_requests, bytes, &mem, NULL) == 0 &&
        ledger_alloc(m->own_requests, stack, &places, NULL) == 0) {
        struct warm *w = mem;
        *w = (struct warm){.m = m, .bytes = bytes};
        plan(w, room(g), places);
    }
    ledger_dealloc(m->own_requests, places, stack);
    if (places) {
        g->warm = mem;
        return;
    }
    ledger_dealloc(m->own_requests, mem, bytes);
    engine_model_unref(m);
}

/* Blocks for n items, those of a class side by side; all or none. */
static bool take_blocks(struct warm *w, struct kvdisk_item *item, int n)
{
    uint8_t *block[BATCH];
    bool ok = true;
    for (int c = 0; c < GRAPH_KV_CLASSES && ok; c++) {
        int have = 0;
        for (int i = 0; i < n; i++)
            have += item[i].key.cls == c;
        ok = !have || kv_take(&w->m->kv[c], block, have, NULL) == 0;
        for (int i = n; ok && i-- > 0;)
            if (item[i].key.cls == c)
                item[i].block = block[--have];
    }
    for (int i = 0; i < n && !ok; i++)
        if (item[i].block) {
            item[i].n_tok = 0;
            recall_give(&w->m->kv[item[i].key.cls], &item[i]);
        }
    return ok;
}

/* The plan's last items begin to be read. false: there are none, or memory has become short. */
static bool next(struct engine *g)
{
    struct warm *w = g->warm;
    int n = w->n < BATCH ? w->n : BATCH;
    struct kvdisk_item *item = &w->item[w->n - n];
    size_t bytes = 0;
    for (int i = 0; i < n; i++) {
        bytes += w->m->kv[item[i].key.cls].shape->bytes;
        item[i].block = NULL;
    }
    bool leaves = atomic_load(&w->m->refs) == 1; /* nobody else holds the model */
    if (!n || leaves || bytes > room(g) || !take_blocks(w, item, n))
        return false;
    w->n -= n;
    w->job = (struct kvdisk_job){.item = item, .n = n};
    kvdisk_begin(g->disk, &w->job);
    return true;
}

/* The deepest first: a chain is eaten from its end. */
static void take(struct warm *w)
{
    for (int i = w->job.n; i-- > 0;)
        recall_give(&w->m->kv[w->job.item[i].key.cls], &w->job.item[i]);
    w->job.n = 0;
}

void warm_turn(struct engine *g, bool work)
{
    struct warm *w = g->warm;
    if (!g->disk || !g->opts.kv_warm_bytes)
        return;
    if (w && w->job.n) {
        if (work)
            kvdisk_cancel(g->disk, &w->job);
        else if (!kvdisk_done(g->disk, &w->job))
            return;
        take(w);
    }
    if (!g->warm && !work)
        begin(g);
    if (g->warm && (work || !next(g))) {
        drop(g);
        if (!work) /* another model may wait for it */
            engine_kick(g);
    }
}
