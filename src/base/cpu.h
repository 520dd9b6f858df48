/* cpu: what this processor can do. CPUID and XCR0 on x86-64, HWCAP on Arm: a feature is reported only if the operating
 * system saves its registers, so no kernel chosen from here can fault. */
#ifndef HEARTH_BASE_CPU_H
#define HEARTH_BASE_CPU_H
#include <stddef.h>

/* HEARTH_CPU_MASK=ref|avx2|avxvnni|avx512|amx|neon|i8mm in the environment takes features away from every program of the project. */
enum cpu_feature {                      /* bits; each level of kernels names the ones it needs */
                   CPU_AVX2 = 1 << 0,   /* AVX2 + FMA + F16C, ymm state enabled */
                   CPU_AVX512 = 1 << 1, /* F, BW, DQ, VL, VNNI, zmm state enabled (implies CPU_AVX2) */
                   CPU_NEON = 1 << 2,
                   CPU_DOTPROD = 1 << 3,
                   CPU_I8MM = 1 << 4,
                   CPU_AVXVNNI = 1 << 6, /* AVX-VNNI: VEX-encoded, without AVX-512 (implies CPU_AVX2) */
                   CPU_AMX = 1 << 5,     /* AMX tiles and int8, which the kernel lets this process use */
};

unsigned cpu_features(void); /* detected once */
/* A mask by name: "ref"/"none" -> 0, "avx2", "avxvnni", "avx512", "amx", "neon", "i8mm", "all"; returns -1 when unknown. */
long cpu_mask_parse(const char *name);
/* Best level in the mask: "amx", "avx512", "avxvnni", "avx2", "i8mm", "neon", "ref". */
const char *cpu_mask_name(unsigned mask);
const char *cpu_model(void);       /* "AMD EPYC ..." */
int cpu_count(void);               /* usable cores: affinity and cgroup quota considered, at least 1 */
size_t cpu_cache_bytes(int level); /* data cache of that level for one core, 0 if unknown */
/* How far ahead of its use a stream from memory should be fetched by instruction, in bytes; 0: the hardware does better alone. */
size_t cpu_stream_ahead(void);

/* What the machine and its cgroup leave, in bytes. */
struct cpu_memory {
    size_t total, available; /* the smaller of /proc/meminfo and cgroup v2/v1 limits */
};
int cpu_memory_read(struct cpu_memory *m);
size_t cpu_rss(void); /* resident bytes of this process, 0 if unknown */

#endif
