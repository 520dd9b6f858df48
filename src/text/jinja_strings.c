/* jinja_strings: the methods of strings. A row per name. */
#include "text/jinja_filters.h"
#include "text/utf8.h"
#include <string.h>
#include <utf8proc.h>

static struct jv strip(struct jinja *j, struct jv v, const struct jinja_args *a, int sides)
{
    const struct jv_str *chars = jinja_arg_str(j, a, 0, NULL);
    return j->rc ? v : jv_strip(j, v.u.s, chars, sides);
}

static struct jv s_strip(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return strip(j, v, a, 3);
}

static struct jv s_lstrip(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return strip(j, v, a, 1);
}

static struct jv s_rstrip(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return strip(j, v, a, 2);
}

static struct jv s_upper(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    return jv_recase(j, v.u.s, JV_UPPER);
}

static struct jv s_lower(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    return jv_recase(j, v.u.s, JV_LOWER);
}

static struct jv s_title(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    return jv_recase(j, v.u.s, JV_TITLE);
}

static struct jv s_capitalize(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    return jv_recase(j, v.u.s, JV_CAPITALIZE);
}

static struct jv s_swapcase(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    return jv_recase(j, v.u.s, JV_SWAP);
}

/* split() at runs of white space, at most `max` times. */
static struct jv split_space(struct jinja *j, const struct jv_str *s, int64_t max)
{
    struct jv out = jv_list_new(j, JV_LIST);
    size_t i = 0, k;
    while (!j->rc) {
        while (i < s->n && jv_is_space(s->p + i, s->n - i, &k))
            i += k;
        if (i >= s->n)
            break;
        size_t end = i;
        if (max == 0) {
            struct jv rest = jv_sub(j, s, i, s->n - i);
            if (!j->rc)
                jv_list_add(j, out, jv_strip(j, rest.u.s, NULL, 2));
            break;
        }
        for (; end < s->n && !jv_is_space(s->p + end, s->n - end, &k); end += k) {
        }
        jv_list_add(j, out, jv_sub(j, s, i, end - i));
        i = end;
        max--;
    }
    return out;
}

/* split(sep=None, maxsplit=-1) */
static struct jv s_split(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    const struct jv_str *sep = jinja_arg_str(j, a, 0, "sep"), *s = v.u.s;
    int64_t max = jinja_arg_int(j, a, 1, "maxsplit", -1);
    if (j->rc || !sep)
        return j->rc ? v : split_space(j, s, max);
    if (!sep->n)
        return jinja_fail(j, ERR_RANGE, "empty separator");
    struct jv out = jv_list_new(j, JV_LIST);
    size_t i = 0, at;
    while (!j->rc && max != 0 && (at = jv_find(s, i, sep)) != SIZE_MAX) {
        jv_list_add(j, out, jv_sub(j, s, i, at - i));
        i = at + sep->n;
        max--;
    }
    jv_list_add(j, out, jv_sub(j, s, i, s->n - i));
    return out;
}

/* Last place of `what` that begins before `end`; SIZE_MAX if none. */
static size_t find_last(const struct jv_str *s, size_t end, const struct jv_str *what)
{
    if (what->n > end)
        return SIZE_MAX;
    for (size_t i = end - what->n + 1; i-- > 0;)
        if (memcmp(s->p + i, what->p, what->n) == 0)
            return i;
    return SIZE_MAX;
}

/* rsplit(sep, maxsplit): from the right. Without a limit the same as split. */
static struct jv s_rsplit(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    const struct jv_str *sep = jinja_arg_str(j, a, 0, "sep"), *s = v.u.s;
    int64_t max = jinja_arg_int(j, a, 1, "maxsplit", -1);
    if (j->rc || max < 0)
        return s_split(j, v, a);
    if (!sep || !sep->n)
        return jinja_fail(j, ERR_UNSUPPORTED, "rsplit needs a separator");
    struct jv rev = jv_list_new(j, JV_LIST), out = jv_list_new(j, JV_LIST);
    size_t end = s->n, at;
    while (!j->rc && max-- > 0 && (at = find_last(s, end, sep)) != SIZE_MAX) {
        jv_list_add(j, rev, jv_sub(j, s, at + sep->n, end - at - sep->n));
        end = at;
    }
    jv_list_add(j, out, jv_sub(j, s, 0, end));
    for (size_t i = j->rc ? 0 : rev.u.l->n; i-- > 0;)
        jv_list_add(j, out, rev.u.l->v[i]);
    return out;
}

static struct jv s_splitlines(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    const struct jv_str *s = v.u.s;
    bool keep = jinja_arg_true(a, 0, "keepends", false);
    struct jv out = jv_list_new(j, JV_LIST);
    for (size_t i = 0; i < s->n && !j->rc;) {
        size_t end = i, k = 0;
        for (; end < s->n && !k; end += k ? 0 : jv_char_len(s->p + end, s->n - end)) {
            int32_t cp;
            size_t len = utf8_decode(s->p + end, s->n - end, &cp);
            if ((cp >= 10 && cp <= 13) || (cp >= 0x1C && cp <= 0x1E) || cp == 0x85 || cp == 0x2028 || cp == 0x2029)
                k = len;
            if (cp == '\r' && end + 1 < s->n && s->p[end + 1] == '\n')
                k = 2;
            if (k)
                break;
        }
        jv_list_add(j, out, jv_sub(j, s, i, end - i + (keep ? k : 0)));
        i = end + k;
    }
    return out;
}

static bool affix(const struct jv_str *s, const struct jv_str *x, bool end)
{
    return x->n <= s->n && memcmp(s->p + (end ? s->n - x->n : 0), x->p, x->n) == 0;
}

/* One text, or a tuple of which any will do. */
static struct jv has_affix(struct jinja *j, struct jv v, const struct jinja_args *a, bool end)
{
    const struct jv *x = jinja_arg(a, 0, NULL);
    if (x && x->type == JV_STR)
        return jv_bool(affix(v.u.s, x->u.s, end));
    if (!x || x->type != JV_TUPLE)
        return jinja_fail(j, ERR_RANGE, "startswith and endswith need a string or a tuple of strings");
    for (size_t i = 0; i < x->u.l->n; i++)
        if (x->u.l->v[i].type == JV_STR && affix(v.u.s, x->u.l->v[i].u.s, end))
            return jv_bool(true);
    return jv_bool(false);
}

static struct jv s_startswith(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return has_affix(j, v, a, false);
}

static struct jv s_endswith(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return has_affix(j, v, a, true);
}

static struct jv remove_affix(struct jinja *j, struct jv v, const struct jinja_args *a, bool end)
{
    const struct jv_str *x = jinja_arg_str(j, a, 0, NULL);
    if (!x)
        return jinja_fail(j, ERR_RANGE, "a string is needed");
    return affix(v.u.s, x, end) ? jv_sub(j, v.u.s, end ? 0 : x->n, v.u.s->n - x->n) : v;
}

static struct jv s_removeprefix(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return remove_affix(j, v, a, false);
}

static struct jv s_removesuffix(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return remove_affix(j, v, a, true);
}

static struct jv s_replace(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    const struct jv_str *old = jinja_arg_str(j, a, 0, NULL), *with = jinja_arg_str(j, a, 1, NULL);
    if (!old || !with)
        return jinja_fail(j, ERR_RANGE, "replace needs two strings");
    return jv_replace(j, v.u.s, old, with, jinja_arg_int(j, a, 2, "count", -1));
}

static struct jv s_join(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    struct jv_list *l = a->n ? jv_iterate(j, a->v[0]) : NULL;
    struct jinja_out o = {0};
    for (size_t i = 0; l && i < l->n && !j->rc; i++) {
        if (l->v[i].type != JV_STR)
            jinja_fail(j, ERR_RANGE, "sequence item %zu: expected str instance, %s found", i, jv_type_name(l->v[i]));
        if (i)
            jv_print(j, &o, v);
        jv_print(j, &o, l->v[i]);
    }
    return jinja_out_take(j, &o);
}

static struct jv char_index(const struct jv_str *s, size_t at)
{
    struct jv_str before = {s->p, at, NULL, false};
    return jv_int(at == SIZE_MAX ? -1 : (int64_t)jv_chars(&before));
}

static struct jv s_find(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    const struct jv_str *x = jinja_arg_str(j, a, 0, NULL);
    if (!x)
        return jinja_fail(j, ERR_RANGE, "a string is needed");
    int64_t from = jinja_arg_int(j, a, 1, NULL, 0);
    if (from < 0)
        return jinja_fail(j, ERR_UNSUPPORTED, "find from the end");
    size_t at = from > (int64_t)v.u.s->n ? SIZE_MAX : jv_find(v.u.s, jv_char_at(v.u.s, (size_t)from), x);
    return at == SIZE_MAX ? jv_int(-1) : char_index(v.u.s, at);
}

static struct jv s_rfind(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    const struct jv_str *x = jinja_arg_str(j, a, 0, NULL);
    if (!x)
        return jinja_fail(j, ERR_RANGE, "a string is needed");
    size_t at = find_last(v.u.s, v.u.s->n, x);
    return at == SIZE_MAX ? jv_int(-1) : char_index(v.u.s, at);
}

static struct jv s_index(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    struct jv at = s_find(j, v, a);
    return !j->rc && at.u.i < 0 ? jinja_fail(j, ERR_RANGE, "substring not found") : at;
}

static struct jv s_count(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    const struct jv_str *x = jinja_arg_str(j, a, 0, NULL);
    if (!x)
        return jinja_fail(j, ERR_RANGE, "a string is needed");
    if (!x->n)
        return jv_int((int64_t)jv_chars(v.u.s) + 1);
    int64_t n = 0;
    for (size_t at = 0; (at = jv_find(v.u.s, at, x)) != SIZE_MAX; at += x->n)
        n++;
    return jv_int(n);
}

/* Every character of a class, and at least one. Classes as bits of Python's isdigit, isalpha, isspace. */
static struct jv all_of(struct jv v, bool letters, bool numbers, bool spaces)
{
    size_t i = 0, k;
    for (; i < v.u.s->n; i += k) {
        enum utf8_class c = utf8_classify(v.u.s->p + i, v.u.s->n - i, &k);
        bool space = jv_is_space(v.u.s->p + i, v.u.s->n - i, &k);
        if (!((letters && c == UTF8_LETTER) || (numbers && c == UTF8_NUMBER) || (spaces && space)))
            return jv_bool(false);
    }
    return jv_bool(i > 0);
}

static struct jv s_isalpha(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)j, (void)a;
    return all_of(v, true, false, false);
}

static struct jv s_isnumeric(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)j, (void)a;
    return all_of(v, false, true, false);
}

static struct jv s_isalnum(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)j, (void)a;
    return all_of(v, true, true, false);
}

static struct jv s_isspace(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)j, (void)a;
    return all_of(v, false, false, true);
}

static struct jv s_isdecimal(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)j, (void)a;
    size_t i = 0;
    for (int32_t cp; i < v.u.s->n;) {
        i += utf8_decode(v.u.s->p + i, v.u.s->n - i, &cp);
        if (cp < 0 || utf8_category(cp) != UTF8PROC_CATEGORY_ND)
            return jv_bool(false);
    }
    return jv_bool(i > 0);
}

static struct jv s_isupper(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return jinja_test_find("upper", 5)->fn(j, v, a);
}

static struct jv s_islower(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return jinja_test_find("lower", 5)->fn(j, v, a);
}

static struct jv pad(struct jinja *j, struct jv v, const struct jinja_args *a, bool left)
{
    int64_t width = jinja_arg_int(j, a, 0, NULL, 0), have = (int64_t)jv_chars(v.u.s);
    const struct jv_str *fill = jinja_arg_str(j, a, 1, NULL), space = {" ", 1, NULL, true};
    struct jinja_out o = {0};
    if (width > JINJA_MAX_RANGE)
        return jinja_fail(j, ERR_LIMIT, "padded to more than %d characters", JINJA_MAX_RANGE);
    if (!fill)
        fill = &space;
    if (!left)
        jv_print(j, &o, v);
    for (; have < width && !j->rc; have++)
        jinja_out_str(j, &o, fill, 0, fill->n);
    if (left)
        jv_print(j, &o, v);
    return jinja_out_take(j, &o);
}

static struct jv s_ljust(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return pad(j, v, a, false);
}

static struct jv s_rjust(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return pad(j, v, a, true);
}

static struct jv s_zfill(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    struct jv args[] = {a->n ? a->v[0] : jv_int(0), jv_cstr(j, "0")};
    if (j->rc || (v.u.s->n && (v.u.s->p[0] == '-' || v.u.s->p[0] == '+')))
        return jinja_fail(j, ERR_UNSUPPORTED, "zfill of a signed number");
    return pad(j, v, &(struct jinja_args){args, 2, NULL, 0}, true);
}

static struct jv partition(struct jinja *j, struct jv v, const struct jinja_args *a, bool last)
{
    const struct jv_str *x = jinja_arg_str(j, a, 0, NULL), *s = v.u.s;
    if (!x || !x->n)
        return jinja_fail(j, ERR_RANGE, "empty separator");
    size_t at = last ? find_last(s, s->n, x) : jv_find(s, 0, x);
    struct jv out = jv_list_new(j, JV_TUPLE), empty = jv_str(j, "", 0, true);
    if (at == SIZE_MAX) {
        if (!last)
            jv_list_add(j, out, v);
        jv_list_add(j, out, empty);
        jv_list_add(j, out, empty);
        if (last)
            jv_list_add(j, out, v);
        return out;
    }
    jv_list_add(j, out, jv_sub(j, s, 0, at));
    jv_list_add(j, out, jv_sub(j, s, at, x->n));
    jv_list_add(j, out, jv_sub(j, s, at + x->n, s->n - at - x->n));
    return out;
}

static struct jv s_partition(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return partition(j, v, a, false);
}

static struct jv s_rpartition(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return partition(j, v, a, true);
}

static const struct jinja_row rows[] = {
    {"strip", s_strip, 1 << JV_STR},
    {"lstrip", s_lstrip, 1 << JV_STR},
    {"rstrip", s_rstrip, 1 << JV_STR},
    {"upper", s_upper, 1 << JV_STR},
    {"lower", s_lower, 1 << JV_STR},
    {"title", s_title, 1 << JV_STR},
    {"capitalize", s_capitalize, 1 << JV_STR},
    {"swapcase", s_swapcase, 1 << JV_STR},
    {"split", s_split, 1 << JV_STR},
    {"rsplit", s_rsplit, 1 << JV_STR},
    {"splitlines", s_splitlines, 1 << JV_STR},
    {"startswith", s_startswith, 1 << JV_STR},
    {"endswith", s_endswith, 1 << JV_STR},
    {"removeprefix", s_removeprefix, 1 << JV_STR},
    {"removesuffix", s_removesuffix, 1 << JV_STR},
    {"replace", s_replace, 1 << JV_STR},
    {"join", s_join, 1 << JV_STR},
    {"find", s_find, 1 << JV_STR},
    {"rfind", s_rfind, 1 << JV_STR},
    {"index", s_index, 1 << JV_STR},
    {"count", s_count, 1 << JV_STR},
    {"isalpha", s_isalpha, 1 << JV_STR},
    {"isnumeric", s_isnumeric, 1 << JV_STR},
    {"isdigit", s_isdecimal, 1 << JV_STR},
    {"isdecimal", s_isdecimal, 1 << JV_STR},
    {"isalnum", s_isalnum, 1 << JV_STR},
    {"isspace", s_isspace, 1 << JV_STR},
    {"isupper", s_isupper, 1 << JV_STR},
    {"islower", s_islower, 1 << JV_STR},
    {"ljust", s_ljust, 1 << JV_STR},
    {"rjust", s_rjust, 1 << JV_STR},
    {"zfill", s_zfill, 1 << JV_STR},
    {"partition", s_partition, 1 << JV_STR},
    {"rpartition", s_rpartition, 1 << JV_STR},
    {"format", jinja_str_format, 1 << JV_STR},
};

const struct jinja_row *jinja_string_find(const char *name, size_t n)
{
    return jinja_row_find(rows, sizeof rows / sizeof *rows, name, n);
}
