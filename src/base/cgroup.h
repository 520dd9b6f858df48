/* cgroup: the limits a container or service manager put on this process (v2, and v1 where it is still mounted). */
#ifndef HEARTH_BASE_CGROUP_H
#define HEARTH_BASE_CGROUP_H
#include <stddef.h>

struct cgroup_limits {
    size_t memory_max;  /* bytes, the smaller of max and high; SIZE_MAX: none */
    size_t memory_left; /* max - used, page cache that can be dropped counted as free; SIZE_MAX: no limit */
    int cpus;           /* quota rounded up, 0: none */
};
/* proc_cgroup: text of /proc/self/cgroup; root: /sys/fs/cgroup (tests pass a folder of theirs). The tightest limit of the
 * own group and every group above it counts. */
void cgroup_read(const char *proc_cgroup, const char *root, struct cgroup_limits *out);

#endif
