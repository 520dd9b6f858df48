/* Fuzz target: any bytes as a model file. What parses must hold its promises: views inside the header, tensors inside the
 * file, names that are found again. */
#include "file/file.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static volatile uint64_t sink; /* keeps the reads of views alive */

static void touch(const void *p, size_t n)
{
    const uint8_t *b = p;
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += b[i];
    sink = sum;
}

static void require(int ok)
{
    if (!ok)
        abort();
}

static void touch_key(const struct model_file *f, const struct file_kv *kv)
{
    static const size_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    struct err e;
    uint32_t u;
    float x;
    bool yes;
    struct file_str s;
    struct file_array a;
    char key[1025];
    require(kv->key.n < sizeof key);
    memcpy(key, kv->key.p, kv->key.n);
    key[kv->key.n] = 0;
    touch(key, kv->key.n);
    require(file_kv_find(f, key) == kv);
    file_get_u32(f, key, &u, &e);
    file_get_f32(f, key, &x, &e);
    file_get_bool(f, key, &yes, &e);
    if (!file_get_str(f, key, &s, &e))
        touch(s.p, s.n);
    if (kv->type != FV_ARRAY || file_get_array(f, key, kv->v.a.type, &a, &e))
        return;
    if (a.type != FV_STRING)
        touch(a.data, (size_t)a.n * bytes[a.type]);
    for (uint64_t i = 0; a.type == FV_STRING && i < a.n; i++)
        touch(a.strs[i].p, a.strs[i].n);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct model_file *f = NULL;
    struct err e;
    if (file_parse(&f, bytes, len, len, &e)) {
        require(!f && e.code < 0 && e.msg[0] && strlen(e.msg) < sizeof e.msg);
        return 0;
    }
    for (uint64_t i = 0; i < f->n_kv; i++)
        touch_key(f, &f->kv[i]);
    for (uint64_t i = 0; i < f->n_tensor; i++) {
        const struct file_tensor *t = &f->tensor[i];
        require(t->n_dims >= 1 && t->n_dims <= 4 && t->bytes > 0 && t->dtype < DT_COUNT);
        require(t->offset <= len && t->bytes <= len - t->offset);
        touch(t->name.p, t->name.n);
        touch(bytes + t->offset, 1);
        touch(bytes + t->offset + t->bytes - 1, 1);
    }
    file_close(f);
    return 0;
}
