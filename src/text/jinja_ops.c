/* jinja_ops: operators on values, as Python defines them: floor division, signs of remainders, what can be added to what. */
#include "text/jinja.h"
#include "text/jinja_lex.h"
#include <math.h>

struct jv jinja_undefined(struct jinja *j, struct jv v)
{
    return jinja_fail(j, ERR_RANGE, "'%.80s' is undefined", v.u.name ? v.u.name : "value");
}

static struct jv overflow(struct jinja *j)
{
    return jinja_fail(j, ERR_RANGE, "integers beyond 64 bits are not supported");
}

static struct jv power(struct jinja *j, int64_t a, int64_t b)
{
    int64_t r = 1;
    for (; b > 0; b--) {
        if (__builtin_mul_overflow(r, a, &r))
            return overflow(j);
        if (a == 0 || a == 1)
            break;
        if (a == -1)
            return jv_int(b % 2 ? -1 : 1);
    }
    return jv_int(r);
}

static struct jv int_op(struct jinja *j, int op, int64_t a, int64_t b)
{
    int64_t r;
    bool bad = false;
    if ((op == JT_DIV || op == JT_FLOORDIV || op == JT_MOD) && b == 0)
        return jinja_fail(j, ERR_RANGE, "division by zero");
    switch (op) {
    case JT_ADD:
        bad = __builtin_add_overflow(a, b, &r);
        break;
    case JT_SUB:
        bad = __builtin_sub_overflow(a, b, &r);
        break;
    case JT_MUL:
        bad = __builtin_mul_overflow(a, b, &r);
        break;
    case JT_DIV:
        return jv_float((double)a / (double)b);
    case JT_POW:
        return b < 0 ? jv_float(pow((double)a, (double)b)) : power(j, a, b);
    default:
        if (b == -1) { /* INT64_MIN / -1 has no answer in C */
            bad = __builtin_sub_overflow((int64_t)0, a, &r);
            if (op == JT_MOD)
                return jv_int(0);
            break;
        }
        r = a / b;
        if (a % b != 0 && (a < 0) != (b < 0))
            r--;
        if (op == JT_MOD)
            r = a - r * b;
    }
    return bad ? overflow(j) : jv_int(r);
}

static struct jv float_op(struct jinja *j, int op, double a, double b)
{
    if ((op == JT_DIV || op == JT_FLOORDIV || op == JT_MOD) && b == 0)
        return jinja_fail(j, ERR_RANGE, "float division by zero");
    double m;
    switch (op) {
    case JT_ADD:
        return jv_float(a + b);
    case JT_SUB:
        return jv_float(a - b);
    case JT_MUL:
        return jv_float(a * b);
    case JT_DIV:
        return jv_float(a / b);
    case JT_POW:
        return jv_float(pow(a, b));
    default:
        m = fmod(a, b);
        if (m != 0 && (m < 0) != (b < 0))
            m += b;
        return jv_float(op == JT_MOD ? m : floor((a - m) / b + 0.5));
    }
}

static struct jv repeat(struct jinja *j, struct jv v, int64_t n)
{
    size_t len = v.type == JV_STR ? v.u.s->n : v.u.l->n * sizeof v;
    if (n > 0 && len > JINJA_MAX_OUTPUT / (uint64_t)n)
        return jinja_fail(j, ERR_LIMIT, "repeated to more than %d MB", JINJA_MAX_OUTPUT >> 20);
    struct jinja_out o = {0};
    if (v.type == JV_STR) {
        for (int64_t i = 0; i < n && v.u.s->n && !j->rc; i++)
            jv_print(j, &o, v);
        return jinja_out_take(j, &o);
    }
    struct jv out = jv_list_new(j, v.type);
    for (int64_t i = 0; i < n && v.u.l->n && !j->rc; i++)
        for (size_t k = 0; k < v.u.l->n; k++)
            jv_list_add(j, out, v.u.l->v[k]);
    return out;
}

static struct jv join_two(struct jinja *j, struct jv a, struct jv b)
{
    if (a.type == JV_STR) {
        struct jinja_out o = {0};
        jv_print(j, &o, a);
        jv_print(j, &o, b);
        return jinja_out_take(j, &o);
    }
    struct jv out = jv_list_new(j, a.type);
    for (size_t i = 0; i < a.u.l->n; i++)
        jv_list_add(j, out, a.u.l->v[i]);
    for (size_t i = 0; i < b.u.l->n; i++)
        jv_list_add(j, out, b.u.l->v[i]);
    return out;
}

struct jv jinja_binary(struct jinja *j, int op, struct jv a, struct jv b)
{
    int64_t x, y;
    double f, g;
    if (j->rc)
        return jv_undef(NULL);
    if (a.type == JV_UNDEF)
        return jinja_undefined(j, a);
    if (b.type == JV_UNDEF)
        return jinja_undefined(j, b);
    if (jv_integer(a, &x) && jv_integer(b, &y))
        return int_op(j, op, x, y);
    if (jv_number(a, &f) && jv_number(b, &g))
        return float_op(j, op, f, g);
    bool seq_a = a.type == JV_STR || a.type == JV_LIST || a.type == JV_TUPLE,
         seq_b = b.type == JV_STR || b.type == JV_LIST || b.type == JV_TUPLE;
    if (op == JT_ADD && a.type == b.type && seq_a)
        return join_two(j, a, b);
    if (op == JT_MUL && seq_a && jv_integer(b, &y))
        return repeat(j, a, y);
    if (op == JT_MUL && seq_b && jv_integer(a, &x))
        return repeat(j, b, x);
    if (op == JT_MOD && a.type == JV_STR) {
        struct jinja_args args = {b.type == JV_TUPLE ? b.u.l->v : &b, b.type == JV_TUPLE ? (int)b.u.l->n : 1, NULL, 0};
        return jinja_filter_find("format", 6)->fn(j, a, &args);
    }
    if (a.type == JV_STR && op == JT_ADD)
        return jinja_fail(j, ERR_RANGE, "can only concatenate str (not \"%s\") to str", jv_type_name(b));
    return jinja_fail(j, ERR_RANGE, "unsupported operand type(s) for %s: '%s' and '%s'", jinja_token_name((enum jt)op),
                      jv_type_name(a), jv_type_name(b));
}

bool jinja_compare(struct jinja *j, int op, struct jv a, struct jv b)
{
    if (!jinja_charge_value(j, a))
        return false;
    switch (op) {
    case JT_EQ:
        return jv_equal(j, a, b);
    case JT_NE:
        return !jv_equal(j, a, b);
    case JT_IN:
        return jv_contains(j, b, a);
    case JT_NOTIN:
        return !jv_contains(j, b, a);
    case JT_GT:
        return jv_order(j, a, b, ">") > 0;
    case JT_GE:
        return jv_order(j, a, b, ">=") >= 0;
    case JT_LT:
        return jv_order(j, a, b, "<") < 0;
    default:
        return jv_order(j, a, b, "<=") <= 0;
    }
}
