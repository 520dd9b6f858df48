/* blob: the files in blobs/, named by their content. */
#ifndef HEARTH_STORE_BLOB_H
#define HEARTH_STORE_BLOB_H
#include "store/store.h"

char *blob_path(const struct store *s, const char *sha256); /* mem_free; NULL when out of memory */
bool blob_exists(const struct store *s, const char *sha256);
/* Deletes the blob if no row names it any more; inside a transaction. */
int blob_drop(struct store *s, const char *sha256, struct err *e);

#endif
