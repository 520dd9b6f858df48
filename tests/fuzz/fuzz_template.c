/* Fuzz target of text. First byte 'E': the rest is encoded with two tiny vocabularies, half of it trusted; what comes out must
 * be ids of the vocabulary and, decoded, the same bytes. Else: a template, a NUL, and the JSON to render it with. */
#include "base/mem.h"
#include "text/text.h"
#include "../unit/text/tiny_vocab.h"
#include <cjson/cJSON.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void require(bool ok)
{
    if (!ok)
        abort();
}

static struct tokenizer *vocabulary(int which)
{
    static struct tokenizer *made[4];
    static const char *const pre[] = {"qwen2", "smollm", "llama-bpe"};
    if (made[which])
        return made[which];
    struct tiny tiny = {0};
    struct model_file *f = NULL;
    if (which < 3)
        tiny_byte_level(&tiny, pre[which]);
    else
        tiny_sentencepiece(&tiny, false);
    require(!tiny_finish(&tiny, &f, NULL) && !tokenizer_new(&made[which], f, NULL));
    file_close(f);
    return made[which];
}

/* Decoding what was encoded gives the same bytes: not for text that NFC changes, nor where U+2581 stands for a space. */
static void check_bytes(const struct tokenizer *t, const struct token_list *l, const char *text, size_t n)
{
    struct buf b = {0};
    const char *p;
    for (size_t i = 0; i < l->n; i++) {
        require(l->id[i] >= 0 && (size_t)l->id[i] < tokenizer_vocab(t));
        size_t k = tokenizer_piece(t, l->id[i], true, &p);
        buf_add(&b, p, k);
    }
    require(b.len == n && (n == 0 || !memcmp(b.data, text, n)));
    buf_done(&b);
}

static void encode(const char *text, size_t n)
{
    uint8_t *trusted = mem_alloc(n + 1);
    require(trusted != NULL);
    for (size_t i = 0; i < n; i++)
        trusted[i] = i % 64 < 32;
    for (int which = 0; which < 4; which++) {
        struct tokenizer *t = vocabulary(which);
        struct token_list l = {0};
        struct detok d;
        struct buf out = {0};
        require(!tokenizer_encode(t, text, n, trusted, TOK_PARSE_SPECIAL, &l, NULL));
        if (which == 1 || which == 2)
            check_bytes(t, &l, text, n);
        detok_init(&d, t);
        for (size_t i = 0; i < l.n; i++)
            require(!detok_feed(&d, l.id[i], &out));
        detok_finish(&d, &out);
        for (size_t i = 0, k; i < out.len; i += k) {
            int32_t cp;
            k = utf8_decode(out.data + i, out.len - i, &cp);
            require(cp >= 0);
        }
        l.n = 0;
        require(!tokenizer_encode(t, text, n, NULL, 0, &l, NULL));
        for (size_t i = 0; i < l.n; i++)
            require(!tokenizer_is_special(t, l.id[i]));
        buf_done(&out);
        token_list_done(&l);
    }
    mem_free(trusted);
}

static void render(const char *s, size_t n)
{
    const char *nul = memchr(s, 0, n);
    size_t n_src = nul ? (size_t)(nul - s) : n;
    cJSON *ctx = nul ? cJSON_ParseWithLength(nul + 1, n - n_src - 1) : NULL;
    struct chat_template *t = NULL;
    struct err e = {0};
    struct buf out = {0};
    uint8_t *trusted = NULL;
    int rc = chat_template_new(&t, s, n_src, &e);
    if (!rc)
        rc = chat_template_render(t, ctx, &out, &trusted, &e);
    require(rc == 0 ? trusted != NULL : rc == e.code && !trusted);
    for (size_t i = 0; !rc && i < out.len; i++)
        require(trusted[i] <= 1);
    mem_free(trusted);
    buf_done(&out);
    chat_template_free(t);
    cJSON_Delete(ctx);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    if (len && bytes[0] == 'E')
        encode((const char *)bytes + 1, len - 1);
    else
        render((const char *)bytes, len);
    return 0;
}
