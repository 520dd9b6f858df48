/* Pressure: what made-up files say, and how the limit follows: at once downwards, slowly back, never above the ceiling. */
#include "../check.h"
#include "../folder.h"
#include "ledger/ledger.h"
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *dir;
static const size_t MIB = 1 << 20, GIB = 1 << 30;

static void put(const char *name, const char *text)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    for (char *p = path + strlen(dir) + 1; (p = strchr(p, '/')) != NULL; *p++ = '/') {
        *p = 0;
        mkdir(path, 0700);
    }
    FILE *f = fopen(path, "w");
    CHECK(f != NULL && fputs(text, f) >= 0);
    fclose(f);
}

static struct pressure_paths paths(void)
{
    static char proc[100], group[100];
    snprintf(proc, sizeof proc, "%s/proc", dir);
    snprintf(group, sizeof group, "%s/group", dir);
    return (struct pressure_paths){proc, group};
}

static void files_are_read(void)
{
    struct pressure_paths p = paths();
    struct pressure_reading r;
    struct err e = {0};
    CHECK_INT(pressure_read(&p, &r, &e), ERR_IO);
    CHECK(strstr(e.msg, "meminfo") != NULL);
    put("proc/meminfo", "MemTotal: 1000 kB\nMemFree: 5 kB\n");
    CHECK_INT(pressure_read(&p, &r, &e), ERR_IO); /* no MemAvailable: says nothing rather than a guess */
    put("proc/meminfo", "MemTotal:       8388608 kB\nMemFree:  5 kB\nMemAvailable:    2097152 kB\nBuffers: 1 kB\n");
    CHECK_INT(pressure_read(&p, &r, &e), 0);
    CHECK(r.total == 8 * GIB && r.left == 2 * GIB && r.group_max == SIZE_MAX && r.some10 < 0 && r.full10 < 0);
    put("proc/pressure/memory",
        "some avg10=1.50 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.25 avg60=0 avg300=0 total=1\n");
    put("proc/self/cgroup", "4:memory:/none\n0::/a/b\n");
    put("group/a/b/memory.max", "1073741824\n");
    put("group/a/b/memory.high", "max\n");
    put("group/a/b/memory.current", "805306368\n");
    put("group/a/b/memory.stat", "anon 5\ninactive_file 268435456\n");
    put("group/a/b/memory.pressure",
        "some avg10=40.00 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.00 avg60=0 avg300=0 total=1\n");
    CHECK_INT(pressure_read(&p, &r, &e), 0);
    CHECK(r.group_max == GIB && r.group_left == 512 * MIB);
    CHECK(r.some10 == 40.0 && r.full10 == 0.25); /* the worse of the machine's and the group's */
    put("group/a/b/memory.high", "536870912\n");
    CHECK_INT(pressure_read(&p, &r, &e), 0);
    CHECK(r.group_max == 512 * MIB && r.group_left == 0); /* above it the kernel slows us down */
}

static struct pressure_reading machine(size_t total, size_t left)
{
    return (struct pressure_reading){
        .total = total, .left = left, .group_max = SIZE_MAX, .group_left = SIZE_MAX, .some10 = -1, .full10 = -1};
}

static void limit_falls_at_once(void)
{
    struct pressure p = {0};
    struct pressure_reading r = machine(16 * GIB, 8 * GIB);
    CHECK_INT(pressure_step(&p, &r, 10 * GIB, 4 * GIB, 1), 10 * GIB);
    CHECK_INT(p.level, PRESSURE_NONE);
    CHECK_INT(pressure_step(&p, &r, 5 * GIB, 4 * GIB, 1.02), 5 * GIB); /* a ceiling that moves is no pressure */
    CHECK_INT(pressure_step(&p, &r, 10 * GIB, 4 * GIB, 1.05), 10 * GIB);
    r.left = 300 * MIB; /* the mark of 16 GiB is 1.6 GiB, the low one half of that */
    size_t limit = pressure_step(&p, &r, 10 * GIB, 4 * GIB, 1.1), mark = (size_t)(16 * GIB) / 10;
    CHECK_INT(limit, 4 * GIB + 300 * MIB - mark / 2);
    CHECK(limit < 4 * GIB && p.level == PRESSURE_HIGH);
    r.left = 0;
    CHECK_INT(pressure_step(&p, &r, 10 * GIB, 100 * MIB, 1.2), 1); /* nothing left of it, and still no crash or 0 */
}

static void limit_rises_slowly(void)
{
    struct pressure p = {0};
    struct pressure_reading r = machine(16 * GIB, 100 * MIB);
    size_t ceiling = 8 * GIB, limit = pressure_step(&p, &r, ceiling, 4 * GIB, 10), before = limit;
    r.left = 9 * GIB;
    CHECK_INT(pressure_step(&p, &r, ceiling, 3 * GIB, 11), limit); /* not at once */
    double t = 11;
    int steps = 0;
    for (; limit < ceiling && steps < 1000; steps++, before = limit) {
        t += 0.25;
        limit = pressure_step(&p, &r, ceiling, 3 * GIB, t);
        CHECK(limit >= before && limit - before <= ceiling / 32);
    }
    CHECK(limit == ceiling && p.level == PRESSURE_NONE);
    CHECK(t - 11 > 10 && t - 11 < 60);
    /* never up to what would be short again: 3 GiB held, 1 GiB left, three quarters of the mark stay free */
    p = (struct pressure){0};
    r.left = 0;
    pressure_step(&p, &r, ceiling, 3 * GIB, 100);
    r.left = 1280 * MIB;
    for (t = 100; t < 200; t += 0.25)
        limit = pressure_step(&p, &r, ceiling, 3 * GIB, t);
    CHECK_INT(limit, 3 * GIB + 1280 * MIB - (size_t)((double)(16 * GIB / 10) * 0.75));
    CHECK_INT(p.level, PRESSURE_SOME);
}

static void a_group_counts_too(void)
{
    struct pressure p = {0};
    struct pressure_reading r = machine(64 * GIB, 60 * GIB);
    r.group_max = 400 * MIB;
    r.group_left = 10 * MIB;
    /* a quarter of a small group is its mark */
    CHECK_INT(pressure_step(&p, &r, 300 * MIB, 250 * MIB, 1), 210 * MIB);
    CHECK(pressure_look_s(&r) == 0.02);
    r.group_left = 390 * MIB;
    CHECK(pressure_look_s(&r) > 0.15 && pressure_look_s(&r) < 0.25);
    r.group_max = r.group_left = SIZE_MAX;
    CHECK(pressure_look_s(&r) == 1);
}

static void stalls_count_when_memory_is_scarce(void)
{
    struct pressure p = {0};
    struct pressure_reading r = machine(16 * GIB, 8 * GIB);
    r.some10 = 90;
    CHECK_INT(pressure_step(&p, &r, 10 * GIB, 4 * GIB, 1), 10 * GIB); /* somebody else's trouble */
    r.left = 2 * GIB;
    CHECK_INT(pressure_step(&p, &r, 10 * GIB, 4 * GIB, 2), 4 * GIB - 4 * GIB / 16);
    CHECK_INT(pressure_step(&p, &r, 10 * GIB, 4 * GIB, 2.1),
              4 * GIB - 4 * GIB / 16); /* the average lags: not again so soon */
    CHECK(pressure_step(&p, &r, 10 * GIB, 4 * GIB - 4 * GIB / 16, 5) < 4 * GIB - 4 * GIB / 16);
}

static void limit_in_the_ledger(void)
{
    struct ledger *l;
    struct ledger_owner *o;
    struct err e = {0};
    CHECK_INT(ledger_new(&l, 1000, &e), 0);
    CHECK_INT(ledger_owner_new(l, "model/a/kv", &o, &e), 0);
    CHECK_INT(ledger_reserve(o, 600, &e), 0);
    ledger_set_limit(l, 400); /* below what is held: that stays, nothing more is granted */
    CHECK_INT(ledger_limit(l), 400);
    CHECK_INT(ledger_ceiling(l), 1000);
    CHECK_INT(ledger_free_bytes(l), 0);
    CHECK_INT(ledger_reserve(o, 1, &e), ERR_NOMEM);
    CHECK(strstr(e.msg, "limit that the machine's memory allows now") != NULL && strstr(e.msg, "model/a/kv") != NULL);
    ledger_release(o, 300);
    CHECK_INT(ledger_free_bytes(l), 100);
    CHECK_INT(ledger_reserve(o, 100, &e), 0);
    ledger_set_limit(l, 5000);
    CHECK_INT(ledger_limit(l), 1000);
    CHECK_INT(ledger_reserve(o, 600, &e), 0);
    CHECK_INT(ledger_set_ceiling(l, 2000, &e), 0); /* nobody held it down: it goes along */
    CHECK_INT(ledger_limit(l), 2000);
    ledger_set_limit(l, 1500);
    CHECK_INT(ledger_set_ceiling(l, 3000, &e), 0);
    CHECK_INT(ledger_limit(l), 1500);
    ledger_free(l);
}

int main(void)
{
    dir = folder_make("pressure");
    RUN(files_are_read);
    RUN(limit_falls_at_once);
    RUN(limit_rises_slowly);
    RUN(a_group_counts_too);
    RUN(stalls_count_when_memory_is_scarce);
    RUN(limit_in_the_ledger);
    folder_remove(dir);
    return check_done();
}
