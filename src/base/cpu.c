/* cpu: detection, once per process. $HEARTH_CPU_MASK (a name of cpu_mask_parse) takes features away, so that any program of
 * the project, tests included, can be run as if on a lesser machine. */
#include "base/cpu.h"
#include "base/cgroup.h"
#include <ctype.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

static const struct {
    const char *name;
    unsigned mask;
} cpu_masks[] = {
    /* best level first: cpu_mask_name takes the first one whose lead bit is set */
    {"amx", CPU_AMX | CPU_AVX512 | CPU_AVX2},
    {"avx512", CPU_AVX512 | CPU_AVX2},
    {"avxvnni", CPU_AVXVNNI | CPU_AVX2},
    {"avx2", CPU_AVX2},
    {"i8mm", CPU_NEON | CPU_DOTPROD | CPU_I8MM},
    {"neon", CPU_NEON | CPU_DOTPROD},
    {"ref", 0},
    {"none", 0},
    {"all", CPU_AVX2 | CPU_AVXVNNI | CPU_AVX512 | CPU_AMX | CPU_NEON | CPU_DOTPROD | CPU_I8MM},
};

long cpu_mask_parse(const char *name)
{
    for (size_t i = 0; i < sizeof cpu_masks / sizeof *cpu_masks; i++)
        if (strcmp(name, cpu_masks[i].name) == 0)
            return (long)cpu_masks[i].mask;
    return -1;
}

const char *cpu_mask_name(unsigned mask)
{
    if (mask & CPU_AMX)
        return "amx";
    if (mask & CPU_AVX512)
        return "avx512";
    if (mask & CPU_AVXVNNI)
        return "avxvnni";
    if (mask & CPU_AVX2)
        return "avx2";
    if (mask & CPU_I8MM)
        return "i8mm";
    if (mask & CPU_NEON)
        return "neon";
    return "ref";
}

static unsigned cpu_features_found;
static char cpu_model_found[80];
static pthread_once_t cpu_once = PTHREAD_ONCE_INIT;

#if defined(__x86_64__)
static unsigned cpu_detect(void)
{
    enum { FMA = 1 << 12, OSXSAVE = 1 << 27, AVX = 1 << 28, F16C = 1 << 29 }; /* leaf 1, ecx */
    const unsigned avx2 = 1u << 5;                                            /* leaf 7, ebx */
    const unsigned avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;        /* leaf 7, ebx: F, DQ, BW, VL */
    const unsigned vnni = 1u << 11;                                           /* leaf 7, ecx */
    const unsigned avxvnni = 1u << 4;                                         /* leaf 7 subleaf 1, eax */
    const unsigned amx = 1u << 24 | 1u << 25;                                 /* leaf 7, edx: tiles, int8 */
    unsigned a, b, c, d, need = FMA | OSXSAVE | AVX | F16C;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & need) != need)
        return 0;
    unsigned xcr0, high;
    __asm__ volatile("xgetbv" : "=a"(xcr0), "=d"(high) : "c"(0));
    if ((xcr0 & 0x06) != 0x06) /* xmm, ymm */
        return 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & avx2))
        return 0;
    unsigned f = CPU_AVX2;
    if ((xcr0 & 0xE6) == 0xE6 && (b & avx512) == avx512 && (c & vnni)) /* and opmask, both zmm halves */
        f |= CPU_AVX512;
    if ((f & CPU_AVX512) && (d & amx) == amx && (xcr0 & 0x60000) == 0x60000) /* and tile configuration and data */
        f |= CPU_AMX;
    if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & avxvnni))
        f |= CPU_AVXVNNI;
    return f;
}

static void cpu_detect_model(void)
{
    unsigned r[12];
    for (unsigned i = 0; i < 3; i++)
        if (!__get_cpuid(0x80000002u + i, &r[4 * i], &r[4 * i + 1], &r[4 * i + 2], &r[4 * i + 3]))
            return;
    const char *s = (const char *)r;
    size_t n = strnlen(s, sizeof r), at = 0;
    for (size_t i = 0; i < n; i++) /* makers pad with spaces */
        if (s[i] != ' ' || (at && cpu_model_found[at - 1] != ' '))
            cpu_model_found[at++] = s[i];
    while (at && cpu_model_found[at - 1] == ' ')
        at--;
    cpu_model_found[at] = 0;
}
#elif defined(__aarch64__)
static unsigned cpu_detect(void)
{
    unsigned long cap = getauxval(AT_HWCAP), cap2 = getauxval(AT_HWCAP2);
    unsigned f = 0;
    if (cap & HWCAP_ASIMD)
        f |= CPU_NEON;
    if (cap & HWCAP_ASIMDDP)
        f |= CPU_DOTPROD;
    if (cap2 & HWCAP2_I8MM)
        f |= CPU_I8MM;
    return f;
}

static void cpu_detect_model(void)
{
    FILE *f = fopen("/sys/firmware/devicetree/base/model", "re");
    if (!f)
        return;
    size_t n = fread(cpu_model_found, 1, sizeof cpu_model_found - 1, f);
    cpu_model_found[n] = 0;
    fclose(f);
}
#else
static unsigned cpu_detect(void)
{
    return 0;
}

static void cpu_detect_model(void)
{
}
#endif

/* Linux saves tiles only for processes that have asked (Documentation/arch/x86/xstate.rst), once for all their threads; an old
 * kernel or a seccomp filter refuses. */
static bool cpu_ask_amx(void)
{
#if defined(__x86_64__)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return false;
#endif
}

static void cpu_detect_once(void)
{
    cpu_features_found = cpu_detect();
    const char *name = getenv("HEARTH_CPU_MASK");
    long mask = name && *name ? cpu_mask_parse(name) : -1;
    if (mask >= 0)
        cpu_features_found &= (unsigned)mask;
    if ((cpu_features_found & CPU_AMX) && !cpu_ask_amx())
        cpu_features_found &= ~(unsigned)CPU_AMX;
    cpu_detect_model();
    for (char *p = cpu_model_found; *p; p++)
        if (!isprint((unsigned char)*p))
            *p = ' ';
    if (!cpu_model_found[0])
        snprintf(cpu_model_found, sizeof cpu_model_found, "unknown processor");
}

unsigned cpu_features(void)
{
    pthread_once(&cpu_once, cpu_detect_once);
    return cpu_features_found;
}

const char *cpu_model(void)
{
    pthread_once(&cpu_once, cpu_detect_once);
    return cpu_model_found;
}

static void cpu_limits(struct cgroup_limits *l)
{
    char text[4096] = "";
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (f) {
        size_t n = fread(text, 1, sizeof text - 1, f);
        text[n] = 0;
        fclose(f);
    }
    cgroup_read(text, "/sys/fs/cgroup", l);
}

int cpu_count(void)
{
    int n = 0;
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        n = CPU_COUNT(&set);
    else
        n = (int)sysconf(_SC_NPROCESSORS_ONLN); /* more than 1024 CPUs */
    struct cgroup_limits l;
    cpu_limits(&l);
    if (l.cpus && l.cpus < n)
        n = l.cpus;
    return n < 1 ? 1 : n;
}

#if defined(__x86_64__)
static unsigned cpu_family(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return 0;
    unsigned family = a >> 8 & 15;
    return family == 15 ? family + (a >> 20 & 255) : family;
}
#endif

/* Prefetchers start anew at every 4 KiB of a stream and stop while the core computes; Zen 4's do better alone, and Zen 5's need it
 * most (docs/perf-log.md). */
size_t cpu_stream_ahead(void)
{
#if defined(__x86_64__)
    enum { ZEN5 = 26 };
    unsigned a, b, c, d;
    if (!__get_cpuid(0, &a, &b, &c, &d))
        return 0;
    if (b == signature_INTEL_ebx && d == signature_INTEL_edx && c == signature_INTEL_ecx)
        return 2048;
    if (b == signature_AMD_ebx && d == signature_AMD_edx && c == signature_AMD_ecx)
        return cpu_family() >= ZEN5 ? 8192 : cpu_features() & CPU_AVX512 ? 0 : 1536;
#endif
    return 0;
}

/* First word of /sys/devices/system/cpu/cpu0/cache/index<i>/<name>; empty when absent. */
static void cpu_cache_text(int i, const char *name, char out[32])
{
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", i, name);
    out[0] = 0;
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    if (fscanf(f, "%31s", out) != 1)
        out[0] = 0;
    fclose(f);
}

size_t cpu_cache_bytes(int level)
{
    char text[32];
    for (int i = 0; i < 8; i++) {
        cpu_cache_text(i, "level", text);
        if (atoi(text) != level)
            continue;
        cpu_cache_text(i, "type", text);
        if (strcmp(text, "Instruction") == 0)
            continue;
        cpu_cache_text(i, "size", text);
        char *end;
        size_t v = strtoul(text, &end, 10);
        return *end == 'M' ? v << 20 : *end == 'K' ? v << 10 : v;
    }
    long v = level == 1   ? sysconf(_SC_LEVEL1_DCACHE_SIZE)
             : level == 2 ? sysconf(_SC_LEVEL2_CACHE_SIZE)
             : level == 3 ? sysconf(_SC_LEVEL3_CACHE_SIZE)
                          : 0;
    return v > 0 ? (size_t)v : 0;
}

int cpu_memory_read(struct cpu_memory *m)
{
    *m = (struct cpu_memory){0};
    FILE *f = fopen("/proc/meminfo", "re");
    if (!f)
        return -1;
    char line[128];
    unsigned long long kib;
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "MemTotal: %llu kB", &kib) == 1)
            m->total = (size_t)kib << 10;
        else if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
            m->available = (size_t)kib << 10;
    }
    fclose(f);
    struct cgroup_limits l;
    cpu_limits(&l);
    if (l.memory_max < m->total)
        m->total = l.memory_max;
    if (l.memory_left < m->available)
        m->available = l.memory_left;
    return m->total ? 0 : -1;
}

size_t cpu_rss(void)
{
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return 0;
    unsigned long long size, resident;
    int n = fscanf(f, "%llu %llu", &size, &resident);
    fclose(f);
    return n == 2 ? (size_t)resident * (size_t)sysconf(_SC_PAGESIZE) : 0;
}
