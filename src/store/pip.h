/* pip: one `pip download` of one package as a child process, in a folder of its own. */
#ifndef HEARTH_STORE_PIP_H
#define HEARTH_STORE_PIP_H
#include "base/err.h"
#include <stdint.h>
#include <sys/types.h>

struct pip {
    pid_t pid;             /* 0: not running */
    int launcher;          /* which way of starting pip is being tried */
    char *dir;             /* NULL: this struct is unused */
    char requirement[200]; /* "name==version" */
    uint64_t bytes;        /* of the wheel so far, for progress */
    double moved;          /* when that last grew */
};

int pip_begin(struct pip *p, const char *dir, const char *requirement, struct err *e);
/* 1: the wheel is there; 0: still at it; negative: failed. Gives up after stall_s seconds without progress. */
int pip_poll(struct pip *p, int stall_s, struct err *e);
char *pip_wheel(const struct pip *p, struct err *e); /* its path; mem_free */
void pip_end(struct pip *p); /* ends the child if it runs, removes the folder; NULL-safe for unused structs */
void pip_remove_tree(const char *path, int depth); /* a folder and what is in it, at most `depth` levels */

#endif
