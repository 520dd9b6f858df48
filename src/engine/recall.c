/* recall: see recall.h. */
#include "engine/recall.h"
#include "engine/state.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_STATIC_LINKING_ONLY /* the state lies on the stack */
#include <xxhash.h>

struct recall { /* one ledger_alloc, with its items behind it */
    struct kvdisk_job job;
    uint8_t **block; /* of one class, as they were taken */
    size_t bytes;
};

static bool others_wait(const struct request *r)
{
    for (size_t i = 0; i < r->model->n_live; i++)
        if (r->model->live[i] != r && r->model->live[i]->recall)
            return true;
    return false;
}

void recall_give(struct kv_pool *p, struct kvdisk_item *it)
{
    struct kv_seq one = {.page = &it->block, .n_page = 1};
    kv_begin(p, it->block);
    if (it->n_tok)
        prefix_publish(p, &one, 0, it->key.parent, it->token, it->n_tok);
    kv_drop(p, &one);
}

static void forget(struct request *r)
{
    struct recall *c = r->recall;
    r->recall = NULL;
    ledger_dealloc(r->model->own_requests, c, c->bytes);
}

/* What was read becomes the cache's, the deepest first: a chain is eaten from its end. */
static void end(struct request *r)
{
    struct kvdisk_job *j = &r->recall->job;
    for (int i = j->n; i-- > 0;)
        recall_give(&r->model->kv[j->item[i].key.cls], &j->item[i]);
    forget(r);
}

/* The blocks of a class that the first n_pos positions need and that are not here become items of the job. */
static int add_class(struct recall *c, const struct prefix_query *q, int cls, int n_pos)
{
    struct kv_pool *p = &q->pool[cls];
    struct kvdisk_item *it = c->job.item + c->job.n;
    int n = 0;
    for (int j = kv_first(p->window, n_pos); p->shape && j < kv_blocks(n_pos); j++) {
        int n_tok = n_pos - j * KV_BLOCK < KV_BLOCK ? n_pos - j * KV_BLOCK : KV_BLOCK;
        if (!prefix_has(q, cls, j, n_tok))
            it[n++].key = (struct kvdisk_key){q->hash[j], q->token + (size_t)j * KV_BLOCK, n_tok, cls, p->block_bytes};
    }
    int rc = n ? kv_take(p, c->block, n, NULL) : 0;
    if (rc < 0)
        return rc;
    for (int i = 0; i < n; i++)
        it[i].block = c->block[i];
    c->job.n += n;
    return 0;
}

static bool begin(struct request *r)
{
    enum { LEAST = 16 }; /* positions: fewer are as quickly computed */
    struct engine_model *m = r->model;
    struct prefix_query q = share_query(r);
    int here = prefix_reach(&q);
    q.disk = m->engine->disk;
    int there = prefix_reach(&q);
    if (there < here + LEAST)
        return false;
    size_t most = (size_t)kv_blocks(there), items = GRAPH_KV_CLASSES * most * sizeof(struct kvdisk_item);
    size_t bytes = sizeof(struct recall) + items + most * sizeof(uint8_t *);
    void *mem;
    if (ledger_alloc(m->own_requests, bytes, &mem, NULL) < 0)
        return false;
    struct recall *c = r->recall = mem;
    c->bytes = bytes;
    c->job.item = (struct kvdisk_item *)(void *)(c + 1);
    c->block = (uint8_t **)(void *)((uint8_t *)(c + 1) + items);
    int rc = 0;
    for (int cls = 0; cls < GRAPH_KV_CLASSES && rc == 0; cls++)
        rc = add_class(c, &q, cls, there);
    if (rc == 0 && c->job.n) {
        kvdisk_begin(m->engine->disk, &c->job);
        return true;
    }
    end(r); /* no memory for all of them: it will be computed, as memory comes */
    return false;
}

bool recall_waits(struct request *r)
{
    struct kvdisk *d = r->model->engine->disk;
    if (!d || (!r->recall && r->recalled))
        return false;
    if (r->recall) {
        if (!kvdisk_done(d, &r->recall->job))
            return true;
        end(r);
        return false;
    }
    if (others_wait(r))
        return true; /* for what may be its own blocks */
    r->recalled = true;
    return begin(r);
}

void recall_stop(struct request *r)
{
    if (!r->recall)
        return;
    kvdisk_cancel(r->model->engine->disk, &r->recall->job);
    end(r);
}

/* 64 samples of the file besides its size and time: a file that was changed in place keeps neither. */
int recall_fingerprint(struct engine_model *m, const char *path, bool precise, struct err *e)
{
    enum { SAMPLES = 64, PIECE = 4096 };
    struct stat st, exe = {0};
    uint8_t buf[PIECE];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int rc = err_errno(e, "cannot read %s", path);
        if (fd >= 0)
            close(fd);
        return rc;
    }
    if (stat("/proc/self/exe", &exe) != 0) /* another build may compute other bits */
        exe.st_size = 0;
    int64_t facts[] = {st.st_size,          st.st_mtim.tv_sec, st.st_mtim.tv_nsec, exe.st_size, exe.st_mtim.tv_sec,
                       exe.st_mtim.tv_nsec, precise,           m->graph->n_kv};
    XXH3_state_t x;
    XXH3_128bits_reset(&x);
    XXH3_128bits_update(&x, facts, sizeof facts);
    for (int i = 0; i < m->graph->n_kv; i++) {
        const struct graph_kv_layer *l = &m->graph->kv[i];
        int64_t layer[] = {l->n_kv_head, l->head_dim,       l->window,        l->cls,
                           l->dtype,     (int64_t)l->k_off, (int64_t)l->v_off};
        XXH3_128bits_update(&x, layer, sizeof layer);
    }
    for (int i = 0; i < SAMPLES; i++) {
        ssize_t n = pread(fd, buf, sizeof buf, st.st_size / SAMPLES * i);
        if (n > 0)
            XXH3_128bits_update(&x, buf, (size_t)n);
    }
    close(fd);
    XXH128_hash_t h = XXH3_128bits_digest(&x);
    m->fingerprint = (struct kv_hash){h.low64, h.high64};
    return 0;
}
