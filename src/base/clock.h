/* clock: monotonic time. */
#ifndef HEARTH_BASE_CLOCK_H
#define HEARTH_BASE_CLOCK_H
#include <stdint.h>
uint64_t clock_ns(void);  /* CLOCK_MONOTONIC */
double clock_s(void);     /* the same in seconds */
int64_t clock_unix(void); /* seconds since 1970, for `created` fields */
#endif
