/* ledger: who owns which bytes. Every allocation over a few KiB is reserved here, by a named owner, before it is made.
 *
 * One ledger per process, thread-safe. The sum of all reservations never exceeds the ceiling. Below the ceiling lies the limit, which
 * follows the machine's memory (pressure.c): what is reserved above it stays, but nothing is granted until it has fallen. A reservation that does not
 * fit is refused with a message that names who holds what. Owners form a tree by slash: "model/smollm2:135m/weights".
 * The program itself (code, libraries, stacks, small heap) is the owner "program", reserved at start from measured RSS. */
#ifndef HEARTH_LEDGER_H
#define HEARTH_LEDGER_H
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ledger;
struct ledger_owner; /* a handle; stays valid until ledger_owner_free */

/* ceiling 0: MemAvailable less a host reserve (the larger of 512 MiB and 10 %). */
int ledger_new(struct ledger **out, size_t ceiling, struct err *e);
void ledger_free(struct ledger *l);

/* Names may repeat (two loads of a model); the listing adds them up. path is copied. */
int ledger_owner_new(struct ledger *l, const char *path, struct ledger_owner **out, struct err *e);
void ledger_owner_free(struct ledger_owner *o); /* releases whatever it still holds; NULL is fine */

int ledger_reserve(struct ledger_owner *o, size_t bytes, struct err *e); /* promise only; ERR_NOMEM names the holders */
void ledger_release(struct ledger_owner *o, size_t bytes);
/* What `from` holds becomes held by `to` (of the same ledger): never refused, at most what `from` has. */
void ledger_move(struct ledger_owner *from, struct ledger_owner *to, size_t bytes);

/* Before a reservation is refused, give(arg, bytes missing) is called by the thread that asked, without the ledger's lock: it
 * releases what can be done without, and must not reserve. Then the reservation is tried again. NULL: nobody. */
void ledger_on_short(struct ledger *l, void (*give)(void *arg, size_t bytes), void *arg);

/* Reserve and allocate zeroed pages (64-byte aligned or better) in one step; and give both back. */
int ledger_alloc(struct ledger_owner *o, size_t bytes, void **out, struct err *e);
void ledger_dealloc(struct ledger_owner *o, void *p, size_t bytes);

size_t ledger_ceiling(const struct ledger *l);
int ledger_set_ceiling(struct ledger *l, size_t bytes, struct err *e); /* refused below what is reserved */
size_t ledger_limit(const struct ledger *l);                           /* in force now; at most the ceiling */
void ledger_set_limit(struct ledger *l, size_t bytes); /* cut to the ceiling; may lie below what is reserved */
size_t ledger_used(const struct ledger *l);
size_t ledger_free_bytes(const struct ledger *l); /* under the limit */
size_t ledger_held(const struct ledger_owner *o);
size_t ledger_held_below(const struct ledger *l, const char *prefix); /* by all owners whose path begins so */
size_t ledger_peak(const struct ledger *l);
size_t ledger_allocated(const struct ledger *l); /* the part of what is used that ledger_alloc has given out */

struct ledger_row {
    char path[120];
    size_t bytes;
};
/* Copies up to max rows, largest first, equal paths added up; returns how many there are. *used (may be NULL): their sum, of the same
 * moment. */
size_t ledger_list(const struct ledger *l, struct ledger_row *rows, size_t max, size_t *used);

/* ---- pressure: what the machine and the group leave right now, and which ceiling that allows (pressure.c) ----
 * The limit follows at once when memory gets short, and comes back slowly when it is not any more. It never exceeds the ceiling. */
struct pressure_paths { /* NULL: the system's; tests give folders of their own */
    const char *proc;   /* "/proc": meminfo, pressure/memory, self/cgroup */
    const char *group;  /* "/sys/fs/cgroup" */
};
struct pressure_reading {
    size_t total, left;           /* the machine's: MemTotal, MemAvailable */
    size_t group_max, group_left; /* the tightest group's; SIZE_MAX: no limit */
    double some10, full10; /* % of the last 10 s in which some, or all, tasks stalled for memory; negative: unknown */
};
enum pressure_level { PRESSURE_NONE, PRESSURE_SOME, PRESSURE_HIGH }; /* some: below the ceiling; high: shrinking */
struct pressure {
    size_t limit; /* 0 before the first step */
    enum pressure_level level;
    double calm_s, cut_s, step_s; /* clock of the last shortage, of the last cut for stalls, of the last step */
    struct pressure_reading last;
};
int pressure_read(const struct pressure_paths *p, struct pressure_reading *out, struct err *e);
/* used: the ledger's; now_s: a clock. Returns the limit that should be in force; it may lie below `used`. */
size_t pressure_step(struct pressure *p, const struct pressure_reading *r, size_t ceiling, size_t used, double now_s);
double pressure_look_s(const struct pressure_reading *r); /* the next look should come within this many seconds */
const char *pressure_name(enum pressure_level l);         /* "none", "some", "high" */

#endif
