/* test_http: the http room over real sockets: whole answers, bodies and their limits, streams, back-pressure, clients that leave in
 * each phase, clients that stall, stop. The test plays both the application and the clients. */
#include "base/clock.h"
#include "base/mem.h"
#include "http/http.h"
#include "../check.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct http_server *server;
static atomic_int n_gone, n_room, n_done;
static atomic_long n_reserved;
static long reserve_limit;
static struct http_req *_Atomic held; /* the last request of /hold or /stream, not answered by its handler */

static void nap(int ms)
{
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static bool until(atomic_int *v, int want)
{
    for (int i = 0; i < 500 && atomic_load(v) < want; i++)
        nap(10);
    return atomic_load(v) >= want;
}

static struct http_req *wait_held(void)
{
    struct http_req *r = NULL;
    for (int i = 0; i < 500 && !r; i++) {
        r = atomic_exchange(&held, NULL);
        if (!r)
            nap(10);
    }
    return r;
}

/* --- the application --- */
static int app_reserve(void *arg, size_t n)
{
    (void)arg;
    if (reserve_limit && atomic_load(&n_reserved) + (long)n > reserve_limit)
        return ERR_NOMEM;
    atomic_fetch_add(&n_reserved, (long)n);
    return 0;
}
static void app_release(void *arg, size_t n)
{
    (void)arg;
    atomic_fetch_sub(&n_reserved, (long)n);
}
static void reply(struct http_req *r, int status, const char *text, size_t n)
{
    http_reply(r, &(struct http_head){.status = status, .type = "text/plain"}, text, n, false);
}
static void app_head(void *arg, struct http_req *r)
{
    (void)arg;
    if (!strcmp(http_path(r), "/now"))
        reply(r, 200, "now", 3);
    if (!strcmp(http_path(r), "/no"))
        reply(r, 403, "no", 2);
}
static void app_refuse(void *arg, struct http_req *r, int status)
{
    (void)arg;
    reply(r, status, "refused", 7);
}
static void on_gone(void *arg)
{
    (void)arg;
    atomic_fetch_add(&n_gone, 1);
}
static void on_room(void *arg)
{
    (void)arg;
    atomic_fetch_add(&n_room, 1);
}
static void app_handle(void *arg, struct http_req *r)
{
    (void)arg;
    size_t n;
    const char *body = http_body(r, &n);
    if (!strcmp(http_path(r), "/hold")) {
        http_watch(r, on_gone, on_room, NULL);
        atomic_store(&held, r);
        return;
    }
    if (!strcmp(http_path(r), "/stream")) {
        http_watch(r, on_gone, on_room, NULL);
        http_stream_begin(r, &(struct http_head){.status = 200, .type = "text/event-stream"});
        atomic_store(&held, r);
        return;
    }
    if (!strcmp(http_path(r), "/count")) {
        http_stream_begin(r, &(struct http_head){.status = 200});
        for (int i = 0; i < 100; i++) {
            char line[20];
            http_stream_write(r, line, (size_t)snprintf(line, sizeof line, "%d\n", i));
        }
        http_stream_end(r);
    } else if (!strcmp(http_path(r), "/echo")) {
        reply(r, 200, body, n);
    } else {
        reply(r, 404, http_path(r), strlen(http_path(r)));
    }
    http_release(r);
}
static void app_done(void *arg, struct http_req *r)
{
    (void)arg, (void)r;
    atomic_fetch_add(&n_done, 1);
}
static int app_start(const char *host)
{
    n_gone = n_room = n_done = 0;
    held = NULL;
    reserve_limit = 0;
    struct err e;
    struct http_opts o = {.host = host,
                          .body_max = 100000,
                          .stream_max = 8192,
                          .stall_ms = 600,
                          .reserve = app_reserve,
                          .release = app_release,
                          .head = app_head,
                          .refuse = app_refuse,
                          .handle = app_handle,
                          .done = app_done};
    int rc = http_start(&server, &o, &e);
    if (rc)
        fprintf(stderr, "start: %s\n", e.msg);
    return rc;
}
static void app_stop(void)
{
    http_stop(server, 1000);
    CHECK_INT(atomic_load(&n_reserved), 0);
    http_free(server);
}

/* --- the clients --- */
static int dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)http_port(server))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct timeval tv = {10, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
        perror("connect");
    return fd;
}
static void say(int fd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(int fd, const char *fmt, ...)
{
    char buf[2000];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(buf, sizeof buf, fmt, ap);
    va_end(ap);
    if (send(fd, buf, (size_t)n, MSG_NOSIGNAL) != n)
        perror("send");
}
/* Reads until `want` was seen, or the end; what came is in `got`. */
static char got[300000];
static bool hear(int fd, const char *want)
{
    size_t n = 0;
    got[0] = 0;
    while (n + 1 < sizeof got) {
        ssize_t k = recv(fd, got + n, want ? 1 : sizeof got - n - 1, 0);
        if (k <= 0)
            break;
        n += (size_t)k;
        got[n] = 0;
        if (want && n >= strlen(want) && !strcmp(got + n - strlen(want), want))
            return true;
    }
    return !want;
}

static void whole_answers_and_keep_alive(void)
{
    CHECK_INT(app_start(NULL), 0);
    int fd = dial();
    say(fd,
        "GET /now HTTP/1.1\r\nHost: x\r\n\r\nGET /a%%20b?q=1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    CHECK(hear(fd, "now"));
    CHECK(strstr(got, "HTTP/1.1 200") != NULL);
    CHECK(hear(fd, "/a b"));
    CHECK(strstr(got, "HTTP/1.1 404") != NULL);
    CHECK(hear(fd, "hello"));
    say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
    CHECK(hear(fd, "abcdefg"));
    say(fd, "HEAD /now HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(hear(fd, "\r\n\r\n"));
    CHECK(strstr(got, "Content-Length: 3") != NULL);
    close(fd);
    CHECK(until(&n_done, 5));
    app_stop();
}

/* What the library holds for a connection counts while it is open, also between requests. */
static void connections_are_counted(void)
{
    enum { N = 5 };
    CHECK_INT(app_start(NULL), 0);
    int fd[N];
    for (int i = 0; i < N; i++) {
        fd[i] = dial();
        say(fd[i], "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
        CHECK(hear(fd[i], "now"));
    }
    CHECK(until(&n_done, N));
    CHECK(atomic_load(&n_reserved) >= N * 32768);
    for (int i = 0; i < N; i++)
        close(fd[i]);
    for (int i = 0; i < 500 && atomic_load(&n_reserved); i++)
        nap(10);
    CHECK_INT(atomic_load(&n_reserved), 0);
    app_stop();
}

static void body_limits(void)
{
    CHECK_INT(app_start("127.0.0.1"), 0);
    static char big[1000000];
    memset(big, 'x', sizeof big);
    int fd = dial();
    say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", sizeof big);
    CHECK_INT(send(fd, big, sizeof big, MSG_NOSIGNAL), sizeof big);
    CHECK(hear(fd, "refused"));
    CHECK(strstr(got, "HTTP/1.1 413") != NULL);
    close(fd);
    fd = dial(); /* chunked: nobody says how long it will be */
    say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n", sizeof big);
    CHECK_INT(send(fd, big, sizeof big, MSG_NOSIGNAL), sizeof big);
    say(fd, "\r\n0\r\n\r\n");
    CHECK(hear(fd, "refused"));
    CHECK(strstr(got, "HTTP/1.1 413") != NULL);
    close(fd);
    fd = dial(); /* asks first */
    say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n");
    CHECK(hear(fd, "refused"));
    CHECK(strstr(got, "413") && !strstr(got, "100 Continue"));
    close(fd);
    fd = dial(); /* just fits */
    say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n");
    CHECK_INT(send(fd, big, 100000, MSG_NOSIGNAL), 100000);
    CHECK(hear(fd, "xxxxxxxx"));
    CHECK(strstr(got, "HTTP/1.1 200") != NULL);
    close(fd);
    fd = dial(); /* an early answer with a body still to come */
    say(fd, "POST /no HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", sizeof big);
    CHECK_INT(send(fd, big, sizeof big, MSG_NOSIGNAL), sizeof big);
    CHECK(hear(fd, "no"));
    CHECK(strstr(got, "HTTP/1.1 403") != NULL);
    close(fd);
    reserve_limit = 20000;
    fd = dial();
    say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n");
    CHECK_INT(send(fd, big, 60000, MSG_NOSIGNAL), 60000);
    CHECK(hear(fd, "refused"));
    CHECK(strstr(got, "HTTP/1.1 503") != NULL);
    close(fd);
    app_stop();
}

static void hostile_heads(void)
{
    CHECK_INT(app_start(NULL), 0);
    static char big[200000];
    memset(big, 'h', sizeof big);
    int fd = dial();
    say(fd, "GET /now HTTP/1.1\r\nHost: x\r\nX: ");
    send(fd, big, sizeof big, MSG_NOSIGNAL);
    hear(fd, NULL);
    CHECK(strstr(got, "HTTP/1.1 4") != NULL || got[0] == 0);
    close(fd);
    const char *bad[] = {"\r\n\r\n\r\n",
                         "GET\r\n\r\n",
                         "\x00\x01\x02\xff\r\n\r\n",
                         "GET / HTTP/9.9\r\n\r\n",
                         "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
                         "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
                         "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        fd = dial();
        say(fd, "%s", bad[i]);
        shutdown(fd, SHUT_WR);
        hear(fd, NULL);
        CHECK(!strstr(got, "HTTP/1.1 200"));
        close(fd);
    }
    fd = dial(); /* and it still serves */
    say(fd, "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(hear(fd, "now"));
    close(fd);
    app_stop();
}

static void streams_arrive_at_once(void)
{
    CHECK_INT(app_start(NULL), 0);
    int fd = dial();
    say(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    struct http_req *r = wait_held();
    CHECK(r != NULL);
    for (int i = 0; i < 20; i++) {
        char text[20];
        snprintf(text, sizeof text, "token%d;", i);
        CHECK_INT(http_stream_write(r, text, strlen(text)), 0);
        CHECK(hear(fd, text)); /* each arrives before the next is written */
    }
    CHECK(strstr(got, "HTTP") == NULL);
    http_stream_end(r);
    CHECK(hear(fd, "0\r\n\r\n"));
    http_watch(r, NULL, NULL, NULL);
    http_release(r);
    say(fd, "GET /count HTTP/1.1\r\nHost: x\r\n\r\n"); /* the connection lives on */
    CHECK(hear(fd, "99\n"));
    CHECK(hear(fd, "0\r\n\r\n"));
    close(fd);
    CHECK_INT(n_gone, 0);
    app_stop();
}

static void leave(const char *path, int say_first, int rst)
{
    int before = atomic_load(&n_gone), done = atomic_load(&n_done), fd = dial();
    say(fd, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    struct http_req *r = wait_held();
    CHECK(r != NULL);
    if (say_first) {
        CHECK_INT(http_stream_write(r, "x", 1), 0);
        nap(20);
    }
    CHECK_INT(atomic_load(&n_gone), before);
    if (rst) {
        struct linger l = {1, 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    }
    double t = clock_s();
    close(fd);
    CHECK(until(&n_gone, before + 1));
    printf("  %s %s: noticed after %.1f ms\n", path, rst ? "reset" : "closed", 1e3 * (clock_s() - t));
    CHECK(until(&n_done, done + 1)); /* the connection ends although nobody answered */
    CHECK(http_gone(r));
    http_watch(r, NULL, NULL, NULL);
    if (!strcmp(path, "/hold")) {
        reply(r, 200, "late", 4);
    } else {
        CHECK(http_stream_write(r, "late", 4) != 0);
        http_stream_end(r);
    }
    http_release(r);
}

static void clients_that_leave(void)
{
    CHECK_INT(app_start(NULL), 0);
    for (int rst = 0; rst < 2; rst++) {
        leave("/hold", 0, rst);
        leave("/stream", 0, rst);
        leave("/stream", 1, rst);
    }
    int fd = dial(), before = atomic_load(&n_gone); /* half-closed: taken as gone where somebody watches */
    say(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    struct http_req *r = wait_held();
    shutdown(fd, SHUT_WR);
    CHECK(until(&n_gone, before + 1));
    http_release(r);
    close(fd);
    fd = dial(); /* and answered where nobody does */
    say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    shutdown(fd, SHUT_WR);
    CHECK(hear(fd, "hello"));
    close(fd);
    app_stop();
}

static void slow_reader_blocks_only_itself(void)
{
    CHECK_INT(app_start(NULL), 0);
    int fd = dial();
    say(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    struct http_req *r = wait_held();
    static char block[4096];
    memset(block, 'b', sizeof block);
    size_t sent = 0;
    double t = clock_s();
    while (clock_s() - t < 5) { /* until buffer and kernel are full for a while */
        int waited = 0;
        while (http_stream_room(r) == 0 && waited++ < 100)
            nap(1);
        if (waited > 100)
            break;
        CHECK_INT(http_stream_write(r, block, sizeof block), 0);
        sent += sizeof block;
    }
    CHECK_INT(http_stream_room(r), 0);
    int room = atomic_load(&n_room);
    size_t n = 0;
    while (atomic_load(&n_room) == room && n < sent) { /* it reads again: there is room */
        ssize_t k = recv(fd, got, sizeof got, 0);
        if (k <= 0)
            break;
        n += (size_t)k;
        nap(1);
    }
    CHECK(until(&n_room, room + 1));
    CHECK_INT(n_gone, 0);
    t = clock_s(); /* and stops for good, while somebody else is served */
    while (clock_s() - t < 5 && !http_gone(r)) {
        if (http_stream_room(r) > 0)
            http_stream_write(r, block, sizeof block);
        else
            nap(10);
        int other = dial();
        say(other, "GET /count HTTP/1.1\r\nHost: x\r\n\r\n");
        CHECK(hear(other, "99\n"));
        close(other);
    }
    CHECK(http_gone(r));
    CHECK_INT(n_gone, 1);
    struct http_stats st;
    http_stats(server, &st);
    CHECK_INT(st.dropped, 1);
    http_stream_end(r);
    http_release(r);
    close(fd);
    app_stop();
}

static void *one_client(void *arg)
{
    int fd = dial();
    static const char q[] = "GET /count HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    send(fd, q, sizeof q - 1, MSG_NOSIGNAL);
    char buf[4096];
    size_t n = 0;
    for (ssize_t k; (k = recv(fd, buf + n, sizeof buf - n - 1, 0)) > 0;)
        n += (size_t)k;
    buf[n] = 0;
    if (strstr(buf, "99\n") && strstr(buf, "\r\n0\r\n"))
        atomic_fetch_add((atomic_int *)arg, 1);
    close(fd);
    return NULL;
}

static void many_clients(void)
{
    CHECK_INT(app_start(NULL), 0);
    atomic_int ok = 0;
    pthread_t t[64];
    for (int i = 0; i < 64; i++)
        pthread_create(&t[i], NULL, one_client, &ok);
    for (int i = 0; i < 64; i++)
        pthread_join(t[i], NULL);
    CHECK_INT(ok, 64);
    app_stop();
}

static void stop_ends_what_runs(void)
{
    CHECK_INT(app_start(NULL), 0);
    int a = dial(), b = dial(), c = dial();
    say(a, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    struct http_req *hold = wait_held();
    say(b, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    struct http_req *stream = wait_held();
    CHECK(hold && stream);
    double t = clock_s();
    http_stop(server, 100);
    CHECK(clock_s() - t < 5);
    CHECK_INT(n_gone, 2);
    reply(hold, 200, "late", 4);
    http_stream_end(stream);
    http_release(hold);
    http_release(stream);
    http_free(server);
    CHECK_INT(atomic_load(&n_reserved), 0);
    close(a), close(b), close(c);
}

static void errors_of_start(void)
{
    struct http_server *s = NULL;
    struct err e;
    CHECK_INT(app_start(NULL), 0);
    struct http_opts o = {.port = http_port(server), .head = app_head, .refuse = app_refuse, .handle = app_handle};
    CHECK_INT(http_start(&s, &o, &e), ERR_BUSY);
    CHECK(strstr(e.msg, "in use") != NULL);
    o.port = 70000;
    CHECK_INT(http_start(&s, &o, &e), ERR_RANGE);
    o.port = 0;
    o.host = "256.1.1.1";
    CHECK(http_start(&s, &o, &e) < 0);
    app_stop();
}

static void every_allocation_fails_in_turn(void)
{
    for (long n = 0; n < 14; n++) {
        CHECK_INT(app_start("127.0.0.1"), 0);
        int fd = dial();
        mem_fail_after(n);
        say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
        hear(fd, NULL); /* an answer or an end: never a crash or a connection that hangs */
        mem_fail_after(-1);
        close(fd);
        app_stop();
    }
}

int main(void)
{
    RUN(whole_answers_and_keep_alive);
    RUN(connections_are_counted);
    RUN(body_limits);
    RUN(hostile_heads);
    RUN(streams_arrive_at_once);
    RUN(clients_that_leave);
    RUN(slow_reader_blocks_only_itself);
    RUN(many_clients);
    RUN(stop_ends_what_runs);
    RUN(errors_of_start);
    RUN(every_allocation_fails_in_turn);
    return check_done();
}
