/* chat: POST /v1/chat/completions. */
#include "api/out.h"
#include "api/routes.h"

struct prob { /* one token of a delta */
    const struct hearth_delta *d;
    size_t i;
};

static void write_token(struct jsonw *w, const struct hearth_logprob *t)
{
    jsonw_key(w, "token");
    jsonw_strn(w, t->bytes ? t->bytes : "", t->n_bytes);
    jsonw_kdouble(w, "logprob", t->logprob < -9999.0f ? -9999.0 : (double)t->logprob);
    jsonw_key(w, "bytes");
    jsonw_arr(w);
    for (size_t i = 0; i < t->n_bytes; i++)
        jsonw_int(w, (unsigned char)t->bytes[i]);
    jsonw_end_arr(w);
}

static void write_prob(struct jsonw *w, const void *item)
{
    const struct prob *q = item;
    jsonw_obj(w);
    write_token(w, &q->d->logprobs[q->i]);
    jsonw_key(w, "top_logprobs");
    jsonw_arr(w);
    for (int k = 0; k < q->d->n_top[q->i]; k++) {
        jsonw_obj(w);
        write_token(w, &q->d->top[q->i][k]);
        jsonw_end_obj(w);
    }
    jsonw_end_arr(w);
    jsonw_end_obj(w);
}

static void chat_probs(struct gen_choice *c, const struct hearth_delta *d)
{
    for (size_t i = 0; i < d->n_tokens; i++)
        out_item(&c->list[0], write_prob, &(struct prob){d, i});
}

static void chat_message(const struct gen *g, const struct gen_choice *c, struct jsonw *w)
{
    jsonw_key(w, g->p.stream ? "delta" : "message");
    jsonw_obj(w);
    if (!g->p.stream || !c->spoke)
        jsonw_kstr(w, "role", "assistant");
    if (!g->p.stream || !c->spoke || c->text.len || c->list[0].len) {
        jsonw_key(w, "content");
        jsonw_strn(w, c->text.data ? c->text.data : "", c->text.len);
    }
    if (!g->p.stream)
        jsonw_kstr(w, "refusal", NULL);
    jsonw_end_obj(w);
}

static void chat_choice(struct gen *g, int i, struct jsonw *w)
{
    struct gen_choice *c = &g->choice[i];
    chat_message(g, c, w);
    jsonw_key(w, "logprobs");
    if (g->p.rq.logprobs && c->list[0].len) {
        jsonw_obj(w);
        jsonw_key(w, "content");
        jsonw_arr(w);
        jsonw_raw(w, c->list[0].data);
        jsonw_end_arr(w);
        jsonw_kstr(w, "refusal", NULL);
        jsonw_end_obj(w);
    } else {
        jsonw_null(w);
    }
    jsonw_kstr(w, "finish_reason", c->finish[0] ? c->finish : NULL);
}

const struct gen_shape chat_shape = {
    .id_prefix = "chatcmpl-",
    .object = "chat.completion",
    .chunk_object = "chat.completion.chunk",
    .probs = chat_probs,
    .choice = chat_choice,
};

enum route_result chat_post(struct api *a, struct http_req *r)
{
    struct params q = {.budget = &a->budget};
    struct problem p;
    size_t n;
    const char *body = http_body(r, &n);
    if (params_read_chat(body, n, &q, &p)) {
        reply_problem(a, r, &p);
        return ROUTE_ANSWERED;
    }
    struct gen *g = gen_new(a, r, &q, &chat_shape);
    if (!g)
        return ROUTE_ANSWERED;
    gen_begin(g, gen_generate);
    return ROUTE_KEPT;
}
