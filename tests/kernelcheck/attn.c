/* attn: kernelcheck's cases of attention and of storing keys and values. */
#include "kernelcheck.h"
#include <string.h>

enum { MAX_Q = 70, MAX_POS = 1500, MAX_PAGES = MAX_POS / KERNEL_PAGE + 1 };

struct attn_case {
    size_t n_q, hd, n_pages, off, half;
    int32_t window, pos[MAX_Q];
    uint8_t *block[MAX_PAGES];
    const uint8_t *pages[MAX_PAGES];
    float *q, *out;
    const float *qp[MAX_Q];
    float *op[MAX_Q];
};

/* Pages hold NaN wherever no visible key was stored, and are NULL where no query looks. */
static void attn_fill(struct attn_case *a, struct random *r, const struct kernels *ref, enum dtype t)
{
    static const size_t DIMS[] = {8, 16, 24, 40, 64, 64, 80, 96, 128, 128, 256, 512};
    do {
        a->hd = DIMS[random_below(r, sizeof DIMS / sizeof *DIMS)];
    } while (a->hd % dtype_info(t)->block);
    a->half = kernel_kv_bytes(t, a->hd);
    a->n_q = random_below(r, 2) ? random_in(r, 1, 9) : random_in(r, 1, MAX_Q);
    a->window = random_below(r, 2) ? 0 : (int32_t)random_in(r, 1, 700);
    a->off = 64 * random_below(r, 3);
    int32_t base = (int32_t)random_below(r, random_below(r, 2) ? 100 : MAX_POS - MAX_Q), last = 0, first = MAX_POS;
    bool adjacent = random_below(r, 2);
    for (size_t i = 0; i < a->n_q; i++) {
        a->pos[i] = adjacent ? base + (int32_t)(i / 2) : (int32_t)random_below(r, (size_t)base + 1);
        last = a->pos[i] > last ? a->pos[i] : last;
        int32_t from = a->window && a->pos[i] >= a->window ? a->pos[i] - a->window + 1 : 0;
        first = from < first ? from : first;
    }
    a->n_pages = (size_t)last / KERNEL_PAGE + 1;
    float k[512], v[512], amp = random_below(r, 4) ? 1.0f : 12.0f;
    size_t bytes = a->off + 2 * a->half;
    for (size_t p = 0; p < a->n_pages; p++) {
        a->block[p] = guard_new(bytes);
        memset(a->block[p], 0xff, bytes);
        a->pages[p] = (int32_t)(p + 1) * KERNEL_PAGE <= first ? NULL : a->block[p];
    }
    for (int32_t j = first; j <= last; j++) {
        for (size_t d = 0; d < a->hd; d++) {
            k[d] = random_gauss(r) * amp;
            v[d] = random_gauss(r);
        }
        ref->attn[t].store(&(struct store_args){.block = a->block[j / KERNEL_PAGE],
                                                .k_off = a->off,
                                                .v_off = a->off + a->half,
                                                .k = k,
                                                .v = v,
                                                .head_dim = a->hd,
                                                .slot = (size_t)j % KERNEL_PAGE,
                                                .n = 1});
    }
    a->q = guard_new(a->n_q * a->hd * 4);
    a->out = guard_new(a->n_q * a->hd * 4);
    for (size_t i = 0; i < a->n_q; i++) {
        a->qp[i] = a->q + i * a->hd;
        a->op[i] = a->out + i * a->hd;
        for (size_t d = 0; d < a->hd; d++)
            a->q[i * a->hd + d] = random_gauss(r) * 0.3f;
    }
}

static void attn_free(struct attn_case *a)
{
    for (size_t p = 0; p < a->n_pages; p++)
        guard_free(a->block[p]);
    guard_free(a->q), guard_free(a->out);
}

static struct attn_args attn_args(const struct attn_case *a, void *scratch)
{
    return (struct attn_args){.q = a->qp,
                              .out = a->op,
                              .pos = a->pos,
                              .n_q = a->n_q,
                              .head_dim = a->hd,
                              .pages = a->pages,
                              .k_off = a->off,
                              .v_off = a->off + a->half,
                              .window = a->window,
                              .scratch = scratch};
}

const char *check_attn(const struct check *c)
{
    struct attn_case a;
    enum dtype t = (enum dtype)c->entry;
    attn_fill(&a, c->r, c->ref, t);
    size_t bytes = a.n_q * a.hd * 4;
    void *s0 = guard_new(c->ref->attn_scratch(a.n_q, a.hd)), *s1 = guard_new(c->k->attn_scratch(a.n_q, a.hd));
    float *want = guard_new(bytes);
    struct attn_args args = attn_args(&a, s0);
    c->ref->attn[t].attn(&args);
    memcpy(want, a.out, bytes);
    digest_add(c, want, bytes / 4);
    memset(a.out, 0xA7, bytes);
    args.scratch = s1;
    c->k->attn[t].attn(&args);
    const char *bad = memcmp(want, a.out, bytes) != 0 ? "results differ" : NULL;
    if (!guard_intact(a.out) || !guard_intact(s1))
        bad = "wrote outside its memory";
    attn_free(&a);
    guard_free(s0), guard_free(s1), guard_free(want);
    return bad;
}

/* Segments left apart, in ranges of any length and in any order, then merged, give what one call gives. */
const char *check_attn_merge(const struct check *c)
{
    static const enum dtype TYPES[] = {DT_F32, DT_F16, DT_BF16, DT_Q8_0, DT_F8_E4M3};
    struct attn_case a;
    enum dtype t = TYPES[random_below(c->r, sizeof TYPES / sizeof *TYPES)];
    attn_fill(&a, c->r, c->ref, t);
    size_t bytes = a.n_q * a.hd * 4, first = MAX_POS, n;
    for (size_t i = 0; i < a.n_q; i++) {
        size_t from = a.window && a.pos[i] >= a.window ? (size_t)(a.pos[i] - a.window + 1) / KERNEL_SEGMENT : 0;
        first = from < first ? from : first;
    }
    n = (a.n_pages - 1) * KERNEL_PAGE / KERNEL_SEGMENT + 1 - first;
    void *s0 = guard_new(c->ref->attn_scratch(a.n_q, a.hd)), *s1 = guard_new(c->k->attn_scratch(a.n_q, a.hd));
    float *want = guard_new(bytes), *part = guard_new(a.n_q * n * kernel_part(a.hd) * 4);
    struct attn_args args = attn_args(&a, s0);
    c->ref->attn[t].attn(&args);
    memcpy(want, a.out, bytes);
    digest_add(c, want, bytes / 4);
    memset(a.out, 0xA7, bytes);
    args.part = part;
    args.part_first = first;
    args.part_n = n;
    for (size_t end = first + n, len; end > first; end -= len) {
        const struct kernels *k = random_below(c->r, 4) ? c->k : c->ref; /* parts are the same bits, too */
        len = random_in(c->r, 1, end - first);
        args.seg0 = end - len;
        args.seg1 = end;
        args.scratch = k == c->k ? s1 : s0;
        k->attn[t].attn(&args);
    }
    args.scratch = s1;
    c->k->attn_merge(&args);
    const char *bad = memcmp(want, a.out, bytes) != 0 ? "results differ" : NULL;
    if (!guard_intact(a.out) || !guard_intact(s1) || !guard_intact(part))
        bad = "wrote outside its memory";
    attn_free(&a);
    guard_free(s0), guard_free(s1), guard_free(want), guard_free(part);
    return bad;
}

const char *check_store(const struct check *c)
{
    enum dtype t = (enum dtype)c->entry;
    size_t hd = dtype_info(t)->block == 1 ? 8 * random_in(c->r, 1, 64) : 32 * random_in(c->r, 1, 16),
           off = 64 * random_below(c->r, 3), half = kernel_kv_bytes(t, hd), bytes = off + 2 * half;
    uint8_t *b0 = guard_new(bytes), *b1 = guard_new(bytes);
    size_t most = 20, ld = hd + 8 * random_below(c->r, 3);
    float *k = guard_new(most * ld * 4), *v = guard_new(most * ld * 4);
    for (size_t i = 0; i < 20; i++) {
        struct store_args a = {.k_off = off, .v_off = off + half, .k = k, .v = v, .ld = ld, .head_dim = hd};
        a.slot = random_below(c->r, KERNEL_PAGE);
        a.n = i % 2 ? 1 : 1 + random_below(c->r, most < KERNEL_PAGE - a.slot ? most : KERNEL_PAGE - a.slot);
        for (size_t j = 0; j < a.n; j++)
            for (size_t d = 0; d < hd; d++) {
                k[j * ld + d] = random_gauss(c->r) * (random_below(c->r, 9) ? 1.0f : 1e-6f);
                v[j * ld + d] = random_gauss(c->r) * (random_below(c->r, 9) ? 1.0f : 9e4f);
            }
        a.block = b0;
        for (struct store_args one = a; one.slot < a.slot + a.n; one.slot++, one.k += ld, one.v += ld) {
            one.n = 1; /* as if each had come alone */
            c->ref->attn[t].store(&one);
        }
        a.block = b1;
        c->k->attn[t].store(&a);
    }
    guard_free(k), guard_free(v);
    digest_add(c, (const float *)(const void *)b0, bytes / 4);
    const char *bad = memcmp(b0, b1, bytes) != 0 ? "results differ"
                      : !guard_intact(b1)        ? "wrote outside its memory"
                                                 : NULL;
    guard_free(b0), guard_free(b1);
    return bad;
}
