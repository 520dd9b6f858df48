/* bench_mix: see bench_mix.h. The prompts are words drawn anew for every request, so that nothing is found in the prefix cache; guessing
 * ahead is off, because such answers say nothing about what guesses are worth. */
#include "cli/bench_mix.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cli/cli.h"
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const double LEAST_S = 1e-5, STEP = 1.01;

void mix_times_add(struct mix_times *t, double seconds)
{
    double at = seconds > LEAST_S ? log(seconds / LEAST_S) / log(STEP) : 0;
    t->n[at < MIX_STEPS ? (int)at : MIX_STEPS - 1]++;
    t->total++;
    t->most = seconds > t->most ? seconds : t->most;
}

double mix_times_at(const struct mix_times *t, double share)
{
    uint64_t wanted = (uint64_t)ceil(share * (double)t->total), seen = 0;
    for (int i = 0; i < MIX_STEPS; i++)
        if ((seen += t->n[i]) >= wanted && seen)
            return fmin(LEAST_S * pow(STEP, i + 0.5), t->most);
    return 0;
}

struct run {
    struct mix *m;
    struct mix_phase *p;
    atomic_bool stop;
    pthread_mutex_t lock; /* what follows, and p->seen */
    pthread_cond_t changed;
    bool counting, busy_told;
    int n_live, n_begun, n_answers; /* chats: not ended, had a token; answers of all */
    int left[MIX_MODELS];           /* chats of a model that have not ended */
    double begin_s, busy[MIX_MODELS];
    uint64_t evicted;
    int rc; /* the first failure of a chat */
    struct err err;
};

struct chat {
    struct run *run;
    int model, words, tokens;
    uint64_t seed;
    bool begun, counts; /* had a token; what it sees belongs into the table */
    double first_s;     /* of its last answer */
    int n_prompt;
    pthread_t thread;
};

static bool stopped(const struct run *r)
{
    return atomic_load(&r->stop) || cli_interrupted();
}

/* ---- one request ---- */

static int write_prompt(struct buf *b, int words, uint64_t seed, struct err *e)
{
    static const char *const word[] = {"time",  "year",  "people", "way",    "day",   "man",    "thing", "woman",
                                       "life",  "child", "world",  "school", "state", "family", "group", "house",
                                       "place", "work",  "week",   "case",   "point", "water",  "room",  "money",
                                       "story", "fact",  "month",  "book",   "right", "study",  "eye",   "job"};
    for (int i = 0; i < words; i++)
        buf_printf(b, " %s", word[(int)(rng_uniform(seed, (uint64_t)i, 0) * (double)(sizeof word / sizeof *word))]);
    return b->failed ? err_set(e, ERR_NOMEM, "out of memory") : 0;
}

static int on_loading(void *arg, uint64_t done, uint64_t total)
{
    (void)done, (void)total;
    return stopped(arg);
}

static void saw(struct chat *c, const struct hearth_delta *d, double *last, bool first)
{
    struct run *r = c->run;
    double now = clock_s();
    pthread_mutex_lock(&r->lock);
    if (first && !c->begun && c->counts) {
        r->n_begun++;
        pthread_cond_signal(&r->changed);
    }
    c->begun = true;
    if (first)
        c->first_s = now - *last;
    if (r->counting && c->counts) {
        struct mix_seen *s = &r->p->seen[c->model];
        mix_times_add(first ? &s->first : &s->between, now - *last);
        s->n_output += (int64_t)d->n_tokens;
    }
    pthread_mutex_unlock(&r->lock);
    *last = now;
}

static int follow(struct chat *c, struct hearth_gen *g, double asked_s, struct err *e)
{
    struct hearth_delta d;
    double last = asked_s;
    bool first = true;
    for (int got; (got = hearth_next(g, &d, 100)) >= 0;) {
        if (stopped(c->run))
            return err_set(e, ERR_CANCELLED, "interrupted");
        if (got && d.type == HEARTH_FAILED) {
            *e = d.err;
            return d.err.code;
        }
        if (got && d.type == HEARTH_TEXT) {
            saw(c, &d, &last, first);
            first = false;
        }
    }
    return 0;
}

static int ask(struct chat *c, struct err *e)
{
    struct run *r = c->run;
    struct hearth_model *model = NULL;
    struct hearth_gen *g = NULL;
    struct buf prompt = {0};
    int rc = write_prompt(&prompt, c->words, c->seed++, e);
    double asked_s = clock_s();
    if (rc == 0)
        rc = hearth_model_get(r->m->h, r->m->model[c->model], on_loading, r, &model, e);
    if (rc == 0) {
        struct hearth_request q = {.prompt = prompt.data,
                                   .prompt_len = prompt.len,
                                   .max_tokens = c->tokens,
                                   .temperature = 0.7f, /* greedy, a model that ends its answer says nothing for ever */
                                   .has_seed = true,
                                   .seed = c->seed,
                                   .ignore_eos = true,
                                   .no_guess = true};
        rc = hearth_generate(model, &q, &g, e);
    }
    if (rc == 0) {
        c->n_prompt = hearth_gen_prompt_tokens(g);
        rc = follow(c, g, asked_s, e);
    }
    hearth_gen_free(g); /* cancels what still runs */
    hearth_model_unref(model);
    buf_done(&prompt);
    return rc;
}

/* ---- the chats of a phase ---- */

/* Machine time of every model until now less what is in r->busy. Under r->lock. */
static void take_busy(struct run *r, double out[MIX_MODELS])
{
    struct hearth_model_status s[MIX_MODELS];
    struct hearth_pressure p;
    hearth_pressure(r->m->h, &p);
    size_t n = hearth_models(r->m->h, s, MIX_MODELS);
    for (int i = 0; i < r->m->n_models; i++) {
        double busy = -1; /* it is not here, or has left meanwhile: its count began anew */
        for (size_t j = 0; j < n && j < MIX_MODELS; j++)
            if (strcmp(s[j].name, r->m->name[i]) == 0 && p.evicted == r->evicted)
                busy = s[j].busy_s - r->busy[i];
        out[i] = busy;
    }
}

static void tell_busy(struct run *r)
{
    double busy[MIX_MODELS];
    take_busy(r, busy);
    for (int i = 0; i < r->m->n_models; i++)
        r->p->seen[i].busy_s = busy[i];
    r->busy_told = true;
}

static void begin_count(struct run *r)
{
    struct hearth_pressure p;
    hearth_pressure(r->m->h, &p);
    r->evicted = p.evicted;
    memset(r->busy, 0, sizeof r->busy);
    take_busy(r, r->busy);
    r->counting = true;
    r->begin_s = clock_s();
}

static void answered(struct chat *c)
{
    struct run *r = c->run;
    pthread_mutex_lock(&r->lock);
    r->n_answers++;
    if (r->counting)
        r->p->seen[c->model].n_prompt += c->n_prompt;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static void *chat_main(void *arg)
{
    struct chat *c = arg;
    struct run *r = c->run;
    struct err e = {0};
    int rc = 0;
    for (int i = 0; (r->p->intruder || i < r->m->answers) && !stopped(r) && (rc = ask(c, &e)) == 0; i++)
        answered(c);
    pthread_mutex_lock(&r->lock);
    if (rc && !stopped(r)) { /* the others need not go on */
        r->rc = rc;
        r->err = e;
        atomic_store(&r->stop, true);
    }
    r->n_live--;
    r->p->seen[c->model].seconds = clock_s() - r->begin_s;
    if (--r->left[c->model] == 0 && !r->busy_told)
        tell_busy(r);
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static void progress(const struct run *r)
{
    const struct mix *m = r->m;
    int all = m->answers * m->chats * (r->p->only < 0 ? m->n_models : 1);
    fprintf(stderr, "%s%s", m->tty ? "\r\033[K" : "mix: ", r->p->label);
    if (m->tty && !r->p->intruder)
        fprintf(stderr, ", answer %d of %d", r->n_answers, all);
    fputs(m->tty ? "" : "\n", stderr);
}

/* Until every chat has begun (or one has failed), or until all have ended. Under r->lock. */
static void await(struct run *r, int n_chats, bool end)
{
    while (end ? r->n_live > 0 : r->n_begun < n_chats && !stopped(r)) {
        uint64_t ns = clock_ns() + 200000000u; /* so that progress and Ctrl-C are seen */
        struct timespec until = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
        pthread_cond_timedwait(&r->changed, &r->lock, &until);
        if (r->m->tty)
            progress(r);
    }
}

static int start(struct run *r, struct chat *chat, int n, struct err *e)
{
    int rc = 0;
    progress(r);
    for (int i = 0; i < n; i++)
        r->left[chat[i].model]++;
    r->n_live = n;
    if (!r->p->intruder)
        begin_count(r);
    cli_hold_interrupt(true);
    for (int i = 0; i < n; i++)
        if (rc || pthread_create(&chat[i].thread, NULL, chat_main, &chat[i])) {
            if (!rc)
                rc = err_set(e, ERR_IO, "cannot start a thread for a chat");
            atomic_store(&r->stop, true);
            chat[i].run = NULL; /* there is none to wait for */
            pthread_mutex_lock(&r->lock);
            r->n_live--;
            pthread_mutex_unlock(&r->lock);
        }
    cli_hold_interrupt(false);
    return rc;
}

static int intrude(struct run *r, int n_chats, struct err *e)
{
    struct chat c = {
        .run = r, .model = r->m->n_models - 1, .words = r->p->intruder, .tokens = 1, .seed = r->m->n_phases << 32 | 1};
    pthread_mutex_lock(&r->lock);
    await(r, n_chats, false);
    if (!stopped(r))
        begin_count(r);
    pthread_mutex_unlock(&r->lock);
    int rc = stopped(r) ? 0 : ask(&c, e);
    pthread_mutex_lock(&r->lock);
    if (r->counting) {
        r->p->seconds = clock_s() - r->begin_s;
        tell_busy(r);
    }
    r->counting = false;
    r->p->n_intruder = c.n_prompt;
    if (r->rc) /* a chat has failed, and that is told */
        rc = 0;
    pthread_mutex_unlock(&r->lock);
    atomic_store(&r->stop, true);
    return rc;
}

static int run_chats(struct run *r, struct chat *chat, int n, struct err *e)
{
    int rc = start(r, chat, n, e);
    if (rc == 0 && r->p->intruder)
        rc = intrude(r, n, e);
    pthread_mutex_lock(&r->lock);
    await(r, n, true);
    pthread_mutex_unlock(&r->lock);
    for (int i = 0; i < n; i++)
        if (chat[i].run)
            pthread_join(chat[i].thread, NULL);
    if (r->m->tty)
        fputs("\r\033[K", stderr);
    if (!r->p->intruder)
        r->p->seconds = clock_s() - r->begin_s;
    for (int i = 0; i < r->m->n_models && r->p->intruder; i++)
        r->p->seen[i].seconds = r->p->seconds;
    if (r->rc)
        *e = r->err;
    else if (cli_interrupted())
        rc = err_set(e, ERR_CANCELLED, "interrupted");
    return r->rc ? r->rc : rc;
}

static int warm_up(struct run *r, int model, struct err *e)
{
    struct chat c = {.run = r, .model = model, .words = r->m->words, .tokens = 4, .seed = r->m->n_phases << 32};
    struct hearth_model *m = NULL;
    int rc = ask(&c, e);
    if (rc == 0 && (rc = hearth_model_get(r->m->h, r->m->model[model], on_loading, r, &m, e)) == 0)
        snprintf(r->m->name[model], sizeof r->m->name[model], "%s", hearth_model_name(m));
    hearth_model_unref(m);
    return rc;
}

int mix_run(struct mix *m, struct mix_phase *p, struct err *e)
{
    struct run r = {.m = m, .p = p};
    struct chat *chat = mem_calloc((size_t)(m->n_models * m->chats), sizeof *chat);
    if (!chat)
        return err_set(e, ERR_NOMEM, "out of memory");
    pthread_condattr_t attr;
    pthread_mutex_init(&r.lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r.changed, &attr);
    pthread_condattr_destroy(&attr);
    m->n_phases++;
    memset(p->seen, 0, (size_t)m->n_models * sizeof *p->seen);
    int n = 0, rc = 0;
    for (int i = 0; i < m->n_models && !rc; i++) {
        if (p->only >= 0 && p->only != i)
            continue;
        rc = warm_up(&r, i, e);
        for (int j = 0; j < m->chats; j++, n++)
            chat[n] = (struct chat){.run = &r,
                                    .model = i,
                                    .words = m->words,
                                    .tokens = m->tokens,
                                    .counts = true,
                                    .seed = m->n_phases << 32 | (uint64_t)(n + 1) << 20};
    }
    if (!rc)
        rc = run_chats(&r, chat, n, e);
    pthread_cond_destroy(&r.changed);
    pthread_mutex_destroy(&r.lock);
    mem_free(chat);
    return rc;
}
