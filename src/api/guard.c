/* guard: see guard.h.
 *
 * A page on another site can make a browser send requests to 127.0.0.1, and with a name that it rebinds to 127.0.0.1 even read
 * the answers. Browsers say in Origin where the page came from and in Host which name was typed: neither can be forged by
 * a page. On a wildcard address any Host passes, since any name may lead there; a key is compulsory then. */
#include "api/guard.h"
#include "api/state.h"
#include "engine/engine.h"
#include <string.h>
#include <strings.h>

/* Splits "name:port", "[::1]:port" or "name": the name without brackets. */
static size_t host_name(const char *host, const char **name)
{
    if (host[0] == '[') {
        const char *end = strchr(host, ']');
        *name = host + 1;
        if (!end || (end[1] != 0 && end[1] != ':'))
            return 0;
        return (size_t)(end - host - 1);
    }
    *name = host;
    return strcspn(host, ":");
}

static bool is_name(const char *name, size_t n, const char *want)
{
    return strlen(want) == n && strncasecmp(name, want, n) == 0;
}

static bool loopback_name(const char *name, size_t n)
{
    return is_name(name, n, "localhost") || is_name(name, n, "127.0.0.1") || is_name(name, n, "::1");
}

bool guard_is_loopback(const char *host)
{
    return !host || loopback_name(host, strlen(host));
}

static bool host_allowed(const struct api *a, const char *host)
{
    const char *name;
    size_t n = host ? host_name(host, &name) : 0;
    if (n == 0)
        return false;
    if (loopback_name(name, n))
        return true;
    return a->host && (is_name(name, n, a->host) || !strcmp(a->host, "0.0.0.0") || !strcmp(a->host, "::"));
}

const char *guard_foreign_origin(struct api *a, struct http_req *r)
{
    const char *origin = http_header(r, "Origin");
    for (size_t i = 0; origin && i < a->n_origins; i++)
        if (!strcasecmp(origin, a->origins[i]))
            return a->origins[i];
    return NULL;
}

static bool origin_allowed(struct api *a, struct http_req *r)
{
    const char *origin = http_header(r, "Origin"), *host = http_header(r, "Host");
    if (!origin || guard_foreign_origin(a, r))
        return true;
    const char *rest = !strncasecmp(origin, "http://", 7)    ? origin + 7
                       : !strncasecmp(origin, "https://", 8) ? origin + 8
                                                             : NULL;
    return rest && host && !strcasecmp(rest, host); /* same origin: what Host says, and Host was checked */
}

/* Takes the same time wherever the strings differ. */
static bool same_secret(const char *got, const char *want)
{
    size_t n = strlen(got), m = strlen(want);
    unsigned char diff = n != m;
    for (size_t i = 0; i < n; i++)
        diff |= (unsigned char)(got[i] ^ want[m ? i % m : 0]);
    return diff == 0;
}

int guard_check(struct api *a, struct http_req *r, bool needs_key, struct problem *p)
{
    const char *host = http_header(r, "Host"), *auth = http_header(r, "Authorization");
    if (!host_allowed(a, host))
        return reply_problem_set(p, 403, "host_not_allowed", NULL,
                                 "the Host header \"%.100s\" is not this server's: use %s", host ? host : "",
                                 http_url(a->http));
    if (!origin_allowed(a, r))
        return reply_problem_set(p, 403, "origin_not_allowed", NULL,
                                 "pages of %.200s may not call this server; start it with --allow-origin to let them",
                                 http_header(r, "Origin"));
    if (!needs_key || !a->key)
        return 0;
    if (!auth)
        return reply_problem_set(p, 401, "missing_api_key", NULL,
                                 "an API key is needed: send it as Authorization: Bearer KEY");
    if (strncasecmp(auth, "Bearer ", 7) != 0 || !same_secret(auth + 7, a->key))
        return reply_problem_set(p, 401, "invalid_api_key", NULL, "the API key is not right");
    return 0;
}

int guard_full(struct api *a, struct problem *p)
{
    struct engine_stats s;
    engine_stats(hearth_engine(a->h), &s);
    if (!s.queue_full)
        return 0;
    atomic_fetch_add(&a->meter.refused, 1);
    return reply_problem_set(p, 429, "queue_full", NULL,
                             "%d requests with prompts of %lld tokens are waiting, the queue holds no more",
                             s.n_waiting, (long long)s.waiting_tokens);
}

int guard_retry_s(struct api *a)
{
    enum { MOST_S = 60 };
    struct engine_stats s;
    engine_stats(hearth_engine(a->h), &s);
    double done = (double)s.requests_total - s.n_waiting - s.n_running;
    double wait = done > 0 ? s.busy_s_total / done * s.n_waiting : 1;
    return wait < 1 ? 1 : wait > MOST_S ? MOST_S : (int)(wait + 0.5);
}
