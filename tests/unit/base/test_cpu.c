/* cpu and cgroup: masks by name, what /proc says about this machine, limits read from made-up cgroup trees. */
#include "../check.h"
#include "../folder.h"
#include "base/cgroup.h"
#include "base/cpu.h"
#include "base/fs.h"
#include "base/mem.h"
#include <stdint.h>

static const char *dir;

static void masks(void)
{
    CHECK_INT(cpu_mask_parse("ref"), 0);
    CHECK_INT(cpu_mask_parse("none"), 0);
    CHECK_INT(cpu_mask_parse("avx2"), CPU_AVX2);
    CHECK_INT(cpu_mask_parse("avxvnni"), CPU_AVX2 | CPU_AVXVNNI);
    CHECK_INT(cpu_mask_parse("avx512"), CPU_AVX2 | CPU_AVX512);
    CHECK_INT(cpu_mask_parse("amx"), CPU_AVX2 | CPU_AVX512 | CPU_AMX);
    CHECK(cpu_mask_parse("neon") & CPU_NEON);
    CHECK_INT(cpu_mask_parse("AVX9"), -1);
    CHECK_INT(cpu_mask_parse(""), -1);
    CHECK_STR(cpu_mask_name(0), "ref");
    CHECK_STR(cpu_mask_name(CPU_AVX2), "avx2");
    CHECK_STR(cpu_mask_name((unsigned)cpu_mask_parse("avxvnni")), "avxvnni");
    CHECK_STR(cpu_mask_name((unsigned)cpu_mask_parse("avx512")), "avx512");
    CHECK_STR(cpu_mask_name(CPU_AVX2 | CPU_AVXVNNI | CPU_AVX512), "avx512");
    CHECK_STR(cpu_mask_name((unsigned)cpu_mask_parse("amx")), "amx");
    CHECK_STR(cpu_mask_name(CPU_NEON | CPU_DOTPROD), "neon");
    CHECK_STR(cpu_mask_name((unsigned)cpu_mask_parse("i8mm")), "i8mm");
    CHECK_STR(cpu_mask_name((unsigned)cpu_mask_parse("avx2") & (unsigned)cpu_mask_parse("avx512")), "avx2");
}

static void this_machine(void)
{
    unsigned f = cpu_features();
    CHECK(!(f & (CPU_AVX512 | CPU_AVXVNNI)) || (f & CPU_AVX2));
    CHECK(!(f & CPU_AMX) || (f & CPU_AVX512));
    const char *mask = getenv("HEARTH_CPU_MASK");
    if (mask && *mask)
        CHECK((f & ~(unsigned)cpu_mask_parse(mask)) == 0);
#if defined(__x86_64__)
    /* The compiler's own detection reads the same registers; it must not know less. */
    CHECK(!(f & CPU_AVX2) || (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")));
    CHECK(!(f & CPU_AVX512) || (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vl")));
    if (!mask || !*mask)
        CHECK((f & CPU_AVX2) || !__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"));
#elif defined(__aarch64__)
    CHECK((f & CPU_NEON) || (mask && *mask));
#endif
    CHECK(strlen(cpu_model()) > 0);
    CHECK(cpu_count() >= 1);
    struct cpu_memory m;
    CHECK_INT(cpu_memory_read(&m), 0);
    CHECK(m.total > 16 << 20 && m.available > 0 && m.available <= m.total);
    size_t rss = cpu_rss();
    CHECK(rss > 100 << 10 && rss < m.total);
    CHECK_INT(cpu_cache_bytes(9), 0);
    size_t l1 = cpu_cache_bytes(1), l2 = cpu_cache_bytes(2);
    CHECK(!l1 || (l1 >= 8 << 10 && l1 <= 1 << 20));
    CHECK(!l1 || !l2 || l2 > l1);
}

static void put(const char *folder, const char *name, const char *text)
{
    char *d = fs_join(dir, folder), *p = fs_join(d, name);
    CHECK_INT(fs_mkdirs(d, NULL), 0);
    CHECK_INT(fs_write_atomic(p, text, strlen(text), NULL), 0);
    mem_free(d);
    mem_free(p);
}

static struct cgroup_limits read_tree(const char *root, const char *proc)
{
    struct cgroup_limits l;
    char *p = fs_join(dir, root);
    cgroup_read(proc, p, &l);
    mem_free(p);
    return l;
}

static void version_2(void)
{
    put("v2/user/job", "memory.max", "max\n");
    put("v2/user", "memory.max", "1000000\n");
    put("v2/user", "memory.current", "400000\n");
    put("v2/user", "memory.stat", "anon 5\ninactive_file 100000\nactive_file 7\n");
    put("v2/user/job", "cpu.max", "150000 100000\n");
    put("v2/user", "cpu.max", "max 100000\n");
    struct cgroup_limits l = read_tree("v2", "0::/user/job\n");
    CHECK_INT(l.memory_max, 1000000); /* the parent's limit counts */
    CHECK_INT(l.memory_left, 700000);
    CHECK_INT(l.cpus, 2);
    l = read_tree("v2", "0::/\n");
    CHECK(l.memory_max == SIZE_MAX && l.memory_left == SIZE_MAX && l.cpus == 0);
    /* A container that sees its path from outside: only the mount itself exists. */
    put("inside", "memory.max", "5000\n");
    put("inside", "memory.current", "6000\n");
    l = read_tree("inside", "0::/docker/abc\n");
    CHECK_INT(l.memory_max, 5000);
    CHECK_INT(l.memory_left, 0);
}

static void version_1(void)
{
    put("v1/memory/job", "memory.limit_in_bytes", "2000\n");
    put("v1/memory/job", "memory.usage_in_bytes", "500\n");
    put("v1/memory", "memory.limit_in_bytes", "9223372036854771712\n");
    put("v1/cpu/job", "cpu.cfs_quota_us", "50000\n");
    put("v1/cpu/job", "cpu.cfs_period_us", "100000\n");
    put("v1/cpu", "cpu.cfs_quota_us", "-1\n");
    put("v1/cpu", "cpu.cfs_period_us", "100000\n");
    struct cgroup_limits l = read_tree("v1", "5:memory:/job\n4:cpu,cpuacct:/job\n1:name=systemd:/x\n0::/\n");
    CHECK_INT(l.memory_max, 2000);
    CHECK_INT(l.memory_left, 1500);
    CHECK_INT(l.cpus, 1);
}

static void nonsense(void)
{
    static const char *const texts[] = {"", "\n\n", "0::", "::::", "no colon", "0:memory", "3:memory:/../../..\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct cgroup_limits l = read_tree("empty", texts[i]);
        CHECK(l.memory_max == SIZE_MAX && l.cpus == 0);
    }
    put("odd", "cpu.max", "garbage\n");
    put("odd", "memory.max", "-5\n");
    struct cgroup_limits l = read_tree("odd", "0::/\n");
    CHECK(l.memory_max == SIZE_MAX && l.cpus == 0);
}

int main(void)
{
    dir = folder_make("cpu");
    RUN(masks);
    RUN(this_machine);
    RUN(version_2);
    RUN(version_1);
    RUN(nonsense);
    folder_remove(dir);
    return check_done();
}
