/* GGUF: what is read is what was written; everything else is an error with the right code and never a crash. */
#include "../check.h"
#include "base/mem.h"
#include "file/file.h"
#include "gguf_maker.h"
#include <unistd.h>

/* A file with every value type and two tensors, 64 f32 and one row of Q8_0. */
static void make_valid(struct buf *b, uint32_t version)
{
    static const float floats[3] = {1.5f, -2.0f, 0.25f};
    double d = 1e-300;
    int64_t neg = -5;
    put_head(b, version, 2, 15);
    put_kv_str(b, "general.architecture", "llama");
    put_kv_u32(b, "n.u32", 7);
    put_key(b, "n.u8", FV_U8), buf_char(b, (char)200);
    put_key(b, "n.i8", FV_I8), buf_char(b, (char)-3);
    put_key(b, "n.u16", FV_U16), buf_add(b, "\x34\x12", 2);
    put_key(b, "n.i16", FV_I16), buf_add(b, "\xff\xff", 2);
    put_key(b, "n.i32", FV_I32), put_u32(b, 41);
    put_key(b, "n.u64", FV_U64), put_u64(b, UINT64_MAX);
    put_key(b, "n.i64", FV_I64), buf_add(b, &neg, 8);
    put_key(b, "n.f32", FV_F32), buf_add(b, floats, 4);
    put_key(b, "n.f64", FV_F64), buf_add(b, &d, 8);
    put_key(b, "n.bool", FV_BOOL), buf_char(b, 1);
    put_key(b, "a.f32", FV_ARRAY), put_u32(b, FV_F32), put_u64(b, 3), buf_add(b, floats, 12);
    put_key(b, "a.str", FV_ARRAY), put_u32(b, FV_STRING), put_u64(b, 3), put_str(b, "one"), put_str(b, ""),
        put_str(b, "three");
    put_key(b, "a.none", FV_ARRAY), put_u32(b, FV_BOOL), put_u64(b, 0);
    put_tensor(b, "token_embd.weight", 0, 32, 2, 0);
    put_str(b, "norm"), put_u32(b, 1), put_u64(b, 32), put_u32(b, 8), put_u64(b, 256);
    put_pad(b, 32);
    for (int i = 0; i < 256 + 34; i++)
        buf_char(b, (char)i);
}

static int parse(struct model_file **f, const struct buf *b, struct err *e)
{
    return file_parse(f, b->data, b->len, b->len, e);
}

static void test_values(void)
{
    for (uint32_t version = 2; version <= 3; version++) {
        struct buf b = {0};
        struct model_file *f = NULL;
        struct err e = {0};
        uint32_t u = 0;
        float x = 0;
        bool yes = false;
        struct file_str s = {0};
        struct file_array a = {0};
        make_valid(&b, version);
        CHECK_INT(parse(&f, &b, &e), 0);
        if (!f) {
            fprintf(stderr, "%s\n", e.msg);
            buf_done(&b);
            return;
        }
        CHECK_STR(f->format, version == 2 ? "GGUF v2" : "GGUF v3");
        CHECK_INT(f->n_kv, 15);
        CHECK_INT(f->n_tensor, 2);
        CHECK(f->header_bytes > 500 && f->header_bytes < 64 << 10);
        CHECK(!file_get_str(f, "general.architecture", &s, &e) && s.n == 5 && !memcmp(s.p, "llama", 5));
        CHECK(!file_get_u32(f, "n.u32", &u, &e) && u == 7);
        CHECK(!file_get_u32(f, "n.u8", &u, &e) && u == 200);
        CHECK(!file_get_u32(f, "n.u16", &u, &e) && u == 0x1234);
        CHECK(!file_get_u32(f, "n.i32", &u, &e) && u == 41);
        CHECK_INT(file_get_u32(f, "n.i8", &u, &e), ERR_FORMAT);
        CHECK_INT(file_get_u32(f, "n.i16", &u, &e), ERR_FORMAT);
        CHECK_INT(file_get_u32(f, "n.i64", &u, &e), ERR_FORMAT);
        CHECK_INT(file_get_u32(f, "n.u64", &u, &e), ERR_FORMAT);
        CHECK_INT(file_get_u32(f, "n.f32", &u, &e), ERR_FORMAT);
        CHECK_INT(file_get_u32(f, "n.none", &u, &e), ERR_NOTFOUND);
        CHECK(strstr(e.msg, "n.none") != NULL);
        CHECK_INT(u, 41); /* untouched by the failures */
        CHECK(!file_get_f32(f, "n.f32", &x, &e) && x == 1.5f);
        CHECK(!file_get_f32(f, "n.f64", &x, &e) && x == 0.0f);
        CHECK_INT(file_get_f32(f, "n.u32", &x, &e), ERR_FORMAT);
        CHECK(!file_get_bool(f, "n.bool", &yes, &e) && yes);
        CHECK_INT(file_get_bool(f, "n.u8", &yes, &e), ERR_FORMAT);
        CHECK_INT(file_get_str(f, "n.u8", &s, &e), ERR_FORMAT);
        CHECK(!file_get_array(f, "a.f32", FV_F32, &a, &e) && a.n == 3);
        float got[3];
        memcpy(got, a.data, sizeof got);
        CHECK(got[0] == 1.5f && got[1] == -2.0f && got[2] == 0.25f);
        CHECK(!file_get_array(f, "a.str", FV_STRING, &a, &e) && a.n == 3 && a.strs[1].n == 0 &&
              !memcmp(a.strs[2].p, "three", 5));
        CHECK(!file_get_array(f, "a.none", FV_BOOL, &a, &e) && a.n == 0);
        CHECK_INT(file_get_array(f, "a.f32", FV_I32, &a, &e), ERR_FORMAT);
        CHECK_INT(file_get_array(f, "n.u8", FV_U8, &a, &e), ERR_FORMAT);
        file_close(f);
        buf_done(&b);
    }
}

static void test_tensors(void)
{
    struct buf b = {0};
    struct model_file *f = NULL;
    struct err e = {0};
    make_valid(&b, 3);
    CHECK_INT(parse(&f, &b, &e), 0);
    if (f) {
        const struct file_tensor *t = file_tensor_find(f, "token_embd.weight"), *n = file_tensor_find(f, "norm");
        CHECK(t && n && !file_tensor_find(f, "nor") && !file_tensor_find(f, ""));
        if (t && n) {
            CHECK(t->dtype == DT_F32 && t->n_dims == 2 && t->dim[0] == 32 && t->dim[1] == 2 && t->dim[2] == 1 &&
                  t->bytes == 256);
            CHECK(n->dtype == DT_Q8_0 && n->n_dims == 1 && n->bytes == 34 && n->offset == t->offset + 256);
            CHECK_INT(n->offset + n->bytes, b.len);
            CHECK(t->offset % 32 == 0);
            CHECK_INT((uint8_t)b.data[t->offset], 0);
            CHECK_INT((uint8_t)b.data[t->offset + 9], 9);
        }
    }
    file_close(f);
    buf_done(&b);
}

/* ---- refusals: one maker per flaw ---- */
static void bad_magic(struct buf *b)
{
    buf_str(b, "GGML"), put_u32(b, 3), put_u64(b, 0), put_u64(b, 0);
}
static void bad_version1(struct buf *b)
{
    put_head(b, 1, 0, 0);
}
static void bad_version4(struct buf *b)
{
    put_head(b, 4, 0, 0);
}
static void bad_endian(struct buf *b)
{
    put_head(b, 0x03000000, 0, 0);
}
static void bad_many_tensors(struct buf *b)
{
    put_head(b, 3, UINT64_MAX, 0);
}
static void bad_many_keys(struct buf *b)
{
    put_head(b, 3, 0, 1ull << 40);
}
static void bad_key_length(struct buf *b)
{
    put_head(b, 3, 0, 1), put_u64(b, UINT64_MAX - 4), buf_str(b, "abcdefgh");
}
static void bad_key_empty(struct buf *b)
{
    put_head(b, 3, 0, 1), put_kv_u32(b, "", 1);
}
static void bad_key_control(struct buf *b)
{
    put_head(b, 3, 0, 1), put_kv_u32(b, "a\nb", 1);
}
static void bad_type(struct buf *b)
{
    put_head(b, 3, 0, 1), put_key(b, "k", 13), put_u64(b, 0);
}
static void bad_bool(struct buf *b)
{
    put_head(b, 3, 0, 1), put_key(b, "k", FV_BOOL), buf_char(b, 2);
}
static void bad_nested(struct buf *b)
{
    put_head(b, 3, 0, 1), put_key(b, "k", FV_ARRAY), put_u32(b, FV_ARRAY), put_u64(b, 1), put_u64(b, 0), put_u64(b, 0);
}
static void bad_array_huge(struct buf *b)
{
    put_head(b, 3, 0, 1), put_key(b, "k", FV_ARRAY), put_u32(b, FV_U64), put_u64(b, 1ull << 61), put_u64(b, 0);
}
static void bad_array_strings(struct buf *b)
{
    put_head(b, 3, 0, 1), put_key(b, "k", FV_ARRAY), put_u32(b, FV_STRING), put_u64(b, 1ull << 60), put_u64(b, 0);
}
static void bad_key_twice(struct buf *b)
{
    put_head(b, 3, 0, 2), put_kv_u32(b, "k", 1), put_kv_u32(b, "k", 1);
}
static void bad_alignment(struct buf *b)
{
    put_head(b, 3, 0, 1), put_kv_u32(b, "general.alignment", 24);
}
static void bad_alignment_zero(struct buf *b)
{
    put_head(b, 3, 0, 1), put_kv_u32(b, "general.alignment", 0);
}
static void bad_alignment_type(struct buf *b)
{
    put_head(b, 3, 0, 1), put_kv_str(b, "general.alignment", "32");
}
static void bad_split(struct buf *b)
{
    put_head(b, 3, 0, 1), put_key(b, "split.count", FV_U16), buf_add(b, "\2\0", 2);
}

static void data(struct buf *b, size_t n)
{
    put_pad(b, 32);
    for (size_t i = 0; i < n; i++)
        buf_char(b, 0);
}
static void bad_dims0(struct buf *b)
{
    put_head(b, 3, 1, 0), put_str(b, "t"), put_u32(b, 0), put_u32(b, 0), put_u64(b, 0), data(b, 64);
}
static void bad_dims5(struct buf *b)
{
    put_head(b, 3, 1, 0), put_str(b, "t"), put_u32(b, 5);
    for (int i = 0; i < 5; i++)
        put_u64(b, 1);
    put_u32(b, 0), put_u64(b, 0), data(b, 64);
}
static void bad_dim_zero(struct buf *b)
{
    put_head(b, 3, 1, 0), put_tensor(b, "t", 0, 0, 4, 0), data(b, 64);
}
static void bad_dim_overflow(struct buf *b)
{
    put_head(b, 3, 1, 0), put_tensor(b, "t", 0, 1ull << 33, 1ull << 33, 0), data(b, 64);
}
static void bad_bytes_overflow(struct buf *b)
{
    put_head(b, 3, 1, 0), put_tensor(b, "t", 0, 1ull << 31, 1ull << 31, 0), data(b, 64);
}
static void bad_tensor_type(struct buf *b)
{
    put_head(b, 3, 1, 0), put_tensor(b, "blk.0.x", 11, 256, 1, 0), data(b, 512);
}
static void bad_tensor_type2(struct buf *b)
{
    put_head(b, 3, 1, 0), put_tensor(b, "blk.0.x", 4711, 256, 1, 0), data(b, 512);
}
static void bad_row(struct buf *b)
{
    put_head(b, 3, 1, 0), put_tensor(b, "t", 8, 33, 1, 0), data(b, 512);
}
static void bad_misaligned(struct buf *b)
{
    put_head(b, 3, 1, 0), put_tensor(b, "t", 0, 4, 1, 8), data(b, 64);
}
static void bad_past_end(struct buf *b)
{
    put_head(b, 3, 1, 0), put_tensor(b, "t", 0, 16, 2, 0), data(b, 127);
}
static void bad_offset_huge(struct buf *b)
{
    put_head(b, 3, 1, 0), put_tensor(b, "t", 0, 4, 1, UINT64_MAX - 31), data(b, 64);
}
static void bad_tensor_twice(struct buf *b)
{
    put_head(b, 3, 2, 0), put_tensor(b, "t", 0, 4, 1, 0), put_tensor(b, "t", 0, 4, 1, 0), data(b, 64);
}
static void bad_tensor_name(struct buf *b)
{
    put_head(b, 3, 1, 0), put_u64(b, 2000);
    for (int i = 0; i < 4000; i++)
        buf_char(b, 'x');
}

static const struct flaw {
    const char *name;
    void (*make)(struct buf *);
    int code;
    const char *says; /* part of the message, NULL = any */
} flaws[] = {
    {"magic", bad_magic, ERR_FORMAT, "GGUF"},
    {"version 1", bad_version1, ERR_UNSUPPORTED, "version 1"},
    {"version 4", bad_version4, ERR_UNSUPPORTED, "version 4"},
    {"big-endian", bad_endian, ERR_UNSUPPORTED, "big-endian"},
    {"tensor count", bad_many_tensors, ERR_FORMAT, "tensors"},
    {"key count", bad_many_keys, ERR_FORMAT, "keys"},
    {"key length", bad_key_length, ERR_FORMAT, "offset 24"},
    {"empty key", bad_key_empty, ERR_FORMAT, "empty"},
    {"control in key", bad_key_control, ERR_FORMAT, "control"},
    {"value type", bad_type, ERR_FORMAT, "13"},
    {"bool 2", bad_bool, ERR_FORMAT, "boolean"},
    {"array of arrays", bad_nested, ERR_UNSUPPORTED, "arrays"},
    {"array length", bad_array_huge, ERR_FORMAT, "elements"},
    {"string array length", bad_array_strings, ERR_FORMAT, "elements"},
    {"key twice", bad_key_twice, ERR_FORMAT, "twice"},
    {"alignment 24", bad_alignment, ERR_FORMAT, "24"},
    {"alignment 0", bad_alignment_zero, ERR_FORMAT, "alignment"},
    {"alignment type", bad_alignment_type, ERR_FORMAT, "alignment"},
    {"split", bad_split, ERR_UNSUPPORTED, "split"},
    {"0 dimensions", bad_dims0, ERR_FORMAT, "dimensions"},
    {"5 dimensions", bad_dims5, ERR_FORMAT, "dimensions"},
    {"dimension 0", bad_dim_zero, ERR_FORMAT, "zero"},
    {"element overflow", bad_dim_overflow, ERR_FORMAT, "overflow"},
    {"byte overflow", bad_bytes_overflow, ERR_FORMAT, "overflow"},
    {"type Q3_K", bad_tensor_type, ERR_UNSUPPORTED, "blk.0.x has type Q3_K"},
    {"type 4711", bad_tensor_type2, ERR_UNSUPPORTED, "4711"},
    {"row of 33", bad_row, ERR_FORMAT, "tensor t"},
    {"misaligned", bad_misaligned, ERR_FORMAT, "alignment"},
    {"past the end", bad_past_end, ERR_FORMAT, "end of the file"},
    {"huge offset", bad_offset_huge, ERR_FORMAT, "end of the file"},
    {"tensor twice", bad_tensor_twice, ERR_FORMAT, "twice"},
    {"tensor name", bad_tensor_name, ERR_FORMAT, "tensor name"},
};

static void test_flaws(void)
{
    for (size_t i = 0; i < sizeof flaws / sizeof *flaws; i++) {
        struct buf b = {0};
        struct model_file *f = NULL;
        struct err e = {0};
        flaws[i].make(&b);
        int rc = parse(&f, &b, &e);
        if (rc != flaws[i].code || (flaws[i].says && !strstr(e.msg, flaws[i].says))) {
            fprintf(stderr, "%s: code %d, message \"%s\"\n", flaws[i].name, rc, e.msg);
            check_bad++;
        }
        CHECK(!f && e.code == rc);
        file_close(f);
        buf_done(&b);
    }
}

/* Every prefix is an error; every byte set to a few values is an error or a file, never a crash (the sanitizers watch). */
static void test_mutants(void)
{
    struct buf b = {0};
    make_valid(&b, 3);
    for (size_t n = 0; n < b.len; n++) {
        struct model_file *f = NULL;
        struct err e = {0};
        char *copy = malloc(n ? n : 1); /* exact size, so that one byte too far is seen */
        memcpy(copy, b.data, n);
        int rc = file_parse(&f, copy, n, n, &e);
        CHECK(rc == ERR_FORMAT && !f);
        free(copy);
    }
    static const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    for (size_t at = 0; at < b.len; at++) {
        for (size_t v = 0; v < sizeof values; v++) {
            struct model_file *f = NULL;
            char was = b.data[at];
            b.data[at] = (char)values[v];
            if (parse(&f, &b, NULL) == 0)
                for (uint64_t t = 0; t < f->n_tensor; t++)
                    CHECK(f->tensor[t].offset + f->tensor[t].bytes <= b.len);
            file_close(f);
            b.data[at] = was;
        }
    }
    buf_done(&b);
}

static char path[] = "/tmp/hearth-test-gguf-XXXXXX";

static void write_file(const struct buf *b)
{
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(b->data, 1, b->len, f) == b->len);
    if (f)
        fclose(f);
}

/* A header of several MiB: the windows grow, and the memory kept is the header's, not the window's. */
static void test_large_header(void)
{
    enum { N = 300000 };
    struct buf b = {0};
    struct model_file *f = NULL;
    struct err e = {0};
    struct file_array a = {0};
    char word[32];
    put_head(&b, 3, 1, 1);
    put_key(&b, "tokens", FV_ARRAY), put_u32(&b, FV_STRING), put_u64(&b, N);
    for (int i = 0; i < N; i++) {
        snprintf(word, sizeof word, "token%d", i);
        put_str(&b, word);
    }
    put_tensor(&b, "t", 0, 8, 4, 0);
    size_t header = b.len;
    put_pad(&b, 32);
    for (int i = 0; i < 128; i++)
        buf_char(&b, 'd');
    CHECK(!b.failed && header > 5u << 20);
    write_file(&b);
    CHECK_INT(file_open(&f, path, &e), 0);
    if (f) {
        CHECK(!file_get_array(f, "tokens", FV_STRING, &a, &e) && a.n == N);
        CHECK(a.strs[N - 1].n == 11 && !memcmp(a.strs[N - 1].p, "token299999", 11));
        CHECK(f->header_bytes >= header + N * sizeof(struct file_str));
        CHECK(f->header_bytes < header + N * sizeof(struct file_str) + (1 << 20));
        CHECK(f->data.size == b.len && f->data.fd >= 0);
        CHECK_STR(f->path, path);
    }
    file_close(f);
    b.len -= 1; /* now the tensor passes the end */
    write_file(&b);
    CHECK_INT(file_open(&f, path, &e), ERR_FORMAT);
    CHECK(strstr(e.msg, path) && strstr(e.msg, "end of the file"));
    b.len = header / 2;
    write_file(&b);
    CHECK_INT(file_open(&f, path, &e), ERR_FORMAT);
    CHECK(strstr(e.msg, "cut off") != NULL);
    buf_done(&b);
}

static void test_open_errors(void)
{
    struct model_file *f = NULL;
    struct err e = {0};
    struct buf b = {0};
    CHECK_INT(file_open(&f, "/nonexistent/model.gguf", &e), ERR_NOTFOUND);
    CHECK(!f && strstr(e.msg, "/nonexistent/model.gguf"));
    CHECK(file_open(&f, "/tmp", &e) < 0 && !f);
    write_file(&b);
    CHECK_INT(file_open(&f, path, &e), ERR_FORMAT);
}

static void test_out_of_memory(void)
{
    struct buf b = {0};
    make_valid(&b, 3);
    write_file(&b);
    for (int from_disk = 0; from_disk < 2; from_disk++) {
        int rc = ERR_NOMEM;
        long n = 0;
        for (; rc == ERR_NOMEM && n < 1000; n++) {
            struct model_file *f = NULL;
            struct err e = {0};
            mem_fail_after(n);
            rc = from_disk ? file_open(&f, path, &e) : parse(&f, &b, &e);
            mem_fail_after(-1);
            CHECK(rc == 0 ? f != NULL : (rc == ERR_NOMEM && !f && e.code == ERR_NOMEM && e.msg[0]));
            file_close(f);
        }
        CHECK_INT(rc, 0);
        CHECK(n > 4);
    }
    buf_done(&b);
}

int main(void)
{
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    close(fd);
    RUN(test_values);
    RUN(test_tensors);
    RUN(test_flaws);
    RUN(test_mutants);
    RUN(test_large_header);
    RUN(test_open_errors);
    RUN(test_out_of_memory);
    unlink(path);
    return check_done();
}
