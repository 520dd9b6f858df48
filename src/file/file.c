/* file: opening a model file and asking it by name. The format itself is gguf.c's business; tensor bytes are read by whoever
 * loads them, through `data`. */
#include "file/file.h"
#include "base/mem.h"
#include "file/gguf.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

enum { FILE_WINDOW = 1 << 20 }; /* first look at a file; doubled until the header fits */

static struct model_file *file_new(const char *path)
{
    struct model_file *f = mem_calloc(1, sizeof *f);
    struct file_mem *m = mem_calloc(1, sizeof *m);
    char *name = mem_strdup(path);
    if (!f || !m || !name) {
        mem_free(f);
        mem_free(m);
        mem_free(name);
        return NULL;
    }
    arena_init(&m->arena);
    f->mem = m;
    f->path = name;
    f->data.fd = -1;
    return f;
}

void file_close(struct model_file *f)
{
    if (!f)
        return;
    if (f->data.fd >= 0)
        fs_reader_close(&f->data);
    arena_done(&f->mem->arena);
    mem_free(f->mem->header);
    mem_free(f->mem);
    mem_free(f->path);
    mem_free(f);
}

static int file_read(int fd, char *dst, uint64_t from, uint64_t to, struct err *e)
{
    while (from < to) {
        ssize_t n = pread(fd, dst + from, (size_t)(to - from), (off_t)from);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, "cannot read");
        if (n == 0)
            return err_set(e, ERR_FORMAT, "file shrank while being read");
        from += (uint64_t)n;
    }
    return 0;
}

/* Reads windows from the start until the scan is content, then keeps exactly the header's bytes. */
static int file_header(struct file_mem *m, int fd, uint64_t size, struct err *e)
{
    uint64_t have = 0, need = FILE_WINDOW, window = FILE_WINDOW;
    int rc;
    do {
        while (window < need)
            window *= 2;
        uint64_t want = window < size ? window : size;
        char *p = mem_realloc(m->header, want ? (size_t)want : 1);
        if (!p)
            return err_set(e, ERR_NOMEM, "out of memory for the file's header");
        m->header = p;
        rc = file_read(fd, p, have, want, e);
        if (rc)
            return rc;
        have = want;
        rc = gguf_scan(p, (size_t)have, size, &need, e);
    } while (rc > 0);
    if (rc)
        return rc;
    char *p = mem_realloc(m->header, (size_t)need);
    if (!p)
        return err_set(e, ERR_NOMEM, "out of memory for the file's header");
    m->header = p;
    m->header_len = (size_t)need;
    return 0;
}

int file_open(struct model_file **out, const char *path, struct err *e)
{
    *out = NULL;
    struct model_file *f = file_new(path);
    if (!f)
        return err_set(e, ERR_NOMEM, "%s: out of memory", path);
    /* The header is read through an ordinary descriptor: it is small, oddly sized, and usually read again soon. */
    int fd = -1, rc = fs_reader_open(&f->data, path, e);
    if (rc) {
        f->data.fd = -1;
        goto fail;
    }
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        rc = err_errno(e, "%s: cannot open", path);
        goto fail;
    }
    rc = file_header(f->mem, fd, f->data.size, e);
    if (!rc)
        rc = gguf_build(f, f->data.size, e);
    if (rc)
        rc = err_prefix(e, rc, "%s", path);
fail:
    if (fd >= 0)
        close(fd);
    if (rc) {
        file_close(f);
        return rc;
    }
    *out = f;
    return 0;
}

int file_parse(struct model_file **out, const void *bytes, size_t len, uint64_t file_size, struct err *e)
{
    *out = NULL;
    uint64_t need = 0;
    int rc = gguf_scan(bytes, len, file_size, &need, e);
    if (rc > 0)
        return err_set(e, ERR_FORMAT, "header is cut off: %zu bytes given, more needed", len);
    if (rc)
        return rc;
    struct model_file *f = file_new("(memory)");
    if (f)
        f->mem->header = mem_alloc((size_t)need);
    if (!f || !f->mem->header) {
        file_close(f);
        return err_set(e, ERR_NOMEM, "out of memory for the file's header");
    }
    memcpy(f->mem->header, bytes, (size_t)need);
    f->mem->header_len = (size_t)need;
    f->data.size = file_size;
    rc = gguf_build(f, file_size, e);
    if (rc) {
        file_close(f);
        return rc;
    }
    *out = f;
    return 0;
}

const struct file_tensor *file_tensor_find(const struct model_file *f, const char *name)
{
    return names_find(&f->mem->tensor_names, name, strlen(name));
}

const struct file_kv *file_kv_find(const struct model_file *f, const char *key)
{
    return names_find(&f->mem->kv_names, key, strlen(key));
}

static int file_want(const struct model_file *f, const char *key, const struct file_kv **kv, struct err *e)
{
    *kv = file_kv_find(f, key);
    return *kv ? 0 : err_set(e, ERR_NOTFOUND, "key %s is missing", key);
}

static int file_wrong(const char *key, const char *wanted, struct err *e)
{
    return err_set(e, ERR_FORMAT, "key %s is not %s", key, wanted);
}

int file_get_u32(const struct model_file *f, const char *key, uint32_t *out, struct err *e)
{
    const struct file_kv *kv;
    int rc = file_want(f, key, &kv, e);
    if (rc)
        return rc;
    bool is_signed = kv->type == FV_I8 || kv->type == FV_I16 || kv->type == FV_I32 || kv->type == FV_I64;
    bool is_unsigned = kv->type == FV_U8 || kv->type == FV_U16 || kv->type == FV_U32 || kv->type == FV_U64;
    if (!is_signed && !is_unsigned)
        return file_wrong(key, "an integer", e);
    if (is_signed && kv->v.i < 0)
        return file_wrong(key, "a positive integer", e);
    if (kv->v.u > UINT32_MAX)
        return file_wrong(key, "below 2^32", e);
    *out = (uint32_t)kv->v.u;
    return 0;
}

int file_get_f32(const struct model_file *f, const char *key, float *out, struct err *e)
{
    const struct file_kv *kv;
    int rc = file_want(f, key, &kv, e);
    if (rc)
        return rc;
    if (kv->type != FV_F32 && kv->type != FV_F64)
        return file_wrong(key, "a floating-point number", e);
    if (!isfinite((float)kv->v.f))
        return file_wrong(key, "a finite number", e);
    *out = (float)kv->v.f;
    return 0;
}

int file_get_bool(const struct model_file *f, const char *key, bool *out, struct err *e)
{
    const struct file_kv *kv;
    int rc = file_want(f, key, &kv, e);
    if (rc)
        return rc;
    if (kv->type != FV_BOOL)
        return file_wrong(key, "a boolean", e);
    *out = kv->v.u != 0;
    return 0;
}

int file_get_str(const struct model_file *f, const char *key, struct file_str *out, struct err *e)
{
    const struct file_kv *kv;
    int rc = file_want(f, key, &kv, e);
    if (rc)
        return rc;
    if (kv->type != FV_STRING)
        return file_wrong(key, "a string", e);
    *out = kv->v.s;
    return 0;
}

int file_get_array(const struct model_file *f, const char *key, enum file_value_type elem, struct file_array *out,
                   struct err *e)
{
    const struct file_kv *kv;
    int rc = file_want(f, key, &kv, e);
    if (rc)
        return rc;
    if (kv->type != FV_ARRAY)
        return file_wrong(key, "an array", e);
    if (kv->v.a.type != elem)
        return err_set(e, ERR_FORMAT, "key %s is an array of type %d, wanted type %d", key, (int)kv->v.a.type,
                       (int)elem);
    *out = kv->v.a;
    return 0;
}
