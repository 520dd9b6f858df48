/* jinja_lists: filters over sequences. What Jinja2 gives as a generator is a list here, so more works, nothing less. */
#include "text/jinja_filters.h"
#include "text/jinja_lex.h"
#include <string.h>

struct jv list_length(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    if (v.type == JV_STR)
        return jv_int((int64_t)jv_chars(v.u.s));
    if (v.type == JV_DICT)
        return jv_int((int64_t)v.u.d->n);
    if (v.type == JV_UNDEF)
        return jv_int(0);
    if (v.type == JV_LIST || v.type == JV_TUPLE)
        return jv_int((int64_t)v.u.l->n);
    return jinja_fail(j, ERR_RANGE, "object of type '%s' has no len()", jv_type_name(v));
}

/* `otherwise` (unless NULL or None) stands for what is undefined. */
static struct jv item_or(struct jinja *j, struct jv v, struct jv key, const struct jv *otherwise)
{
    v = jinja_item(j, v, key);
    return v.type == JV_UNDEF && !j->rc && otherwise && otherwise->type != JV_NONE ? *otherwise : v;
}

/* An attribute by a dotted name; parts that are numbers are items. Dicts give their items first. */
static struct jv dotted(struct jinja *j, struct jv v, struct jv name, const struct jv *otherwise)
{
    int64_t i;
    if (jv_integer(name, &i))
        return item_or(j, v, name, otherwise);
    if (name.type != JV_STR)
        return jinja_fail(j, ERR_RANGE, "an attribute's name must be a string");
    const struct jv_str *s = name.u.s;
    for (size_t at = 0; at <= s->n && !j->rc;) {
        const char *dot = memchr(s->p + at, '.', s->n - at);
        size_t end = dot ? (size_t)(dot - s->p) : s->n;
        struct jv part = jv_sub(j, s, at, end - at);
        bool digits = end > at;
        for (i = 0; !j->rc && at < end; at++) {
            if (s->p[at] < '0' || s->p[at] > '9' || i > 1000000)
                digits = false;
            else
                i = i * 10 + (s->p[at] - '0');
        }
        if (!j->rc)
            v = item_or(j, v, digits ? jv_int(i) : part, otherwise);
        at = end + 1;
    }
    return v;
}

static struct jv attribute(struct jinja *j, struct jv v, const struct jv *name)
{
    return name && name->type != JV_NONE ? dotted(j, v, *name, NULL) : v;
}

/* join(d='', attribute=None) */
struct jv list_join(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    const struct jv *d = jinja_arg(a, 0, "d"), *attr = jinja_arg(a, 1, "attribute");
    struct jv_list *l = jv_iterate(j, v);
    struct jinja_out o = {0};
    for (size_t i = 0; l && i < l->n && !j->rc; i++) {
        if (i && d)
            jv_print(j, &o, *d);
        struct jv item = attribute(j, l->v[i], attr);
        jv_print(j, &o, item);
    }
    return jinja_out_take(j, &o);
}

struct jv list_first(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    struct jv_list *l = jv_iterate(j, v);
    return l && l->n ? l->v[0] : jv_undef("No first item, sequence was empty.");
}

struct jv list_last(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    struct jv_list *l = jv_iterate(j, v);
    return l && l->n ? l->v[l->n - 1] : jv_undef("No last item, sequence was empty.");
}

struct jv list_list(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    struct jv_list *l = jv_iterate(j, v);
    return l ? (struct jv){JV_LIST, {.l = l}} : jv_undef(NULL);
}

struct jv list_reverse(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    struct jv_list *l = jv_iterate(j, v);
    struct jv out = jv_list_new(j, JV_LIST);
    for (size_t i = l ? l->n : 0; i-- > 0 && !j->rc;)
        jv_list_add(j, out, l->v[i]);
    if (v.type != JV_STR || j->rc)
        return out;
    struct jinja_out o = {0};
    for (size_t i = 0; i < out.u.l->n; i++)
        jv_print(j, &o, out.u.l->v[i]);
    return jinja_out_take(j, &o);
}

/* ---- order ---- */

struct keyed {
    struct jv key, v;
};

static struct jv sort_key(struct jinja *j, struct jv v, const struct jv *attr, bool cased)
{
    v = attribute(j, v, attr);
    return v.type == JV_STR && !cased ? jv_recase(j, v.u.s, JV_LOWER) : v;
}

/* Merge sort: stable, and a comparison that fails ends it. */
static void merge_sort(struct jinja *j, struct keyed *v, struct keyed *tmp, size_t n, bool reverse)
{
    if (n < 2 || j->rc)
        return;
    size_t m = n / 2, a = 0, b = m, k = 0;
    merge_sort(j, v, tmp, m, reverse);
    merge_sort(j, v + m, tmp, n - m, reverse);
    while (a < m && b < n && !j->rc) {
        bool right = reverse ? jv_order(j, v[a].key, v[b].key, "<") < 0 : jv_order(j, v[b].key, v[a].key, "<") < 0;
        tmp[k++] = right ? v[b++] : v[a++];
    }
    while (a < m)
        tmp[k++] = v[a++];
    memcpy(v, tmp, k * sizeof *v);
}

static struct keyed *keyed_list(struct jinja *j, const struct jv_list *l, const struct jv *attr, bool cased)
{
    struct keyed *k = jinja_alloc(j, (l->n * 2 + 1) * sizeof *k);
    for (size_t i = 0; k && i < l->n && !j->rc; i++)
        k[i] = (struct keyed){sort_key(j, l->v[i], attr, cased), l->v[i]};
    return j->rc ? NULL : k;
}

static struct jv sorted(struct jinja *j, const struct jv_list *l, const struct jv *attr, bool cased, bool reverse)
{
    struct keyed *k = keyed_list(j, l, attr, cased);
    struct jv out = jv_list_new(j, JV_LIST);
    if (!k)
        return out;
    merge_sort(j, k, k + l->n, l->n, reverse);
    for (size_t i = 0; i < l->n && !j->rc; i++)
        jv_list_add(j, out, k[i].v);
    return out;
}

/* sort(reverse=False, case_sensitive=False, attribute=None); several attributes are separated by commas */
struct jv list_sort(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    struct jv_list *l = jv_iterate(j, v);
    const struct jv *attr = jinja_arg(a, 2, "attribute");
    if (!l)
        return v;
    if (attr && attr->type == JV_STR && memchr(attr->u.s->p, ',', attr->u.s->n))
        return jinja_fail(j, ERR_UNSUPPORTED, "sort by several attributes");
    return sorted(j, l, attr, jinja_arg_true(a, 1, "case_sensitive", false), jinja_arg_true(a, 0, "reverse", false));
}

/* dictsort(case_sensitive=False, by='key', reverse=False) */
struct jv list_dictsort(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    const struct jv_str *by = jinja_arg_str(j, a, 1, "by");
    if (v.type != JV_DICT)
        return jinja_fail(j, ERR_RANGE, "dictsort needs a mapping, not %s", jv_type_name(v));
    struct jv which = jv_int(by && by->n == 5 && !memcmp(by->p, "value", 5)), items = list_items(j, v, a);
    if (j->rc)
        return items;
    return sorted(j, items.u.l, &which, jinja_arg_true(a, 0, "case_sensitive", false),
                  jinja_arg_true(a, 2, "reverse", false));
}

static struct jv extreme(struct jinja *j, struct jv v, const struct jinja_args *a, bool greatest)
{
    struct jv_list *l = jv_iterate(j, v);
    struct keyed *k =
        l ? keyed_list(j, l, jinja_arg(a, 1, "attribute"), jinja_arg_true(a, 0, "case_sensitive", false)) : NULL;
    if (!k || !l->n)
        return jv_undef("No aggregated item, sequence was empty.");
    size_t best = 0;
    for (size_t i = 1; i < l->n && !j->rc; i++) {
        int c = jv_order(j, k[i].key, k[best].key, greatest ? ">" : "<");
        if (greatest ? c > 0 : c < 0)
            best = i;
    }
    return k[best].v;
}

struct jv list_min(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return extreme(j, v, a, false);
}

struct jv list_max(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return extreme(j, v, a, true);
}

/* sum(attribute=None, start=0) */
struct jv list_sum(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    const struct jv *attr = jinja_arg(a, 0, "attribute"), *start = jinja_arg(a, 1, "start");
    struct jv_list *l = jv_iterate(j, v);
    struct jv total = start ? *start : jv_int(0);
    for (size_t i = 0; l && i < l->n && !j->rc; i++)
        total = jinja_binary(j, JT_ADD, total, attribute(j, l->v[i], attr));
    return total;
}

/* unique(case_sensitive=False, attribute=None) */
struct jv list_unique(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    struct jv_list *l = jv_iterate(j, v);
    struct jv out = jv_list_new(j, JV_LIST), seen = jv_dict_new(j, JV_DICT);
    const struct jv *attr = jinja_arg(a, 1, "attribute");
    bool cased = jinja_arg_true(a, 0, "case_sensitive", false);
    for (size_t i = 0; l && i < l->n && !j->rc; i++) {
        struct jv key = sort_key(j, l->v[i], attr, cased);
        if (j->rc || jv_dict_get(seen, key))
            continue;
        jv_dict_set(j, seen, key, jv_none());
        jv_list_add(j, out, l->v[i]);
    }
    return out;
}

/* ---- mapping and selecting ---- */

/* map('filter', args...) or map(attribute='x', default=y) */
struct jv list_map(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    struct jv_list *l = jv_iterate(j, v);
    struct jv out = jv_list_new(j, JV_LIST);
    const struct jv *attr = jinja_arg(a, a->n, "attribute"), *otherwise = jinja_arg(a, a->n, "default");
    const struct jinja_row *filter = NULL;
    struct jinja_args rest = {0};
    if (a->n) {
        const struct jv_str *name = jinja_arg_str(j, a, 0, NULL);
        filter = name ? jinja_filter_find(name->p, name->n) : NULL;
        if (!filter)
            return jinja_fail(j, ERR_RANGE, "map: no such filter");
        rest = (struct jinja_args){a->v + 1, a->n - 1, a->kw, a->n_kw};
    } else if (!attr) {
        return jinja_fail(j, ERR_RANGE, "map requires a filter argument");
    }
    for (size_t i = 0; l && i < l->n && !j->rc; i++) {
        jinja_charge_value(j, l->v[i]);
        struct jv item = filter ? filter->fn(j, l->v[i], &rest) : dotted(j, l->v[i], *attr, otherwise);
        jv_list_add(j, out, item);
    }
    return out;
}

/* Items (or their attribute, the first argument) that pass a test, or are true without one. */
static struct jv choose(struct jinja *j, struct jv v, const struct jinja_args *a, bool by_attr, bool wanted)
{
    struct jv_list *l = jv_iterate(j, v);
    struct jv out = jv_list_new(j, JV_LIST);
    int skip = by_attr ? 1 : 0;
    if (by_attr && !a->n)
        return jinja_fail(j, ERR_RANGE, "an attribute's name is missing");
    const struct jinja_row *test = NULL;
    struct jinja_args rest = {0};
    if (a->n > skip) {
        const struct jv_str *name = jinja_arg_str(j, a, skip, NULL);
        test = name ? jinja_test_find(name->p, name->n) : NULL;
        if (!test)
            return jinja_fail(j, ERR_RANGE, "no such test");
        rest = (struct jinja_args){a->v + skip + 1, a->n - skip - 1, a->kw, a->n_kw};
    }
    for (size_t i = 0; l && i < l->n && !j->rc; i++) {
        jinja_charge_value(j, l->v[i]);
        struct jv item = by_attr ? dotted(j, l->v[i], a->v[0], NULL) : l->v[i];
        if (j->rc)
            break;
        if (jv_truth(test ? test->fn(j, item, &rest) : item) == wanted)
            jv_list_add(j, out, l->v[i]);
    }
    return out;
}

struct jv list_select(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return choose(j, v, a, false, true);
}

struct jv list_reject(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return choose(j, v, a, false, false);
}

struct jv list_selectattr(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return choose(j, v, a, true, true);
}

struct jv list_rejectattr(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    return choose(j, v, a, true, false);
}

static struct jv two(struct jinja *j, struct jv a, struct jv b)
{
    struct jv t = jv_list_new(j, JV_TUPLE);
    jv_list_add(j, t, a);
    jv_list_add(j, t, b);
    return t;
}

struct jv list_items(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    (void)a;
    struct jv out = jv_list_new(j, JV_LIST);
    if (v.type == JV_UNDEF)
        return out;
    if (v.type != JV_DICT)
        return jinja_fail(j, ERR_RANGE, "Can only get item pairs from a mapping.");
    for (size_t i = 0; i < v.u.d->n && !j->rc; i++)
        jv_list_add(j, out, two(j, v.u.d->e[i].key, v.u.d->e[i].val));
    return out;
}

/* ---- cutting up ---- */

/* batch(linecount, fill_with=None) */
struct jv list_batch(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    struct jv_list *l = jv_iterate(j, v);
    int64_t size = jinja_arg_int(j, a, 0, "linecount", 0);
    const struct jv *fill = jinja_arg(a, 1, "fill_with");
    struct jv out = jv_list_new(j, JV_LIST), line = jv_undef(NULL);
    if (size < 1 || size > JINJA_MAX_RANGE)
        return jinja_fail(j, ERR_RANGE, "batch needs a size");
    for (size_t i = 0; l && i < l->n && !j->rc; i++) {
        if (i % (size_t)size == 0)
            jv_list_add(j, out, line = jv_list_new(j, JV_LIST));
        if (!j->rc)
            jv_list_add(j, line, l->v[i]);
    }
    while (line.type == JV_LIST && fill && fill->type != JV_NONE && !j->rc && line.u.l->n < (size_t)size)
        jv_list_add(j, line, *fill);
    return out;
}

/* slice(slices, fill_with=None): so many columns, the first ones longer */
struct jv list_slice(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    struct jv_list *l = jv_iterate(j, v);
    int64_t slices = jinja_arg_int(j, a, 0, "slices", 0);
    const struct jv *fill = jinja_arg(a, 1, "fill_with");
    struct jv out = jv_list_new(j, JV_LIST);
    if (slices < 1 || slices > JINJA_MAX_RANGE)
        return jinja_fail(j, ERR_RANGE, "slice needs a number of slices");
    if (!l)
        return out;
    size_t per = l->n / (size_t)slices, extra = l->n % (size_t)slices, at = 0;
    for (size_t s = 0; s < (size_t)slices && !j->rc; s++) {
        struct jv line = jv_list_new(j, JV_LIST);
        for (size_t k = 0; k < per + (s < extra) && !j->rc; k++)
            jv_list_add(j, line, l->v[at++]);
        if (fill && fill->type != JV_NONE && s >= extra && !j->rc)
            jv_list_add(j, line, *fill);
        jv_list_add(j, out, line);
    }
    return out;
}

/* groupby(attribute, default=None, case_sensitive=False): (grouper, list) pairs, sorted */
struct jv list_groupby(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    struct jv_list *l = jv_iterate(j, v);
    const struct jv *attr = jinja_arg(a, 0, "attribute"), *otherwise = jinja_arg(a, 1, "default");
    bool cased = jinja_arg_true(a, 2, "case_sensitive", false);
    struct jv out = jv_list_new(j, JV_LIST), members = jv_undef(NULL);
    if (!attr)
        return jinja_fail(j, ERR_RANGE, "groupby needs an attribute");
    struct keyed *k = l ? keyed_list(j, l, attr, cased) : NULL;
    for (size_t i = 0; k && otherwise && i < l->n; i++)
        if (k[i].key.type == JV_UNDEF)
            k[i].key = *otherwise;
    if (!k)
        return out;
    merge_sort(j, k, k + l->n, l->n, false);
    for (size_t i = 0; i < l->n && !j->rc; i++) {
        if (i == 0 || !jv_equal(j, k[i].key, k[i - 1].key)) {
            members = jv_list_new(j, JV_LIST);
            struct jv shown = attribute(j, k[i].v, attr);
            jv_list_add(j, out, two(j, shown.type == JV_UNDEF && otherwise ? *otherwise : shown, members));
        }
        if (!j->rc)
            jv_list_add(j, members, k[i].v);
    }
    return out;
}
