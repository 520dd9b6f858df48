/* bench_mix: chats that keep models busy, and what their readers see. Each chat is a thread that asks through the session's own
 * API, as the server does for its clients, and asks again when its answer has ended. */
#ifndef HEARTH_CLI_BENCH_MIX_H
#define HEARTH_CLI_BENCH_MIX_H
#include "hearth.h"

/* Any number of times in a fixed place: from 10 us to 1000 s in steps of 1 %. */
enum { MIX_STEPS = 1852 };
struct mix_times {
    uint32_t n[MIX_STEPS];
    uint64_t total;
    double most; /* seconds */
};
void mix_times_add(struct mix_times *t, double seconds);
/* The quantile in seconds, within 1 %; 0: there are none. */
double mix_times_at(const struct mix_times *t, double share);

struct mix_seen { /* by the chats of one model */
    struct mix_times first, between;
    int64_t n_prompt, n_output; /* tokens of prompts that were answered; of answers */
    double seconds;             /* from the start to the end of its last answer */
    double busy_s;              /* machine time that it had while every model had work; negative: cannot be told */
};

enum { MIX_MODELS = 16, MIX_CHATS = 16 };
struct mix {
    struct hearth *h;
    char *const *model;           /* [n_models] as hearth_model_get takes them */
    int n_models, chats, answers; /* chats of each model, answers of each chat */
    int words, tokens;            /* of a prompt; of an answer */
    bool tty;                     /* progress may rewrite its line */
    char name[MIX_MODELS][96];    /* its own: as the models call themselves */
    uint64_t n_phases;            /* its own: no two phases have a prompt in common */
};
struct mix_phase {
    const char *label;
    int only; /* the chats of this model, or -1: of all */
    /* Words; 0: none. Else the chats go on until this prompt, to the last model, has had its first token, and only what they see
     * meanwhile counts. */
    int intruder;
    struct mix_seen *seen; /* [n_models], out */
    double seconds;        /* out: all answers, or the intruder's time to its first token */
    int n_intruder;        /* out: tokens of its prompt */
};
/* Every model of the phase is loaded and has answered once before it begins. The first failure of a chat ends all. */
int mix_run(struct mix *m, struct mix_phase *p, struct err *e);

#endif
