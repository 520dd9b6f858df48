/* request: one sequence from submit to the last event. The caller's half (submit, next, cancel, free) and the engine's half
 * (push, release) meet in the request's own lock. Token events are not stored: the tokens are in the request anyway, so a slow reader
 * costs no memory, and the step path allocates nothing. */
#include "base/clock.h"
#include "base/mem.h"
#include "engine/state.h"
#include <errno.h>
#include <math.h>
#include <string.h>
#include <time.h>

void request_unref(struct request *r)
{
    if (!r || atomic_fetch_sub(&r->refs, 1) != 1)
        return;
    struct engine_model *m = r->model;
    if (r->mem)
        ledger_dealloc(m->own_requests, r->mem, r->mem_bytes);
    mem_free(r->stop_id);
    mem_free(r->bias);
    pthread_cond_destroy(&r->cond);
    pthread_mutex_destroy(&r->lock);
    pthread_mutex_destroy(&r->telling);
    mem_free(r);
    engine_model_unref(m);
}

bool request_before(const struct request *a, const struct request *b)
{
    return a->priority != b->priority ? a->priority < b->priority : a->order < b->order;
}

static int check_sample(const struct sample_params *p, int n_vocab, struct err *e)
{
    if (!isfinite(p->temperature) || p->temperature < 0 || p->temperature > 100)
        return err_set(e, ERR_RANGE, "temperature %g is not in 0..100", (double)p->temperature);
    if (!(p->top_p >= 0 && p->top_p <= 1))
        return err_set(e, ERR_RANGE, "top_p %g is not in 0..1", (double)p->top_p);
    if (!(p->min_p >= 0 && p->min_p <= 1))
        return err_set(e, ERR_RANGE, "min_p %g is not in 0..1", (double)p->min_p);
    if (p->top_k < 0)
        return err_set(e, ERR_RANGE, "top_k %d is negative", p->top_k);
    if (!(p->repetition_penalty > 0 && p->repetition_penalty <= 100))
        return err_set(e, ERR_RANGE, "repetition_penalty %g is not in (0, 100]", (double)p->repetition_penalty);
    if (!(fabsf(p->presence_penalty) <= 100) || !(fabsf(p->frequency_penalty) <= 100))
        return err_set(e, ERR_RANGE, "presence_penalty %g or frequency_penalty %g is not in -100..100",
                       (double)p->presence_penalty, (double)p->frequency_penalty);
    if (p->logprobs < -1 || p->logprobs > EVENT_TOP)
        return err_set(e, ERR_RANGE, "%d alternatives per token asked for, at most %d", p->logprobs, EVENT_TOP);
    for (int i = 0; i < p->n_bias; i++) {
        if (p->bias[i].id < 0 || p->bias[i].id >= n_vocab)
            return err_param(
                e, "logit_bias",
                err_set(e, ERR_RANGE, "logit_bias names token %d, the vocabulary has %d", p->bias[i].id, n_vocab));
        if (!isfinite(p->bias[i].bias))
            return err_param(e, "logit_bias",
                             err_set(e, ERR_RANGE, "logit_bias of token %d is no number", p->bias[i].id));
    }
    return 0;
}

static int check_args(const struct request_args *a, struct err *e)
{
    int n_vocab = a->model->graph->n_vocab, n_ctx = a->model->graph->n_ctx;
    if (a->n_token <= 0)
        return err_set(e, ERR_RANGE, "the prompt is empty");
    if (a->n_token >= n_ctx)
        return err_set(e, ERR_LIMIT, "prompt has %d tokens, context %d (one must be left for the answer)", a->n_token,
                       n_ctx);
    if (a->max_tokens <= 0)
        return err_set(e, ERR_RANGE, "max_tokens %d is not positive", a->max_tokens);
    for (int i = 0; i < a->n_token; i++)
        if (a->token[i] < 0 || a->token[i] >= n_vocab)
            return err_set(e, ERR_RANGE, "prompt token %d is %d, the vocabulary has %d", i, a->token[i], n_vocab);
    return check_sample(&a->sample, n_vocab, e);
}

size_t request_array_bytes(size_t n_prompt, size_t max_tokens, int k)
{
    size_t n_all = n_prompt + max_tokens, top = k > 0 ? (size_t)k : 0;
    size_t lp = k >= 0 ? max_tokens * ((1 + top) * sizeof(float) + top * sizeof(int32_t)) : 0;
    size_t n_page = (size_t)kv_blocks((int64_t)n_all);
    return 2 * GRAPH_KV_CLASSES * n_page * sizeof(uint8_t *) + (n_page + 1) * sizeof(struct kv_hash) +
           n_all * sizeof(int32_t) + lp + spec_bytes((int)n_all);
}

/* One block for everything whose size depends on the request. */
static int alloc_arrays(struct request *r, struct err *e)
{
    size_t n_all = (size_t)r->n_prompt + (size_t)r->max_tokens, n_out = (size_t)r->max_tokens;
    size_t n_page = (size_t)kv_blocks((int64_t)n_all), k = r->k > 0 ? (size_t)r->k : 0;
    size_t lp = r->k >= 0 ? n_out * (1 + k) * sizeof(float) : 0, top = n_out * k * sizeof(int32_t);
    r->mem_bytes = request_array_bytes((size_t)r->n_prompt, n_out, r->k);
    int rc = ledger_alloc(r->model->own_requests, r->mem_bytes, &r->mem, e);
    if (rc < 0)
        return rc;
    char *p = r->mem;
    for (int c = 0; c < GRAPH_KV_CLASSES; c++, p += n_page * sizeof(uint8_t *))
        r->kv[c].page = (uint8_t **)(void *)p;
    for (int c = 0; c < GRAPH_KV_CLASSES; c++, p += n_page * sizeof(uint8_t *))
        r->draft_kv[c].page = (uint8_t **)(void *)p;
    r->hash = (struct kv_hash *)(void *)p;
    r->hash[0] = r->model->fingerprint;
    p += (n_page + 1) * sizeof *r->hash;
    r->token = (int32_t *)(void *)p;
    p += n_all * sizeof(int32_t);
    r->lp = (float *)(void *)p;
    r->top_id = (int32_t *)(void *)(p + lp);
    spec_init(&r->spec, p + lp + top, (int)n_all);
    return 0;
}

static int copy_args(struct request *r, const struct request_args *a, struct err *e)
{
    memcpy(r->token, a->token, (size_t)a->n_token * sizeof *a->token);
    r->sample = a->sample;
    if (a->sample.n_bias > 0) {
        size_t bytes = (size_t)a->sample.n_bias * sizeof *r->bias;
        if (!(r->bias = mem_alloc(bytes)))
            return err_set(e, ERR_NOMEM, "no memory for a request");
        memcpy(r->bias, a->sample.bias, bytes);
    }
    r->sample.bias = r->bias;
    if (a->n_stop_id > 0) {
        size_t bytes = (size_t)a->n_stop_id * sizeof *r->stop_id;
        if (!(r->stop_id = mem_alloc(bytes)))
            return err_set(e, ERR_NOMEM, "no memory for a request");
        memcpy(r->stop_id, a->stop_id, bytes);
        r->n_stop_id = a->n_stop_id;
    }
    if (a->constraint) {
        r->constraint = *a->constraint;
        r->has_constraint = true;
    }
    return 0;
}

static int request_new(const struct request_args *a, struct request **out, struct err *e)
{
    struct request *r = mem_calloc(1, sizeof *r);
    if (!r)
        return err_set(e, ERR_NOMEM, "no memory for a request");
    int room = a->model->graph->n_ctx - a->n_token;
    r->model = a->model;
    engine_model_ref(a->model);
    atomic_store(&r->refs, 1);
    r->n_prompt = r->n_token = a->n_token;
    r->max_tokens = a->max_tokens < room ? a->max_tokens : room;
    r->k = a->sample.logprobs;
    r->priority = a->priority;
    r->no_guess = a->no_guess;
    r->on_logits = a->on_logits;
    r->logits_arg = a->logits_arg;
    r->all_logits = a->all_logits && a->on_logits;
    r->notify = a->notify;
    r->notify_arg = a->notify_arg;
    r->submit_ns = clock_ns();
    r->deadline_ns = a->deadline_ns;
    r->key = a->key;
    r->room_s = a->room_s;
    /* the last token is never run, so it needs no place in the cache */
    r->worst_bytes = kv_bytes(a->model->graph, (int64_t)r->n_prompt + r->max_tokens - 1, a->model->engine->max_tok);
    pthread_mutex_init(&r->telling, NULL);
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->cond, &attr);
    pthread_condattr_destroy(&attr);
    int rc = alloc_arrays(r, e);
    if (rc == 0)
        rc = copy_args(r, a, e);
    if (rc < 0) {
        request_unref(r);
        return rc;
    }
    *out = r;
    return 0;
}

/* Of `all` places those that requests of a priority may fill: the others stay free for more urgent ones. */
static int64_t places(int64_t all, int priority)
{
    int64_t n = all * (4 - priority) / 4;
    return n > 1 ? n : 1;
}

static int refuse_full(const struct engine *g, const struct request *r, struct err *e)
{
    int waiting = atomic_load(&((struct engine *)g)->n_waiting);
    long long tok = atomic_load(&((struct engine *)g)->waiting_tok);
    const char *whose = r->priority ? " for work that is not interactive" : "";
    long long most_tok = places(g->opts.max_queue_tokens, r->priority);
    if (waiting >= places(g->opts.max_queue, r->priority))
        return err_set(e, ERR_BUSY, "%d requests are waiting, the queue holds no more%s", waiting, whose);
    if (waiting && tok + r->n_prompt > most_tok)
        return err_set(e, ERR_BUSY,
                       "prompts of %lld tokens are waiting, %d more are beyond the queue's limit of %lld%s", tok,
                       r->n_prompt, most_tok, whose);
    return 0;
}

/* Under engine.lock: takes the request in, or says why not. */
static int enqueue(struct engine *g, struct request *r, struct err *e)
{
    if (g->stop)
        return err_set(e, ERR_CANCELLED, "the engine is stopping");
    int rc = refuse_full(g, r, e);
    if (rc < 0) {
        g->stats.refused_total++;
        return rc;
    }
    size_t room = room_ever(g); /* under pressure it waits */
    if (r->worst_bytes > room && (r->room_s <= 0 || r->worst_bytes > room_at_best(g, r)))
        return room_refuse(r, room, e);
    r->order = g->next_order++;
    r->next = g->all;
    if (g->all)
        g->all->prev = r;
    g->all = r;
    if (g->intake_last)
        g->intake_last->intake = r;
    else
        g->intake = r;
    g->intake_last = r;
    g->stats.requests_total++;
    atomic_fetch_add(&g->n_waiting, 1);
    atomic_fetch_add(&g->waiting_tok, r->n_prompt);
    atomic_fetch_add(&r->model->running, 1);
    atomic_fetch_add(&r->refs, 1);
    atomic_store(&g->look, true);
    pthread_cond_signal(&g->wake);
    return 0;
}

int engine_submit(struct engine *g, const struct request_args *a, struct request **out, struct err *e)
{
    int rc = check_args(a, e);
    if (rc < 0)
        return rc;
    struct request *r = NULL;
    rc = request_new(a, &r, e);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&g->lock);
    rc = enqueue(g, r, e);
    pthread_mutex_unlock(&g->lock);
    if (rc < 0) {
        request_unref(r);
        return rc;
    }
    *out = r;
    return 0;
}

static void ask_to_stop(struct request *r, enum request_stop how)
{
    int go = REQUEST_GO;
    uint64_t now = clock_ns();
    unsigned long long none = 0;
    atomic_compare_exchange_strong(&r->stop_ns, &none, now);
    if (atomic_compare_exchange_strong(&r->stop, &go, (int)how))
        engine_kick(r->model->engine);
}

void request_cancel(struct request *r)
{
    ask_to_stop(r, REQUEST_CANCEL);
}

void request_finish(struct request *r)
{
    ask_to_stop(r, REQUEST_FINISH);
}

/* Under r->lock. */
static bool take_event(struct request *r, struct event *out)
{
    if (r->n_popped < r->n_pushed) {
        int i = r->n_popped++;
        *out = (struct event){.type = EVENT_TOKEN, .token = r->token[r->n_prompt + i]};
        out->eog = r->last_is_eog && i == r->n_pushed - 1;
        if (r->k >= 0) {
            const float *lp = r->lp + (size_t)i * (size_t)(1 + r->k);
            out->logprob = lp[0];
            for (const int32_t *id = r->top_id + (size_t)i * (size_t)r->k; out->n_top < r->k && id[out->n_top] >= 0;
                 out->n_top++) {
                out->top_id[out->n_top] = id[out->n_top];
                out->top_logprob[out->n_top] = lp[1 + out->n_top];
            }
        }
        return true;
    }
    if (!r->ended || r->end_taken)
        return false;
    r->end_taken = true;
    *out = (struct event){.type = r->end_type, .finish = r->finish, .err = r->err, .stats = r->stats};
    return true;
}

int request_next(struct request *r, struct event *out, int timeout_ms)
{
    struct timespec until;
    if (timeout_ms > 0) {
        uint64_t ns = clock_ns() + (uint64_t)timeout_ms * 1000000u;
        until = (struct timespec){.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
    }
    pthread_mutex_lock(&r->lock);
    bool got;
    while (!(got = take_event(r, out)) && !r->end_taken && timeout_ms != 0) {
        if (timeout_ms < 0)
            pthread_cond_wait(&r->cond, &r->lock);
        else if (pthread_cond_timedwait(&r->cond, &r->lock, &until) == ETIMEDOUT)
            timeout_ms = 0;
    }
    pthread_mutex_unlock(&r->lock);
    return got;
}

void request_free(struct request *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->telling);
    r->notify = NULL; /* none comes after this */
    pthread_mutex_unlock(&r->telling);
    pthread_mutex_lock(&r->lock);
    bool ended = r->ended;
    pthread_mutex_unlock(&r->lock);
    if (!ended)
        ask_to_stop(r, REQUEST_CANCEL);
    request_unref(r);
}

static void wake_reader(struct request *r)
{
    pthread_cond_broadcast(&r->cond);
    pthread_mutex_lock(&r->telling);
    if (r->notify)
        r->notify(r->notify_arg);
    pthread_mutex_unlock(&r->telling);
}

void request_push_token(struct request *r, bool eog)
{
    pthread_mutex_lock(&r->lock);
    r->n_pushed++;
    r->last_is_eog = eog;
    pthread_mutex_unlock(&r->lock);
    wake_reader(r);
}

static struct request_stats final_stats(const struct request *r)
{
    const double s = 1e-9;
    uint64_t now = clock_ns(), start = r->start_ns ? r->start_ns : now;
    struct request_stats t = {.n_prompt = r->n_prompt, .n_cached = r->n_cached, .n_output = r->n_token - r->n_prompt};
    t.n_drafted = r->spec.n_drafted;
    t.n_accepted = r->spec.n_accepted;
    t.queue_s = (double)(start - r->submit_ns) * s;
    if (r->first_ns) {
        t.prefill_s = (double)(r->first_ns - start) * s;
        t.decode_s = (double)(r->last_ns - r->first_ns) * s;
    } else if (r->start_ns) {
        t.prefill_s = (double)(now - start) * s;
    }
    return t;
}

static void unlink_request(struct engine *g, struct request *r)
{
    double late = (double)(clock_ns() - atomic_load(&r->stop_ns)) * 1e-9;
    bool cancelled = atomic_load(&r->stop) == REQUEST_CANCEL;
    pthread_mutex_lock(&g->lock);
    if (r->prev)
        r->prev->next = r->next;
    else
        g->all = r->next;
    if (r->next)
        r->next->prev = r->prev;
    room_forget(g, r);
    if (cancelled) {
        g->stats.cancelled_total++;
        g->stats.cancel_last_s = late;
        if (late > g->stats.cancel_max_s)
            g->stats.cancel_max_s = late;
    }
    pthread_mutex_unlock(&g->lock);
}

void request_release(struct request *r, enum event_type type, enum finish finish, const struct err *err)
{
    struct engine_model *m = r->model;
    share_leave(r);
    draft_drop(r);
    unlink_request(m->engine, r);
    if (!r->admitted)
        atomic_fetch_sub(&m->engine->waiting_tok, r->n_prompt);
    atomic_fetch_sub(r->admitted ? &m->engine->n_running : &m->engine->n_waiting, 1);
    atomic_fetch_sub(&m->running, 1);
    pthread_mutex_lock(&r->lock);
    r->ended = true;
    r->end_type = type;
    r->finish = finish;
    if (err)
        r->err = *err;
    r->stats = final_stats(r);
    pthread_mutex_unlock(&r->lock);
    wake_reader(r);
    request_unref(r);
}
