/* test_json: what counts as JSON in a body: RFC 8259 to the letter, and our limits. */
#include "api/json.h"
#include "base/mem.h"
#include "../check.h"

static int check(const char *s)
{
    return json_check(s, strlen(s), NULL, NULL);
}

static void what_is_json(void)
{
    const char *good[] = {"{}",
                          "[]",
                          "0",
                          "-0",
                          "1.5e-3",
                          "1E+2",
                          "\"\"",
                          "true",
                          " null \r\n\t",
                          "[[[]]]",
                          "{\"a\":{\"b\":[1,2,{}]}}",
                          "\"\\u00e9\\n\\\\\\\"\\/\"",
                          "\"\\ud83d\\ude00\"",
                          "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
                          "{\"a\":1,\"a\":2}",
                          "123456789012345678901234567890",
                          "1e308",
                          "\"\x7f\""};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct err e;
        int rc = json_check(good[i], strlen(good[i]), NULL, &e);
        if (rc)
            fprintf(stderr, "%s: %s\n", good[i], e.msg);
        CHECK_INT(rc, 0);
    }
}

static void what_is_not(void)
{
    const char *bad[] = {"",
                         " ",
                         "{",
                         "}",
                         "[",
                         "]",
                         "[1,]",
                         "[,1]",
                         "{,}",
                         "{\"a\":1,}",
                         "{\"a\"}",
                         "{\"a\":}",
                         "{a:1}",
                         "{1:1}",
                         "01",
                         "-",
                         "+1",
                         ".5",
                         "1.",
                         "1.e5",
                         "1e",
                         "1e+",
                         "0x10",
                         "NaN",
                         "Infinity",
                         "-Infinity",
                         "1e309",
                         "-1e999",
                         "tru",
                         "nulll",
                         "True",
                         "'a'",
                         "\"",
                         "\"a",
                         "\"\\",
                         "\"\\x\"",
                         "\"\\u12\"",
                         "\"\\u12g4\"",
                         "\"\\ud800\"",
                         "\"\\udc00\"",
                         "\"\\ud800\\u0041\"",
                         "\"\\ud800x\"",
                         "\"\\u0000\"",
                         "\"\n\"",
                         "\"\t\"",
                         "\"\x01\"",
                         "1 2",
                         "{} {}",
                         "[1}",
                         "{\"a\":1]",
                         "/**/1",
                         "\"\xff\"",
                         "\"\xc0\xaf\"",
                         "\"\xc3\"",
                         "\"\xe2\x82\"",
                         "\"\xed\xa0\x80\"",
                         "\"\xf4\x90\x80\x80\"",
                         "\"\xf8\x88\x80\x80\x80\"",
                         "\xef\xbb\xbf{}",
                         "\xff"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int rc = check(bad[i]);
        if (rc != ERR_FORMAT)
            fprintf(stderr, "accepted: %s\n", bad[i]);
        CHECK_INT(rc, ERR_FORMAT);
    }
    CHECK_INT(json_check("1\0", 2, NULL, NULL), ERR_FORMAT); /* a NUL is no space */
    CHECK_INT(json_check("\"a\0b\"", 5, NULL, NULL), ERR_FORMAT);
}

static void every_prefix_is_refused_or_whole(void)
{
    const char *s =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"h\\u00e9llo \\ud83d\\ude00 \xe2\x82\xac\"}],\"n\":-1.5e+3,\"t\":[true,false,null]}";
    size_t n = strlen(s);
    for (size_t i = 0; i < n; i++) {
        char *exact = malloc(i + 1);
        memcpy(exact, s, i);
        exact[i] = 0;
        CHECK(json_check(exact, i, NULL, NULL) != 0);
        free(exact);
    }
    CHECK_INT(check(s), 0);
}

static void limits(void)
{
    char deep[400];
    for (int depth = JSON_MAX_DEPTH - 1; depth <= JSON_MAX_DEPTH + 1; depth++) {
        memset(deep, '[', (size_t)depth);
        memset(deep + depth, ']', (size_t)depth);
        deep[2 * depth] = 0;
        CHECK_INT(check(deep), depth <= JSON_MAX_DEPTH ? 0 : ERR_LIMIT);
    }
    size_t n = 2 * (size_t)JSON_MAX_VALUES + 10;
    char *wide = malloc(n + 1);
    wide[0] = '[';
    for (size_t i = 1; i < n; i++)
        wide[i] = i % 2 ? '1' : ',';
    wide[n - 1] = ']';
    wide[n] = 0;
    if (wide[n - 2] == ',')
        wide[n - 2] = ' ';
    CHECK_INT(json_check(wide, n, NULL, NULL), ERR_LIMIT);
    free(wide);
}

static void the_place_of_a_fault_is_told(void)
{
    struct err e;
    const char *s = "{\n  \"a\": 1,\n  \"b\": tru\n}";
    CHECK_INT(json_check(s, strlen(s), NULL, &e), ERR_FORMAT);
    CHECK(strstr(e.msg, "line 3") != NULL);
}

static void a_wanted_value_is_found_as_it_was_written(void)
{
    const char *s = "{\"x\":{\"tools\":1}, \"tools\" : [ {\"a\": 1.0} ] ,\"tools\":2}";
    struct json_facts f = {.want = "tools"};
    CHECK_INT(json_check(s, strlen(s), &f, NULL), 0);
    CHECK(f.found.len == 14 && !memcmp(f.found.at, "[ {\"a\": 1.0} ]", 14));
    const char *t = "{\"t\\u006fols\":1,\"tools\":2}"; /* which of them the tree returns must not matter */
    f = (struct json_facts){.want = "tools"};
    CHECK_INT(json_check(t, strlen(t), &f, NULL), 0);
    CHECK(f.found.at == NULL);
}

static void trees_are_written_as_they_are(void)
{
    const char *s = "{\"a\":[1,-2.5,1e+300,true,false,null,\"\\\"\xc3\xa9\\n\"],\"b\":{},\"c\":[]}";
    cJSON *root = NULL;
    struct buf b = {0};
    struct jsonw w;
    CHECK_INT(json_read(s, strlen(s), &root, NULL), 0);
    jsonw_init(&w, &b);
    json_write(&w, root);
    cJSON *again = NULL;
    CHECK_INT(json_read(b.data, b.len, &again, NULL), 0);
    CHECK(cJSON_Compare(root, again, true));
    CHECK_INT(json_read("[]", 2, &root, NULL), ERR_FORMAT); /* a body is an object */
    cJSON_Delete(root);
    cJSON_Delete(again);
    buf_done(&b);
}

int main(void)
{
    RUN(what_is_json);
    RUN(what_is_not);
    RUN(every_prefix_is_refused_or_whole);
    RUN(limits);
    RUN(the_place_of_a_fault_is_told);
    RUN(a_wanted_value_is_found_as_it_was_written);
    RUN(trees_are_written_as_they_are);
    return check_done();
}
