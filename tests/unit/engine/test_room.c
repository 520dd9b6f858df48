/* Requests that wait for room beside what is loaded: they begin when a load has ended or a model has left, with the tokens they give
 * alone; meanwhile they can be cancelled, run out of time and be refused, and disturb nobody. Arguments: two tiny model files. */
#include "base/clock.h"
#include "fixture.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

static const char *path_a, *path_b;
static const double LONG_S = 300; /* for what ends long before */
enum { SHORT_PROMPT = 200, SHORT = 50, LARGE_PROMPT = 1500, LARGE = 40 };

static int submit(const struct rig *rig, struct request_args a, int n, struct request **out, struct err *e)
{
    int32_t *token = calloc((size_t)n, sizeof *token);
    prompt_fill(token, n, rig->n_vocab, 5);
    a.token = token;
    a.n_token = n;
    *out = NULL;
    int rc = engine_submit(rig->engine, &a, out, e);
    free(token);
    return rc;
}

static struct record *ended(const struct rig *rig, struct request *r)
{
    struct record *got = record_new(rig);
    drain_request(r, got);
    request_free(r);
    return got;
}

static void check_same(struct record *got, struct record *alone)
{
    CHECK_INT(got->end.type, EVENT_DONE);
    CHECK(got->n_tok == alone->n_tok && memcmp(got->token, alone->token, sizeof got->token) == 0);
    record_free(got);
    record_free(alone);
}

static struct record *answer_alone(const struct rig *rig, struct request_args a, int n)
{
    struct request *r;
    CHECK_INT(submit(rig, a, n, &r, NULL), 0);
    struct record *got = ended(rig, r);
    engine_trim(rig->engine, SIZE_MAX);
    return got;
}

static struct engine_model *second(const struct rig *rig, const char *name)
{
    struct engine_model *m = NULL;
    struct err e = {0};
    struct engine_load load = {.path = path_b, .name = name};
    if (engine_model_load(rig->engine, &load, &m, &e) < 0)
        fprintf(stderr, "load: %s\n", e.msg);
    return m;
}

/* So that nothing is left beside the models but `room`, whatever the requests before have left behind. */
static void leave_room(const struct rig *rig, size_t room)
{
    int rc = -1;
    for (int same = 0; same < 100 || rc < 0;) {
        engine_trim(rig->engine, SIZE_MAX);
        size_t used = ledger_used(rig->ledger);
        sched_yield();
        same = ledger_used(rig->ledger) == used ? same + 1 : 0;
        rc = ledger_set_ceiling(rig->ledger, used + room, NULL);
    }
}

static struct engine_starved starved(const struct rig *rig, bool (*is)(const struct engine_starved *s))
{
    struct engine_starved s;
    do { /* who runs the tests ends it otherwise */
        sched_yield();
        engine_starved(rig->engine, &s);
    } while (!is(&s));
    return s;
}

static bool stuck(const struct engine_starved *s)
{
    return s->lacks && s->stuck;
}

static bool lacking(const struct engine_starved *s)
{
    return s->lacks > 0;
}

static bool nobody(const struct engine_starved *s)
{
    return s->lacks == 0;
}

struct meanwhile {
    const struct rig *rig;
    struct request *r;
    int refused;
};

static int ask_meanwhile(void *arg, uint64_t done, uint64_t total)
{
    struct meanwhile *w = arg;
    (void)done;
    (void)total;
    struct request_args a = args_of(w->rig, NULL, 0, SHORT);
    if (w->r)
        return 0;
    w->refused = submit(w->rig, a, SHORT_PROMPT, &w->r, NULL);
    request_free(w->r);
    a.room_s = LONG_S;
    CHECK_INT(submit(w->rig, a, SHORT_PROMPT, &w->r, NULL), 0);
    return 0;
}

static void waits_for_the_end_of_a_load(void)
{
    struct rig rig;
    if (rig_open(&rig, path_a, (struct engine_opts){.n_threads = 1}, (size_t)1 << 30) < 0) {
        CHECK(0);
        return;
    }
    struct record *alone = answer_alone(&rig, args_of(&rig, NULL, 0, SHORT), SHORT_PROMPT);
    struct meanwhile w = {.rig = &rig};
    struct engine_load load = {.path = path_b, .name = "second", .progress = ask_meanwhile, .progress_arg = &w};
    struct engine_model *m = NULL;
    int rc = ERR_NOMEM;
    for (size_t room = 1 << 20; rc == ERR_NOMEM && room < (size_t)1 << 26; room += 1 << 15) {
        leave_room(&rig, room); /* the least that lets it in */
        rc = engine_model_load(rig.engine, &load, &m, NULL);
    }
    CHECK_INT(rc, 0);
    CHECK_INT(w.refused, ERR_NOMEM); /* while it was read, nothing was left */
    if (w.r)
        check_same(ended(&rig, w.r), alone);
    starved(&rig, nobody);
    engine_model_leave(m);
    rig_close(&rig);
}

static void waits_for_a_model_to_leave(void)
{
    struct rig rig;
    if (rig_open(&rig, path_a, (struct engine_opts){.n_threads = 1}, (size_t)1 << 30) < 0) {
        CHECK(0);
        return;
    }
    struct request_args large = args_of(&rig, NULL, 0, LARGE), small = args_of(&rig, NULL, 0, SHORT);
    struct record *alone = answer_alone(&rig, large, LARGE_PROMPT), *beside = answer_alone(&rig, small, SHORT_PROMPT);
    struct engine_model *m = second(&rig, "second");
    struct request *r, *s;
    struct err e;
    leave_room(&rig, 500000);
    CHECK_INT(submit(&rig, large, LARGE_PROMPT, &r, &e), ERR_NOMEM);
    large.room_s = LONG_S;
    CHECK_INT(submit(&rig, large, LARGE_PROMPT, &r, &e), 0);
    CHECK(starved(&rig, stuck).model == rig.model);
    struct engine_stats st;
    engine_stats(rig.engine, &st);
    CHECK(st.n_waiting == 1 && st.n_running == 0 && st.waiting_tokens == LARGE_PROMPT);
    CHECK_INT(submit(&rig, small, SHORT_PROMPT, &s, &e), 0); /* came later, and has room */
    check_same(ended(&rig, s), beside);
    struct event ev;
    CHECK_INT(request_next(r, &ev, 0), 0);
    engine_refuse_last(rig.engine); /* there is nobody whose model could leave for it */
    engine_model_leave(m);
    check_same(ended(&rig, r), alone);
    starved(&rig, nobody);
    rig_close(&rig);
}

struct beside {
    struct ledger *ledger;
    struct ledger_owner *own;
    size_t bytes;
};

static int hold_beside(void *arg, const struct model_file *f, struct err *e)
{
    struct beside *b = arg;
    (void)f;
    int rc = ledger_owner_new(b->ledger, "model/third/text", &b->own, e);
    b->bytes = 4 << 20;
    return rc < 0 ? rc : ledger_reserve(b->own, b->bytes, e);
}

/* A tokeniser is there as long as its model: nobody waits for its memory. */
static void what_is_held_for_a_model_stays(void)
{
    struct rig rig;
    if (rig_open(&rig, path_a, (struct engine_opts){.n_threads = 1}, (size_t)1 << 30) < 0) {
        CHECK(0);
        return;
    }
    struct beside b = {.ledger = rig.ledger};
    struct engine_load load = {
        .path = path_b, .name = "third", .header = hold_beside, .header_arg = &b, .beside = &b.bytes};
    struct request_args a = args_of(&rig, NULL, 0, LARGE);
    struct request *r;
    struct err e;
    engine_model_leave(rig.model);
    rig.model = NULL;
    CHECK_INT(engine_model_load(rig.engine, &load, &a.model, &e), 0);
    leave_room(&rig, 500000);
    a.room_s = LONG_S;
    CHECK_INT(submit(&rig, a, LARGE_PROMPT, &r, &e), ERR_NOMEM);
    request_free(r);
    engine_model_leave(a.model);
    ledger_owner_free(b.own);
    rig_close(&rig);
}

/* By whatever name it goes, another model is none of the first one's memory, and may be waited for. */
static void names_do_not_confuse(void)
{
    static const char *const names[] = {"second", "tiny", "tiny/second", "tin"};
    struct rig rig;
    if (rig_open(&rig, path_a, (struct engine_opts){.n_threads = 1}, (size_t)1 << 30) < 0) {
        CHECK(0);
        return;
    }
    struct request_args a = args_of(&rig, NULL, 0, LARGE);
    a.room_s = LONG_S;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct request *r;
        struct engine_model *m = second(&rig, names[i]);
        leave_room(&rig, 500000);
        CHECK_INT(submit(&rig, a, LARGE_PROMPT, &r, NULL), 0);
        request_free(r);
        engine_model_leave(m);
        CHECK_INT(ledger_set_ceiling(rig.ledger, (size_t)1 << 30, NULL), 0);
    }
    rig_close(&rig);
}

/* What ends it while it waits, and what it leaves behind: nothing. */
static void waiting_ends_in_every_way(void)
{
    struct rig rig;
    if (rig_open(&rig, path_a, (struct engine_opts){.n_threads = 1}, (size_t)1 << 30) < 0) {
        CHECK(0);
        return;
    }
    struct engine_model *m = second(&rig, "second");
    struct request_args a = args_of(&rig, NULL, 0, LARGE);
    struct request *r;
    struct err e;
    leave_room(&rig, 500000);
    size_t used = ledger_used(rig.ledger);
    a.room_s = LONG_S;
    for (int i = 0; i < 2; i++) {
        CHECK_INT(submit(&rig, a, LARGE_PROMPT, &r, &e), 0);
        starved(&rig, lacking);
        if (i == 0)
            request_cancel(r);
        if (i == 0) {
            struct record *got = ended(&rig, r);
            CHECK(got->end.type == EVENT_DONE && got->end.finish == FINISH_CANCELLED && got->n_tok == 0);
            record_free(got);
        } else {
            request_free(r); /* its client has left */
        }
        starved(&rig, nobody);
    }
    for (int i = 0; i < 2; i++) {
        a.deadline_ns = i == 0 ? clock_ns() + 30000000 : 0;
        a.room_s = i == 0 ? LONG_S : 0.03;
        CHECK_INT(submit(&rig, a, LARGE_PROMPT, &r, &e), 0);
        struct record *got = ended(&rig, r);
        CHECK(got->end.type == EVENT_ERROR && got->n_tok == 0);
        CHECK_INT(got->end.err.code, i == 0 ? ERR_TIMEOUT : ERR_NOMEM);
        CHECK(strstr(got->end.err.msg, i == 0 ? "in the queue" : "waited 0 s for memory: 1500 prompt tokens") != NULL);
        record_free(got);
    }
    starved(&rig, nobody);
    while (engine_model_running(rig.model))
        sched_yield();
    leave_room(&rig, 500000); /* the engine has let go of all */
    CHECK_INT(ledger_used(rig.ledger), used);
    engine_model_leave(m);
    a.room_s = LONG_S;
    leave_room(&rig, 500000);
    CHECK_INT(submit(&rig, a, LARGE_PROMPT, &r, &e), ERR_NOMEM); /* never, whoever leaves: at once */
    CHECK(strstr(e.msg, "1500 prompt tokens") != NULL);
    rig_close(&rig);
}

/* Each waits for the other's model to leave. */
static void the_last_of_a_circle_is_refused(void)
{
    struct rig rig;
    if (rig_open(&rig, path_a, (struct engine_opts){.n_threads = 1}, (size_t)1 << 30) < 0) {
        CHECK(0);
        return;
    }
    struct request_args a = args_of(&rig, NULL, 0, LARGE), b, small = args_of(&rig, NULL, 0, SHORT);
    struct record *alone = answer_alone(&rig, a, LARGE_PROMPT);
    struct request *r[3], *s;
    struct err e;
    b = a;
    b.model = second(&rig, "second");
    leave_room(&rig, 500000);
    a.room_s = b.room_s = LONG_S;
    CHECK_INT(submit(&rig, a, LARGE_PROMPT, &r[0], &e), 0);
    CHECK_INT(submit(&rig, b, LARGE_PROMPT, &r[1], &e), 0);
    CHECK_INT(submit(&rig, a, LARGE_PROMPT, &r[2], &e), 0);
    CHECK_INT(submit(&rig, small, SHORT_PROMPT, &s, &e), 0);
    engine_refuse_last(rig.engine); /* somebody works, or did a moment ago: whoever it is for, it harms no work */
    struct record *got = ended(&rig, s);
    CHECK_INT(got->end.type, EVENT_DONE);
    record_free(got);
    struct event ev = {0};
    while (!request_next(r[1], &ev, 1)) {
        starved(&rig, lacking);
        engine_refuse_last(rig.engine);
    }
    CHECK(ev.type == EVENT_ERROR && ev.err.code == ERR_NOMEM && strstr(ev.err.msg, "beside what else") != NULL);
    request_free(r[1]);
    engine_model_leave(b.model);
    got = ended(&rig, r[2]);
    CHECK_INT(got->end.type, EVENT_DONE);
    record_free(got);
    check_same(ended(&rig, r[0]), alone);
    rig_close(&rig);
}

/* Somebody else takes all that is left, which no load may, and gives it back: who runs goes on then. */
static void who_runs_outlasts_a_shortage(void)
{
    struct rig rig;
    if (rig_open(&rig, path_a, (struct engine_opts){.n_threads = 1}, (size_t)1 << 30) < 0) {
        CHECK(0);
        return;
    }
    struct request_args a = args_of(&rig, NULL, 0, 1000);
    struct record *alone = answer_alone(&rig, a, SHORT_PROMPT), *got = record_new(&rig);
    struct ledger_owner *other;
    struct request *r;
    struct event ev;
    CHECK_INT(ledger_owner_new(rig.ledger, "other", &other, NULL), 0);
    leave_room(&rig, 2000000);
    CHECK_INT(submit(&rig, a, SHORT_PROMPT, &r, NULL), 0);
    CHECK_INT(request_next(r, &ev, -1), 1);
    got->token[got->n_tok++] = ev.token;
    for (size_t n = 1 << 20; n >= 4096;)
        if (ledger_reserve(other, n, NULL) < 0)
            n /= 2;
    enum { NO_MORE_MS = 200 }; /* on a slow machine some may come yet */
    while (request_next(r, &ev, NO_MORE_MS) && ev.type == EVENT_TOKEN)
        got->token[got->n_tok++] = ev.token;
    CHECK_INT(ev.type, EVENT_TOKEN);
    ledger_owner_free(other);
    drain_request(r, got);
    request_free(r);
    check_same(got, alone);
    rig_close(&rig);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 1;
    path_a = argv[1];
    path_b = argv[2];
    RUN(waits_for_the_end_of_a_load);
    RUN(waits_for_a_model_to_leave);
    RUN(names_do_not_confuse);
    RUN(what_is_held_for_a_model_stays);
    RUN(waiting_ends_in_every_way);
    RUN(the_last_of_a_circle_is_refused);
    RUN(who_runs_outlasts_a_shortage);
    return check_done();
}
