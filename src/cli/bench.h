/* bench: what the bench commands share: the machine's roofs, a model ready to be timed, and one timed run. */
#ifndef HEARTH_CLI_BENCH_H
#define HEARTH_CLI_BENCH_H
#include "backend/backend.h"
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

/* ---- bench_probe.c: the arithmetic of the backend's level, from registers; 0: no probe for it ---- */
void bench_probe(struct backend *b, double *int8_ops, double *f32_ops);

/* ---- bench_run.c: the backend alone, like llama-bench: no tokenising, no scheduling, no sampling, random tokens ---- */
enum { BENCH_CHUNK = 256 }; /* the engine's prefill chunk */
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
    size_t logits_bytes, weights_bytes;
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
/* Prepares the cache once, then times warm-up + reps runs; seconds[reps]. */
int bench_run(struct bench_model *m, const struct bench_test *t, int reps, double *seconds, struct err *e);

double bench_median(double *v, int n); /* sorts v */
double bench_deviation(const double *v, int n);

#endif
