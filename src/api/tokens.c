/* tokens: POST /tokenize and /detokenize. vLLM names the text `prompt`, llama.cpp `content`: both are taken; the answers carry the
 * fields of both. vLLM's form with `messages` counts a rendered chat. */
#include "api/gen.h"
#include "api/routes.h"
#include "base/mem.h"
#include <string.h>

static const char *text_of(const cJSON *o, const char *key)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);
    return cJSON_IsString(v) ? v->valuestring : NULL;
}

static void missing(struct gen *g, const char *param, const char *what)
{
    struct problem p;
    problem_set(&p, 400, "missing_parameter", param, "%s", what);
    gen_fail(g, &p);
}

static void write_tokens(struct gen *g, const int32_t *ids, size_t n)
{
    struct jsonw w;
    jsonw_init(&w, &g->answer);
    jsonw_obj(&w);
    jsonw_kint(&w, "count", (int64_t)n);
    jsonw_key(&w, "tokens");
    jsonw_arr(&w);
    for (size_t i = 0; i < n; i++)
        jsonw_int(&w, ids[i]);
    jsonw_end_arr(&w);
    jsonw_end_obj(&w);
}

static int tokenize_chat(struct gen *g, int32_t **ids, size_t *n, struct err *e)
{
    struct problem p;
    char *messages = NULL, *text = NULL;
    if (params_messages(cJSON_GetObjectItemCaseSensitive(g->p.root, "messages"), &messages, &p))
        return err_set(e, ERR_USAGE, "%s", p.msg);
    int rc = hearth_render(g->m, messages, NULL, &text, e);
    if (!rc)
        rc = hearth_tokenize(g->m, text, strlen(text), false, true, ids, n, e);
    mem_free(messages);
    mem_free(text);
    return rc;
}

static void tokenize_start(struct gen *g)
{
    const cJSON *o = g->p.root;
    const char *text = text_of(o, "prompt");
    struct err e = {0};
    struct problem p;
    int32_t *ids = NULL;
    size_t n = 0;
    bool vllm = text != NULL, special = vllm, parse = true; /* each with the defaults of its own server */
    text = text ? text : text_of(o, "content");
    if (params_bool(o, "add_special_tokens", &special, &p) || params_bool(o, "add_special", &special, &p) ||
        params_bool(o, "parse_special", &parse, &p)) {
        gen_fail(g, &p);
        return;
    }
    int rc;
    if (text)
        rc = hearth_tokenize(g->m, text, strlen(text), special, parse, &ids, &n, &e);
    else if (cJSON_GetObjectItemCaseSensitive(o, "messages"))
        rc = tokenize_chat(g, &ids, &n, &e);
    else {
        missing(g, "prompt", "prompt, content or messages is missing");
        return;
    }
    if (rc == 0)
        write_tokens(g, ids, n);
    mem_free(ids);
    if (rc)
        gen_fail_err(g, &e, text ? "prompt" : "messages");
    else
        gen_answer(g);
}

static void detokenize_start(struct gen *g)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(g->p.root, "tokens");
    struct problem p;
    struct err e = {0};
    struct jsonw w;
    int32_t *ids = NULL;
    char *text = NULL;
    size_t n = 0;
    if (!cJSON_IsArray(v)) {
        missing(g, "tokens", "tokens must be an array of token ids");
        return;
    }
    if (params_ids(v, "tokens", &ids, &n, &p)) {
        gen_fail(g, &p);
        return;
    }
    int rc = hearth_detokenize(g->m, ids, n, &text, &e);
    mem_free(ids);
    if (rc) {
        gen_fail_err(g, &e, "tokens");
        return;
    }
    jsonw_init(&w, &g->answer);
    jsonw_obj(&w);
    jsonw_kstr(&w, "prompt", text);
    jsonw_kstr(&w, "content", text);
    jsonw_end_obj(&w);
    mem_free(text);
    gen_answer(g);
}

static void load_start(struct gen *g)
{
    struct jsonw w;
    jsonw_init(&w, &g->answer);
    jsonw_obj(&w);
    jsonw_kstr(&w, "model", hearth_model_name(g->m));
    jsonw_kstr(&w, "state", "ready");
    jsonw_kbool(&w, "chat", hearth_model_has_template(g->m));
    jsonw_end_obj(&w);
    gen_answer(g);
}

static enum route_result with_model(struct api *a, struct http_req *r, void (*start)(struct gen *g))
{
    struct params q = {.budget = &a->budget};
    struct problem p;
    size_t n;
    const char *body = http_body(r, &n);
    if (params_read_body(body, n, &q, &p)) {
        reply_problem(a, r, &p);
        return ROUTE_ANSWERED;
    }
    struct gen *g = gen_new(a, r, &q, NULL);
    if (!g)
        return ROUTE_ANSWERED;
    gen_begin(g, start);
    return ROUTE_KEPT;
}

enum route_result tokenize_post(struct api *a, struct http_req *r)
{
    return with_model(a, r, tokenize_start);
}

enum route_result detokenize_post(struct api *a, struct http_req *r)
{
    return with_model(a, r, detokenize_start);
}

enum route_result load_post(struct api *a, struct http_req *r)
{
    return with_model(a, r, load_start);
}

enum route_result unload_post(struct api *a, struct http_req *r)
{
    struct params q = {.budget = &a->budget};
    struct problem p;
    struct err e = {0};
    size_t n;
    const char *body = http_body(r, &n);
    struct buf b = {0};
    struct jsonw w;
    int rc = params_read_body(body, n, &q, &p);
    if (!rc && !q.model)
        rc = problem_set(&p, 400, "missing_parameter", "model", "model is missing");
    if (!rc && (rc = hearth_model_unload(a->h, q.model, &e)) != 0) {
        if (e.code == ERR_BUSY)
            problem_set(&p, 409, "model_busy", "model", "%s", e.msg);
        else
            problem_from(&p, &e, "model");
    }
    if (rc) {
        reply_problem(a, r, &p);
    } else {
        jsonw_init(&w, &b);
        jsonw_obj(&w);
        jsonw_kstr(&w, "model", q.model);
        jsonw_kstr(&w, "state", "installed");
        jsonw_end_obj(&w);
        reply_json(a, r, 200, &b);
    }
    params_done(&q);
    return ROUTE_ANSWERED;
}
