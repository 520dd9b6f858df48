/* httpd: a small HTTP server inside the test, one thread, one connection at a time, with faults on demand. */
#ifndef HEARTH_TESTS_STORE_HTTPD_H
#define HEARTH_TESTS_STORE_HTTPD_H
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

struct httpd {
    int fd, port;
    pthread_t thread;
    pthread_mutex_t lock; /* held while it answers: the fields below are set and read under it */
    /* what it serves, and how badly; set between requests */
    const char *body;
    size_t len;
    const char *etag;       /* NULL: none */
    int status;             /* 0: serve the body */
    bool no_range;          /* ignores Range */
    size_t cut_after;       /* closes after so many body bytes of each response; 0: never */
    size_t stall_at;        /* stops sending at this byte of the file, keeps the connection; 0: never */
    useconds_t pause;       /* between chunks of 16 KiB */
    const char *linked_sha; /* hub behaviour: /x/resolve/... redirects to /cdn with these headers */
    size_t linked_size;
    /* what it saw */
    atomic_int requests, gets;
    char range[64], if_range[64], auth[128], path[256]; /* of the last GET; auth of the last HEAD */
    atomic_bool quit;
};

static inline bool httpd_send(int c, const void *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t k = send(c, (const char *)p + at, n - at, MSG_NOSIGNAL);
        if (k <= 0)
            return false;
        at += (size_t)k;
    }
    return true;
}

static inline void httpd_header(const char *request, const char *name, char *out, size_t size)
{
    size_t n = strlen(name);
    out[0] = 0;
    for (const char *line = strstr(request, "\r\n"); line; line = strstr(line + 2, "\r\n"))
        if (!strncasecmp(line + 2, name, n) && line[2 + n] == ':')
            snprintf(out, size, "%.*s", (int)strcspn(line + n + 4, "\r"), line + n + 4);
}

static inline void httpd_body(struct httpd *h, int c, size_t from)
{
    size_t sent = 0, all = h->len - from;
    size_t step = 16 << 10;
    while (sent < all && !h->quit) {
        size_t n = all - sent < step ? all - sent : step;
        if (h->cut_after && sent + n > h->cut_after)
            n = h->cut_after - sent;
        if (h->stall_at && from + sent >= h->stall_at) {
            char x;
            while (!h->quit && recv(c, &x, 1, MSG_DONTWAIT) != 0) /* until the client leaves */
                usleep(20000);
            return;
        }
        if (n == 0 || !httpd_send(c, h->body + from + sent, n))
            return;
        sent += n;
        if (h->pause)
            usleep(h->pause);
    }
}

static inline void httpd_answer(struct httpd *h, int c, const char *request)
{
    char head[1024], method[8] = "", path[256] = "";
    size_t from = 0;
    sscanf(request, "%7s %255s", method, path);
    bool get = !strcmp(method, "GET");
    h->requests++;
    if (get) {
        h->gets++;
        httpd_header(request, "Range", h->range, sizeof h->range);
        httpd_header(request, "If-Range", h->if_range, sizeof h->if_range);
        snprintf(h->path, sizeof h->path, "%s", path);
    } else {
        httpd_header(request, "Authorization", h->auth, sizeof h->auth);
    }
    if (h->status) {
        snprintf(head, sizeof head, "HTTP/1.1 %d No\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", h->status);
        httpd_send(c, head, strlen(head));
        if (get)
            httpd_send(c, "sorry", 5);
        return;
    }
    if (h->linked_sha && strstr(path, "/resolve/")) {
        snprintf(
            head, sizeof head,
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/cdn\r\nX-Linked-ETag: \"%s\"\r\nX-Linked-Size: %zu\r\n"
            "Content-Length: 0\r\nConnection: close\r\n\r\n",
            h->port, h->linked_sha, h->linked_size);
        httpd_send(c, head, strlen(head));
        return;
    }
    bool same = !h->if_range[0] || (h->etag && !strcmp(h->if_range, h->etag));
    if (get && h->range[0] && !h->no_range && same)
        from = strtoul(h->range + 6, NULL, 10);
    int n = 0;
    if (from > h->len || (from && from == h->len)) {
        snprintf(head, sizeof head,
                 "HTTP/1.1 416 Range\r\nContent-Range: bytes */%zu\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                 h->len);
        httpd_send(c, head, strlen(head));
        return;
    }
    n = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n",
                 from ? "206 Partial Content" : "200 OK", h->len - from);
    if (from)
        n += snprintf(head + n, sizeof head - (size_t)n, "Content-Range: bytes %zu-%zu/%zu\r\n", from, h->len - 1,
                      h->len);
    if (h->etag)
        n += snprintf(head + n, sizeof head - (size_t)n, "ETag: %s\r\n", h->etag);
    snprintf(head + n, sizeof head - (size_t)n, "\r\n");
    if (httpd_send(c, head, strlen(head)) && get)
        httpd_body(h, c, from);
}

static inline void *httpd_loop(void *arg)
{
    struct httpd *h = arg;
    while (!h->quit) {
        int c = accept(h->fd, NULL, NULL);
        if (c < 0 || h->quit) {
            if (c >= 0)
                close(c);
            break;
        }
        char request[4096] = "";
        size_t n = 0;
        while (n + 1 < sizeof request && !strstr(request, "\r\n\r\n")) {
            ssize_t k = recv(c, request + n, sizeof request - 1 - n, 0);
            if (k <= 0)
                break;
            n += (size_t)k;
            request[n] = 0;
        }
        pthread_mutex_lock(&h->lock);
        if (n)
            httpd_answer(h, c, request);
        pthread_mutex_unlock(&h->lock);
        shutdown(c, SHUT_WR); /* what was sent must arrive before the close */
        close(c);
    }
    return NULL;
}

static inline void httpd_start(struct httpd *h)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    h->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (h->fd < 0 || bind(h->fd, (struct sockaddr *)&a, sizeof a) || listen(h->fd, 16) ||
        getsockname(h->fd, (struct sockaddr *)&a, &len))
        abort();
    h->port = ntohs(a.sin_port);
    pthread_mutex_init(&h->lock, NULL);
    if (pthread_create(&h->thread, NULL, httpd_loop, h))
        abort();
}

/* Waits for the answer in progress; what it saw may then be read until the next request. */
static inline void httpd_settle(struct httpd *h)
{
    pthread_mutex_lock(&h->lock);
    pthread_mutex_unlock(&h->lock);
}

static inline void httpd_stop(struct httpd *h)
{
    h->quit = true;
    shutdown(h->fd, SHUT_RDWR);
    pthread_join(h->thread, NULL);
    pthread_mutex_destroy(&h->lock);
    close(h->fd);
}

#endif
