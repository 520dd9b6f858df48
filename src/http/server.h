/* server.h: what the files of this room share: the server and one request. Not for outsiders (http.h is the door).
 *
 * Locks: http_server.mu guards the list of open requests; http_req.mu guards one request. Never both at once. Callbacks of
 * libmicrohttpd run on its epoll thread with neither held; http_req.mu is taken before the library's own lock
 * (suspend, resume), never the other way round. */
#ifndef HEARTH_HTTP_SERVER_H
#define HEARTH_HTTP_SERVER_H
#include "http/http.h"
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

enum { HTTP_MAX_LISTEN = 2 };
#define HTTP_DISCARD_MAX                                                                                               \
    ((uint64_t)256 << 20) /* a refused body up to here is read and dropped, so that its client sees the answer */

struct job { /* intrusive: a request carries its own, so that parking never allocates */
    void (*fn)(void *arg);
    void *arg;
    struct job *next;
    bool owned; /* allocated by http_post */
};
struct jobs {
    pthread_mutex_t mu;
    pthread_cond_t wake;
    struct job *head, *tail;
    pthread_t thread[8];
    int n_threads;
    bool stop;
};
int jobs_start(struct jobs *j, int n, struct err *e);
int jobs_push(struct jobs *j, struct job *job); /* non-zero: stopped */
void jobs_stop(struct jobs *j);                 /* runs what is queued, then joins */

struct watch { /* the epoll set for clients that leave, and the clock for clients that stall */
    int epoll, wake;
    pthread_t thread;
    bool running;
    atomic_bool stop, asleep; /* asleep: until woken */
};

struct http_server {
    struct http_opts o;
    struct MHD_Daemon *daemon[HTTP_MAX_LISTEN];
    int listen[HTTP_MAX_LISTEN];
    int n_listen, port;
    char url[300];
    pthread_mutex_t mu;
    pthread_cond_t changed; /* the list of open requests got shorter */
    struct http_req *open;
    int n_open;
    uint64_t next_id;
    atomic_bool stopping;
    struct jobs jobs;
    struct watch watch;
    atomic_uint_fast64_t connections, requests, bytes_in, bytes_out, n_gone, n_dropped;
    atomic_int open_connections;
};

struct http_req {
    struct http_server *s;
    struct http_req *prev, *next; /* open requests, under s->mu */
    uint64_t id;
    atomic_int refs; /* the connection and the application hold one each */
    uint64_t born_ns;
    char *method, *path;
    struct http_pair *header;
    size_t n_header;
    char *body;
    size_t body_len, body_cap;
    uint64_t discarded;
    void *user;
    struct job job;

    pthread_mutex_t mu;
    struct MHD_Connection *conn; /* NULL once the request is completed */
    int fd;
    bool parked; /* suspended, waits for an answer or for stream data */
    bool handed; /* given to a worker */
    bool rdhup;  /* the client shut its side */
    bool gone;   /* nobody reads the answer any more */
    int status;
    struct MHD_Response *resp; /* answer not queued yet */
    void (*on_gone)(void *arg);
    void (*on_room)(void *arg);
    void *watch_arg;

    bool stream, ended, want_room;
    char *out; /* bytes [out_pos, out_len) wait for the client */
    size_t out_pos, out_len, out_cap;
    size_t reserved;  /* bytes asked of o.reserve: body and stream */
    uint64_t take_ns; /* when the client last took something, or had nothing to take */
};

/* exchange.c */
enum MHD_Result exchange_access(void *cls, struct MHD_Connection *conn, const char *url, const char *method,
                                const char *version, const char *data, size_t *len, void **con_cls);
void exchange_completed(void *cls, struct MHD_Connection *conn, void **con_cls, enum MHD_RequestTerminationCode why);
void exchange_unref(struct http_req *r);
void exchange_resume(struct http_req *r); /* r->mu held */
/* The client left (force: or is thrown out): tells the watcher, ends the connection. */
void exchange_leave(struct http_req *r, bool force);
int exchange_reserve(struct http_req *r, size_t bytes);

/* watch.c */
int watch_start(struct http_server *s, struct err *e);
void watch_stop(struct http_server *s);
void watch_add(struct http_req *r);
void watch_remove(struct http_req *r);

/* stream.c */
bool stream_stalled(struct http_req *r, uint64_t now_ns); /* r->mu not held */

#endif
