/* spec: see spec.h. */
#include "engine/spec.h"
#include <string.h>

enum {
    LEAST = 256,
    MOST = 1 << 14
}; /* places in a table; one that is overwritten is a guess less, never a wrong token */

static const double HOPE = 0.7;      /* rate before anything was seen */
static const double MARGINAL = 0.12; /* of a one-token step: what another token costs where nothing is measured */
static const double WORTH = 1.05;    /* gain below which guessing is left alone */

size_t spec_bytes(int n_all)
{
    size_t n = LEAST;
    while (n < MOST && n < (size_t)n_all)
        n *= 2;
    return n * sizeof(int32_t);
}

void spec_init(struct spec_seq *s, void *mem, int n_all)
{
    size_t bytes = spec_bytes(n_all);
    memset(mem, 0, bytes);
    *s = (struct spec_seq){.last = mem, .mask = (uint32_t)(bytes / sizeof(int32_t)) - 1, .rate = {HOPE, HOPE}};
}

/* Place of the SPEC_GRAM tokens that end before `end`. */
static int32_t *place(const struct spec_seq *s, const int32_t *token, int end)
{
    uint32_t h = 2166136261u;
    for (int i = end - SPEC_GRAM; i < end; i++)
        h = (h ^ (uint32_t)token[i]) * 0x9e3779b1u, h ^= h >> 15;
    return &s->last[h & s->mask];
}

int spec_lookup(struct spec_seq *s, int32_t *token, int n_token, int max)
{
    /* the last SPEC_GRAM tokens themselves stay out of the table: nothing follows them yet */
    for (s->n_seen = s->n_seen < SPEC_GRAM ? SPEC_GRAM : s->n_seen; s->n_seen < n_token; s->n_seen++)
        *place(s, token, s->n_seen) = s->n_seen;
    if (n_token <= SPEC_GRAM)
        return 0;
    int from = *place(s, token, n_token), n = 0;
    if (from < SPEC_GRAM ||
        memcmp(token + from - SPEC_GRAM, token + n_token - SPEC_GRAM, SPEC_GRAM * sizeof *token) != 0)
        return 0;
    for (; n < max; n++) /* a text that repeats itself is read on into its own guesses */
        token[n_token + n] = token[from + n];
    return n;
}

static double step_cost(const struct spec_cost *c, int n_tok)
{
    if (c->step[n_tok] > 0)
        return c->step[n_tok];
    double one = c->step[1] > 0 ? c->step[1] : 1;
    for (int i = n_tok - 1; i > 1; i--)
        if (c->step[i] > 0)
            return c->step[i] + one * MARGINAL * (n_tok - i);
    return one * (1 + MARGINAL * (n_tok - 1));
}

int spec_length(const struct spec_cost *c, double rate, double each, int max)
{
    int best = 0;
    double tokens = 1, right = 1, most = WORTH / step_cost(c, 1);
    for (int k = 1; k <= max && k <= SPEC_MAX; k++) {
        right *= rate; /* the k-th guess counts only if all before it were right */
        tokens += right;
        double speed = tokens / (step_cost(c, k + 1) + each * k);
        if (speed > most) {
            most = speed;
            best = k;
        }
    }
    return best;
}

void spec_learn(struct spec_seq *s, int drafted, int accepted)
{
    const double step = 0.15, drift = 0.01;
    double *rate = &s->rate[s->source];
    if (!drafted) {
        *rate += drift * (HOPE - *rate);
        return;
    }
    for (int i = 0; i < accepted; i++)
        *rate += step * (1 - *rate);
    if (accepted < drafted)
        *rate -= step * *rate;
}

void spec_cost_add(struct spec_cost *c, int n_tok, double seconds)
{
    if (n_tok < 1 || n_tok > SPEC_MAX + 1 || !(seconds > 0))
        return;
    double *mean = &c->step[n_tok];
    *mean = *mean > 0 ? *mean + 0.2 * (seconds - *mean) : seconds;
}
