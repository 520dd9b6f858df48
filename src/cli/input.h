/* input: texts and files that commands take in. */
#ifndef HEARTH_CLI_INPUT_H
#define HEARTH_CLI_INPUT_H
#include "base/buf.h"
#include "base/err.h"
#include <stdint.h>

/* The words joined by blanks; "-" stands for standard input (set apart by an empty line); no words: standard input. */
int input_words(int argc, char **argv, struct buf *out, struct err *e);
/* Path of a model's file: an installed name, or a path (mem_free). */
int input_model_path(const char *data_dir, const char *name, char **path, struct err *e);

#endif
