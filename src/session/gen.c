/* gen: one generation: n choices of one prompt, each a request of the engine. Token events become text here, on the caller's
 * thread: detokenised, searched for stop strings, handed out as soon as no stop string can begin in it any more. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "session/state.h"
#include "session/stop.h"
#include <errno.h>
#include <math.h>
#include <string.h>
#include <time.h>

struct pending { /* a token whose text was not shown yet */
    struct event ev;
    size_t start; /* where its text begins in choice.text */
};

struct choice {
    struct request *req;
    struct detok detok;
    struct buf text; /* not shown yet */
    size_t shown;    /* front of text that the last delta points at */
    struct pending *pend;
    size_t n_pend, cap_pend;
    size_t n_tok; /* tokens since the last delta, when no log probabilities are kept */
    int n_out;
    bool stopped; /* a stop string was found: what still comes is not wanted */
    bool flushed, ended;
    struct event end; /* DONE, waiting for the rest of the text to go first */
    bool has_end;
};

struct hearth_gen {
    struct hearth_model *model; /* pinned */
    int n, n_prompt, turn, n_ended;
    bool logprobs;
    struct stop_list stop;
    struct choice *choice;           /* [n] */
    struct hearth_logprob *lp, *top; /* of the last delta */
    const struct hearth_logprob **top_at;
    int *n_top;
    size_t cap_lp, cap_top, cap_top_at, cap_n_top;
    void (*notify)(void *arg);
    void *notify_arg;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    uint64_t news; /* under lock: events queued so far */
};

enum { CHOICES_MAX = 128, STOPS_MAX = 64, STOP_LEN_MAX = 4096 };

static void on_event(void *arg) /* engine thread */
{
    struct hearth_gen *g = arg;
    pthread_mutex_lock(&g->lock);
    g->news++;
    pthread_mutex_unlock(&g->lock);
    pthread_cond_broadcast(&g->cond); /* who wakes finds the lock free */
    if (g->notify)
        g->notify(g->notify_arg);
}

/* ---- begin ---- */

static int copy_stops(struct hearth_gen *g, const struct hearth_request *r, struct err *e)
{
    if (r->n_stop > STOPS_MAX)
        return err_set(e, ERR_LIMIT, "%zu stop strings, at most %d", r->n_stop, STOPS_MAX);
    if (!r->n_stop)
        return 0;
    g->stop.str = mem_calloc(r->n_stop, sizeof *g->stop.str);
    g->stop.len = mem_calloc(r->n_stop, sizeof *g->stop.len);
    if (!g->stop.str || !g->stop.len)
        return err_set(e, ERR_NOMEM, "no memory for a request");
    for (size_t i = 0; i < r->n_stop; i++) {
        size_t len = strlen(r->stop[i]);
        if (len > STOP_LEN_MAX)
            return err_set(e, ERR_LIMIT, "stop string %zu has %zu bytes, at most %d", i, len, STOP_LEN_MAX);
        if (!len) /* would end every text before it begins */
            continue;
        if (!(g->stop.str[g->stop.n] = mem_strdup(r->stop[i])))
            return err_set(e, ERR_NOMEM, "no memory for a request");
        g->stop.len[g->stop.n++] = len;
    }
    return 0;
}

static struct sample_params sample_of(const struct hearth_request *r, const struct logit_bias *bias)
{
    bool unset = isnan(r->temperature) || r->temperature < 0;
    return (struct sample_params){
        .temperature = unset ? 0.7f : r->temperature,
        .top_k = r->top_k,
        .top_p = r->top_p == 0.0f ? 1.0f : r->top_p,
        .min_p = r->min_p,
        .repetition_penalty = r->repetition_penalty == 0.0f ? 1.0f : r->repetition_penalty,
        .presence_penalty = r->presence_penalty,
        .frequency_penalty = r->frequency_penalty,
        .seed = r->has_seed ? r->seed : rng_entropy(),
        .n_bias = (int)r->n_bias,
        .bias = bias,
        .logprobs = r->logprobs - 1,
        .ignore_eos = r->ignore_eos,
    };
}

/* Unset max_tokens: to the end of the context, or of the memory that could be had: a small machine still answers. Where not even the prompt
 * has room now, others have to leave for it: for an answer of some length, not for a whole context that hardly any answer fills. */
static int default_tokens(const struct hearth_model *m, int n_prompt)
{
    enum { ANSWER = 1024 };
    int n_ctx = engine_model_info(m->em)->n_ctx, room = engine_model_room(m->em), left = n_ctx - n_prompt;
    if (room > n_prompt)
        return room < n_ctx ? room - n_prompt : left;
    return left < ANSWER ? left : ANSWER;
}

/* Idle models leave for it at once. If that is not enough, it waits for what loads are taking and busy models hold, in the engine's queue. */
static int submit_one(struct hearth *h, struct request_args *a, struct request **out, struct err *e)
{
    int rc;
    do {
        a->room_s = 0;
        rc = engine_submit(h->engine, a, out, e);
    } while (rc == ERR_NOMEM && models_evict(h, NULL, 1, MODELS_NOW));
    a->room_s = h->load_timeout_s;
    return rc == ERR_NOMEM ? engine_submit(h->engine, a, out, e) : rc;
}

static int submit(struct hearth_gen *g, struct request_args *a, struct err *e)
{
    struct hearth *h = g->model->h;
    uint64_t seed = a->sample.seed;
    for (int i = 0; i < g->n; i++) {
        a->sample.seed = seed + (uint64_t)i;
        int rc = submit_one(h, a, &g->choice[i].req, e);
        if (rc < 0)
            return rc;
        detok_init(&g->choice[i].detok, g->model->tok);
    }
    return 0;
}

static int begin(struct hearth_gen *g, const struct hearth_request *r, const struct token_list *ids, struct err *e)
{
    struct hearth_model *m = g->model;
    int n_ctx = engine_model_info(m->em)->n_ctx;
    if (ids->n >= (size_t)n_ctx)
        return err_set(e, ERR_LIMIT, "prompt has %zu tokens, context %d (one must be left for the answer)", ids->n,
                       n_ctx);
    if (r->priority < HEARTH_INTERACTIVE || r->priority > HEARTH_BACKGROUND)
        return err_set(e, ERR_RANGE, "priority %d is not in 0..2", r->priority);
    if (r->n_bias > 4096)
        return err_set(e, ERR_LIMIT, "logit_bias names %zu tokens, at most 4096", r->n_bias);
    if (r->max_tokens < 0)
        return err_set(e, ERR_RANGE, "max_tokens %d is negative", r->max_tokens);
    struct logit_bias *bias = mem_calloc(r->n_bias + 1, sizeof *bias);
    if (!bias)
        return err_set(e, ERR_NOMEM, "no memory for a request");
    for (size_t i = 0; i < r->n_bias; i++)
        bias[i] = (struct logit_bias){r->bias[i].id, r->bias[i].bias};
    g->n_prompt = (int)ids->n;
    struct request_args a = {.model = m->em,
                             .token = ids->id,
                             .n_token = (int)ids->n,
                             .sample = sample_of(r, bias),
                             .stop_id = m->stop_id,
                             .n_stop_id = m->n_stop_id,
                             .no_guess = r->no_guess,
                             .priority = r->priority,
                             .key = r->key,
                             .notify = on_event,
                             .notify_arg = g};
    if (r->timeout_s > 0)
        a.deadline_ns = clock_ns() + (uint64_t)(r->timeout_s * 1e9);
    a.max_tokens = r->max_tokens ? r->max_tokens : default_tokens(m, g->n_prompt);
    int rc = submit(g, &a, e);
    mem_free(bias);
    return rc;
}

static int gen_new(struct hearth_model *m, const struct hearth_request *r, struct hearth_gen **out, struct err *e)
{
    int n = r->n ? r->n : 1;
    if (n < 0 || n > CHOICES_MAX)
        return err_set(e, ERR_RANGE, "n %d is not in 1..%d", n, CHOICES_MAX);
    struct hearth_gen *g = mem_calloc(1, sizeof *g);
    if (!g || !(g->choice = mem_calloc((size_t)n, sizeof *g->choice))) {
        mem_free(g);
        return err_set(e, ERR_NOMEM, "no memory for a request");
    }
    g->n = n;
    g->model = m;
    g->logprobs = r->logprobs > 0;
    g->notify = r->notify;
    g->notify_arg = r->notify_arg;
    pthread_mutex_init(&g->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&g->cond, &attr);
    pthread_condattr_destroy(&attr);
    hearth_model_ref(m);
    hearth_model_keep(m, r->keep_alive);
    *out = g;
    return 0;
}

int hearth_generate(struct hearth_model *m, const struct hearth_request *r, struct hearth_gen **out, struct err *e)
{
    struct hearth_gen *g = NULL;
    int rc = gen_new(m, r, &g, e);
    if (rc < 0)
        return rc;
    struct token_list ids = {0};
    rc = copy_stops(g, r, e);
    if (rc == 0)
        rc = prompt_ids(m, r, &ids, e);
    if (rc == 0)
        rc = begin(g, r, &ids, e);
    token_list_done(&ids);
    if (rc < 0) {
        hearth_gen_free(g);
        return rc;
    }
    *out = g;
    return 0;
}

void hearth_cancel(struct hearth_gen *g)
{
    for (int i = 0; i < g->n; i++)
        if (g->choice[i].req)
            request_cancel(g->choice[i].req);
}

void hearth_gen_free(struct hearth_gen *g)
{
    if (!g)
        return;
    for (int i = 0; i < g->n; i++) {
        request_free(g->choice[i].req);
        buf_done(&g->choice[i].text);
        mem_free(g->choice[i].pend);
    }
    for (size_t i = 0; i < g->stop.n; i++)
        mem_free(g->stop.str[i]);
    mem_free(g->stop.str);
    mem_free(g->stop.len);
    mem_free(g->lp);
    mem_free(g->top);
    mem_free(g->top_at);
    mem_free(g->n_top);
    mem_free(g->choice);
    pthread_cond_destroy(&g->cond);
    pthread_mutex_destroy(&g->lock);
    hearth_model_unref(g->model);
    mem_free(g);
}

int hearth_gen_prompt_tokens(const struct hearth_gen *g)
{
    return g->n_prompt;
}

/* ---- events -> deltas ---- */

static void fail(struct hearth_gen *g, struct choice *c, struct hearth_delta *d, const struct err *err)
{
    d->type = HEARTH_FAILED;
    d->err = *err;
    c->ended = true;
    g->n_ended++;
}

static void fail_memory(struct hearth_gen *g, struct choice *c, struct hearth_delta *d)
{
    struct err e;
    err_set(&e, ERR_NOMEM, "no memory for the answer's text");
    request_cancel(c->req);
    fail(g, c, d, &e);
}

static struct hearth_logprob logprob_of(const struct hearth_gen *g, int32_t id, float lp)
{
    struct hearth_logprob l = {.id = id, .logprob = lp};
    l.n_bytes = tokenizer_piece(g->model->tok, id, true, &l.bytes);
    return l;
}

static int grow_logprobs(struct hearth_gen *g, size_t n)
{
    void *p;
    if (!(p = mem_grow(g->lp, &g->cap_lp, n, sizeof *g->lp)))
        return ERR_NOMEM;
    g->lp = p;
    if (!(p = mem_grow(g->top, &g->cap_top, n * EVENT_TOP, sizeof *g->top)))
        return ERR_NOMEM;
    g->top = p;
    if (!(p = mem_grow((void *)g->top_at, &g->cap_top_at, n, sizeof *g->top_at)))
        return ERR_NOMEM;
    g->top_at = p;
    if (!(p = mem_grow(g->n_top, &g->cap_n_top, n, sizeof *g->n_top)))
        return ERR_NOMEM;
    g->n_top = p;
    return 0;
}

static int fill_logprobs(struct hearth_gen *g, struct choice *c, struct hearth_delta *d)
{
    if (!c->n_pend || grow_logprobs(g, c->n_pend) < 0)
        return c->n_pend ? ERR_NOMEM : 0;
    for (size_t i = 0; i < c->n_pend; i++) {
        const struct event *ev = &c->pend[i].ev;
        struct hearth_logprob *top = g->top + i * EVENT_TOP;
        g->lp[i] = logprob_of(g, ev->token, ev->logprob);
        for (int k = 0; k < ev->n_top; k++)
            top[k] = logprob_of(g, ev->top_id[k], ev->top_logprob[k]);
        g->top_at[i] = top;
        g->n_top[i] = ev->n_top;
    }
    d->logprobs = g->lp;
    d->top = g->top_at;
    d->n_top = g->n_top;
    c->n_pend = 0;
    return 0;
}

/* A delta of the first n bytes of what is not shown yet, and of all tokens so far. */
static int emit(struct hearth_gen *g, struct choice *c, size_t n, struct hearth_delta *d)
{
    d->type = HEARTH_TEXT;
    d->text = c->text.data ? c->text.data : "";
    d->text_len = n;
    d->n_tokens = g->logprobs ? c->n_pend : c->n_tok;
    c->n_tok = 0;
    c->shown = n;
    return g->logprobs ? fill_logprobs(g, c, d) : 0;
}

/* What the last delta showed may go now. */
static void drop_shown(struct choice *c)
{
    if (!c->shown)
        return;
    memmove(c->text.data, c->text.data + c->shown, c->text.len - c->shown);
    c->text.len -= c->shown;
    c->shown = 0;
}

static int add_pending(struct choice *c, const struct event *ev)
{
    struct pending *p = mem_grow(c->pend, &c->cap_pend, c->n_pend + 1, sizeof *p);
    if (!p)
        return ERR_NOMEM;
    c->pend = p;
    c->pend[c->n_pend++] = (struct pending){*ev, c->text.len};
    return 0;
}

/* The text ends at `cut`; tokens whose text begins behind it were never part of the answer. */
static void cut_text(struct choice *c, size_t cut)
{
    c->text.len = cut;
    c->stopped = true;
    while (c->n_pend && c->pend[c->n_pend - 1].start >= cut)
        c->n_pend--;
    request_finish(c->req);
}

/* 1: *d holds a delta. 0: nothing to show yet. */
static int on_token(struct hearth_gen *g, struct choice *c, const struct event *ev, struct hearth_delta *d)
{
    if (c->stopped)
        return 0;
    c->n_out++;
    if (ev->eog)
        return 0;
    c->n_tok++;
    if ((g->logprobs && add_pending(c, ev) < 0) || detok_feed(&c->detok, ev->token, &c->text) < 0 || c->text.failed) {
        fail_memory(g, c, d);
        return 1;
    }
    if (!c->text.len)
        return 0;
    size_t cut = stop_find(&g->stop, c->text.data, c->text.len), show = cut;
    if (cut < c->text.len)
        cut_text(c, cut);
    else
        show = c->text.len - stop_hold(&g->stop, c->text.data, c->text.len);
    if (!show && !(c->stopped && c->n_pend))
        return 0;
    if (emit(g, c, show, d) < 0)
        fail_memory(g, c, d);
    return 1;
}

static void on_done(struct hearth_gen *g, struct choice *c, struct hearth_delta *d)
{
    static const char *const names[] = {
        [FINISH_STOP] = "stop", [FINISH_LENGTH] = "length", [FINISH_CANCELLED] = "cancelled"};
    const struct request_stats *s = &c->end.stats;
    d->type = HEARTH_DONE;
    d->finish = names[c->stopped ? FINISH_STOP : c->end.finish];
    d->usage = (struct hearth_usage){.n_prompt = s->n_prompt,
                                     .n_cached = s->n_cached,
                                     .n_output = c->stopped ? c->n_out : s->n_output,
                                     .n_drafted = s->n_drafted,
                                     .n_accepted = s->n_accepted,
                                     .queue_s = s->queue_s,
                                     .prefill_s = s->prefill_s,
                                     .decode_s = s->decode_s};
    c->ended = true;
    g->n_ended++;
}

/* The engine is done with c: the text that was held back goes first, then the end. */
static int on_end(struct hearth_gen *g, struct choice *c, struct hearth_delta *d)
{
    if (!c->flushed) {
        c->flushed = true;
        if (!c->stopped)
            detok_finish(&c->detok, &c->text);
        size_t cut = c->text.len ? stop_find(&g->stop, c->text.data, c->text.len) : 0;
        if (cut < c->text.len)
            cut_text(c, cut);
        if (c->text.failed) {
            fail_memory(g, c, d);
            return 1;
        }
        if (c->text.len || c->n_pend) {
            if (emit(g, c, c->text.len, d) < 0)
                fail_memory(g, c, d);
            return 1;
        }
    }
    on_done(g, c, d);
    return 1;
}

static int next_of(struct hearth_gen *g, struct choice *c, struct hearth_delta *d)
{
    drop_shown(c);
    struct event ev;
    while (!c->has_end && request_next(c->req, &ev, 0)) {
        if (ev.type == EVENT_ERROR) {
            fail(g, c, d, &ev.err);
            return 1;
        }
        if (ev.type == EVENT_TOKEN && on_token(g, c, &ev, d))
            return 1;
        if (ev.type == EVENT_DONE) {
            c->end = ev;
            c->has_end = true;
        }
    }
    return c->has_end ? on_end(g, c, d) : 0;
}

static int poll_choices(struct hearth_gen *g, struct hearth_delta *d)
{
    for (int k = 0; k < g->n; k++) {
        int i = (g->turn + k) % g->n;
        if (g->choice[i].ended)
            continue;
        memset(d, 0, sizeof *d);
        d->choice = i;
        if (next_of(g, &g->choice[i], d)) {
            g->turn = (i + 1) % g->n; /* choices take turns: none waits for another's end */
            return 1;
        }
    }
    return g->n_ended == g->n ? -1 : 0;
}

int hearth_next(struct hearth_gen *g, struct hearth_delta *d, int timeout_ms)
{
    uint64_t ns = clock_ns() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0) * 1000000u;
    struct timespec until = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
    for (;;) {
        pthread_mutex_lock(&g->lock);
        uint64_t seen = g->news;
        pthread_mutex_unlock(&g->lock);
        int got = poll_choices(g, d);
        if (got || timeout_ms == 0)
            return got;
        int rc = 0;
        pthread_mutex_lock(&g->lock);
        while (g->news == seen && rc != ETIMEDOUT)
            rc = timeout_ms < 0 ? pthread_cond_wait(&g->cond, &g->lock)
                                : pthread_cond_timedwait(&g->cond, &g->lock, &until);
        pthread_mutex_unlock(&g->lock);
        if (rc == ETIMEDOUT)
            timeout_ms = 0;
    }
}
