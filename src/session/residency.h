/* residency: who stays in memory and who goes. The rule stands here and nowhere else; it is pure: the caller brings what it knows.
 *
 *     value = bytes x seconds a reload takes x recency,   recency = 60 / (60 + seconds since the last use)
 *
 * The least valuable go first, and of those chosen nobody goes in vain: whom the others make unnecessary is spared, the most valuable
 * first. A model that is pinned (busy, waited for, or the one that is asked for) never goes. One that has just come stays
 * at least as long as its load took, so that no more than half of the time goes into loading; pressure does not wait for that. */
#ifndef HEARTH_SESSION_RESIDENCY_H
#define HEARTH_SESSION_RESIDENCY_H
#include <stdbool.h>
#include <stddef.h>

struct residency_row {
    size_t bytes;    /* what leaves with it */
    double reload_s; /* as its load was measured */
    double idle_s;   /* since its last use */
    double ready_s;  /* since it became ready */
    double keep_s;   /* how long it stays when nobody uses it; negative: for ever */
    bool pinned;
    bool picked; /* out */
};
double residency_value(const struct residency_row *r);
bool residency_settled(const struct residency_row *r); /* stayed as long as it must */
double residency_stay_s(double reload_s);              /* how long that is */
/* Seconds until it goes because nobody used it for keep_s; 0: now; negative: never. */
double residency_due_s(const struct residency_row *r);
/* Picks who goes so that at least `need` bytes come free; returns the bytes of the picked, which may be less than need: then all who
 * may go are picked. at_once: also those that have not settled. */
size_t residency_pick(struct residency_row *rows, size_t n, size_t need, bool at_once);

#endif
