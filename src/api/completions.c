/* completions: POST /v1/completions, OpenAI's legacy endpoint: raw text or token ids in, text out. */
#include "api/out.h"
#include "api/routes.h"

enum { LIST_TOKENS, LIST_LOGPROBS, LIST_TOP, LIST_OFFSETS };

static double bounded(float logprob)
{
    return logprob < -9999.0f ? -9999.0 : (double)logprob;
}

static void write_bytes(struct jsonw *w, const void *item)
{
    const struct hearth_logprob *t = item;
    jsonw_strn(w, t->bytes ? t->bytes : "", t->n_bytes);
}

static void write_logprob(struct jsonw *w, const void *item)
{
    jsonw_double(w, bounded(((const struct hearth_logprob *)item)->logprob));
}

static void write_offset(struct jsonw *w, const void *item)
{
    jsonw_int(w, (int64_t) * (const size_t *)item);
}

struct tops {
    const struct hearth_logprob *t;
    int n;
};

static void write_tops(struct jsonw *w, const void *item)
{
    const struct tops *q = item;
    struct buf key = {0};
    jsonw_obj(w);
    for (int k = 0; k < q->n; k++) {
        buf_reset(&key);
        buf_add(&key, q->t[k].bytes, q->t[k].n_bytes);
        jsonw_kdouble(w, key.data ? key.data : "", bounded(q->t[k].logprob));
    }
    jsonw_end_obj(w);
    buf_done(&key);
}

static size_t characters(const struct hearth_logprob *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n_bytes; i++)
        n += ((unsigned char)t->bytes[i] & 0xc0) != 0x80;
    return n;
}

static void completion_probs(struct gen_choice *c, const struct hearth_delta *d)
{
    for (size_t i = 0; i < d->n_tokens; i++) {
        const struct hearth_logprob *t = &d->logprobs[i];
        out_item(&c->list[LIST_TOKENS], write_bytes, t);
        out_item(&c->list[LIST_LOGPROBS], write_logprob, t);
        out_item(&c->list[LIST_TOP], write_tops, &(struct tops){d->top[i], d->n_top[i]});
        out_item(&c->list[LIST_OFFSETS], write_offset, &c->chars);
        c->chars += characters(t);
    }
}

static void completion_choice(struct gen *g, int i, struct jsonw *w)
{
    static const char *const keys[] = {"tokens", "token_logprobs", "top_logprobs", "text_offset"};
    struct gen_choice *c = &g->choice[i];
    jsonw_key(w, "text");
    jsonw_strn(w, c->text.data ? c->text.data : "", c->text.len);
    jsonw_key(w, "logprobs");
    if (g->p.rq.logprobs && c->list[0].len) {
        jsonw_obj(w);
        for (int k = 0; k < 4; k++) {
            jsonw_key(w, keys[k]);
            jsonw_arr(w);
            jsonw_raw(w, c->list[k].data);
            jsonw_end_arr(w);
        }
        jsonw_end_obj(w);
    } else {
        jsonw_null(w);
    }
    jsonw_kstr(w, "finish_reason", c->finish[0] ? c->finish : NULL);
}

const struct gen_shape completion_shape = {
    .id_prefix = "cmpl-",
    .object = "text_completion",
    .chunk_object = "text_completion",
    .probs = completion_probs,
    .choice = completion_choice,
};

enum route_result completions_post(struct api *a, struct http_req *r)
{
    struct params q = {.budget = &a->budget};
    struct problem p;
    size_t n;
    const char *body = http_body(r, &n);
    if (params_read_completion(body, n, &q, &p)) {
        reply_problem(a, r, &p);
        return ROUTE_ANSWERED;
    }
    struct gen *g = gen_new(a, r, &q, &completion_shape);
    if (!g)
        return ROUTE_ANSWERED;
    gen_begin(g, gen_generate);
    return ROUTE_KEPT;
}
