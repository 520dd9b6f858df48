/* The store without any network: names, local files, the index, removal, show, and every allocation failed in turn. */
#include "../check.h"
#include "home.h"
#include "store/catalogue.h"
#include "store/digest.h"
#include "store/name.h"
#include <pthread.h>
#include <sqlite3.h>

static void test_default(void)
{
    CHECK_STR(store_default(0), "smollm2:135m");
    CHECK_STR(store_default((4ull << 30) - 1), "smollm2:135m");
    CHECK_STR(store_default(4ull << 30), "qwen2.5-coder:1.5b");
}

static void test_catalogue(void)
{
    size_t n;
    const struct catalogue_row *row = catalogue_rows(&n);
    CHECK_INT(n, 5);
    for (size_t i = 0; i < n; i++) {
        struct store_model m;
        char clean[NAME_SIZE];
        catalogue_model(&row[i], &m);
        CHECK_STR(m.name, row[i].name);
        CHECK(!name_clean(row[i].name, clean, NULL) && !strcmp(clean, row[i].name) && strchr(clean, ':'));
        CHECK(digest_valid(row[i].sha256) && row[i].bytes > 1000000 && row[i].n_params > 1000000);
        CHECK(row[i].source[0] && strlen(row[i].good_for) < sizeof m.good_for && strlen(row[i].terms) < sizeof m.terms);
        for (int k = 0; k < CATALOGUE_SOURCES && row[i].source[k]; k++)
            CHECK(strlen(row[i].source[k]) < sizeof m.source);
        CHECK(strcmp(row[i].family, "gemma3") || strstr(m.terms, "Gemma"));
    }
}

static void test_digest(void)
{
    char hex[DIGEST_HEX];
    digest_of("abc", hex); /* FIPS 180-2, appendix B.1 */
    CHECK_STR(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(digest_valid(hex) && !digest_valid("ba78") &&
          !digest_valid("BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"));
}

static void test_names(void)
{
    static const char *const bad[] = {"",    ":",  "a:", ":a",   "a:b:c", "../etc",   "a/b",
                                      "a b", "-a", ".a", "a:.b", "a\nb",  "\xc3\xa4", "a;b"};
    char out[NAME_SIZE], longname[200];
    struct err e = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (name_clean(bad[i], out, &e) != ERR_USAGE) {
            fprintf(stderr, "\"%s\" was taken for a name\n", bad[i]);
            check_bad++;
        }
    memset(longname, 'a', sizeof longname);
    longname[199] = 0;
    CHECK_INT(name_clean(longname, out, &e), ERR_USAGE);
    CHECK(!name_clean("Qwen2.5-Coder:1.5B", out, &e));
    CHECK_STR(out, "qwen2.5-coder:1.5b");
    name_derive("/x/Some File-Q4_0.gguf", out);
    CHECK_STR(out, "some-file-q4_0:latest");
    name_derive("https://host/a/b/Model.GGUF?download=true", out);
    CHECK_STR(out, "model:latest");
    name_derive("...", out);
    CHECK_STR(out, "model:latest");
    longname[120] = 0;
    name_derive(longname, out);
    CHECK(!name_clean(out, out, &e));
}

static size_t pick(const char *name, const struct store_model *m, size_t n, struct err *e)
{
    size_t at = 99;
    return name_pick(name, m, n, &at, e) ? 99 : at;
}

static void test_resolution(void)
{
    struct store_model m[5] = {{.name = "mine:latest", .installed = true},
                               {.name = "qwen2.5-coder:0.5b"},
                               {.name = "qwen2.5-coder:1.5b"},
                               {.name = "smollm2:135m"},
                               {.name = "zeta:v2", .installed = true}};
    struct err e = {0};
    CHECK_INT(pick("qwen2.5-coder:0.5b", m, 5, &e), 1);
    CHECK_INT(pick("qwen2.5-coder", m, 5, &e), 2); /* the catalogue's first tag */
    m[1].installed = true;
    CHECK_INT(pick("qwen2.5-coder", m, 5, &e), 1); /* the one that is here */
    m[2].installed = true;
    CHECK_INT(pick("qwen2.5-coder", m, 5, &e), 2);
    CHECK_INT(pick("mine", m, 5, &e), 0);
    CHECK_INT(pick("ZETA", m, 5, &e), 4);
    CHECK_INT(pick("smolm2", m, 5, &e), 99);
    CHECK(e.code == ERR_NOTFOUND && strstr(e.msg, "did you mean smollm2:135m?"));
    CHECK_INT(pick("coder", m, 5, &e), 99);
    CHECK(strstr(e.msg, "qwen2.5-coder:0.5b") && strstr(e.msg, "qwen2.5-coder:1.5b"));
    CHECK_INT(pick("qwen2.5-coder:7b", m, 5, &e), 99);
    CHECK(strstr(e.msg, "qwen2.5-coder:0.5b") != NULL);
    CHECK_INT(pick("something-else-entirely", m, 5, &e), 99);
    CHECK(e.code == ERR_NOTFOUND && !strstr(e.msg, "did you mean"));
    CHECK_INT(pick("../x", m, 5, &e), 99);
    CHECK_INT(e.code, ERR_USAGE);
}

static int pull(struct store *s, const char *name, const char *as, struct store_model *m, struct err *e)
{
    struct store_pull p = {.name = name, .as = as};
    return store_pull(s, &p, m, e);
}

/* Install, list, path, show, a second name, remove: blobs come and go with their last name. */
static void test_local(void)
{
    struct buf a = {0};
    struct err e = {0};
    struct store *s = home_store();
    struct store_model m = {0}, *all = NULL;
    size_t n = 0;
    char *path = NULL, *json = NULL;
    make_model(&a, 1024, 1);
    home_write(home_path("First.gguf"), a.data, a.len);
    CHECK_INT(pull(s, home_path("First.gguf"), NULL, &m, &e), 0);
    CHECK_STR(m.name, "first:latest");
    CHECK_STR(m.family, "llama");
    CHECK_STR(m.quant, "F32");
    CHECK_STR(m.licence, "mit");
    CHECK(m.bytes == a.len && m.n_ctx == 77 && m.n_params == 1024 && m.installed && !m.in_catalogue &&
          digest_valid(m.sha256));
    CHECK_INT(home_count("data/blobs"), 1);
    CHECK_INT(home_count("data/partial"), 0);
    CHECK_INT(pull(s, home_path("First.gguf"), "other", &m, &e), 0);
    CHECK_STR(m.name, "other:latest");
    CHECK_INT(home_count("data/blobs"), 1);
    CHECK(!store_list(s, false, &all, &n, &e) && n == 2 && all[0].installed);
    CHECK_STR(all[0].name, "other:latest"); /* newest first */
    mem_free(all);
    CHECK(!store_list(s, true, &all, &n, &e) && n == 7 && !all[2].installed && all[2].in_catalogue);
    mem_free(all);
    CHECK(!store_path(s, "first", &path, &e) && strstr(path, "/blobs/sha256-"));
    CHECK_INT(access(path, R_OK), 0);
    mem_free(path);
    CHECK_INT(store_path(s, "smollm2", &path, &e), ERR_NOTFOUND);
    CHECK(strstr(e.msg, "hearth pull smollm2:135m") && !path);
    CHECK(!store_path(s, home_path("First.gguf"), &path, &e));
    mem_free(path);
    CHECK_INT(store_path(s, "/nonexistent/x.gguf", &path, &e), ERR_NOTFOUND);
    CHECK(!store_show(s, "first", &json, &e) && strstr(json, "\"context\":77") &&
          strstr(json, "\"chat_template\":false") && strstr(json, "\"tag\":1") &&
          strstr(json, "{\"type\":\"F32\",\"tensors\":1,\"bytes\":4096}"));
    mem_free(json);
    CHECK(!store_show(s, "gemma3", &json, &e) && strstr(json, "\"installed\":false") && strstr(json, "Gemma Terms"));
    mem_free(json);
    CHECK(!store_show(s, home_path("First.gguf"), &json, &e) && strstr(json, "\"tensors\":1"));
    mem_free(json);
    CHECK_INT(store_rm(s, "first", &e), 0);
    CHECK_INT(home_count("data/blobs"), 1);
    CHECK_INT(store_rm(s, "first", &e), ERR_NOTFOUND);
    CHECK_INT(store_rm(s, "other", &e), 0);
    CHECK_INT(home_count("data/blobs"), 0);
    CHECK_INT(access(home_path("First.gguf"), R_OK), 0); /* the user's own file stays */
    CHECK_INT(store_rm(s, "smollm2:135m", &e), ERR_NOTFOUND);
    store_close(s);
    buf_done(&a);
}

static void test_local_errors(void)
{
    struct buf a = {0}, b = {0};
    struct err e = {0};
    struct store *s = home_store();
    struct store_model m = {0};
    make_model(&a, 256, 1);
    make_model(&b, 256, 2);
    home_write(home_path("a.gguf"), a.data, a.len);
    home_write(home_path("b.gguf"), b.data, b.len);
    home_write(home_path("cut.gguf"), a.data, a.len - 1);
    home_write(home_path("text.gguf"), "hello", 5);
    CHECK_INT(pull(s, "/nonexistent/x.gguf", NULL, &m, &e), ERR_NOTFOUND);
    CHECK_INT(pull(s, home_path("data/"), NULL, &m, &e), ERR_FORMAT);
    CHECK_INT(pull(s, home_path("cut.gguf"), NULL, &m, &e), ERR_FORMAT);
    CHECK(strstr(e.msg, "end of the file") != NULL);
    CHECK_INT(pull(s, home_path("text.gguf"), NULL, &m, &e), ERR_FORMAT);
    CHECK_INT(pull(s, home_path("a.gguf"), "../../x", &m, &e), ERR_USAGE);
    CHECK_INT(home_count("data/blobs"), 0);
    CHECK_INT(home_count("data/partial"), 0);
    CHECK_INT(pull(s, home_path("a.gguf"), NULL, &m, &e), 0);
    CHECK_INT(pull(s, home_path("b.gguf"), "a", &m, &e), ERR_USAGE);
    CHECK(strstr(e.msg, "--as") != NULL);
    CHECK_INT(pull(s, "minilm", NULL, &m, &e), ERR_UNSUPPORTED);
    CHECK_INT(pull(s, "smollm", NULL, &m, &e), ERR_NOTFOUND);
    CHECK(strstr(e.msg, "smollm2:135m") != NULL);
    /* The same path with new content replaces the model of that name, and the old blob goes. */
    unlink(home_path("a.gguf"));
    home_write(home_path("a.gguf"), b.data, b.len);
    char was[DIGEST_HEX];
    CHECK_INT(pull(s, "a", NULL, &m, &e), 0);
    memcpy(was, m.sha256, sizeof was);
    CHECK_INT(pull(s, home_path("a.gguf"), NULL, &m, &e), 0);
    CHECK(strcmp(was, m.sha256) != 0);
    CHECK_INT(home_count("data/blobs"), 1);
    CHECK_INT(store_rm(s, "a", &e), 0);
    store_close(s);
    buf_done(&a);
    buf_done(&b);
}

/* A damaged or missing blob is found by verify and fetched again from where it came. */
static void test_verify(void)
{
    struct buf a = {0};
    struct err e = {0};
    struct store *s = home_store();
    struct store_model m = {0};
    char *path = NULL;
    make_model(&a, 256, 1);
    home_write(home_path("v.gguf"), a.data, a.len);
    CHECK_INT(pull(s, home_path("v.gguf"), NULL, &m, &e), 0);
    CHECK_INT(store_path(s, "v", &path, &e), 0);
    struct store_pull p = {.name = "v", .verify = true};
    CHECK_INT(store_pull(s, &p, &m, &e), 0);
    unlink(path); /* a hard link of v.gguf perhaps: do not write through it */
    a.data[a.len - 1] ^= 1;
    home_write(path, a.data, a.len);
    a.data[a.len - 1] ^= 1;
    CHECK_INT(store_pull(s, &p, &m, &e), 0);
    CHECK_INT(store_pull(s, &p, &m, &e), 0);
    CHECK_INT(home_count("data/blobs"), 1);
    unlink(path);
    char *gone = NULL;
    CHECK_INT(store_path(s, "v", &gone, &e), ERR_NOTFOUND);
    CHECK(strstr(e.msg, "hearth pull v:latest") != NULL);
    p.verify = false;
    CHECK_INT(store_pull(s, &p, &m, &e), 0);
    CHECK_INT(access(path, R_OK), 0);
    CHECK_INT(store_rm(s, "v", &e), 0);
    mem_free(path);
    store_close(s);
    buf_done(&a);
}

/* ---- several threads on one store, and two stores on one folder ---- */
static struct store *shared;
static _Atomic int thread_errors;

static void *thread_main(void *arg)
{
    int id = *(int *)arg;
    char file[32], name[32];
    snprintf(file, sizeof file, "t%d.gguf", id % 2); /* two threads share each content */
    snprintf(name, sizeof name, "thread%d", id);
    struct store *s = id < 2 ? shared : home_store();
    for (int i = 0; i < 10; i++) {
        struct store_model m, *all = NULL;
        struct err e = {0};
        size_t n;
        int rc = pull(s, home_path(file), name, &m, &e);
        rc = rc ? rc : store_list(s, true, &all, &n, &e);
        mem_free(all);
        rc = rc ? rc : store_rm(s, name, &e);
        if (rc) {
            fprintf(stderr, "thread %d: %s\n", id, e.msg);
            thread_errors++;
        }
    }
    if (s != shared)
        store_close(s);
    return NULL;
}

static void test_threads(void)
{
    pthread_t t[4];
    int id[4] = {0, 1, 2, 3};
    for (unsigned i = 0; i < 2; i++) {
        struct buf a = {0};
        make_model(&a, 256, 50 + i);
        home_write(home_path(i ? "t1.gguf" : "t0.gguf"), a.data, a.len);
        buf_done(&a);
    }
    shared = home_store();
    for (int i = 0; i < 4; i++)
        CHECK_INT(pthread_create(&t[i], NULL, thread_main, &id[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    CHECK_INT(thread_errors, 0);
    CHECK_INT(home_count("data/blobs"), 0);
    CHECK_INT(home_count("data/partial"), 0);
    store_close(shared);
}

static void test_newer_schema(void)
{
    struct store *s = NULL;
    struct err e = {0};
    sqlite3 *db = NULL;
    mkdir(home_path("new"), 0777);
    CHECK(sqlite3_open(home_path("new/store.db"), &db) == SQLITE_OK &&
          !sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL));
    sqlite3_close(db);
    CHECK_INT(store_open(&s, home_path("new"), &e), ERR_UNSUPPORTED);
    CHECK(!s && strstr(e.msg, "newer"));
    home_write(home_path("new/store.db"), "this is no database at all, but long enough to look at it twice....", 67);
    CHECK_INT(store_open(&s, home_path("new"), &e), ERR_IO);
    home_write(home_path("plain"), "x", 1);
    CHECK(store_open(&s, home_path("plain"), &e) < 0 && !s);
}

/* ---- every allocation failed in turn ---- */
static struct store *oom_store;

static int oom_open(struct err *e)
{
    struct store *s = NULL;
    int rc = store_open(&s, home_path("data"), e);
    store_close(s);
    return rc;
}

static int oom_list(struct err *e)
{
    struct store_model *m = NULL;
    size_t n;
    int rc = store_list(oom_store, true, &m, &n, e);
    mem_free(m);
    return rc;
}

static int oom_path(struct err *e)
{
    char *path = NULL;
    int rc = store_path(oom_store, "o", &path, e);
    mem_free(path);
    return rc;
}

static int oom_show(struct err *e)
{
    char *json = NULL;
    int rc = store_show(oom_store, "o", &json, e);
    mem_free(json);
    return rc;
}

static int oom_pull(struct err *e)
{
    struct store_model m;
    struct store_pull p = {.name = home_path("o.gguf"), .as = "again", .verify = true};
    int rc = store_pull(oom_store, &p, &m, e);
    return rc ? rc : store_rm(oom_store, "again", e);
}

static void test_out_of_memory(void)
{
    static int (*const paths[])(struct err *) = {oom_open, oom_list, oom_path, oom_show, oom_pull};
    struct buf a = {0};
    struct err e = {0};
    struct store_model m;
    make_model(&a, 256, 9);
    home_write(home_path("o.gguf"), a.data, a.len);
    oom_store = home_store();
    CHECK_INT(pull(oom_store, home_path("o.gguf"), NULL, &m, &e), 0);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        int rc = -1;
        long n = 0;
        for (; rc && n < 500; n++) {
            e = (struct err){0};
            mem_fail_after(n);
            rc = paths[i](&e);
            mem_fail_after(-1);
            if (rc && (e.code != rc || !e.msg[0])) {
                fprintf(stderr, "path %zu, allocation %ld: code %d, message \"%s\"\n", i, n, rc, e.msg);
                check_bad++;
            }
        }
        CHECK_INT(rc, 0);
        CHECK(n >= 2);
    }
    CHECK_INT(store_rm(oom_store, "o", &e), 0);
    store_close(oom_store);
    CHECK_INT(home_count("data/blobs"), 0);
    CHECK_INT(home_count("data/partial"), 0);
    buf_done(&a);
}

int main(void)
{
    home = folder_make("store");
    RUN(test_default);
    RUN(test_catalogue);
    RUN(test_digest);
    RUN(test_names);
    RUN(test_resolution);
    RUN(test_local);
    RUN(test_local_errors);
    RUN(test_verify);
    RUN(test_threads);
    RUN(test_newer_schema);
    RUN(test_out_of_memory);
    folder_remove(home);
    return check_done();
}
