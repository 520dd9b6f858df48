/* reader: the bounds check of every untrusted byte stands in reader_bytes and nowhere else. */
#include "base/reader.h"
#include <string.h>

void reader_init(struct reader *r, const void *p, size_t len)
{
    *r = (struct reader){.p = p, .len = len};
}

bool reader_ok(const struct reader *r)
{
    return !r->bad;
}

size_t reader_left(const struct reader *r)
{
    return r->bad ? 0 : r->len - r->pos;
}

const void *reader_bytes(struct reader *r, size_t n)
{
    if (n > reader_left(r) || r->bad) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *p = r->p + r->pos;
    r->pos += n;
    return p;
}

void reader_skip(struct reader *r, size_t n)
{
    (void)reader_bytes(r, n);
}

/* n <= 8 bytes, least significant first, whatever the host's order. */
static uint64_t reader_le(struct reader *r, size_t n)
{
    const uint8_t *p = reader_bytes(r, n);
    uint64_t v = 0;
    if (!p)
        return 0;
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

uint8_t reader_u8(struct reader *r)
{
    return (uint8_t)reader_le(r, 1);
}

uint16_t reader_u16(struct reader *r)
{
    return (uint16_t)reader_le(r, 2);
}

uint32_t reader_u32(struct reader *r)
{
    return (uint32_t)reader_le(r, 4);
}

uint64_t reader_u64(struct reader *r)
{
    return reader_le(r, 8);
}

int32_t reader_i32(struct reader *r)
{
    return (int32_t)reader_u32(r);
}

float reader_f32(struct reader *r)
{
    uint32_t u = reader_u32(r);
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

double reader_f64(struct reader *r)
{
    uint64_t u = reader_u64(r);
    double d;
    memcpy(&d, &u, sizeof d);
    return d;
}
