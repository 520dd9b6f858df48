/* state: the structs that the files of this room share: engine, resident model, request. Nobody outside includes this.
 *
 * Locks, outermost first: engine.lock (intake, lists, counters) -> request.lock (events). What is marked "engine thread"
 * is touched by that thread alone and needs none. */
#ifndef HEARTH_ENGINE_STATE_H
#define HEARTH_ENGINE_STATE_H
#include "backend/backend.h"
#include "engine/engine.h"
#include "engine/kv.h"
#include "engine/kvdisk.h"
#include "engine/recall.h"
#include "engine/sample.h"
#include "engine/choose.h"
#include "engine/draft.h"
#include "engine/sched.h"
#include "engine/share.h"
#include "engine/spec.h"
#include <pthread.h>

/* What a step is made of. Each model has its own: a step that rests keeps it. */
struct step_arrays {
    int32_t *token, *pos, *seq, *wanted;
    struct batch_seq *seqs;
    struct request **req; /* [max_batch] */
    struct sched_pick *pick;
    int n_req, n_tok, n_row;
    int n_decode;          /* sequences that wait for their next token */
    int n_prompt, n_guess; /* tokens of prompts, guesses: counted when it has run */
    double depth;          /* sum over the prompts' tokens of the positions before each */
    uint64_t number;       /* engine.n_step when it was made up */
    uint64_t deadline_ns;  /* of the model's requests the first to come; UINT64_MAX none */
};

struct engine_model {
    struct engine *engine;
    atomic_int refs;
    atomic_int running; /* requests submitted and not yet released */
    char name[96];
    struct model_file *file;
    struct model_info info;
    struct graph *graph;
    struct weights *weights;
    struct plan *plan;
    struct engine_model *draft; /* guesses for it, or NULL; a reference */
    struct ledger_owner *own_header, *own_weights, *own_staging, *own_scratch, *own_kv, *own_prefix, *own_requests;
    size_t beside; /* engine_load.beside: held by others for it */
    struct kv_pool kv[GRAPH_KV_CLASSES];
    struct engine_model *next;  /* engine.models, under engine.lock */
    size_t load_need;           /* bytes a running load will hold in the end, under engine.lock; 0 when loaded */
    uint64_t serial;            /* of its load */
    struct kv_hash fingerprint; /* begins every chain of its blocks */
    bool dying;                 /* being freed, under engine.lock */
    bool warmed;                /* the disk was asked what it has of it, under engine.lock */
    double busy_s;              /* machine time it has had, under engine.lock */

    /* engine thread */
    struct request **live;   /* requests in any state but released */
    struct sched_seq *sched; /* [n_live] filled before each step */
    size_t n_live, cap_live, cap_sched;
    double vtime;   /* machine time had, on the scale of all */
    double crowd_s; /* clock_s of the last step that was made up while somebody else was there */
    struct sched_cost cost;
    struct spec_cost spec_cost;
    struct sched_keys keys;
    double draft_s; /* as somebody's draft: seconds for a token, running mean; 0 unknown */
    bool active;
    bool resting;   /* its step was stopped between two steps of its plan, and goes on there */
    double step_s;  /* machine time that this step has had */
    double spent_s; /* the same with making it up and choosing its tokens */
    double limit_s; /* what it was to take at most; 0: nothing was promised */
    int at_work;    /* models that shared the machine, itself among them: the most of the last slice */
    double work_s;  /* clock_s when there were so many */
    struct step_arrays step;
    void *step_mem;
    float *logits; /* [logit_rows][n_vocab], grows with the batch, falls back when idle */
    int logit_rows;
    void *sample_mem;
    struct sample_scratch sample[CHOOSE_THREADS];
    int n_sample;
};

enum request_stop { REQUEST_GO, REQUEST_CANCEL, REQUEST_FINISH };

struct request {
    struct engine_model *model;
    atomic_int refs; /* the caller's and the engine's */
    atomic_int stop; /* enum request_stop */
    atomic_ullong stop_ns;
    void *mem; /* tokens, block tables, log probabilities: one ledger_alloc */
    size_t mem_bytes;
    int32_t *token;  /* prompt and output, [n_prompt + max_tokens] */
    float *lp;       /* [max_tokens][1 + k] if asked for */
    int32_t *top_id; /* [max_tokens][k] */
    int32_t *stop_id;
    struct logit_bias *bias;
    int n_prompt, max_tokens, n_stop_id, priority, k; /* k: alternatives per token, -1: no log probabilities */
    struct sample_params sample;
    struct constraint constraint;
    bool has_constraint, all_logits, no_guess;
    void (*on_logits)(void *arg, int pos, const float *logits, size_t n_vocab);
    void *logits_arg;
    size_t worst_bytes;                          /* KV it needs alone at its longest */
    atomic_bool begun;                           /* admitted once: what it may need is kept for it */
    uint64_t order, submit_ns, deadline_ns, key; /* deadline 0: none */
    double room_s;                               /* how long it may wait for room; 0: it was there when it came */
    struct request *prev, *next;                 /* engine.all, under engine.lock */
    struct request *intake;                      /* engine.intake, under engine.lock */

    /* engine thread */
    int n_token, n_done; /* tokens known; positions whose K and V are stored */
    bool admitted;
    size_t lacks;      /* bytes that it has to wait for before it may begin; 0: none, as far as is known */
    uint64_t short_ns; /* since when */
    uint64_t bare_ns;  /* since when it runs and gets no block, though nobody else has any; 0: it did the last time */
    struct spec_seq spec;
    struct kv_seq draft_kv[GRAPH_KV_CLASSES]; /* blocks of the model's draft */
    int draft_done;                           /* positions stored there that hold known tokens */
    struct kv_seq kv[GRAPH_KV_CLASSES];
    struct kv_hash *hash;  /* [n_hash + 1]: before block j; in mem */
    int n_hash;            /* full blocks hashed */
    int n_published;       /* full blocks that the index knows */
    int n_cached;          /* prompt positions that were there when it started */
    struct recall *recall; /* blocks that are on their way from the disk */
    bool recalled;         /* asked for once */
    bool found;            /* looked up once */
    uint64_t served;
    bool given_up;                        /* its last step was given up for somebody: the next is not */
    uint64_t start_ns, first_ns, last_ns; /* first step, first token, last token */
    int step_tok, step_row; /* tokens of it in the running step, guesses included; its first row of logits, -1 none */
    bool chosen;            /* in the running step: its next token is `choice` */
    int32_t choice;
    int logits_sent; /* positions whose logits were shown: a recomputation shows none twice */

    pthread_mutex_t telling; /* notify, and that it runs: not `lock`, which who is told takes at once */
    void (*notify)(void *arg);
    void *notify_arg;
    pthread_mutex_t lock; /* what follows */
    pthread_cond_t cond;
    int n_pushed, n_popped; /* token events */
    bool last_is_eog, ended, end_taken;
    enum event_type end_type;
    enum finish finish;
    struct err err;
    struct request_stats stats;
};

struct engine {
    struct ledger *ledger;
    struct backend *backend;
    struct engine_opts opts; /* defaults filled in */
    struct kv_store kv;
    struct kvdisk *disk; /* NULL: no disk tier */
    struct warm *warm;   /* what is being read from it ahead (engine thread); NULL: nothing */
    pthread_t thread;
    bool thread_runs;
    pthread_mutex_t lock;
    pthread_cond_t wake, freed; /* work came; a model's memory is back */
    bool stop;                  /* under lock */
    atomic_bool look;           /* set under lock: requests came, are to stop, memory came free */
    struct request *all, *intake, *intake_last;
    struct engine_model *models;
    uint64_t next_order, n_loads;
    struct engine_stats stats; /* counters; under lock */
    atomic_int n_running, n_waiting;
    atomic_llong waiting_tok;                      /* prompt tokens of the waiting */
    atomic_ullong n_output, n_drafted, n_accepted; /* tokens, totals */
    struct request *starving;                      /* the first that waits for room, or NULL; under lock */
    bool stuck;                                    /* all that are here do; under lock */
    atomic_bool refuse;                            /* engine_refuse_last was called */

    /* engine thread */
    struct engine_model **active;
    struct sched_model *active_sched;
    size_t n_active, cap_active, cap_active_sched;
    uint64_t n_step;
    double turn_s; /* clock_s when the running step began or went on */
    double vnow;   /* vtime at which the last turn was given */
    int max_tok;
    bool starve, more_starve; /* requests wait for room, as was told; some do that did not before */
};

/* engine.c */
void *engine_main(void *arg);
void engine_kick(struct engine *g);
/* load.c: a model of which the header is read, on no list yet. */
int load_begin(struct engine *g, const struct engine_load *a, struct engine_model **out, struct err *e);
/* fit.c */
void fit_load(const struct engine *g, const struct graph *graph, struct engine_fit *f);
/* room.c: bytes of an owner, or of none; bytes that loads in progress will still take. Those of the engine under engine.lock. */
size_t room_held(const struct ledger_owner *o);
size_t room_pending(const struct engine *g);
size_t room_alone(const struct engine *g); /* what one request could use if all others gave their KV back */
size_t room_ever(const struct engine *g);  /* the same without pressure on the machine's memory */
/* The largest KV that a live request, or one that has begun, may come to need. */
size_t room_promised(const struct engine *g, bool begun);
size_t room_at_best(const struct engine *g, const struct request *r); /* for r, were all other models gone */
int room_refuse(const struct request *r, size_t room, struct err *e);
struct room_look { /* of one round of admissions */
    size_t room;   /* what one request could use; once `known` */
    bool pressed, known;
};
/* room.c (engine thread): whether r, which is not admitted, has to wait for room; after a turn: who does, to whoever listens. */
bool room_bars(struct request *r, struct room_look *look);
void room_tell(struct engine *g, bool stuck);
void room_forget(struct engine *g, const struct request *r); /* it ends; under engine.lock */
bool room_over(const struct request *r, uint64_t now);       /* it has waited long enough */
void room_give_up(struct request *r, uint64_t now);
void room_refuse_last(struct engine *g);
bool room_loading(struct engine *g); /* a load that was announced has not ended */
/* request.c: bytes of the arrays of a request. k: alternatives per token, -1: no log probabilities */
size_t request_array_bytes(size_t n_prompt, size_t max_tokens, int k);
/* request.c (engine thread): */
void request_push_token(struct request *r, bool eog);
void request_release(struct request *r, enum event_type type, enum finish finish, const struct err *err);
void request_unref(struct request *r);
bool request_before(const struct request *a, const struct request *b); /* a comes first */
/* engine.c (engine thread): takes r off its model's list and releases it. */
void engine_end(struct request *r, enum event_type type, enum finish finish, const struct err *err);
/* step.c: one step of one model, or a turn of it. false: nothing could run (no memory). */
bool step_model(struct engine *g, struct engine_model *m);
void step_leave(struct request *r); /* r will lose its blocks: a resting step that it is part of is given up */
bool step_holds(const struct engine *g, const struct request *r); /* r must not end before a resting step has */
size_t step_bytes(const struct engine *g);
int step_init(struct engine_model *m, struct err *e);
void step_done(struct engine_model *m);

#endif
