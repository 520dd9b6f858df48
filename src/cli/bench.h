/* bench: what the bench commands share: the machine's roofs, a model ready to be timed, and one timed run. */
#ifndef HEARTH_CLI_BENCH_H
#define HEARTH_CLI_BENCH_H
#include "backend/backend.h"
#include "base/buf.h"
#include "model/model.h"
#include <stdint.h>

/* ---- bench_roof.c: what the machine gives at best, with all threads of the backend, measured now ---- */
struct bench_roof {
    double read_bytes; /* bytes per second read from memory */
    double int8_ops,
        f32_ops; /* arithmetic from registers, per second: 2 operations per weight and token. Where no probe
                                    * is written for the level: what the best kernel reaches */
    double kernel_int8, kernel_f32; /* the same by the best kernel on data that stays in the cache */
};
int bench_roof_measure(struct backend *b, struct ledger *l, struct bench_roof *out, struct err *e);

/* Reading in more ways, bytes per second, best of some tries: by 1, 2, 4 .. all threads, by 1, 2, 4, 8 streams a thread, and by one
 * thread from each cache. */
enum { BENCH_READS = 24 };
struct bench_reads {
    struct {
        char name[48];
        int threads, streams;
        size_t bytes; /* read again and again */
        double rate;
    } row[BENCH_READS];
    int n;
};
int bench_roof_reads(struct backend *b, struct ledger *l, struct bench_reads *out, struct err *e);

/* ---- bench_probe.c: the arithmetic of the backend's level, from registers; 0: no probe for it ---- */
void bench_probe(struct backend *b, double *int8_ops, double *f32_ops);
/* The i-th mix of instructions; ops 0: this level lacks it. -1 past the end. */
int bench_probe_mix(struct backend *b, int i, const char **name, double *ops);

/* ---- bench_run.c: the backend alone, like llama-bench: no tokenising, no scheduling, no sampling, random tokens ---- */
enum { BENCH_CHUNK = 256, BENCH_REPS = 50 }; /* the engine's prefill chunk; most counted runs of a test */
struct bench_model {
    struct backend *backend;
    struct ledger *ledger;
    struct ledger_owner *own_weights, *own_staging, *own_plan, *own_kv;
    struct model_file *file;
    struct model_info info;
    struct graph *graph;
    struct weights *weights;
    struct plan *plan;
    float *logits;
    size_t logits_bytes, weights_bytes, file_bytes;
    double load_s; /* reading and packing the weights */
    int max_batch;
};
struct bench_open {
    struct backend *backend;
    struct ledger *ledger;
    const char *path;
    int max_batch;
    unsigned flags; /* model_build's */
};
int bench_model_open(struct bench_model *m, const struct bench_open *o, struct err *e);
int bench_model_look(struct bench_model *m, const struct bench_open *o,
                     struct err *e); /* no weights: enough for bench_cost */
void bench_model_close(struct bench_model *m);

struct bench_test {
    bool decode; /* n steps of `batch` sequences; else one prompt of n tokens */
    int n, depth, batch;
};
/* What the test would take if the machine did nothing but its slowest necessary part. */
struct bench_cost {
    double bytes, int8_ops, f32_ops;
};
void bench_cost(const struct bench_model *m, const struct bench_test *t, struct bench_cost *out);
/* "bandwidth", "int8" or "f32", and the seconds at the roof. */
const char *bench_bound(const struct bench_cost *c, const struct bench_roof *r, double *seconds);
/* Prepares the cache once, then times reps runs after one for warming up (or none); seconds[reps]. */
struct bench_reps {
    int n;
    bool no_warm_up;
};
int bench_run(struct bench_model *m, const struct bench_test *t, struct bench_reps reps, double *seconds,
              struct err *e);

/* ---- bench_row.c: a test by its name, and what is told of it ---- */
enum { BENCH_LABEL = 48 };
void bench_row_label(const struct bench_test *t, char out[BENCH_LABEL]);    /* "tg64 @ d8192 x 4" */
int bench_row_parse(const char *text, struct bench_test *t, struct err *e); /* the same back */
struct bench_row {
    const struct bench_model *m;
    const char *model, *level, *bound, *kv; /* bound: what the roof is made of; kv: the cache's type */
    struct bench_test test;
    bool precise;
    int n_rates;
    double rates[BENCH_REPS], rate, sd; /* tokens per second of each run, ascending; median; standard deviation */
    double share, roof;                 /* of the roof, and that roof in operations or bytes per second */
};
void bench_row_head(bool against);
void bench_row_json(const struct bench_row *r, struct jsonw *w); /* the members of an object that the caller opened */

/* ---- bench_record.c: rows of an earlier run, and whether today's differ by more than the noise ---- */
struct bench_record;
struct bench_against {
    double rate, ratio, noise; /* then; now / then; what chance and the machine may do to the ratio, as a share */
    bool other_cpu;
};
int bench_record_open(struct bench_record **out, const char *path, struct err *e);
void bench_record_free(struct bench_record *r);
bool bench_record_find(const struct bench_record *r, const struct bench_row *row, struct bench_against *out);
const char *bench_record_verdict(const struct bench_against *a);                /* "faster", "slower", "same" */
void bench_row_print(const struct bench_row *r, const struct bench_against *a); /* a: NULL without a record */

/* ---- bench_kernels.c: each kernel alone, one thread ---- */
struct bench_kernel {
    char name[32], what[48];
    double ns, cycles, gb_s, gop_s, share; /* of a call; share 0: no roof of its own */
    const char *bound;
    double bytes, ops;    /* of a call */
    bool streams, is_f32; /* its bytes come from memory; its operations are f32 */
};
typedef int (*bench_kernel_fn)(void *arg, const struct bench_kernel *k); /* other than 0: enough */
struct bench_kernels {
    const struct kernels *k;
    const struct bench_roof *roof; /* one thread's */
    const char *const *names;      /* parts of the names of those wanted; none: all */
    int n_names;
    const uint64_t *tokens;
    size_t n_tokens;
    bool precise;
    char *mem; /* its own */
};
int bench_kernels_run(struct bench_kernels *b, struct ledger *l, bench_kernel_fn tell, void *arg, struct err *e);

double bench_median(double *v, int n); /* sorts v */
double bench_deviation(const double *v, int n);

#endif
