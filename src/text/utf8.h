/* utf8: decoding, the character classes that pre-tokenisers split on, and NFC. */
#ifndef HEARTH_TEXT_UTF8_H
#define HEARTH_TEXT_UTF8_H
#include "base/buf.h"
#include <stddef.h>
#include <stdint.h>

enum utf8_class { UTF8_OTHER, UTF8_LETTER, UTF8_NUMBER, UTF8_SPACE };

/* Decodes the character at s (n >= 1 bytes left). Returns its length, 1..4. Bytes that are not well-formed UTF-8 (Unicode
 * table 3-7: overlong forms, surrogates, above U+10FFFF) give *cp = -1 and length 1. */
size_t utf8_decode(const char *s, size_t n, int32_t *cp);
size_t utf8_encode(int32_t cp, char out[4]);

/* Class of the character at s, its length in *len. Ill-formed bytes are UTF8_OTHER. */
enum utf8_class utf8_classify(const char *s, size_t n, size_t *len);
/* General category as utf8proc numbers it, with the assignments of Unicode 16 that older libraries lack. */
int utf8_category(int32_t cp);

/* Appends the NFC of s[0..n) to out; ill-formed bytes are copied. Linear-time on hostile runs of combining marks. */
void utf8_nfc(const char *s, size_t n, struct buf *out);

#endif
