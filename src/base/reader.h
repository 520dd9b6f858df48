/* reader: bounded, little-endian reads from untrusted bytes. Errors stick: after the first read past the end every read
 * gives 0 and reader_ok() is false, so a parser checks once per record. Nothing is ever read out of bounds. */
#ifndef HEARTH_BASE_READER_H
#define HEARTH_BASE_READER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader {
    const uint8_t *p;
    size_t len, pos;
    bool bad;
};

void reader_init(struct reader *r, const void *p, size_t len);
bool reader_ok(const struct reader *r);
size_t reader_left(const struct reader *r);
uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
int32_t reader_i32(struct reader *r);
float reader_f32(struct reader *r);
double reader_f64(struct reader *r);
const void *reader_bytes(struct reader *r, size_t n); /* NULL when fewer are left */
void reader_skip(struct reader *r, size_t n);

#endif
