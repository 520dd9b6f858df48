/* jinja_lex: Jinja2's lexer with trim_blocks and lstrip_blocks, as transformers sets them up. Owns white-space control:
 * what "-" and "+" at either end of a tag strip, and the line breaks that blocks swallow. */
#include "text/jinja_lex.h"
#include "text/utf8.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int fail(const struct jinja_lexer *l, const char *what)
{
    return err_set(l->e, ERR_FORMAT, "template line %d: %s", l->line, what);
}

/* Line breaks become \n; one at the very end is dropped. */
int jinja_lex_init(struct jinja_lexer *l, struct arena *arena, const char *src, size_t n, struct err *e)
{
    memset(l, 0, sizeof *l);
    char *s = arena_alloc(arena, n + 1);
    if (!s)
        return err_set(e, ERR_NOMEM, "no memory for a template of %zu bytes", n);
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (src[i] == '\r' && i + 1 < n && src[i + 1] == '\n')
            continue;
        s[k++] = src[i] == '\r' ? '\n' : src[i];
    }
    if (k && s[k - 1] == '\n')
        k--;
    *l = (struct jinja_lexer){.arena = arena, .s = s, .n = k, .line = 1, .mode = JT_DATA, .line_starts = true, .e = e};
    return 0;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x1F);
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (unsigned char)c >= 0x80;
}

static size_t skip_space(const struct jinja_lexer *l, size_t i)
{
    while (i < l->n && is_space(l->s[i]))
        i++;
    return i;
}

static bool looking_at(const struct jinja_lexer *l, size_t i, const char *what)
{
    size_t k = strlen(what);
    return l->n - i >= k && memcmp(l->s + i, what, k) == 0;
}

static void advance(struct jinja_lexer *l, size_t to)
{
    for (size_t i = l->pos; i < to; i++)
        l->line += l->s[i] == '\n';
    if (to > l->pos)
        l->line_starts = l->s[to - 1] == '\n';
    l->pos = to;
}

/* End of a text [from, to) that a tag with this sign follows. */
static size_t strip_before(const struct jinja_lexer *l, size_t from, size_t to, char sign, bool variable)
{
    if (sign == '-') {
        while (to > from && is_space(l->s[to - 1]))
            to--;
    } else if (sign != '+' && !variable) {
        size_t k = to;
        while (k > from && l->s[k - 1] != '\n' && is_space(l->s[k - 1]))
            k--;
        bool at_line_start = k > from ? l->s[k - 1] == '\n' : l->line_starts;
        if (at_line_start)
            return k;
    }
    return to;
}

/* Ends a block or comment at i ("%}" or "#}", possibly signed); 0 if it does not end here. */
static size_t block_end(const struct jinja_lexer *l, size_t i, const char *close)
{
    if (looking_at(l, i, close))
        return i + 2 + (i + 2 < l->n && l->s[i + 2] == '\n');
    if (l->s[i] == '-' && looking_at(l, i + 1, close))
        return skip_space(l, i + 3);
    if (l->s[i] == '+' && looking_at(l, i + 1, close))
        return i + 3;
    return 0;
}

/* "{% raw %}" at i: the end of that tag, or 0. */
static size_t raw_begin(const struct jinja_lexer *l, size_t i)
{
    i += 2;
    if (i < l->n && (l->s[i] == '-' || l->s[i] == '+'))
        i++;
    i = skip_space(l, i);
    if (!looking_at(l, i, "raw"))
        return 0;
    i = skip_space(l, i + 3);
    if (looking_at(l, i, "%}"))
        return i + 2;
    return looking_at(l, i, "-%}") ? skip_space(l, i + 3) : 0;
}

/* Token for the text up to "{% endraw %}", and the lexer behind it. */
static int raw_text(struct jinja_lexer *l, size_t begin, struct jinja_token *t)
{
    advance(l, begin);
    for (size_t i = begin; i + 1 < l->n; i++) {
        if (!looking_at(l, i, "{%"))
            continue;
        size_t k = i + 2;
        char sign = k < l->n && (l->s[k] == '-' || l->s[k] == '+') ? l->s[k++] : 0;
        k = skip_space(l, k);
        if (!looking_at(l, k, "endraw"))
            continue;
        size_t end = block_end(l, skip_space(l, k + 6), "%}");
        if (!end)
            continue;
        *t = (struct jinja_token){.type = JT_DATA, .line = l->line, .p = l->s + begin};
        t->n = strip_before(l, begin, i, sign, false) - begin;
        advance(l, end);
        return 0;
    }
    return fail(l, "missing {% endraw %}");
}

static int comment(struct jinja_lexer *l, size_t i)
{
    size_t k = i + 2;
    if (k < l->n && (l->s[k] == '-' || l->s[k] == '+'))
        k++;
    for (; k + 1 < l->n; k++) {
        size_t end = block_end(l, k, "#}");
        if (!end)
            continue;
        advance(l, end);
        return 0;
    }
    return fail(l, "missing end of comment tag");
}

/* Text up to the next tag; empty texts are passed over. */
static int next_data(struct jinja_lexer *l, struct jinja_token *t)
{
    for (;;) {
        size_t from = l->pos, i = from;
        while (i < l->n && !(l->s[i] == '{' && i + 1 < l->n && strchr("%{#", l->s[i + 1]) && l->s[i + 1]))
            i++;
        *t = (struct jinja_token){.type = JT_DATA, .line = l->line, .p = l->s + from};
        if (i >= l->n) {
            t->n = l->n - from;
            advance(l, l->n);
            if (t->n == 0)
                t->type = JT_EOF;
            return 0;
        }
        char kind = l->s[i + 1], sign = i + 2 < l->n ? l->s[i + 2] : 0;
        t->n = strip_before(l, from, i, sign, kind == '{') - from;
        if (t->n) { /* the tag itself comes next time; its sign finds nothing left to strip */
            size_t end = from + t->n;
            int line = t->line;
            for (size_t k = from; k < end; k++)
                line += l->s[k] == '\n';
            l->line = line;
            l->line_starts = l->s[end - 1] == '\n' || (end < i && l->line_starts);
            l->pos = end;
            return 0;
        }
        advance(l, i);
        size_t raw = kind == '%' ? raw_begin(l, i) : 0;
        if (raw) {
            int rc = raw_text(l, raw, t);
            if (rc || t->n)
                return rc;
            continue;
        }
        if (kind == '#') {
            int rc = comment(l, i);
            if (rc)
                return rc;
            continue;
        }
        *t = (struct jinja_token){.type = kind == '{' ? JT_VAR_BEGIN : JT_BLOCK_BEGIN, .line = l->line};
        l->mode = t->type;
        l->depth = 0;
        advance(l, i + 2 + (sign == '-' || sign == '+'));
        return 0;
    }
}

/* ---- inside tags ---- */

static int digit(char c, int base)
{
    int v = c >= '0' && c <= '9'   ? c - '0'
            : c >= 'a' && c <= 'f' ? c - 'a' + 10
            : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                   : 99;
    return v < base ? v : -1;
}

/* Digits with single underscores between them. */
static size_t skip_digits(const struct jinja_lexer *l, size_t i)
{
    while (i < l->n && (digit(l->s[i], 10) >= 0 || (l->s[i] == '_' && i + 1 < l->n && digit(l->s[i + 1], 10) >= 0)))
        i++;
    return i;
}

static int number(struct jinja_lexer *l, struct jinja_token *t)
{
    size_t a = l->pos, i = a, n = 0;
    int base = 10;
    if (l->s[i] == '0' && i + 2 < l->n) {
        char c = (char)(l->s[i + 1] | 0x20);
        base = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 10;
    }
    t->type = JT_INT;
    if (base != 10) {
        for (i += 2; i < l->n && (digit(l->s[i], base) >= 0 || l->s[i] == '_'); i++) {
        }
    } else {
        i = skip_digits(l, i);
        size_t dot = i;
        bool item = a > 0 && l->s[a - 1] == '.'; /* list.0.1 takes items */
        if (!item && i + 1 < l->n && l->s[i] == '.' && digit(l->s[i + 1], 10) >= 0)
            i = skip_digits(l, i + 1);
        if (!item && i + 1 < l->n && (l->s[i] == 'e' || l->s[i] == 'E')) {
            size_t k = i + 1 + (l->s[i + 1] == '+' || l->s[i + 1] == '-');
            if (k < l->n && digit(l->s[k], 10) >= 0)
                i = skip_digits(l, k);
        }
        if (i > dot)
            t->type = JT_FLOAT;
    }
    char text[64];
    for (size_t k = base == 10 ? a : a + 2; k < i; k++)
        if (l->s[k] != '_') {
            if (n + 1 == sizeof text)
                return fail(l, "number too long");
            text[n++] = l->s[k];
        }
    text[n] = 0;
    errno = 0;
    if (t->type == JT_FLOAT)
        t->f = strtod(text, NULL);
    else
        t->i = strtoll(text, NULL, base);
    if (t->type == JT_INT && errno == ERANGE)
        return fail(l, "integer out of range");
    advance(l, i);
    return 0;
}

/* Value of `digits` hex digits at i, -1 if they are not there. */
static int32_t hex_value(const struct jinja_lexer *l, size_t i, int digits)
{
    int64_t v = 0;
    for (int k = 0; k < digits; k++, i++) {
        int d = i < l->n ? digit(l->s[i], 16) : -1;
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    return v <= 0x10FFFF ? (int32_t)v : -1;
}

/* One backslash escape at i (the character after the backslash), as Python decodes it. Returns where it ends, 0 = malformed. */
static size_t escape(const struct jinja_lexer *l, size_t i, char *out, size_t *n)
{
    static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
    char c = l->s[i];
    const char *p = c ? strchr(from, c) : NULL;
    if (c == '\n')
        return i + 1;
    if (p) {
        out[(*n)++] = to[p - from];
        return i + 1;
    }
    int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    int32_t cp = 0;
    size_t end = i + 1 + (size_t)digits;
    if (digits) {
        cp = hex_value(l, i + 1, digits);
        if (cp < 0)
            return 0;
    } else if (digit(c, 8) >= 0) {
        for (end = i; end < i + 3 && end < l->n && digit(l->s[end], 8) >= 0; end++)
            cp = cp * 8 + digit(l->s[end], 8);
    } else if (c == 'N') {
        return 0;
    } else {
        out[(*n)++] = '\\';
        return i;
    }
    *n += utf8_encode(cp, out + *n);
    return end;
}

static int string(struct jinja_lexer *l, struct jinja_token *t)
{
    char quote = l->s[l->pos];
    size_t i = l->pos + 1, end = i, n = 0;
    for (; end < l->n && l->s[end] != quote; end++)
        end += l->s[end] == '\\';
    if (end >= l->n)
        return fail(l, "unterminated string");
    char *out = arena_alloc(l->arena, (end - i) + 5);
    if (!out)
        return err_set(l->e, ERR_NOMEM, "no memory for a template's string");
    while (i < end) {
        if (l->s[i] != '\\') {
            out[n++] = l->s[i++];
            continue;
        }
        i = escape(l, i + 1, out, &n);
        if (!i)
            return fail(l, "malformed escape in a string");
    }
    t->type = JT_STRING;
    t->p = out;
    t->n = n;
    advance(l, end + 1);
    return 0;
}

static const struct {
    char text[3];
    enum jt type;
} operators[] = {
    /* longer ones first */
    {"**", JT_POW},     {"//", JT_FLOORDIV}, {"==", JT_EQ},    {"!=", JT_NE},    {">=", JT_GE},    {"<=", JT_LE},
    {"+", JT_ADD},      {"-", JT_SUB},       {"*", JT_MUL},    {"/", JT_DIV},    {"%", JT_MOD},    {"~", JT_TILDE},
    {"[", JT_LBRACKET}, {"]", JT_RBRACKET},  {"(", JT_LPAREN}, {")", JT_RPAREN}, {"{", JT_LBRACE}, {"}", JT_RBRACE},
    {">", JT_GT},       {"<", JT_LT},        {"=", JT_ASSIGN}, {".", JT_DOT},    {":", JT_COLON},  {"|", JT_PIPE},
    {",", JT_COMMA},    {";", JT_SEMICOLON},
};

static int bracket(struct jinja_lexer *l, char c)
{
    if (strchr("([{", c)) {
        if (l->depth == (int)sizeof l->stack)
            return fail(l, "brackets are nested too deeply");
        l->stack[l->depth++] = c == '(' ? ')' : (char)(c + 2);
    } else if (strchr(")]}", c)) {
        if (l->depth == 0 || l->stack[l->depth - 1] != c)
            return fail(l, "unexpected closing bracket");
        l->depth--;
    }
    return 0;
}

static int next_inside(struct jinja_lexer *l, struct jinja_token *t)
{
    advance(l, skip_space(l, l->pos));
    *t = (struct jinja_token){.type = JT_EOF, .line = l->line};
    if (l->pos >= l->n)
        return fail(l, "unexpected end of template inside a tag");
    size_t i = l->pos, end = 0;
    if (l->depth == 0 && l->mode == JT_BLOCK_BEGIN)
        end = block_end(l, i, "%}");
    if (l->depth == 0 && l->mode == JT_VAR_BEGIN) {
        if (looking_at(l, i, "}}"))
            end = i + 2;
        else if (looking_at(l, i, "-}}"))
            end = skip_space(l, i + 3);
    }
    if (end) {
        t->type = l->mode == JT_VAR_BEGIN ? JT_VAR_END : JT_BLOCK_END;
        l->mode = JT_DATA;
        advance(l, end);
        return 0;
    }
    char c = l->s[i];
    if (c >= '0' && c <= '9')
        return number(l, t);
    if (c == '\'' || c == '"')
        return string(l, t);
    if (is_word(c)) {
        for (end = i; end < l->n && is_word(l->s[end]); end++) {
        }
        t->type = JT_NAME;
        t->p = l->s + i;
        t->n = end - i;
        advance(l, end);
        return 0;
    }
    for (size_t k = 0; k < sizeof operators / sizeof *operators; k++)
        if (looking_at(l, i, operators[k].text)) {
            t->type = operators[k].type;
            advance(l, i + strlen(operators[k].text));
            return bracket(l, c);
        }
    return fail(l, "unexpected character");
}

int jinja_lex_next(struct jinja_lexer *l, struct jinja_token *t)
{
    return l->mode == JT_DATA ? next_data(l, t) : next_inside(l, t);
}

const char *jinja_token_name(enum jt type)
{
    static const char *const names[] = {
        [JT_EOF] = "end of template", [JT_DATA] = "text",      [JT_VAR_BEGIN] = "{{", [JT_VAR_END] = "}}",
        [JT_BLOCK_BEGIN] = "{%",      [JT_BLOCK_END] = "%}",   [JT_NAME] = "a name",  [JT_STRING] = "a string",
        [JT_INT] = "a number",        [JT_FLOAT] = "a number",
    };
    if (type < sizeof names / sizeof *names)
        return names[type];
    for (size_t k = 0; k < sizeof operators / sizeof *operators; k++)
        if (operators[k].type == type)
            return operators[k].text;
    return "?";
}
