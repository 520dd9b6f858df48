/* engine: the one thread that owns scheduler state, KV and plans, and the door to it. It takes requests in, looks for cancelled
 * ones, gives the model that has had least time one step, and sleeps when there is nothing to do. */
#include "engine/engine.h"
#include "base/clock.h"
#include "base/mem.h"
#include "engine/state.h"
#include "engine/warm.h"
#include <errno.h>
#include <string.h>
#include <time.h>

static void set_defaults(struct engine *g, const struct engine_opts *o)
{
    enum { CHUNK = 256, BATCH = 64, QUEUE = 512, QUEUE_TOKENS = 256 << 10, MOST = 8192 };
    g->ledger = o->ledger;
    g->opts = *o;
    if (g->opts.prefill_chunk <= 0)
        g->opts.prefill_chunk = CHUNK;
    if (g->opts.max_batch <= 0)
        g->opts.max_batch = BATCH;
    if (g->opts.max_queue <= 0)
        g->opts.max_queue = QUEUE;
    if (g->opts.max_queue_tokens <= 0)
        g->opts.max_queue_tokens = QUEUE_TOKENS;
    if (g->opts.turn_s <= 0)
        g->opts.turn_s = 0.025;
    if (g->opts.spec_max == 0 || g->opts.spec_max > SPEC_MAX)
        g->opts.spec_max = SPEC_MAX;
    if (g->opts.prefill_chunk > MOST)
        g->opts.prefill_chunk = MOST;
    if (g->opts.max_batch > MOST)
        g->opts.max_batch = MOST;
    g->max_tok = g->opts.prefill_chunk > g->opts.max_batch ? g->opts.prefill_chunk : g->opts.max_batch;
}

static void on_disk(void *arg) /* an I/O thread: what a request waits for is there */
{
    engine_kick(arg);
}

static int open_disk(struct engine *g, const struct engine_opts *o, struct err *e)
{
    struct kvdisk_opts d = {
        .dir = o->kv_disk, .limit = o->kv_disk_bytes, .ledger = o->ledger, .done = on_disk, .arg = g};
    return kvdisk_open(&g->disk, &d, e);
}

int engine_new(struct engine **out, const struct engine_opts *o, struct err *e)
{
    struct engine *g = mem_calloc(1, sizeof *g);
    if (!g)
        return err_set(e, ERR_NOMEM, "no memory for the engine");
    set_defaults(g, o);
    pthread_mutex_init(&g->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&g->wake, &attr);
    pthread_cond_init(&g->freed, &attr);
    pthread_condattr_destroy(&attr);
    struct backend_opts bo = {.n_threads = o->n_threads, .cpu_mask = o->cpu_mask};
    int rc = backend_new(&g->backend, &bo, e);
    if (rc == 0)
        rc = kv_store_init(&g->kv, g->ledger, e);
    if (rc == 0 && o->kv_disk && !o->no_prefix_cache)
        rc = open_disk(g, o, e);
    if (rc == 0 && pthread_create(&g->thread, NULL, engine_main, g) != 0)
        rc = err_errno(e, "cannot start the engine thread");
    if (rc < 0) {
        engine_free(g);
        return rc;
    }
    g->thread_runs = true;
    *out = g;
    return 0;
}

void engine_free(struct engine *g)
{
    if (!g)
        return;
    if (g->thread_runs) {
        pthread_mutex_lock(&g->lock);
        g->stop = true;
        atomic_store(&g->look, true);
        pthread_cond_signal(&g->wake);
        pthread_mutex_unlock(&g->lock);
        pthread_join(g->thread, NULL);
    }
    kvdisk_close(g->disk);
    kv_store_done(&g->kv);
    backend_free(g->backend);
    mem_free(g->active);
    mem_free(g->active_sched);
    pthread_cond_destroy(&g->wake);
    pthread_cond_destroy(&g->freed);
    pthread_mutex_destroy(&g->lock);
    mem_free(g);
}

void engine_kick(struct engine *g)
{
    pthread_mutex_lock(&g->lock);
    atomic_store(&g->look, true);
    pthread_cond_signal(&g->wake);
    pthread_mutex_unlock(&g->lock);
}

struct backend *engine_backend(struct engine *g)
{
    return g->backend;
}

void engine_stats(struct engine *g, struct engine_stats *out)
{
    pthread_mutex_lock(&g->lock);
    *out = g->stats;
    pthread_mutex_unlock(&g->lock);
    struct kv_stats kv;
    kv_stats(&g->kv, &kv);
    out->prefix_lookups_total = kv.lookups;
    out->prefix_hits_total = kv.hits;
    out->prefix_hit_tokens_total = kv.hit_tokens;
    out->prefix_missed_tokens_total = kv.missed_tokens;
    out->prefix_evicted_total = kv.evicted_pages;
    out->prefix_blocks = kv.cached_pages;
    out->prefix_bytes = kv.cached_bytes;
    out->kv_free_bytes = kv.free_bytes;
    struct kvdisk_stats d = {0};
    if (g->disk)
        kvdisk_stats(g->disk, &d);
    out->disk_read_total = d.read_total;
    out->disk_written_total = d.written_total;
    out->disk_bad_total = d.bad_total;
    out->disk_bytes = d.bytes;
    out->disk_blocks = d.records;
    out->n_running = atomic_load(&g->n_running);
    out->n_waiting = atomic_load(&g->n_waiting);
    out->waiting_tokens = atomic_load(&g->waiting_tok);
    out->queue_full =
        out->n_waiting >= g->opts.max_queue || (out->n_waiting && out->waiting_tokens >= g->opts.max_queue_tokens);
    out->tokens_output_total = atomic_load(&g->n_output);
    out->drafted_total = atomic_load(&g->n_drafted);
    out->accepted_total = atomic_load(&g->n_accepted);
}

/* ---- engine thread ---- */

void engine_end(struct request *r, enum event_type type, enum finish finish, const struct err *err)
{
    struct engine_model *m = r->model;
    step_leave(r);
    for (size_t i = 0; i < m->n_live; i++)
        if (m->live[i] == r) {
            m->live[i] = m->live[--m->n_live];
            sched_key_leave(&m->keys, r->key);
            break;
        }
    request_release(r, type, finish, err);
}

static int activate(struct engine *g, struct engine_model *m)
{
    if (m->active)
        return 0;
    struct engine_model **a = mem_grow(g->active, &g->cap_active, g->n_active + 1, sizeof(struct engine_model *));
    if (!a)
        return ERR_NOMEM;
    g->active = a;
    struct sched_model *s = mem_grow(g->active_sched, &g->cap_active_sched, g->n_active + 1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    g->active_sched = s;
    m->vtime = sched_join(m->vtime, g->vnow);
    m->active = true;
    engine_model_ref(m);
    g->active[g->n_active++] = m;
    return 0;
}

/* Without work: blocks and the larger part of the logits go back to the ledger. */
static void deactivate(struct engine *g, size_t i)
{
    struct engine_model *m = g->active[i];
    g->active[i] = g->active[--g->n_active];
    m->active = false;
    if (!g->n_active)
        kv_trim_free(&g->kv);
    size_t row = (size_t)m->graph->n_vocab * sizeof(float);
    void *one;
    if (m->logit_rows > 1 && ledger_alloc(m->own_scratch, row, &one, NULL) == 0) {
        ledger_dealloc(m->own_scratch, m->logits, (size_t)m->logit_rows * row);
        m->logits = one;
        m->logit_rows = 1;
    }
    engine_model_unref(m);
}

static int add_live(struct engine *g, struct request *r)
{
    struct engine_model *m = r->model;
    struct request **live = mem_grow(m->live, &m->cap_live, m->n_live + 1, sizeof(struct request *));
    if (!live)
        return ERR_NOMEM;
    m->live = live;
    struct sched_seq *s = mem_grow(m->sched, &m->cap_sched, m->n_live + 1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    m->sched = s;
    if (activate(g, m) < 0)
        return ERR_NOMEM;
    r->served = g->n_step;
    m->live[m->n_live++] = r;
    sched_key_enter(&m->keys, r->key);
    return 0;
}

static void take_in(struct engine *g, struct request *list)
{
    while (list) {
        struct request *r = list;
        list = r->intake;
        if (add_live(g, r) < 0) {
            struct err e;
            err_set(&e, ERR_NOMEM, "no memory to queue a request");
            request_release(r, EVENT_ERROR, FINISH_STOP, &e);
        }
    }
}

static void time_out(struct engine *g, struct request *r, uint64_t now)
{
    struct err e;
    double waited = (double)(now - r->submit_ns) * 1e-9;
    err_set(&e, ERR_TIMEOUT, "the request's time was over after %.1f s, %s", waited,
            r->n_token > r->n_prompt ? "in the middle of its answer"
            : r->admitted            ? "while its prompt was read"
                                     : "while it waited in the queue");
    pthread_mutex_lock(&g->lock);
    g->stats.timeout_total++;
    pthread_mutex_unlock(&g->lock);
    engine_end(r, EVENT_ERROR, FINISH_STOP, &e);
}

static void reap(struct engine *g, bool everything)
{
    uint64_t now = clock_ns();
    for (size_t i = g->n_active; i-- > 0;) {
        struct engine_model *m = g->active[i];
        for (size_t j = m->n_live; j-- > 0;) {
            struct request *r = m->live[j];
            int stop = atomic_load(&r->stop);
            if (!everything && step_holds(g, r))
                continue;
            if (stop != REQUEST_GO || everything)
                engine_end(r, EVENT_DONE, stop == REQUEST_FINISH ? FINISH_STOP : FINISH_CANCELLED, NULL);
            else if (r->deadline_ns && now >= r->deadline_ns)
                time_out(g, r, now);
            else if (room_over(r, now))
                room_give_up(r, now);
        }
        if (!m->n_live)
            deactivate(g, i);
    }
}

static int most_urgent(const struct engine_model *m)
{
    int priority = m->live[0]->priority;
    for (size_t i = 1; i < m->n_live; i++)
        priority = m->live[i]->priority < priority ? m->live[i]->priority : priority;
    return priority;
}

/* Who waits for more urgent work earns no credit, as little as by idling. */
static void lift(struct engine *g, int priority, double vtime)
{
    for (size_t i = 0; i < g->n_active; i++)
        if (g->active_sched[i].priority > priority && g->active[i]->vtime < vtime)
            g->active[i]->vtime = vtime;
}

/* All that was done for m counts as its time: choosing tokens and guessing ahead as well as the step itself. */
static void charge(struct engine *g, struct engine_model *m, double seconds)
{
    m->vtime += seconds;
    pthread_mutex_lock(&g->lock);
    m->busy_s += seconds;
    g->stats.busy_s_total += seconds;
    pthread_mutex_unlock(&g->lock);
}

static const double DEBT_S = 0.05; /* what a turn that took too long is held against a model at most */

/* A turn of one model; false when none could run for want of memory. */
static bool run_one(struct engine *g)
{
    for (size_t i = 0; i < g->n_active; i++)
        g->active_sched[i] = (struct sched_model){g->active[i]->vtime, most_urgent(g->active[i]), true};
    sched_forgive(g->active_sched, g->n_active, DEBT_S);
    for (size_t i = 0; i < g->n_active; i++)
        g->active[i]->vtime = g->active_sched[i].vtime;
    for (int at; (at = sched_pick_model(g->active_sched, g->n_active)) >= 0;) {
        double begin = clock_s();
        g->vnow = sched_join(g->vnow, g->active[at]->vtime);
        if (step_model(g, g->active[at])) {
            charge(g, g->active[at], clock_s() - begin);
            lift(g, g->active_sched[at].priority, g->active[at]->vtime);
            return true;
        }
        g->active_sched[at].runnable = false;
    }
    return false;
}

/* Waits for work; with work that cannot run, for 5 ms: memory comes free without a signal. */
static struct request *wait_for_work(struct engine *g, bool stuck, bool *stop)
{
    pthread_mutex_lock(&g->lock);
    if (stuck && !g->stop && !g->look) {
        uint64_t ns = clock_ns() + 5000000u;
        struct timespec until = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
        pthread_cond_timedwait(&g->wake, &g->lock, &until);
    }
    while (!g->n_active && !g->stop && !g->look)
        pthread_cond_wait(&g->wake, &g->lock);
    struct request *list = g->intake;
    g->intake = g->intake_last = NULL;
    atomic_store(&g->look, false);
    *stop = g->stop;
    pthread_mutex_unlock(&g->lock);
    return list;
}

void *engine_main(void *arg)
{
    struct engine *g = arg;
    bool stuck = false, stop = false;
    while (!stop) {
        take_in(g, wait_for_work(g, stuck, &stop));
        reap(g, stop);
        warm_turn(g, stop || g->n_active);
        stuck = g->n_active && !run_one(g);
        if (atomic_exchange(&g->refuse, false) && stuck)
            room_refuse_last(g);
        reap(g, false);
        room_tell(g, stuck);
    }
    return NULL;
}
