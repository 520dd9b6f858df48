/* New work waits: a request to a resident model for which there is no room beside the others waits until they have done their work and
 * left, whoever they are, and ends with the answer that it gives alone. Nobody waits for ever. Arguments: three tiny model files. */
#include "base/clock.h"
#include "engine/engine.h"
#include "hearth.h"
#include "ledger/ledger.h"
#include "unit/check.h"
#include "unit/folder.h"
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

enum { LARGE = 1900, SLACK = 500000 };
static const char *path[3];
static const char *dir;

static struct hearth *open_waiting(int load_timeout_s)
{
    struct hearth *h = NULL;
    struct err e = {0};
    struct hearth_opts o = {
        .data_dir = dir, .threads = 1, .ceiling = (size_t)400 << 20, .load_timeout_s = load_timeout_s};
    if (hearth_open(&h, &o, &e) < 0) {
        fprintf(stderr, "hearth_open: %s\n", e.msg);
        exit(1);
    }
    return h;
}

static struct hearth_model *get(struct hearth *h, int i)
{
    struct hearth_model *m = NULL;
    struct err e = {0};
    if (hearth_model_get(h, path[i], NULL, NULL, &m, &e) < 0)
        fprintf(stderr, "hearth_model_get: %s\n", e.msg);
    return m;
}

static struct hearth_request request_of(int max_tokens)
{
    return (struct hearth_request){.prompt = "once upon a time", .max_tokens = max_tokens, .ignore_eos = true};
}

struct answer {
    char text[2][1 << 16];
    size_t len[2];
    int n_tokens, done, failed;
    struct err err;
};

static void take(struct answer *a, const struct hearth_delta *d)
{
    if (d->type == HEARTH_TEXT && a->len[d->choice] + d->text_len <= sizeof a->text[0]) {
        memcpy(a->text[d->choice] + a->len[d->choice], d->text, d->text_len);
        a->len[d->choice] += d->text_len;
        a->n_tokens += (int)d->n_tokens;
    }
    a->done += d->type == HEARTH_DONE;
    a->failed += d->type == HEARTH_FAILED;
    if (d->type == HEARTH_FAILED)
        a->err = d->err;
}

/* What g says to its end; g and its model are let go of. */
static struct answer *finish(struct hearth_gen *g, struct hearth_model *m)
{
    struct answer *a = calloc(1, sizeof *a);
    struct hearth_delta d;
    while (g && hearth_next(g, &d, -1) == 1)
        take(a, &d);
    hearth_gen_free(g);
    hearth_model_unref(m);
    return a;
}

static struct answer *alone(int i, struct hearth_request r)
{
    struct hearth *h = open_waiting(0);
    struct hearth_model *m = get(h, i);
    struct hearth_gen *g = NULL;
    CHECK_INT(hearth_generate(m, &r, &g, NULL), 0);
    struct answer *a = finish(g, m);
    hearth_close(h);
    return a;
}

static void check_same(struct answer *a, struct answer *truth)
{
    CHECK(a->failed == 0 && a->done == truth->done && a->n_tokens == truth->n_tokens);
    CHECK(memcmp(a->text, truth->text, sizeof a->text) == 0);
    if (a->failed)
        fprintf(stderr, "  %s\n", a->err.msg);
    free(a);
    free(truth);
}

/* The ceiling falls to what is held and `room`. */
static void leave_room(struct hearth *h, size_t room)
{
    engine_trim(hearth_engine(h), SIZE_MAX);
    CHECK_INT(ledger_set_ceiling(hearth_ledger(h), ledger_used(hearth_ledger(h)) + room, NULL), 0);
}

static bool resident(struct hearth *h, int i)
{
    struct hearth_model *m;
    if (!hearth_model_try(h, path[i], &m))
        return false;
    hearth_model_unref(m);
    return true;
}

/* The other model is busy, and its client takes its time: only when it has gone there is room. */
static void waits_for_a_busy_model(void)
{
    struct hearth_request r = request_of(LARGE);
    r.n = 2;
    r.temperature = 1;
    r.has_seed = true;
    struct answer *truth = alone(1, r), *other = alone(0, request_of(20));
    struct hearth *h = open_waiting(0);
    struct hearth_model *a = get(h, 0), *b = get(h, 1);
    struct hearth_gen *ga, *gb = NULL;
    struct hearth_delta d;
    struct err e = {0};
    leave_room(h, SLACK);
    struct hearth_request short_one = request_of(20);
    CHECK_INT(hearth_generate(a, &short_one, &ga, &e), 0);
    CHECK_INT(hearth_generate(b, &r, &gb, &e), 0); /* taken in */
    struct engine_stats st;
    struct answer *work = calloc(1, sizeof *work);
    while (hearth_next(ga, &d, -1) == 1) { /* whoever has room goes on meanwhile */
        engine_stats(hearth_engine(h), &st);
        CHECK_INT(st.n_waiting >= 2, 1);
        take(work, &d);
    }
    check_same(work, other);
    CHECK(gb && hearth_next(gb, &d, 0) == 0);
    hearth_gen_free(ga);
    CHECK(resident(h, 0)); /* held still */
    hearth_model_unref(a);
    check_same(finish(gb, b), truth);
    CHECK(!resident(h, 0) && resident(h, 1)); /* it had to go */
    CHECK(ledger_peak(hearth_ledger(h)) <= (size_t)400 << 20);
    hearth_close(h);
}

static void leaves_nothing_when_it_gives_up(void)
{
    struct hearth *h = open_waiting(0);
    struct hearth_model *a = get(h, 0), *b = get(h, 1);
    struct hearth_request r = request_of(LARGE);
    struct hearth_gen *g;
    struct engine_stats st;
    leave_room(h, SLACK);
    size_t used = ledger_used(hearth_ledger(h));
    for (int i = 0; i < 20; i++) {
        CHECK_INT(hearth_generate(b, &r, &g, NULL), 0);
        hearth_model_unref(b); /* idle as soon as the request has gone */
        if (i % 2 == 0) {
            hearth_cancel(g);
            struct hearth_delta d;
            CHECK(hearth_next(g, &d, -1) == 1 && d.type == HEARTH_DONE && strcmp(d.finish, "cancelled") == 0);
        }
        hearth_gen_free(g);
        do
            engine_stats(hearth_engine(h), &st);
        while (st.n_waiting && !sched_yield());
        CHECK(hearth_model_try(h, path[1], &b)); /* and is not made to leave for what was its own request */
        if (!b)
            b = get(h, 1);
    }
    while (ledger_used(hearth_ledger(h)) != used)
        sched_yield();
    CHECK(resident(h, 0)); /* it was in use */
    hearth_model_unref(a);
    hearth_model_unref(b);
    hearth_close(h);
}

static void waits_no_longer_than_a_load(void)
{
    struct hearth *h = open_waiting(1);
    struct hearth_model *a = get(h, 0), *b = get(h, 1); /* a is held by somebody who asks for nothing */
    struct hearth_request r = request_of(LARGE);
    struct hearth_gen *g = NULL;
    leave_room(h, SLACK);
    double begin = clock_s();
    CHECK_INT(hearth_generate(b, &r, &g, NULL), 0);
    struct answer *got = finish(g, b);
    CHECK(clock_s() - begin >= 0.99 && got->done == 0);
    CHECK(got->failed == 1 && got->err.code == ERR_NOMEM && strstr(got->err.msg, "waited 1 s for memory") != NULL);
    free(got);
    while (!resident(h, 0)) /* drained for it, and no more */
        sched_yield();
    hearth_model_unref(a);
    hearth_close(h);
}

struct client {
    struct hearth *h;
    int model;
    struct hearth_request r;
    struct answer *got;
    bool refused;
    pthread_t thread;
    struct hearth_model *m;
};

static void *client_main(void *arg) /* one answer of the model that it holds, or of its own choice */
{
    struct client *c = arg;
    struct hearth_gen *g = NULL;
    struct err e;
    struct hearth_model *m = c->m ? c->m : get(c->h, c->model);
    c->refused = !m || hearth_generate(m, &c->r, &g, &e) < 0;
    c->got = finish(g, m);
    return NULL;
}

/* Requests to two models that both need the other's room: none is stuck, and no more are refused than must be. */
static void circles_are_broken(void)
{
    struct answer *truth[2] = {alone(0, request_of(LARGE)), alone(1, request_of(LARGE))};
    for (int round = 0; round < 4; round++) {
        struct hearth *h = open_waiting(0);
        struct client c[2];
        struct hearth_model *m[2] = {get(h, 0), get(h, 1)};
        leave_room(h, SLACK);
        double begin = clock_s();
        for (int i = 0; i < 2; i++) {
            c[i] = (struct client){.h = h, .model = i, .m = m[i], .r = request_of(LARGE)};
            pthread_create(&c[i].thread, NULL, client_main, &c[i]);
        }
        int done = 0;
        for (int i = 0; i < 2; i++) {
            pthread_join(c[i].thread, NULL);
            done += c[i].got->done;
            CHECK(!c[i].refused);
            CHECK(c[i].got->done ? c[i].got->len[0] == truth[i]->len[0] : c[i].got->err.code == ERR_NOMEM);
            CHECK(memcmp(c[i].got->text, truth[i]->text, c[i].got->len[0]) == 0);
            free(c[i].got);
        }
        CHECK_INT(done, 1);
        CHECK(clock_s() - begin < 110); /* not because time was over */
        hearth_close(h);
    }
    free(truth[0]);
    free(truth[1]);
}

/* A load that waits for memory and a request that waits for room: both get it when a third model leaves. */
static void a_load_waits_beside_it(void)
{
    struct answer *truth = alone(1, request_of(LARGE)), *other = alone(0, request_of(20));
    struct hearth *h = open_waiting(0);
    struct hearth_model *held = get(h, 2), *b = get(h, 1);
    struct hearth_request r = request_of(LARGE);
    struct hearth_gen *g = NULL;
    leave_room(h, SLACK);
    CHECK_INT(hearth_generate(b, &r, &g, NULL), 0);
    struct client c = {.h = h, .model = 0, .r = request_of(20)};
    pthread_create(&c.thread, NULL, client_main, &c);
    struct hearth_model_status st[4];
    for (bool waits = false; !waits; sched_yield()) {
        size_t n = hearth_models(h, st, 4);
        for (size_t i = 0; i < n && i < 4; i++)
            waits |= st[i].waiting && st[i].load_s > 0.05;
    }
    hearth_model_unref(held);
    check_same(finish(g, b), truth);
    pthread_join(c.thread, NULL);
    check_same(c.got, other);
    hearth_close(h);
}

/* Somebody always uses the other model: after a while it takes no new users. */
static void no_stream_of_others_starves_it(void)
{
    struct answer *truth = alone(1, request_of(LARGE));
    struct hearth *h = open_waiting(4);
    struct hearth_model *a = get(h, 0), *b = get(h, 1), *again;
    struct hearth_request r = request_of(LARGE);
    struct hearth_gen *g = NULL;
    leave_room(h, SLACK);
    CHECK_INT(hearth_generate(b, &r, &g, NULL), 0);
    while (hearth_model_try(h, path[0], &again)) { /* until it is drained */
        hearth_model_unref(a);
        a = again;
        sched_yield();
    }
    hearth_model_unref(a);
    check_same(finish(g, b), truth);
    hearth_model_unref(get(h, 0)); /* comes back */
    hearth_close(h);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 1;
    dir = folder_make("room");
    for (int i = 0; i < 3; i++)
        path[i] = argv[i + 1];
    RUN(waits_for_a_busy_model);
    RUN(leaves_nothing_when_it_gives_up);
    RUN(waits_no_longer_than_a_load);
    RUN(circles_are_broken);
    RUN(a_load_waits_beside_it);
    RUN(no_stream_of_others_starves_it);
    folder_remove(dir);
    return check_done();
}
