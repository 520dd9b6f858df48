/* pressure: the machine's memory, and the group's, watched. Two marks each: below the low one memory is short and the limit falls by
 * what is lacking; it rises again, a little per second, only while the high mark stays free. Stalls (PSI) count only when
 * memory is scarce as well: a neighbour that thrashes in a group of its own is none of our business. */
#include "base/cgroup.h"
#include "ledger/ledger.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { PRESSURE_MARK = 512 << 20, PRESSURE_CUT = 64 << 20 };
static const double CALM_S = 3, CUT_EVERY_S = 2, RISE_PER_S = 1.0 / 32; /* of the ceiling */
static const double STALL_SOME = 25, STALL_FULL = 10;                   /* % */
static const double FILL_PER_S = 1e9, LOOK_LEAST_S = 0.02, LOOK_MOST_S = 1;

/* The high mark: what a machine, or a group, of this size should keep free. */
static size_t mark_of(size_t total)
{
    size_t m = total / 10 > PRESSURE_MARK ? total / 10 : PRESSURE_MARK;
    return m < total / 4 ? m : total / 4;
}

static size_t file_text(const char *path, char *buf, size_t size)
{
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(buf, 1, size - 1, f) : 0;
    if (f)
        fclose(f);
    buf[n] = 0;
    return n;
}

static int read_meminfo(const char *proc, struct pressure_reading *r)
{
    char path[4200], text[4096];
    unsigned long long kib;
    snprintf(path, sizeof path, "%s/meminfo", proc);
    file_text(path, text, sizeof text);
    const char *total = strstr(text, "MemTotal:"), *left = strstr(text, "MemAvailable:");
    if (!total || !left || sscanf(total, "MemTotal: %llu", &kib) != 1)
        return -1;
    r->total = (size_t)kib << 10;
    if (sscanf(left, "MemAvailable: %llu", &kib) != 1)
        return -1;
    r->left = (size_t)kib << 10;
    return r->total ? 0 : -1;
}

/* "some avg10=0.00 avg60=..." and "full avg10=..." */
static void read_stalls(const char *path, struct pressure_reading *r)
{
    char text[512];
    double v;
    if (!file_text(path, text, sizeof text))
        return;
    const char *some = strstr(text, "some avg10="), *full = strstr(text, "full avg10=");
    if (some && sscanf(some, "some avg10=%lf", &v) == 1 && v > r->some10)
        r->some10 = v;
    if (full && sscanf(full, "full avg10=%lf", &v) == 1 && v > r->full10)
        r->full10 = v;
}

/* The group's own stalls, where it is one of v2 ("0::/path"). */
static void read_group_stalls(const char *cgroup, const char *root, struct pressure_reading *r)
{
    char path[8400];
    const char *line = strncmp(cgroup, "0::", 3) == 0 ? cgroup : strstr(cgroup, "\n0::");
    if (!line)
        return;
    line += line == cgroup ? 3 : 4;
    snprintf(path, sizeof path, "%s%.*s/memory.pressure", root, (int)strcspn(line, "\n"), line);
    read_stalls(path, r);
}

int pressure_read(const struct pressure_paths *p, struct pressure_reading *out, struct err *e)
{
    const char *proc = p && p->proc ? p->proc : "/proc", *group = p && p->group ? p->group : "/sys/fs/cgroup";
    char path[4200], text[4096];
    struct cgroup_limits l;
    *out = (struct pressure_reading){.some10 = -1, .full10 = -1};
    if (read_meminfo(proc, out) < 0)
        return err_set(e, ERR_IO, "%s/meminfo does not say how much memory is available", proc);
    snprintf(path, sizeof path, "%s/pressure/memory", proc);
    read_stalls(path, out);
    snprintf(path, sizeof path, "%s/self/cgroup", proc);
    file_text(path, text, sizeof text);
    read_group_stalls(text, group, out);
    cgroup_read(text, group, &l);
    out->group_max = l.memory_max;
    out->group_left = l.memory_left;
    return 0;
}

static size_t at_most(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* What the ledger may hold so that `share` of the mark stays free: of the machine and of the group. */
static size_t cap_of(const struct pressure_reading *r, size_t used, double share)
{
    size_t keep = (size_t)((double)mark_of(r->total) * share), cap = used + r->left;
    cap = cap > keep ? cap - keep : 0;
    if (r->group_max != SIZE_MAX) {
        size_t keep_group = (size_t)((double)mark_of(r->group_max) * share), group = used + r->group_left;
        cap = at_most(cap, group > keep_group ? group - keep_group : 0);
    }
    return cap;
}

static bool scarce(const struct pressure_reading *r, size_t parts)
{
    return r->left < r->total / parts || (r->group_max != SIZE_MAX && r->group_left < r->group_max / parts);
}

/* Seconds in which what is left above twice the mark may go; faster ones find the marks. */
static double fill_s(size_t left, size_t total)
{
    size_t keep = 2 * mark_of(total);
    return left > keep ? (double)(left - keep) / FILL_PER_S : 0;
}

double pressure_look_s(const struct pressure_reading *r)
{
    double s = fill_s(r->left, r->total), group = r->group_max == SIZE_MAX ? s : fill_s(r->group_left, r->group_max);
    s = group < s ? group : s;
    return s < LOOK_LEAST_S ? LOOK_LEAST_S : s > LOOK_MOST_S ? LOOK_MOST_S : s;
}

static bool stalls(const struct pressure_reading *r)
{
    return scarce(r, 4) && (r->some10 >= STALL_SOME || r->full10 >= STALL_FULL);
}

size_t pressure_step(struct pressure *p, const struct pressure_reading *r, size_t ceiling, size_t used, double now_s)
{
    size_t want = at_most(ceiling, cap_of(r, used, 0.5)), limit = p->limit ? at_most(p->limit, ceiling) : ceiling;
    if (p->level == PRESSURE_NONE) /* nothing held it down: it goes where the ceiling goes */
        limit = ceiling;
    double dt = p->step_s > 0 ? now_s - p->step_s : 0;
    p->step_s = now_s;
    p->last = *r;
    bool cut = stalls(r) && now_s - p->cut_s >= CUT_EVERY_S;
    if (cut) {
        size_t off = used / 16 > PRESSURE_CUT ? used / 16 : PRESSURE_CUT;
        want = at_most(want, used > off ? used - off : 0);
        p->cut_s = now_s;
    }
    if (want < limit) {
        limit = want;
        p->calm_s = now_s;
    } else if (limit < ceiling && now_s - p->calm_s >= CALM_S && !stalls(r)) {
        size_t up = (size_t)((double)ceiling * RISE_PER_S * dt), most = at_most(ceiling, cap_of(r, used, 0.75));
        if (most > limit)
            limit += at_most(up, most - limit);
    }
    p->limit = limit ? limit : 1; /* 0 would mean: no step yet */
    p->level = limit >= ceiling ? PRESSURE_NONE : now_s - p->calm_s < CALM_S ? PRESSURE_HIGH : PRESSURE_SOME;
    return p->limit;
}

const char *pressure_name(enum pressure_level l)
{
    static const char *const names[] = {"none", "some", "high"};
    return names[l];
}
