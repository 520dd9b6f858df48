/* ledger: sums, owners and refusals. One mutex: reservations are rare (loads, sequences, requests), never per token.
 *
 * `used` is the only number checked against the ceiling, and every change of an owner's `held` changes it under the same
 * lock, so the sum of the owners is the total at any moment. The pages themselves are mem_pages'. */
#include "ledger/ledger.h"
#include "base/cpu.h"
#include "base/mem.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct ledger_owner {
    struct ledger *ledger;
    struct ledger_owner *prev, *next;
    size_t held;
    char path[];
};

struct ledger {
    pthread_mutex_t lock;
    size_t ceiling, limit, used, peak, allocated; /* limit <= ceiling */
    struct ledger_owner *owners;                  /* newest first */
    void (*give)(void *arg, size_t bytes);
    void *give_arg;
};

enum { LEDGER_NAMED = 4, LEDGER_RESERVE = 512 << 20 };

static void ledger_lock(const struct ledger *l)
{
    pthread_mutex_lock((pthread_mutex_t *)&l->lock);
}

static void ledger_unlock(const struct ledger *l)
{
    pthread_mutex_unlock((pthread_mutex_t *)&l->lock);
}

/* What the machine leaves: available memory less a reserve for the host. A machine with less than twice the reserve gives half. */
static size_t ledger_machine(void)
{
    struct cpu_memory m;
    if (cpu_memory_read(&m) != 0)
        return 0;
    size_t reserve = m.total / 10 > LEDGER_RESERVE ? m.total / 10 : LEDGER_RESERVE;
    return m.available / 2 > reserve ? m.available - reserve : m.available / 2;
}

int ledger_new(struct ledger **out, size_t ceiling, struct err *e)
{
    *out = NULL;
    if (!ceiling)
        ceiling = ledger_machine();
    if (!ceiling)
        return err_set(e, ERR_NOMEM, "cannot tell how much memory is available; give a ceiling");
    struct ledger *l = mem_calloc(1, sizeof *l);
    if (!l)
        return err_set(e, ERR_NOMEM, "out of memory for the ledger");
    pthread_mutex_init(&l->lock, NULL);
    l->ceiling = l->limit = ceiling;
    *out = l;
    return 0;
}

void ledger_free(struct ledger *l)
{
    if (!l)
        return;
    while (l->owners)
        ledger_owner_free(l->owners);
    pthread_mutex_destroy(&l->lock);
    mem_free(l);
}

int ledger_owner_new(struct ledger *l, const char *path, struct ledger_owner **out, struct err *e)
{
    size_t len = strlen(path);
    *out = NULL;
    if (!len)
        return err_set(e, ERR_RANGE, "an owner of memory needs a name");
    struct ledger_owner *o = mem_alloc(sizeof *o + len + 1);
    if (!o)
        return err_set(e, ERR_NOMEM, "out of memory for the ledger's owner %s", path);
    *o = (struct ledger_owner){.ledger = l};
    memcpy(o->path, path, len + 1);
    ledger_lock(l);
    o->next = l->owners;
    if (o->next)
        o->next->prev = o;
    l->owners = o;
    ledger_unlock(l);
    *out = o;
    return 0;
}

void ledger_owner_free(struct ledger_owner *o)
{
    if (!o)
        return;
    struct ledger *l = o->ledger;
    ledger_lock(l);
    l->used -= o->held;
    if (o->prev)
        o->prev->next = o->next;
    else
        l->owners = o->next;
    if (o->next)
        o->next->prev = o->prev;
    ledger_unlock(l);
    mem_free(o);
}

/* Adds up owners of one path, keeps the `max` largest in rows; returns the number of different paths. Lock held. */
static size_t ledger_rows(const struct ledger *l, struct ledger_row *rows, size_t max)
{
    size_t found = 0, kept = 0;
    for (const struct ledger_owner *o = l->owners; o; o = o->next) {
        const struct ledger_owner *same = l->owners;
        while (same != o && strcmp(same->path, o->path) != 0)
            same = same->next;
        if (same != o)
            continue; /* counted with the first of its name */
        size_t sum = 0;
        for (; same; same = same->next)
            if (strcmp(same->path, o->path) == 0)
                sum += same->held;
        if (!sum)
            continue;
        found++;
        size_t at = kept;
        while (at > 0 && rows[at - 1].bytes < sum)
            at--;
        if (at == max)
            continue;
        if (kept < max)
            kept++;
        memmove(&rows[at + 1], &rows[at], (kept - at - 1) * sizeof *rows);
        rows[at].bytes = sum;
        snprintf(rows[at].path, sizeof rows[at].path, "%s", o->path);
    }
    return found;
}

size_t ledger_list(const struct ledger *l, struct ledger_row *rows, size_t max, size_t *used)
{
    ledger_lock(l);
    size_t n = ledger_rows(l, rows, max);
    if (used)
        *used = l->used;
    ledger_unlock(l);
    return n;
}

static const char *ledger_size(size_t bytes, char out[32])
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    int u = 0;
    while (v >= 1024.0 && u < 4) {
        v /= 1024.0;
        u++;
    }
    snprintf(out, 32, u ? "%.1f %s" : "%.0f %s", v, units[u]);
    return out;
}

/* Who asks, for how much, what is left, and who holds the rest. Lock held. */
static int ledger_refuse(const struct ledger *l, const struct ledger_owner *o, size_t bytes, struct err *e)
{
    struct ledger_row rows[LEDGER_NAMED + 1];
    char a[32], b[32], c[32], held[320] = "nothing is held";
    size_t n = ledger_rows(l, rows, LEDGER_NAMED), at = 0;
    for (size_t i = 0; i < n && i < LEDGER_NAMED && at < sizeof held - 1; i++)
        at += (size_t)snprintf(held + at, sizeof held - at, "%s%.60s %s", i ? ", " : "held: ", rows[i].path,
                               ledger_size(rows[i].bytes, a));
    if (n > LEDGER_NAMED && at < sizeof held - 1)
        snprintf(held + at, sizeof held - at, ", %zu more", n - LEDGER_NAMED);
    size_t left = l->limit > l->used ? l->limit - l->used : 0;
    return err_set(e, ERR_NOMEM, "%.60s needs %s, but %s of the %s of %s is free (%s)", o->path, ledger_size(bytes, a),
                   ledger_size(left, b),
                   l->limit < l->ceiling ? "limit that the machine's memory allows now" : "ceiling",
                   ledger_size(l->limit, c), held);
}

void ledger_on_short(struct ledger *l, void (*give)(void *arg, size_t bytes), void *arg)
{
    ledger_lock(l);
    l->give = give;
    l->give_arg = arg;
    ledger_unlock(l);
}

/* Bytes that are missing for the reservation; 0: it is made. Lock held. */
static size_t ledger_take(struct ledger *l, struct ledger_owner *o, size_t bytes)
{
    size_t left = l->limit > l->used ? l->limit - l->used : 0;
    if (bytes > left)
        return bytes - left;
    l->used += bytes;
    o->held += bytes;
    if (l->used > l->peak)
        l->peak = l->used;
    return 0;
}

int ledger_reserve(struct ledger_owner *o, size_t bytes, struct err *e)
{
    enum { TRIES = 3 }; /* others may take what was given up */
    struct ledger *l = o->ledger;
    int code = 0;
    ledger_lock(l);
    size_t missing = ledger_take(l, o, bytes);
    for (int i = 0; missing && l->give && bytes <= l->limit && i < TRIES; i++) {
        void (*give)(void *, size_t) = l->give;
        void *arg = l->give_arg;
        ledger_unlock(l);
        give(arg, missing);
        ledger_lock(l);
        missing = ledger_take(l, o, bytes);
    }
    if (missing)
        code = ledger_refuse(l, o, bytes, e);
    ledger_unlock(l);
    return code;
}

void ledger_move(struct ledger_owner *from, struct ledger_owner *to, size_t bytes)
{
    struct ledger *l = from->ledger;
    ledger_lock(l);
    if (bytes > from->held)
        bytes = from->held;
    from->held -= bytes;
    to->held += bytes;
    ledger_unlock(l);
}

void ledger_release(struct ledger_owner *o, size_t bytes)
{
    struct ledger *l = o->ledger;
    ledger_lock(l);
    if (bytes > o->held)
        bytes = o->held; /* a caller's bug must not turn into a ceiling that never refuses again */
    o->held -= bytes;
    l->used -= bytes;
    ledger_unlock(l);
}

int ledger_alloc(struct ledger_owner *o, size_t bytes, void **out, struct err *e)
{
    *out = NULL;
    int code = ledger_reserve(o, bytes, e);
    if (code)
        return code;
    *out = mem_pages(bytes);
    if (*out) {
        ledger_lock(o->ledger);
        o->ledger->allocated += bytes;
        ledger_unlock(o->ledger);
        return 0;
    }
    ledger_release(o, bytes);
    char a[32];
    return err_set(e, ERR_NOMEM, "the system refused %s for %s, though the ledger had room", ledger_size(bytes, a),
                   o->path);
}

void ledger_dealloc(struct ledger_owner *o, void *p, size_t bytes)
{
    if (!p)
        return;
    mem_pages_free(p, bytes);
    ledger_lock(o->ledger);
    o->ledger->allocated -= bytes;
    ledger_unlock(o->ledger);
    ledger_release(o, bytes);
}

size_t ledger_allocated(const struct ledger *l)
{
    ledger_lock(l);
    size_t v = l->allocated;
    ledger_unlock(l);
    return v;
}

size_t ledger_ceiling(const struct ledger *l)
{
    ledger_lock(l);
    size_t v = l->ceiling;
    ledger_unlock(l);
    return v;
}

int ledger_set_ceiling(struct ledger *l, size_t bytes, struct err *e)
{
    int code = 0;
    char a[32], b[32];
    ledger_lock(l);
    if (bytes < l->used)
        code = err_set(e, ERR_RANGE, "a ceiling of %s is below the %s that are reserved", ledger_size(bytes, a),
                       ledger_size(l->used, b));
    else {
        l->limit = l->limit == l->ceiling || l->limit > bytes ? bytes : l->limit;
        l->ceiling = bytes;
    }
    ledger_unlock(l);
    return code;
}

size_t ledger_limit(const struct ledger *l)
{
    ledger_lock(l);
    size_t v = l->limit;
    ledger_unlock(l);
    return v;
}

void ledger_set_limit(struct ledger *l, size_t bytes)
{
    ledger_lock(l);
    l->limit = bytes < l->ceiling ? bytes : l->ceiling;
    ledger_unlock(l);
}

size_t ledger_used(const struct ledger *l)
{
    ledger_lock(l);
    size_t v = l->used;
    ledger_unlock(l);
    return v;
}

size_t ledger_free_bytes(const struct ledger *l)
{
    ledger_lock(l);
    size_t v = l->limit > l->used ? l->limit - l->used : 0;
    ledger_unlock(l);
    return v;
}

size_t ledger_held(const struct ledger_owner *o)
{
    ledger_lock(o->ledger);
    size_t v = o->held;
    ledger_unlock(o->ledger);
    return v;
}

size_t ledger_held_below(const struct ledger *l, const char *prefix)
{
    size_t sum = 0, n = strlen(prefix);
    ledger_lock(l);
    for (const struct ledger_owner *o = l->owners; o; o = o->next)
        sum += strncmp(o->path, prefix, n) == 0 ? o->held : 0;
    ledger_unlock(l);
    return sum;
}

size_t ledger_peak(const struct ledger *l)
{
    ledger_lock(l);
    size_t v = l->peak;
    ledger_unlock(l);
    return v;
}
