/* routes: the table of endpoints: one row per method and path, one handler each. */
#ifndef HEARTH_API_ROUTES_H
#define HEARTH_API_ROUTES_H
#include "api/state.h"

enum route_result { ROUTE_ANSWERED, ROUTE_KEPT }; /* kept: somebody else answers and releases the request */

struct route {
    const char *method, *path; /* a path that ends with a slash takes everything below it */
    const char *name;          /* for metrics and tests */
    enum route_result (*handler)(struct api *a, struct http_req *r);
    bool needs_key;
    bool queues;  /* ends in the engine's queue: refused at once, before the body is read, when that is full */
    bool at_once; /* runs on the epoll thread and may not block: answers that come even when all workers are busy */
};
const struct route *routes_at(size_t i); /* NULL past the end */
size_t routes_index(const struct route *t);
/* NULL: none; *allowed then lists the methods of the path (empty: no such path). HEAD is GET. */
const struct route *routes_find(const char *method, const char *path, char *allowed, size_t max);

enum route_result chat_post(struct api *a, struct http_req *r);
enum route_result completions_post(struct api *a, struct http_req *r);
enum route_result fit_post(struct api *a, struct http_req *r);
enum route_result status_health_get(struct api *a, struct http_req *r);
enum route_result models_load_post(struct api *a, struct http_req *r);
enum route_result metrics_get(struct api *a, struct http_req *r);
enum route_result models_get_one(struct api *a, struct http_req *r);
enum route_result models_get(struct api *a, struct http_req *r);
enum route_result routes_get(struct api *a, struct http_req *r);
enum route_result status_get(struct api *a, struct http_req *r);
enum route_result tokens_encode_post(struct api *a, struct http_req *r);
enum route_result tokens_decode_post(struct api *a, struct http_req *r);
enum route_result models_unload_post(struct api *a, struct http_req *r);
enum route_result web_get(struct api *a, struct http_req *r); /* the page's files: every GET that no row above takes */

#endif
