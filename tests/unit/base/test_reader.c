/* reader: values, the end, and errors that stick. */
#include "../check.h"
#include "base/reader.h"

static void values(void)
{
    static const uint8_t bytes[] = {0x01, 0x34, 0x12, 0x78, 0x56, 0x34, 0x12, 8,   7,   6,    5,    4,
                                    3,    2,    1,    0xFE, 0xFF, 0xFF, 0xFF, 0,   0,   0x80, 0x3F, 0,
                                    0,    0,    0,    0,    0,    0xF0, 0xBF, 'a', 'b', 'c'};
    struct reader r;
    reader_init(&r, bytes, sizeof bytes);
    CHECK_INT(reader_u8(&r), 1);
    CHECK_INT(reader_u16(&r), 0x1234);
    CHECK_INT(reader_u32(&r), 0x12345678);
    CHECK_INT(reader_u64(&r), 0x0102030405060708);
    CHECK_INT(reader_i32(&r), -2);
    CHECK(reader_f32(&r) == 1.0f);
    CHECK(reader_f64(&r) == -1.0);
    reader_skip(&r, 1);
    CHECK_INT(reader_left(&r), 2);
    CHECK(memcmp(reader_bytes(&r, 2), "bc", 2) == 0);
    CHECK(reader_ok(&r));
    CHECK(reader_bytes(&r, 0) != NULL);
    CHECK(reader_ok(&r));
}

static void past_the_end(void)
{
    static const uint8_t bytes[] = {1, 2, 3, 4, 5};
    struct reader r;
    reader_init(&r, bytes, sizeof bytes);
    CHECK_INT(reader_u32(&r), 0x04030201);
    CHECK_INT(reader_u16(&r), 0);
    CHECK(!reader_ok(&r));
    CHECK_INT(reader_u8(&r), 0); /* one byte is left, but the error sticks */
    CHECK_INT(reader_left(&r), 0);
    CHECK(reader_bytes(&r, 0) == NULL);

    reader_init(&r, bytes, sizeof bytes);
    CHECK(reader_bytes(&r, SIZE_MAX) == NULL && !reader_ok(&r));
    reader_init(&r, bytes, sizeof bytes);
    reader_u8(&r);
    reader_skip(&r, SIZE_MAX); /* pos + n would wrap */
    CHECK(!reader_ok(&r));
    reader_init(&r, NULL, 0);
    CHECK_INT(reader_u64(&r), 0);
    CHECK(!reader_ok(&r));
}

int main(void)
{
    RUN(values);
    RUN(past_the_end);
    return check_done();
}
