/* Who is resident: models leave by value and by keep-alive, wait for each other without deadlock, drain, give up at the deadline, and
 * make way for the rest of the machine. Arguments: three tiny model files. */
#include "base/clock.h"
#include "hearth.h"
#include "ledger/ledger.h"
#include "unit/check.h"
#include "unit/folder.h"
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PATIENT_S = 60 }; /* how long a test waits for what must come */
static const char *path[3];
static const char *dir;
static char proc[80];

static struct hearth *open_opts(struct hearth_opts o)
{
    struct hearth *h = NULL;
    struct err e = {0};
    o.data_dir = dir;
    o.threads = 1;
    o.proc_dir = proc;
    o.group_dir = proc;
    if (hearth_open(&h, &o, &e) < 0) {
        fprintf(stderr, "hearth_open: %s\n", e.msg);
        exit(1);
    }
    return h;
}

static void machine_has(size_t mib) /* MemAvailable of a machine of 1 GiB */
{
    char name[96], next[96];
    snprintf(name, sizeof name, "%s/meminfo", proc);
    snprintf(next, sizeof next, "%s/next", proc);
    FILE *f = fopen(next, "w");
    fprintf(f, "MemTotal:        1048576 kB\nMemFree:               1 kB\nMemAvailable:   %8zu kB\n", mib << 10);
    fclose(f);
    rename(next, name);
}

static struct hearth_model *get(struct hearth *h, int i)
{
    struct hearth_model *m = NULL;
    struct err e = {0};
    if (hearth_model_get(h, path[i], NULL, NULL, &m, &e) < 0)
        fprintf(stderr, "hearth_model_get: %s\n", e.msg);
    return m;
}

static void use(struct hearth *h, int i) /* loads it and lets it go again */
{
    struct hearth_model *m = get(h, i);
    CHECK(m != NULL);
    hearth_model_unref(m);
}

static size_t resident(struct hearth *h, struct hearth_model_status st[4])
{
    return hearth_models(h, st, 4);
}

static bool ready(struct hearth *h, int i)
{
    struct hearth_model *m;
    if (!hearth_model_try(h, path[i], &m))
        return false;
    hearth_model_unref(m);
    return true;
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

static bool comes(bool (*is)(struct hearth *h), struct hearth *h)
{
    for (double end = clock_s() + PATIENT_S; clock_s() < end; nap())
        if (is(h))
            return true;
    return false;
}

static bool nobody_left(struct hearth *h)
{
    struct hearth_model_status st[4];
    return resident(h, st) == 0;
}

/* Under a ceiling that holds any two of the three, but not all. */
static struct hearth *open_for_two(int load_timeout_s)
{
    struct hearth *h = open_opts((struct hearth_opts){.ceiling = (size_t)400 << 20, .load_timeout_s = load_timeout_s});
    struct hearth_fit f;
    struct err e = {0};
    size_t sum = ledger_used(hearth_ledger(h)), least = SIZE_MAX, load = 0;
    for (int i = 0; i < 3; i++) {
        CHECK_INT(hearth_fit(h, path[i], 1, 1, &f, &e), 0);
        sum += f.total;
        least = f.total < least ? f.total : least;
        load = f.load > load ? f.load : load; /* held while one of them loads */
    }
    CHECK_INT(ledger_set_ceiling(hearth_ledger(h), sum + load - least / 3, &e), 0);
    return h;
}

static void least_valuable_leaves(void)
{
    struct hearth *h = open_for_two(0);
    struct hearth_model_status st[4];
    struct hearth_fit f;
    struct err e = {0};
    use(h, 0);
    use(h, 1);
    CHECK_INT(resident(h, st), 2);
    double loaded = clock_s(), longest = st[0].load_s > st[1].load_s ? st[0].load_s : st[1].load_s;
    while (clock_s() <= loaded + longest) /* who has only just come stays as long as the load took */
        nap();
    resident(h, st);
    /* Load times of models this small are chance: the two may be worth nearly the same, and change places while the third loads. */
    double low = st[0].value < st[1].value ? st[0].value : st[1].value, high = st[0].value + st[1].value - low;
    bool clear = low < 0.9 * high;
    const char *least = low == st[0].value ? st[0].name : st[1].name;
    CHECK_INT(hearth_fit(h, path[2], 1, 1, &f, &e), 0);
    CHECK(f.fits && f.n_go >= 1 && !f.resident && f.need > 0 && f.go_bytes >= f.need);
    if (f.n_go == 1 && clear)
        CHECK_STR(f.go[0], least);
    struct hearth_model *c = get(h, 2);
    CHECK(c != NULL);
    for (int i = 0; i < f.n_go && clear; i++) { /* who was foretold to go has gone, and only they */
        struct hearth_model *m;
        CHECK(!hearth_model_try(h, f.go[i], &m));
    }
    CHECK_INT(resident(h, st), 3 - f.n_go);
    CHECK(ledger_used(hearth_ledger(h)) <= ledger_ceiling(hearth_ledger(h)));
    hearth_model_unref(c);
    hearth_close(h);
}

static void keep_alive(void)
{
    struct hearth *h = open_opts((struct hearth_opts){.ceiling = (size_t)400 << 20, .keep_alive = 1});
    struct hearth_model_status st[4];
    struct hearth_model *a = get(h, 0), *b = get(h, 1), *c = get(h, 2);
    hearth_model_keep(b, HEARTH_KEEP_FOREVER);
    hearth_model_keep(b, HEARTH_KEEP_DEFAULT); /* says nothing */
    hearth_model_keep(c, HEARTH_KEEP_NOT);
    double begin = clock_s();
    hearth_model_unref(c);
    while (clock_s() < begin + PATIENT_S && resident(h, st) == 3)
        nap();
    CHECK_INT(resident(h, st), 2); /* at once, while the others are in use */
    CHECK(!ready(h, 2));
    hearth_model_unref(a);
    hearth_model_unref(b);
    begin = clock_s();
    while (clock_s() < begin + PATIENT_S && resident(h, st) == 2)
        nap();
    CHECK(clock_s() - begin >= 0.99);
    CHECK_INT(resident(h, st), 1);
    CHECK_INT(st[0].keep, HEARTH_KEEP_FOREVER);
    CHECK(ready(h, 1));
    /* a request's own wish */
    struct hearth_gen *g;
    struct hearth_delta d;
    struct err e;
    b = get(h, 1);
    struct hearth_request r = {.prompt = "once", .max_tokens = 3, .ignore_eos = true, .keep_alive = HEARTH_KEEP_NOT};
    CHECK_INT(hearth_generate(b, &r, &g, &e), 0);
    while (hearth_next(g, &d, -1) == 1)
        ;
    hearth_model_unref(b);
    CHECK(!nobody_left(h)); /* the generation still holds it */
    hearth_gen_free(g);
    CHECK(comes(nobody_left, h));
    hearth_close(h);
}

struct worker {
    struct hearth *h;
    int first, rounds, failed;
};

static void *switch_main(void *arg) /* asks for one model after the other, as fast as it gets them */
{
    struct worker *w = arg;
    for (int i = 0; i < w->rounds; i++) {
        struct hearth_model *m = get(w->h, (w->first + i) % 3);
        struct ledger *l = hearth_ledger(w->h);
        w->failed += m == NULL || ledger_used(l) > ledger_ceiling(l);
        hearth_model_unref(m);
    }
    return NULL;
}

static void waiters_neither_deadlock_nor_starve(void)
{
    enum { N = 6, ROUNDS = 8 };
    struct hearth *h = open_for_two(0);
    pthread_t t[N];
    struct worker w[N];
    for (int i = 0; i < N; i++) {
        w[i] = (struct worker){.h = h, .first = i, .rounds = ROUNDS};
        pthread_create(&t[i], NULL, switch_main, &w[i]);
    }
    for (int i = 0; i < N; i++) {
        pthread_join(t[i], NULL);
        CHECK_INT(w[i].failed, 0);
    }
    hearth_close(h);
}

static void busy_model_is_drained(void)
{
    struct hearth *h = open_for_two(20);
    struct hearth_model *a = get(h, 0), *b = get(h, 1), *again = NULL;
    struct hearth_model *c = NULL;
    struct err e = {0};
    struct worker w = {.h = h, .first = 2, .rounds = 1}; /* asks for the third */
    pthread_t t;
    pthread_create(&t, NULL, switch_main, &w);
    double begin = clock_s();
    while (clock_s() < begin + PATIENT_S && hearth_model_try(h, path[0], &again) && hearth_model_try(h, path[1], &c)) {
        hearth_model_unref(again); /* new users all the time, until it takes none */
        hearth_model_unref(c);
        again = c = NULL;
        nap();
    }
    hearth_model_unref(again);
    hearth_model_unref(c);
    CHECK(clock_s() - begin >= 1); /* not before its patience was at an end */
    CHECK(clock_s() - begin < PATIENT_S);
    hearth_model_unref(a);
    hearth_model_unref(b);
    pthread_join(t, NULL);
    CHECK_INT(w.failed, 0);
    CHECK(ready(h, 2));
    CHECK_INT(hearth_model_unload(h, path[2], &e), 0);
    hearth_close(h);
}

static void deadline_and_cancel(void)
{
    struct hearth *h = open_for_two(1);
    struct hearth_model *a = get(h, 0), *b = get(h, 1), *c = NULL;
    struct hearth_model_status st[4];
    struct err e = {0};
    size_t used = ledger_used(hearth_ledger(h));
    double begin = clock_s();
    CHECK_INT(hearth_model_get(h, path[2], NULL, NULL, &c, &e), ERR_NOMEM);
    CHECK(clock_s() - begin >= 0.99);
    CHECK(strstr(e.msg, "waited 1 s for memory") != NULL && strstr(e.msg, "MiB") != NULL);
    CHECK_INT(resident(h, st), 2); /* nobody went in vain, and both take users again */
    CHECK(ready(h, 0) && ready(h, 1));
    CHECK_INT(ledger_used(hearth_ledger(h)), used);
    hearth_model_unref(a);
    hearth_model_unref(b);
    CHECK_INT(ledger_set_ceiling(hearth_ledger(h), ledger_used(hearth_ledger(h)), &e), 0);
    CHECK_INT(hearth_model_unload(h, path[0], &e), 0);
    CHECK_INT(hearth_model_unload(h, path[1], &e), 0);
    CHECK_INT(ledger_set_ceiling(hearth_ledger(h), ledger_used(hearth_ledger(h)) + (300 << 10), &e), 0);
    begin = clock_s(); /* what could never fit is refused at once */
    CHECK_INT(hearth_model_get(h, path[2], NULL, NULL, &c, &e), ERR_NOMEM);
    CHECK(clock_s() - begin < 1 && strstr(e.msg, "waited") == NULL);
    hearth_close(h);
}

static int stop_soon(void *arg, uint64_t done, uint64_t total)
{
    (void)done, (void)total;
    return ++*(int *)arg > 2;
}

static void cancel_while_it_waits(void)
{
    struct hearth *h = open_for_two(0);
    struct hearth_model *a = get(h, 0), *b = get(h, 1), *c = NULL;
    struct hearth_model_status st[4];
    struct err e = {0};
    int calls = 0;
    size_t used = ledger_used(hearth_ledger(h));
    CHECK_INT(hearth_model_get(h, path[2], stop_soon, &calls, &c, &e), ERR_CANCELLED);
    for (double end = clock_s() + PATIENT_S; clock_s() < end && resident(h, st) > 2;)
        nap();
    CHECK_INT(resident(h, st), 2);
    CHECK_INT(ledger_used(hearth_ledger(h)), used);
    hearth_model_unref(a);
    hearth_model_unref(b);
    use(h, 2);
    hearth_close(h);
}

static bool limit_is_back(struct hearth *h)
{
    struct hearth_pressure p;
    hearth_pressure(h, &p);
    return p.limit == p.ceiling && strcmp(p.level, "none") == 0;
}

static bool limit_has_fallen(struct hearth *h)
{
    struct hearth_pressure p;
    hearth_pressure(h, &p);
    return p.limit < p.ceiling && strcmp(p.level, "high") == 0;
}

static void *ask_main(void *arg)
{
    struct worker *w = arg;
    struct hearth_model *m = get(w->h, w->first);
    struct hearth_gen *g;
    struct hearth_delta d;
    struct err e;
    struct hearth_request r = {.prompt = "once upon a time", .max_tokens = w->rounds, .ignore_eos = true};
    w->failed = m == NULL || hearth_generate(m, &r, &g, &e) < 0;
    if (!w->failed) {
        w->rounds = 0;
        while (hearth_next(g, &d, -1) == 1) {
            w->rounds += d.type == HEARTH_TEXT ? (int)d.n_tokens : 0;
            w->failed |= d.type == HEARTH_FAILED;
        }
        hearth_gen_free(g);
    }
    hearth_model_unref(m);
    return NULL;
}

static void pressure_makes_idle_models_leave(void)
{
    struct hearth *h = open_opts((struct hearth_opts){.ceiling = (size_t)128 << 20});
    struct hearth_model_status st[4];
    struct hearth_model *a = get(h, 0);
    struct worker w = {.h = h, .first = 0, .rounds = 1900}, later = {.h = h, .first = 1, .rounds = 5};
    pthread_t t, u;
    use(h, 1);
    use(h, 2);
    CHECK(limit_is_back(h));
    CHECK_INT(resident(h, st), 3);
    pthread_create(&t, NULL, ask_main, &w);
    machine_has(40);
    CHECK(comes(limit_has_fallen, h));
    for (double end = clock_s() + PATIENT_S; clock_s() < end && resident(h, st) > 1;)
        nap();
    CHECK_INT(resident(h, st), 1); /* the busy one stays */
    CHECK(ready(h, 0));
    struct hearth_pressure p;
    hearth_pressure(h, &p);
    CHECK_INT(p.evicted, 2);
    pthread_create(&u, NULL, ask_main, &later); /* new work: waits, is not refused */
    pthread_join(t, NULL);
    CHECK(!w.failed);
    CHECK_INT(w.rounds, 1900); /* running work came to its end meanwhile */
    machine_has(800);
    pthread_join(u, NULL);
    CHECK(!later.failed);
    CHECK_INT(later.rounds, 5);
    hearth_model_unref(a);
    CHECK(comes(limit_is_back, h));
    hearth_close(h);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 1;
    dir = folder_make("models");
    for (int i = 0; i < 3; i++)
        path[i] = argv[i + 1];
    snprintf(proc, sizeof proc, "%s/proc", dir);
    mkdir(proc, 0700);
    machine_has(800);
    RUN(least_valuable_leaves);
    RUN(keep_alive);
    RUN(waiters_neither_deadlock_nor_starve);
    RUN(busy_model_is_drained);
    RUN(deadline_and_cancel);
    RUN(cancel_while_it_waits);
    RUN(pressure_makes_idle_models_leave);
    folder_remove(dir);
    return check_done();
}
