/* attn: ref/attn.c in vectors. Included after a level's vec.h by that level's attn.c.
 *
 * Query rows are taken in tiles of ATTN_TILE. For each segment the rows that see something of it are "active"; ATTN_ROWS of them
 * at a time meet ATTN_VECS vectors of keys (scores) or dimensions (values), all accumulators in registers. The f16 pages are
 * converted as they are loaded: turning a page into f32 once for all rows costs a pass of stores through the second-level cache
 * and was slower for any number of rows. Only head dimensions that are no multiple of 16 have their values padded that way.
 * Scores of invisible lanes of a page are computed from whatever bytes lie there (lanes do not mix) and overwritten before they
 * are looked at; value rows are taken only if visible. */
#ifndef HEARTH_KERNEL_SIMD_ATTN_H
#define HEARTH_KERNEL_SIMD_ATTN_H
#include "kernel/kernel.h"
#include "kernel/simd/elem.h"

enum { ATTN_TILE = 32, ATTN_SEG = KERNEL_SEGMENT, ATTN_PAD = 16, ATTN_VECS = 4 };

struct attn_state { /* of one tile; lives at the front of the scratch */
    const struct attn_args *a;
    size_t first, hdp;                    /* first query row of the tile; head_dim rounded up to 16 */
    size_t n;                             /* active rows */
    size_t row[ATTN_TILE];                /* active -> row in the tile */
    size_t lo[ATTN_TILE], hi[ATTN_TILE];  /* active: visible part of the segment, relative to it */
    float top[ATTN_TILE], len[ATTN_TILE]; /* merged so far, by row */
    float m[ATTN_TILE], l[ATTN_TILE];     /* this segment, by active */
    bool any[ATTN_TILE];                  /* row has merged something */
    float *s;                             /* [active][512] */
    float *o;                             /* [active][hdp] this segment */
    float *sum;                           /* [row][hdp] merged */
    float *page;                          /* head_dim < hdp: one page of V as f32 */
};

VEC size_t attn_pad(size_t hd)
{
    return (hd + ATTN_PAD - 1) / ATTN_PAD * ATTN_PAD;
}

VEC size_t attn_scratch_bytes(size_t n_q, size_t hd)
{
    size_t rows = n_q < ATTN_TILE ? n_q : ATTN_TILE, hdp = attn_pad(hd);
    return ((sizeof(struct attn_state) + 63) & ~(size_t)63) +
           4 * (rows * ATTN_SEG + 2 * rows * hdp + KERNEL_PAGE * hdp) + 64;
}

/* nr rows times nv vectors of keys from key v0 of the page; s points at the page's place in each row's scores. The two pages in
 * `ahead` (or NULL) are fetched meanwhile, one row of 128 bytes of each per step: this loop reads pages in columns, which the
 * hardware does not foresee. */
VEC void attn_score_tile(const float *const *q, float *const *s, const uint8_t *kh, size_t v0, size_t hd,
                         const uint8_t *const *ahead, int nr)
{
    vf acc[ATTN_ROWS][ATTN_VECS];
    for (int r = 0; r < nr; r++)
        for (int v = 0; v < ATTN_VECS; v++)
            acc[r][v] = v_set1(0.0f);
    for (size_t d = 0; d < hd; d++) {
        for (int i = 0; ahead && i < 2; i++) {
            v_fetch(ahead[i] + d * 2 * KERNEL_PAGE);
            v_fetch(ahead[i] + d * 2 * KERNEL_PAGE + 64);
        }
        vf k[ATTN_VECS];
        for (int v = 0; v < ATTN_VECS; v++)
            k[v] = v_load_half(kh + 2 * (d * KERNEL_PAGE + v0 + (size_t)(v * VW)));
        for (int r = 0; r < nr; r++) {
            vf x = v_set1(q[r][d]);
            for (int v = 0; v < ATTN_VECS; v++)
                acc[r][v] = v_fma(x, k[v], acc[r][v]);
        }
    }
    for (int r = 0; r < nr; r++)
        for (int v = 0; v < ATTN_VECS; v++)
            v_store(s[r] + v0 + (size_t)(v * VW), acc[r][v]);
}

VEC void attn_score_rows(const struct attn_state *t, size_t i, size_t at, const uint8_t *kh,
                         const uint8_t *const *ahead, int nr)
{
    const float *q[ATTN_ROWS];
    float *s[ATTN_ROWS];
    for (int r = 0; r < nr; r++) {
        q[r] = t->a->q[t->first + t->row[i + (size_t)r]];
        s[r] = t->s + (i + (size_t)r) * ATTN_SEG + at;
    }
    for (size_t v0 = 0; v0 < KERNEL_PAGE; v0 += ATTN_VECS * VW)
        attn_score_tile(q, s, kh, v0, t->a->head_dim, v0 ? NULL : ahead, nr);
}

VEC bool attn_sees(const struct attn_state *t, size_t i, size_t n, size_t lo, size_t hi)
{
    for (size_t j = i; j < i + n; j++)
        if (t->lo[j] <= hi && t->hi[j] >= lo)
            return true;
    return false;
}

/* Scores of the page whose first position is `at` within the segment. */
VEC void attn_score_page(const struct attn_state *t, const uint8_t *kh, size_t at, const uint8_t *const *ahead)
{
    for (size_t i = 0, n; i < t->n; i += n) {
        n = i + ATTN_ROWS <= t->n ? ATTN_ROWS : t->n - i >= 2 ? 2 : 1;
        if (!attn_sees(t, i, n, at, at + KERNEL_PAGE - 1))
            continue;
        if (n == ATTN_ROWS)
            attn_score_rows(t, i, at, kh, ahead, ATTN_ROWS);
        else if (n == 2)
            attn_score_rows(t, i, at, kh, ahead, 2);
        else
            attn_score_rows(t, i, at, kh, ahead, 1);
        ahead = NULL; /* once per page */
    }
}

/* Scores -> weights, their largest score and their sum. Lanes that are not visible become -inf, hence weight +0. */
VEC void attn_softmax(struct attn_state *t, size_t i)
{
    enum { V = 16 / VW };
    float *s = t->s + i * ATTN_SEG, lane[16], m = -INFINITY;
    size_t from = t->lo[i] & ~(size_t)15, to = (t->hi[i] | 15) + 1;
    for (size_t j = from; j < t->lo[i]; j++)
        s[j] = -INFINITY;
    for (size_t j = t->hi[i] + 1; j < to; j++)
        s[j] = -INFINITY;
    vf best = v_set1(-INFINITY), acc[V];
    for (size_t j = from; j < to; j += VW)
        best = v_max(v_load(s + j), best);
    v_store(lane, best);
    for (int l = 0; l < VW; l++)
        m = lane[l] > m ? lane[l] : m;
    for (int v = 0; v < V; v++)
        acc[v] = v_set1(0.0f);
    vf top = v_set1(m);
    for (size_t j = from; j < to; j += 16)
        for (int v = 0; v < V; v++) {
            float *p = s + j + (size_t)(v * VW);
            vf e = v_expf(v_sub(v_load(p), top));
            v_store(p, e);
            acc[v] = v_add(acc[v], e);
        }
    for (int v = 0; v < V; v++)
        v_store(lane + v * VW, acc[v]);
    t->m[i] = m;
    t->l[i] = elem_tree16(lane);
}

/* nr rows times nv vectors of dimensions from d0, keys [lo, hi] of the page: f16 at vh, or f32 at wide. */
VEC void attn_value_tile(const struct attn_state *t, size_t i, size_t at, const uint8_t *vh, const float *wide,
                         size_t d0, size_t lo, size_t hi, int nr, int nv)
{
    const float *p = t->s + i * ATTN_SEG + at;
    float *o = t->o + i * t->hdp + d0;
    size_t stride = t->hdp;
    vf acc[ATTN_ROWS][ATTN_VECS];
    for (int r = 0; r < nr; r++)
        for (int v = 0; v < nv; v++)
            acc[r][v] = v_load(o + (size_t)r * stride + (size_t)(v * VW));
    for (size_t j = lo; j <= hi; j++) {
        vf x[ATTN_VECS];
        for (int v = 0; v < nv; v++) {
            size_t from = j * stride + d0 + (size_t)(v * VW);
            x[v] = wide ? v_load(wide + from) : v_load_half(vh + 2 * from);
        }
        for (int r = 0; r < nr; r++) {
            vf w = v_set1(p[(size_t)r * ATTN_SEG + j]);
            for (int v = 0; v < nv; v++)
                acc[r][v] = v_fma(w, x[v], acc[r][v]);
        }
    }
    for (int r = 0; r < nr; r++)
        for (int v = 0; v < nv; v++)
            v_store(o + (size_t)r * stride + (size_t)(v * VW), acc[r][v]);
}

VEC void attn_value_keys(const struct attn_state *t, size_t i, size_t at, const uint8_t *vh, const float *wide,
                         size_t lo, size_t hi, int nr)
{
    size_t d0 = 0;
    for (; d0 + ATTN_VECS * VW <= t->hdp; d0 += ATTN_VECS * VW)
        attn_value_tile(t, i, at, vh, wide, d0, lo, hi, nr, ATTN_VECS);
    for (; d0 < t->hdp; d0 += VW)
        attn_value_tile(t, i, at, vh, wide, d0, lo, hi, nr, 1);
}

/* Rows i..i+nr-1: keys that all see by the register tile, those before and after row by row; each row's keys stay ascending. */
VEC void attn_value_rows(const struct attn_state *t, size_t i, size_t at, const uint8_t *vh, const float *wide, int nr)
{
    size_t lo[ATTN_ROWS], hi[ATTN_ROWS], from = 0, to = KERNEL_PAGE; /* half open, within the page */
    for (int r = 0; r < nr; r++) {
        size_t a = t->lo[i + (size_t)r], b = t->hi[i + (size_t)r] + 1;
        lo[r] = a > at ? a - at : 0;
        hi[r] = b < at ? 0 : b - at < KERNEL_PAGE ? b - at : KERNEL_PAGE;
        lo[r] = lo[r] < hi[r] ? lo[r] : hi[r];
        from = lo[r] > from ? lo[r] : from;
        to = hi[r] < to ? hi[r] : to;
    }
    bool common = from < to;
    for (int r = 0; r < nr; r++) {
        size_t end = common ? from : hi[r];
        if (lo[r] < end)
            attn_value_keys(t, i + (size_t)r, at, vh, wide, lo[r], end - 1, 1);
    }
    if (!common)
        return;
    attn_value_keys(t, i, at, vh, wide, from, to - 1, nr);
    for (int r = 0; r < nr; r++)
        if (to < hi[r])
            attn_value_keys(t, i + (size_t)r, at, vh, wide, to, hi[r] - 1, 1);
}

/* Value rows [lo, hi) of a page as f32, padded with zeros to hdp. */
VEC void attn_value_convert(const struct attn_state *t, const uint8_t *vh, size_t lo, size_t hi)
{
    size_t hd = t->a->head_dim;
    for (size_t j = lo; j < hi; j++) {
        float *to = t->page + j * t->hdp;
        const uint8_t *from = vh + 2 * j * hd;
        size_t d = 0;
        for (; d + VW <= hd; d += VW)
            v_store(to + d, v_load_half(from + 2 * d));
        if (d == t->hdp)
            continue;
        uint8_t rest[2 * ATTN_PAD] = {0};
        memcpy(rest, from + 2 * d, 2 * (hd - d));
        for (size_t i = 0; d < t->hdp; d += VW, i += VW)
            v_store(to + d, v_load_half(rest + 2 * i));
    }
}

VEC void attn_value_page(const struct attn_state *t, const uint8_t *vh, size_t at, const float *wide)
{
    for (size_t i = 0, n; i < t->n; i += n) {
        n = i + ATTN_ROWS <= t->n ? ATTN_ROWS : t->n - i >= 2 ? 2 : 1;
        if (n == ATTN_ROWS)
            attn_value_rows(t, i, at, vh, wide, ATTN_ROWS);
        else if (n == 2)
            attn_value_rows(t, i, at, vh, wide, 2);
        else
            attn_value_rows(t, i, at, vh, wide, 1);
    }
}

VEC void attn_merge(struct attn_state *t, size_t i)
{
    size_t r = t->row[i];
    float *sum = t->sum + r * t->hdp, *o = t->o + i * t->hdp;
    if (!t->any[r]) {
        t->any[r] = true;
        t->top[r] = t->m[i];
        t->len[r] = t->l[i];
        memcpy(sum, o, t->hdp * sizeof *sum);
        return;
    }
    float pair[VW] = {0}, up = t->m[i] > t->top[r] ? t->m[i] : t->top[r];
    pair[0] = t->top[r] - up;
    pair[1] = t->m[i] - up;
    v_store(pair, v_expf(v_load(pair)));
    t->top[r] = up;
    t->len[r] = fmaf(t->len[r], pair[0], t->l[i] * pair[1]);
    vf ka = v_set1(pair[0]), kb = v_set1(pair[1]);
    for (size_t d = 0; d < t->hdp; d += VW)
        v_store(sum + d, v_fma(v_load(sum + d), ka, v_mul(v_load(o + d), kb)));
}

/* First position that the query at pos sees. */
VEC size_t attn_first(const struct attn_args *a, int32_t pos)
{
    return a->window > 0 && pos >= a->window ? (size_t)(pos - a->window + 1) : 0;
}

VEC void attn_segment(struct attn_state *t, size_t rows, size_t start)
{
    const struct attn_args *a = t->a;
    size_t lo = ATTN_SEG, hi = 0;
    t->n = 0;
    for (size_t r = 0; r < rows; r++) {
        int32_t pos = a->pos[t->first + r];
        size_t first = attn_first(a, pos), last = (size_t)pos;
        if (last < start || first >= start + ATTN_SEG)
            continue;
        t->row[t->n] = r;
        t->lo[t->n] = first > start ? first - start : 0;
        t->hi[t->n] = last - start < ATTN_SEG ? last - start : ATTN_SEG - 1;
        lo = t->lo[t->n] < lo ? t->lo[t->n] : lo;
        hi = t->hi[t->n] > hi ? t->hi[t->n] : hi;
        t->n++;
    }
    if (t->n == 0)
        return;
    const uint8_t *const *pages = a->pages + start / KERNEL_PAGE;
    for (size_t p = lo / KERNEL_PAGE; p <= hi / KERNEL_PAGE; p++) {
        if (!pages[p])
            continue;
        const uint8_t *next = p < hi / KERNEL_PAGE && pages[p + 1] ? pages[p + 1] : pages[p];
        const uint8_t *ahead[2] = {next + a->k_off, pages[p] + a->v_off};
        attn_score_page(t, pages[p] + a->k_off, p * KERNEL_PAGE, ahead);
    }
    for (size_t i = 0; i < t->n; i++)
        attn_softmax(t, i);
    memset(t->o, 0, t->n * t->hdp * sizeof *t->o);
    for (size_t p = lo / KERNEL_PAGE; p <= hi / KERNEL_PAGE; p++) {
        size_t at = p * KERNEL_PAGE;
        if (!pages[p])
            continue;
        if (a->head_dim == t->hdp) {
            attn_value_page(t, pages[p] + a->v_off, at, NULL);
        } else {
            attn_value_convert(t, pages[p] + a->v_off, lo > at ? lo - at : 0,
                               hi - at < KERNEL_PAGE ? hi - at + 1 : KERNEL_PAGE);
            attn_value_page(t, NULL, at, t->page);
        }
    }
    for (size_t i = 0; i < t->n; i++)
        attn_merge(t, i);
}

VEC void attn_tile(struct attn_state *t, size_t rows)
{
    const struct attn_args *a = t->a;
    size_t first = SIZE_MAX, last = 0;
    for (size_t r = 0; r < rows; r++) {
        size_t f = attn_first(a, a->pos[t->first + r]), l = (size_t)a->pos[t->first + r];
        first = f < first ? f : first;
        last = l > last ? l : last;
        t->any[r] = false;
    }
    for (size_t start = first / ATTN_SEG * ATTN_SEG; start <= last; start += ATTN_SEG)
        attn_segment(t, rows, start);
    for (size_t r = 0; r < rows; r++) {
        float *out = a->out[t->first + r], *sum = t->sum + r * t->hdp, inv = 1.0f / t->len[r];
        elem_map(ELEM_SCALE, out, sum, NULL, inv, a->head_dim);
    }
}

VEC void attn_run(const struct attn_args *a)
{
    struct attn_state *t = a->scratch;
    size_t rows = a->n_q < ATTN_TILE ? a->n_q : ATTN_TILE;
    t->a = a;
    t->hdp = attn_pad(a->head_dim);
    t->s = (float *)(void *)((uint8_t *)a->scratch + ((sizeof *t + 63) & ~(size_t)63));
    t->o = t->s + rows * ATTN_SEG;
    t->sum = t->o + rows * t->hdp;
    t->page = t->sum + rows * t->hdp;
    for (t->first = 0; t->first < a->n_q; t->first += ATTN_TILE)
        attn_tile(t, a->n_q - t->first < ATTN_TILE ? a->n_q - t->first : ATTN_TILE);
}

/* A page's K column is strided, one half apart by 128 bytes: written from a buffer of converted values. */
VEC void attn_kv_store(uint8_t *block, size_t k_off, size_t v_off, const float *k, const float *v, size_t hd,
                       size_t slot)
{
    uint8_t *kp = block + k_off + 2 * slot, *vp = block + v_off + 2 * slot * hd, h[2 * VW];
    for (size_t d = 0; d < hd; d += VW) {
        size_t n = hd - d < VW ? hd - d : VW;
        float x[VW] = {0}, y[VW] = {0};
        memcpy(x, k + d, n * sizeof *x);
        memcpy(y, v + d, n * sizeof *y);
        v_store_half(h, v_load(x));
        for (size_t i = 0; i < n; i++)
            memcpy(kp + 2 * KERNEL_PAGE * (d + i), h + 2 * i, 2);
        v_store_half(h, v_load(y));
        memcpy(vp + 2 * d, h, 2 * n);
    }
}

#endif
