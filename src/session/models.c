/* models: which models are resident. A model is loaded once, by a thread of its own, for all who ask meanwhile; it is pinned by
 * references while anybody uses it, and leaves, least valuable first (residency.h), when another load is refused by the ledger. */
#include "base/clock.h"
#include "base/mem.h"
#include "session/state.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

static void drain(struct hearth_model *m)
{
    model_text_free(m); /* its strings may point into the file's header, which goes with the engine's model */
    if (m->em)
        engine_model_leave(m->em);
    m->em = NULL;
}

void models_drop(struct hearth_model *m)
{
    drain(m);
    mem_free(m->path);
    mem_free(m);
}

/* m is UNLOADING and stays listed until its memory is back, so that whoever asks for it again waits for that. */
static void unload(struct hearth *h, struct hearth_model *m)
{
    drain(m);
    pthread_mutex_lock(&h->lock);
    for (struct hearth_model **at = &h->models; *at; at = &(*at)->next)
        if (*at == m) {
            *at = m->next;
            break;
        }
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
    mem_free(m->path);
    mem_free(m);
}

static size_t bytes_of(const struct hearth_model *m)
{
    return engine_model_bytes(m->em) + (m->text ? ledger_held(m->text) : 0);
}

size_t models_rows(struct hearth *h, const char *asked, struct residency_row rows[MODELS_MAX],
                   struct hearth_model *of[MODELS_MAX])
{
    size_t n = 0;
    double now = clock_s();
    for (struct hearth_model *m = h->models; m && n < MODELS_MAX; m = m->next)
        if (m->state == MODEL_READY) {
            of[n] = m;
            rows[n++] =
                (struct residency_row){.bytes = bytes_of(m),
                                       .reload_s = m->load_s,
                                       .idle_s = now - m->used_s,
                                       .ready_s = now - m->ready_s,
                                       .pinned = m->refs || m->waiters || (asked && strcmp(m->path, asked) == 0)};
        }
    return n;
}

bool models_evict_one(struct hearth *h)
{
    struct residency_row rows[MODELS_MAX];
    struct hearth_model *of[MODELS_MAX], *goes = NULL;
    pthread_mutex_lock(&h->lock);
    size_t n = models_rows(h, NULL, rows, of);
    residency_pick(rows, n, 1, true);
    for (size_t i = 0; i < n && !goes; i++)
        if (rows[i].picked)
            goes = of[i];
    if (goes)
        goes->state = MODEL_UNLOADING;
    pthread_mutex_unlock(&h->lock);
    if (!goes)
        return false;
    unload(h, goes);
    return true;
}

/* ---- the loader's thread ---- */

static int load_progress(void *arg, uint64_t done, uint64_t total)
{
    struct hearth_model *m = arg;
    pthread_mutex_lock(&m->h->lock);
    m->done = done;
    m->total = total;
    int nobody = m->waiters == 0 || m->h->closing;
    pthread_mutex_unlock(&m->h->lock);
    return nobody;
}

static int load_header(void *arg, const struct model_file *f, struct err *e)
{
    return model_text_build(arg, f, e);
}

/* The tokeniser comes first, from the header: what is wrong with it shows before gigabytes are read. */
static int load_once(struct hearth_model *m, struct err *e)
{
    struct engine_load a = {.path = m->path,
                            .name = m->name,
                            .precise = m->h->precise,
                            .kv = open_kv_of(m->h, m->name),
                            .progress = load_progress,
                            .progress_arg = m,
                            .header = load_header,
                            .header_arg = m};
    m->begin_s = clock_s();
    int rc = engine_model_load(m->h->engine, &a, &m->em, e);
    if (rc < 0)
        drain(m);
    return rc;
}

static void *loader_main(void *arg)
{
    struct hearth_model *m = arg;
    struct hearth *h = m->h;
    struct err e;
    int rc;
    while ((rc = load_once(m, &e)) == ERR_NOMEM && models_evict_one(h))
        ;
    pthread_mutex_lock(&h->lock);
    m->ready_s = clock_s();
    m->load_s = m->ready_s - m->begin_s;
    m->state = rc == 0 ? MODEL_READY : MODEL_FAILED;
    if (rc < 0)
        m->err = e;
    bool forgotten = rc < 0 && m->waiters == 0;
    if (rc < 0)
        for (struct hearth_model **at = &h->models; *at; at = &(*at)->next)
            if (*at == m) {
                *at = m->next;
                break;
            }
    h->n_loaders--;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
    if (forgotten)
        models_drop(m);
    return NULL;
}

static int start_loader(struct hearth_model *m, struct err *e) /* under lock */
{
    pthread_t t;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int rc = pthread_create(&t, &attr, loader_main, m);
    pthread_attr_destroy(&attr);
    if (rc != 0)
        return err_set(e, ERR_IO, "cannot start a thread to load %s", m->name);
    m->h->n_loaders++;
    return 0;
}

/* ---- asking for a model ---- */

int models_resolve(struct hearth *h, const char *name, struct wanted *w, struct err *e)
{
    int rc = store_path(h->store, name, &w->path, e);
    if (rc < 0)
        return rc;
    struct store_model sm;
    if (store_find(h->store, name, &sm, NULL) == 0 && sm.installed) {
        snprintf(w->name, sizeof w->name, "%s", sm.name);
        return 0;
    }
    const char *slash = strrchr(w->path, '/');
    snprintf(w->name, sizeof w->name, "%s", slash ? slash + 1 : w->path);
    size_t n = strlen(w->name);
    if (n > 5 && strcmp(w->name + n - 5, ".gguf") == 0)
        w->name[n - 5] = 0;
    return 0;
}

static struct hearth_model *find(struct hearth *h, const char *path) /* under lock */
{
    for (struct hearth_model *m = h->models; m; m = m->next)
        if (strcmp(m->path, path) == 0)
            return m;
    return NULL;
}

static void touch(struct hearth_model *m) /* under lock */
{
    m->used = ++m->h->uses;
    m->used_unix = clock_unix();
    m->used_s = clock_s();
}

static struct hearth_model *begin_load(struct hearth *h, const struct wanted *w, struct err *e) /* under lock */
{
    struct hearth_model *m = mem_calloc(1, sizeof *m);
    if (!m || !(m->path = mem_strdup(w->path))) {
        mem_free(m);
        err_set(e, ERR_NOMEM, "no memory for a model");
        return NULL;
    }
    m->h = h;
    snprintf(m->name, sizeof m->name, "%s", w->name);
    m->begin_s = clock_s();
    m->waiters = 1; /* the caller: a load without waiters gives up */
    touch(m);
    if (start_loader(m, e) < 0) {
        mem_free(m->path);
        mem_free(m);
        return NULL;
    }
    m->next = h->models;
    h->models = m;
    return m;
}

static void wait_changed(struct hearth *h) /* under lock; at most 50 ms, so that progress flows */
{
    uint64_t ns = clock_ns() + 50000000u;
    struct timespec until = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
    pthread_cond_timedwait(&h->changed, &h->lock, &until);
}

/* Under lock (dropped around the caller's callback): sees the load of m to its end. m->waiters counts this caller. */
static int await_load(struct hearth_model *m, const struct wanted *w, struct err *e)
{
    struct hearth *h = m->h;
    int rc = 0;
    while (m->state == MODEL_LOADING && rc == 0) {
        uint64_t done = m->done, total = m->total;
        wait_changed(h);
        if (w->progress) {
            pthread_mutex_unlock(&h->lock);
            if (w->progress(w->arg, done, total))
                rc = err_set(e, ERR_CANCELLED, "loading %s was given up", w->name);
            pthread_mutex_lock(&h->lock);
        }
    }
    m->waiters--;
    if (m->state == MODEL_READY && rc == 0) {
        m->refs++;
        touch(m);
    }
    if (m->state == MODEL_FAILED) {
        if (rc == 0) {
            rc = m->err.code;
            if (e)
                *e = m->err;
        }
        if (m->waiters == 0) {
            mem_free(m->path);
            mem_free(m);
        }
    }
    return rc;
}

static int get(struct hearth *h, const struct wanted *w, struct hearth_model **out, struct err *e)
{
    pthread_mutex_lock(&h->lock);
    for (;;) {
        struct hearth_model *m = find(h, w->path);
        if (m && m->state == MODEL_READY) {
            m->refs++;
            touch(m);
            *out = m;
            break;
        }
        if (m && (m->state == MODEL_UNLOADING || m->waiters == 0)) { /* leaving, or a load that was given up */
            wait_changed(h);
            continue;
        }
        if (m)
            m->waiters++;
        else if (h->closing || !(m = begin_load(h, w, e))) {
            int rc = h->closing ? err_set(e, ERR_CANCELLED, "closing") : ERR_NOMEM;
            pthread_mutex_unlock(&h->lock);
            return rc;
        }
        int rc = await_load(m, w, e);
        if (rc < 0) {
            pthread_mutex_unlock(&h->lock);
            return rc;
        }
        *out = m;
        break;
    }
    pthread_mutex_unlock(&h->lock);
    return 0;
}

int hearth_model_get(struct hearth *h, const char *name, hearth_progress progress, void *arg, struct hearth_model **out,
                     struct err *e)
{
    struct wanted w = {.progress = progress, .arg = arg};
    int rc = models_resolve(h, name, &w, e);
    if (rc == 0)
        rc = get(h, &w, out, e);
    mem_free(w.path);
    return rc;
}

void hearth_model_unref(struct hearth_model *m)
{
    if (!m)
        return;
    pthread_mutex_lock(&m->h->lock);
    m->refs--;
    touch(m);
    pthread_mutex_unlock(&m->h->lock);
}

int hearth_model_unload(struct hearth *h, const char *name, struct err *e)
{
    struct wanted w = {0};
    struct err none;
    bool known = models_resolve(h, name, &w, &none) == 0;
    pthread_mutex_lock(&h->lock);
    struct hearth_model *m = known ? find(h, w.path) : NULL;
    for (struct hearth_model *i = h->models; i && !m; i = i->next)
        if (strcmp(i->name, name) == 0) /* resident still, though it has left the store */
            m = i;
    int rc = 0;
    if (!m)
        rc = err_set(e, ERR_NOTFOUND, "%s is not loaded", name);
    else if (m->state != MODEL_READY)
        rc = err_set(e, ERR_BUSY, "%s is %s", name, m->state == MODEL_LOADING ? "loading" : "leaving already");
    else if (m->refs || m->waiters)
        rc = err_set(e, ERR_BUSY, "%s is in use by %d request%s", name, m->refs + m->waiters,
                     m->refs + m->waiters == 1 ? "" : "s");
    else
        m->state = MODEL_UNLOADING;
    pthread_mutex_unlock(&h->lock);
    if (rc == 0)
        unload(h, m);
    mem_free(w.path);
    return rc;
}

/* ---- status ---- */

static void describe(const struct hearth_model *m, struct hearth_model_status *s) /* under lock */
{
    static const char *const state[] = {"loading", "ready", "unloading", "failed"};
    *s = (struct hearth_model_status){.last_used = m->used_unix};
    snprintf(s->name, sizeof s->name, "%s", m->name);
    snprintf(s->state, sizeof s->state, "%s", state[m->state]);
    s->load_s = m->state == MODEL_LOADING ? clock_s() - m->begin_s : m->load_s;
    s->progress = m->state == MODEL_LOADING ? (m->total ? (double)m->done / (double)m->total : 0) : 1;
    if (m->state != MODEL_READY)
        return;
    const struct model_info *info = engine_model_info(m->em);
    snprintf(s->family, sizeof s->family, "%s", info->family);
    snprintf(s->quant, sizeof s->quant, "%s", info->quant);
    s->bytes = bytes_of(m);
    s->n_ctx = info->n_ctx;
    s->running = engine_model_running(m->em);
    s->chat = m->tmpl != NULL;
}

size_t hearth_models(struct hearth *h, struct hearth_model_status *out, size_t max)
{
    size_t n = 0;
    pthread_mutex_lock(&h->lock);
    for (const struct hearth_model *m = h->models; m; m = m->next, n++)
        if (n < max)
            describe(m, &out[n]);
    pthread_mutex_unlock(&h->lock);
    return n;
}

const char *hearth_model_name(const struct hearth_model *m)
{
    return m->name;
}

bool hearth_model_has_template(const struct hearth_model *m)
{
    return m->tmpl != NULL;
}
