/* mem: the door to the C heap and to mmap. Owns the test hook that makes allocations fail; owns no memory itself. */
#include "base/mem.h"
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MEM_HUGE = 2 << 20, MEM_HUGE_FROM = 4 << 20 };

static atomic_long mem_calls;
static atomic_long mem_fail_at = -1;

static bool mem_refused(void)
{
    long n = atomic_fetch_add_explicit(&mem_calls, 1, memory_order_relaxed);
    long at = atomic_load_explicit(&mem_fail_at, memory_order_relaxed);
    return at >= 0 && n >= at;
}

void mem_fail_after(long n)
{
    atomic_store(&mem_calls, 0);
    atomic_store(&mem_fail_at, n);
}

long mem_count(void)
{
    return atomic_load(&mem_calls);
}

void *mem_alloc(size_t size)
{
    if (mem_refused() || size > PTRDIFF_MAX)
        return NULL;
    return malloc(size ? size : 1);
}

void *mem_calloc(size_t n, size_t size)
{
    size_t bytes;
    if (mem_refused() || __builtin_mul_overflow(n, size, &bytes) || bytes > PTRDIFF_MAX)
        return NULL;
    return calloc(1, bytes ? bytes : 1);
}

void *mem_realloc(void *p, size_t size)
{
    if (mem_refused() || size > PTRDIFF_MAX)
        return NULL;
    return realloc(p, size ? size : 1);
}

void *mem_grow(void *p, size_t *cap, size_t want, size_t elem)
{
    if (p && *cap >= want)
        return p;
    size_t n = *cap + *cap / 2;
    if (n < want)
        n = want;
    if (n < 8)
        n = 8;
    size_t bytes;
    if (__builtin_mul_overflow(n, elem, &bytes))
        return NULL;
    void *q = mem_realloc(p, bytes);
    if (q)
        *cap = n;
    return q;
}

char *mem_strndup(const char *s, size_t n)
{
    size_t len = strnlen(s, n);
    char *p = mem_alloc(len + 1);
    if (!p)
        return NULL;
    memcpy(p, s, len);
    p[len] = 0;
    return p;
}

char *mem_strdup(const char *s)
{
    return mem_strndup(s, PTRDIFF_MAX - 1);
}

char *mem_printf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        return NULL;
    char *p = mem_alloc((size_t)n + 1);
    if (!p)
        return NULL;
    va_start(ap, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return p;
}

void mem_free(void *p)
{
    free(p);
}

size_t mem_page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* Bytes the kernel really maps for `size`; 0 on overflow. */
static size_t mem_round(size_t size)
{
    size_t page = mem_page_size();
    if (size > PTRDIFF_MAX - 2 * (size_t)MEM_HUGE)
        return 0;
    return (size + page - 1) / page * page + (size ? 0 : page);
}

static atomic_size_t mem_live; /* bytes asked for with mem_pages and not given back */

size_t mem_pages_live(void)
{
    return atomic_load(&mem_live);
}

void *mem_pages(size_t size)
{
    size_t len = mem_round(size);
    if (mem_refused() || !len)
        return NULL;
    size_t slack = len >= MEM_HUGE_FROM ? MEM_HUGE : 0;
    uint8_t *p = mmap(NULL, len + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    atomic_fetch_add(&mem_live, size);
    if (!slack)
        return p;
    /* Map 2 MiB more than needed and cut both ends, so that huge pages start at the first byte. */
    size_t head = (size_t)(-(uintptr_t)p & (MEM_HUGE - 1));
    if (head)
        munmap(p, head);
    if (slack - head)
        munmap(p + head + len, slack - head);
    p += head;
    madvise(p, len, MADV_HUGEPAGE); /* advice only: kernels without huge pages say EINVAL */
    return p;
}

void mem_pages_free(void *p, size_t size)
{
    if (!p)
        return;
    munmap(p, mem_round(size));
    atomic_fetch_sub(&mem_live, size);
}
