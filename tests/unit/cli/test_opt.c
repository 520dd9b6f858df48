/* Options: every type, both spellings, ranges, near matches; words and options in any order. */
#include "cli/opt.h"
#include "unit/check.h"
#include <stdint.h>
#include <unistd.h>

struct values {
    const char *text;
    float number;
    int count;
    size_t size;
    bool flag;
    struct opt_texts many;
    struct opt_nums list;
    struct opt_seed seed;
};
static const struct opt table[] = {
    {"text", 't', OPT_TEXT, "T", "a text", offsetof(struct values, text), 0, 0},
    {"number", 0, OPT_FLOAT, "X", "a number", offsetof(struct values, number), 0, 2},
    {"count", 'c', OPT_INT, "N", "a count", offsetof(struct values, count), -5, 5},
    {"size", 0, OPT_SIZE, "S", "a size", offsetof(struct values, size), 1024, 9e18},
    {"flag", 'f', OPT_FLAG, NULL, "a flag", offsetof(struct values, flag), 0, 0},
    {"many", 0, OPT_TEXTS, "T", "texts", offsetof(struct values, many), 0, 0},
    {"list", 0, OPT_NUMS, "L", "numbers", offsetof(struct values, list), 0, 1 << 20},
    {"seed", 0, OPT_SEED, "N", "a seed", offsetof(struct values, seed), 0, 0},
    OPT_END,
};
static int run_nothing(const struct command *c, int argc, char **argv)
{
    (void)c;
    (void)argc;
    (void)argv;
    return 0;
}
static const struct command command = {"thing", "does", "WORD...", "", table, 0, 2, run_nothing, false};

/* Parses words up to NULL; what is left of them comes back in front. */
static int parse(struct values *v, int *argc, char **argv)
{
    *v = (struct values){0};
    *argc = 0;
    while (argv[*argc])
        (*argc)++;
    return opt_parse(&command, argc, argv, v);
}

static void every_type(void)
{
    struct values v;
    int n;
    char *argv[] = {"one",
                    "--text",
                    "a b",
                    "--number=0.5",
                    "-c",
                    "-3",
                    "--size",
                    "2M",
                    "-f",
                    "two",
                    "--many",
                    "x",
                    "--many=y",
                    "--list",
                    "0,2k,8",
                    "--seed",
                    "18446744073709551615",
                    NULL};
    CHECK_INT(parse(&v, &n, argv), OPT_RUN);
    CHECK_INT(n, 2);
    CHECK_STR(argv[0], "one");
    CHECK_STR(argv[1], "two");
    CHECK_STR(v.text, "a b");
    CHECK(v.number > 0.49f && v.number < 0.51f);
    CHECK_INT(v.count, -3);
    CHECK_INT(v.size, 2 << 20);
    CHECK(v.flag);
    CHECK_INT(v.many.n, 2);
    CHECK_STR(v.many.v[1], "y");
    CHECK_INT(v.list.n, 3);
    CHECK_INT(v.list.v[1], 2048);
    CHECK(v.seed.set && v.seed.v == UINT64_MAX);
}

static void words_that_look_like_options(void)
{
    struct values v;
    int n;
    char *argv[] = {"-", "--", "--text", NULL};
    CHECK_INT(parse(&v, &n, argv), OPT_RUN);
    CHECK_INT(n, 2);
    CHECK_STR(argv[0], "-");
    CHECK_STR(argv[1], "--text");
    CHECK(!v.text);
}

static void refusals(void)
{
    char *bad[][3] = {{"--nothing"},
                      {"-x"},
                      {"--text"},
                      {"--flag=1"},
                      {"--number", "3"},
                      {"--number", "nan"},
                      {"--number", "0x1p0x"},
                      {"--count", "6"},
                      {"--count", "1.5"},
                      {"--count", "99999999999"},
                      {"--size", "1"},
                      {"--size", "-1"},
                      {"--size", "8Q"},
                      {"--size", "inf"},
                      {"--list", "1,"},
                      {"--list", ""},
                      {"--list", "2M"},
                      {"--seed", "-1"},
                      {"--seed", "18446744073709551616"}};
    struct values v;
    int n;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_INT(parse(&v, &n, bad[i]), CLI_USAGE);
    char *many[] = {"a", "b", "c", NULL};
    CHECK_INT(parse(&v, &n, many), CLI_USAGE);
}

static void sizes(void)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},          {"17", 17},         {"1k", 1024},         {"1K", 1024},
                {"1.5M", 3 << 19}, {"8G", 8ull << 30}, {"2GiB", 2ull << 30}, {"1T", 1ull << 40}};
    struct err e;
    uint64_t v;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        CHECK_INT(opt_size(good[i].text, &v, &e), 0);
        CHECK(v == good[i].bytes);
    }
    static const char *const bad[] = {"", "G", "1e30", "-1", "0x10", "nan", "1GG", "1 G", "99999999T"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK(opt_size(bad[i], &v, &e) == ERR_USAGE);
}

static void distances(void)
{
    CHECK_INT(opt_distance("list", "list"), 0);
    CHECK_INT(opt_distance("list", "lst"), 1);
    CHECK_INT(opt_distance("pull", "plul"), 1); /* a swap is one slip */
    CHECK_INT(opt_distance("", "abc"), 3);
    CHECK_INT(opt_distance("0123456789012345678901234567890123456789", "x"), 99);
}

int main(void)
{
    /* refusals explain themselves on stderr; so do failed checks: nothing is hidden */
    RUN(every_type);
    RUN(words_that_look_like_options);
    RUN(refusals);
    RUN(sizes);
    RUN(distances);
    return check_done();
}
