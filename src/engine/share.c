/* share: see share.h. */
#include "engine/share.h"
#include "engine/state.h"

/* Chain hashes of r's first n full blocks. */
static void hash_to(struct request *r, int n)
{
    for (; r->n_hash < n; r->n_hash++)
        r->hash[r->n_hash + 1] = prefix_chain(r->hash[r->n_hash], r->token + (size_t)r->n_hash * KV_BLOCK);
}

/* Positions that r need not compute: all but the last, whose logits choose the next token, and none whose logits somebody waits for. */
static int limit_of(const struct request *r)
{
    int limit = r->n_token - 1;
    if (r->model->engine->opts.no_prefix_cache)
        limit = 0;
    return r->all_logits && r->logits_sent < limit ? r->logits_sent : limit;
}

struct prefix_query share_query(struct request *r)
{
    struct prefix_query q = {.pool = r->model->kv, .token = r->token, .hash = r->hash, .limit = limit_of(r)};
    hash_to(r, q.limit / KV_BLOCK);
    return q;
}

size_t share_peek(struct request *r)
{
    struct prefix_query q = share_query(r);
    return prefix_find(&q, NULL).used;
}

int share_begin(struct request *r)
{
    struct prefix_query q = share_query(r);
    return prefix_find(&q, NULL).n_pos;
}

/* Positions at the beginning that a and b have in common, at most limit; both are hashed as far as it takes. */
static int common(struct request *a, struct request *b, int limit)
{
    int lo = 0, hi = limit / KV_BLOCK; /* full blocks: equal up to lo, not beyond hi */
    hash_to(a, a->n_token / KV_BLOCK < hi ? a->n_token / KV_BLOCK : hi);
    hash_to(b, hi);
    hi = a->n_token / KV_BLOCK < hi ? a->n_token / KV_BLOCK : hi;
    while (lo < hi) {
        int mid = (lo + hi + 1) / 2;
        if (a->hash[mid].lo == b->hash[mid].lo && a->hash[mid].hi == b->hash[mid].hi)
            lo = mid;
        else
            hi = mid - 1;
    }
    int n = lo * KV_BLOCK, end = a->n_token < limit ? a->n_token : limit;
    end = end < n + KV_BLOCK ? end : n + KV_BLOCK;
    while (n < end && a->token[n] == b->token[n])
        n++;
    return n;
}

/* a's block that holds position n_pos - 1, and all that the position n_pos sees before it, are there for r to take. */
static bool can_give(const struct request *a, int n_pos)
{
    for (int c = 0; c < GRAPH_KV_CLASSES; c++) {
        const struct kv_pool *p = &a->model->kv[c];
        if (p->shape && (a->kv[c].first > kv_first(p->window, n_pos) || a->kv[c].n_page < kv_blocks(n_pos)))
            return false;
    }
    return true;
}

/* r goes on where a is, or was when it passed n_pos: their blocks are the same ones until somebody writes. */
static void fork_from(struct request *r, struct request *a, int n_pos)
{
    struct kv_store *s = a->model->kv->store;
    for (int c = 0; c < GRAPH_KV_CLASSES; c++) {
        struct kv_pool *p = &a->model->kv[c];
        if (!p->shape)
            continue;
        kv_drop(p, &r->kv[c]);
        pthread_mutex_lock(&s->lock);
        r->kv[c].first = kv_first(p->window, n_pos);
        r->kv[c].n_page = kv_blocks(n_pos);
        for (int j = r->kv[c].first; j < r->kv[c].n_page; j++) {
            r->kv[c].page[j] = a->kv[c].page[j];
            kv_page_ref(kv_page_of(p, r->kv[c].page[j]));
        }
        pthread_mutex_unlock(&s->lock);
        r->kv[c].shared = n_pos % KV_BLOCK > 0;
        a->kv[c].shared |= r->kv[c].shared && n_pos / KV_BLOCK == a->n_done / KV_BLOCK;
    }
}

/* The disk has the block from now on, if it has room. */
static void to_disk(struct request *r, int cls, int j, int n_tok)
{
    struct engine_model *m = r->model;
    struct kvdisk_key k = {r->hash[j], r->token + (size_t)j * KV_BLOCK, n_tok, cls, m->kv[cls].block_bytes};
    if (m->engine->disk && (n_tok == KV_BLOCK || j)) /* a few tokens are not worth a file */
        kvdisk_write(m->engine->disk, &k, r->kv[cls].page[j]);
}

/* What r holds stays on disk, or comes there again; the deepest first: the others are of more use. Of a class with a window that
 * is all that is ever written: what it takes to go on where somebody ended, was preempted, or began behind what others computed. */
static void keep_on_disk(struct request *r)
{
    for (int c = 0; c < GRAPH_KV_CLASSES; c++)
        for (int j = r->n_done / KV_BLOCK; r->model->kv[c].shape && j-- > r->kv[c].first;)
            to_disk(r, c, j, KV_BLOCK);
}

void share_find(struct request *r)
{
    struct engine_model *m = r->model;
    struct prefix_query q = share_query(r);
    r->n_done = prefix_find(&q, r->kv).n_pos;
    keep_on_disk(r);
    struct request *best = NULL;
    int n_best = r->n_done;
    for (size_t i = 0; i < m->n_live && q.limit > n_best; i++) {
        struct request *a = m->live[i];
        if (a == r || a->n_done <= n_best)
            continue;
        int n = common(a, r, a->n_done < q.limit ? a->n_done : q.limit);
        if (n > n_best && can_give(a, n)) {
            best = a;
            n_best = n;
        }
    }
    if (best) {
        fork_from(r, best, n_best);
        r->n_done = n_best;
    }
    r->n_published = r->n_done / KV_BLOCK;
    if (!r->found)
        r->n_cached = r->n_done < r->n_prompt ? r->n_done : r->n_prompt;
    r->found = true;
}

bool share_waits(struct request *r)
{
    struct engine_model *m = r->model;
    struct prefix_query q = share_query(r);
    if (q.limit <= 0)
        return false;
    int have = -1;
    for (size_t i = 0; i < m->n_live; i++) {
        struct request *a = m->live[i];
        if (a == r || !a->admitted || a->priority > r->priority || a->n_done >= a->n_token - 1)
            continue;
        int n = common(a, r, q.limit);
        if (n <= a->n_done || n < 2)
            continue;
        if (have < 0)
            have = prefix_find(&q, NULL).n_pos;
        int now = have > a->n_done ? have : a->n_done; /* where r would begin if it did not wait */
        if (n - now >= KV_BLOCK || 2 * (n - now) > q.limit - now)
            return true;
    }
    return false;
}

/* Block j with its first n_tok positions is found from now on. */
static void publish(struct request *r, int j, int n_tok)
{
    for (int c = 0; c < GRAPH_KV_CLASSES; c++) {
        struct kv_pool *p = &r->model->kv[c];
        if (p->shape && prefix_publish(p, &r->kv[c], j, r->hash[j], r->token + (size_t)j * KV_BLOCK, n_tok) &&
            (!p->window || n_tok < KV_BLOCK))
            to_disk(r, c, j, n_tok);
    }
}

void share_publish(struct request *r)
{
    if (r->model->engine->opts.no_prefix_cache)
        return;
    hash_to(r, r->n_done / KV_BLOCK);
    for (; r->n_published < r->n_done / KV_BLOCK; r->n_published++)
        publish(r, r->n_published, KV_BLOCK);
}

void share_leave(struct request *r)
{
    int rest = r->n_done % KV_BLOCK;
    recall_stop(r);
    share_publish(r);
    if (rest && !r->model->engine->opts.no_prefix_cache)
        publish(r, r->n_done / KV_BLOCK, rest);
    keep_on_disk(r);
    for (int c = 0; c < GRAPH_KV_CLASSES; c++)
        kv_drop(&r->model->kv[c], &r->kv[c]);
    r->n_done = r->n_published = 0;
}
