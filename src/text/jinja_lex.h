/* jinja_lex: template source -> tokens. */
#ifndef HEARTH_TEXT_JINJA_LEX_H
#define HEARTH_TEXT_JINJA_LEX_H
#include "base/arena.h"
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum jt {
    JT_EOF,
    JT_DATA,
    JT_VAR_BEGIN,
    JT_VAR_END,
    JT_BLOCK_BEGIN,
    JT_BLOCK_END,
    JT_NAME,
    JT_STRING,
    JT_INT,
    JT_FLOAT,
    JT_ADD,
    JT_SUB,
    JT_MUL,
    JT_DIV,
    JT_FLOORDIV,
    JT_MOD,
    JT_POW,
    JT_TILDE,
    JT_LBRACKET,
    JT_RBRACKET,
    JT_LPAREN,
    JT_RPAREN,
    JT_LBRACE,
    JT_RBRACE,
    JT_EQ,
    JT_NE,
    JT_GT,
    JT_GE,
    JT_LT,
    JT_LE,
    JT_ASSIGN,
    JT_DOT,
    JT_COLON,
    JT_PIPE,
    JT_COMMA,
    JT_SEMICOLON,
    JT_IN,
    JT_NOTIN /* operators only: never tokens */
};

struct jinja_token {
    enum jt type;
    int line;
    const char *p; /* data, name, decoded string */
    size_t n;
    int64_t i;
    double f;
};

struct jinja_lexer {
    struct arena *arena; /* normalised source and decoded strings */
    const char *s;
    size_t n, pos;
    int line;
    enum jt mode;    /* JT_DATA outside tags, else JT_VAR_BEGIN or JT_BLOCK_BEGIN */
    char stack[160]; /* open brackets, so that }} inside a dict literal ends nothing */
    int depth;
    bool line_starts; /* the text before pos ended with a line break */
    struct err *e;
};

int jinja_lex_init(struct jinja_lexer *l, struct arena *arena, const char *src, size_t n, struct err *e);
int jinja_lex_next(struct jinja_lexer *l, struct jinja_token *t);
const char *jinja_token_name(enum jt type);

#endif
