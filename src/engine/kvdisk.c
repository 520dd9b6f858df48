/* kvdisk: see kvdisk.h. One lock over index, segments and queues; no I/O under it but the unlinking of a segment that goes. */
#include "engine/kvdisk.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "engine/kvdisk_index.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { THREADS = 2, PARTS = 16 };
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif
static const size_t WAITING_MOST = 64 << 20; /* bytes copied and not yet written */
static const double PAUSE_S = 10;            /* after a write that failed */

struct kvdisk_segment {
    struct kvdisk_segment *next;
    int fd, users; /* records being read or written */
    uint64_t id, size, used;
    uint64_t good; /* the end of the last record that was written */
    bool broken;   /* a record could not be written: nothing comes behind it */
    bool gone;     /* unlinked: closed by the last user */
};

struct write { /* its block lies behind it */
    struct write *next;
    size_t bytes; /* allocated */
    struct kvdisk_rec *rec;
};

struct kvdisk {
    struct ledger_owner *own;
    char *dir;
    int lock_fd, n_threads;
    uint64_t limit, next_id, clock;
    void (*done)(void *arg);
    void *arg;
    pthread_t thread[THREADS];
    pthread_mutex_t lock;
    pthread_cond_t wake, idle; /* something to do; a piece is done */
    bool stop, failing, small; /* .. told that the limit is too small for a model's blocks */
    double pause;              /* nothing is written before */
    struct kvdisk_index index;
    struct kvdisk_slab *slabs;
    struct kvdisk_segment *segments, *current;
    struct kvdisk_job *job;
    struct write *first, *last;
    size_t waiting;
    struct kvdisk_stats stats;
};

/* ---- records ---- */

/* Not under lock: the ledger may ask the store of blocks for room, and that asks us what we have. */
static void rec_reserve(struct kvdisk *d)
{
    void *mem;
    pthread_mutex_lock(&d->lock);
    bool enough = kvdisk_index_enough(&d->index);
    pthread_mutex_unlock(&d->lock);
    if (enough || ledger_alloc(d->own, sizeof(struct kvdisk_slab), &mem, NULL) < 0)
        return;
    struct kvdisk_slab *s = mem;
    pthread_mutex_lock(&d->lock);
    s->next = d->slabs;
    d->slabs = s;
    kvdisk_index_feed(&d->index, s);
    pthread_mutex_unlock(&d->lock);
}

int kvdisk_find(struct kvdisk *d, const struct kvdisk_key *k)
{
    int common;
    pthread_mutex_lock(&d->lock);
    kvdisk_index_find(&d->index, k, false, &common);
    pthread_mutex_unlock(&d->lock);
    return common;
}

bool kvdisk_behind(struct kvdisk *d, struct kv_hash parent, struct kvdisk_cursor *at, struct kvdisk_found *out)
{
    pthread_mutex_lock(&d->lock);
    const struct kvdisk_rec *r = kvdisk_index_behind(&d->index, parent, at);
    if (r) {
        *out = (struct kvdisk_found){.bytes = r->head.bytes, .n_tok = (int)r->head.n_tok, .cls = (int)r->head.cls};
        memcpy(out->token, r->head.token, sizeof out->token);
    }
    pthread_mutex_unlock(&d->lock);
    return r != NULL;
}

/* ---- segments ---- */

static void segment_path(const struct kvdisk *d, uint64_t id, char *out, size_t n)
{
    snprintf(out, n, "%s/%016" PRIx64 ".kv", d->dir, id);
}

static void segment_remove(struct kvdisk *d, struct kvdisk_segment *s);

/* What could not be written is cut off; it must not count as used. */
static void segment_mend(struct kvdisk *d, struct kvdisk_segment *s)
{
    if (ftruncate(s->fd, (off_t)s->good) != 0) /* a hole: whoever scans it stops there */
        return;
    d->stats.bytes -= s->size - s->good;
    s->size = s->good;
    s->broken = false;
    if (!s->size)
        segment_remove(d, s);
}

static void segment_put(struct kvdisk *d, struct kvdisk_segment *s) /* under lock: one user less */
{
    if (--s->users)
        return;
    if (s->gone) {
        close(s->fd);
        mem_free(s);
    } else if (s->broken) {
        segment_mend(d, s);
    }
}

static void segment_remove(struct kvdisk *d, struct kvdisk_segment *s)
{
    char path[4200];
    segment_path(d, s->id, path, sizeof path);
    unlink(path);
    kvdisk_index_drop_segment(&d->index, s);
    struct kvdisk_segment **at = &d->segments;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    d->stats.bytes -= s->size;
    if (d->current == s)
        d->current = NULL;
    s->gone = true;
    s->users++;
    segment_put(d, s);
}

/* The least recently used segments go until `more` bytes fit. */
static void make_room(struct kvdisk *d, uint64_t more)
{
    while (d->stats.bytes + more > d->limit) {
        struct kvdisk_segment *old = NULL;
        for (struct kvdisk_segment *s = d->segments; s; s = s->next)
            if (s != d->current && (!old || s->used < old->used))
                old = s;
        if (!old)
            old = d->current;
        if (!old)
            return;
        segment_remove(d, old);
    }
}

static struct kvdisk_segment *segment_new(struct kvdisk *d, uint64_t id, int fd, uint64_t size)
{
    struct kvdisk_segment *s = mem_calloc(1, sizeof *s);
    if (!s)
        return NULL;
    *s = (struct kvdisk_segment){
        .fd = fd, .id = id, .size = size, .good = size, .used = ++d->clock, .next = d->segments};
    d->segments = s;
    d->stats.bytes += size;
    d->next_id = id >= d->next_id ? id + 1 : d->next_id;
    return s;
}

/* The segment that the next record of `bytes` goes to; under lock. NULL: none, *why is errno or 0. */
static struct kvdisk_segment *segment_for(struct kvdisk *d, uint64_t bytes, int *why)
{
    char path[4200];
    *why = 0;
    if (bytes > d->limit / 2) {
        if (!d->small)
            log_line(LOG_WARNING,
                     "kv disk: its limit of %" PRIu64 " bytes holds no two blocks of %" PRIu64
                     "; give it more with --kv-disk",
                     d->limit, bytes);
        d->small = true;
        return NULL;
    }
    make_room(d, bytes);
    if (d->current && d->current->size + bytes > d->limit / PARTS && d->current->size)
        d->current = NULL;
    if (d->current)
        return d->current;
    segment_path(d, d->next_id, path, sizeof path);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    *why = fd < 0 ? errno : 0;
    if (fd >= 0 && !(d->current = segment_new(d, d->next_id, fd, 0))) {
        close(fd);
        unlink(path);
    }
    return d->current;
}

/* Heads until one is not whole; what comes behind is lost and cut off. */
static void segment_scan(struct kvdisk *d, struct kvdisk_segment *s)
{
    struct kvdisk_head h;
    uint64_t off = 0;
    while (kvdisk_file_head(s->fd, off, s->size, &h)) {
        rec_reserve(d);
        struct kvdisk_rec *r = kvdisk_index_new(&d->index);
        if (!r)
            return;
        *r = (struct kvdisk_rec){.seg = s, .off = off, .head = h};
        kvdisk_index_enter(&d->index, r);
        off += sizeof h + h.bytes;
    }
    d->stats.bad_total += off < s->size;
    if (off < s->size && ftruncate(s->fd, (off_t)off) == 0) {
        d->stats.bytes -= s->size - off;
        s->size = s->good = off;
    }
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static int read_folder(struct kvdisk *d, struct err *e)
{
    DIR *dir = opendir(d->dir);
    uint64_t *id = NULL;
    size_t n = 0, cap = 0;
    if (!dir)
        return err_errno(e, "cannot read %s", d->dir);
    for (struct dirent *f; (f = readdir(dir));) {
        unsigned long long v;
        int end = 0;
        if (sscanf(f->d_name, "%16llx.kv%n", &v, &end) != 1 || end != 19 || f->d_name[end] || v >> 63)
            continue; /* none of ours; beyond the last number there is no next one */
        uint64_t *grown = mem_grow(id, &cap, n + 1, sizeof *id);
        if (!grown)
            break;
        id = grown;
        id[n++] = v;
    }
    closedir(dir);
    if (n)
        qsort(id, n, sizeof *id, by_id); /* older ones count as used longer ago */
    d->next_id = n ? id[n - 1] + 1 : 0;  /* beyond those that cannot be opened, too */
    for (size_t i = 0; i < n; i++) {
        char path[4200];
        struct stat st;
        segment_path(d, id[i], path, sizeof path);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd < 0)
            continue;
        struct kvdisk_segment *s =
            fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? segment_new(d, id[i], fd, (uint64_t)st.st_size) : NULL;
        if (!s) {
            close(fd);
            continue;
        }
        segment_scan(d, s);
        if (!s->size)
            segment_remove(d, s);
    }
    mem_free(id);
    if (d->segments && d->segments->size < d->limit / PARTS)
        d->current = d->segments; /* the newest */
    make_room(d, 0);
    return 0;
}

/* ---- the I/O threads ---- */

/* Next piece of the oldest job; under lock. */
static struct kvdisk_item *next_read(struct kvdisk *d, struct kvdisk_job **of)
{
    struct kvdisk_job *j = d->job;
    *of = j;
    if (!j)
        return NULL;
    struct kvdisk_item *it = &j->item[j->begun++];
    if (j->begun == j->n)
        d->job = j->next;
    return it;
}

static void read_item(struct kvdisk *d, struct kvdisk_job *j, struct kvdisk_item *it)
{
    struct kvdisk_segment *seg = it->at.seg;
    if (seg) {
        pthread_mutex_unlock(&d->lock);
        madvise(it->block, it->key.bytes,
                MADV_POPULATE_WRITE); /* one call for its page faults; old kernels say EINVAL */
        bool ok = kvdisk_file_read(seg->fd, it->at.off, it->at.sum, it->block, it->key.bytes);
        pthread_mutex_lock(&d->lock);
        it->n_tok = ok ? it->at.n_tok : 0;
        d->stats.read_total += ok;
        d->stats.bad_total += !ok;
        struct kvdisk_rec *r = ok ? NULL : kvdisk_index_at(&d->index, it->key.parent, seg, it->at.off);
        if (r)
            kvdisk_index_drop(&d->index, r);
        segment_put(d, seg);
    }
    j->left--;
    pthread_cond_broadcast(&d->idle);
    if (!j->left && d->done) {
        pthread_mutex_unlock(&d->lock);
        d->done(d->arg);
        pthread_mutex_lock(&d->lock);
    }
}

/* Once more in a while: a disk that was full may have room again. */
static void write_failed(struct kvdisk *d, struct kvdisk_segment *s, int why)
{
    if (!d->failing)
        log_line(LOG_WARNING, "kv disk: cannot write to %s: %s", d->dir, strerror(why));
    d->failing = true;
    d->pause = clock_s() + PAUSE_S;
    if (s)
        s->broken = true;
    if (s && d->current == s)
        d->current = NULL; /* nothing behind the hole would be found again */
}

static void write_item(struct kvdisk *d, struct write *w)
{
    struct kvdisk_rec *r = w->rec;
    struct kvdisk_head h = r->head;
    uint64_t bytes = sizeof h + h.bytes;
    int why;
    struct kvdisk_segment *s = segment_for(d, bytes, &why);
    uint64_t off = s ? s->size : 0;
    if (s) {
        s->size += bytes; /* the place is taken; other writers go behind it */
        s->users++;
        d->stats.bytes += bytes;
    }
    pthread_mutex_unlock(&d->lock);
    const uint8_t *block = (const uint8_t *)(w + 1);
    kvdisk_file_sum(&h, block);
    if (s)
        why = kvdisk_file_write(s->fd, off, &h, block);
    pthread_mutex_lock(&d->lock);
    if (why)
        write_failed(d, s, why);
    else if (s)
        d->failing = false;
    if (s && !why && !s->gone) {
        r->seg = s;
        r->off = off;
        r->head = h;
        s->good = off + bytes > s->good ? off + bytes : s->good;
        d->stats.written_total++;
    } else {
        kvdisk_index_drop(&d->index, r);
    }
    if (s)
        segment_put(d, s);
    d->waiting -= w->bytes;
    ledger_dealloc(d->own, w, w->bytes);
}

static void *io_main(void *arg)
{
    struct kvdisk *d = arg;
    pthread_mutex_lock(&d->lock);
    for (;;) {
        struct kvdisk_job *j;
        struct kvdisk_item *it = next_read(d, &j);
        if (it) {
            read_item(d, j, it);
        } else if (d->first) {
            struct write *w = d->first;
            d->first = w->next;
            write_item(d, w);
        } else if (d->stop) {
            break;
        } else {
            pthread_cond_wait(&d->wake, &d->lock);
        }
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

/* ---- the engine's side ---- */

/* A record for the block, if it is to be written: there is none yet, and not too much waits. */
static struct kvdisk_rec *intend(struct kvdisk *d, const struct kvdisk_key *k, size_t bytes)
{
    int common;
    struct kvdisk_rec *r = kvdisk_index_find(&d->index, k, true, &common);
    if (r && common == k->n_tok) {
        if (r->seg)
            r->seg->used = ++d->clock;
        return NULL;
    }
    if (d->waiting + bytes > WAITING_MOST || (d->failing && clock_s() < d->pause) || !(r = kvdisk_index_new(&d->index)))
        return NULL;
    *r = (struct kvdisk_rec){.head = kvdisk_file_head_of(k)};
    kvdisk_index_enter(&d->index, r);
    d->waiting += bytes;
    return r;
}

void kvdisk_write(struct kvdisk *d, const struct kvdisk_key *k, const uint8_t *block)
{
    size_t bytes = sizeof(struct write) + k->bytes;
    rec_reserve(d);
    pthread_mutex_lock(&d->lock);
    struct kvdisk_rec *r = intend(d, k, bytes);
    pthread_mutex_unlock(&d->lock);
    void *mem = NULL;
    int rc = r ? ledger_alloc(d->own, bytes, &mem, NULL) : 0;
    struct write *w = mem;
    if (w) {
        *w = (struct write){.bytes = bytes, .rec = r};
        memcpy(w + 1, block, k->bytes);
    }
    pthread_mutex_lock(&d->lock);
    if (rc < 0) {
        d->waiting -= bytes;
        kvdisk_index_drop(&d->index, r);
    }
    if (w) {
        *(d->first ? &d->last->next : &d->first) = w;
        d->last = w;
        pthread_cond_signal(&d->wake);
    }
    pthread_mutex_unlock(&d->lock);
}

void kvdisk_begin(struct kvdisk *d, struct kvdisk_job *j)
{
    pthread_mutex_lock(&d->lock);
    j->begun = 0;
    j->left = j->n;
    j->next = NULL;
    for (int i = 0; i < j->n; i++) {
        struct kvdisk_item *it = &j->item[i];
        int common;
        struct kvdisk_rec *r = kvdisk_index_find(&d->index, &it->key, false, &common);
        it->n_tok = 0;
        it->at.seg = r ? r->seg : NULL;
        if (!r)
            continue;
        it->at.off = r->off;
        it->at.sum = r->head.data_sum;
        it->at.n_tok = (int)r->head.n_tok;
        memcpy(it->token, r->head.token, sizeof it->token);
        r->seg->users++;
    }
    struct kvdisk_job **at = &d->job;
    while (*at)
        at = &(*at)->next;
    *at = j;
    pthread_cond_broadcast(&d->wake);
    pthread_mutex_unlock(&d->lock);
}

bool kvdisk_done(struct kvdisk *d, const struct kvdisk_job *j)
{
    pthread_mutex_lock(&d->lock);
    bool done = !j->left;
    pthread_mutex_unlock(&d->lock);
    return done;
}

void kvdisk_cancel(struct kvdisk *d, struct kvdisk_job *j)
{
    pthread_mutex_lock(&d->lock);
    for (struct kvdisk_job **at = &d->job; *at; at = &(*at)->next)
        if (*at == j) {
            *at = j->next;
            break;
        }
    for (; j->begun < j->n; j->begun++, j->left--)
        if (j->item[j->begun].at.seg)
            segment_put(d, j->item[j->begun].at.seg);
    while (j->left)
        pthread_cond_wait(&d->idle, &d->lock);
    pthread_mutex_unlock(&d->lock);
}

void kvdisk_stats(struct kvdisk *d, struct kvdisk_stats *out)
{
    pthread_mutex_lock(&d->lock);
    *out = d->stats;
    out->records = d->index.n_entered - d->index.n_dropped;
    pthread_mutex_unlock(&d->lock);
}

static int take_folder(struct kvdisk *d, const char *dir, struct err *e)
{
    if (!(d->dir = mem_strdup(dir)))
        return err_set(e, ERR_NOMEM, "no memory for the disk tier");
    if (strlen(dir) > 4096)
        return err_set(e, ERR_RANGE, "the path of the KV folder is too long");
    int rc = fs_mkdirs(dir, e);
    if (rc < 0)
        return rc;
    char *path = fs_join(dir, "lock");
    d->lock_fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    mem_free(path);
    if (d->lock_fd < 0)
        return err_errno(e, "cannot write to %s", dir);
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return err_set(e, ERR_BUSY, "another process uses %s; give this one another data folder, or no --kv-disk", dir);
    return 0;
}

int kvdisk_open(struct kvdisk **out, const struct kvdisk_opts *o, struct err *e)
{
    struct kvdisk *d = mem_calloc(1, sizeof *d);
    if (!d)
        return err_set(e, ERR_NOMEM, "no memory for the disk tier");
    *d = (struct kvdisk){.limit = o->limit, .done = o->done, .arg = o->arg, .lock_fd = -1};
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->wake, NULL);
    pthread_cond_init(&d->idle, NULL);
    void *mem;
    int rc = ledger_owner_new(o->ledger, "kv/disk", &d->own, e);
    if (rc == 0)
        rc = ledger_alloc(d->own, KVDISK_BUCKETS * sizeof *d->index.bucket, &mem, e);
    if (rc == 0) {
        d->index.bucket = mem;
        d->index.seed = rng_entropy();
        rc = take_folder(d, o->dir, e);
    }
    if (rc == 0)
        rc = read_folder(d, e);
    for (; rc == 0 && d->n_threads < THREADS; d->n_threads++)
        if (pthread_create(&d->thread[d->n_threads], NULL, io_main, d) != 0) {
            rc = err_errno(e, "cannot start an I/O thread");
            break;
        }
    if (rc < 0) {
        kvdisk_close(d);
        return rc;
    }
    *out = d;
    return 0;
}

void kvdisk_close(struct kvdisk *d)
{
    if (!d)
        return;
    pthread_mutex_lock(&d->lock);
    d->stop = true;
    pthread_cond_broadcast(&d->wake);
    pthread_mutex_unlock(&d->lock);
    for (int i = 0; i < d->n_threads; i++)
        pthread_join(d->thread[i], NULL);
    while (d->segments) {
        struct kvdisk_segment *s = d->segments;
        d->segments = s->next;
        close(s->fd);
        mem_free(s);
    }
    while (d->slabs) {
        struct kvdisk_slab *s = d->slabs;
        d->slabs = s->next;
        ledger_dealloc(d->own, s, sizeof *s);
    }
    if (d->index.bucket)
        ledger_dealloc(d->own, d->index.bucket, KVDISK_BUCKETS * sizeof *d->index.bucket);
    ledger_owner_free(d->own);
    if (d->lock_fd >= 0)
        close(d->lock_fd);
    pthread_cond_destroy(&d->wake);
    pthread_cond_destroy(&d->idle);
    pthread_mutex_destroy(&d->lock);
    mem_free(d->dir);
    mem_free(d);
}
