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
    reply_problem_set(&p, 400, "missing_parameter", param, "%s", what);
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
    if (messages_read(cJSON_GetObjectItemCaseSensitive(g->p.root, "messages"), &messages, &p))
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

enum route_result tokens_encode_post(struct api *a, struct http_req *r)
{
    return gen_with_model(a, r, tokenize_start);
}

enum route_result tokens_decode_post(struct api *a, struct http_req *r)
{
    return gen_with_model(a, r, detokenize_start);
}
