/* The reference kernels against the plainest double arithmetic: decoded weights, exact sums, textbook attention. Levels are compared
 * with the reference by kernelcheck; here the reference itself is held to what the words mean. */
#include "../check.h"
#include "kernel/kernel.h"
#include <math.h>

static unsigned seed = 12345;

static float gauss(void)
{
    double v = 0;
    for (int j = 0; j < 12; j++) {
        seed = seed * 1664525u + 1013904223u;
        v += (double)(seed >> 8) / (1 << 24) - 0.5;
    }
    return (float)v;
}

static void *room(size_t n)
{
    void *p = NULL;
    if (posix_memalign(&p, 64, n + 64))
        abort();
    memset(p, 0x5a, n + 64);
    return p;
}

enum { ROWS = 37, K = 512, TOK = 11 };

/* One dtype: packed rows decode to the file's numbers, and products are within the activation rounding's reach. */
static void linear_one(const struct kernels *k, enum dtype t, bool wide)
{
    static float w[ROWS][K], x[TOK][K], y[TOK][ROWS], bias[ROWS], row[K];
    const struct linear_kernel *l = &k->linear[t];
    uint64_t row_bytes = 0;
    CHECK_INT(dtype_row_bytes(t, K, &row_bytes, NULL), 0);
    unsigned char *file = room(ROWS * row_bytes), *packed = room(3 * l->group_bytes(K));
    CHECK_INT(l->group_bytes(K) % 64, 0);
    for (int r = 0; r < ROWS; r++) {
        for (int i = 0; i < K; i++)
            w[r][i] = gauss();
        bias[r] = gauss();
        dtype_info(t)->encode(file + (size_t)r * row_bytes, w[r], K);
        dtype_info(t)->decode(w[r], file + (size_t)r * row_bytes, K);
    }
    for (size_t g = 0; g < 3; g++)
        l->pack(packed + g * l->group_bytes(K), file + g * 16 * row_bytes, row_bytes, g < 2 ? 16 : ROWS - 32, K);
    for (size_t r = 0; r < ROWS; r++) {
        l->unpack_row(row, packed, r, K);
        CHECK(memcmp(row, w[r], sizeof row) == 0);
    }
    for (int i = 0; i < TOK * K; i++)
        x[i / K][i % K] = gauss();
    void *act = room(k->act_bytes(K, TOK, wide) + sizeof x), *scratch = room(k->linear_scratch(K, TOK));
    if (l->float_act)
        memcpy(act, x, sizeof x);
    else
        k->act_quantize(act, NULL, &x[0][0], K, K, TOK, 0, TOK, wide);
    struct linear_args a = {packed, act, bias, &y[0][0], scratch, K, ROWS, ROWS, 0, 3, 0, TOK, TOK, wide, 0, NULL};
    l->mul(&a);
    double num = 0, den = 0;
    for (int i = 0; i < TOK; i++)
        for (int r = 0; r < ROWS; r++) {
            double want = (double)bias[r];
            for (int j = 0; j < K; j++)
                want += (double)w[r][j] * (double)x[i][j];
            num += ((double)y[i][r] - want) * ((double)y[i][r] - want);
            den += want * want;
        }
    double err = sqrt(num / den), limit = l->float_act ? 1e-6 : wide ? 8e-5 : 0.008;
    float factor = 0.375f, twice[TOK][ROWS];
    a.factor = &factor;
    a.bias = NULL;
    a.y = &twice[0][0];
    l->mul(&a);
    a.factor = NULL;
    a.y = &y[0][0];
    l->mul(&a);
    for (int i = 0; i < TOK * ROWS; i++)
        CHECK(twice[i / ROWS][i % ROWS] == y[i / ROWS][i % ROWS] * factor);
    if (err > limit)
        fprintf(stderr, "%s %s: error %g\n", dtype_info(t)->name, wide ? "wide" : "narrow", err);
    CHECK(err <= limit);
    free(file), free(packed), free(act), free(scratch);
}

static void linear_is_the_product(void)
{
    struct kernels k;
    kernels_init(&k, 0);
    for (int t = 0; t < DT_COUNT; t++)
        for (int wide = 0; wide < 2 && k.linear[t].mul; wide++)
            linear_one(&k, (enum dtype)t, wide);
}

static void act_survives_anything(void)
{
    struct kernels k;
    kernels_init(&k, 0);
    static const float odd[] = {0, -0.0f, 1e-45f, 1e-38f, 3.4e38f, INFINITY, -INFINITY, NAN};
    float x[64], y[16];
    unsigned char *w = room(k.linear[DT_Q8_0].group_bytes(64)), file[16 * 68];
    for (int i = 0; i < 64; i++)
        x[i] = 1;
    for (size_t r = 0; r < 16; r++)
        dtype_info(DT_Q8_0)->encode(file + 68 * r, x, 64);
    k.linear[DT_Q8_0].pack(w, file, 68, 16, 64);
    for (size_t o = 0; o < sizeof odd / sizeof *odd; o++)
        for (int wide = 0; wide < 2; wide++) {
            unsigned char act[512] __attribute__((aligned(64)));
            x[40] = odd[o];
            k.act_quantize(act, NULL, x, 64, 64, 1, 0, 1, wide);
            struct linear_args a = {w, act, NULL, y, NULL, 64, 16, 16, 0, 1, 0, 1, 1, wide, 2048, NULL};
            k.linear[DT_Q8_0].mul(&a);
            CHECK(o < 5 ? isfinite(y[0]) || odd[o] > 1e38f : isnan(y[0]));
            CHECK(o > 3 || fabsf(y[0] - 63) < 0.5f);
        }
    free(w);
}

/* Tokens 0 noise, 1 one large number in each group, 2 the same and a NaN, 3 zeros. */
static void outliers_are_told(void)
{
    enum { N = 96 };
    struct kernels k;
    kernels_init(&k, 0);
    static float x[4][N];
    float rest[N], worst = 0;
    unsigned char act[2048] __attribute__((aligned(64)));
    for (int i = 0; i < N; i++) {
        x[0][i] = (float)(i * 37 % 64) - 31.5f;
        x[1][i] = x[2][i] = x[0][i] * (i % 32 == 5 ? 900.0f : 1.0f);
    }
    x[2][50] = NAN;
    uint8_t outliers = 0xff;
    k.act_quantize(act, &outliers, &x[0][0], N, N, 4, 0, 4, true);
    CHECK_INT(outliers, 0);
    outliers = 0xff;
    k.act_quantize(act, &outliers, &x[0][0], N, N, 4, 0, 4, false);
    CHECK_INT(outliers, 2);
    k.act_quantize(act, &outliers, &x[0][0], N, N, 4, 1, 2,
                   false); /* tokens behind the call's are forgotten, those before it are not */
    CHECK_INT(outliers, 2);
    k.act_residual(rest, act, x[1], N, 4, 1);
    for (int i = 0; i < N; i++)
        worst = fmaxf(worst, fabsf(rest[i]));
    CHECK(worst > 1.0f && worst <= 0.51f * 900 * 31.5f / 127);
}

enum { HD = 24, NPOS = 1200, NQ = 5 };

static void attention_is_softmax(void)
{
    struct kernels k;
    kernels_init(&k, 0);
    static unsigned char block[(NPOS + 63) / 64][256 + 2 * HD * 64 * 2];
    static const uint8_t *pages[(NPOS + 63) / 64];
    static float kk[NPOS][HD], vv[NPOS][HD], q[NQ][HD], out[NQ][HD];
    memset(block, 0xff, sizeof block); /* NaN wherever nothing was stored */
    for (size_t p = 0; p < NPOS; p++) {
        for (int d = 0; d < HD; d++) {
            kk[p][d] = gauss();
            vv[p][d] = gauss();
        }
        struct store_args s = {block[p / 64], 128, 128 + HD * 128, kk[p], vv[p], 0, HD, p % 64, 1};
        k.attn[DT_F16].store(&s);
        pages[p / 64] = block[p / 64];
    }
    static const int32_t pos[NQ] = {0, 63, 511, 512, NPOS - 1};
    for (int window = 0; window <= 600; window += 300) {
        const float *qp[NQ];
        float *op[NQ];
        for (int i = 0; i < NQ; i++) {
            qp[i] = q[i];
            op[i] = out[i];
            for (int d = 0; d < HD; d++)
                q[i][d] = 0.5f * gauss();
        }
        void *scratch = room(k.attn_scratch(NQ, HD));
        k.attn[DT_F16].attn(&(struct attn_args){.q = qp,
                                                .out = op,
                                                .pos = pos,
                                                .n_q = NQ,
                                                .head_dim = HD,
                                                .pages = pages,
                                                .k_off = 128,
                                                .v_off = 128 + HD * 128,
                                                .window = window,
                                                .scratch = scratch});
        free(scratch);
        for (int i = 0; i < NQ; i++) {
            double sum = 0, o[HD] = {0};
            for (int j = window && pos[i] >= window ? pos[i] - window + 1 : 0; j <= pos[i]; j++) {
                double s = 0;
                for (int d = 0; d < HD; d++)
                    s += (double)q[i][d] * (double)f16_to_f32(f32_to_f16(kk[j][d]));
                sum += exp(s);
                for (int d = 0; d < HD; d++)
                    o[d] += exp(s) * (double)f16_to_f32(f32_to_f16(vv[j][d]));
            }
            for (int d = 0; d < HD; d++)
                CHECK(fabs(o[d] / sum - (double)out[i][d]) < 2e-6 * (1 + fabs(o[d] / sum)));
        }
    }
}

static void elementwise(void)
{
    struct kernels k;
    kernels_init(&k, 0);
    enum { N = 133 };
    float x[N], w[N], y[N];
    double ss = 0;
    for (int i = 0; i < N; i++) {
        x[i] = 3 * gauss();
        w[i] = gauss();
        ss += (double)x[i] * (double)x[i];
    }
    k.rmsnorm(y, x, w, N, 1e-5f);
    for (int i = 0; i < N; i++)
        CHECK(fabs((double)x[i] / sqrt(ss / N + 1e-5) * (double)w[i] - (double)y[i]) < 1e-6 * (1 + fabs((double)y[i])));
    k.silu_mul(y, x, w, N);
    for (int i = 0; i < N; i++)
        CHECK(fabs((double)x[i] / (1 + exp(-(double)x[i])) * (double)w[i] - (double)y[i]) <
              1e-6 * (1 + fabs((double)y[i])));
    k.gelu_mul(y, x, w, N);
    for (int i = 0; i < N; i++) {
        double g = (double)x[i],
               want = 0.5 * g * (1 + tanh(0.7978845608028654 * (g + 0.044715 * g * g * g))) * (double)w[i];
        CHECK(fabs(want - (double)y[i]) < 2e-6 * (1 + fabs(want)));
    }
    float big[3] = {-200, 200, 0}, one[3] = {1, 1, 1};
    k.silu_mul(big, big, one, 3);
    CHECK(big[0] == 0.0f && big[1] == 200.0f && big[2] == 0.0f);
    float a[5] = {1, NAN, 7, 7, -INFINITY}, none[2] = {NAN, NAN};
    CHECK_INT(k.argmax(a, 5), 2);
    CHECK_INT(k.argmax(none, 2), 0);
    float logit[4] = {2, 1, -INFINITY, -3}, weight[4];
    struct weigh g = {.max = 2, .temperature = 0.5f, .least = 1e-3f};
    k.weigh(weight, logit, 4, &g);
    CHECK(weight[0] == 1 && fabsf(weight[1] - 0.135335f) < 1e-6f && weight[2] == 0 && weight[3] == 0);
    CHECK(g.sum == weight[0] + weight[1] && g.top == 1);
    float p[4] = {1, 2, 3, 4}, r[4] = {1, 2, 3, 4},
          cs[4] = {0, 1, 1, 0}; /* 90 degrees for the first pair, none for the second */
    k.rope(p, cs, 4, true);
    CHECK(p[0] == -3 && p[1] == 2 && p[2] == 1 && p[3] == 4);
    k.rope(r, cs, 4, false);
    CHECK(r[0] == -2 && r[1] == 1 && r[2] == 3 && r[3] == 4);
}

static void entries_have_names_and_levels(void)
{
    struct kernels k;
    kernels_init(&k, 0);
    CHECK_STR(k.level, "ref");
    size_t n = 0;
    for (; kernel_entry_name(n); n++)
        CHECK_STR(kernel_entry_level(&k, n), "ref");
    size_t linear = 0;
    for (int t = 0; t < DT_COUNT; t++)
        linear += k.linear[t].mul != NULL;
    CHECK_INT(linear, DT_COUNT - 1); /* all but F8_E4M3 */
    size_t caches = 0;
    for (int t = 0; t < DT_COUNT; t++)
        caches += k.attn[t].attn && k.attn[t].store;
    CHECK_INT(caches, 5); /* F32, F16, BF16, Q8_0, F8_E4M3 */
    CHECK_INT(n, linear + 2 * caches + 10);
    CHECK(kernel_entry_level(&k, n) == NULL);
}

int main(void)
{
    RUN(linear_is_the_product);
    RUN(act_survives_anything);
    RUN(outliers_are_told);
    RUN(attention_is_softmax);
    RUN(elementwise);
    RUN(entries_have_names_and_levels);
    return check_done();
}
