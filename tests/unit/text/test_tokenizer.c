/* Tokenisers on vocabularies small enough to know the answer by hand. */
#include "base/mem.h"
#include "text/text.h"
#include "unit/check.h"
#include "unit/text/tiny_vocab.h"

static struct tokenizer *make(void (*fill)(struct tiny *), struct err *e)
{
    struct tiny tiny = {0};
    struct model_file *f = NULL;
    struct tokenizer *t = NULL;
    fill(&tiny);
    if (!tiny_finish(&tiny, &f, e))
        tokenizer_new(&t, f, e);
    file_close(f);
    return t;
}

static void gpt2(struct tiny *t)
{
    tiny_byte_level(t, "gpt-2");
}

static void qwen2(struct tiny *t)
{
    tiny_byte_level(t, "qwen2");
}

static void smollm(struct tiny *t)
{
    tiny_byte_level(t, "smollm");
}

static void sentencepiece(struct tiny *t)
{
    tiny_sentencepiece(t, false);
}

static void with_prefix(struct tiny *t)
{
    tiny_sentencepiece(t, true);
}

/* The ids of a text as "1 2 3". */
static const char *ids(const struct tokenizer *t, const char *s, size_t n, const char *trust, unsigned flags)
{
    static char out[4096];
    uint8_t bits[256];
    struct token_list l = {0};
    out[0] = 0;
    for (size_t i = 0; trust && i < n; i++)
        bits[i] = trust[i] == '1';
    if (tokenizer_encode(t, s, n, trust ? bits : NULL, flags, &l, NULL))
        return "error";
    for (size_t i = 0; i < l.n; i++)
        sprintf(out + strlen(out), "%s%d", i ? " " : "", l.id[i]);
    token_list_done(&l);
    return out;
}

#define IDS(t, s, flags) ids(t, s, sizeof(s) - 1, NULL, flags)

static void byte_level(void)
{
    struct tokenizer *t = make(gpt2, NULL);
    CHECK(t);
    CHECK_STR(IDS(t, "hello", 0), "259");
    CHECK_STR(IDS(t, "hellohe w", 0), "259 256 260");
    CHECK_STR(IDS(t, "\xFF\x00z", 0), "255 0 122");
    CHECK_STR(IDS(t, "", 0), "");
    CHECK_INT(tokenizer_find(t, "hello", 5), 259);
    CHECK_INT(tokenizer_find(t, "hellx", 5), -1);
    CHECK_INT(tokenizer_vocab(t), 265);
    CHECK_INT(tokenizer_bos(t), -1);
    CHECK(tokenizer_bytes(t) > 1000);
    tokenizer_free(t);
}

static void special_tokens(void)
{
    struct tokenizer *t = make(gpt2, NULL);
    CHECK_STR(IDS(t, "<|im_end|>", TOK_PARSE_SPECIAL), "262");
    CHECK_STR(IDS(t, "<|im_end|>x", TOK_PARSE_SPECIAL), "264"); /* the longest */
    CHECK_STR(ids(t, "<|im_end|>x", 11, "11111111110", TOK_PARSE_SPECIAL), "262 120");
    CHECK_STR(ids(t, "<|im_end|>", 10, "1111111110", TOK_PARSE_SPECIAL), "60 124 105 109 95 101 110 100 124 62");
    CHECK_STR(IDS(t, "<|im_end|>", 0), "60 124 105 109 95 101 110 100 124 62");
    CHECK_STR(IDS(t, "a<tool>", 0), "97 263"); /* user-defined: in any text */
    CHECK(tokenizer_is_eog(t, 262) && !tokenizer_is_eog(t, 261) && !tokenizer_is_eog(t, -1) &&
          !tokenizer_is_eog(t, 9999));
    CHECK(tokenizer_is_special(t, 262) && !tokenizer_is_special(t, 263));
    const char *p;
    CHECK_INT(tokenizer_piece(t, 262, false, &p), 0);
    CHECK_INT(tokenizer_piece(t, 262, true, &p), 10);
    CHECK_INT(tokenizer_piece(t, 100000, true, &p), 0);
    tokenizer_free(t);
}

static void splitting(void)
{
    struct tokenizer *g = make(gpt2, NULL), *q = make(qwen2, NULL), *s = make(smollm, NULL);
    /* "hello" merges only inside a word: a digit in between, a contraction */
    CHECK_STR(IDS(g, "he1llo", 0), "256 49 257 111");
    CHECK_STR(IDS(q, "e\xCC\x81", 0), "195 169"); /* NFC: U+00E9 */
    CHECK_STR(IDS(g, "e\xCC\x81", 0), "101 204 129");
    CHECK_STR(IDS(s, "  w", 0), "32 260");
    CHECK_STR(IDS(s, "1 w", 0), "49 260");
    tokenizer_free(g);
    tokenizer_free(q);
    tokenizer_free(s);
}

static void sentence_pieces(void)
{
    struct tokenizer *t = make(sentencepiece, NULL), *p = make(with_prefix, NULL);
    CHECK(t && p);
    CHECK_STR(IDS(t, "ab", 0), "262");
    CHECK_STR(IDS(t, " ab", 0), "264");
    CHECK_STR(IDS(t, " abb", 0), "264 261"); /* " a" scores best, then " ab" */
    CHECK_STR(IDS(t, "ab", TOK_ADD_SPECIAL), "1 262");
    CHECK_STR(IDS(p, "ab", 0), "264");
    CHECK_STR(IDS(t, "z\xC3\xA9", 0), "125 198 172"); /* byte fallback */
    CHECK_STR(IDS(t, "a\n\nb", 0), "260 266 261");
    CHECK_STR(IDS(t, "a  b", 0), "260 265 261");
    CHECK_STR(IDS(t, "<eos>", 0), "63 104 114 118 65");
    CHECK_STR(IDS(t, "<eos>", TOK_PARSE_SPECIAL), "2");
    const char *s;
    CHECK(tokenizer_piece(t, 264, false, &s) == 3 && !memcmp(s, " ab", 3));
    CHECK(tokenizer_piece(t, 3 + 0xE9, false, &s) == 1 && (unsigned char)*s == 0xE9);
    CHECK(tokenizer_is_eog(t, 2) && tokenizer_is_eog(t, 267) && !tokenizer_is_eog(t, 1));
    tokenizer_free(t);
    tokenizer_free(p);
}

static void long_words(void)
{
    /* a megabyte without a space: heap and scan must agree, and quadratic time would show */
    struct tokenizer *t = make(gpt2, NULL);
    enum { N = 1 << 20 };
    char *s = mem_alloc(N);
    struct token_list l = {0};
    for (size_t i = 0; i < N; i++)
        s[i] = "hello"[i % 5];
    CHECK_INT(tokenizer_encode(t, s, N, NULL, 0, &l, NULL), 0);
    CHECK_INT(l.n, N / 5 + 1);
    bool same = true;
    for (size_t i = 0; i < N / 5; i++)
        same = same && l.id[i] == 259;
    CHECK(same && l.id[l.n - 1] == 'h');
    token_list_done(&l);
    mem_free(s);
    tokenizer_free(t);
}

static void combining_marks(void)
{
    /* a long run of marks in the wrong order: normalising it must not be quadratic */
    struct tokenizer *t = make(qwen2, NULL);
    enum { N = 1 << 18 };
    char *s = mem_alloc(N);
    struct token_list l = {0};
    for (size_t i = 0; i < N; i += 4)
        memcpy(s + i, "\xCC\x81\xCC\xA7", 4);
    CHECK_INT(tokenizer_encode(t, s, N, NULL, 0, &l, NULL), 0);
    CHECK_INT(l.n, N);
    CHECK(l.n == N && l.id[1] == 0xA7 && l.id[N - 1] == 0x81); /* cedillas first */
    token_list_done(&l);
    mem_free(s);
    tokenizer_free(t);
}

static void streaming(void)
{
    struct tokenizer *t = make(gpt2, NULL), *p = make(with_prefix, NULL);
    struct detok d;
    struct buf b = {0};
    static const int parts[] = {0xE2, 0x82, 0xAC, 'x', 0xF0, 0x9F, 'y', 262, 0xC3};
    static const size_t after[] = {0, 0, 3, 4, 4, 4, 8, 8, 8};
    detok_init(&d, t);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        CHECK_INT(detok_feed(&d, parts[i], &b), 0);
        CHECK_INT(b.len, after[i]);
    }
    detok_finish(&d, &b);
    CHECK_STR(b.data, "\xE2\x82\xACx\xEF\xBF\xBDy\xEF\xBF\xBD");
    buf_reset(&b);
    detok_init(&d, p); /* the first space was the tokeniser's own */
    CHECK_INT(detok_feed(&d, 1, &b) | detok_feed(&d, 264, &b) | detok_feed(&d, 264, &b), 0);
    detok_finish(&d, &b);
    CHECK_STR(b.data, "ab ab");
    buf_done(&b);
    tokenizer_free(t);
    tokenizer_free(p);
}

static void unknown_model(struct tiny *t)
{
    tiny_put_str(t, "model", "bert");
    tiny_token(t, "a", 1, 1, 0);
}

static void unknown_pre(struct tiny *t)
{
    tiny_byte_level(t, "no-such-rule");
}

static void bad_eos(struct tiny *t)
{
    tiny_put_u32(t, "eos_token_id", 99999);
    tiny_put_str(t, "model", "gpt2");
    tiny_merge(t, "a b");
    tiny_token(t, "a", 1, 1, 0);
}

static void bad_merge(struct tiny *t)
{
    tiny_put_str(t, "model", "gpt2");
    tiny_token(t, "a", 1, 1, 0);
    tiny_merge(t, "nospace");
}

static void no_merges(struct tiny *t)
{
    tiny_put_str(t, "model", "gpt2");
    tiny_token(t, "a", 1, 1, 0);
}

static void refusals(void)
{
    static const struct {
        void (*fill)(struct tiny *);
        int code;
        const char *says;
    } bad[] = {{unknown_model, ERR_UNSUPPORTED, "bert"},
               {unknown_pre, ERR_UNSUPPORTED, "no-such-rule"},
               {bad_eos, ERR_FORMAT, "99999"},
               {bad_merge, ERR_FORMAT, "merge 0"},
               {no_merges, ERR_NOTFOUND, "merges"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};
        CHECK(!make(bad[i].fill, &e));
        CHECK_INT(e.code, bad[i].code);
        CHECK(strstr(e.msg, bad[i].says));
    }
}

/* Every allocation fails in turn, and all later ones: an error each time, nothing leaked (the sanitizer build sees to that). */
static void no_memory(void)
{
    static void (*const fill[])(struct tiny *) = {qwen2, sentencepiece};
    static const char text[] = "hello <|im_end|> e\xCC\x81 hellohellohellohellohellohellohellohellohello  w";
    for (int k = 0; k < 2; k++) {
        struct tiny tiny = {0};
        struct model_file *f = NULL;
        fill[k](&tiny);
        CHECK_INT(tiny_finish(&tiny, &f, NULL), 0);
        int ok = 0;
        for (long n = 0; n < 10000 && !ok; n++) {
            struct tokenizer *t = NULL;
            struct token_list l = {0};
            struct err e = {0};
            mem_fail_after(n);
            int rc = tokenizer_new(&t, f, &e);
            if (!rc)
                rc = tokenizer_encode(t, text, sizeof text - 1, NULL, TOK_PARSE_SPECIAL, &l, &e);
            mem_fail_after(-1);
            CHECK(rc == 0 || (rc == ERR_NOMEM && e.code == ERR_NOMEM && e.msg[0] && l.n == 0));
            ok = rc == 0;
            token_list_done(&l);
            tokenizer_free(t);
        }
        CHECK(ok);
        file_close(f);
    }
}

int main(void)
{
    RUN(byte_level);
    RUN(special_tokens);
    RUN(splitting);
    RUN(sentence_pieces);
    RUN(long_words);
    RUN(combining_marks);
    RUN(streaming);
    RUN(refusals);
    RUN(no_memory);
    return check_done();
}
