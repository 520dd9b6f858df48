/* open: one Hearth per process: ledger, engine and store together, and the small questions about them. */
#include "base/clock.h"
#include "base/cpu.h"
#include "base/fs.h"
#include "base/mem.h"
#include "model/model.h"
#include "session/state.h"
#include <string.h>

static int disk_folder(const struct hearth_opts *o, char **out, struct err *e)
{
    char *dir = NULL;
    int rc = o->data_dir ? 0 : fs_data_dir(&dir, e);
    if (rc == 0 && !(*out = fs_join(dir ? dir : o->data_dir, "kv")))
        rc = err_set(e, ERR_NOMEM, "no memory to start");
    mem_free(dir);
    return rc;
}

static void on_starved(void *arg) /* engine thread */
{
    struct hearth *h = arg;
    pthread_mutex_lock(&h->lock);
    monitor_wake(h);
    pthread_mutex_unlock(&h->lock);
}

static int open_parts(struct hearth *h, const struct hearth_opts *o, struct err *e)
{
    long mask = o->cpu_mask ? cpu_mask_parse(o->cpu_mask) : (long)cpu_mask_parse("all");
    if (mask < 0)
        return err_set(e, ERR_USAGE, "cpu mask \"%s\" is not known: ref, avx2, avxvnni, avx512, amx, neon, i8mm or all",
                       o->cpu_mask);
    int rc = ledger_new(&h->ledger, o->ceiling, e);
    if (rc < 0)
        return rc;
    if ((rc = ledger_owner_new(h->ledger, "program", &h->program, e)) < 0)
        return rc;
    struct engine_opts eo = {.ledger = h->ledger,
                             .n_threads = o->threads,
                             .cpu_mask = (unsigned)mask,
                             .prefill_chunk = o->prefill_chunk,
                             .spec_max = o->spec_max,
                             .on_starved = on_starved,
                             .on_starved_arg = h};
    enum { WARM = 512 << 20 };
    char *disk = NULL;
    if ((rc = store_open(&h->store, o->data_dir, e)) < 0 || (o->kv_disk && (rc = disk_folder(o, &disk, e)) < 0))
        return rc;
    eo.kv_disk = disk;
    eo.kv_disk_bytes = o->kv_disk;
    eo.kv_warm_bytes = WARM;
    rc = engine_new(&h->engine, &eo, e);
    mem_free(disk);
    if (rc < 0)
        return rc;
    /* what is resident now, less what the ledger already knows, and a little for the heap to grow */
    enum { HEAP = 2 << 20 };
    size_t rss = cpu_rss(), known = ledger_used(h->ledger);
    rc = ledger_reserve(h->program, (rss > known ? rss - known : 0) + HEAP, e);
    return rc < 0 ? rc : monitor_start(h, e);
}

static int copy_opts(struct hearth *h, const struct hearth_opts *o, struct err *e)
{
    enum { LOAD_TIMEOUT_S = 120 };
    h->precise = o->precise;
    h->keep = o->keep_alive ? o->keep_alive : HEARTH_KEEP_FOREVER;
    h->load_timeout_s = o->load_timeout_s > 0 ? o->load_timeout_s : LOAD_TIMEOUT_S;
    if ((o->proc_dir && !(h->proc = mem_strdup(o->proc_dir))) ||
        (o->group_dir && !(h->group = mem_strdup(o->group_dir))))
        return err_set(e, ERR_NOMEM, "no memory to start");
    return 0;
}

/* "q8_0", or "MODEL=q8_0". */
static int open_kv_one(struct hearth_kv *k, const char *text, struct err *e)
{
    const char *is = strrchr(text, '=');
    if (is && (is == text || (size_t)(is - text) >= sizeof k->model))
        return err_set(e, ERR_USAGE, "cache type \"%s\" should be TYPE or MODEL=TYPE", text);
    if (is)
        memcpy(k->model, text, (size_t)(is - text)); /* the rest is zero already */
    return model_kv_flag(is ? is + 1 : text, &k->flag, e);
}

static int open_kv(struct hearth *h, const struct hearth_opts *o, struct err *e)
{
    int rc = 0;
    h->kv = mem_calloc(o->n_kv + 1, sizeof *h->kv);
    if (!h->kv)
        return err_set(e, ERR_NOMEM, "no memory to start");
    for (; rc == 0 && h->n_kv < o->n_kv; h->n_kv++)
        rc = open_kv_one(&h->kv[h->n_kv], o->kv[h->n_kv], e);
    return rc;
}

unsigned open_kv_of(const struct hearth *h, const char *model)
{
    unsigned any = 0;
    for (size_t i = h->n_kv; i-- > 0;) { /* the last word counts */
        if (strcmp(h->kv[i].model, model) == 0)
            return h->kv[i].flag;
        if (!h->kv[i].model[0] && !any)
            any = h->kv[i].flag;
    }
    return any;
}

int hearth_open(struct hearth **out, const struct hearth_opts *o, struct err *e)
{
    struct hearth *h = mem_calloc(1, sizeof *h);
    if (!h)
        return err_set(e, ERR_NOMEM, "no memory to start");
    pthread_mutex_init(&h->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&h->changed, &attr);
    pthread_cond_init(&h->tick, &attr);
    pthread_condattr_destroy(&attr);
    int rc = copy_opts(h, o, e);
    if (rc == 0)
        rc = open_kv(h, o, e);
    if (rc == 0)
        rc = drafts_options(h, o, e);
    if (rc == 0)
        rc = open_parts(h, o, e);
    if (rc < 0) {
        hearth_close(h);
        return rc;
    }
    *out = h;
    return 0;
}

void hearth_close(struct hearth *h)
{
    if (!h)
        return;
    pthread_mutex_lock(&h->lock);
    h->closing = true; /* loads that run see it and give up */
    pthread_cond_broadcast(&h->changed);
    pthread_cond_signal(&h->tick);
    while (h->n_loaders)
        pthread_cond_wait(&h->changed, &h->lock);
    pthread_mutex_unlock(&h->lock);
    monitor_stop(h);
    for (bool drafts = true; h->models; drafts = false) /* those that have a draft go before their drafts */
        for (struct hearth_model **at = &h->models, *m; (m = *at) != NULL;) {
            if (drafts && !m->draft) {
                at = &m->next;
                continue;
            }
            *at = m->next;
            models_drop(m);
        }
    engine_free(h->engine);
    store_close(h->store);
    ledger_owner_free(h->program);
    ledger_free(h->ledger);
    pthread_cond_destroy(&h->changed);
    pthread_cond_destroy(&h->tick);
    mem_free(h->proc);
    mem_free(h->group);
    pthread_mutex_destroy(&h->lock);
    mem_free(h->kv);
    drafts_done(h);
    mem_free(h);
}

struct ledger *hearth_ledger(struct hearth *h)
{
    return h->ledger;
}

struct engine *hearth_engine(struct hearth *h)
{
    return h->engine;
}

struct store *hearth_store(struct hearth *h)
{
    return h->store;
}
