/* loader: from the file to packed weights. Readers bring stretches of the file, in file order, into a fixed set of buffers; packers
 * take full buffers and put what lies in them into its final place. Reading with direct I/O needs no core, so the disk and the
 * cores work at the same time, and the peak of memory is the packed size plus the buffers. */
#include "backend/cpu/cpu.h"
#include "base/mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum {
    STAGING = 2 << 20, /* bytes of one read, at least one row group */
    READERS = 4,       /* the disk has always more to do */
    MAX_PACKERS = 16,  /* more than any disk feeds */
    MAX_BUFFERS = MAX_PACKERS + 2 * READERS
};

/* A run of rows of one weight. Jobs that lie close together in the file share a read. */
struct load_job {
    int weight;
    uint64_t row, rows;
    uint64_t offset; /* in the file */
    size_t len;
};
struct load_read {
    size_t first, n; /* jobs */
    uint64_t offset;
    size_t len;
};
struct load_buffer {
    uint8_t *mem;
    const uint8_t *data; /* where the read's first byte lies */
    const struct load_read *read;
};
struct loader {
    const struct load_args *args;
    const struct kernels *kernels;
    struct weights *w;
    struct load_job *job;
    struct load_read *read;
    size_t n_job, cap_job, n_read, cap_read;
    size_t room; /* bytes of a buffer */
    uint64_t total;
    struct err *err; /* written once, by whoever sets failed */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t emptied, filled;
    struct load_buffer *empty[MAX_BUFFERS], *full[MAX_BUFFERS]; /* full: first in, first out */
    int n_empty, n_full, readers;                               /* readers: still reading */
    size_t next;                                                /* read */
    uint64_t done;
    int failed; /* first error code */
};

/* ---- the list of reads ---- */

/* Rows that one job brings: whole groups, as many as the buffer is meant for. */
static uint64_t job_rows(const struct graph_weight *w)
{
    uint64_t step = STAGING / weights_row_bytes(w) / KERNEL_MR * KERNEL_MR;
    return step < KERNEL_MR ? KERNEL_MR : step;
}

static uint64_t file_bytes(const struct graph *g)
{
    uint64_t sum = 0;
    for (int i = 0; i < g->n_weight; i++)
        sum += g->weight[i].bytes;
    return sum;
}

/* Bytes that one read may bring: little for a small model, and at least the largest job. */
static size_t read_most(const struct graph *g)
{
    uint64_t sixteenth = file_bytes(g) / 16;
    size_t most = sixteenth < STAGING ? (size_t)sixteenth : STAGING;
    for (int i = 0; i < g->n_weight; i++) {
        const struct graph_weight *w = &g->weight[i];
        uint64_t rows = job_rows(w) < w->rows ? job_rows(w) : w->rows;
        if (rows * weights_row_bytes(w) > most)
            most = (size_t)rows * weights_row_bytes(w);
    }
    return most;
}

static size_t buffer_room(const struct graph *g) /* whole alignments, and one of slack on both sides */
{
    return (read_most(g) + 3 * FS_ALIGN - 1) / FS_ALIGN * FS_ALIGN;
}

static int packers(const struct backend *b)
{
    return b->n_threads < MAX_PACKERS ? b->n_threads : MAX_PACKERS;
}

/* Together not more than a quarter of the model, as long as there are two. */
static int buffers(const struct backend *b, const struct graph *g)
{
    uint64_t n = file_bytes(g) / 4 / buffer_room(g), most = (uint64_t)packers(b) + 2 * READERS;
    return n < 2 ? 2 : (int)(n < most ? n : most);
}

size_t backend_staging_bytes(const struct backend *b, const struct graph *g)
{
    return buffer_room(g) * (size_t)buffers(b, g);
}

static int add_jobs(struct loader *l, int weight)
{
    const struct graph_weight *w = &l->args->graph->weight[weight];
    size_t row_bytes = weights_row_bytes(w);
    uint64_t step = job_rows(w);
    for (uint64_t row = 0; row < w->rows; row += step) {
        uint64_t rows = w->rows - row < step ? w->rows - row : step;
        struct load_job *job = mem_grow(l->job, &l->cap_job, l->n_job + 1, sizeof *job);
        if (!job)
            return ERR_NOMEM;
        l->job = job;
        job[l->n_job++] = (struct load_job){weight, row, rows, w->offset + row * row_bytes, (size_t)rows * row_bytes};
    }
    l->total += w->bytes;
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    uint64_t x = ((const struct load_job *)a)->offset, y = ((const struct load_job *)b)->offset;
    return (x > y) - (x < y);
}

/* Neighbours share a read as long as it fits a buffer: norms and biases are a few KiB each. */
static int add_reads(struct loader *l)
{
    size_t most = read_most(l->args->graph);
    qsort(l->job, l->n_job, sizeof *l->job, by_offset);
    for (size_t i = 0; i < l->n_job; i++) {
        const struct load_job *j = &l->job[i];
        struct load_read *last = l->n_read ? &l->read[l->n_read - 1] : NULL;
        if (last && j->offset + j->len <= last->offset + most) {
            uint64_t end = j->offset + j->len;
            last->n++;
            last->len = end > last->offset + last->len ? (size_t)(end - last->offset) : last->len;
            continue;
        }
        struct load_read *read = mem_grow(l->read, &l->cap_read, l->n_read + 1, sizeof *read);
        if (!read)
            return ERR_NOMEM;
        l->read = read;
        read[l->n_read++] = (struct load_read){i, 1, j->offset, j->len};
    }
    return 0;
}

static void loader_place(const struct loader *l, const struct load_job *j, const uint8_t *src)
{
    const struct graph_weight *w = &l->args->graph->weight[j->weight];
    const struct packed *dst = &l->w->packed[j->weight];
    size_t row_bytes = weights_row_bytes(w);
    if (w->use == WEIGHT_EMBED) {
        memcpy(dst->data + j->row * row_bytes, src, (size_t)j->rows * row_bytes);
    } else if (w->use == WEIGHT_VECTOR) {
        for (uint64_t r = 0; r < j->rows; r++)
            dtype_info(w->dtype)->decode((float *)(void *)dst->data + (j->row + r) * w->k, src + r * row_bytes,
                                         (size_t)w->k);
    } else {
        const struct linear_kernel *k = &l->kernels->linear[w->dtype];
        for (uint64_t r = 0; r < j->rows; r += KERNEL_MR) {
            size_t n = (size_t)(j->rows - r < KERNEL_MR ? j->rows - r : KERNEL_MR);
            k->pack(dst->data + (j->row + r) / KERNEL_MR * dst->group_bytes, src + r * row_bytes, row_bytes, n,
                    (size_t)w->k);
        }
    }
}

/* ---- readers and packers ---- */

/* With the lock held. */
static void loader_fail(struct loader *l, const struct err *e)
{
    if (!l->failed) {
        l->failed = e->code;
        if (l->err)
            *l->err = *e;
    }
    pthread_cond_broadcast(&l->emptied);
    pthread_cond_broadcast(&l->filled);
}

/* Reads into an empty buffer, the lock released meanwhile. */
static void loader_read(struct loader *l, struct load_buffer *b)
{
    struct err e = {0};
    b->read = &l->read[l->next++];
    pthread_mutex_unlock(&l->lock);
    int rc = fs_reader_at(l->args->data, b->read->offset, b->read->len, b->mem, l->room, &b->data, &e);
    if (rc)
        err_prefix(&e, e.code, "reading tensor %s", l->args->graph->weight[l->job[b->read->first].weight].name);
    pthread_mutex_lock(&l->lock);
    if (rc) {
        loader_fail(l, &e);
        return;
    }
    l->full[l->n_full++] = b;
    pthread_cond_signal(&l->filled);
}

static void *reader_main(void *arg)
{
    struct loader *l = arg;
    pthread_mutex_lock(&l->lock);
    while (!l->failed && l->next < l->n_read) {
        if (l->n_empty)
            loader_read(l, l->empty[--l->n_empty]);
        else
            pthread_cond_wait(&l->emptied, &l->lock);
    }
    l->readers--;
    pthread_cond_broadcast(&l->filled);
    pthread_cond_broadcast(&l->emptied); /* nobody waits for a buffer when nothing is left to read */
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static struct load_buffer *take_full(struct loader *l)
{
    struct load_buffer *b = l->full[0];
    memmove(l->full, l->full + 1, (size_t)--l->n_full * sizeof(struct load_buffer *));
    return b;
}

static void packer_main(void *arg, int thread, int n_threads)
{
    (void)n_threads;
    struct loader *l = arg;
    pthread_mutex_lock(&l->lock);
    while (!l->failed && (l->n_full || l->readers)) {
        if (!l->n_full) {
            pthread_cond_wait(&l->filled, &l->lock);
            continue;
        }
        struct load_buffer *b = take_full(l);
        pthread_mutex_unlock(&l->lock);
        const struct load_read *r = b->read;
        uint64_t placed = 0;
        for (size_t i = r->first; i < r->first + r->n; placed += l->job[i++].len)
            loader_place(l, &l->job[i], b->data + (l->job[i].offset - r->offset));
        pthread_mutex_lock(&l->lock);
        l->empty[l->n_empty++] = b;
        pthread_cond_signal(&l->emptied);
        uint64_t done = l->done += placed;
        if (thread || !l->args->progress)
            continue;
        pthread_mutex_unlock(&l->lock);
        bool go_on = l->args->progress(l->args->progress_arg, done, l->total) == 0;
        pthread_mutex_lock(&l->lock);
        if (!go_on) {
            struct err e;
            err_set(&e, ERR_CANCELLED, "loading was cancelled");
            loader_fail(l, &e);
        }
    }
    pthread_mutex_unlock(&l->lock);
}

/* Starts the readers, packs with a pool of its own (steps of other models run meanwhile), and waits for all. */
static int loader_run(struct loader *l, struct pool *pool, struct err *e)
{
    pthread_t id[READERS];
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are for the threads that expect them */
    int n = 0;
    l->readers = READERS;
    while (n < READERS && pthread_create(&id[n], NULL, reader_main, l) == 0)
        n++;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_mutex_lock(&l->lock);
    l->readers -= READERS - n;
    pthread_mutex_unlock(&l->lock);
    if (n)
        pool_run(pool, packer_main, l);
    for (int i = 0; i < n; i++)
        pthread_join(id[i], NULL);
    return n ? l->failed : err_set(e, ERR_NOMEM, "cannot start a thread that reads the file");
}

static int loader_buffers(struct loader *l, struct backend *b, struct err *e)
{
    struct load_buffer buffer[MAX_BUFFERS];
    struct pool *pool = NULL;
    size_t bytes = backend_staging_bytes(b, l->args->graph);
    void *staging;
    int rc = ledger_alloc(l->args->staging_owner, bytes, &staging, e);
    if (rc)
        return rc;
    for (int i = 0; i < buffers(b, l->args->graph); i++) {
        buffer[i] = (struct load_buffer){.mem = (uint8_t *)staging + (size_t)i * l->room};
        l->empty[l->n_empty++] = &buffer[i];
    }
    rc = pool_new(&pool, packers(b), e);
    if (!rc)
        rc = loader_run(l, pool, e);
    pool_free(pool);
    ledger_dealloc(l->args->staging_owner, staging, bytes);
    return rc;
}

int loader_fill(struct backend *b, const struct load_args *a, struct weights *w, struct err *e)
{
    struct loader l = {.args = a, .kernels = &b->kernels, .w = w, .room = buffer_room(a->graph), .err = e};
    pthread_mutex_init(&l.lock, NULL);
    pthread_cond_init(&l.emptied, NULL);
    pthread_cond_init(&l.filled, NULL);
    int rc = 0;
    for (int i = 0; !rc && i < a->graph->n_weight; i++)
        rc = add_jobs(&l, i);
    if (!rc)
        rc = add_reads(&l);
    if (rc)
        err_set(e, rc, "out of memory for the list of reads");
    else
        rc = loader_buffers(&l, b, e);
    if (!rc && a->progress)
        a->progress(a->progress_arg, l.total, l.total);
    mem_free(l.read);
    mem_free(l.job);
    pthread_cond_destroy(&l.filled);
    pthread_cond_destroy(&l.emptied);
    pthread_mutex_destroy(&l.lock);
    return rc;
}
