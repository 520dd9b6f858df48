/* guard: kernelcheck's random numbers and guarded memory. */
#include "kernelcheck.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint32_t random_u32(struct random *r)
{
    r->s ^= r->s >> 12;
    r->s ^= r->s << 25;
    r->s ^= r->s >> 27;
    return (uint32_t)((r->s * 0x2545F4914F6CDD1Du) >> 32);
}

size_t random_below(struct random *r, size_t n)
{
    return random_u32(r) % n;
}

size_t random_in(struct random *r, size_t lo, size_t hi)
{
    return lo + random_below(r, hi - lo + 1);
}

float random_gauss(struct random *r)
{
    float v = 0;
    for (int i = 0; i < 4; i++)
        v += (float)random_u32(r) * 0x1p-32f - 0.5f;
    return v * 1.7f;
}

enum { GUARD = 256, PATTERN = 0xA7 }; /* as a float: a negative number of no meaning; as f16 pairs: likewise */

void *guard_new(size_t n)
{
    void *p = NULL;
    if (posix_memalign(&p, 64, n + 2 * GUARD)) {
        fprintf(stderr, "kernelcheck: out of memory\n");
        exit(1);
    }
    memset(p, PATTERN, n + 2 * GUARD);
    memcpy(p, &n, sizeof n);
    return (unsigned char *)p + GUARD;
}

bool guard_intact(const void *p)
{
    const unsigned char *base = (const unsigned char *)p - GUARD;
    size_t n;
    memcpy(&n, base, sizeof n);
    for (size_t i = sizeof n; i < GUARD; i++)
        if (base[i] != PATTERN)
            return false;
    for (size_t i = 0; i < GUARD; i++)
        if (base[GUARD + n + i] != PATTERN)
            return false;
    return true;
}

void guard_free(void *p)
{
    free((unsigned char *)p - GUARD);
}

void digest_add(const struct check *c, const float *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t u = 0x7fc00000u;
        if (p[i] == p[i])
            memcpy(&u, &p[i], sizeof u);
        *c->digest = (*c->digest ^ u) * 0x100000001B3u;
    }
}
