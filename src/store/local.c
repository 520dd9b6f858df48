/* local: a file of this machine becomes the partial: by sharing its blocks, by a second name, else by copying. */
#include "store/fetch.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOCAL_CHUNK = 256 << 10 };

static int local_copy(struct fetch *f, int in, struct err *e)
{
    char *chunk = mem_alloc(LOCAL_CHUNK);
    int rc = chunk ? 0 : err_set(e, ERR_NOMEM, "out of memory for copying");
    while (!rc) {
        ssize_t n = read(in, chunk, LOCAL_CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = err_errno(e, "cannot read %s", f->source);
        if (n <= 0)
            break;
        rc = fetch_write(f, chunk, (size_t)n, e);
        if (!rc)
            rc = fetch_tick(f, "copying", f->have, e);
    }
    mem_free(chunk);
    return rc;
}

/* A hard link in place of the empty partial. The bytes are then shared with the user's own name for them. */
static bool local_link(struct fetch *f, const char *path)
{
    char *tmp = fetch_side(f, ".link");
    bool done = false;
    if (!tmp)
        return false;
    unlink(tmp);
    if (linkat(AT_FDCWD, path, AT_FDCWD, tmp, AT_SYMLINK_FOLLOW) == 0) {
        int fd = open(tmp, O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && rename(tmp, f->path) == 0) {
            fetch_close(f);
            f->fd = fd;
            done = true;
        } else {
            if (fd >= 0)
                close(fd);
            unlink(tmp);
        }
    }
    mem_free(tmp);
    return done;
}

int local_fetch(struct fetch *f, const char *path, struct err *e)
{
    struct stat st;
    int in = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block the open */
    if (in < 0)
        return err_errno(e, "cannot open %s", path);
    int rc = fstat(in, &st) ? err_errno(e, "cannot read %s", path) : 0;
    if (!rc && !S_ISREG(st.st_mode))
        rc = err_set(e, ERR_FORMAT, "%s is not a file", path);
    if (!rc && f->have)
        rc = fetch_cut(f, 0, e);
    if (!rc && (ioctl(f->fd, FICLONE, in) == 0 || local_link(f, path))) {
        digest_done(&f->sha);
        f->sha_runs = false;
        f->have = f->total = (uint64_t)st.st_size;
    } else if (!rc) {
        rc = fetch_expect(f, (uint64_t)st.st_size, 0, e);
        if (!rc)
            rc = local_copy(f, in, e);
    }
    close(in);
    return rc;
}
