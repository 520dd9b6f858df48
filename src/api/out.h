/* out: what a generation writes to its client: chunks of a stream, or the whole answer at the end. Pump thread only. */
#ifndef HEARTH_API_OUT_H
#define HEARTH_API_OUT_H
#include "api/gen.h"

int out_text(struct gen *g, int choice, const struct hearth_delta *d, struct problem *p);
int out_finish(struct gen *g, int choice, struct problem *p);
void out_end(struct gen *g);                              /* all choices ended */
void out_problem(struct gen *g, const struct problem *p); /* a status if nothing was sent yet, else an error event */
void out_keep_alive(struct gen *g, const char *comment, uint64_t now_ns); /* "": a plain sign of life */
/* Appends one JSON item to a list kept as text. */
void out_item(struct buf *list, void (*write)(struct jsonw *w, const void *item), const void *item);

#endif
