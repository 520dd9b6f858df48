/* budget: see budget.h. */
#include "engine/budget.h"
#include "base/clock.h"
#include "engine/state.h"

/* What a step aims to stay below when a sequence of the same model waits for its next token, and when nobody but its prompt was there for
 * a while. Who comes takes such a step away: the quieter it was, the less is lost by that. */
static const double SLICE_S = 0.1, QUIET_S = 2, QUIET_SHARE = 0.25;
static const double NEW_ROOM = 0.05; /* plans leave so much until it is known how right they are */

static double alone_s(const struct engine_model *m)
{
    double quiet = (clock_s() - m->crowd_s) * QUIET_SHARE;
    return quiet < BUDGET_ALONE_S ? BUDGET_ALONE_S : quiet < QUIET_S ? quiet : QUIET_S;
}

/* What a position before a token costs of the token itself: products of numbers with 16 bits against those with 8, until it is measured. */
static double share_of(const struct graph *graph)
{
    static const double DEARER = 3;
    double attend = 0, linear = 0;
    for (int i = 0; i < graph->n_node; i++) {
        const struct graph_node *node = &graph->node[i];
        if (node->op == OP_ATTN && !node->window)
            attend += 2.0 * node->n_head * node->head_dim;
        if (node->op == OP_LINEAR && !graph->value[node->out].wanted_rows)
            linear += (double)graph->weight[node->w[0]].rows * (double)graph->weight[node->w[0]].k;
    }
    return linear > 0 ? DEARER * attend / linear : 0;
}

static int priority_of(const struct engine_model *m)
{
    int first = m->live[0]->priority;
    for (size_t i = 1; i < m->n_live; i++)
        first = m->live[i]->priority < first ? m->live[i]->priority : first;
    return first;
}

/* Models whose work is as urgent as m's, the most of the last slice: a chat that has ended asks again at once. */
static int at_work(const struct engine *g, struct engine_model *m)
{
    int n = 0, priority = priority_of(m);
    double now = clock_s();
    for (size_t i = 0; i < g->n_active; i++)
        n += priority_of(g->active[i]) <= priority;
    if (n >= m->at_work || now - m->work_s > SLICE_S) {
        m->at_work = n;
        m->work_s = now;
    }
    return m->at_work;
}

int budget_chunk(const struct engine *g, struct engine_model *m)
{
    struct sched_aim a = {
        .chunk = g->opts.prefill_chunk, .slice_s = SLICE_S, .at_work = at_work(g, m), .step = g->n_step};
    if (m->cost.tok <= 0) {
        m->cost.share = share_of(m->graph);
        m->cost.room = NEW_ROOM;
    }
    for (size_t i = 0; i < m->n_live; i++)
        a.beside += m->sched[i].admitted && m->sched[i].todo == 1;
    m->limit_s = a.beside && a.at_work == 1 ? SLICE_S : 0;
    int slice = sched_chunk(m->sched, m->n_live, &m->cost, &a);
    if (a.beside)
        return slice;
    a.slice_s = alone_s(m);
    return sched_least(m->sched, m->n_live, slice, sched_chunk(m->sched, m->n_live, &m->cost, &a));
}

void budget_took(struct engine_model *m, const struct sched_did *d)
{
    sched_cost_add(&m->cost, d);
    if (m->cost.tok <= 0)
        return;
    size_t bytes = m->graph->kv_class[0].block_bytes + m->graph->kv_class[1].block_bytes;
    for (int c = 0; c < GRAPH_KV_CLASSES; c++)
        m->kv[c].worth = m->cost.tok * KV_BLOCK / (double)bytes;
}

void budget_learn(struct engine_model *m)
{
    const struct step_arrays *s = &m->step;
    if (!s->n_guess)
        budget_took(m, &(struct sched_did){.n_prompt = s->n_prompt,
                                           .depth = s->depth,
                                           .beside = s->n_decode,
                                           .seconds = m->spent_s,
                                           .limit = m->limit_s});
}
