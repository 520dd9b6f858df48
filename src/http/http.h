/* http: bytes and sockets around libmicrohttpd. No JSON, no models: the door of the room.
 *
 * Idea: one epoll thread per listening socket never blocks; a request with its whole body is parked (suspended) and handed to a
 * small set of worker threads; the answer comes whole or as a stream of bytes from any thread. A client that goes away is
 * noticed at once in every phase, because its parked socket sits in an epoll set of ours that waits for EPOLLRDHUP.
 *
 * Life of a request:  head (epoll thread: may answer at once, must not block)
 *                  -> body (counted with `reserve`; too long: `refuse` with 413)
 *                  -> handle (worker thread; owns the request until http_release)
 * Whoever gets `handle` answers exactly once, with http_reply or http_stream_begin .. http_stream_end, from any thread, now or
 * later, and then calls http_release. All http_* functions on a request are thread-safe. */
#ifndef HEARTH_HTTP_HTTP_H
#define HEARTH_HTTP_HTTP_H
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_server;
struct http_req;

struct http_opts {
    const char *host;    /* NULL or "localhost": 127.0.0.1 and, if there is one, ::1; else an address or name */
    int port;            /* 0: any free one */
    int workers;         /* 0: 2 */
    int max_connections; /* 0: 512 */
    int idle_s;          /* a connection on which nothing moves: 0: 75 */
    int stall_ms;        /* a stream's client that takes nothing for so long is dropped; 0: 30,000 */
    size_t body_max;     /* 0: 32 MiB */
    size_t stream_max;   /* bytes waiting in one stream; 0: 64 KiB; reserved while a stream is open */
    /* Memory for bodies and streams: non-zero refuses (503). Also asked for each connection's buffers. May be NULL. */
    int (*reserve)(void *arg, size_t bytes);
    void (*release)(void *arg, size_t bytes);
    /* Epoll thread, as soon as the headers are there: may call http_reply (the body is then not read); must not block. */
    void (*head)(void *arg, struct http_req *r);
    /* Must http_reply with this status: 413 body too long, 503 no memory for it. Epoll thread. */
    void (*refuse)(void *arg, struct http_req *r, int status);
    void (*handle)(void *arg, struct http_req *r); /* worker thread */
    void (*done)(void *arg,
                 struct http_req *r); /* the answer was sent or its client is gone: for counters; may be NULL */
    void *arg;
};
/* *out is set before the first callback can run; NULL after an error. */
int http_start(struct http_server **out, const struct http_opts *o, struct err *e);
int http_port(const struct http_server *s);
const char *http_url(const struct http_server *s); /* "http://127.0.0.1:11000" */
/* No new connections; waits up to drain_ms for what is being answered, then tells the rest `gone` and ends them. No callback runs
 * after it returns. Requests that are not released yet stay valid, but go nowhere. */
void http_stop(struct http_server *s, int drain_ms);
void http_free(struct http_server *s); /* after http_stop, when every request is released */

/* Runs fn on a worker thread: for work that follows on a request. Returns non-zero when out of memory or stopping. */
int http_post(struct http_server *s, void (*fn)(void *arg), void *arg);

struct http_stats {
    uint64_t connections, requests, bytes_in, bytes_out, gone, dropped; /* gone: clients that left; dropped: too slow */
    int open_connections, open_requests;
};
void http_stats(struct http_server *s, struct http_stats *out);

/* What was asked. Strings live until http_release. */
const char *http_method(const struct http_req *r);
const char *http_path(const struct http_req *r);                     /* percent-decoded, without the query */
const char *http_header(const struct http_req *r, const char *name); /* NULL if absent */
const char *http_body(const struct http_req *r, size_t *len);        /* NUL-terminated; "" if none */
double http_age_s(const struct http_req *r);                         /* since its headers arrived */
int http_status(const struct http_req *r);                           /* of the answer; 0 before */
void http_set_user(struct http_req *r, void *user);
void *http_user(const struct http_req *r);
void http_release(struct http_req *r);

struct http_pair {
    const char *name, *value;
};
struct http_head { /* status line and headers of an answer */
    int status;
    const char *type;              /* Content-Type; NULL: none */
    const struct http_pair *extra; /* copied */
    size_t n_extra;
};
/* body is copied, unless fixed: then it must outlive the server. */
int http_reply(struct http_req *r, const struct http_head *h, const void *body, size_t len, bool fixed);

int http_stream_begin(struct http_req *r,
                      const struct http_head *h); /* ERR_NOMEM: refused by reserve; answer otherwise */
/* Appends, never blocks: look at http_stream_room before producing more. Non-zero: the client is gone. */
int http_stream_write(struct http_req *r, const void *data, size_t len);
size_t http_stream_room(struct http_req *r); /* bytes below stream_max; 0: wait for `room` */
void http_stream_end(struct http_req *r);

/* gone: the client left or was dropped; room: a full stream has space again. Both only wake someone: they run under the request's
 * lock and may call no http_* function on it. After http_watch(r, NULL, NULL, NULL) returns neither runs. If the client
 * left before, gone runs inside this call. */
void http_watch(struct http_req *r, void (*gone)(void *arg), void (*room)(void *arg), void *arg);
bool http_gone(struct http_req *r);

#endif
