/* opt: one table of options per command: it parses the words, and --help is printed from the same rows. */
#ifndef HEARTH_CLI_OPT_H
#define HEARTH_CLI_OPT_H
#include "cli/cli.h"
#include <stdint.h>

enum opt_type {
    OPT_FLAG,  /* bool */
    OPT_TEXT,  /* const char * */
    OPT_INT,   /* int */
    OPT_FLOAT, /* float */
    OPT_SEED,  /* struct opt_seed */
    OPT_SIZE,  /* size_t: 8G, 512M, 4096 */
    OPT_TEXTS, /* struct opt_texts: may be repeated */
    OPT_NUMS   /* struct opt_nums: 0,2k,8k */
};

struct opt {
    const char *name; /* without the dashes; NULL ends the table */
    char letter;      /* 0: no short form */
    enum opt_type type;
    const char *arg; /* shown in the help: "N" */
    const char *help;
    size_t at;       /* offset in the command's struct of values */
    double min, max; /* numbers, sizes and each element of OPT_NUMS; both 0: any */
};

enum { OPT_MANY = 32 };
struct opt_texts {
    const char *v[OPT_MANY];
    size_t n;
};
struct opt_nums {
    uint64_t v[OPT_MANY];
    size_t n;
};
struct opt_seed {
    bool set;
    uint64_t v;
};

/* Rows that several commands share; S: the command's struct of values. */
#define OPT_END                                                                                                        \
    {                                                                                                                  \
        NULL, 0, OPT_FLAG, NULL, NULL, 0, 0, 0                                                                         \
    }
#define OPT_ROW_JSON(S)                                                                                                \
    {                                                                                                                  \
        "json", 0, OPT_FLAG, NULL, "machine-readable output", offsetof(S, json), 0, 0                                  \
    }
#define OPT_ROW_DATA_DIR(S)                                                                                            \
    {                                                                                                                  \
        "data-dir", 0, OPT_TEXT, "DIR", "the data folder ($HEARTH_HOME, else XDG's)", offsetof(S, data_dir), 0, 0      \
    }
#define OPT_ROW_CPU_MASK(S)                                                                                            \
    {                                                                                                                  \
        "cpu-mask", 0, OPT_TEXT, "M",                                                                                  \
            "kernels of ref, avx2, avxvnni, avx512, amx, neon, i8mm or all ($HEARTH_CPU_MASK)", offsetof(S, cpu_mask), \
            0, 0                                                                                                       \
    }
#define OPT_ROW_THREADS(S)                                                                                             \
    {                                                                                                                  \
        "threads", 0, OPT_INT, "N", "worker threads; 0: all cores (0)", offsetof(S, threads), 0, 1024                  \
    }
#define OPT_ROW_CEILING(S)                                                                                             \
    {                                                                                                                  \
        "ceiling", 0, OPT_SIZE, "SIZE", "memory limit: 8G (what the machine leaves)", offsetof(S, ceiling), 1 << 20,   \
            9e18                                                                                                       \
    }
#define OPT_ROW_NO_SPEC(S)                                                                                             \
    {                                                                                                                  \
        "no-spec", 0, OPT_FLAG, NULL, "guess no tokens ahead: the same answer, one token a step",                      \
            offsetof(S, no_spec), 0, 0                                                                                 \
    }
/* draft: struct opt_texts */
#define OPT_ROW_DRAFT(S)                                                                                               \
    {                                                                                                                  \
        "draft", 0, OPT_TEXTS, "NAME", "a smaller model of the same vocabulary guesses ahead; or MODEL=NAME",          \
            offsetof(S, draft), 0, 0                                                                                   \
    }
/* kv: struct opt_texts */
#define OPT_ROW_KVS(S)                                                                                                 \
    {                                                                                                                  \
        "kv", 0, OPT_TEXTS, "TYPE", "cache of keys and values: f16, bf16, q8_0, f8_e4m3, f32; or MODEL=TYPE (f16)",    \
            offsetof(S, kv), 0, 0                                                                                      \
    }
/* kv: const char * */
#define OPT_ROW_KV(S)                                                                                                  \
    {                                                                                                                  \
        "kv", 0, OPT_TEXT, "TYPE", "cache of keys and values: f16, bf16, q8_0, f8_e4m3, f32 (f16)", offsetof(S, kv),   \
            0, 0                                                                                                       \
    }
#define OPT_ROW_PRECISE(S)                                                                                             \
    {                                                                                                                  \
        "precise", 0, OPT_FLAG, NULL, "15-bit activations everywhere: slower, closer", offsetof(S, precise), 0, 0      \
    }

enum { OPT_RUN = -1 };
/* Fills *values (already holding the defaults) and moves the words that are no options to the front: argv[0 .. *argc).
 * Returns OPT_RUN, or the code to exit with when --help was answered or a word was wrong (told on stderr). */
int opt_parse(const struct command *c, int *argc, char **argv, void *values);
/* Sets one value by its row: what `/set` of the conversation uses. */
int opt_assign(const struct opt *o, const char *text, void *values, struct err *e);
const struct opt *opt_find(const struct opt *table, const char *name, size_t n);

void opt_help(const struct command *c); /* on stdout */
/* "8G" -> bytes, "2k" -> 2048, "1.5M"; units are powers of 1024. */
int opt_size(const char *text, uint64_t *out, struct err *e);
/* How many single-letter slips (insert, drop, change, swap) lie between two words; 99 for very long ones. */
int opt_distance(const char *a, const char *b);

#endif
