/* kernelcheck: inside the tool: random numbers, guarded memory and the list of checks. */
#ifndef HEARTH_TESTS_KERNELCHECK_H
#define HEARTH_TESTS_KERNELCHECK_H
#include "kernel/kernel.h"

/* xorshift64*: any seed but 0. */
struct random {
    uint64_t s;
};
uint32_t random_u32(struct random *r);
size_t random_below(struct random *r, size_t n);          /* 0..n-1 */
size_t random_in(struct random *r, size_t lo, size_t hi); /* lo..hi */
float random_gauss(struct random *r);

/* 64-byte aligned memory with guard bytes on both sides, filled with a pattern. */
void *guard_new(size_t n);
bool guard_intact(const void *p);
void guard_free(void *p);

/* One random case: compares `k` with `ref`. Returns NULL or what differed (static text). */
struct check {
    const struct kernels *ref, *k;
    struct random *r;
    int entry; /* for linear, attn and store: the dtype */
    uint64_t *digest;
};
/* Adds the reference's floats to the digest; all NaNs count as one (their sign is the processor's business). */
void digest_add(const struct check *c, const float *p, size_t n);
typedef const char *check_fn(const struct check *c);
check_fn check_linear, check_act, check_attn, check_attn_merge, check_store, check_rows, check_rope, check_argmax,
    check_weigh;

void bench_run(const struct kernels *k, const char *only, bool json);

#endif
