/* describe: reads a model's header through file/ and says what is in it; see describe.h. */
#include "store/describe.h"
#include "base/buf.h"
#include "base/mem.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { DESCRIBE_TEXT = 512, DESCRIBE_ARRAY = 16 }; /* longer values are told by their size only */

/* general.file_type, where it names a mix that no single tensor type does. */
static const char *const mixes[] = {
    [0] = "F32",     [1] = "F16",     [2] = "Q4_0",    [3] = "Q4_1",    [7] = "Q8_0",
    [8] = "Q5_0",    [9] = "Q5_1",    [10] = "Q2_K",   [11] = "Q3_K_S", [12] = "Q3_K_M",
    [13] = "Q3_K_L", [14] = "Q4_K_S", [15] = "Q4_K_M", [16] = "Q5_K_S", [17] = "Q5_K_M",
    [18] = "Q6_K",   [32] = "BF16",   [38] = "MXFP4",  [39] = "NVFP4",
};

static void copy_str(const struct model_file *f, const char *key, char *out, size_t size)
{
    struct file_str s;
    if (!file_get_str(f, key, &s, NULL))
        snprintf(out, size, "%.*s", (int)(s.n < size ? s.n : size), s.p);
}

static uint64_t elements(const struct file_tensor *t)
{
    return t->dim[0] * t->dim[1] * t->dim[2] * t->dim[3];
}

static void sum_types(const struct model_file *f, uint64_t count[DT_COUNT], uint64_t bytes[DT_COUNT], uint64_t *params)
{
    *params = 0;
    for (uint64_t i = 0; i < f->n_tensor; i++) {
        count[f->tensor[i].dtype]++;
        bytes[f->tensor[i].dtype] += f->tensor[i].bytes;
        *params += elements(&f->tensor[i]);
    }
}

static const char *main_type(const struct model_file *f, const uint64_t bytes[DT_COUNT])
{
    uint32_t v;
    if (!file_get_u32(f, "general.file_type", &v, NULL) && v < sizeof mixes / sizeof *mixes && mixes[v])
        return mixes[v];
    int best = 0;
    for (int t = 1; t < DT_COUNT; t++)
        if (bytes[t] > bytes[best])
            best = t;
    return dtype_info((enum dtype)best)->name;
}

static void fill_row(const struct model_file *f, struct store_model *m)
{
    uint64_t count[DT_COUNT] = {0}, bytes[DT_COUNT] = {0}, params;
    char key[96], family[24] = "";
    uint32_t ctx = 0;
    sum_types(f, count, bytes, &params);
    copy_str(f, "general.architecture", family, sizeof family);
    if (!m->family[0])
        memcpy(m->family, family, sizeof family);
    if (!m->licence[0])
        copy_str(f, "general.license", m->licence, sizeof m->licence);
    if (!m->quant[0])
        snprintf(m->quant, sizeof m->quant, "%s", main_type(f, bytes));
    if (!m->n_params)
        m->n_params = params;
    snprintf(key, sizeof key, "%s.context_length", family);
    if (!m->n_ctx && !file_get_u32(f, key, &ctx, NULL) && ctx <= INT32_MAX)
        m->n_ctx = (int)ctx;
    m->bytes = f->data.size;
}

int describe_row(const char *path, struct store_model *m, struct err *e)
{
    struct model_file *f = NULL;
    int rc = file_open(&f, path, e);
    if (rc)
        return rc;
    fill_row(f, m);
    file_close(f);
    return 0;
}

static void write_number(struct jsonw *w, const struct file_array *a, uint64_t i)
{
    static const size_t size[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    uint64_t raw = 0; /* little-endian: the low bytes are the number */
    memcpy(&raw, (const char *)a->data + i * size[a->type], size[a->type]);
    float f;
    double d;
    memcpy(&f, &raw, sizeof f);
    memcpy(&d, &raw, sizeof d);
    switch (a->type) {
    case FV_I8:
        jsonw_int(w, (int8_t)raw);
        break;
    case FV_I16:
        jsonw_int(w, (int16_t)raw);
        break;
    case FV_I32:
        jsonw_int(w, (int32_t)raw);
        break;
    case FV_F32:
        jsonw_float(w, f);
        break;
    case FV_F64:
        jsonw_double(w, d);
        break;
    case FV_BOOL:
        jsonw_bool(w, raw != 0);
        break;
    default:
        jsonw_int(w, (int64_t)raw);
        break;
    }
}

static void write_array(struct jsonw *w, const struct file_array *a)
{
    static const char *const name[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                       "bool", "string", "array", "u64", "i64", "f64"};
    bool small = a->n <= DESCRIBE_ARRAY;
    for (uint64_t i = 0; small && a->type == FV_STRING && i < a->n; i++)
        small = a->strs[i].n <= DESCRIBE_TEXT;
    if (!small) {
        jsonw_obj(w);
        jsonw_kstr(w, "array_of", name[a->type]);
        jsonw_kint(w, "length", (int64_t)a->n);
        jsonw_end_obj(w);
        return;
    }
    jsonw_arr(w);
    for (uint64_t i = 0; i < a->n; i++) {
        if (a->type == FV_STRING)
            jsonw_strn(w, a->strs[i].p, a->strs[i].n);
        else
            write_number(w, a, i);
    }
    jsonw_end_arr(w);
}

static void write_value(struct jsonw *w, const struct file_kv *kv)
{
    switch (kv->type) {
    case FV_STRING:
        if (kv->v.s.n <= DESCRIBE_TEXT) {
            jsonw_strn(w, kv->v.s.p, kv->v.s.n);
            break;
        }
        jsonw_obj(w);
        jsonw_kint(w, "text_bytes", (int64_t)kv->v.s.n);
        jsonw_end_obj(w);
        break;
    case FV_ARRAY:
        write_array(w, &kv->v.a);
        break;
    case FV_F32:
        jsonw_float(w, (float)kv->v.f);
        break;
    case FV_F64:
        jsonw_double(w, kv->v.f);
        break;
    case FV_BOOL:
        jsonw_bool(w, kv->v.u != 0);
        break;
    case FV_I8:
    case FV_I16:
    case FV_I32:
    case FV_I64:
        jsonw_int(w, kv->v.i);
        break;
    default:
        jsonw_int(w, (int64_t)kv->v.u);
        break;
    }
}

static void write_key(struct jsonw *w, struct file_str key)
{
    char name[1100]; /* the parser allows 1024 */
    snprintf(name, sizeof name, "%.*s", (int)key.n, key.p);
    jsonw_key(w, name);
}

static void write_tokenizer(struct jsonw *w, const struct model_file *f)
{
    char model[64] = "", pre[64] = "";
    const struct file_kv *tokens = file_kv_find(f, "tokenizer.ggml.tokens"),
                         *chat = file_kv_find(f, "tokenizer.chat_template");
    copy_str(f, "tokenizer.ggml.model", model, sizeof model);
    copy_str(f, "tokenizer.ggml.pre", pre, sizeof pre);
    jsonw_key(w, "tokenizer");
    jsonw_obj(w);
    jsonw_kstr(w, "model", model[0] ? model : NULL);
    jsonw_kstr(w, "pre", pre[0] ? pre : NULL);
    jsonw_kint(w, "tokens", tokens && tokens->type == FV_ARRAY ? (int64_t)tokens->v.a.n : 0);
    jsonw_end_obj(w);
    jsonw_kbool(w, "chat_template", chat != NULL);
}

static void write_types(struct jsonw *w, const struct model_file *f)
{
    uint64_t count[DT_COUNT] = {0}, bytes[DT_COUNT] = {0}, params;
    sum_types(f, count, bytes, &params);
    jsonw_kint(w, "tensors", (int64_t)f->n_tensor);
    jsonw_key(w, "tensor_types");
    jsonw_arr(w);
    for (int t = 0; t < DT_COUNT; t++) {
        if (!count[t])
            continue;
        jsonw_obj(w);
        jsonw_kstr(w, "type", dtype_info((enum dtype)t)->name);
        jsonw_kint(w, "tensors", (int64_t)count[t]);
        jsonw_kint(w, "bytes", (int64_t)bytes[t]);
        jsonw_end_obj(w);
    }
    jsonw_end_arr(w);
}

static void write_row(struct jsonw *w, const struct store_model *m, const char *path)
{
    jsonw_kstr(w, "name", m->name);
    jsonw_kbool(w, "installed", m->installed);
    jsonw_kbool(w, "runnable", m->runnable);
    jsonw_kstr(w, "family", m->family);
    jsonw_kstr(w, "quant", m->quant);
    jsonw_kint(w, "params", (int64_t)m->n_params);
    jsonw_kint(w, "context", m->n_ctx);
    jsonw_kstr(w, "licence", m->licence);
    jsonw_kint(w, "bytes", (int64_t)m->bytes);
    jsonw_kstr(w, "sha256", m->sha256[0] ? m->sha256 : NULL);
    jsonw_kstr(w, "source", m->source);
    jsonw_kstr(w, "path", path);
    if (m->added)
        jsonw_kint(w, "added", m->added);
    if (m->good_for[0])
        jsonw_kstr(w, "good_for", m->good_for);
    if (m->terms[0])
        jsonw_kstr(w, "terms", m->terms);
}

int describe_json(const char *path, const struct store_model *m, char **json, struct err *e)
{
    struct model_file *f = NULL;
    struct store_model row = *m;
    struct buf b = {0};
    struct jsonw w;
    int rc = path ? file_open(&f, path, e) : 0;
    if (rc)
        return rc;
    if (f)
        fill_row(f, &row);
    jsonw_init(&w, &b);
    jsonw_obj(&w);
    write_row(&w, &row, path);
    if (f) {
        jsonw_kstr(&w, "format", f->format);
        write_types(&w, f);
        write_tokenizer(&w, f);
        jsonw_key(&w, "metadata");
        jsonw_obj(&w);
        for (uint64_t i = 0; i < f->n_kv; i++) {
            write_key(&w, f->kv[i].key);
            write_value(&w, &f->kv[i]);
        }
        jsonw_end_obj(&w);
    }
    jsonw_end_obj(&w);
    file_close(f);
    *json = buf_take(&b);
    buf_done(&b);
    return *json ? 0 : err_set(e, ERR_NOMEM, "out of memory for the description of %s", m->name);
}
