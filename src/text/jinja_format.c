/* jinja_format: "%s" % x, "{}".format(x) and dates. */
#include "text/jinja_filters.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct spec { /* [fill]align sign 0 width .precision type, of both kinds of formatting */
    char fill, align, sign, type;
    int width, precision; /* precision -1: none */
};

static void put_padded(struct jinja *j, struct jinja_out *o, const struct jv_str *s, const struct spec *f, char align)
{
    int64_t gap = f->width - (int64_t)jv_chars(s), left = align == '>' ? gap : align == '^' ? gap / 2 : 0;
    for (int64_t i = 0; i < left && !j->rc; i++)
        jinja_out_add(j, o, &f->fill, 1, true);
    jinja_out_str(j, o, s, 0, s->n);
    for (int64_t i = left; i < gap && !j->rc; i++)
        jinja_out_add(j, o, &f->fill, 1, true);
}

/* A number as the type says, digits only; -1 if the type does not fit. */
static int number_text(struct jinja *j, struct jv v, const struct spec *f, char *b, size_t cap)
{
    int64_t i;
    double d;
    int precision = f->precision < 0 ? 6 : f->precision;
    if (!jv_number(v, &d))
        return -1;
    bool whole = jv_integer(v, &i);
    switch (f->type) {
    case 'f':
    case 'F':
        return snprintf(b, cap, "%.*f", precision, d);
    case 'e':
        return snprintf(b, cap, "%.*e", precision, d);
    case 'g':
        return snprintf(b, cap, "%.*g", precision, d);
    case '%':
        return snprintf(b, cap, "%.*f%%", precision, d * 100);
    case 'x':
        return whole ? snprintf(b, cap, "%s%llx", i < 0 ? "-" : "", (unsigned long long)llabs(i)) : -1;
    case 'X':
        return whole ? snprintf(b, cap, "%s%llX", i < 0 ? "-" : "", (unsigned long long)llabs(i)) : -1;
    case 'o':
        return whole ? snprintf(b, cap, "%s%llo", i < 0 ? "-" : "", (unsigned long long)llabs(i)) : -1;
    case 'd':
    case 'i':
    case 'u':
        return snprintf(b, cap, "%lld", whole ? (long long)i : (long long)d);
    default:
        (void)j;
        return -1;
    }
}

static void put_number(struct jinja *j, struct jinja_out *o, struct jv v, const struct spec *f)
{
    char b[512], signed_text[520];
    int n = number_text(j, v, f, b, sizeof b - 1);
    if (n < 0 || n >= (int)sizeof b - 1) {
        jinja_fail(j, ERR_RANGE, "cannot format %s as '%c'", jv_type_name(v), f->type);
        return;
    }
    bool minus = b[0] == '-';
    const char *sign = minus ? "-" : f->sign == '+' ? "+" : f->sign == ' ' ? " " : "", *digits = b + minus;
    n = (int)strlen(digits);
    int zeros = f->fill == '0' && f->align != '<' ? f->width - n - (int)strlen(sign) : 0;
    if (zeros > 400)
        zeros = 400;
    int at = snprintf(signed_text, sizeof signed_text, "%s", sign);
    while (zeros-- > 0 && at < 500)
        signed_text[at++] = '0';
    if (at + n >= (int)sizeof signed_text)
        n = (int)sizeof signed_text - 1 - at;
    memcpy(signed_text + at, digits, (size_t)n);
    struct jv_str s = {signed_text, (size_t)(at + n), NULL, false};
    struct spec pad = *f;
    if (pad.fill == '0')
        pad.fill = ' ';
    put_padded(j, o, &s, &pad, f->align ? f->align : '>');
}

static void put_text(struct jinja *j, struct jinja_out *o, struct jv v, const struct spec *f, char align)
{
    struct jv s = jv_to_str(j, v);
    if (j->rc)
        return;
    if (f->precision >= 0)
        s = jv_sub(j, s.u.s, 0, jv_char_at(s.u.s, (size_t)f->precision));
    if (!j->rc)
        put_padded(j, o, s.u.s, f, align);
}

static int read_int(const struct jv_str *s, size_t *i)
{
    int v = 0;
    for (; *i < s->n && s->p[*i] >= '0' && s->p[*i] <= '9'; ++*i)
        if (v < 100000)
            v = v * 10 + (s->p[*i] - '0');
    return v;
}

/* One conversion after its "%" at i; takes its value from the arguments. */
static size_t percent_one(struct jinja *j, struct jinja_out *o, const struct jv_str *s, size_t i,
                          const struct jinja_args *a, int *next)
{
    struct spec f = {.fill = ' ', .precision = -1};
    struct jv named = jv_undef(NULL);
    bool has_name = i < s->n && s->p[i] == '(';
    if (has_name) {
        const char *close = memchr(s->p + i, ')', s->n - i);
        if (!close || a->n != 1 || a->v[0].type != JV_DICT)
            return jinja_fail(j, ERR_RANGE, "format requires a mapping"), s->n;
        const struct jv *found = jv_dict_gets(a->v[0], s->p + i + 1, (size_t)(close - s->p) - i - 1);
        if (!found)
            return jinja_fail(j, ERR_RANGE, "format: no such key"), s->n;
        named = *found;
        i = (size_t)(close - s->p) + 1;
    }
    for (; i < s->n && s->p[i] && strchr("-+ 0#", s->p[i]); i++) {
        if (s->p[i] == '-')
            f.align = '<';
        if (s->p[i] == '+' || s->p[i] == ' ')
            f.sign = s->p[i];
        if (s->p[i] == '0')
            f.fill = '0';
    }
    f.width = read_int(s, &i);
    if (i < s->n && s->p[i] == '.') {
        i++;
        f.precision = read_int(s, &i);
    }
    if (i >= s->n)
        return jinja_fail(j, ERR_RANGE, "incomplete format"), s->n;
    f.type = s->p[i];
    if (f.type == '%')
        return jinja_out_add(j, o, "%", 1, true), i + 1;
    if (!has_name && *next >= a->n)
        return jinja_fail(j, ERR_RANGE, "not enough arguments for format string"), s->n;
    struct jv v = has_name ? named : a->v[(*next)++];
    if (f.type == 's' || f.type == 'r') {
        struct jinja_out r = {0};
        if (f.type == 'r') {
            jv_repr(j, &r, v, 0);
            v = jinja_out_take(j, &r);
        }
        f.fill = ' ';
        put_text(j, o, v, &f, f.align ? f.align : '>');
    } else {
        put_number(j, o, v, &f);
    }
    return i + 1;
}

struct jv jinja_percent(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    struct jinja_out o = {0};
    v = jv_to_str(j, v);
    if (j->rc)
        return v;
    const struct jv_str *s = v.u.s;
    int next = 0;
    bool mapping = a->n == 1 && a->v[0].type == JV_DICT;
    for (size_t i = 0; i < s->n && !j->rc;) {
        const char *p = memchr(s->p + i, '%', s->n - i);
        size_t at = p ? (size_t)(p - s->p) : s->n;
        jinja_out_str(j, &o, s, i, at - i);
        i = p ? percent_one(j, &o, s, at + 1, a, &next) : s->n;
    }
    if (!j->rc && next < a->n && !mapping)
        jinja_fail(j, ERR_RANGE, "not all arguments converted during string formatting");
    return jinja_out_take(j, &o);
}

/* The part of a {} field after its ":". */
static bool read_spec(const struct jv_str *s, size_t i, size_t end, struct spec *f)
{
    *f = (struct spec){.fill = ' ', .precision = -1};
    if (end - i >= 2 && strchr("<>^", s->p[i + 1])) {
        f->fill = s->p[i];
        f->align = s->p[i + 1];
        i += 2;
    } else if (i < end && strchr("<>^", s->p[i])) {
        f->align = s->p[i++];
    }
    if (i < end && strchr("+- ", s->p[i]))
        f->sign = s->p[i++];
    if (i < end && s->p[i] == '0' && !f->align)
        f->fill = s->p[i++];
    f->width = read_int(s, &i);
    if (i < end && s->p[i] == '.') {
        i++;
        f->precision = read_int(s, &i);
    }
    if (i < end)
        f->type = s->p[i++];
    return i == end;
}

/* The value a field names: "", a number or a keyword. */
static struct jv field_value(struct jinja *j, const struct jv_str *s, size_t i, size_t end, const struct jinja_args *a,
                             int *next)
{
    int n = *next;
    if (i == end) {
        ++*next;
    } else if (s->p[i] >= '0' && s->p[i] <= '9') {
        n = read_int(s, &i);
    } else {
        for (int k = 0; k < a->n_kw; k++)
            if (strlen(a->kw[k].name) == end - i && !memcmp(a->kw[k].name, s->p + i, end - i))
                return a->kw[k].v;
        return jinja_fail(j, ERR_RANGE, "format: no argument \"%.*s\"", end - i > 60 ? 60 : (int)(end - i), s->p + i);
    }
    return n < a->n ? a->v[n]
                    : jinja_fail(j, ERR_RANGE, "Replacement index %d out of range for positional args tuple", n);
}

static void put_field(struct jinja *j, struct jinja_out *o, const struct jv_str *s, size_t i, size_t end,
                      const struct jinja_args *a, int *next)
{
    const char *colon = memchr(s->p + i, ':', end - i);
    size_t name_end = colon ? (size_t)(colon - s->p) : end;
    bool repr = name_end - i >= 2 && !memcmp(s->p + name_end - 2, "!r", 2);
    if (repr)
        name_end -= 2;
    struct spec f = {.fill = ' ', .precision = -1};
    if (colon && !read_spec(s, (size_t)(colon - s->p) + 1, end, &f)) {
        jinja_fail(j, ERR_UNSUPPORTED, "this format specification is not supported");
        return;
    }
    struct jv v = field_value(j, s, i, name_end, a, next);
    if (j->rc)
        return;
    if (repr) {
        struct jinja_out r = {0};
        jv_repr(j, &r, v, 0);
        v = jinja_out_take(j, &r);
    }
    double d;
    bool number = v.type != JV_BOOL && jv_number(v, &d);
    if (!f.type && v.type == JV_INT && (f.fill == '0' || f.sign))
        f.type = 'd';
    if (f.type && f.type != 's')
        put_number(j, o, v, &f);
    else if (!j->rc)
        put_text(j, o, v, &f, f.align ? f.align : number ? '>' : '<');
}

struct jv jinja_str_format(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    struct jinja_out o = {0};
    const struct jv_str *s = v.u.s;
    int next = 0;
    for (size_t i = 0; i < s->n && !j->rc;) {
        char c = s->p[i];
        if ((c == '{' || c == '}') && i + 1 < s->n && s->p[i + 1] == c) {
            jinja_out_str(j, &o, s, i, 1);
            i += 2;
        } else if (c == '{') {
            const char *close = memchr(s->p + i, '}', s->n - i);
            if (!close)
                jinja_fail(j, ERR_RANGE, "expected '}' before end of string");
            else
                put_field(j, &o, s, i + 1, (size_t)(close - s->p), a, &next);
            i = close ? (size_t)(close - s->p) + 1 : s->n;
        } else if (c == '}') {
            jinja_fail(j, ERR_RANGE, "Single '}' encountered in format string");
        } else {
            size_t end = i;
            while (end < s->n && s->p[end] != '{' && s->p[end] != '}')
                end++;
            jinja_out_str(j, &o, s, i, end - i);
            i = end;
        }
    }
    return jinja_out_take(j, &o);
}

struct jv jinja_strftime(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)v;
    const struct jv_str *s = jinja_arg_str(j, a, 0, "format");
    char format[256], b[1024];
    struct tm tm;
    time_t now = time(NULL);
    if (!s || s->n >= sizeof format || !localtime_r(&now, &tm))
        return jinja_fail(j, ERR_RANGE, "strftime_now needs a short format");
    memcpy(format, s->p, s->n);
    format[s->n] = 0;
    size_t n = s->n ? strftime(b, sizeof b, format, &tm) : 0;
    char *p = arena_strndup(&j->arena, b, n);
    return p ? jv_str(j, p, n, true) : jinja_fail(j, ERR_NOMEM, "no memory to render the template");
}
