/* jinja_eval: expressions. One function per kind of node, in a table. */
#include "text/jinja.h"
#include "text/jinja_lex.h"
#include <string.h>

/* ---- attributes and items ---- */

static struct jv loop_attr(struct jinja *j, struct jinja_loop *l, const char *name, size_t n)
{
    size_t len = l->items->n;
    const struct {
        const char *name;
        struct jv v;
    } plain[] = {
        {"index", jv_int((int64_t)l->i + 1)},
        {"index0", jv_int((int64_t)l->i)},
        {"revindex", jv_int((int64_t)(len - l->i))},
        {"revindex0", jv_int((int64_t)(len - l->i) - 1)},
        {"first", jv_bool(l->i == 0)},
        {"last", jv_bool(l->i + 1 == len)},
        {"length", jv_int((int64_t)len)},
        {"depth", jv_int(1)},
        {"depth0", jv_int(0)}, /* only recursive loops count */
        {"previtem", l->i ? l->items->v[l->i - 1] : jv_undef("there is no previous item")},
        {"nextitem", l->i + 1 < len ? l->items->v[l->i + 1] : jv_undef("there is no next item")},
    };
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (strlen(plain[i].name) == n && memcmp(plain[i].name, name, n) == 0)
            return plain[i].v;
    const struct jinja_row *row = jinja_method_find(JV_LOOP, name, n);
    return row ? jinja_func(j, row->name, row->fn, (struct jv){JV_LOOP, {.loop = l}}) : jv_undef(name);
}

/* A method of the value's type, or undefined. */
static struct jv method(struct jinja *j, struct jv v, const char *name, size_t n)
{
    const struct jinja_row *row = jinja_method_find(v.type, name, n);
    return row ? jinja_func(j, row->name, row->fn, v) : jv_undef(name);
}

static struct jv func_attr(struct jinja *j, const struct jv_func *f, const char *name)
{
    if (!strcmp(name, "name") && f->macro)
        return jv_cstr(j, f->name);
    return jv_undef(name);
}

struct jv jinja_attr(struct jinja *j, struct jv v, const char *name, size_t n)
{
    const struct jv *item;
    switch (v.type) {
    case JV_UNDEF:
        return jinja_undefined(j, v);
    case JV_LOOP:
        return loop_attr(j, v.u.loop, name, n);
    case JV_FUNC:
        return func_attr(j, v.u.fn, name);
    case JV_NS:
        item = jv_dict_gets(v, name, n);
        return item ? *item : jv_undef(name);
    case JV_DICT:
        if (jinja_method_find(JV_DICT, name, n))
            return method(j, v, name, n);
        item = jv_dict_gets(v, name, n);
        return item ? *item : jv_undef(name);
    case JV_TUPLE: /* what groupby gives */
        if (v.u.l->n == 2 && !strcmp(name, "grouper"))
            return v.u.l->v[0];
        if (v.u.l->n == 2 && !strcmp(name, "list"))
            return v.u.l->v[1];
        return method(j, v, name, n);
    default:
        return method(j, v, name, n);
    }
}

/* Index of an element, negative ones from the end; false if there is none. */
static bool element(int64_t i, size_t n, size_t *at)
{
    if (i < 0)
        i += (int64_t)n;
    if (i < 0 || (uint64_t)i >= n)
        return false;
    *at = (size_t)i;
    return true;
}

struct jv jinja_item(struct jinja *j, struct jv v, struct jv key)
{
    int64_t i;
    size_t at;
    const struct jv *item;
    if (v.type == JV_UNDEF)
        return jinja_undefined(j, v);
    if (!jinja_charge_value(j, key))
        return jv_undef(NULL);
    if (v.type == JV_DICT && key.type != JV_UNDEF && (item = jv_dict_get(v, key)))
        return *item;
    if ((v.type == JV_LIST || v.type == JV_TUPLE) && jv_integer(key, &i))
        return element(i, v.u.l->n, &at) ? v.u.l->v[at] : jv_undef("element");
    if (v.type == JV_STR && jv_integer(key, &i)) {
        if (!jinja_charge_value(j, v))
            return jv_undef(NULL);
        if (!element(i, jv_chars(v.u.s), &at))
            return jv_undef("character");
        at = jv_char_at(v.u.s, at);
        return jv_sub(j, v.u.s, at, jv_char_len(v.u.s->p + at, v.u.s->n - at));
    }
    if (key.type != JV_STR)
        return jv_undef("item");
    if (v.type == JV_DICT) {
        struct jv m = method(j, v, key.u.s->p, key.u.s->n);
        return m.type == JV_UNDEF ? jv_undef("key") : m;
    }
    if (memchr(key.u.s->p, 0, key.u.s->n))
        return jv_undef("item");
    struct jv name = jv_str(j, arena_strndup(&j->arena, key.u.s->p, key.u.s->n), key.u.s->n, false);
    if (j->rc || !name.u.s->p)
        return jinja_fail(j, ERR_NOMEM, "no memory to render the template");
    return jinja_attr(j, v, name.u.s->p, name.u.s->n);
}

static bool slice_bound(struct jinja *j, const struct jn *n, int64_t *out, bool *given)
{
    *given = false;
    if (!n)
        return true;
    struct jv v = jinja_eval(j, n);
    if (j->rc || v.type == JV_NONE)
        return !j->rc;
    if (!jv_integer(v, out))
        jinja_fail(j, ERR_RANGE, "slice indices must be integers or None");
    *given = true;
    return !j->rc;
}

static int64_t clamp(int64_t i, int64_t lo, int64_t hi)
{
    return i < lo ? lo : i > hi ? hi : i;
}

/* Python's rule for v[a:b:step]: bounds count from the end if negative, and are cut to the sequence. */
static struct jv slice(struct jinja *j, struct jv v, const struct jn *n)
{
    int64_t a = 0, b = 0, step = 1;
    bool has_a, has_b, has_step;
    if (v.type == JV_UNDEF)
        return jinja_undefined(j, v);
    if (v.type != JV_STR && v.type != JV_LIST && v.type != JV_TUPLE)
        return jv_undef("slice");
    if (!slice_bound(j, n->a, &a, &has_a) || !slice_bound(j, n->b, &b, &has_b) ||
        !slice_bound(j, n->c, &step, &has_step))
        return jv_undef(NULL);
    if (step == 0)
        return jinja_fail(j, ERR_RANGE, "slice step cannot be zero");
    if (!jinja_charge_value(j, v))
        return jv_undef(NULL);
    int64_t len = v.type == JV_STR ? (int64_t)jv_chars(v.u.s) : (int64_t)v.u.l->n;
    int64_t lo = step < 0 ? -1 : 0, hi = step < 0 ? len - 1 : len;
    if (has_a)
        a = clamp(a < 0 ? a + len : a, lo, hi);
    else
        a = step < 0 ? hi : lo;
    if (has_b)
        b = clamp(b < 0 ? b + len : b, lo, hi);
    else
        b = step < 0 ? lo : hi;
    step = clamp(step, -len - 1, len + 1);
    if (v.type == JV_STR && step == 1) {
        size_t p = jv_char_at(v.u.s, (size_t)a), q = b > a ? jv_char_at(v.u.s, (size_t)b) : p;
        return jv_sub(j, v.u.s, p, q - p);
    }
    struct jv_list *from = jv_iterate(j, v);
    struct jv out = jv_list_new(j, v.type == JV_TUPLE ? JV_TUPLE : JV_LIST);
    for (int64_t i = a; from && !j->rc && (step > 0 ? i < b : i > b); i += step)
        jv_list_add(j, out, from->v[i]);
    if (v.type != JV_STR || j->rc)
        return out;
    struct jinja_out o = {0};
    for (size_t i = 0; i < out.u.l->n; i++)
        jv_print(j, &o, out.u.l->v[i]);
    return jinja_out_take(j, &o);
}

/* ---- calls ---- */

struct jv jinja_call(struct jinja *j, struct jv fn, const struct jinja_args *a)
{
    if (fn.type == JV_UNDEF)
        return jinja_undefined(j, fn);
    if (fn.type != JV_FUNC)
        return jinja_fail(j, ERR_RANGE, "'%s' object is not callable", jv_type_name(fn));
    if (!jinja_charge_value(j, fn.u.fn->self))
        return fn.u.fn->self;
    return fn.u.fn->fn ? fn.u.fn->fn(j, fn.u.fn->self, a) : jinja_macro(j, fn.u.fn, a);
}

struct call {      /* arguments while they are evaluated */
    struct jv pos; /* a list */
    struct jinja_kw *kw;
    size_t n_kw, cap_kw;
};

static void add_kw(struct jinja *j, struct call *c, const char *name, struct jv v)
{
    if (c->n_kw == c->cap_kw) {
        size_t cap = c->cap_kw ? c->cap_kw * 2 : 4;
        struct jinja_kw *p = jinja_alloc(j, cap * sizeof *p);
        if (!p)
            return;
        if (c->n_kw)
            memcpy(p, c->kw, c->n_kw * sizeof *p);
        c->kw = p;
        c->cap_kw = cap;
    }
    c->kw[c->n_kw++] = (struct jinja_kw){name, v};
}

static void add_star(struct jinja *j, struct call *c, struct jv v)
{
    struct jv_list *l = jv_iterate(j, v);
    for (size_t i = 0; l && i < l->n; i++)
        jv_list_add(j, c->pos, l->v[i]);
}

static void add_star_star(struct jinja *j, struct call *c, struct jv v)
{
    if (v.type != JV_DICT) {
        jinja_fail(j, ERR_RANGE, "argument after ** must be a mapping, not %s", jv_type_name(v));
        return;
    }
    for (size_t i = 0; i < v.u.d->n && !j->rc; i++) {
        struct jv key = v.u.d->e[i].key;
        const char *name = key.type == JV_STR ? arena_strndup(&j->arena, key.u.s->p, key.u.s->n) : NULL;
        if (!name)
            jinja_fail(j, ERR_RANGE, "keywords must be strings");
        else
            add_kw(j, c, name, v.u.d->e[i].val);
    }
}

bool jinja_eval_args(struct jinja *j, const struct jn *list, const struct jn *more, struct jinja_args *a)
{
    *a = (struct jinja_args){0};
    if (!list && !more)
        return true;
    struct call c = {.pos = jv_list_new(j, JV_LIST)};
    for (const struct jn *n = list ? list : more; n && !j->rc; n = n == more ? NULL : n->next ? n->next : more) {
        bool plain = n->kind != JN_KW && n->kind != JN_STAR && n->kind != JN_STARSTAR;
        struct jv v = jinja_eval(j, plain ? n : n->a);
        if (j->rc)
            break;
        if (plain)
            jv_list_add(j, c.pos, v);
        else if (n->kind == JN_KW)
            add_kw(j, &c, n->name, v);
        else if (n->kind == JN_STAR)
            add_star(j, &c, v);
        else
            add_star_star(j, &c, v);
    }
    if (j->rc)
        return false;
    *a = (struct jinja_args){c.pos.u.l->v, (int)c.pos.u.l->n, c.kw, (int)c.n_kw};
    return true;
}

/* ---- nodes ---- */

static struct jv eval_name(struct jinja *j, const struct jn *n)
{
    struct jv *v = jinja_lookup(j, n->name);
    if (v)
        return *v;
    const struct jv *g = jv_dict_gets(j->globals, n->name, strlen(n->name));
    if (g)
        return *g;
    const struct jinja_row *row = jinja_function_find(n->name, strlen(n->name));
    return row ? jinja_func(j, row->name, row->fn, jv_none()) : jv_undef(n->name);
}

static struct jv eval_items(struct jinja *j, const struct jn *n, enum jv_type type)
{
    struct jv out = jv_list_new(j, type);
    for (const struct jn *i = n->a; i && !j->rc; i = i->next)
        jv_list_add(j, out, jinja_eval(j, i));
    return out;
}

static struct jv eval_dict(struct jinja *j, const struct jn *n)
{
    struct jv out = jv_dict_new(j, JV_DICT);
    for (const struct jn *i = n->a; i && !j->rc; i = i->next) {
        struct jv key = jinja_eval(j, i->a), v = jinja_eval(j, i->b);
        jv_dict_set(j, out, key, v);
    }
    return out;
}

static struct jv eval_call(struct jinja *j, const struct jn *n)
{
    struct jv fn = jinja_eval(j, n->a);
    struct jinja_args a;
    if (j->rc || !jinja_eval_args(j, n->b, NULL, &a))
        return jv_undef(NULL);
    return jinja_call(j, fn, &a);
}

static struct jv apply_row(struct jinja *j, const struct jn *n, struct jv v)
{
    struct jinja_args a;
    if (j->rc || !jinja_eval_args(j, n->b, NULL, &a) || !jinja_charge_value(j, v))
        return jv_undef(NULL);
    return ((const struct jinja_row *)n->row)->fn(j, v, &a);
}

struct jv jinja_filter_chain(struct jinja *j, const struct jn *n, struct jv v)
{
    if (!n)
        return v;
    return apply_row(j, n, jinja_filter_chain(j, n->a, v));
}

static struct jv eval_compare(struct jinja *j, const struct jn *n)
{
    struct jv left = jinja_eval(j, n->a);
    for (const struct jn *c = n->b; c && !j->rc; c = c->next) {
        struct jv right = jinja_eval(j, c->a);
        if (j->rc || !jinja_compare(j, c->op, left, right))
            return jv_bool(false);
        left = right;
    }
    return jv_bool(true);
}

static struct jv eval_concat(struct jinja *j, const struct jn *n)
{
    struct jinja_out o = {0};
    for (const struct jn *i = n->a; i && !j->rc; i = i->next) {
        struct jv v = jinja_eval(j, i);
        jv_print(j, &o, v);
    }
    return jinja_out_take(j, &o);
}

static struct jv eval_sign(struct jinja *j, const struct jn *n)
{
    struct jv v = jinja_eval(j, n->a);
    int64_t i;
    if (v.type == JV_FLOAT)
        return n->kind == JN_NEG ? jv_float(-v.u.f) : v;
    if (!j->rc && jv_integer(v, &i))
        return n->kind == JN_NEG ? jinja_binary(j, JT_SUB, jv_int(0), v) : jv_int(i);
    if (v.type == JV_UNDEF)
        return jinja_undefined(j, v);
    return jinja_fail(j, ERR_RANGE, "bad operand type for unary %s: '%s'", n->kind == JN_NEG ? "-" : "+",
                      jv_type_name(v));
}

static struct jv eval_logic(struct jinja *j, const struct jn *n)
{
    struct jv a = jinja_eval(j, n->a);
    if (j->rc || jv_truth(a) == (n->kind == JN_OR))
        return a;
    return jinja_eval(j, n->b);
}

static struct jv eval_cond(struct jinja *j, const struct jn *n)
{
    bool yes = jv_truth(jinja_eval(j, n->a));
    if (j->rc)
        return jv_undef(NULL);
    if (yes)
        return jinja_eval(j, n->b);
    return n->c ? jinja_eval(j, n->c) : jv_undef("the inline if-expression without else");
}

static struct jv eval_node(struct jinja *j, const struct jn *n)
{
    struct jv a, b;
    switch (n->kind) {
    case JN_CONST:
        return n->value;
    case JN_NAME:
        return eval_name(j, n);
    case JN_LIST:
        return eval_items(j, n, JV_LIST);
    case JN_TUPLE:
        return eval_items(j, n, JV_TUPLE);
    case JN_DICT:
        return eval_dict(j, n);
    case JN_ATTR:
        a = jinja_eval(j, n->a);
        return j->rc ? a : jinja_attr(j, a, n->name, strlen(n->name));
    case JN_ITEM:
        a = jinja_eval(j, n->a);
        if (j->rc)
            return a;
        if (n->b->kind == JN_SLICE)
            return slice(j, a, n->b);
        b = jinja_eval(j, n->b);
        return j->rc ? b : jinja_item(j, a, b);
    case JN_CALL:
        return eval_call(j, n);
    case JN_FILTER:
    case JN_TEST:
        return apply_row(j, n, jinja_eval(j, n->a));
    case JN_NOT:
        return jv_bool(!jv_truth(jinja_eval(j, n->a)));
    case JN_NEG:
    case JN_POS:
        return eval_sign(j, n);
    case JN_BIN:
        a = jinja_eval(j, n->a);
        b = jinja_eval(j, n->b);
        return jinja_binary(j, n->op, a, b);
    case JN_AND:
    case JN_OR:
        return eval_logic(j, n);
    case JN_COND:
        return eval_cond(j, n);
    case JN_CMP:
        return eval_compare(j, n);
    case JN_CONCAT:
        return eval_concat(j, n);
    default:
        return jinja_fail(j, ERR_FORMAT, "not an expression");
    }
}

struct jv jinja_eval(struct jinja *j, const struct jn *n)
{
    if (j->rc)
        return jv_undef(NULL);
    j->line = n->line;
    if (!jinja_charge(j, 1))
        return jv_undef(NULL);
    if (++j->depth > JINJA_MAX_DEPTH)
        jinja_fail(j, ERR_LIMIT, "evaluation nested deeper than %d", JINJA_MAX_DEPTH);
    struct jv v = j->rc ? jv_undef(NULL) : eval_node(j, n);
    j->depth--;
    return v;
}
