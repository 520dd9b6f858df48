/* store: opening the data folder and asking what is in it. Downloads are pull.c, names name.c, the index db.c. */
#include "store/store.h"
#include "base/fs.h"
#include "base/mem.h"
#include "store/blob.h"
#include "store/catalogue.h"
#include "store/db.h"
#include "store/describe.h"
#include "store/name.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int make_folders(struct store *s, struct err *e)
{
    static const char *const folders[] = {"blobs", "partial"};
    int rc = fs_mkdirs(s->dir, e);
    for (size_t i = 0; i < 2 && !rc; i++) {
        char *p = fs_join(s->dir, folders[i]);
        rc = p ? fs_mkdirs(p, e) : err_set(e, ERR_NOMEM, "out of memory");
        mem_free(p);
    }
    return rc;
}

int store_open(struct store **out, const char *dir, struct err *e)
{
    struct store *s = mem_calloc(1, sizeof *s);
    *out = NULL;
    if (!s)
        return err_set(e, ERR_NOMEM, "out of memory");
    int rc = 0;
    if (!dir)
        rc = fs_data_dir(&s->dir, e);
    else if (!(s->dir = mem_strdup(dir)))
        rc = err_set(e, ERR_NOMEM, "out of memory");
    if (!rc)
        rc = make_folders(s, e);
    if (rc) {
        mem_free(s->dir);
        mem_free(s);
        return rc;
    }
    rc = db_open(s, e);
    if (rc) {
        store_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    db_close(s);
    mem_free(s->dir);
    mem_free(s);
}

const char *store_dir(const struct store *s)
{
    return s->dir;
}

int store_list(struct store *s, bool catalogue, struct store_model **out, size_t *n, struct err *e)
{
    struct store_model *m = NULL;
    size_t count = 0, rows = 0, cap;
    const struct catalogue_row *row = catalogue_rows(&rows);
    *out = NULL;
    *n = 0;
    int rc = db_all(s, &m, &count, e);
    if (rc)
        return rc;
    cap = count;
    struct store_model *p = mem_grow(m, &cap, count + rows + 1, sizeof *m);
    if (!p) {
        mem_free(m);
        return err_set(e, ERR_NOMEM, "out of memory for the list of models");
    }
    m = p;
    for (size_t i = 0; i < count; i++) {
        m[i].installed = blob_exists(s, m[i].sha256);
        catalogue_annotate(&m[i]);
    }
    size_t installed = count;
    for (size_t r = 0; catalogue && r < rows; r++) {
        bool there = false;
        for (size_t i = 0; i < installed && !there; i++)
            there = strcmp(m[i].name, row[r].name) == 0;
        if (!there)
            catalogue_model(&row[r], &m[count++]);
    }
    *out = m;
    *n = count;
    return 0;
}

int store_find(struct store *s, const char *name, struct store_model *out, struct err *e)
{
    struct store_model *m = NULL;
    size_t n = 0, pick = 0;
    int rc = store_list(s, true, &m, &n, e);
    if (!rc)
        rc = name_pick(name, m, n, &pick, e);
    if (!rc)
        *out = m[pick];
    mem_free(m);
    return rc;
}

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

int store_path(struct store *s, const char *name, char **path, struct err *e)
{
    struct store_model m;
    *path = NULL;
    if (name_is_path(name)) {
        if (!is_file(name))
            return err_set(e, ERR_NOTFOUND, "there is no file %s", name);
        *path = mem_strdup(name);
        return *path ? 0 : err_set(e, ERR_NOMEM, "out of memory");
    }
    int rc = store_find(s, name, &m, e);
    if (rc)
        return rc;
    if (!m.installed)
        return err_set(e, ERR_NOTFOUND, "%s is not on this machine; get it with: hearth pull %s", m.name, m.name);
    if (!m.runnable)
        return err_set(e, ERR_UNSUPPORTED, "%s is listed, but this version does not run its kind (%s)", m.name,
                       m.family);
    *path = blob_path(s, m.sha256);
    return *path ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

int store_rm(struct store *s, const char *name, struct err *e)
{
    struct store_model m, row;
    int rc = store_find(s, name, &m, e);
    if (rc)
        return rc;
    rc = db_begin(s, e);
    if (rc)
        return rc;
    rc = db_get(s, m.name, &row, e); /* the row as it is now, under the lock */
    if (!rc)
        rc = db_delete(s, row.name, e);
    if (!rc)
        rc = blob_drop(s, row.sha256, e);
    return db_end(s, rc, e);
}

int store_show(struct store *s, const char *name, char **json, struct err *e)
{
    struct store_model m = {.runnable = true};
    char *path = NULL;
    int rc;
    *json = NULL;
    if (name_is_path(name)) {
        snprintf(m.name, sizeof m.name, "%s", name);
        snprintf(m.source, sizeof m.source, "%s", name);
        return describe_json(name, &m, json, e);
    }
    rc = store_find(s, name, &m, e);
    if (!rc && m.installed && !(path = blob_path(s, m.sha256)))
        rc = err_set(e, ERR_NOMEM, "out of memory");
    if (!rc)
        rc = describe_json(path, &m, json, e);
    mem_free(path);
    return rc;
}
