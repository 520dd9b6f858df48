/* assets.h: the page's files as tables of bytes inside the binary.
 *
 * Owns: the shape of the table that tools/embed-web writes into web_assets.c at build time (target web_embed_c of web/meson.build).
 * Not: serving them; that is api/web.c.
 *
 * How a server uses an entry:
 *   - `path` is the URL path, compared whole: "/" is the page itself, then "/css/app.css", "/js/main.js", ...
 *   - `type` goes into Content-Type as it is (charset included).
 *   - `etag` is quoted and weak, W/"...", one per file for both encodings: send it as ETag with `Cache-Control: no-cache` and
 *     `Vary: Accept-Encoding`; answer 304 without a body when If-None-Match holds it.
 *   - Accept-Encoding allows gzip: send `gz`, `gz_len` with `Content-Encoding: gzip`; else `data`, `len`. Both always exist, so
 *     nothing is compressed at run time.
 *   - The page needs no inline script or style and nothing from elsewhere. Send with it:
 *     Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';
 *       base-uri 'none'; form-action 'none'; frame-ancestors 'none'
 *     X-Content-Type-Options: nosniff, Referrer-Policy: no-referrer
 *   - The page's own files are public even when an API key is configured: the page asks for the key after the first 401.
 */
#ifndef HEARTH_API_ASSETS_H
#define HEARTH_API_ASSETS_H

#include <stddef.h>

struct api_asset {
    const char *path;          /* "/" or "/js/main.js" */
    const char *type;          /* Content-Type */
    const char *etag;          /* W/"<first 16 hex digits of the SHA-256 of data>" */
    const unsigned char *data; /* the file as it is */
    size_t len;
    const unsigned char *gz; /* the same, gzip level 9, without a time stamp */
    size_t gz_len;
};

extern const struct api_asset api_assets[];
extern const size_t api_assets_n;

#endif
