/* sample: see sample.h. Order: logit bias, constraint, penalties, temperature, top-k, min-p, top-p, draw.
 *
 * Nothing is sorted that is not looked at: greedy is one pass; top-k streams through a heap of k; the draw walks candidates
 * in falling order out of a lazily emptied heap, likely ones first. The walk visits what a full sort would, in that order.
 * Logits are compared as integers whose order is that of the floats (which also tells NaN apart), ties go to the lowest id. */
#include "engine/sample.h"
#include "base/fmath.h"
#include "base/rng.h"
#include "kernel/kernel.h"
#include <math.h>
#include <string.h>

enum { KEY_INF = 0x7f800000, KEY_NEG_INF = -0x7f800001, TOP_BLOCK = 64 };

static inline int32_t key_of(float x)
{
    int32_t b;
    memcpy(&b, &x, sizeof b);
    return b ^ ((b >> 31) & 0x7fffffff);
}

static inline float of_key(int32_t k)
{
    int32_t b = k ^ ((k >> 31) & 0x7fffffff);
    float x;
    memcpy(&x, &b, sizeof x);
    return x;
}

size_t sample_scratch_bytes(size_t n_vocab)
{
    return n_vocab * (sizeof(struct sample_cand) + 2 * sizeof(float) + sizeof(uint32_t)) +
           (n_vocab + 31) / 32 * sizeof(uint32_t) + (n_vocab + TOP_BLOCK - 1) / TOP_BLOCK * sizeof(float);
}

void sample_scratch_set(struct sample_scratch *s, const struct kernels *k, void *mem, size_t n_vocab)
{
    s->kernels = k;
    s->cand = mem;
    s->work = (float *)(void *)(s->cand + n_vocab);
    s->weight = s->work + n_vocab;
    s->count = (uint32_t *)(void *)(s->weight + n_vocab);
    s->bits = s->count + n_vocab;
    s->top = (float *)(void *)(s->bits + (n_vocab + 31) / 32);
}

/* a is drawn before b */
static inline bool ahead(struct sample_cand a, struct sample_cand b)
{
    return a.key != b.key ? a.key > b.key : a.id < b.id;
}

static void apply_bias(const struct sample_params *p, float *logits)
{
    for (int i = 0; i < p->n_bias; i++) {
        float *x = &logits[p->bias[i].id];
        *x = p->bias[i].bias <= -100.0f ? -INFINITY : *x + p->bias[i].bias;
    }
}

static void apply_mask(const struct sample_in *in, uint32_t *bits, float *logits)
{
    size_t words = (in->n_vocab + 31) / 32;
    memset(bits, 0, words * sizeof *bits);
    in->constraint->mask(in->constraint->self, bits, in->n_vocab);
    for (size_t i = 0; i < in->n_vocab; i++)
        if (!(bits[i / 32] >> (i % 32) & 1))
            logits[i] = -INFINITY;
}

/* Counts are rebuilt from the tokens each time: nothing to keep right across preemption. The top bit marks "done". */
static void apply_penalties(const struct sample_in *in, uint32_t *count, float *logits)
{
    const struct sample_params *p = in->params;
    for (int i = in->n_prompt; i < in->n_token; i++)
        count[in->token[i]]++;
    for (int i = 0; i < in->n_token; i++) {
        uint32_t *c = &count[in->token[i]];
        if (*c >> 31)
            continue;
        float *x = &logits[in->token[i]];
        if (p->repetition_penalty != 1.0f)
            *x = *x > 0.0f ? *x / p->repetition_penalty : *x * p->repetition_penalty;
        if (*c) {
            *x -= (float)*c * p->frequency_penalty;
            *x -= p->presence_penalty;
        }
        *c |= 1u << 31;
    }
    for (int i = 0; i < in->n_token; i++)
        count[in->token[i]] = 0;
}

/* The largest of a whole block; *nan: one of them is no number. Loops that stay loops become vectors of any compiler. */
static float block_top(const float x[TOP_BLOCK], uint32_t *nan)
{
    enum { LANES = TOP_BLOCK / 4, FEW = LANES / 4 };
    float m[LANES];
    uint32_t bad[LANES];
#pragma GCC unroll 1
    for (int j = 0; j < LANES; j++) {
        float a = x[j], b = x[j + LANES], c = x[j + 2 * LANES], d = x[j + 3 * LANES];
        bad[j] = (uint32_t)(a != a) | (uint32_t)(b != b) | (uint32_t)(c != c) | (uint32_t)(d != d);
        a = b > a ? b : a;
        c = d > c ? d : c;
        m[j] = c > a ? c : a;
    }
#pragma GCC unroll 1
    for (int j = 0; j < FEW; j++) {
        float a = m[j], b = m[j + FEW], c = m[j + 2 * FEW], d = m[j + 3 * FEW];
        bad[j] |= bad[j + FEW] | bad[j + 2 * FEW] | bad[j + 3 * FEW];
        a = b > a ? b : a;
        c = d > c ? d : c;
        m[j] = c > a ? c : a;
    }
    for (int j = 1; j < FEW; j++) {
        m[0] = m[j] > m[0] ? m[j] : m[0];
        bad[0] |= bad[j];
    }
    *nan |= bad[0];
    return m[0];
}

/* The largest logit of each block of TOP_BLOCK, which spares those who look for large ones most of the vocabulary, and the largest key
 * of all: KEY_INF + 1 if one is no number. */
static int32_t find_tops(const float *x, size_t n, float *top)
{
    uint32_t nan = 0;
    float most = -INFINITY;
    size_t at = 0, b = 0;
    for (; at + TOP_BLOCK <= n; at += TOP_BLOCK, b++) {
        top[b] = block_top(x + at, &nan);
        most = top[b] > most ? top[b] : most;
    }
    if (at < n)
        top[b] = x[at];
    for (; at < n; at++) {
        top[b] = x[at] > top[b] ? x[at] : top[b];
        most = x[at] > most ? x[at] : most;
        nan |= x[at] != x[at];
    }
    int32_t key = key_of(most);
    if (most == 0) { /* the two zeros are one number, but two keys */
        key = key_of(-0.0f);
        for (size_t i = 0; i < n; i++)
            key = key_of(x[i]) == 0 ? 0 : key;
    }
    return nan ? KEY_INF + 1 : key;
}

static int check_logits(const struct sample_in *in, const float *logits, float *top, int32_t *max_key, struct err *e)
{
    int32_t hi = *max_key = find_tops(logits, in->n_vocab, top);
    if (hi > KEY_INF)
        return err_set(e, ERR_RANGE, "the model's logits at position %d are not numbers (damaged weights?)",
                       in->n_token - 1);
    if (hi == KEY_INF)
        return err_set(e, ERR_RANGE, "a logit at position %d is infinite (damaged weights?)", in->n_token - 1);
    if (hi <= KEY_NEG_INF)
        return err_set(e, ERR_RANGE, "no token is left to choose from at position %d: bias or grammar bans all",
                       in->n_token);
    return 0;
}

static int32_t first_with_key(const float *x, const float *top, size_t n, int32_t key)
{
    for (size_t at = 0; at < n; at += TOP_BLOCK)
        for (size_t i = at; !(top[at / TOP_BLOCK] < of_key(key)) && i < n && i < at + TOP_BLOCK; i++)
            if (key_of(x[i]) == key)
                return (int32_t)i;
    return -1;
}

/* Restores the heap below `at`; `last_first`: root is the candidate drawn last (for top-k), else the one drawn first. */
static void sift(struct sample_cand *h, size_t n, size_t at, bool last_first)
{
    struct sample_cand c = h[at];
    for (size_t kid; (kid = 2 * at + 1) < n; at = kid) {
        if (kid + 1 < n && ahead(h[kid + 1], h[kid]) != last_first)
            kid++;
        if (ahead(h[kid], c) == last_first)
            break;
        h[at] = h[kid];
    }
    h[at] = c;
}

static void heapify(struct sample_cand *h, size_t n, bool last_first)
{
    for (size_t i = n / 2; i-- > 0;)
        sift(h, n, i, last_first);
}

/* The k candidates that come first, in heap order. Ids come ascending, so an equal value never displaces an older one. */
static size_t top_k(const float *x, const float *top, size_t n, size_t k, struct sample_cand *h)
{
    size_t m = k < n ? k : n;
    for (size_t i = 0; i < m; i++)
        h[i] = (struct sample_cand){key_of(x[i]), (int32_t)i};
    if (m == n)
        return m;
    heapify(h, m, true);
    int32_t least = h[0].key;
    for (size_t i = m, end; i < n; i = end) {
        end = (i / TOP_BLOCK + 1) * TOP_BLOCK;
        if (top[i / TOP_BLOCK] < of_key(least)) /* none of its block */
            continue;
        for (end = end < n ? end : n; i < end; i++) {
            int32_t key = key_of(x[i]);
            if (key <= least)
                continue;
            h[0] = (struct sample_cand){key, (int32_t)i};
            sift(h, m, 0, true);
            least = h[0].key;
        }
    }
    return m;
}

/* Into falling order, in place. */
static void sort_cands(struct sample_cand *h, size_t n)
{
    heapify(h, n, true);
    for (size_t left = n; left > 1; left--) {
        struct sample_cand t = h[0];
        h[0] = h[left - 1];
        h[left - 1] = t;
        sift(h, left - 1, 0, true);
    }
}

/* e^y for y <= 0, relative error below 1e-9; below -87 it stays at e^-87, which counts as nothing. fm_exp asks for fused
 * operations, slow where the compiler may not assume them; this is plain arithmetic that any compiler vectorises, with
 * the same result everywhere: n = round(y / ln 2) falls out of adding 1.5 * 2^52, and goes into the exponent as an integer. */
static inline double exp_down(double y)
{
    const double shift = 6755399441055744.0, log2e = 1.4426950408889634, ln2_hi = 0.6931471803691238,
                 ln2_lo = 1.9082149292705877e-10;
    y = y > -87.0 ? y : -87.0;
    double u = y * log2e + shift, n = u - shift, r = (y - n * ln2_hi) - n * ln2_lo;
    double p = 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    uint64_t bits, exponent;
    memcpy(&bits, &p, sizeof bits);
    memcpy(&exponent, &u, sizeof exponent);
    bits += exponent << 52;
    memcpy(&p, &bits, sizeof p);
    return p;
}

static const float NOTHING = 1e-37f;    /* weights below are none */
static const float LIKELY = 6e-6f;      /* about e^-12: candidates below are hardly ever reached */
static const float SURELY_NOT = -12.5f; /* the weight of such an exponent is below it, however it is rounded */

struct region { /* a heap that is emptied from the front: what was walked lies behind it, the first one last */
    struct sample_cand *cand;
    size_t n, left;
    bool heap;
};

struct draw {
    struct region part[2]; /* likely candidates, unlikely ones: all of the first come before all of the second */
    float max, temperature, least; /* least: weights below it are out (min-p) */
    double total;                  /* of the weights, summed in the order in which the candidates came */
    const float *logits, *weight;  /* [n_vocab]; weight NULL: nobody's was kept */
    const float *top;              /* of each block of logits */
    size_t n_vocab;
    bool unlikely_left; /* they still are where they were */
};

static inline float weight(const struct draw *d, struct sample_cand c)
{
    return d->weight ? d->weight[c.id] : fm_expf((of_key(c.key) - d->max) / d->temperature);
}

/* The k candidates of top-k: drops those that min-p drops, sums the others. */
static void weigh_few(struct draw *d, struct sample_cand *cand, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        float w = weight(d, cand[i]);
        if (w < d->least)
            continue;
        d->total += (double)w;
        cand[kept++] = cand[i];
    }
    d->part[0] = (struct region){cand, kept, kept, false};
    d->part[1] = (struct region){cand + kept, 0, 0, false};
}

/* The whole vocabulary: weighs all, sums those that stay, but gathers the likely ones only. */
static void weigh_all(struct draw *d, const struct kernels *k, struct sample_cand *cand, float *w)
{
    enum { BLOCK = 512 };
    const float *x = d->logits;
    struct weigh a = {.max = d->max, .temperature = d->temperature, .least = d->least};
    size_t n = 0;
    for (size_t at = 0; at < d->n_vocab; at += BLOCK) {
        size_t end = d->n_vocab - at < BLOCK ? d->n_vocab : at + BLOCK;
        k->weigh(w + at, x + at, end - at, &a);
        d->total += (double)a.sum;
        for (size_t i = at; a.top >= LIKELY && i < end; i++) {
            if (i % TOP_BLOCK == 0 && (d->top[i / TOP_BLOCK] - d->max) / d->temperature < SURELY_NOT)
                i += TOP_BLOCK - 1;
            else if (w[i] >= LIKELY)
                cand[n++] = (struct sample_cand){key_of(x[i]), (int32_t)i};
        }
    }
    d->weight = w;
    d->unlikely_left = true;
    d->part[0] = (struct region){cand, n, n, false};
    d->part[1] = (struct region){cand + n, 0, 0, false};
}

/* The walk went past the likely candidates: now the others are gathered behind them. */
static void gather_unlikely(struct draw *d)
{
    struct region *r = &d->part[1];
    for (size_t i = 0; i < d->n_vocab; i++)
        if (d->weight[i] >= d->least && d->weight[i] < LIKELY)
            r->cand[r->n++] = (struct sample_cand){key_of(d->logits[i]), (int32_t)i};
    r->left = r->n;
    d->unlikely_left = false;
}

/* Next candidate in falling order; false when all were walked. */
static bool draw_next(struct draw *d, struct sample_cand *out)
{
    if (!d->part[0].left && d->unlikely_left)
        gather_unlikely(d);
    struct region *r = d->part[0].left ? &d->part[0] : &d->part[1];
    if (!r->left)
        return false;
    if (!r->heap)
        heapify(r->cand, r->left, false);
    r->heap = true;
    *out = r->cand[0];
    r->cand[0] = r->cand[--r->left];
    sift(r->cand, r->left, 0, false);
    r->cand[r->left] = *out;
    return true;
}

/* The i-th candidate that draw_next gave. */
static struct sample_cand drawn(const struct draw *d, size_t i)
{
    const struct region *r = &d->part[0];
    if (i >= r->n) {
        i -= r->n;
        r++;
    }
    return r->cand[r->n - 1 - i];
}

static int32_t draw_token(struct draw *d, float top_p, double u)
{
    struct sample_cand c = {0, -1};
    double sum = 0;
    if (top_p <= 0.0f || top_p >= 1.0f) {
        while (sum <= u * d->total && draw_next(d, &c))
            sum += (double)weight(d, c);
        return c.id;
    }
    double enough = (double)top_p * d->total;
    size_t n = 0;
    for (; sum < enough && draw_next(d, &c); n++)
        sum += (double)weight(d, c);
    double target = u * sum;
    sum = 0;
    for (size_t i = 0; i < n && sum <= target; i++) {
        c = drawn(d, i);
        sum += (double)weight(d, c);
    }
    return c.id;
}

static int32_t sample_random(const struct sample_in *in, const float *logits, struct sample_scratch *s, int32_t max_key)
{
    const struct sample_params *p = in->params;
    struct draw d = {.max = of_key(max_key), .temperature = p->temperature, .n_vocab = in->n_vocab};
    d.logits = logits;
    d.top = s->top;
    d.least = p->min_p > NOTHING ? p->min_p : NOTHING;
    if (p->top_k > 0)
        weigh_few(&d, s->cand, top_k(logits, s->top, in->n_vocab, (size_t)p->top_k, s->cand));
    else
        weigh_all(&d, s->kernels, s->cand, s->weight);
    return draw_token(&d, p->top_p, rng_uniform(p->seed, 0, (uint64_t)in->n_token));
}

static bool has_penalties(const struct sample_params *p)
{
    return p->repetition_penalty != 1.0f || p->presence_penalty != 0.0f || p->frequency_penalty != 0.0f;
}

/* Bias, mask and penalties on a copy of the logits. */
static int adjust(const struct sample_in *in, struct sample_scratch *s, int32_t *max_key, struct err *e)
{
    memcpy(s->work, in->logits, in->n_vocab * sizeof *s->work);
    apply_bias(in->params, s->work);
    if (in->constraint)
        apply_mask(in, s->bits, s->work);
    if (has_penalties(in->params))
        apply_penalties(in, s->count, s->work);
    return check_logits(in, s->work, s->top, max_key, e);
}

int sample_token(const struct sample_in *in, struct sample_scratch *s, int32_t *out, struct err *e)
{
    const struct sample_params *p = in->params;
    const float *logits = in->logits;
    int32_t max_key;
    int rc = check_logits(in, logits, s->top, &max_key, e);
    if (rc == 0 && (p->n_bias || in->constraint || has_penalties(p))) {
        rc = adjust(in, s, &max_key, e);
        logits = s->work;
    }
    if (rc < 0)
        return rc;
    if (p->temperature > 0.0f)
        *out = sample_random(in, logits, s, max_key);
    else
        *out = first_with_key(logits, s->top, in->n_vocab, max_key);
    if (in->constraint)
        in->constraint->accept(in->constraint->self, *out);
    return 0;
}

void sample_logprobs(const float *logits, size_t n_vocab, const struct sample_want *w, struct sample_scratch *s)
{
    enum { BLOCK = 64 };
    double max = (double)of_key(find_tops(logits, n_vocab, s->top)), sum = 0;
    for (size_t at = 0; at < n_vocab; at += BLOCK) { /* exponentials side by side, then one sum in order of ids */
        double e[BLOCK];
        size_t n = n_vocab - at < BLOCK ? n_vocab - at : BLOCK;
        for (size_t i = 0; i < n; i++)
            e[i] = exp_down((double)logits[at + i] - max);
        for (size_t i = 0; i < n; i++)
            sum += e[i];
    }
    double log_sum = fm_log(sum);
    w->lp[0] = (float)((double)logits[w->id] - max - log_sum);
    if (w->k <= 0)
        return;
    size_t n = top_k(logits, s->top, n_vocab, (size_t)w->k, s->cand);
    sort_cands(s->cand, n);
    for (size_t i = 0; i < n; i++) {
        w->top_id[i] = s->cand[i].id;
        w->lp[1 + i] = (float)((double)of_key(s->cand[i].key) - max - log_sum);
    }
    for (size_t i = n; i < (size_t)w->k; i++) { /* fewer tokens than asked for: the last one again would be a lie */
        w->top_id[i] = -1;
        w->lp[1 + i] = -INFINITY;
    }
}
