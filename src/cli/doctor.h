/* doctor: the kernels' self-test and the machine's roof, apart from the command that prints them. */
#ifndef HEARTH_CLI_DOCTOR_H
#define HEARTH_CLI_DOCTOR_H
#include "base/buf.h"
#include "base/err.h"
#include "cli/bench.h"
#include <stdbool.h>
#include <stddef.h>

struct kernels;
struct doctor_kernel {
    char name[24]; /* "linear Q4_K" */
    bool ok;       /* equal to ref, byte for byte */
};
enum { DOCTOR_KERNELS = 64 };
/* Runs each entry of k beside ref on the same small random input. rows: DOCTOR_KERNELS of them; returns how many, or an error. */
int doctor_kernels(const struct kernels *k, struct doctor_kernel *rows, struct err *e);

/* ---- doctor_roof.c: what the machine gives at best, in a second or two, and what each installed model could make of it ---- */
struct doctor_roof {
    bool known;
    struct bench_roof best; /* all threads; reading by the best number of streams */
    struct bench_reads reads;
    int threads;
    struct doctor_model {
        char name[96];
        double token_bytes;         /* read for a token without any context */
        double decode_s, prefill_s; /* tokens per second at most: one sequence; a prompt of DOCTOR_PROMPT tokens */
    } * model;                      /* [n_model], mem_free */
    size_t n_model;
};
enum { DOCTOR_PROMPT = 512 };
int doctor_roof(struct doctor_roof *out, unsigned cpu_mask, const char *data_dir, struct err *e);
void doctor_roof_print(const struct doctor_roof *r);
void doctor_roof_json(const struct doctor_roof *r, struct jsonw *w); /* two members of an open object */

#endif
