/* out: see out.h. A stream's status line goes out with its first chunk, or with the first keep-alive: until then an error can still
 * have a status of its own. The role comes with the first text, so that a client's time to first token is true. */
#include "api/out.h"
#include "base/clock.h"
#include <stdio.h>

enum { OUT_RESERVE = 64 * 1024 };

static int open_stream(struct gen *g)
{
    if (g->stream_open)
        return 0;
    int rc = reply_stream(g->a, g->r);
    g->stream_open = rc == 0;
    return rc;
}

/* Takes b's memory. A client that is gone is noticed elsewhere. */
static int send_event(struct gen *g, struct buf *b, struct problem *p)
{
    int rc = b->failed || open_stream(g) ? ERR_NOMEM : 0;
    if (!rc)
        rc = http_stream_write(g->r, b->data, b->len);
    buf_done(b);
    g->sent_ns = clock_ns();
    return rc == ERR_NOMEM ? reply_problem_set(p, 503, "insufficient_memory", NULL, "no memory for the answer") : 0;
}

/* Everything up to the first choice. */
static void begin_object(struct gen *g, struct buf *b, struct jsonw *w, const char *object)
{
    jsonw_init(w, b);
    jsonw_obj(w);
    jsonw_kstr(w, "id", g->id);
    jsonw_kstr(w, "object", object);
    jsonw_kint(w, "created", g->created);
    jsonw_kstr(w, "model", g->model);
    jsonw_kstr(w, "system_fingerprint", "hearth-" HEARTH_VERSION);
    jsonw_key(w, "choices");
    jsonw_arr(w);
}

static int send_chunk(struct gen *g, int c, bool timings, struct problem *p)
{
    struct buf b = {0};
    struct jsonw w;
    struct gen_choice *ch = &g->choice[c];
    buf_str(&b, "data: ");
    begin_object(g, &b, &w, g->shape->chunk_object);
    jsonw_obj(&w);
    jsonw_kint(&w, "index", c);
    g->shape->choice(g, c, &w);
    jsonw_end_obj(&w);
    jsonw_end_arr(&w);
    if (g->p.include_usage) {
        jsonw_key(&w, "usage");
        jsonw_null(&w);
    }
    if (timings) {
        jsonw_key(&w, "timings");
        usage_timings(&w, &g->usage);
    }
    jsonw_end_obj(&w);
    buf_str(&b, "\n\n");
    ch->spoke = true;
    buf_reset(&ch->text);
    for (int i = 0; i < 4; i++)
        buf_reset(&ch->list[i]);
    return send_event(g, &b, p);
}

/* Memory for what is being collected, in steps. */
static int reserve(struct gen *g, const struct gen_choice *ch, size_t more)
{
    if (more > OUT_RESERVE / 2 || ch->text.len + ch->list[0].len > OUT_RESERVE / 4) {
        size_t used = 0;
        for (int i = 0; i < g->n_choices; i++) {
            used += g->choice[i].text.cap;
            for (int k = 0; k < 4; k++)
                used += g->choice[i].list[k].cap;
        }
        if (used + more > g->reserved) {
            size_t want = used + more + OUT_RESERVE - g->reserved;
            if (ledger_reserve(g->a->owner, want, NULL))
                return ERR_NOMEM;
            g->reserved += want;
        }
    }
    return 0;
}

int out_text(struct gen *g, int choice, const struct hearth_delta *d, struct problem *p)
{
    struct gen_choice *ch = &g->choice[choice];
    if (!g->p.stream && reserve(g, ch, d->text_len))
        return reply_problem_set(p, 503, "insufficient_memory", NULL, "no memory left to collect the answer");
    if (!ch->spoke && g->echo[choice / g->p.n]) {
        buf_str(&ch->text, g->echo[choice / g->p.n]);
        ch->spoke = !g->p.stream;
    }
    buf_add(&ch->text, d->text, d->text_len);
    if (g->p.rq.logprobs && d->logprobs)
        g->shape->probs(ch, d);
    if (ch->text.failed || ch->list[0].failed)
        return reply_problem_set(p, 503, "insufficient_memory", NULL, "no memory for the answer");
    if (g->p.stream && (ch->text.len || ch->list[0].len))
        return send_chunk(g, choice, false, p);
    return 0;
}

int out_finish(struct gen *g, int choice, struct problem *p)
{
    if (!g->p.stream)
        return 0;
    return send_chunk(g, choice, !g->p.include_usage && g->n_ended == g->n_choices, p);
}

static void end_stream(struct gen *g)
{
    struct buf b = {0};
    struct jsonw w;
    struct problem p;
    if (g->p.include_usage) {
        buf_str(&b, "data: ");
        begin_object(g, &b, &w, g->shape->chunk_object);
        jsonw_end_arr(&w);
        jsonw_key(&w, "usage");
        usage_write(&w, &g->usage);
        jsonw_key(&w, "timings");
        usage_timings(&w, &g->usage);
        jsonw_end_obj(&w);
        buf_str(&b, "\n\n");
    }
    buf_str(&b, "data: [DONE]\n\n");
    send_event(g, &b, &p);
    http_stream_end(g->r);
}

void out_end(struct gen *g)
{
    struct buf b = {0};
    struct jsonw w;
    if (g->p.stream) {
        end_stream(g);
        return;
    }
    begin_object(g, &b, &w, g->shape->object);
    for (int i = 0; i < g->n_choices; i++) {
        if (!g->choice[i].spoke && g->echo[i / g->p.n]) /* nothing was generated */
            buf_str(&g->choice[i].text, g->echo[i / g->p.n]);
        jsonw_obj(&w);
        jsonw_kint(&w, "index", i);
        g->shape->choice(g, i, &w);
        jsonw_end_obj(&w);
    }
    jsonw_end_arr(&w);
    jsonw_key(&w, "usage");
    usage_write(&w, &g->usage);
    jsonw_key(&w, "timings");
    usage_timings(&w, &g->usage);
    jsonw_end_obj(&w);
    reply_json(g->a, g->r, 200, &b);
}

void out_problem(struct gen *g, const struct problem *p)
{
    struct buf b = {0};
    if (!g->stream_open) {
        reply_problem(g->a, g->r, p);
        return;
    }
    buf_str(&b, "data: ");
    reply_problem_json(p, &b);
    buf_str(&b, "\n\n");
    if (!b.failed)
        http_stream_write(g->r, b.data, b.len);
    buf_done(&b);
    http_stream_end(g->r);
}

void out_keep_alive(struct gen *g, const char *comment, uint64_t now_ns)
{
    char line[200];
    int n = snprintf(line, sizeof line, ": %.190s\n\n", comment[0] ? comment : "keep-alive");
    for (int i = 0; i < n - 2; i++) /* a model's name must not end the comment */
        line[i] = line[i] == '\n' || line[i] == '\r' ? ' ' : line[i];
    if (open_stream(g) == 0)
        http_stream_write(g->r, line, (size_t)n);
    g->sent_ns = now_ns;
}

void out_item(struct buf *list, void (*write)(struct jsonw *w, const void *item), const void *item)
{
    struct jsonw w;
    if (list->len)
        buf_char(list, ',');
    jsonw_init(&w, list);
    write(&w, item);
}
