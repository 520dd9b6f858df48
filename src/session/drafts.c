/* drafts: which model guesses for which (--draft): found when a model has loaded, pinned as long as that is there. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "session/state.h"
#include <stdio.h>
#include <string.h>

enum { PATIENCE_S = 3 };

int drafts_options(struct hearth *h, const struct hearth_opts *o, struct err *e)
{
    h->draft = mem_calloc(o->n_draft + 1, sizeof *h->draft);
    if (!h->draft)
        return err_set(e, ERR_NOMEM, "no memory to start");
    for (; h->n_draft < o->n_draft; h->n_draft++) {
        struct hearth_draft *d = &h->draft[h->n_draft];
        const char *text = o->draft[h->n_draft], *is = strchr(text, '=');
        size_t n = is ? (size_t)(is - text) : 0;
        if (is == text || n >= sizeof d->model || !(is ? is + 1 : text)[0])
            return err_set(e, ERR_USAGE, "draft \"%s\" should be DRAFT or MODEL=DRAFT", text);
        memcpy(d->model, text, n); /* the rest is zero already */
        if (!(d->draft = mem_strdup(is ? is + 1 : text)))
            return err_set(e, ERR_NOMEM, "no memory to start");
    }
    return 0;
}

void drafts_done(struct hearth *h)
{
    for (size_t i = 0; h->draft && i < h->n_draft; i++)
        mem_free(h->draft[i].draft);
    mem_free(h->draft);
}

/* A model that guesses for others gets no draft itself, so no two loads can wait for each other. */
static bool is_draft(struct hearth *h, const char *path)
{
    for (size_t i = 0; i < h->n_draft; i++) {
        struct wanted w = {0};
        bool same = models_resolve(h, h->draft[i].draft, &w, NULL) == 0 && strcmp(w.path, path) == 0;
        mem_free(w.path);
        if (same)
            return true;
    }
    return false;
}

const struct hearth_draft *drafts_of(struct hearth *h, const char *name, const char *path)
{
    const struct hearth_draft *of = NULL;
    for (size_t i = 0; i < h->n_draft; i++) /* a word about this model counts more, of equals the last */
        if (strcmp(h->draft[i].model, name) == 0 || (!h->draft[i].model[0] && (!of || !of->model[0])))
            of = &h->draft[i];
    return of && is_draft(h, path) ? NULL : of;
}

struct patience {
    double until_s;
};

/* m holds its memory while it waits for its draft, and others may wait for just that: so it waits for a file that is being read, but not
 * for memory that the draft does not get. */
static int not_for_ever(void *arg, uint64_t done, uint64_t total)
{
    (void)done;
    return total == 0 && clock_s() > ((const struct patience *)arg)->until_s;
}

int drafts_attach(struct hearth_model *m, struct err *e)
{
    struct hearth *h = m->h;
    const struct hearth_draft *of = drafts_of(h, m->name, m->path);
    if (!of)
        return 0;
    struct hearth_model *d = NULL;
    struct patience p = {clock_s() + PATIENCE_S};
    int rc = hearth_model_get(h, of->draft, not_for_ever, &p, &d, e);
    if (rc == ERR_CANCELLED || rc == ERR_NOMEM) { /* slower, but the same answers */
        log_line(LOG_WARNING, "%s goes without its draft %s: %s", m->name, of->draft,
                 rc == ERR_NOMEM ? e->msg : "there is no memory for it now");
        return 0;
    }
    if (rc < 0) {
        err_prefix(e, rc, "the draft %s of %s", of->draft, m->name);
        return rc;
    }
    rc = engine_model_set_draft(m->em, d->em, e);
    if (rc == 0) {
        m->draft = d;
        return 0;
    }
    hearth_model_unref(d);
    if (of->model[0])
        return rc;
    log_line(LOG_WARNING, "%s", e->msg); /* the word was for every model: this one does without */
    return 0;
}

void drafts_detach(struct hearth_model *m)
{
    hearth_model_unref(m->draft);
    m->draft = NULL;
}
