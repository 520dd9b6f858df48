/* text: strings <-> ids. Tokenisers (byte-level BPE, SentencePiece BPE), incremental detokenising, chat templates. */
#ifndef HEARTH_TEXT_H
#define HEARTH_TEXT_H
#include "base/buf.h"
#include "base/err.h"
#include "file/file.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cJSON;

/* ---- tokeniser: built from a model file's metadata, immutable afterwards, safe from many threads ---- */
struct tokenizer;
int tokenizer_new(struct tokenizer **out, const struct model_file *f, struct err *e);
void tokenizer_free(struct tokenizer *t);
size_t tokenizer_bytes(const struct tokenizer *t); /* memory held, for the ledger */
size_t tokenizer_vocab(const struct tokenizer *t);

struct token_list {
    int32_t *id; /* mem_alloc'd; token_list_done frees */
    size_t n, cap;
};
void token_list_done(struct token_list *l);

enum tokenizer_flags {
    TOK_ADD_SPECIAL = 1,  /* BOS / EOS as the model file says */
    TOK_PARSE_SPECIAL = 2 /* added and special tokens in the text become their ids where the text is trusted */
};
/* Encodes text[0..n). trusted: one byte per text byte (non-zero: may form special tokens), or NULL = all trusted. Without
 * TOK_PARSE_SPECIAL nothing becomes a control token; user-defined tokens match in any text, as the models' own tools do.
 * Invalid UTF-8 is encoded byte by byte; only bytes that a byte-level vocabulary has no token for are left out. Appends to out. */
int tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, const uint8_t *trusted, unsigned flags,
                     struct token_list *out, struct err *e);
/* Bytes of one token (may be part of a UTF-8 character). Special tokens give "" unless `special`. Returns length; *p stays valid with t. */
size_t tokenizer_piece(const struct tokenizer *t, int32_t id, bool special, const char **p);
int32_t tokenizer_bos(const struct tokenizer *t); /* -1: none */
int32_t tokenizer_eos(const struct tokenizer *t);
bool tokenizer_is_eog(const struct tokenizer *t,
                      int32_t id); /* ends a generation: eos, eot, <|im_end|>, <end_of_turn>, ... */
bool tokenizer_is_special(const struct tokenizer *t, int32_t id); /* control token: never shown */
bool tokenizer_drops_space(const struct tokenizer *t); /* the text begins with a space of the tokeniser's own making */
int32_t tokenizer_find(const struct tokenizer *t, const char *piece, size_t n); /* exact vocabulary entry, -1 if none */

/* Incremental detokeniser: holds back bytes of an unfinished character. One per stream. */
struct detok {
    const struct tokenizer *t;
    unsigned char held[8];
    int n_held;
    bool started; /* SentencePiece: the first space of the text is dropped (if the model file says so) */
};
void detok_init(struct detok *d, const struct tokenizer *t);
int detok_feed(struct detok *d, int32_t id,
               struct buf *out);                     /* appends complete UTF-8 only; ill-formed bytes become U+FFFD */
void detok_finish(struct detok *d, struct buf *out); /* what is still held becomes U+FFFD */

/* ---- chat template: the Jinja subset of real models ---- */
struct chat_template;
int chat_template_new(struct chat_template **out, const char *src, size_t n,
                      struct err *e); /* error names line and construct */
void chat_template_free(struct chat_template *t);
/* ctx: JSON object with messages, tools, add_generation_prompt, bos_token, eos_token, ... The result equals Python's
 * jinja2 (trim_blocks, lstrip_blocks, the sandbox of transformers) byte for byte. *trusted (mem_free) has one byte per output
 * byte: 1 = came from the template itself or from bos_token/eos_token, 0 = came from the caller's data. Limits on steps,
 * depth and output size make hostile templates end with ERR_LIMIT; raise_exception() gives ERR_RANGE with its text. */
int chat_template_render(const struct chat_template *t, const struct cJSON *ctx, struct buf *out, uint8_t **trusted,
                         struct err *e);

#endif
