/* buf and the JSON writer: growth, sticky failure, escapes, broken UTF-8, numbers that read back. */
#include "../check.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/rng.h"
#include <float.h>
#include <math.h>

static void basics(void)
{
    struct buf b;
    buf_init(&b);
    buf_str(&b, "ab");
    buf_char(&b, 'c');
    buf_add(&b, "\0d", 2);
    buf_printf(&b, "%d", 42);
    CHECK_INT(b.len, 7);
    CHECK(memcmp(b.data, "abc\0d42", 8) == 0);
    buf_reset(&b);
    CHECK_INT(b.len, 0);
    CHECK_STR(b.data, "");
    for (int i = 0; i < 10000; i++)
        buf_printf(&b, "%d,", i);
    CHECK(!b.failed && b.len == 48890);
    char *s = buf_take(&b);
    CHECK(s && strncmp(s, "0,1,2,", 6) == 0 && s[48890] == 0);
    CHECK(b.data == NULL && b.len == 0);
    mem_free(s);
    s = buf_take(&b); /* empty gives "" */
    CHECK_STR(s, "");
    mem_free(s);
    buf_done(&b);
}

static void sticky(void)
{
    struct buf b = {0};
    buf_str(&b, "kept");
    mem_fail_after(0);
    for (int i = 0; i < 100; i++)
        buf_str(&b, "0123456789");
    mem_fail_after(-1);
    CHECK(b.failed);
    size_t len = b.len;
    buf_str(&b, "more");
    buf_printf(&b, "more");
    CHECK_INT(b.len, len);
    CHECK(buf_take(&b) == NULL);
    CHECK(b.data == NULL && !b.failed);
    buf_add(&b, "x", SIZE_MAX);
    CHECK(b.failed);
    buf_done(&b);
}

static void json_nesting(void)
{
    struct buf b = {0};
    struct jsonw w;
    jsonw_init(&w, &b);
    jsonw_obj(&w);
    jsonw_kstr(&w, "a", "x");
    jsonw_kint(&w, "b", INT64_MIN);
    jsonw_key(&w, "c");
    jsonw_arr(&w);
    jsonw_bool(&w, true);
    jsonw_null(&w);
    jsonw_obj(&w);
    jsonw_end_obj(&w);
    jsonw_arr(&w);
    jsonw_end_arr(&w);
    jsonw_str(&w, NULL);
    jsonw_raw(&w, "{\"r\":1}");
    jsonw_end_arr(&w);
    jsonw_kbool(&w, "d", false);
    jsonw_kdouble(&w, "e", 0.1);
    jsonw_end_obj(&w);
    CHECK_STR(b.data,
              "{\"a\":\"x\",\"b\":-9223372036854775808,\"c\":[true,null,{},[],null,{\"r\":1}],\"d\":false,\"e\":0.1}");
    buf_done(&b);
}

static void json_depth(void)
{
    struct buf b = {0};
    struct jsonw w;
    jsonw_init(&w, &b);
    for (int i = 0; i < 60; i++)
        jsonw_arr(&w);
    CHECK(!b.failed);
    jsonw_arr(&w);
    CHECK(b.failed);
    buf_done(&b);
}

static void quoted(const char *in, size_t n, const char *want)
{
    struct buf b = {0};
    struct jsonw w;
    jsonw_init(&w, &b);
    jsonw_strn(&w, in, n);
    CHECK_STR(b.data, want);
    buf_done(&b);
}

static void json_strings(void)
{
    quoted("", 0, "\"\"");
    quoted("a\"b\\c/\b\f\n\r\t\x01\x1f\x7f", 14, "\"a\\\"b\\\\c/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"");
    quoted("a\0b", 3, "\"a\\u0000b\"");
    quoted("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 9, "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"");
#define BAD "\xEF\xBF\xBD"
    quoted("\x80", 1, "\"" BAD "\"");
    quoted("a\xFFz", 3, "\"a" BAD "z\"");
    quoted("\xC3", 1, "\"" BAD "\"");                         /* cut */
    quoted("\xC0\x80", 2, "\"" BAD BAD "\"");                 /* overlong NUL */
    quoted("\xE0\x80\x80", 3, "\"" BAD BAD BAD "\"");         /* overlong */
    quoted("\xED\xA0\x80", 3, "\"" BAD BAD BAD "\"");         /* surrogate */
    quoted("\xF4\x90\x80\x80", 4, "\"" BAD BAD BAD BAD "\""); /* over U+10FFFF */
    quoted("\xF4\x8F\xBF\xBF\xEE\x80\x80", 7, "\"\xF4\x8F\xBF\xBF\xEE\x80\x80\"");
    quoted("\xE2\x82z", 3, "\"" BAD BAD "z\"");
}

static void number(double v, const char *want)
{
    struct buf b = {0};
    struct jsonw w;
    jsonw_init(&w, &b);
    jsonw_double(&w, v);
    CHECK_STR(b.data, want);
    buf_done(&b);
}

static void json_numbers(void)
{
    number(0, "0");
    number(1, "1");
    number(0.1, "0.1");
    number(1.0 / 3, "0.3333333333333333");
    number(1e300, "1e+300");
    number(-5e-324, "-4.94065645841247e-324");
    number(NAN, "null");
    number(-INFINITY, "null");
    struct buf b = {0};
    struct jsonw w;
    jsonw_init(&w, &b);
    jsonw_float(&w, 0.1f);
    CHECK_STR(b.data, "0.1");
    int wrong = 0;
    for (uint64_t i = 0; i < 20000; i++) {
        uint32_t r[4];
        rng_philox(7, 0, i, r);
        float f;
        double d;
        memcpy(&f, r, sizeof f);
        memcpy(&d, r + 2, sizeof d);
        if (!isfinite(f) || !isfinite(d))
            continue;
        buf_reset(&b);
        jsonw_init(&w, &b);
        jsonw_float(&w, f);
        wrong += strtof(b.data, NULL) != f;
        buf_reset(&b);
        jsonw_init(&w, &b);
        jsonw_double(&w, d);
        wrong += strtod(b.data, NULL) != d;
    }
    CHECK_INT(wrong, 0);
    buf_done(&b);
}

int main(void)
{
    RUN(basics);
    RUN(sticky);
    RUN(json_nesting);
    RUN(json_depth);
    RUN(json_strings);
    RUN(json_numbers);
    return check_done();
}
