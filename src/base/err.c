/* err: formatting of the one error record. Owns no state; messages are cut, never overrun. */
#include "base/err.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *e, int code, const char *fmt, ...)
{
    if (!e)
        return code;
    va_list ap;
    va_start(ap, fmt);
    /* Through a local buffer: callers may pass the old message of *e as an argument. */
    char tmp[sizeof e->msg];
    vsnprintf(tmp, sizeof tmp, fmt, ap);
    va_end(ap);
    memcpy(e->msg, tmp, sizeof tmp);
    e->code = code;
    e->param = NULL;
    return code;
}

static int err_code_of(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
        return ERR_DISK_FULL;
    case ENOENT:
        return ERR_NOTFOUND;
    case ENOMEM:
        return ERR_NOMEM;
    default:
        return ERR_IO;
    }
}

int err_errno(struct err *e, const char *fmt, ...)
{
    int errnum = errno;
    int code = err_code_of(errnum);
    if (!e)
        return code;
    char tmp[sizeof e->msg], text[128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(tmp, sizeof tmp, fmt, ap);
    va_end(ap);
    return err_set(e, code, "%s: %s", tmp, strerror_r(errnum, text, sizeof text));
}

int err_prefix(struct err *e, int code, const char *fmt, ...)
{
    if (!e)
        return code;
    char tmp[sizeof e->msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(tmp, sizeof tmp, fmt, ap);
    va_end(ap);
    const char *param = e->param;
    return err_param(e, param, err_set(e, e->code, "%s: %s", tmp, e->msg));
}

int err_param(struct err *e, const char *param, int code)
{
    if (e)
        e->param = param;
    return code;
}

const char *err_name(int code)
{
    static const char *const names[] = {
        "no error",
        "out of memory",
        "input/output error",
        "bad format",
        "out of range",
        "not found",
        "unsupported",
        "limit exceeded",
        "busy",
        "cancelled",
        "wrong usage",
        "network error",
        "no space left on the disk",
        "permission denied",
        "wrong checksum",
        "out of time",
    };
    int i = -code;
    if (i < 0 || i >= (int)(sizeof names / sizeof *names))
        return "unknown error";
    return names[i];
}
