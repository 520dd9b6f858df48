/* log: levels, form, one line each, cut when too long. */
#include "../check.h"
#include "base/log.h"
#include <unistd.h>

static char out[8192];

/* What log wrote to stderr between the two calls. */
static int old_fd, pipe_fd[2];

static void capture(void)
{
    fflush(stderr);
    old_fd = dup(STDERR_FILENO);
    if (pipe(pipe_fd) != 0)
        exit(1);
    dup2(pipe_fd[1], STDERR_FILENO);
    close(pipe_fd[1]);
}

static void release(void)
{
    dup2(old_fd, STDERR_FILENO); /* closes the last writer, so the read below ends */
    close(old_fd);
    size_t n = 0;
    ssize_t got;
    while ((got = read(pipe_fd[0], out + n, sizeof out - 1 - n)) > 0)
        n += (size_t)got;
    out[n] = 0;
    close(pipe_fd[0]);
}

static void levels(void)
{
    capture();
    log_line(LOG_INFO, "not by default");
    log_line(LOG_WARNING, "disk %d%% full", 93);
    log_set(LOG_DEBUG);
    log_line(LOG_DEBUG, "seen");
    log_set(LOG_ERROR);
    log_line(LOG_WARNING, "not now");
    log_line(LOG_ERROR, "bad");
    release();
    CHECK_STR(out, "hearth: warning: disk 93% full\nhearth: debug: seen\nhearth: error: bad\n");
}

static void long_line(void)
{
    static char text[5000];
    memset(text, 'x', sizeof text - 1);
    capture();
    log_line(LOG_ERROR, "%s", text);
    release();
    size_t n = strlen(out);
    CHECK(n > 900 && n <= 1024 && out[n - 1] == '\n' && strchr(out, '\n') == out + n - 1);
}

int main(void)
{
    RUN(levels);
    RUN(long_line);
    return check_done();
}
