/* sched: see sched.h. Owns no state: everything it knows is in its arguments. The arrays are short (hundreds at most), so
 * the next best is found by a scan: nothing is sorted, nothing is allocated on the step path. */
#include "engine/sched.h"
#include <math.h>

bool sched_before(const struct sched_seq *a, const struct sched_seq *b)
{
    if (a->priority != b->priority)
        return a->priority < b->priority;
    return a->order < b->order;
}

bool sched_fairer(const struct sched_seq *a, const struct sched_seq *b)
{
    if (a->priority != b->priority)
        return a->priority < b->priority;
    if (a->share / SCHED_SHARE != b->share / SCHED_SHARE)
        return a->share < b->share;
    return a->order < b->order;
}

static size_t kv_missing(const struct sched_seq *s)
{
    return s->kv_admit > s->kv_held ? s->kv_admit - s->kv_held : 0;
}

bool sched_fits(const struct sched_seq *s, size_t n, int i, size_t kv_free)
{
    size_t promised = kv_missing(&s[i]);
    for (size_t j = 0; j < n; j++)
        promised += s[j].admitted ? kv_missing(&s[j]) : 0;
    return promised <= kv_free;
}

static int seats_of(const struct sched_seq *s, size_t n, uint64_t key)
{
    int seats = 0;
    for (size_t i = 0; i < n; i++)
        seats += s[i].admitted && s[i].key == key;
    return seats;
}

static int fairest(const struct sched_seq *s, size_t n)
{
    int best = -1;
    for (size_t i = 0; i < n; i++)
        if (!s[i].admitted && !s[i].held && (best < 0 || sched_fairer(&s[i], &s[best])))
            best = (int)i;
    return best;
}

/* Of the most urgent that wait the one whose key has fewest places. */
static int neediest(const struct sched_seq *s, size_t n, int *fewest)
{
    int best = -1;
    for (size_t i = 0; i < n; i++) {
        if (s[i].admitted || s[i].held || (best >= 0 && s[i].priority > s[best].priority))
            continue;
        int seats = seats_of(s, n, s[i].key);
        bool first = best < 0 || s[i].priority < s[best].priority || seats < *fewest;
        if (first || (seats == *fewest && sched_fairer(&s[i], &s[best]))) {
            best = (int)i;
            *fewest = seats;
        }
    }
    return best;
}

/* Who gives its place to one of a priority whose key has `fewest`. */
static int richest(const struct sched_seq *s, size_t n, int priority, int fewest)
{
    int best = -1, most = 0;
    for (size_t i = 0; i < n; i++) {
        if (!s[i].admitted || s[i].priority < priority || (best >= 0 && s[i].priority < s[best].priority))
            continue;
        bool later = s[i].priority > priority;
        int seats = later ? 0 : seats_of(s, n, s[i].key);
        bool last = best < 0 || s[i].priority > s[best].priority || seats > most;
        if ((later || seats >= fewest + 2) && (last || (seats == most && sched_before(&s[best], &s[i])))) {
            best = (int)i;
            most = seats;
        }
    }
    return best;
}

int sched_next(const struct sched_seq *s, size_t n, int places, int *gives)
{
    int admitted = 0, fewest = 0;
    *gives = -1;
    for (size_t i = 0; i < n; i++)
        admitted += s[i].admitted;
    if (admitted < places)
        return fairest(s, n);
    int next = neediest(s, n, &fewest);
    if (next >= 0)
        *gives = richest(s, n, s[next].priority, fewest);
    return *gives >= 0 ? next : -1;
}

/* Decoding sequences: the one that waited longest first, so that more of them than seats still take turns. */
static bool decode_first(const struct sched_seq *a, const struct sched_seq *b)
{
    if (a->priority != b->priority)
        return a->priority < b->priority;
    if (a->served != b->served)
        return a->served < b->served;
    return a->order < b->order;
}

static int64_t prefill_key(const struct sched_seq *s, uint64_t step)
{
    return (int64_t)s->todo - SCHED_AGE * (int64_t)(step - s->served);
}

static bool prefill_first(const struct sched_seq *a, const struct sched_seq *b, uint64_t step)
{
    if (a->priority != b->priority)
        return a->priority < b->priority;
    if (a->share / SCHED_SHARE != b->share / SCHED_SHARE)
        return a->share < b->share;
    int64_t ka = prefill_key(a, step), kb = prefill_key(b, step);
    return ka != kb ? ka < kb : a->order < b->order;
}

static int next_of(const struct sched_seq *s, size_t n, bool prefill, uint64_t step)
{
    int best = -1;
    for (size_t i = 0; i < n; i++) {
        if (!s[i].admitted || s[i].picked || s[i].blocked || (s[i].todo > 1) != prefill)
            continue;
        if (best < 0 || (prefill ? prefill_first(&s[i], &s[best], step) : decode_first(&s[i], &s[best])))
            best = (int)i;
    }
    return best;
}

size_t sched_build(struct sched_seq *s, size_t n, const struct sched_limits *l, struct sched_pick *out)
{
    bool prompts = false;
    for (size_t i = 0; i < n; i++) {
        s[i].picked = false;
        prompts |= s[i].admitted && !s[i].blocked && s[i].todo > 1;
    }
    size_t n_pick = 0;
    int tok = 0;
    int seats = prompts && l->max_seq > 1 ? l->max_seq - 1 : l->max_seq;
    int tok_seats = prompts && l->max_tok > 1 ? l->max_tok - 1 : l->max_tok;
    for (int i; (int)n_pick < seats && tok < tok_seats && (i = next_of(s, n, false, l->step)) >= 0; tok++) {
        s[i].picked = true;
        out[n_pick++] = (struct sched_pick){i, 1};
    }
    int left = l->max_tok - tok < l->chunk ? l->max_tok - tok : l->chunk;
    for (int i; (int)n_pick < l->max_seq && left > 0 && (i = next_of(s, n, true, l->step)) >= 0;) {
        int t = s[i].todo < left ? s[i].todo : left;
        s[i].picked = true;
        out[n_pick++] = (struct sched_pick){i, t};
        left -= t;
    }
    return n_pick;
}

static bool model_first(const struct sched_model *a, const struct sched_model *b)
{
    return a->priority != b->priority ? a->priority < b->priority : a->vtime < b->vtime;
}

int sched_pick_model(const struct sched_model *m, size_t n)
{
    int best = -1;
    for (size_t i = 0; i < n; i++)
        if (m[i].runnable && (best < 0 || !model_first(&m[best], &m[i])))
            best = (int)i;
    return best;
}

void sched_forgive(struct sched_model *m, size_t n, double most)
{
    double least = INFINITY;
    for (size_t i = 0; i < n; i++)
        least = fmin(least, m[i].vtime);
    for (size_t i = 0; i < n; i++)
        m[i].vtime = fmin(m[i].vtime, least + most);
}

double sched_join(double vtime, double now)
{
    return vtime > now ? vtime : now;
}

static void mean_add(double *mean, double x)
{
    *mean = *mean > 0 ? 0.7 * *mean + 0.3 * x : x;
}

/* A step of both says only what both cost together: what it took longer than planned is laid on both alike. The plan's own errors are
 * learnt slowly, and one step that the machine stretched counts no more than half as long again. */
static void mixed_add(struct sched_cost *c, int n_prompt, double seconds)
{
    double plan = c->base + n_prompt * c->tok, off = fmax(fmin(seconds / plan - 1, 0.5), -0.5);
    c->error += 0.05 * (fabs(off) - c->error);
    c->base *= 1 + 0.3 * off;
    c->tok *= 1 + 0.3 * off;
}

void sched_cost_add(struct sched_cost *c, int n_prompt, bool decodes, double seconds)
{
    if (!decodes && n_prompt >= 2 * SCHED_TILE) /* fewer say little about more */
        mean_add(&c->tok, seconds / n_prompt);
    if (decodes && !n_prompt)
        mean_add(&c->base, seconds);
    if (!decodes || !n_prompt || c->tok <= 0)
        return;
    if (c->base > 0 || seconds < n_prompt * c->tok)
        mixed_add(c, n_prompt, seconds);
    else
        c->base = seconds - n_prompt * c->tok;
}

int sched_chunk(int chunk, const struct sched_cost *c, double slice_s, int beside)
{
    enum { CHEAPER = 4 }; /* a prompt's token than one that comes alone, until it is measured */
    static const double ERRORS = 2.5,
                        ERRORS_MOST = 0.15; /* about one step in a hundred is later than so many mean errors */
    if (beside)
        slice_s /= 1 + fmin(ERRORS * c->error, ERRORS_MOST);
    double base = beside ? c->base : 0, tok = c->tok > 0 ? c->tok : c->base / CHEAPER;
    double fit = tok > 0 ? fmax(slice_s - base, base / 4) / tok : SCHED_FIRST;
    if (fit >= chunk)
        return chunk;
    int tile = beside               ? SCHED_FEW
               : fit < SCHED_STRIPE ? SCHED_TILE
                                    : SCHED_STRIPE,
        t = ((int)fit + beside) / tile * tile - beside;
    t = t > 0 ? t : tile - beside % tile;
    return t < chunk ? t : chunk;
}

int sched_least(const struct sched_seq *s, size_t n, int slice, int alone)
{
    int prompts = 0, least = alone;
    for (size_t i = 0; i < n; i++)
        if (s[i].admitted && s[i].todo > 1) {
            prompts++;
            least = s[i].todo < least ? s[i].todo : least;
        }
    return prompts < 2 ? alone : least > slice ? least : slice;
}

static size_t key_place(uint64_t key)
{
    return (size_t)((key * 0x9e3779b97f4a7c15u) >> 32) % SCHED_KEYS;
}

/* What the key that had least has had, of those that have something to do, but for the one at `but`. */
static uint64_t key_least(const struct sched_keys *k, size_t but)
{
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < SCHED_KEYS; i++)
        if (i != but && k->live[i] > 0 && k->served[i] < least)
            least = k->served[i];
    return least == UINT64_MAX ? k->last : least;
}

void sched_key_enter(struct sched_keys *k, uint64_t key)
{
    size_t at = key_place(key);
    if (k->live[at]++ > 0)
        return;
    uint64_t least = key_least(k, at);
    if (k->served[at] < least)
        k->served[at] = least;
}

void sched_key_leave(struct sched_keys *k, uint64_t key)
{
    size_t at = key_place(key);
    if (--k->live[at] == 0 && k->served[at] > k->last)
        k->last = k->served[at];
}

void sched_key_serve(struct sched_keys *k, uint64_t key, int n_tok)
{
    k->served[key_place(key)] += (uint64_t)n_tok;
}

uint64_t sched_key_share(const struct sched_keys *k, uint64_t key)
{
    return k->served[key_place(key)];
}
