/* check: the whole unit-test harness. A test file has tests as functions, lists them in main with RUN, and ends with
 * `return check_done();`. Every failed CHECK prints file, line and text; the exit status is the verdict (77: all skipped). */
#ifndef HEARTH_TESTS_CHECK_H
#define HEARTH_TESTS_CHECK_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A sanitizer's shadow memory is in RSS: sizes of the process mean nothing then. */
#if defined __has_feature /* clang's way to say it */
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CHECK_SANITIZED
#endif
#elif defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define CHECK_SANITIZED
#endif

static int check_passed, check_failed, check_skipped, check_bad;

#define CHECK(cond)                                                                                                    \
    do {                                                                                                               \
        if (!(cond)) {                                                                                                 \
            check_bad++;                                                                                               \
            fprintf(stderr, "%s:%d: CHECK(%s) failed\n", __FILE__, __LINE__, #cond);                                   \
        }                                                                                                              \
    } while (0)
#define CHECK_INT(got, want)                                                                                           \
    do {                                                                                                               \
        long long g_ = (long long)(got), w_ = (long long)(want);                                                       \
        if (g_ != w_) {                                                                                                \
            check_bad++;                                                                                               \
            fprintf(stderr, "%s:%d: %s is %lld, wanted %lld\n", __FILE__, __LINE__, #got, g_, w_);                     \
        }                                                                                                              \
    } while (0)
#define CHECK_STR(got, want)                                                                                           \
    do {                                                                                                               \
        const char *g_ = (got), *w_ = (want);                                                                          \
        if (!g_ || strcmp(g_, w_) != 0) {                                                                              \
            check_bad++;                                                                                               \
            fprintf(stderr, "%s:%d: %s is \"%s\", wanted \"%s\"\n", __FILE__, __LINE__, #got, g_ ? g_ : "(null)", w_); \
        }                                                                                                              \
    } while (0)

static inline void check_run(const char *name, void (*fn)(void))
{
    check_bad = 0;
    fn();
    if (check_bad)
        check_failed++;
    else
        check_passed++;
    printf("%s %s\n", check_bad ? "FAIL" : "ok  ", name);
}
#define RUN(fn) check_run(#fn, fn)

static inline void check_skip(const char *name, const char *why)
{
    check_skipped++;
    printf("skip %s: %s\n", name, why);
}

static inline int check_done(void)
{
    printf("%d passed, %d failed, %d skipped\n", check_passed, check_failed, check_skipped);
    if (check_failed)
        return 1;
    return check_passed ? 0 : 77;
}

#endif
