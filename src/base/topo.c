/* topo: read from sysfs, whose lists look like "0-3,8,10-11". Nothing here is trusted: a list names CPUs or it is ignored. */
#include "base/topo.h"
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOPO_NODES = 64 };

/* The list's members among [0, TOPO_CPUS); false when there is no such file or it is no list. */
static bool topo_list(const char *path, bool member[TOPO_CPUS])
{
    char text[4096];
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    for (int i = 0; i < TOPO_CPUS; i++)
        member[i] = false;
    for (const char *p = text; *p && *p != '\n';) {
        char *end;
        if (*p < '0' || *p > '9')
            return false;
        unsigned long from = strtoul(p, &end, 10), to = from;
        if (*end == '-') {
            if (end[1] < '0' || end[1] > '9')
                return false;
            to = strtoul(end + 1, &end, 10);
        }
        for (unsigned long i = from; i <= to && i < TOPO_CPUS; i++)
            member[i] = true;
        if (*end != ',' && *end != '\n' && *end != 0)
            return false;
        p = *end == ',' ? end + 1 : end;
    }
    return true;
}

static void topo_cores(const char *sys, struct topo *t)
{
    bool member[TOPO_CPUS];
    char path[4200];
    for (int i = 0; i < t->n; i++) {
        struct topo_cpu *c = &t->cpu[i];
        c->core = c->cpu;
        snprintf(path, sizeof path, "%s/cpu/cpu%d/topology/thread_siblings_list", sys, c->cpu);
        if (!topo_list(path, member) || !member[c->cpu])
            continue;
        for (int j = 0; j < i; j++)
            if (member[t->cpu[j].cpu]) {
                c->core = t->cpu[j].core;
                break;
            }
    }
}

static void topo_nodes(const char *sys, struct topo *t)
{
    bool member[TOPO_CPUS];
    char path[4200];
    for (int node = 1; node < TOPO_NODES; node++) {
        snprintf(path, sizeof path, "%s/node/node%d/cpulist", sys, node);
        if (!topo_list(path, member))
            continue;
        for (int i = 0; i < t->n; i++)
            if (member[t->cpu[i].cpu])
                t->cpu[i].node = node;
    }
}

static int topo_by_place(const void *a, const void *b)
{
    const struct topo_cpu *x = a, *y = b;
    bool sx = x->core != x->cpu, sy = y->core != y->cpu;
    if (sx != sy)
        return sx ? 1 : -1;
    return x->node != y->node ? x->node - y->node : x->cpu - y->cpu;
}

void topo_read(const char *sys, const int *usable, int n, struct topo *out)
{
    *out = (struct topo){.n = n < 1 ? 1 : n > TOPO_CPUS ? TOPO_CPUS : n};
    for (int i = 0; i < out->n && i < n; i++)
        out->cpu[i].cpu = usable[i] >= 0 && usable[i] < TOPO_CPUS ? usable[i] : 0;
    topo_cores(sys, out);
    topo_nodes(sys, out);
    qsort(out->cpu, (size_t)out->n, sizeof out->cpu[0], topo_by_place);
    bool seen[TOPO_NODES] = {false};
    for (int i = 0; i < out->n; i++) {
        out->n_cores += out->cpu[i].core == out->cpu[i].cpu;
        out->n_nodes += !seen[out->cpu[i].node];
        seen[out->cpu[i].node] = true;
    }
}

void topo_here(struct topo *out)
{
    int usable[TOPO_CPUS], n = 0;
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        for (int i = 0; i < TOPO_CPUS && i < CPU_SETSIZE; i++)
            if (CPU_ISSET((size_t)i, &set))
                usable[n++] = i;
    topo_read("/sys/devices/system", usable, n, out);
}
