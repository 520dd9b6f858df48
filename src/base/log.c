/* log: one write(2) per line, so that lines of several threads never mix. */
#include "base/log.h"
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

static atomic_int log_max = LOG_WARNING;

void log_set(enum log_level max)
{
    atomic_store(&log_max, (int)max);
}

void log_line(enum log_level l, const char *fmt, ...)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    if ((int)l > atomic_load(&log_max))
        return;
    char line[1024];
    int head = snprintf(line, sizeof line, "hearth: %s: ", names[l]);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line + head, sizeof line - (size_t)head - 1, fmt, ap);
    va_end(ap);
    size_t len = (size_t)head + (n < 0 ? 0 : (size_t)n);
    if (len > sizeof line - 2)
        len = sizeof line - 2;
    line[len++] = '\n';
    if (write(STDERR_FILENO, line, len) < 0)
        return; /* nobody is left to tell */
}
