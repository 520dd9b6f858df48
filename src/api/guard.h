/* guard: who may ask at all: Host (no DNS rebinding), Origin (no foreign page), the API key. */
#ifndef HEARTH_API_GUARD_H
#define HEARTH_API_GUARD_H
#include "api/reply.h"

/* Non-zero when the engine's queue is full: *p says so (429). */
int guard_full(struct api *a, struct problem *p);
int guard_retry_s(
    struct api *a); /* seconds after which a refused request may come again: the queue's length at its speed so far */
int guard_check(struct api *a, struct http_req *r, bool needs_key, struct problem *p); /* 0: may pass */
/* The request's Origin if it is one of the further origins that were allowed (such answers carry CORS headers), else NULL. */
const char *guard_foreign_origin(struct api *a, struct http_req *r);
bool guard_is_loopback(const char *host); /* NULL is */

#endif
