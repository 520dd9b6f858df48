/* routes: the table, and how a path finds its row. */
#include "api/routes.h"
#include "api/assets.h"
#include <stdio.h>
#include <string.h>

static const struct route table[] = {
    {"GET", "/health", "health", status_health_get, false, false, true},
    {"GET", "/metrics", "metrics", metrics_get, true, false, false},
    {"GET", "/v1/models", "models", models_get, true, false, false},
    {"GET", "/v1/models/", "model", models_get_one, true, false, false},
    {"POST", "/v1/chat/completions", "chat", chat_post, true, true, false},
    {"POST", "/v1/completions", "completions", completions_post, true, true, false},
    {"POST", "/tokenize", "tokenize", tokens_encode_post, true, false, false},
    {"POST", "/detokenize", "detokenize", tokens_decode_post, true, false, false},
    {"GET", "/api/status", "status", status_get, true, false, false},
    {"GET", "/api/routes", "routes", routes_get, true, false, false},
    {"POST", "/api/fit", "fit", fit_post, true, false, false},
    {"POST", "/api/load", "load", models_load_post, true, false, false},
    {"POST", "/api/unload", "unload", models_unload_post, true, false, false},
    {"GET", "/", "web", web_get, false, false, true}, /* and every other path of the page; last */
};
#define N_ROUTES (sizeof table / sizeof *table)
_Static_assert(N_ROUTES <= (size_t)METER_ROUTES, "the meter has a place for every route");

const struct route *routes_at(size_t i)
{
    return i < N_ROUTES ? &table[i] : NULL;
}

size_t routes_index(const struct route *t)
{
    return (size_t)(t - table);
}

static bool is_asset(const char *path)
{
    for (size_t i = 0; i < api_assets_n; i++)
        if (!strcmp(api_assets[i].path, path))
            return true;
    return false;
}

static bool matches(const struct route *t, const char *path)
{
    size_t n = strlen(t->path);
    if (t->handler == web_get)
        return is_asset(path);
    if (t->path[n - 1] == '/')
        return !strncmp(t->path, path, n) && path[n];
    return !strcmp(t->path, path);
}

const struct route *routes_find(const char *method, const char *path, char *allowed, size_t max)
{
    if (!strcmp(method, "HEAD"))
        method = "GET";
    allowed[0] = 0;
    for (size_t i = 0; i < N_ROUTES; i++) {
        if (!matches(&table[i], path))
            continue;
        if (!strcmp(table[i].method, method))
            return &table[i];
        size_t n = strlen(allowed);
        snprintf(allowed + n, max - n, "%s%s%s", n ? ", " : "", table[i].method,
                 strcmp(table[i].method, "GET") ? "" : ", HEAD");
    }
    return NULL;
}

enum route_result routes_get(struct api *a, struct http_req *r)
{
    struct buf b = {0};
    struct jsonw w;
    jsonw_init(&w, &b);
    jsonw_arr(&w);
    for (size_t i = 0; i < N_ROUTES; i++) {
        jsonw_obj(&w);
        jsonw_kstr(&w, "method", table[i].method);
        jsonw_kstr(&w, "path", table[i].path);
        jsonw_kstr(&w, "name", table[i].name);
        jsonw_kbool(&w, "needs_key", table[i].needs_key);
        jsonw_end_obj(&w);
    }
    jsonw_end_arr(&w);
    reply_json(a, r, 200, &b);
    return ROUTE_ANSWERED;
}
