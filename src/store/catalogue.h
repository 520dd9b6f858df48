/* catalogue: the models Hearth knows by name. One row per model in catalogue.c; nothing is learned at run time. */
#ifndef HEARTH_STORE_CATALOGUE_H
#define HEARTH_STORE_CATALOGUE_H
#include "store/store.h"

enum { CATALOGUE_SOURCES = 3 };

struct catalogue_row {
    const char *name, *family, *quant, *licence;
    uint64_t bytes, n_params;
    int n_ctx;
    const char *sha256;
    const char *good_for, *terms; /* terms: shown before the download; "" if none */
    bool runnable;
    const char *source[CATALOGUE_SOURCES]; /* tried in order; NULL ends */
};

const struct catalogue_row *catalogue_rows(size_t *n);
const struct catalogue_row *catalogue_find(const char *name); /* exact name, NULL if none */
void catalogue_model(const struct catalogue_row *row, struct store_model *out);
void catalogue_annotate(struct store_model *m); /* adds what the catalogue says about an installed model of that name */

#endif
