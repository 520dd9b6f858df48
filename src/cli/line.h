/* line: one message from the terminal: editing, history, several lines, Ctrl-C. */
#ifndef HEARTH_CLI_LINE_H
#define HEARTH_CLI_LINE_H
#include "base/err.h"

struct line_reader;
int line_open(struct line_reader **out, const char *data_dir, struct err *e); /* data_dir NULL: fs_data_dir */
char *line_read(
    struct line_reader *l); /* mem_free; NULL: Ctrl-D or the terminal went away. Ctrl-C begins a new message */
void line_close(struct line_reader *l); /* writes the history file */

#endif
