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
    uint64_t share;  /* service that its key has had, in tokens, on a scale shared by all keys */
    uint64_t key;    /* whose it is */
    int priority;    /* 0 first */
    int todo;        /* tokens that are not in the cache yet, >= 1 */
    int depth;       /* positions before them */
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

/* a is let in before b: higher priority, then the key that has had less (in steps of SCHED_SHARE tokens), then older. */
enum { SCHED_SHARE = 512 };
bool sched_fairer(const struct sched_seq *a, const struct sched_seq *b);

/* Who waits and is let in next, -1: nobody. While fewer than `places` are admitted the fairest. Else *gives has to give up its place: a
 * more urgent one gets that of the last of the least urgent; of equals one whose key holds fewest places gets that of the last of the
 * key that holds most, when that holds two more. Without, *gives is -1. */
int sched_next(const struct sched_seq *s, size_t n, int places, int *gives);
/* Whether kv_free bytes cover what s[i] and the admitted still need. When the next one does not fit nobody is let in before it, so that
 * nobody is overtaken for ever. */
bool sched_fits(const struct sched_seq *s, size_t n, int i, size_t kv_free);

/* One step: every admitted sequence with one token to go (one seat is kept for a prompt), then prompt chunks, shortest
 * remainder first among those whose keys have had as much; each step that a prompt is passed over counts like SCHED_AGE tokens less. Returns the number of picks. */
enum { SCHED_AGE = 64 };
size_t sched_build(struct sched_seq *s, size_t n, const struct sched_limits *l, struct sched_pick *out);

struct sched_model {
    double vtime; /* seconds of machine time it has had, on a scale shared by all */
    int priority; /* of its most urgent request */
    bool runnable;
};
/* Among the runnable models with the most urgent work the one that has had least: equal shares whatever a step costs;
 * among equals the last. -1: none. */
int sched_pick_model(const struct sched_model *m, size_t n);
/* Nobody stays more than `most` ahead of the one that has had least: a turn that the machine stretched (it was away, a load had its
 * cores) is not paid back in one piece, for which the one that had it would wait. */
void sched_forgive(struct sched_model *m, size_t n, double most);
/* The vtime at which a model that gets work joins the others, `now` being the vtime at which the last step was given: idling earns no
 * credit, and what it had while it was alone is no debt. */
double sched_join(double vtime, double now);

/* What steps of a model cost, measured: seconds; 0 unknown. A prompt's token attends to all before it, so that deep in a long prompt it
 * costs twice what it does at the beginning of a short one, and a step may go from one to the other. */
struct sched_cost {
    double tok;   /* a prompt's token with nothing before it */
    double deep;  /* what each position before it adds */
    double base;  /* what a step costs beyond its prompts' tokens, with `beside` sequences that decode in it */
    double share; /* given: what `deep` is of `tok` until steps have shown it; 0: depth costs nothing */
    double room;  /* share of the slice that plans leave free: so much that one step in SCHED_LATE is late */
    int beside;
    bool late; /* the last step of both took clearly longer than planned */
};
struct sched_did {
    int n_prompt;   /* tokens of prompts */
    double depth;   /* sum over them of the positions before each */
    int beside;     /* sequences that decode in it */
    double seconds; /* all that it took */
    double limit;   /* what it was to take at most; 0: nothing was promised */
};
enum { SCHED_LATE = 160 };
void sched_cost_add(struct sched_cost *c, const struct sched_did *d);

struct sched_aim {
    int chunk;      /* tokens of prompts at most */
    double slice_s; /* what the step is to take at most */
    int beside;     /* sequences that decode in it */
    int at_work;    /* models that share the machine, this one among them */
    uint64_t step;
};
/* Tokens of prompts for one step, of those that would be picked first: as many as fit into the slice with the room that plans leave, or
 * into a fifth of a step where those that decode take longer by themselves; at least one, at most `chunk`, whole stripes of the kernels
 * or, fewer, whole tiles of SCHED_TILE (with the decoding ones, of SCHED_FEW); SCHED_FIRST where nothing is measured yet.
 * Beside other models at work the slice is the time from one step's end to the next one's, of which this model has its part; but
 * prompts are read at no less than two thirds of the speed that the whole slice would give. */
enum { SCHED_STRIPE = 64, SCHED_TILE = 8, SCHED_FEW = 4, SCHED_FIRST = 64 };
int sched_chunk(struct sched_seq *s, size_t n, const struct sched_cost *c, const struct sched_aim *a);
/* The same where nobody decodes: `alone`, but where several prompts are read no more than the shortest still has, if it can end in this
 * step, and at least `slice`: its first token does not wait for others' tokens. */
int sched_least(const struct sched_seq *s, size_t n, int slice, int alone);

/* Service of keys by one model, so that no key's crowd holds up another's few. A fixed table: keys that fall on one place share. */
enum { SCHED_KEYS = 256 };
struct sched_keys {
    uint64_t served[SCHED_KEYS]; /* tokens */
    int live[SCHED_KEYS];        /* requests that wait or run */
    uint64_t last;               /* served of the last key that had something to do, when all had ended */
};
/* A request of the key comes: a key that had nothing to do earns no credit for it, and what one had while it was alone is no debt. And
 * it goes. And it was given tokens. */
void sched_key_enter(struct sched_keys *k, uint64_t key);
void sched_key_leave(struct sched_keys *k, uint64_t key);
void sched_key_serve(struct sched_keys *k, uint64_t key, int n_tok);
uint64_t sched_key_share(const struct sched_keys *k, uint64_t key);

#endif
