/* err: what went wrong, said once, where the facts are.
 *
 * A function that can fail returns 0 or a negative enum err_code and takes `struct err *` last (may be NULL). The message
 * names the cause (tensor, offset, expected, got) and, for users, the next step. Never written on success. */
#ifndef HEARTH_BASE_ERR_H
#define HEARTH_BASE_ERR_H

enum err_code {
    ERR_NONE = 0,
    ERR_NOMEM = -1,       /* the ceiling or the allocator refused */
    ERR_IO = -2,          /* the operating system said no (errno in the text) */
    ERR_FORMAT = -3,      /* bytes that are not what they claim to be */
    ERR_RANGE = -4,       /* a parameter outside its range */
    ERR_NOTFOUND = -5,    /* no such model, file, name */
    ERR_UNSUPPORTED = -6, /* well formed, but Hearth does not do it */
    ERR_LIMIT = -7,       /* larger than a stated limit (prompt too long, body too big) */
    ERR_BUSY = -8,        /* queue full, in use */
    ERR_CANCELLED = -9,   /* the caller, or its client, gave up */
    ERR_USAGE = -10,      /* wrong command line or request shape */
    ERR_NET = -11,        /* download or connection failed */
    ERR_DISK_FULL = -12,  /* ENOSPC, EDQUOT */
    ERR_DENIED = -13,     /* key, host or origin refused */
    ERR_CHECKSUM = -14,   /* content does not have the promised digest */
    ERR_TIMEOUT = -15,    /* the time that the caller gave is over */
};

struct err {
    int code;          /* enum err_code */
    char msg[500];     /* UTF-8, one line, no trailing stop */
    const char *param; /* a literal: the parameter that is wrong, or NULL: whoever called knows */
};

/* Fills *e (if not NULL) and returns code, so that `return err_set(e, ERR_IO, ...)` reads well. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* As err_set, with ": strerror(errno)" appended; ENOSPC/EDQUOT turn ERR_IO into ERR_DISK_FULL, ENOENT into ERR_NOTFOUND. */
int err_errno(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Puts "prefix: " before the message that is there; returns e->code (or code when e is NULL). */
int err_prefix(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Names the parameter of the error that is there: `return err_param(e, "logit_bias", err_set(e, ERR_RANGE, ...))`. Returns code. */
int err_param(struct err *e, const char *param, int code);
/* "out of memory", "not found", ... for a code. */
const char *err_name(int code);

#endif
