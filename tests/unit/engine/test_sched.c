/* The scheduler's policy on made-up loads: who is admitted, who shares a step, and that nobody waits for ever. */
#include "admit.h"
#include "base/rng.h"
#include "unit/check.h"
#include <math.h>

static struct sched_seq seq(uint64_t order, int todo, bool admitted)
{
    return (struct sched_seq){.order = order, .todo = todo, .admitted = admitted};
}

static void decodes_come_first(void)
{
    struct sched_seq s[4] = {seq(0, 500, true), seq(1, 1, true), seq(2, 1, true), seq(3, 1, false)};
    struct sched_limits l = {.max_seq = 8, .max_tok = 64, .chunk = 64, .step = 1};
    struct sched_pick p[8];
    CHECK_INT(sched_build(s, 4, &l, p), 3);
    CHECK_INT(p[0].seq, 1);
    CHECK_INT(p[1].seq, 2);
    CHECK_INT(p[2].seq, 0);
    CHECK_INT(p[2].n_tok, 62);
}

static void prompt_keeps_a_seat(void)
{
    struct sched_seq s[6];
    for (int i = 0; i < 5; i++)
        s[i] = seq((uint64_t)i, 1, true);
    s[5] = seq(5, 100, true);
    struct sched_limits l = {.max_seq = 4, .max_tok = 32, .chunk = 32, .step = 1};
    struct sched_pick p[4];
    CHECK_INT(sched_build(s, 6, &l, p), 4);
    CHECK_INT(p[3].seq, 5);
    CHECK_INT(p[3].n_tok, 29);
    s[5].blocked = true;
    CHECK_INT(sched_build(s, 6, &l, p), 4);
    CHECK_INT(p[3].seq, 3);
}

static void shortest_prompt_first_until_age(void)
{
    struct sched_seq s[2] = {seq(0, 1000, true), seq(1, 100, true)};
    struct sched_limits l = {.max_seq = 8, .max_tok = 64, .chunk = 64, .step = 1};
    struct sched_pick p[8];
    sched_build(s, 2, &l, p);
    CHECK_INT(p[0].seq, 1);
    s[1].served = 20; /* the long one was passed over for 20 steps: 1000 - 20 * 64 < 100 */
    l.step = 20;
    sched_build(s, 2, &l, p);
    CHECK_INT(p[0].seq, 0);
}

static void admission_in_order(void)
{
    struct sched_seq s[3] = {seq(0, 100, false), seq(1, 100, false), seq(2, 100, false)};
    s[0].kv_admit = 4;
    s[1].kv_admit = 10;
    s[2].kv_admit = 1;
    CHECK_INT(admit(s, 3, 8, 16, -1), 1); /* the second does not fit, the third may not pass it */
    CHECK(s[0].admitted && !s[1].admitted && !s[2].admitted);
    CHECK_INT(admit(s, 3, 13, 16, -1), 0); /* what the first still needs is not free */
    s[0].kv_held = 4;
    CHECK_INT(admit(s, 3, 13, 16, -1), 2);
}

static void oldest_is_admitted_without_memory(void)
{
    struct sched_seq s[2] = {seq(7, 100, false), seq(3, 100, false)};
    s[0].kv_admit = s[1].kv_admit = 5;
    CHECK_INT(admit(s, 2, 0, 16, 1), 1);
    CHECK(s[1].admitted && !s[0].admitted);
}

/* All places are taken. */
static void places_change_hands(void)
{
    struct sched_seq s[8];
    int gives;
    for (int i = 0; i < 8; i++) { /* four of key 1 run, two wait; then one of key 2, and an urgent one of key 1 */
        s[i] = seq((uint64_t)i, 1, i < 4);
        s[i].key = i == 6 ? 2 : 1;
        s[i].priority = i < 7;
        s[i].share = i == 6 ? 0 : 100 * SCHED_SHARE;
    }
    CHECK_INT(sched_next(s, 6, 4, &gives), -1);
    CHECK_INT(sched_next(s, 8, 4, &gives), 7);
    CHECK_INT(gives, 3);
    s[3].admitted = false;
    s[7].admitted = true;
    for (int round = 0; round < 2; round++) { /* whether its key has had more or less */
        s[6].share = round ? 200 * SCHED_SHARE : 0;
        CHECK_INT(sched_next(s, 8, 4, &gives), 6);
        CHECK_INT(gives, 2); /* never an urgent one's */
    }
    s[2].admitted = false;
    s[6].admitted = true;
    CHECK_INT(sched_next(s, 8, 4, &gives), -1); /* nobody takes turns for nothing */
    s[7].priority = 1;
    s[5].key = 2;
    CHECK_INT(sched_next(s, 8, 4, &gives), 5); /* three against one */
    CHECK_INT(gives, 7);
    CHECK_INT(sched_next(s, 8, 5, &gives), 2); /* a place is free: by what the keys have had */
    CHECK_INT(gives, -1);
}

static void priority_before_age(void)
{
    struct sched_seq a = seq(9, 1, true), b = seq(1, 1, true);
    b.priority = 1;
    CHECK(sched_before(&a, &b) && !sched_before(&b, &a));
    struct sched_seq s[2] = {b, a};
    s[0].admitted = s[1].admitted = false;
    CHECK_INT(admit(s, 2, 0, 1, -1), 1);
    CHECK(s[1].admitted);
}

static void least_time_goes_next(void)
{
    struct sched_model m[3] = {{1.0, 0, true}, {0.5, 0, false}, {0.7, 0, true}};
    CHECK_INT(sched_pick_model(m, 3), 2);
    m[2].priority = 1; /* less urgent than the first's */
    CHECK_INT(sched_pick_model(m, 3), 0);
    m[2] = (struct sched_model){1.0, 0, true}; /* a newcomer joins at the least time and stands last */
    CHECK_INT(sched_pick_model(m, 3), 2);
    m[0].runnable = m[2].runnable = false;
    CHECK_INT(sched_pick_model(m, 3), -1);
}

static void alone_is_no_debt(void)
{
    static struct sched_keys k;
    CHECK(sched_join(3, 5) == 5 && sched_join(5, 3) == 5);
    sched_key_enter(&k, 1);
    sched_key_serve(&k, 1, 1000000);
    sched_key_leave(&k, 1);
    sched_key_enter(&k, 2); /* comes first, and not for a million tokens */
    sched_key_enter(&k, 1);
    CHECK(sched_key_share(&k, 1) == sched_key_share(&k, 2));
    sched_key_serve(&k, 2, 100);
    sched_key_leave(&k, 1);
    sched_key_enter(&k, 1); /* idling is no credit either */
    CHECK(sched_key_share(&k, 1) == sched_key_share(&k, 2));
}

static int chunk(int most, double tok, double base, int beside)
{
    struct sched_cost c = {tok, base, 0};
    return sched_chunk(most, &c, 0.1, beside);
}

static void chunk_fits_the_slice(void)
{
    CHECK_INT(chunk(256, 0.0001, 0, 0), 256);
    CHECK_INT(chunk(256, 0.001, 0, 0), 64); /* whole stripes */
    CHECK_INT(chunk(256, 0.0007, 0, 0), 128);
    CHECK_INT(chunk(256, 0.0016, 0, 0), 56); /* whole tiles */
    CHECK_INT(chunk(256, 1.0, 0, 0), SCHED_TILE);
    CHECK_INT(chunk(256, 0, 0, 0), SCHED_FIRST);
    CHECK_INT(chunk(1, 1.0, 0, 0), 1);
    CHECK_INT(chunk(5, 1e9, 0, 0), 5);
    CHECK_INT(chunk(256, 0.001, 0, 3), 97);    /* with the three whole tiles */
    CHECK_INT(chunk(256, 0.001, 0.04, 3), 57); /* what decodes takes its part of the time */
    CHECK_INT(chunk(256, 0.001, 0.2, 2), 50);  /* more than all of it: the prompt has a fifth of the step */
    CHECK_INT(chunk(256, 1.0, 0.05, 15), 1);
    CHECK_INT(chunk(256, 1.0, 0.05, 16), SCHED_FEW);
    CHECK_INT(chunk(256, 0, 0.04, 0), 8); /* nothing is known but what a token costs that comes alone */
}

static void costs_are_learnt(void)
{
    struct sched_cost c = {0};
    sched_cost_add(&c, 3, false, 1); /* too few to say anything */
    CHECK(c.tok == 0 && c.base == 0);
    sched_cost_add(&c, 3, true, 1); /* how much of it is the prompt's? */
    CHECK(c.base == 0);
    sched_cost_add(&c, 0, true, 0.2);
    CHECK(c.base == 0.2);
    sched_cost_add(&c, 100, false, 1);
    for (int i = 0; i < 100; i++)
        sched_cost_add(&c, 10, true, 0.3);
    CHECK(fabs(c.tok - 0.01) < 1e-9 && fabs(c.base - 0.2) < 1e-9 && c.error < 1e-9);
    for (int i = 0; i < 100;
         i++) /* deeper in the prompt: both are laid out anew, and a plan for as many tokens is right */
        sched_cost_add(&c, 10, true, 0.6);
    CHECK(fabs(c.base + 10 * c.tok - 0.6) < 1e-9);
    c = (struct sched_cost){.tok = 0.1}; /* learnt when the machine was slow */
    for (int i = 0; i < 100; i++)
        sched_cost_add(&c, 10, true, 0.3);
    CHECK(fabs(c.base + 10 * c.tok - 0.3) < 1e-9);
}

/* Steps that take now longer, now less than planned are planned shorter, so that hardly one is late; one that the machine held up for
 * long says little. */
static void plans_know_their_errors(void)
{
    struct sched_cost c = {0.001, 0.02, 0};
    int sure = sched_chunk(256, &c, 0.1, 1), late = 0, n = 0;
    for (int i = 0; i < 2000; i++) {
        n = sched_chunk(256, &c, 0.1, 1);
        double took = (0.02 + n * 0.001) * (0.95 + 0.1 * rng_uniform(3, 0, (uint64_t)i));
        late += i >= 200 && took > 0.1;
        sched_cost_add(&c, n, true, took);
    }
    CHECK(late < 18 && n < sure && n > sure * 3 / 4);
    c = (struct sched_cost){0.001, 0.02, 0};
    sched_cost_add(&c, 75, true, 20);
    CHECK(c.error <= 0.05 && c.tok <= 0.0012);
}

/* A short prompt's first token does not wait for what a long one could fill the step with. */
static void short_prompt_ends_in_its_step(void)
{
    struct sched_seq s[3] = {seq(0, 5000, true), seq(1, 20, true), seq(2, 7, false)};
    CHECK_INT(sched_least(s, 1, 8, 56), 56);
    CHECK_INT(sched_least(s, 2, 8, 56), 20);
    CHECK_INT(sched_least(s, 3, 8, 56), 20);
    s[2].admitted = true;
    CHECK_INT(sched_least(s, 3, 8, 56), 8);
    s[1].todo = s[2].todo = 3000;
    CHECK_INT(sched_least(s, 3, 8, 56), 56);
    s[1].todo = s[2].todo = 1; /* they decode */
    CHECK_INT(sched_least(s, 3, 8, 56), 56);
}

static void debt_is_bounded(void)
{
    struct sched_model m[3] = {{5, 0, true}, {3, 0, true}, {3.01, 1, true}};
    sched_forgive(m, 3, 0.05);
    CHECK(m[0].vtime == 3.05 && m[1].vtime == 3 && m[2].vtime == 3.01);
    sched_forgive(m, 1, 0.05);
    CHECK(m[0].vtime == 3.05);
}

/* A made-up server: requests arrive at random and every step serves what is picked. Each of them must end, and in bounded time. */
static void nobody_starves(void)
{
    enum { N = 64, STEPS = 100000 };
    struct sched_seq s[N];
    int left[N]; /* tokens of the answer */
    uint64_t born[N], longest = 0, ended = 0, order = 0;
    size_t n = 0;
    struct sched_pick p[8];
    for (uint64_t step = 1; step <= STEPS; step++) {
        uint64_t r = (uint64_t)(rng_uniform(1, 0, step) * 1e6);
        if (n < N && r % 100 < 12) {
            s[n] = (struct sched_seq){
                .order = order++, .served = step, .todo = 1 + (int)(r % 7 == 0 ? 3000 : r % 300), .kv_admit = 1};
            left[n] = 1 + (int)(r % 40);
            born[n++] = step;
        }
        admit(s, n, 1000, 32, -1);
        struct sched_limits l = {.max_seq = 8, .max_tok = 128, .chunk = 128, .step = step};
        size_t k = sched_build(s, n, &l, p);
        int tok = 0;
        for (size_t i = 0; i < k; i++) {
            struct sched_seq *q = &s[p[i].seq];
            CHECK(q->admitted && p[i].n_tok >= 1 && p[i].n_tok <= q->todo);
            tok += p[i].n_tok;
            q->todo -= p[i].n_tok;
            q->served = step;
            if (q->todo == 0) {
                q->todo = 1;
                left[p[i].seq]--;
            }
        }
        CHECK(tok <= l.max_tok && k <= 8);
        for (size_t i = n; i-- > 0;)
            if (left[i] <= 0) {
                longest = step - born[i] > longest ? step - born[i] : longest;
                ended++;
                n--;
                s[i] = s[n];
                left[i] = left[n];
                born[i] = born[n];
            }
    }
    CHECK(ended + n == order && ended > 10000);
    CHECK(longest < 3000);
    printf("     %llu requests, longest life %llu steps\n", (unsigned long long)ended, (unsigned long long)longest);
}

int main(void)
{
    RUN(decodes_come_first);
    RUN(prompt_keeps_a_seat);
    RUN(shortest_prompt_first_until_age);
    RUN(admission_in_order);
    RUN(oldest_is_admitted_without_memory);
    RUN(places_change_hands);
    RUN(priority_before_age);
    RUN(least_time_goes_next);
    RUN(alone_is_no_debt);
    RUN(chunk_fits_the_slice);
    RUN(costs_are_learnt);
    RUN(plans_know_their_errors);
    RUN(short_prompt_ends_in_its_step);
    RUN(debt_is_bounded);
    RUN(nobody_starves);
    return check_done();
}
