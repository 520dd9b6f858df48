/* answer: see answer.h. Owns the choice between a running server and this process, and both ways of asking. */
#include "cli/answer.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cli/client.h"
#include "cli/out.h"
#include "file/file.h"
#include "hearth.h"
#include "store/store.h"
#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

const struct opt sampling_opts[] = {SAMPLING_ROWS, OPT_END};

struct answer_source {
    char *model;
    bool has_template;
    struct client *client; /* remote, or */
    struct hearth *h;      /* local */
    struct hearth_model *m;
};

static bool is_path(const char *name)
{
    size_t n = strlen(name);
    return strchr(name, '/') != NULL || (n > 5 && strcmp(name + n - 5, ".gguf") == 0);
}

struct loading {
    struct out_progress bar;
    const char *name;
    double started;
};

static int on_loading(void *arg, uint64_t done, uint64_t total)
{
    struct loading *l = arg;
    double t = clock_s() - l->started, rate = t > 0 ? (double)done / t : 0;
    if (t > 0.3 && l->bar.tty) /* what is there at once needs no bar */
        out_progress_show(&l->bar, l->name, "loading", done, total, rate,
                          rate > 0 ? (double)(total - done) / rate : -1);
    return cli_interrupted();
}

static int open_local(struct answer_source *s, const struct answer_where *w, const char *path, struct err *e)
{
    struct hearth_opts o = {.data_dir = w->data_dir,
                            .ceiling = w->ceiling,
                            .threads = w->threads,
                            .cpu_mask = w->cpu_mask,
                            .precise = w->precise,
                            .kv = w->kv,
                            .n_kv = w->n_kv,
                            .draft = w->draft,
                            .n_draft = w->n_draft,
                            .spec_max = w->no_spec ? -1 : 0};
    cli_hold_interrupt(true);
    int r = hearth_open(&s->h, &o, e);
    cli_hold_interrupt(false);
    if (r)
        return r;
    struct loading l = {.name = w->model, .started = clock_s()};
    out_progress_init(&l.bar, w->quiet);
    r = hearth_model_get(s->h, is_path(w->model) ? path : w->model, on_loading, &l, &s->m, e);
    out_progress_end(&l.bar);
    if (!r)
        s->has_template = hearth_model_has_template(s->m);
    return r;
}

/* Only the header is read: the same answer as the server's, without asking it to load. */
static int read_template_flag(struct answer_source *s, const char *path, struct err *e)
{
    struct model_file *f;
    int r = file_open(&f, path, e);
    if (r)
        return r;
    s->has_template = file_kv_find(f, "tokenizer.chat_template") != NULL;
    file_close(f);
    return 0;
}

int answer_open(struct answer_source **out, const struct answer_where *w, struct err *e)
{
    struct answer_source *s = mem_calloc(1, sizeof *s);
    struct store *store = NULL;
    char *path = NULL;
    int r;
    if (!s || !(s->model = mem_strdup(w->model))) {
        r = err_set(e, ERR_NOMEM, "out of memory");
        goto fail;
    }
    if ((r = store_open(&store, w->data_dir, e)) != 0 || (r = store_path(store, w->model, &path, e)) != 0)
        goto fail;
    store_close(store);
    store = NULL;
    if (!w->local && !is_path(w->model) && client_find(w->data_dir, &s->client, NULL) == 0)
        r = read_template_flag(s, path, e);
    else
        r = open_local(s, w, path, e);
    if (r)
        goto fail;
    mem_free(path);
    *out = s;
    return 0;
fail:
    store_close(store);
    mem_free(path);
    answer_close(s);
    return r;
}

void answer_close(struct answer_source *s)
{
    if (!s)
        return;
    client_free(s->client);
    hearth_model_unref(s->m);
    hearth_close(s->h);
    mem_free(s->model);
    mem_free(s);
}

bool answer_has_template(const struct answer_source *s)
{
    return s->has_template;
}

bool answer_remote(const struct answer_source *s)
{
    return s->client != NULL;
}

struct receiving {
    const struct answer_ask *ask;
    struct answer *out;
    double started, first, last;
    struct err err; /* code set: the stream told of a failure */
};

static void receive(struct receiving *rx, const char *text, size_t n)
{
    double now = clock_s();
    if (!(rx->first > 0))
        rx->first = now;
    rx->last = now;
    buf_add(&rx->out->text, text, n);
    if (n && rx->ask->text)
        rx->ask->text(rx->ask->arg, text, n);
}

static int on_event(void *arg, char *data, size_t n)
{
    struct receiving *rx = arg;
    if (strcmp(data, "[DONE]") == 0)
        return 0; /* the transfer ends by itself, and the connection stays usable */
    cJSON *j = cJSON_ParseWithLength(data, n);
    const cJSON *err = cJSON_GetObjectItemCaseSensitive(j, "error");
    if (cJSON_IsObject(err)) {
        const cJSON *m = cJSON_GetObjectItemCaseSensitive(err, "message");
        err_set(&rx->err, ERR_IO, "%s", cJSON_IsString(m) ? m->valuestring : "the server failed");
    }
    const cJSON *choice = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(j, "choices"), 0);
    const cJSON *delta = cJSON_GetObjectItemCaseSensitive(choice, "delta");
    const cJSON *text =
        delta ? cJSON_GetObjectItemCaseSensitive(delta, "content") : cJSON_GetObjectItemCaseSensitive(choice, "text");
    if (cJSON_IsString(text))
        receive(rx, text->valuestring, strlen(text->valuestring));
    const cJSON *fin = cJSON_GetObjectItemCaseSensitive(choice, "finish_reason");
    if (cJSON_IsString(fin))
        snprintf(rx->out->finish, sizeof rx->out->finish, "%s", fin->valuestring);
    const cJSON *u = cJSON_GetObjectItemCaseSensitive(j, "usage");
    if (cJSON_IsObject(u)) {
        const cJSON *d = cJSON_GetObjectItemCaseSensitive(u, "prompt_tokens_details");
        rx->out->n_prompt = (int)cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(u, "prompt_tokens"));
        rx->out->n_output = (int)cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(u, "completion_tokens"));
        const cJSON *cached = cJSON_GetObjectItemCaseSensitive(d, "cached_tokens");
        rx->out->n_cached = cJSON_IsNumber(cached) ? cached->valueint : 0;
        d = cJSON_GetObjectItemCaseSensitive(u, "completion_tokens_details");
        const cJSON *yes = cJSON_GetObjectItemCaseSensitive(d, "accepted_prediction_tokens"),
                    *no = cJSON_GetObjectItemCaseSensitive(d, "rejected_prediction_tokens");
        rx->out->n_accepted = cJSON_IsNumber(yes) ? yes->valueint : 0;
        rx->out->n_drafted = rx->out->n_accepted + (cJSON_IsNumber(no) ? no->valueint : 0);
    }
    cJSON_Delete(j);
    return rx->err.code != 0;
}

static void request_json(const struct answer_source *s, const struct answer_ask *a, struct buf *b)
{
    const struct sampling *p = a->sampling;
    struct jsonw w;
    jsonw_init(&w, b);
    jsonw_obj(&w);
    jsonw_kstr(&w, "model", s->model);
    if (a->messages_json) {
        jsonw_key(&w, "messages");
        jsonw_raw(&w, a->messages_json);
    } else {
        jsonw_kstr(&w, "prompt", a->prompt);
    }
    jsonw_kbool(&w, "stream", true);
    jsonw_key(&w, "stream_options");
    jsonw_raw(&w, "{\"include_usage\":true}");
    jsonw_key(&w, "temperature");
    jsonw_float(&w, p->temp);
    jsonw_key(&w, "top_p");
    jsonw_float(&w, p->top_p > 0 ? p->top_p : 1);
    jsonw_kint(&w, "top_k", p->top_k);
    jsonw_key(&w, "min_p");
    jsonw_float(&w, p->min_p);
    if (p->seed.set) {
        char seed[24]; /* all 64 bits: as text, for jsonw_int is signed */
        snprintf(seed, sizeof seed, "%llu", (unsigned long long)p->seed.v);
        jsonw_key(&w, "seed");
        jsonw_raw(&w, seed);
    }
    if (p->max_tokens)
        jsonw_kint(&w, "max_tokens", p->max_tokens);
    if (p->stop.n) {
        jsonw_key(&w, "stop");
        jsonw_arr(&w);
        for (size_t i = 0; i < p->stop.n; i++)
            jsonw_str(&w, p->stop.v[i]);
        jsonw_end_arr(&w);
    }
    jsonw_end_obj(&w);
}

static int get_remote(struct answer_source *s, struct receiving *rx, struct err *e)
{
    struct buf b = {0};
    request_json(s, rx->ask, &b);
    if (b.failed) {
        buf_done(&b);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    int r = client_stream(s->client, rx->ask->messages_json ? "/v1/chat/completions" : "/v1/completions", b.data,
                          on_event, rx, e);
    buf_done(&b);
    if (r == ERR_CANCELLED) {
        snprintf(rx->out->finish, sizeof rx->out->finish, "cancelled");
        return 0;
    }
    if (!r && rx->err.code)
        return err_set(e, rx->err.code, "%s", rx->err.msg);
    rx->out->decode_s = rx->last - rx->first;
    rx->out->ttft_s = rx->first > 0 ? rx->first - rx->started : 0;
    return r;
}

static int get_local(struct answer_source *s, struct receiving *rx, struct err *e)
{
    const struct sampling *p = rx->ask->sampling;
    struct hearth_request q = {
        .messages_json = rx->ask->messages_json,
        .prompt = rx->ask->prompt,
        .max_tokens = p->max_tokens,
        .temperature = p->temp,
        .top_k = p->top_k,
        .top_p = p->top_p,
        .min_p = p->min_p,
        .has_seed = p->seed.set,
        .seed = p->seed.v,
        .stop = p->stop.v,
        .n_stop = p->stop.n,
    };
    struct hearth_gen *g;
    struct hearth_delta d;
    int r = hearth_generate(s->m, &q, &g, e), got;
    if (r)
        return r;
    while (!r && (got = hearth_next(g, &d, 50)) >= 0) {
        if (cli_interrupted())
            hearth_cancel(g);
        if (got == 0)
            continue;
        if (d.type == HEARTH_TEXT) {
            receive(rx, d.text, d.text_len);
        } else if (d.type == HEARTH_FAILED) {
            r = err_set(e, d.err.code, "%s", d.err.msg);
        } else {
            snprintf(rx->out->finish, sizeof rx->out->finish, "%s", d.finish);
            rx->out->n_prompt = d.usage.n_prompt;
            rx->out->n_cached = d.usage.n_cached;
            rx->out->n_output = d.usage.n_output;
            rx->out->n_drafted = d.usage.n_drafted;
            rx->out->n_accepted = d.usage.n_accepted;
            rx->out->ttft_s = d.usage.queue_s + d.usage.prefill_s;
            rx->out->decode_s = d.usage.decode_s;
        }
    }
    hearth_gen_free(g);
    return r;
}

int answer_get(struct answer_source *s, const struct answer_ask *a, struct answer *out, struct err *e)
{
    *out = (struct answer){0};
    struct receiving rx = {.ask = a, .out = out, .started = clock_s()};
    int r = s->client ? get_remote(s, &rx, e) : get_local(s, &rx, e);
    if (r == ERR_CANCELLED) {
        snprintf(out->finish, sizeof out->finish, "cancelled");
        r = 0;
    }
    if (!r && out->text.failed)
        r = err_set(e, ERR_NOMEM, "out of memory");
    return r;
}

void answer_done(struct answer *a)
{
    buf_done(&a->text);
}
