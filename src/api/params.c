/* params: see params.h. What chat and legacy completions share, then each one's own. */
#include "api/params.h"
#include "base/mem.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const cJSON *get(const cJSON *o, const char *key) /* NULL for absent and null */
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);
    return v && !cJSON_IsNull(v) ? v : NULL;
}

static int bad(struct problem *p, const char *key, const char *want)
{
    return reply_problem_set(p, 400, "invalid_type", key, "%s must be %s", key, want);
}

struct range { /* of a number, both ends allowed */
    double lo, hi;
    bool whole;
};

static int number(const cJSON *o, const char *key, struct range in, double *out, struct problem *p)
{
    const cJSON *v = get(o, key);
    if (!v)
        return 0;
    if (!cJSON_IsNumber(v))
        return bad(p, key, in.whole ? "a whole number" : "a number");
    double x = v->valuedouble;
    if (!(x >= in.lo && x <= in.hi) || (in.whole && x != floor(x)))
        return reply_problem_set(p, 400, "invalid_value", key, "%s is %.10g, but must be %s between %.10g and %.10g",
                                 key, x, in.whole ? "a whole number" : "a number", in.lo, in.hi);
    *out = x;
    return 0;
}

static int real(const cJSON *o, const char *key, struct range in, float *out, struct problem *p)
{
    double x = (double)*out;
    int rc = number(o, key, in, &x, p);
    *out = (float)x;
    return rc;
}

static int whole(const cJSON *o, const char *key, double lo, double hi, int *out, struct problem *p)
{
    double x = *out;
    int rc = number(o, key, (struct range){lo, hi, true}, &x, p);
    *out = (int)x;
    return rc;
}

int params_int(const cJSON *o, const char *key, int lo, int hi, int *out, struct problem *p)
{
    return whole(o, key, lo, hi, out, p);
}

int params_bool(const cJSON *o, const char *key, bool *out, struct problem *p)
{
    const cJSON *v = get(o, key);
    if (!v)
        return 0;
    if (!cJSON_IsBool(v))
        return bad(p, key, "true or false");
    *out = cJSON_IsTrue(v);
    return 0;
}

int params_string(const cJSON *o, const char *key, const char **out, struct problem *p)
{
    const cJSON *v = get(o, key);
    if (!v)
        return 0;
    if (!cJSON_IsString(v))
        return bad(p, key, "a string");
    *out = v->valuestring;
    return 0;
}

static int read_stop(struct params *q, struct problem *p)
{
    const cJSON *v = get(q->root, "stop"), *s;
    size_t n = 0;
    if (!v)
        return 0;
    if (!cJSON_IsString(v) && !cJSON_IsArray(v))
        return bad(p, "stop", "a string or an array of strings");
    const cJSON one = {.type = cJSON_String, .valuestring = v->valuestring},
                *list = cJSON_IsString(v) ? &one : v->child;
    for (s = list; s; s = s->next) {
        if (!cJSON_IsString(s))
            return bad(p, "stop", "a string or an array of strings");
        if (!s->valuestring[0] || strlen(s->valuestring) > 1000)
            return reply_problem_set(p, 400, "invalid_value", "stop", "a stop string must have 1 to 1000 bytes");
        if (n == PARAMS_MAX_STOP)
            return reply_problem_set(p, 400, "invalid_value", "stop", "stop has more than %d strings", PARAMS_MAX_STOP);
        q->stop[n++] = s->valuestring;
    }
    q->rq.stop = q->stop;
    q->rq.n_stop = n;
    return 0;
}

static int read_bias(struct params *q, struct problem *p)
{
    const cJSON *v = get(q->root, "logit_bias"), *b;
    if (!v)
        return 0;
    int n = cJSON_IsObject(v) ? cJSON_GetArraySize(v) : -1;
    if (n < 0)
        return bad(p, "logit_bias", "an object of token ids and numbers");
    if (n > PARAMS_MAX_BIAS)
        return reply_problem_set(p, 400, "invalid_value", "logit_bias",
                                 "logit_bias has %d entries, at most %d are taken", n, PARAMS_MAX_BIAS);
    q->bias = mem_calloc((size_t)n, sizeof *q->bias);
    if (!q->bias)
        return reply_problem_set(p, 503, "insufficient_memory", NULL, "no memory for the request");
    cJSON_ArrayForEach(b, v)
    {
        char *end;
        errno = 0;
        long id = strtol(b->string, &end, 10);
        if (b->string[0] < '0' || b->string[0] > '9' || *end || errno || id > INT32_MAX)
            return reply_problem_set(p, 400, "invalid_value", "logit_bias", "logit_bias: \"%.40s\" is not a token id",
                                     b->string);
        if (!cJSON_IsNumber(b) || !(b->valuedouble >= -100 && b->valuedouble <= 100))
            return reply_problem_set(p, 400, "invalid_value", "logit_bias",
                                     "logit_bias: the bias of token %ld must be a number between -100 and 100", id);
        q->bias[q->rq.n_bias++] = (struct hearth_bias){(int32_t)id, (float)b->valuedouble};
    }
    q->rq.bias = q->bias;
    return 0;
}

static int read_seed(struct params *q, struct problem *p)
{
    double seed = 0;
    if (!get(q->root, "seed"))
        return 0;
    q->rq.has_seed = true;
    int rc = number(q->root, "seed", (struct range){-9007199254740992.0, 9007199254740992.0, true}, &seed, p);
    q->rq.seed = (uint64_t)(int64_t)seed;
    return rc;
}

static int read_sampling(struct params *q, struct problem *p)
{
    const cJSON *o = q->root;
    struct hearth_request *r = &q->rq;
    const struct range unit = {0, 1, false}, two = {-2, 2, false}, rep = {0.01, 10, false};
    r->temperature = -1; /* absent: the default of session */
    bool has_top_p = get(o, "top_p") != NULL;
    if (real(o, "temperature", (struct range){0, 2, false}, &r->temperature, p) ||
        real(o, "top_p", unit, &r->top_p, p) || real(o, "min_p", unit, &r->min_p, p) ||
        whole(o, "top_k", -1, 1e9, &r->top_k, p) || real(o, "presence_penalty", two, &r->presence_penalty, p) ||
        real(o, "frequency_penalty", two, &r->frequency_penalty, p) ||
        real(o, "repeat_penalty", rep, &r->repetition_penalty, p) ||
        real(o, "repetition_penalty", rep, &r->repetition_penalty, p) ||
        params_bool(o, "ignore_eos", &r->ignore_eos, p) || params_bool(o, "no_spec", &r->no_guess, p) ||
        read_seed(q, p) || read_stop(q, p) || read_bias(q, p))
        return -1;
    if (has_top_p && r->top_p < 1e-6f)
        r->top_p = 1e-6f; /* the most probable token alone; 0 would mean "off" one layer down */
    if (r->top_k < 0)
        r->top_k = 0;
    return 0;
}

static int read_stream(struct params *q, struct problem *p)
{
    const cJSON *so = get(q->root, "stream_options");
    if (params_bool(q->root, "stream", &q->stream, p))
        return -1;
    if (!so)
        return 0;
    if (!cJSON_IsObject(so))
        return bad(p, "stream_options", "an object");
    if (!q->stream)
        return reply_problem_set(p, 400, "invalid_value", "stream_options", "stream_options is only for stream: true");
    return params_bool(so, "include_usage", &q->include_usage, p);
}

/* What cannot be honoured and would change the answer's meaning if it were dropped. */
static int refuse_unsupported(struct params *q, struct problem *p)
{
    const cJSON *o = q->root, *v = get(o, "response_format"), *t = v ? get(v, "type") : NULL;
    static const char *const never[] = {
        "audio",        "functions",     "function_call",  "web_search_options", "guided_json",
        "guided_regex", "guided_choice", "guided_grammar", "structured_outputs", "grammar",
        "json_schema",  "suffix",        "prediction"};
    if (v && !(cJSON_IsObject(v) && cJSON_IsString(t)))
        return bad(p, "response_format", "an object with a type");
    if (v && strcmp(t->valuestring, "text") != 0)
        return reply_problem_set(p, 400, "unsupported", "response_format",
                                 "response_format \"%.40s\" is not supported yet: only \"text\" is", t->valuestring);
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if ((v = get(o, never[i])) && !(cJSON_IsString(v) && !v->valuestring[0]))
            return reply_problem_set(p, 400, "unsupported", never[i], "%s is not supported yet", never[i]);
    if ((v = get(o, "modalities")))
        cJSON_ArrayForEach(t, v) if (!cJSON_IsString(t) ||
                                     strcmp(t->valuestring, "text") !=
                                         0) return reply_problem_set(p, 400, "unsupported", "modalities",
                                                                     "modalities: only \"text\" is supported");
    return 0;
}

/* Seconds as a number, or text as people write it; Ollama's field. */
static int read_keep_alive(struct params *q, struct problem *p)
{
    const cJSON *v = get(q->root, "keep_alive");
    char text[32];
    struct err e;
    if (!v)
        return 0;
    if (!cJSON_IsString(v) && !(cJSON_IsNumber(v) && fabs(v->valuedouble) < 1e9))
        return bad(p, "keep_alive", "seconds, or a time such as \"5m\"");
    if (cJSON_IsNumber(v))
        snprintf(text, sizeof text, "%.3f", v->valuedouble);
    if (hearth_keep_parse(cJSON_IsNumber(v) ? text : v->valuestring, &q->rq.keep_alive, &e))
        return reply_problem_set(p, 400, "invalid_value", "keep_alive", "%s", e.msg);
    return 0;
}

int params_priority(const char *text, int *out, struct problem *p)
{
    static const char *const names[] = {"interactive", "batch", "background"};
    for (int i = 0; i < 3; i++)
        if (!strcmp(text, names[i]) || (text[0] == '0' + i && !text[1])) {
            *out = i;
            return 0;
        }
    return reply_problem_set(p, 400, "invalid_value", "priority",
                             "priority is \"%.40s\", but must be interactive, batch or background", text);
}

static int read_scheduling(struct params *q, struct problem *p)
{
    const cJSON *v = get(q->root, "priority");
    if (v && !cJSON_IsString(v)) {
        if (whole(q->root, "priority", 0, 2, &q->rq.priority, p)) /* as numbers the first is 0 */
            return -1;
    } else if (v && params_priority(v->valuestring, &q->rq.priority, p)) {
        return -1;
    }
    if (number(q->root, "timeout", (struct range){0.001, 1e6, false}, &q->rq.timeout_s, p))
        return -1;
    return read_keep_alive(q, p);
}

static int read_shared(struct params *q, struct problem *p)
{
    int best_of = 0;
    q->n = 1;
    if (read_scheduling(q, p) || params_string(q->root, "model", &q->model, p) || refuse_unsupported(q, p) ||
        read_sampling(q, p) || read_stream(q, p) || whole(q->root, "n", 1, PARAMS_MAX_N, &q->n, p) ||
        whole(q->root, "best_of", 1, PARAMS_MAX_N, &best_of, p) ||
        whole(q->root, "max_tokens", 1, 1e9, &q->rq.max_tokens, p))
        return -1;
    if (best_of && best_of != q->n)
        return reply_problem_set(p, 400, "unsupported", "best_of",
                                 "best_of is not supported: ask for n answers and choose");
    q->rq.n = q->n;
    return 0;
}

static int read_tools(struct params *q, const struct json_span *raw, struct problem *p)
{
    const cJSON *tools = get(q->root, "tools"), *choice = get(q->root, "tool_choice"), *t;
    bool none = choice && cJSON_IsString(choice) && !strcmp(choice->valuestring, "none");
    if (choice && !none && !(cJSON_IsString(choice) && !strcmp(choice->valuestring, "auto")))
        return reply_problem_set(p, 400, "unsupported", "tool_choice",
                                 "only tool_choice \"auto\" and \"none\" are supported yet: a call cannot be forced");
    if (!tools)
        return 0;
    if (!cJSON_IsArray(tools))
        return bad(p, "tools", "an array");
    cJSON_ArrayForEach(t, tools) if (
        !cJSON_IsObject(t) ||
        !cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(
            t,
            "function"))) return reply_problem_set(p, 400, "invalid_value", "tools",
                                                   "tools: each must be {\"type\": \"function\", \"function\": {...}}");
    if (none || !tools->child)
        return 0;
    if (raw->at) { /* as it was sent: the spelling of numbers reaches the template */
        q->tools = mem_strndup(raw->at, raw->len);
    } else {
        struct buf b = {0};
        struct jsonw w;
        jsonw_init(&w, &b);
        json_write(&w, tools);
        q->tools = buf_take(&b);
    }
    return q->tools ? 0 : reply_problem_set(p, 503, "insufficient_memory", NULL, "no memory for the request");
}

static int read_chat(struct params *q, const struct json_facts *f, struct problem *p)
{
    bool logprobs = false;
    int top = -1, max = 0;
    if (read_shared(q, p) || whole(q->root, "max_completion_tokens", 1, 1e9, &max, p) ||
        params_bool(q->root, "logprobs", &logprobs, p) || whole(q->root, "top_logprobs", 0, 20, &top, p))
        return -1;
    if (top >= 0 && !logprobs)
        return reply_problem_set(p, 400, "invalid_value", "top_logprobs", "top_logprobs is only for logprobs: true");
    if (max)
        q->rq.max_tokens = max;
    q->rq.logprobs = logprobs ? (top > 0 ? top : 0) + 1 : 0;
    q->chat = true;
    q->n_prompts = 1;
    const cJSON *m = get(q->root, "messages");
    if (!m)
        return reply_problem_set(p, 400, "missing_parameter", "messages", "messages is missing");
    if (messages_read(m, &q->messages, p) || read_tools(q, &f->found, p))
        return -1;
    q->rq.messages_json = q->messages;
    q->rq.tools_json = q->tools;
    return 0;
}

int params_ids(const cJSON *array, const char *key, int32_t **ids, size_t *n, struct problem *p)
{
    int len = cJSON_GetArraySize(array);
    const cJSON *v;
    *ids = mem_calloc((size_t)(len > 0 ? len : 1), sizeof **ids);
    *n = 0;
    if (!*ids)
        return reply_problem_set(p, 503, "insufficient_memory", NULL, "no memory for the request");
    cJSON_ArrayForEach(v, array)
    {
        if (!cJSON_IsNumber(v) || v->valuedouble < 0 || v->valuedouble > INT32_MAX ||
            v->valuedouble != floor(v->valuedouble)) {
            mem_free(*ids);
            *ids = NULL;
            return reply_problem_set(p, 400, "invalid_value", key, "%s: token ids must be whole numbers, zero or more",
                                     key);
        }
        (*ids)[(*n)++] = (int32_t)v->valuedouble;
    }
    return 0;
}

static int read_prompt(const cJSON *v, struct params_prompt *out, struct problem *p)
{
    if (cJSON_IsString(v)) {
        out->text = v->valuestring;
        out->n = strlen(v->valuestring);
        return 0;
    }
    if (!cJSON_IsArray(v) || !v->child)
        return bad(p, "prompt", "a string, an array of strings, an array of token ids, or an array of those");
    return params_ids(v, "prompt", &out->ids, &out->n, p);
}

static int read_prompts(struct params *q, struct problem *p)
{
    const cJSON *v = get(q->root, "prompt"), *kid;
    if (!v)
        return reply_problem_set(p, 400, "missing_parameter", "prompt", "prompt is missing");
    bool many = cJSON_IsArray(v) && v->child && !cJSON_IsNumber(v->child);
    size_t count = many ? (size_t)cJSON_GetArraySize(v) : 1;
    if (count * (size_t)q->n > PARAMS_MAX_CHOICES)
        return reply_problem_set(
            p, 400, "invalid_value", "prompt",
            "%zu prompts with %d choices each are more than the %d answers one request may ask for", count, q->n,
            PARAMS_MAX_CHOICES);
    q->prompt = mem_calloc(count, sizeof *q->prompt);
    if (!q->prompt)
        return reply_problem_set(p, 503, "insufficient_memory", NULL, "no memory for the request");
    q->n_prompts = count;
    if (!many)
        return read_prompt(v, &q->prompt[0], p);
    size_t i = 0;
    cJSON_ArrayForEach(kid, v) if (read_prompt(kid, &q->prompt[i++], p)) return -1;
    return 0;
}

static int read_completion(struct params *q, const struct json_facts *f, struct problem *p)
{
    (void)f;
    int logprobs = -1;
    q->rq.max_tokens = 16; /* OpenAI's default for this endpoint */
    if (read_shared(q, p) || whole(q->root, "logprobs", 0, 20, &logprobs, p) ||
        params_bool(q->root, "echo", &q->echo, p))
        return -1;
    if (q->echo && logprobs >= 0)
        return reply_problem_set(p, 400, "unsupported", "echo", "echo together with logprobs is not supported yet");
    q->rq.logprobs = logprobs + 1;
    return read_prompts(q, p);
}

static int read_body(struct params *q, const struct json_facts *f, struct problem *p)
{
    (void)f;
    return params_string(q->root, "model", &q->model, p) || read_scheduling(q, p) ? -1 : 0;
}

/* Checked, then reserved, then read: a short text can stand for a large tree. */
static int read_tree(struct params *q, const char *text, size_t len, struct json_facts *f, struct problem *p)
{
    struct err e;
    if (json_check(text, len, f, &e))
        return reply_problem_set(p, 400, "invalid_json", NULL, "%s", e.msg);
    size_t bytes = json_tree_bytes(f->n_values, len);
    if (q->budget && q->budget->reserve(q->budget->arg, bytes))
        return reply_problem_set(p, 503, "insufficient_memory", NULL, "no memory left to read the body");
    q->tree_bytes = bytes;
    int rc = json_read(text, len, &q->root, &e);
    if (!rc)
        return 0;
    return rc == ERR_NOMEM ? reply_problem_from(p, &e, NULL)
                           : reply_problem_set(p, 400, "invalid_json", NULL, "%s", e.msg);
}

static int read_with(int (*read)(struct params *, const struct json_facts *, struct problem *), const char *text,
                     size_t len, struct params *out, struct problem *p)
{
    struct json_facts f = {.want = "tools"};
    *out = (struct params){.budget = out->budget};
    int rc = read_tree(out, text, len, &f, p);
    if (!rc)
        rc = read(out, &f, p);
    if (rc)
        params_done(out);
    return rc;
}

int params_read_chat(const char *text, size_t len, struct params *out, struct problem *p)
{
    return read_with(read_chat, text, len, out, p);
}

int params_read_completion(const char *text, size_t len, struct params *out, struct problem *p)
{
    return read_with(read_completion, text, len, out, p);
}

int params_read_body(const char *text, size_t len, struct params *out, struct problem *p)
{
    return read_with(read_body, text, len, out, p);
}

void params_done(struct params *q)
{
    for (size_t i = 0; q->prompt && i < q->n_prompts; i++)
        mem_free(q->prompt[i].ids);
    mem_free(q->prompt);
    mem_free(q->bias);
    mem_free(q->messages);
    mem_free(q->tools);
    cJSON_Delete(q->root);
    if (q->budget && q->tree_bytes)
        q->budget->release(q->budget->arg, q->tree_bytes);
    *q = (struct params){.budget = q->budget};
}
