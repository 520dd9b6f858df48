/* residency: see residency.h. A handful of models: plain scans. */
#include "session/residency.h"

enum { RECENT_S = 60, STAY_MOST_S = 30 };

double residency_value(const struct residency_row *r)
{
    double idle = r->idle_s > 0 ? r->idle_s : 0;
    return (double)r->bytes * r->reload_s * (RECENT_S / (RECENT_S + idle));
}

double residency_stay_s(double reload_s)
{
    return reload_s < STAY_MOST_S ? reload_s : STAY_MOST_S;
}

bool residency_settled(const struct residency_row *r)
{
    return r->ready_s >= residency_stay_s(r->reload_s);
}

double residency_due_s(const struct residency_row *r)
{
    if (r->pinned || r->keep_s < 0)
        return -1;
    return r->keep_s > r->idle_s ? r->keep_s - r->idle_s : 0;
}

static bool may_go(const struct residency_row *r, bool at_once)
{
    return !r->pinned && (at_once || residency_settled(r));
}

/* The least valuable row that may go and is not picked; n: none. */
static size_t least(const struct residency_row *rows, size_t n, bool at_once)
{
    size_t best = n;
    for (size_t i = 0; i < n; i++)
        if (!rows[i].picked && may_go(&rows[i], at_once) &&
            (best == n || residency_value(&rows[i]) < residency_value(&rows[best])))
            best = i;
    return best;
}

static size_t spare(struct residency_row *rows, size_t n, size_t need, size_t sum)
{
    bool seen[64] = {false}; /* tried already; whoever stands behind the 64th is not tried and goes */
    for (;;) {
        size_t best = n;
        for (size_t i = 0; i < n && i < 64; i++)
            if (rows[i].picked && !seen[i] && (best == n || residency_value(&rows[i]) > residency_value(&rows[best])))
                best = i;
        if (best == n)
            return sum;
        seen[best] = true;
        if (sum - rows[best].bytes >= need) {
            rows[best].picked = false;
            sum -= rows[best].bytes;
        }
    }
}

size_t residency_pick(struct residency_row *rows, size_t n, size_t need, bool at_once)
{
    size_t sum = 0;
    for (size_t i = 0; i < n; i++)
        rows[i].picked = false;
    while (sum < need) {
        size_t i = least(rows, n, at_once);
        if (i == n)
            return sum;
        rows[i].picked = true;
        sum += rows[i].bytes;
    }
    return spare(rows, n, need, sum);
}
