/* models: which models are resident, and who gets one. One state machine per model, every change under hearth.lock:
 *
 *     asked for -> WAITING <-> LOADING -> READY <-> DRAINING      WAITING: for memory, in the order in which they came (load.c)
 *                      \-> FAILED <-/        \-> UNLOADING -> gone
 *
 * A model is loaded once, by a thread of its own, for all who ask meanwhile. References pin it; READY and DRAINING without any may
 * go (residency.h says who). DRAINING takes no new users: somebody has waited too long for its memory (load.c). Whoever asks
 * for a model that is leaving waits and then asks anew. Nobody holds one model while waiting for another here, and a load
 * reserves all or nothing, so no circle of waits can close. */
#include "base/clock.h"
#include "base/mem.h"
#include "session/state.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

void models_drain(struct hearth_model *m)
{
    model_text_free(m); /* its strings may point into the file's header, which goes with the engine's model */
    if (m->em)
        engine_model_leave(m->em);
    m->em = NULL;
    drafts_detach(m); /* after the engine's own reference */
}

void models_drop(struct hearth_model *m)
{
    models_drain(m);
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
        if (m->state == MODEL_READY || m->state == MODEL_DRAINING) {
            of[n] = m;
            rows[n++] =
                (struct residency_row){.bytes = bytes_of(m),
                                       .reload_s = m->load_s,
                                       .idle_s = now - m->used_s,
                                       .ready_s = now - m->ready_s,
                                       .keep_s = m->keep == HEARTH_KEEP_NOT ? 0 : m->keep,
                                       .pinned = m->refs || m->waiters || (asked && strcmp(m->path, asked) == 0)};
        }
    return n;
}

void models_wait(struct hearth *h, int ms)
{
    uint64_t ns = clock_ns() + (uint64_t)ms * 1000000u;
    struct timespec until = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
    pthread_cond_timedwait(&h->changed, &h->lock, &until);
}

void models_unlist(struct hearth *h, const struct hearth_model *m)
{
    for (struct hearth_model **at = &h->models; *at; at = &(*at)->next)
        if (*at == m) {
            *at = m->next;
            break;
        }
    pthread_cond_broadcast(&h->changed);
    monitor_wake(h);
}

size_t models_evict(struct hearth *h, const char *asked, size_t need, enum models_evict how)
{
    struct residency_row rows[MODELS_MAX];
    struct hearth_model *of[MODELS_MAX];
    pthread_mutex_lock(&h->lock);
    size_t n = models_rows(h, asked, rows, of), sum = residency_pick(rows, n, need, how != MODELS_SETTLED), n_go = 0;
    if (how == MODELS_SETTLED && sum < need) /* in vain: nobody goes */
        n = sum = 0;
    for (size_t i = 0; i < n; i++)
        if (rows[i].picked) {
            of[i]->state = MODEL_UNLOADING;
            of[n_go++] = of[i];
        }
    h->evicted += n_go;
    pthread_mutex_unlock(&h->lock);
    for (size_t i = 0; i < n_go; i++)
        models_unload(of[i]);
    return sum;
}

/* m is UNLOADING and stays listed until its memory is back, so that whoever asks for it again waits for that. */
void models_unload(struct hearth_model *m)
{
    struct hearth *h = m->h;
    models_drain(m);
    pthread_mutex_lock(&h->lock);
    models_unlist(h, m);
    pthread_mutex_unlock(&h->lock);
    mem_free(m->path);
    mem_free(m);
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

void models_touch(struct hearth_model *m)
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
    m->asked_s = clock_s();
    m->ticket = ++h->tickets;
    m->keep = h->keep;
    m->waiters = 1; /* the caller: a load without waiters gives up */
    models_touch(m);
    if (load_start(m, e) < 0) {
        mem_free(m->path);
        mem_free(m);
        return NULL;
    }
    m->next = h->models;
    h->models = m;
    return m;
}

/* Under lock, dropped around the caller's callback; non-zero when the caller gives up. */
static int tell_progress(struct hearth *h, const struct wanted *w, uint64_t done, uint64_t total)
{
    if (!w->progress)
        return 0;
    pthread_mutex_unlock(&h->lock);
    int stop = w->progress(w->arg, done, total);
    pthread_mutex_lock(&h->lock);
    return stop;
}

static int given_up(const struct wanted *w, struct err *e)
{
    return err_set(e, ERR_CANCELLED, "loading %s was given up", w->name);
}

static void pin(struct hearth_model *m) /* under lock */
{
    m->refs++;
    models_touch(m);
}

/* Under lock: sees the load of m to its end. m->waiters counts this caller. */
static int await_load(struct hearth_model *m, const struct wanted *w, struct err *e)
{
    struct hearth *h = m->h;
    int rc = 0;
    while ((m->state == MODEL_WAITING || m->state == MODEL_LOADING) && rc == 0) {
        uint64_t done = m->done, total = m->total;
        models_wait(h, 20);
        if (tell_progress(h, w, done, total))
            rc = given_up(w, e);
    }
    if (--m->waiters == 0) /* the loader looks whether anybody is left */
        pthread_cond_broadcast(&h->changed);
    if (m->state == MODEL_READY && rc == 0)
        pin(m);
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

/* Under lock. */
static int get(struct hearth *h, const struct wanted *w, struct hearth_model **out, struct err *e)
{
    for (;;) {
        struct hearth_model *m = find(h, w->path);
        if (m && m->state == MODEL_READY) {
            pin(m);
            *out = m;
            return 0;
        }
        if (m && (m->state == MODEL_DRAINING || m->state == MODEL_UNLOADING || m->waiters == 0)) {
            models_wait(h, 20); /* leaving, or a load that was given up */
            if (tell_progress(h, w, 0, 0))
                return given_up(w, e);
            continue;
        }
        if (m)
            m->waiters++;
        else if (h->closing)
            return err_set(e, ERR_CANCELLED, "closing");
        else if (!(m = begin_load(h, w, e)))
            return ERR_NOMEM;
        int rc = await_load(m, w, e);
        if (rc == 0)
            *out = m;
        return rc;
    }
}

int hearth_model_get(struct hearth *h, const char *name, hearth_progress progress, void *arg, struct hearth_model **out,
                     struct err *e)
{
    struct wanted w = {.progress = progress, .arg = arg};
    int rc = models_resolve(h, name, &w, e);
    if (rc == 0) {
        pthread_mutex_lock(&h->lock);
        rc = get(h, &w, out, e);
        pthread_mutex_unlock(&h->lock);
    }
    mem_free(w.path);
    return rc;
}

bool hearth_model_try(struct hearth *h, const char *name, struct hearth_model **out)
{
    *out = NULL;
    pthread_mutex_lock(&h->lock);
    for (struct hearth_model *m = h->models; m && !*out; m = m->next)
        if (m->state == MODEL_READY && (strcmp(m->name, name) == 0 || strcmp(m->path, name) == 0)) {
            pin(m);
            *out = m;
        }
    pthread_mutex_unlock(&h->lock);
    return *out != NULL;
}

void hearth_model_ref(struct hearth_model *m)
{
    pthread_mutex_lock(&m->h->lock);
    pin(m);
    pthread_mutex_unlock(&m->h->lock);
}

void hearth_model_keep(struct hearth_model *m, int keep)
{
    pthread_mutex_lock(&m->h->lock);
    if (keep != HEARTH_KEEP_DEFAULT)
        m->keep = keep;
    pthread_mutex_unlock(&m->h->lock);
}

void hearth_model_unref(struct hearth_model *m)
{
    if (!m)
        return;
    struct hearth *h = m->h;
    pthread_mutex_lock(&h->lock);
    models_touch(m);
    if (--m->refs == 0) { /* who waits for its memory looks again, and the monitor whether it is to leave */
        pthread_cond_broadcast(&h->changed);
        monitor_wake(h);
    }
    pthread_mutex_unlock(&h->lock);
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
    else if (m->state != MODEL_READY && m->state != MODEL_DRAINING)
        rc = err_set(e, ERR_BUSY, "%s is %s", name, m->state == MODEL_UNLOADING ? "leaving already" : "loading");
    else if (m->refs || m->waiters)
        rc = err_set(e, ERR_BUSY, "%s is in use by %d request%s", name, m->refs + m->waiters,
                     m->refs + m->waiters == 1 ? "" : "s");
    else
        m->state = MODEL_UNLOADING;
    pthread_mutex_unlock(&h->lock);
    if (rc == 0)
        models_unload(m);
    mem_free(w.path);
    return rc;
}

/* ---- status ---- */

static void describe(const struct hearth_model *m, struct hearth_model_status *s) /* under lock */
{
    static const char *const state[] = {"loading", "loading", "ready", "unloading", "unloading", "failed"};
    bool loads = m->state == MODEL_WAITING || m->state == MODEL_LOADING;
    *s = (struct hearth_model_status){.last_used = m->used_unix};
    snprintf(s->name, sizeof s->name, "%s", m->name);
    snprintf(s->state, sizeof s->state, "%s", state[m->state]);
    s->load_s = loads ? clock_s() - m->asked_s : m->load_s;
    s->progress = loads ? (m->total ? (double)m->done / (double)m->total : 0) : 1;
    s->waiting = m->state == MODEL_WAITING;
    s->keep = m->keep;
    if (m->state != MODEL_READY && m->state != MODEL_DRAINING)
        return;
    struct residency_row row = {.bytes = bytes_of(m), .reload_s = m->load_s, .idle_s = clock_s() - m->used_s};
    s->users = m->refs;
    s->value = residency_value(&row);
    const struct model_info *info = engine_model_info(m->em);
    snprintf(s->family, sizeof s->family, "%s", info->family);
    snprintf(s->quant, sizeof s->quant, "%s", info->quant);
    s->bytes = bytes_of(m);
    s->n_ctx = info->n_ctx;
    s->running = engine_model_running(m->em);
    s->busy_s = engine_model_busy_s(m->em);
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
