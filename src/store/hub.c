/* hub: "hf:owner/repo:file". The hub says size and SHA-256 of a large file in the headers of its redirect, so both are
 * known before a byte is loaded. HF_ENDPOINT names another hub, HF_TOKEN opens gated repositories. */
#include "base/mem.h"
#include "store/net.h"
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char HUB_URL[] = "https://huggingface.co";

/* Appends s, leaving only characters that mean nothing in an URL path; '/' stays. */
static void add_escaped(char *dst, size_t size, const char *s, size_t n)
{
    size_t at = strlen(dst);
    for (size_t i = 0; i < n && at + 4 < size; i++) {
        unsigned char c = (unsigned char)s[i];
        if (isalnum(c) || strchr("-._~/", c)) {
            dst[at++] = (char)c;
        } else {
            dst[at++] = '%';
            dst[at++] = "0123456789ABCDEF"[c >> 4];
            dst[at++] = "0123456789ABCDEF"[c & 15];
        }
    }
    dst[at] = 0;
}

static int hub_url(char url[2048], char origin[512], const char *spec, struct err *e)
{
    const char *repo = spec + 3, *colon = strchr(repo, ':'), *slash = strchr(repo, '/');
    const char *base = getenv("HF_ENDPOINT");
    base = base && *base ? base : HUB_URL;
    size_t n = strlen(base);
    while (n && base[n - 1] == '/')
        n--;
    bool named = colon && slash && slash > repo && slash + 1 < colon && colon[1] &&
                 !memchr(slash + 1, '/', (size_t)(colon - slash - 1));
    if (!named || strstr(spec, "..") || strlen(spec) > 400)
        return err_set(e, ERR_USAGE, "%s: wanted hf:owner/repo:file", spec);
    if (n >= 500 || (strncmp(base, "http://", 7) && strncmp(base, "https://", 8)))
        return err_set(e, ERR_USAGE, "HF_ENDPOINT is not an http(s) address");
    memcpy(origin, base, n);
    origin[n] = 0;
    strcpy(url, origin);
    strcat(url, "/");
    add_escaped(url, 2048, repo, (size_t)(colon - repo));
    strcat(url, "/resolve/main/");
    add_escaped(url, 2048, colon + 1, strlen(colon + 1));
    return 0;
}

/* A renamed repository answers with a redirect inside the hub, without the file's headers: follow those by hand, so that
 * the headers of the last answer before the storage behind it are the ones read. */
static int hub_ask(struct fetch *f, char url[2048], const char *origin, const char *token, struct net_reply *r,
                   struct err *e)
{
    for (int i = 0; i < 5; i++) {
        int rc = net_head(f, url, token, r, e);
        if (rc)
            return rc;
        bool inside = r->location[0] == '/' && r->location[1] != '/';
        if (r->status < 300 || r->status > 399 || r->linked_etag[0] || !inside ||
            strlen(origin) + strlen(r->location) >= 2048)
            return 0;
        strcpy(url, origin);
        strcat(url, r->location);
    }
    return err_set(e, ERR_NET, "the hub redirects in a circle");
}

static int hub_promise(struct fetch *f, const struct net_reply *r, struct err *e)
{
    char sha[DIGEST_HEX] = "";
    const char *q = r->linked_etag[0] == '"' ? r->linked_etag + 1 : r->linked_etag;
    if (strspn(q, "0123456789abcdef") == 64)
        memcpy(sha, q, 64);
    sha[64 * (sha[0] != 0)] = 0;
    if (sha[0] && f->want_sha[0] && strcmp(sha, f->want_sha))
        return err_set(e, ERR_CHECKSUM, "the hub's file has another SHA-256 (%.16s...) than the one wanted (%.16s...)",
                       sha, f->want_sha);
    if (sha[0])
        memcpy(f->want_sha, sha, sizeof sha);
    return r->linked_size ? fetch_expect(f, r->linked_size, 0, e) : 0;
}

int hub_fetch(struct fetch *f, const char *spec, struct err *e)
{
    char url[2048], origin[512];
    struct net_reply r = {0};
    const char *token = getenv("HF_TOKEN");
    int rc = hub_url(url, origin, spec, e);
    if (!rc)
        rc = hub_ask(f, url, origin, token, &r, e);
    if (rc)
        return rc;
    if (r.status == 401 || r.status == 403)
        return err_set(e, ERR_DENIED,
                       "the hub refuses access (HTTP %ld): no such repository, or a gated one that needs HF_TOKEN",
                       r.status);
    if (r.status == 404)
        return err_set(e, ERR_NOTFOUND, "the hub has no such file");
    if (r.status < 200 || r.status > 399)
        return err_set(e, ERR_NET, "the hub answers HTTP %ld", r.status);
    rc = hub_promise(f, &r, e);
    return rc ? rc : net_fetch(f, url, token, e);
}
