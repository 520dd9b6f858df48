/* doctor: the kernels' self-test, apart from the command that prints it. */
#ifndef HEARTH_CLI_DOCTOR_H
#define HEARTH_CLI_DOCTOR_H
#include "base/err.h"
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

#endif
