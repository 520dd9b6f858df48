/* fs: unaligned reads equal the file's bytes, atomic replace, folders, limits, hostile paths. */
#include "../check.h"
#include "../folder.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/rng.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *dir;

static char *in_dir(const char *name)
{
    return fs_join(dir, name);
}

enum { SIZE = 3 * FS_ALIGN + 777 };

static void reader_reads(void)
{
    static uint8_t bytes[SIZE];
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (uint8_t)(i * 31 + i / 251);
    char *path = in_dir("data");
    struct err e = {0};
    CHECK_INT(fs_write_atomic(path, bytes, SIZE, &e), 0);
    struct fs_reader r;
    CHECK_INT(fs_reader_open(&r, path, &e), 0);
    CHECK_INT(r.size, SIZE);
    uint8_t *block = NULL;
    const size_t room = 5 * FS_ALIGN;
    CHECK_INT(posix_memalign((void **)&block, FS_ALIGN, room), 0);
    int wrong = 0;
    for (uint64_t i = 0; i < 300; i++) {
        uint32_t v[4];
        rng_philox(1, 2, i, v);
        uint64_t off = v[0] % (SIZE + 1);
        size_t len = v[1] % (size_t)(SIZE - off + 1);
        const uint8_t *data = NULL;
        wrong += fs_reader_at(&r, off, len, block, room, &data, &e) != 0 || memcmp(data, bytes + off, len) != 0;
    }
    CHECK_INT(wrong, 0);
    const uint8_t *data;
    CHECK_INT(fs_reader_at(&r, SIZE - 1, 2, block, room, &data, &e), ERR_FORMAT);
    CHECK_INT(fs_reader_at(&r, UINT64_MAX, 1, block, room, &data, &e), ERR_FORMAT);
    CHECK_INT(fs_reader_at(&r, 1, SIZE_MAX, block, room, &data, &e), ERR_FORMAT);
    CHECK_INT(fs_reader_at(&r, FS_ALIGN - 1, 2, block, FS_ALIGN, &data, &e), ERR_RANGE); /* touches two blocks */
    CHECK_INT(fs_reader_at(&r, 0, 2, block + 1, FS_ALIGN, &data, &e), ERR_RANGE);
    CHECK_INT(truncate(path, FS_ALIGN), 0); /* the file shrinks under us */
    CHECK_INT(fs_reader_at(&r, 0, SIZE, block, room, &data, &e), ERR_FORMAT);
    fs_reader_close(&r);
    fs_reader_close(&r);
    free(block);
    mem_free(path);
}

static void reader_refuses(void)
{
    struct fs_reader r;
    struct err e = {0};
    char *none = in_dir("none");
    CHECK_INT(fs_reader_open(&r, none, &e), ERR_NOTFOUND);
    CHECK(strstr(e.msg, none) != NULL);
    CHECK_INT(fs_reader_open(&r, dir, &e), ERR_FORMAT);
    char *empty = in_dir("empty");
    CHECK_INT(fs_write_atomic(empty, "", 0, &e), 0);
    CHECK_INT(fs_reader_open(&r, empty, &e), 0);
    CHECK_INT(r.size, 0);
    fs_reader_close(&r);
    mem_free(none);
    mem_free(empty);
}

static void atomic_replace(void)
{
    struct err e = {0};
    char *path = in_dir("file"), *text;
    size_t len;
    CHECK_INT(fs_write_atomic(path, "one", 3, &e), 0);
    CHECK_INT(fs_write_atomic(path, "two!", 4, &e), 0);
    CHECK_INT(fs_read_all(path, 4, &text, &len, &e), 0);
    CHECK_INT(len, 4);
    CHECK_STR(text, "two!");
    mem_free(text);
    CHECK_INT(fs_read_all(path, 3, &text, &len, &e), ERR_LIMIT);
    CHECK(text == NULL);
    char *bad = in_dir("no/such/file");
    CHECK_INT(fs_write_atomic(bad, "x", 1, &e), ERR_NOTFOUND);
    CHECK_INT(fs_read_all(bad, 10, &text, &len, &e), ERR_NOTFOUND);
    CHECK_INT(fs_write_atomic(dir, "x", 1, &e), ERR_IO); /* a folder is in the way; no temporary stays */
    char *left = mem_printf("ls %s.tmp-* 2>/dev/null | grep -q .", dir);
    CHECK(system(left) != 0);
    for (long n = 0; n < 3; n++) {
        mem_fail_after(n);
        int code = fs_read_all(path, 100, &text, NULL, &e);
        mem_fail_after(-1);
        CHECK(code == 0 || (code == ERR_NOMEM && !text));
        mem_free(text);
    }
    CHECK_INT(fs_can_write(path, &e), 0); /* and leaves it as it is */
    CHECK_INT(fs_can_write(bad, &e), ERR_NOTFOUND);
    CHECK_INT(fs_can_write(dir, &e), ERR_IO);
    CHECK_INT(fs_read_all(path, 4, &text, &len, &e), 0);
    CHECK_STR(text, "two!");
    mem_free(text);
    mem_free(left);
    mem_free(bad);
    mem_free(path);
}

/* A pipe is written to; before, it was replaced by a file, as /dev/full was by a saved record. */
static void pipes(void)
{
    struct err e = {0};
    struct stat st;
    char *path = in_dir("pipe"), got[8] = "";
    CHECK_INT(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDONLY | O_NONBLOCK);
    CHECK_INT(fs_can_write(path, &e), 0);
    CHECK_INT(fs_write_atomic(path, "hello", 5, &e), 0);
    CHECK_INT(read(fd, got, sizeof got), 5);
    CHECK(memcmp(got, "hello", 5) == 0);
    CHECK(stat(path, &st) == 0 && S_ISFIFO(st.st_mode));
    close(fd);
    unlink(path);
    mem_free(path);
}

static void disk_full(void)
{
    struct err e = {0};
    int fd = open("/dev/full", O_WRONLY);
    if (fd < 0)
        return;
    close(fd);
    /* /dev/full cannot be replaced atomically, so its error code is what is tested: see err. */
    CHECK(fs_write_atomic("/dev/full/x", "x", 1, &e) < 0);
}

static void folders(void)
{
    struct err e = {0};
    char *deep = in_dir("a/b//c/"), *file = in_dir("data"), *below = in_dir("data/x");
    CHECK_INT(fs_mkdirs(deep, &e), 0);
    CHECK_INT(fs_mkdirs(deep, &e), 0);
    CHECK_INT(access(deep, W_OK), 0);
    CHECK_INT(fs_mkdirs(file, &e), ERR_IO);
    CHECK(strstr(e.msg, "not a folder") != NULL);
    CHECK_INT(fs_mkdirs(below, &e), ERR_IO);
    CHECK_INT(fs_mkdirs("", &e), ERR_RANGE);
    CHECK_INT(fs_mkdirs("/", &e), 0);
    uint64_t bytes = 0;
    CHECK_INT(fs_free_bytes(dir, &bytes, &e), 0);
    CHECK(bytes > 0);
    CHECK(fs_free_bytes("/no/such", &bytes, &e) < 0);
    mem_free(deep);
    mem_free(file);
    mem_free(below);
}

static void data_dir(void)
{
    struct err e = {0};
    char *own = in_dir("own"), *xdg = in_dir("xdg"), *home = in_dir("home"), *got, *want;
    setenv("HEARTH_HOME", own, 1);
    setenv("XDG_DATA_HOME", xdg, 1);
    setenv("HOME", home, 1);
    CHECK_INT(fs_data_dir(&got, &e), 0);
    CHECK_STR(got, own);
    CHECK_INT(access(own, W_OK), 0);
    mem_free(got);
    unsetenv("HEARTH_HOME");
    want = fs_join(xdg, "hearth");
    CHECK_INT(fs_data_dir(&got, &e), 0);
    CHECK_STR(got, want);
    mem_free(got);
    mem_free(want);
    setenv("XDG_DATA_HOME", "relative", 1);
    want = fs_join(home, ".local/share/hearth");
    CHECK_INT(fs_data_dir(&got, &e), 0);
    CHECK_STR(got, want);
    mem_free(got);
    mem_free(want);
    unsetenv("HOME");
    CHECK_INT(fs_data_dir(&got, &e), ERR_NOTFOUND);
    CHECK(got == NULL);
    mem_free(own);
    mem_free(xdg);
    mem_free(home);
}

static void joined(const char *a, const char *b, const char *want)
{
    char *s = fs_join(a, b);
    CHECK_STR(s, want);
    mem_free(s);
}

static void join(void)
{
    joined("a", "b", "a/b");
    joined("a/", "b", "a/b");
    joined("a", "/b", "a/b");
    joined("/", "b", "/b");
    joined("", "b", "b");
}

int main(void)
{
    dir = folder_make("fs");
    RUN(reader_reads);
    RUN(reader_refuses);
    RUN(atomic_replace);
    RUN(pipes);
    RUN(disk_full);
    RUN(folders);
    RUN(data_dir);
    RUN(join);
    folder_remove(dir);
    return check_done();
}
