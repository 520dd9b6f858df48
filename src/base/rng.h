/* rng: counter-based random numbers (Philox4x32-10, Salmon et al. 2011): a value is a pure function of key and counter,
 * so a token depends on (seed, position) and on nothing that ran before it. */
#ifndef HEARTH_BASE_RNG_H
#define HEARTH_BASE_RNG_H
#include <stdint.h>
void rng_philox(uint64_t key, uint64_t hi, uint64_t lo, uint32_t out[4]);
double rng_uniform(uint64_t key, uint64_t hi, uint64_t lo); /* [0, 1), 53 bits */
uint64_t rng_entropy(void);                                 /* a fresh seed from the operating system */
#endif
