/* meter: counters and histograms of this room, for /metrics and /api/status. Lock-free to write. */
#ifndef HEARTH_API_METER_H
#define HEARTH_API_METER_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { METER_ROUTES = 32, METER_BUCKETS = 14, METER_SECONDS = 8 };
extern const double meter_bound[METER_BUCKETS]; /* seconds, ascending; beyond the last: +Inf */

struct meter_histogram {
    atomic_uint_fast64_t count[METER_BUCKETS + 1], sum_us;
};
struct meter_second { /* tokens written in one second of the clock */
    atomic_uint_fast64_t second, tokens;
};
struct meter {
    struct meter_histogram latency[METER_ROUTES];
    atomic_uint_fast64_t status[METER_ROUTES][6]; /* by first digit; 0: no answer sent */
    struct meter_histogram ttft, queue;
    atomic_uint_fast64_t refused; /* before the body was read, by a full queue */
    struct meter_second recent[METER_SECONDS];
    _Atomic double last_tokens_per_s, last_ttft_ms; /* negative: none yet */
};
void meter_init(struct meter *m);
void meter_observe(struct meter_histogram *h, double seconds);
void meter_tokens(struct meter *m, uint64_t n);
double meter_rate(struct meter *m); /* tokens/s over the last full seconds with any; negative: none */

#endif
