/* jinja_filters: what may stand after "|". A row per name; filters over sequences are in jinja_lists.c. */
#include "text/jinja_filters.h"
#include "text/utf8.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- arguments ---- */

const struct jv *jinja_arg(const struct jinja_args *a, int i, const char *name)
{
    if (i < a->n)
        return &a->v[i];
    for (int k = 0; name && k < a->n_kw; k++)
        if (!strcmp(a->kw[k].name, name))
            return &a->kw[k].v;
    return NULL;
}

const struct jv_str *jinja_arg_str(struct jinja *j, const struct jinja_args *a, int i, const char *name)
{
    const struct jv *v = jinja_arg(a, i, name);
    if (!v || v->type == JV_NONE)
        return NULL;
    if (v->type == JV_STR)
        return v->u.s;
    jinja_fail(j, ERR_RANGE, "a string is needed, not %s", jv_type_name(*v));
    return NULL;
}

int64_t jinja_arg_int(struct jinja *j, const struct jinja_args *a, int i, const char *name, int64_t otherwise)
{
    const struct jv *v = jinja_arg(a, i, name);
    int64_t n;
    if (!v || v->type == JV_NONE)
        return otherwise;
    if (jv_integer(*v, &n))
        return n;
    jinja_fail(j, ERR_RANGE, "a whole number is needed, not %s", jv_type_name(*v));
    return otherwise;
}

bool jinja_arg_true(const struct jinja_args *a, int i, const char *name, bool otherwise)
{
    const struct jv *v = jinja_arg(a, i, name);
    return v ? jv_truth(*v) : otherwise;
}

/* ---- text ---- */

static struct jv recase(struct jinja *j, struct jv v, enum jv_case to)
{
    struct jv s = jv_to_str(j, v);
    return j->rc ? s : jv_recase(j, s.u.s, to);
}

static struct jv f_upper(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    return recase(j, v, JV_UPPER);
}

static struct jv f_lower(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    return recase(j, v, JV_LOWER);
}

static struct jv f_capitalize(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    return recase(j, v, JV_CAPITALIZE);
}

/* Words begin after white space and - ( { [ <, unlike Python's own title(). */
static struct jv f_title(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    struct jinja_out o = {0};
    v = jv_to_str(j, v);
    for (size_t i = 0; !j->rc && i < v.u.s->n;) {
        size_t end = i, k;
        bool gap = false;
        for (; end < v.u.s->n; end += k) {
            const char *p = v.u.s->p + end;
            bool is_gap = jv_is_space(p, v.u.s->n - end, &k) || memchr("-({[<", *p, 5);
            if (end > i && is_gap != gap)
                break;
            gap = is_gap;
        }
        struct jv word = jv_sub(j, v.u.s, i, end - i);
        if (!j->rc && !gap)
            word = jv_recase(j, word.u.s, JV_CAPITALIZE);
        jv_print(j, &o, word);
        i = end;
    }
    return jinja_out_take(j, &o);
}

static struct jv f_trim(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    const struct jv_str *chars = jinja_arg_str(j, a, 0, "chars");
    v = jv_to_str(j, v);
    return j->rc ? v : jv_strip(j, v.u.s, chars, 3);
}

static struct jv f_replace(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    const struct jv *old = jinja_arg(a, 0, "old"), *with = jinja_arg(a, 1, "new");
    int64_t count = jinja_arg_int(j, a, 2, "count", -1);
    v = jv_to_str(j, v);
    if (!old || !with)
        return jinja_fail(j, ERR_RANGE, "replace needs two strings");
    struct jv x = jv_to_str(j, *old), y = jv_to_str(j, *with);
    return j->rc ? v : jv_replace(j, v.u.s, x.u.s, y.u.s, count);
}

static struct jv f_string(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    return jv_to_str(j, v);
}

static struct jv f_safe(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    return jv_to_str(j, v);
}

static struct jv f_escape(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    static const struct {
        char c;
        const char *to;
    } entities[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'\'', "&#39;"}, {'"', "&#34;"}};
    struct jinja_out o = {0};
    v = jv_to_str(j, v);
    for (size_t i = 0; !j->rc && i < v.u.s->n; i++) {
        const char *to = NULL;
        for (size_t k = 0; k < sizeof entities / sizeof *entities; k++)
            if (v.u.s->p[i] == entities[k].c)
                to = entities[k].to;
        if (to)
            jinja_out_add(j, &o, to, strlen(to), v.u.s->trust ? v.u.s->trust[i] : v.u.s->all);
        else
            jinja_out_str(j, &o, v.u.s, i, 1);
    }
    return jinja_out_take(j, &o);
}

/* indent(width=4, first=False, blank=False): width spaces, or that text, before every line but the first. */
static struct jv f_indent(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    static const char spaces[] = "                                                                ";
    const struct jv *width = jinja_arg(a, 0, "width");
    bool first = jinja_arg_true(a, 1, "first", false), blank = jinja_arg_true(a, 2, "blank", false);
    struct jv_str pad = {spaces, 4, NULL, true};
    int64_t n;
    if (width && width->type == JV_STR)
        pad = *width->u.s;
    else if (width && jv_integer(*width, &n))
        pad.n = n < 0 ? 0 : n > 64 ? 64 : (size_t)n;
    struct jinja_out o = {0};
    v = jv_to_str(j, v);
    if (!j->rc && first)
        jinja_out_str(j, &o, &pad, 0, pad.n);
    for (size_t i = 0; !j->rc && i < v.u.s->n;) {
        const char *nl = memchr(v.u.s->p + i, '\n', v.u.s->n - i);
        size_t end = nl ? (size_t)(nl - v.u.s->p) + 1 : v.u.s->n;
        bool empty = end - i == 1 && nl;
        if (i && (blank || !empty))
            jinja_out_str(j, &o, &pad, 0, pad.n);
        jinja_out_str(j, &o, v.u.s, i, end - i);
        i = end;
        if (nl && i == v.u.s->n && blank)
            jinja_out_str(j, &o, &pad, 0, pad.n);
    }
    return jinja_out_take(j, &o);
}

/* truncate(length=255, killwords=False, end='...', leeway=5) */
static struct jv f_truncate(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    int64_t length = jinja_arg_int(j, a, 0, "length", 255), leeway = jinja_arg_int(j, a, 3, "leeway", 5);
    bool kill = jinja_arg_true(a, 1, "killwords", false);
    const struct jv_str *end = jinja_arg_str(j, a, 2, "end"), dots = {"...", 3, NULL, true};
    if (!end)
        end = &dots;
    v = jv_to_str(j, v);
    if (j->rc)
        return v;
    int64_t end_chars = (int64_t)jv_chars(end);
    if (length < end_chars || leeway < 0)
        return jinja_fail(j, ERR_RANGE, "truncate: length is shorter than its end");
    if ((int64_t)jv_chars(v.u.s) <= length + leeway)
        return v;
    size_t n = jv_char_at(v.u.s, (size_t)(length - end_chars));
    if (!kill)
        for (size_t k = n; k-- > 0;)
            if (v.u.s->p[k] == ' ') {
                n = k;
                break;
            }
    struct jinja_out o = {0};
    jinja_out_str(j, &o, v.u.s, 0, n);
    jinja_out_str(j, &o, end, 0, end->n);
    return jinja_out_take(j, &o);
}

static struct jv f_wordcount(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    v = jv_to_str(j, v);
    int64_t words = 0;
    bool inside = false;
    for (size_t i = 0, k; !j->rc && i < v.u.s->n; i += k) {
        enum utf8_class c = utf8_classify(v.u.s->p + i, v.u.s->n - i, &k);
        bool word = c == UTF8_LETTER || c == UTF8_NUMBER || v.u.s->p[i] == '_';
        words += word && !inside;
        inside = word;
    }
    return jv_int(words);
}

static struct jv f_center(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    v = jv_to_str(j, v);
    int64_t width = jinja_arg_int(j, a, 0, "width", 80), have = j->rc ? 0 : (int64_t)jv_chars(v.u.s);
    if (width > JINJA_MAX_RANGE)
        return jinja_fail(j, ERR_LIMIT, "padded to more than %d characters", JINJA_MAX_RANGE);
    if (j->rc || have >= width)
        return v;
    int64_t pad = width - have, left = pad / 2 + (pad & width & 1);
    struct jinja_out o = {0};
    for (int64_t i = 0; i < left && !j->rc; i++)
        jinja_out_add(j, &o, " ", 1, true);
    jv_print(j, &o, v);
    for (int64_t i = left; i < pad && !j->rc; i++)
        jinja_out_add(j, &o, " ", 1, true);
    return jinja_out_take(j, &o);
}

/* ---- numbers ---- */

/* A whole string as a number: Python's int(text, base) or float(text). */
static bool parse_int(const struct jv_str *s, int base, int64_t *out)
{
    char b[72];
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (n + 1 == sizeof b || !s->p[i])
            return false;
        if (s->p[i] != '_')
            b[n++] = s->p[i];
    }
    b[n] = 0;
    char *p = b, *end;
    if (base == 16 && p[0] == '0' && (p[1] | 0x20) == 'x')
        p += 2;
    if ((base == 8 || base == 2) && p[0] == '0' && (p[1] | 0x20) == (base == 8 ? 'o' : 'b'))
        p += 2;
    long long v = strtoll(p, &end, base);
    while (*end == ' ' || (*end >= 9 && *end <= 13))
        end++;
    *out = v;
    return *end == 0 && end != p;
}

static bool parse_float(const struct jv_str *s, double *out)
{
    char b[400];
    if (s->n >= sizeof b || memchr(s->p, 'x', s->n) || memchr(s->p, 'X', s->n))
        return false;
    memcpy(b, s->p, s->n);
    b[s->n] = 0;
    char *end;
    *out = strtod(b, &end);
    if (end == b)
        return false;
    while (*end == ' ' || (*end >= 9 && *end <= 13))
        end++;
    return end == b + s->n;
}

static struct jv otherwise(const struct jinja_args *a, struct jv v)
{
    const struct jv *d = jinja_arg(a, 0, "default");
    return d ? *d : v;
}

static struct jv f_int(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    int64_t i;
    double f;
    int64_t base = jinja_arg_int(j, a, 1, "base", 10);
    if (jv_integer(v, &i))
        return jv_int(i);
    if (v.type == JV_STR && base >= 2 && base <= 36 && parse_int(v.u.s, (int)base, &i))
        return jv_int(i);
    bool ok = v.type == JV_FLOAT ? (f = v.u.f, true) : v.type == JV_STR && parse_float(v.u.s, &f);
    return ok && fabs(f) < 9.2e18 ? jv_int((int64_t)f) : otherwise(a, jv_int(0));
}

static struct jv f_float(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)j;
    double f;
    if (jv_number(v, &f))
        return jv_float(f);
    return v.type == JV_STR && parse_float(v.u.s, &f) ? jv_float(f) : otherwise(a, jv_float(0));
}

/* round(precision=0, method='common'): to the nearest, the exact decimal value deciding, ties to even. */
static struct jv f_round(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    int64_t precision = jinja_arg_int(j, a, 0, "precision", 0);
    const struct jv_str *method = jinja_arg_str(j, a, 1, "method");
    double f;
    if (!jv_number(v, &f))
        return jinja_fail(j, ERR_RANGE, "round needs a number, not %s", jv_type_name(v));
    if (precision < -300 || precision > 300)
        return jinja_fail(j, ERR_RANGE, "round: precision out of range");
    bool ceiling = method && method->n == 4 && !memcmp(method->p, "ceil", 4),
         flooring = method && method->n == 5 && !memcmp(method->p, "floor", 5);
    if (method && !ceiling && !flooring && !(method->n == 6 && !memcmp(method->p, "common", 6)))
        return jinja_fail(j, ERR_RANGE, "method must be common, ceil or floor");
    double scale = pow(10, (double)precision);
    if (ceiling || flooring)
        return jv_float((ceiling ? ceil(f * scale) : floor(f * scale)) / scale);
    if (v.type != JV_FLOAT && precision >= 0)
        return v;
    if (precision < 0) {
        double r = rint(f * scale) / scale;
        return v.type == JV_FLOAT ? jv_float(r) : jv_int((int64_t)r);
    }
    char b[720];
    snprintf(b, sizeof b, "%.*f", (int)precision, f);
    return jv_float(strtod(b, NULL));
}

static struct jv f_abs(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    int64_t i;
    if (v.type == JV_FLOAT)
        return jv_float(fabs(v.u.f));
    if (jv_integer(v, &i) && i != INT64_MIN)
        return jv_int(i < 0 ? -i : i);
    return jinja_fail(j, ERR_RANGE, "bad operand type for abs(): '%s'", jv_type_name(v));
}

/* ---- anything ---- */

static struct jv f_default(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)j;
    const struct jv *d = jinja_arg(a, 0, "default_value");
    bool falsy = jinja_arg_true(a, 1, "boolean", false);
    if (v.type != JV_UNDEF && (!falsy || jv_truth(v)))
        return v;
    return d ? *d : jv_str(j, "", 0, true);
}

static struct jv f_attr(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    const struct jv_str *name = jinja_arg_str(j, a, 0, "name");
    char *s = name ? arena_strndup(&j->arena, name->p, name->n) : NULL;
    if (!s)
        return jinja_fail(j, ERR_RANGE, "attr needs a name");
    if (v.type == JV_DICT && !jinja_method_find(JV_DICT, s, strlen(s)))
        return jv_undef(s);
    return jinja_attr(j, v, s, strlen(s));
}

static const struct jinja_row rows[] = {
    {"upper", f_upper, 0},
    {"lower", f_lower, 0},
    {"capitalize", f_capitalize, 0},
    {"title", f_title, 0},
    {"trim", f_trim, 0},
    {"replace", f_replace, 0},
    {"string", f_string, 0},
    {"safe", f_safe, 0},
    {"escape", f_escape, 0},
    {"e", f_escape, 0},
    {"forceescape", f_escape, 0},
    {"indent", f_indent, 0},
    {"truncate", f_truncate, 0},
    {"wordcount", f_wordcount, 0},
    {"center", f_center, 0},
    {"format", jinja_percent, 0},
    {"int", f_int, 0},
    {"float", f_float, 0},
    {"round", f_round, 0},
    {"abs", f_abs, 0},
    {"default", f_default, 0},
    {"d", f_default, 0},
    {"attr", f_attr, 0},
    {"tojson", jinja_tojson, 0},
    {"length", list_length, 0},
    {"count", list_length, 0},
    {"join", list_join, 0},
    {"first", list_first, 0},
    {"last", list_last, 0},
    {"list", list_list, 0},
    {"reverse", list_reverse, 0},
    {"sort", list_sort, 0},
    {"unique", list_unique, 0},
    {"map", list_map, 0},
    {"select", list_select, 0},
    {"reject", list_reject, 0},
    {"selectattr", list_selectattr, 0},
    {"rejectattr", list_rejectattr, 0},
    {"items", list_items, 0},
    {"dictsort", list_dictsort, 0},
    {"min", list_min, 0},
    {"max", list_max, 0},
    {"sum", list_sum, 0},
    {"batch", list_batch, 0},
    {"slice", list_slice, 0},
    {"groupby", list_groupby, 0},
};

const struct jinja_row *jinja_filter_find(const char *name, size_t n)
{
    return jinja_row_find(rows, sizeof rows / sizeof *rows, name, n);
}

const struct jinja_row *jinja_filter_rows(size_t *n)
{
    *n = sizeof rows / sizeof *rows;
    return rows;
}

const struct jinja_row *jinja_row_find(const struct jinja_row *r, size_t n_rows, const char *name, size_t n)
{
    for (size_t i = 0; i < n_rows; i++)
        if (strlen(r[i].name) == n && memcmp(r[i].name, name, n) == 0)
            return &r[i];
    return NULL;
}
