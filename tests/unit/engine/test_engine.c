/* The engine from outside: what requests are refused, how they end, what happens when memory is short, when callers leave,
 * when a model is loaded that does not fit. Arguments: two tiny model files and one
 * with a context of 192. */
#include "base/clock.h"
#include "base/mem.h"
#include "fixture.h"
#include <math.h>
#include <pthread.h>
#include <sys/resource.h>
#include <time.h>

static const char *path_a, *path_b, *path_short;
static const struct engine_opts basic = {.n_threads = 1, .cpu_mask = ~0u, .prefill_chunk = 64};

static void nap_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static size_t block_bytes(const struct rig *rig)
{
    struct graph *g;
    struct err e;
    if (model_build(engine_model_file(rig->model), engine_model_info(rig->model), 0, &g, &e) < 0)
        return 0;
    size_t n = g->kv_class[0].block_bytes;
    graph_free(g);
    return n;
}

static size_t held_by(const struct rig *rig, const char *path)
{
    struct ledger_row row[64];
    size_t n = ledger_list(rig->ledger, row, 64, NULL);
    for (size_t i = 0; i < n && i < 64; i++)
        if (strcmp(row[i].path, path) == 0)
            return row[i].bytes;
    return 0;
}

/* What is reserved once the engine thread has tidied up after the last event and the prefix cache has given all back. */
static size_t used_at_last(const struct rig *rig, size_t expected)
{
    for (int i = 0; i < 10000; i++) {
        engine_trim(rig->engine, SIZE_MAX);
        if (ledger_used(rig->ledger) == expected)
            break;
        nap_ms(1);
    }
    return ledger_used(rig->ledger);
}

static struct request *go(const struct rig *rig, struct request_args a, uint64_t number, int n)
{
    int32_t *token = calloc((size_t)n, sizeof *token);
    prompt_fill(token, n, rig->n_vocab, number);
    a.token = token;
    a.n_token = n;
    struct request *r = NULL;
    struct err e = {0};
    if (engine_submit(rig->engine, &a, &r, &e) < 0)
        fprintf(stderr, "submit: %s\n", e.msg);
    free(token);
    return r;
}

static struct event end_of(struct request *r)
{
    struct event ev = {0};
    while (request_next(r, &ev, -1) && ev.type == EVENT_TOKEN)
        ;
    return ev;
}

static void refusals(void)
{
    struct rig rig;
    if (rig_open(&rig, path_a, basic, (size_t)1 << 30) < 0) {
        CHECK(0);
        return;
    }
    int32_t *token = calloc((size_t)rig.n_ctx + 1, sizeof *token);
    struct request *r = NULL;
    struct err e;
    struct request_args a = args_of(&rig, token, 0, 4);
    CHECK_INT(engine_submit(rig.engine, &a, &r, &e), ERR_RANGE);
    a.n_token = rig.n_ctx;
    CHECK_INT(engine_submit(rig.engine, &a, &r, &e), ERR_LIMIT);
    CHECK(strstr(e.msg, "2048 tokens, context 2048") != NULL);
    a.n_token = 3;
    token[1] = rig.n_vocab;
    CHECK_INT(engine_submit(rig.engine, &a, &r, &e), ERR_RANGE);
    token[1] = -1;
    CHECK_INT(engine_submit(rig.engine, &a, &r, &e), ERR_RANGE);
    token[1] = 0;
    a.max_tokens = 0;
    CHECK_INT(engine_submit(rig.engine, &a, &r, &e), ERR_RANGE);
    a.max_tokens = 4;
    float bad[] = {-1, NAN, INFINITY, 1e9f};
    for (int i = 0; i < 4; i++) {
        struct request_args b = a;
        b.sample.temperature = bad[i];
        CHECK_INT(engine_submit(rig.engine, &b, &r, &e), ERR_RANGE);
        b = a;
        b.sample.top_p = i == 0 ? -0.1f : bad[i];
        CHECK_INT(engine_submit(rig.engine, &b, &r, &e), ERR_RANGE);
        b = a;
        b.sample.repetition_penalty = i == 3 ? 0 : bad[i];
        CHECK_INT(engine_submit(rig.engine, &b, &r, &e), ERR_RANGE);
    }
    struct logit_bias bias = {rig.n_vocab, 1};
    a.sample.bias = &bias;
    a.sample.n_bias = 1;
    CHECK_INT(engine_submit(rig.engine, &a, &r, &e), ERR_RANGE);
    CHECK(e.param && strcmp(e.param, "logit_bias") == 0); /* whoever asked cannot know the vocabulary */
    a.sample.n_bias = 0;
    a.sample.logprobs = 21;
    CHECK_INT(engine_submit(rig.engine, &a, &r, &e), ERR_RANGE);
    CHECK(r == NULL && e.param == NULL);
    free(token);
    rig_close(&rig);
}

static void ends(void)
{
    struct rig rig;
    if (rig_open(&rig, path_a, basic, (size_t)1 << 30) < 0) {
        CHECK(0);
        return;
    }
    struct request_args a = args_of(&rig, NULL, 0, 12);
    a.sample.logprobs = 3;
    struct request *r = go(&rig, a, 5, 20);
    struct event ev;
    int32_t tok[12];
    for (int i = 0; i < 12; i++) {
        CHECK_INT(request_next(r, &ev, -1), 1);
        CHECK_INT(ev.type, EVENT_TOKEN);
        tok[i] = ev.token;
        CHECK_INT(ev.n_top, 3);
        CHECK(ev.top_id[0] == ev.token && ev.logprob == ev.top_logprob[0] &&
              ev.logprob < 0); /* greedy takes the best */
        CHECK(ev.top_logprob[0] >= ev.top_logprob[1] && ev.top_logprob[1] >= ev.top_logprob[2]);
    }
    ev = end_of(r);
    CHECK(ev.type == EVENT_DONE && ev.finish == FINISH_LENGTH);
    CHECK(ev.stats.n_prompt == 20 && ev.stats.n_output == 12);
    CHECK_INT(request_next(r, &ev, -1), 0); /* nothing comes after the end, and nobody waits for it */
    request_free(r);

    a.stop_id = &tok[6]; /* the same again, ended by a token it is known to produce */
    a.n_stop_id = 1;
    int first = 0;
    while (tok[first] != tok[6])
        first++;
    r = go(&rig, a, 5, 20);
    for (int i = 0; i <= first; i++) {
        CHECK_INT(request_next(r, &ev, -1), 1);
        CHECK(ev.type == EVENT_TOKEN && ev.eog == (i == first));
    }
    ev = end_of(r);
    CHECK(ev.finish == FINISH_STOP && ev.stats.n_output == first + 1);
    request_free(r);

    a.sample.ignore_eos = true;
    r = go(&rig, a, 5, 20);
    ev = end_of(r);
    CHECK(ev.finish == FINISH_LENGTH && ev.stats.n_output == 12);
    request_free(r);

    CHECK_INT(engine_model_running(rig.model), 0);
    rig_close(&rig);
}

static void answers_end_at_the_context(void)
{
    struct rig rig;
    if (rig_open(&rig, path_short, basic, (size_t)1 << 30) < 0) {
        CHECK(0);
        return;
    }
    CHECK_INT(rig.n_ctx, 192);
    struct request_args a = args_of(&rig, NULL, 0, 1000);
    struct request *r = go(&rig, a, 5, rig.n_ctx - 7);
    struct event ev = end_of(r);
    CHECK(ev.finish == FINISH_LENGTH && ev.stats.n_output == 7);
    request_free(r);
    rig_close(&rig);
}

static void cancelled_in_every_phase(void)
{
    struct rig rig;
    struct engine_opts one = basic;
    one.max_batch = 2;
    one.max_queue = 6;
    if (rig_open(&rig, path_a, one, (size_t)1 << 30) < 0) {
        CHECK(0);
        return;
    }
    size_t before = ledger_used(rig.ledger);
    struct request_args a = args_of(&rig, NULL, 0, 1500);
    struct request *r[5];
    for (uint64_t i = 0; i < 5; i++)
        r[i] = go(&rig, a, i, i == 1 ? 1900 : 10); /* two run, three wait */
    struct event ev;
    CHECK_INT(request_next(r[0], &ev, -1), 1); /* decoding */
    struct engine_stats st;
    engine_stats(rig.engine, &st);
    CHECK_INT(st.n_running + st.n_waiting, 5);
    for (int i = 4; i >= 0; i--)
        request_cancel(r[i]);
    for (int i = 0; i < 5; i++) {
        ev = end_of(r[i]);
        CHECK(ev.type == EVENT_DONE && ev.finish == FINISH_CANCELLED);
        request_free(r[i]);
    }
    struct request *f = go(&rig, a, 9, 10);
    CHECK_INT(request_next(f, &ev, -1), 1);
    request_finish(f);
    ev = end_of(f);
    CHECK(ev.finish == FINISH_STOP && ev.stats.n_output < 1500);
    request_free(f);
    f = go(&rig, a, 9, 10); /* nobody reads it, it is freed at once */
    request_free(f);
    engine_stats(rig.engine, &st);
    CHECK(st.cancelled_total >= 5 && st.cancel_max_s > 0);
    for (int i = 0; i < 5000 && engine_model_running(rig.model); i++)
        nap_ms(1);
    CHECK_INT(engine_model_running(rig.model), 0);
    CHECK_INT(used_at_last(&rig, before), before);
    rig_close(&rig);
}

static void queue_is_bounded(void)
{
    struct rig rig;
    struct engine_opts o = basic;
    o.max_batch = 1;
    o.max_queue = 4;
    if (rig_open(&rig, path_a, o, (size_t)1 << 30) < 0) {
        CHECK(0);
        return;
    }
    struct request *r[5] = {0}, *none;
    struct request_args a = args_of(&rig, NULL, 0, 2000);
    struct event ev;
    r[0] = go(&rig, a, 0, 10);
    CHECK_INT(request_next(r[0], &ev, -1), 1);
    int32_t token[2] = {1, 2};
    a.token = token;
    a.n_token = 2;
    struct err e;
    static const int least[] = {2, 2, 1,
                                0}; /* with so many waiting this priority still finds a place, the next does not */
    for (int waiting = 0; waiting < 4; waiting++) {
        for (a.priority = 2; a.priority > least[waiting]; a.priority--)
            CHECK_INT(engine_submit(rig.engine, &a, &none, &e), ERR_BUSY);
        CHECK_INT(engine_submit(rig.engine, &a, &r[1 + waiting], &e), 0);
    }
    CHECK_INT(engine_submit(rig.engine, &a, &none, &e), ERR_BUSY);
    for (int i = 0; i < 5; i++)
        request_free(r[i]);
    rig_close(&rig);
}

/* Prompt tokens bound the queue, too; a request alone is always taken. */
static void queue_is_bounded_by_tokens(void)
{
    struct rig rig;
    struct engine_opts o = basic;
    o.max_batch = 1;
    o.max_queue_tokens = 100;
    if (rig_open(&rig, path_a, o, (size_t)1 << 30) < 0) {
        CHECK(0);
        return;
    }
    struct request *r[4] = {0};
    struct request_args a = args_of(&rig, NULL, 0, 2000);
    struct engine_stats s;
    struct event ev;
    r[0] = go(&rig, a, 0, 10);
    CHECK_INT(request_next(r[0], &ev, -1), 1);   /* runs: its tokens do not count any more */
    CHECK((r[1] = go(&rig, a, 1, 150)) != NULL); /* longer than the whole queue, but alone */
    engine_stats(rig.engine, &s);
    CHECK(s.queue_full && s.waiting_tokens == 150 && s.n_waiting == 1);
    int32_t token[2] = {1, 2};
    a.token = token;
    a.n_token = 2;
    struct err e;
    CHECK_INT(engine_submit(rig.engine, &a, &r[2], &e), ERR_BUSY);
    CHECK(strstr(e.msg, "150 tokens are waiting") != NULL);
    request_free(r[1]);
    request_free(r[0]);
    do /* the engine lets go of them */
        engine_stats(rig.engine, &s);
    while (s.n_waiting || s.n_running);
    CHECK_INT(s.waiting_tokens, 0);
    CHECK_INT(s.refused_total, 1);
    CHECK(!s.queue_full);
    rig_close(&rig);
}

/* All places are taken by work that is not urgent, or by another key's: who comes does not wait for its end, and it goes on to the same
 * tokens. */
static void places_change_hands(void)
{
    enum { LONG = 1500, SHORT = 5 };
    struct rig rig;
    struct engine_opts o = basic;
    o.max_batch = 2;
    if (rig_open(&rig, path_a, o, (size_t)1 << 30) < 0) {
        CHECK(0);
        return;
    }
    struct request_args a = args_of(&rig, NULL, 0, LONG);
    a.sample.ignore_eos = true;
    struct record *want = record_new(&rig), *got[2];
    struct request *r = go(&rig, a, 1, 10), *hog[2];
    drain_request(r, want);
    request_free(r);
    for (int round = 0; round < 2; round++) {
        struct event ev;
        struct engine_stats s;
        a.max_tokens = LONG;
        a.priority = round ? 0 : 2;
        a.key = 7;
        for (int i = 0; i < 2; i++) {
            hog[i] = go(&rig, a, (uint64_t)i, 10);
            CHECK_INT(request_next(hog[i], &ev, -1), 1);
            CHECK_INT(ev.type, EVENT_TOKEN);
        }
        a.max_tokens = SHORT;
        a.priority = 0;
        a.key = round ? 8 : 7;
        struct record *rec = record_new(&rig);
        r = go(&rig, a, 5, 10);
        drain_request(r, rec);
        CHECK_INT(rec->n_tok, SHORT);
        engine_stats(rig.engine, &s);
        CHECK_INT(s.preempted_total, round + 1);
        CHECK_INT(s.n_waiting + s.n_running, 2); /* both are still at it */
        request_free(r);
        record_free(rec);
        for (int i = 0; i < 2; i++) {
            drain_request(hog[i], got[i] = record_new(&rig));
            request_free(hog[i]);
            CHECK_INT(got[i]->n_tok, LONG - 1);
        }
        CHECK(memcmp(got[1]->token, want->token + 1, (LONG - 1) * sizeof *want->token) == 0);
        record_free(got[0]);
        record_free(got[1]);
    }
    record_free(want);
    rig_close(&rig);
}

/* Running or waiting: at its deadline a request ends, and says where it was. */
static void deadline_ends_a_request(void)
{
    struct rig rig;
    struct engine_opts o = basic;
    o.max_batch = 1;
    if (rig_open(&rig, path_a, o, (size_t)1 << 30) < 0) {
        CHECK(0);
        return;
    }
    struct request_args a = args_of(&rig, NULL, 0, 100000);
    struct event ev;
    a.sample.ignore_eos = true;
    a.deadline_ns = clock_ns() + 1; /* over before it began */
    struct request *r = go(&rig, a, 0, 10);
    while (request_next(r, &ev, -1) && ev.type == EVENT_TOKEN)
        ;
    CHECK_INT(ev.type, EVENT_ERROR);
    CHECK_INT(ev.err.code, ERR_TIMEOUT);
    request_free(r);
    a.deadline_ns = 0;
    struct request *hog = go(&rig, a, 0, 10);
    CHECK_INT(request_next(hog, &ev, -1), 1);
    a.deadline_ns = clock_ns() + 20000000;
    r = go(&rig, a, 1, 10); /* one seat only: waits */
    CHECK_INT(request_next(r, &ev, -1), 1);
    CHECK(ev.type == EVENT_ERROR && ev.err.code == ERR_TIMEOUT && strstr(ev.err.msg, "in the queue") != NULL);
    struct engine_stats s;
    engine_stats(rig.engine, &s);
    CHECK_INT(s.timeout_total, 2);
    request_free(r);
    request_free(hog);
    rig_close(&rig);
}

/* Memory for a few sequences only: all end, with the tokens they give alone, though some were thrown out in between. */
static void short_of_memory(void)
{
    enum { N = 6, OUT = 250 };
    struct rig rig;
    if (rig_open(&rig, path_a, basic, (size_t)1 << 30) < 0) {
        CHECK(0);
        return;
    }
    struct record *alone[N], *crowd[N];
    struct request *r[N];
    struct request_args a = args_of(&rig, NULL, 0, OUT);
    a.sample.temperature = 1;
    a.sample.presence_penalty = 0.3f;
    for (uint64_t i = 0; i < N; i++) {
        alone[i] = record_new(&rig);
        crowd[i] = record_new(&rig);
        a.sample.seed = i;
        struct request *q = go(&rig, a, i, 20 + 30 * (int)i);
        drain_request(q, alone[i]);
        request_free(q);
    }
    for (int i = 0; i < 5000 && held_by(&rig, "model/tiny/kv"); i++)
        nap_ms(1);
    engine_trim(rig.engine, SIZE_MAX);
    size_t room = 7 * block_bytes(&rig) + 200000;
    CHECK_INT(ledger_set_ceiling(rig.ledger, ledger_used(rig.ledger) + room, NULL), 0);
    for (uint64_t i = 0; i < N; i++) {
        a.sample.seed = i;
        r[i] = go(&rig, a, i, 20 + 30 * (int)i);
    }
    for (int i = 0; i < N; i++) {
        drain_request(r[i], crowd[i]);
        CHECK_INT(crowd[i]->end.type, EVENT_DONE);
        CHECK_INT(crowd[i]->n_tok, OUT);
        CHECK(memcmp(crowd[i]->token, alone[i]->token, sizeof alone[i]->token) == 0);
        request_free(r[i]);
        record_free(alone[i]);
        record_free(crowd[i]);
    }
    struct engine_stats st;
    engine_stats(rig.engine, &st);
    CHECK(st.preempted_total > 0);
    CHECK(ledger_used(rig.ledger) <= ledger_ceiling(rig.ledger));
    struct err e;
    int32_t *token = calloc(2000, sizeof *token);
    a.token = token;
    a.n_token = 1900;
    CHECK_INT(engine_submit(rig.engine, &a, &r[0], &e), ERR_NOMEM); /* could never fit, and says so at once */
    CHECK(strstr(e.msg, "1900 prompt tokens") != NULL);
    CHECK(engine_model_room(rig.model) < 1900 && engine_model_room(rig.model) >= 7 * 64);
    free(token);
    rig_close(&rig);
}

static int give_up(void *arg, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    return ++*(int *)arg > 0;
}

static void loads_are_all_or_nothing(void)
{
    struct rig rig;
    if (rig_open(&rig, path_a, basic, (size_t)1 << 30) < 0) {
        CHECK(0);
        return;
    }
    size_t before = ledger_used(rig.ledger);
    struct engine_model *m = NULL;
    struct err e;
    int calls = 0;
    struct engine_load load = {.path = path_b, .name = "second", .progress = give_up, .progress_arg = &calls};
    CHECK_INT(engine_model_load(rig.engine, &load, &m, &e), ERR_CANCELLED);
    CHECK(calls > 0);
    CHECK_INT(ledger_used(rig.ledger), before);
    load.progress = NULL;
    load.path = "/nonexistent/model.gguf";
    CHECK_INT(engine_model_load(rig.engine, &load, &m, &e), ERR_NOTFOUND);
    CHECK_INT(ledger_used(rig.ledger), before);
    load.path = path_b;
    CHECK_INT(ledger_set_ceiling(rig.ledger, before + 400000, NULL), 0);
    CHECK_INT(engine_model_load(rig.engine, &load, &m, &e), ERR_NOMEM);
    CHECK_INT(ledger_used(rig.ledger), before);
    CHECK_INT(ledger_set_ceiling(rig.ledger, (size_t)1 << 30, NULL), 0);
    struct request_args a = args_of(&rig, NULL, 0, 1900); /* a load may not take what a running request was promised */
    struct request *r = go(&rig, a, 1, 100);
    struct event ev;
    CHECK_INT(request_next(r, &ev, -1), 1);
    CHECK_INT(ledger_set_ceiling(rig.ledger, ledger_used(rig.ledger) + 2000000, NULL), 0);
    int rc = engine_model_load(rig.engine, &load, &m, &e);
    CHECK_INT(rc, ERR_NOMEM);
    request_cancel(r);
    CHECK_INT(end_of(r).type, EVENT_DONE);
    request_free(r);
    CHECK(m == NULL);
    rig_close(&rig);
}

/* Every allocation of a load fails in turn: an error each time, and nothing stays reserved. */
static void failed_allocations(void)
{
    struct rig rig;
    if (rig_open(&rig, path_a, basic, (size_t)1 << 30) < 0) {
        CHECK(0);
        return;
    }
    size_t before = ledger_used(rig.ledger);
    struct engine_load load = {.path = path_b, .name = "second"};
    struct engine_model *m = NULL;
    long n = 0;
    for (int rc = -1; rc < 0 && n < 5000; n++) {
        struct err e = {0};
        mem_fail_after(n);
        rc = engine_model_load(rig.engine, &load, &m, &e);
        mem_fail_after(-1);
        if (rc < 0) {
            CHECK_INT(rc, ERR_NOMEM);
            CHECK_INT(ledger_used(rig.ledger), before);
        }
    }
    CHECK(m != NULL && n > 10);
    if (m)
        engine_model_leave(m);
    struct request_args a = args_of(&rig, NULL, 0, 5);
    int32_t token[3] = {1, 2, 3};
    struct logit_bias bias = {1, 2.0f};
    a.token = a.stop_id = token;
    a.n_token = a.n_stop_id = 3;
    a.sample.bias = &bias;
    a.sample.n_bias = 1;
    struct request *r = NULL;
    for (n = 0; !r && n < 100; n++) {
        struct err e;
        mem_fail_after(n);
        int rc = engine_submit(rig.engine, &a, &r, &e);
        struct event ev = {0};
        if (rc == 0)
            ev = end_of(r); /* the engine thread's allocations may have failed: that is an error event */
        mem_fail_after(-1);
        CHECK(rc == 0 || rc == ERR_NOMEM);
        if (rc == 0 && ev.type == EVENT_ERROR) {
            request_free(r);
            r = NULL;
        }
    }
    CHECK(r != NULL && n > 2);
    request_free(r);
    CHECK_INT(used_at_last(&rig, before), before);
    rig_close(&rig);
}

static void two_models_share(void)
{
    struct rig rig;
    if (rig_open(&rig, path_a, basic, (size_t)1 << 30) < 0) {
        CHECK(0);
        return;
    }
    struct rig other = rig;
    struct err e = {0};
    struct engine_load load = {.path = path_b, .name = "second"};
    CHECK_INT(engine_model_load(rig.engine, &load, &other.model, &e), 0);
    other.n_vocab = engine_model_info(other.model)->n_vocab;
    struct request_args a = args_of(&rig, NULL, 0, 60), b = args_of(&other, NULL, 0, 60);
    struct request *ra[3], *rb[3];
    for (uint64_t i = 0; i < 3; i++) {
        ra[i] = go(&rig, a, i, 100);
        rb[i] = go(&other, b, i, 100);
    }
    for (int i = 0; i < 3; i++) {
        CHECK_INT(end_of(ra[i]).type, EVENT_DONE);
        CHECK_INT(end_of(rb[i]).type, EVENT_DONE);
        request_free(ra[i]);
        request_free(rb[i]);
    }
    engine_model_leave(other.model);
    CHECK_INT(held_by(&rig, "model/second/weights"), 0);
    rig_close(&rig);
}

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static void idle_engine_sleeps(void)
{
    struct rig rig;
    if (rig_open(&rig, path_a, basic, (size_t)1 << 30) < 0) {
        CHECK(0);
        return;
    }
    struct request_args a = args_of(&rig, NULL, 0, 5);
    struct request *r = go(&rig, a, 1, 5);
    end_of(r);
    request_free(r);
    nap_ms(100);
    double begin = cpu_s();
    nap_ms(400);
    CHECK(cpu_s() - begin < 0.1);
    rig_close(&rig);
}

/* Allocations from asking for n tokens to the end. */
static long allocations_of(struct rig *rig, int n)
{
    mem_fail_after(-1); /* counts from here */
    struct request *r = go(rig, args_of(rig, NULL, 0, n), 1, 5);
    struct event end = end_of(r);
    CHECK_INT(end.stats.n_output, n);
    request_free(r);
    return mem_count();
}

static void tokens_take_no_allocation(void)
{
    struct engine_opts o = basic;
    struct rig rig;
    o.n_threads = 2;
    o.spec_max = -1; /* guesses make room for their rows of logits once, when the first come */
    if (rig_open(&rig, path_a, o, (size_t)1 << 30) < 0) {
        CHECK(0);
        return;
    }
    allocations_of(&rig, 20);
    long few = allocations_of(&rig, 20), twice = allocations_of(&rig, 40);
    CHECK(few > 0);
    CHECK_INT(twice, few); /* one block of the cache holds both */
    rig_close(&rig);
}

struct stress {
    struct rig *rig;
    uint64_t number;
    int ended, lost;
};

static void *stress_main(void *arg)
{
    struct stress *s = arg;
    uint64_t n = 0;
    for (int round = 0; round < 25; round++) {
        double u = rng_uniform(s->number, 3, n++), v = rng_uniform(s->number, 3, n++),
               w = rng_uniform(s->number, 3, n++);
        struct request_args a = args_of(s->rig, NULL, 0, 1 + (int)(u * 30));
        a.sample.temperature = (float)v;
        a.priority = (int)(w * 3);
        struct request *r = go(s->rig, a, n, 1 + (int)(v * v * 400));
        if (!r) {
            s->lost++;
            continue;
        }
        struct event ev = {0};
        if (w < 0.2) { /* gone at once */
            request_free(r);
            continue;
        }
        if (w < 0.4) {
            nap_ms((long)(u * 3));
            request_cancel(r);
        }
        if (w > 0.9)
            while (request_next(r, &ev, 0) == 0) /* polls */
                nap_ms(1);
        while (request_next(r, &ev, -1))
            ;
        s->ended += ev.type == EVENT_DONE;
        s->lost += ev.type != EVENT_DONE;
        request_free(r);
    }
    return NULL;
}

static void stress(void)
{
    enum { THREADS = 6 };
    struct rig rig;
    struct engine_opts o = basic;
    o.max_batch = 5;
    if (rig_open(&rig, path_a, o, (size_t)1 << 30) < 0) {
        CHECK(0);
        return;
    }
    size_t before = ledger_used(rig.ledger);
    CHECK_INT(ledger_set_ceiling(rig.ledger, before + 12 * block_bytes(&rig) + 400000, NULL), 0);
    pthread_t t[THREADS];
    struct stress s[THREADS];
    for (int i = 0; i < THREADS; i++) {
        s[i] = (struct stress){&rig, (uint64_t)i + 50, 0, 0};
        pthread_create(&t[i], NULL, stress_main, &s[i]);
    }
    int ended = 0, lost = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
        ended += s[i].ended;
        lost += s[i].lost;
    }
    CHECK_INT(lost, 0);
    CHECK(ended > 50);
    CHECK_INT(used_at_last(&rig, before), before);
    struct engine_stats st;
    engine_stats(rig.engine, &st);
    CHECK(st.n_running == 0 && st.n_waiting == 0);
    rig_close(&rig);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 1;
    path_a = argv[1];
    path_b = argv[2];
    path_short = argv[3];
    RUN(refusals);
    RUN(ends);
    RUN(answers_end_at_the_context);
    RUN(cancelled_in_every_phase);
    RUN(queue_is_bounded);
    RUN(queue_is_bounded_by_tokens);
    RUN(places_change_hands);
    RUN(deadline_ends_a_request);
    RUN(short_of_memory);
    RUN(loads_are_all_or_nothing);
    RUN(failed_allocations);
    RUN(two_models_share);
    RUN(idle_engine_sleeps);
    RUN(tokens_take_no_allocation);
    RUN(stress);
    return check_done();
}
