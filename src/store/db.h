/* db: the SQLite index of installed models, and the store's private struct. */
#ifndef HEARTH_STORE_DB_H
#define HEARTH_STORE_DB_H
#include "store/store.h"
#include <pthread.h>

struct store {
    char *dir;
    struct sqlite3 *db;
    pthread_mutex_t lock; /* recursive: held over a transaction */
};

int db_open(struct store *s, struct err *e); /* dir is set; makes or upgrades store.db */
void db_close(struct store *s);
/* Rows fill name, sha256, family, quant, licence, source, bytes, added, n_params, n_ctx. */
int db_all(struct store *s, struct store_model **out, size_t *n, struct err *e); /* newest first; *out: mem_free */
int db_get(struct store *s, const char *name, struct store_model *out, struct err *e);
int db_put(struct store *s, const struct store_model *m, struct err *e);
int db_delete(struct store *s, const char *name, struct err *e);
int db_refs(struct store *s, const char *sha256, int *n, struct err *e);
/* One writer at a time, in this process and in others; every begin has its end. */
int db_begin(struct store *s, struct err *e);
int db_end(struct store *s, int rc,
           struct err *e); /* commits when rc is 0, else rolls back; returns rc or the commit's error */

#endif
