/* kernelcheck: compares every entry of every level with the reference, byte by byte, on random shapes and extreme values.
 *
 *     kernelcheck [--seed N] [--rounds N] [--only ENTRY] [--level NAME]      compare; prints the seed of every failure
 *     kernelcheck --bench [--only ENTRY] [--level NAME] [--json]             time instead (one thread)
 * The digest of the reference's results at a seed is the same on every machine and processor family.
 * A level that this machine lacks (or $HEARTH_CPU_MASK takes away) is reported as skipped. Exit 77 if nothing could be compared. */
#include "kernelcheck.h"
#include "base/cpu.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    check_fn *fn;
    int arg;
} CHECKS[] = {
#define LINEAR(T) {"linear." #T, check_linear, DT_##T},
    LINEAR(F32) LINEAR(F16) LINEAR(BF16) LINEAR(Q4_0) LINEAR(Q4_1) LINEAR(Q5_0) LINEAR(Q5_1) LINEAR(Q8_0) LINEAR(Q4_K)
        LINEAR(Q5_K) LINEAR(Q6_K) LINEAR(MXFP4) LINEAR(NVFP4){"act_quantize", check_act, 0},
#define ATTN(T) {"attn." #T, check_attn, DT_##T}, {"store." #T, check_store, DT_##T},
    ATTN(F32) ATTN(F16) ATTN(BF16) ATTN(Q8_0) ATTN(F8_E4M3){"attn_merge", check_attn_merge, 0},
    {"rmsnorm", check_rows, 0},
    {"add", check_rows, 1},
    {"scale", check_rows, 2},
    {"silu_mul", check_rows, 3},
    {"gelu_mul", check_rows, 4},
    {"rope", check_rope, 0},
    {"argmax", check_argmax, 0},
    {"weigh", check_weigh, 0},
};
enum { N_CHECKS = sizeof CHECKS / sizeof *CHECKS };

static const char *const LEVELS[] = {"avx2", "avxvnni", "avx512", "amx", "neon", "i8mm"};

struct options {
    uint64_t seed;
    int rounds;
    const char *only, *level;
    bool bench, json;
};
static int passed, failed, skipped;
static uint64_t digest;

/* All rounds of one entry of one level. Every case has its own seed, so that a failure can be repeated alone. */
static void check_entry(const struct options *o, const struct kernels *ref, const struct kernels *k, int i)
{
    const char *level = kernel_entry_level(k, (size_t)i), *bad = NULL;
    int rounds = CHECKS[i].fn == check_attn || CHECKS[i].fn == check_attn_merge ? o->rounds / 4 + 1 : o->rounds;
    for (int n = 0; n < rounds && !bad; n++) {
        uint64_t seed = o->seed + (uint64_t)n;
        struct random r = {(seed + 1) * 0x9E3779B97F4A7C15u | 1};
        for (int j = 0; j < 8; j++)
            random_u32(&r);
        bad = CHECKS[i].fn(&(struct check){ref, k, &r, CHECKS[i].arg, &digest});
        if (bad)
            printf("FAIL %-7s %s: %s (--only %s --level %s --seed %llu --rounds 1)\n", k->level, CHECKS[i].name, bad,
                   CHECKS[i].name, k->level, (unsigned long long)seed);
    }
    if (bad) {
        failed++;
    } else {
        passed++;
        printf("ok   %-7s %s: %d cases, %s code\n", k->level, CHECKS[i].name, rounds, level);
    }
    fflush(stdout);
}

static void run_level(const struct options *o, const struct kernels *ref, const char *name)
{
    unsigned mask = (unsigned)cpu_mask_parse(name);
    struct kernels k;
    kernels_init(&k, cpu_features() & mask);
    if (strcmp(k.level, name) != 0) {
        printf("skip %-7s not on this machine, or not built\n", name);
        skipped++;
        return;
    }
    if (o->bench) {
        bench_run(&k, o->only, o->json);
        return;
    }
    digest = 0xCBF29CE484222325u;
    for (int i = 0; i < N_CHECKS; i++)
        if (!o->only || strcmp(o->only, CHECKS[i].name) == 0)
            check_entry(o, ref, &k, i);
    printf("digest of the reference's results: %016llx\n", (unsigned long long)digest);
}

/* The list here and the table in kernel.c must name the same entries: a new kernel without a check is a failure. */
static void compare_lists(void)
{
    for (size_t i = 0; i < N_CHECKS || kernel_entry_name(i); i++) {
        const char *name = kernel_entry_name(i);
        if (i < N_CHECKS && name && strcmp(name, CHECKS[i].name) == 0)
            continue;
        printf("FAIL entry %zu is %s in the kernel table and %s here\n", i, name ? name : "absent",
               i < N_CHECKS ? CHECKS[i].name : "absent");
        failed++;
        return;
    }
}

static int usage(void)
{
    fprintf(stderr, "usage: kernelcheck [--seed N] [--rounds N] [--only ENTRY] [--level NAME] [--bench [--json]]\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct options o = {.seed = 1, .rounds = 60};
    for (int i = 1; i < argc; i++) {
        const char *v = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--bench") == 0)
            o.bench = true;
        else if (strcmp(argv[i], "--json") == 0)
            o.json = true;
        else if (!v)
            return usage();
        else if (strcmp(argv[i], "--seed") == 0)
            o.seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--rounds") == 0)
            o.rounds = atoi(argv[++i]);
        else if (strcmp(argv[i], "--only") == 0)
            o.only = argv[++i];
        else if (strcmp(argv[i], "--level") == 0)
            o.level = argv[++i];
        else
            return usage();
    }
    struct kernels ref;
    kernels_init(&ref, 0);
    if (!o.json)
        printf("kernelcheck: seed %llu, %d rounds, %s\n", (unsigned long long)o.seed, o.rounds, cpu_model());
    compare_lists();
    if (o.bench && o.level && strcmp(o.level, "ref") == 0)
        bench_run(&ref, o.only, o.json);
    for (size_t i = 0; i < sizeof LEVELS / sizeof *LEVELS; i++)
        if (!o.level || strcmp(o.level, LEVELS[i]) == 0)
            run_level(&o, &ref, LEVELS[i]);
    if (!o.json)
        printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    return failed ? 1 : passed || o.bench ? 0 : 77;
}
