/* test_meter: histograms and the token rate. */
#include "api/meter.h"
#include "../check.h"

static void buckets(void)
{
    static struct meter_histogram h;
    for (int i = 0; i < METER_BUCKETS; i++) {
        meter_observe(&h, meter_bound[i]); /* a bound belongs to its own bucket */
        CHECK_INT(atomic_load(&h.count[i]), 1);
        CHECK(i == 0 || meter_bound[i] > meter_bound[i - 1]);
    }
    meter_observe(&h, 1e6);
    CHECK_INT(atomic_load(&h.count[METER_BUCKETS]), 1);
    CHECK(atomic_load(&h.sum_us) > 1000000000000u);
}

static void rate(void)
{
    static struct meter m;
    meter_init(&m);
    CHECK(meter_rate(&m) < 0);
    CHECK(atomic_load(&m.last_ttft_ms) < 0);
    meter_tokens(&m, 5); /* the running second does not count yet */
    CHECK(meter_rate(&m) < 0 || meter_rate(&m) == 5);
}

int main(void)
{
    RUN(buckets);
    RUN(rate);
    return check_done();
}
