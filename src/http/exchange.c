/* exchange: one request and its answer, from the headers to completion: body, parking, whole answers, and who still holds it.
 *
 * The access callback of libmicrohttpd is called again and again for one request: with the headers, with each piece of body, at the
 * body's end, and after each resume. What is left to do is read off the request's fields each time. */
#include "base/clock.h"
#include "base/mem.h"
#include "http/server.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

static void exchange_free(struct http_req *r)
{
    if (r->reserved && r->s->o.release)
        r->s->o.release(r->s->o.arg, r->reserved);
    if (r->resp)
        MHD_destroy_response(r->resp);
    for (size_t i = 0; i < r->n_header; i++) {
        mem_free((char *)r->header[i].name);
        mem_free((char *)r->header[i].value);
    }
    mem_free(r->header);
    mem_free(r->method);
    mem_free(r->path);
    mem_free(r->body);
    mem_free(r->out);
    pthread_mutex_destroy(&r->mu);
    mem_free(r);
}

void exchange_unref(struct http_req *r)
{
    if (atomic_fetch_sub(&r->refs, 1) == 1)
        exchange_free(r);
}

int exchange_reserve(struct http_req *r, size_t bytes)
{
    if (r->s->o.reserve && r->s->o.reserve(r->s->o.arg, bytes))
        return ERR_NOMEM;
    r->reserved += bytes;
    return 0;
}

static enum MHD_Result add_header(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    struct http_req *r = arg;
    char *n = mem_strdup(name), *v = mem_strdup(value ? value : "");
    if (!n || !v) {
        mem_free(n);
        mem_free(v);
        return MHD_NO;
    }
    r->header[r->n_header++] = (struct http_pair){n, v};
    return MHD_YES;
}

static struct http_req *exchange_new(struct http_server *s, struct MHD_Connection *conn, const char *url,
                                     const char *method)
{
    struct http_req *r = mem_calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->s = s;
    r->refs = 1;
    r->born_ns = clock_ns();
    pthread_mutex_init(&r->mu, NULL);
    int n = MHD_get_connection_values(conn, MHD_HEADER_KIND, NULL, NULL);
    r->header = mem_calloc(n > 0 ? (size_t)n : 1, sizeof *r->header);
    r->method = mem_strdup(method);
    r->path = mem_strdup(url);
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (!r->header || !r->method || !r->path || !info) {
        exchange_free(r);
        return NULL;
    }
    if (MHD_get_connection_values(conn, MHD_HEADER_KIND, add_header, r) != n) {
        exchange_free(r);
        return NULL;
    }
    r->conn = conn;
    r->fd = info->connect_fd;
    return r;
}

static void exchange_link(struct http_req *r)
{
    struct http_server *s = r->s;
    pthread_mutex_lock(&s->mu);
    r->id = ++s->next_id;
    r->next = s->open;
    if (s->open)
        s->open->prev = r;
    s->open = r;
    s->n_open++;
    pthread_mutex_unlock(&s->mu);
    atomic_fetch_add(&s->requests, 1);
}

static void exchange_unlink(struct http_req *r)
{
    struct http_server *s = r->s;
    pthread_mutex_lock(&s->mu);
    if (r->prev)
        r->prev->next = r->next;
    else
        s->open = r->next;
    if (r->next)
        r->next->prev = r->prev;
    s->n_open--;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mu);
}

static enum MHD_Result send_answer(struct http_req *r)
{
    pthread_mutex_lock(&r->mu);
    struct MHD_Response *p = r->resp;
    r->resp = NULL;
    struct MHD_Connection *conn = r->conn;
    int status = r->status;
    pthread_mutex_unlock(&r->mu);
    if (atomic_load(&r->s->stopping))
        MHD_add_response_header(p, "Connection", "close");
    enum MHD_Result ok = MHD_queue_response(conn, (unsigned)status, p);
    MHD_destroy_response(p);
    return ok;
}

/* Headers are complete. An answer given here is normally sent at the body's end: the library closes a connection that is
 * answered earlier, and a client still writing would see a reset instead of the answer. So a body of moderate size is read
 * and dropped first. */
static enum MHD_Result on_head(struct http_server *s, struct http_req *r)
{
    const char *length = http_header(r, "Content-Length");
    uint64_t n = length ? strtoull(length, NULL, 10) : 0;
    if (atomic_load(&s->stopping))
        s->o.refuse(s->o.arg, r, 503);
    else
        s->o.head(s->o.arg, r);
    if (!r->resp && n > s->o.body_max)
        s->o.refuse(s->o.arg, r, 413);
    if (r->resp && (http_header(r, "Expect") || n > HTTP_DISCARD_MAX))
        return send_answer(r);
    return MHD_YES;
}

static int body_room(struct http_req *r, size_t more)
{
    size_t need = r->body_len + more + 1;
    if (need <= r->body_cap)
        return 0;
    size_t cap = r->body_cap ? r->body_cap * 2 : 4096;
    while (cap < need)
        cap *= 2;
    if (cap > r->s->o.body_max + 1)
        cap = r->s->o.body_max + 1;
    if (exchange_reserve(r, cap - r->body_cap))
        return ERR_NOMEM;
    char *p = mem_realloc(r->body, cap);
    if (!p)
        return ERR_NOMEM;
    r->body = p;
    r->body_cap = cap;
    return 0;
}

static enum MHD_Result on_body(struct http_server *s, struct http_req *r, const char *data, size_t *len)
{
    size_t n = *len;
    *len = 0;
    atomic_fetch_add(&s->bytes_in, n);
    if (r->resp) {
        r->discarded += n;
        return r->discarded <= HTTP_DISCARD_MAX ? MHD_YES : MHD_NO;
    }
    int refused = n > s->o.body_max - r->body_len ? 413 : body_room(r, n) ? 503 : 0;
    if (refused) {
        mem_free(r->body); /* what follows is dropped: why keep what came */
        r->body = NULL;
        r->body_len = r->body_cap = 0;
        s->o.refuse(s->o.arg, r, refused);
        return r->resp ? MHD_YES : MHD_NO;
    }
    memcpy(r->body + r->body_len, data, n);
    r->body_len += n;
    r->body[r->body_len] = 0;
    return MHD_YES;
}

static void run_handle(void *arg)
{
    struct http_req *r = arg;
    r->s->o.handle(r->s->o.arg, r);
}

static enum MHD_Result on_complete(struct http_req *r)
{
    pthread_mutex_lock(&r->mu);
    r->handed = true;
    MHD_suspend_connection(r->conn);
    r->parked = true;
    pthread_mutex_unlock(&r->mu);
    watch_add(r);
    atomic_fetch_add(&r->refs, 1); /* the application's */
    r->job = (struct job){.fn = run_handle, .arg = r};
    if (jobs_push(&r->s->jobs, &r->job)) { /* stopping */
        exchange_unref(r);
        exchange_leave(r, true);
    }
    return MHD_YES;
}

enum MHD_Result exchange_access(void *cls, struct MHD_Connection *conn, const char *url, const char *method,
                                const char *version, const char *data, size_t *len, void **con_cls)
{
    (void)version;
    struct http_server *s = cls;
    struct http_req *r = *con_cls;
    if (!r) {
        r = exchange_new(s, conn, url, method);
        if (!r)
            return MHD_NO;
        *con_cls = r;
        exchange_link(r);
        return on_head(s, r);
    }
    if (*len > 0)
        return on_body(s, r, data, len);
    pthread_mutex_lock(&r->mu);
    bool answer = r->resp != NULL, handed = r->handed;
    pthread_mutex_unlock(&r->mu);
    if (answer)
        return send_answer(r);
    return handed ? MHD_NO : on_complete(r); /* handed, woken, no answer: the client left */
}

void exchange_completed(void *cls, struct MHD_Connection *conn, void **con_cls, enum MHD_RequestTerminationCode why)
{
    (void)conn;
    struct http_server *s = cls;
    struct http_req *r = *con_cls;
    if (!r)
        return;
    *con_cls = NULL;
    if (r->handed)
        watch_remove(r);
    pthread_mutex_lock(&r->mu);
    r->conn = NULL;
    if (why != MHD_REQUEST_TERMINATED_COMPLETED_OK && !r->gone) {
        r->gone = true;
        atomic_fetch_add(&s->n_gone, 1);
        if (r->on_gone)
            r->on_gone(r->watch_arg);
    }
    pthread_mutex_unlock(&r->mu);
    if (s->o.done)
        s->o.done(s->o.arg, r);
    exchange_unlink(r);
    exchange_unref(r);
}

void exchange_resume(struct http_req *r)
{
    if (r->conn && r->parked) {
        r->parked = false;
        MHD_resume_connection(r->conn);
    }
}

static void tell_gone(struct http_req *r) /* r->mu held */
{
    r->gone = true;
    atomic_fetch_add(&r->s->n_gone, 1);
    if (r->on_gone)
        r->on_gone(r->watch_arg);
    exchange_resume(r);
}

void exchange_leave(struct http_req *r, bool force)
{
    pthread_mutex_lock(&r->mu);
    if (r->conn) {
        r->rdhup = true;
        if (!r->gone && (force || r->on_gone))
            tell_gone(r);
        if (force)
            shutdown(r->fd, SHUT_RDWR); /* conn is set, so the library has not closed it */
    }
    pthread_mutex_unlock(&r->mu);
}

void http_watch(struct http_req *r, void (*gone)(void *arg), void (*room)(void *arg), void *arg)
{
    pthread_mutex_lock(&r->mu);
    r->on_gone = gone;
    r->on_room = room;
    r->watch_arg = arg;
    if (gone && r->gone)
        gone(arg);
    else if (gone && r->rdhup)
        tell_gone(r);
    pthread_mutex_unlock(&r->mu);
}

bool http_gone(struct http_req *r)
{
    pthread_mutex_lock(&r->mu);
    bool gone = r->gone;
    pthread_mutex_unlock(&r->mu);
    return gone;
}

int http_reply(struct http_req *r, const struct http_head *h, const void *body, size_t len, bool fixed)
{
    struct MHD_Response *p = MHD_create_response_from_buffer(len, (void *)(uintptr_t)body,
                                                             fixed ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_COPY);
    bool ok = p && (!h->type || MHD_add_response_header(p, "Content-Type", h->type) == MHD_YES);
    for (size_t i = 0; ok && i < h->n_extra; i++)
        ok = MHD_add_response_header(p, h->extra[i].name, h->extra[i].value) == MHD_YES;
    pthread_mutex_lock(&r->mu);
    int rc = r->status ? ERR_USAGE : 0;
    if (!rc) {
        r->status = h->status;
        if (ok && r->conn && !r->gone) {
            r->resp = p;
            p = NULL;
            atomic_fetch_add(&r->s->bytes_out, len);
        } else if (!ok) {
            r->gone = true; /* no memory even for an error: end the connection */
            rc = ERR_NOMEM;
        }
        exchange_resume(r);
    }
    pthread_mutex_unlock(&r->mu);
    if (p)
        MHD_destroy_response(p);
    return rc;
}

const char *http_method(const struct http_req *r)
{
    return r->method;
}

const char *http_path(const struct http_req *r)
{
    return r->path;
}

const char *http_header(const struct http_req *r, const char *name)
{
    for (size_t i = 0; i < r->n_header; i++)
        if (!strcasecmp(r->header[i].name, name))
            return r->header[i].value;
    return NULL;
}

const char *http_body(const struct http_req *r, size_t *len)
{
    *len = r->body_len;
    return r->body ? r->body : "";
}

double http_age_s(const struct http_req *r)
{
    return (double)(clock_ns() - r->born_ns) * 1e-9;
}

int http_status(const struct http_req *r)
{
    return r->status;
}

void http_set_user(struct http_req *r, void *user)
{
    r->user = user;
}

void *http_user(const struct http_req *r)
{
    return r->user;
}

void http_release(struct http_req *r)
{
    exchange_unref(r);
}
