/* blob: paths and removal of the files in blobs/. */
#include "store/blob.h"
#include "base/mem.h"
#include "store/db.h"
#include <sys/stat.h>
#include <unistd.h>

char *blob_path(const struct store *s, const char *sha256)
{
    return mem_printf("%s/blobs/sha256-%s", s->dir, sha256);
}

bool blob_exists(const struct store *s, const char *sha256)
{
    struct stat st;
    char *p = blob_path(s, sha256);
    bool yes = p && stat(p, &st) == 0 && S_ISREG(st.st_mode);
    mem_free(p);
    return yes;
}

int blob_drop(struct store *s, const char *sha256, struct err *e)
{
    int refs = 0, rc = db_refs(s, sha256, &refs, e);
    char *p = rc || refs ? NULL : blob_path(s, sha256);
    if (p)
        unlink(p);
    mem_free(p);
    return rc;
}
