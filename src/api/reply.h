/* reply: how answers and refusals are written: OpenAI's error shape, the status for each error code, the headers on all. */
#ifndef HEARTH_API_REPLY_H
#define HEARTH_API_REPLY_H
#include "base/buf.h"
#include "http/http.h"

struct api;
struct problem { /* why a request is refused, before it is told to anybody */
    int status;
    const char *type, *code; /* OpenAI's; code may be NULL */
    char param[64];          /* "" for none */
    char msg[700];
};
/* Fills *p and returns -1. */
int reply_problem_set(struct problem *p, int status, const char *code, const char *param, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
int reply_problem_from(struct problem *p, const struct err *e, const char *param);

enum { REPLY_EXTRA = 8 };
struct reply {
    int status;
    const char *type;
    const void *body;
    size_t len;
    bool fixed; /* body lives as long as the program */
    struct http_pair extra[REPLY_EXTRA];
    size_t n_extra;
};
void reply_add(struct reply *y, const char *name, const char *value);
void reply_send(struct api *a, struct http_req *r, struct reply *y);
void reply_json(struct api *a, struct http_req *r, int status,
                struct buf *b); /* frees b's memory; a failed buf is a 503 */
void reply_problem(struct api *a, struct http_req *r, const struct problem *p);
void reply_problem_json(const struct problem *p, struct buf *b); /* {"error":{...}} */
int reply_stream(struct api *a, struct http_req *r);             /* begins a stream of server-sent events */

#endif
