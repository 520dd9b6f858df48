/* load: the thread that brings a model in, and how it comes to its memory. Loads that wait for memory have tickets: the oldest alone
 * takes what comes free, so none starves. It makes idle models leave once all it needs would come free by that, not before. When busy
 * ones have kept it waiting for PATIENCE_S, those that are worth least are drained: they take no new users, end their work and
 * go. It gives up at its deadline, and at once when the ceiling could not hold it even alone. */
#include "base/clock.h"
#include "base/mem.h"
#include "session/state.h"
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

enum { PATIENCE_S = 5 };

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

/* The tokeniser comes first, from the header: what is wrong with it shows before gigabytes are read. *need: bytes that were lacking
 * or would have been; a file's size until its header is known. */
static int load_once(struct hearth_model *m, size_t *need, struct err *e)
{
    struct engine_fit fit = {0};
    struct engine_load a = {.path = m->path,
                            .name = m->name,
                            .precise = m->h->precise,
                            .kv = open_kv_of(m->h, m->name),
                            .progress = load_progress,
                            .progress_arg = m,
                            .header = load_header,
                            .header_arg = m,
                            .beside = &m->text_bytes,
                            .fit = &fit};
    struct stat st;
    double begin = clock_s();
    int rc = engine_model_load(m->h->engine, &a, &m->em, e);
    if (rc == 0)
        rc = drafts_attach(m, e);
    *need = fit.weights + fit.scratch + fit.staging + fit.header + (m->text ? ledger_held(m->text) : 0);
    if (!fit.weights && stat(m->path, &st) == 0)
        *need = (size_t)st.st_size;
    if (rc < 0)
        models_drain(m);
    m->load_s = clock_s() - begin; /* nobody reads it before READY */
    return rc;
}

/* ---- coming to memory; all under hearth.lock ---- */

static bool first_in_line(const struct hearth_model *m)
{
    for (const struct hearth_model *i = m->h->models; i; i = i->next)
        if (i != m && i->state == MODEL_WAITING && i->ticket < m->ticket)
            return false;
    return true;
}

/* Bytes of models that are here or coming and may go some day. */
static size_t others(const struct hearth_model *m)
{
    struct residency_row rows[MODELS_MAX];
    struct hearth_model *of[MODELS_MAX];
    size_t n = models_rows(m->h, m->path, rows, of), sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += rows[i].bytes;
    return sum;
}

static bool somebody_moves(const struct hearth_model *m) /* what they hold shows when they have come or gone */
{
    for (const struct hearth_model *i = m->h->models; i; i = i->next)
        if (i != m && (i->state == MODEL_LOADING || i->state == MODEL_UNLOADING))
            return true;
    return false;
}

static bool hopeless(const struct hearth_model *m, size_t lacking) /* lacking: were all requests at their end */
{
    size_t pressed =
        ledger_ceiling(m->h->ledger) - ledger_limit(m->h->ledger); /* comes back with the machine's memory */
    return !somebody_moves(m) && lacking > others(m) + pressed;
}

void load_drain(struct hearth *h, const struct hearth_model *asked, uint64_t ticket, size_t lacking)
{
    struct residency_row rows[MODELS_MAX];
    struct hearth_model *of[MODELS_MAX];
    size_t n = models_rows(h, NULL, rows, of);
    for (size_t i = 0; i < n; i++) /* who only loads is no row: it has no bytes yet */
        rows[i].pinned = asked && (of[i] == asked || of[i] == asked->draft);
    if (residency_pick(rows, n, lacking, false) < lacking)
        return;
    for (size_t i = 0; i < n; i++)
        if (rows[i].picked && of[i]->state == MODEL_READY) {
            of[i]->state = MODEL_DRAINING;
            of[i]->drained_for = ticket;
        }
}

void load_drain_no_more(struct hearth *h, uint64_t ticket)
{
    bool any = false;
    for (struct hearth_model *i = h->models; i; i = i->next)
        if (i->state == MODEL_DRAINING && i->drained_for == ticket) {
            i->state = MODEL_READY;
            any = true;
        }
    if (any)
        pthread_cond_broadcast(&h->changed);
}

double load_patience_s(const struct hearth *h)
{
    return h->load_timeout_s / 4 < PATIENCE_S ? h->load_timeout_s / 4 : PATIENCE_S;
}

static int give_up_waiting(struct hearth_model *m, struct err *e)
{
    struct hearth *h = m->h;
    if (m->waiters == 0 || h->closing)
        return err_set(e, ERR_CANCELLED, "loading %s was given up", m->name);
    if (clock_s() - m->asked_s < h->load_timeout_s)
        return 0;
    struct err why = *e;
    return err_set(e, ERR_NOMEM, "waited %.0f s for memory: %.400s", h->load_timeout_s, why.msg);
}

/* Returns 0 when it is worth trying again; e holds the refusal. */
static int make_place(struct hearth_model *m, size_t need, struct err *e)
{
    struct hearth *h = m->h;
    double from = clock_s();
    int rc = 0;
    pthread_mutex_lock(&h->lock);
    m->state = MODEL_WAITING;
    while ((rc = give_up_waiting(m, e)) == 0) {
        pthread_mutex_unlock(&h->lock);
        size_t hard = 0, lacking = need ? engine_short(h->engine, need, &hard) : 0;
        pthread_mutex_lock(&h->lock);
        bool mine = first_in_line(m);
        if (mine && !lacking)
            break;
        if (hopeless(m, hard)) {
            rc = ERR_NOMEM;
            break;
        }
        if (mine && lacking) {
            pthread_mutex_unlock(&h->lock);
            bool went = models_evict(h, m->path, lacking, MODELS_SETTLED) >= lacking;
            pthread_mutex_lock(&h->lock);
            if (went)
                continue;
            if (clock_s() - from > load_patience_s(h))
                load_drain(h, m, m->ticket, lacking);
        }
        models_wait(h, 20);
    }
    if (rc == 0)
        m->state = MODEL_LOADING;
    pthread_mutex_unlock(&h->lock);
    return rc;
}

/* ---- the thread ---- */

static void end_load(struct hearth_model *m, int rc, const struct err *e)
{
    struct hearth *h = m->h;
    pthread_mutex_lock(&h->lock);
    load_drain_no_more(h, m->ticket);
    m->ready_s = clock_s();
    m->state = rc == 0 ? MODEL_READY : MODEL_FAILED;
    if (rc < 0)
        m->err = *e;
    bool forgotten = rc < 0 && m->waiters == 0;
    if (rc < 0)
        models_unlist(h, m);
    models_touch(m);
    h->n_loaders--;
    pthread_cond_broadcast(&h->changed);
    monitor_wake(h);
    pthread_mutex_unlock(&h->lock);
    if (forgotten)
        models_drop(m);
}

static void *load_main(void *arg)
{
    struct hearth_model *m = arg;
    enum { AGAIN = 2 };
    struct err e = {0};
    size_t need = 0, refused = 0, hard;
    int rc = make_place(m, 0, &e); /* behind those who wait already */
    for (int n = 0; rc == 0 && (rc = load_once(m, &need, &e)) == ERR_NOMEM;) {
        bool there = need <= refused && (!need || !engine_short(m->h->engine, need, &hard)); /* 0: not even a file */
        n = there ? n + 1 : 0;
        if (n > AGAIN) /* it was there, and not only because somebody came and went meanwhile: it is not enough */
            need = refused + refused / 8 + (8 << 20);
        refused = need;
        rc = make_place(m, need, &e);
    }
    if (rc == 0 && load_progress(m, m->total, m->total)) { /* everybody left meanwhile */
        models_drain(m);
        rc = err_set(&e, ERR_CANCELLED, "loading %s was given up", m->name);
    }
    end_load(m, rc, &e);
    return NULL;
}

int load_start(struct hearth_model *m, struct err *e)
{
    pthread_t t;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigset_t all,
        old; /* signals are for the threads that expect them: a Ctrl-C taken here would leave the prompt asleep */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&t, &attr, load_main, m);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    if (rc != 0)
        return err_set(e, ERR_IO, "cannot start a thread to load %s", m->name);
    m->h->n_loaders++;
    return 0;
}
