/* sched: who runs next, as pure policy on plain structs: no backend, no clock, no allocation. The engine fills the structs
 * before a step and carries out what comes back; tests drive the same functions with made-up loads. */
#ifndef HEARTH_ENGINE_SCHED_H
#define HEARTH_ENGINE_SCHED_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sched_seq {
    uint64_t order;  /* arrival number, unique: smaller is older */
    uint64_t served; /* step in which it last got tokens (or arrived) */
    int priority;    /* 0 first */
    int todo;        /* tokens that are not in the cache yet, >= 1 */
    size_t kv_held;  /* bytes of KV it holds */
    size_t kv_admit; /* bytes it should be able to get before it starts */
    bool admitted;
    bool held;    /* better not admitted yet, and in nobody's way */
    bool blocked; /* scratch: no block to be had in this step */
    bool picked;  /* scratch of sched_build */
};

struct sched_limits {
    int max_seq;   /* sequences in a step */
    int max_tok;   /* tokens in a step */
    int chunk;     /* prompt tokens in a step */
    uint64_t step; /* number of this step */
};

struct sched_pick {
    int seq; /* index into the array of sequences */
    int n_tok;
};

/* a comes before b: higher priority, then older. The order in which memory is granted and, reversed, taken away. */
bool sched_before(const struct sched_seq *a, const struct sched_seq *b);

/* Admits waiting sequences in order while `kv_free` bytes cover what they and the already admitted still need; stops at the
 * first that does not fit, so that nobody is overtaken for ever. `must`: index that is admitted in any case, or -1. */
int sched_admit(struct sched_seq *s, size_t n, size_t kv_free, int max_admitted, int must);

/* One step: every admitted sequence with one token to go (one seat is kept for a prompt), then prompt chunks, shortest
 * remainder first; each step that a prompt is passed over counts like SCHED_AGE tokens less. Returns the number of picks. */
enum { SCHED_AGE = 64 };
size_t sched_build(struct sched_seq *s, size_t n, const struct sched_limits *l, struct sched_pick *out);

struct sched_model {
    double vtime; /* seconds of machine time it has had, on a scale shared by all */
    bool runnable;
};
/* The runnable model that has had least: equal shares whatever a step costs. -1: none. */
int sched_pick_model(const struct sched_model *m, size_t n);

/* Tokens of prompt for one step: all of `chunk` when nobody else waits, else what fits into `slice_s` at the measured speed. */
int sched_chunk(int chunk, bool contended, double s_per_tok, double slice_s);

#endif
