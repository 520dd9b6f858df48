/* pull: downloading one model with its terms, progress and errors: for `pull`, `run` and `up`. */
#ifndef HEARTH_CLI_PULL_H
#define HEARTH_CLI_PULL_H
#include "base/err.h"
#include "store/store.h"

struct pull_args {
    const char *name;
    const char *as; /* NULL: derived */
    bool accept;    /* the licence terms are agreed to */
    bool json;      /* progress objects on stdout instead of a bar */
    bool verify;
};
/* Shows the terms (asks on a terminal; else needs accept), downloads, tells the result. Returns an exit code; errors are told. */
int pull_model(struct store *s, const struct pull_args *a);
/* A yes or no question on the terminal; false at once when there is none. */
bool pull_ask(const char *question, bool fallback);

#endif
