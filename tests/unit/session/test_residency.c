/* Who goes: the least valuable, nobody in vain, never the pinned, never one that has just come (unless at once). */
#include "hearth.h"
#include "session/residency.h"
#include "unit/check.h"
#include <stdint.h>

static struct residency_row row(size_t mib, double reload_s, double idle_s)
{
    return (struct residency_row){.bytes = mib << 20, .reload_s = reload_s, .idle_s = idle_s, .ready_s = 1000};
}

static void value_is_the_product(void)
{
    struct residency_row a = row(100, 2, 0), b = row(200, 2, 0), c = row(100, 4, 0), d = row(100, 2, 60);
    CHECK(residency_value(&b) == 2 * residency_value(&a));
    CHECK(residency_value(&c) == 2 * residency_value(&a));
    CHECK(residency_value(&d) == residency_value(&a) / 2); /* a minute halves it */
    d.idle_s = -5;                                         /* a clock that was read before the use */
    CHECK(residency_value(&d) == residency_value(&a));
}

static void least_valuable_goes(void)
{
    struct residency_row r[3] = {row(100, 1, 0), row(100, 3, 200), row(100, 1, 30)};
    CHECK_INT(residency_pick(r, 3, 1, false), 100 << 20);
    CHECK(!r[0].picked && !r[1].picked && r[2].picked); /* 100, 69, 67 */
    CHECK_INT(residency_pick(r, 3, 150 << 20, false), 200 << 20);
    CHECK(!r[0].picked && r[1].picked && r[2].picked);
}

static void nobody_goes_in_vain(void)
{
    struct residency_row r[3] = {row(50, 0.1, 100), row(900, 5, 10), row(60, 0.1, 90)};
    CHECK_INT(residency_pick(r, 3, 500 << 20, false), 900 << 20); /* the large one alone is enough, and needed */
    CHECK(!r[0].picked && r[1].picked && !r[2].picked);
    CHECK_INT(residency_pick(r, 3, 940 << 20, false), 950 << 20); /* with one of the small ones: the less valuable */
    CHECK(r[0].picked && r[1].picked && !r[2].picked);
    CHECK_INT(residency_pick(r, 3, 0, false), 0);
    CHECK(!r[0].picked && !r[1].picked && !r[2].picked);
}

static void pinned_and_fresh_stay(void)
{
    struct residency_row r[3] = {row(100, 4, 500), row(100, 4, 0), row(100, 4, 0)};
    r[0].pinned = true;
    r[1].ready_s = 3; /* its load took 4 s */
    CHECK_INT(residency_pick(r, 3, SIZE_MAX, false), 100 << 20);
    CHECK(!r[0].picked && !r[1].picked && r[2].picked);
    CHECK_INT(residency_pick(r, 3, SIZE_MAX, true), 200 << 20);
    CHECK(!r[0].picked && r[1].picked && r[2].picked);
    r[1].reload_s = 1e6; /* a load that took for ever keeps nobody for ever */
    r[1].ready_s = 31;
    CHECK(residency_settled(&r[1]));
}

static void many_at_once(void)
{
    enum { N = 100 };
    struct residency_row r[N];
    for (int i = 0; i < N; i++)
        r[i] = row(10, 1 + (i * 37) % N, 0);
    CHECK_INT(residency_pick(r, N, 505 << 20, false), 510 << 20);
    for (int i = 0; i < N; i++)
        CHECK(r[i].picked == (r[i].reload_s < 52));
}

static void keep_alive_runs_out(void)
{
    struct residency_row r = row(1, 1, 10);
    r.keep_s = -1;
    CHECK(residency_due_s(&r) < 0);
    r.keep_s = 0;
    CHECK(residency_due_s(&r) == 0);
    r.keep_s = 25;
    CHECK(residency_due_s(&r) == 15);
    r.idle_s = 26;
    CHECK(residency_due_s(&r) == 0);
    r.pinned = true;
    CHECK(residency_due_s(&r) < 0);
}

static void times_are_read(void)
{
    static const struct {
        const char *text;
        int want; /* 0: refused */
    } cases[] = {{"90", 90},
                 {"90s", 90},
                 {"5m", 300},
                 {"2h", 7200},
                 {"1h30m", 5400},
                 {"1h1m1s", 3661},
                 {"1.5m", 90},
                 {"0.25", 1},
                 {"10ms", 1},
                 {"0", HEARTH_KEEP_NOT},
                 {"0s", HEARTH_KEEP_NOT},
                 {"-0", HEARTH_KEEP_NOT},
                 {"-1", HEARTH_KEEP_FOREVER},
                 {"-1m", HEARTH_KEEP_FOREVER},
                 {"", 0},
                 {"-", 0},
                 {"m", 0},
                 {"5x", 0},
                 {"1h30", 0},
                 {"5 m", 0},
                 {"inf", 0},
                 {"1e99", 0},
                 {"999999999999", 0},
                 {"for ever", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int got = 0;
        struct err e;
        int rc = hearth_keep_parse(cases[i].text, &got, &e);
        if (got != cases[i].want || (rc != 0) != (cases[i].want == 0))
            fprintf(stderr, "  \"%s\": %d\n", cases[i].text, got);
        CHECK_INT(got, cases[i].want);
        CHECK_INT(rc, cases[i].want ? 0 : ERR_USAGE);
    }
}

int main(void)
{
    RUN(value_is_the_product);
    RUN(least_valuable_goes);
    RUN(nobody_goes_in_vain);
    RUN(pinned_and_fresh_stay);
    RUN(many_at_once);
    RUN(keep_alive_runs_out);
    RUN(times_are_read);
    return check_done();
}
