/* cli: see cli.h. Owns the exit codes' meaning, the form of error lines and the interrupt flag. */
#include "cli/cli.h"
#include "base/cpu.h"
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int cli_error(int code, const char *fmt, ...)
{
    fflush(stdout); /* so that the two streams appear in order on one terminal */
    va_list ap;
    va_start(ap, fmt);
    fputs("hearth: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return code;
}

int cli_fail(const struct err *e)
{
    if (e->code == ERR_CANCELLED)
        return cli_interrupted() ? CLI_INTERRUPTED : cli_error(CLI_INTERRUPTED, "%s", e->msg);
    return cli_error(e->code == ERR_USAGE ? CLI_USAGE : CLI_FAILED, "%s", e->msg);
}

static volatile sig_atomic_t interrupts;

static void on_interrupt(int sig)
{
    (void)sig;
    if (++interrupts >= 3)
        _exit(CLI_INTERRUPTED);
}

void cli_catch_interrupt(void)
{
    struct sigaction sa = {.sa_handler = on_interrupt}; /* no SA_RESTART: waits end at once */
    sigemptyset(&sa.sa_mask);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
}

bool cli_interrupted(void)
{
    return interrupts > 0;
}

void cli_clear_interrupt(void)
{
    interrupts = 0;
}

void cli_hold_interrupt(bool hold)
{
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGINT);
    sigaddset(&s, SIGTERM);
    pthread_sigmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &s, NULL);
}

void cli_rest(int ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    sigset_t open;
    pthread_sigmask(SIG_SETMASK, NULL, &open);
    cli_hold_interrupt(true);
    if (!cli_interrupted())
        ppoll(NULL, 0, &t, &open);
    cli_hold_interrupt(false);
}

int cli_cpu_mask(const char *option, const char **name, unsigned *mask, struct err *e)
{
    const char *s = option ? option : getenv("HEARTH_CPU_MASK");
    if (s && !*s)
        s = NULL;
    *name = s;
    *mask = ~0u;
    if (!s)
        return 0;
    long m = cpu_mask_parse(s);
    if (m == -1)
        return err_set(e, ERR_USAGE, "unknown CPU mask '%s'; use ref, avx2, avxvnni, avx512, amx, neon, i8mm or all",
                       s);
    *mask = (unsigned)m;
    return 0;
}
