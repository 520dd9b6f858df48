/* weights: reading and packing. Threads take runs of whole row groups, read them into a fixed staging buffer and pack them into
 * their final place, so the peak is the packed size plus the staging. */
#include "backend/cpu/cpu.h"
#include "base/mem.h"

#include <string.h>

enum { STAGING = 4 << 20 }; /* bytes a thread reads at a time, at least one row group */

static size_t weights_round(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

static size_t weights_row_bytes(const struct graph_weight *w)
{
    const struct dtype_info *d = dtype_info(w->dtype);
    return (size_t)(w->k / d->block) * d->bytes;
}

size_t weights_packed_bytes(const struct kernels *k, const struct graph_weight *w)
{
    if (w->use == WEIGHT_LINEAR)
        return (size_t)((w->rows + KERNEL_MR - 1) / KERNEL_MR) * k->linear[w->dtype].group_bytes((size_t)w->k);
    if (w->use == WEIGHT_EMBED)
        return weights_round((size_t)w->bytes);
    return weights_round((size_t)(w->rows * w->k) * sizeof(float));
}

size_t backend_weights_bytes(const struct backend *b, const struct graph *g)
{
    size_t sum = 0;
    for (int i = 0; i < g->n_weight; i++)
        sum += weights_packed_bytes(&b->kernels, &g->weight[i]);
    return sum;
}

/* Rows that one read brings: whole groups, as many as the staging buffer is meant for. */
static uint64_t rows_at_once(const struct graph_weight *w)
{
    uint64_t step = STAGING / weights_row_bytes(w) / KERNEL_MR * KERNEL_MR;
    return step < KERNEL_MR ? KERNEL_MR : step;
}

static size_t staging_room(size_t usable) /* of one thread: whole alignments, and one of slack on both sides */
{
    return (usable + 2 * FS_ALIGN + FS_ALIGN - 1) / FS_ALIGN * FS_ALIGN;
}

size_t backend_staging_bytes(const struct backend *b, const struct graph *g)
{
    size_t most = 0;
    for (int i = 0; i < g->n_weight; i++) {
        const struct graph_weight *w = &g->weight[i];
        uint64_t rows = rows_at_once(w) < w->rows ? rows_at_once(w) : w->rows;
        if (rows * weights_row_bytes(w) > most)
            most = (size_t)rows * weights_row_bytes(w);
    }
    return staging_room(most) * (size_t)b->n_threads;
}

/* A piece of one weight that fits a staging buffer. */
struct load_job {
    int weight;
    uint64_t row, rows;
};
struct loader {
    const struct load_args *args;
    const struct kernels *kernels;
    struct weights *w;
    struct load_job *job;
    size_t n_job, cap_job;
    uint8_t *staging;
    size_t staging_each; /* usable bytes per thread; FS_ALIGN slack on both sides comes on top */
    uint64_t total;
    struct pool_work next;
    atomic_ullong done;
    atomic_int failed; /* first error code */
    struct err *err;   /* written once, by whoever sets failed */
};

static int loader_add_jobs(struct loader *l, int weight)
{
    const struct graph_weight *w = &l->args->graph->weight[weight];
    size_t row_bytes = weights_row_bytes(w);
    uint64_t step = rows_at_once(w);
    for (uint64_t row = 0; row < w->rows; row += step) {
        uint64_t rows = w->rows - row < step ? w->rows - row : step;
        struct load_job *job = mem_grow(l->job, &l->cap_job, l->n_job + 1, sizeof *job);
        if (!job)
            return ERR_NOMEM;
        l->job = job;
        job[l->n_job++] = (struct load_job){weight, row, rows};
        if (rows * row_bytes > l->staging_each)
            l->staging_each = (size_t)rows * row_bytes;
    }
    l->total += w->bytes;
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

static void loader_fail(struct loader *l, const struct err *e)
{
    int none = 0;
    if (atomic_compare_exchange_strong(&l->failed, &none, e->code))
        if (l->err)
            *l->err = *e;
}

static void loader_thread(void *arg, int thread, int n_threads)
{
    (void)n_threads;
    struct loader *l = arg;
    size_t room = l->staging_each + 2 * FS_ALIGN;
    uint8_t *staging = l->staging + (size_t)thread * room;
    size_t begin, end;
    while (!atomic_load(&l->failed) && pool_take(&l->next, l->n_job, 1, &begin, &end)) {
        const struct load_job *j = &l->job[begin];
        const struct graph_weight *w = &l->args->graph->weight[j->weight];
        size_t row_bytes = weights_row_bytes(w), len = (size_t)j->rows * row_bytes;
        struct err e = {0};
        const uint8_t *src;
        if (fs_reader_at(l->args->data, w->offset + j->row * row_bytes, len, staging, room, &src, &e)) {
            err_prefix(&e, e.code, "reading tensor %s", w->name);
            loader_fail(l, &e);
            return;
        }
        loader_place(l, j, src);
        uint64_t done = atomic_fetch_add(&l->done, len) + len;
        if (thread == 0 && l->args->progress && l->args->progress(l->args->progress_arg, done, l->total)) {
            err_set(&e, ERR_CANCELLED, "loading was cancelled");
            loader_fail(l, &e);
        }
    }
}

static int loader_run(struct loader *l, int n_threads, struct err *e)
{
    struct pool *pool = NULL;
    size_t room = staging_room(l->staging_each);
    l->staging_each = room - 2 * FS_ALIGN;
    size_t bytes = room * (size_t)n_threads;
    void *staging;
    int rc = ledger_alloc(l->args->staging_owner, bytes, &staging, e);
    if (rc)
        return rc;
    l->staging = staging;
    if ((rc = pool_new(&pool, n_threads, e)) == 0) {
        l->err = e;
        pool_run(pool, loader_thread, l);
        rc = atomic_load(&l->failed);
        if (!rc && l->args->progress)
            l->args->progress(l->args->progress_arg, l->total, l->total);
    }
    pool_free(pool);
    ledger_dealloc(l->args->staging_owner, staging, bytes);
    return rc;
}

void backend_unload(struct weights *w)
{
    if (!w)
        return;
    if (w->mem)
        ledger_dealloc(w->owner, w->mem, w->mem_bytes);
    mem_free(w->packed);
    mem_free(w);
}

static int weights_layout(struct weights *w, const struct backend *b, const struct graph *g, struct err *e)
{
    w->n = g->n_weight;
    w->packed = mem_calloc((size_t)g->n_weight, sizeof *w->packed);
    if (!w->packed)
        return err_set(e, ERR_NOMEM, "out of memory for the table of weights");
    w->mem_bytes = backend_weights_bytes(b, g);
    int rc = ledger_alloc(w->owner, w->mem_bytes, &w->mem, e);
    if (rc)
        return rc;
    uint8_t *p = w->mem;
    for (int i = 0; i < g->n_weight; i++) {
        const struct graph_weight *gw = &g->weight[i];
        w->packed[i].data = p;
        w->packed[i].bytes = weights_packed_bytes(&b->kernels, gw);
        if (gw->use == WEIGHT_LINEAR)
            w->packed[i].group_bytes = b->kernels.linear[gw->dtype].group_bytes((size_t)gw->k);
        p += w->packed[i].bytes;
    }
    return 0;
}

int backend_load(struct backend *b, const struct load_args *a, struct weights **out, struct err *e)
{
    struct weights *w = mem_calloc(1, sizeof *w);
    if (!w)
        return err_set(e, ERR_NOMEM, "out of memory for the table of weights");
    w->owner = a->weights_owner;
    struct loader l = {.args = a, .kernels = &b->kernels, .w = w};
    int rc = weights_layout(w, b, a->graph, e);
    for (int i = 0; !rc && i < a->graph->n_weight; i++)
        if ((rc = loader_add_jobs(&l, i)))
            err_set(e, rc, "out of memory for the list of reads");
    if (!rc)
        rc = loader_run(&l, b->n_threads, e);
    mem_free(l.job);
    if (rc) {
        backend_unload(w);
        return rc;
    }
    *out = w;
    return 0;
}
