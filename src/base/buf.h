/* buf: a growable byte string, and the small JSON writer that appends to it.
 *
 * Errors stick: after a failed allocation `failed` is set, further appends do nothing, and the caller checks once at the end. */
#ifndef HEARTH_BASE_BUF_H
#define HEARTH_BASE_BUF_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *data; /* owned; NUL-terminated whenever not NULL */
    size_t len, cap;
    bool failed;
};

void buf_init(struct buf *b); /* same as = {0} */
void buf_done(struct buf *b);
void buf_reset(struct buf *b); /* len = 0, keeps memory */
void buf_add(struct buf *b, const void *p, size_t n);
void buf_str(struct buf *b, const char *s);
void buf_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *buf_take(struct buf *b); /* hands the memory (mem_free it) to the caller; NULL if failed; "" if empty */

/* JSON writer: commas and quotes are its business; the caller nests begin/end correctly. Strings must be UTF-8; bytes that
 * are not become U+FFFD. Numbers: shortest form that reads back as the same float/double; NaN and infinities become null. */
struct jsonw {
    struct buf *out;
    uint64_t first; /* bit per depth: nothing written yet at this depth */
    int depth;      /* at most 60 */
    bool after_key;
};
void jsonw_init(struct jsonw *w, struct buf *out);
void jsonw_obj(struct jsonw *w);
void jsonw_end_obj(struct jsonw *w);
void jsonw_arr(struct jsonw *w);
void jsonw_end_arr(struct jsonw *w);
void jsonw_key(struct jsonw *w, const char *key);
void jsonw_str(struct jsonw *w, const char *s); /* NULL writes null */
void jsonw_strn(struct jsonw *w, const char *s, size_t n);
void jsonw_int(struct jsonw *w, int64_t v);
void jsonw_double(struct jsonw *w, double v);
void jsonw_float(struct jsonw *w, float v);
void jsonw_bool(struct jsonw *w, bool v);
void jsonw_null(struct jsonw *w);
void jsonw_raw(struct jsonw *w, const char *json); /* already JSON */
/* key and value in one call */
void jsonw_kstr(struct jsonw *w, const char *key, const char *s);
void jsonw_kint(struct jsonw *w, const char *key, int64_t v);
void jsonw_kdouble(struct jsonw *w, const char *key, double v);
void jsonw_kbool(struct jsonw *w, const char *key, bool v);

#endif
