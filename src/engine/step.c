/* step: one step of one model on the engine thread: who takes part, blocks for what will be stored, run, sample, tell.
 * Decisions are sched.c's; this file carries them out. What a request computes never depends on who shares its step. */
#include "base/clock.h"
#include "base/mem.h"
#include "engine/budget.h"
#include "engine/state.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NEAR_TURNS = 2 }; /* a step that ends within so many turns is waited for */

size_t step_bytes(const struct engine *g)
{
    const struct step_arrays *s = NULL;
    size_t tok = (size_t)g->max_tok, seq = (size_t)g->opts.max_batch;
    return seq * (sizeof *s->seqs + sizeof *s->req + sizeof *s->pick + sizeof *s->wanted) +
           tok * (sizeof *s->token + sizeof *s->pos + sizeof *s->seq);
}

int step_init(struct engine_model *m, struct err *e)
{
    const struct engine *g = m->engine;
    size_t tok = (size_t)g->max_tok, seq = (size_t)g->opts.max_batch;
    struct step_arrays *s = &m->step;
    int rc = ledger_alloc(m->own_scratch, step_bytes(g), &m->step_mem, e);
    if (rc < 0)
        return rc;
    char *p = m->step_mem;
    s->seqs = (struct batch_seq *)(void *)p;
    p += seq * sizeof *s->seqs;
    s->req = (struct request **)(void *)p;
    p += seq * sizeof *s->req;
    s->pick = (struct sched_pick *)(void *)p;
    p += seq * sizeof *s->pick;
    s->token = (int32_t *)(void *)p;
    s->pos = s->token + tok;
    s->seq = s->pos + tok;
    s->wanted = s->seq + tok;
    return 0;
}

void step_done(struct engine_model *m)
{
    if (m->step_mem)
        ledger_dealloc(m->own_scratch, m->step_mem, step_bytes(m->engine));
}

static bool rests_in(const struct request *r)
{
    const struct engine_model *m = r->model;
    for (int i = 0; m->resting && i < m->step.n_req; i++)
        if (m->step.req[i] == r)
            return true;
    return false;
}

/* Its requests will run again what it had done: none of it was counted yet. */
static void give_up(struct engine_model *m)
{
    backend_drop(m->plan);
    m->resting = false;
    for (int i = 0; i < m->step.n_req; i++)
        m->step.req[i]->given_up = true;
    pthread_mutex_lock(&m->engine->lock);
    m->engine->stats.given_up_total++;
    pthread_mutex_unlock(&m->engine->lock);
}

void step_leave(struct request *r)
{
    if (rests_in(r))
        give_up(r->model);
}

static bool has_left(const struct request *r, uint64_t now)
{
    return atomic_load_explicit(&r->stop, memory_order_relaxed) != REQUEST_GO ||
           (r->deadline_ns && now >= r->deadline_ns);
}

static bool all_left(const struct engine_model *m, uint64_t now)
{
    for (int i = 0; i < m->step.n_req; i++)
        if (!has_left(m->step.req[i], now))
            return false;
    return true;
}

/* Whether the resting step may be given up for somebody who would wait for its end: not when that is near, and none of its requests
 * twice in a row, so that whoever comes and goes in a hurry holds up nobody for ever. */
static bool may_give_up(const struct engine *g, const struct engine_model *m)
{
    double done = backend_done(m->plan), left = m->step_s * (1 - done) / done;
    bool may = left * (double)g->n_active > NEAR_TURNS * g->opts.turn_s;
    for (int i = 0; i < m->step.n_req; i++)
        may &= !m->step.req[i]->given_up;
    return may;
}

bool step_holds(const struct engine *g, const struct request *r)
{
    return rests_in(r) && !may_give_up(g, r->model) && !all_left(r->model, clock_ns());
}

static size_t held(const struct request *r) /* bytes of KV */
{
    size_t sum = 0;
    for (int c = 0; c < GRAPH_KV_CLASSES; c++)
        sum += (size_t)(r->kv[c].n_page - r->kv[c].first) * (r->model->kv[c].shape ? r->model->kv[c].shape->bytes : 0);
    return sum;
}

static struct sched_seq describe(const struct request *r)
{
    enum { HEADROOM = 2 * KV_BLOCK }; /* answer tokens that should fit before a sequence starts */
    int left = r->n_prompt + r->max_tokens - r->n_token;
    struct sched_seq s = {.order = r->order,
                          .served = r->served,
                          .key = r->key,
                          .priority = r->priority,
                          .todo = r->n_token - r->n_done,
                          .depth = r->n_done};
    s.admitted = r->admitted;
    s.share = sched_key_share(&r->model->keys, r->key);
    s.kv_held = held(r);
    s.kv_admit = kv_bytes(r->model->graph, (int64_t)r->n_token + (left < HEADROOM ? left : HEADROOM) - 1,
                          r->model->engine->max_tok);
    return s;
}

/* Of those that may run: who waits for room takes nothing from anybody. */
static struct request *first_of_all(const struct engine *g)
{
    struct request *first = NULL;
    for (size_t i = 0; i < g->n_active; i++)
        for (size_t j = 0; j < g->active[i]->n_live; j++)
            if (!g->active[i]->live[j]->lacks && (!first || request_before(g->active[i]->live[j], first)))
                first = g->active[i]->live[j];
    return first;
}

static void set_admitted(struct engine *g, struct request *r, bool on)
{
    r->admitted = on;
    if (on)
        atomic_store(&r->begun, true);
    atomic_fetch_add(&g->n_running, on ? 1 : -1);
    atomic_fetch_add(&g->n_waiting, on ? -1 : 1);
    atomic_fetch_add(&g->waiting_tok, on ? -r->n_prompt : r->n_prompt);
}

static void preempt(struct engine *g, struct request *r)
{
    step_leave(r);
    share_leave(r);
    draft_drop(r);
    set_admitted(g, r, false);
    pthread_mutex_lock(&g->lock);
    g->stats.preempted_total++;
    pthread_mutex_unlock(&g->lock);
}

/* What drafts hold goes first; then the blocks of the last sequence that comes after `asker` go to the cache, from where they can be taken. */
static bool make_room(struct engine *g, const struct request *asker)
{
    struct request *victim = NULL;
    for (size_t i = 0; i < g->n_active; i++)
        for (size_t j = 0; j < g->active[i]->n_live; j++) {
            struct request *r = g->active[i]->live[j];
            if (draft_drop(r)) /* nothing depends on guesses */
                return true;
            if (held(r) && request_before(asker, r) && (!victim || request_before(victim, r)))
                victim = r;
        }
    if (victim)
        preempt(g, victim);
    return victim != NULL;
}

static size_t kv_to_be_had(struct engine *g)
{
    pthread_mutex_lock(&g->lock);
    size_t pending = room_pending(g), bytes = ledger_free_bytes(g->ledger) + kv_spare(&g->kv);
    pthread_mutex_unlock(&g->lock);
    return bytes > pending ? bytes - pending : 0;
}

/* One after the other, because what one brings into use the next may share. */
static void admit(struct engine *g, struct engine_model *m)
{
    struct room_look look = {.pressed = ledger_limit(g->ledger) < ledger_ceiling(g->ledger)};
    for (size_t i = 0; i < m->n_live; i++)
        m->sched[i] = describe(m->live[i]);
    for (int i, gives; (i = sched_next(m->sched, m->n_live, g->opts.max_batch, &gives)) >= 0;) {
        struct request *r = m->live[i];
        if (room_bars(r, &look) || recall_waits(r) || share_waits(r)) {
            m->sched[i].held = true;
            continue;
        }
        if (gives >= 0) {
            preempt(g, m->live[gives]);
            m->sched[gives] = describe(m->live[gives]);
        }
        m->sched[i].kv_held = share_peek(r);
        if (!sched_fits(m->sched, m->n_live, i, kv_to_be_had(g)) && r != first_of_all(g))
            break;
        set_admitted(g, r, true);
        share_find(r);
        m->sched[i] = describe(r);
    }
}

/* Blocks of one class for n more positions of r; fewer positions if that is all that can be had. Returns how many. */
static int take_class(struct engine *g, struct request *r, int cls, int n, struct err *e)
{
    struct kv_seq *s = &r->kv[cls];
    struct kv_pool *pool = &r->model->kv[cls];
    kv_slide(pool, s, r->n_done);
    for (int j = r->n_done / KV_BLOCK; s->shared && j < s->n_page;)
        if (kv_own(pool, s, j, e) < 0 && !make_room(g, r))
            return 0;
    while (s->n_page < kv_blocks((int64_t)r->n_done + n)) {
        int rc = kv_grow(pool, s, e);
        if (rc < 0 && !make_room(g, r))
            break;
    }
    int64_t room = (int64_t)s->n_page * KV_BLOCK - r->n_done;
    return room < n ? (int)room : n;
}

static int take_blocks(struct engine *g, struct request *r, int n, struct err *e)
{
    share_publish(r); /* before the window leaves a block behind */
    for (int c = 0; c < GRAPH_KV_CLASSES && n > 0; c++)
        if (r->model->kv[c].shape)
            n = take_class(g, r, c, n, e);
    return n;
}

/* Nothing can be taken away for r and no load is about to fail. Mostly that passes: headers are read, and bodies and answers sent, without
 * a thought of promises. If it does not, the promise made to r was broken from outside (the ceiling was lowered): r will never
 * go on, and ends with the ledger's own words. */
static void starve(struct engine *g, struct request *r, const struct err *e)
{
    static const double PASSES_S = 10;
    uint64_t now = clock_ns(), since = r->bare_ns;
    r->bare_ns = 0; /* until it is seen that it still is */
    if (r != first_of_all(g) || ledger_limit(g->ledger) < ledger_ceiling(g->ledger)) /* pressure ends */
        return;
    for (size_t i = 0; i < g->n_active; i++)
        for (size_t j = 0; j < g->active[i]->n_live; j++)
            if (g->active[i]->live[j] != r && (held(g->active[i]->live[j]) || g->active[i]->live[j]->recall))
                return;
    r->bare_ns = since ? since : now;
    if ((double)(now - r->bare_ns) * 1e-9 > PASSES_S && !room_loading(g))
        engine_end(r, EVENT_ERROR, FINISH_STOP, e);
}

/* Tokens of a step of n_tok that are guesses. */
static int guessed(const struct request *r, int n_tok)
{
    int n = r->n_done + n_tok - r->n_token;
    return n > 0 ? n : 0;
}

static int rows_wanted(const struct request *r, int n_tok)
{
    if (r->all_logits)
        return n_tok;
    return r->n_done + n_tok < r->n_token ? 0 : 1 + guessed(r, n_tok);
}

/* Room for `rows` rows of logits, or as many as the ledger allows. */
static int logit_rows(struct engine *g, struct engine_model *m, int rows)
{
    if (rows <= m->logit_rows)
        return rows;
    int grown = m->logit_rows;
    while (grown < rows)
        grown *= 2;
    grown = grown < g->opts.max_batch ? grown : g->opts.max_batch;
    size_t row = (size_t)m->graph->n_vocab * sizeof(float);
    void *mem;
    if (ledger_alloc(m->own_scratch, (size_t)grown * row, &mem, NULL) < 0)
        return m->logit_rows;
    ledger_dealloc(m->own_scratch, m->logits, (size_t)m->logit_rows * row);
    m->logits = mem;
    m->logit_rows = grown;
    return rows;
}

/* The only sequence of a step has but one token to run: guesses go with it, behind its known tokens. Returns how many. */
static int guess(const struct engine *g, struct engine_model *m, struct request *r)
{
    int room = r->n_prompt + r->max_tokens - r->n_token - 1; /* the step's own token comes on top */
    int most = g->max_tok < g->opts.max_batch ? g->max_tok : g->opts.max_batch;
    most = most - 1 < g->opts.spec_max ? most - 1 : g->opts.spec_max;
    most = room < most ? room : most;
    for (enum spec_source from = SPEC_TEXT; from < SPEC_SOURCES; from++) {
        double each = from == SPEC_DRAFT ? draft_cost(m) : 0;
        int n = from == SPEC_TEXT ? spec_lookup(&r->spec, r->token, r->n_token, most) : m->draft ? most : 0;
        if (n <= 0)
            continue;
        r->spec.source = from;
        int pay = spec_length(&m->spec_cost, r->spec.rate[from], each, n);
        if (pay)
            return from == SPEC_TEXT ? pay : draft_guess(r, pay);
        spec_learn(&r->spec, 0, 0);
    }
    return 0;
}

/* Picks -> requests that hold all blocks their tokens need. */
static void gather(struct engine *g, struct engine_model *m, size_t n_pick)
{
    struct step_arrays *s = &m->step;
    int n = 0;
    for (size_t i = 0; i < n_pick; i++)
        s->req[i] = m->live[s->pick[i].seq];
    if (n_pick == 1 && !s->req[0]->no_guess && s->req[0]->n_token - s->req[0]->n_done == 1 &&
        s->req[0]->n_token > s->req[0]->n_prompt)
        s->pick[0].n_tok += guess(g, m, s->req[0]);
    for (size_t i = 0; i < n_pick; i++) {
        struct request *r = s->req[i];
        struct err e;
        if (!r->admitted) /* preempted for one before it */
            continue;
        r->step_tok = take_blocks(g, r, s->pick[i].n_tok, &e);
        if (r->step_tok > 0) {
            r->bare_ns = 0;
            s->req[n++] = r;
        } else {
            starve(g, r, &e);
        }
    }
    s->n_req = 0;
    for (int i = 0; i < n; i++)
        if (s->req[i]->admitted)
            s->req[s->n_req++] = s->req[i];
}

/* Trims the step to the rows of logits there is room for. */
static void fit_rows(struct engine *g, struct engine_model *m)
{
    struct step_arrays *s = &m->step;
    int want = 0;
    for (int i = 0; i < s->n_req; i++)
        want += rows_wanted(s->req[i], s->req[i]->step_tok);
    int left = logit_rows(g, m, want < g->opts.max_batch ? want : g->opts.max_batch), n = 0;
    for (int i = 0; i < s->n_req; i++) {
        struct request *r = s->req[i];
        int rows = rows_wanted(r, r->step_tok);
        if (rows > left && (r->all_logits || left > 0)) {
            r->step_tok -= rows - left; /* fewer prompt tokens, or fewer guesses */
            rows = left;
        }
        if (rows > left || r->step_tok == 0)
            continue;
        left -= rows;
        s->req[n++] = r;
    }
    s->n_req = n;
}

static void fill(struct engine_model *m)
{
    struct step_arrays *s = &m->step;
    int t = 0, row = 0;
    s->number = m->engine->n_step;
    s->n_decode = 0;
    for (int i = 0; i < s->n_req; i++) {
        struct request *r = s->req[i];
        int rows = rows_wanted(r, r->step_tok);
        s->seqs[i] = (struct batch_seq){{r->kv[0].page, r->kv[1].page}};
        r->step_row = rows ? row : -1;
        for (int j = 0; j < r->step_tok; j++, t++) {
            s->token[t] = r->token[r->n_done + j];
            s->pos[t] = r->n_done + j;
            s->seq[t] = i;
            if (j >= r->step_tok - rows)
                s->wanted[row++] = t;
        }
        r->served = s->number;
        r->chosen = false;
        s->n_decode += r->n_token - r->n_done == 1;
    }
    s->n_tok = t;
    s->n_row = row;
}

/* Between two steps of the plan: is anybody else there? */
static enum batch_go go_on(void *arg)
{
    const struct engine_model *m = arg;
    const struct engine *g = m->engine;
    uint64_t now = m->step.deadline_ns < UINT64_MAX ? clock_ns() : 0;
    if (g->n_active == 1 && !atomic_load_explicit(&g->look, memory_order_relaxed) && now < m->step.deadline_ns)
        return BATCH_GO;
    if (all_left(m, now))
        return BATCH_CANCEL;
    return clock_s() - g->turn_s < g->opts.turn_s ? BATCH_GO : BATCH_PAUSE;
}

static bool is_stop(const struct request *r, int32_t id)
{
    if (r->sample.ignore_eos)
        return false;
    for (int i = 0; i < r->n_stop_id; i++)
        if (r->stop_id[i] == id)
            return true;
    return false;
}

/* r's last known token was run: choose the next one, tell it, see whether it was the last. false: r has ended and may be gone. */
static bool next_token(struct request *r, const float *logits)
{
    struct engine_model *m = r->model;
    struct err e;
    int32_t id = r->choice;
    if (!r->chosen && choose_token(r, logits, m->sample, &id, &e) < 0) {
        engine_end(r, EVENT_ERROR, FINISH_STOP, &e);
        return false;
    }
    r->chosen = false;
    r->token[r->n_token++] = id;
    r->last_ns = clock_ns();
    if (!r->first_ns)
        r->first_ns = r->last_ns;
    bool eog = is_stop(r, id), full = r->n_token == r->n_prompt + r->max_tokens;
    atomic_fetch_add_explicit(&m->engine->n_output, 1, memory_order_relaxed);
    request_push_token(r, eog);
    if (eog || full)
        engine_end(r, EVENT_DONE, eog ? FINISH_STOP : FINISH_LENGTH, NULL);
    return !eog && !full;
}

static void show_logits(struct request *r, int pos, const float *logits)
{
    if (!r->on_logits || pos < r->logits_sent)
        return;
    r->on_logits(r->logits_arg, pos, logits, (size_t)r->model->graph->n_vocab);
    r->logits_sent = pos + 1;
}

/* The rows of r's step: those of known tokens are shown if asked for; the last known token's chooses the next, and as long as what is
 * chosen is what was guessed, the guess's own row chooses on. What was guessed wrong was never there: its place in the cache
 * is written anew by the token that comes to it. */
static void finish_request(struct request *r)
{
    size_t n_vocab = (size_t)r->model->graph->n_vocab;
    const float *row = r->model->logits + (size_t)(r->step_row > 0 ? r->step_row : 0) * n_vocab;
    int rows = rows_wanted(r, r->step_tok), end = r->n_done + r->step_tok, known = r->n_token;
    int n_guess = guessed(r, r->step_tok), right = 0;
    int32_t guess[SPEC_MAX];
    memcpy(guess, r->token + known, (size_t)n_guess * sizeof *guess);
    r->spec.n_drafted += n_guess;
    atomic_fetch_add_explicit(&r->model->engine->n_drafted, (unsigned)n_guess, memory_order_relaxed);
    r->n_done = end < known ? end : known;
    share_publish(r);
    for (int pos = end - rows; pos < end; pos++, row += n_vocab) {
        show_logits(r, pos, row);
        if (pos < known - 1)
            continue;
        if (atomic_load(&r->stop) != REQUEST_GO)
            return;
        r->n_done = pos + 1;
        if (!next_token(r, row))
            return;
        if (right == n_guess || r->token[pos + 1] != guess[right])
            break;
        right++;
        r->spec.n_accepted++;
        atomic_fetch_add_explicit(&r->model->engine->n_accepted, 1, memory_order_relaxed);
    }
    if (n_guess)
        spec_learn(&r->spec, n_guess, right);
    if (r->draft_done >= r->n_token)
        r->draft_done = r->n_token - 1; /* the rest was guessed wrong */
}

static void count_step(struct engine *g, struct engine_model *m)
{
    struct step_arrays *s = &m->step;
    double run_s = m->step_s;
    int prompt = 0, of_prompts = 0; /* read in steps as prompts are; those of prompts, however they came */
    s->n_guess = 0;
    s->depth = 0;
    for (int i = 0; i < s->n_req; i++) {
        int guess = guessed(s->req[i], s->req[i]->step_tok), n = s->req[i]->step_tok - guess;
        sched_key_serve(&m->keys, s->req[i]->key, n);
        s->req[i]->given_up = false;
        int left = s->req[i]->n_prompt - s->req[i]->n_done;
        of_prompts += left < 0 ? 0 : left < n ? left : n;
        prompt += n > 1 ? n : 0;
        s->depth += n > 1 ? n * (s->req[i]->n_done + n / 2.0) : 0;
        s->n_guess += guess;
    }
    s->n_prompt = prompt;
    if (s->n_req == 1 && !prompt)
        spec_cost_add(&m->spec_cost, s->n_tok, run_s);
    pthread_mutex_lock(&g->lock);
    g->stats.steps_total++;
    g->stats.step_s_total += run_s;
    g->stats.tokens_prompt_total += (uint64_t)of_prompts;
    pthread_mutex_unlock(&g->lock);
}

/* Makes up m's next step. false: nothing could run. */
static bool begin(struct engine *g, struct engine_model *m)
{
    admit(g, m);
    if (g->n_active > 1 || m->n_live > 1)
        m->crowd_s = clock_s();
    g->n_step++;
    struct sched_limits lim = {
        .max_seq = g->opts.max_batch, .max_tok = g->max_tok, .chunk = budget_chunk(g, m), .step = g->n_step};
    gather(g, m, sched_build(m->sched, m->n_live, &lim, m->step.pick));
    fit_rows(g, m);
    if (!m->step.n_req)
        return false;
    fill(m);
    m->step_s = m->spent_s = 0;
    uint64_t now = clock_ns();
    for (int i = 0; i < m->step.n_req; i++)
        if (!m->step.req[i]->start_ns)
            m->step.req[i]->start_ns = now;
    return true;
}

static void count_rest(struct engine *g)
{
    pthread_mutex_lock(&g->lock);
    g->stats.rests_total++;
    pthread_mutex_unlock(&g->lock);
}

/* When the first of m's requests, waiting ones too, runs out of time. */
static uint64_t next_deadline(const struct engine_model *m)
{
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; i < m->n_live; i++)
        if (m->live[i]->deadline_ns && m->live[i]->deadline_ns < first)
            first = m->live[i]->deadline_ns;
    return first;
}

static int run(struct engine *g, struct engine_model *m, struct err *e)
{
    struct step_arrays *s = &m->step;
    s->deadline_ns = next_deadline(m);
    struct batch b = {.token = s->token,
                      .pos = s->pos,
                      .seq = s->seq,
                      .n_tok = s->n_tok,
                      .seqs = s->seqs,
                      .n_seq = s->n_req,
                      .wanted = s->wanted,
                      .n_wanted = s->n_row,
                      .poll = go_on,
                      .poll_arg = m};
    g->turn_s = clock_s();
    int rc = backend_run(g->backend, m->plan, &b, m->logits, e);
    double run_s = clock_s() - g->turn_s;
    m->step_s += run_s;
    m->resting = rc == BACKEND_PAUSED;
    return rc;
}

/* A prompt that takes no longer than the resting step came after that was made up. Those that decode together do not begin anew for it. */
static bool newcomer(const struct engine_model *m)
{
    bool alone = !m->step.n_decode || m->step.n_req == 1;
    double most = fmax(BUDGET_ALONE_S, m->step.n_tok * m->cost.tok);
    for (size_t i = 0; i < m->n_live && alone; i++) {
        struct request *r = m->live[i];
        bool came = !r->admitted && r->served >= m->step.number && r->priority <= m->step.req[0]->priority;
        if (!came || r->lacks || share_waits(r) || recall_waits(r))
            continue;
        if ((double)(r->n_token - share_begin(r)) * m->cost.tok < most)
            return true;
    }
    return false;
}

bool step_model(struct engine *g, struct engine_model *m)
{
    struct err e;
    double from = clock_s();
    if (m->resting && may_give_up(g, m) && newcomer(m))
        give_up(m);
    if (!m->resting && !begin(g, m))
        return false;
    int rc = run(g, m, &e);
    if (rc == BACKEND_PAUSED) {
        count_rest(g);
        m->spent_s += clock_s() - from;
        return true;
    }
    if (rc == 0) {
        count_step(g, m);
        choose_all(m);
        m->spent_s += clock_s() - from;
        budget_learn(m);
    }
    for (int i = 0; i < m->step.n_req; i++) {
        if (rc == 0)
            finish_request(m->step.req[i]);
        else if (rc != ERR_CANCELLED)
            engine_end(m->step.req[i], EVENT_ERROR, FINISH_STOP, &e);
    }
    return true;
}
