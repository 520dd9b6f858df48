/* stream: an answer that grows while it is sent. A bounded buffer between any writer and the epoll thread that reads it; when it is
 * empty the connection is suspended, and the next write resumes it. */
#include "base/clock.h"
#include "base/mem.h"
#include "http/server.h"
#include <string.h>

/* Epoll thread: up to max bytes for the client. */
static ssize_t stream_read(void *arg, uint64_t pos, char *to, size_t max)
{
    (void)pos;
    struct http_req *r = arg;
    ssize_t got = 0;
    pthread_mutex_lock(&r->mu);
    size_t have = r->out_len - r->out_pos;
    if (r->gone) {
        got = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (have > 0) {
        size_t n = have < max ? have : max;
        memcpy(to, r->out + r->out_pos, n);
        r->out_pos += n;
        if (r->out_pos == r->out_len)
            r->out_pos = r->out_len = 0;
        r->take_ns = clock_ns();
        got = (ssize_t)n;
        atomic_fetch_add(&r->s->bytes_out, n);
        if (r->want_room && have - n <= r->s->o.stream_max / 2) {
            r->want_room = false;
            if (r->on_room)
                r->on_room(r->watch_arg);
        }
    } else if (r->ended) {
        got = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        MHD_suspend_connection(r->conn);
        r->parked = true;
    }
    pthread_mutex_unlock(&r->mu);
    return got;
}

static void stream_done(void *arg)
{
    exchange_unref(arg);
}

static struct MHD_Response *stream_response(struct http_req *r, const struct http_head *h)
{
    struct MHD_Response *p = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, stream_read, r, stream_done);
    if (!p)
        return NULL;
    atomic_fetch_add(&r->refs, 1); /* stream_done gives it back */
    bool ok = !h->type || MHD_add_response_header(p, "Content-Type", h->type) == MHD_YES;
    for (size_t i = 0; ok && i < h->n_extra; i++)
        ok = MHD_add_response_header(p, h->extra[i].name, h->extra[i].value) == MHD_YES;
    if (ok)
        return p;
    MHD_destroy_response(p);
    return NULL;
}

int http_stream_begin(struct http_req *r, const struct http_head *h)
{
    pthread_mutex_lock(&r->mu);
    int rc = r->status ? ERR_USAGE : exchange_reserve(r, r->s->o.stream_max) ? ERR_NOMEM : 0;
    if (!rc && !r->gone && r->conn) {
        r->resp = stream_response(r, h);
        rc = r->resp ? 0 : ERR_NOMEM;
    }
    if (!rc) {
        r->status = h->status;
        r->stream = true;
        r->take_ns = clock_ns();
        exchange_resume(r);
    }
    pthread_mutex_unlock(&r->mu);
    return rc;
}

static int stream_append(struct http_req *r, const void *data, size_t len)
{
    if (r->out_len + len > r->out_cap && r->out_pos) {
        memmove(r->out, r->out + r->out_pos, r->out_len - r->out_pos);
        r->out_len -= r->out_pos;
        r->out_pos = 0;
    }
    if (r->out_len + len > r->out_cap) {
        size_t cap = r->out_cap ? r->out_cap * 2 : 2048;
        while (cap < r->out_len + len)
            cap *= 2;
        char *p = mem_realloc(r->out, cap);
        if (!p)
            return ERR_NOMEM;
        r->out = p;
        r->out_cap = cap;
    }
    memcpy(r->out + r->out_len, data, len);
    r->out_len += len;
    return 0;
}

int http_stream_write(struct http_req *r, const void *data, size_t len)
{
    int rc = 0;
    pthread_mutex_lock(&r->mu);
    if (r->gone || !r->conn || !r->stream || r->ended) {
        rc = ERR_CANCELLED;
    } else if (len > 0) {
        if (r->out_len == r->out_pos)
            r->take_ns = clock_ns();
        rc = stream_append(r, data, len);
        exchange_resume(r);
    }
    pthread_mutex_unlock(&r->mu);
    return rc;
}

size_t http_stream_room(struct http_req *r)
{
    pthread_mutex_lock(&r->mu);
    size_t used = r->out_len - r->out_pos, max = r->s->o.stream_max;
    size_t room = used < max ? max - used : 0;
    r->want_room = room == 0;
    pthread_mutex_unlock(&r->mu);
    return room;
}

void http_stream_end(struct http_req *r)
{
    pthread_mutex_lock(&r->mu);
    r->ended = true;
    exchange_resume(r);
    pthread_mutex_unlock(&r->mu);
}

bool stream_stalled(struct http_req *r, uint64_t now_ns)
{
    pthread_mutex_lock(&r->mu);
    bool stalled = r->stream && !r->gone && r->conn && r->out_len > r->out_pos && now_ns > r->take_ns &&
                   now_ns - r->take_ns > (uint64_t)r->s->o.stall_ms * 1000000;
    pthread_mutex_unlock(&r->mu);
    return stalled;
}
