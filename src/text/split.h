/* split: pre-tokenisers. Cuts text into the words inside which byte pairs may merge. */
#ifndef HEARTH_TEXT_SPLIT_H
#define HEARTH_TEXT_SPLIT_H
#include <stdbool.h>
#include <stddef.h>

struct split_rule;

/* By the name in tokenizer.ggml.pre; NULL if unknown. */
const struct split_rule *split_find(const char *name, size_t n);
enum split_flags {
    SPLIT_NFC = 1,         /* the model's own tokeniser normalises to NFC first */
    SPLIT_WHOLE_WORDS = 2, /* a word that is a token stays whole, whatever the merges say */
    SPLIT_BOS = 4          /* texts begin with BOS unless the file says otherwise */
};
unsigned split_flags(const struct split_rule *r);

struct split {
    const struct split_rule *rule;
    const char *s;
    size_t n, pos, part; /* part: where the present independent part ends */
};
void split_init(struct split *p, const struct split_rule *r, const char *s, size_t n);
bool split_next(struct split *p, size_t *begin, size_t *end); /* false at the end; words cover the text without gaps */

#endif
