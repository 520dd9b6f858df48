/* choose: see choose.h. A worker that comes late finds nothing left to take; the pool's run ends when all that was taken is done. */
#include "engine/choose.h"
#include "base/pool.h"
#include "engine/state.h"

size_t choose_scratch_bytes(const struct engine *g, size_t n_vocab)
{
    int n = backend_threads(g->backend);
    return (size_t)(n < CHOOSE_THREADS ? n : CHOOSE_THREADS) * ((sample_scratch_bytes(n_vocab) + 63) & ~(size_t)63);
}

void choose_scratch_set(struct engine_model *m, void *mem, size_t n_vocab)
{
    size_t each = (sample_scratch_bytes(n_vocab) + 63) & ~(size_t)63;
    m->n_sample = (int)(choose_scratch_bytes(m->engine, n_vocab) / each);
    for (int i = 0; i < m->n_sample; i++)
        sample_scratch_set(&m->sample[i], backend_kernels(m->engine->backend), (char *)mem + (size_t)i * each, n_vocab);
}

int choose_token(struct request *r, const float *logits, struct sample_scratch *s, int32_t *id, struct err *e)
{
    struct sample_in in = {.logits = logits,
                           .n_vocab = (size_t)r->model->graph->n_vocab,
                           .token = r->token,
                           .n_prompt = r->n_prompt,
                           .n_token = r->n_token,
                           .params = &r->sample,
                           .constraint = r->has_constraint ? &r->constraint : NULL};
    int rc = sample_token(&in, s, id, e);
    if (rc < 0 || r->k < 0)
        return rc;
    size_t at = (size_t)(r->n_token - r->n_prompt), k = (size_t)r->k;
    struct sample_want want = {*id, r->k, r->lp + at * (1 + k), r->top_id + at * k};
    sample_logprobs(logits, in.n_vocab, &want, s);
    return 0;
}

struct job {
    struct engine_model *m;
    struct pool_work work;
};

/* Whatever its step will choose is its last known token's successor. A constraint is asked by the engine thread alone. */
static bool ready(const struct request *r)
{
    return r->step_row >= 0 && !r->all_logits && !r->has_constraint && r->n_done + r->step_tok == r->n_token;
}

static void work(void *arg, int thread, int n_threads)
{
    struct job *j = arg;
    struct engine_model *m = j->m;
    size_t n = (size_t)m->step.n_req, i, end;
    (void)n_threads;
    while (thread < m->n_sample && pool_take(&j->work, n, 1, &i, &end)) {
        struct request *r = m->step.req[i];
        if (ready(r)) { /* `chosen` is false since the step was made up */
            const float *row = m->logits + (size_t)r->step_row * (size_t)m->graph->n_vocab;
            r->chosen = choose_token(r, row, &m->sample[thread], &r->choice, NULL) == 0;
        }
    }
}

void choose_all(struct engine_model *m)
{
    int n = 0;
    for (int i = 0; i < m->step.n_req; i++)
        n += ready(m->step.req[i]);
    struct job j = {.m = m};
    if (n > 1)
        pool_share(backend_pool(m->engine->backend), work, &j);
}
