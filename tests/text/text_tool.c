/* text_tool: drives the text room for the oracle tests. Usage: text_tool [MODEL.gguf]; frames on stdin, replies on stdout.
 *
 *   encode FLAGS N\n <N bytes>             -> "K id id ...\n"
 *   encodet FLAGS N\n <N bytes> <N trust>  -> the same; trust bytes are '0' or '1'
 *   detok K id id ...\n                    -> "N\n" <N bytes>   (fed one by one)
 *   render NSRC NCTX\n <source> <context>  -> "ok N\n" <N bytes> <N trust '0'/'1'>  or  "err CODE message\n"
 *   info\n                                 -> "vocab bytes bos eos load_ms eog...\n"
 *   special ID\n                           -> "0\n" or "1\n"
 *   rows\n                                 -> "K\n", then K lines "filter NAME" or "test NAME": what the engine's tables hold
 *   speed N R\n <N bytes>                  -> "MB/s\n": R encodings of the text, the best
 */
#include "base/clock.h"
#include "base/mem.h"
#include "text/jinja.h"
#include "text/text.h"
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct tokenizer *tok;
static double load_ms;

static char *read_bytes(size_t n)
{
    char *p = malloc(n + 1);
    if (!p || fread(p, 1, n, stdin) != n)
        exit(2);
    p[n] = 0;
    return p;
}

static void encode(unsigned flags, size_t n, bool with_trust)
{
    char *s = read_bytes(n), *tr = with_trust ? read_bytes(n) : NULL;
    for (size_t i = 0; tr && i < n; i++)
        tr[i] = tr[i] == '1';
    struct token_list l = {0};
    struct err e;
    if (tokenizer_encode(tok, s, n, (const uint8_t *)tr, flags, &l, &e)) {
        printf("-1 %s\n", e.msg);
    } else {
        printf("%zu", l.n);
        for (size_t i = 0; i < l.n; i++)
            printf(" %d", l.id[i]);
        putchar('\n');
    }
    token_list_done(&l);
    free(s);
    free(tr);
}

static void detok(size_t k)
{
    struct detok d;
    struct buf b = {0};
    detok_init(&d, tok);
    for (size_t i = 0; i < k; i++) {
        int id;
        if (scanf("%d", &id) != 1)
            exit(2);
        if (detok_feed(&d, id, &b))
            exit(2);
    }
    detok_finish(&d, &b);
    printf("%zu\n", b.len);
    fwrite(b.data ? b.data : "", 1, b.len, stdout);
    buf_done(&b);
}

static void render(size_t n_src, size_t n_ctx)
{
    char *src = read_bytes(n_src), *ctx = read_bytes(n_ctx);
    struct chat_template *t = NULL;
    struct err e = {0};
    struct buf b = {0};
    uint8_t *trust = NULL;
    cJSON *c = cJSON_ParseWithLength(ctx, n_ctx);
    int rc = c ? chat_template_new(&t, src, n_src, &e) : err_set(&e, ERR_FORMAT, "context is not JSON");
    if (!rc)
        rc = chat_template_render(t, c, &b, &trust, &e);
    if (rc) {
        printf("err %d %s\n", rc, e.msg);
    } else {
        printf("ok %zu\n", b.len);
        fwrite(b.data ? b.data : "", 1, b.len, stdout);
        for (size_t i = 0; i < b.len; i++)
            putchar(trust[i] ? '1' : '0');
    }
    chat_template_free(t);
    cJSON_Delete(c);
    buf_done(&b);
    mem_free(trust);
    free(src);
    free(ctx);
}

static void info(void)
{
    printf("%zu %zu %d %d %.1f", tokenizer_vocab(tok), tokenizer_bytes(tok), tokenizer_bos(tok), tokenizer_eos(tok),
           load_ms);
    for (int i = 0; i < (int)tokenizer_vocab(tok); i++)
        if (tokenizer_is_eog(tok, i))
            printf(" %d", i);
    putchar('\n');
}

static void rows(void)
{
    size_t n_filters, n_tests;
    const struct jinja_row *filters = jinja_filter_rows(&n_filters), *tests = jinja_test_rows(&n_tests);
    printf("%zu\n", n_filters + n_tests);
    for (size_t i = 0; i < n_filters; i++)
        printf("filter %s\n", filters[i].name);
    for (size_t i = 0; i < n_tests; i++)
        printf("test %s\n", tests[i].name);
}

static void speed(size_t n, int rounds)
{
    char *s = read_bytes(n);
    double best = 0;
    for (int i = 0; i < rounds; i++) {
        struct token_list l = {0};
        double t = clock_s();
        if (tokenizer_encode(tok, s, n, NULL, TOK_PARSE_SPECIAL, &l, NULL))
            exit(2);
        t = (double)n / (clock_s() - t) / 1e6;
        if (t > best)
            best = t;
        token_list_done(&l);
    }
    printf("%.2f\n", best);
    free(s);
}

static int open_model(const char *path)
{
    struct model_file *f = NULL;
    struct err e = {0};
    int rc = file_open(&f, path, &e);
    double t = clock_s();
    if (!rc)
        rc = tokenizer_new(&tok, f, &e);
    load_ms = (clock_s() - t) * 1e3;
    file_close(f);
    if (rc)
        fprintf(stderr, "text_tool: %s\n", e.msg);
    return rc;
}

int main(int argc, char **argv)
{
    if (argc > 1 && open_model(argv[1]))
        return 1;
    char op[16];
    size_t a = 0, b = 0;
    while (scanf("%15s", op) == 1) {
        bool two = !strcmp(op, "encode") || !strcmp(op, "encodet") || !strcmp(op, "render") || !strcmp(op, "speed");
        if (strcmp(op, "info") != 0 && strcmp(op, "rows") != 0 && scanf("%zu", &a) != 1)
            return 2;
        if (two && (scanf("%zu", &b) != 1 || getchar() != '\n'))
            return 2;
        if (!strcmp(op, "render"))
            render(a, b);
        else if (!strcmp(op, "rows"))
            rows();
        else if (!tok)
            return 2;
        else if (!strcmp(op, "encode"))
            encode((unsigned)a, b, false);
        else if (!strcmp(op, "encodet"))
            encode((unsigned)a, b, true);
        else if (!strcmp(op, "detok"))
            detok(a);
        else if (!strcmp(op, "speed"))
            speed(a, (int)b);
        else if (!strcmp(op, "special"))
            printf("%d\n", tokenizer_is_special(tok, (int)a));
        else
            info();
        fflush(stdout);
    }
    tokenizer_free(tok);
    return 0;
}
