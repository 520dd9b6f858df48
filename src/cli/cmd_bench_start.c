/* hearth bench start: how long things take to begin. Starts this program as a server on a free port and looks at the clock. */
#include "base/clock.h"
#include "base/mem.h"
#include "cli/bench.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/out.h"
#include <cjson/cJSON.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { TRIES = 7, PATIENCE_S = 300 };

struct values {
    const char *data_dir, *cpu_mask;
    int threads;
    bool json;
};
const struct opt bench_start_opts[] = {
    OPT_ROW_THREADS(struct values),
    OPT_ROW_CPU_MASK(struct values),
    OPT_ROW_JSON(struct values),
    OPT_ROW_DATA_DIR(struct values),
    OPT_END,
};

struct figures {
    double version_ms, listen_ms, health_ms, ready_s, ttft_ms, cancel_ms;
};

/* Starts this very program; its stdout goes to *out (a pipe) or, with out NULL, nowhere. */
static int start(char *const *argv, pid_t *pid, int *out, struct err *e)
{
    posix_spawn_file_actions_t fa;
    int p[2] = {-1, -1}, r = 0;
    if (posix_spawn_file_actions_init(&fa))
        return err_set(e, ERR_NOMEM, "out of memory");
    if (out && pipe(p))
        r = err_errno(e, "cannot make a pipe");
    if (!r && out) {
        posix_spawn_file_actions_adddup2(&fa, p[1], STDOUT_FILENO);
        posix_spawn_file_actions_addclose(&fa, p[0]);
    } else {
        posix_spawn_file_actions_addopen(&fa, STDOUT_FILENO, "/dev/null", 2, 0);
    }
    posix_spawn_file_actions_addopen(&fa, STDERR_FILENO, "/dev/null", 2, 0);
    if (!r && posix_spawn(pid, "/proc/self/exe", &fa, NULL, argv, environ))
        r = err_set(e, ERR_IO, "cannot start this program again");
    posix_spawn_file_actions_destroy(&fa);
    if (out) {
        if (p[1] >= 0)
            close(p[1]);
        *out = p[0];
    }
    return r;
}

static int time_version(struct figures *f, struct err *e)
{
    char *argv[] = {"hearth", "--version", NULL};
    double t[TRIES];
    for (int i = 0; i < TRIES; i++) {
        pid_t pid;
        int status;
        double from = clock_s();
        int r = start(argv, &pid, NULL, e);
        if (r)
            return r;
        waitpid(pid, &status, 0);
        t[i] = (clock_s() - from) * 1e3;
    }
    f->version_ms = bench_median(t, TRIES);
    return 0;
}

/* The URL of "Hearth is up: URL". */
static int read_url(int fd, char *url, size_t n, struct err *e)
{
    static const char says[] = "Hearth is up: ";
    char line[200];
    size_t len = 0;
    while (len < sizeof line - 1) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (cli_interrupted())
            return err_set(e, ERR_CANCELLED, "interrupted");
        if (poll(&p, 1, 1000) <= 0)
            continue;
        ssize_t got = read(fd, line + len, 1);
        if (got <= 0)
            return err_set(e, ERR_IO, "the server did not start; see why with: hearth up --port 0 --no-open");
        if (line[len] == '\n')
            break;
        len++;
    }
    line[len] = 0;
    if (strncmp(line, says, sizeof says - 1) != 0)
        return err_set(e, ERR_IO, "the server said: %s", line);
    snprintf(url, n, "%s", line + sizeof says - 1);
    return 0;
}

static double running_requests(struct client *c)
{
    struct buf b = {0};
    double n = -1;
    if (client_get(c, "/api/status", &b, NULL) == 0 && b.data) {
        cJSON *j = cJSON_ParseWithLength(b.data, b.len);
        const cJSON *q = cJSON_GetObjectItemCaseSensitive(j, "requests");
        const cJSON *a = cJSON_GetObjectItemCaseSensitive(q, "running"),
                    *w = cJSON_GetObjectItemCaseSensitive(q, "waiting");
        n = cJSON_IsNumber(a) && cJSON_IsNumber(w) ? a->valuedouble + w->valuedouble : -1;
        cJSON_Delete(j);
    }
    buf_done(&b);
    return n;
}

struct stream {
    double first;
    int n, enough;
};

static int on_event(void *arg, char *data, size_t n)
{
    struct stream *s = arg;
    (void)n;
    if (strstr(data, "\"text\":") && s->n++ == 0)
        s->first = clock_s();
    return s->enough && s->n >= s->enough;
}

static int ask(struct client *c, const char *model, int max_tokens, struct stream *s, struct err *e)
{
    struct buf b = {0};
    struct jsonw w;
    jsonw_init(&w, &b);
    jsonw_obj(&w);
    jsonw_kstr(&w, "model", model);
    jsonw_kstr(&w, "prompt", "Once upon a time");
    jsonw_kint(&w, "max_tokens", max_tokens);
    jsonw_kbool(&w, "stream", true);
    jsonw_kbool(&w, "ignore_eos", true);
    jsonw_end_obj(&w);
    int r =
        b.failed ? err_set(e, ERR_NOMEM, "out of memory") : client_stream(c, "/v1/completions", b.data, on_event, s, e);
    buf_done(&b);
    return r;
}

static int time_requests(struct client *c, const char *model, struct figures *f, struct err *e)
{
    double ttft[TRIES], cancel[TRIES];
    for (int i = 0; i < TRIES; i++) {
        struct stream s = {0};
        double from = clock_s();
        int r = ask(c, model, 2, &s, e);
        if (r)
            return r;
        ttft[i] = (s.first - from) * 1e3;
    }
    for (int i = 0; i < TRIES; i++) {
        struct stream s = {.enough = 3};
        int r = ask(c, model, 1000, &s, e); /* returns with the connection closed after three tokens */
        if (r)
            return r;
        double from = clock_s();
        while (running_requests(c) != 0 && clock_s() - from < 10)
            poll(NULL, 0, 1);
        cancel[i] = (clock_s() - from) * 1e3;
    }
    f->ttft_ms = bench_median(ttft, TRIES);
    f->cancel_ms = bench_median(cancel, TRIES);
    return 0;
}

static bool ready(struct client *c)
{
    struct buf b = {0};
    bool yes = false;
    const cJSON *m;
    if (client_get(c, "/api/status", &b, NULL) == 0 && b.data) {
        cJSON *j = cJSON_ParseWithLength(b.data, b.len);
        cJSON_ArrayForEach(m, cJSON_GetObjectItemCaseSensitive(j, "models"))
        {
            const cJSON *s = cJSON_GetObjectItemCaseSensitive(m, "state");
            yes = yes || (cJSON_IsString(s) && strcmp(s->valuestring, "ready") == 0);
        }
        cJSON_Delete(j);
    }
    buf_done(&b);
    return yes;
}

static int time_server(int fd, double from, const char *model, struct figures *f, struct err *e)
{
    char url[220];
    struct client *c = NULL;
    int r = read_url(fd, url, sizeof url, e);
    f->listen_ms = (clock_s() - from) * 1e3;
    if (r || (r = client_new(url, NULL, &c, e)))
        return r;
    r = client_get(c, "/health", NULL, e);
    f->health_ms = (clock_s() - from) * 1e3;
    while (!r && !ready(c)) {
        if (cli_interrupted())
            r = err_set(e, ERR_CANCELLED, "interrupted");
        else if (clock_s() - from > PATIENCE_S)
            r = err_set(e, ERR_IO, "the model is not ready after %d s; see why with: hearth up --model %s", PATIENCE_S,
                        model);
        else
            poll(NULL, 0, 5);
    }
    f->ready_s = clock_s() - from;
    if (!r)
        r = time_requests(c, model, f, e);
    client_free(c);
    return r;
}

static int print(const struct figures *f, const char *model, bool json)
{
    if (!json) {
        printf(
            "hearth --version       %8.1f ms\nlistening              %8.1f ms after the start\n/health answered       %8.1f ms after the start\n"
            "%s ready  %8.2f s after the start\nfirst token            %8.1f ms (4-token prompt)\ncancel to idle         %8.1f ms\n",
            f->version_ms, f->listen_ms, f->health_ms, model, f->ready_s, f->ttft_ms, f->cancel_ms);
        return CLI_OK;
    }
    struct buf b = {0};
    struct jsonw w;
    jsonw_init(&w, &b);
    jsonw_obj(&w);
    jsonw_kstr(&w, "model", model);
    jsonw_kdouble(&w, "version_ms", f->version_ms);
    jsonw_kdouble(&w, "listen_ms", f->listen_ms);
    jsonw_kdouble(&w, "health_ms", f->health_ms);
    jsonw_kdouble(&w, "ready_s", f->ready_s);
    jsonw_kdouble(&w, "ttft_ms", f->ttft_ms);
    jsonw_kdouble(&w, "cancel_ms", f->cancel_ms);
    jsonw_end_obj(&w);
    return out_json(&b);
}

int cmd_bench_start(const struct command *c, int argc, char **argv)
{
    struct values v = {0};
    struct figures f = {0};
    struct client *other = NULL;
    struct err e = {0};
    char threads[16];
    pid_t pid = -1;
    int fd = -1, status, code = opt_parse(c, &argc, argv, &v);
    if (code != OPT_RUN)
        return code;
    cli_catch_interrupt();
    if (client_find(v.data_dir, &other, NULL) == 0) {
        code =
            cli_error(CLI_FAILED, "a server runs at %s and would be measured, too; stop it first", client_url(other));
        client_free(other);
        return code;
    }
    snprintf(threads, sizeof threads, "%d", v.threads);
    char *args[16] = {"hearth", "up", "--port", "0", "--no-open", "--model", argv[0], "--threads", threads};
    int n = 9;
    if (v.cpu_mask) {
        args[n++] = "--cpu-mask";
        args[n++] = (char *)v.cpu_mask;
    }
    if (v.data_dir) {
        args[n++] = "--data-dir";
        args[n++] = (char *)v.data_dir;
    }
    int r = time_version(&f, &e);
    double from = clock_s();
    if (!r && !(r = start(args, &pid, &fd, &e)))
        r = time_server(fd, from, argv[0], &f, &e);
    if (pid > 0) {
        kill(pid, SIGTERM);
        waitpid(pid, &status, 0);
    }
    if (fd >= 0)
        close(fd);
    return r ? cli_fail(&e) : print(&f, argv[0], v.json);
}
