/* linear: kernelcheck's cases of the activation quantiser and the linear kernels. Weights are random bytes, not encoded
 * numbers, so that every code and every scale occurs; some cases are all extremes. */
#include "kernelcheck.h"
#include <math.h>
#include <string.h>

enum { MAX_TOK = 70 };

static const struct {
    int n;
    size_t at[2];
} HALVES[DT_COUNT] = {
    /* where the f16 numbers of a block are */
    [DT_Q4_0] = {1, {0}}, [DT_Q4_1] = {2, {0, 2}}, [DT_Q5_0] = {1, {0}},    [DT_Q5_1] = {2, {0, 2}},
    [DT_Q8_0] = {1, {0}}, [DT_Q4_K] = {2, {0, 2}}, [DT_Q5_K] = {2, {0, 2}}, [DT_Q6_K] = {1, {208}},
};

static void put_half(uint8_t *p, float v)
{
    uint16_t h = f32_to_f16(v);
    memcpy(p, &h, sizeof h);
}

/* n elements of dtype t. extreme 0: random; 1..4: every byte 0xff, 0x00, 0x80 or 0x7f. */
static void fill_weights(struct random *r, uint8_t *p, enum dtype t, size_t n, int extreme)
{
    static const uint8_t BYTES[] = {0, 0xff, 0x00, 0x80, 0x7f};
    /* NVFP4: levels may take shorter ways where no scale is small, or none is great */
    static const uint8_t RANGE[3][2] = {{0, 255}, {0x20, 0x7e}, {0, 0x67}};
    const uint8_t *range = RANGE[random_below(r, 3)];
    const struct dtype_info *d = dtype_info(t);
    for (size_t b = 0; b < n / d->block; b++, p += d->bytes) {
        if (d->block == 1) {
            float v = random_gauss(r);
            d->encode(p, &v, 1);
            continue;
        }
        for (size_t i = 0; i < d->bytes; i++)
            p[i] = extreme ? BYTES[extreme] : (uint8_t)random_u32(r);
        for (int s = 0; t == DT_NVFP4 && !extreme && s < 4; s++)
            p[s] = random_below(r, 40) ? (uint8_t)random_in(r, range[0], range[1]) : 0;
        if (t == DT_MXFP4 && !extreme && random_below(r, 20)) /* else any, so mostly far from 1 */
            p[0] = (uint8_t)random_in(r, 100, 135);
        for (int h = 0; h < HALVES[t].n; h++)
            put_half(p + HALVES[t].at[h],
                     random_below(r, 20) == 0 ? 0x1p-24f * (float)random_below(r, 50) : random_gauss(r) * 0.1f);
    }
}

static void fill_floats(struct random *r, float *x, size_t n, int extreme)
{
    float big = (float)random_in(r, 1, 1000) * 0.01f;
    for (size_t i = 0; i < n; i++)
        x[i] = extreme ? (random_below(r, 40) && extreme < 3 ? (extreme == 1 ? big : -big)
                          : random_below(r, 2)               ? big
                                                             : -big)
                       : random_gauss(r) * (random_below(r, 64) ? 1.0f : 30.0f);
}

static size_t pick_k(struct random *r, enum dtype t)
{
    size_t block = dtype_info(t)->block;
    if (block == 1)
        return random_below(r, 4) ? random_in(r, 1, 300) : 32 * random_in(r, 1, 20);
    return block * random_in(r, 1, random_below(r, 4) ? 1024 / block : 3072 / block);
}

static size_t pick_tokens(struct random *r)
{
    return random_below(r, 3) == 0 ? 1 : random_below(r, 2) ? random_in(r, 1, 10) : random_in(r, 1, MAX_TOK);
}

const char *check_linear(const struct check *c)
{
    enum dtype t = (enum dtype)c->entry;
    struct random *r = c->r;
    const struct linear_kernel *l = &c->ref->linear[t];
    size_t rows = random_in(r, 1, 70), k = pick_k(r, t), tok = pick_tokens(r), ldy = rows + random_below(r, 20);
    bool wide = random_below(r, 3) == 0, float_act = l->float_act;
    int extreme_w = random_below(r, 3) ? 0 : (int)random_in(r, 1, 4),
        extreme_x = random_below(r, 3) ? 0 : (int)random_in(r, 1, 3);
    size_t row_bytes = k / dtype_info(t)->block * dtype_info(t)->bytes, groups = (rows + 15) / 16,
           gb = l->group_bytes(k);
    uint8_t *file = guard_new(rows * row_bytes), *w = guard_new(groups * gb);
    float *x = guard_new(tok * k * 4), *y0 = guard_new(tok * ldy * 4), *y1 = guard_new(tok * ldy * 4),
          *bias = guard_new(rows * 4);
    void *act = guard_new(float_act ? 64 : c->ref->act_bytes(k, tok, wide)),
         *scratch = guard_new(c->k->linear_scratch(k, tok));
    fill_weights(r, file, t, rows * k, extreme_w);
    fill_floats(r, x, tok * k, extreme_x);
    fill_floats(r, bias, rows, 0);
    for (size_t g = 0; g < groups; g++)
        l->pack(w + g * gb, file + g * 16 * row_bytes, row_bytes, rows - g * 16 < 16 ? rows - g * 16 : 16, k);
    if (!float_act)
        c->ref->act_quantize(act, NULL, x, k, k, tok, 0, tok, wide);
    bool part = random_below(r, 3) == 0;
    float factor = random_gauss(r) * 1e-3f;
    struct linear_args a = {.w = w,
                            .act = float_act ? (const void *)x : act,
                            .bias = random_below(r, 2) ? bias : NULL,
                            .y = y0,
                            .scratch = NULL,
                            .k = k,
                            .n_rows = rows,
                            .ldy = ldy,
                            .g0 = 0,
                            .g1 = groups,
                            .t0 = 0,
                            .t1 = tok,
                            .n_tok = tok,
                            .wide = wide,
                            .ahead = 2048, /* past the guard page too: a fetch never faults */
                            .factor = random_below(r, 3) ? NULL : &factor};
    if (part) {
        a.g0 = random_below(r, groups);
        a.g1 = random_in(r, a.g0 + 1, groups);
        a.t0 = random_below(r, tok);
        a.t1 = random_in(r, a.t0 + 1, tok);
    }
    void *ref_scratch = guard_new(c->ref->linear_scratch(k, tok));
    a.scratch = ref_scratch;
    l->mul(&a);
    a.scratch = scratch;
    a.y = y1;
    c->k->linear[t].mul(&a);
    const char *bad = NULL;
    digest_add(c, y0, tok * ldy);
    if (memcmp(y0, y1, tok * ldy * 4) != 0)
        bad = "results differ";
    if (!guard_intact(y1) || !guard_intact(scratch) || !guard_intact(act) || !guard_intact(w))
        bad = "wrote outside its memory";
    if (!bad && rows * k < 4000) { /* what is packed must come back */
        float *row = guard_new(k * 4), *want = guard_new(k * 4);
        for (size_t i = 0; i < rows && !bad; i++) {
            c->k->linear[t].unpack_row(row, w, i, k);
            dtype_info(t)->decode(want, file + i * row_bytes, k);
            if (memcmp(row, want, k * 4) != 0 || !guard_intact(row))
                bad = "unpack_row is not decode";
        }
        guard_free(row), guard_free(want);
    }
    guard_free(file), guard_free(w), guard_free(x), guard_free(y0), guard_free(y1), guard_free(bias), guard_free(act);
    guard_free(scratch), guard_free(ref_scratch);
    return bad;
}

const char *check_act(const struct check *c)
{
    static const float ODD[] = {0.0f, -0.0f, 1e-45f, 1e-39f, 1e-31f, 8e-31f, 1e30f, 3.4e38f, INFINITY, -INFINITY, NAN};
    struct random *r = c->r;
    size_t k = 32 * random_in(r, 1, random_below(r, 3) ? 20 : 70), tok = pick_tokens(r), ldx = k + random_below(r, 9);
    bool wide = random_below(r, 2);
    float *x = guard_new(tok * ldx * 4);
    size_t n = c->ref->act_bytes(k, tok, wide), t0 = 0, t1 = tok;
    void *a0 = guard_new(n), *a1 = guard_new(n);
    uint8_t *o0 = guard_new((tok + 7) / 8), *o1 = guard_new((tok + 7) / 8), stale = (uint8_t)random_below(r, 256);
    fill_floats(r, x, tok * ldx, random_below(r, 4) ? 0 : (int)random_in(r, 1, 3));
    for (size_t i = random_below(r, 3) ? 0 : tok; i > 0; i--)
        x[random_below(r, tok * ldx)] = ODD[random_below(r, sizeof ODD / sizeof *ODD)];
    if (random_below(r, 4) == 0) /* ties: halves of the step */
        for (size_t i = 0; i < tok * ldx; i++)
            x[i] = i % 32 ? (float)random_below(r, 254) * 0.5f - 63.5f : 127.0f;
    if (random_below(r, 3) == 0) {
        t0 = random_below(r, tok) & ~(size_t)7;
        t1 = t0 + 8 < tok ? t0 + 8 : tok;
    }
    if (random_below(r, 3) == 0) /* some tokens' groups are mostly one number */
        for (size_t i = 0; i < tok * ldx; i += 32)
            x[i + random_below(r, tok * ldx - i < 32 ? tok * ldx - i : 32)] *= (float)random_in(r, 10, 40);
    memset(o0, stale, (tok + 7) / 8), memset(o1, stale, (tok + 7) / 8);
    c->ref->act_quantize(a0, o0, x, ldx, k, tok, t0, t1, wide);
    c->k->act_quantize(a1, o1, x, ldx, k, tok, t0, t1, wide);
    digest_add(c, a0, n / 4);
    const char *bad = memcmp(a0, a1, n) != 0 || memcmp(o0, o1, (tok + 7) / 8) != 0 ? "results differ"
                      : !guard_intact(a1) || !guard_intact(o1)                     ? "wrote outside its memory"
                                                                                   : NULL;
    guard_free(x), guard_free(a0), guard_free(a1), guard_free(o0), guard_free(o1);
    return bad;
}
