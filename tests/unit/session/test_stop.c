/* Stop strings against their definition: fed byte by byte or in any pieces, what is shown is the text up to the earliest one. */
#include "session/stop.h"
#include "base/rng.h"
#include "unit/check.h"

static uint64_t n_rand;

static size_t below(size_t n)
{
    return (size_t)(rng_uniform(11, 0, n_rand++) * (double)n);
}

/* Shows as a stream would: pieces go in, what cannot belong to a stop string comes out. */
static size_t stream(const struct stop_list *l, const char *text, size_t n, char *out)
{
    char wait[256];
    size_t n_wait = 0, n_out = 0;
    for (size_t at = 0; at < n;) {
        size_t piece = 1 + below(4);
        piece = piece < n - at ? piece : n - at;
        memcpy(wait + n_wait, text + at, piece);
        n_wait += piece;
        at += piece;
        size_t cut = stop_find(l, wait, n_wait);
        size_t show = cut < n_wait ? cut : n_wait - stop_hold(l, wait, n_wait);
        memcpy(out + n_out, wait, show);
        n_out += show;
        if (cut < n_wait)
            return n_out;
        memmove(wait, wait + show, n_wait - show);
        n_wait -= show;
    }
    memcpy(out + n_out, wait, n_wait);
    return n_out + n_wait;
}

static void any_pieces(void)
{
    for (int round = 0; round < 20000; round++) {
        char text[64], a[8], b[8], out[64];
        size_t n = below(60);
        for (size_t i = 0; i < n; i++)
            text[i] = (char)('a' + below(3));
        char *str[2] = {a, b};
        size_t len[2] = {1 + below(6), 1 + below(6)};
        for (size_t i = 0; i < 2; i++)
            for (size_t k = 0; k < len[i]; k++)
                str[i][k] = (char)('a' + below(3));
        struct stop_list l = {str, len, 1 + below(2)};
        /* pieces may complete a later, shorter stop string before an earlier one is whole: the earliest start among those
         * whole at the same time wins, and nothing of any stop string is ever shown */
        size_t got = stream(&l, text, n, out), least = n;
        for (size_t i = 0; i < l.n; i++) {
            char *p = memmem(text, n, str[i], len[i]);
            if (p && (size_t)(p - text) < least)
                least = (size_t)(p - text);
        }
        CHECK(memcmp(out, text, got) == 0);
        if (l.n == 1)
            CHECK_INT(got, least);
        else
            CHECK(got >= least);
        for (size_t i = 0; i < l.n; i++)
            CHECK(memmem(out, got, str[i], len[i]) == NULL);
    }
}

static void holds_only_what_it_must(void)
{
    char *str[2] = {(char *)"</end>", (char *)"STOP"};
    size_t len[2] = {6, 4};
    struct stop_list l = {str, len, 2};
    CHECK_INT(stop_hold(&l, "abc", 3), 0);
    CHECK_INT(stop_hold(&l, "abc<", 4), 1);
    CHECK_INT(stop_hold(&l, "abc</end", 8), 5);
    CHECK_INT(stop_hold(&l, "abcSTO", 6), 3);
    CHECK_INT(stop_hold(&l, "ST", 2), 2);
    CHECK_INT(stop_find(&l, "xSTOP</end>", 11), 1);
    CHECK_INT(stop_find(&l, "nothing", 7), 7);
    struct stop_list none = {0};
    CHECK_INT(stop_find(&none, "abc", 3), 3);
    CHECK_INT(stop_hold(&none, "abc", 3), 0);
}

int main(void)
{
    RUN(any_pieces);
    RUN(holds_only_what_it_must);
    return check_done();
}
