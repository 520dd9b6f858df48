/* jinja_text: strings whose every byte knows whether it came from the template or from the caller. Characters are code
 * points, as in Python; an ill-formed byte counts as one character. */
#include "base/mem.h"
#include "text/jinja.h"
#include "text/utf8.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

void jinja_out_add(struct jinja *j, struct jinja_out *o, const char *p, size_t n, bool trusted)
{
    struct jv_str s = {p, n, NULL, trusted};
    jinja_out_str(j, o, &s, 0, n);
}

void jinja_out_str(struct jinja *j, struct jinja_out *o, const struct jv_str *s, size_t at, size_t n)
{
    if (j->rc || !n)
        return;
    if (n > JINJA_MAX_OUTPUT - o->text.len) {
        jinja_fail(j, ERR_LIMIT, "the text is longer than %d MB", JINJA_MAX_OUTPUT >> 20);
        return;
    }
    buf_add(&o->text, s->p + at, n);
    if (s->trust) {
        buf_add(&o->trust, s->trust + at, n);
    } else {
        static const char zeros[64], ones[] = "\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1"
                                              "\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1";
        for (size_t k; n; n -= k) {
            k = n < 63 ? n : 63;
            buf_add(&o->trust, s->all ? ones : zeros, k);
        }
    }
    if (o->text.failed || o->trust.failed)
        jinja_fail(j, ERR_NOMEM, "no memory to render the template");
}

void jinja_out_done(struct jinja_out *o)
{
    buf_done(&o->text);
    buf_done(&o->trust);
}

struct jv jinja_out_take(struct jinja *j, struct jinja_out *o)
{
    if (j->rc) {
        jinja_out_done(o);
        return jv_undef(NULL);
    }
    size_t n = o->text.len;
    struct jv_str *s = jinja_alloc(j, sizeof *s);
    char *p = jinja_alloc(j, n + 1);
    bool all = n == 0 || o->trust.data[0], same = true;
    for (size_t i = 1; same && i < n; i++)
        same = (o->trust.data[i] != 0) == all;
    uint8_t *t = same ? NULL : jinja_alloc(j, n);
    struct jv v = jv_undef(NULL);
    if (s && p && (t || same)) {
        if (n)
            memcpy(p, o->text.data, n);
        if (t)
            memcpy(t, o->trust.data, n);
        *s = (struct jv_str){p, n, t, all};
        v = (struct jv){JV_STR, {.s = s}};
    }
    jinja_out_done(o);
    *o = (struct jinja_out){0};
    return v;
}

/* ---- characters ---- */

size_t jv_char_len(const char *p, size_t n)
{
    int32_t cp;
    return utf8_decode(p, n, &cp);
}

size_t jv_chars(const struct jv_str *s)
{
    size_t k = 0;
    for (size_t i = 0; i < s->n; k++)
        i += jv_char_len(s->p + i, s->n - i);
    return k;
}

size_t jv_char_at(const struct jv_str *s, size_t i)
{
    size_t at = 0;
    for (; i && at < s->n; i--)
        at += jv_char_len(s->p + at, s->n - at);
    return at;
}

bool jv_is_space(const char *p, size_t n, size_t *len)
{
    if (utf8_classify(p, n, len) == UTF8_SPACE)
        return true;
    return *len == 1 && *p >= 0x1C && *p <= 0x1F;
}

size_t jv_find(const struct jv_str *s, size_t from, const struct jv_str *what)
{
    if (from > s->n || what->n > s->n - from)
        return SIZE_MAX;
    if (!what->n)
        return from;
    const char *p = memmem(s->p + from, s->n - from, what->p, what->n);
    return p ? (size_t)(p - s->p) : SIZE_MAX;
}

/* Is the character at p among `chars` (NULL: white space)? */
static bool strips(const char *p, size_t len, const struct jv_str *chars)
{
    size_t k;
    if (!chars)
        return jv_is_space(p, len, &k);
    for (size_t i = 0; i < chars->n; i += k) {
        k = jv_char_len(chars->p + i, chars->n - i);
        if (k == len && memcmp(chars->p + i, p, len) == 0)
            return true;
    }
    return false;
}

struct jv jv_strip(struct jinja *j, const struct jv_str *s, const struct jv_str *chars, int sides)
{
    size_t a = 0, b = s->n, k;
    for (; (sides & 1) && a < b; a += k) {
        k = jv_char_len(s->p + a, b - a);
        if (!strips(s->p + a, k, chars))
            break;
    }
    while ((sides & 2) && b > a) {
        size_t c = b - 1;
        while (c > a && b - c < 4 && ((unsigned char)s->p[c] & 0xC0) == 0x80)
            c--;
        if (jv_char_len(s->p + c, b - c) != b - c)
            c = b - 1;
        if (!strips(s->p + c, b - c, chars))
            break;
        b = c;
    }
    return jv_sub(j, s, a, b - a);
}

struct jv jv_replace(struct jinja *j, const struct jv_str *s, const struct jv_str *old, const struct jv_str *with,
                     int64_t count)
{
    struct jinja_out o = {0};
    size_t i = 0;
    while (count != 0 && !j->rc) {
        size_t at = jv_find(s, i, old);
        if (at == SIZE_MAX)
            break;
        jinja_out_str(j, &o, s, i, at - i);
        jinja_out_str(j, &o, with, 0, with->n);
        i = at + old->n;
        count--;
        if (!old->n) { /* an empty text lies between all characters */
            if (at >= s->n)
                break;
            size_t k = jv_char_len(s->p + at, s->n - at);
            jinja_out_str(j, &o, s, at, k);
            i = at + k;
        }
    }
    if (i < s->n)
        jinja_out_str(j, &o, s, i, s->n - i);
    return jinja_out_take(j, &o);
}

static bool is_cased(int32_t cp)
{
    int c = utf8_category(cp);
    return c == UTF8PROC_CATEGORY_LU || c == UTF8PROC_CATEGORY_LL || c == UTF8PROC_CATEGORY_LT;
}

/* One-to-one case mappings, and sharp s. */
struct jv jv_recase(struct jinja *j, const struct jv_str *s, enum jv_case to)
{
    struct jinja_out o = {0};
    bool inside = false; /* after a letter of the same word (TITLE) or after the first character (CAPITALIZE) */
    for (size_t i = 0, k; i < s->n && !j->rc; i += k) {
        int32_t cp;
        k = utf8_decode(s->p + i, s->n - i, &cp);
        bool trusted = s->trust ? s->trust[i] : s->all;
        bool up = to == JV_UPPER || ((to == JV_TITLE || to == JV_CAPITALIZE) && !inside);
        inside = to == JV_TITLE ? cp >= 0 && is_cased(cp) : true;
        if (cp < 0) {
            jinja_out_str(j, &o, s, i, k);
            continue;
        }
        if (to == JV_SWAP)
            up = utf8_category(cp) == UTF8PROC_CATEGORY_LL;
        if (cp == 0xDF && up) {
            jinja_out_add(j, &o, to == JV_UPPER || to == JV_SWAP ? "SS" : "Ss", 2, trusted);
            continue;
        }
        int32_t c = !up                               ? utf8proc_tolower(cp)
                    : to == JV_UPPER || to == JV_SWAP ? utf8proc_toupper(cp)
                                                      : utf8proc_totitle(cp);
        char b[4];
        jinja_out_add(j, &o, b, utf8_encode(c, b), trusted);
    }
    return jinja_out_take(j, &o);
}

/* ---- str() and repr() ---- */

/* The shortest digits that read back as the same number, written as Python does. */
void jv_format_float(double f, char out[64])
{
    if (isnan(f) || isinf(f)) {
        strcpy(out, isnan(f) ? "nan" : f > 0 ? "inf" : "-inf");
        return;
    }
    char d[40];
    for (int prec = 0; prec < 17; prec++) {
        snprintf(d, sizeof d, "%.*e", prec, f);
        if (strtod(d, NULL) == f)
            break;
    }
    char *e = strchr(d, 'e');
    int exp = atoi(e + 1), n = 0;
    char digits[24];
    for (char *p = d; p < e; p++)
        if (*p >= '0' && *p <= '9')
            digits[n++] = *p;
    digits[n] = 0;
    const char *sign = d[0] == '-' ? "-" : "";
    if (exp < -4 || exp >= 16)
        snprintf(out, 64, "%s%c%s%se%c%02d", sign, digits[0], n > 1 ? "." : "", digits + 1, exp < 0 ? '-' : '+',
                 abs(exp));
    else if (exp < 0)
        snprintf(out, 64, "%s0.%.*s%s", sign, -exp - 1, "0000", digits);
    else if (n <= exp + 1)
        snprintf(out, 64, "%s%s%.*s.0", sign, digits, exp + 1 - n, "0000000000000000");
    else
        snprintf(out, 64, "%s%.*s.%s", sign, exp + 1, digits, digits + exp + 1);
}

static bool printable(int32_t cp)
{
    switch (utf8_category(cp)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return false;
    case UTF8PROC_CATEGORY_ZS:
        return cp == ' ';
    default:
        return true;
    }
}

static void repr_str(struct jinja *j, struct jinja_out *o, const struct jv_str *s)
{
    bool single = memchr(s->p, '\'', s->n) != NULL, dbl = memchr(s->p, '"', s->n) != NULL;
    char quote = single && !dbl ? '"' : '\'';
    jinja_out_add(j, o, &quote, 1, false);
    for (size_t i = 0, k; i < s->n && !j->rc; i += k) {
        int32_t cp;
        char esc[16] = "";
        k = utf8_decode(s->p + i, s->n - i, &cp);
        if (cp == quote || cp == '\\')
            snprintf(esc, sizeof esc, "\\%c", (char)cp);
        else if (cp == '\n' || cp == '\r' || cp == '\t')
            snprintf(esc, sizeof esc, "\\%c", cp == '\n' ? 'n' : cp == '\r' ? 'r' : 't');
        else if (cp >= 0 && !printable(cp))
            snprintf(esc, sizeof esc, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)cp);
        if (*esc)
            jinja_out_add(j, o, esc, strlen(esc), false);
        else
            jinja_out_str(j, o, s, i, k);
    }
    jinja_out_add(j, o, &quote, 1, false);
}

static void literal(struct jinja *j, struct jinja_out *o, const char *s)
{
    jinja_out_add(j, o, s, strlen(s), false);
}

static void repr_list(struct jinja *j, struct jinja_out *o, struct jv v, int depth)
{
    bool tuple = v.type == JV_TUPLE;
    literal(j, o, tuple ? "(" : "[");
    for (size_t i = 0; i < v.u.l->n && !j->rc; i++) {
        if (i)
            literal(j, o, ", ");
        jv_repr(j, o, v.u.l->v[i], depth + 1);
    }
    literal(j, o, tuple ? (v.u.l->n == 1 ? ",)" : ")") : "]");
}

static void repr_dict(struct jinja *j, struct jinja_out *o, struct jv v, int depth)
{
    literal(j, o, v.type == JV_NS ? "<Namespace {" : "{");
    for (size_t i = 0; i < v.u.d->n && !j->rc; i++) {
        if (i)
            literal(j, o, ", ");
        jv_repr(j, o, v.u.d->e[i].key, depth + 1);
        literal(j, o, ": ");
        jv_repr(j, o, v.u.d->e[i].val, depth + 1);
    }
    literal(j, o, v.type == JV_NS ? "}>" : "}");
}

void jv_repr(struct jinja *j, struct jinja_out *o, struct jv v, int depth)
{
    char s[80] = "";
    if (depth > JINJA_MAX_DATA_DEPTH) {
        jinja_fail(j, ERR_LIMIT, "data nested too deeply");
        return;
    }
    if (!jinja_charge(j, 1))
        return;
    switch (v.type) {
    case JV_UNDEF:
        literal(j, o, "Undefined");
        return;
    case JV_NONE:
        literal(j, o, "None");
        return;
    case JV_BOOL:
        literal(j, o, v.u.b ? "True" : "False");
        return;
    case JV_INT:
        snprintf(s, sizeof s, "%lld", (long long)v.u.i);
        break;
    case JV_FLOAT:
        jv_format_float(v.u.f, s);
        break;
    case JV_STR:
        repr_str(j, o, v.u.s);
        return;
    case JV_LIST:
    case JV_TUPLE:
        repr_list(j, o, v, depth);
        return;
    case JV_DICT:
    case JV_NS:
        repr_dict(j, o, v, depth);
        return;
    case JV_LOOP:
        snprintf(s, sizeof s, "<LoopContext %zu/%zu>", v.u.loop->i + 1, v.u.loop->items->n);
        break;
    case JV_FUNC:
        snprintf(s, sizeof s, "<function %.40s>", v.u.fn->name);
        break;
    }
    literal(j, o, s);
}

void jv_print(struct jinja *j, struct jinja_out *o, struct jv v)
{
    if (v.type == JV_STR)
        jinja_out_str(j, o, v.u.s, 0, v.u.s->n);
    else if (v.type != JV_UNDEF)
        jv_repr(j, o, v, 0);
}

struct jv jv_to_str(struct jinja *j, struct jv v)
{
    if (v.type == JV_STR)
        return v;
    struct jinja_out o = {0};
    jv_print(j, &o, v);
    return jinja_out_take(j, &o);
}
