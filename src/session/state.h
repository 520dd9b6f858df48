/* state: the structs that the files of this room share. Nobody outside includes this.
 *
 * hearth.lock guards the list of models and every field of a model that is marked so; it is never held while something
 * loads, unloads, renders or tokenises. */
#ifndef HEARTH_SESSION_STATE_H
#define HEARTH_SESSION_STATE_H
#include "base/buf.h"
#include "engine/engine.h"
#include "ledger/ledger.h"
#include "session/residency.h"
#include "session/session.h"
#include "store/store.h"
#include "text/text.h"
#include <pthread.h>

struct hearth_kv {  /* a cache type that was asked for */
    char model[96]; /* "": every other model's */
    unsigned flag;  /* model_kv_flag's */
};

struct hearth_draft { /* who guesses for whom */
    char model[96];   /* "": every other model */
    char *draft;
};

struct hearth {
    struct ledger *ledger;
    struct ledger_owner *program; /* code, libraries, stacks, small heap */
    struct engine *engine;
    struct store *store;
    bool precise;
    struct hearth_kv *kv; /* [n_kv] */
    size_t n_kv;
    struct hearth_draft *draft; /* [n_draft] */
    size_t n_draft;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a model's state or a loader's end */
    pthread_cond_t tick;    /* the monitor looks before its time: `news` */
    bool news;              /* under lock */
    double starved_s;       /* the monitor's: clock_s since when a request waits for room; 0: none does */
    pthread_t monitor;
    bool monitor_runs;
    char *proc, *group;       /* NULL: the system's */
    struct pressure pressure; /* under lock */
    int keep;                 /* what models get that nobody said otherwise of: enum hearth_keep or seconds */
    double load_timeout_s;
    uint64_t tickets, evicted;   /* under lock: loads asked for; models that had to go */
    struct hearth_model *models; /* under lock */
    uint64_t uses;               /* under lock: counts up, orders models by last use */
    int n_loaders;               /* under lock */
    bool closing;                /* under lock */
};

enum model_state { MODEL_WAITING, MODEL_LOADING, MODEL_READY, MODEL_DRAINING, MODEL_UNLOADING, MODEL_FAILED };

struct hearth_model {
    struct hearth *h;
    struct hearth_model *next; /* under lock, as are all up to path */
    enum model_state state;
    int refs, waiters; /* users; callers that wait for the load */
    uint64_t used;
    int64_t used_unix;
    uint64_t done, total;                    /* bytes of the load */
    double asked_s, load_s, ready_s, used_s; /* clock_s; load_s: how long the load itself took */
    uint64_t ticket, drained_for;            /* order among loads; for whose it drains */
    int keep;                                /* enum hearth_keep or seconds */
    struct err err;                          /* why the load failed */
    char name[96];
    char *path;

    /* set by the loader before READY, then constant */
    struct engine_model *em;
    struct hearth_model *draft; /* guesses for it; a reference, or NULL */
    struct tokenizer *tok;
    size_t text_bytes;          /* what `text` holds for it */
    struct chat_template *tmpl; /* NULL: none, or not understood: tmpl_err */
    struct err tmpl_err;
    struct ledger_owner *text; /* tokeniser and template */
    char *bos, *eos;           /* their text for the template */
    int32_t *stop_id;
    int n_stop_id;
};

/* drafts.c */
int drafts_options(struct hearth *h, const struct hearth_opts *o, struct err *e);
void drafts_done(struct hearth *h);
/* The draft that a model, by its name and path, was promised; NULL: none. */
const struct hearth_draft *drafts_of(struct hearth *h, const char *name, const char *path);
int drafts_attach(struct hearth_model *m,
                  struct err *e); /* m has loaded: the draft that it was promised, loaded if need be */
void drafts_detach(struct hearth_model *m);
/* open.c: model_kv_flag's value for a model of this name; 0: nothing was asked. */
unsigned open_kv_of(const struct hearth *h, const char *model);
/* models.c. Not under lock: models_evict, models_unload, models_drain, models_drop; under lock: the others. */
enum models_evict {
    MODELS_SETTLED,
    MODELS_NOW
}; /* settled: only those that stayed as long as they must, and none in vain */
/* Makes idle models leave, so that `need` bytes come free (residency.h); returns the bytes of those that left. */
size_t models_evict(struct hearth *h, const char *asked, size_t need, enum models_evict how);
void models_unload(struct hearth_model *m); /* m is UNLOADING: gives its memory back, then takes it off the list */
void models_drain(struct hearth_model *m);  /* frees what the loader built */
void models_drop(struct hearth_model *m);   /* the same, and m */
void models_unlist(struct hearth *h, const struct hearth_model *m);
void models_touch(struct hearth_model *m);
void models_wait(struct hearth *h, int ms); /* for a change, at most so long */
/* load.c: starts the thread of a model that was just put on the list */
int load_start(struct hearth_model *m, struct err *e);
/* Under lock. Those worth least of the busy models but `asked` take no new users until load_drain_no_more for the same ticket, if by their
 * leaving `lacking` bytes would come free. */
void load_drain(struct hearth *h, const struct hearth_model *asked, uint64_t ticket, size_t lacking);
void load_drain_no_more(struct hearth *h, uint64_t ticket);
double load_patience_s(const struct hearth *h); /* so long one waits before that */
/* monitor.c: pressure, keep-alive and requests that wait for room, on a thread of its own. monitor_wake under lock. */
void monitor_wake(struct hearth *h);
int monitor_start(struct hearth *h, struct err *e);
void monitor_stop(struct hearth *h);
struct wanted { /* who is asked for: name and path, and the caller's progress */
    char name[96];
    char *path; /* mem_free */
    hearth_progress progress;
    void *arg;
};
int models_resolve(struct hearth *h, const char *name, struct wanted *w, struct err *e);
enum { MODELS_MAX = 64 };
/* Under lock: the resident models as residency.h sees them; `asked` (a path, or NULL) counts as pinned. of[i]: whose row i is. */
size_t models_rows(struct hearth *h, const char *asked, struct residency_row rows[MODELS_MAX],
                   struct hearth_model *of[MODELS_MAX]);
/* model_text.c: from the header f, before the weights are there */
int model_text_build(struct hearth_model *m, const struct model_file *f, struct err *e);
void model_text_free(struct hearth_model *m);
/* prompt.c: what a request says -> token ids. mem_free *ids via token_list_done. */
int prompt_ids(struct hearth_model *m, const struct hearth_request *r, struct token_list *out, struct err *e);
int prompt_render(struct hearth_model *m, const char *messages_json, const char *tools_json, struct buf *out,
                  uint8_t **trusted, struct err *e);

#endif
