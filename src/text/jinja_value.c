/* jinja_value: values with Python's ideas of truth, equality, order, membership and iteration. */
#include "base/mem.h"
#include "text/jinja.h"
#include <cjson/cJSON.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct jv jinja_fail(struct jinja *j, int code, const char *fmt, ...)
{
    if (!j->rc) {
        char msg[400];
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(msg, sizeof msg, fmt, ap);
        va_end(ap);
        j->rc = err_set(j->e, code, "template line %d: %s", j->line, msg);
    }
    return jv_undef(NULL);
}

bool jinja_charge(struct jinja *j, size_t steps)
{
    j->steps += steps;
    if (j->steps > JINJA_MAX_STEPS)
        jinja_fail(j, ERR_LIMIT, "more than %d steps", JINJA_MAX_STEPS);
    return !j->rc;
}

bool jinja_charge_value(struct jinja *j, struct jv v)
{
    if (v.type == JV_STR)
        return jinja_charge(j, v.u.s->n / 32);
    if (v.type == JV_LIST || v.type == JV_TUPLE)
        return jinja_charge(j, v.u.l->n);
    return v.type == JV_DICT ? jinja_charge(j, v.u.d->n) : !j->rc;
}

void *jinja_alloc(struct jinja *j, size_t n)
{
    if (j->rc)
        return NULL;
    if (n > JINJA_MAX_MEMORY || j->arena.used + n > JINJA_MAX_MEMORY) {
        jinja_fail(j, ERR_LIMIT, "rendering needs more than %d MB", JINJA_MAX_MEMORY >> 20);
        return NULL;
    }
    void *p = arena_alloc(&j->arena, n);
    if (!p)
        jinja_fail(j, ERR_NOMEM, "no memory to render the template");
    return p;
}

struct jv jv_undef(const char *name)
{
    return (struct jv){JV_UNDEF, {.name = name}};
}

struct jv jv_none(void)
{
    return (struct jv){JV_NONE, {0}};
}

struct jv jv_bool(bool b)
{
    return (struct jv){JV_BOOL, {.b = b}};
}

struct jv jv_int(int64_t i)
{
    return (struct jv){JV_INT, {.i = i}};
}

struct jv jv_float(double f)
{
    return (struct jv){JV_FLOAT, {.f = f}};
}

static struct jv from_str(struct jinja *j, struct jv_str v)
{
    struct jv_str *s = jinja_alloc(j, sizeof *s);
    if (!s)
        return jv_undef(NULL);
    *s = v;
    return (struct jv){JV_STR, {.s = s}};
}

struct jv jv_str(struct jinja *j, const char *p, size_t n, bool trusted)
{
    return from_str(j, (struct jv_str){p, n, NULL, trusted});
}

struct jv jv_cstr(struct jinja *j, const char *s)
{
    return jv_str(j, s, strlen(s), true);
}

struct jv jv_sub(struct jinja *j, const struct jv_str *s, size_t at, size_t n)
{
    if (at == 0 && n == s->n)
        return (struct jv){JV_STR, {.s = s}};
    return from_str(j, (struct jv_str){s->p + at, n, s->trust ? s->trust + at : NULL, s->all});
}

/* ---- lists and dicts ---- */

struct jv jv_list_new(struct jinja *j, enum jv_type type)
{
    struct jv_list *l = jinja_alloc(j, sizeof *l);
    return l ? (struct jv){type, {.l = l}} : jv_undef(NULL);
}

/* Doubles in the arena: what is left behind is at most as much as what is kept. */
static void *grow(struct jinja *j, void *old, size_t n, size_t *cap, size_t elem)
{
    size_t want = *cap ? *cap * 2 : 4;
    void *p = want > SIZE_MAX / elem ? NULL : jinja_alloc(j, want * elem);
    if (!p)
        return NULL;
    if (n)
        memcpy(p, old, n * elem);
    *cap = want;
    return p;
}

void jv_list_add(struct jinja *j, struct jv list, struct jv v)
{
    if (j->rc)
        return;
    struct jv_list *l = list.u.l;
    if (l->n == l->cap) {
        struct jv *p = grow(j, l->v, l->n, &l->cap, sizeof *p);
        if (!p)
            return;
        l->v = p;
    }
    l->v[l->n++] = v;
}

struct jv jv_dict_new(struct jinja *j, enum jv_type type)
{
    struct jv_dict *d = jinja_alloc(j, sizeof *d);
    return d ? (struct jv){type, {.d = d}} : jv_undef(NULL);
}

static uint32_t hash_bytes(const char *p, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)p[i]) * 16777619u;
    return h ^ h >> 15;
}

static uint32_t hash_key(struct jv k)
{
    double f;
    if (k.type == JV_STR)
        return hash_bytes(k.u.s->p, k.u.s->n);
    if (jv_number(k, &f))
        return hash_bytes((const char *)&f, sizeof f);
    return (uint32_t)k.type;
}

static bool key_equal(struct jv a, struct jv b)
{
    double x, y;
    if (a.type == JV_STR && b.type == JV_STR)
        return a.u.s->n == b.u.s->n && memcmp(a.u.s->p, b.u.s->p, a.u.s->n) == 0;
    if (jv_number(a, &x) && jv_number(b, &y))
        return x == y;
    if (a.type == JV_TUPLE && b.type == JV_TUPLE && a.u.l->n == b.u.l->n) {
        for (size_t i = 0; i < a.u.l->n; i++)
            if (!key_equal(a.u.l->v[i], b.u.l->v[i]))
                return false;
        return true;
    }
    return a.type == JV_NONE && b.type == JV_NONE;
}

static struct jv_pair *dict_find(const struct jv_dict *d, struct jv key)
{
    if (!d->index) {
        for (size_t i = 0; i < d->n; i++)
            if (key_equal(d->e[i].key, key))
                return &d->e[i];
        return NULL;
    }
    for (size_t k = hash_key(key) & (d->n_index - 1); d->index[k]; k = (k + 1) & (d->n_index - 1))
        if (key_equal(d->e[d->index[k] - 1].key, key))
            return &d->e[d->index[k] - 1];
    return NULL;
}

static void dict_reindex(struct jinja *j, struct jv_dict *d)
{
    enum { WORTH_IT = 8 };
    if (d->n < WORTH_IT)
        return;
    if (d->n_index < d->cap * 2) {
        size_t n = d->cap * 2;
        uint32_t *p = jinja_alloc(j, n * sizeof *p);
        if (!p)
            return;
        d->index = p;
        d->n_index = n;
        for (size_t i = 0; i + 1 < d->n; i++) {
            size_t k = hash_key(d->e[i].key) & (n - 1);
            while (p[k])
                k = (k + 1) & (n - 1);
            p[k] = (uint32_t)i + 1;
        }
    }
    size_t k = hash_key(d->e[d->n - 1].key) & (d->n_index - 1);
    while (d->index[k])
        k = (k + 1) & (d->n_index - 1);
    d->index[k] = (uint32_t)d->n;
}

void jv_dict_set(struct jinja *j, struct jv dict, struct jv key, struct jv v)
{
    if (j->rc)
        return;
    struct jv_dict *d = dict.u.d;
    if (key.type >= JV_LIST && key.type != JV_TUPLE) {
        jinja_fail(j, ERR_RANGE, "a %s cannot be a key", jv_type_name(key));
        return;
    }
    struct jv_pair *p = dict_find(d, key);
    if (p) {
        p->val = v;
        return;
    }
    if (d->n == d->cap) {
        p = grow(j, d->e, d->n, &d->cap, sizeof *p);
        if (!p)
            return;
        d->e = p;
    }
    d->e[d->n++] = (struct jv_pair){key, v};
    dict_reindex(j, d);
}

const struct jv *jv_dict_get(struct jv d, struct jv key)
{
    const struct jv_pair *p = dict_find(d.u.d, key);
    return p ? &p->val : NULL;
}

const struct jv *jv_dict_gets(struct jv d, const char *key, size_t n)
{
    struct jv_str s = {key, n, NULL, true};
    return jv_dict_get(d, (struct jv){JV_STR, {.s = &s}});
}

/* ---- what Python thinks of them ---- */

const char *jv_type_name(struct jv v)
{
    static const char *const names[] = {"Undefined", "NoneType", "bool", "int",       "float",       "str",
                                        "list",      "tuple",    "dict", "Namespace", "LoopContext", "function"};
    return names[v.type];
}

bool jv_truth(struct jv v)
{
    switch (v.type) {
    case JV_UNDEF:
    case JV_NONE:
        return false;
    case JV_BOOL:
        return v.u.b;
    case JV_INT:
        return v.u.i != 0;
    case JV_FLOAT:
        return v.u.f != 0;
    case JV_STR:
        return v.u.s->n > 0;
    case JV_LIST:
    case JV_TUPLE:
        return v.u.l->n > 0;
    case JV_DICT:
        return v.u.d->n > 0;
    case JV_NS:
    case JV_LOOP:
    case JV_FUNC:
        return true;
    }
    return false;
}

bool jv_number(struct jv v, double *f)
{
    if (v.type == JV_INT)
        *f = (double)v.u.i;
    else if (v.type == JV_FLOAT)
        *f = v.u.f;
    else if (v.type == JV_BOOL)
        *f = v.u.b;
    else
        return false;
    return true;
}

bool jv_integer(struct jv v, int64_t *i)
{
    if (v.type == JV_INT)
        *i = v.u.i;
    else if (v.type == JV_BOOL)
        *i = v.u.b;
    else
        return false;
    return true;
}

static bool deeper(struct jinja *j)
{
    if (j->depth >= JINJA_MAX_DATA_DEPTH + JINJA_MAX_DEPTH)
        jinja_fail(j, ERR_LIMIT, "data nested too deeply");
    return !j->rc;
}

static bool lists_equal(struct jinja *j, const struct jv_list *a, const struct jv_list *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (!jv_equal(j, a->v[i], b->v[i]))
            return false;
    return true;
}

static bool dicts_equal(struct jinja *j, struct jv a, struct jv b)
{
    if (a.u.d->n != b.u.d->n)
        return false;
    for (size_t i = 0; i < a.u.d->n; i++) {
        const struct jv *other = jv_dict_get(b, a.u.d->e[i].key);
        if (!other || !jv_equal(j, a.u.d->e[i].val, *other))
            return false;
    }
    return true;
}

bool jv_equal(struct jinja *j, struct jv a, struct jv b)
{
    double x, y;
    if (!jinja_charge(j, 1))
        return false;
    if (a.type == JV_INT && b.type == JV_INT)
        return a.u.i == b.u.i;
    if (jv_number(a, &x) && jv_number(b, &y))
        return x == y;
    if (a.type != b.type || !deeper(j))
        return false;
    j->depth++;
    bool same = false;
    switch (a.type) {
    case JV_UNDEF:
    case JV_NONE:
        same = true;
        break;
    case JV_STR:
        same = jinja_charge_value(j, a) && key_equal(a, b);
        break;
    case JV_LIST:
    case JV_TUPLE:
        same = lists_equal(j, a.u.l, b.u.l);
        break;
    case JV_DICT:
        same = dicts_equal(j, a, b);
        break;
    case JV_NS:
        same = a.u.d == b.u.d;
        break;
    case JV_LOOP:
        same = a.u.loop == b.u.loop;
        break;
    default:
        same = a.u.fn == b.u.fn;
    }
    j->depth--;
    return same;
}

/* UTF-8 orders as its code points do. */
static int bytes_order(const struct jv_str *a, const struct jv_str *b)
{
    int c = memcmp(a->p, b->p, a->n < b->n ? a->n : b->n);
    return c ? c : a->n < b->n ? -1 : a->n > b->n;
}

int jv_order(struct jinja *j, struct jv a, struct jv b, const char *op)
{
    double x, y;
    if (!jinja_charge(j, 1))
        return 0;
    if (a.type == JV_INT && b.type == JV_INT)
        return a.u.i < b.u.i ? -1 : a.u.i > b.u.i;
    if (jv_number(a, &x) && jv_number(b, &y))
        return x < y ? -1 : x > y;
    if (a.type == JV_STR && b.type == JV_STR)
        return jinja_charge_value(j, a) ? bytes_order(a.u.s, b.u.s) : 0;
    if (a.type == b.type && (a.type == JV_LIST || a.type == JV_TUPLE) && deeper(j)) {
        j->depth++;
        int c = 0;
        size_t i = 0;
        for (; !c && i < a.u.l->n && i < b.u.l->n; i++)
            if (!jv_equal(j, a.u.l->v[i], b.u.l->v[i]))
                c = jv_order(j, a.u.l->v[i], b.u.l->v[i], op);
        j->depth--;
        return c ? c : a.u.l->n < b.u.l->n ? -1 : a.u.l->n > b.u.l->n;
    }
    if (a.type == JV_UNDEF || b.type == JV_UNDEF)
        jinja_fail(j, ERR_RANGE, "'%.80s' is undefined",
                   a.type == JV_UNDEF && a.u.name   ? a.u.name
                   : b.u.name && b.type == JV_UNDEF ? b.u.name
                                                    : "value");
    else
        jinja_fail(j, ERR_RANGE, "'%s' not supported between instances of '%s' and '%s'", op, jv_type_name(a),
                   jv_type_name(b));
    return 0;
}

bool jv_contains(struct jinja *j, struct jv where, struct jv what)
{
    if (!jinja_charge_value(j, where))
        return false;
    if (where.type == JV_STR) {
        if (what.type == JV_STR)
            return jv_find(where.u.s, 0, what.u.s) != SIZE_MAX;
        jinja_fail(j, ERR_RANGE, "'in <string>' requires string as left operand, not %s", jv_type_name(what));
        return false;
    }
    if (where.type == JV_DICT)
        return jv_dict_get(where, what) != NULL;
    struct jv_list *l = jv_iterate(j, where);
    for (size_t i = 0; l && i < l->n && !j->rc; i++)
        if (jv_equal(j, l->v[i], what))
            return true;
    return false;
}

/* Characters of a string, keys of a dict. Undefined is empty. */
struct jv_list *jv_iterate(struct jinja *j, struct jv v)
{
    if (!jinja_charge_value(j, v))
        return NULL;
    if (v.type == JV_LIST || v.type == JV_TUPLE)
        return v.u.l;
    struct jv out = jv_list_new(j, JV_LIST);
    if (j->rc)
        return NULL;
    switch (v.type) {
    case JV_UNDEF:
        break;
    case JV_STR:
        for (size_t i = 0, k; i < v.u.s->n && !j->rc; i += k) {
            k = jv_char_len(v.u.s->p + i, v.u.s->n - i);
            jv_list_add(j, out, jv_sub(j, v.u.s, i, k));
        }
        break;
    case JV_DICT:
        for (size_t i = 0; i < v.u.d->n; i++)
            jv_list_add(j, out, v.u.d->e[i].key);
        break;
    default:
        jinja_fail(j, ERR_RANGE, "'%s' object is not iterable", jv_type_name(v));
    }
    return j->rc ? NULL : out.u.l;
}

/* JSON numbers without a fraction are integers (the parser keeps no more than their value). */
struct jv jv_from_json(struct jinja *j, const struct cJSON *c, bool trusted, int depth)
{
    enum { MAX_JSON_DEPTH = 1000 };
    if (depth > MAX_JSON_DEPTH)
        return jinja_fail(j, ERR_LIMIT, "the request's data is nested too deeply");
    switch (c->type & 0xFF) {
    case cJSON_False:
        return jv_bool(false);
    case cJSON_True:
        return jv_bool(true);
    case cJSON_Number:
        if (c->valuedouble == floor(c->valuedouble) && fabs(c->valuedouble) < 9e18)
            return jv_int((int64_t)c->valuedouble);
        return jv_float(c->valuedouble);
    case cJSON_String:
        return jv_str(j, c->valuestring, strlen(c->valuestring), trusted);
    case cJSON_Array: {
        struct jv l = jv_list_new(j, JV_LIST);
        for (const cJSON *i = c->child; i && !j->rc; i = i->next)
            jv_list_add(j, l, jv_from_json(j, i, trusted, depth + 1));
        return l;
    }
    case cJSON_Object: {
        struct jv d = jv_dict_new(j, JV_DICT);
        for (const cJSON *i = c->child; i && !j->rc; i = i->next)
            jv_dict_set(j, d, jv_str(j, i->string, strlen(i->string), false), jv_from_json(j, i, trusted, depth + 1));
        return d;
    }
    default:
        return jv_none();
    }
}
