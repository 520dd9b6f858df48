/* engine: many sequences, many models, integers only. One engine thread owns scheduler state, KV and plans; requests come in and
 * events leave by queue. Results depend on (model, tokens, parameters, seed) alone.
 *
 * Memory: KV blocks of 64 positions are reserved in the ledger as sequences grow. What a sequence leaves stays in the prefix cache,
 * which takes all memory that nobody else wants and gives it back at once. When a block is refused the youngest running sequence
 * is preempted (its blocks go to the cache, what is gone of them later is computed again with the same bits): a running request
 * never fails for lack of memory. So is one whose place in the batch is due to a more urgent request, or to another key's. A request that
 * could never fit alone is refused at submit with the numbers; one for which there is only no room beside the models that are here may
 * wait for that (request_args.room_s): it begins when all that it may come to need is there, and until then nobody is disturbed by it. */
#ifndef HEARTH_ENGINE_H
#define HEARTH_ENGINE_H
#include "base/err.h"
#include "ledger/ledger.h"
#include "model/model.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct engine;
struct engine_model; /* a resident model; ref-counted */
struct request;      /* opaque handle of a running request */

struct engine_opts {
    struct ledger *ledger;
    int n_threads;     /* 0: all usable cores */
    unsigned cpu_mask; /* ~0u: all */
    int prefill_chunk; /* tokens per step at most; 0: 256 */
    int max_batch;     /* sequences per step; 0: 64 */
    int max_queue; /* waiting requests; 0: 512; beyond: ERR_BUSY. Batch work fills 3/4 of it at most, background half */
    int64_t max_queue_tokens; /* their prompt tokens, likewise; 0: 262144; one request alone is always taken */
    double turn_s;            /* after which a step rests if others wait for the machine; 0: 0.025 */
    int spec_max;             /* guessed tokens per step of a lone sequence (spec.h); 0: as many as pay; -1: none */
    bool no_prefix_cache;
    const char *kv_disk; /* folder of the prefix cache's second tier; NULL: none */
    uint64_t kv_disk_bytes;
    size_t
        kv_warm_bytes; /* that are read back of it as soon as a model is there, if nobody asks for anything; 0: nothing is */
    void (*on_starved)(void *arg); /* the engine thread: engine_starved tells something new. Must only wake someone */
    void *on_starved_arg;
};
int engine_new(struct engine **out, const struct engine_opts *o, struct err *e);
void engine_free(struct engine *g); /* cancels what runs, joins the thread; free requests and models before */

struct engine_load {
    const char *path; /* model file */
    const char *name; /* for the ledger's owner paths */
    bool precise;
    unsigned kv; /* the cache's type, by model_kv_flag; 0: the model's own */
    int (*progress)(void *arg, uint64_t done, uint64_t total); /* non-zero cancels */
    void *progress_arg;
    /* Once the header is read and before anything large is asked for; a negative code ends the load. f lives with the model. */
    int (*header)(void *arg, const struct model_file *f, struct err *e);
    void *header_arg;
    const size_t *beside;   /* NULL, or set by `header`: bytes that its caller holds for as long as the model is here */
    struct engine_fit *fit; /* NULL, or filled (for ctx 0, parallel 0) as soon as the header is read */
};

/* What a model takes: the very sums that its load and its requests will ask the ledger for, in bytes. */
struct engine_fit {
    size_t header, weights, scratch; /* held as long as it is resident */
    size_t staging;                  /* more while it loads */
    size_t kv, rows, requests; /* more while `parallel` requests of `ctx` positions run: KV, logits, their tokens */
    size_t kv_token;           /* KV of one position more, far from the start */
    int n_ctx;                 /* the model's longest context */
};
/* Blocking, on the caller's thread; all or nothing; several may run at once. One ref for the caller. Refused when it would take
 * the memory that a running request may still come to need. */
int engine_model_load(struct engine *g, const struct engine_load *a, struct engine_model **out, struct err *e);
/* The forecast of engine_model_load, from the header alone. ctx is cut to the model's; the header's bytes are held meanwhile. */
int engine_fit(struct engine *g, const struct engine_load *a, int ctx, int parallel, struct engine_fit *out,
               struct err *e);
/* In draft->fit: what `draft` takes as what guesses for a model of `a`, at most as much KV as guesses for all those requests need. ERR_RANGE:
 * another vocabulary. */
int engine_fit_draft(struct engine *g, const struct engine_load *a, const struct engine_load *draft, int ctx,
                     int parallel, struct err *e);
/* Bytes that a load of `need` bytes lacks now: beside what is held, what other loads will take and what running requests may
 * still come to need. 0: it can begin. *hard: the same without what requests may come to need. */
size_t engine_short(struct engine *g, size_t need, size_t *hard);
struct engine_starved {               /* the first of the requests that wait for room */
    size_t lacks;                     /* bytes; 0: nobody waits */
    const struct engine_model *model; /* whose request it is: for comparing only */
    bool stuck;                       /* nobody works: whoever is here waits for room */
};
void engine_starved(struct engine *g, struct engine_starved *out);
/* No model will leave any more, for each is held by requests that wait for room: if that is still so, the last of those that hold another
 * model than the first one's is refused, so that its model may leave. */
void engine_refuse_last(struct engine *g);
/* Puts the ledger's limit at `bytes`, but not below what is no KV and what the largest request that has begun may come to need: running
 * work goes on to its end, the younger of it by turns; what has not begun waits until it fits under the limit. */
void engine_limit(struct engine *g, size_t bytes);
size_t engine_spare(struct engine *g); /* bytes that engine_trim would give back */
void engine_model_ref(struct engine_model *m);
void engine_model_unref(struct engine_model *m); /* the last one frees weights, plan and KV once no request runs */
/* As unref; when nobody else holds m it also waits (at most 2 s) for its last requests to be let go and its memory to be back. */
void engine_model_leave(struct engine_model *m);
/* `draft`, of the same vocabulary, guesses for m from now on (a reference is taken); before m has requests. ERR_RANGE: another vocabulary. */
int engine_model_set_draft(struct engine_model *m, struct engine_model *draft, struct err *e);
const struct model_info *engine_model_info(const struct engine_model *m);
const struct model_file *engine_model_file(
    const struct engine_model *m); /* metadata (tokeniser, template); lives with m */
size_t engine_model_bytes(
    const struct engine_model *m); /* reserved: weights + scratch + KV in use; not the prefix cache */
int engine_model_running(const struct engine_model *m);   /* requests running or waiting */
double engine_model_busy_s(const struct engine_model *m); /* machine time that it has had since its load */
/* Positions (prompt and answer) that one request could hold now if all others gave their KV back; at most n_ctx. */
int engine_model_room(const struct engine_model *m);
/* Gives KV blocks that no sequence uses, at least `bytes` of them if there are, back to the ledger, the prefix cache's least valuable
 * ones last; any thread; returns bytes. The ledger asks for it by itself before it refuses anything. */
size_t engine_trim(struct engine *g, size_t bytes);

struct sample_params {
    float temperature;                         /* 0: greedy */
    int top_k;                                 /* 0: off */
    float top_p, min_p;                        /* 1 and 0: off */
    float repetition_penalty;                  /* 1: off; over prompt and output */
    float presence_penalty, frequency_penalty; /* 0: off; over output only, as OpenAI */
    uint64_t seed;
    int n_bias;
    const struct logit_bias *bias; /* copied at submit */
    int logprobs;                  /* -1: none; 0..20: the token's logprob and that many alternatives */
    bool ignore_eos;
};
struct logit_bias {
    int32_t id;
    float bias; /* added to the logit; <= -100 bans */
};

/* A grammar or other constraint on the next token (later issues); both may run on the engine thread. */
struct constraint {
    void (*mask)(void *self, uint32_t *allowed_bits, size_t n_vocab);
    void (*accept)(void *self, int32_t id);
    void *self;
};

enum event_type { EVENT_TOKEN, EVENT_DONE, EVENT_ERROR };
enum finish { FINISH_STOP, FINISH_LENGTH, FINISH_CANCELLED };
enum { EVENT_TOP = 20 };
struct event {
    enum event_type type;
    int32_t token; /* EVENT_TOKEN */
    bool eog;      /* this token ends the generation (not to be shown) */
    float logprob; /* of the token, before penalties and temperature (log softmax of raw logits) */
    int n_top;
    int32_t top_id[EVENT_TOP];
    float top_logprob[EVENT_TOP];
    enum finish finish; /* EVENT_DONE */
    struct err err;     /* EVENT_ERROR */
    struct request_stats {
        int n_prompt, n_cached, n_output;
        int n_drafted, n_accepted;           /* guessed tokens that were run; those that were right */
        double queue_s, prefill_s, decode_s; /* waiting; submit->first token less waiting; first->last token */
    } stats;                                 /* EVENT_DONE */
};

struct request_args {
    struct engine_model *model; /* ref taken */
    const int32_t *token;       /* copied */
    int n_token;
    int max_tokens;              /* > 0 */
    struct sample_params sample; /* copied */
    const int32_t *stop_id;      /* end-of-generation ids, copied */
    int n_stop_id;
    const struct constraint *constraint; /* NULL: none */
    bool no_guess;                       /* one token a step, even where guessing would pay */
    int priority;                        /* 0 interactive, 1 batch, 2 background */
    uint64_t key;                        /* whose request it is (0: nobody's in particular) */
    uint64_t deadline_ns;                /* of clock_ns; 0: none. Afterwards it ends with ERR_TIMEOUT, wherever it is */
    double room_s; /* how long it may wait for room beside what is loaded, then ERR_NOMEM; 0: refused at once */
    /* Called by the engine thread after events were queued for this request: must only wake someone (eventfd, condition). */
    void (*notify)(void *arg);
    void *notify_arg;
    /* If set, receives every sampled position's raw logits [n_vocab] on the engine thread (tests, bench, golden). pos is the
     * position of the token that was run: logits at pos choose the token at pos + 1. */
    void (*on_logits)(void *arg, int pos, const float *logits, size_t n_vocab);
    void *logits_arg;
    bool all_logits; /* on_logits also for every prompt position */
};
int engine_submit(struct engine *g, const struct request_args *a, struct request **out, struct err *e);
void request_cancel(struct request *r); /* any thread, returns at once; noticed between layers */
void request_finish(
    struct request *r); /* the same, but it ends as FINISH_STOP: the caller has seen enough (a stop string) */
/* Next event, in order. Waits up to timeout_ms (-1: forever, 0: poll). 1: got one, 0: none. After DONE or ERROR no more come. */
int request_next(struct request *r, struct event *out, int timeout_ms);
void request_free(struct request *r); /* cancels if still running; frees when the engine has let go */

struct engine_stats {
    int n_running, n_waiting, n_models;
    int64_t waiting_tokens; /* prompt tokens of those that wait */
    bool queue_full;        /* the next request would be refused */
    uint64_t refused_total, timeout_total;
    uint64_t requests_total, cancelled_total, preempted_total, tokens_prompt_total, tokens_output_total, steps_total;
    uint64_t rests_total;                   /* times that a step stopped in its middle, for others' */
    uint64_t given_up_total;                /* times that such a step was begun anew, for who left or came */
    uint64_t drafted_total, accepted_total; /* guessed tokens run; right ones */
    double step_s_total, busy_s_total;
    double cancel_last_s, cancel_max_s; /* from request_cancel to the request's release */
    /* prefix cache: requests looked up and found, positions found and computed; blocks that went; what it holds */
    uint64_t prefix_lookups_total, prefix_hits_total, prefix_hit_tokens_total, prefix_missed_tokens_total;
    uint64_t prefix_evicted_total;
    size_t prefix_blocks, prefix_bytes, kv_free_bytes;
    /* its disk tier: blocks read, written, found spoilt; what it holds */
    uint64_t disk_read_total, disk_written_total, disk_bad_total, disk_bytes;
    size_t disk_blocks;
};
void engine_stats(struct engine *g, struct engine_stats *out);

struct backend;
struct backend *engine_backend(struct engine *g);

#endif
