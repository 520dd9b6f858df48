/* folder: a test's own temporary folder; its name is new, so what a killed run left behind is never met. */
#ifndef HEARTH_TESTS_FOLDER_H
#define HEARTH_TESTS_FOLDER_H
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One per program. Its path is short, so that tests can have buffers of fixed size. */
static inline const char *folder_make(const char *name)
{
    static char path[64];
    const char *tmp = getenv("TMPDIR");
    int n = snprintf(path, sizeof path, "%s/hearth-%s-XXXXXX", tmp && *tmp && strlen(tmp) <= 40 ? tmp : "/tmp", name);
    if (n >= (int)sizeof path || !mkdtemp(path)) {
        perror(path);
        exit(1);
    }
    return path;
}

static inline int folder_remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static inline void folder_remove(const char *path) /* with all that lies in it */
{
    if (nftw(path, folder_remove_one, 8, FTW_DEPTH | FTW_PHYS) != 0)
        fprintf(stderr, "left behind: %s\n", path);
}

#endif
