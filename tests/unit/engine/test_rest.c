/* A long step of one model rests when another has work: the other's tokens come in its middle, and it goes on to the same bits.
 * Arguments: two tiny model files. */
#include "fixture.h"
#include <time.h>

static const char *path_a, *path_b;
enum { LONG = 1500, ROUNDS = 200 };

struct pair {
    struct rig a, b; /* one engine, two models */
};

/* Without a turn's time a step rests wherever it may. */
static bool pair_open(struct pair *p, int n_threads)
{
    struct engine_opts o = {
        .n_threads = n_threads, .cpu_mask = ~0u, .prefill_chunk = 2048, .turn_s = 1e-9, .no_prefix_cache = true};
    struct err e = {0};
    struct engine_load load = {.path = path_b, .name = "second"};
    if (rig_open(&p->a, path_a, o, (size_t)1 << 30) < 0)
        return false;
    p->b = p->a;
    if (engine_model_load(p->a.engine, &load, &p->b.model, &e) < 0)
        return false;
    p->b.n_vocab = engine_model_info(p->b.model)->n_vocab;
    p->b.n_ctx = engine_model_info(p->b.model)->n_ctx;
    return true;
}

static void pair_close(struct pair *p)
{
    engine_model_leave(p->b.model);
    rig_close(&p->a);
}

static struct request *go(const struct rig *rig, uint64_t number, int n, int max_tokens, struct record *rec)
{
    int32_t token[LONG];
    prompt_fill(token, n, rig->n_vocab, number);
    struct request_args a = args_of(rig, token, n, max_tokens);
    a.sample.temperature = number % 2 ? 0.9f : 0; /* sequences of a step are sampled side by side, too */
    a.sample.seed = number;
    a.on_logits = rec ? record_logits : NULL;
    a.logits_arg = rec;
    struct request *r = NULL;
    CHECK_INT(engine_submit(rig->engine, &a, &r, NULL), 0);
    return r;
}

static struct record *alone(const struct rig *rig, uint64_t number, int n, int max_tokens)
{
    struct record *rec = record_new(rig);
    struct request *r = go(rig, number, n, max_tokens, rec);
    drain_request(r, rec);
    request_free(r);
    return rec;
}

static bool same(const struct record *x, const struct record *y)
{
    return x->n_tok == y->n_tok && x->n_pos == y->n_pos &&
           memcmp(x->token, y->token, (size_t)x->n_tok * sizeof *x->token) == 0 &&
           memcmp(x->logits, y->logits, (size_t)x->n_pos * (size_t)x->n_vocab * sizeof *x->logits) == 0;
}

/* All of one short request of b between two moments at which a is in the same step, its second. */
static bool within_a_step(const struct pair *p, const struct record *want)
{
    enum { STEPS = 3 };
    struct engine_stats before, after;
    struct record *got = record_new(&p->b);
    engine_stats(p->a.engine, &before);
    struct request *r = go(&p->b, 2, 5, STEPS, got);
    drain_request(r, got);
    engine_stats(p->a.engine, &after);
    request_free(r);
    CHECK(same(got, want));
    record_free(got);
    return after.rests_total > before.rests_total && after.steps_total - before.steps_total == STEPS;
}

static void anothers_answer_comes_within_a_step(void)
{
    struct pair p;
    if (!pair_open(&p, 2)) {
        CHECK(0);
        return;
    }
    struct record *want_a = alone(&p.a, 1, LONG, 4), *want_b = alone(&p.b, 2, 5, 3);
    bool within = false;
    for (int i = 0; i < ROUNDS && !within; i++) { /* the first that does not come too late */
        struct record *got = record_new(&p.a);
        struct request *r = go(&p.a, 1, LONG, 4, got);
        struct event ev;
        bool told;
        do
            within |= within_a_step(&p, want_b);
        while (!(told = request_next(r, &ev, 0)) && !within);
        if (told)
            got->token[got->n_tok++] = ev.token;
        drain_request(r, got);
        request_free(r);
        CHECK(same(got, want_a));
        record_free(got);
    }
    CHECK(within);
    record_free(want_a);
    record_free(want_b);
    pair_close(&p);
}

/* Long prompts and decoding on both sides, by turns of one step of a plan; some leave while their step rests. */
static void turns_change_no_bit(void)
{
    enum { N = 4 };
    static const int prompt[N] = {LONG, 40, 700, 3};
    for (int threads = 1; threads <= 3; threads += 2) {
        struct pair p;
        if (!pair_open(&p, threads)) {
            CHECK(0);
            return;
        }
        struct rig *rig[2] = {&p.a, &p.b};
        struct record *want[2][N], *got[2][N];
        struct request *r[2][N], *leaves[2];
        size_t before = ledger_used(p.a.ledger);
        for (int m = 0; m < 2; m++)
            for (int i = 0; i < N; i++)
                want[m][i] = alone(rig[m], (uint64_t)(10 + i), prompt[i], 20);
        for (int i = 0; i < N; i++)
            for (int m = 0; m < 2; m++)
                r[m][i] = go(rig[m], (uint64_t)(10 + i), prompt[i], 20, got[m][i] = record_new(rig[m]));
        for (int m = 0; m < 2; m++)
            leaves[m] = go(rig[m], 99, 900, 20, NULL);
        struct engine_stats s;
        do
            engine_stats(p.a.engine, &s);
        while (s.rests_total < 30 && s.n_running + s.n_waiting);
        CHECK(s.rests_total >= 30);
        for (int m = 0; m < 2; m++)
            request_free(leaves[m]);
        for (int i = 0; i < N; i++)
            for (int m = 0; m < 2; m++) {
                drain_request(r[m][i], got[m][i]);
                CHECK(same(got[m][i], want[m][i]));
                request_free(r[m][i]);
                record_free(got[m][i]);
                record_free(want[m][i]);
            }
        for (int i = 0; i < 20000 && ledger_used(p.a.ledger) != before; i++) {
            engine_trim(p.a.engine, SIZE_MAX);
            nanosleep(&(struct timespec){0, 1000000}, NULL);
        }
        CHECK_INT(ledger_used(p.a.ledger), before);
        engine_stats(p.a.engine, &s);
        printf("     %d threads: %llu steps, %llu rests\n", threads, (unsigned long long)s.steps_total,
               (unsigned long long)s.rests_total);
        pair_close(&p);
    }
}

static uint64_t given_up(const struct rig *rig)
{
    struct engine_stats s;
    engine_stats(rig->engine, &s);
    return s.given_up_total;
}

/* What happens to model a when model b's first logits come, which is while a's long step rests: on the engine thread. */
struct act {
    const struct rig *a;
    struct record *got;
    struct request *leaves, *came;
};

static void on_first(void *arg, int pos, const float *logits, size_t n_vocab)
{
    struct act *act = arg;
    (void)pos, (void)logits, (void)n_vocab;
    if (act->leaves)
        request_cancel(act->leaves);
    else
        act->came = go(act->a, 2, 5, 3, act->got);
}

/* Of one model: a short prompt comes while a long one is read, or one of those that are read together leaves. Nobody waits for the end
 * of a long step, and what it had done is done again to the same bits. */
static void round_of(const struct pair *p, bool leave, const struct record *want, const struct record *want_short)
{
    struct record *got = record_new(&p->a), *other = record_new(&p->a);
    struct act act = {.a = &p->a, .got = other};
    struct request *r, *b = NULL;
    if (leave) /* it decodes beside the long prompt, in the same steps */
        act.leaves = go(&p->a, 3, 3, 400, other);
    r = go(&p->a, 1, LONG, 4, got);
    int32_t token[5];
    prompt_fill(token, 5, p->b.n_vocab, 4);
    struct request_args args = args_of(&p->b, token, 5, 1);
    args.on_logits = on_first;
    args.logits_arg = &act;
    CHECK_INT(engine_submit(p->b.engine, &args, &b, NULL), 0);
    struct event ev;
    while (request_next(b, &ev, -1))
        ;
    request_free(b);
    struct request *second = leave ? act.leaves : act.came;
    drain_request(second, other);
    CHECK(leave || same(other, want_short));
    request_free(second);
    drain_request(r, got);
    request_free(r);
    CHECK(same(got, want));
    record_free(got);
    record_free(other);
}

static void who_comes_or_leaves_ends_a_step(void)
{
    struct pair p;
    if (!pair_open(&p, 2)) {
        CHECK(0);
        return;
    }
    struct record *want = alone(&p.a, 1, LONG, 4), *want_short = alone(&p.a, 2, 5, 3);
    uint64_t came, left;
    int rounds = 0;
    for (; rounds < ROUNDS && !given_up(&p.a); rounds++) /* the first in which it rests at that moment */
        round_of(&p, false, want, want_short);
    came = given_up(&p.a);
    CHECK(came > 0);
    int leaving = 0;
    for (; leaving < 10 || (leaving < ROUNDS && given_up(&p.a) == came); leaving++)
        round_of(&p, true, want, want_short);
    left = given_up(&p.a) - came;
    CHECK(left > 0);
    printf("     begun anew: once in %d rounds for who came, %llu times in %d for who left\n", rounds,
           (unsigned long long)left, leaving);
    record_free(want);
    record_free(want_short);
    pair_close(&p);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 1;
    path_a = argv[1];
    path_b = argv[2];
    const char *quick = getenv("HEARTH_PARITY_QUICK"); /* an emulator, or one mask of several */
    RUN(anothers_answer_comes_within_a_step);
    if (!quick || !*quick) {
        RUN(who_comes_or_leaves_ends_a_step);
        RUN(turns_change_no_bit);
    }
    return check_done();
}
