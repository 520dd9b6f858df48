/* attn: ref/attn.c in vectors. Included after a level's vec.h by that level's attn.c.
 *
 * Segment by segment (512 positions), the query rows that see something of it are taken in tiles of up to ATTN_ROWS. A tile has its
 * scores computed, made into weights and multiplied with the values before the next tile begins, so that its scores stay in the
 * first-level cache while the segment's pages come from the second. Scores and values are one loop, attn_mul: rows of numbers
 * times vectors of keys, or of dimensions, with all sums in registers. What is loaded is decoded there, once for all rows of the tile.
 * The first tile of a segment fetches what comes after: the values while it computes scores, then the next segment's keys (pages are
 * read in columns, which no hardware prefetcher foresees).
 * Scores of invisible lanes of a page are computed from whatever bytes lie there (lanes do not mix) and overwritten before they
 * are looked at; value rows are taken only if visible. */
#ifndef HEARTH_KERNEL_SIMD_ATTN_H
#define HEARTH_KERNEL_SIMD_ATTN_H
#include "kernel/kernel.h"
#include "kernel/simd/elem.h"

/* Rows of a tile lie ATTN_STRIDE floats apart: more than a segment, and no power of two, whose lines would share a cache set. */
enum {
    ATTN_SEG = KERNEL_SEGMENT,
    ATTN_PAD = 16,
    ATTN_STRIDE = KERNEL_SEGMENT + ATTN_PAD,
    ATTN_WIDE = 4,
    ATTN_NARROW = 2
};

struct attn_row { /* one query row, merged so far */
    float top, len;
    bool any;
};

/* y[r][v] = (more ? y[r][v] : 0) + x[r][i] * src[i][v], i ascending: r rows, v vectors. Both x and y have rows ATTN_STRIDE apart.
 * Of Q8_0, src[i] is multiplied by a scale first: keys have one each, scale_step further for the next group of dimensions i; values
 * one for each group of dimensions, scale_step further for the next key i.
 * ahead: what to fetch meanwhile, as many bytes for each of the first n_ahead i as the call reads for one. */
struct attn_mul {
    const float *x;
    float *y;
    const uint8_t *src;
    size_t step, n; /* bytes from src[i] to src[i + 1]; how many */
    bool more;
    const float *scale;
    size_t scale_step;
    const uint8_t *ahead;
    size_t n_ahead, ahead_step;
};
typedef void attn_mul_fn(const struct attn_mul *m, int rows, int vecs);

/* What the pages hold decides the loop. */
enum attn_kind { ATTN_PLAIN, ATTN_KEYS, ATTN_VALUES }; /* the last two: with scales */
struct attn_muls {
    attn_mul_fn *keys, *values, *panel;
};

struct attn_state { /* lives at the front of the scratch */
    const struct attn_args *a;
    const struct attn_muls *mul;
    size_t hdp;                          /* head_dim rounded up to 16 */
    size_t n_active, *active;            /* [n_q] rows that see something of this segment */
    struct attn_row *merged;             /* [n_q] */
    float *sum;                          /* [n_q][hdp] merged */
    size_t n, row[ATTN_ROWS];            /* the tile */
    size_t lo[ATTN_ROWS], hi[ATTN_ROWS]; /* visible part of the segment, relative to it */
    float *q, *s, *o;                    /* [row][ATTN_STRIDE]: queries, scores, this segment's values */
    float *panel;                        /* values that end within a vector, or a page's scales */
    const uint8_t *ahead, *ahead_end;    /* what the next calls of mul fetch */
    size_t end_page;                     /* pages from here on are not looked at */
};

VEC size_t attn_pad(size_t hd)
{
    return (hd + ATTN_PAD - 1) / ATTN_PAD * ATTN_PAD;
}

VEC size_t attn_scratch_bytes(size_t n_q, size_t hd)
{
    size_t front = sizeof(struct attn_state) + n_q * (sizeof(size_t) + sizeof(struct attn_row)),
           panel = KERNEL_PAGE * ATTN_WIDE * VW; /* of at most 512 / 32 scales for each key: no more */
    return ((front + 63) & ~(size_t)63) + 4 * (n_q * attn_pad(hd) + 3 * ATTN_ROWS * ATTN_STRIDE + panel);
}

/* ---- the loop ---- */

VEC size_t attn_size(enum dtype t)
{
    return t == DT_F32 ? 4 : t == DT_F16 || t == DT_BF16 ? 2 : 1;
}

VEC vf attn_load(const uint8_t *p, enum dtype t)
{
    if (t == DT_F32)
        return v_load((const float *)(const void *)p);
    if (t == DT_F16)
        return v_load_half(p);
    if (t == DT_BF16)
        return v_load_bf16(p);
    return t == DT_Q8_0 ? v_load_s8(p) : v_load_e4m3(p);
}

/* Steps [from, to) of a tile; `fetch`: of one stream. */
VEC void attn_steps(vf acc[ATTN_ROWS][ATTN_WIDE], const struct attn_mul *m, size_t from, size_t to, bool fetch,
                    enum dtype t, enum attn_kind kind, int nr, int nv)
{
    const float *x = m->x + from;
    const uint8_t *src = m->src + from * m->step, *ahead = m->ahead;
    const size_t step = m->step, ahead_step = m->ahead_step, scale_step = m->scale_step;
    for (size_t i = from; i < to; i++, src += step, x++) {
        if (fetch) {
            v_fetch(ahead);
            if (ahead_step > 64)
                v_fetch(ahead + 64);
            ahead += ahead_step;
        }
        vf c[ATTN_WIDE];
        for (int v = 0; v < nv; v++) {
            c[v] = attn_load(src + (size_t)(v * VW) * attn_size(t), t);
            if (kind == ATTN_KEYS)
                c[v] = v_mul(c[v], v_load(m->scale + i / KERNEL_GROUP * scale_step + v * VW));
            if (kind == ATTN_VALUES)
                c[v] = v_mul(c[v], v_set1(m->scale[i * scale_step + (size_t)(v * VW / KERNEL_GROUP)]));
        }
        for (int r = 0; r < nr; r++) {
            vf b = v_set1(x[(size_t)r * ATTN_STRIDE]);
            for (int v = 0; v < nv; v++)
                acc[r][v] = v_fma(b, c[v], acc[r][v]);
        }
    }
}

VEC void attn_tile(const struct attn_mul *m, enum dtype t, enum attn_kind kind, int nr, int nv)
{
    float *y = m->y;
    vf acc[ATTN_ROWS][ATTN_WIDE];
    if (m->more)
        for (int r = 0; r < nr; r++)
            for (int v = 0; v < nv; v++)
                acc[r][v] = v_load(y + r * ATTN_STRIDE + v * VW);
    else
        for (int r = 0; r < nr; r++)
            for (int v = 0; v < nv; v++)
                acc[r][v] = v_set1(0.0f);
    attn_steps(acc, m, 0, m->n_ahead, true, t, kind, nr, nv);
    attn_steps(acc, m, m->n_ahead, m->n, false, t, kind, nr, nv);
    for (int r = 0; r < nr; r++)
        for (int v = 0; v < nv; v++)
            v_store(y + r * ATTN_STRIDE + v * VW, acc[r][v]);
}

/* Vectors side by side for a tile of n rows. */
VEC int attn_vecs(size_t n)
{
    return n * ATTN_WIDE <= ATTN_ACC ? ATTN_WIDE : ATTN_NARROW;
}

VEC void attn_mul_rows(const struct attn_mul *m, enum dtype t, enum attn_kind kind, int rows, int vecs)
{
    const int full = attn_vecs((size_t)rows);
    if (vecs == full)
        attn_tile(m, t, kind, rows, full);
    else
        attn_tile(m, t, kind, rows, 1);
}

/* One body per number of rows: the sums' registers must be known to the compiler. */
VEC void attn_mul_any(const struct attn_mul *m, enum dtype t, enum attn_kind kind, int rows, int vecs)
{
    switch (rows) {
    case 1:
        attn_mul_rows(m, t, kind, 1, vecs);
        break;
    case 2:
        attn_mul_rows(m, t, kind, 2, vecs);
        break;
    case 3:
        attn_mul_rows(m, t, kind, 3, vecs);
        break;
    case 4:
        attn_mul_rows(m, t, kind, 4, vecs);
        break;
    case 6:
        attn_mul_rows(m, t, kind, 6, vecs);
        break;
#if ATTN_MANY_ROWS
    case 7:
        attn_mul_rows(m, t, kind, 7, vecs);
        break;
    case 8:
        attn_mul_rows(m, t, kind, 8, vecs);
        break;
    case 12:
        attn_mul_rows(m, t, kind, 12, vecs);
        break;
#endif
    }
}

/* Rows of the next tile when `left` are left: sizes that exist, and no lonely row after a full tile. */
VEC size_t attn_rows(size_t left)
{
    static const uint8_t few[] = {0, 1, 2, 3, 4, 3, 6, 4, 4, 6, 6},
                         many[] = {0, 1, 2, 3, 4, 3, 6, 7, 8, 6, 6, 7, 12, 7, 7, 8, 8, 12, 12, 12, 12};
    if (ATTN_ROWS == 6)
        return left < sizeof few ? few[left] : 6;
    return left < sizeof many ? many[left] : 12;
}

/* ---- what is decoded first ---- */

/* Dimensions [d0, head_dim) of value rows [lo, hi) into the panel, nv vectors, what is behind head_dim as zeros. */
VEC void attn_panel_v(const struct attn_state *t, const uint8_t *vh, size_t d0, size_t lo, size_t hi, int nv,
                      enum dtype d)
{
    size_t hd = t->a->head_dim, size = attn_size(d);
    for (size_t j = lo; j < hi; j++)
        for (int v = 0; v < nv; v++) {
            size_t at = d0 + (size_t)(v * VW);
            const uint8_t *from = vh + (j * hd + at) * size;
            uint8_t rest[4 * VW] = {0};
            if (at + VW > hd)
                from = memcpy(rest, from, hd > at ? (hd - at) * size : 0);
            v_store(t->panel + (j * (size_t)nv + (size_t)v) * VW, attn_load(from, d));
        }
}

/* Scales [from, to) of the page's K or V at p, which follow its codes; the result counts from 0. */
VEC const float *attn_scales(const struct attn_state *t, const uint8_t *p, size_t from, size_t to)
{
    p += KERNEL_PAGE * t->a->head_dim;
    size_t i = from / VW * VW; /* whole vectors: a page's scales are a multiple of 64 */
    for (; i < to; i += VW)
        v_store(t->panel + i, v_load_half(p + 2 * i));
    return t->panel;
}

/* ---- one tile of rows, one segment ---- */

/* Sends the fetching that is due along with a call of mul. */
VEC void attn_call(struct attn_state *t, struct attn_mul *m, attn_mul_fn *mul, int vecs, enum dtype d)
{
    m->ahead_step = (size_t)(vecs * VW) * attn_size(d);
    size_t left = (size_t)(t->ahead_end - t->ahead) / m->ahead_step;
    m->ahead = t->ahead;
    m->n_ahead = left < m->n ? left : m->n;
    t->ahead += m->ahead_step * m->n_ahead;
    mul(m, (int)t->n, vecs);
}

VEC void attn_fetch(struct attn_state *t, const uint8_t *p, enum dtype d)
{
    t->ahead = p ? p : (const uint8_t *)t; /* nothing: any place, no bytes */
    t->ahead_end = t->ahead + (p ? t->a->head_dim * KERNEL_PAGE * attn_size(d) : 0);
}

VEC void attn_score_page(struct attn_state *t, const uint8_t *k, size_t at, enum dtype d)
{
    const int nv = attn_vecs(t->n);
    const size_t hd = t->a->head_dim, size = attn_size(d), width = (size_t)(nv * VW);
    const float *scale = d == DT_Q8_0 ? attn_scales(t, k, 0, KERNEL_PAGE * hd / KERNEL_GROUP) : NULL;
    for (size_t v0 = 0; v0 < KERNEL_PAGE; v0 += width) {
        struct attn_mul m = {.x = t->q,
                             .y = t->s + at + v0,
                             .src = k + v0 * size,
                             .step = KERNEL_PAGE * size,
                             .n = hd,
                             .scale = scale ? scale + v0 : NULL,
                             .scale_step = KERNEL_PAGE};
        attn_call(t, &m, t->mul->keys, nv, d);
    }
}

/* Scores -> weights, their largest score and their sum. Lanes that are not visible become -inf, hence weight +0. */
VEC void attn_softmax(const struct attn_state *t, size_t i, float *top_score, float *sum)
{
    enum { V = 16 / VW };
    float *s = t->s + i * ATTN_STRIDE, lane[16], m = -INFINITY;
    size_t from = t->lo[i] & ~(size_t)15, to = (t->hi[i] | 15) + 1;
    for (size_t j = from; j < t->lo[i]; j++)
        s[j] = -INFINITY;
    for (size_t j = t->hi[i] + 1; j < to; j++)
        s[j] = -INFINITY;
    vf best[V], acc[V];
    for (int v = 0; v < V; v++)
        best[v] = v_set1(-INFINITY);
    for (size_t j = from; j < to; j += 16)
        for (int v = 0; v < V; v++)
            best[v] = v_max(v_load(s + j + (size_t)(v * VW)), best[v]);
    for (int v = 0; v < V; v++)
        v_store(lane + v * VW, best[v]);
    for (int l = 0; l < 16; l++)
        m = lane[l] > m ? lane[l] : m;
    for (int v = 0; v < V; v++)
        acc[v] = v_set1(0.0f);
    vf top = v_set1(m);
    for (size_t j = from; j < to; j += 16)
        for (int v = 0; v < V; v++) {
            float *p = s + j + (size_t)(v * VW);
            vf e = v_expf_falling(v_sub(v_load(p), top));
            v_store(p, e);
            acc[v] = v_add(acc[v], e);
        }
    for (int v = 0; v < V; v++)
        v_store(lane + v * VW, acc[v]);
    *top_score = m;
    *sum = elem_tree16(lane);
}

/* Keys [lo, hi) of the page at `at` for `n` rows of the tile from row i on. */
VEC void attn_value_keys(struct attn_state *t, size_t i, size_t n, size_t at, const uint8_t *vh, size_t lo, size_t hi,
                         enum dtype d)
{
    const size_t hd = t->a->head_dim, size = attn_size(d), groups = hd / KERNEL_GROUP;
    const int full = attn_vecs(n);
    const float *scale = d == DT_Q8_0 ? attn_scales(t, vh, lo * groups, hi * groups) : NULL;
    size_t rows = t->n;
    t->n = n;
    for (size_t d0 = 0; d0 < t->hdp;) {
        const int nv = d0 + (size_t)(full * VW) <= t->hdp ? full : 1;
        struct attn_mul m = {.x = t->s + i * ATTN_STRIDE + at + lo,
                             .y = t->o + i * ATTN_STRIDE + d0,
                             .src = vh + (lo * hd + d0) * size,
                             .step = hd * size,
                             .n = hi - lo,
                             .more = true,
                             .scale = scale ? scale + lo * groups + d0 / KERNEL_GROUP : NULL,
                             .scale_step = groups};
        const bool panel = d0 + (size_t)(nv * VW) > hd; /* never of Q8_0 */
        if (panel) {
            attn_panel_v(t, vh, d0, lo, hi, nv, d);
            m.src = (const uint8_t *)(t->panel + lo * (size_t)(nv * VW));
            m.step = (size_t)(nv * VW) * sizeof(float);
        }
        attn_call(t, &m, panel ? t->mul->panel : t->mul->values, nv, d);
        d0 += (size_t)(nv * VW);
    }
    t->n = rows;
}

/* Keys that all rows see by the tile, those before and after row by row; each row's keys stay ascending. */
VEC void attn_value_page(struct attn_state *t, const uint8_t *vh, size_t at, enum dtype d)
{
    size_t lo[ATTN_ROWS], hi[ATTN_ROWS], from = 0, to = KERNEL_PAGE; /* half open, within the page */
    for (size_t r = 0; r < t->n; r++) {
        size_t a = t->lo[r], b = t->hi[r] + 1;
        lo[r] = a > at ? a - at : 0;
        hi[r] = b < at ? 0 : b - at < KERNEL_PAGE ? b - at : KERNEL_PAGE;
        lo[r] = lo[r] < hi[r] ? lo[r] : hi[r];
        from = lo[r] > from ? lo[r] : from;
        to = hi[r] < to ? hi[r] : to;
    }
    bool common = from < to;
    for (size_t r = 0; r < t->n; r++) {
        size_t end = common ? from : hi[r];
        if (lo[r] < end)
            attn_value_keys(t, r, 1, at, vh, lo[r], end, d);
    }
    if (!common)
        return;
    attn_value_keys(t, 0, t->n, at, vh, from, to, d);
    for (size_t r = 0; r < t->n; r++)
        if (to < hi[r])
            attn_value_keys(t, r, 1, at, vh, to, hi[r], d);
}

/* Merges one segment's result into what the row has; `sum` has room for whole vectors, o is as long. */
VEC void attn_merge_one(struct attn_row *g, float *sum, const float *o, float m, float l, size_t hdp)
{
    if (!g->any) {
        *g = (struct attn_row){m, l, true};
        memcpy(sum, o, hdp * sizeof *sum);
        return;
    }
    float pair[VW] = {0}, up = m > g->top ? m : g->top;
    pair[0] = g->top - up;
    pair[1] = m - up;
    v_store(pair, v_expf(v_load(pair)));
    g->top = up;
    g->len = fmaf(g->len, pair[0], l * pair[1]);
    vf ka = v_set1(pair[0]), kb = v_set1(pair[1]);
    for (size_t d = 0; d < hdp; d += VW)
        v_store(sum + d, v_fma(v_load(sum + d), ka, v_mul(v_load(o + d), kb)));
}

/* First position that the query at pos sees. */
VEC size_t attn_first(const struct attn_args *a, int32_t pos)
{
    return a->window > 0 && pos >= a->window ? (size_t)(pos - a->window + 1) : 0;
}

/* Where row i's result of a segment goes when segments are left apart. */
VEC float *attn_part(const struct attn_args *a, size_t i, size_t seg)
{
    return a->part + (i * a->part_n + seg - a->part_first) * kernel_part(a->head_dim);
}

VEC void attn_tile_end(struct attn_state *t, size_t seg)
{
    for (size_t i = 0; i < t->n; i++) {
        const float *o = t->o + i * ATTN_STRIDE;
        size_t r = t->row[i];
        float m = t->q[i * ATTN_STRIDE], l = t->q[i * ATTN_STRIDE + 1];
        if (t->a->part) {
            float *to = attn_part(t->a, r, seg);
            to[0] = m;
            to[1] = l;
            memcpy(to + ATTN_PAD, o, t->hdp * sizeof *o);
        } else {
            attn_merge_one(&t->merged[r], t->sum + r * t->hdp, o, m, l, t->hdp);
        }
    }
}

/* The tile's rows are set. The `first` tile of a segment fetches, always the page that it will read next. */
VEC void attn_segment_tile(struct attn_state *t, size_t seg, bool first, enum dtype d)
{
    const struct attn_args *a = t->a;
    const uint8_t *const *pages = a->pages + seg * (ATTN_SEG / KERNEL_PAGE);
    size_t lo = ATTN_SEG, hi = 0;
    for (size_t i = 0; i < t->n; i++) {
        memcpy(t->q + i * ATTN_STRIDE, a->q[t->row[i]], a->head_dim * sizeof(float));
        if (d == DT_Q8_0)
            kernel_turn(t->q + i * ATTN_STRIDE, a->head_dim, true);
        memset(t->o + i * ATTN_STRIDE, 0, t->hdp * sizeof(float));
        lo = t->lo[i] < lo ? t->lo[i] : lo;
        hi = t->hi[i] > hi ? t->hi[i] : hi;
    }
    const size_t from = lo / KERNEL_PAGE, to = hi / KERNEL_PAGE, after = (seg + 1) * (ATTN_SEG / KERNEL_PAGE);
    for (size_t p = from; p <= to; p++) {
        if (!pages[p])
            continue;
        const uint8_t *next = p < to ? pages[p + 1] : NULL;
        attn_fetch(t, !first ? NULL : next ? next + a->k_off : pages[from] ? pages[from] + a->v_off : NULL, d);
        attn_score_page(t, pages[p] + a->k_off, p * KERNEL_PAGE, d);
    }
    for (size_t i = 0; i < t->n; i++) /* the queries' place is free now */
        attn_softmax(t, i, t->q + i * ATTN_STRIDE, t->q + i * ATTN_STRIDE + 1);
    for (size_t p = from; p <= to; p++) {
        if (!pages[p])
            continue;
        const uint8_t *next = p < to ? pages[p + 1] : NULL, *then = after < t->end_page ? a->pages[after] : NULL;
        attn_fetch(t, !first ? NULL : next ? next + a->v_off : then ? then + a->k_off : NULL, d);
        attn_value_page(t, pages[p] + a->v_off, p * KERNEL_PAGE, d);
    }
    attn_tile_end(t, seg);
}

/* ---- all rows ---- */

VEC void attn_segment(struct attn_state *t, size_t seg, enum dtype d)
{
    const struct attn_args *a = t->a;
    size_t start = seg * ATTN_SEG;
    t->n_active = 0;
    for (size_t r = 0; r < a->n_q; r++)
        if ((size_t)a->pos[r] >= start && attn_first(a, a->pos[r]) < start + ATTN_SEG)
            t->active[t->n_active++] = r;
    for (size_t i = 0; i < t->n_active; i += t->n) {
        t->n = attn_rows(t->n_active - i);
        for (size_t j = 0; j < t->n; j++) {
            size_t r = t->active[i + j], from = attn_first(a, a->pos[r]), to = (size_t)a->pos[r];
            t->row[j] = r;
            t->lo[j] = from > start ? from - start : 0;
            t->hi[j] = to - start < ATTN_SEG ? to - start : ATTN_SEG - 1;
        }
        attn_segment_tile(t, seg, i == 0, d);
    }
}

VEC void attn_set(struct attn_state *t, const struct attn_args *a, const struct attn_muls *mul)
{
    *t = (struct attn_state){.a = a, .mul = mul, .hdp = attn_pad(a->head_dim)};
    t->active = (size_t *)(void *)(t + 1);
    t->merged = (struct attn_row *)(void *)(t->active + a->n_q);
    size_t front = (size_t)((uint8_t *)(t->merged + a->n_q) - (uint8_t *)t);
    t->sum = (float *)(void *)((uint8_t *)t + ((front + 63) & ~(size_t)63));
    t->q = t->sum + a->n_q * t->hdp;
    t->s = t->q + ATTN_ROWS * ATTN_STRIDE;
    t->o = t->s + ATTN_ROWS * ATTN_STRIDE;
    t->panel = t->o + ATTN_ROWS * ATTN_STRIDE;
}

VEC void attn_run(const struct attn_args *a, enum dtype d, const struct attn_muls *mul)
{
    struct attn_state *t = a->scratch;
    size_t first = SIZE_MAX, last = 0;
    attn_set(t, a, mul);
    for (size_t r = 0; r < a->n_q; r++) {
        size_t f = attn_first(a, a->pos[r]), l = (size_t)a->pos[r];
        first = f < first ? f : first;
        last = l > last ? l : last;
        t->merged[r].any = false;
    }
    size_t seg0 = first / ATTN_SEG, seg1 = last / ATTN_SEG + 1;
    if (a->part) {
        seg0 = a->seg0 > seg0 ? a->seg0 : seg0;
        seg1 = a->seg1 < seg1 ? a->seg1 : seg1;
    }
    t->end_page = last / KERNEL_PAGE + 1;
    if (t->end_page > seg1 * (ATTN_SEG / KERNEL_PAGE))
        t->end_page = seg1 * (ATTN_SEG / KERNEL_PAGE);
    for (size_t seg = seg0; seg < seg1; seg++)
        attn_segment(t, seg, d);
    for (size_t r = 0; r < a->n_q && !a->part; r++)
        elem_map(ELEM_SCALE, a->out[r], t->sum + r * t->hdp, NULL, 1.0f / t->merged[r].len, a->head_dim);
}

VEC void attn_merge_parts(const struct attn_args *a)
{
    struct attn_state *t = a->scratch;
    attn_set(t, a, NULL);
    for (size_t r = 0; r < a->n_q; r++) {
        struct attn_row g = {.any = false};
        for (size_t seg = attn_first(a, a->pos[r]) / ATTN_SEG; seg <= (size_t)a->pos[r] / ATTN_SEG; seg++) {
            const float *p = attn_part(a, r, seg);
            attn_merge_one(&g, t->sum, p + ATTN_PAD, p[0], p[1], t->hdp);
        }
        elem_map(ELEM_SCALE, a->out[r], t->sum, NULL, 1.0f / g.len, a->head_dim);
    }
}

/* x: a multiple of 8 numbers. */
VEC void attn_halves(uint8_t *to, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + VW <= n; i += VW)
        v_store_half(to + 2 * i, v_load(x + i));
    if (i < n) {
        float rest[VW] = {0};
        uint8_t half[2 * VW];
        memcpy(rest, x + i, (n - i) * sizeof *rest);
        v_store_half(half, v_load(rest));
        memcpy(to + 2 * i, half, 2 * (n - i));
    }
}

/* A page's K columns are strided: eight positions at a time are turned in registers, one goes there by itself. */
VEC void attn_store_half(const struct store_args *a)
{
    uint8_t *kp = a->block + a->k_off + 2 * a->slot, *vp = a->block + a->v_off + 2 * a->slot * a->head_dim;
    const size_t hd = a->head_dim;
    size_t i = 0;
    for (; i + 8 <= a->n; i += 8)
        for (size_t d = 0; d < hd; d += 8)
            v_store_columns(kp + 2 * (KERNEL_PAGE * d + i), 2 * KERNEL_PAGE, a->k + i * a->ld + d, a->ld);
    for (; i < a->n; i++) {
        uint8_t row[2 * 512];
        attn_halves(row, a->k + i * a->ld, hd);
        for (size_t d = 0; d < hd; d++)
            memcpy(kp + 2 * (KERNEL_PAGE * d + i), row + 2 * d, 2);
    }
    for (i = 0; i < a->n; i++)
        attn_halves(vp + 2 * hd * i, a->v + i * a->ld, hd);
}

#endif
