/* describe: what a model file says about itself, as a store row and as JSON. */
#ifndef HEARTH_STORE_DESCRIBE_H
#define HEARTH_STORE_DESCRIBE_H
#include "file/file.h"
#include "store/store.h"

/* Fills family, quant, licence, n_params, n_ctx where they are still empty; bytes always. */
int describe_row(const char *path, struct store_model *m, struct err *e);
/* The text of `show`. *json: mem_free. */
int describe_json(const char *path, const struct store_model *m, char **json, struct err *e);

#endif
