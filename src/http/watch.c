/* watch: notices clients that go away or stop reading.
 *
 * libmicrohttpd does not look at a suspended connection, so the socket of every parked request also sits in this epoll set
 * with EPOLLRDHUP. Events carry the request's number, not its address: a request that completed between epoll_wait and the
 * look-up is simply not found. Four times a second streams are looked over for readers that take nothing; without any open
 * request the thread sleeps until the next one is parked. */
#include "base/clock.h"
#include "http/server.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <string.h>
#include <unistd.h>

enum { WATCH_TICK_MS = 250, WATCH_EVENTS = 64 };

static void wake(struct watch *w)
{
    uint64_t one = 1;
    ssize_t n = write(w->wake, &one, sizeof one);
    (void)n; /* fails only if 2^64 - 2 wake-ups came before */
}

void watch_add(struct http_req *r)
{
    struct epoll_event ev = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.u64 = r->id};
    epoll_ctl(r->s->watch.epoll, EPOLL_CTL_ADD, r->fd, &ev);
    if (atomic_exchange(&r->s->watch.asleep, false))
        wake(&r->s->watch);
}

void watch_remove(struct http_req *r)
{
    epoll_ctl(r->s->watch.epoll, EPOLL_CTL_DEL, r->fd, NULL);
}

static struct http_req *find(struct http_server *s, uint64_t id)
{
    pthread_mutex_lock(&s->mu);
    struct http_req *r = s->open;
    while (r && r->id != id)
        r = r->next;
    if (r)
        atomic_fetch_add(&r->refs, 1);
    pthread_mutex_unlock(&s->mu);
    return r;
}

/* The next open request with a number above `after`, referenced: a walk that needs no lock between its steps. */
static struct http_req *next_open(struct http_server *s, uint64_t after)
{
    struct http_req *best = NULL;
    pthread_mutex_lock(&s->mu);
    for (struct http_req *r = s->open; r; r = r->next)
        if (r->id > after && (!best || r->id < best->id))
            best = r;
    if (best)
        atomic_fetch_add(&best->refs, 1);
    pthread_mutex_unlock(&s->mu);
    return best;
}

static void drop_stalled(struct http_server *s)
{
    uint64_t now = clock_ns(), id = 0;
    for (struct http_req *r; (r = next_open(s, id)); exchange_unref(r)) {
        id = r->id;
        if (stream_stalled(r, now)) {
            atomic_fetch_add(&s->n_dropped, 1);
            exchange_leave(r, true);
        }
    }
}

/* How long to wait: who parks a request either finds the thread asleep or is found in the list. */
static int patience_ms(struct http_server *s)
{
    atomic_store(&s->watch.asleep, true);
    pthread_mutex_lock(&s->mu);
    bool any = s->open != NULL;
    pthread_mutex_unlock(&s->mu);
    if (any)
        atomic_store(&s->watch.asleep, false);
    return any ? WATCH_TICK_MS : -1;
}

static void *watch_main(void *arg)
{
    struct http_server *s = arg;
    uint64_t last = clock_ns();
    while (!atomic_load(&s->watch.stop)) {
        struct epoll_event ev[WATCH_EVENTS];
        int n = epoll_wait(s->watch.epoll, ev, WATCH_EVENTS, patience_ms(s));
        for (int i = 0; i < n; i++) {
            struct http_req *r = ev[i].data.u64 ? find(s, ev[i].data.u64) : NULL;
            if (!r)
                continue;
            exchange_leave(r, (ev[i].events & (EPOLLHUP | EPOLLERR)) != 0);
            exchange_unref(r);
        }
        uint64_t now = clock_ns();
        if (now - last >= (uint64_t)WATCH_TICK_MS * 1000000) {
            last = now;
            drop_stalled(s);
        }
    }
    return NULL;
}

int watch_start(struct http_server *s, struct err *e)
{
    struct watch *w = &s->watch;
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->epoll < 0 || w->wake < 0)
        return err_errno(e, "cannot make an epoll set");
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET,
                             .data.u64 = 0}; /* each wake-up is told once, and never read */
    epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->wake, &ev);
    int rc = pthread_create(&w->thread, NULL, watch_main, s);
    if (rc != 0)
        return err_set(e, ERR_NOMEM, "cannot start a thread: %s", strerror(rc));
    w->running = true;
    return 0;
}

void watch_stop(struct http_server *s)
{
    struct watch *w = &s->watch;
    atomic_store(&w->stop, true);
    if (w->running) {
        wake(w);
        pthread_join(w->thread, NULL);
        w->running = false;
    }
    if (w->epoll >= 0)
        close(w->epoll);
    if (w->wake >= 0)
        close(w->wake);
    w->epoll = w->wake = -1;
}
