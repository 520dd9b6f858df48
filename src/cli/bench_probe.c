/* bench_probe: the machine's arithmetic, from registers alone: what no kernel of a level can pass. The functions carry their
 * instruction set as an attribute and are called only when the backend's level has it. Unlike kernels they compute nothing
 * that anyone uses, so they have no reference. */
#include "cli/bench.h"
#include "base/clock.h"
#include "base/pool.h"
#include "kernel/kernel.h"
#include <string.h>
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

void bench_probe(struct backend *b, double *int8_ops, double *f32_ops)
{
    const char *level = backend_kernels(b)->level;
    *int8_ops = *f32_ops = 0;
    if (strcmp(level, "avx512") == 0 || strcmp(level, "amx") == 0) { /* amx: shares are of the vector units' roof */
        *int8_ops = probe_run(b, int8_avx512);
        *f32_ops = probe_run(b, fma_avx512);
    } else if (strcmp(level, "avx2") == 0) {
        *int8_ops = probe_run(b, int8_avx2);
        *f32_ops = probe_run(b, fma_avx2);
    }
}
#else
void bench_probe(struct backend *b, double *int8_ops, double *f32_ops)
{
    (void)b;
    *int8_ops = *f32_ops = 0;
}
#endif
