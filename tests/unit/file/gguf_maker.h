/* gguf_maker: writes small GGUF headers byte by byte, valid or not, for the tests of file/. */
#ifndef HEARTH_TESTS_GGUF_MAKER_H
#define HEARTH_TESTS_GGUF_MAKER_H
#include "base/buf.h"
#include "file/file.h"
#include <string.h>

static inline void put_u32(struct buf *b, uint32_t v)
{
    buf_add(b, &v, 4); /* tests run on little-endian machines, as Hearth does */
}

static inline void put_u64(struct buf *b, uint64_t v)
{
    buf_add(b, &v, 8);
}

static inline void put_str(struct buf *b, const char *s)
{
    put_u64(b, strlen(s));
    buf_str(b, s);
}

static inline void put_head(struct buf *b, uint32_t version, uint64_t n_tensor, uint64_t n_kv)
{
    buf_add(b, "GGUF", 4);
    put_u32(b, version);
    put_u64(b, n_tensor);
    put_u64(b, n_kv);
}

static inline void put_key(struct buf *b, const char *key, uint32_t type)
{
    put_str(b, key);
    put_u32(b, type);
}

static inline void put_kv_u32(struct buf *b, const char *key, uint32_t v)
{
    put_key(b, key, FV_U32);
    put_u32(b, v);
}

static inline void put_kv_str(struct buf *b, const char *key, const char *v)
{
    put_key(b, key, FV_STRING);
    put_str(b, v);
}

static inline void put_tensor(struct buf *b, const char *name, uint32_t type, uint64_t k, uint64_t rows,
                              uint64_t offset)
{
    put_str(b, name);
    put_u32(b, 2);
    put_u64(b, k);
    put_u64(b, rows);
    put_u32(b, type);
    put_u64(b, offset);
}

static inline void put_pad(struct buf *b, size_t align)
{
    while (b->len % align)
        buf_char(b, 0);
}

#endif
