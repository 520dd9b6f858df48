/* wheel: takes one member out of a Python wheel, which is a zip file. libzip does the format and checks the CRC. */
#include "store/fetch.h"
#include "base/mem.h"
#include <fnmatch.h>
#include <inttypes.h>
#include <zip.h>

enum { WHEEL_CHUNK = 128 << 10 };

/* The index of the only member that matches. */
static int wheel_find(zip_t *z, const char *pattern, zip_uint64_t *index, struct err *e)
{
    zip_int64_t n = zip_get_num_entries(z, 0);
    int found = 0;
    for (zip_int64_t i = 0; i < n; i++) {
        const char *name = zip_get_name(z, (zip_uint64_t)i, 0);
        if (name && fnmatch(pattern, name, 0) == 0) {
            *index = (zip_uint64_t)i;
            found++;
        }
    }
    if (found != 1)
        return err_set(e, ERR_FORMAT, "the package has %d members like %s, one was expected", found, pattern);
    return 0;
}

static int wheel_copy(struct fetch *f, zip_file_t *in, struct err *e)
{
    char *chunk = mem_alloc(WHEEL_CHUNK);
    int rc = chunk ? 0 : err_set(e, ERR_NOMEM, "out of memory for unpacking");
    while (!rc) {
        zip_int64_t n = zip_fread(in, chunk, WHEEL_CHUNK);
        if (n < 0)
            rc = err_set(e, ERR_CHECKSUM, "the package is damaged: %s", zip_error_strerror(zip_file_get_error(in)));
        if (n <= 0)
            break;
        rc = fetch_write(f, chunk, (size_t)n, e);
        if (!rc)
            rc = fetch_tick(f, "unpacking", f->have, e);
    }
    mem_free(chunk);
    return rc;
}

int wheel_take(struct fetch *f, const char *wheel, const char *pattern, struct err *e)
{
    int code = 0;
    zip_uint64_t index = 0;
    zip_file_t *in = NULL;
    zip_t *z = zip_open(wheel, ZIP_RDONLY, &code);
    if (!z) {
        zip_error_t ze;
        zip_error_init_with_code(&ze, code);
        int rc = err_set(e, ERR_CHECKSUM, "the package is damaged: %s", zip_error_strerror(&ze));
        zip_error_fini(&ze);
        return rc;
    }
    int rc = wheel_find(z, pattern, &index, e);
    if (!rc) {
        in = zip_fopen_index(z, index, 0);
        rc = in ? wheel_copy(f, in, e) : err_set(e, ERR_CHECKSUM, "the package is damaged: %s", zip_strerror(z));
    }
    if (in)
        zip_fclose(in);
    zip_discard(z);
    return rc;
}
