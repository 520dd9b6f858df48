/* topo: cores, siblings and nodes of made-up machines, whole and broken ones. */
#include "../check.h"
#include "../folder.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/topo.h"

static const char *dir;

static void put(const char *folder, const char *name, const char *text)
{
    char *d = fs_join(dir, folder), *p = fs_join(d, name);
    CHECK_INT(fs_mkdirs(d, NULL), 0);
    CHECK_INT(fs_write_atomic(p, text, strlen(text), NULL), 0);
    mem_free(d);
    mem_free(p);
}

static void siblings(const char *machine, int cpu, const char *list)
{
    char folder[96];
    snprintf(folder, sizeof folder, "%s/cpu/cpu%d/topology", machine, cpu);
    put(folder, "thread_siblings_list", list);
}

static void node(const char *machine, int n, const char *list)
{
    char folder[96];
    snprintf(folder, sizeof folder, "%s/node/node%d", machine, n);
    put(folder, "cpulist", list);
}

/* The order of `n` usable CPUs as text: "0 1 2 3". */
static const char *order(const char *machine, const int *usable, int n, struct topo *t)
{
    static char out[200];
    char *p = fs_join(dir, machine);
    size_t at = 0;
    topo_read(p, usable, n, t);
    mem_free(p);
    out[0] = 0;
    for (int i = 0; i < t->n && at < 180; i++)
        at += (size_t)snprintf(out + at, sizeof out - at, "%s%d", i ? " " : "", t->cpu[i].cpu);
    return out;
}

static const int all[] = {0, 1, 2, 3, 4, 5, 6, 7};
static struct topo t;

static void two_nodes_with_siblings(void)
{
    static const char *const pairs[] = {"0,4\n", "1,5\n", "2,6\n", "3,7\n"};
    for (int i = 0; i < 8; i++)
        siblings("two", i, pairs[i % 4]);
    node("two", 0, "0,2,4,6\n");
    node("two", 1, "1,3,5,7\n");
    CHECK_STR(order("two", all, 8, &t), "0 2 1 3 4 6 5 7"); /* cores of node 0, of node 1, then siblings */
    CHECK_INT(t.n_cores, 4);
    CHECK_INT(t.n_nodes, 2);
    static const int some[] = {3, 4, 5, 6}; /* an affinity mask: 4 stands for its core, 0 is not ours */
    CHECK_STR(order("two", some, 4, &t), "4 6 3 5");
    CHECK_INT(t.n_cores, 4);
    CHECK_STR(order("two", all + 1, 1, &t), "1");
    CHECK(t.n_cores == 1 && t.n_nodes == 1);
}

static void neighbours_as_siblings(void)
{
    for (int i = 0; i < 4; i++)
        siblings("pairs", i, i < 2 ? "0-1\n" : "2-3");
    node("pairs", 0, "0-3\n");
    CHECK_STR(order("pairs", all, 4, &t), "0 2 1 3");
    CHECK(t.n_cores == 2 && t.n_nodes == 1);
}

static void nothing_known(void)
{
    CHECK_STR(order("empty", all, 3, &t), "0 1 2");
    CHECK(t.n_cores == 3 && t.n_nodes == 1);
    order("empty", NULL, 0, &t);
    CHECK(t.n == 1 && t.n_cores == 1 && t.n_nodes == 1);
}

static void nonsense(void)
{
    static const char *const lists[] = {
        "",     "\n",    "-",  "0-",           "a",  "0,,1", "1-0\n", "99999999999999999999\n",
        "0-99", "0,1 2", ",0", "0-4294967295", "5\n"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        siblings("odd", 0, lists[i]);
        siblings("odd", 1, lists[i]);
        node("odd", 1, lists[i]);
        order("odd", all, 2, &t);
        CHECK_INT(t.n, 2);
        CHECK(t.n_cores >= 1 && t.n_cores <= 2 && t.n_nodes >= 1 && t.n_nodes <= 2);
    }
    static const int absurd[] = {-5, 1 << 30};
    order("odd", absurd, 2, &t);
    CHECK_INT(t.n, 2);
}

static void this_machine(void)
{
    topo_here(&t);
    CHECK(t.n >= t.n_cores && t.n_cores >= 1 && t.n_nodes >= 1);
}

int main(void)
{
    dir = folder_make("topo");
    RUN(two_nodes_with_siblings);
    RUN(neighbours_as_siblings);
    RUN(nothing_known);
    RUN(nonsense);
    RUN(this_machine);
    folder_remove(dir);
    return check_done();
}
