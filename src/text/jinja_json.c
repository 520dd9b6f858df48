/* jinja_json: the tojson filter as transformers defines it: Python's json.dumps with ensure_ascii off by default. */
#include "text/jinja.h"
#include "text/utf8.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dump {
    struct jinja *j;
    struct jinja_out o;
    struct jv_str indent; /* n 0 and no newline: flat */
    bool lines, ascii, sort;
    struct jv_str item, key; /* separators */
};

static void literal(struct dump *d, const char *s)
{
    jinja_out_add(d->j, &d->o, s, strlen(s), false);
}

static void escaped(struct dump *d, int32_t cp, bool trusted)
{
    static const char from[] = "\"\\\n\r\t\f\b", to[] = "\"\\nrtfb";
    char s[16];
    const char *p = cp > 0 && cp < 0x80 ? strchr(from, cp) : NULL;
    if (p)
        snprintf(s, sizeof s, "\\%c", to[p - from]);
    else if (cp >= 0x10000)
        snprintf(s, sizeof s, "\\u%04x\\u%04x", 0xD800 + (((unsigned)cp - 0x10000) >> 10),
                 0xDC00 + (((unsigned)cp - 0x10000) & 0x3FF));
    else
        snprintf(s, sizeof s, "\\u%04x", (unsigned)cp);
    jinja_out_add(d->j, &d->o, s, strlen(s), trusted);
}

static void dump_str(struct dump *d, const struct jv_str *s)
{
    literal(d, "\"");
    size_t from = 0;
    for (size_t i = 0, k; i < s->n && !d->j->rc; i += k) {
        int32_t cp;
        k = utf8_decode(s->p + i, s->n - i, &cp);
        bool esc = (cp >= 0 && cp < 0x20) || cp == '"' || cp == '\\' || (d->ascii && cp >= 0x7F && cp != 0x7F);
        if (!esc)
            continue;
        jinja_out_str(d->j, &d->o, s, from, i - from);
        escaped(d, cp, s->trust ? s->trust[i] : s->all);
        from = i + k;
    }
    jinja_out_str(d->j, &d->o, s, from, s->n - from);
    literal(d, "\"");
}

static void dump_scalar(struct dump *d, struct jv v)
{
    char s[64];
    switch (v.type) {
    case JV_NONE:
        literal(d, "null");
        return;
    case JV_BOOL:
        literal(d, v.u.b ? "true" : "false");
        return;
    case JV_INT:
        snprintf(s, sizeof s, "%lld", (long long)v.u.i);
        break;
    case JV_FLOAT:
        if (isnan(v.u.f) || isinf(v.u.f))
            snprintf(s, sizeof s, "%s", isnan(v.u.f) ? "NaN" : v.u.f > 0 ? "Infinity" : "-Infinity");
        else
            jv_format_float(v.u.f, s);
        break;
    default:
        jinja_fail(d->j, ERR_RANGE, "Object of type %s is not JSON serializable", jv_type_name(v));
        return;
    }
    literal(d, s);
}

static void new_line(struct dump *d, int depth)
{
    if (!d->lines)
        return;
    literal(d, "\n");
    for (int i = 0; i < depth && !d->j->rc; i++)
        jinja_out_str(d->j, &d->o, &d->indent, 0, d->indent.n);
}

static void dump(struct dump *d, struct jv v, int depth);

static void dump_key(struct dump *d, struct jv key)
{
    if (key.type == JV_STR) {
        dump_str(d, key.u.s);
        return;
    }
    if (key.type == JV_TUPLE)
        jinja_fail(d->j, ERR_RANGE, "keys must be str, int, float, bool or None, not tuple");
    literal(d, "\"");
    dump_scalar(d, key);
    literal(d, "\"");
}

struct sorted_key {
    struct jv key;
    const struct jv_pair *pair;
    struct jinja *j;
};

static int key_cmp(const void *a, const void *b)
{
    const struct sorted_key *x = a, *y = b;
    return jv_order(x->j, x->key, y->key, "<");
}

static void dump_dict(struct dump *d, const struct jv_dict *dict, int depth)
{
    struct sorted_key *order = jinja_alloc(d->j, (dict->n + 1) * sizeof *order);
    if (!order)
        return;
    for (size_t i = 0; i < dict->n; i++)
        order[i] = (struct sorted_key){dict->e[i].key, &dict->e[i], d->j};
    if (d->sort)
        qsort(order, dict->n, sizeof *order, key_cmp);
    literal(d, "{");
    for (size_t i = 0; i < dict->n && !d->j->rc; i++) {
        if (i)
            jinja_out_str(d->j, &d->o, &d->item, 0, d->item.n);
        new_line(d, depth + 1);
        dump_key(d, order[i].pair->key);
        jinja_out_str(d->j, &d->o, &d->key, 0, d->key.n);
        dump(d, order[i].pair->val, depth + 1);
    }
    if (dict->n)
        new_line(d, depth);
    literal(d, "}");
}

static void dump(struct dump *d, struct jv v, int depth)
{
    if (depth > JINJA_MAX_DATA_DEPTH)
        jinja_fail(d->j, ERR_LIMIT, "data nested too deeply");
    if (!jinja_charge(d->j, 1))
        return;
    if (v.type == JV_STR) {
        dump_str(d, v.u.s);
    } else if (v.type == JV_DICT) {
        dump_dict(d, v.u.d, depth);
    } else if (v.type == JV_LIST || v.type == JV_TUPLE) {
        literal(d, "[");
        for (size_t i = 0; i < v.u.l->n && !d->j->rc; i++) {
            if (i)
                jinja_out_str(d->j, &d->o, &d->item, 0, d->item.n);
            new_line(d, depth + 1);
            dump(d, v.u.l->v[i], depth + 1);
        }
        if (v.u.l->n)
            new_line(d, depth);
        literal(d, "]");
    } else {
        dump_scalar(d, v);
    }
}

/* tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False) */
struct jv jinja_tojson(struct jinja *j, struct jv v, const struct jinja_args *a)
{
    enum { MAX_INDENT = 64 };
    static const char spaces[MAX_INDENT + 1] = "                                                                ";
    struct dump d = {
        .j = j, .ascii = jinja_arg_true(a, 0, "ensure_ascii", false), .sort = jinja_arg_true(a, 3, "sort_keys", false)};
    const struct jv *indent = jinja_arg(a, 1, "indent"), *sep = jinja_arg(a, 2, "separators");
    int64_t n;
    if (indent && indent->type == JV_STR) {
        d.lines = true;
        d.indent = *indent->u.s;
    } else if (indent && jv_integer(*indent, &n)) {
        d.lines = true;
        d.indent = (struct jv_str){spaces, n < 0 ? 0 : n > MAX_INDENT ? MAX_INDENT : (size_t)n, NULL, false};
    }
    d.item = d.lines ? (struct jv_str){",", 1, NULL, false} : (struct jv_str){", ", 2, NULL, false};
    d.key = (struct jv_str){": ", 2, NULL, false};
    if (sep && sep->type != JV_NONE) {
        bool pair = (sep->type == JV_TUPLE || sep->type == JV_LIST) && sep->u.l->n == 2;
        if (!pair || sep->u.l->v[0].type != JV_STR || sep->u.l->v[1].type != JV_STR)
            return jinja_fail(j, ERR_RANGE, "separators must be two strings");
        d.item = *sep->u.l->v[0].u.s;
        d.key = *sep->u.l->v[1].u.s;
    }
    dump(&d, v, 0);
    return jinja_out_take(j, &d.o);
}
