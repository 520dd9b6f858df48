/* tiny_vocab: GGUF files in memory with a vocabulary small enough to read, for unit tests and the fuzz target. */
#ifndef HEARTH_TESTS_TINY_VOCAB_H
#define HEARTH_TESTS_TINY_VOCAB_H
#include "base/buf.h"
#include "file/file.h"
#include "text/utf8.h"
#include <stdio.h>
#include <string.h>

struct tiny {
    struct buf kv;
    uint64_t n_kv;
    struct buf texts, types, scores, merges;
    uint32_t n_tokens, n_merges;
};

static inline void tiny_raw(struct buf *b, uint64_t v, size_t n)
{
    buf_add(b, &v, n); /* little-endian machines only, as everything here */
}

static inline void tiny_str(struct buf *b, const char *s, size_t n)
{
    tiny_raw(b, n, 8);
    buf_add(b, s, n);
}

static inline void tiny_key(struct tiny *t, const char *key, enum file_value_type type)
{
    char full[80];
    snprintf(full, sizeof full, "tokenizer.ggml.%s", key);
    tiny_str(&t->kv, full, strlen(full));
    tiny_raw(&t->kv, type, 4);
    t->n_kv++;
}

static inline void tiny_put_str(struct tiny *t, const char *key, const char *v)
{
    tiny_key(t, key, FV_STRING);
    tiny_str(&t->kv, v, strlen(v));
}

static inline void tiny_put_u32(struct tiny *t, const char *key, uint32_t v)
{
    tiny_key(t, key, FV_U32);
    tiny_raw(&t->kv, v, 4);
}

static inline void tiny_put_bool(struct tiny *t, const char *key, bool v)
{
    tiny_key(t, key, FV_BOOL);
    tiny_raw(&t->kv, v, 1);
}

static inline int32_t tiny_token(struct tiny *t, const char *s, size_t n, int type, float score)
{
    uint32_t bits;
    memcpy(&bits, &score, 4);
    tiny_str(&t->texts, s, n);
    tiny_raw(&t->types, (uint32_t)type, 4);
    tiny_raw(&t->scores, bits, 4);
    return (int32_t)t->n_tokens++;
}

static inline void tiny_merge(struct tiny *t, const char *pair)
{
    tiny_str(&t->merges, pair, strlen(pair));
    t->n_merges++;
}

static inline void tiny_put_array(struct tiny *t, const char *key, enum file_value_type type, uint64_t n,
                                  const struct buf *data)
{
    tiny_key(t, key, FV_ARRAY);
    tiny_raw(&t->kv, type, 4);
    tiny_raw(&t->kv, n, 8);
    buf_add(&t->kv, data->data, data->len);
}

/* Closes the description and parses it; the tiny is empty afterwards. */
static inline int tiny_finish(struct tiny *t, struct model_file **f, struct err *e)
{
    struct buf out = {0};
    tiny_put_array(t, "tokens", FV_STRING, t->n_tokens, &t->texts);
    tiny_put_array(t, "token_type", FV_I32, t->n_tokens, &t->types);
    tiny_put_array(t, "scores", FV_F32, t->n_tokens, &t->scores);
    if (t->n_merges)
        tiny_put_array(t, "merges", FV_STRING, t->n_merges, &t->merges);
    buf_add(&out, "GGUF", 4);
    tiny_raw(&out, 3, 4);
    tiny_raw(&out, 0, 8);
    tiny_raw(&out, t->n_kv, 8);
    buf_add(&out, t->kv.data, t->kv.len);
    while (out.len % 32)
        buf_char(&out, 0);
    int rc = file_parse(f, out.data, out.len, out.len, e);
    buf_done(&out);
    buf_done(&t->kv);
    buf_done(&t->texts);
    buf_done(&t->types);
    buf_done(&t->scores);
    buf_done(&t->merges);
    memset(t, 0, sizeof *t);
    return rc;
}

/* All bytes in the spelling of byte-level BPE, a few merges, two control tokens and a user-defined one:
 * 0..255 bytes, 256 "he", 257 "ll", 258 "hell", 259 "hello", 260 " w", 261 <|im_start|>, 262 <|im_end|>, 263 <tool>, 264 <|im_end|>x */
static inline void tiny_byte_level(struct tiny *t, const char *pre)
{
    tiny_put_str(t, "model", "gpt2");
    tiny_put_str(t, "pre", pre);
    int next = 256;
    for (int b = 0; b < 256; b++) {
        bool plain = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        char s[4];
        tiny_token(t, s, utf8_encode(plain ? b : next++, s), 1, 0);
    }
    static const char *const made[] = {"he", "ll", "hell", "hello", "\xC4\xA0w"};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        tiny_token(t, made[i], strlen(made[i]), 1, 0);
    tiny_token(t, "<|im_start|>", 12, 3, 0);
    tiny_token(t, "<|im_end|>", 10, 3, 0);
    tiny_token(t, "<tool>", 6, 4, 0);
    tiny_token(t, "<|im_end|>x", 11, 3, 0);
    tiny_merge(t, "h e");
    tiny_merge(t, "l l");
    tiny_merge(t, "he ll");
    tiny_merge(t, "hell o");
    tiny_merge(t, "\xC4\xA0 w");
    tiny_put_u32(t, "eos_token_id", 262);
}

/* 0 <unk>, 1 <bos>, 2 <eos>, 3..258 bytes, 259 "▁", 260 a, 261 b, 262 ab, 263 ▁a, 264 ▁ab, 265 "  " (user-defined), 266 "\n\n" (user-defined),
 * 267 <end_of_turn> */
static inline void tiny_sentencepiece(struct tiny *t, bool prefix)
{
    tiny_put_str(t, "model", "llama");
    tiny_token(t, "<unk>", 5, 2, -1000);
    tiny_token(t, "<bos>", 5, 3, -1000);
    tiny_token(t, "<eos>", 5, 3, -1000);
    for (int b = 0; b < 256; b++) {
        char s[8];
        snprintf(s, sizeof s, "<0x%02X>", b);
        tiny_token(t, s, 6, 6, 0);
    }
    static const char *const made[] = {"\xE2\x96\x81",
                                       "a",
                                       "b",
                                       "ab",
                                       "\xE2\x96\x81"
                                       "a",
                                       "\xE2\x96\x81"
                                       "ab"};
    static const float score[] = {-10, -11, -12, -2, -1, -3};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        tiny_token(t, made[i], strlen(made[i]), 1, score[i]);
    tiny_token(t, "  ", 2, 4, -1000);
    tiny_token(t, "\n\n", 2, 4, -1000);
    tiny_token(t, "<end_of_turn>", 13, 3, -1000);
    tiny_put_u32(t, "bos_token_id", 1);
    tiny_put_u32(t, "eos_token_id", 2);
    tiny_put_u32(t, "unknown_token_id", 0);
    tiny_put_bool(t, "add_bos_token", true);
    tiny_put_bool(t, "add_space_prefix", prefix);
}

#endif
