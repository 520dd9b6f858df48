/* cgroup: walks from the process's group up to the root. Inside a container the path of /proc/self/cgroup may not exist below
 * the mount; the walk ends at the mount itself, where the container's own limits then stand. */
#include "base/cgroup.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CGROUP_PATH = 4096 };

/* First bytes of dir/name as text; returns 0 when there is no such file. */
static int cgroup_text(const char *dir, const char *name, char *buf, size_t size)
{
    char path[CGROUP_PATH + 64];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    size_t n = fread(buf, 1, size - 1, f);
    fclose(f);
    buf[n] = 0;
    return n > 0;
}

/* "max" and the huge numbers by which v1 says "none" give SIZE_MAX. */
static size_t cgroup_number(const char *dir, const char *name)
{
    char text[64];
    if (!cgroup_text(dir, name, text, sizeof text) || text[0] < '0' || text[0] > '9')
        return SIZE_MAX;
    unsigned long long v = strtoull(text, NULL, 10);
    return v >= (1ull << 62) ? SIZE_MAX : (size_t)v;
}

/* Value after `key` in dir/memory.stat, 0 if absent. */
static size_t cgroup_stat(const char *dir, const char *key)
{
    char text[8192];
    if (!cgroup_text(dir, "memory.stat", text, sizeof text))
        return 0;
    size_t len = strlen(key);
    for (char *p = text; p; p = strchr(p, '\n'), p = p ? p + 1 : NULL)
        if (strncmp(p, key, len) == 0 && p[len] == ' ')
            return (size_t)strtoull(p + len, NULL, 10);
    return 0;
}

static void cgroup_memory(const char *dir, int v2, struct cgroup_limits *out)
{
    size_t max = cgroup_number(dir, v2 ? "memory.max" : "memory.limit_in_bytes");
    size_t high = v2 ? cgroup_number(dir, "memory.high") : SIZE_MAX; /* above it the kernel slows the group down */
    max = high < max ? high : max;
    if (max == SIZE_MAX)
        return;
    size_t used = cgroup_number(dir, v2 ? "memory.current" : "memory.usage_in_bytes");
    size_t cache = cgroup_stat(dir, v2 ? "inactive_file" : "total_inactive_file");
    if (used == SIZE_MAX)
        used = 0;
    used -= cache < used ? cache : used;
    size_t left = used < max ? max - used : 0;
    if (max < out->memory_max)
        out->memory_max = max;
    if (left < out->memory_left)
        out->memory_left = left;
}

static void cgroup_cpu(const char *dir, int v2, struct cgroup_limits *out)
{
    char text[64];
    long long quota = 0, period = 0;
    if (v2) {
        if (!cgroup_text(dir, "cpu.max", text, sizeof text) || sscanf(text, "%lld %lld", &quota, &period) != 2)
            return;
    } else {
        if (!cgroup_text(dir, "cpu.cfs_quota_us", text, sizeof text) || sscanf(text, "%lld", &quota) != 1)
            return;
        if (!cgroup_text(dir, "cpu.cfs_period_us", text, sizeof text) || sscanf(text, "%lld", &period) != 1)
            return;
    }
    if (quota <= 0 || period <= 0 || quota / period > 1 << 20)
        return;
    int cpus = (int)((quota + period - 1) / period);
    if (!out->cpus || cpus < out->cpus)
        out->cpus = cpus;
}

typedef void (*cgroup_visit)(const char *dir, int v2, struct cgroup_limits *out);

/* Calls fn for mount/path, its parent, ... and mount. */
static void cgroup_walk(const char *mount, const char *path, int v2, cgroup_visit fn, struct cgroup_limits *out)
{
    char dir[CGROUP_PATH];
    int n = snprintf(dir, sizeof dir, "%s%s", mount, path);
    size_t stop = strlen(mount);
    if (n < 0 || (size_t)n >= sizeof dir)
        return;
    for (;;) {
        fn(dir, v2, out);
        char *slash = strrchr(dir + stop, '/');
        if (!slash)
            return;
        *slash = 0;
    }
}

/* One line "id:controllers:path"; v2 is "0::path". */
static void cgroup_line(char *line, const char *root, struct cgroup_limits *out)
{
    char mount[CGROUP_PATH];
    char *names = strchr(line, ':');
    char *path = names ? strchr(names + 1, ':') : NULL;
    if (!path)
        return;
    *path++ = 0;
    names++;
    if (strcmp(path, "/") == 0)
        path++;
    if (!*names) {
        cgroup_walk(root, path, 1, cgroup_memory, out);
        cgroup_walk(root, path, 1, cgroup_cpu, out);
        return;
    }
    /* v1: the folder is usually a link named after each controller. */
    char *rest;
    for (char *c = strtok_r(names, ",", &rest); c; c = strtok_r(NULL, ",", &rest)) {
        int memory = strcmp(c, "memory") == 0;
        if (!memory && strcmp(c, "cpu") != 0)
            continue;
        snprintf(mount, sizeof mount, "%s/%s", root, c);
        cgroup_walk(mount, path, 0, memory ? cgroup_memory : cgroup_cpu, out);
    }
}

void cgroup_read(const char *proc_cgroup, const char *root, struct cgroup_limits *out)
{
    *out = (struct cgroup_limits){.memory_max = SIZE_MAX, .memory_left = SIZE_MAX};
    while (*proc_cgroup) {
        char line[CGROUP_PATH];
        size_t len = strcspn(proc_cgroup, "\n");
        if (len < sizeof line) {
            memcpy(line, proc_cgroup, len);
            line[len] = 0;
            cgroup_line(line, root, out);
        }
        proc_cgroup += len + (proc_cgroup[len] == '\n');
    }
}
