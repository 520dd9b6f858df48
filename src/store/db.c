/* db: SQLite behind typed calls; see db.h. The schema's number is in user_version. */
#include "store/db.h"
#include "base/fs.h"
#include "base/mem.h"
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

enum { DB_VERSION = 1, DB_BUSY_MS = 10000 };

static const char SCHEMA[] =
    "CREATE TABLE IF NOT EXISTS models("
    "name TEXT PRIMARY KEY, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL, family TEXT NOT NULL, quant TEXT NOT NULL,"
    "licence TEXT NOT NULL, source TEXT NOT NULL, added INTEGER NOT NULL, n_params INTEGER NOT NULL, n_ctx INTEGER NOT NULL)"
    " STRICT;"
    "CREATE INDEX IF NOT EXISTS models_sha256 ON models(sha256);"
    "PRAGMA user_version = 1;";

#define COLUMNS "name, sha256, family, quant, licence, source, bytes, added, n_params, n_ctx"

static int db_fail(struct store *s, const char *what, struct err *e)
{
    int code = sqlite3_errcode(s->db);
    int rc = code == SQLITE_FULL    ? ERR_DISK_FULL
             : code == SQLITE_BUSY  ? ERR_BUSY
             : code == SQLITE_NOMEM ? ERR_NOMEM
                                    : ERR_IO;
    return err_set(e, rc, "the model index %s/store.db: cannot %s: %s", s->dir, what, sqlite3_errmsg(s->db));
}

static int db_exec(struct store *s, const char *sql, const char *what, struct err *e)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_fail(s, what, e);
}

static int db_version(struct store *s, int *v, struct err *e)
{
    sqlite3_stmt *q = NULL;
    if (sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &q, NULL) != SQLITE_OK || sqlite3_step(q) != SQLITE_ROW) {
        int rc = db_fail(s, "read its version", e);
        sqlite3_finalize(q);
        return rc;
    }
    *v = sqlite3_column_int(q, 0);
    sqlite3_finalize(q);
    return 0;
}

static int db_upgrade(struct store *s, struct err *e)
{
    int v = 0, rc = db_version(s, &v, e);
    if (rc || v == DB_VERSION)
        return rc;
    if (v > DB_VERSION)
        return err_set(e, ERR_UNSUPPORTED, "%s/store.db is from a newer Hearth (schema %d, this one knows %d)", s->dir,
                       v, DB_VERSION);
    rc = db_begin(s, e);
    if (rc)
        return rc;
    return db_end(s, db_exec(s, SCHEMA, "make its tables", e), e);
}

int db_open(struct store *s, struct err *e)
{
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&s->lock, &a);
    pthread_mutexattr_destroy(&a);
    char *path = fs_join(s->dir, "store.db");
    if (!path)
        return err_set(e, ERR_NOMEM, "out of memory");
    int code = sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, NULL),
        rc = 0;
    if (!s->db)
        rc = err_set(e, ERR_NOMEM, "out of memory for the model index");
    else if (code != SQLITE_OK)
        rc = db_fail(s, "open it", e);
    if (!rc) {
        sqlite3_busy_timeout(s->db, DB_BUSY_MS);
        /* WAL is a wish: a file system without shared memory keeps the old journal and works as well. */
        sqlite3_exec(s->db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL", NULL, NULL, NULL);
        rc = db_upgrade(s, e);
    }
    mem_free(path);
    return rc;
}

void db_close(struct store *s)
{
    sqlite3_close(s->db);
    s->db = NULL;
    pthread_mutex_destroy(&s->lock);
}

int db_begin(struct store *s, struct err *e)
{
    pthread_mutex_lock(&s->lock);
    int rc = db_exec(s, "BEGIN IMMEDIATE", "lock it", e);
    if (rc)
        pthread_mutex_unlock(&s->lock);
    return rc;
}

int db_end(struct store *s, int rc, struct err *e)
{
    if (!rc)
        rc = db_exec(s, "COMMIT", "write it", e);
    if (rc)
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static void column(sqlite3_stmt *q, int i, char *out, size_t size)
{
    const unsigned char *t = sqlite3_column_text(q, i);
    snprintf(out, size, "%s", t ? (const char *)t : "");
}

static void read_row(sqlite3_stmt *q, struct store_model *m)
{
    *m = (struct store_model){.runnable = true};
    column(q, 0, m->name, sizeof m->name);
    column(q, 1, m->sha256, sizeof m->sha256);
    column(q, 2, m->family, sizeof m->family);
    column(q, 3, m->quant, sizeof m->quant);
    column(q, 4, m->licence, sizeof m->licence);
    column(q, 5, m->source, sizeof m->source);
    m->bytes = (uint64_t)sqlite3_column_int64(q, 6);
    m->added = sqlite3_column_int64(q, 7);
    m->n_params = (uint64_t)sqlite3_column_int64(q, 8);
    m->n_ctx = sqlite3_column_int(q, 9);
}

int db_all(struct store *s, struct store_model **out, size_t *n, struct err *e)
{
    sqlite3_stmt *q = NULL;
    struct store_model *rows = NULL;
    size_t cap = 0, count = 0;
    int code, rc = 0;
    pthread_mutex_lock(&s->lock);
    if (sqlite3_prepare_v2(s->db, "SELECT " COLUMNS " FROM models ORDER BY added DESC, rowid DESC", -1, &q, NULL) !=
        SQLITE_OK)
        rc = db_fail(s, "read it", e);
    while (!rc && (code = sqlite3_step(q)) != SQLITE_DONE) {
        struct store_model *p = code == SQLITE_ROW ? mem_grow(rows, &cap, count + 1, sizeof *rows) : NULL;
        if (!p) {
            rc = code == SQLITE_ROW ? err_set(e, ERR_NOMEM, "out of memory for the list of models")
                                    : db_fail(s, "read it", e);
            break;
        }
        rows = p;
        read_row(q, &rows[count++]);
    }
    sqlite3_finalize(q);
    pthread_mutex_unlock(&s->lock);
    if (rc) {
        mem_free(rows);
        return rc;
    }
    *out = rows;
    *n = count;
    return 0;
}

int db_get(struct store *s, const char *name, struct store_model *out, struct err *e)
{
    sqlite3_stmt *q = NULL;
    int rc = 0, code = SQLITE_ERROR;
    pthread_mutex_lock(&s->lock);
    if (sqlite3_prepare_v2(s->db, "SELECT " COLUMNS " FROM models WHERE name = ?1", -1, &q, NULL) == SQLITE_OK &&
        sqlite3_bind_text(q, 1, name, -1, SQLITE_TRANSIENT) == SQLITE_OK)
        code = sqlite3_step(q);
    if (code == SQLITE_ROW)
        read_row(q, out);
    else
        rc = code == SQLITE_DONE ? err_set(e, ERR_NOTFOUND, "%s is not installed", name) : db_fail(s, "read it", e);
    sqlite3_finalize(q);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

int db_put(struct store *s, const struct store_model *m, struct err *e)
{
    const char *text[] = {m->name, m->sha256, m->family, m->quant, m->licence, m->source};
    const int64_t number[] = {(int64_t)m->bytes, m->added, (int64_t)m->n_params, m->n_ctx};
    sqlite3_stmt *q = NULL;
    pthread_mutex_lock(&s->lock);
    int ok =
        sqlite3_prepare_v2(s->db, "INSERT OR REPLACE INTO models(" COLUMNS ") VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)",
                           -1, &q, NULL) == SQLITE_OK;
    for (int i = 0; i < 6 && ok; i++)
        ok = sqlite3_bind_text(q, i + 1, text[i], -1, SQLITE_TRANSIENT) == SQLITE_OK;
    for (int i = 0; i < 4 && ok; i++)
        ok = sqlite3_bind_int64(q, i + 7, number[i]) == SQLITE_OK;
    int rc = ok && sqlite3_step(q) == SQLITE_DONE ? 0 : db_fail(s, "write it", e);
    sqlite3_finalize(q);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

int db_delete(struct store *s, const char *name, struct err *e)
{
    sqlite3_stmt *q = NULL;
    pthread_mutex_lock(&s->lock);
    int ok = sqlite3_prepare_v2(s->db, "DELETE FROM models WHERE name = ?1", -1, &q, NULL) == SQLITE_OK &&
             sqlite3_bind_text(q, 1, name, -1, SQLITE_TRANSIENT) == SQLITE_OK && sqlite3_step(q) == SQLITE_DONE;
    int rc = ok ? 0 : db_fail(s, "write it", e);
    sqlite3_finalize(q);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

int db_refs(struct store *s, const char *sha256, int *n, struct err *e)
{
    sqlite3_stmt *q = NULL;
    pthread_mutex_lock(&s->lock);
    int ok = sqlite3_prepare_v2(s->db, "SELECT count(*) FROM models WHERE sha256 = ?1", -1, &q, NULL) == SQLITE_OK &&
             sqlite3_bind_text(q, 1, sha256, -1, SQLITE_TRANSIENT) == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW;
    int rc = ok ? 0 : db_fail(s, "read it", e);
    if (ok)
        *n = sqlite3_column_int(q, 0);
    sqlite3_finalize(q);
    pthread_mutex_unlock(&s->lock);
    return rc;
}
