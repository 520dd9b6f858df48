/* stop: see stop.h. The text that is searched is only what was not shown yet: a few bytes plus one token. */
#include "session/stop.h"
#include <string.h>

size_t stop_find(const struct stop_list *l, const char *text, size_t n)
{
    size_t at = n;
    for (size_t i = 0; i < l->n; i++) {
        const char *p = memmem(text, n, l->str[i], l->len[i]);
        if (p && (size_t)(p - text) < at)
            at = (size_t)(p - text);
    }
    return at;
}

size_t stop_hold(const struct stop_list *l, const char *text, size_t n)
{
    size_t hold = 0;
    for (size_t i = 0; i < l->n; i++) {
        size_t most = l->len[i] - 1 < n ? l->len[i] - 1 : n;
        for (size_t k = most; k > hold; k--)
            if (memcmp(text + n - k, l->str[i], k) == 0) {
                hold = k;
                break;
            }
    }
    return hold;
}
