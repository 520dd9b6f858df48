/* ledger: the sum never passes the ceiling, refusals name the holders, everything comes back, threads. */
#include "../check.h"
#include "base/mem.h"
#include "ledger/ledger.h"
#include <pthread.h>
#include <stdbool.h>

static void reserve_and_release(void)
{
    struct ledger *l;
    struct ledger_owner *a, *b;
    struct err e = {0};
    CHECK_INT(ledger_new(&l, 1000, &e), 0);
    CHECK_INT(ledger_ceiling(l), 1000);
    CHECK_INT(ledger_owner_new(l, "model/a/weights", &a, &e), 0);
    CHECK_INT(ledger_owner_new(l, "model/a/kv", &b, &e), 0);
    CHECK_INT(ledger_reserve(a, 600, &e), 0);
    CHECK_INT(ledger_reserve(b, 400, &e), 0);
    CHECK_INT(ledger_free_bytes(l), 0);
    CHECK_INT(ledger_reserve(b, 0, &e), 0);
    CHECK_INT(ledger_reserve(b, 1, &e), ERR_NOMEM);
    CHECK_INT(ledger_used(l), 1000); /* a refusal changes nothing */
    ledger_release(b, 300);
    CHECK_INT(ledger_held(b), 100);
    CHECK_INT(ledger_used(l), 700);
    CHECK(ledger_held_below(l, "model/a/") == 700 && ledger_held_below(l, "model/a/kv") == 100);
    CHECK_INT(ledger_held_below(l, "model/b/"), 0);
    CHECK_INT(ledger_peak(l), 1000);
    CHECK_INT(ledger_reserve(a, SIZE_MAX, &e), ERR_NOMEM);
    ledger_release(b, 5000); /* more than held: cannot free what others hold */
    CHECK_INT(ledger_held(b), 0);
    CHECK_INT(ledger_used(l), 600);
    ledger_owner_free(a); /* still holds 600 */
    CHECK_INT(ledger_used(l), 0);
    ledger_owner_free(b);
    ledger_owner_free(NULL);
    ledger_free(l);
    ledger_free(NULL);
}

static void refusal_names_holders(void)
{
    struct ledger *l;
    struct ledger_owner *w, *kv, *ask;
    struct err e = {0};
    CHECK_INT(ledger_new(&l, (size_t)4 << 30, &e), 0);
    ledger_owner_new(l, "model/qwen/weights", &w, &e);
    ledger_owner_new(l, "model/qwen/kv", &kv, &e);
    ledger_owner_new(l, "model/smol/weights", &ask, &e);
    ledger_reserve(w, (size_t)3 << 30, &e);
    ledger_reserve(kv, (size_t)512 << 20, &e);
    CHECK_INT(ledger_reserve(ask, (size_t)1 << 30, &e), ERR_NOMEM);
    CHECK(strstr(e.msg, "model/smol/weights needs 1.0 GiB") != NULL);
    CHECK(strstr(e.msg, "512.0 MiB of the ceiling of 4.0 GiB is free") != NULL);
    CHECK(strstr(e.msg, "model/qwen/weights 3.0 GiB, model/qwen/kv 512.0 MiB") != NULL); /* largest first */
    ledger_free(l);                                                                      /* frees the owners too */
}

static struct ledger_owner *spare;
static int n_asked;

static void give(void *arg, size_t bytes)
{
    n_asked++;
    CHECK(arg == &spare);
    size_t held = ledger_held(spare);
    ledger_release(spare, bytes < held ? bytes : held);
}

static void what_is_spare_goes_first(void)
{
    struct ledger *l;
    struct ledger_owner *a, *b;
    CHECK_INT(ledger_new(&l, 1000, NULL), 0);
    ledger_owner_new(l, "cache", &spare, NULL);
    ledger_owner_new(l, "a", &a, NULL);
    ledger_owner_new(l, "b", &b, NULL);
    ledger_reserve(a, 500, NULL);
    ledger_move(a, spare, 400);
    CHECK(ledger_held(a) == 100 && ledger_held(spare) == 400 && ledger_used(l) == 500);
    ledger_move(a, spare, 900); /* no more than there is */
    CHECK(ledger_held(a) == 0 && ledger_held(spare) == 500);
    ledger_on_short(l, give, &spare);
    CHECK_INT(ledger_reserve(b, 500, NULL), 0);
    CHECK_INT(n_asked, 0);
    CHECK_INT(ledger_reserve(b, 200, NULL), 0);
    CHECK(n_asked == 1 && ledger_held(spare) == 300 && ledger_used(l) == 1000);
    CHECK_INT(ledger_reserve(b, 2000, NULL), ERR_NOMEM); /* beyond the ceiling: nothing is given up in vain */
    CHECK(n_asked == 1 && ledger_held(spare) == 300);
    CHECK_INT(ledger_reserve(b, 400, NULL), ERR_NOMEM);
    CHECK_INT(ledger_held(spare), 0);
    ledger_on_short(l, NULL, NULL);
    ledger_free(l);
}

static void refusal_with_many_long_names(void)
{
    struct ledger *l;
    struct ledger_owner *o;
    struct err e = {0};
    char path[400];
    memset(path, 'n', sizeof path - 1);
    path[sizeof path - 1] = 0;
    CHECK_INT(ledger_new(&l, 1 << 20, &e), 0);
    for (char c = 'a'; c < 'k'; c++) {
        path[0] = c;
        CHECK_INT(ledger_owner_new(l, path, &o, &e), 0);
        CHECK_INT(ledger_reserve(o, 1000, &e), 0);
    }
    CHECK_INT(ledger_reserve(o, 1 << 21, &e), ERR_NOMEM);
    CHECK(strlen(e.msg) > 300 && strstr(e.msg, "needs 2.0 MiB") && strstr(e.msg, "held: "));
    CHECK_INT(ledger_owner_new(l, "", &o, &e), ERR_RANGE);
    ledger_free(l);
}

static void pages(void)
{
    struct ledger *l;
    struct ledger_owner *o;
    struct err e = {0};
    unsigned char *p;
    CHECK_INT(ledger_new(&l, 1 << 20, &e), 0);
    ledger_owner_new(l, "scratch", &o, &e);
    CHECK_INT(ledger_alloc(o, 100000, (void **)&p, &e), 0);
    CHECK(p && p[0] == 0 && p[99999] == 0 && (size_t)p % 64 == 0);
    memset(p, 1, 100000);
    CHECK_INT(ledger_held(o), 100000);
    void *q = o;
    CHECK_INT(ledger_alloc(o, 1 << 20, &q, &e), ERR_NOMEM);
    CHECK(q == NULL);
    mem_fail_after(0);
    CHECK_INT(ledger_alloc(o, 1000, &q, &e), ERR_NOMEM); /* the system refuses: the promise is taken back */
    mem_fail_after(-1);
    CHECK_INT(ledger_held(o), 100000);
    ledger_dealloc(o, NULL, 5);
    CHECK_INT(ledger_held(o), 100000);
    ledger_dealloc(o, p, 100000);
    CHECK_INT(ledger_used(l), 0);
    ledger_owner_free(o);
    ledger_free(l);
}

static void listing(void)
{
    struct ledger *l;
    struct ledger_owner *o[5];
    static const char *const paths[] = {"kv", "weights", "kv", "idle", "http"};
    static const size_t bytes[] = {10, 50, 30, 0, 20};
    CHECK_INT(ledger_new(&l, 1000, NULL), 0);
    for (int i = 0; i < 5; i++) {
        ledger_owner_new(l, paths[i], &o[i], NULL);
        ledger_reserve(o[i], bytes[i], NULL);
    }
    struct ledger_row r[8];
    CHECK_INT(ledger_list(l, r, 8, NULL), 3);
    CHECK(strcmp(r[0].path, "weights") == 0 && r[0].bytes == 50);
    CHECK(strcmp(r[1].path, "kv") == 0 && r[1].bytes == 40);
    CHECK(strcmp(r[2].path, "http") == 0 && r[2].bytes == 20);
    CHECK_INT(ledger_list(l, r, 1, NULL), 3);
    CHECK_STR(r[0].path, "weights");
    CHECK_INT(ledger_list(l, NULL, 0, NULL), 3);
    ledger_free(l);
}

static void ceiling(void)
{
    struct ledger *l;
    struct ledger_owner *o;
    struct err e = {0};
    CHECK_INT(ledger_new(&l, 1000, &e), 0);
    ledger_owner_new(l, "a", &o, &e);
    ledger_reserve(o, 700, &e);
    CHECK_INT(ledger_set_ceiling(l, 699, &e), ERR_RANGE);
    CHECK_INT(ledger_ceiling(l), 1000);
    CHECK_INT(ledger_set_ceiling(l, 700, &e), 0);
    CHECK_INT(ledger_reserve(o, 1, &e), ERR_NOMEM);
    ledger_free(l);
    CHECK_INT(ledger_new(&l, 0, &e), 0); /* from the machine */
    CHECK(ledger_ceiling(l) > 1 << 20);
    ledger_free(l);
    for (long n = 0; n < 2; n++) {
        mem_fail_after(n);
        int code = ledger_new(&l, 1000, &e);
        CHECK(n == 0 ? code == ERR_NOMEM && !l : code == 0);
        if (l)
            CHECK_INT(ledger_owner_new(l, "a", &o, &e), ERR_NOMEM);
        mem_fail_after(-1);
        ledger_free(l);
    }
}

struct stress {
    struct ledger *l;
    int wrong;
};

static void *stress_main(void *arg)
{
    struct stress *s = arg;
    struct ledger_owner *o;
    if (ledger_owner_new(s->l, "stress", &o, NULL) != 0)
        return NULL;
    for (size_t i = 0; i < 3000; i++) {
        size_t n = i * 37 % 400;
        if (ledger_reserve(o, n, NULL) == 0) {
            if (ledger_used(s->l) > ledger_ceiling(s->l))
                __atomic_store_n(&s->wrong, 1, __ATOMIC_RELAXED);
            ledger_release(o, n);
        }
    }
    if (ledger_reserve(o, 100, NULL) != 0)
        __atomic_store_n(&s->wrong, 1, __ATOMIC_RELAXED);
    struct ledger_row r[8];
    size_t used, sum = 0, n = ledger_list(s->l, r, 8, &used);
    for (size_t i = 0; i < n && i < 8; i++)
        sum += r[i].bytes;
    if (n > 8 || sum != used)
        __atomic_store_n(&s->wrong, 1, __ATOMIC_RELAXED);
    ledger_owner_free(o);
    return NULL;
}

static void threads(void)
{
    struct stress s = {0};
    pthread_t t[4];
    CHECK_INT(ledger_new(&s.l, 1600, NULL), 0); /* tight: the last 100 always fit, 4 x 399 only just */
    for (int i = 0; i < 4; i++)
        CHECK_INT(pthread_create(&t[i], NULL, stress_main, &s), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    CHECK_INT(s.wrong, 0);
    CHECK_INT(ledger_used(s.l), 0);
    CHECK(ledger_peak(s.l) <= 1600);
    ledger_free(s.l);
}

int main(void)
{
    RUN(reserve_and_release);
    RUN(refusal_names_holders);
    RUN(what_is_spare_goes_first);
    RUN(refusal_with_many_long_names);
    RUN(pages);
    RUN(listing);
    RUN(ceiling);
    RUN(threads);
    return check_done();
}
