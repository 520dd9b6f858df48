/* The disk tier: what an engine left on disk the next one finds, bit for bit; what is cut, torn, scribbled on, left behind by a kill
 * or another model's is never taken for it. Arguments as test_kv's. */
#include "kv_runs.h"
#include "unit/folder.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LEN = 300 };
static const char *folder;
static bool thorough; /* else an emulator, or one mask of several */

static void nap_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* Calls on(path) for every segment; returns their bytes. */
static uint64_t segments(void (*on)(const char *path, uint64_t size))
{
    uint64_t sum = 0;
    DIR *d = opendir(folder);
    for (struct dirent *f; d && (f = readdir(d));) {
        char path[400];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", folder, f->d_name);
        if (!strstr(f->d_name, ".kv") || stat(path, &st) != 0)
            continue;
        sum += (uint64_t)st.st_size;
        if (on)
            on(path, (uint64_t)st.st_size);
    }
    if (d)
        closedir(d);
    return sum;
}

static void remove_file(const char *path, uint64_t size)
{
    (void)size;
    unlink(path);
}

static struct engine_stats stats_of(const struct rig *rig)
{
    struct engine_stats st;
    engine_stats(rig->engine, &st);
    return st;
}

/* One request in a fresh engine that has only the disk to find anything in. */
static int fresh_run(int which, const int32_t *token, int n)
{
    struct rig rig;
    if (!open_rig(&rig, which, true, (size_t)1 << 30))
        return -1;
    int n_cached = cached_of(&rig, token, n);
    rig_close(&rig);
    return n_cached;
}

static void restarts(void)
{
    for (int which = LLAMA; which <= (thorough ? WINDOW_512 : WINDOW_16); which++) {
        if (!open_rig(&cold, which, false, (size_t)1 << 30))
            return;
        int n = which == WINDOW_512 ? 700 : LEN;
        int32_t *p = prompt_of(&cold, n, 40, n, 0), *q = prompt_of(&cold, n, 40, 200, 41);
        CHECK_INT(fresh_run(which, p, n), 0);
        CHECK_INT(fresh_run(which, p, n), n - 1);
        int found = fresh_run(which, q, n);
        CHECK_INT(found, which == LLAMA ? 200 : 0); /* where nobody ended a window's blocks are not written */
        CHECK_INT(fresh_run(which, q, n), n - 1);
        free(p);
        free(q);
        rig_close(&cold);
    }
    struct rig rig;
    if (!open_rig(&cold, OTHER, false, (size_t)1 << 30) || !open_rig(&rig, OTHER, true, (size_t)1 << 30))
        return;
    int32_t *p = prompt_of(&cold, LEN, 40, LEN, 0);
    CHECK_INT(cached_of(&rig, p, LEN), 0); /* equal tokens, other weights */
    struct engine_stats st = stats_of(&rig);
    CHECK(st.disk_blocks > 0 && st.disk_read_total == 0);
    struct engine *second = NULL;
    struct err e = {0};
    struct engine_opts o = {.ledger = rig.ledger, .n_threads = 1, .kv_disk = folder, .kv_disk_bytes = 1 << 20};
    CHECK_INT(engine_new(&second, &o, &e), ERR_BUSY);
    free(p);
    rig_close(&rig);
    rig_close(&cold);
}

/* Nobody asks: what the disk has comes back by itself, the answers are the same, and nothing is read for them. What is not whole, or
 * does not fit into what may be used, is left; who asks, or lets the model go, in the middle of it gets what he asks for. */
static void comes_back_by_itself(void)
{
    for (int which = LLAMA; which <= WINDOW_512; which++) {
        struct rig rig;
        segments(remove_file);
        warm_bytes = 0;
        if (!open_rig(&cold, which, false, (size_t)1 << 30))
            return;
        int n = which == WINDOW_512 ? 700 : LEN;
        int32_t *p[3];
        for (uint64_t i = 0; i < 3; i++) {
            p[i] = prompt_of(&cold, n, 120, 130, 120 + i);
            CHECK(fresh_run(which, p[i], n) >= 0);
        }
        warm_bytes = 1 << 28;
        if (!open_rig(&rig, which, true, (size_t)1 << 30))
            return;
        struct engine_stats st = stats_of(&rig);
        size_t there = st.disk_blocks;
        for (int i = 0; i < 60000 && st.prefix_blocks < there; i++, st = stats_of(&rig))
            nap_ms(1);
        CHECK(there > 4);
        CHECK_INT(st.prefix_blocks, there);
        CHECK_INT(st.disk_read_total, there);
        for (int i = 3; i-- > 0;)
            CHECK_INT(cached_of(&rig, p[i], n), n - 1);
        CHECK_INT(stats_of(&rig).disk_read_total, there);
        rig_close(&rig);
        for (int i = 0; i < 12; i++) { /* asked at once, while it is at it; or only looked at */
            warm_bytes = i % 3 ? (size_t)1 << 28 : (size_t)1 << 21;
            if (!open_rig(&rig, which, true, (size_t)1 << 30))
                return;
            if (i % 2)
                CHECK_INT(cached_of(&rig, p[i % 3], n), n - 1);
            rig_close(&rig);
        }
        for (int i = 0; i < 3; i++)
            free(p[i]);
        rig_close(&cold);
    }
    warm_bytes = 0;
}

/* Where one request began behind what another had computed, others go on after a restart, with a window, too. */
static void branches(void)
{
    enum { COMMON = 640 };
    int n = COMMON + 60;
    for (int which = LLAMA; which <= WINDOW_512; which++) {
        struct rig rig;
        if (!open_rig(&cold, which, false, (size_t)1 << 30) || !open_rig(&rig, which, true, (size_t)1 << 30))
            return;
        int32_t *p[3];
        for (uint64_t i = 0; i < 3; i++)
            p[i] = prompt_of(&cold, n, 90, COMMON, 91 + i);
        CHECK_INT(cached_of(&rig, p[0], n), 0);
        CHECK_INT(cached_of(&rig, p[1], n), COMMON);
        rig_close(&rig);
        CHECK_INT(fresh_run(which, p[2], n), COMMON);
        for (int i = 0; i < 3; i++)
            free(p[i]);
        rig_close(&cold);
    }
}

/* Many at once after a restart, of which some leave before their blocks are there. */
static void crowd(void)
{
    enum { N = 8 };
    if (!open_rig(&cold, LLAMA, false, (size_t)1 << 30))
        return;
    int32_t *p = prompt_of(&cold, LEN, 50, LEN, 0);
    CHECK_INT(fresh_run(LLAMA, p, LEN), 0);
    struct record *want = run(&cold, p, LEN);
    for (int round = 0; round < 5; round++) {
        struct rig rig;
        struct record *got[N];
        struct request *r[N];
        if (!open_rig(&rig, LLAMA, true, (size_t)1 << 30))
            return;
        for (int i = 0; i < N; i++)
            r[i] = submit(&rig, p, LEN, OUT, got[i] = record_new(&rig));
        for (int i = 0; i < N; i += 2)
            request_cancel(r[i]);
        for (int i = 0; i < N; i++) {
            drain_request(r[i], got[i]);
            request_free(r[i]);
            if (i % 2) {
                CHECK(same(got[i], want));
                CHECK_INT(got[i]->end.stats.n_cached, LEN - 1);
            }
            record_free(got[i]);
        }
        rig_close(&rig);
    }
    record_free(want);
    free(p);
    rig_close(&cold);
}

static uint64_t dice, n_dice;

static uint64_t below(uint64_t n)
{
    return (uint64_t)(rng_uniform(77, dice, n_dice++) * (double)n);
}

/* A file as a crash or a bad disk may leave it. */
static void spoil(const char *path, uint64_t size)
{
    if (dice % 3 && below(3)) /* with all spoilt hardly a round leaves the prompt's blocks whole */
        return;
    int fd = open(path, O_RDWR);
    uint8_t junk[4096];
    CHECK(fd >= 0);
    if (fd < 0 || !size)
        return;
    uint64_t at = below(size), n = 1 + below(sizeof junk);
    switch (below(4)) {
    case 0: /* cut */
        CHECK_INT(ftruncate(fd, (off_t)at), 0);
        break;
    case 1: /* a bit */
        CHECK(pread(fd, junk, 1, (off_t)at) == 1);
        junk[0] ^= (uint8_t)(1u << below(8));
        CHECK(pwrite(fd, junk, 1, (off_t)at) == 1);
        break;
    case 2: /* a hole */
        memset(junk, 0, sizeof junk);
        CHECK(pwrite(fd, junk, n, (off_t)at) == (ssize_t)n);
        break;
    default: /* another part of itself */
        CHECK(pread(fd, junk, n, (off_t)below(size)) >= 0);
        CHECK(pwrite(fd, junk, n, (off_t)at) == (ssize_t)n);
    }
    close(fd);
}

static void spoilt_files(void)
{
    if (!open_rig(&cold, LLAMA, false, (size_t)1 << 30))
        return;
    int32_t *p = prompt_of(&cold, LEN, 60, LEN, 0);
    int whole = 0, part = 0;
    for (dice = 0; dice < 90; dice++) {
        segments(spoil);
        warm_bytes = dice % 2 << 28; /* who asks reads it, or it is on its way already */
        int n = fresh_run(LLAMA, p, LEN);
        whole += n == LEN - 1;
        part += n < LEN - 1;
    }
    warm_bytes = 0;
    CHECK(whole > 0 && part > 0); /* harm was done, and not all was lost each time */
    free(p);
    rig_close(&cold);
}

/* Killed at any moment of writing, it starts again and answers the same. */
static void killed(void)
{
    for (int i = 0; i < 8; i++) {
        pid_t child = fork();
        if (child == 0) {
            struct rig rig;
            if (open_rig(&rig, LLAMA, true, (size_t)1 << 30))
                for (uint64_t k = 0;; k++) {
                    int32_t *p = prompt_of(&rig, LEN, 70 + k % 20, LEN, 0);
                    record_free(run(&rig, p, LEN));
                    free(p);
                }
            _exit(1);
        }
        nap_ms(20 + 23 * i);
        kill(child, SIGKILL);
        CHECK(waitpid(child, NULL, 0) == child);
        if (!open_rig(&cold, LLAMA, false, (size_t)1 << 30))
            return;
        for (uint64_t k = 0; k < 3; k++) {
            int32_t *p = prompt_of(&cold, LEN, 70 + k, LEN, 0);
            CHECK(fresh_run(LLAMA, p, LEN) >= 0);
            free(p);
        }
        rig_close(&cold);
    }
}

/* Names that are taken, or beyond which there is no next one, do not keep anything from being written. */
static void odd_names(void)
{
    char odd[2][100];
    segments(remove_file);
    snprintf(odd[0], sizeof odd[0], "%s/0000000000000000.kv", folder);
    snprintf(odd[1], sizeof odd[1], "%s/ffffffffffffffff.kv", folder);
    CHECK_INT(mkdir(odd[0], 0700), 0);
    int fd = open(odd[1], O_CREAT | O_WRONLY, 0600);
    if (fd < 0 || !open_rig(&cold, LLAMA, false, (size_t)1 << 30))
        return;
    close(fd);
    int32_t *p = prompt_of(&cold, LEN, 150, LEN, 0);
    CHECK_INT(fresh_run(LLAMA, p, LEN), 0);
    CHECK_INT(fresh_run(LLAMA, p, LEN), LEN - 1);
    free(p);
    rig_close(&cold);
    rmdir(odd[0]);
    unlink(odd[1]);
}

static void stays_small(void)
{
    segments(remove_file);
    disk_bytes = 2 << 20;
    struct rig rig;
    if (!open_rig(&rig, LLAMA, true, (size_t)1 << 30) || !open_rig(&cold, LLAMA, false, (size_t)1 << 30))
        return;
    for (uint64_t k = 0; k < 12; k++) {
        int32_t *p = prompt_of(&rig, LEN, 100 + k, LEN, 0);
        record_free(run(&rig, p, LEN));
        free(p);
    }
    rig_close(&rig);
    uint64_t bytes = segments(NULL);
    CHECK(bytes > disk_bytes / 2 && bytes <= disk_bytes);
    int32_t *p = prompt_of(&cold, LEN, 111, LEN, 0), *q = prompt_of(&cold, LEN, 100, LEN, 0);
    CHECK_INT(fresh_run(LLAMA, p, LEN), LEN - 1); /* the last one is there, the first gave way */
    CHECK_INT(fresh_run(LLAMA, q, LEN), 0);
    free(p);
    free(q);
    rig_close(&cold);
}

static int open_files(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

/* A disk that takes nothing costs no answer and no open file, and nothing counts as stored; later it is used again. */
static void full_disk(void)
{
    struct rlimit was, none;
    segments(remove_file);
    if (!open_rig(&cold, LLAMA, false, (size_t)1 << 30) || getrlimit(RLIMIT_FSIZE, &was) != 0)
        return;
    signal(SIGXFSZ, SIG_IGN);
    none = (struct rlimit){1000, was.rlim_max};
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &none), 0);
    struct rig rig;
    if (open_rig(&rig, LLAMA, true, (size_t)1 << 30)) {
        int before = open_files();
        for (uint64_t k = 0; k < 6; k++) {
            int32_t *p = prompt_of(&cold, LEN, 140 + k, LEN, 0);
            CHECK_INT(cached_of(&rig, p, LEN), 0);
            free(p);
        }
        struct engine_stats st = stats_of(&rig);
        for (int i = 0; i < 60000 && st.disk_blocks; i++, st = stats_of(&rig))
            nap_ms(1);
        CHECK_INT(st.disk_blocks, 0);
        CHECK_INT(st.disk_bytes, 0);
        CHECK_INT(st.disk_written_total, 0);
        CHECK_INT(open_files(), before);
        rig_close(&rig);
    }
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &was), 0);
    int32_t *p = prompt_of(&cold, LEN, 140, LEN, 0);
    CHECK_INT(fresh_run(LLAMA, p, LEN), 0);
    CHECK_INT(fresh_run(LLAMA, p, LEN), LEN - 1);
    free(p);
    rig_close(&cold);
}

int main(int argc, char **argv)
{
    if (argc < 1 + N_PATH)
        return 1;
    for (int i = 0; i < N_PATH; i++)
        model_path[i] = argv[1 + i];
    disk = folder = folder_make("kv");
    const char *quick = getenv("HEARTH_PARITY_QUICK");
    thorough = !quick || !*quick;
    RUN(restarts);
    if (thorough) {
        RUN(comes_back_by_itself);
        RUN(spoilt_files);
        RUN(branches);
        RUN(crowd);
        RUN(killed);
        RUN(full_disk);
        RUN(odd_names);
        RUN(stays_small);
    }
    folder_remove(folder);
    return check_done();
}
