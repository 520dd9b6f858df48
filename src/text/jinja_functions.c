/* jinja_functions: the functions every template can call. A row per name. */
#include "text/jinja_filters.h"
#include <stdio.h>
#include <string.h>

/* The caller of the API reads this text: nothing is put before it. */
static struct jv raise_exception(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)v;
    struct jinja_out o = {0};
    if (a->n)
        jv_print(j, &o, a->v[0]);
    if (!j->rc)
        j->rc =
            err_set(j->e, ERR_RANGE, "%.*s", o.text.len > 400 ? 400 : (int)o.text.len, o.text.data ? o.text.data : "");
    jinja_out_done(&o);
    return jv_undef(NULL);
}

static struct jv range(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)v;
    int64_t from = a->n > 1 ? jinja_arg_int(j, a, 0, NULL, 0) : 0, to = jinja_arg_int(j, a, a->n > 1 ? 1 : 0, NULL, 0);
    int64_t step = jinja_arg_int(j, a, 2, NULL, 1);
    if (!a->n || step == 0)
        return jinja_fail(j, ERR_RANGE, a->n ? "range() arg 3 must not be zero" : "range expected at least 1 argument");
    if (from < -(INT64_MAX / 4) || from > INT64_MAX / 4 || to < -(INT64_MAX / 4) || to > INT64_MAX / 4)
        return jinja_fail(j, ERR_RANGE, "range out of bounds");
    uint64_t span = step > 0 ? (to > from ? (uint64_t)(to - from) : 0) : from > to ? (uint64_t)(from - to) : 0;
    if (span / (step > 0 ? (uint64_t)step : (uint64_t)0 - (uint64_t)step) > JINJA_MAX_RANGE)
        return jinja_fail(j, ERR_LIMIT, "range too big, maximum size is %d", JINJA_MAX_RANGE);
    struct jv out = jv_list_new(j, JV_LIST);
    for (int64_t i = from; !j->rc && (step > 0 ? i < to : i > to);) {
        jv_list_add(j, out, jv_int(i));
        if (__builtin_add_overflow(i, step, &i))
            break;
    }
    return out;
}

/* namespace(...) and dict(...): from a mapping, from pairs, from keywords. */
static struct jv mapping(struct jinja *j, const struct jinja_args *a, enum jv_type type)
{
    struct jv out = jv_dict_new(j, type);
    for (int k = 0; k < a->n && !j->rc; k++) {
        bool is_dict = a->v[k].type == JV_DICT;
        struct jv_list *l = is_dict ? NULL : jv_iterate(j, a->v[k]);
        for (size_t i = 0; is_dict && i < a->v[k].u.d->n; i++)
            jv_dict_set(j, out, a->v[k].u.d->e[i].key, a->v[k].u.d->e[i].val);
        for (size_t i = 0; l && i < l->n && !j->rc; i++) {
            struct jv_list *pair = jv_iterate(j, l->v[i]);
            if (pair && pair->n == 2)
                jv_dict_set(j, out, pair->v[0], pair->v[1]);
            else
                jinja_fail(j, ERR_RANGE, "a mapping needs pairs");
        }
    }
    for (int k = 0; k < a->n_kw && !j->rc; k++)
        jv_dict_set(j, out, jv_cstr(j, a->kw[k].name), a->kw[k].v);
    return out;
}

static struct jv namespace(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)v;
    return mapping(j, a, JV_NS);
}

static struct jv dict(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)v;
    return mapping(j, a, JV_DICT);
}

/* joiner(sep=', '): nothing at the first call, the separator at every later one */
static struct jv joiner_next(struct jinja *j, struct jv self, const struct jinja_args *a)
{
    (void)a;
    struct jv *used = &self.u.l->v[1];
    if (!used->u.b) {
        used->u.b = true;
        return jv_str(j, "", 0, true);
    }
    return self.u.l->v[0];
}

static struct jv joiner(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)v;
    const struct jv *sep = jinja_arg(a, 0, "sep");
    struct jv state = jv_list_new(j, JV_LIST);
    jv_list_add(j, state, sep ? *sep : jv_cstr(j, ", "));
    jv_list_add(j, state, jv_bool(false));
    return j->rc ? state : jinja_func(j, "joiner", joiner_next, state);
}

/* cycler(a, b, ...): an object with next(), reset() and current; its state is in its own hidden entries. */
static struct jv cycler_at(struct jinja *j, struct jv self, int64_t at)
{
    const struct jv *items = jv_dict_gets(self, "", 0);
    struct jv now = items->u.l->v[(size_t)at % items->u.l->n];
    jv_dict_set(j, self, jv_cstr(j, "current"), now);
    jv_dict_set(j, self, jv_cstr(j, " at"), jv_int(at));
    return now;
}

static struct jv cycler_next(struct jinja *j, struct jv self, const struct jinja_args *a)
{
    (void)a;
    struct jv now = *jv_dict_gets(self, "current", 7);
    cycler_at(j, self, jv_dict_gets(self, " at", 3)->u.i + 1);
    return now;
}

static struct jv cycler_reset(struct jinja *j, struct jv self, const struct jinja_args *a)
{
    (void)a;
    cycler_at(j, self, 0);
    return jv_none();
}

static struct jv cycler(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)v;
    struct jv items = jv_list_new(j, JV_LIST), self = jv_dict_new(j, JV_NS);
    if (!a->n)
        return jinja_fail(j, ERR_RANGE, "at least one item has to be provided");
    for (int i = 0; i < a->n; i++)
        jv_list_add(j, items, a->v[i]);
    jv_dict_set(j, self, jv_str(j, "", 0, true), items);
    if (!j->rc)
        cycler_at(j, self, 0);
    jv_dict_set(j, self, jv_cstr(j, "next"), jinja_func(j, "next", cycler_next, self));
    jv_dict_set(j, self, jv_cstr(j, "reset"), jinja_func(j, "reset", cycler_reset, self));
    return self;
}

static const struct jinja_row rows[] = {
    {"raise_exception", raise_exception, 0},
    {"range", range, 0},
    {"namespace", namespace, 0},
    {"dict", dict, 0},
    {"joiner", joiner, 0},
    {"cycler", cycler, 0},
    {"strftime_now", jinja_strftime, 0},
};

const struct jinja_row *jinja_function_find(const char *name, size_t n)
{
    return jinja_row_find(rows, sizeof rows / sizeof *rows, name, n);
}
