/* admit: lets in who may, as the engine's step does. */
#ifndef HEARTH_TESTS_ENGINE_ADMIT_H
#define HEARTH_TESTS_ENGINE_ADMIT_H
#include "engine/sched.h"

/* Whoever gives up its place keeps nothing. `must`: admitted in any case, or -1. Returns how many were let in. */
static inline int admit(struct sched_seq *s, size_t n, size_t kv_free, int places, int must)
{
    int fresh = 0;
    for (int i, gives; (i = must >= 0 && !s[must].admitted ? must : sched_next(s, n, places, &gives)) >= 0; fresh++) {
        if (i == must)
            gives = -1;
        if (gives >= 0) {
            s[gives].admitted = false;
            kv_free += s[gives].kv_held;
            s[gives].kv_held = 0;
        }
        if (i != must && !sched_fits(s, n, i, kv_free))
            break;
        s[i].admitted = true;
    }
    return fresh;
}

#endif
