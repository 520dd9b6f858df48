/* answer: one generation for the terminal, whether a running server makes it or this process does. */
#ifndef HEARTH_CLI_ANSWER_H
#define HEARTH_CLI_ANSWER_H
#include "cli/opt.h"
#include "base/buf.h"
#include <stdint.h>

struct sampling { /* what the user may set; the table answer_opts fills it */
    float temp, top_p, min_p;
    int top_k, max_tokens;
    struct opt_seed seed;
    struct opt_texts stop;
};
#define SAMPLING_DEFAULT                                                                                               \
    {                                                                                                                  \
        .temp = 0.7f, .top_p = 1                                                                                       \
    }
/* Rows for a struct of values whose first member is a struct sampling. */
#define SAMPLING_ROWS                                                                                                  \
    {"temp", 't', OPT_FLOAT, "T", "temperature; 0: always the likeliest token (0.7)", offsetof(struct sampling, temp), \
     0,      10},                                                                                                      \
        {"top-k", 0,      OPT_INT, "K", "only the K likeliest tokens; 0: all (0)", offsetof(struct sampling, top_k),   \
         0,       1000000},                                                                                            \
        {"top-p", 0, OPT_FLOAT, "P", "only the likeliest that together reach P (1)", offsetof(struct sampling, top_p), \
         0,       1},                                                                                                  \
        {"min-p",                                                                                                      \
         0,                                                                                                            \
         OPT_FLOAT,                                                                                                    \
         "P",                                                                                                          \
         "only those P times as likely as the likeliest (0)",                                                          \
         offsetof(struct sampling, min_p),                                                                             \
         0,                                                                                                            \
         1},                                                                                                           \
        {"seed", 0, OPT_SEED, "N", "same seed, same answer", offsetof(struct sampling, seed), 0, 0},                   \
        {"max-tokens",                                                                                                 \
         'n',                                                                                                          \
         OPT_INT,                                                                                                      \
         "N",                                                                                                          \
         "stop after N tokens; 0: up to the context (0)",                                                              \
         offsetof(struct sampling, max_tokens),                                                                        \
         0,                                                                                                            \
         1 << 30},                                                                                                     \
    {                                                                                                                  \
        "stop", 0, OPT_TEXTS, "TEXT", "stop before this text; may be repeated", offsetof(struct sampling, stop), 0, 0  \
    }
extern const struct opt sampling_opts[]; /* the same rows as a table: /set of the conversation */

struct answer_source; /* a server, or the engine in this process, with one model */
struct answer_where {
    const char *model;                    /* name or path */
    const char *data_dir;                 /* NULL: default */
    const char *cpu_mask;                 /* NULL: all */
    const char *const *kv, *const *draft; /* as hearth_opts */
    size_t n_kv, n_draft, ceiling;
    int threads;
    bool precise, no_spec;
    bool local; /* do not ask a running server */
    bool quiet; /* no progress while loading */
};
int answer_open(struct answer_source **out, const struct answer_where *w, struct err *e);
void answer_close(struct answer_source *s);
bool answer_has_template(const struct answer_source *s);
bool answer_remote(const struct answer_source *s);

struct answer_ask {
    const char *messages_json; /* a conversation, or */
    const char *prompt;        /* raw text */
    const struct sampling *sampling;
    void (*text)(void *arg, const char *text, size_t n); /* as it comes; may be NULL */
    void *arg;
};
struct answer {
    struct buf text;
    int n_prompt, n_cached, n_output, n_drafted, n_accepted;
    double ttft_s, decode_s; /* question to first text; first to last token */
    char finish[16];         /* "stop", "length", "cancelled" */
};
/* Ctrl-C ends the answer with finish "cancelled" and returns 0: what came so far is in it. */
int answer_get(struct answer_source *s, const struct answer_ask *a, struct answer *out, struct err *e);
void answer_done(struct answer *a);

#endif
