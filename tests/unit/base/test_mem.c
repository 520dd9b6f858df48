/* mem and arena: overflow, the failing-allocation hook, pages, alignment. */
#include "../check.h"
#include "base/arena.h"
#include "base/mem.h"
#include <stdint.h>

static void sizes(void)
{
    void *p = mem_alloc(0);
    CHECK(p != NULL);
    mem_free(p);
    CHECK(mem_alloc(SIZE_MAX) == NULL);
    CHECK(mem_calloc(SIZE_MAX / 2, 3) == NULL);
    p = mem_calloc(0, 8);
    CHECK(p != NULL);
    mem_free(p);
    mem_free(NULL);
}

static void strings(void)
{
    char *a = mem_strdup("abc"), *b = mem_strndup("abcdef", 2), *c = mem_printf("%s-%d", "x", 12);
    CHECK_STR(a, "abc");
    CHECK_STR(b, "ab");
    CHECK_STR(c, "x-12");
    mem_free(a);
    mem_free(b);
    mem_free(c);
}

static void grow(void)
{
    size_t cap = 0;
    int *v = NULL;
    for (int i = 0; i < 1000; i++) {
        int *n = mem_grow(v, &cap, (size_t)i + 1, sizeof *v);
        CHECK(n && cap > (size_t)i);
        if (!n)
            break;
        v = n;
        v[i] = i;
    }
    CHECK_INT(v[999], 999);
    size_t before = cap;
    CHECK(mem_grow(v, &cap, SIZE_MAX / 2, sizeof *v) == NULL);
    CHECK_INT(cap, before); /* and v is intact */
    CHECK_INT(v[500], 500);
    mem_free(v);
}

static void failing(void)
{
    mem_fail_after(2);
    void *a = mem_alloc(1), *b = mem_calloc(1, 1), *c = mem_alloc(1), *d = mem_pages(4096);
    CHECK(a && b && !c && !d);
    CHECK(mem_strdup("x") == NULL);
    CHECK(mem_printf("x") == NULL);
    CHECK_INT(mem_count(), 6);
    CHECK(mem_realloc(a, 100) == NULL); /* a is still ours */
    mem_fail_after(-1);
    CHECK_INT(mem_count(), 0);
    c = mem_alloc(1);
    CHECK(c != NULL);
    mem_free(a);
    mem_free(b);
    mem_free(c);
}

static void pages(void)
{
    const size_t sizes_[] = {0, 1, 4096, 4097, (4u << 20) - 1, 4u << 20, (9u << 20) + 123};
    for (size_t i = 0; i < sizeof sizes_ / sizeof *sizes_; i++) {
        size_t n = sizes_[i];
        uint8_t *p = mem_pages(n);
        CHECK(p != NULL);
        if (!p)
            continue;
        CHECK_INT((uintptr_t)p % (n >= 4u << 20 ? 2u << 20 : 64), 0);
        int dirty = 0;
        for (size_t j = 0; j < n; j += 1021)
            dirty |= p[j];
        CHECK(!dirty);
        memset(p, 0xA5, n);
        mem_pages_free(p, n);
    }
    CHECK(mem_pages(SIZE_MAX) == NULL);
    CHECK(mem_pages(SIZE_MAX / 2) == NULL);
    mem_pages_free(NULL, 5);
}

static void arena(void)
{
    struct arena a;
    arena_init(&a);
    char *first = arena_strdup(&a, "first");
    int bad = 0;
    for (size_t i = 1; i < 500; i++) {
        unsigned char *p = arena_alloc(&a, i * 7);
        bad |= !p || (uintptr_t)p % 16 != 0;
        for (size_t j = 0; p && j < i * 7; j++)
            bad |= p[j];
        if (p)
            memset(p, 0xFF, i * 7);
    }
    CHECK(!bad);
    char *big = arena_alloc(&a, 1 << 20), *small = arena_alloc(&a, 1), *zero = arena_alloc(&a, 0);
    CHECK(big && small && zero);
    CHECK_STR(first, "first");
    CHECK_STR(arena_strndup(&a, "abcdef", 3), "abc");
    CHECK(a.held >= a.used && a.used >= 1 << 20);
    CHECK(arena_alloc(&a, SIZE_MAX) == NULL);
    CHECK(arena_alloc(&a, SIZE_MAX - 20) == NULL);
    arena_done(&a);
    CHECK_INT(a.held, 0);
    arena_done(&a);
}

static void arena_failing(void)
{
    for (long n = 0; n < 6; n++) {
        struct arena a;
        arena_init(&a);
        mem_fail_after(n);
        int failed = 0;
        for (int i = 0; i < 100; i++)
            failed += arena_alloc(&a, 400) == NULL;
        mem_fail_after(-1);
        CHECK(failed > 0);
        CHECK(arena_alloc(&a, 400) != NULL); /* usable after a failure */
        arena_done(&a);
    }
}

int main(void)
{
    RUN(sizes);
    RUN(strings);
    RUN(grow);
    RUN(failing);
    RUN(pages);
    RUN(arena);
    RUN(arena_failing);
    return check_done();
}
