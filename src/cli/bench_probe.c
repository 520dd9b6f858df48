/* bench_probe: the machine's arithmetic, from registers alone: what no kernel of a level can pass. The functions carry their
 * instruction set as an attribute and are called only when the backend's level has it. Unlike kernels they compute nothing
 * that anyone uses, so they have no reference. */
#include "cli/bench.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/pool.h"
#include "kernel/kernel.h"
#if defined(__x86_64__)
#include <immintrin.h>

enum { ROUNDS = 400000, ACC = 10, PROBES = 6 };

/* Each returns how many operations one call took. `asm` hides the operands from the compiler: nothing can be hoisted. */
__attribute__((target("avx2,fma"))) static double fma_avx2(void)
{
    __m256 acc[ACC], x = _mm256_set1_ps(0.5f), y = _mm256_set1_ps(0.25f);
    for (int j = 0; j < ACC; j++)
        acc[j] = _mm256_set1_ps((float)j);
    for (int i = 0; i < ROUNDS; i++) {
        __asm__ volatile("" : "+x"(x), "+x"(y));
        for (int j = 0; j < ACC; j++)
            acc[j] = _mm256_fmadd_ps(acc[j], x, y);
    }
    for (int j = 0; j < ACC; j++)
        __asm__ volatile("" : "+x"(acc[j]));
    return 2.0 * 8 * ACC * ROUNDS;
}

/* Without VNNI: four byte products summed in 16 bits (exact for 4-bit weights), widened once. */
__attribute__((target("avx2"))) static double int8_avx2(void)
{
    __m256i acc[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()}, one = _mm256_set1_epi16(1);
    __m256i w[4], x = _mm256_set1_epi8(3);
    for (int j = 0; j < 4; j++)
        w[j] = _mm256_set1_epi8((char)(j + 1));
    for (int i = 0; i < ROUNDS; i++) {
        for (int j = 0; j < 2; j++) {
            __asm__ volatile("" : "+x"(x), "+x"(w[0]), "+x"(w[1]), "+x"(w[2]), "+x"(w[3]));
            __m256i a = _mm256_add_epi16(_mm256_maddubs_epi16(w[0], x), _mm256_maddubs_epi16(w[1], x));
            __m256i b = _mm256_add_epi16(_mm256_maddubs_epi16(w[2], x), _mm256_maddubs_epi16(w[3], x));
            acc[j] = _mm256_add_epi32(acc[j], _mm256_madd_epi16(_mm256_add_epi16(a, b), one));
        }
    }
    __asm__ volatile("" : "+x"(acc[0]), "+x"(acc[1]));
    return 2.0 * 32 * 4 * 2 * ROUNDS;
}

__attribute__((target("avx512f"))) static double fma_avx512(void)
{
    __m512 acc[ACC], x = _mm512_set1_ps(0.5f), y = _mm512_set1_ps(0.25f);
    for (int j = 0; j < ACC; j++)
        acc[j] = _mm512_set1_ps((float)j);
    for (int i = 0; i < ROUNDS; i++) {
        __asm__ volatile("" : "+v"(x), "+v"(y));
        for (int j = 0; j < ACC; j++)
            acc[j] = _mm512_fmadd_ps(acc[j], x, y);
    }
    for (int j = 0; j < ACC; j++)
        __asm__ volatile("" : "+v"(acc[j]));
    return 2.0 * 16 * ACC * ROUNDS;
}

__attribute__((target("avx512f,avx512vnni"))) static double int8_avx512(void)
{
    enum { CHAINS = 16 }; /* two a cycle of latency 5: ten would just do, and do not */
    __m512i acc[CHAINS], x = _mm512_set1_epi8(3), y = _mm512_set1_epi8(2);
    for (int j = 0; j < CHAINS; j++)
        acc[j] = _mm512_set1_epi32(j);
    for (int i = 0; i < ROUNDS; i++) {
        __asm__ volatile("" : "+v"(x), "+v"(y));
        for (int j = 0; j < CHAINS; j++)
            acc[j] = _mm512_dpbusd_epi32(acc[j], x, y);
    }
    for (int j = 0; j < CHAINS; j++)
        __asm__ volatile("" : "+v"(acc[j]));
    return 2.0 * 64 * CHAINS * ROUNDS;
}

__attribute__((target("avx2,avxvnni"))) static double int8_avxvnni(void)
{
    __m256i acc[ACC], x = _mm256_set1_epi8(3), y = _mm256_set1_epi8(2);
    for (int j = 0; j < ACC; j++)
        acc[j] = _mm256_set1_epi32(j);
    for (int i = 0; i < ROUNDS; i++) {
        __asm__ volatile("" : "+x"(x), "+x"(y));
        for (int j = 0; j < ACC; j++)
            acc[j] = _mm256_dpbusd_avx_epi32(acc[j], x, y);
    }
    for (int j = 0; j < ACC; j++)
        __asm__ volatile("" : "+x"(acc[j]));
    return 2.0 * 32 * ACC * ROUNDS;
}

/* Without VNNI, any 8-bit weights: two products added in 16 bits, widened at once. */
__attribute__((target("avx2"))) static double mix_avx2(void)
{
    __m256i acc[ACC], one = _mm256_set1_epi16(1), x = _mm256_set1_epi8(3), y = _mm256_set1_epi8(2);
    for (int j = 0; j < ACC; j++)
        acc[j] = _mm256_set1_epi32(j);
    for (int i = 0; i < ROUNDS; i++) {
        __asm__ volatile("" : "+x"(x), "+x"(y));
        for (int j = 0; j < ACC; j++) {
            __asm__ volatile("" : "+x"(y)); /* another product each time */
            acc[j] = _mm256_add_epi32(acc[j], _mm256_madd_epi16(_mm256_maddubs_epi16(x, y), one));
        }
    }
    for (int j = 0; j < ACC; j++)
        __asm__ volatile("" : "+x"(acc[j]));
    return 2.0 * 32 * ACC * ROUNDS;
}

/* Tiles of 16 x 64 bytes, four sums; loads, stores and the scales of blocks are left out, so no kernel comes near. */
static double int8_amx(void)
{
    struct {
        uint8_t palette, start, none[14];
        uint16_t colsb[16];
        uint8_t rows[16];
    } c = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        c.colsb[i] = 64;
        c.rows[i] = 16;
    }
    __asm__ volatile("ldtilecfg %0" ::"m"(c));
    __asm__ volatile("tilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\ttilezero %%tmm3\n\ttilezero %%tmm4\n\t"
                     "tilezero %%tmm5\n\ttilezero %%tmm6\n\ttilezero %%tmm7" ::);
    for (int i = 0; i < ROUNDS / 16; i++)
        __asm__ volatile("tdpbusd %%tmm5, %%tmm4, %%tmm0\n\ttdpbusd %%tmm7, %%tmm4, %%tmm1\n\t"
                         "tdpbusd %%tmm5, %%tmm6, %%tmm2\n\ttdpbusd %%tmm7, %%tmm6, %%tmm3" ::);
    __asm__ volatile("tilerelease" ::);
    return 2.0 * 16 * 16 * 64 * 4 * (ROUNDS / 16);
}

struct probe {
    double (*fn)(void);
    double ops; /* of one thread's call: all do the same */
};

static void probe_part(void *arg, int thread, int n_threads)
{
    struct probe *p = arg;
    (void)n_threads;
    double ops = p->fn();
    if (thread == 0)
        p->ops = ops;
}

static double probe_run(struct backend *b, double (*fn)(void))
{
    double best = 0;
    for (int i = 0; i < PROBES; i++) {
        struct probe p = {.fn = fn};
        double s = clock_s();
        pool_run(backend_pool(b), probe_part, &p);
        s = clock_s() - s;
        double rate = s > 0 ? p.ops * backend_threads(b) / s : 0;
        best = rate > best ? rate : best;
    }
    return best;
}

static const struct {
    const char *name;
    double (*fn)(void);
    unsigned need; /* of the level's features */
} probes[] = {
    {"f32: 256-bit fused multiply-add", fma_avx2, CPU_AVX2},
    {"f32: 512-bit fused multiply-add", fma_avx512, CPU_AVX512},
    {"int8: vpmaddubsw, widened at once", mix_avx2, CPU_AVX2},
    {"int8: vpmaddubsw, four 4-bit products first", int8_avx2, CPU_AVX2},
    {"int8: vpdpbusd, 256 bits", int8_avxvnni, CPU_AVXVNNI},
    {"int8: vpdpbusd, 512 bits", int8_avx512, CPU_AVX512},
    {"int8: tdpbusd, 16 x 64 tiles", int8_amx, CPU_AMX},
};

static unsigned features_of(struct backend *b)
{
    return (unsigned)cpu_mask_parse(backend_kernels(b)->level) & cpu_features();
}

int bench_probe_mix(struct backend *b, int i, const char **name, double *ops)
{
    if (i < 0 || i >= (int)(sizeof probes / sizeof probes[0]))
        return -1;
    *name = probes[i].name;
    *ops = probes[i].need & features_of(b) ? probe_run(b, probes[i].fn) : 0;
    return 0;
}

void bench_probe(struct backend *b, double *int8_ops, double *f32_ops)
{
    unsigned have = features_of(b);
    *int8_ops = *f32_ops = 0;
    if (have & CPU_AVX512) { /* amx, too: shares are of the vector units' roof */
        *int8_ops = probe_run(b, int8_avx512);
        *f32_ops = probe_run(b, fma_avx512);
    } else if (have & CPU_AVX2) {
        *int8_ops = probe_run(b, have & CPU_AVXVNNI ? int8_avxvnni : int8_avx2);
        *f32_ops = probe_run(b, fma_avx2);
    }
}
#else
void bench_probe(struct backend *b, double *int8_ops, double *f32_ops)
{
    (void)b;
    *int8_ops = *f32_ops = 0;
}
int bench_probe_mix(struct backend *b, int i, const char **name, double *ops)
{
    (void)b, (void)i, (void)name, (void)ops;
    return -1;
}
#endif
