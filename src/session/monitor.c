/* monitor: the thread that looks after memory while nobody asks: it reads the machine's pressure, moves the ledger's limit, and when
 * more is held than the limit allows, gives back what is cached, then idle models, least valuable first. Models whose keep-alive
 * has run out leave by it, too, and idle ones for whose room a request waits. It looks once a second, up to every 20 ms when memory
 * is getting short, and when somebody wakes it. */
#include "base/clock.h"
#include "base/log.h"
#include "session/state.h"
#include <time.h>

/* Back under the limit as far as that goes without touching who works. */
static void shed(struct hearth *h, size_t limit)
{
    size_t used = ledger_used(h->ledger);
    if (used <= limit)
        return;
    engine_trim(h->engine, used - limit);
    used = ledger_used(h->ledger);
    if (used > limit && models_evict(h, NULL, used - limit, MODELS_NOW))
        log_line(LOG_WARNING, "the machine is short of memory: idle models left, to stay below %zu MiB", limit >> 20);
}

static const double PRESSED_S = 0.02, BLIND_S = 1;

/* Returns the seconds until one should look again. */
static double watch_memory(struct hearth *h)
{
    struct pressure_reading r;
    const struct pressure_paths paths = {h->proc, h->group};
    if (pressure_read(&paths, &r, NULL) < 0)
        return BLIND_S;
    pthread_mutex_lock(&h->lock);
    size_t limit = pressure_step(&h->pressure, &r, ledger_ceiling(h->ledger), ledger_used(h->ledger), clock_s());
    bool pressed = h->pressure.level != PRESSURE_NONE;
    pthread_mutex_unlock(&h->lock);
    if (pressed)
        shed(h, limit);
    engine_limit(h->engine, limit);
    return pressed ? PRESSED_S : pressure_look_s(&r);
}

/* Unloads one who is due; returns seconds until the next will be (0: look again), or a negative number. */
static double let_go(struct hearth *h)
{
    struct residency_row rows[MODELS_MAX];
    struct hearth_model *of[MODELS_MAX], *due = NULL;
    double next = -1;
    pthread_mutex_lock(&h->lock);
    size_t n = models_rows(h, NULL, rows, of);
    for (size_t i = 0; i < n; i++) {
        double s = residency_due_s(&rows[i]);
        if (s == 0 && !due) {
            due = of[i];
            due->state = MODEL_UNLOADING;
        } else if (s >= 0 && (next < 0 || s < next)) {
            next = s;
        }
    }
    pthread_mutex_unlock(&h->lock);
    if (due)
        models_unload(due);
    return due ? 0 : next;
}

/* ---- requests that wait for room ---- */

static bool resident(const struct hearth_model *m) /* what its loader has set is constant */
{
    return m->state == MODEL_READY || m->state == MODEL_DRAINING;
}

static int guessing(const struct hearth *h, const struct hearth_model *d) /* for how many models */
{
    int n = 0;
    for (const struct hearth_model *m = h->models; m; m = m->next)
        n += resident(m) && m->draft == d;
    return n;
}

/* Under lock, the engine being stuck: every model is held by requests, none comes or goes, and nobody holds one to no purpose, who
 * might ask for something yet or let it go. So nothing will ever change by itself. */
static bool circle(const struct hearth *h)
{
    for (const struct hearth_model *m = h->models; m; m = m->next) {
        if (m->state == MODEL_LOADING || m->state == MODEL_UNLOADING)
            return false;
        if (m->state == MODEL_WAITING)
            continue; /* holds nothing */
        int users = m->refs - guessing(h, m);
        if (m->waiters || !m->refs || (users > 0 && !engine_model_running(m->em)))
            return false;
    }
    return true;
}

static const struct hearth_model *model_of(const struct hearth *h, const struct engine_model *em)
{
    const struct hearth_model *m = h->models;
    while (m && !(resident(m) && m->em == em))
        m = m->next;
    return m;
}

/* Idle models leave for the first of those who wait. Busy ones are drained for it in the end, as for a load; and of requests that wait for
 * each other's models the last one is refused. */
static void serve_starved(struct hearth *h)
{
    enum { NO_TICKET = 0 }; /* a load's is more */
    struct engine_starved s;
    engine_starved(h->engine, &s);
    if (s.lacks && models_evict(h, NULL, s.lacks, MODELS_NOW))
        return; /* the engine looks again */
    pthread_mutex_lock(&h->lock);
    bool stuck = s.lacks && s.stuck && circle(h);
    if (!s.lacks) {
        load_drain_no_more(h, NO_TICKET);
        h->starved_s = 0;
    } else if (h->starved_s == 0) {
        h->starved_s = clock_s();
    } else if (clock_s() - h->starved_s > load_patience_s(h)) {
        load_drain(h, model_of(h, s.model), NO_TICKET, s.lacks);
    }
    pthread_mutex_unlock(&h->lock);
    if (stuck)
        engine_refuse_last(h->engine);
}

void monitor_wake(struct hearth *h)
{
    h->news = true;
    pthread_cond_signal(&h->tick);
}

/* Until the time or the next news; false: closing. */
static bool rest(struct hearth *h, double seconds)
{
    uint64_t ns = clock_ns() + (uint64_t)(seconds * 1e9);
    struct timespec until = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
    pthread_mutex_lock(&h->lock);
    for (int rc = 0; !h->closing && !h->news && seconds > 0 && rc == 0;)
        rc = pthread_cond_timedwait(&h->tick, &h->lock, &until);
    h->news = false;
    bool on = !h->closing;
    pthread_mutex_unlock(&h->lock);
    return on;
}

static void *monitor_main(void *arg)
{
    struct hearth *h = arg;
    double pause, due;
    do {
        pause = watch_memory(h);
        serve_starved(h);
        due = let_go(h);
    } while (rest(h, due >= 0 && due < pause ? due : pause));
    return NULL;
}

int monitor_start(struct hearth *h, struct err *e)
{
    if (pthread_create(&h->monitor, NULL, monitor_main, h) != 0)
        return err_set(e, ERR_IO, "cannot start a thread to watch the memory");
    h->monitor_runs = true;
    return 0;
}

void monitor_stop(struct hearth *h)
{
    if (h->monitor_runs)
        pthread_join(h->monitor, NULL);
    h->monitor_runs = false;
}

void hearth_pressure(struct hearth *h, struct hearth_pressure *out)
{
    pthread_mutex_lock(&h->lock);
    const struct pressure *p = &h->pressure;
    *out = (struct hearth_pressure){.level = pressure_name(p->level),
                                    .some10 = p->last.some10,
                                    .full10 = p->last.full10,
                                    .left = p->last.left < p->last.group_left ? p->last.left : p->last.group_left,
                                    .evicted = h->evicted};
    pthread_mutex_unlock(&h->lock);
    out->ceiling = ledger_ceiling(h->ledger);
    out->limit = ledger_limit(h->ledger);
}
