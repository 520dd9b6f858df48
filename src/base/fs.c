/* fs: reads, atomic replace and folders. Owns no path of its own but the data folder's name. */
#include "base/fs.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Some file systems accept O_DIRECT at open and refuse it at the first read, so one block is read to be sure. */
static bool fs_direct_works(int fd)
{
    void *block = NULL;
    if (posix_memalign(&block, FS_ALIGN, FS_ALIGN) != 0)
        return false;
    ssize_t n = pread(fd, block, FS_ALIGN, 0);
    free(block);
    return n >= 0;
}

int fs_reader_open(struct fs_reader *r, const char *path, struct err *e)
{
    struct stat st;
    *r = (struct fs_reader){.fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT)};
    r->direct = r->fd >= 0;
    if (r->direct && !fs_direct_works(r->fd)) {
        close(r->fd);
        r->direct = false;
    }
    if (!r->direct)
        r->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (r->fd < 0)
        return err_errno(e, "cannot open %s", path);
    if (fstat(r->fd, &st) != 0) {
        int code = err_errno(e, "cannot read %s", path);
        fs_reader_close(r);
        return code;
    }
    if (!S_ISREG(st.st_mode)) {
        fs_reader_close(r);
        return err_set(e, ERR_FORMAT, "%s is not a regular file", path);
    }
    r->size = (uint64_t)st.st_size;
    return 0;
}

void fs_reader_close(struct fs_reader *r)
{
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
}

int fs_reader_at(const struct fs_reader *r, uint64_t off, size_t len, void *dst, size_t dst_len, const uint8_t **data,
                 struct err *e)
{
    const uint64_t mask = FS_ALIGN - 1;
    if (off > r->size || len > r->size - off)
        return err_set(e, ERR_FORMAT, "file ends at byte %llu, %zu bytes wanted from %llu", (unsigned long long)r->size,
                       len, (unsigned long long)off);
    uint64_t start = off & ~mask;
    size_t need = (size_t)(off - start) + len;
    size_t whole = (need + mask) & ~(size_t)mask;
    if (((uintptr_t)dst & mask) != 0 || whole > dst_len)
        return err_set(e, ERR_RANGE, "read buffer of %zu bytes is too small or not aligned for %zu bytes", dst_len,
                       whole);
    size_t got = 0;
    while (got < need) {
        ssize_t n = pread(r->fd, (uint8_t *)dst + got, whole - got, (off_t)(start + got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, "cannot read %zu bytes at %llu", len, (unsigned long long)off);
        if (n == 0)
            return err_set(e, ERR_FORMAT, "file became shorter while it was read, at byte %llu",
                           (unsigned long long)(start + got));
        got += (size_t)n;
        if (got < need)
            got &= ~(size_t)mask; /* direct reads go on from a block's start; progress was made unless n < one block */
        if (got == 0 && (size_t)n < FS_ALIGN)
            return err_set(e, ERR_IO, "short read of %zd bytes at %llu", n, (unsigned long long)start);
    }
    if (!r->direct)
        posix_fadvise(r->fd, (off_t)start, (off_t)whole, POSIX_FADV_DONTNEED);
    *data = (const uint8_t *)dst + (off - start);
    return 0;
}

int fs_read_all(const char *path, size_t limit, char **out, size_t *len, struct err *e)
{
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "cannot open %s", path);
    char *text = NULL;
    size_t cap = 0, n = 0;
    int code = 0;
    for (;;) {
        char *p = mem_grow(text, &cap, n + 4096 + 1, 1);
        if (!p) {
            code = err_set(e, ERR_NOMEM, "out of memory reading %s", path);
            break;
        }
        text = p;
        ssize_t got = read(fd, text + n, cap - n - 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            code = err_errno(e, "cannot read %s", path);
        if (got <= 0)
            break;
        n += (size_t)got;
        if (n > limit) {
            code = err_set(e, ERR_LIMIT, "%s is larger than %zu bytes", path, limit);
            break;
        }
    }
    close(fd);
    if (code) {
        mem_free(text);
        return code;
    }
    text[n] = 0;
    *out = text;
    if (len)
        *len = n;
    return 0;
}

static int fs_write_fd(int fd, const char *p, size_t len)
{
    while (len) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

/* After a rename the folder holds the new name only once it is synced too. Not every file system can; that is no failure. */
static void fs_sync_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? mem_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : mem_strdup(".");
    if (!dir)
        return;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    mem_free(dir);
}

/* A device or a pipe: it is written to, never replaced by a file. */
static bool is_special(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

static int write_special(const char *path, const void *data, size_t len, struct err *e)
{
    int code = 0, fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || fs_write_fd(fd, data, len) != 0)
        code = err_errno(e, "cannot write %s", path);
    if (fd >= 0)
        close(fd);
    return code;
}

int fs_can_write(const char *path, struct err *e)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return err_set(e, ERR_IO, "cannot replace %s: it is a folder", path);
    if (is_special(path)) /* opening and closing a pipe would end it */
        return access(path, W_OK) == 0 ? 0 : err_errno(e, "cannot write %s", path);
    char *tmp = mem_printf("%s.tmp-%ld", path, (long)getpid());
    int fd = tmp ? open(tmp, O_WRONLY | O_CREAT | O_CLOEXEC, 0666) : -1;
    int code = tmp && fd < 0 ? err_errno(e, "cannot create %s", path) : 0;
    if (fd >= 0) {
        close(fd);
        unlink(tmp);
    }
    mem_free(tmp);
    return code;
}

int fs_write_atomic(const char *path, const void *data, size_t len, struct err *e)
{
    static atomic_uint serial;
    if (is_special(path))
        return write_special(path, data, len, e);
    char *tmp = mem_printf("%s.tmp-%ld-%u", path, (long)getpid(), atomic_fetch_add(&serial, 1));
    if (!tmp)
        return err_set(e, ERR_NOMEM, "out of memory writing %s", path);
    int code = 0;
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        code = err_errno(e, "cannot create %s", tmp);
        mem_free(tmp);
        return code;
    }
    if (fs_write_fd(fd, data, len) != 0 || fsync(fd) != 0)
        code = err_errno(e, "cannot write %s", path);
    if (close(fd) != 0 && !code)
        code = err_errno(e, "cannot write %s", path);
    if (!code && rename(tmp, path) != 0)
        code = err_errno(e, "cannot replace %s", path);
    if (code)
        unlink(tmp);
    else
        fs_sync_parent(path);
    mem_free(tmp);
    return code;
}

static int fs_mkdir(const char *path, struct err *e)
{
    struct stat st;
    if (mkdir(path, 0777) == 0)
        return 0;
    int code = err_errno(e, "cannot make the folder %s", path);
    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return 0;
        return err_set(e, ERR_IO, "%s is in the way: not a folder", path);
    }
    return code;
}

int fs_mkdirs(const char *path, struct err *e)
{
    struct err inner = {0};
    char *p = mem_strdup(path);
    if (!p)
        return err_set(e, ERR_NOMEM, "out of memory");
    int code = *p ? 0 : err_set(&inner, ERR_RANGE, "empty path");
    for (char *s = p + 1; *p && *s && !code; s++) {
        if (*s != '/')
            continue;
        *s = 0;
        code = fs_mkdir(p, &inner);
        *s = '/';
    }
    if (!code)
        code = fs_mkdir(p, &inner);
    if (code && e)
        *e = inner;
    mem_free(p);
    return code;
}

int fs_free_bytes(const char *path, uint64_t *out, struct err *e)
{
    struct statvfs st;
    if (statvfs(path, &st) != 0)
        return err_errno(e, "cannot ask for the free space of %s", path);
    *out = (uint64_t)st.f_bavail * st.f_frsize;
    return 0;
}

int fs_data_dir(char **out, struct err *e)
{
    const char *own = getenv("HEARTH_HOME"), *xdg = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    char *dir;
    *out = NULL;
    if (own && *own)
        dir = mem_strdup(own);
    else if (xdg && *xdg == '/') /* the XDG specification: relative paths are to be ignored */
        dir = fs_join(xdg, "hearth");
    else if (home && *home)
        dir = fs_join(home, ".local/share/hearth");
    else
        return err_set(e, ERR_NOTFOUND, "no data folder: set HEARTH_HOME or HOME");
    if (!dir)
        return err_set(e, ERR_NOMEM, "out of memory");
    int code = fs_mkdirs(dir, e);
    if (code) {
        mem_free(dir);
        return code;
    }
    *out = dir;
    return 0;
}

char *fs_join(const char *a, const char *b)
{
    size_t n = strlen(a);
    while (*b == '/' && n)
        b++;
    return mem_printf("%s%s%s", a, n && a[n - 1] != '/' ? "/" : "", b);
}
