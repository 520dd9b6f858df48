/* fetch: the partial file and its meter; see fetch.h. Knows no source. */
#include "store/fetch.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "store/pip.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FETCH_SLACK = 32 << 20, /* disk left alone beyond the file itself */
    FETCH_MEAN_S = 15,      /* the speed shown is that of about so many seconds */
};

char *fetch_side(const struct fetch *f, const char *suffix)
{
    return mem_printf("%s%s", f->path, suffix);
}

int fetch_open(struct fetch *f, struct err *e)
{
    struct stat st;
    f->fd = open(f->path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (f->fd < 0)
        return err_errno(e, "cannot create %s", f->path);
    if (fstat(f->fd, &st))
        return err_errno(e, "cannot read %s", f->path);
    if (st.st_nlink !=
        1) { /* a cut pull of a local file left a second name of the user's own bytes: never write to those */
        close(f->fd);
        unlink(f->path);
        f->fd = open(f->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (f->fd < 0)
            return err_errno(e, "cannot create %s", f->path);
        st.st_size = 0;
    }
    f->have = (uint64_t)st.st_size;
    if (f->total && f->have > f->total)
        return fetch_cut(f, 0, e);
    f->sha_runs = f->have == 0 && digest_init(&f->sha, NULL) == 0;
    return 0;
}

void fetch_close(struct fetch *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
    digest_done(&f->sha);
    f->sha_runs = false;
}

int fetch_write(struct fetch *f, const void *p, size_t n, struct err *e)
{
    const char *c = p;
    if (f->total && n > f->total - f->have)
        return err_set(e, ERR_CHECKSUM, "%s sends more than the %" PRIu64 " bytes promised", f->source, f->total);
    for (size_t at = 0; at < n;) {
        ssize_t k = pwrite(f->fd, c + at, n - at, (off_t)(f->have + at));
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
            return err_set(e, ERR_DISK_FULL,
                           "the disk is full after %" PRIu64
                           " bytes of %s; free some space and pull again, it goes on from there",
                           f->have, f->path);
        if (k < 0)
            return err_errno(e, "cannot write %s", f->path);
        at += (size_t)k;
    }
    if (f->sha_runs)
        digest_add(&f->sha, p, n);
    f->have += n;
    return 0;
}

int fetch_cut(struct fetch *f, uint64_t len, struct err *e)
{
    digest_done(&f->sha);
    f->sha_runs = len == 0 && digest_init(&f->sha, NULL) == 0;
    if (ftruncate(f->fd, (off_t)len))
        return err_errno(e, "cannot shorten %s", f->path);
    f->have = len;
    f->shown = 0;
    f->rate_at = 0;
    return 0;
}

void fetch_forget(struct fetch *f)
{
    static const char *const sides[] = {"", ".etag", ".parts"};
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        char *p = fetch_side(f, sides[i]);
        if (p)
            unlink(p);
        mem_free(p);
    }
    char *pip = fetch_side(f, ".pip");
    if (pip)
        pip_remove_tree(pip, 8);
    mem_free(pip);
    fetch_close(f);
    f->have = 0;
}

int fetch_expect(struct fetch *f, uint64_t total, uint64_t extra, struct err *e)
{
    uint64_t room = 0;
    if (f->total && total && total != f->total)
        return err_set(e, ERR_CHECKSUM, "%s offers %" PRIu64 " bytes, %" PRIu64 " were promised", f->source, total,
                       f->total);
    if (!f->total)
        f->total = total;
    if (!f->total || fs_free_bytes(f->path, &room, NULL))
        return 0; /* then the write itself will tell */
    uint64_t need = (f->total > f->have ? f->total - f->have : 0) + extra;
    if (need == 0 || room >= need + FETCH_SLACK)
        return 0;
    const char *slash = strrchr(f->path, '/');
    return err_set(e, ERR_DISK_FULL, "%" PRIu64 " MB are needed and %" PRIu64 " MB are free on the disk of %.*s",
                   (need + FETCH_SLACK) / 1000000, room / 1000000, (int)(slash - f->path), f->path);
}

struct check {
    struct fetch *f;
    struct err *e;
};

static int check_tick(void *arg, uint64_t done)
{
    struct check *c = arg;
    return fetch_tick(c->f, "checking", done, c->e);
}

int fetch_check(struct fetch *f, struct err *e)
{
    char got[DIGEST_HEX];
    struct check c = {f, e};
    if (f->total && f->have != f->total)
        return err_set(e, ERR_CHECKSUM, "%s gave %" PRIu64 " of %" PRIu64 " bytes", f->source, f->have, f->total);
    if (f->sha_runs) {
        digest_hex(&f->sha, got);
        f->sha_runs = false;
    } else {
        f->rate_at = 0;
        int rc = digest_file(f->fd, got, check_tick, &c, e);
        if (rc)
            return rc;
    }
    if (f->want_sha[0] && strcmp(got, f->want_sha) != 0)
        return err_set(e, ERR_CHECKSUM, "what %s gave has SHA-256 %.16s..., promised was %.16s...; it is thrown away",
                       f->source, got, f->want_sha);
    memcpy(f->want_sha, got, sizeof got);
    return 0;
}

int fetch_tick(struct fetch *f, const char *stage, uint64_t done, struct err *e)
{
    double now = clock_s();
    bool new_stage = !f->stage || strcmp(f->stage, stage) != 0, loading = strcmp(stage, "checking") != 0;
    if (loading && done < f->shown) /* a wheel that arrived is then unpacked: the bar waits, it does not go back */
        done = f->shown;
    if (loading)
        f->shown = done;
    if (f->rate_at <= 0 || (new_stage && !loading) || done < f->rate_done) {
        f->rate = 0;
        f->rate_at = f->rate_from = now;
        f->rate_done = f->rate_base = done;
    }
    f->stage = stage;
    if (now - f->rate_at >= 0.5) { /* wheels come in bursts: the mean since the start, later a slow average */
        double dt = now - f->rate_at, r = (double)(done - f->rate_done) / dt;
        if (now - f->rate_from < FETCH_MEAN_S)
            f->rate = (double)(done - f->rate_base) / (now - f->rate_from);
        else
            f->rate += (r - f->rate) * (dt < FETCH_MEAN_S ? dt / FETCH_MEAN_S : 1);
        f->rate_at = now;
        f->rate_done = done;
    }
    if (!f->progress || (!new_stage && now - f->told_at < 0.1))
        return 0;
    f->told_at = now;
    struct store_progress p = {
        .stage = stage, .source = f->source, .done = done, .total = f->total, .bytes_per_s = f->rate};
    if (f->rate > 0 && f->total > done)
        p.eta_s = (double)(f->total - done) / f->rate;
    return f->progress(f->arg, &p)
               ? err_set(e, ERR_CANCELLED, "cancelled; the part that is here is kept and used next time")
               : 0;
}
