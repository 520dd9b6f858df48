/* loader: requests wait here for models, without holding a worker. One thread per model somebody waits for; when nobody is left
 * waiting, the load is cancelled. Also: which model a name means. */
#ifndef HEARTH_API_LOADER_H
#define HEARTH_API_LOADER_H
#include "api/state.h"

struct load_wait {
    /* Loader thread (or, for a resident model, the caller's): m with one reference, or NULL and e. Must be quick. */
    void (*done)(struct load_wait *w, struct hearth_model *m, const struct err *e);
    struct load_wait *next;
    struct load *load; /* under loader.mu; NULL: not waiting */
};
/* name as hearth_model_get takes it (see loader_resolve). done runs exactly once, unless loader_abandon says true. */
void loader_wait(struct api *a, const char *name, struct load_wait *w);
/* "loading qwen2.5-coder:1.5b, 43 %", or "" when it waits no more. */
void loader_progress(struct api *a, const struct load_wait *w, char *out, size_t max);
bool loader_abandon(struct api *a, struct load_wait *w); /* true: was waiting and is not any more */
void loader_init(struct loader *l);
void loader_done(struct loader *l); /* waits for its threads */
/* What a request calls `name` (NULL, "", "default": the default) -> a name for hearth_model_get. Never a path from outside. */
int loader_resolve(struct api *a, const char *name, char *out, size_t max, struct problem *p);
/* The name of the default model as shown, or false. */
bool loader_default(struct api *a, char *out, size_t max);
void loader_name_presets(struct api *a); /* before anybody asks */
void loader_preload(struct api *a);

#endif
