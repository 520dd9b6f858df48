/* topo: which of the CPUs this process may use share a core, and which share a memory node. */
#ifndef HEARTH_BASE_TOPO_H
#define HEARTH_BASE_TOPO_H
#include <stddef.h>

enum { TOPO_CPUS = 1024 };
struct topo {
    int n, n_cores, n_nodes; /* usable CPUs, their physical cores, their memory nodes; each at least 1 */
    struct topo_cpu {
        int cpu, core, node; /* core: the lowest usable CPU of the same core */
    } cpu
        [TOPO_CPUS]; /* in the order in which threads should take them: a node's cores together, siblings of taken cores last */
};
/* sys: "/sys/devices/system" (tests pass a folder of theirs); usable: CPU numbers, ascending. What the folder does not say, or says
 * wrongly, counts as a core of its own on node 0. */
void topo_read(const char *sys, const int *usable, int n, struct topo *out);
void topo_here(struct topo *out); /* this process's */

#endif
