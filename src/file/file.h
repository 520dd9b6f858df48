/* file: bytes on disk -> struct model_file (names -> typed views, keys -> values). Today: GGUF v2 and v3, little-endian.
 * Every read is bounds-checked; counts, lengths and offsets are limited and may not overflow; tensors may not overlap the
 * header or pass the end of the file. The header is read into memory; tensor data is not touched here. */
#ifndef HEARTH_FILE_H
#define HEARTH_FILE_H
#include "base/err.h"
#include "base/fs.h"
#include "quant/quant.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum file_value_type { /* numbers are those of GGUF */
                       FV_U8,
                       FV_I8,
                       FV_U16,
                       FV_I16,
                       FV_U32,
                       FV_I32,
                       FV_F32,
                       FV_BOOL,
                       FV_STRING,
                       FV_ARRAY,
                       FV_U64,
                       FV_I64,
                       FV_F64
};

struct file_str { /* a view into the header; not NUL-terminated */
    const char *p;
    size_t n;
};

struct file_array {
    enum file_value_type type; /* element type; arrays of arrays are refused */
    uint64_t n;
    const void *data;            /* unaligned little-endian numbers (u8 bools); NULL for strings */
    const struct file_str *strs; /* for FV_STRING */
};

struct file_kv {
    struct file_str key;
    enum file_value_type type;
    union {
        uint64_t u; /* unsigned and bool */
        int64_t i;  /* signed */
        double f;   /* f32 and f64 */
        struct file_str s;
        struct file_array a;
    } v;
};

struct file_tensor {
    struct file_str name;
    enum dtype dtype;
    int n_dims;      /* 1..4 */
    uint64_t dim[4]; /* dim[0] = elements per row (k), dim[1] = rows; unused are 1 */
    uint64_t offset; /* from the start of the file */
    uint64_t bytes;
};

struct model_file {
    char *path;
    char format[16]; /* "GGUF v3" */
    struct fs_reader data;
    uint64_t n_kv, n_tensor;
    const struct file_kv *kv;
    const struct file_tensor *tensor;
    size_t header_bytes;  /* memory held by this struct: header copy and tables; callers account it in the ledger */
    struct file_mem *mem; /* private */
};

int file_open(struct model_file **out, const char *path, struct err *e);
/* The same from memory (fuzzing, tests): copies `len` header bytes; file_size is what tensor offsets are checked against. */
int file_parse(struct model_file **out, const void *bytes, size_t len, uint64_t file_size, struct err *e);
void file_close(struct model_file *f);

const struct file_tensor *file_tensor_find(const struct model_file *f, const char *name); /* NULL if none; hashed */
const struct file_kv *file_kv_find(const struct model_file *f, const char *key);
/* Typed getters. Missing key: *out untouched, returns ERR_NOTFOUND (message names the key). Wrong type or out of range: ERR_FORMAT. */
int file_get_u32(const struct model_file *f, const char *key, uint32_t *out, struct err *e);
int file_get_f32(const struct model_file *f, const char *key, float *out, struct err *e);
int file_get_bool(const struct model_file *f, const char *key, bool *out, struct err *e);
int file_get_str(const struct model_file *f, const char *key, struct file_str *out, struct err *e);
int file_get_array(const struct model_file *f, const char *key, enum file_value_type elem, struct file_array *out,
                   struct err *e);

#endif
