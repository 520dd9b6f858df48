/* jinja_parse: expressions, in Jinja2's grammar and precedence (its power operator groups to the left, a filter binds
 * tighter than any operator, "is" tighter than "not"). Which fields a node uses:
 *   LIST, TUPLE, CONCAT a: items | DICT a: PAIRs (a key, b value) | ATTR a.name | ITEM a[b] | SLICE a:b:c
 *   CALL a(b: arguments, some KW/STAR/STARSTAR with a) | FILTER a|name(b) | TEST a is name(b) | COND b if a else c
 *   CMP a, then b: CMPOPs (op, a) */
#include "text/jinja_parse.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void jinja_error(struct jinja_parser *p, int code, const char *fmt, ...)
{
    if (p->rc)
        return;
    char msg[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    p->rc = err_set(p->e, code, "template line %d: %s", p->tok.line, msg);
}

bool jinja_enter(struct jinja_parser *p)
{
    if (++p->depth > JINJA_MAX_NESTING)
        jinja_error(p, ERR_LIMIT, "nested deeper than %d", JINJA_MAX_NESTING);
    return !p->rc;
}

/* A node is never NULL: after an error a dummy keeps callers simple, and parsing ends soon. */
struct jn *jinja_node(struct jinja_parser *p, enum jn_kind kind)
{
    struct jn *n = p->rc ? NULL : arena_alloc(&p->p->arena, sizeof *n);
    if (!n) {
        jinja_error(p, ERR_NOMEM, "no memory to parse");
        memset(&p->dummy, 0, sizeof p->dummy);
        return &p->dummy;
    }
    n->kind = kind;
    n->line = p->tok.line;
    return n;
}

void jinja_next(struct jinja_parser *p)
{
    if (p->rc) {
        p->tok.type = JT_EOF;
    } else if (p->has_ahead) {
        p->tok = p->ahead;
        p->has_ahead = false;
    } else {
        p->rc = jinja_lex_next(&p->lex, &p->tok);
        if (p->rc)
            p->tok.type = JT_EOF;
    }
}

void jinja_peek(struct jinja_parser *p)
{
    if (p->has_ahead || p->rc)
        return;
    p->rc = jinja_lex_next(&p->lex, &p->ahead);
    p->has_ahead = !p->rc;
    if (p->rc)
        p->tok.type = JT_EOF;
}

bool jinja_is_name(const struct jinja_token *t, const char *name)
{
    return t->type == JT_NAME && strlen(name) == t->n && memcmp(t->p, name, t->n) == 0;
}

bool jinja_skip_name(struct jinja_parser *p, const char *name)
{
    if (!jinja_is_name(&p->tok, name))
        return false;
    jinja_next(p);
    return true;
}

bool jinja_skip(struct jinja_parser *p, enum jt type)
{
    if (p->tok.type != type)
        return false;
    jinja_next(p);
    return true;
}

static void unexpected(struct jinja_parser *p, const char *wanted)
{
    if (p->tok.type == JT_NAME)
        jinja_error(p, ERR_FORMAT, "expected %s, got \"%.*s\"", wanted, p->tok.n > 60 ? 60 : (int)p->tok.n, p->tok.p);
    else
        jinja_error(p, ERR_FORMAT, "expected %s, got %s", wanted, jinja_token_name(p->tok.type));
}

void jinja_expect(struct jinja_parser *p, enum jt type)
{
    if (!jinja_skip(p, type))
        unexpected(p, jinja_token_name(type));
}

const char *jinja_expect_name(struct jinja_parser *p)
{
    if (p->tok.type != JT_NAME) {
        unexpected(p, "a name");
        return "";
    }
    const char *s = jinja_intern(p->p, p->tok.p, p->tok.n);
    if (!s)
        jinja_error(p, ERR_NOMEM, "no memory to parse");
    jinja_next(p);
    return s ? s : "";
}

/* ---- primary expressions ---- */

static struct jn *constant(struct jinja_parser *p, struct jv v)
{
    struct jn *n = jinja_node(p, JN_CONST);
    n->value = v;
    return n;
}

/* Neighbouring string literals are one string. */
static struct jn *parse_string(struct jinja_parser *p)
{
    struct jn *n = jinja_node(p, JN_CONST);
    struct buf b = {0};
    do {
        buf_add(&b, p->tok.p, p->tok.n);
        jinja_next(p);
    } while (p->tok.type == JT_STRING);
    struct jv_str *s = arena_alloc(&p->p->arena, sizeof *s);
    char *text = b.failed ? NULL : arena_strndup(&p->p->arena, b.data ? b.data : "", b.len);
    if (s && text) {
        *s = (struct jv_str){text, b.len, NULL, true};
        n->value = (struct jv){JV_STR, {.s = s}};
    } else {
        jinja_error(p, ERR_NOMEM, "no memory to parse");
    }
    buf_done(&b);
    return n;
}

static struct jn *parse_name(struct jinja_parser *p)
{
    static const struct {
        const char *name;
        struct jv v;
    } constants[] = {{"true", {JV_BOOL, {.b = true}}},   {"True", {JV_BOOL, {.b = true}}},
                     {"false", {JV_BOOL, {.b = false}}}, {"False", {JV_BOOL, {.b = false}}},
                     {"none", {JV_NONE, {0}}},           {"None", {JV_NONE, {0}}}};
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (jinja_skip_name(p, constants[i].name))
            return constant(p, constants[i].v);
    struct jn *n = jinja_node(p, JN_NAME);
    n->name = jinja_expect_name(p);
    return n;
}

static struct jn *parse_list(struct jinja_parser *p)
{
    struct jn *n = jinja_node(p, JN_LIST), **tail = &n->a;
    jinja_next(p);
    while (!p->rc && p->tok.type != JT_RBRACKET) {
        *tail = jinja_parse_expr(p);
        tail = &(*tail)->next;
        if (p->tok.type != JT_RBRACKET)
            jinja_expect(p, JT_COMMA);
    }
    jinja_expect(p, JT_RBRACKET);
    return n;
}

static struct jn *parse_dict(struct jinja_parser *p)
{
    struct jn *n = jinja_node(p, JN_DICT), **tail = &n->a;
    jinja_next(p);
    while (!p->rc && p->tok.type != JT_RBRACE) {
        struct jn *pair = jinja_node(p, JN_PAIR);
        pair->a = jinja_parse_expr(p);
        jinja_expect(p, JT_COLON);
        pair->b = jinja_parse_expr(p);
        *tail = pair;
        tail = &pair->next;
        if (p->tok.type != JT_RBRACE)
            jinja_expect(p, JT_COMMA);
    }
    jinja_expect(p, JT_RBRACE);
    return n;
}

static struct jn *parse_primary(struct jinja_parser *p)
{
    struct jn *n;
    switch (p->tok.type) {
    case JT_NAME:
        return parse_name(p);
    case JT_STRING:
        return parse_string(p);
    case JT_INT:
        n = constant(p, (struct jv){JV_INT, {.i = p->tok.i}});
        break;
    case JT_FLOAT:
        n = constant(p, (struct jv){JV_FLOAT, {.f = p->tok.f}});
        break;
    case JT_LBRACKET:
        return parse_list(p);
    case JT_LBRACE:
        return parse_dict(p);
    case JT_LPAREN:
        jinja_next(p);
        n = jinja_parse_tuple(p, TUPLE_PARENS);
        jinja_expect(p, JT_RPAREN);
        return n;
    default:
        unexpected(p, "an expression");
        return jinja_node(p, JN_CONST);
    }
    jinja_next(p);
    return n;
}

static bool tuple_ends(const struct jinja_parser *p)
{
    return p->rc || p->tok.type == JT_VAR_END || p->tok.type == JT_BLOCK_END || p->tok.type == JT_RPAREN ||
           p->tok.type == JT_EOF;
}

struct jn *jinja_parse_tuple(struct jinja_parser *p, enum jinja_tuple kind)
{
    struct jn *first = NULL, **tail = &first;
    bool is_tuple = false;
    while (!tuple_ends(p)) {
        *tail = kind == TUPLE_NO_COND ? jinja_parse_or(p) : jinja_parse_expr(p);
        tail = &(*tail)->next;
        if (p->tok.type != JT_COMMA)
            break;
        jinja_next(p);
        is_tuple = true;
    }
    if (!is_tuple && first)
        return first;
    if (!first && kind != TUPLE_PARENS)
        unexpected(p, "an expression");
    struct jn *n = jinja_node(p, JN_TUPLE);
    n->a = first;
    return n;
}

/* ---- postfixes: attributes, items, calls, filters, tests ---- */

static struct jn *parse_slice_part(struct jinja_parser *p)
{
    if (p->tok.type == JT_COLON || p->tok.type == JT_RBRACKET || p->tok.type == JT_COMMA)
        return NULL;
    return jinja_parse_expr(p);
}

static struct jn *parse_subscribed(struct jinja_parser *p)
{
    struct jn *first = parse_slice_part(p);
    if (first && p->tok.type != JT_COLON)
        return first;
    struct jn *n = jinja_node(p, JN_SLICE);
    n->a = first;
    jinja_expect(p, JT_COLON);
    n->b = parse_slice_part(p);
    if (jinja_skip(p, JT_COLON))
        n->c = parse_slice_part(p);
    return n;
}

static struct jn *parse_subscript(struct jinja_parser *p, struct jn *of)
{
    struct jn *n = jinja_node(p, JN_ITEM);
    n->a = of;
    if (jinja_skip(p, JT_DOT)) {
        if (p->tok.type == JT_INT) {
            n->b = constant(p, (struct jv){JV_INT, {.i = p->tok.i}});
            jinja_next(p);
            return n;
        }
        n->kind = JN_ATTR;
        n->name = jinja_expect_name(p);
        return n;
    }
    jinja_expect(p, JT_LBRACKET);
    n->b = parse_subscribed(p);
    if (p->tok.type == JT_COMMA) {
        struct jn *tuple = jinja_node(p, JN_TUPLE), **tail = &n->b->next;
        tuple->a = n->b;
        while (jinja_skip(p, JT_COMMA) && p->tok.type != JT_RBRACKET) {
            *tail = parse_subscribed(p);
            tail = &(*tail)->next;
        }
        n->b = tuple;
    }
    jinja_expect(p, JT_RBRACKET);
    return n;
}

struct jn *jinja_parse_args(struct jinja_parser *p)
{
    struct jn *first = NULL, **tail = &first;
    jinja_expect(p, JT_LPAREN);
    while (!p->rc && p->tok.type != JT_RPAREN) {
        struct jn *n;
        jinja_peek(p);
        if (p->tok.type == JT_MUL || p->tok.type == JT_POW) {
            n = jinja_node(p, p->tok.type == JT_MUL ? JN_STAR : JN_STARSTAR);
            jinja_next(p);
            n->a = jinja_parse_expr(p);
        } else if (p->tok.type == JT_NAME && p->ahead.type == JT_ASSIGN) {
            n = jinja_node(p, JN_KW);
            n->name = jinja_expect_name(p);
            jinja_next(p);
            n->a = jinja_parse_expr(p);
        } else {
            n = jinja_parse_expr(p);
        }
        *tail = n;
        tail = &n->next;
        if (p->tok.type != JT_RPAREN)
            jinja_expect(p, JT_COMMA);
    }
    jinja_expect(p, JT_RPAREN);
    return first;
}

static struct jn *parse_call(struct jinja_parser *p, struct jn *of)
{
    struct jn *n = jinja_node(p, JN_CALL);
    n->a = of;
    n->b = jinja_parse_args(p);
    return n;
}

static struct jn *parse_postfix(struct jinja_parser *p, struct jn *n)
{
    while (!p->rc) {
        if (p->tok.type == JT_DOT || p->tok.type == JT_LBRACKET)
            n = parse_subscript(p, n);
        else if (p->tok.type == JT_LPAREN)
            n = parse_call(p, n);
        else
            break;
    }
    return n;
}

struct jn *jinja_parse_filters(struct jinja_parser *p, struct jn *of, bool begun)
{
    while (!p->rc && (begun || p->tok.type == JT_PIPE)) {
        if (!begun)
            jinja_next(p);
        begun = false;
        struct jn *n = jinja_node(p, JN_FILTER);
        n->a = of;
        n->name = jinja_expect_name(p);
        n->row = jinja_filter_find(n->name, strlen(n->name));
        if (!n->row)
            jinja_error(p, ERR_UNSUPPORTED, "no filter named \"%.60s\"", n->name);
        if (p->tok.type == JT_LPAREN)
            n->b = jinja_parse_args(p);
        of = n;
    }
    return of;
}

static bool begins_test_argument(const struct jinja_parser *p)
{
    switch (p->tok.type) {
    case JT_STRING:
    case JT_INT:
    case JT_FLOAT:
    case JT_LPAREN:
    case JT_LBRACKET:
    case JT_LBRACE:
        return true;
    case JT_NAME:
        return !jinja_is_name(&p->tok, "else") && !jinja_is_name(&p->tok, "or") && !jinja_is_name(&p->tok, "and");
    default:
        return false;
    }
}

static struct jn *parse_test(struct jinja_parser *p, struct jn *of)
{
    struct jn *n = jinja_node(p, JN_TEST);
    bool negated = jinja_skip_name(p, "not");
    n->a = of;
    n->name = jinja_expect_name(p);
    n->row = jinja_test_find(n->name, strlen(n->name));
    if (!n->row)
        jinja_error(p, ERR_UNSUPPORTED, "no test named \"%.60s\"", n->name);
    if (p->tok.type == JT_LPAREN) {
        n->b = jinja_parse_args(p);
    } else if (begins_test_argument(p)) {
        if (jinja_is_name(&p->tok, "is"))
            jinja_error(p, ERR_FORMAT, "tests with \"is\" cannot be chained");
        n->b = parse_postfix(p, parse_primary(p));
    }
    if (!negated)
        return n;
    struct jn *not = jinja_node(p, JN_NOT);
    not ->a = n;
    return not ;
}

/* ---- operators, tightest first ---- */

static struct jn *parse_unary(struct jinja_parser *p, bool with_filters)
{
    struct jn *n;
    if (!jinja_enter(p))
        return jinja_node(p, JN_CONST);
    if (p->tok.type == JT_SUB || p->tok.type == JT_ADD) {
        n = jinja_node(p, p->tok.type == JT_SUB ? JN_NEG : JN_POS);
        jinja_next(p);
        n->a = parse_unary(p, false);
    } else {
        n = parse_primary(p);
    }
    n = parse_postfix(p, n);
    while (with_filters && !p->rc) {
        if (p->tok.type == JT_PIPE)
            n = jinja_parse_filters(p, n, false);
        else if (jinja_skip_name(p, "is"))
            n = parse_test(p, n);
        else if (p->tok.type == JT_LPAREN)
            n = parse_call(p, n);
        else
            break;
    }
    p->depth--;
    return n;
}

struct jn *jinja_parse_unary(struct jinja_parser *p)
{
    return parse_unary(p, true);
}

static struct jn *binary(struct jinja_parser *p, enum jn_kind kind, struct jn *a,
                         struct jn *(*right)(struct jinja_parser *))
{
    struct jn *n = jinja_node(p, kind);
    n->op = (int)p->tok.type;
    n->a = a;
    jinja_next(p);
    n->b = right(p);
    return n;
}

static struct jn *parse_pow(struct jinja_parser *p)
{
    struct jn *n = jinja_parse_unary(p);
    while (p->tok.type == JT_POW)
        n = binary(p, JN_BIN, n, jinja_parse_unary);
    return n;
}

static struct jn *parse_product(struct jinja_parser *p)
{
    struct jn *n = parse_pow(p);
    while (p->tok.type == JT_MUL || p->tok.type == JT_DIV || p->tok.type == JT_FLOORDIV || p->tok.type == JT_MOD)
        n = binary(p, JN_BIN, n, parse_pow);
    return n;
}

static struct jn *parse_concat(struct jinja_parser *p)
{
    struct jn *n = parse_product(p);
    if (p->tok.type != JT_TILDE)
        return n;
    struct jn *all = jinja_node(p, JN_CONCAT), **tail = &n->next;
    all->a = n;
    while (jinja_skip(p, JT_TILDE)) {
        *tail = parse_product(p);
        tail = &(*tail)->next;
    }
    return all;
}

static struct jn *parse_sum(struct jinja_parser *p)
{
    struct jn *n = parse_concat(p);
    while (p->tok.type == JT_ADD || p->tok.type == JT_SUB)
        n = binary(p, JN_BIN, n, parse_concat);
    return n;
}

/* The comparison operator at the current token, which is passed; JT_EOF if there is none. */
static enum jt comparison(struct jinja_parser *p)
{
    enum jt t = p->tok.type;
    if (t >= JT_EQ && t <= JT_LE) {
        jinja_next(p);
        return t;
    }
    if (jinja_skip_name(p, "in"))
        return JT_IN;
    if (!jinja_is_name(&p->tok, "not"))
        return JT_EOF;
    jinja_peek(p);
    if (p->rc || !jinja_is_name(&p->ahead, "in"))
        return JT_EOF;
    jinja_next(p);
    jinja_next(p);
    return JT_NOTIN;
}

static struct jn *parse_compare(struct jinja_parser *p)
{
    struct jn *n = parse_sum(p), *all = NULL, **tail = NULL;
    enum jt op;
    while (!p->rc && (op = comparison(p)) != JT_EOF) {
        if (!all) {
            all = jinja_node(p, JN_CMP);
            all->a = n;
            tail = &all->b;
        }
        struct jn *c = jinja_node(p, JN_CMPOP);
        c->op = (int)op;
        c->a = parse_sum(p);
        *tail = c;
        tail = &c->next;
    }
    return all ? all : n;
}

static struct jn *parse_not(struct jinja_parser *p)
{
    if (!jinja_is_name(&p->tok, "not"))
        return parse_compare(p);
    struct jn *n = jinja_node(p, JN_NOT);
    jinja_next(p);
    if (jinja_enter(p))
        n->a = parse_not(p);
    p->depth--;
    return n;
}

static struct jn *parse_and(struct jinja_parser *p)
{
    struct jn *n = parse_not(p);
    while (jinja_is_name(&p->tok, "and"))
        n = binary(p, JN_AND, n, parse_not);
    return n;
}

struct jn *jinja_parse_or(struct jinja_parser *p)
{
    struct jn *n = parse_and(p);
    while (jinja_is_name(&p->tok, "or"))
        n = binary(p, JN_OR, n, parse_and);
    return n;
}

struct jn *jinja_parse_expr(struct jinja_parser *p)
{
    if (!jinja_enter(p))
        return jinja_node(p, JN_CONST);
    struct jn *n = jinja_parse_or(p);
    while (jinja_skip_name(p, "if")) {
        struct jn *c = jinja_node(p, JN_COND);
        c->b = n;
        c->a = jinja_parse_or(p);
        if (jinja_skip_name(p, "else"))
            c->c = jinja_parse_expr(p);
        n = c;
    }
    p->depth--;
    return n;
}
