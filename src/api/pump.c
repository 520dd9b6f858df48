/* pump: one thread that moves generations along: it takes their events, writes them out, answers, frees. Generations are woken from
 * everywhere (engine, workers, sockets) by putting them on a list; once a second silent streams get a sign of life. Without any
 * generation it sleeps. */
#include "api/gen.h"
#include "base/clock.h"
#include <string.h>
#include <time.h>

void pump_add(struct gen *g)
{
    struct pump *u = &g->a->pump;
    pthread_mutex_lock(&u->mu);
    g->next = u->all;
    if (u->all)
        u->all->prev = g;
    u->all = g;
    u->n_all++;
    if (g->deadline_ns && (!u->first_ns || g->deadline_ns < u->first_ns))
        u->first_ns = g->deadline_ns;
    pthread_cond_signal(&u->wake);
    pthread_mutex_unlock(&u->mu);
}

/* Under u->mu; whether the pump must be woken. */
static bool enqueue(struct pump *u, struct gen *g)
{
    if (g->queued)
        return false;
    g->queued = true;
    g->next_ready = NULL;
    if (u->tail)
        u->tail->next_ready = g;
    else
        u->ready = g;
    u->tail = g;
    return true;
}

void pump_wake(struct gen *g)
{
    struct pump *u = &g->a->pump;
    pthread_mutex_lock(&u->mu);
    bool news = enqueue(u, g);
    pthread_mutex_unlock(&u->mu);
    if (news)
        pthread_cond_signal(
            &u->wake); /* without the lock, which the pump takes first; who calls here is waited for by gen_free */
}

/* In one step: the pump may already run g for another reason, see the new phase and free g; it needs the lock for that. */
void pump_phase(struct gen *g, enum gen_phase phase)
{
    struct pump *u = &g->a->pump;
    pthread_mutex_lock(&u->mu);
    atomic_store(&g->phase, phase);
    if (enqueue(u, g))
        pthread_cond_signal(&u->wake);
    pthread_mutex_unlock(&u->mu);
}

/* When the pump has to look even if nobody wakes it; under u->mu. */
static uint64_t next_look(const struct pump *u, uint64_t tick)
{
    return u->first_ns && u->first_ns < tick ? u->first_ns : tick;
}

static struct gen *take(struct pump *u, uint64_t tick)
{
    pthread_mutex_lock(&u->mu);
    while (!u->ready && !u->stop) {
        uint64_t until = next_look(u, tick);
        struct timespec at = {(time_t)(until / 1000000000), (long)(until % 1000000000)};
        if (!u->all)
            pthread_cond_wait(&u->wake, &u->mu);
        else if (pthread_cond_timedwait(&u->wake, &u->mu, &at) != 0)
            break;
    }
    struct gen *g = u->ready;
    if (g) {
        u->ready = g->next_ready;
        if (!u->ready)
            u->tail = NULL;
        g->queued = false;
    }
    pthread_mutex_unlock(&u->mu);
    return g;
}

/* Nobody can wake g any more (gen_free saw to it): off both lists. */
static void forget(struct pump *u, struct gen *g)
{
    pthread_mutex_lock(&u->mu);
    if (g->queued) {
        struct gen **at = &u->ready, *last = NULL;
        for (; *at && *at != g; at = &(*at)->next_ready)
            last = *at;
        *at = g->next_ready;
        if (u->tail == g)
            u->tail = last;
    }
    if (g->prev)
        g->prev->next = g->next;
    else
        u->all = g->next;
    if (g->next)
        g->next->prev = g->prev;
    if (--u->n_all == 0)
        pthread_cond_broadcast(&u->empty);
    pthread_mutex_unlock(&u->mu);
}

/* The next time that is over before its model is there; who is past that ends by the engine's clock. */
static void set_first(struct pump *u)
{
    uint64_t now = clock_ns();
    pthread_mutex_lock(&u->mu);
    u->first_ns = 0;
    for (const struct gen *g = u->all; g; g = g->next)
        if (g->deadline_ns > now && atomic_load(&g->phase) <= GEN_STARTING &&
            (!u->first_ns || g->deadline_ns < u->first_ns))
            u->first_ns = g->deadline_ns;
    pthread_mutex_unlock(&u->mu);
}

/* Only this thread takes generations off the list, so walking it needs no lock between the steps. */
static void signs_of_life(struct pump *u)
{
    pthread_mutex_lock(&u->mu);
    struct gen *g = u->all;
    pthread_mutex_unlock(&u->mu);
    while (g) {
        gen_tick(g, clock_ns());
        if (atomic_load(&g->gone)) /* it left before it began to wait for its model */
            pump_wake(g);
        pthread_mutex_lock(&u->mu);
        g = g->next;
        pthread_mutex_unlock(&u->mu);
    }
    set_first(u);
}

static void *pump_main(void *arg)
{
    struct pump *u = &((struct api *)arg)->pump;
    uint64_t tick = clock_ns() + 1000000000;
    for (;;) {
        struct gen *g = take(u, tick);
        if (g && gen_work(g, clock_ns())) {
            gen_detach(g);
            forget(u, g);
            gen_free(g);
        }
        pthread_mutex_lock(&u->mu);
        bool stop = u->stop;
        uint64_t look = next_look(u, tick), now = clock_ns();
        pthread_mutex_unlock(&u->mu);
        if (stop)
            return NULL;
        if (now >= look)
            signs_of_life(u);
        if (now >= tick)
            tick = clock_ns() + 1000000000;
    }
}

int pump_start(struct api *a, struct err *e)
{
    struct pump *u = &a->pump;
    pthread_condattr_t mono;
    pthread_mutex_init(&u->mu, NULL);
    pthread_condattr_init(&mono);
    pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
    pthread_cond_init(&u->wake, &mono);
    pthread_condattr_destroy(&mono);
    pthread_cond_init(&u->empty, NULL);
    int rc = pthread_create(&u->thread, NULL, pump_main, a);
    if (rc != 0)
        return err_set(e, ERR_NOMEM, "cannot start a thread: %s", strerror(rc));
    u->running = true;
    return 0;
}

void pump_stop(struct api *a)
{
    struct pump *u = &a->pump;
    if (u->running) {
        pthread_mutex_lock(&u->mu);
        while (u->n_all > 0)
            pthread_cond_wait(&u->empty, &u->mu);
        u->stop = true;
        pthread_cond_signal(&u->wake);
        pthread_mutex_unlock(&u->mu);
        pthread_join(u->thread, NULL);
    }
    pthread_mutex_destroy(&u->mu);
    pthread_cond_destroy(&u->wake);
    pthread_cond_destroy(&u->empty);
}
