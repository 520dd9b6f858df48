/* jinja_tests: what may stand after "is". A row per name. */
#include "text/jinja.h"
#include "text/utf8.h"
#include <math.h>
#include <string.h>
#include <utf8proc.h>

static struct jv defined(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)j, (void)a;
    return jv_bool(v.type != JV_UNDEF);
}

static struct jv undefined(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)j, (void)a;
    return jv_bool(v.type == JV_UNDEF);
}

static struct jv none(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)j, (void)a;
    return jv_bool(v.type == JV_NONE);
}

static struct jv string(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)j, (void)a;
    return jv_bool(v.type == JV_STR);
}

static struct jv mapping(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)j, (void)a;
    return jv_bool(v.type == JV_DICT);
}

/* Undefined has a length and an item lookup, so Jinja2 calls it a sequence too. */
static struct jv sequence(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)j, (void)a;
    return jv_bool(v.type == JV_STR || v.type == JV_LIST || v.type == JV_TUPLE || v.type == JV_DICT ||
                   v.type == JV_UNDEF);
}

static struct jv number(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)j, (void)a;
    return jv_bool(v.type == JV_INT || v.type == JV_FLOAT || v.type == JV_BOOL);
}

static struct jv integer(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)j, (void)a;
    return jv_bool(v.type == JV_INT);
}

static struct jv is_float(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)j, (void)a;
    return jv_bool(v.type == JV_FLOAT);
}

static struct jv boolean(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)j, (void)a;
    return jv_bool(v.type == JV_BOOL);
}

static struct jv is_true(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)j, (void)a;
    return jv_bool(v.type == JV_BOOL && v.u.b);
}

static struct jv is_false(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)j, (void)a;
    return jv_bool(v.type == JV_BOOL && !v.u.b);
}

static struct jv callable(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)j, (void)a;
    return jv_bool(v.type == JV_FUNC || v.type == JV_UNDEF);
}

static bool two_ints(struct jinja *j, struct jv v, const struct jinja_args *a, int64_t *x, int64_t *y)
{
    if (jv_integer(v, x) && a->n >= 1 && jv_integer(a->v[0], y) && *y != 0)
        return true;
    jinja_fail(j, ERR_RANGE, "this test needs whole numbers");
    return false;
}

static struct jv divisible(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    int64_t x, y;
    return jv_bool(two_ints(j, v, a, &x, &y) && (y == -1 || x % y == 0));
}

static struct jv parity(struct jinja *j, struct jv v, bool odd)
{
    int64_t x;
    double f;
    if (jv_integer(v, &x))
        return jv_bool((x & 1) == odd);
    if (jv_number(v, &f))
        return jv_bool(fabs(fmod(f, 2)) == (odd ? 1.0 : 0.0));
    return jinja_fail(j, ERR_RANGE, "odd and even need a number, not %s", jv_type_name(v));
}

static struct jv odd(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    return parity(j, v, true);
}

static struct jv even(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    return parity(j, v, false);
}

/* At least one letter with case, and none of the wrong one. */
static struct jv cased(struct jinja *j, struct jv v, bool upper)
{
    struct jv s = jv_to_str(j, v);
    bool any = false, wrong = false;
    for (size_t i = 0, k; !j->rc && i < s.u.s->n; i += k) {
        int32_t cp;
        k = utf8_decode(s.u.s->p + i, s.u.s->n - i, &cp);
        int c = cp < 0 ? 0 : utf8_category(cp);
        if (c == UTF8PROC_CATEGORY_LT || c == (upper ? UTF8PROC_CATEGORY_LL : UTF8PROC_CATEGORY_LU))
            wrong = true;
        if (c == (upper ? UTF8PROC_CATEGORY_LU : UTF8PROC_CATEGORY_LL))
            any = true;
    }
    return jv_bool(any && !wrong);
}

static struct jv upper(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    return cased(j, v, true);
}

static struct jv lower(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    return cased(j, v, false);
}

static struct jv other(struct jinja *j, const struct jinja_args *a)
{
    return a->n ? a->v[0] : jinja_fail(j, ERR_RANGE, "this test needs an argument");
}

static struct jv eq(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return jv_bool(jv_equal(j, v, other(j, a)));
}

static struct jv ne(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return jv_bool(!jv_equal(j, v, other(j, a)));
}

static struct jv lt(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return jv_bool(jv_order(j, v, other(j, a), "<") < 0);
}

static struct jv le(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return jv_bool(jv_order(j, v, other(j, a), "<=") <= 0);
}

static struct jv gt(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return jv_bool(jv_order(j, v, other(j, a), ">") > 0);
}

static struct jv ge(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return jv_bool(jv_order(j, v, other(j, a), ">=") >= 0);
}

static struct jv in(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return jv_bool(jv_contains(j, other(j, a), v));
}

static struct jv iterable(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    struct jv s = sequence(j, v, a);
    return jv_bool(s.u.b || v.type == JV_LOOP);
}

/* Identity, as far as values without identity have one. */
static struct jv sameas(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    struct jv o = other(j, a);
    if (v.type != o.type)
        return jv_bool(false);
    if (v.type == JV_LIST || v.type == JV_TUPLE)
        return jv_bool(v.u.l == o.u.l);
    if (v.type == JV_DICT || v.type == JV_NS)
        return jv_bool(v.u.d == o.u.d);
    return jv_bool(jv_equal(j, v, o));
}

static struct jv has_filter(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)j, (void)a;
    return jv_bool(v.type == JV_STR && jinja_filter_find(v.u.s->p, v.u.s->n));
}

static struct jv has_test(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)j, (void)a;
    return jv_bool(v.type == JV_STR && jinja_test_find(v.u.s->p, v.u.s->n));
}

static const struct jinja_row rows[] = {
    {"defined", defined, 0},
    {"undefined", undefined, 0},
    {"none", none, 0},
    {"string", string, 0},
    {"mapping", mapping, 0},
    {"sequence", sequence, 0},
    {"iterable", iterable, 0},
    {"number", number, 0},
    {"integer", integer, 0},
    {"float", is_float, 0},
    {"boolean", boolean, 0},
    {"true", is_true, 0},
    {"false", is_false, 0},
    {"callable", callable, 0},
    {"divisibleby", divisible, 0},
    {"odd", odd, 0},
    {"even", even, 0},
    {"upper", upper, 0},
    {"lower", lower, 0},
    {"sameas", sameas, 0},
    {"equalto", eq, 0},
    {"eq", eq, 0},
    {"==", eq, 0},
    {"ne", ne, 0},
    {"!=", ne, 0},
    {"lt", lt, 0},
    {"lessthan", lt, 0},
    {"<", lt, 0},
    {"le", le, 0},
    {"<=", le, 0},
    {"gt", gt, 0},
    {"greaterthan", gt, 0},
    {">", gt, 0},
    {"ge", ge, 0},
    {">=", ge, 0},
    {"in", in, 0},
    {"filter", has_filter, 0},
    {"test", has_test, 0},
};

const struct jinja_row *jinja_test_find(const char *name, size_t n)
{
    return jinja_row_find(rows, sizeof rows / sizeof *rows, name, n);
}

const struct jinja_row *jinja_test_rows(size_t *n)
{
    *n = sizeof rows / sizeof *rows;
    return rows;
}
