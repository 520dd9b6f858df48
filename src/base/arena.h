/* arena: many small allocations with one lifetime (a model's tables, a request, a template). Freed at once. */
#ifndef HEARTH_BASE_ARENA_H
#define HEARTH_BASE_ARENA_H
#include <stddef.h>

struct arena {
    struct arena_block *head;
    size_t used; /* bytes handed out */
    size_t held; /* bytes taken from mem_alloc: what a ledger owner should account */
};

void arena_init(struct arena *a);
void arena_done(struct arena *a);
void *arena_alloc(struct arena *a, size_t size); /* zeroed, 16-byte aligned; NULL on failure */
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t n);

#endif
