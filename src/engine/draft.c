/* draft: see draft.h. The small model's own step arrays and plan serve its steps here, unless a step of its own rests in them. */
#include "engine/draft.h"
#include "base/clock.h"
#include "engine/budget.h"
#include "engine/state.h"
#include <string.h>

int draft_check(const struct engine_model *m, const struct engine_model *draft, struct err *e)
{
    const struct file_kv *a = file_kv_find(m->file, "tokenizer.ggml.tokens"),
                         *b = file_kv_find(draft->file, "tokenizer.ggml.tokens");
    bool same = m != draft && m->graph->n_vocab == draft->graph->n_vocab && a && b && a->type == FV_ARRAY &&
                b->type == FV_ARRAY && a->v.a.type == FV_STRING && b->v.a.type == FV_STRING && a->v.a.n == b->v.a.n;
    for (uint64_t i = 0; same && i < a->v.a.n; i++)
        same =
            a->v.a.strs[i].n == b->v.a.strs[i].n && memcmp(a->v.a.strs[i].p, b->v.a.strs[i].p, a->v.a.strs[i].n) == 0;
    if (!same)
        return err_set(e, ERR_RANGE, "%s cannot draft for %s: it must be another model with the very same vocabulary",
                       draft->name, m->name);
    return 0;
}

int engine_model_set_draft(struct engine_model *m, struct engine_model *draft, struct err *e)
{
    int rc = draft_check(m, draft, e);
    if (rc < 0)
        return rc;
    engine_model_ref(draft);
    m->draft = draft;
    return 0;
}

bool draft_drop(struct request *r)
{
    bool any = false;
    for (int c = 0; r->model->draft && c < GRAPH_KV_CLASSES; c++) {
        any |= r->draft_kv[c].n_page > r->draft_kv[c].first;
        kv_drop(&r->model->draft->kv[c], &r->draft_kv[c]);
    }
    r->draft_done = 0;
    return any;
}

double draft_cost(const struct engine_model *m)
{
    static const double SHARE = 0.4; /* of the large model's step, until it is measured */
    if (!m->draft)
        return 0;
    return m->draft->draft_s > 0 ? m->draft->draft_s : SHARE * m->spec_cost.step[1];
}

static bool take_blocks(struct request *r, int n_pos)
{
    for (int c = 0; c < GRAPH_KV_CLASSES; c++) {
        struct kv_pool *pool = &r->model->draft->kv[c];
        if (!pool->shape)
            continue;
        kv_slide(pool, &r->draft_kv[c], r->draft_done);
        while (r->draft_kv[c].n_page < kv_blocks(n_pos))
            if (kv_grow(pool, &r->draft_kv[c], NULL) < 0)
                return false;
    }
    return true;
}

static enum batch_go go_on(void *arg)
{
    bool stop = atomic_load_explicit(&((struct request *)arg)->stop, memory_order_relaxed) != REQUEST_GO;
    return stop ? BATCH_CANCEL : BATCH_GO;
}

/* Runs the next n tokens through the small model; its logits are those of the last one if asked for. */
static bool run(struct request *r, int n, bool logits)
{
    struct engine *g = r->model->engine;
    struct engine_model *d = r->model->draft;
    struct step_arrays *s = &d->step;
    if (!take_blocks(r, r->draft_done + n))
        return false;
    for (int i = 0; i < n; i++) {
        s->token[i] = r->token[r->draft_done + i];
        s->pos[i] = r->draft_done + i;
        s->seq[i] = 0;
    }
    s->wanted[0] = n - 1;
    s->seqs[0] = (struct batch_seq){{r->draft_kv[0].page, r->draft_kv[1].page}};
    struct batch b = {.token = s->token,
                      .pos = s->pos,
                      .seq = s->seq,
                      .n_tok = n,
                      .seqs = s->seqs,
                      .n_seq = 1,
                      .wanted = s->wanted,
                      .n_wanted = logits,
                      .poll = go_on,
                      .poll_arg = r};
    double begin = clock_s();
    int rc = backend_run(g->backend, d->plan, &b, d->logits, NULL);
    double took = clock_s() - begin;
    if (rc < 0)
        return false;
    if (n == 1)
        d->draft_s = d->draft_s > 0 ? d->draft_s + 0.2 * (took - d->draft_s) : took;
    budget_took(d, &(struct sched_did){.n_prompt = n, .depth = n * (r->draft_done + n / 2.0), .seconds = took});
    r->draft_done += n;
    return true;
}

int draft_guess(struct request *r, int max)
{
    struct engine_model *d = r->model->draft;
    int todo = r->n_token - r->draft_done;
    struct sched_seq s = {.todo = todo, .depth = r->draft_done, .admitted = true};
    struct sched_aim aim = {.chunk = d->engine->opts.prefill_chunk,
                            .slice_s = d->engine->opts.turn_s}; /* it never rests */
    int chunk = todo > 1 ? sched_chunk(&s, 1, &d->cost, &aim) : 1;
    if (d->resting)
        return 0;
    if (todo > chunk) {
        run(r, chunk, false);
        return 0;
    }
    for (int n = 0; n < max; n++, todo = 1) {
        if (!run(r, todo, true))
            return n;
        struct sample_in in = {.logits = d->logits,
                               .n_vocab = (size_t)d->graph->n_vocab,
                               .token = r->token,
                               .n_prompt = r->n_prompt,
                               .n_token = r->n_token + n,
                               .params = &r->sample};
        if (sample_token(&in, d->sample, &r->token[r->n_token + n], NULL) < 0)
            return n;
    }
    return max;
}
