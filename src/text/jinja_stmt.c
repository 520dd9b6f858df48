/* jinja_stmt: statements -> nodes. One row per tag. Which fields a node uses:
 *   PRINT a | FOR a: targets, b: iterable, c: body, d: else, test | IF a, b: then, c: else (an elif is an IF there)
 *   SET a = b | SETBLOCK a, b: filters, c: body | MACRO name, a: parameters (NAMEs, a: default), c: body
 *   CALLBLOCK a: call, b: parameters, c: body | FILTERBLOCK b, c | SCOPE c | WITH a: SETs, c */
#include "text/jinja_parse.h"
#include <string.h>

static struct jn *parse_body(struct jinja_parser *p, const char *const *ends);

const char *jinja_intern(struct jinja_program *p, const char *s, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)s[i]) * 16777619u;
    struct jinja_name **slot = &p->names[h % (sizeof p->names / sizeof *p->names)];
    for (struct jinja_name *x = *slot; x; x = x->next)
        if (x->n == n && memcmp(x->s, s, n) == 0)
            return x->s;
    struct jinja_name *x = arena_alloc(&p->arena, sizeof *x);
    if (!x || !(x->s = arena_strndup(&p->arena, s, n)))
        return NULL;
    x->n = n;
    x->next = *slot;
    *slot = x;
    return x->s;
}

/* A name, a dotted name of a namespace, or several in a tuple. */
static struct jn *parse_target_one(struct jinja_parser *p, bool dotted)
{
    struct jn *n = jinja_node(p, JN_NAME);
    n->name = jinja_expect_name(p);
    static const char *const reserved[] = {"true", "false", "none", "True", "False", "None"};
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (!strcmp(n->name, reserved[i]))
            jinja_error(p, ERR_FORMAT, "cannot assign to \"%s\"", n->name);
    if (!dotted || !jinja_skip(p, JT_DOT))
        return n;
    struct jn *attr = jinja_node(p, JN_ATTR);
    attr->a = n;
    attr->name = jinja_expect_name(p);
    return attr;
}

static struct jn *parse_target(struct jinja_parser *p, bool dotted)
{
    struct jn *first = NULL, **tail = &first;
    bool is_tuple = false, parens = jinja_skip(p, JT_LPAREN);
    if (!jinja_enter(p))
        return jinja_node(p, JN_NAME);
    do {
        if (is_tuple && p->tok.type != JT_NAME && p->tok.type != JT_LPAREN)
            break;
        *tail = p->tok.type == JT_LPAREN ? parse_target(p, dotted) : parse_target_one(p, dotted);
        tail = &(*tail)->next;
        if (p->tok.type == JT_COMMA)
            is_tuple = true;
    } while (!p->rc && jinja_skip(p, JT_COMMA) && !jinja_is_name(&p->tok, "in"));
    if (parens)
        jinja_expect(p, JT_RPAREN);
    p->depth--;
    if (!is_tuple)
        return first;
    struct jn *n = jinja_node(p, JN_TUPLE);
    n->a = first;
    return n;
}

static struct jn *body_until(struct jinja_parser *p, const char *end)
{
    const char *ends[] = {end, NULL};
    jinja_expect(p, JT_BLOCK_END);
    struct jn *n = parse_body(p, ends);
    if (!jinja_skip_name(p, end))
        jinja_error(p, ERR_FORMAT, "missing {%% %s %%}", end);
    return n;
}

static struct jn *parse_for(struct jinja_parser *p)
{
    static const char *const ends[] = {"endfor", "else", NULL};
    struct jn *n = jinja_node(p, JN_FOR);
    n->a = parse_target(p, false);
    if (!jinja_skip_name(p, "in"))
        jinja_error(p, ERR_FORMAT, "expected \"in\" in a for loop");
    n->b = jinja_parse_tuple(p, TUPLE_NO_COND);
    if (jinja_skip_name(p, "if"))
        n->test = jinja_parse_expr(p);
    if (jinja_is_name(&p->tok, "recursive"))
        jinja_error(p, ERR_UNSUPPORTED, "recursive loops are not supported");
    jinja_expect(p, JT_BLOCK_END);
    p->loops++;
    n->c = parse_body(p, ends);
    p->loops--;
    if (jinja_skip_name(p, "else"))
        n->d = body_until(p, "endfor");
    else if (!jinja_skip_name(p, "endfor"))
        jinja_error(p, ERR_FORMAT, "missing {%% endfor %%}");
    return n;
}

static struct jn *parse_if(struct jinja_parser *p)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    struct jn *first = jinja_node(p, JN_IF), *n = first;
    for (;;) {
        n->a = jinja_parse_tuple(p, TUPLE_NO_COND);
        jinja_expect(p, JT_BLOCK_END);
        n->b = parse_body(p, ends);
        if (p->rc || !jinja_skip_name(p, "elif"))
            break;
        n->c = jinja_node(p, JN_IF);
        n = n->c;
    }
    if (jinja_skip_name(p, "else"))
        n->c = body_until(p, "endif");
    else if (!jinja_skip_name(p, "endif"))
        jinja_error(p, ERR_FORMAT, "missing {%% endif %%}");
    return first;
}

static struct jn *parse_set(struct jinja_parser *p)
{
    struct jn *n = jinja_node(p, JN_SET);
    n->a = parse_target(p, true);
    if (jinja_skip(p, JT_ASSIGN)) {
        n->b = jinja_parse_tuple(p, TUPLE_FULL);
        return n;
    }
    n->kind = JN_SETBLOCK;
    n->b = jinja_parse_filters(p, NULL, false);
    n->c = body_until(p, "endset");
    return n;
}

static struct jn *parse_params(struct jinja_parser *p)
{
    struct jn *first = NULL, **tail = &first;
    jinja_expect(p, JT_LPAREN);
    while (!p->rc && p->tok.type != JT_RPAREN) {
        struct jn *n = jinja_node(p, JN_NAME);
        n->name = jinja_expect_name(p);
        if (jinja_skip(p, JT_ASSIGN))
            n->a = jinja_parse_expr(p);
        *tail = n;
        tail = &n->next;
        if (p->tok.type != JT_RPAREN)
            jinja_expect(p, JT_COMMA);
    }
    jinja_expect(p, JT_RPAREN);
    return first;
}

/* Breaks inside a macro belong to no loop outside it. */
static struct jn *macro_body(struct jinja_parser *p, const char *end)
{
    int loops = p->loops;
    p->loops = 0;
    struct jn *n = body_until(p, end);
    p->loops = loops;
    return n;
}

static struct jn *parse_macro(struct jinja_parser *p)
{
    struct jn *n = jinja_node(p, JN_MACRO);
    n->name = jinja_expect_name(p);
    n->a = parse_params(p);
    n->c = macro_body(p, "endmacro");
    return n;
}

static struct jn *parse_call_block(struct jinja_parser *p)
{
    struct jn *n = jinja_node(p, JN_CALLBLOCK);
    n->name = "caller";
    if (p->tok.type == JT_LPAREN)
        n->b = parse_params(p);
    n->a = jinja_parse_unary(p);
    if (!p->rc && n->a->kind != JN_CALL)
        jinja_error(p, ERR_FORMAT, "expected a call in {%% call %%}");
    n->c = macro_body(p, "endcall");
    return n;
}

static struct jn *parse_filter_block(struct jinja_parser *p)
{
    struct jn *n = jinja_node(p, JN_FILTERBLOCK);
    n->b = jinja_parse_filters(p, NULL, true);
    n->c = body_until(p, "endfilter");
    return n;
}

/* {% generation %}: what the assistant said, for training masks; here only a scope. */
static struct jn *parse_generation(struct jinja_parser *p)
{
    struct jn *n = jinja_node(p, JN_SCOPE);
    n->c = macro_body(p, "endgeneration");
    return n;
}

static struct jn *parse_with(struct jinja_parser *p)
{
    struct jn *n = jinja_node(p, JN_WITH), **tail = &n->a;
    while (!p->rc && p->tok.type != JT_BLOCK_END) {
        struct jn *set = jinja_node(p, JN_SET);
        set->a = parse_target_one(p, false);
        jinja_expect(p, JT_ASSIGN);
        set->b = jinja_parse_expr(p);
        *tail = set;
        tail = &set->next;
        if (p->tok.type != JT_BLOCK_END)
            jinja_expect(p, JT_COMMA);
    }
    n->c = body_until(p, "endwith");
    return n;
}

static struct jn *parse_jump(struct jinja_parser *p, enum jn_kind kind)
{
    if (!p->loops)
        jinja_error(p, ERR_FORMAT, "break or continue outside a loop");
    return jinja_node(p, kind);
}

static struct jn *parse_break(struct jinja_parser *p)
{
    return parse_jump(p, JN_BREAK);
}

static struct jn *parse_continue(struct jinja_parser *p)
{
    return parse_jump(p, JN_CONTINUE);
}

static const struct {
    const char *name;
    struct jn *(*parse)(struct jinja_parser *p);
} tags[] = {
    {"if", parse_if},
    {"for", parse_for},
    {"set", parse_set},
    {"macro", parse_macro},
    {"break", parse_break},
    {"continue", parse_continue},
    {"with", parse_with},
    {"call", parse_call_block},
    {"filter", parse_filter_block},
    {"generation", parse_generation},
};

static struct jn *parse_tag(struct jinja_parser *p)
{
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (jinja_skip_name(p, tags[i].name))
            return tags[i].parse(p);
    if (p->tok.type == JT_NAME)
        jinja_error(p, ERR_UNSUPPORTED, "unknown tag {%% %.*s %%}", p->tok.n > 60 ? 60 : (int)p->tok.n, p->tok.p);
    else
        jinja_error(p, ERR_FORMAT, "expected a tag's name after {%%");
    return jinja_node(p, JN_CONST);
}

static bool ends_here(const struct jinja_parser *p, const char *const *ends)
{
    for (; ends && *ends; ends++)
        if (jinja_is_name(&p->tok, *ends))
            return true;
    return false;
}

static struct jn *parse_text(struct jinja_parser *p)
{
    struct jn *n = jinja_node(p, JN_TEXT);
    struct jv_str *s = arena_alloc(&p->p->arena, sizeof *s);
    if (!s)
        jinja_error(p, ERR_NOMEM, "no memory to parse");
    else
        *s = (struct jv_str){p->tok.p, p->tok.n, NULL, true};
    n->value = (struct jv){JV_STR, {.s = s}};
    jinja_next(p);
    return n;
}

/* Statements up to one of the tags `ends` (at its name then) or, without ends, to the end of the template. */
static struct jn *parse_body(struct jinja_parser *p, const char *const *ends)
{
    struct jn *first = NULL, **tail = &first;
    if (!jinja_enter(p))
        return NULL;
    while (!p->rc && p->tok.type != JT_EOF) {
        struct jn *n;
        if (p->tok.type == JT_DATA) {
            n = parse_text(p);
        } else if (jinja_skip(p, JT_VAR_BEGIN)) {
            n = jinja_node(p, JN_PRINT);
            n->a = jinja_parse_tuple(p, TUPLE_FULL);
            jinja_expect(p, JT_VAR_END);
        } else {
            jinja_expect(p, JT_BLOCK_BEGIN);
            if (ends_here(p, ends))
                break;
            n = parse_tag(p);
            jinja_expect(p, JT_BLOCK_END);
        }
        *tail = n;
        tail = &n->next;
    }
    p->depth--;
    return first;
}

int jinja_parse(struct jinja_program *prog, const char *src, size_t n, struct err *e)
{
    if (n > JINJA_MAX_SOURCE)
        return err_set(e, ERR_LIMIT, "the template has %zu bytes, %d are supported", n, JINJA_MAX_SOURCE);
    struct jinja_parser p = {.p = prog, .e = e};
    int rc = jinja_lex_init(&p.lex, &prog->arena, src, n, e);
    if (rc)
        return rc;
    prog->loop = jinja_intern(prog, "loop", 4);
    prog->caller = jinja_intern(prog, "caller", 6);
    prog->varargs = jinja_intern(prog, "varargs", 7);
    prog->kwargs = jinja_intern(prog, "kwargs", 6);
    if (!prog->loop || !prog->caller || !prog->varargs || !prog->kwargs)
        return err_set(e, ERR_NOMEM, "no memory to parse");
    jinja_next(&p);
    prog->body = parse_body(&p, NULL);
    if (!p.rc && p.tok.type != JT_EOF)
        jinja_error(&p, ERR_FORMAT, "unexpected %s", jinja_token_name(p.tok.type));
    return p.rc;
}
