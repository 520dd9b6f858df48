/* Speculation: what it guesses and how much, and that no token, log probability or logit ever depends on it. Arguments: tiny models; the
 * last is a draft for the first. */
#include "engine/spec.h"
#include "fixture.h"

enum { N_OUT = 60, MAX_PROMPT = 200 };

static const char *path;

static void guesses_what_followed(void)
{
    enum { N = 16 };
    int32_t mem[1 << 12], token[N + SPEC_MAX] = {1, 2, 3, 4, 5, 6, 9, 1, 2, 3};
    struct spec_seq s;
    CHECK(spec_bytes(N) <= sizeof mem);
    spec_init(&s, mem, N);
    CHECK_INT(spec_lookup(&s, token, 9, 4), 0); /* ... 9 1 2: new */
    CHECK_INT(spec_lookup(&s, token, 10, 4), 4);
    const int32_t want[] = {4, 5, 6, 9};
    CHECK(memcmp(token + 10, want, sizeof want) == 0);
    CHECK_INT(spec_lookup(&s, token, 10, 0), 0);
    CHECK_INT(spec_lookup(&s, token, 2, 4), 0); /* shorter than what must agree */
}

static void reads_on_into_its_own_guesses(void)
{
    int32_t mem[1 << 12], token[7 + SPEC_MAX] = {7, 8, 7, 8, 7, 8, 7};
    struct spec_seq s;
    spec_init(&s, mem, 7 + SPEC_MAX);
    CHECK_INT(spec_lookup(&s, token, 7, SPEC_MAX), SPEC_MAX);
    for (int i = 0; i < SPEC_MAX; i++)
        CHECK_INT(token[7 + i], i % 2 ? 7 : 8);
}

static void pays_or_not(void)
{
    struct spec_cost free_ride = {.step = {0, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
                     dear = {.step = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}};
    CHECK_INT(spec_length(&free_ride, 0.9, 0, SPEC_MAX), SPEC_MAX);
    CHECK_INT(spec_length(&free_ride, 0.9, 0, 3), 3);
    CHECK_INT(spec_length(&dear, 0.9, 0, SPEC_MAX), 0);
    CHECK_INT(spec_length(&free_ride, 0.01, 0, SPEC_MAX), 0);
    CHECK_INT(spec_length(&free_ride, 0.9, 1, SPEC_MAX), 0); /* guessing costs as much as knowing */
    CHECK(spec_length(&free_ride, 0.9, 0.3, SPEC_MAX) > 0 && spec_length(&free_ride, 0.9, 0.3, SPEC_MAX) < SPEC_MAX);
    struct spec_cost none = {{0}};
    CHECK(spec_length(&none, 0.7, 0, SPEC_MAX) > 0); /* nothing measured yet: hope */
    spec_cost_add(&none, 1, 0.010);
    spec_cost_add(&none, 1, 0.020);
    CHECK(none.step[1] > 0.0119 && none.step[1] < 0.0121);
    spec_cost_add(&none, 0, 1);
    spec_cost_add(&none, SPEC_MAX + 2, 1);
}

static void learns(void)
{
    int32_t mem[1 << 12];
    struct spec_seq s;
    struct spec_cost c = {{0}};
    spec_init(&s, mem, 10);
    for (int i = 0; i < 40; i++)
        spec_learn(&s, 4, 0);
    CHECK_INT(spec_length(&c, s.rate[SPEC_TEXT], 0, SPEC_MAX), 0);
    int wait = 0;
    for (; spec_length(&c, s.rate[SPEC_TEXT], 0, SPEC_MAX) == 0 && wait < 1000; wait++)
        spec_learn(&s, 0, 0);
    CHECK(wait > 3 && wait < 1000); /* it is tried again, but not at once */
    for (int i = 0; i < 40; i++)
        spec_learn(&s, 4, 4);
    CHECK(spec_length(&c, s.rate[SPEC_TEXT], 0, SPEC_MAX) > 4);
}

struct setup {
    int spec_max, n_prompt, logprobs, strangers;
    float temperature, penalty;
    int32_t stop;
    bool no_guess;
    const char *draft; /* model file */
    size_t ceiling;    /* 0: plenty */
};

static struct record *run(const struct setup *s)
{
    struct rig rig;
    struct engine_opts o = {.n_threads = 1, .prefill_chunk = 64, .spec_max = s->spec_max};
    if (rig_open(&rig, path, o, (size_t)1 << 30) < 0)
        return NULL;
    struct engine_model *draft = NULL;
    if (s->draft && s->spec_max >= 0) {
        struct engine_load load = {.path = s->draft, .name = "draft"};
        struct err e = {0};
        CHECK_INT(engine_model_load(rig.engine, &load, &draft, &e), 0);
        CHECK_INT(engine_model_set_draft(rig.model, rig.model, &e), ERR_RANGE);
        CHECK_INT(engine_model_set_draft(rig.model, draft, &e), 0);
    }
    if (s->ceiling) /* beside what the models hold */
        CHECK_INT(ledger_set_ceiling(rig.ledger, ledger_used(rig.ledger) + s->ceiling, NULL), 0);
    int32_t token[MAX_PROMPT];
    for (int i = 0; i < s->n_prompt; i++) /* a text that repeats itself, with a flaw now and then */
        token[i] = (i * 7 % 12 + (i % 50 == 49)) % rig.n_vocab;
    struct record *rec = record_new(&rig), *others = record_new(&rig);
    struct request_args a = args_of(&rig, token, s->n_prompt, N_OUT);
    a.sample.temperature = s->temperature;
    a.sample.seed = 5;
    a.sample.repetition_penalty = s->penalty;
    a.sample.logprobs = s->logprobs;
    a.stop_id = &s->stop;
    a.n_stop_id = s->stop >= 0;
    a.no_guess = s->no_guess;
    a.on_logits = record_logits;
    a.logits_arg = rec;
    struct request *r = NULL, *stranger = NULL;
    CHECK_INT(engine_submit(rig.engine, &a, &r, NULL), 0);
    a.on_logits = NULL;
    a.n_stop_id = 0;
    a.max_tokens = 20; /* leaves half way: guessing begins again */
    if (s->strangers)
        CHECK_INT(engine_submit(rig.engine, &a, &stranger, NULL), 0);
    drain_request(r, rec);
    request_free(r);
    if (stranger)
        drain_request(stranger, others);
    request_free(stranger);
    record_free(others);
    if (draft)
        engine_model_unref(draft);
    rig_close(&rig);
    return rec;
}

static int guessed, right;

static void same(struct setup s)
{
    struct record *with = run(&s);
    s.spec_max = -1;
    struct record *without = run(&s);
    CHECK(with && without);
    if (with && without) {
        CHECK_INT(without->end.stats.n_drafted, 0);
        CHECK_INT(with->n_tok, without->n_tok);
        CHECK_INT(with->end.finish, without->end.finish);
        CHECK_INT(with->n_pos, without->n_pos);
        CHECK(memcmp(with->token, without->token, sizeof with->token) == 0);
        size_t n = (size_t)with->n_pos * (size_t)with->n_vocab;
        CHECK(memcmp(with->logits, without->logits, n * sizeof *with->logits) == 0);
        CHECK(with->end.stats.n_accepted <= with->end.stats.n_drafted);
        guessed += with->end.stats.n_drafted;
        right += with->end.stats.n_accepted;
        if (s.no_guess)
            CHECK_INT(with->end.stats.n_drafted, 0);
    }
    record_free(with);
    record_free(without);
}

static void same_tokens(void)
{
    guessed = right = 0;
    for (int i = 0; i < 5; i++)
        same((struct setup){.n_prompt = 20 + 33 * i,
                            .temperature = i % 3 == 0   ? 0.0f
                                           : i % 3 == 1 ? 0.3f
                                                        : 1.2f,
                            .penalty = i % 2 ? 1.0f : 1.02f,
                            .logprobs = i % 2 ? 2 : -1,
                            .strangers = i == 4,
                            .stop = -1});
    CHECK(guessed > 0);
    CHECK(right > 0);
    CHECK(right < guessed);
    printf("  %d of %d guesses were right\n", right, guessed);
}

static void stops_in_the_middle_of_guesses(void)
{
    struct setup s = {.n_prompt = 90, .penalty = 1.0f, .logprobs = -1, .stop = -1};
    struct record *r = run(&s);
    CHECK(r != NULL);
    for (int at = 20; r && at < 25; at++) { /* every place that a run of guesses can have */
        s.stop = r->token[at];
        same(s);
    }
    record_free(r);
}

static const char *draft_path;

static void a_draft_changes_nothing(void)
{
    guessed = right = 0;
    for (int i = 0; i < 5; i++)
        same((struct setup){.n_prompt = i == 3 ? 150 : 9 + i,
                            .temperature = i % 3 == 0 ? 0.0f : 0.8f,
                            .penalty = i % 2 ? 1.0f : 1.1f,
                            .logprobs = i % 2 ? 2 : -1,
                            .strangers = i == 4,
                            .stop = -1,
                            .draft = i % 2 ? draft_path : path});
    CHECK(right > 0);
    CHECK(guessed > 60);
    printf("  %d of %d guesses were right\n", right, guessed);
}

static void a_draft_without_memory_is_no_draft(void)
{
    same(
        (struct setup){.n_prompt = 20, .penalty = 1.1f, .logprobs = -1, .stop = -1, .draft = path, .ceiling = 3 << 20});
}

static void can_be_refused(void)
{
    same((struct setup){.n_prompt = 90, .penalty = 1.0f, .logprobs = -1, .stop = -1, .no_guess = true});
}

int main(int argc, char **argv)
{
    const char *q = getenv("HEARTH_PARITY_QUICK");
    bool quick = q && *q;
    RUN(guesses_what_followed);
    RUN(reads_on_into_its_own_guesses);
    RUN(pays_or_not);
    RUN(learns);
    for (int i = 1; i < argc; i++) {
        path = argv[i];
        draft_path = i == 1 ? argv[argc - 1] : path;
        if (i == argc - 1)
            break;
        if (quick && i > 1) /* an emulator, or one mask of several: a model will do */
            break;
        RUN(same_tokens);
        if (!quick)
            RUN(stops_in_the_middle_of_guesses);
        RUN(can_be_refused);
        RUN(a_draft_changes_nothing);
        RUN(a_draft_without_memory_is_no_draft);
    }
    return check_done();
}
