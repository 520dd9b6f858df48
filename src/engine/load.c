/* load: a resident model from file to weights, plan and scratch, and back. Runs on the caller's thread; all or nothing. */
#include "base/log.h"
#include "base/mem.h"
#include "engine/state.h"
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

size_t engine_trim(struct engine *g, size_t bytes)
{
    return kv_trim(&g->kv, bytes);
}

size_t engine_spare(struct engine *g)
{
    return kv_spare(&g->kv);
}

static void unlist(struct engine *g, struct engine_model *m)
{
    pthread_mutex_lock(&g->lock);
    for (struct engine_model **at = &g->models; *at; at = &(*at)->next)
        if (*at == m) {
            *at = m->next;
            g->stats.n_models--;
            break;
        }
    atomic_store(&g->look, true); /* somebody may wait for its room */
    pthread_cond_signal(&g->wake);
    pthread_cond_broadcast(&g->freed);
    pthread_mutex_unlock(&g->lock);
}

static void mark_dying(struct engine_model *m) /* from here on no other thread may look into it */
{
    pthread_mutex_lock(&m->engine->lock);
    m->dying = true;
    pthread_mutex_unlock(&m->engine->lock);
}

static void model_free(struct engine_model *m)
{
    mark_dying(m);
    engine_model_unref(m->draft);
    for (int c = 0; c < GRAPH_KV_CLASSES; c++)
        kv_pool_done(&m->kv[c]);
    backend_plan_free(m->plan);
    backend_unload(m->weights);
    size_t n_vocab = m->graph ? (size_t)m->graph->n_vocab : 0;
    if (m->logits)
        ledger_dealloc(m->own_scratch, m->logits, (size_t)m->logit_rows * n_vocab * sizeof(float));
    step_done(m);
    if (m->sample_mem)
        ledger_dealloc(m->own_scratch, m->sample_mem, choose_scratch_bytes(m->engine, n_vocab));
    graph_free(m->graph);
    file_close(m->file);
    if (m->file)
        malloc_trim(0); /* many small blocks: their pages go back before the ledger hears of it */
    if (m->own_header)
        ledger_release(m->own_header, ledger_held(m->own_header));
    struct ledger_owner *own[] = {m->own_requests, m->own_kv,      m->own_prefix, m->own_scratch,
                                  m->own_staging,  m->own_weights, m->own_header};
    unlist(m->engine, m); /* only then the owners: sums over the list read them */
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        ledger_owner_free(own[i]);
    mem_free(m->live);
    mem_free(m->sched);
    mem_free(m);
}

void engine_model_ref(struct engine_model *m)
{
    atomic_fetch_add(&m->refs, 1);
}

void engine_model_unref(struct engine_model *m)
{
    if (m && atomic_fetch_sub(&m->refs, 1) == 1)
        model_free(m);
}

static bool listed(const struct engine *g, uint64_t serial)
{
    for (const struct engine_model *m = g->models; m; m = m->next)
        if (m->serial == serial)
            return true;
    return false;
}

void engine_model_leave(struct engine_model *m)
{
    enum { PATIENCE_S = 2 };
    struct engine *g = m->engine;
    uint64_t serial = m->serial;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PATIENCE_S;
    engine_model_unref(m);
    pthread_mutex_lock(&g->lock);
    int rc = 0;
    while (listed(g, serial) && rc == 0)
        rc = pthread_cond_timedwait(&g->freed, &g->lock, &until);
    pthread_mutex_unlock(&g->lock);
}

static int make_owner(struct engine_model *m, const char *part, struct ledger_owner **out, struct err *e)
{
    char path[120];
    snprintf(path, sizeof path, "model/%s/%s", m->name, part);
    return ledger_owner_new(m->engine->ledger, path, out, e);
}

static int make_owners(struct engine_model *m, struct err *e)
{
    int rc;
    if ((rc = make_owner(m, "header", &m->own_header, e)) < 0 ||
        (rc = make_owner(m, "weights", &m->own_weights, e)) < 0 ||
        (rc = make_owner(m, "staging", &m->own_staging, e)) < 0 ||
        (rc = make_owner(m, "scratch", &m->own_scratch, e)) < 0 || (rc = make_owner(m, "kv", &m->own_kv, e)) < 0 ||
        (rc = make_owner(m, "prefix", &m->own_prefix, e)) < 0)
        return rc;
    return make_owner(m, "requests", &m->own_requests, e);
}

/* How large a header will be shows only when it was read: a guess is reserved first, and put right afterwards. */
static int open_file(struct engine_model *m, const char *path, struct err *e)
{
    enum { GUESS = 24 << 20 };
    struct stat st;
    size_t guess = stat(path, &st) == 0 && st.st_size < GUESS ? (size_t)st.st_size : GUESS;
    int rc = ledger_reserve(m->own_header, guess, e);
    if (rc < 0)
        return rc;
    rc = file_open(&m->file, path, e);
    ledger_release(m->own_header, guess);
    return rc < 0 ? rc : ledger_reserve(m->own_header, m->file->header_bytes, e);
}

static int read_header(struct engine_model *m, const struct engine_load *a, struct err *e)
{
    int rc = open_file(m, a->path, e);
    if (rc < 0)
        return rc;
    if ((rc = model_read(m->file, &m->info, e)) < 0)
        return rc;
    if ((rc = model_build(m->file, &m->info, (a->precise ? MODEL_PRECISE : 0) | a->kv, &m->graph, e)) < 0)
        return rc;
    for (int i = 0; a->kv && i < m->graph->n_kv; i++)
        if (m->graph->kv[i].dtype + 1u != a->kv >> MODEL_KV) {
            log_line(LOG_WARNING, "%s: heads of %d dimensions do not divide into groups of 32; their cache is f16",
                     m->name, m->graph->kv[i].head_dim);
            break;
        }
    rc = a->header ? a->header(a->header_arg, m->file, e) : 0;
    m->beside = rc == 0 && a->beside ? *a->beside : 0;
    return rc;
}

static int announce(struct engine *g, struct engine_model *m, size_t need, struct err *e)
{
    pthread_mutex_lock(&g->lock);
    size_t room = room_alone(g), promised = room_promised(g, false), pending = room_pending(g);
    int rc =
        ledger_reserve(m->own_weights, need + pending, e); /* asked only for its message, which names the holders */
    if (rc == 0) {
        ledger_release(m->own_weights, need + pending);
        if (need + promised > room)
            rc = err_set(e, ERR_NOMEM,
                         "%s needs %.1f MiB; %.1f MiB are free, but running requests may yet need %.1f MiB of them",
                         m->name, (double)need / 1048576.0, (double)room / 1048576.0, (double)promised / 1048576.0);
    }
    if (rc == 0) {
        m->load_need = need;
        m->serial = ++g->n_loads;
        m->next = g->models;
        g->models = m;
        g->stats.n_models++;
    }
    pthread_mutex_unlock(&g->lock);
    return rc;
}

static int init_pools(struct engine_model *m, struct err *e)
{
    int rc = 0;
    for (int c = 0; c < GRAPH_KV_CLASSES && rc == 0; c++) {
        m->kv[c].own_used = m->own_kv;
        m->kv[c].own_cached = m->own_prefix;
        rc = kv_pool_init(&m->kv[c], &m->engine->kv, &m->graph->kv_class[c], e);
    }
    return rc;
}

static int load_weights(struct engine_model *m, const struct engine_load *a, struct err *e)
{
    struct engine *g = m->engine;
    size_t n_vocab = (size_t)m->graph->n_vocab;
    int max_rows = g->opts.max_batch;
    struct engine_fit fit = {0};
    fit_load(g, m->graph, &fit);
    fit.header = m->file->header_bytes;
    if (a->fit)
        *a->fit = fit;
    int rc = init_pools(m, e);
    if (rc == 0 && g->disk)
        rc = recall_fingerprint(m, a->path, a->precise, e);
    if (rc == 0)
        rc = announce(g, m, fit.weights + fit.scratch + fit.staging, e);
    if (rc < 0)
        return rc;
    struct load_args la = {.graph = m->graph,
                           .data = &m->file->data,
                           .weights_owner = m->own_weights,
                           .staging_owner = m->own_staging,
                           .progress = a->progress,
                           .progress_arg = a->progress_arg};
    if ((rc = backend_load(g->backend, &la, &m->weights, e)) < 0)
        return rc;
    pthread_mutex_lock(&g->lock);
    m->load_need -= fit.staging; /* that is over */
    pthread_mutex_unlock(&g->lock);
    if ((rc = backend_plan(g->backend, m->graph, m->weights, g->max_tok, max_rows, m->own_scratch, &m->plan, e)) < 0)
        return rc;
    void *mem;
    if ((rc = ledger_alloc(m->own_scratch, n_vocab * sizeof(float), &mem, e)) < 0)
        return rc;
    m->logits = mem;
    m->logit_rows = 1;
    if ((rc = ledger_alloc(m->own_scratch, choose_scratch_bytes(m->engine, n_vocab), &m->sample_mem, e)) < 0)
        return rc;
    memset(m->sample_mem, 0, choose_scratch_bytes(m->engine, n_vocab)); /* touched now, as the plan's memory is */
    choose_scratch_set(m, m->sample_mem, n_vocab);
    if ((rc = step_init(m, e)) < 0)
        return rc;
    pthread_mutex_lock(&g->lock);
    m->load_need = 0;
    pthread_mutex_unlock(&g->lock);
    engine_kick(g);
    return 0;
}

int load_begin(struct engine *g, const struct engine_load *a, struct engine_model **out, struct err *e)
{
    struct engine_model *m = mem_calloc(1, sizeof *m);
    if (!m)
        return err_set(e, ERR_NOMEM, "no memory for a model");
    m->engine = g;
    atomic_store(&m->refs, 1);
    snprintf(m->name, sizeof m->name, "%s", a->name ? a->name : a->path);
    int rc = make_owners(m, e);
    if (rc == 0)
        rc = read_header(m, a, e);
    if (rc < 0) {
        engine_model_unref(m);
        return rc;
    }
    *out = m;
    return 0;
}

int engine_model_load(struct engine *g, const struct engine_load *a, struct engine_model **out, struct err *e)
{
    struct engine_model *m;
    int rc = load_begin(g, a, &m, e);
    if (rc == 0 && (rc = load_weights(m, a, e)) < 0)
        engine_model_unref(m);
    if (rc == 0)
        *out = m;
    return rc;
}

const struct model_info *engine_model_info(const struct engine_model *m)
{
    return &m->info;
}

const struct model_file *engine_model_file(const struct engine_model *m)
{
    return m->file;
}

size_t engine_model_bytes(const struct engine_model *m)
{
    return room_held(m->own_header) + room_held(m->own_weights) + room_held(m->own_scratch) + room_held(m->own_kv) +
           room_held(m->own_requests);
}

int engine_model_running(const struct engine_model *m)
{
    return atomic_load(&((struct engine_model *)m)->running);
}

double engine_model_busy_s(const struct engine_model *m)
{
    pthread_mutex_lock(&m->engine->lock);
    double s = m->busy_s;
    pthread_mutex_unlock(&m->engine->lock);
    return s;
}
