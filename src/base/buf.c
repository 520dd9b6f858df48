/* buf: the growable byte string. Always keeps one spare byte for the NUL behind the content. */
#include "base/buf.h"
#include "base/mem.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void buf_init(struct buf *b)
{
    *b = (struct buf){0};
}

void buf_done(struct buf *b)
{
    mem_free(b->data);
    *b = (struct buf){0};
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data)
        b->data[0] = 0;
}

/* Room for n more bytes and the NUL. */
static bool buf_room(struct buf *b, size_t n)
{
    size_t want;
    if (b->failed)
        return false;
    if (b->data && b->cap - b->len > n)
        return true;
    if (__builtin_add_overflow(b->len, n, &want) || want + 1 == 0) {
        b->failed = true;
        return false;
    }
    char *p = mem_grow(b->data, &b->cap, want + 1, 1);
    if (!p) {
        b->failed = true;
        return false;
    }
    b->data = p;
    return true;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
    if (!buf_room(b, n))
        return;
    if (n)
        memcpy(b->data + b->len, p, n);
    b->len += n;
    b->data[b->len] = 0;
}

void buf_str(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_char(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        b->failed = true;
        return;
    }
    if (!buf_room(b, (size_t)n))
        return;
    va_start(ap, fmt);
    vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
}

char *buf_take(struct buf *b)
{
    buf_room(b, 0);
    if (b->failed) {
        buf_done(b);
        return NULL;
    }
    char *p = b->data;
    p[b->len] = 0;
    *b = (struct buf){0};
    return p;
}
