/* The scheduler under a simulated clock: three models of very different speed, four keys, one of them greedy, a cache that does not hold
 * everybody, 100,000 requests of which some leave early. Steps take simulated time, and rest after a turn when another model has work;
 * the policy is engine/sched's own. What must hold: everybody is served and nobody waits too long; a turn, and a step of a model
 * that also decodes, stays within its time; models that always have work share the machine fairly; a long prompt of one model does not
 * hold up another's tokens; a greedy key's crowd does not hold up another's few. */
#include "admit.h"
#include "base/rng.h"
#include "engine/sched.h"
#include "unit/check.h"
#include <math.h>
#include <string.h>

enum { MODELS = 3, LIVE = 96, KEYS = 4, EVENTS = 100000, CHUNK = 256, SEATS = 16 };
static const double SLICE = 0.1, TURN = 0.025, DEBT = 0.05;
enum { PLAN = 200 };               /* steps of a plan, between which a step may rest */
static const size_t CACHE = 40000; /* positions, of all models together */
static const struct {
    double step_s, tok_s; /* of a step, and of each token in it */
} cost[MODELS] = {{0.001, 0.0002}, {0.004, 0.001}, {0.02, 0.008}};

struct life {
    struct sched_seq s;
    uint64_t key;
    int prompt, answer, model; /* tokens; answer: still to come */
    double born, told;         /* arrival; last token, or start of decoding */
    bool decodes, leaves;      /* leaves: goes after its first token */
};

struct sim_step { /* one that is begun; it may rest */
    uint64_t order[SEATS];
    int n_tok[SEATS];
    size_t n;
    double took, left;
};

struct sim {
    struct sim_step step_of[MODELS];
    struct life life[LIVE];
    size_t n;
    struct sched_keys keys[MODELS];
    double now, vnow, vtime[MODELS], had[MODELS];
    double longest_step, longest_turn, longest_gap[MODELS], longest_wait[KEYS], sum_wait[KEYS];
    uint64_t step, order, begun, ended, n_wait[KEYS];
    bool unaware; /* plans as if every model were alone */
};

static double chance(const struct sim *s, uint64_t what)
{
    return rng_uniform(11, what, s->order * 64 + s->step);
}

static void arrive(struct sim *s, uint64_t key, int model)
{
    double u = chance(s, 1), v = chance(s, 2);
    struct life *l = &s->life[s->n++];
    *l = (struct life){.key = key, .model = model, .born = s->now, .prompt = 8 + (int)(u * u * u * 3000)};
    l->answer = 1 + (int)(v * 60);
    l->leaves = chance(s, 3) < 0.1;
    l->s = (struct sched_seq){
        .order = s->order++, .served = s->step, .key = key, .todo = l->prompt, .priority = chance(s, 4) < 0.1};
    l->s.kv_admit = (size_t)(l->prompt + 64);
    sched_key_enter(&s->keys[model], key);
    s->begun++;
}

static void depart(struct sim *s, size_t i)
{
    sched_key_leave(&s->keys[s->life[i].model], s->life[i].key);
    s->life[i] = s->life[--s->n];
    s->ended++;
}

static int decoding(const struct sim *s, int model)
{
    int n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += s->life[i].model == model && s->life[i].s.admitted && s->life[i].s.todo == 1;
    return n;
}

static int at_work(const struct sim *s)
{
    bool works[MODELS] = {false};
    int n = 0;
    for (size_t i = 0; i < s->n; i++)
        works[s->life[i].model] = true;
    for (int i = 0; i < MODELS; i++)
        n += works[i];
    return n;
}

static bool others(const struct sim *s, int model)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->life[i].model != model)
            return true;
    return false;
}

static size_t cache_free(const struct sim *s)
{
    size_t held = 0;
    for (size_t i = 0; i < s->n; i++)
        held += s->life[i].s.kv_held;
    return CACHE > held ? CACHE - held : 0;
}

static void serve(struct sim *s, struct life *l, int n_tok)
{
    sched_key_serve(&s->keys[l->model], l->key, n_tok);
    l->s.todo -= n_tok;
    l->s.served = s->step;
    l->s.kv_held += (size_t)n_tok;
    if (l->s.todo > 0)
        return;
    l->s.todo = 1;
    l->answer -= l->leaves ? l->answer : 1;
    if (!l->decodes && l->s.priority == 0) { /* the others come when these are served */
        double wait = s->now - l->born;
        s->longest_wait[l->key] = wait > s->longest_wait[l->key] ? wait : s->longest_wait[l->key];
        s->sum_wait[l->key] += wait;
        s->n_wait[l->key]++;
    } else if (l->decodes && l->s.priority == 0 && s->now - l->told > s->longest_gap[l->model]) {
        s->longest_gap[l->model] = s->now - l->told;
    }
    l->decodes = true;
    l->told = s->now;
}

static void begin(struct sim *s, int model)
{
    struct sched_seq seq[LIVE];
    size_t of[LIVE], n = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->life[i].model == model) {
            s->life[i].s.share = sched_key_share(&s->keys[model], s->life[i].key);
            of[n] = i;
            seq[n++] = s->life[i].s;
        }
    admit(seq, n, cache_free(s), SEATS, -1);
    struct sched_limits l = {.max_seq = SEATS, .max_tok = CHUNK, .step = ++s->step};
    int both = decoding(s, model);
    struct sched_cost c = {
        .tok = cost[model].tok_s, .base = cost[model].step_s + both * cost[model].tok_s, .beside = both};
    struct sched_aim a = {
        .chunk = CHUNK, .slice_s = SLICE, .beside = both, .at_work = s->unaware ? 1 : at_work(s), .step = s->step};
    l.chunk = sched_chunk(seq, n, &c, &a);
    a.slice_s = 5 * SLICE;
    if (!both)
        l.chunk = sched_least(seq, n, l.chunk, sched_chunk(seq, n, &c, &a));
    struct sched_pick p[SEATS];
    struct sim_step *t = &s->step_of[model];
    t->n = sched_build(seq, n, &l, p);
    int tok = 0;
    for (size_t i = 0; i < t->n; i++) {
        t->order[i] = seq[p[i].seq].order;
        tok += t->n_tok[i] = p[i].n_tok;
    }
    for (size_t i = 0; i < n; i++) { /* what one that gave up its place has is in the cache, and is found again */
        s->life[of[i]].s.admitted = seq[i].admitted;
        s->life[of[i]].s.kv_held = seq[i].kv_held;
    }
    t->took = t->left = t->n ? cost[model].step_s + tok * cost[model].tok_s : 1e-4; /* nobody fits: look again */
    if (both && t->took > s->longest_step)
        s->longest_step = t->took;
}

/* Begins a step of the model or goes on with it, until it ends or has to rest. */
static void one_turn(struct sim *s, int model)
{
    struct sim_step *t = &s->step_of[model];
    if (t->left <= 0)
        begin(s, model);
    double grain = t->took / PLAN, turn = (floor(TURN / grain) + 1) * grain;
    double had = others(s, model) && turn < t->left ? turn : t->left;
    s->now += had;
    s->vnow = s->vtime[model];
    s->vtime[model] += had;
    s->had[model] += had;
    t->left = had < t->left ? t->left - had : 0;
    if (others(s, model) && had > s->longest_turn)
        s->longest_turn = had;
    if (t->left > 0)
        return;
    for (size_t i = 0; i < t->n; i++)
        for (size_t j = 0; j < s->n; j++)
            if (s->life[j].s.order == t->order[i])
                serve(s, &s->life[j], t->n_tok[i]);
    for (size_t i = s->n; i-- > 0;)
        if (s->life[i].decodes && s->life[i].answer <= 0)
            depart(s, i);
}

static int next_model(struct sim *s)
{
    struct sched_model m[MODELS] = {{0}};
    for (int i = 0; i < MODELS; i++)
        m[i].vtime = s->vtime[i];
    for (size_t i = 0; i < s->n; i++)
        m[s->life[i].model].runnable = true; /* all priorities alike */
    size_t n = 0, of[MODELS];
    struct sched_model live[MODELS];
    for (size_t i = 0; i < MODELS; i++)
        if (m[i].runnable) {
            of[n] = i;
            live[n++] = m[i];
        }
    sched_forgive(live, n, DEBT);
    for (size_t i = 0; i < n; i++)
        s->vtime[of[i]] = live[i].vtime;
    return n ? (int)of[sched_pick_model(live, n)] : -1;
}

static void join(struct sim *s, int model)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->life[i].model == model)
            return;
    s->vtime[model] = sched_join(s->vtime[model], s->vnow);
}

static void come(struct sim *s, uint64_t key)
{
    double u = chance(s, 6);
    int model = u < 0.65 ? 0 : u < 0.95 ? 1 : 2;
    join(s, model);
    arrive(s, key, model);
}

static void a_hundred_thousand_requests(void)
{
    static struct sim s;
    double last = 0, next = 0;
    while (s.begun < EVENTS || s.n) {
        for (; next <= s.now && s.begun < EVENTS && s.n < LIVE;
             next += 5 * chance(&s, 7)) /* about a third of the machine */
            come(&s, 1 + (uint64_t)(chance(&s, 5) * (KEYS - 1)));
        while (s.begun < EVENTS && s.n < LIVE / 2)
            come(&s, 0); /* the greedy one always has a crowd there */
        one_turn(&s, next_model(&s));
        CHECK(s.now >= last);
        last = s.now;
    }
    CHECK_INT(s.ended, EVENTS);
    CHECK_INT(s.n, 0);
    CHECK(s.longest_step <= SLICE + (SEATS + SCHED_TILE) * cost[2].tok_s);
    CHECK(s.longest_turn <= TURN + (cost[2].step_s + CHUNK * cost[2].tok_s) / PLAN);
    for (int i = 0; i < MODELS * SCHED_KEYS; i++)
        CHECK_INT(s.keys[i / SCHED_KEYS].live[i % SCHED_KEYS], 0);
    double polite = 0, worst = 0;
    for (int k = 1; k < KEYS; k++) {
        polite += s.sum_wait[k] / (double)s.n_wait[k] / (KEYS - 1);
        worst = s.longest_wait[k] > worst ? s.longest_wait[k] : worst;
    }
    double greedy = s.sum_wait[0] / (double)s.n_wait[0];
    printf(
        "     %.0f simulated s, %llu steps; longest step under contention %.3f s, longest turn %.3f s, longest gap between tokens %.2f s;"
        " mean wait of the greedy key %.2f s, of the others %.2f s (worst %.1f and %.1f s)\n",
        s.now, (unsigned long long)s.step, s.longest_step, s.longest_turn, s.longest_gap[2], greedy, polite,
        s.longest_wait[0], worst);
    CHECK(polite < greedy / 2);
    CHECK(s.longest_wait[0] < 3600);
}

static void models_share_within_five_percent(void)
{
    static struct sim s;
    for (int i = 0; i < 200 || s.n; i++) { /* the slow one alone, which is no debt */
        if (i < 200 && s.n < 8)
            arrive(&s, 0, 2);
        one_turn(&s, 2);
    }
    double from = s.now;
    memset(s.had, 0, sizeof s.had);
    while (s.now < from + 500) {
        for (int model = 0; model < MODELS; model += 2) { /* both always have work */
            int n = 0;
            join(&s, model);
            for (size_t i = 0; i < s.n; i++)
                n += s.life[i].model == model;
            for (; n < 4; n++)
                arrive(&s, 0, model);
        }
        one_turn(&s, next_model(&s));
    }
    double share = s.had[0] / (s.had[0] + s.had[2]);
    printf("     the fast model has had %.1f %% of the time\n", share * 100);
    CHECK(share > 0.475 && share < 0.525);
    for (int i = 0; i < MODELS; i++)
        CHECK(s.longest_gap[i] < 2 * (SLICE + (SEATS + SCHED_TILE) * cost[2].tok_s) + SLICE);
}

/* One sequence of the fast model decodes, the slow one reads a prompt of minutes: no token comes later than a slice after the last. */
static void a_long_prompt_of_another_model(void)
{
    static struct sim s;
    arrive(&s, 0, 2);
    s.life[0].s.todo = s.life[0].prompt = 20000;
    while (s.life[0].s.todo > 1) {
        if (s.n < 2) {
            join(&s, 0);
            arrive(&s, 1, 0);
        }
        one_turn(&s, next_model(&s));
    }
    printf("     a prompt of %.0f s; longest gap between the other model's tokens %.3f s\n", s.had[2],
           s.longest_gap[0]);
    CHECK(s.ended > 100);
    CHECK(s.longest_gap[0] > TURN && s.longest_gap[0] < SLICE);
}

/* One sequence of the slow model decodes beside a long prompt of its own, and all models are at work. Mean
 * time between its tokens; *wall: how long the prompt took. */
static double mean_gap(bool unaware, double *wall)
{
    static struct sim s;
    memset(&s, 0, sizeof s);
    s.unaware = unaware;
    arrive(&s, 0, 2);
    s.life[0].s.todo = s.life[0].prompt = 8;
    s.life[0].answer = 1 << 20;
    s.life[0].leaves = false;
    while (!s.life[0].decodes)
        one_turn(&s, next_model(&s));
    arrive(&s, 0, 2);
    s.life[1].s.todo = s.life[1].prompt = 2000;
    double from = s.now;
    for (uint64_t order = s.life[1].s.order; s.n > 1 && s.life[1].s.order == order && s.life[1].s.todo > 1;) {
        for (int model = 0; model < 2; model++) {
            int n = 0;
            join(&s, model);
            for (size_t i = 0; i < s.n; i++)
                n += s.life[i].model == model;
            if (!n)
                arrive(&s, 1, model);
        }
        one_turn(&s, next_model(&s));
    }
    *wall = s.now - from;
    return *wall / ((1 << 20) - s.life[0].answer);
}

static void own_prompt_while_others_work(void)
{
    double before_s, now_s, before = mean_gap(true, &before_s), now = mean_gap(false, &now_s);
    printf("     mean gap %.3f s, the prompt %.0f s; planned as if alone %.3f and %.0f s\n", now, now_s, before,
           before_s);
    CHECK(now < 0.7 * before);
    CHECK(now_s < 1.55 * before_s);
}

int main(void)
{
    RUN(own_prompt_while_others_work);
    RUN(a_hundred_thousand_requests);
    RUN(models_share_within_five_percent);
    RUN(a_long_prompt_of_another_model);
    return check_done();
}
