/* err: codes, messages, cutting, prefixing, the parameter. */
#include "../check.h"
#include "base/err.h"
#include <errno.h>

static void set_and_cut(void)
{
    struct err e = {0};
    CHECK_INT(err_set(&e, ERR_FORMAT, "tensor %s at %d", "a.b", 7), ERR_FORMAT);
    CHECK_INT(e.code, ERR_FORMAT);
    CHECK_STR(e.msg, "tensor a.b at 7");
    CHECK_INT(err_set(NULL, ERR_IO, "x"), ERR_IO);
    char big[2000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    err_set(&e, ERR_LIMIT, "%s", big);
    CHECK_INT(strlen(e.msg), sizeof e.msg - 1);
}

static void prefix_keeps_code(void)
{
    struct err e = {0};
    err_set(&e, ERR_CHECKSUM, "wrong digest");
    CHECK_INT(err_prefix(&e, ERR_IO, "blob %d", 3), ERR_CHECKSUM);
    CHECK_STR(e.msg, "blob 3: wrong digest");
    CHECK_INT(err_prefix(NULL, ERR_IO, "x"), ERR_IO);
    err_set(&e, ERR_IO, "again: %s", e.msg); /* the old message as an argument */
    CHECK_STR(e.msg, "again: blob 3: wrong digest");
}

static void names_a_parameter(void)
{
    struct err e = {0};
    CHECK_INT(err_param(&e, "n", err_set(&e, ERR_RANGE, "9 is too many")), ERR_RANGE);
    CHECK_STR(e.param, "n");
    err_prefix(&e, ERR_IO, "the request");
    CHECK_STR(e.param, "n");
    CHECK_STR(e.msg, "the request: 9 is too many");
    err_set(&e, ERR_IO, "another");
    CHECK(e.param == NULL);
    CHECK_INT(err_param(NULL, "n", ERR_RANGE), ERR_RANGE);
}

static void errno_codes(void)
{
    struct err e = {0};
    errno = ENOSPC;
    CHECK_INT(err_errno(&e, "writing"), ERR_DISK_FULL);
    CHECK(strncmp(e.msg, "writing: ", 9) == 0 && strlen(e.msg) > 9);
    errno = EDQUOT;
    CHECK_INT(err_errno(&e, "writing"), ERR_DISK_FULL);
    errno = ENOENT;
    CHECK_INT(err_errno(&e, "opening"), ERR_NOTFOUND);
    errno = EACCES;
    CHECK_INT(err_errno(NULL, "opening"), ERR_IO);
}

static void names(void)
{
    CHECK_STR(err_name(ERR_NONE), "no error");
    CHECK_STR(err_name(ERR_CHECKSUM), "wrong checksum");
    CHECK_STR(err_name(ERR_DISK_FULL), "no space left on the disk");
    CHECK_STR(err_name(-1000), "unknown error");
    CHECK_STR(err_name(1), "unknown error");
}

int main(void)
{
    RUN(set_and_cut);
    RUN(prefix_keeps_code);
    RUN(names_a_parameter);
    RUN(errno_codes);
    RUN(names);
    return check_done();
}
