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

/* A step says only what all of it cost together: what it took other than planned is laid on the parts, most on the largest, which so
 * learn apart when their shares change. One step that the machine stretched counts no more than half as long again; the second one
 * in a row was no accident. */
static void correct(struct sched_cost *c, const struct sched_did *d)
{
    const double GAIN = 0.3, AGAIN = 0.8, MOST = d->beside ? 0.5 : 1, LEAST = -0.9, CLEAR = 0.1;
    double base = d->beside ? c->base : 0, tok = d->n_prompt * c->tok, deep = d->depth * c->deep;
    double plan = base + tok + deep, off = fmax(fmin(d->seconds / plan - 1, MOST), LEAST);
    double move = (off > CLEAR && c->late ? AGAIN : GAIN) * off * plan / (base * base + tok * tok + deep * deep);
    c->late = d->beside && off > CLEAR;
    c->base *= 1 + move * base;
    c->tok *= 1 + move * tok;
    c->deep *= 1 + move * deep;
}

static void leave_room(struct sched_cost *c, const struct sched_did *d)
{
    static const double MORE = 0.03, MOST = 0.25;
    double plan = c->base + d->n_prompt * c->tok + d->depth * c->deep;
    if (d->limit <= 0 || plan > d->limit) /* as short as it can be, and still too long */
        return;
    c->room = d->seconds > d->limit ? fmin(c->room + MORE, MOST) : fmax(c->room - MORE / SCHED_LATE, 0);
}

/* A sequence more or less that decodes is a token more or less, until a step has shown it. */
static double base_of(const struct sched_cost *c, int beside)
{
    return beside ? fmax(c->base + (beside - c->beside) * c->tok, c->base / 2) : 0;
}

void sched_cost_add(struct sched_cost *c, const struct sched_did *d)
{
    if (c->base > 0 && d->beside)
        c->base = base_of(c, d->beside);
    if (d->beside)
        c->beside = d->beside;
    if (d->beside && !d->n_prompt)
        mean_add(&c->base, d->seconds);
    bool prompts = d->n_prompt >= (d->beside ? 1 : 2 * SCHED_TILE); /* fewer say little about more */
    if (!prompts || (d->beside && c->tok <= 0))
        return;
    double known = d->n_prompt * c->tok + d->depth * c->deep;
    if (c->tok <= 0) {
        c->tok = d->seconds / (d->n_prompt + d->depth * c->share);
        c->deep = c->tok * c->share;
    } else if (!d->beside || c->base > 0 || d->seconds < known) {
        if (d->beside)
            leave_room(c, d);
        correct(c, d);
    } else {
        c->base = d->seconds - known;
    }
}

/* Seconds for prompts of the step; *least: of those, what they get beside other models in any case. */
static double prompts_s(const struct sched_cost *c, const struct sched_aim *a, double *least)
{
    static const double AIM = 0.95, KEPT = 2.0 / 3; /* of the speed at which prompts are read */
    double aim = a->slice_s * (a->beside ? AIM * (1 - c->room) : 1), base = base_of(c, a->beside);
    double whole = fmax(aim - base, base / 4);
    *least = KEPT * whole * base / (base + (1 - KEPT) * whole);
    return a->beside && a->at_work > 1 ? fmin(fmax(aim / a->at_work - base, *least), whole) : whole;
}

/* Tokens of prompts that take so long, those of the prompts that are picked first; `most` where all prompts end before. */
static double tokens_in(struct sched_seq *s, size_t n, uint64_t step, double seconds, double tok, double deep, int most)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        s[i].picked = false;
    for (int i; sum < most && (i = next_of(s, n, true, step)) >= 0;) {
        double each = tok + deep * s[i].depth, fit = seconds / each;
        if (fit < s[i].todo)
            return sum + fit;
        s[i].picked = true;
        sum += s[i].todo;
        seconds -= s[i].todo * each;
    }
    return most;
}

int sched_chunk(struct sched_seq *s, size_t n, const struct sched_cost *c, const struct sched_aim *a)
{
    enum { CHEAPER = 4 }; /* a prompt's token than one that comes alone, until it is measured */
    double least, seconds = prompts_s(c, a, &least), tok = c->tok > 0 ? c->tok : c->base / CHEAPER;
    double deep = c->tok > 0 ? c->deep : tok * c->share;
    double fit = tok > 0 ? tokens_in(s, n, a->step, seconds, tok, deep, a->chunk) : SCHED_FIRST;
    if (fit >= a->chunk)
        return a->chunk;
    int tile = a->beside ? SCHED_FEW : fit < SCHED_STRIPE ? SCHED_TILE : SCHED_STRIPE;
    int up = a->beside && a->at_work > 1 ? tile - 1 : 0; /* others have turns meanwhile, and small steps read slowly */
    int t = ((int)fit + a->beside + up) / tile * tile - a->beside;
    t = t > 0 ? t : tile - a->beside % tile;
    return t < a->chunk ? t : a->chunk;
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
