/* models: what is resident and what is installed in one list. */
#ifndef HEARTH_API_MODELS_H
#define HEARTH_API_MODELS_H
#include "api/state.h"
#include "store/store.h"

struct model_row {
    char name[96], family[24], quant[24], state[16], good_for[160];
    bool resident, chat, waiting; /* waiting: loading, for memory */
    uint64_t bytes;
    int n_ctx, running, users, keep; /* keep: enum hearth_keep or seconds */
    double load_s, progress, value;
    int64_t last_used, added;
};
int models_list(struct api *a, struct model_row **out, size_t *n); /* mem_free */

#endif
