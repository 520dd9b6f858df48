/* kvdisk_index: see kvdisk_index.h. */
#include "engine/kvdisk_index.h"
#include "base/rng.h"

static struct kvdisk_bucket *bucket_of(const struct kvdisk_index *x, struct kv_hash h)
{
    return &x->bucket[h.lo & (KVDISK_BUCKETS - 1)];
}

static bool same_parent(struct kv_hash a, struct kv_hash b)
{
    return a.lo == b.lo && a.hi == b.hi;
}

static struct kvdisk_key key_of(const struct kvdisk_rec *r)
{
    return (struct kvdisk_key){r->head.parent, r->head.token, (int)r->head.n_tok, (int)r->head.cls, r->head.bytes};
}

static int compare(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* Whether the key comes before (negative) or behind the record; *common: how many of its tokens the record has. */
static int order(const struct kvdisk_key *k, const struct kvdisk_rec *r, int *common)
{
    const struct kvdisk_head *h = &r->head;
    *common = 0;
    int c = compare(k->parent.lo, h->parent.lo);
    c = c ? c : compare(k->parent.hi, h->parent.hi);
    c = c ? c : compare((uint64_t)k->cls, h->cls);
    c = c ? c : compare(k->bytes, h->bytes);
    if (c)
        return c;
    int n = (int)h->n_tok < k->n_tok ? (int)h->n_tok : k->n_tok, t = 0;
    while (t < n && h->token[t] == k->token[t])
        t++;
    *common = t;
    return t < n ? (k->token[t] > h->token[t]) - (k->token[t] < h->token[t]) : k->n_tok - (int)h->n_tok;
}

static bool before(const struct kvdisk_rec *a, const struct kvdisk_rec *b)
{
    int common;
    struct kvdisk_key k = key_of(a);
    int c = order(&k, b, &common);
    return c ? c < 0 : a < b;
}

/* By rank, so that the tree is flat: no one has a larger one than who is above him. */
static struct kvdisk_rec *tree_add(struct kvdisk_rec *t, struct kvdisk_rec *r)
{
    if (!t)
        return r;
    bool left = before(r, t);
    struct kvdisk_rec *up = tree_add(left ? t->left : t->right, r);
    *(left ? &t->left : &t->right) = up;
    if (up->rank <= t->rank)
        return t;
    if (left) {
        t->left = up->right;
        up->right = t;
    } else {
        t->right = up->left;
        up->left = t;
    }
    return up;
}

/* Everything of a comes before everything of b. */
static struct kvdisk_rec *tree_join(struct kvdisk_rec *a, struct kvdisk_rec *b)
{
    if (!a || !b)
        return a ? a : b;
    if (a->rank > b->rank) {
        a->right = tree_join(a->right, b);
        return a;
    }
    b->left = tree_join(a, b->left);
    return b;
}

static void tree_drop(struct kvdisk_rec **at, const struct kvdisk_rec *r)
{
    while (*at != r)
        at = before(r, *at) ? &(*at)->left : &(*at)->right;
    *at = tree_join(r->left, r->right);
}

void kvdisk_index_feed(struct kvdisk_index *x, struct kvdisk_slab *s)
{
    for (int i = 0; i < KVDISK_SLAB; i++) {
        s->rec[i].chain = x->free;
        x->free = &s->rec[i];
    }
}

bool kvdisk_index_enough(const struct kvdisk_index *x)
{
    return x->free && x->free->chain;
}

struct kvdisk_rec *kvdisk_index_new(struct kvdisk_index *x)
{
    struct kvdisk_rec *r = x->free;
    if (r)
        x->free = r->chain;
    return r;
}

void kvdisk_index_enter(struct kvdisk_index *x, struct kvdisk_rec *r)
{
    struct kvdisk_bucket *b = bucket_of(x, r->head.parent);
    uint32_t chance[4];
    r->serial = ++x->n_entered;
    rng_philox(x->seed, 0, r->serial, chance);
    r->rank = (uint64_t)chance[0] << 32 | chance[1];
    r->left = r->right = NULL;
    r->chain = b->chain;
    b->chain = r;
    b->tree = tree_add(b->tree, r);
}

static void drop_at(struct kvdisk_index *x, struct kvdisk_bucket *b, struct kvdisk_rec **at)
{
    struct kvdisk_rec *r = *at;
    *at = r->chain;
    tree_drop(&b->tree, r);
    r->chain = x->free;
    x->free = r;
    x->n_dropped++;
}

void kvdisk_index_drop(struct kvdisk_index *x, struct kvdisk_rec *r)
{
    struct kvdisk_bucket *b = bucket_of(x, r->head.parent);
    struct kvdisk_rec **at = &b->chain;
    while (*at != r)
        at = &(*at)->chain;
    drop_at(x, b, at);
}

void kvdisk_index_drop_segment(struct kvdisk_index *x, const struct kvdisk_segment *s)
{
    for (int i = 0; i < KVDISK_BUCKETS; i++)
        for (struct kvdisk_rec **at = &x->bucket[i].chain; *at;)
            if ((*at)->seg == s)
                drop_at(x, &x->bucket[i], at);
            else
                at = &(*at)->chain;
}

struct search {
    const struct kvdisk_key *key;
    bool unwritten;
    struct kvdisk_rec *best;
    int common;
};

/* From the key's place outwards what is shared only becomes less: the other side is looked at only past records that do not count. */
static void search(struct search *s, struct kvdisk_rec *t)
{
    int common;
    if (!t)
        return;
    bool left = order(s->key, t, &common) < 0;
    search(s, left ? t->left : t->right);
    if (s->common >= common)
        return;
    if (t->seg || s->unwritten) {
        s->common = common;
        s->best = t;
        return;
    }
    search(s, left ? t->right : t->left);
}

struct kvdisk_rec *kvdisk_index_find(const struct kvdisk_index *x, const struct kvdisk_key *k, bool unwritten,
                                     int *common)
{
    struct search s = {.key = k, .unwritten = unwritten};
    search(&s, bucket_of(x, k->parent)->tree);
    *common = s.common;
    return s.best;
}

struct kvdisk_rec *kvdisk_index_at(const struct kvdisk_index *x, struct kv_hash parent, const struct kvdisk_segment *s,
                                   uint64_t off)
{
    struct kvdisk_rec *r = bucket_of(x, parent)->chain;
    while (r && (r->seg != s || r->off != off))
        r = r->chain;
    return r;
}

/* A cursor rests on its record until any record goes; then the list is looked through again for what came before it. */
const struct kvdisk_rec *kvdisk_index_behind(const struct kvdisk_index *x, struct kv_hash parent,
                                             struct kvdisk_cursor *at)
{
    bool rests = at->rec && at->n_dropped == x->n_dropped;
    const struct kvdisk_rec *r = rests ? at->rec->chain : bucket_of(x, parent)->chain;
    while (r && (!r->seg || !same_parent(r->head.parent, parent) || (at->rec && r->serial >= at->serial)))
        r = r->chain;
    if (r)
        *at = (struct kvdisk_cursor){r, x->n_dropped, r->serial};
    return r;
}
