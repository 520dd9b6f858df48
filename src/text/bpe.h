/* bpe: merging of symbols into tokens, for byte-level BPE (ranked pairs) and SentencePiece BPE (scored pieces). */
#ifndef HEARTH_TEXT_BPE_H
#define HEARTH_TEXT_BPE_H
#include "text/text.h"
#include "text/vocab.h"

struct bpe_merge {
    int32_t left, right; /* left -1: free slot */
    int32_t id;          /* what they become */
    uint32_t rank;
};

struct bpe {
    const struct vocab *v;
    /* byte-level */
    struct bpe_merge *slot; /* open addressing by (left, right) */
    uint32_t mask;
    bool whole_words;
    /* SentencePiece */
    uint32_t *order;    /* [vocab] smaller merges first; NULL for byte-level */
    int32_t unknown;    /* emitted for what has no bytes in the vocabulary; -1: nothing */
    int32_t ascii[128]; /* token of one ASCII character, -1 if none */
    bool space_starts;  /* no piece has U+2581 after another character: words can be merged one by one */
    size_t held;
};

int bpe_load(struct bpe *b, const struct vocab *v, const struct model_file *f, struct err *e);
void bpe_done(struct bpe *b);

struct bpe_symbol {
    uint64_t key; /* priority of merging with the next symbol; BPE_NONE: never */
    size_t pos;
    uint32_t len, chars;
    int32_t id;     /* -1: not in the vocabulary, goes out byte by byte */
    int32_t merged; /* what it becomes with the next one */
    uint32_t prev, next;
};
struct bpe_work { /* scratch of one tokenizer_encode call */
    struct bpe_symbol *sym;
    size_t cap;
    struct bpe_entry *heap;
    size_t heap_cap;
};
void bpe_work_done(struct bpe_work *w);

/* Appends the tokens of one word. Returns 0, ERR_NOMEM or ERR_LIMIT. */
int bpe_word(const struct bpe *b, struct bpe_work *w, const char *s, size_t n, struct token_list *out, struct err *e);
int bpe_emit(struct token_list *out, int32_t id, struct err *e);

#endif
