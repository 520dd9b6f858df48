/* stop: where a growing text must end, and how much of it can already be shown. Pure functions on bytes. */
#ifndef HEARTH_SESSION_STOP_H
#define HEARTH_SESSION_STOP_H
#include <stddef.h>

struct stop_list {
    char **str; /* owned by the generation */
    size_t *len;
    size_t n;
};

/* First byte of the earliest stop string in text[0..n), or n. */
size_t stop_find(const struct stop_list *l, const char *text, size_t n);
/* Bytes at the end of text[0..n) that may be the start of a stop string, and so must wait. */
size_t stop_hold(const struct stop_list *l, const char *text, size_t n);

#endif
