/* out: what people read: sizes, times, aligned tables, progress lines. */
#ifndef HEARTH_CLI_OUT_H
#define HEARTH_CLI_OUT_H
#include "base/buf.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OUT_SHORT = 24 };
const char *out_bytes(char s[OUT_SHORT], uint64_t n);    /* "1.04 GiB" */
const char *out_time(char s[OUT_SHORT], double seconds); /* "41 s", "2 min 05 s", "3 h 10 min" */

/* Prints the buffer as one line on stdout (and flushes); frees it. Returns an exit code. */
int out_json(struct buf *b);

/* A table: cells are copied; a column whose name begins with '>' is set to the right. */
enum { OUT_COLUMNS = 12 };
struct out_table {
    struct buf cells; /* NUL-terminated, row after row */
    int n_columns;
    size_t n_cells;
};
void out_table_init(struct out_table *t, const char *const *columns, int n);
void out_table_cell(struct out_table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void out_table_print(struct out_table *t); /* on stdout; frees */

/* Progress on stderr: one line rewritten on a terminal, else a plain line now and then. */
struct out_progress {
    bool tty, quiet, shown;
    double last, started;
    int last_percent;
    char stage[24];
};
void out_progress_init(struct out_progress *p, bool quiet);
/* total 0: unknown. eta < 0: unknown. label e.g. "smollm2:135m". */
void out_progress_show(struct out_progress *p, const char *label, const char *stage, uint64_t done, uint64_t total,
                       double bytes_per_s, double eta_s);
void out_progress_end(struct out_progress *p); /* clears the line of a terminal */

#endif
