/* hearth.h: the public C API. Messages in, text out; everything below (files, kernels, scheduler) is behind it.
 *
 *     struct hearth *h; struct hearth_model *m; struct hearth_gen *g; struct hearth_delta d; struct err e;
 *     hearth_open(&h, &(struct hearth_opts){0}, &e);
 *     hearth_model_get(h, "smollm2:135m", NULL, NULL, &m, &e);
 *     hearth_generate(m, &(struct hearth_request){.messages_json = "[{\"role\":\"user\",\"content\":\"Hi\"}]"}, &g, &e);
 *     while (hearth_next(g, &d, -1) == 1 && d.type == HEARTH_TEXT) fwrite(d.text, 1, d.text_len, stdout);
 *     hearth_gen_free(g); hearth_model_unref(m); hearth_close(h);
 */
#ifndef HEARTH_H
#define HEARTH_H
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEARTH_VERSION "0.1.0"

struct hearth;       /* ledger, engine, store: one per process */
struct hearth_model; /* a resident model with its tokeniser and template; ref-counted */
struct hearth_gen;   /* one generation: n choices of one prompt */

struct hearth_opts {
    const char *data_dir; /* NULL: fs_data_dir */
    size_t ceiling;       /* 0: what the machine leaves */
    int threads;          /* 0: all usable cores */
    const char *cpu_mask; /* NULL: all */
    bool precise;
    int prefill_chunk; /* 0: default */
    /* types of the caches of keys and values: "q8_0" for every model, "MODEL=q8_0" for one; NULL: f16. Copied. */
    const char *const *kv;
    size_t n_kv;
    size_t kv_disk; /* bytes of the prefix cache that may lie in the data folder; 0: none */
    /* smaller models that guess ahead: "DRAFT" for every other model of its vocabulary, "MODEL=DRAFT" for one. Copied. */
    const char *const *draft;
    size_t n_draft;
    int spec_max;       /* guessed tokens per step: 0 as many as pay, -1 none */
    int keep_alive;     /* of models nobody says otherwise of: seconds, or HEARTH_KEEP_*; the default is for ever */
    int load_timeout_s; /* how long a load, or a request, may wait for memory that others hold; 0: 120 */
    const char *proc_dir, *group_dir; /* where memory and its pressure are read; NULL: /proc and /sys/fs/cgroup */
};
/* How long an idle model stays, beside what memory demands: seconds, or one of these. */
enum hearth_keep { HEARTH_KEEP_DEFAULT = 0, HEARTH_KEEP_FOREVER = -1, HEARTH_KEEP_NOT = -2 };
/* "90", "90s", "5m", "2h", "1h30m", "-1" (for ever), "0" (not at all) -> a value of keep_alive. */
int hearth_keep_parse(const char *text, int *out, struct err *e);
int hearth_open(struct hearth **out, const struct hearth_opts *o, struct err *e);
void hearth_close(struct hearth *h);

/* Resident already: at once. Else resolves the name in the store (or takes a path to a file) and loads it; idle models leave,
 * least valuable first, if the ceiling demands it; busy ones are waited for, up to load_timeout_s; several callers of one loading
 * model share the load. progress: bytes done, total, about 50 times a second; non-zero return cancels this caller's wait. */
typedef int (*hearth_progress)(void *arg, uint64_t done, uint64_t total);
int hearth_model_get(struct hearth *h, const char *name, hearth_progress progress, void *arg, struct hearth_model **out,
                     struct err *e);
bool hearth_model_try(struct hearth *h, const char *name,
                      struct hearth_model **out); /* only if it is ready; never waits */
void hearth_model_ref(struct hearth_model *m);
void hearth_model_unref(struct hearth_model *m);
void hearth_model_keep(struct hearth_model *m, int keep); /* from now on; HEARTH_KEEP_DEFAULT changes nothing */
int hearth_model_unload(struct hearth *h, const char *name, struct err *e); /* ERR_BUSY while requests run */

struct hearth_bias {
    int32_t id;
    float bias;
};
enum hearth_priority { HEARTH_INTERACTIVE, HEARTH_BATCH, HEARTH_BACKGROUND };
struct hearth_request {
    const char *messages_json; /* chat: JSON array of OpenAI messages; or NULL */
    const char *tools_json;    /* JSON array or NULL */
    const char *prompt;        /* raw completion text (special tokens in it are plain text unless parse_special) */
    size_t prompt_len;         /* 0: strlen */
    const int32_t *ids;        /* or token ids */
    size_t n_ids;
    bool parse_special;
    int n;                    /* choices, 0: 1 */
    int max_tokens;           /* 0: up to the context */
    float temperature;        /* < 0 (or NAN): default 0.7; 0 greedy */
    int top_k;                /* 0 off */
    float top_p, min_p;       /* 0: off */
    float repetition_penalty; /* 0: off (1) */
    float presence_penalty, frequency_penalty;
    bool has_seed;
    uint64_t seed;           /* choice i uses seed + i */
    const char *const *stop; /* stop strings */
    size_t n_stop;
    const struct hearth_bias *bias;
    size_t n_bias;
    int logprobs; /* 0: none; k+1: logprobs with k alternatives (k 0..20) */
    bool ignore_eos;
    int keep_alive;            /* as hearth_model_keep, of the request's model */
    int priority;              /* enum hearth_priority: who comes first when not all can run; who may wait */
    double timeout_s;          /* from now; 0: none. Then it fails with ERR_TIMEOUT */
    uint64_t key;              /* whose request it is; 0: nobody's in particular */
    bool no_guess;             /* no speculation: the same tokens, one a step */
    void (*notify)(void *arg); /* as request_args.notify; NULL: use hearth_next with a timeout */
    void *notify_arg;
};

enum hearth_delta_type { HEARTH_TEXT, HEARTH_DONE, HEARTH_FAILED };
struct hearth_logprob {
    int32_t id;
    float logprob;
    const char *bytes; /* the token's bytes, may be part of a character */
    size_t n_bytes;
};
struct hearth_usage {
    int n_prompt, n_cached, n_output;
    int n_drafted, n_accepted;           /* guessed tokens that were run; those that were right */
    double queue_s, prefill_s, decode_s; /* prefill_s: time to first token less queue */
};
struct hearth_delta { /* pointers live until the next hearth_next or free */
    enum hearth_delta_type type;
    int choice;
    const char *text; /* HEARTH_TEXT: complete UTF-8, maybe empty when only logprobs came */
    size_t text_len;
    size_t n_tokens;                         /* tokens this delta covers */
    const struct hearth_logprob *logprobs;   /* [n_tokens] if asked for */
    const struct hearth_logprob *const *top; /* [n_tokens][n_top[i]] */
    const int *n_top;
    const char *finish;        /* HEARTH_DONE of a choice: "stop" or "length" or "cancelled" */
    struct hearth_usage usage; /* HEARTH_DONE: of this choice */
    struct err err;            /* HEARTH_FAILED */
};
/* Template, tokenising and checks run on the caller's thread; ERR_LIMIT "prompt has N tokens, context M" when too long. Never waits itself: a
 * request that needs memory which busy models or loads hold is taken in, waits for it in the queue and, after load_timeout_s or when it waits
 * for who waits for it, fails with ERR_NOMEM; ERR_NOMEM at once only where it could not fit were all others gone. */
int hearth_generate(struct hearth_model *m, const struct hearth_request *r, struct hearth_gen **out, struct err *e);
int hearth_next(struct hearth_gen *g, struct hearth_delta *d,
                int timeout_ms); /* 1: got one, 0: none yet, -1: all choices ended */
void hearth_cancel(struct hearth_gen *g);
void hearth_gen_free(struct hearth_gen *g); /* cancels what still runs */
int hearth_gen_prompt_tokens(const struct hearth_gen *g);

/* Tokens of a text, of a rendered chat: for tools, tests and counting. ids: mem_free. */
int hearth_tokenize(struct hearth_model *m, const char *text, size_t n, bool add_special, bool parse_special,
                    int32_t **ids, size_t *n_ids, struct err *e);
int hearth_detokenize(struct hearth_model *m, const int32_t *ids, size_t n, char **text, struct err *e);
int hearth_render(struct hearth_model *m, const char *messages_json, const char *tools_json, char **text,
                  struct err *e);

/* What runs and who holds the memory. */
struct hearth_model_status {
    char name[96], family[24], quant[24], state[16]; /* "loading", "ready", "unloading" */
    uint64_t bytes;
    int n_ctx, running;
    double load_s;     /* how long the load took; progress while loading */
    double progress;   /* 0..1 */
    double busy_s;     /* machine time that it has had since its load */
    int64_t last_used; /* unix seconds */
    bool chat;         /* has a chat template */
    bool waiting;      /* loading: waits for memory */
    int keep, users;   /* seconds or HEARTH_KEEP_*; who holds it */
    double value;      /* of its staying (session/residency.h) */
};
/* What the machine's memory allows, and what came of it. */
struct hearth_pressure {
    const char *level;           /* "none", "some": the limit is below the ceiling; "high": it is falling */
    double some10, full10;       /* % of the last 10 s in which tasks stalled for memory; negative: unknown */
    size_t ceiling, limit, left; /* left: outside, of the machine or its tightest group */
    uint64_t evicted;            /* models that had to go */
};
void hearth_pressure(struct hearth *h, struct hearth_pressure *out);
size_t hearth_models(struct hearth *h, struct hearth_model_status *out, size_t max);
const char *hearth_model_name(const struct hearth_model *m);
bool hearth_model_has_template(const struct hearth_model *m);

/* What a model would take, before it is loaded: told by the code that plans the real thing, exact to the byte of the ledger. */
enum { HEARTH_FIT_GO = 16 };
struct hearth_fit {
    char name[96];
    size_t weights, scratch, header, text; /* held while it is resident; text: tokeniser and template */
    size_t load;                           /* more for as long as the load runs */
    size_t kv, rows, requests; /* more while `parallel` requests of `ctx` tokens run: KV, logits, their own tokens */
    size_t kv_token;           /* KV of one token */
    size_t total;              /* resident and working: all of the above but `load`, and the draft's */
    int n_ctx, ctx, parallel;
    struct hearth_fit_draft { /* who would guess for it (hearth_opts.draft), beside it: sizes as above */
        char name[96];        /* "": nobody */
        size_t weights, scratch, header, text, load;
        size_t kv, kv_token; /* at most: every request may have a cache of it */
        bool resident;
    } draft;
    bool resident;
    size_t ceiling, used, spare; /* of the ledger; spare: unused KV and cached pages that go when they are in the way */
    size_t need;                 /* bytes it lacks now to be loaded and work so */
    bool fits;                   /* it can, if `go` go */
    int n_go;                    /* idle models that would have to go, at most HEARTH_FIT_GO are named */
    char go[HEARTH_FIT_GO][96];
    size_t go_bytes;
    size_t busy_bytes; /* held by models that cannot go now */
};
/* ctx 0: the smaller of 4096 and the model's context; parallel 0: 1. Nothing is loaded and nobody goes. */
int hearth_fit(struct hearth *h, const char *name, int ctx, int parallel, struct hearth_fit *out, struct err *e);
/* The same judged against another ceiling (nothing but the ceiling is another). */
void hearth_fit_under(struct hearth_fit *f, size_t ceiling);
struct buf;
void hearth_fit_json(const struct hearth_fit *f, struct buf *out); /* one object; field names as above */
struct ledger;
struct engine;
struct store;
struct ledger *hearth_ledger(struct hearth *h);
struct engine *hearth_engine(struct hearth *h);
struct store *hearth_store(struct hearth *h);

#endif
