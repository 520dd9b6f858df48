/* utf8: what a character is. Categories come from utf8proc (Unicode 15 in Debian 12); the oracle's regex engine knows
 * Unicode 16, so characters assigned since are in a short table here. Normalisation uses utf8proc's tables but not its
 * ordering loop, which is quadratic in the length of a run of combining marks. */
#include "text/utf8.h"
#include "base/mem.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

size_t utf8_decode(const char *s, size_t n, int32_t *cp)
{
    const unsigned char *p = (const unsigned char *)s;
    *cp = -1;
    if (p[0] < 0x80) {
        *cp = p[0];
        return 1;
    }
    if (p[0] < 0xC2 || p[0] > 0xF4)
        return 1;
    size_t len = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    if (n < len)
        return 1;
    int32_t v = p[0] & (0x7F >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 1;
        v = v << 6 | (p[i] & 0x3F);
    }
    if (len == 3 && (v < 0x800 || (v >= 0xD800 && v < 0xE000)))
        return 1;
    if (len == 4 && (v < 0x10000 || v > 0x10FFFF))
        return 1;
    *cp = v;
    return len;
}

size_t utf8_encode(int32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xC0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3F));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xE0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3F));
        out[2] = (char)(0x80 | (cp & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3F));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3F));
    out[3] = (char)(0x80 | (cp & 0x3F));
    return 4;
}

/* Letters and numbers assigned by Unicode 15.1 and 16.0, for libraries that call them unassigned. */
struct range {
    int32_t first, last;
    uint8_t category;
};
#define LU UTF8PROC_CATEGORY_LU
#define LL UTF8PROC_CATEGORY_LL
#define LM UTF8PROC_CATEGORY_LM
#define LO UTF8PROC_CATEGORY_LO
#define ND UTF8PROC_CATEGORY_ND
static const struct range later[] = {
    {0x1C89, 0x1C89, LU},   {0x1C8A, 0x1C8A, LL},   {0xA7CB, 0xA7CC, LU},   {0xA7CD, 0xA7CD, LL},
    {0xA7DA, 0xA7DA, LU},   {0xA7DB, 0xA7DB, LL},   {0xA7DC, 0xA7DC, LU},   {0x105C0, 0x105F3, LO},
    {0x10D40, 0x10D49, ND}, {0x10D4A, 0x10D4D, LO}, {0x10D4E, 0x10D4E, LM}, {0x10D4F, 0x10D4F, LO},
    {0x10D50, 0x10D65, LU}, {0x10D6F, 0x10D6F, LM}, {0x10D70, 0x10D85, LL}, {0x10EC2, 0x10EC4, LO},
    {0x11380, 0x11389, LO}, {0x1138B, 0x1138B, LO}, {0x1138E, 0x1138E, LO}, {0x11390, 0x113B5, LO},
    {0x113B7, 0x113B7, LO}, {0x113D1, 0x113D1, LO}, {0x113D3, 0x113D3, LO}, {0x116D0, 0x116E3, ND},
    {0x11BC0, 0x11BE0, LO}, {0x11BF0, 0x11BF9, ND}, {0x13460, 0x143FA, LO}, {0x16100, 0x1611D, LO},
    {0x16130, 0x16139, ND}, {0x16D40, 0x16D42, LM}, {0x16D43, 0x16D6A, LO}, {0x16D6B, 0x16D6C, LM},
    {0x16D70, 0x16D79, ND}, {0x18CFF, 0x18CFF, LO}, {0x1CCF0, 0x1CCF9, ND}, {0x1E5D0, 0x1E5ED, LO},
    {0x1E5F0, 0x1E5F0, LO}, {0x1E5F1, 0x1E5FA, ND}, {0x2EBF0, 0x2EE5D, LO},
};
#undef LU
#undef LL
#undef LM
#undef LO
#undef ND

int utf8_category(int32_t cp)
{
    int c = utf8proc_category(cp);
    if (c != UTF8PROC_CATEGORY_CN)
        return c;
    size_t lo = 0, hi = sizeof later / sizeof *later;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (later[mid].last < cp)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo < sizeof later / sizeof *later && later[lo].first <= cp)
        return later[lo].category;
    return c;
}

static enum utf8_class class_of(int32_t cp)
{
    if ((cp >= 0x4E00 && cp <= 0x9FFF) || (cp >= 0xAC00 && cp <= 0xD7A3))
        return UTF8_LETTER;
    if (cp == 0x85)
        return UTF8_SPACE;
    switch (utf8_category(cp)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return UTF8_LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return UTF8_NUMBER;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return UTF8_SPACE;
    default:
        return UTF8_OTHER;
    }
}

enum utf8_class utf8_classify(const char *s, size_t n, size_t *len)
{
    unsigned char c = (unsigned char)*s;
    if (c < 0x80) {
        *len = 1;
        if ((unsigned char)((c | 0x20) - 'a') < 26)
            return UTF8_LETTER;
        if ((unsigned char)(c - '0') < 10)
            return UTF8_NUMBER;
        return c == ' ' || (c >= 9 && c <= 13) ? UTF8_SPACE : UTF8_OTHER;
    }
    int32_t cp;
    *len = utf8_decode(s, n, &cp);
    return cp < 0 ? UTF8_OTHER : class_of(cp);
}

/* ---- NFC ---- */

/* The oracle's normaliser has tables of Unicode 9: these marks, assigned since, stay where they are and join nothing. */
static const struct {
    int32_t first, last;
} newer[] = {
    {0x07FD, 0x07FD},   {0x0897, 0x089F},   {0x08CA, 0x08D3},   {0x09FE, 0x09FE},   {0x0C3C, 0x0C3C},
    {0x0D3B, 0x0D3C},   {0x0EBA, 0x0EBA},   {0x1715, 0x1715},   {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},
    {0xA82C, 0xA82C},   {0x105C0, 0x105F3}, {0x10D24, 0x10D27}, {0x10D69, 0x10D6D}, {0x10EAB, 0x10EAC},
    {0x10EFC, 0x10EFF}, {0x10F46, 0x10F50}, {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B},
    {0x11380, 0x113E2}, {0x1145E, 0x1145E}, {0x11839, 0x1183A}, {0x11930, 0x11930}, {0x11935, 0x11935},
    {0x11938, 0x11938}, {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0}, {0x11A34, 0x11A34},
    {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45}, {0x11D97, 0x11D97},
    {0x11F41, 0x11F42}, {0x16100, 0x1612F}, {0x16D40, 0x16D6A}, {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E08F},
    {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF}, {0x1E5EE, 0x1E5EF},
};

static bool stands_alone(int32_t cp)
{
    size_t lo = 0, n = sizeof newer / sizeof *newer, hi = n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (newer[mid].last < cp)
            lo = mid + 1;
        else
            hi = mid;
    }
    return cp < 0 || (lo < n && newer[lo].first <= cp);
}

struct mark {
    int32_t cp;
    int ccc;
    uint32_t order; /* keeps the sort stable */
};

static int mark_cmp(const void *a, const void *b)
{
    const struct mark *x = a, *y = b;
    if (x->ccc != y->ccc)
        return x->ccc < y->ccc ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* Canonical ordering: every run of characters with a combining class is sorted by it. */
static bool order_marks(int32_t *cp, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t j = i;
        bool sorted = true;
        int last = 0, c;
        for (; j < n && (c = utf8proc_get_property(cp[j])->combining_class) != 0; j++) {
            if (c < last)
                sorted = false;
            last = c;
        }
        if (!sorted) {
            struct mark *m = mem_calloc(j - i, sizeof *m);
            if (!m)
                return false;
            for (size_t k = i; k < j; k++)
                m[k - i] = (struct mark){cp[k], utf8proc_get_property(cp[k])->combining_class, (uint32_t)(k - i)};
            qsort(m, j - i, sizeof *m, mark_cmp);
            for (size_t k = i; k < j; k++)
                cp[k] = m[k - i].cp;
            mem_free(m);
        }
        i = j + 1;
    }
    return true;
}

/* One stretch of well-formed text that begins where nothing can combine with what precedes it. */
static void nfc_stretch(const char *s, size_t n, struct buf *out)
{
    enum { MAX_EXPANSION = 4 }; /* no canonical decomposition is longer; one code point takes at least two bytes here */
    size_t cap = n * MAX_EXPANSION + 4, len = 0;
    int32_t *cp = mem_calloc(cap, sizeof *cp);
    const int options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    bool ok = cp != NULL;
    for (size_t i = 0; ok && i < n;) {
        int32_t c;
        i += utf8_decode(s + i, n - i, &c);
        utf8proc_ssize_t r = utf8proc_decompose_char(c, cp + len, (utf8proc_ssize_t)(cap - len), options, NULL);
        ok = r >= 0 && (size_t)r <= cap - len;
        if (ok)
            len += (size_t)r;
    }
    ok = ok && order_marks(cp, len);
    if (ok) {
        utf8proc_ssize_t r = utf8proc_normalize_utf32(cp, (utf8proc_ssize_t)len, options);
        ok = r >= 0;
        for (utf8proc_ssize_t i = 0; ok && i < r; i++) {
            char c[4];
            buf_add(out, c, utf8_encode(cp[i], c));
        }
    }
    if (!ok)
        out->failed = true;
    mem_free(cp);
}

/* Characters that NFC leaves alone and that never combine with what precedes them: they may combine onwards only. */
static bool inert(int32_t cp)
{
    return cp < 0x300 || (cp >= 0x400 && cp <= 0x482) || (cp >= 0x3041 && cp <= 0x3096) ||
           (cp >= 0x30A1 && cp <= 0x30FA) || (cp >= 0x4E00 && cp <= 0x9FFF) || (cp >= 0xAC00 && cp <= 0xD7A3) ||
           stands_alone(cp);
}

/* Most text is inert and copied as it is; the rest is normalised from the last inert character before it. */
void utf8_nfc(const char *s, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n;) {
        size_t j = i, last = i, len = 0;
        int32_t cp = 0;
        while (j < n && (len = utf8_decode(s + j, n - j, &cp), inert(cp))) { /* ill-formed bytes (cp < 0) too */
            last = cp < 0 || (cp >= 0x300 && stands_alone(cp)) ? j + len : j;
            j += len;
        }
        if (j == n)
            last = n;
        buf_add(out, s + i, last - i);
        i = last;
        while (j < n && (len = utf8_decode(s + j, n - j, &cp), !inert(cp)))
            j += len;
        if (j > i)
            nfc_stretch(s + i, j - i, out);
        i = j;
    }
}
