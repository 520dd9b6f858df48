/* vocab: the token list of a model file: text -> id, id -> bytes, kinds of tokens. */
#ifndef HEARTH_TEXT_VOCAB_H
#define HEARTH_TEXT_VOCAB_H
#include "base/err.h"
#include "file/file.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vocab_type { /* numbers of tokenizer.ggml.token_type */
                  VOCAB_NORMAL = 1,
                  VOCAB_UNKNOWN = 2,
                  VOCAB_CONTROL = 3,
                  VOCAB_USER = 4, /* matched in any text, before anything else */
                  VOCAB_UNUSED = 5,
                  VOCAB_BYTE = 6
};
#define VOCAB_BIT(type) (1u << (type))
#define VOCAB_PLAIN     (VOCAB_BIT(VOCAB_NORMAL) | VOCAB_BIT(VOCAB_USER)) /* what merging may make */

/* Longer tokens are shown, but never found in text: a file made of them would make every encoding slow. */
enum { VOCAB_MAX_MATCH = 1024 };

struct vocab_strings {
    char *data;
    uint32_t *off; /* [n + 1] */
};

struct vocab_slot {
    uint32_t hash;
    int32_t id; /* -1: free */
};

struct vocab {
    uint32_t n;
    bool bytes_as_text;         /* byte-level: text holds the bytes themselves */
    struct vocab_strings text;  /* what is looked up */
    struct vocab_strings shown; /* what detokenising gives; data NULL: the same as text */
    uint8_t *type;              /* enum vocab_type */
    struct vocab_slot *slot;    /* open addressing */
    uint32_t mask;
    uint32_t max_len;     /* longest plain token, bytes */
    int32_t byte_id[256]; /* the token that stands for one byte, -1 if none */
    size_t held;          /* bytes of memory */
};

/* byte_level: token texts are spelled in the printable alphabet of byte-level BPE. Else they are SentencePiece pieces. */
int vocab_load(struct vocab *v, const struct model_file *f, bool byte_level, struct err *e);
void vocab_done(struct vocab *v);
/* First token with this text whose type is in the mask of VOCAB_BITs; -1 if none. */
int32_t vocab_find(const struct vocab *v, const char *s, size_t n, unsigned types);
size_t vocab_text(const struct vocab *v, int32_t id, const char **p);
size_t vocab_shown(const struct vocab *v, int32_t id, const char **p);
/* Turns the printable spelling of byte-level BPE into bytes; characters outside that alphabet stay. dst: n bytes. Returns length. */
size_t vocab_unspell(const char *s, size_t n, char *dst);

#endif
