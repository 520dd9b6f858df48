/* special: finds added tokens (control and user-defined) in text, longest first. */
#ifndef HEARTH_TEXT_SPECIAL_H
#define HEARTH_TEXT_SPECIAL_H
#include "text/vocab.h"

struct special {
    const struct vocab *v;
    int32_t *sorted; /* token ids by their text, bytewise */
    uint32_t n;
    bool first[256]; /* some token begins with this byte */
    size_t held;
};

int special_load(struct special *s, const struct vocab *v, struct err *e);
void special_done(struct special *s);

struct special_text {
    const char *s;
    size_t n;
    const uint8_t *trusted; /* per byte; NULL: all trusted */
    bool control;           /* control tokens may be formed (where trusted) */
};
/* The next added token at or after `from`: its place and id. false: none. */
bool special_next(const struct special *sp, const struct special_text *t, size_t from, size_t *begin, size_t *end,
                  int32_t *id);

#endif
