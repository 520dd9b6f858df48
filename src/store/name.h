/* name: what a model may be called, and which one of a list a user means. */
#ifndef HEARTH_STORE_NAME_H
#define HEARTH_STORE_NAME_H
#include "store/store.h"

enum { NAME_SIZE = 96 };

/* Lower-cased copy of a valid name, base[:tag] of letters, digits, '.', '_', '-'; ERR_USAGE says what is wrong. */
int name_clean(const char *name, char out[NAME_SIZE], struct err *e);
/* "Some File-Q4_0.gguf" -> "some-file-q4_0:latest" */
void name_derive(const char *file, char out[NAME_SIZE]);
/* Index of the model meant: exact; for a bare name an installed tag, in the catalogue's order first, else the catalogue's first
 * tag. ERR_NOTFOUND names the nearest. `m` as store_list gives it. */
int name_pick(const char *name, const struct store_model *m, size_t n, size_t *pick, struct err *e);
bool name_is_path(const char *name); /* it can only be a file: has a slash or ends in .gguf */

#endif
