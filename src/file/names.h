/* names: the hash index over the names of one table (keys or tensors) of a model file.
 *
 * Rows lie in the caller's array; the first member of a row is its `struct file_str` name. The index holds row numbers only. */
#ifndef HEARTH_FILE_NAMES_H
#define HEARTH_FILE_NAMES_H
#include "base/arena.h"
#include "file/file.h"

struct names {
    uint32_t *slot;   /* row number + 1; 0 = empty */
    uint64_t mask;    /* slots - 1, a power of two less one */
    const void *rows; /* not owned */
    size_t stride;    /* bytes from row to row */
};

/* Room for n rows; memory from the arena. 0, or -1 when the arena has none. */
int names_init(struct names *x, struct arena *a, const void *rows, size_t stride, uint64_t n);
/* Enters row `i`; returns false when a row of that name is already there. */
bool names_add(struct names *x, uint32_t i);
const void *names_find(const struct names *x, const char *p, size_t n);

#endif
