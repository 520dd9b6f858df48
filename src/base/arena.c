/* arena: a list of blocks, filled front to back. Blocks double up to 64 KiB so that small arenas stay small; a piece larger
 * than that gets a block of its own behind the head, which keeps the head's free room usable. */
#include "base/arena.h"
#include "base/mem.h"
#include <stdint.h>
#include <string.h>

enum { ARENA_ALIGN = 16, ARENA_FIRST = 1024, ARENA_MAX = 64 << 10 };

struct arena_block {
    struct arena_block *next;
    size_t size, used; /* of data */
    _Alignas(ARENA_ALIGN) unsigned char data[];
};

void arena_init(struct arena *a)
{
    *a = (struct arena){0};
}

void arena_done(struct arena *a)
{
    while (a->head) {
        struct arena_block *next = a->head->next;
        mem_free(a->head);
        a->head = next;
    }
    *a = (struct arena){0};
}

static struct arena_block *arena_block_new(struct arena *a, size_t size)
{
    size_t bytes;
    if (__builtin_add_overflow(size, sizeof(struct arena_block), &bytes))
        return NULL;
    struct arena_block *b = mem_alloc(bytes);
    if (!b)
        return NULL;
    b->size = size;
    b->used = 0;
    a->held += bytes;
    return b;
}

void *arena_alloc(struct arena *a, size_t size)
{
    size_t n;
    if (__builtin_add_overflow(size, (size_t)ARENA_ALIGN - 1, &n))
        return NULL;
    n &= ~(size_t)(ARENA_ALIGN - 1);
    struct arena_block *b = a->head;
    if (!b || b->size - b->used < n) {
        size_t want = b ? b->size * 2 : ARENA_FIRST;
        if (want > ARENA_MAX)
            want = ARENA_MAX;
        struct arena_block *fresh = arena_block_new(a, n > want ? n : want);
        if (!fresh)
            return NULL;
        if (b && n > want) {
            fresh->next = b->next;
            b->next = fresh;
        } else {
            fresh->next = b;
            a->head = fresh;
        }
        b = fresh;
    }
    void *p = b->data + b->used;
    b->used += n;
    a->used += n;
    return memset(p, 0, n);
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
    size_t len = strnlen(s, n);
    char *p = arena_alloc(a, len + 1);
    if (p)
        memcpy(p, s, len);
    return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_strndup(a, s, PTRDIFF_MAX - 1);
}
