/* kernel: which code runs. The reference fills the whole table; each better level that the mask allows writes its own
 * entries over it, best last. No CPU detection here: the caller says what the machine has. */
#include "kernel/kernel.h"
#include "base/cpu.h"
#include "kernel/ref/ref.h"
#if defined(__x86_64__)
#include "kernel/amx/amx.h"
#include "kernel/avx2/avx2.h"
#include "kernel/avx512/avx512.h"
#include "kernel/avxvnni/avxvnni.h"
#elif defined(__aarch64__)
#include "kernel/neon/neon.h"
#endif
#include <string.h>

static const struct {
    const char *name;
    unsigned need;
    void (*init)(struct kernels *k);
} LEVELS[] = {
    {"ref", 0, ref_init},
#if defined(__x86_64__)
    {"avx2", CPU_AVX2, avx2_init},
    {"avxvnni", CPU_AVX2 | CPU_AVXVNNI, avxvnni_init},
    {"avx512", CPU_AVX512, avx512_init},
    {"amx", CPU_AMX | CPU_AVX512, amx_init},
#elif defined(__aarch64__)
    {"neon", CPU_NEON | CPU_DOTPROD, neon_init},
    {"i8mm", CPU_NEON | CPU_DOTPROD | CPU_I8MM, neon_init_i8mm},
#endif
};
enum { N_LEVELS = sizeof LEVELS / sizeof *LEVELS };

void kernels_init(struct kernels *k, unsigned mask)
{
    for (int i = 0; i < N_LEVELS; i++)
        if ((mask & LEVELS[i].need) == LEVELS[i].need) {
            LEVELS[i].init(k);
            k->level = LEVELS[i].name;
        }
}

/* Every function that has levels. The entry's level is found by asking whose pointer it is, so it cannot lie. */
static const struct {
    const char *name;
    size_t at;
} ENTRIES[] = {
#define LINEAR(T)                                                                                                      \
    {"linear." #T,                                                                                                     \
     offsetof(struct kernels, linear) + DT_##T * sizeof(struct linear_kernel) + offsetof(struct linear_kernel, mul)},
    LINEAR(F32) LINEAR(F16) LINEAR(BF16) LINEAR(Q4_0) LINEAR(Q4_1) LINEAR(Q5_0) LINEAR(Q5_1) LINEAR(Q8_0) LINEAR(Q4_K)
        LINEAR(Q5_K) LINEAR(Q6_K) LINEAR(MXFP4) LINEAR(NVFP4){"act_quantize", offsetof(struct kernels, act_quantize)},
#define ATTN(T)                                                                                                        \
    {"attn." #T, offsetof(struct kernels, attn) + DT_##T * sizeof(struct attn_kernel)},                                \
        {"store." #T,                                                                                                  \
         offsetof(struct kernels, attn) + DT_##T * sizeof(struct attn_kernel) + offsetof(struct attn_kernel, store)},
    ATTN(F32) ATTN(F16) ATTN(BF16) ATTN(Q8_0) ATTN(F8_E4M3){"attn_merge", offsetof(struct kernels, attn_merge)},
    {"rmsnorm", offsetof(struct kernels, rmsnorm)},
    {"add", offsetof(struct kernels, add)},
    {"scale", offsetof(struct kernels, scale)},
    {"silu_mul", offsetof(struct kernels, silu_mul)},
    {"gelu_mul", offsetof(struct kernels, gelu_mul)},
    {"rope", offsetof(struct kernels, rope)},
    {"argmax", offsetof(struct kernels, argmax)},
    {"weigh", offsetof(struct kernels, weigh)},
};
enum { N_ENTRIES = sizeof ENTRIES / sizeof *ENTRIES };

const char *kernel_entry_name(size_t i)
{
    return i < N_ENTRIES ? ENTRIES[i].name : NULL;
}

const char *kernel_entry_level(const struct kernels *k, size_t i)
{
    struct kernels one;
    const char *level = LEVELS[0].name;
    if (i >= N_ENTRIES)
        return NULL;
    LEVELS[0].init(&one);
    /* not beyond k's own: compiled for another machine, even init may hold what this one cannot run. A machine with AVX-512 may lack
     * AVX-VNNI, but has all that storing pointers takes. */
    for (int l = 1; l < N_LEVELS && strcmp(LEVELS[l - 1].name, k->level) != 0; l++) {
        unsigned char before[sizeof(void (*)(void))];
        memcpy(before, (const char *)&one + ENTRIES[i].at, sizeof before);
        LEVELS[l].init(&one);
        bool changed = memcmp(before, (const char *)&one + ENTRIES[i].at, sizeof before) != 0;
        if (changed && memcmp((const char *)k + ENTRIES[i].at, (const char *)&one + ENTRIES[i].at, sizeof before) == 0)
            level = LEVELS[l].name;
    }
    return level;
}
