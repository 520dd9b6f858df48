/* split: pre-tokenisers written by hand. Each follows the regular expression of the model's tokeniser, alternative by
 * alternative in its order; that is exact, needs no regex engine, and its time is linear on any input.
 *
 * Notation below: L letter, N number, S white space (Unicode properties), O anything else. */
#include "text/split.h"
#include "text/utf8.h"
#include <string.h>

struct text {
    const char *s;
    size_t n;
};

static enum utf8_class at(struct text t, size_t i, size_t *len)
{
    return utf8_classify(t.s + i, t.n - i, len);
}

static size_t run(struct text t, size_t i, enum utf8_class c)
{
    size_t len;
    while (i < t.n && at(t, i, &len) == c)
        i += len;
    return i;
}

/* S+(?!non-S) | S+ : a run of white space leaves its last character to the word that follows it. */
static size_t spaces(struct text t, size_t i)
{
    size_t end = i, last = i, len;
    while (end < t.n && at(t, end, &len) == UTF8_SPACE) {
        last = end;
        end += len;
    }
    return end == t.n || last == i ? end : last;
}

/* 's 't 're 've 'm 'll 'd at i. With `fold` in any case, where the long s (U+017F) is an s too. Returns length or 0. */
static size_t contraction(struct text t, size_t i, bool fold)
{
    if (t.s[i] != '\'' || t.n - i < 2)
        return 0;
    char a = t.s[i + 1], b = t.n - i > 2 ? t.s[i + 2] : 0;
    if (fold) {
        if ((unsigned char)a == 0xC5 && (unsigned char)b == 0xBF)
            return 3;
        if (a >= 'A' && a <= 'Z')
            a = (char)(a + 32);
        if (b >= 'A' && b <= 'Z')
            b = (char)(b + 32);
    }
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l'))
        return 3;
    return 0;
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?L+| ?N+| ?O+|S+(?!non-S)|S+ */
static size_t word_gpt2(struct text t, size_t i)
{
    size_t k = contraction(t, i, false), len;
    if (k)
        return i + k;
    size_t j = i + (t.s[i] == ' ' && t.n - i > 1);
    enum utf8_class c = at(t, j, &len);
    if (c != UTF8_SPACE)
        return run(t, j, c);
    return spaces(t, i);
}

/* ?O+[\r\n]* */
static size_t symbols(struct text t, size_t j)
{
    j = run(t, j, UTF8_OTHER);
    while (j < t.n && (t.s[j] == '\r' || t.s[j] == '\n'))
        j++;
    return j;
}

/* S*[\r\n]+ : up to the last line break of the run; i if there is none. */
static size_t lines(struct text t, size_t i)
{
    size_t end = i, len;
    for (size_t j = i; j < t.n && at(t, j, &len) == UTF8_SPACE; j += len)
        if (t.s[j] == '\r' || t.s[j] == '\n')
            end = j + 1;
    return end;
}

/* (any case: 's|'t|'re|'ve|'m|'ll|'d)|[^\r\nLN]?L+|N{1,digits}| ?O+[\r\n]*|S*[\r\n]+|S+(?!non-S)|S+ */
static size_t word_llama3(struct text t, size_t i, int digits)
{
    size_t k = contraction(t, i, true), len, len2;
    if (k)
        return i + k;
    enum utf8_class c = at(t, i, &len);
    if (c == UTF8_LETTER)
        return run(t, i, UTF8_LETTER);
    if (c == UTF8_NUMBER) {
        size_t j = i;
        for (int d = 0; d < digits && j < t.n && at(t, j, &len) == UTF8_NUMBER; d++)
            j += len;
        return j;
    }
    enum utf8_class next = i + len < t.n ? at(t, i + len, &len2) : UTF8_SPACE;
    if (next == UTF8_LETTER && t.s[i] != '\r' && t.s[i] != '\n')
        return run(t, i + len, UTF8_LETTER);
    if (c == UTF8_OTHER)
        return symbols(t, i);
    if (t.s[i] == ' ' && next == UTF8_OTHER)
        return symbols(t, i + 1);
    size_t j = lines(t, i);
    return j > i ? j : spaces(t, i);
}

static size_t word_llama_bpe(struct text t, size_t i)
{
    return word_llama3(t, i, 3);
}

static size_t word_qwen2(struct text t, size_t i)
{
    return word_llama3(t, i, 1);
}

/* The oracle's digit splitter is one Unicode version ahead (17) of its regular expressions (16). */
static bool is_digit(struct text t, size_t i, size_t *len)
{
    int32_t cp;
    if (at(t, i, len) == UTF8_NUMBER)
        return true;
    if (*len < 4 || utf8_decode(t.s + i, t.n - i, &cp) != 4)
        return false;
    return (cp >= 0x11DE0 && cp <= 0x11DE9) || (cp >= 0x16FF4 && cp <= 0x16FF6);
}

/* Numbers stand alone first; what lies between is split on its own, so its end counts as the end of the text. */
static size_t part_digits(struct text t, size_t i)
{
    size_t len;
    if (is_digit(t, i, &len))
        return i + len;
    for (; i < t.n && !is_digit(t, i, &len); i += len) {
    }
    return i;
}

static size_t part_all(struct text t, size_t i)
{
    (void)i;
    return t.n;
}

struct split_rule {
    const char *names[8];
    size_t (*part)(struct text t, size_t i); /* end of the independent part that begins at i */
    size_t (*word)(struct text t, size_t i); /* end of the word that begins at i */
    unsigned flags;                          /* enum split_flags */
};

static const struct split_rule rules[] = {
    {{"gpt-2", "gpt2", "default", "phi-2", "olmo", "jina-v2-code"}, part_all, word_gpt2, 0},
    {{"smollm", "starcoder", "refact", "command-r", "codeshell"}, part_digits, word_gpt2, 0},
    {{"qwen2", "deepseek-r1-qwen"}, part_all, word_qwen2, SPLIT_NFC},
    {{"stablelm2"}, part_all, word_qwen2, 0},
    {{"llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral"},
     part_all,
     word_llama_bpe,
     SPLIT_WHOLE_WORDS | SPLIT_BOS},
    {{"dbrx", "smaug-bpe"}, part_all, word_llama_bpe, 0},
};

const struct split_rule *split_find(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        for (size_t k = 0; k < sizeof rules[i].names / sizeof *rules[i].names && rules[i].names[k]; k++)
            if (strlen(rules[i].names[k]) == n && memcmp(rules[i].names[k], name, n) == 0)
                return &rules[i];
    return NULL;
}

unsigned split_flags(const struct split_rule *r)
{
    return r->flags;
}

void split_init(struct split *p, const struct split_rule *r, const char *s, size_t n)
{
    *p = (struct split){r, s, n, 0, 0};
}

bool split_next(struct split *p, size_t *begin, size_t *end)
{
    if (p->pos >= p->n)
        return false;
    if (p->pos >= p->part)
        p->part = p->rule->part((struct text){p->s, p->n}, p->pos);
    *begin = p->pos;
    p->pos = *end = p->rule->word((struct text){p->s, p->part}, p->pos);
    return true;
}
