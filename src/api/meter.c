/* meter: see meter.h. */
#include "api/meter.h"
#include "base/clock.h"

const double meter_bound[METER_BUCKETS] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                           0.25,  0.5,    1,     2.5,  10,    30,   120};

void meter_init(struct meter *m)
{
    atomic_store(&m->last_tokens_per_s, -1);
    atomic_store(&m->last_ttft_ms, -1);
}

void meter_observe(struct meter_histogram *h, double seconds)
{
    int i = 0;
    while (i < METER_BUCKETS && seconds > meter_bound[i])
        i++;
    atomic_fetch_add(&h->count[i], 1);
    atomic_fetch_add(&h->sum_us, (uint64_t)(seconds * 1e6));
}

void meter_tokens(struct meter *m, uint64_t n)
{
    uint64_t now = clock_ns() / 1000000000;
    struct meter_second *s = &m->recent[now % METER_SECONDS];
    if (atomic_load(&s->second) != now) { /* only the pump thread writes */
        atomic_store(&s->tokens, 0);
        atomic_store(&s->second, now);
    }
    atomic_fetch_add(&s->tokens, n);
}

double meter_rate(struct meter *m)
{
    uint64_t now = clock_ns() / 1000000000, total = 0, seconds = 0;
    for (uint64_t s = now - (METER_SECONDS - 3); s < now; s++) {
        const struct meter_second *r = &m->recent[s % METER_SECONDS];
        if (atomic_load(&r->second) != s || atomic_load(&r->tokens) == 0)
            continue;
        total += atomic_load(&r->tokens);
        seconds++;
    }
    return seconds ? (double)total / (double)seconds : -1;
}
