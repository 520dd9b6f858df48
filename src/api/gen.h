/* gen: one request that needs a model: it waits for the load, runs, and is answered, whole or as a stream.
 *
 * LOADING -> (model is there, a worker calls `start`) -> RUNNING -> end,  or at any point -> FAILED, ANSWERED -> end.
 * Ownership: the pump thread frees it; a gen whose phase is LOADING or STARTING is being worked on elsewhere. */
#ifndef HEARTH_API_GEN_H
#define HEARTH_API_GEN_H
#include "api/loader.h"
#include "api/params.h"
#include "api/routes.h"
#include "api/state.h"

enum gen_phase { GEN_LOADING, GEN_STARTING, GEN_RUNNING, GEN_FAILED, GEN_ANSWERED };

struct gen_choice {
    struct buf text;    /* not sent yet */
    struct buf list[4]; /* logprobs of it: JSON items with commas between, as the shape wants them */
    size_t chars;       /* characters so far: legacy text_offset */
    char finish[16];    /* "" while it runs */
    bool spoke;         /* stream: its first chunk is out */
};

/* How a kind of answer is written. */
struct gen_shape {
    const char *id_prefix, *object, *chunk_object;
    void (*probs)(struct gen_choice *c, const struct hearth_delta *d); /* appends to c->list */
    void (*choice)(struct gen *g, int i, struct jsonw *w);             /* one choice with all that is in it now */
};

struct gen {
    struct api *a;
    struct http_req *r;
    struct params p;
    const struct gen_shape *shape; /* NULL: no generation, `start` answers */
    void (*start)(struct gen *g);  /* worker thread, g->m is set; ends with gen_answer, gen_fail or gen_run */
    char id[40], model[96];
    int64_t created;
    uint64_t born_ns, deadline_ns; /* deadline 0: none */
    atomic_int phase;
    atomic_bool gone;
    struct problem problem; /* FAILED */
    struct buf answer;      /* ANSWERED */
    struct load_wait wait;
    struct hearth_model *m;

    pthread_mutex_t mu;       /* guards gens against gen_gone */
    struct hearth_gen **gens; /* one per prompt */
    size_t n_gens;
    char **echo; /* per prompt, or NULL: text that goes before the answer */
    struct gen_choice *choice;
    int n_choices, n_ended;
    atomic_int n_prompt_tokens, n_tokens;
    struct hearth_usage usage; /* prompts and outputs added up; times of the slowest */
    size_t reserved;           /* of api.owner, for collected answers */

    bool stream_open;
    uint64_t sent_ns; /* last bytes written into the stream */
    bool queued;      /* under pump.mu, as are the links */
    struct gen *next_ready, *next, *prev;
};

/* Takes over q and r (q is freed on every path). Answers by itself if there is no memory. */
struct gen *gen_new(struct api *a, struct http_req *r, struct params *q, const struct gen_shape *shape);
/* Asks for the model; from here on the gen belongs to loader, worker and pump. */
void gen_begin(struct gen *g, void (*start)(struct gen *g));
/* A route whose body names a model and wants no generation: loads the model if it must, then runs `start`. */
enum route_result gen_with_model(struct api *a, struct http_req *r, void (*start)(struct gen *g));
void gen_detach(struct gen *g); /* pump only: cancels; after it nobody wakes g */
void gen_free(struct gen *g);   /* pump only, after gen_detach and off all lists */
void gen_fail(struct gen *g, const struct problem *p);
void gen_fail_err(struct gen *g, const struct err *e, const char *param);
void gen_answer(struct gen *g);                /* g->answer is complete */
void gen_generate(struct gen *g);              /* a `start`: submits the prompts */
bool gen_work(struct gen *g, uint64_t now_ns); /* pump: true when it has ended and may be freed */
void gen_tick(struct gen *g,
              uint64_t now_ns); /* pump, about once a second: signs of life, deadlines of those that wait for a model */

/* pump.c */
int pump_start(struct api *a, struct err *e);
void pump_stop(struct api *a); /* when no generation is left */
void pump_add(struct gen *g);
void pump_wake(struct gen *g);                        /* any thread */
void pump_phase(struct gen *g, enum gen_phase phase); /* and wakes; the caller may not touch g afterwards */

/* usage.c */
void usage_add(struct hearth_usage *to, const struct hearth_usage *of, bool first_of_prompt);
void usage_write(struct jsonw *w, const struct hearth_usage *u);   /* the value of "usage" */
void usage_timings(struct jsonw *w, const struct hearth_usage *u); /* the value of "timings" */

extern const struct gen_shape chat_shape, completion_shape;

#endif
