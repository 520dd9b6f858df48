/* home: what the store tests share: a fresh data folder, a small valid model file, counting what lies in a folder. */
#ifndef HEARTH_TESTS_STORE_HOME_H
#define HEARTH_TESTS_STORE_HOME_H
#include "../file/gguf_maker.h"
#include "../folder.h"
#include "base/mem.h"
#include "store/store.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *home; /* the test's own folder; the store lies in home/data */

static inline const char *home_path(const char *name)
{
    static _Thread_local char path[8][1200];
    static _Thread_local int next;
    char *p = path[next++ % 8];
    snprintf(p, sizeof path[0], "%s/%s", home, name);
    return p;
}

static inline int home_count(const char *folder) /* entries, -1 when there is no such folder */
{
    DIR *d = opendir(home_path(folder));
    int n = d ? 0 : -1;
    for (struct dirent *x; d && (x = readdir(d));)
        n += x->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

static inline void home_write(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(p, 1, n, f) != n || fclose(f))
        abort();
}

/* A model of about 4 * elems bytes whose content depends on `tag`. */
static inline void make_model(struct buf *b, uint64_t elems, unsigned tag)
{
    put_head(b, 3, 1, 4);
    put_kv_str(b, "general.architecture", "llama");
    put_kv_str(b, "general.license", "mit");
    put_kv_u32(b, "llama.context_length", 77);
    put_kv_u32(b, "tag", tag);
    put_tensor(b, "t", 0, 4, elems / 4, 0);
    put_pad(b, 32);
    uint32_t x = tag * 2654435761u + 1;
    for (uint64_t i = 0; i < elems; i++) {
        x = x * 1664525u + 1013904223u;
        put_u32(b, x);
    }
}

static inline struct store *home_store(void)
{
    struct store *s = NULL;
    struct err e = {0};
    if (store_open(&s, home_path("data"), &e)) {
        fprintf(stderr, "store_open: %s\n", e.msg);
        abort();
    }
    return s;
}

#endif
