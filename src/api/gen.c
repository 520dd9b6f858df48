/* gen: a generation's life; see gen.h. What is written into the answer is in out.c. */
#include "api/gen.h"
#include "api/out.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include <stdio.h>
#include <string.h>

enum { GEN_BURST = 64, GEN_KEEP_ALIVE_S = 5, GEN_PROGRESS_S = 1 };

static void gen_gone(void *arg) /* under the request's lock: wake only */
{
    struct gen *g = arg;
    atomic_store(&g->gone, true);
    pthread_mutex_lock(&g->mu);
    for (size_t i = 0; i < g->n_gens; i++)
        hearth_cancel(g->gens[i]);
    pthread_mutex_unlock(&g->mu);
    pump_wake(g);
}

static void gen_wake(void *arg)
{
    pump_wake(arg);
}

struct gen *gen_new(struct api *a, struct http_req *r, struct params *q, const struct gen_shape *shape)
{
    struct gen *g = mem_calloc(1, sizeof *g);
    if (!g) {
        struct problem p;
        params_done(q);
        reply_problem_set(&p, 503, "insufficient_memory", NULL, "no memory for the request");
        reply_problem(a, r, &p);
        return NULL;
    }
    g->a = a;
    g->r = r;
    g->p = *q;
    g->p.rq.stop = g->p.stop; /* it pointed into *q */
    g->shape = shape;
    g->created = clock_unix();
    g->born_ns = g->sent_ns = clock_ns();
    pthread_mutex_init(&g->mu, NULL);
    snprintf(g->id, sizeof g->id, "%s%016llx", shape ? shape->id_prefix : "req-", (unsigned long long)rng_entropy());
    snprintf(g->model, sizeof g->model, "%s", q->model ? q->model : "");
    return g;
}

void gen_fail(struct gen *g, const struct problem *p)
{
    g->problem = *p;
    pump_phase(g, GEN_FAILED);
}

void gen_fail_err(struct gen *g, const struct err *e, const char *param)
{
    struct problem p;
    reply_problem_from(&p, e, param);
    gen_fail(g, &p);
}

void gen_answer(struct gen *g)
{
    pump_phase(g, GEN_ANSWERED);
}

static void run_start(void *arg)
{
    struct gen *g = arg;
    if (atomic_load(&g->gone))
        gen_fail_err(g, &(struct err){.code = ERR_CANCELLED, .msg = "the client left"}, NULL);
    else
        g->start(g);
}

static void gen_loaded(struct load_wait *w, struct hearth_model *m, const struct err *e)
{
    struct gen *g = (struct gen *)(void *)((char *)w - offsetof(struct gen, wait));
    if (!m) {
        gen_fail_err(g, e, "model");
        return;
    }
    g->m = m;
    pthread_mutex_lock(&g->a->pump.mu); /* the status page reads it */
    snprintf(g->model, sizeof g->model, "%s", hearth_model_name(m));
    pthread_mutex_unlock(&g->a->pump.mu);
    atomic_store(&g->phase, GEN_STARTING);
    if (http_post(g->a->http, run_start, g))
        gen_fail_err(g, &(struct err){.code = ERR_CANCELLED, .msg = "Hearth is stopping"}, NULL);
}

/* What the headers say of it: whose it is, and how urgent if the body does not say. */
static int read_head(struct gen *g, struct problem *p)
{
    const char *auth = http_header(g->r, "Authorization"), *priority = http_header(g->r, "X-Hearth-Priority");
    uint64_t h = 14695981039346656037u; /* FNV-1a: a number for the scheduler, no secret */
    for (const char *c = auth; c && *c; c++)
        h = (h ^ (unsigned char)*c) * 1099511628211u;
    g->p.rq.key = auth ? h : 0;
    if (priority && !cJSON_GetObjectItemCaseSensitive(g->p.root, "priority"))
        return params_priority(priority, &g->p.rq.priority, p);
    return 0;
}

void gen_begin(struct gen *g, void (*start)(struct gen *g))
{
    char name[512];
    struct problem p;
    g->start = start;
    if (g->p.rq.timeout_s > 0)
        g->deadline_ns = g->born_ns + (uint64_t)(g->p.rq.timeout_s * 1e9);
    pump_add(g);
    http_watch(g->r, gen_gone, gen_wake, g);
    if (read_head(g, &p) || loader_resolve(g->a, g->p.model, name, sizeof name, &p)) {
        gen_fail(g, &p);
        return;
    }
    g->wait.done = gen_loaded;
    loader_wait(g->a, name, &g->wait);
}

/* Text that stands before the answer of a prompt, if the client wants it back. */
static int gen_echo(struct gen *g, size_t i, struct err *e)
{
    const struct params_prompt *q = &g->p.prompt[i];
    if (!g->p.echo)
        return 0;
    if (!q->text)
        return hearth_detokenize(g->m, q->ids, q->n, &g->echo[i], e);
    g->echo[i] = mem_strndup(q->text, q->n);
    return g->echo[i] ? 0 : err_set(e, ERR_NOMEM, "no memory for the echo");
}

static int gen_submit(struct gen *g, size_t i, struct err *e)
{
    struct hearth_request rq = g->p.rq;
    struct hearth_gen *hg = NULL;
    rq.notify = gen_wake;
    rq.notify_arg = g;
    if (g->deadline_ns) {
        uint64_t now = clock_ns();
        if (now >= g->deadline_ns)
            return err_set(e, ERR_TIMEOUT, "the request's time was over before it could begin");
        rq.timeout_s = (double)(g->deadline_ns - now) * 1e-9;
    }
    if (!g->p.chat) {
        rq.prompt = g->p.prompt[i].text;
        rq.ids = g->p.prompt[i].ids;
        *(rq.prompt ? &rq.prompt_len : &rq.n_ids) = g->p.prompt[i].n;
        int rc = gen_echo(g, i, e);
        if (rc)
            return rc;
    }
    int rc = hearth_generate(g->m, &rq, &hg, e);
    if (rc)
        return rc;
    atomic_fetch_add(&g->n_prompt_tokens, hearth_gen_prompt_tokens(hg));
    pthread_mutex_lock(&g->mu);
    g->gens[g->n_gens++] = hg;
    if (atomic_load(&g->gone))
        hearth_cancel(hg);
    pthread_mutex_unlock(&g->mu);
    return 0;
}

void gen_generate(struct gen *g)
{
    struct err e = {0};
    size_t n = g->p.n_prompts;
    g->gens = mem_calloc(n, sizeof *g->gens);
    g->echo = mem_calloc(n, sizeof *g->echo);
    g->choice = mem_calloc(n * (size_t)g->p.n, sizeof *g->choice);
    if (!g->gens || !g->echo || !g->choice) {
        gen_fail_err(g, &(struct err){.code = ERR_NOMEM, .msg = "no memory for the request"}, NULL);
        return;
    }
    g->n_choices = (int)n * g->p.n;
    for (size_t i = 0; i < n; i++)
        if (gen_submit(g, i, &e)) {
            gen_fail_err(g, &e, e.param ? e.param : g->p.chat ? "messages" : "prompt");
            return;
        }
    pump_phase(g, GEN_RUNNING);
}

static void count_done(struct gen *g, const struct hearth_usage *u)
{
    struct meter *m = &g->a->meter;
    meter_observe(&m->ttft, u->queue_s + u->prefill_s);
    meter_observe(&m->queue, u->queue_s);
    atomic_store(&m->last_ttft_ms, 1e3 * (u->queue_s + u->prefill_s));
    if (u->n_output > 1 && u->decode_s > 0)
        atomic_store(&m->last_tokens_per_s, (u->n_output - 1) / u->decode_s);
}

/* One event of prompt i. Non-zero: the generation cannot go on; *p says why. */
static int on_delta(struct gen *g, size_t i, const struct hearth_delta *d, struct problem *p)
{
    if (d->type == HEARTH_FAILED)
        return reply_problem_from(p, &d->err, NULL);
    int c = (int)i * g->p.n + d->choice;
    struct gen_choice *ch = &g->choice[c];
    if (d->type == HEARTH_TEXT) {
        atomic_fetch_add(&g->n_tokens, (int)d->n_tokens);
        meter_tokens(&g->a->meter, d->n_tokens);
        return out_text(g, c, d, p);
    }
    if (!strcmp(d->finish, "cancelled"))
        return reply_problem_set(p, 503, "cancelled", NULL, "the answer was cancelled");
    snprintf(ch->finish, sizeof ch->finish, "%s", d->finish);
    g->n_ended++;
    usage_add(&g->usage, &d->usage, d->choice == 0);
    count_done(g, &d->usage);
    return out_finish(g, c, p);
}

static bool told(struct gen *g, const struct problem *p) /* always true: the end */
{
    if (!atomic_load(&g->gone))
        out_problem(g, p);
    return true;
}

/* Takes events while there are any and the client keeps up. True: ended. */
static bool run(struct gen *g)
{
    int left = GEN_BURST;
    for (size_t i = 0; i < g->n_gens; i++) {
        struct hearth_delta d;
        struct problem p;
        while (left > 0 && (!g->stream_open || http_stream_room(g->r) > 0) && hearth_next(g->gens[i], &d, 0) == 1) {
            left--;
            if (on_delta(g, i, &d, &p))
                return told(g, &p);
        }
    }
    if (g->n_ended == g->n_choices) {
        out_end(g);
        return true;
    }
    if (left == 0) /* others first */
        pump_wake(g);
    return false;
}

bool gen_work(struct gen *g, uint64_t now_ns)
{
    (void)now_ns;
    bool gone = atomic_load(&g->gone);
    switch ((enum gen_phase)atomic_load(&g->phase)) {
    case GEN_LOADING:
        return gone && loader_abandon(g->a, &g->wait);
    case GEN_STARTING:
        return false; /* the worker sees that the client left */
    case GEN_RUNNING:
        return gone || run(g);
    case GEN_FAILED:
        return told(g, &g->problem);
    case GEN_ANSWERED:
        if (!gone)
            reply_json(g->a, g->r, 200, &g->answer);
        return true;
    }
    return false;
}

/* The first sign of life fixes the status at 200, so it comes late; then a load tells every second how far it is. */
void gen_tick(struct gen *g, uint64_t now_ns)
{
    bool loading = atomic_load(&g->phase) == GEN_LOADING;
    uint64_t every = g->stream_open && loading ? GEN_PROGRESS_S : GEN_KEEP_ALIVE_S;
    if (loading && g->deadline_ns && now_ns >= g->deadline_ns && loader_abandon(g->a, &g->wait)) {
        gen_fail_err(
            g, &(struct err){.code = ERR_TIMEOUT, .msg = "the request's time was over while it waited for its model"},
            NULL);
        return;
    }
    if (!g->p.stream || atomic_load(&g->gone) || now_ns - g->sent_ns + 100000000 < every * 1000000000)
        return;
    char comment[160] = "";
    if (loading)
        loader_progress(g->a, &g->wait, comment, sizeof comment);
    out_keep_alive(g, comment, now_ns);
}

void gen_detach(struct gen *g)
{
    http_watch(g->r, NULL, NULL, NULL);
    for (size_t i = 0; i < g->n_gens; i++)
        hearth_gen_free(g->gens[i]); /* cancels; no wake-up comes after it */
    g->n_gens = 0;
}

void gen_free(struct gen *g)
{
    for (int i = 0; i < g->n_choices; i++) {
        buf_done(&g->choice[i].text);
        for (int k = 0; k < 4; k++)
            buf_done(&g->choice[i].list[k]);
    }
    for (size_t i = 0; g->echo && i < g->p.n_prompts; i++)
        mem_free(g->echo[i]);
    mem_free(g->gens);
    mem_free(g->echo);
    mem_free(g->choice);
    buf_done(&g->answer);
    hearth_model_unref(g->m);
    params_done(&g->p);
    ledger_release(g->a->owner, g->reserved);
    http_release(g->r);
    pthread_mutex_destroy(&g->mu);
    mem_free(g);
}

enum route_result gen_with_model(struct api *a, struct http_req *r, void (*start)(struct gen *g))
{
    struct params q = {.budget = &a->budget};
    struct problem p;
    size_t n;
    const char *body = http_body(r, &n);
    if (params_read_body(body, n, &q, &p)) {
        reply_problem(a, r, &p);
        return ROUTE_ANSWERED;
    }
    struct gen *g = gen_new(a, r, &q, NULL);
    if (!g)
        return ROUTE_ANSWERED;
    gen_begin(g, start);
    return ROUTE_KEPT;
}
