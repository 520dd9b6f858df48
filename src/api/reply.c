/* reply: see reply.h. */
#include "api/reply.h"
#include "api/guard.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *type_of(int status)
{
    switch (status) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 404:
        return "not_found_error";
    case 429:
        return "rate_limit_error";
    default:
        return status >= 500 ? "server_error" : "invalid_request_error";
    }
}

int reply_problem_set(struct problem *p, int status, const char *code, const char *param, const char *fmt, ...)
{
    va_list ap;
    *p = (struct problem){.status = status, .type = type_of(status), .code = code};
    if (param)
        snprintf(p->param, sizeof p->param, "%s", param);
    va_start(ap, fmt);
    vsnprintf(p->msg, sizeof p->msg, fmt, ap);
    va_end(ap);
    return -1;
}

int reply_problem_from(struct problem *p, const struct err *e, const char *param)
{
    static const struct row {
        int err, status;
        const char *code;
    } rows[] = {
        {ERR_NOMEM, 503, "insufficient_memory"},
        {ERR_FORMAT, 500, "bad_model_file"},
        {ERR_RANGE, 400, "invalid_value"},
        {ERR_USAGE, 400, "invalid_value"},
        {ERR_UNSUPPORTED, 400, "unsupported"},
        {ERR_NOTFOUND, 404, "model_not_found"},
        {ERR_LIMIT, 400, "context_length_exceeded"},
        {ERR_BUSY, 429, "queue_full"},
        {ERR_CANCELLED, 503, "cancelled"},
        {ERR_DENIED, 403, "denied"},
        {ERR_TIMEOUT, 504, "timeout"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].err == e->code)
            return reply_problem_set(p, rows[i].status, rows[i].code, param, "%s", e->msg);
    return reply_problem_set(p, 500, "internal_error", param, "%s", e->msg);
}

void reply_problem_json(const struct problem *p, struct buf *b)
{
    struct jsonw w;
    jsonw_init(&w, b);
    jsonw_obj(&w);
    jsonw_key(&w, "error");
    jsonw_obj(&w);
    jsonw_kstr(&w, "message", p->msg);
    jsonw_kstr(&w, "type", p->type);
    jsonw_kstr(&w, "param", p->param[0] ? p->param : NULL);
    jsonw_kstr(&w, "code", p->code);
    jsonw_end_obj(&w);
    jsonw_end_obj(&w);
}

void reply_add(struct reply *y, const char *name, const char *value)
{
    if (y->n_extra < REPLY_EXTRA)
        y->extra[y->n_extra++] = (struct http_pair){name, value};
}

static struct http_head head_of(struct api *a, struct http_req *r, struct reply *y)
{
    reply_add(y, "X-Content-Type-Options", "nosniff");
    const char *origin = guard_foreign_origin(a, r);
    if (origin) {
        reply_add(y, "Access-Control-Allow-Origin", origin);
        reply_add(y, "Vary", "Origin");
    }
    return (struct http_head){.status = y->status, .type = y->type, .extra = y->extra, .n_extra = y->n_extra};
}

void reply_send(struct api *a, struct http_req *r, struct reply *y)
{
    struct http_head h = head_of(a, r, y);
    http_reply(r, &h, y->body, y->len, y->fixed);
}

void reply_json(struct api *a, struct http_req *r, int status, struct buf *b)
{
    static const char no_memory[] =
        "{\"error\":{\"message\":\"no memory for the answer\",\"type\":\"server_error\",\"param\":null,"
        "\"code\":\"insufficient_memory\"}}";
    struct reply y = {.status = status, .type = "application/json", .body = b->data, .len = b->len};
    if (b->failed)
        y = (struct reply){
            .status = 503, .type = "application/json", .body = no_memory, .len = sizeof no_memory - 1, .fixed = true};
    reply_add(&y, "Cache-Control", "no-store");
    reply_send(a, r, &y);
    buf_done(b);
}

void reply_problem(struct api *a, struct http_req *r, const struct problem *p)
{
    struct buf b = {0};
    reply_problem_json(p, &b);
    struct reply y = {.status = p->status, .type = "application/json", .body = b.data, .len = b.len};
    reply_add(&y, "Cache-Control", "no-store");
    if (p->status == 401)
        reply_add(&y, "WWW-Authenticate", "Bearer");
    char retry[16];
    snprintf(retry, sizeof retry, "%d", p->status == 429 ? guard_retry_s(a) : 5);
    if (p->status == 429 || p->status == 503)
        reply_add(&y, "Retry-After", retry);
    reply_send(a, r, &y);
    buf_done(&b);
}

int reply_stream(struct api *a, struct http_req *r)
{
    struct reply y = {.status = 200, .type = "text/event-stream"};
    reply_add(&y, "Cache-Control", "no-cache");
    reply_add(&y, "X-Accel-Buffering", "no"); /* a proxy in between must not collect tokens */
    struct http_head h = head_of(a, r, &y);
    return http_stream_begin(r, &h);
}
