/* client: see client.h. libcurl's multi interface, so that Ctrl-C is seen within 50 ms while a server thinks. */
#include "cli/client.h"
#include "base/fs.h"
#include "base/mem.h"
#include "cli/cli.h"
#include <cjson/cJSON.h>
#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BODY_LIMIT = 64 << 20, HEALTH_MS = 1000 };

struct client {
    CURL *easy;
    CURLM *multi;
    struct curl_slist *headers;
    char *url;
    struct buf body; /* answer, or the unfinished line of a stream */
    client_event event;
    void *event_arg;
    bool stopped; /* the event function had enough */
};

int client_state_write(const char *dir, const char *url, const char *key, struct err *e)
{
    char *path = fs_join(dir, "server.json");
    struct buf b = {0};
    struct jsonw w;
    jsonw_init(&w, &b);
    jsonw_obj(&w);
    jsonw_kstr(&w, "url", url);
    jsonw_kint(&w, "pid", getpid());
    jsonw_kstr(&w, "key", key);
    jsonw_end_obj(&w);
    int r;
    if (!path || b.failed) {
        r = err_set(e, ERR_NOMEM, "out of memory");
    } else {
        mode_t old = umask(077); /* it holds the key */
        r = fs_write_atomic(path, b.data, b.len, e);
        umask(old);
    }
    buf_done(&b);
    mem_free(path);
    return r;
}

/* url and key as copies (mem_free); key may come back NULL. */
static int state_read(const char *dir, char **url, char **key, long *pid, struct err *e)
{
    char *own = NULL, *path = NULL, *text = NULL;
    cJSON *j = NULL;
    size_t n;
    *url = *key = NULL;
    int r = 0;
    if (!dir && (r = fs_data_dir(&own, e)) != 0)
        return r;
    path = fs_join(dir ? dir : own, "server.json");
    if (!path)
        r = err_set(e, ERR_NOMEM, "out of memory");
    else
        r = fs_read_all(path, 64 << 10, &text, &n, e);
    if (!r) {
        j = cJSON_Parse(text);
        const cJSON *u = cJSON_GetObjectItemCaseSensitive(j, "url"), *p = cJSON_GetObjectItemCaseSensitive(j, "pid"),
                    *k = cJSON_GetObjectItemCaseSensitive(j, "key");
        if (!cJSON_IsString(u) || !cJSON_IsNumber(p) || p->valuedouble < 1 || p->valuedouble > 2e9) {
            r = err_set(e, ERR_NOTFOUND, "%s is damaged; start the server again: hearth up", path);
        } else {
            *pid = (long)p->valuedouble;
            *url = mem_strdup(u->valuestring);
            *key = cJSON_IsString(k) ? mem_strdup(k->valuestring) : NULL;
            if (!*url)
                r = err_set(e, ERR_NOMEM, "out of memory");
        }
    }
    cJSON_Delete(j);
    mem_free(text);
    mem_free(path);
    mem_free(own);
    return r;
}

void client_state_remove(const char *dir)
{
    char *url, *key;
    long pid = 0;
    if (state_read(dir, &url, &key, &pid, NULL) == 0 && pid == (long)getpid()) {
        char *path = fs_join(dir, "server.json");
        if (path)
            unlink(path);
        mem_free(path);
    }
    mem_free(url);
    mem_free(key);
}

static int deliver(struct client *c)
{
    size_t from = 0;
    char *nl;
    while (!c->stopped && (nl = memchr(c->body.data + from, '\n', c->body.len - from)) != NULL) {
        char *line = c->body.data + from;
        size_t n = (size_t)(nl - line);
        from += n + 1;
        if (n && line[n - 1] == '\r')
            n--;
        line[n] = 0;
        if (n > 5 && memcmp(line, "data:", 5) == 0) {
            char *data = line + 5 + (line[5] == ' ');
            c->stopped = c->event(c->event_arg, data, (size_t)(line + n - data)) != 0;
        }
    }
    memmove(c->body.data, c->body.data + from, c->body.len - from);
    c->body.len -= from;
    return c->stopped;
}

static size_t on_bytes(char *p, size_t one, size_t n, void *arg)
{
    struct client *c = arg;
    (void)one;
    if (c->stopped || c->body.len + n > BODY_LIMIT)
        return 0;
    buf_add(&c->body, p, n);
    long status = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    if (c->event && status == 200 && !c->body.failed && deliver(c))
        return 0;
    return c->body.failed ? 0 : n;
}

int client_new(const char *url, const char *key, struct client **out, struct err *e)
{
    struct client *c = mem_calloc(1, sizeof *c);
    if (!c)
        return err_set(e, ERR_NOMEM, "out of memory");
    curl_global_init(CURL_GLOBAL_DEFAULT);
    c->easy = curl_easy_init();
    c->multi = curl_multi_init();
    c->url = mem_strdup(url);
    c->headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (c->headers && key && *key) {
        char *h = mem_printf("Authorization: Bearer %s", key);
        struct curl_slist *more = h ? curl_slist_append(c->headers, h) : NULL;
        mem_free(h);
        if (!more)
            goto fail;
        c->headers = more;
    }
    if (!c->easy || !c->multi || !c->url || !c->headers)
        goto fail;
    curl_easy_setopt(c->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->easy, CURLOPT_PROXY, ""); /* the server is this machine's own */
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers);
    curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
    *out = c;
    return 0;
fail:
    client_free(c);
    return err_set(e, ERR_NOMEM, "out of memory");
}

void client_free(struct client *c)
{
    if (!c)
        return;
    if (c->multi)
        curl_multi_cleanup(c->multi);
    if (c->easy)
        curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->headers);
    buf_done(&c->body);
    mem_free(c->url);
    mem_free(c);
}

const char *client_url(const struct client *c)
{
    return c->url;
}

static int status_error(const struct client *c, long status, struct err *e)
{
    int code = status == 401 || status == 403                    ? ERR_DENIED
               : status == 404                                   ? ERR_NOTFOUND
               : status == 429 || status == 503 || status == 409 ? ERR_BUSY
               : status >= 500                                   ? ERR_IO
                                                                 : ERR_RANGE;
    cJSON *j = c->body.data ? cJSON_ParseWithLength(c->body.data, c->body.len) : NULL;
    const cJSON *err = cJSON_GetObjectItemCaseSensitive(j, "error");
    const cJSON *msg = cJSON_IsObject(err) ? cJSON_GetObjectItemCaseSensitive(err, "message") : err;
    if (cJSON_IsString(msg))
        err_set(e, code, "%s", msg->valuestring);
    else
        err_set(e, code, "the server at %s answered with status %ld; see its terminal", c->url, status);
    cJSON_Delete(j);
    return code;
}

/* Drives the transfer until it ends, Ctrl-C comes or the event function has had enough. */
static int transfer(struct client *c, struct err *e)
{
    int running = 1, r = 0;
    bool finished = false;
    CURLcode result = CURLE_OK;
    buf_reset(&c->body);
    c->stopped = false;
    if (curl_multi_add_handle(c->multi, c->easy) != CURLM_OK)
        return err_set(e, ERR_NOMEM, "out of memory");
    while (running && !r) {
        curl_multi_perform(c->multi, &running);
        CURLMsg *m;
        int left;
        while ((m = curl_multi_info_read(c->multi, &left)) != NULL) {
            if (m->msg == CURLMSG_DONE) {
                result = m->data.result;
                finished = true;
            }
        }
        if (cli_interrupted())
            r = err_set(e, ERR_CANCELLED, "interrupted");
        else if (running)
            curl_multi_poll(c->multi, NULL, 0, 50, NULL);
    }
    curl_multi_remove_handle(c->multi, c->easy);
    if (r || c->stopped)
        return r;
    if (finished && result != CURLE_OK)
        return err_set(e, ERR_NET, "the server at %s does not answer (%s); start it with: hearth up", c->url,
                       curl_easy_strerror(result));
    long status = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    return status == 200 ? 0 : status_error(c, status, e);
}

static int ask(struct client *c, const char *path, const char *json, struct err *e)
{
    char *url = mem_printf("%s%s", c->url, path);
    if (!url)
        return err_set(e, ERR_NOMEM, "out of memory");
    curl_easy_setopt(c->easy, CURLOPT_URL, url);
    mem_free(url); /* libcurl keeps its own copy */
    if (json) {
        curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(json));
        curl_easy_setopt(c->easy, CURLOPT_COPYPOSTFIELDS, json);
    } else {
        curl_easy_setopt(c->easy, CURLOPT_HTTPGET, 1L);
    }
    return transfer(c, e);
}

int client_get(struct client *c, const char *path, struct buf *body, struct err *e)
{
    c->event = NULL;
    int r = ask(c, path, NULL, e);
    if (!r && body)
        buf_add(body, c->body.data ? c->body.data : "", c->body.len);
    return r;
}

int client_post(struct client *c, const char *path, const char *json, struct buf *body, struct err *e)
{
    c->event = NULL;
    int r = ask(c, path, json, e);
    if (!r && body)
        buf_add(body, c->body.data ? c->body.data : "", c->body.len);
    return r;
}

int client_stream(struct client *c, const char *path, const char *json, client_event line, void *arg, struct err *e)
{
    c->event = line;
    c->event_arg = arg;
    int r = ask(c, path, json, e);
    c->event = NULL;
    return r;
}

int client_find(const char *dir, struct client **out, struct err *e)
{
    char *url, *key;
    long pid = 0;
    int r = state_read(dir, &url, &key, &pid, NULL);
    if (r || (kill((pid_t)pid, 0) && errno == ESRCH)) {
        r = err_set(e, ERR_NOTFOUND, "no server is running; start it with: hearth up");
    } else if ((r = client_new(url, key, out, e)) == 0) {
        curl_easy_setopt((*out)->easy, CURLOPT_TIMEOUT_MS, (long)HEALTH_MS);
        r = client_get(*out, "/health", NULL, e);
        curl_easy_setopt((*out)->easy, CURLOPT_TIMEOUT_MS, 0L);
        if (r) {
            client_free(*out);
            *out = NULL;
            if (r != ERR_CANCELLED)
                r = err_set(e, ERR_NOTFOUND,
                            "the server at %s (process %ld) does not answer; end it and start: hearth up", url, pid);
        }
    }
    mem_free(url);
    mem_free(key);
    return r;
}
