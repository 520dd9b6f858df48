/* json: strict checking of untrusted JSON text, and the bridge between cJSON's trees and our writer. */
#include "api/json.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct check {
    const char *text, *p, *end;
    size_t n_values;
    struct json_facts *facts;
    const char *why;
    int code;
};

static bool fail(struct check *c, const char *why)
{
    if (!c->why)
        c->why = why;
    return false;
}

static bool limit(struct check *c, const char *why)
{
    c->code = ERR_LIMIT;
    return fail(c, why);
}

static void space(struct check *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\n' || *c->p == '\r'))
        c->p++;
}

/* Length of the UTF-8 sequence at s (Unicode table 3-7: shortest forms, no surrogates), 0 if it is none. */
static size_t utf8_len(const unsigned char *s, size_t left)
{
    if (s[0] < 0x80)
        return 1;
    size_t n = s[0] >= 0xc2 && s[0] <= 0xdf ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : 0;
    if (n == 0 || n > left)
        return 0;
    unsigned lo = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
    unsigned hi = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
    if (s[1] < lo || s[1] > hi)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

static int hex4(const char *p, const char *end)
{
    if (end - p < 4)
        return -1;
    int v = 0;
    for (int i = 0; i < 4; i++) {
        char ch = p[i];
        int d = ch >= '0' && ch <= '9'   ? ch - '0'
                : ch >= 'a' && ch <= 'f' ? ch - 'a' + 10
                : ch >= 'A' && ch <= 'F' ? ch - 'A' + 10
                                         : -1;
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    return v;
}

static bool escape(struct check *c) /* after the backslash */
{
    if (c->p >= c->end)
        return fail(c, "string without an end");
    char ch = *c->p++;
    if (ch != 'u')
        return strchr("\"\\/bfnrt", ch) && ch ? true : fail(c, "unknown escape in a string");
    int v = hex4(c->p, c->end);
    if (v < 0)
        return fail(c, "\\u wants four hexadecimal digits");
    c->p += 4;
    if (v == 0)
        return fail(c, "the character \\u0000 cannot be taken");
    if (v >= 0xdc00 && v <= 0xdfff)
        return fail(c, "half of a surrogate pair");
    if (v >= 0xd800 && v <= 0xdbff) {
        int low = c->end - c->p >= 6 && c->p[0] == '\\' && c->p[1] == 'u' ? hex4(c->p + 2, c->end) : -1;
        if (low < 0xdc00 || low > 0xdfff)
            return fail(c, "half of a surrogate pair");
        c->p += 6;
    }
    return true;
}

static bool string(struct check *c) /* at the opening quote */
{
    c->p++;
    while (c->p < c->end) {
        unsigned char ch = (unsigned char)*c->p;
        if (ch == '"') {
            c->p++;
            return true;
        }
        if (ch < 0x20)
            return fail(c, "control character in a string");
        if (ch == '\\') {
            c->p++;
            if (!escape(c))
                return false;
            continue;
        }
        size_t n = utf8_len((const unsigned char *)c->p, (size_t)(c->end - c->p));
        if (n == 0)
            return fail(c, "not valid UTF-8");
        c->p += n;
    }
    return fail(c, "string without an end");
}

static size_t digits(struct check *c)
{
    const char *from = c->p;
    while (c->p < c->end && *c->p >= '0' && *c->p <= '9')
        c->p++;
    return (size_t)(c->p - from);
}

static bool number(struct check *c)
{
    const char *from = c->p;
    bool wide = false;
    if (*c->p == '-')
        c->p++;
    bool zero = c->p < c->end && *c->p == '0';
    size_t n = digits(c);
    if (n == 0 || (zero && n > 1))
        return fail(c, "not a number");
    if (c->p < c->end && *c->p == '.') {
        c->p++;
        if (digits(c) == 0)
            return fail(c, "digits must follow the decimal point");
    }
    if (c->p < c->end && (*c->p == 'e' || *c->p == 'E')) {
        wide = true;
        c->p++;
        if (c->p < c->end && (*c->p == '+' || *c->p == '-'))
            c->p++;
        if (digits(c) == 0)
            return fail(c, "digits must follow the exponent's e");
    }
    if ((wide || n > 300) && !isfinite(strtod(from, NULL)))
        return fail(c, "number too large");
    return true;
}

static bool value(struct check *c, int depth);

static bool array(struct check *c, int depth)
{
    c->p++;
    space(c);
    if (c->p < c->end && *c->p == ']') {
        c->p++;
        return true;
    }
    for (;;) {
        if (!value(c, depth + 1))
            return false;
        space(c);
        char ch = c->p < c->end ? *c->p : 0;
        if (ch != ',' && ch != ']')
            return fail(c, "expected , or ] in an array");
        c->p++;
        if (ch == ']')
            return true;
    }
}

static bool wanted(const struct check *c, const char *key, size_t n)
{
    const struct json_facts *f = c->facts;
    return f && f->want && !f->found.at && strlen(f->want) == n && memcmp(key, f->want, n) == 0;
}

static bool member(struct check *c, int depth)
{
    space(c);
    if (c->p >= c->end || *c->p != '"')
        return fail(c, "expected a key in quotes");
    const char *key = c->p + 1;
    if (!string(c))
        return false;
    size_t n = (size_t)(c->p - 1 - key);
    if (depth == 0 && c->facts &&
        memchr(key, '\\', n)) { /* an escaped key may be the wanted one in disguise: find none */
        c->facts->want = NULL;
        c->facts->found = (struct json_span){0};
    }
    bool note = depth == 0 && wanted(c, key, n);
    space(c);
    if (c->p >= c->end || *c->p != ':')
        return fail(c, "expected : after a key");
    c->p++;
    space(c);
    const char *from = c->p;
    if (!value(c, depth + 1))
        return false;
    if (note)
        c->facts->found = (struct json_span){from, (size_t)(c->p - from)};
    return true;
}

static bool object(struct check *c, int depth)
{
    c->p++;
    space(c);
    if (c->p < c->end && *c->p == '}') {
        c->p++;
        return true;
    }
    for (;;) {
        if (!member(c, depth))
            return false;
        space(c);
        char ch = c->p < c->end ? *c->p : 0;
        if (ch != ',' && ch != '}')
            return fail(c, "expected , or } in an object");
        c->p++;
        if (ch == '}')
            return true;
    }
}

static bool word(struct check *c, const char *w)
{
    size_t n = strlen(w);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, w, n) != 0)
        return fail(c, "not a value");
    c->p += n;
    return true;
}

static bool value(struct check *c, int depth)
{
    if (depth >= JSON_MAX_DEPTH)
        return limit(c, "nested too deeply");
    if (++c->n_values > JSON_MAX_VALUES)
        return limit(c, "too many values");
    space(c);
    switch (c->p < c->end ? *c->p : 0) {
    case '{':
        return object(c, depth);
    case '[':
        return array(c, depth);
    case '"':
        return string(c);
    case 't':
        return word(c, "true");
    case 'f':
        return word(c, "false");
    case 'n':
        return word(c, "null");
    case 0:
        return fail(c, c->p < c->end ? "not a value" : "the text ends too early");
    default:
        return number(c);
    }
}

int json_check(const char *text, size_t n, struct json_facts *facts, struct err *e)
{
    struct check c = {.text = text, .p = text, .end = text + n, .facts = facts, .code = ERR_FORMAT};
    bool ok = value(&c, 0);
    if (ok) {
        space(&c);
        if (c.p < c.end)
            ok = fail(&c, "text after the end");
    }
    if (facts)
        facts->n_values = c.n_values;
    if (ok)
        return 0;
    size_t line = 1, column = 1;
    for (const char *q = text; q < c.p; q++) {
        column = *q == '\n' ? 1 : column + 1;
        line += *q == '\n';
    }
    return err_set(e, c.code, "the body is not valid JSON: line %zu, column %zu: %s", line, column, c.why);
}

size_t json_tree_bytes(size_t n_values, size_t n)
{
    return n_values * (sizeof(cJSON) + 2 * sizeof(void *)) + 3 * n;
}

int json_read(const char *text, size_t n, cJSON **root, struct err *e)
{
    cJSON *v = cJSON_ParseWithLength(text, n);
    if (!v)
        return err_set(e, ERR_NOMEM, "no memory to read the body");
    if (!cJSON_IsObject(v)) {
        cJSON_Delete(v);
        return err_set(e, ERR_FORMAT, "the body must be a JSON object");
    }
    *root = v;
    return 0;
}

void json_write(struct jsonw *w, const cJSON *v)
{
    const cJSON *kid;
    if (cJSON_IsString(v)) {
        jsonw_str(w, v->valuestring);
    } else if (cJSON_IsNumber(v)) {
        if (fabs(v->valuedouble) < 1e15 && floor(v->valuedouble) == v->valuedouble)
            jsonw_int(w, (int64_t)v->valuedouble);
        else
            jsonw_double(w, v->valuedouble);
    } else if (cJSON_IsBool(v)) {
        jsonw_bool(w, cJSON_IsTrue(v));
    } else if (cJSON_IsArray(v)) {
        jsonw_arr(w);
        cJSON_ArrayForEach(kid, v) json_write(w, kid);
        jsonw_end_arr(w);
    } else if (cJSON_IsObject(v)) {
        jsonw_obj(w);
        cJSON_ArrayForEach(kid, v)
        {
            jsonw_key(w, kid->string);
            json_write(w, kid);
        }
        jsonw_end_obj(w);
    } else {
        jsonw_null(w);
    }
}
