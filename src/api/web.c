/* web: the page's files, out of the binary. They are public even with a key: the page asks for it. */
#include "api/assets.h"
#include "api/routes.h"
#include <string.h>

static const char policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

enum route_result web_get(struct api *a, struct http_req *r)
{
    const struct api_asset *f = NULL;
    for (size_t i = 0; i < api_assets_n && !f; i++)
        if (!strcmp(api_assets[i].path, http_path(r)))
            f = &api_assets[i];
    const char *encodings = http_header(r, "Accept-Encoding"), *known = http_header(r, "If-None-Match");
    bool gz = encodings && strstr(encodings, "gzip") && f->gz_len < f->len;
    struct reply y = {
        .status = 200, .type = f->type, .body = gz ? f->gz : f->data, .len = gz ? f->gz_len : f->len, .fixed = true};
    reply_add(&y, "ETag", f->etag);
    reply_add(&y, "Cache-Control", "no-cache");
    reply_add(&y, "Vary", "Accept-Encoding");
    reply_add(&y, "Content-Security-Policy", policy);
    reply_add(&y, "Referrer-Policy", "no-referrer");
    if (known && strstr(known, f->etag)) {
        y.status = 304;
        y.len = 0;
    } else if (gz) {
        reply_add(&y, "Content-Encoding", "gzip");
    }
    reply_send(a, r, &y);
    return ROUTE_ANSWERED;
}
