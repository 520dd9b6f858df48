/* rng: the published answers of Philox4x32-10 (known-answer table that comes with the paper's code), range and spread. */
#include "../check.h"
#include "base/rng.h"

static void known_answers(void)
{
    static const struct {
        uint64_t key, hi, lo;
        uint32_t want[4];
    } kat[] = {
        {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {UINT64_MAX, UINT64_MAX, UINT64_MAX, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof kat / sizeof *kat; i++) {
        uint32_t out[4];
        rng_philox(kat[i].key, kat[i].hi, kat[i].lo, out);
        CHECK(memcmp(out, kat[i].want, sizeof out) == 0);
    }
}

static void uniform(void)
{
    double sum = 0, least = 1, most = 0;
    int bins[16] = {0};
    enum { N = 65536 };
    for (uint64_t i = 0; i < N; i++) {
        double u = rng_uniform(42, 7, i);
        sum += u;
        least = u < least ? u : least;
        most = u > most ? u : most;
        bins[(int)(u * 16)]++;
    }
    CHECK(least >= 0 && most < 1);
    CHECK(sum / N > 0.495 && sum / N < 0.505);
    for (int i = 0; i < 16; i++)
        CHECK(bins[i] > 3800 && bins[i] < 4400);
    CHECK(rng_uniform(1, 0, 0) != rng_uniform(2, 0, 0));
    CHECK(rng_uniform(1, 1, 0) != rng_uniform(1, 0, 0));
}

static void entropy(void)
{
    CHECK(rng_entropy() != rng_entropy());
}

int main(void)
{
    RUN(known_answers);
    RUN(uniform);
    RUN(entropy);
    return check_done();
}
