/* net: downloads over HTTP(S) with libcurl into the partial file; resumes by Range; gives up on stall, never on total time.
 *
 * A resumed range is appended only if the bytes can be trusted to continue the same file: either the whole file's SHA-256 is
 * promised, or the server's strong ETag is the one of the first attempt (If-Range); else the download starts over. */
#include "store/net.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include <curl/curl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum {
    NET_STALL_S = 30,
    NET_ANSWER_S = 8 /* to the first answer, when there are other sources */,
    NET_POLL_MS = 100,
    NET_RETRIES = 20
};

struct xfer {
    struct fetch *f;
    CURL *curl;
    struct curl_slist *headers;
    const char *url;
    struct net_reply reply;
    uint64_t asked; /* first byte asked for */
    bool judged;    /* the status and headers were looked at before the first byte was taken */
    bool retry;     /* the failure may be of the moment */
    int rc;
    struct err err;
    double moved_at; /* when a byte last came, and how many there were */
    uint64_t moved_have;
};

static pthread_once_t net_once = PTHREAD_ONCE_INIT;
static void net_init(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static bool header_is(const char *line, size_t n, const char *name, const char **value, size_t *value_n)
{
    size_t k = strlen(name);
    if (n <= k || line[k] != ':' || strncasecmp(line, name, k) != 0)
        return false;
    const char *v = line + k + 1, *end = line + n;
    while (v < end && (*v == ' ' || *v == '\t'))
        v++;
    while (end > v && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
        end--;
    *value = v;
    *value_n = (size_t)(end - v);
    return true;
}

static void copy_value(char *dst, size_t size, const char *v, size_t n)
{
    if (n >= size)
        n = 0; /* a value cut short is worse than none */
    memcpy(dst, v, n);
    dst[n] = 0;
}

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    struct net_reply *r = &((struct xfer *)arg)->reply;
    size_t n = size * count, vn = 0;
    const char *v = NULL;
    char number[64];
    if (n > 5 && strncmp(line, "HTTP/", 5) == 0)
        *r = (struct net_reply){0};
    else if (header_is(line, n, "ETag", &v, &vn))
        copy_value(r->etag, sizeof r->etag, v, vn);
    else if (header_is(line, n, "X-Linked-ETag", &v, &vn))
        copy_value(r->linked_etag, sizeof r->linked_etag, v, vn);
    else if (header_is(line, n, "Location", &v, &vn))
        copy_value(r->location, sizeof r->location, v, vn);
    else if (header_is(line, n, "X-Linked-Size", &v, &vn)) {
        copy_value(number, sizeof number, v, vn);
        r->linked_size = strtoull(number, NULL, 10);
    } else if (header_is(line, n, "Content-Length", &v, &vn)) {
        copy_value(number, sizeof number, v, vn);
        r->length = strtoull(number, NULL, 10);
        r->has_length = vn > 0;
    } else if (header_is(line, n, "Content-Range", &v, &vn) && vn > 6 && strncasecmp(v, "bytes ", 6) == 0) {
        copy_value(number, sizeof number, v + 6, vn - 6);
        r->range_start = strtoull(number, NULL, 10);
        r->has_range = number[0] != 0;
    }
    return n;
}

/* "URL\nETAG\n" beside the partial says which version of which file its bytes are from. */
static void etag_save(struct xfer *x)
{
    char *path = fetch_side(x->f, ".etag");
    bool strong = x->reply.etag[0] == '"';
    char *text = strong ? mem_printf("%s\n%s\n", x->url, x->reply.etag) : NULL;
    if (path && text)
        fs_write_atomic(path, text, strlen(text), NULL);
    else if (path)
        unlink(path);
    mem_free(text);
    mem_free(path);
}

static bool etag_load(struct xfer *x, char *etag, size_t size)
{
    char *path = fetch_side(x->f, ".etag"), *text = NULL;
    size_t n = strlen(x->url);
    bool found = false;
    if (path && !fs_read_all(path, 8192, &text, NULL, NULL) && strncmp(text, x->url, n) == 0 && text[n] == '\n') {
        char *v = text + n + 1, *end = strchr(v, '\n');
        found = end && end > v && (size_t)(end - v) < size;
        if (found)
            copy_value(etag, size, v, (size_t)(end - v));
    }
    mem_free(text);
    mem_free(path);
    return found;
}

/* The whole file comes from the start: what other sources left behind is void. */
static int start_over(struct xfer *x, struct err *e)
{
    char *parts = fetch_side(x->f, ".parts");
    if (parts)
        unlink(parts);
    mem_free(parts);
    x->asked = 0;
    return fetch_cut(x->f, 0, e);
}

/* Called once per response, before its first byte is taken (or at its end, when it has none). */
static int judge(struct xfer *x, struct err *e)
{
    const struct net_reply *r = &x->reply;
    struct fetch *f = x->f;
    int rc = 0;
    x->judged = true;
    curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &x->reply.status);
    if (r->status == 206) {
        if (!r->has_range || r->range_start != x->asked)
            return err_set(e, ERR_NET, "the server sent another range than the one asked for");
    } else if (r->status == 200) {
        rc = start_over(x, e);
    } else if (r->status == 401 || r->status == 403) {
        return err_set(e, ERR_DENIED, "the server refuses access (HTTP %ld); for a gated model set HF_TOKEN",
                       r->status);
    } else if (r->status == 404 || r->status == 410) {
        return err_set(e, ERR_NOTFOUND, "the server does not have it (HTTP %ld)", r->status);
    } else {
        return err_set(e, ERR_NET, "the server answers HTTP %ld", r->status);
    }
    if (!rc && r->has_length)
        rc = fetch_expect(f, x->asked + r->length, 0, e);
    if (!rc && x->asked == 0)
        etag_save(x);
    return rc;
}

static size_t on_body(char *p, size_t size, size_t count, void *arg)
{
    struct xfer *x = arg;
    size_t n = size * count;
    if (!x->judged)
        x->rc = judge(x, &x->err);
    if (!x->rc)
        x->rc = fetch_write(x->f, p, n, &x->err);
    return x->rc ? 0 : n;
}

static int xfer_open(struct xfer *x, const char *token, struct err *e)
{
    struct fetch *f = x->f;
    pthread_once(&net_once, net_init);
    x->curl = curl_easy_init();
    if (!x->curl)
        return err_set(e, ERR_NOMEM, "out of memory for a connection");
    CURL *c = x->curl;
    bool secure = strncasecmp(x->url, "https:", 6) == 0;
    curl_easy_setopt(c, CURLOPT_URL, x->url);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https");
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, 10L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, f->others_left ? 4000L : 15000L);
    curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L); /* a resolver that hangs must not hold us */
    curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 128L << 10);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "hearth/0.1");
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, x);
    if (!token || !*token)
        return 0;
    char *h = mem_printf("Authorization: Bearer %s", token); /* libcurl drops it when a redirect leaves the host */
    struct curl_slist *list = h ? curl_slist_append(x->headers, h) : NULL;
    mem_free(h);
    if (!list)
        return err_set(e, ERR_NOMEM, "out of memory for a connection");
    x->headers = list;
    return 0;
}

static void xfer_close(struct xfer *x)
{
    curl_easy_cleanup(x->curl);
    curl_slist_free_all(x->headers);
    x->curl = NULL;
    x->headers = NULL;
}

static bool is_passing(CURLcode c)
{
    return c == CURLE_PARTIAL_FILE || c == CURLE_RECV_ERROR || c == CURLE_SEND_ERROR || c == CURLE_GOT_NOTHING ||
           c == CURLE_OPERATION_TIMEDOUT || c == CURLE_HTTP2 || c == CURLE_HTTP2_STREAM;
}

/* No byte for too long? libcurl's own speed limit averages over seconds and sees a stall late. */
static int xfer_stalled(struct xfer *x, struct err *e)
{
    int limit = x->f->stall_s > 0 ? x->f->stall_s : NET_STALL_S;
    if (!x->judged && x->f->others_left && limit > NET_ANSWER_S)
        limit = NET_ANSWER_S;
    double now = clock_s();
    if (x->f->have != x->moved_have || x->moved_at <= 0) {
        x->moved_have = x->f->have;
        x->moved_at = now;
    }
    if (now - x->moved_at < limit)
        return 0;
    x->retry = x->judged;
    return err_set(e, ERR_NET, "no data for %d s", limit);
}

/* The event loop of one request: until it is done, stalls, or the caller wants out (seen within a poll). */
static int xfer_loop(struct xfer *x, CURLM *m, const char *stage, CURLcode *result, struct err *e)
{
    int running = 1, left = 0, rc = 0;
    while (running && !rc) {
        if (curl_multi_perform(m, &running) != CURLM_OK)
            rc = err_set(e, ERR_NET, "libcurl gave up");
        for (CURLMsg *msg; (msg = curl_multi_info_read(m, &left));)
            if (msg->msg == CURLMSG_DONE)
                *result = msg->data.result;
        if (!rc && running)
            rc = fetch_tick(x->f, x->judged ? "downloading" : stage, x->f->have, e);
        if (!rc && running)
            rc = xfer_stalled(x, e);
        if (!rc && running)
            curl_multi_poll(m, NULL, 0, NET_POLL_MS, NULL);
    }
    return rc;
}

static int xfer_run(struct xfer *x, const char *stage, struct err *e)
{
    CURLM *m = curl_multi_init();
    char text[CURL_ERROR_SIZE] = "";
    CURLcode result = CURLE_OK;
    if (!m)
        return err_set(e, ERR_NOMEM, "out of memory for a connection");
    curl_easy_setopt(x->curl, CURLOPT_ERRORBUFFER, text);
    curl_easy_setopt(x->curl, CURLOPT_HTTPHEADER, x->headers);
    curl_multi_add_handle(m, x->curl);
    int rc = xfer_loop(x, m, stage, &result, e);
    curl_multi_remove_handle(m, x->curl);
    curl_multi_cleanup(m);
    curl_easy_setopt(x->curl, CURLOPT_ERRORBUFFER, NULL);
    curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &x->reply.status);
    if (rc)
        return rc;
    if (x->rc) { /* our own refusal, not the network's */
        if (e)
            *e = x->err;
        return x->rc;
    }
    if (result == CURLE_OK)
        return 0;
    x->retry = is_passing(result);
    return err_set(e, ERR_NET, "%s", text[0] ? text : curl_easy_strerror(result));
}

int net_head(struct fetch *f, const char *url, const char *token, struct net_reply *out, struct err *e)
{
    struct xfer x = {.f = f, .url = url};
    int rc = xfer_open(&x, token, e);
    if (!rc) {
        curl_easy_setopt(x.curl, CURLOPT_NOBODY, 1L);
        rc = xfer_run(&x, "connecting", e);
    }
    *out = x.reply;
    xfer_close(&x);
    return rc;
}

/* Where to go on from, and on what condition. */
static int prepare_range(struct xfer *x, struct err *e)
{
    struct fetch *f = x->f;
    char etag[160], range[32];
    bool same = etag_load(x, etag, sizeof etag);
    if (f->have && !f->want_sha[0] && !same) {
        int rc = fetch_cut(f, 0, e);
        if (rc)
            return rc;
    }
    x->asked = f->have;
    if (!x->asked)
        return 0;
    snprintf(range, sizeof range, "%" PRIu64 "-", x->asked);
    curl_easy_setopt(x->curl, CURLOPT_RANGE, range); /* libcurl copies it */
    if (!same)
        return 0;
    char *h = mem_printf("If-Range: %s", etag);
    struct curl_slist *list = h ? curl_slist_append(x->headers, h) : NULL;
    mem_free(h);
    if (!list)
        return err_set(e, ERR_NOMEM, "out of memory for a connection");
    x->headers = list;
    return 0;
}

static int fetch_once(struct xfer *x, const char *token, struct err *e)
{
    struct fetch *f = x->f;
    int rc = xfer_open(x, token, e);
    if (!rc)
        rc = prepare_range(x, e);
    if (!rc) {
        curl_easy_setopt(x->curl, CURLOPT_FOLLOWLOCATION, 1L);
        curl_easy_setopt(x->curl, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(x->curl, CURLOPT_WRITEDATA, x);
        rc = xfer_run(x, "connecting", e);
    }
    if (x->reply.status == 416 &&
        x->asked) { /* nothing lies past what is here: it is all, or it is from another file */
        rc = f->total == f->have ? 0 : start_over(x, e);
        x->retry = !rc && f->have == 0;
        if (x->retry)
            rc = err_set(e, ERR_NET, "the server does not have that range");
    } else if (!rc && !x->judged) {
        rc = judge(x, e); /* an empty body */
    }
    if (!rc && f->total && f->have < f->total && !x->retry) {
        x->retry = true;
        rc = err_set(e, ERR_NET, "the connection ended after %" PRIu64 " of %" PRIu64 " bytes", f->have, f->total);
    }
    xfer_close(x);
    return rc;
}

static int net_pause(struct fetch *f, double seconds, struct err *e)
{
    int rc = 0;
    for (double end = clock_s() + seconds; !rc && clock_s() < end;) {
        rc = fetch_tick(f, "connecting", f->have, e);
        usleep(50000);
    }
    return rc;
}

int net_fetch(struct fetch *f, const char *url, const char *token, struct err *e)
{
    int rc = 0, idle = 0;
    for (int i = 0; i < NET_RETRIES; i++) {
        if (f->total && f->have == f->total)
            return 0;
        uint64_t before = f->have;
        struct xfer x = {.f = f, .url = url};
        rc = fetch_once(&x, token, e);
        if (!rc || !x.retry)
            break;
        idle = f->have > before ? 0 : idle + 1; /* tries in a row that brought nothing */
        if (idle >= 2)
            break;
        int stop = net_pause(f, 0.3, e);
        if (stop)
            return stop;
    }
    return rc;
}
