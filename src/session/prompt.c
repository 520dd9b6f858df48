/* prompt: what a request says -> token ids. Messages are checked and brought into the shape that templates expect, rendered
 * with every byte marked as the template's or the caller's, and encoded: only the template's bytes become special tokens. */
#include "base/mem.h"
#include "session/state.h"
#include <cjson/cJSON.h>
#include <string.h>

enum { MESSAGES_MAX = 8192, JSON_MAX = 64 << 20 };

static cJSON *parse(const char *json, const char *what, struct err *e)
{
    if (strlen(json) > JSON_MAX) {
        err_set(e, ERR_LIMIT, "%s is larger than %d MiB", what, JSON_MAX >> 20);
        return NULL;
    }
    cJSON *j = cJSON_ParseWithOpts(json, NULL, true);
    if (!j)
        err_set(e, ERR_USAGE, "%s is not valid JSON", what);
    else if (!cJSON_IsArray(j)) {
        err_set(e, ERR_USAGE, "%s is not an array", what);
        cJSON_Delete(j);
        return NULL;
    }
    return j;
}

/* [{"type":"text","text":...}, ...] -> one string */
static int join_parts(cJSON *msg, const cJSON *parts, int at, struct err *e)
{
    struct buf b = {0};
    const cJSON *part;
    int rc = 0;
    cJSON_ArrayForEach(part, parts)
    {
        const cJSON *type = cJSON_GetObjectItemCaseSensitive(part, "type"),
                    *text = cJSON_GetObjectItemCaseSensitive(part, "text");
        if (cJSON_IsString(type) && strcmp(type->valuestring, "text") != 0) {
            rc = err_set(e, ERR_UNSUPPORTED, "messages[%d] holds a part of type \"%.40s\"; this model reads text only",
                         at, type->valuestring);
            break;
        }
        if (!cJSON_IsString(text)) {
            rc = err_set(e, ERR_USAGE, "messages[%d] holds a text part without text", at);
            break;
        }
        buf_str(&b, text->valuestring);
    }
    cJSON *whole = rc == 0 && !b.failed ? cJSON_CreateString(b.data ? b.data : "") : NULL;
    buf_done(&b);
    if (rc == 0 && (!whole || !cJSON_ReplaceItemInObjectCaseSensitive(msg, "content", whole))) {
        cJSON_Delete(whole);
        rc = err_set(e, ERR_NOMEM, "no memory for a message");
    }
    return rc;
}

/* Templates print a call's arguments as an object; over the wire they travel as its JSON text. */
static int unwrap_arguments(cJSON *calls, int at, struct err *e)
{
    cJSON *call;
    cJSON_ArrayForEach(call, calls)
    {
        cJSON *fn = cJSON_GetObjectItemCaseSensitive(call, "function");
        const cJSON *args = cJSON_GetObjectItemCaseSensitive(fn, "arguments");
        if (!cJSON_IsObject(call) || !cJSON_IsObject(fn))
            return err_set(e, ERR_USAGE, "messages[%d].tool_calls holds something that is no function call", at);
        cJSON *obj = cJSON_IsString(args) ? cJSON_ParseWithOpts(args->valuestring, NULL, true) : NULL;
        if (obj && !(cJSON_IsObject(obj) && cJSON_ReplaceItemInObjectCaseSensitive(fn, "arguments", obj)))
            cJSON_Delete(obj); /* text that is no object stays text */
    }
    return 0;
}

static int check_role(cJSON *msg, int at, struct err *e)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool", "function", NULL};
    cJSON *role = cJSON_GetObjectItemCaseSensitive(msg, "role");
    if (!cJSON_IsString(role))
        return err_set(e, ERR_USAGE, "messages[%d] has no role", at);
    if (strcmp(role->valuestring, "developer") == 0) /* the newer name of the same thing; no template knows it */
        return cJSON_SetValuestring(role, "system") ? 0 : err_set(e, ERR_NOMEM, "no memory for a message");
    for (int i = 0; roles[i]; i++)
        if (strcmp(role->valuestring, roles[i]) == 0)
            return 0;
    return err_set(e, ERR_USAGE, "messages[%d] has the unknown role \"%.40s\"", at, role->valuestring);
}

static int check_message(cJSON *msg, int at, struct err *e)
{
    if (!cJSON_IsObject(msg))
        return err_set(e, ERR_USAGE, "messages[%d] is not an object", at);
    int rc = check_role(msg, at, e);
    if (rc < 0)
        return rc;
    cJSON *calls = cJSON_GetObjectItemCaseSensitive(msg, "tool_calls");
    if (cJSON_IsArray(calls) && (rc = unwrap_arguments(calls, at, e)) < 0)
        return rc;
    cJSON *content = cJSON_GetObjectItemCaseSensitive(msg, "content");
    if (cJSON_IsString(content))
        return 0;
    if (cJSON_IsArray(content))
        return join_parts(msg, content, at, e);
    if (content && !cJSON_IsNull(content))
        return err_set(e, ERR_USAGE, "messages[%d].content is neither text nor an array of parts", at);
    if (!cJSON_GetArraySize(calls))
        return err_set(e, ERR_USAGE, "messages[%d] has no content", at);
    cJSON_DeleteItemFromObjectCaseSensitive(msg, "content");
    return cJSON_AddStringToObject(msg, "content", "") ? 0 : err_set(e, ERR_NOMEM, "no memory for a message");
}

static int check_messages(const cJSON *messages, struct err *e)
{
    int n = cJSON_GetArraySize(messages), at = 0;
    if (n == 0)
        return err_set(e, ERR_USAGE, "messages is empty");
    if (n > MESSAGES_MAX)
        return err_set(e, ERR_LIMIT, "messages holds %d messages, at most %d are read", n, MESSAGES_MAX);
    cJSON *msg;
    cJSON_ArrayForEach(msg, messages)
    {
        int rc = check_message(msg, at++, e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int make_context(struct hearth_model *m, const struct hearth_request *r, cJSON **out, struct err *e)
{
    cJSON *ctx = cJSON_CreateObject(), *messages = parse(r->messages_json, "messages", e);
    *out = ctx;
    if (!ctx || !messages || !cJSON_AddItemToObject(ctx, "messages", messages)) {
        cJSON_Delete(messages);
        return messages ? err_set(e, ERR_NOMEM, "no memory for a prompt") : (e ? e->code : ERR_USAGE);
    }
    int rc = check_messages(messages, e);
    if (rc < 0)
        return rc;
    if (r->tools_json) {
        cJSON *tools = parse(r->tools_json, "tools", e);
        if (!tools)
            return e ? e->code : ERR_USAGE;
        if (!cJSON_GetArraySize(tools)) /* no tools and an empty list of them read the same */
            cJSON_Delete(tools);
        else
            cJSON_AddItemToObject(ctx, "tools", tools);
    }
    cJSON_AddBoolToObject(ctx, "add_generation_prompt", 1);
    cJSON_AddStringToObject(ctx, "bos_token", m->bos);
    cJSON_AddStringToObject(ctx, "eos_token", m->eos);
    return 0;
}

/* Many templates refuse what clients send: several system messages, or two of one role in a row. Joins neighbours of one role
 * and moves system texts to the front. True if that changed anything. */
static bool normalise(cJSON *ctx)
{
    cJSON *old = cJSON_GetObjectItemCaseSensitive(ctx, "messages"), *out = cJSON_CreateArray(), *msg;
    bool changed = false;
    for (int system = 1; system >= 0; system--)
        cJSON_ArrayForEach(msg, old)
        {
            const char *role = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(msg, "role"));
            if ((strcmp(role, "system") == 0) != system)
                continue;
            cJSON *last = cJSON_GetArrayItem(out, cJSON_GetArraySize(out) - 1);
            const char *last_role = last ? cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(last, "role")) : "";
            bool plain = !cJSON_HasObjectItem(msg, "tool_calls") && strcmp(role, "tool") != 0;
            if (!plain || strcmp(role, last_role) != 0 || cJSON_HasObjectItem(last, "tool_calls")) {
                cJSON_AddItemToArray(out, cJSON_Duplicate(msg, 1));
                continue;
            }
            struct buf b = {0};
            buf_str(&b, cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(last, "content")));
            buf_str(&b, "\n\n");
            buf_str(&b, cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(msg, "content")));
            if (!b.failed)
                cJSON_ReplaceItemInObjectCaseSensitive(last, "content", cJSON_CreateString(b.data));
            buf_done(&b);
            changed = true;
        }
    const char *first = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(old, 0), "role"));
    const char *now = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(out, 0), "role"));
    changed |= first && now && strcmp(first, now) != 0;
    cJSON_ReplaceItemInObjectCaseSensitive(ctx, "messages", out);
    return changed;
}

int prompt_render(struct hearth_model *m, const char *messages_json, const char *tools_json, struct buf *out,
                  uint8_t **trusted, struct err *e)
{
    if (!m->tmpl) {
        if (e)
            *e = m->tmpl_err;
        return m->tmpl_err.code;
    }
    struct hearth_request r = {.messages_json = messages_json, .tools_json = tools_json};
    struct err own;
    cJSON *ctx;
    int rc = make_context(m, &r, &ctx, e ? e : &own);
    if (rc == 0) {
        rc = chat_template_render(m->tmpl, ctx, out, trusted, e);
        if (rc == ERR_RANGE && normalise(ctx)) {
            buf_reset(out);
            rc = chat_template_render(m->tmpl, ctx, out, trusted, e);
        }
    }
    cJSON_Delete(ctx);
    return rc;
}

static int chat_ids(struct hearth_model *m, const struct hearth_request *r, struct token_list *out, struct err *e)
{
    struct buf text = {0};
    uint8_t *trusted = NULL;
    int rc = prompt_render(m, r->messages_json, r->tools_json, &text, &trusted, e);
    if (rc == 0)
        rc = tokenizer_encode(m->tok, text.data ? text.data : "", text.len, trusted, TOK_PARSE_SPECIAL, out, e);
    mem_free(trusted);
    buf_done(&text);
    return rc;
}

static int given_ids(const struct hearth_request *r, struct token_list *out, struct err *e)
{
    out->id = mem_grow(NULL, &out->cap, r->n_ids ? r->n_ids : 1, sizeof *out->id);
    if (!out->id)
        return err_set(e, ERR_NOMEM, "no memory for a prompt");
    memcpy(out->id, r->ids, r->n_ids * sizeof *r->ids);
    out->n = r->n_ids;
    return 0;
}

int prompt_ids(struct hearth_model *m, const struct hearth_request *r, struct token_list *out, struct err *e)
{
    if (r->messages_json)
        return chat_ids(m, r, out, e);
    if (r->ids)
        return given_ids(r, out, e);
    if (!r->prompt)
        return err_set(e, ERR_USAGE, "the request has neither messages nor a prompt");
    size_t n = r->prompt_len ? r->prompt_len : strlen(r->prompt);
    unsigned flags = TOK_ADD_SPECIAL | (r->parse_special ? (unsigned)TOK_PARSE_SPECIAL : 0);
    return tokenizer_encode(m->tok, r->prompt, n, NULL, flags, out, e);
}

int hearth_render(struct hearth_model *m, const char *messages_json, const char *tools_json, char **text, struct err *e)
{
    struct buf b = {0};
    uint8_t *trusted = NULL;
    int rc = prompt_render(m, messages_json, tools_json, &b, &trusted, e);
    mem_free(trusted);
    if (rc < 0) {
        buf_done(&b);
        return rc;
    }
    *text = buf_take(&b);
    return *text ? 0 : err_set(e, ERR_NOMEM, "no memory for a prompt");
}

int hearth_tokenize(struct hearth_model *m, const char *text, size_t n, bool add_special, bool parse_special,
                    int32_t **ids, size_t *n_ids, struct err *e)
{
    struct token_list l = {0};
    unsigned flags = (add_special ? (unsigned)TOK_ADD_SPECIAL : 0) | (parse_special ? (unsigned)TOK_PARSE_SPECIAL : 0);
    int rc = tokenizer_encode(m->tok, text, n, NULL, flags, &l, e);
    if (rc < 0) {
        token_list_done(&l);
        return rc;
    }
    *ids = l.id;
    *n_ids = l.n;
    return 0;
}

int hearth_detokenize(struct hearth_model *m, const int32_t *ids, size_t n, char **text, struct err *e)
{
    struct detok d;
    struct buf b = {0};
    detok_init(&d, m->tok);
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= tokenizer_vocab(m->tok)) {
            buf_done(&b);
            return err_set(e, ERR_RANGE, "token %zu is %d, the vocabulary has %zu", i, ids[i], tokenizer_vocab(m->tok));
        }
        detok_feed(&d, ids[i], &b);
    }
    detok_finish(&d, &b);
    *text = buf_take(&b);
    return *text ? 0 : err_set(e, ERR_NOMEM, "no memory for a text");
}
