/* The disk tier's index finds what a search through all records finds, while records come, are written and go. */
#include "base/rng.h"
#include "unit/check.h"
#include "engine/kvdisk_index.h"
#include <stdlib.h>
#include <string.h>

enum { N = 1500, PARENTS = 3, TURNS = 12000 };
static struct kvdisk_rec *rec[N];
static int n_rec;
static struct kvdisk_index x;
static char segment[2]; /* only their addresses count */
static uint64_t n_dice;

static int below(int n)
{
    return (int)(rng_uniform(5, 0, n_dice++) * n);
}

/* Few different tokens and common beginnings, so that much is shared. */
static struct kvdisk_head head_of_chance(void)
{
    struct kvdisk_head h = {.parent = {7, (uint64_t)below(PARENTS)}, .cls = (uint32_t)below(2), .bytes = 4096};
    h.n_tok = below(3) ? KV_BLOCK : 1 + (uint32_t)below(KV_BLOCK);
    int change = below(KV_BLOCK);
    for (int i = 0; i < (int)h.n_tok; i++)
        h.token[i] = i < change ? 5 : below(3) - 1;
    return h;
}

static int shared(const struct kvdisk_key *k, const struct kvdisk_rec *r)
{
    int t = 0;
    if (r->head.parent.hi != k->parent.hi || (int)r->head.cls != k->cls)
        return 0;
    while (t < k->n_tok && t < (int)r->head.n_tok && k->token[t] == r->head.token[t])
        t++;
    return t;
}

static void look(void)
{
    struct kvdisk_head h = n_rec && below(2) ? rec[below(n_rec)]->head : head_of_chance();
    struct kvdisk_key k = {h.parent, h.token, (int)h.n_tok, (int)h.cls, h.bytes};
    for (int unwritten = 0; unwritten < 2; unwritten++) {
        int best = 0, common;
        for (int i = 0; i < n_rec; i++)
            if ((rec[i]->seg || unwritten) && shared(&k, rec[i]) > best)
                best = shared(&k, rec[i]);
        struct kvdisk_rec *r = kvdisk_index_find(&x, &k, unwritten, &common);
        CHECK_INT(common, best);
        CHECK(!best == !r && (!r || (shared(&k, r) == best && (r->seg || unwritten))));
    }
}

/* Each written record behind a parent once, newest first, though now and then one goes meanwhile. */
static void list(void)
{
    struct kv_hash parent = {7, (uint64_t)below(PARENTS)};
    struct kvdisk_cursor at = {0};
    int want = 0, got = 0;
    uint64_t serial = UINT64_MAX;
    for (int i = 0; i < n_rec; i++)
        want += rec[i]->seg && rec[i]->head.parent.hi == parent.hi;
    for (const struct kvdisk_rec *r; (r = kvdisk_index_behind(&x, parent, &at)); got++) {
        CHECK(r->seg && r->head.parent.hi == parent.hi && r->serial < serial);
        serial = r->serial;
        if (below(100) == 0) { /* the very one that the cursor rests on */
            for (int i = 0; i < n_rec; i++)
                if (rec[i] == r) {
                    kvdisk_index_drop(&x, rec[i]);
                    rec[i] = rec[--n_rec];
                }
        }
    }
    CHECK_INT(got, want);
}

static void equals_a_search(void)
{
    struct kvdisk_slab *slab = calloc(N / KVDISK_SLAB + 1, sizeof *slab);
    x.bucket = calloc(KVDISK_BUCKETS, sizeof *x.bucket);
    for (int i = 0; i <= N / KVDISK_SLAB; i++)
        kvdisk_index_feed(&x, &slab[i]);
    for (int turn = 0; turn < TURNS; turn++) {
        int i = n_rec ? below(n_rec) : 0;
        struct kvdisk_rec *r = n_rec < N && below(3) ? kvdisk_index_new(&x) : NULL;
        if (r) {
            *r = (struct kvdisk_rec){.head = head_of_chance(), .off = (uint64_t)turn};
            kvdisk_index_enter(&x, rec[n_rec++] = r);
        } else if (n_rec && below(2)) {
            rec[i]->seg = (struct kvdisk_segment *)(void *)&segment[below(2)];
        } else if (n_rec) {
            CHECK(kvdisk_index_at(&x, rec[i]->head.parent, rec[i]->seg, rec[i]->off) == rec[i]);
            kvdisk_index_drop(&x, rec[i]);
            rec[i] = rec[--n_rec];
        }
        if (turn % 20 == 0)
            look();
        if (turn % 400 == 0)
            list();
    }
    CHECK_INT(x.n_entered - x.n_dropped, n_rec);
    kvdisk_index_drop_segment(&x, (struct kvdisk_segment *)(void *)&segment[0]);
    for (int i = 0; i < n_rec;)
        if (rec[i]->seg == (struct kvdisk_segment *)(void *)&segment[0])
            rec[i] = rec[--n_rec];
        else
            i++;
    CHECK(n_rec > 20);
    CHECK_INT(x.n_entered - x.n_dropped, n_rec);
    for (int i = 0; i < 100; i++)
        look();
    free(slab);
    free(x.bucket);
}

int main(void)
{
    RUN(equals_a_search);
    return check_done();
}
