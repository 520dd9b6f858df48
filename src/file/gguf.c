/* gguf: reads the GGUF v2/v3 header (little-endian) out of untrusted bytes; see gguf.h for the two passes.
 * Does not read tensor data and does not know what any key means, except general.alignment and split.count. */
#include "file/gguf.h"
#include "base/reader.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SCAN_MORE = 1 };

struct scan {
    struct reader r;
    uint64_t limit;    /* no header byte lies at or past this offset */
    bool limit_is_eof; /* the limit is the file's end, not ours */
    uint64_t need;
    struct err *e;
};

static const uint8_t value_bytes[] = {
    [FV_U8] = 1,  [FV_I8] = 1,   [FV_U16] = 2, [FV_I16] = 2, [FV_U32] = 4, [FV_I32] = 4,
    [FV_F32] = 4, [FV_BOOL] = 1, [FV_U64] = 8, [FV_I64] = 8, [FV_F64] = 8};

/* ggml types that exist but are no row of the dtype table, so that the refusal can name them. */
static const char *const foreign_types[] = {
    [4] = "Q4_2",     [5] = "Q4_3",    [9] = "Q8_1",     [10] = "Q2_K",  [11] = "Q3_K",   [15] = "Q8_K",
    [16] = "IQ2_XXS", [17] = "IQ2_XS", [18] = "IQ3_XXS", [19] = "IQ1_S", [20] = "IQ4_NL", [21] = "IQ3_S",
    [22] = "IQ2_S",   [23] = "IQ4_XS", [24] = "I8",      [25] = "I16",   [26] = "I32",    [27] = "I64",
    [28] = "F64",     [29] = "IQ1_M",  [34] = "TQ1_0",   [35] = "TQ2_0", [39] = "MXFP4",  [40] = "NVFP4",
};

/* A name from the file for a message: short, and one line. */
static const char *show_name(char out[64], struct file_str s)
{
    size_t n = s.n < 60 ? s.n : 60;
    for (size_t i = 0; i < n; i++)
        out[i] = s.p[i] >= 0x20 && s.p[i] < 0x7f ? s.p[i] : '?';
    memcpy(out + n, s.n > n ? "..." : "", s.n > n ? 4 : 1);
    return out;
}

/* ---- first pass: how long is the header ---- */

/* Are the next n bytes in the window? SCAN_MORE when they are not but may be in the file. */
static int scan_want(struct scan *s, uint64_t n)
{
    uint64_t pos = s->r.pos;
    if (n > s->limit - pos) {
        if (s->limit_is_eof)
            return err_set(s->e, ERR_FORMAT,
                           "header is cut off: %" PRIu64 " bytes wanted at offset %" PRIu64
                           ", the file ends at %" PRIu64,
                           n, pos, s->limit);
        return err_set(s->e, ERR_LIMIT, "header passes %d MiB at offset %" PRIu64, GGUF_MAX_HEADER >> 20, pos);
    }
    if (n > reader_left(&s->r)) {
        s->need = pos + n;
        return SCAN_MORE;
    }
    return 0;
}

static int scan_string(struct scan *s, uint64_t max, const char *what, bool name)
{
    int rc = scan_want(s, 8);
    if (rc)
        return rc;
    uint64_t at = s->r.pos, n = reader_u64(&s->r);
    if (n > max)
        return err_set(s->e, ERR_FORMAT,
                       "%s at offset %" PRIu64 " claims %" PRIu64 " bytes, at most %" PRIu64 " are allowed", what, at,
                       n, max);
    if (name && n == 0)
        return err_set(s->e, ERR_FORMAT, "empty %s at offset %" PRIu64, what, at);
    rc = scan_want(s, n);
    if (rc)
        return rc;
    const uint8_t *p = reader_bytes(&s->r, (size_t)n);
    for (uint64_t i = 0; name && i < n; i++)
        if (p[i] < 0x20)
            return err_set(s->e, ERR_FORMAT, "control character in the %s at offset %" PRIu64, what, at);
    return 0;
}

static int scan_bools(struct scan *s, uint64_t n)
{
    int rc = scan_want(s, n);
    if (rc)
        return rc;
    uint64_t at = s->r.pos;
    const uint8_t *p = reader_bytes(&s->r, (size_t)n);
    for (uint64_t i = 0; i < n; i++)
        if (p[i] > 1)
            return err_set(s->e, ERR_FORMAT, "boolean at offset %" PRIu64 " is %d", at + i, p[i]);
    return 0;
}

static int scan_array(struct scan *s)
{
    int rc = scan_want(s, 12);
    if (rc)
        return rc;
    uint64_t at = s->r.pos;
    uint32_t type = reader_u32(&s->r);
    uint64_t n = reader_u64(&s->r);
    if (type == FV_ARRAY)
        return err_set(s->e, ERR_UNSUPPORTED, "array of arrays at offset %" PRIu64, at);
    if (type > FV_F64)
        return err_set(s->e, ERR_FORMAT, "array of unknown type %" PRIu32 " at offset %" PRIu64, type, at);
    uint64_t least = type == FV_STRING ? 8 : value_bytes[type];
    if (n > s->limit / least) /* then n * least cannot overflow below */
        return err_set(s->e, ERR_FORMAT,
                       "array at offset %" PRIu64 " claims %" PRIu64 " elements, more than the file can hold", at, n);
    if (type == FV_BOOL)
        return scan_bools(s, n);
    if (type != FV_STRING) {
        rc = scan_want(s, n * least);
        if (!rc)
            reader_skip(&s->r, (size_t)(n * least));
        return rc;
    }
    for (uint64_t i = 0; i < n && !rc; i++)
        rc = scan_string(s, GGUF_MAX_STRING, "string", false);
    return rc;
}

static int scan_value(struct scan *s)
{
    int rc = scan_want(s, 4);
    if (rc)
        return rc;
    uint64_t at = s->r.pos;
    uint32_t type = reader_u32(&s->r);
    if (type > FV_F64)
        return err_set(s->e, ERR_FORMAT, "unknown value type %" PRIu32 " at offset %" PRIu64, type, at);
    if (type == FV_STRING)
        return scan_string(s, GGUF_MAX_STRING, "string", false);
    if (type == FV_ARRAY)
        return scan_array(s);
    if (type == FV_BOOL)
        return scan_bools(s, 1);
    rc = scan_want(s, value_bytes[type]);
    if (!rc)
        reader_skip(&s->r, value_bytes[type]);
    return rc;
}

static int scan_tensor(struct scan *s)
{
    int rc = scan_string(s, GGUF_MAX_KEY, "tensor name", true);
    if (!rc)
        rc = scan_want(s, 4);
    if (rc)
        return rc;
    uint64_t at = s->r.pos;
    uint32_t n_dims = reader_u32(&s->r);
    if (n_dims < 1 || n_dims > 4)
        return err_set(s->e, ERR_FORMAT, "tensor with %" PRIu32 " dimensions at offset %" PRIu64 ", 1 to 4 are allowed",
                       n_dims, at);
    rc = scan_want(s, 8u * n_dims + 12);
    if (!rc)
        reader_skip(&s->r, 8u * n_dims + 12);
    return rc;
}

static int scan_version(struct scan *s)
{
    int rc = scan_want(s, 8);
    if (rc)
        return rc;
    const char *magic = reader_bytes(&s->r, 4);
    if (memcmp(magic, "GGUF", 4) != 0)
        return err_set(s->e, ERR_FORMAT, "not a GGUF file: it does not start with \"GGUF\"");
    uint32_t v = reader_u32(&s->r);
    if (v == 2 || v == 3)
        return 0;
    if (__builtin_bswap32(v) >= 1 && __builtin_bswap32(v) <= 3)
        return err_set(s->e, ERR_UNSUPPORTED, "big-endian GGUF file: only little-endian ones are read");
    return err_set(s->e, ERR_UNSUPPORTED, "GGUF version %" PRIu32 ": versions 2 and 3 are read", v);
}

int gguf_scan(const void *p, size_t have, uint64_t file_size, uint64_t *need, struct err *e)
{
    struct scan s = {.e = e, .limit = file_size, .limit_is_eof = true};
    if (file_size > GGUF_MAX_HEADER) {
        s.limit = GGUF_MAX_HEADER;
        s.limit_is_eof = false;
    }
    reader_init(&s.r, p, have < s.limit ? have : (size_t)s.limit);
    int rc = scan_version(&s);
    if (!rc)
        rc = scan_want(&s, 16);
    uint64_t n_tensor = rc ? 0 : reader_u64(&s.r), n_kv = rc ? 0 : reader_u64(&s.r);
    if (n_tensor > GGUF_MAX_TENSORS)
        return err_set(e, ERR_FORMAT, "file claims %" PRIu64 " tensors, at most %d are allowed", n_tensor,
                       GGUF_MAX_TENSORS);
    if (n_kv > GGUF_MAX_KV)
        return err_set(e, ERR_FORMAT, "file claims %" PRIu64 " metadata keys, at most %d are allowed", n_kv,
                       GGUF_MAX_KV);
    for (uint64_t i = 0; i < n_kv && !rc; i++) {
        rc = scan_string(&s, GGUF_MAX_KEY, "key", true);
        if (!rc)
            rc = scan_value(&s);
    }
    for (uint64_t i = 0; i < n_tensor && !rc; i++)
        rc = scan_tensor(&s);
    *need = rc ? s.need : s.r.pos;
    return rc;
}

/* ---- second pass: the tables ---- */

static struct file_str build_string(struct reader *r)
{
    uint64_t n = reader_u64(r);
    struct file_str s = {.p = n <= reader_left(r) ? reader_bytes(r, (size_t)n) : NULL, .n = (size_t)n};
    if (!s.p) {
        r->bad = true;
        s = (struct file_str){.p = "", .n = 0};
    }
    return s;
}

static int build_array(struct file_array *a, struct reader *r, struct arena *mem)
{
    uint32_t type = reader_u32(r);
    *a = (struct file_array){.type = (enum file_value_type)type, .n = reader_u64(r)};
    if (type != FV_STRING) {
        a->data = reader_bytes(r, (size_t)a->n * value_bytes[type]);
        return 0;
    }
    struct file_str *strs = arena_alloc(mem, ((size_t)a->n + 1) * sizeof *strs);
    if (!strs)
        return ERR_NOMEM;
    for (uint64_t i = 0; i < a->n; i++)
        strs[i] = build_string(r);
    a->strs = strs;
    return 0;
}

static int build_value(struct file_kv *kv, struct reader *r, struct arena *mem)
{
    kv->type = (enum file_value_type)reader_u32(r);
    switch (kv->type) {
    case FV_U8:
        kv->v.u = reader_u8(r);
        break;
    case FV_BOOL:
        kv->v.u = reader_u8(r);
        break;
    case FV_I8:
        kv->v.i = (int8_t)reader_u8(r);
        break;
    case FV_U16:
        kv->v.u = reader_u16(r);
        break;
    case FV_I16:
        kv->v.i = (int16_t)reader_u16(r);
        break;
    case FV_U32:
        kv->v.u = reader_u32(r);
        break;
    case FV_I32:
        kv->v.i = reader_i32(r);
        break;
    case FV_F32:
        kv->v.f = (double)reader_f32(r);
        break;
    case FV_U64:
        kv->v.u = reader_u64(r);
        break;
    case FV_I64:
        kv->v.i = (int64_t)reader_u64(r);
        break;
    case FV_F64:
        kv->v.f = reader_f64(r);
        break;
    case FV_STRING:
        kv->v.s = build_string(r);
        break;
    case FV_ARRAY:
        return build_array(&kv->v.a, r, mem);
    }
    return 0;
}

static int build_tensor(struct file_tensor *t, struct reader *r, struct err *e)
{
    char name[64];
    t->name = build_string(r);
    show_name(name, t->name);
    t->n_dims = (int)reader_u32(r);
    uint64_t elems = 1, rows = 1, row = 0;
    for (int i = 0; i < 4; i++) {
        uint64_t d = i < t->n_dims ? reader_u64(r) : 1;
        t->dim[i] = d;
        if (d == 0 || d > (uint64_t)INT64_MAX / elems)
            return err_set(e, ERR_FORMAT, "tensor %s: dimension %d is %" PRIu64 ", so its size is zero or overflows",
                           name, i, d);
        elems *= d;
        rows *= i ? d : 1;
    }
    uint32_t type = reader_u32(r);
    t->offset = reader_u64(r); /* still relative to the data section */
    if (dtype_from_gguf(type, &t->dtype, NULL)) {
        const char *known = type < sizeof foreign_types / sizeof *foreign_types ? foreign_types[type] : NULL;
        return err_set(e, ERR_UNSUPPORTED, "tensor %s has type %s (number %" PRIu32 "), which Hearth does not read",
                       name, known ? known : "unknown", type);
    }
    int rc = dtype_row_bytes(t->dtype, t->dim[0], &row, e);
    if (rc)
        return err_prefix(e, rc, "tensor %s", name);
    if (rows > (uint64_t)INT64_MAX / row)
        return err_set(e, ERR_FORMAT, "tensor %s: its size in bytes overflows", name);
    t->bytes = row * rows;
    return 0;
}

static int build_place(struct file_tensor *t, uint64_t start, uint64_t align, uint64_t file_size, struct err *e)
{
    char name[64];
    show_name(name, t->name);
    if (t->offset % align)
        return err_set(e, ERR_FORMAT, "tensor %s: offset %" PRIu64 " is no multiple of the alignment %" PRIu64, name,
                       t->offset, align);
    if (start > file_size || t->offset > file_size - start || t->bytes > file_size - start - t->offset)
        return err_set(e, ERR_FORMAT,
                       "tensor %s: %" PRIu64 " bytes at data offset %" PRIu64 " pass the end of the file (%" PRIu64
                       " bytes): cut off?",
                       name, t->bytes, t->offset, file_size);
    t->offset += start;
    return 0;
}

/* general.alignment, or the format's default; and a refusal of files that are one part of several. */
static int build_general(const struct model_file *f, uint64_t *align, struct err *e)
{
    uint32_t v = 32, parts = 1;
    int rc = file_get_u32(f, "general.alignment", &v, e);
    if (rc && rc != ERR_NOTFOUND)
        return rc;
    if (v < 8 || v > GGUF_MAX_ALIGNMENT || (v & (v - 1)))
        return err_set(e, ERR_FORMAT, "general.alignment is %" PRIu32 ", wanted a power of two from 8 to %d", v,
                       GGUF_MAX_ALIGNMENT);
    rc = file_get_u32(f, "split.count", &parts, e);
    if (rc && rc != ERR_NOTFOUND)
        return rc;
    if (parts > 1)
        return err_set(e, ERR_UNSUPPORTED, "the file is one of %" PRIu32 " parts of a split model: merge them first",
                       parts);
    *align = v;
    return 0;
}

static int build_keys(struct model_file *f, struct file_kv *kv, struct reader *r, struct err *e)
{
    struct file_mem *m = f->mem;
    char name[64];
    if (names_init(&m->kv_names, &m->arena, kv, sizeof *kv, f->n_kv))
        return err_set(e, ERR_NOMEM, "out of memory for the file's header");
    for (uint64_t i = 0; i < f->n_kv; i++) {
        kv[i].key = build_string(r);
        if (build_value(&kv[i], r, &m->arena))
            return err_set(e, ERR_NOMEM, "out of memory for the value of %s", show_name(name, kv[i].key));
        if (!names_add(&m->kv_names, (uint32_t)i))
            return err_set(e, ERR_FORMAT, "key %s appears twice", show_name(name, kv[i].key));
    }
    return 0;
}

static int build_tensors(struct model_file *f, struct file_tensor *t, struct reader *r, uint64_t file_size,
                         struct err *e)
{
    struct file_mem *m = f->mem;
    char name[64];
    uint64_t align = 0;
    int rc = build_general(f, &align, e);
    if (rc)
        return rc;
    uint64_t start = (m->header_len + align - 1) / align * align;
    if (names_init(&m->tensor_names, &m->arena, t, sizeof *t, f->n_tensor))
        return err_set(e, ERR_NOMEM, "out of memory for the file's header");
    for (uint64_t i = 0; i < f->n_tensor; i++) {
        rc = build_tensor(&t[i], r, e);
        if (!rc)
            rc = build_place(&t[i], start, align, file_size, e);
        if (rc)
            return rc;
        if (!names_add(&m->tensor_names, (uint32_t)i))
            return err_set(e, ERR_FORMAT, "tensor %s appears twice", show_name(name, t[i].name));
    }
    return 0;
}

int gguf_build(struct model_file *f, uint64_t file_size, struct err *e)
{
    struct file_mem *m = f->mem;
    struct reader r;
    reader_init(&r, m->header, m->header_len);
    reader_skip(&r, 4);
    snprintf(f->format, sizeof f->format, "GGUF v%" PRIu32, reader_u32(&r));
    f->n_tensor = reader_u64(&r);
    f->n_kv = reader_u64(&r);
    struct file_kv *kv = arena_alloc(&m->arena, ((size_t)f->n_kv + 1) * sizeof *kv);
    struct file_tensor *t = arena_alloc(&m->arena, ((size_t)f->n_tensor + 1) * sizeof *t);
    if (!kv || !t)
        return err_set(e, ERR_NOMEM, "out of memory for the file's header");
    f->kv = kv;
    f->tensor = t;
    int rc = build_keys(f, kv, &r, e);
    if (!rc)
        rc = build_tensors(f, t, &r, file_size, e);
    if (!rc && !reader_ok(&r))
        rc = err_set(e, ERR_FORMAT, "header is inconsistent");
    f->header_bytes = sizeof *f + sizeof *m + m->header_len + m->arena.held + (f->path ? strlen(f->path) + 1 : 0);
    return rc;
}
