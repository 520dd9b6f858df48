/* messages: OpenAI's message array -> the array a chat template gets: content as one string, "developer" as "system", arguments of
 * earlier tool calls as objects. Anything else passes as it came. What cannot be shown to a text model is refused. */
#include "api/params.h"
#include "base/mem.h"
#include <stdio.h>
#include <string.h>

struct at { /* where we are, for error messages */
    char path[56];
    struct problem *p;
};

static int refuse(const struct at *a, const char *code, const char *why)
{
    return reply_problem_set(a->p, 400, code, a->path, "%s: %s", a->path, why);
}

/* Text parts are joined by line ends, as vLLM and llama.cpp do for templates that want a string. */
static int write_parts(struct jsonw *w, const cJSON *parts, const struct at *a)
{
    struct buf text = {0};
    const cJSON *part;
    int rc = 0;
    cJSON_ArrayForEach(part, parts)
    {
        const cJSON *type = cJSON_GetObjectItemCaseSensitive(part, "type"),
                    *t = cJSON_GetObjectItemCaseSensitive(part, "text");
        if (!cJSON_IsObject(part) || !cJSON_IsString(type)) {
            rc = refuse(a, "invalid_type", "a content part must be an object with a type");
        } else if (strcmp(type->valuestring, "text") != 0) {
            rc = reply_problem_set(a->p, 400, "unsupported", a->path,
                                   "%s: content parts of type \"%.40s\" are not supported yet: only text is", a->path,
                                   type->valuestring);
        } else if (!cJSON_IsString(t)) {
            rc = refuse(a, "invalid_type", "a text part must have a text");
        }
        if (rc)
            break;
        if (part != parts->child)
            buf_char(&text, '\n');
        buf_str(&text, t->valuestring);
    }
    if (text.failed && !rc)
        rc = reply_problem_set(a->p, 503, "insufficient_memory", NULL, "no memory for the request");
    if (!rc)
        jsonw_strn(w, text.data ? text.data : "", text.len);
    buf_done(&text);
    return rc;
}

static int write_content(struct jsonw *w, const cJSON *v, const struct at *a)
{
    jsonw_key(w, "content");
    if (cJSON_IsString(v)) {
        jsonw_str(w, v->valuestring);
        return 0;
    }
    if (cJSON_IsNull(v)) {
        jsonw_null(w);
        return 0;
    }
    if (cJSON_IsArray(v))
        return write_parts(w, v, a);
    return refuse(a, "invalid_type", "content must be a string, null or an array of parts");
}

static void write_arguments(struct jsonw *w, const cJSON *v)
{
    const char *s = cJSON_IsString(v) ? v->valuestring : "";
    if (s[strspn(s, " \t\r\n")] == '{' && json_check(s, strlen(s), NULL, NULL) == 0)
        jsonw_raw(w, s);
    else
        json_write(w, v);
}

static int write_calls(struct jsonw *w, const cJSON *calls, const struct at *a)
{
    const cJSON *call, *kid, *f;
    if (!cJSON_IsArray(calls))
        return refuse(a, "invalid_type", "tool_calls must be an array");
    jsonw_arr(w);
    cJSON_ArrayForEach(call, calls)
    {
        if (!cJSON_IsObject(call))
            return refuse(a, "invalid_type", "a tool call must be an object");
        jsonw_obj(w);
        cJSON_ArrayForEach(kid, call)
        {
            jsonw_key(w, kid->string);
            if (strcmp(kid->string, "function") != 0 || !cJSON_IsObject(kid)) {
                json_write(w, kid);
                continue;
            }
            jsonw_obj(w);
            cJSON_ArrayForEach(f, kid)
            {
                jsonw_key(w, f->string);
                if (!strcmp(f->string, "arguments"))
                    write_arguments(w, f);
                else
                    json_write(w, f);
            }
            jsonw_end_obj(w);
        }
        jsonw_end_obj(w);
    }
    jsonw_end_arr(w);
    return 0;
}

static int write_message(struct jsonw *w, const cJSON *m, const struct at *a)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool", "function"};
    const cJSON *role = cJSON_GetObjectItemCaseSensitive(m, "role"), *kid;
    size_t i = 0, n = sizeof roles / sizeof *roles;
    if (!cJSON_IsObject(m) || !cJSON_IsString(role))
        return refuse(a, "invalid_type", "a message must be an object with a role");
    while (i < n && strcmp(roles[i], role->valuestring) != 0)
        i++;
    if (i == n)
        return reply_problem_set(a->p, 400, "invalid_value", a->path, "%s: the role \"%.40s\" is not known", a->path,
                                 role->valuestring);
    const cJSON *content = cJSON_GetObjectItemCaseSensitive(m, "content"),
                *calls = cJSON_GetObjectItemCaseSensitive(m, "tool_calls");
    bool assistant = !strcmp(role->valuestring, "assistant");
    if ((!content || cJSON_IsNull(content)) && !assistant)
        return refuse(a, "invalid_value", "content is missing");
    jsonw_obj(w);
    jsonw_kstr(w, "role", i == 1 ? "system" : role->valuestring);
    if (content && write_content(w, content, a))
        return -1;
    if (calls && !cJSON_IsNull(calls)) {
        jsonw_key(w, "tool_calls");
        if (write_calls(w, calls, a))
            return -1;
    }
    cJSON_ArrayForEach(kid, m)
    {
        if (!strcmp(kid->string, "role") || !strcmp(kid->string, "content") || !strcmp(kid->string, "tool_calls"))
            continue;
        jsonw_key(w, kid->string);
        json_write(w, kid);
    }
    jsonw_end_obj(w);
    return 0;
}

int messages_read(const cJSON *messages, char **out, struct problem *p)
{
    struct buf b = {0};
    struct jsonw w;
    struct at a = {.path = "messages", .p = p};
    const cJSON *m;
    int i = 0;
    if (!cJSON_IsArray(messages))
        return refuse(&a, "invalid_type", "must be an array");
    if (!messages->child)
        return refuse(&a, "invalid_value", "is empty");
    jsonw_init(&w, &b);
    jsonw_arr(&w);
    cJSON_ArrayForEach(m, messages)
    {
        snprintf(a.path, sizeof a.path, "messages[%d]", i++);
        if (write_message(&w, m, &a)) {
            buf_done(&b);
            return -1;
        }
    }
    jsonw_end_arr(&w);
    *out = buf_take(&b);
    return *out ? 0 : reply_problem_set(p, 503, "insufficient_memory", NULL, "no memory for the request");
}
