/* fixture: an engine with a ledger, one tiny model, and requests whose logits and tokens are kept for comparison. */
#ifndef HEARTH_TESTS_ENGINE_FIXTURE_H
#define HEARTH_TESTS_ENGINE_FIXTURE_H
#include "base/rng.h"
#include "engine/engine.h"
#include "unit/check.h"

struct rig {
    struct ledger *ledger;
    struct engine *engine;
    struct engine_model *model;
    int n_vocab, n_ctx;
};

static inline int rig_open(struct rig *r, const char *path, struct engine_opts o, size_t ceiling)
{
    struct err e = {0};
    *r = (struct rig){0};
    int rc = ledger_new(&r->ledger, ceiling, &e);
    o.ledger = r->ledger;
    if (rc == 0)
        rc = engine_new(&r->engine, &o, &e);
    struct engine_load load = {.path = path, .name = "tiny"};
    if (rc == 0)
        rc = engine_model_load(r->engine, &load, &r->model, &e);
    if (rc < 0) {
        fprintf(stderr, "rig: %s\n", e.msg);
        return rc;
    }
    r->n_vocab = engine_model_info(r->model)->n_vocab;
    r->n_ctx = engine_model_info(r->model)->n_ctx;
    return 0;
}

static inline void rig_close(struct rig *r)
{
    if (r->model)
        engine_model_leave(r->model);
    engine_free(r->engine);
    ledger_free(r->ledger);
}

struct record {    /* what one request gave */
    float *logits; /* [n_ctx][n_vocab] by position, zero where none came */
    int n_vocab, n_pos, n_tok, first_pos;
    int32_t token[4096];
    struct event end;
};

static inline void record_logits(void *arg, int pos, const float *logits, size_t n_vocab)
{
    struct record *r = arg;
    if (pos >= r->n_pos)
        r->n_pos = pos + 1;
    memcpy(r->logits + (size_t)pos * n_vocab, logits, n_vocab * sizeof *logits);
}

static inline struct record *record_new(const struct rig *rig)
{
    struct record *r = calloc(1, sizeof *r);
    r->n_vocab = rig->n_vocab;
    r->logits = calloc((size_t)rig->n_ctx * (size_t)rig->n_vocab, sizeof *r->logits);
    return r;
}

static inline void record_free(struct record *r)
{
    if (r)
        free(r->logits);
    free(r);
}

/* Tokens of a made-up prompt, a pure function of its number. */
static inline void prompt_fill(int32_t *token, int n, int n_vocab, uint64_t number)
{
    for (int i = 0; i < n; i++)
        token[i] = (int32_t)(rng_uniform(number, 7, (uint64_t)i) * n_vocab);
}

static inline struct request_args args_of(const struct rig *rig, const int32_t *token, int n, int max_tokens)
{
    return (struct request_args){.model = rig->model,
                                 .token = token,
                                 .n_token = n,
                                 .max_tokens = max_tokens,
                                 .sample = {.top_p = 1, .repetition_penalty = 1, .logprobs = -1}};
}

static inline void drain_request(struct request *r, struct record *out)
{
    struct event ev;
    while (request_next(r, &ev, -1)) {
        if (ev.type == EVENT_TOKEN && out->n_tok < 4096)
            out->token[out->n_tok++] = ev.token;
        if (ev.type != EVENT_TOKEN)
            out->end = ev;
    }
}

#endif
