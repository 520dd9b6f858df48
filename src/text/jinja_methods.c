/* jinja_methods: methods of lists, dicts and loops (strings: jinja_strings.c). A row per name. */
#include "text/jinja_filters.h"
#include <string.h>

/* ---- lists and dicts ---- */

static struct jv l_index(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    for (size_t i = 0; a->n && i < v.u.l->n; i++)
        if (jv_equal(j, v.u.l->v[i], a->v[0]))
            return jv_int((int64_t)i);
    return jinja_fail(j, ERR_RANGE, "the value is not in the list");
}

static struct jv l_count(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    int64_t n = 0;
    for (size_t i = 0; a->n && i < v.u.l->n; i++)
        n += jv_equal(j, v.u.l->v[i], a->v[0]);
    return jv_int(n);
}

static struct jv copy(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)j, (void)a;
    return v; /* nothing can change it */
}

static struct jv forbidden(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    return jinja_fail(j, ERR_RANGE, "changing a %s is not allowed in a template", jv_type_name(v));
}

static struct jv d_keys(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return list_list(j, v, a);
}

static struct jv d_values(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    struct jv out = jv_list_new(j, JV_LIST);
    for (size_t i = 0; i < v.u.d->n && !j->rc; i++)
        jv_list_add(j, out, v.u.d->e[i].val);
    return out;
}

static struct jv d_get(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    if (!a->n)
        return jinja_fail(j, ERR_RANGE, "get needs a key");
    const struct jv *found = jv_dict_get(v, a->v[0]), *otherwise = jinja_arg(a, 1, "default");
    if (found)
        return *found;
    return otherwise ? *otherwise : jv_none();
}

/* ---- loops ---- */

static struct jv loop_cycle(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    if (!a->n)
        return jinja_fail(j, ERR_RANGE, "no items for cycling given");
    return a->v[v.u.loop->i % (size_t)a->n];
}

static struct jv loop_changed(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    struct jv now = jv_list_new(j, JV_TUPLE);
    for (int i = 0; i < a->n; i++)
        jv_list_add(j, now, a->v[i]);
    struct jinja_loop *l = v.u.loop;
    bool same = l->has_changed && jv_equal(j, l->changed, now);
    l->changed = now;
    l->has_changed = true;
    return jv_bool(!same);
}

enum { LIST = 1 << JV_LIST, SEQ = 1 << JV_LIST | 1 << JV_TUPLE, DICT = 1 << JV_DICT, LOOP = 1 << JV_LOOP };

static const struct jinja_row rows[] = {
    {"index", l_index, SEQ},         {"count", l_count, SEQ},           {"copy", copy, LIST | DICT},
    {"append", forbidden, LIST},     {"extend", forbidden, LIST},       {"insert", forbidden, LIST},
    {"remove", forbidden, LIST},     {"reverse", forbidden, LIST},      {"sort", forbidden, LIST},
    {"pop", forbidden, LIST | DICT}, {"clear", forbidden, LIST | DICT}, {"update", forbidden, DICT},
    {"setdefault", forbidden, DICT}, {"popitem", forbidden, DICT},      {"keys", d_keys, DICT},
    {"values", d_values, DICT},      {"items", list_items, DICT},       {"get", d_get, DICT},
    {"cycle", loop_cycle, LOOP},     {"changed", loop_changed, LOOP},
};

const struct jinja_row *jinja_method_find(enum jv_type type, const char *name, size_t n)
{
    if (type == JV_STR)
        return jinja_string_find(name, n);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if ((rows[i].types >> type & 1) && strlen(rows[i].name) == n && memcmp(rows[i].name, name, n) == 0)
            return &rows[i];
    return NULL;
}
