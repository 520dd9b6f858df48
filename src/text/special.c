/* special: the added tokens in one sorted list; a match narrows the range of candidates byte by byte, so the longest is
 * found without a trie. User-defined tokens match in any text. Control tokens match only where every byte is trusted. */
#include "text/special.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

struct entry {
    const char *s;
    size_t n;
    int32_t id;
};

static int entry_cmp(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int c = memcmp(x->s, y->s, x->n < y->n ? x->n : y->n);
    if (c)
        return c;
    if (x->n != y->n)
        return x->n < y->n ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static bool is_added(uint8_t type)
{
    return type == VOCAB_CONTROL || type == VOCAB_USER || type == VOCAB_UNKNOWN;
}

int special_load(struct special *s, const struct vocab *v, struct err *e)
{
    memset(s, 0, sizeof *s);
    s->v = v;
    uint32_t n = 0, k = 0;
    for (uint32_t i = 0; i < v->n; i++)
        n += is_added(v->type[i]);
    struct entry *list = mem_calloc((size_t)n + 1, sizeof *list);
    s->sorted = mem_calloc((size_t)n + 1, sizeof *s->sorted);
    s->held = ((size_t)n + 1) * sizeof *s->sorted;
    if (!list || !s->sorted) {
        mem_free(list);
        return err_set(e, ERR_NOMEM, "no memory for %u added tokens", n);
    }
    for (uint32_t i = 0; i < v->n; i++) {
        const char *p;
        size_t len = is_added(v->type[i]) ? vocab_text(v, (int32_t)i, &p) : 0;
        if (len && len <= VOCAB_MAX_MATCH)
            list[k++] = (struct entry){p, len, (int32_t)i};
    }
    qsort(list, k, sizeof *list, entry_cmp);
    for (uint32_t i = 0; i < k; i++) {
        if (s->n && entry_cmp(&(struct entry){list[i - 1].s, list[i - 1].n, list[i].id}, &list[i]) == 0)
            continue; /* same text */
        s->sorted[s->n++] = list[i].id;
        s->first[(unsigned char)list[i].s[0]] = true;
    }
    mem_free(list);
    return 0;
}

void special_done(struct special *s)
{
    mem_free(s->sorted);
    s->sorted = NULL;
}

/* First index in [lo, hi) whose byte at `depth` is >= c (c up to 256). All texts there share their first `depth` bytes. */
static uint32_t lower(const struct special *sp, uint32_t lo, uint32_t hi, size_t depth, int c)
{
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        const char *p;
        size_t n = vocab_text(sp->v, sp->sorted[mid], &p);
        if ((n > depth ? (unsigned char)p[depth] : -1) < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Longest allowed added token that begins at i; its length, or 0. */
static size_t match(const struct special *sp, const struct special_text *t, size_t i, int32_t *id)
{
    uint32_t lo = 0, hi = sp->n;
    bool control = t->control;
    size_t best = 0;
    for (size_t d = 0; i + d < t->n; d++) {
        int c = (unsigned char)t->s[i + d];
        control = control && (!t->trusted || t->trusted[i + d]);
        lo = lower(sp, lo, hi, d, c);
        hi = lower(sp, lo, hi, d, c + 1);
        if (lo == hi)
            break;
        const char *p;
        if (vocab_text(sp->v, sp->sorted[lo], &p) != d + 1)
            continue;
        if (sp->v->type[sp->sorted[lo]] == VOCAB_USER || control) {
            best = d + 1;
            *id = sp->sorted[lo];
        }
    }
    return best;
}

bool special_next(const struct special *sp, const struct special_text *t, size_t from, size_t *begin, size_t *end,
                  int32_t *id)
{
    for (size_t i = from; i < t->n; i++) {
        if (!sp->first[(unsigned char)t->s[i]])
            continue;
        size_t n = match(sp, t, i, id);
        if (n) {
            *begin = i;
            *end = i + n;
            return true;
        }
    }
    return false;
}
