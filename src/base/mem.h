/* mem: the one door to malloc, so that tests can make every allocation fail in turn.
 *
 * Small things only (a few KiB, strings, tables). Anything larger goes through ledger/. Sizes are overflow-checked.
 * Every call may return NULL; nothing here aborts. */
#ifndef HEARTH_BASE_MEM_H
#define HEARTH_BASE_MEM_H
#include <stddef.h>

void *mem_alloc(size_t size);            /* uninitialised; size 0 gives a valid pointer */
void *mem_calloc(size_t n, size_t size); /* zeroed; NULL when n*size overflows */
void *mem_realloc(void *p, size_t size); /* old block intact on failure */
void *mem_grow(void *p, size_t *cap, size_t want,
               size_t elem); /* amortised array growth: returns new p with *cap >= want, or NULL with p intact */
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n);
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void mem_free(void *p);

/* Whole pages, zeroed, 64-byte aligned or better; huge pages are advised from 4 MiB on. Used by ledger/ only. */
void *mem_pages(size_t size);
void mem_pages_free(void *p, size_t size); /* all of it, or any whole pages of it */
size_t mem_page_size(void);
size_t mem_pages_live(void); /* the sum of the sizes that are out, for tests */

/* Test hook, process-wide: the nth allocation from now (0 = the next) and all later ones return NULL; -1 turns it off. */
void mem_fail_after(long n);
/* Number of calls that allocated since mem_fail_after was last called (for loops that walk every allocation). */
long mem_count(void);

#endif
