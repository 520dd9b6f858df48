/* json: the JSON of request bodies: strictly checked here, then read into a tree by cJSON.
 *
 * cJSON alone takes more than JSON (control characters in strings, 01, 1e999) and cuts strings at \u0000 without a word. The check
 * goes first: RFC 8259 to the letter, valid UTF-8, finite numbers, bounded depth and count, no \u0000. */
#ifndef HEARTH_API_JSON_H
#define HEARTH_API_JSON_H
#include "base/buf.h"
#include "base/err.h"
#include <cjson/cJSON.h>
#include <stddef.h>

enum { JSON_MAX_DEPTH = 48, JSON_MAX_VALUES = 1000000 };

struct json_span { /* where a value stands in the text */
    const char *at;
    size_t len;
};
struct json_budget { /* asked for a tree's memory before it is built; non-zero refuses */
    int (*reserve)(void *arg, size_t bytes);
    void (*release)(void *arg, size_t bytes);
    void *arg;
};
struct json_facts {
    size_t n_values;
    const char *want;       /* in: a key of the top object, or NULL */
    struct json_span found; /* out: its first value */
};
/* ERR_FORMAT with line and column, or ERR_LIMIT. text[n] must be a NUL. */
int json_check(const char *text, size_t n, struct json_facts *facts, struct err *e);
/* What a tree of so many values from n bytes of text takes, with the strings that are copied out of it. */
size_t json_tree_bytes(size_t n_values, size_t n);
/* Reads what json_check accepted; *root: cJSON_Delete. The top value must be an object. */
int json_read(const char *text, size_t n, cJSON **root, struct err *e);
/* Writes a tree as it is. */
struct jsonw;
void json_write(struct jsonw *w, const cJSON *v);

#endif
