/* jinja_parse: tokens -> nodes. The parser's state, shared by expressions and statements. */
#ifndef HEARTH_TEXT_JINJA_PARSE_H
#define HEARTH_TEXT_JINJA_PARSE_H
#include "text/jinja.h"
#include "text/jinja_lex.h"

struct jinja_parser {
    struct jinja_program *p;
    struct jinja_lexer lex;
    struct jinja_token tok, ahead; /* current and, if has_ahead, the one after it */
    bool has_ahead;
    int depth, loops; /* nesting of everything, of for loops */
    int rc;           /* first error; parsing stops */
    struct jn dummy;  /* stands for nodes after an error */
    struct err *e;
};

/* What a list of expressions may be: x, y [for ... in], without a conditional, ... */
enum jinja_tuple { TUPLE_FULL, TUPLE_NO_COND, TUPLE_PARENS };

struct jn *jinja_parse_expr(struct jinja_parser *p);
struct jn *jinja_parse_or(struct jinja_parser *p);
struct jn *jinja_parse_tuple(struct jinja_parser *p, enum jinja_tuple kind);
struct jn *jinja_parse_filters(struct jinja_parser *p, struct jn *of,
                               bool begun); /* begun: at a name, no pipe needed */
struct jn *jinja_parse_args(struct jinja_parser *p);
struct jn *jinja_parse_unary(struct jinja_parser *p);

struct jn *jinja_node(struct jinja_parser *p, enum jn_kind kind);
void jinja_next(struct jinja_parser *p);
void jinja_peek(struct jinja_parser *p);
bool jinja_is_name(const struct jinja_token *t, const char *name);
bool jinja_skip_name(struct jinja_parser *p, const char *name);
bool jinja_skip(struct jinja_parser *p, enum jt type);
void jinja_expect(struct jinja_parser *p, enum jt type);
const char *jinja_expect_name(struct jinja_parser *p); /* interned */
void jinja_error(struct jinja_parser *p, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bool jinja_enter(struct jinja_parser *p);

#endif
