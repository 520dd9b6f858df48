/* cli: what the commands share: exit codes, how a failure is told, Ctrl-C, and what a row of the command table is. */
#ifndef HEARTH_CLI_CLI_H
#define HEARTH_CLI_CLI_H
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>

enum cli_exit { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_INTERRUPTED = 130 };

struct opt;
struct command {
    const char *name;     /* "run"; two words for a command of a group: "bench sweep" */
    const char *help;     /* one line */
    const char *usage;    /* what follows the name: "MODEL [PROMPT]" */
    const char *examples; /* lines shown under --help */
    const struct opt *opts;
    int min_args, max_args; /* words that are no options; max_args < 0: any number */
    int (*run)(const struct command *c, int argc, char **argv); /* argv: what follows the name; returns enum cli_exit */
    bool hidden;
};
/* Row i of the table in main.c, NULL past the end. */
const struct command *cli_command(size_t i);

/* "hearth: cause; next step" on stderr; both return the exit code to leave with. */
int cli_error(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int cli_fail(const struct err *e);

/* Until the first call Ctrl-C ends the program with 130. From then on it only raises a flag; a command that does not look
 * at it can still be ended by a third Ctrl-C. SIGTERM is treated alike. */
void cli_catch_interrupt(void);
bool cli_interrupted(void);
void cli_clear_interrupt(void);
void cli_rest(int ms); /* an interrupt ends it, also one that came just before */
/* Holds the two signals back (they arrive at the release), or lets them come. Threads started meanwhile never get them: a
 * signal must end the main thread's wait, and only the thread that gets it is woken. */
void cli_hold_interrupt(bool hold);

/* --cpu-mask, else $HEARTH_CPU_MASK, else NULL (all): checked, so that a typing error is not "all". */
int cli_cpu_mask(const char *option, const char **name, unsigned *mask, struct err *e);

#endif
