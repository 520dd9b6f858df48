/* server: listening sockets, the library's daemons on them, start and stop.
 *
 * The default is loopback by both families, since "localhost" means ::1 to some clients: one daemon (one epoll thread) per socket. */
#include "http/server.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HTTP_HEADER_MEMORY = 64 * 1024, HTTP_BACKLOG = 128 };

static int listen_on(const struct addrinfo *a, const char *host, int port, struct err *e)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(e, "cannot make a socket for %s", host);
    int one = 1, zero = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (a->ai_family == AF_INET6) /* "::" serves both families, "::1" only its own */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, strcmp(host, "::") ? &one : &zero, sizeof one);
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, HTTP_BACKLOG) == 0)
        return fd;
    int rc =
        errno == EADDRINUSE
            ? err_set(e, ERR_BUSY, "port %d on %s is in use: another program listens there; choose another with --port",
                      port, host)
        : errno == EACCES ? err_set(e, ERR_DENIED, "port %d needs more rights: choose one above 1023 with --port", port)
                          : err_errno(e, "cannot listen on %s, port %d", host, port);
    close(fd);
    return rc;
}

static int listen_add(struct http_server *s, const char *host, struct err *e)
{
    struct addrinfo hint = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *list = NULL;
    char port[12];
    snprintf(port, sizeof port, "%d", s->port);
    int rc = getaddrinfo(host, port, &hint, &list);
    if (rc != 0)
        return err_set(e, ERR_USAGE, "host %s: %s", host, gai_strerror(rc));
    int fd = listen_on(list, host, s->port, e);
    freeaddrinfo(list);
    if (fd < 0)
        return fd;
    struct sockaddr_storage at;
    socklen_t n = sizeof at;
    if (getsockname(fd, (struct sockaddr *)&at, &n) == 0)
        s->port = ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
                                                 : ((struct sockaddr_in *)&at)->sin_port);
    s->listen[s->n_listen++] = fd;
    return 0;
}

static int listen_all(struct http_server *s, struct err *e)
{
    const char *host = s->o.host && strcmp(s->o.host, "localhost") ? s->o.host : NULL;
    int rc = listen_add(s, host ? host : "127.0.0.1", e);
    if (rc)
        return rc;
    if (!host)
        listen_add(s, "::1", NULL); /* a machine without IPv6 does without */
    bool any = host && (!strcmp(host, "0.0.0.0") || !strcmp(host, "::"));
    bool v6 = host && !any && strchr(host, ':');
    snprintf(s->url, sizeof s->url, "http://%s%s%s:%d", v6 ? "[" : "", host && !any ? host : "127.0.0.1", v6 ? "]" : "",
             s->port);
    return 0;
}

static void count_connection(void *cls, struct MHD_Connection *conn, void **socket_cls,
                             enum MHD_ConnectionNotificationCode what)
{
    (void)conn;
    struct http_server *s = cls;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        atomic_fetch_add(&s->connections, 1);
        atomic_fetch_add(&s->open_connections, 1);
        /* its buffers live as long as it; where memory is that short its requests are refused anyway */
        if (s->o.reserve && s->o.reserve(s->o.arg, HTTP_HEADER_MEMORY) == 0)
            *socket_cls = s;
    } else {
        atomic_fetch_sub(&s->open_connections, 1);
        if (*socket_cls && s->o.release)
            s->o.release(s->o.arg, HTTP_HEADER_MEMORY);
    }
}

__attribute__((format(printf, 2, 0))) static void library_log(void *cls, const char *fmt, va_list ap)
{
    (void)cls;
    char line[300];
    vsnprintf(line, sizeof line, fmt, ap);
    line[strcspn(line, "\n")] = 0;
    log_line(LOG_DEBUG, "http: %s", line);
}

static int daemons_start(struct http_server *s, struct err *e)
{
    for (int i = 0; i < s->n_listen; i++) {
        s->daemon[i] = MHD_start_daemon(
            MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
            exchange_access, s, MHD_OPTION_EXTERNAL_LOGGER, library_log, NULL, MHD_OPTION_LISTEN_SOCKET, s->listen[i],
            MHD_OPTION_CONNECTION_LIMIT, (unsigned)s->o.max_connections, MHD_OPTION_CONNECTION_TIMEOUT,
            (unsigned)s->o.idle_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_HEADER_MEMORY,
            MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_COMPLETED, exchange_completed, s,
            MHD_OPTION_NOTIFY_CONNECTION, count_connection, s, MHD_OPTION_END);
        if (!s->daemon[i])
            return err_set(e, ERR_IO, "the HTTP library does not start: %s", strerror(errno));
        s->listen[i] = -1; /* the daemon's now */
    }
    return 0;
}

static void set_defaults(struct http_opts *o)
{
    o->workers = o->workers ? o->workers : 2;
    o->max_connections = o->max_connections ? o->max_connections : 512;
    o->idle_s = o->idle_s ? o->idle_s : 75;
    o->stall_ms = o->stall_ms ? o->stall_ms : 30000;
    o->body_max = o->body_max ? o->body_max : (size_t)32 << 20;
    o->stream_max = o->stream_max ? o->stream_max : (size_t)64 << 10;
}

int http_start(struct http_server **out, const struct http_opts *o, struct err *e)
{
    if (o->port < 0 || o->port > 65535)
        return err_set(e, ERR_RANGE, "port %d is not between 0 and 65535", o->port);
    struct http_server *s = mem_calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "no memory for the server");
    s->o = *o;
    set_defaults(&s->o);
    s->port = o->port;
    s->listen[0] = s->listen[1] = -1;
    s->watch.epoll = s->watch.wake = -1;
    pthread_mutex_init(&s->mu, NULL);
    pthread_condattr_t mono;
    pthread_condattr_init(&mono);
    pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &mono);
    pthread_condattr_destroy(&mono);
    int rc = jobs_start(&s->jobs, s->o.workers, e);
    if (!rc)
        rc = watch_start(s, e);
    if (!rc)
        rc = listen_all(s, e);
    s->o.host = NULL; /* the caller's string need not outlive the start */
    *out = s;
    if (!rc)
        rc = daemons_start(s, e);
    if (rc) {
        *out = NULL;
        http_stop(s, 0);
        http_free(s);
        return rc;
    }
    return 0;
}

/* Waits until no request is open; false after ms milliseconds. */
static bool drained(struct http_server *s, int ms)
{
    uint64_t end = clock_ns() + (uint64_t)ms * 1000000;
    struct timespec at = {(time_t)(end / 1000000000), (long)(end % 1000000000)};
    pthread_mutex_lock(&s->mu);
    int rc = 0;
    while (s->n_open > 0 && rc == 0)
        rc = pthread_cond_timedwait(&s->changed, &s->mu, &at);
    bool empty = s->n_open == 0;
    pthread_mutex_unlock(&s->mu);
    return empty;
}

static void throw_out(struct http_server *s)
{
    uint64_t ids = 0;
    for (;;) {
        struct http_req *r = NULL;
        pthread_mutex_lock(&s->mu);
        for (struct http_req *q = s->open; q; q = q->next)
            if (q->id > ids && (!r || q->id < r->id))
                r = q;
        if (r)
            atomic_fetch_add(&r->refs, 1);
        pthread_mutex_unlock(&s->mu);
        if (!r)
            return;
        ids = r->id;
        exchange_leave(r, true);
        exchange_unref(r);
    }
}

void http_stop(struct http_server *s, int drain_ms)
{
    atomic_store(&s->stopping, true);
    for (int i = 0; i < HTTP_MAX_LISTEN; i++) {
        MHD_socket fd = s->daemon[i] ? MHD_quiesce_daemon(s->daemon[i]) : s->listen[i];
        if (fd >= 0)
            close(fd);
        s->listen[i] = -1;
    }
    while (!drained(s, drain_ms)) { /* the library may not stop while a connection is suspended */
        throw_out(s);
        drain_ms = 200;
    }
    jobs_stop(&s->jobs);
    for (int i = 0; i < HTTP_MAX_LISTEN; i++)
        if (s->daemon[i])
            MHD_stop_daemon(s->daemon[i]);
    s->daemon[0] = s->daemon[1] = NULL;
    watch_stop(s);
}

void http_free(struct http_server *s)
{
    if (!s)
        return;
    pthread_mutex_destroy(&s->mu);
    pthread_cond_destroy(&s->changed);
    mem_free(s);
}

int http_port(const struct http_server *s)
{
    return s->port;
}

const char *http_url(const struct http_server *s)
{
    return s->url;
}

void http_stats(struct http_server *s, struct http_stats *out)
{
    *out = (struct http_stats){
        .connections = atomic_load(&s->connections),
        .requests = atomic_load(&s->requests),
        .bytes_in = atomic_load(&s->bytes_in),
        .bytes_out = atomic_load(&s->bytes_out),
        .gone = atomic_load(&s->n_gone),
        .dropped = atomic_load(&s->n_dropped),
        .open_connections = atomic_load(&s->open_connections),
    };
    pthread_mutex_lock(&s->mu);
    out->open_requests = s->n_open;
    pthread_mutex_unlock(&s->mu);
}
