/* jsonw: JSON text out. Owns punctuation, escapes and number formats; knows nothing about what is written. */
#include "base/buf.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JSONW_DEPTH = 60 };

void jsonw_init(struct jsonw *w, struct buf *out)
{
    *w = (struct jsonw){.out = out, .first = 1};
}

/* What stands before a value: a comma unless it is the first of its level or follows its key. */
static void jsonw_sep(struct jsonw *w)
{
    uint64_t bit = UINT64_C(1) << w->depth;
    if (w->after_key)
        w->after_key = false;
    else if (w->first & bit)
        w->first &= ~bit;
    else
        buf_char(w->out, ',');
}

static void jsonw_open(struct jsonw *w, char c)
{
    jsonw_sep(w);
    buf_char(w->out, c);
    if (w->depth == JSONW_DEPTH) {
        w->out->failed = true; /* deeper than any reply of ours; sticky like an allocation failure */
        return;
    }
    w->depth++;
    w->first |= UINT64_C(1) << w->depth;
}

static void jsonw_close(struct jsonw *w, char c)
{
    buf_char(w->out, c);
    if (w->depth > 0)
        w->depth--;
}

void jsonw_obj(struct jsonw *w)
{
    jsonw_open(w, '{');
}

void jsonw_end_obj(struct jsonw *w)
{
    jsonw_close(w, '}');
}

void jsonw_arr(struct jsonw *w)
{
    jsonw_open(w, '[');
}

void jsonw_end_arr(struct jsonw *w)
{
    jsonw_close(w, ']');
}

/* Length of the well-formed UTF-8 sequence at p (n >= 1 bytes left), 0 if there is none (RFC 3629: no overlong forms, no
 * surrogates, nothing over U+10FFFF). */
static size_t jsonw_utf8(const unsigned char *p, size_t n)
{
    unsigned c = p[0];
    if (c < 0x80)
        return 1;
    size_t len = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
    if (c < 0xC2 || c > 0xF4 || n < len)
        return 0;
    unsigned lo = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
    unsigned hi = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
    if (p[1] < lo || p[1] > hi)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    return len;
}

static void jsonw_escape(struct buf *b, unsigned char c)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *at = c ? strchr(from, c) : NULL;
    if (at)
        buf_add(b, (char[]){'\\', to[at - from]}, 2);
    else
        buf_printf(b, "\\u%04x", c);
}

static void jsonw_quote(struct buf *b, const char *s, size_t n)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t start = 0, i = 0; /* [start, i) is clean and not yet copied */
    buf_char(b, '"');
    while (i < n) {
        if (p[i] >= 0x20 && p[i] < 0x80 && p[i] != '"' && p[i] != '\\') {
            i++;
            continue;
        }
        size_t len = jsonw_utf8(p + i, n - i);
        if (len > 1) {
            i += len;
            continue;
        }
        buf_add(b, s + start, i - start);
        if (len == 1)
            jsonw_escape(b, p[i]);
        else
            buf_str(b, "\xEF\xBF\xBD");
        start = ++i;
    }
    buf_add(b, s + start, n - start);
    buf_char(b, '"');
}

void jsonw_key(struct jsonw *w, const char *key)
{
    jsonw_sep(w);
    jsonw_quote(w->out, key, strlen(key));
    buf_char(w->out, ':');
    w->after_key = true;
}

void jsonw_strn(struct jsonw *w, const char *s, size_t n)
{
    jsonw_sep(w);
    jsonw_quote(w->out, s, n);
}

void jsonw_str(struct jsonw *w, const char *s)
{
    if (s)
        jsonw_strn(w, s, strlen(s));
    else
        jsonw_null(w);
}

void jsonw_int(struct jsonw *w, int64_t v)
{
    jsonw_sep(w);
    buf_printf(w->out, "%" PRId64, v);
}

/* printf obeys the locale; JSON does not. */
static void jsonw_number(struct jsonw *w, char *text)
{
    for (char *p = text; *p; p++)
        if (*p == ',')
            *p = '.';
    jsonw_sep(w);
    buf_str(w->out, text);
}

void jsonw_double(struct jsonw *w, double v)
{
    char text[40];
    if (!isfinite(v)) {
        jsonw_null(w);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    jsonw_number(w, text);
}

void jsonw_float(struct jsonw *w, float v)
{
    char text[40];
    if (!isfinite(v)) {
        jsonw_null(w);
        return;
    }
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)v);
        if (strtof(text, NULL) == v)
            break;
    }
    jsonw_number(w, text);
}

void jsonw_bool(struct jsonw *w, bool v)
{
    jsonw_sep(w);
    buf_str(w->out, v ? "true" : "false");
}

void jsonw_null(struct jsonw *w)
{
    jsonw_sep(w);
    buf_str(w->out, "null");
}

void jsonw_raw(struct jsonw *w, const char *json)
{
    jsonw_sep(w);
    buf_str(w->out, json);
}

void jsonw_kstr(struct jsonw *w, const char *key, const char *s)
{
    jsonw_key(w, key);
    jsonw_str(w, s);
}

void jsonw_kint(struct jsonw *w, const char *key, int64_t v)
{
    jsonw_key(w, key);
    jsonw_int(w, v);
}

void jsonw_kdouble(struct jsonw *w, const char *key, double v)
{
    jsonw_key(w, key);
    jsonw_double(w, v);
}

void jsonw_kbool(struct jsonw *w, const char *key, bool v)
{
    jsonw_key(w, key);
    jsonw_bool(w, v);
}
