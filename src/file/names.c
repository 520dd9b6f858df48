/* names: open addressing with linear probing at half load; see names.h. */
#include "file/names.h"
#include <string.h>

static uint64_t names_hash(const char *p, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a, then one mixing step because only low bits are used */
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)p[i]) * 0x100000001b3u;
    h ^= h >> 32;
    h *= 0x9e3779b97f4a7c15u;
    return h ^ (h >> 29);
}

static const struct file_str *names_row(const struct names *x, uint32_t i)
{
    return (const struct file_str *)(const void *)((const char *)x->rows + (size_t)i * x->stride);
}

int names_init(struct names *x, struct arena *a, const void *rows, size_t stride, uint64_t n)
{
    uint64_t slots = 4;
    while (slots < 2 * n)
        slots *= 2;
    *x = (struct names){.mask = slots - 1, .rows = rows, .stride = stride};
    x->slot = arena_alloc(a, (size_t)slots * sizeof(uint32_t));
    return x->slot ? 0 : -1;
}

/* The slot that holds the name, or the empty one where it belongs. */
static uint64_t names_probe(const struct names *x, const char *p, size_t n)
{
    uint64_t at = names_hash(p, n) & x->mask;
    for (; x->slot[at]; at = (at + 1) & x->mask) {
        const struct file_str *s = names_row(x, x->slot[at] - 1);
        if (s->n == n && memcmp(s->p, p, n) == 0)
            break;
    }
    return at;
}

bool names_add(struct names *x, uint32_t i)
{
    const struct file_str *s = names_row(x, i);
    uint64_t at = names_probe(x, s->p, s->n);
    if (x->slot[at])
        return false;
    x->slot[at] = i + 1;
    return true;
}

const void *names_find(const struct names *x, const char *p, size_t n)
{
    if (!x->slot)
        return NULL;
    uint64_t at = names_probe(x, p, n);
    return x->slot[at] ? names_row(x, x->slot[at] - 1) : NULL;
}
