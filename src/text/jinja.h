/* jinja: what the parts of the template engine share: values, nodes, the state of one rendering. Private to text/.
 *
 * Values are immutable (the sandbox of transformers forbids changing lists and dicts); only namespaces, loops, cyclers and
 * joiners carry state. Everything made while rendering lives in one arena. Errors stick in struct jinja: functions return
 * some value, and callers check j->rc where going on would cost or show. */
#ifndef HEARTH_TEXT_JINJA_H
#define HEARTH_TEXT_JINJA_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cJSON;
struct jinja;

enum jinja_limit {
    JINJA_MAX_SOURCE = 4 << 20,  /* bytes of template */
    JINJA_MAX_NESTING = 150,     /* of expressions and blocks in the source */
    JINJA_MAX_DEPTH = 400,       /* of evaluation, macros included */
    JINJA_MAX_STEPS = 5000000,   /* see jinja_charge */
    JINJA_MAX_OUTPUT = 64 << 20, /* bytes */
    JINJA_MAX_MEMORY = 512 << 20,
    JINJA_MAX_RANGE = 100000,  /* as the sandbox */
    JINJA_MAX_DATA_DEPTH = 200 /* nesting of lists and dicts that are printed or compared */
};

/* ---- values ---- */

enum jv_type {
    JV_UNDEF,
    JV_NONE,
    JV_BOOL,
    JV_INT,
    JV_FLOAT,
    JV_STR,
    JV_LIST,
    JV_TUPLE,
    JV_DICT,
    JV_NS,
    JV_LOOP,
    JV_FUNC
};

struct jv_str {
    const char *p;
    size_t n;
    const uint8_t *trust; /* one per byte; NULL: all bytes are `all` */
    bool all;
};

struct jv {
    enum jv_type type;
    union {
        bool b;
        int64_t i;
        double f;
        const struct jv_str *s;
        struct jv_list *l;
        struct jv_dict *d; /* dict and namespace */
        struct jv_func *fn;
        struct jinja_loop *loop;
        const char *name; /* undefined: what was looked up, for messages; may be NULL */
    } u;
};

struct jv_list {
    struct jv *v;
    size_t n, cap;
};

struct jv_pair {
    struct jv key, val;
};
struct jv_dict { /* in order of insertion */
    struct jv_pair *e;
    size_t n, cap;
    uint32_t *index; /* hashed once it is worth it: entry + 1, 0 = free */
    size_t n_index;
};

struct jinja_kw {
    const char *name;
    struct jv v;
};
struct jinja_args {
    const struct jv *v;
    int n;
    const struct jinja_kw *kw;
    int n_kw;
};

/* ---- nodes ---- */

enum jn_kind {
    JN_CONST,
    JN_NAME,
    JN_LIST,
    JN_TUPLE,
    JN_DICT,
    JN_PAIR,
    JN_ATTR,
    JN_ITEM,
    JN_SLICE,
    JN_CALL,
    JN_KW,
    JN_STAR,
    JN_STARSTAR,
    JN_FILTER,
    JN_TEST,
    JN_NOT,
    JN_NEG,
    JN_POS,
    JN_BIN,
    JN_AND,
    JN_OR,
    JN_COND,
    JN_CMP,
    JN_CMPOP,
    JN_CONCAT,
    JN_TEXT,
    JN_PRINT,
    JN_FOR,
    JN_IF,
    JN_SET,
    JN_SETBLOCK,
    JN_MACRO,
    JN_CALLBLOCK,
    JN_FILTERBLOCK,
    JN_SCOPE,
    JN_WITH,
    JN_BREAK,
    JN_CONTINUE,
    JN_KINDS
};

struct jn {
    enum jn_kind kind;
    int op; /* a token type for BIN and CMPOP */
    int line;
    const char *name; /* interned: equal names are equal pointers */
    struct jv value;
    struct jn *a, *b, *c, *d, *test; /* by kind: see jinja_parse.c */
    struct jn *next;                 /* in a list */
    const void *row;                 /* of the filter or test */
};

struct jinja_name {
    struct jinja_name *next;
    const char *s;
    size_t n;
};
struct jinja_program { /* a parsed template */
    struct arena arena;
    struct jinja_name *names[64];
    const char *loop, *caller, *varargs, *kwargs; /* interned */
    struct jn *body;
};
int jinja_parse(struct jinja_program *p, const char *src, size_t n, struct err *e);
const char *jinja_intern(struct jinja_program *p, const char *s, size_t n); /* NULL: no memory */

/* ---- one rendering ---- */

struct jinja_var {
    const char *name; /* interned */
    struct jv v;
};
struct jinja_scope {
    struct jinja_scope *parent;
    struct jinja_var *v;
    size_t n, cap;
};

struct jinja_loop {
    struct jv_list *items;
    size_t i;
    struct jv changed; /* last arguments of loop.changed() */
    bool has_changed;
};

struct jinja_out {
    struct buf text, trust;
};

struct jinja {
    struct arena arena;
    struct err *e;
    int rc; /* first error */
    int line, depth;
    size_t steps;
    const struct jinja_program *program;
    struct jv globals; /* dict: the caller's context */
    struct jinja_scope *scope;
    struct jinja_out *out;
};

typedef struct jv (*jinja_fn)(struct jinja *j, struct jv self, const struct jinja_args *a);
struct jinja_row { /* of the tables of filters, tests, methods, functions */
    const char *name;
    jinja_fn fn;
    int types; /* methods: bits 1 << JV_... of the types that have it */
};

struct jv_func {
    const char *name;
    jinja_fn fn; /* NULL: a macro */
    struct jv self;
    const struct jn *macro; /* MACRO or CALLBLOCK */
    struct jinja_scope *scope;
    struct jv caller;
    size_t state; /* cycler, joiner */
};

/* errors */
struct jv jinja_fail(struct jinja *j, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Counts work done: one per node, per element looked at, per 32 bytes of text looked at. false: the limit is reached. */
bool jinja_charge(struct jinja *j, size_t steps);
bool jinja_charge_value(struct jinja *j, struct jv v); /* as much as looking at all of it costs */
void *jinja_alloc(struct jinja *j, size_t n);          /* zeroed; NULL and j->rc set on failure or past the limit */

/* jinja_value.c */
struct jv jv_undef(const char *name);
struct jv jv_none(void);
struct jv jv_bool(bool b);
struct jv jv_int(int64_t i);
struct jv jv_float(double f);
struct jv jv_str(struct jinja *j, const char *p, size_t n, bool trusted);       /* does not copy */
struct jv jv_cstr(struct jinja *j, const char *s);                              /* trusted, does not copy */
struct jv jv_sub(struct jinja *j, const struct jv_str *s, size_t at, size_t n); /* part of a string */
struct jv jv_list_new(struct jinja *j, enum jv_type type);
void jv_list_add(struct jinja *j, struct jv list, struct jv v);
struct jv jv_dict_new(struct jinja *j, enum jv_type type);
void jv_dict_set(struct jinja *j, struct jv d, struct jv key, struct jv v);
const struct jv *jv_dict_get(struct jv d, struct jv key); /* NULL: no such key */
const struct jv *jv_dict_gets(struct jv d, const char *key, size_t n);
bool jv_truth(struct jv v);
bool jv_equal(struct jinja *j, struct jv a, struct jv b);
int jv_order(struct jinja *j, struct jv a, struct jv b,
             const char *op); /* <0, 0, >0; fails on types without an order */
bool jv_contains(struct jinja *j, struct jv where, struct jv what);
bool jv_number(struct jv v, double *f);                   /* int, float, bool */
bool jv_integer(struct jv v, int64_t *i);                 /* int, bool */
const char *jv_type_name(struct jv v);                    /* as Python names it */
struct jv_list *jv_iterate(struct jinja *j, struct jv v); /* elements of anything iterable; NULL and an error else */
struct jv jv_from_json(struct jinja *j, const struct cJSON *c, bool trusted, int depth);

/* jinja_text.c: strings with their trust, piece by piece */
void jinja_out_add(struct jinja *j, struct jinja_out *o, const char *p, size_t n, bool trusted);
void jinja_out_str(struct jinja *j, struct jinja_out *o, const struct jv_str *s, size_t at, size_t n);
struct jv jinja_out_take(struct jinja *j, struct jinja_out *o); /* copies into the arena and empties o */
void jinja_out_done(struct jinja_out *o);
void jv_print(struct jinja *j, struct jinja_out *o, struct jv v);           /* as str() */
void jv_repr(struct jinja *j, struct jinja_out *o, struct jv v, int depth); /* as repr() */
struct jv jv_to_str(struct jinja *j, struct jv v);
size_t jv_char_len(const char *p, size_t n);            /* bytes of the first character */
size_t jv_chars(const struct jv_str *s);                /* characters */
size_t jv_char_at(const struct jv_str *s, size_t i);    /* byte offset of character i */
bool jv_is_space(const char *p, size_t n, size_t *len); /* Python's str.isspace for the first character */
void jv_format_float(double f, char out[64]);           /* repr() of a float */
struct jv jv_strip(struct jinja *j, const struct jv_str *s, const struct jv_str *chars,
                   int sides);                                                  /* 1 left, 2 right */
size_t jv_find(const struct jv_str *s, size_t from, const struct jv_str *what); /* SIZE_MAX: not there */
struct jv jv_replace(struct jinja *j, const struct jv_str *s, const struct jv_str *old, const struct jv_str *with,
                     int64_t count);
enum jv_case { JV_UPPER, JV_LOWER, JV_TITLE, JV_CAPITALIZE, JV_SWAP };
struct jv jv_recase(struct jinja *j, const struct jv_str *s, enum jv_case to);

/* jinja_json.c */
struct jv jinja_tojson(struct jinja *j, struct jv v, const struct jinja_args *a);

/* jinja_eval.c */
struct jv jinja_eval(struct jinja *j, const struct jn *n);
struct jv jinja_attr(struct jinja *j, struct jv v, const char *name, size_t n); /* v.name */
struct jv jinja_item(struct jinja *j, struct jv v, struct jv key);              /* v[key] */
struct jv jinja_call(struct jinja *j, struct jv fn, const struct jinja_args *a);
/* Evaluates an argument list, and one more argument behind it unless NULL; *a points into the arena. false: an error. */
bool jinja_eval_args(struct jinja *j, const struct jn *list, const struct jn *more, struct jinja_args *a);

/* jinja_ops.c */
struct jv jinja_binary(struct jinja *j, int op, struct jv a, struct jv b); /* + - * / // % ** by their token */
bool jinja_compare(struct jinja *j, int op, struct jv a, struct jv b);     /* == != < <= > >= in, not in */
struct jv jinja_undefined(struct jinja *j, struct jv v);                   /* the error of using an undefined value */

/* jinja_run.c */
void jinja_run(struct jinja *j, const struct jinja_program *p);
struct jv jinja_macro(struct jinja *j, const struct jv_func *f, const struct jinja_args *a);
struct jv *jinja_lookup(struct jinja *j, const char *name);
void jinja_assign(struct jinja *j, const char *name, struct jv v);
struct jv jinja_filter_chain(struct jinja *j, const struct jn *n, struct jv v); /* filter nodes over a captured text */
struct jv jinja_func(struct jinja *j, const char *name, jinja_fn fn, struct jv self);

/* the tables; NULL if there is no such name */
const struct jinja_row *jinja_filter_find(const char *name, size_t n);
const struct jinja_row *jinja_test_find(const char *name, size_t n);
const struct jinja_row *jinja_method_find(enum jv_type type, const char *name, size_t n);
const struct jinja_row *jinja_function_find(const char *name, size_t n);
const struct jinja_row *jinja_filter_rows(size_t *n); /* for tests that loop over them */
const struct jinja_row *jinja_test_rows(size_t *n);
const struct jinja_row *jinja_row_find(const struct jinja_row *rows, size_t n_rows, const char *name, size_t n);

/* arguments: by position or by name; NULL when missing or (for opt) None */
const struct jv *jinja_arg(const struct jinja_args *a, int i, const char *name);
const struct jv_str *jinja_arg_str(struct jinja *j, const struct jinja_args *a, int i, const char *name);
int64_t jinja_arg_int(struct jinja *j, const struct jinja_args *a, int i, const char *name, int64_t otherwise);
bool jinja_arg_true(const struct jinja_args *a, int i, const char *name, bool otherwise);

#endif
