/* detok: ids -> UTF-8, one stream. A character may be spread over several tokens: its bytes are held back until the last
 * one came. What can no longer become a character is replaced by U+FFFD, once per maximal ill-formed part as Unicode
 * recommends (chapter 3.9), so that the text equals what decoding all bytes at once would give. */
#include "text/text.h"
#include "text/utf8.h"
#include <string.h>

#define REPLACEMENT "\xEF\xBF\xBD"

void detok_init(struct detok *d, const struct tokenizer *t)
{
    memset(d, 0, sizeof *d);
    d->t = t;
}

/* Could these n bytes (fewer than a character) begin a well-formed one? */
static bool is_prefix(const unsigned char *p, int n)
{
    if (p[0] < 0xC2 || p[0] > 0xF4)
        return false;
    int len = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    if (n >= len)
        return false;
    if (n >= 2) {
        unsigned char lo = p[0] == 0xE0 ? 0xA0 : p[0] == 0xF0 ? 0x90 : 0x80;
        unsigned char hi = p[0] == 0xED ? 0x9F : p[0] == 0xF4 ? 0x8F : 0xBF;
        if (p[1] < lo || p[1] > hi)
            return false;
    }
    return n < 3 || (p[2] & 0xC0) == 0x80;
}

static void push(struct detok *d, unsigned char c, struct buf *out)
{
    if (d->n_held == 0 && c < 0x80) {
        buf_char(out, (char)c);
        return;
    }
    d->held[d->n_held++] = c;
    if (is_prefix(d->held, d->n_held))
        return;
    int32_t cp;
    if (utf8_decode((const char *)d->held, (size_t)d->n_held, &cp) == (size_t)d->n_held && cp >= 0) {
        buf_add(out, d->held, (size_t)d->n_held);
        d->n_held = 0;
        return;
    }
    buf_str(out, REPLACEMENT);
    bool again = d->n_held > 1; /* the byte that broke the character may begin another one */
    d->n_held = 0;
    if (again)
        push(d, c, out);
}

int detok_feed(struct detok *d, int32_t id, struct buf *out)
{
    const char *p;
    size_t n = tokenizer_piece(d->t, id, false, &p);
    if (n && !d->started && tokenizer_drops_space(d->t) && p[0] == ' ') {
        p++;
        n--;
    }
    if (n || !tokenizer_is_special(d->t, id))
        d->started = true;
    for (size_t i = 0; i < n; i++)
        push(d, (unsigned char)p[i], out);
    return out->failed ? ERR_NOMEM : 0;
}

void detok_finish(struct detok *d, struct buf *out)
{
    if (d->n_held)
        buf_str(out, REPLACEMENT);
    d->n_held = 0;
}
