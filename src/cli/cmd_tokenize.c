/* hearth tokenize: the ids and pieces of a text. Reads the model's header only. */
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/out.h"
#include "text/text.h"
#include <stdio.h>

struct values {
    const char *data_dir;
    bool json, ids, no_bos, special;
};
const struct opt tokenize_opts[] = {
    {"ids", 0, OPT_FLAG, NULL, "only the ids, in one line", offsetof(struct values, ids), 0, 0},
    {"no-bos", 0, OPT_FLAG, NULL, "without the tokens the model adds at the ends", offsetof(struct values, no_bos), 0,
     0},
    {"special", 0, OPT_FLAG, NULL, "special tokens in the text become their ids", offsetof(struct values, special), 0,
     0},
    OPT_ROW_JSON(struct values),
    OPT_ROW_DATA_DIR(struct values),
    OPT_END,
};

/* The token's bytes as a quoted string; what is no printable ASCII as \xNN, so that the terminal shows every byte. */
static void print_piece(const char *p, size_t n)
{
    putchar('"');
    for (size_t i = 0; i < n; i++) {
        unsigned char ch = (unsigned char)p[i];
        if (ch == '"' || ch == '\\')
            printf("\\%c", ch);
        else if (ch == '\n')
            fputs("\\n", stdout);
        else if (ch < 0x20 || ch >= 0x7f)
            printf("\\x%02x", ch);
        else
            putchar(ch);
    }
    putchar('"');
}

static int print_tokens(const struct tokenizer *t, const struct token_list *l, const struct values *v)
{
    struct buf b = {0};
    struct jsonw w;
    if (v->json) {
        jsonw_init(&w, &b);
        jsonw_obj(&w);
        jsonw_kint(&w, "count", (int64_t)l->n);
        jsonw_key(&w, "ids");
        jsonw_arr(&w);
        for (size_t i = 0; i < l->n; i++)
            jsonw_int(&w, l->id[i]);
        jsonw_end_arr(&w);
        jsonw_end_obj(&w);
        return out_json(&b);
    }
    for (size_t i = 0; i < l->n; i++) {
        const char *p;
        if (v->ids) {
            printf("%s%d", i ? " " : "", l->id[i]);
            continue;
        }
        size_t n = tokenizer_piece(t, l->id[i], true, &p);
        printf("%8d  ", l->id[i]);
        print_piece(p, n);
        putchar('\n');
    }
    if (v->ids)
        putchar('\n');
    return CLI_OK;
}

int cmd_tokenize(const struct command *c, int argc, char **argv)
{
    struct values v = {0};
    struct buf text = {0};
    struct token_list l = {0};
    struct model_file *f = NULL;
    struct tokenizer *t = NULL;
    struct err e = {0};
    char *path = NULL;
    int code = opt_parse(c, &argc, argv, &v);
    if (code != OPT_RUN)
        return code;
    unsigned flags = (v.no_bos ? 0u : TOK_ADD_SPECIAL) | (v.special ? TOK_PARSE_SPECIAL : 0u);
    if (input_words(argc - 1, argv + 1, &text, &e) || input_model_path(v.data_dir, argv[0], &path, &e) ||
        file_open(&f, path, &e) || tokenizer_new(&t, f, &e) ||
        tokenizer_encode(t, text.data ? text.data : "", text.len, NULL, flags, &l, &e))
        code = cli_fail(&e);
    else
        code = print_tokens(t, &l, &v);
    token_list_done(&l);
    tokenizer_free(t);
    file_close(f);
    mem_free(path);
    buf_done(&text);
    return code;
}
