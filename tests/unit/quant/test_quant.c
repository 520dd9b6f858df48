/* Every dtype against golden vectors of the formats' reference implementation, bit for bit; the scalar codecs over their whole
 * range; encoders by the error they may make. */
#include "../check.h"
#include "golden.h"
#include "quant/quant.h"
#include <math.h>

static unsigned bits(float f)
{
    unsigned u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static float from_bits(unsigned u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static void decode_equals_reference(void)
{
    int covered = 0;
    for (size_t i = 0; i < sizeof GOLDEN / sizeof *GOLDEN; i++) {
        enum dtype t;
        float got[512];
        CHECK_INT(dtype_from_name(GOLDEN[i].name, &t), 0);
        covered |= 1 << t;
        dtype_info(t)->decode(got, GOLDEN[i].src, GOLDEN[i].n);
        for (unsigned j = 0; j < GOLDEN[i].n; j++)
            if (bits(got[j]) != GOLDEN[i].want[j]) {
                fprintf(stderr, "%s element %u: %a, wanted %a\n", GOLDEN[i].name, j, (double)got[j],
                        (double)from_bits(GOLDEN[i].want[j]));
                CHECK(bits(got[j]) == GOLDEN[i].want[j]);
                break;
            }
    }
    CHECK_INT(covered | 1 << DT_F32 | 1 << DT_F8_E4M3, (1 << DT_COUNT) - 1); /* e4m3_all_values has the latter */
}

static void f16_all_values(void)
{
    for (unsigned h = 0; h < 65536; h++) {
        float f = f16_to_f32((uint16_t)h);
        unsigned e = h >> 10 & 31, m = h & 1023;
        double want = e == 31 ? (m ? NAN : INFINITY) : e ? ldexp(1024 + m, (int)e - 25) : ldexp(m, -24);
        if (h & 0x8000)
            want = -want;
        if (isnan(want)) {
            CHECK(isnan(f) && isnan(f16_to_f32(f32_to_f16(f))));
            continue;
        }
        CHECK(f == (float)want && !signbit(f) == !(h & 0x8000));
        CHECK_INT(f32_to_f16(f), h);
        if (e == 31)
            continue;
        float up = f16_to_f32((uint16_t)(h + 1)); /* halfway to the next value: ties go to the even mantissa */
        float mid = e == 30 && m == 1023 ? (h & 0x8000 ? -65520.0f : 65520.0f) : (float)(((double)f + (double)up) / 2);
        unsigned even = h & 1 ? h + 1 : h;
        CHECK_INT(f32_to_f16(mid), even);
        CHECK_INT(f32_to_f16(nextafterf(mid, h & 0x8000 ? -INFINITY : INFINITY)), h + 1);
        CHECK_INT(f32_to_f16(nextafterf(mid, 0)), h);
    }
}

static void bf16_rounds_to_even(void)
{
    CHECK_INT(f32_to_bf16(from_bits(0x3f808000)), 0x3f80);
    CHECK_INT(f32_to_bf16(from_bits(0x3f818000)), 0x3f82);
    CHECK_INT(f32_to_bf16(from_bits(0x3f808001)), 0x3f81);
    CHECK_INT(f32_to_bf16(from_bits(0x7f7fffff)), 0x7f80);
    CHECK(isnan(bf16_to_f32(f32_to_bf16(from_bits(0x7f800001)))));
    for (unsigned h = 0; h < 65536; h++)
        if ((h & 0x7fff) <= 0x7f80)
            CHECK_INT(f32_to_bf16(bf16_to_f32((uint16_t)h)), h);
}

/* Every code; both neighbours of every midpoint between codes, where a tie goes to the even code. */
static void e4m3_all_values(void)
{
    for (unsigned b = 0; b < 256; b++) {
        unsigned e = b >> 3 & 15, m = b & 7;
        double want = e ? ldexp(8 + m, (int)e - 10) : ldexp(m, -9);
        float f = e4m3_to_f32((uint8_t)b);
        if ((b & 127) == 127) {
            CHECK(isnan(f) && !signbit(f) == !(b & 128));
            CHECK_INT(f32_to_e4m3(f), b);
            continue;
        }
        CHECK(fabs((double)f) == want && !signbit(f) == !(b & 128));
        CHECK_INT(f32_to_e4m3(f), b);
        if ((b & 127) == 126)
            continue;
        float mid = (f + e4m3_to_f32((uint8_t)(b + 1))) / 2;
        CHECK_INT(f32_to_e4m3(mid), b & 1 ? b + 1 : b);
        CHECK_INT(f32_to_e4m3(nextafterf(mid, b & 128 ? -INFINITY : INFINITY)), b + 1);
        CHECK_INT(f32_to_e4m3(nextafterf(mid, 0)), b);
    }
    CHECK_INT(f32_to_e4m3(INFINITY), 0x7e);
    CHECK_INT(f32_to_e4m3(-INFINITY), 0xfe);
    CHECK_INT(f32_to_e4m3(1e30f), 0x7e);
    CHECK_INT(f32_to_e4m3(-465), 0xfe);
    CHECK_INT(f32_to_e4m3(-1e-45f), 0x80);
    CHECK_INT(f32_to_e4m3(from_bits(0xff800001)), 0xff);
}

/* Every 251st float: the nearest of all codes in double, the even one when two are as near. */
static void e4m3_is_nearest(void)
{
    double value[127];
    for (int b = 0; b < 127; b++)
        value[b] = (double)e4m3_to_f32((uint8_t)b);
    for (unsigned u = 0x3a000000u; u < 0x44800000u; u += 251) {
        double x = (double)from_bits(u);
        int best = 0;
        for (int step = 64; step; step /= 2) /* the last code not above x */
            if (best + step < 127 && value[best + step] <= x)
                best += step;
        if (best < 126 &&
            (x - value[best] > value[best + 1] - x || (x - value[best] == value[best + 1] - x && best & 1)))
            best++;
        if (f32_to_e4m3(from_bits(u)) != best) {
            CHECK_INT(f32_to_e4m3(from_bits(u)), best);
            return;
        }
    }
}

static void e2m1_all_ties(void)
{
    static const float value[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
    for (unsigned c = 0; c < 16; c++) {
        float f = e2m1_to_f32((uint8_t)c), sign = c & 8 ? -1.0f : 1.0f;
        CHECK(f == sign * value[c & 7] && !signbit(f) == !(c & 8));
        CHECK_INT(f32_to_e2m1(f), c);
        if ((c & 7) == 7)
            continue;
        float mid = sign * (value[c & 7] + value[(c & 7) + 1]) / 2;
        CHECK_INT(f32_to_e2m1(mid), c & 1 ? c + 1 : c);
        CHECK_INT(f32_to_e2m1(nextafterf(mid, sign * 10)), c + 1);
        CHECK_INT(f32_to_e2m1(nextafterf(mid, 0)), c);
    }
    CHECK_INT(f32_to_e2m1(5.5f), 7);
    CHECK_INT(f32_to_e2m1(INFINITY), 7);
    CHECK_INT(f32_to_e2m1(-1e30f), 15);
    CHECK_INT(f32_to_e2m1(-1e-30f), 8);
    CHECK_INT(f32_to_e2m1(NAN) & 7, 0);
}

static void e8m0_all_values(void)
{
    for (int b = 0; b < 255; b++)
        CHECK(e8m0_to_f32((uint8_t)b) == ldexpf(1, b - 127));
    CHECK(isnan(e8m0_to_f32(255)));
}

/* Scales that are no number, or at the end of the range, mean what GGUF's own reader takes them for. */
static void fp4_odd_scales(void)
{
    unsigned char mx[17] = {0}, nv[36] = {0};
    float y[64];
    static const struct {
        unsigned char scale;
        float one; /* what the code of 1 is then */
    } mxfp4[] = {{0, 0x1p-127f}, {1, 0x1p-126f}, {127, 1}, {254, 0x1p127f}, {255, INFINITY}},
      nvfp4[] = {{0x00, 0}, {0x01, 0x1p-9f}, {0x08, 0x1p-6f}, {0x38, 1},  {0x7e, 448},
                 {0x7f, 0}, {0x80, 0},       {0xb8, 1},       {0xff, 480}};
    memset(mx + 1, 0x22, 16); /* 2 is the code of 1 */
    memset(nv + 4, 0x22, 32);
    for (size_t i = 0; i < sizeof mxfp4 / sizeof *mxfp4; i++) {
        mx[0] = mxfp4[i].scale;
        dtype_info(DT_MXFP4)->decode(y, mx, 32);
        CHECK(y[0] == mxfp4[i].one && y[31] == mxfp4[i].one);
    }
    for (size_t i = 0; i < sizeof nvfp4 / sizeof *nvfp4; i++) {
        nv[2] = nvfp4[i].scale;
        dtype_info(DT_NVFP4)->decode(y, nv, 64);
        CHECK(y[0] == 0.0f && y[31] == 0.0f && y[32] == nvfp4[i].one && y[47] == nvfp4[i].one && y[48] == 0.0f);
    }
}

/* What was decoded is encoded without loss: all codes under all ordinary scales. */
static void fp4_fixed_points(void)
{
    float y[64], z[64];
    unsigned char mx[17], nv[36];
    for (int s = 2; s < 253; s++) {
        for (int j = 0; j < 16; j++)
            mx[1 + j] = (unsigned char)(j | (15 - j) << 4);
        mx[0] = (unsigned char)s;
        dtype_info(DT_MXFP4)->decode(y, mx, 32);
        dtype_info(DT_MXFP4)->encode(mx, y, 32);
        dtype_info(DT_MXFP4)->decode(z, mx, 32);
        CHECK(memcmp(y, z, 32 * sizeof *y) == 0);
    }
    for (int s = 1; s < 127; s++) {
        for (int j = 0; j < 32; j++)
            nv[4 + j] = (unsigned char)(j % 8 | (15 - j % 8) << 4);
        memset(nv, s, 4);
        dtype_info(DT_NVFP4)->decode(y, nv, 64);
        dtype_info(DT_NVFP4)->encode(nv, y, 64);
        CHECK_INT(nv[0], s);
        dtype_info(DT_NVFP4)->decode(z, nv, 64);
        CHECK(memcmp(y, z, 64 * sizeof *y) == 0);
    }
}

static void table_is_complete(void)
{
    for (int t = 0; t < DT_COUNT; t++) {
        const struct dtype_info *d = dtype_info((enum dtype)t);
        enum dtype back;
        CHECK(d->name && d->decode && d->encode && d->block && d->bytes);
        if (d->gguf_id == DTYPE_NO_GGUF)
            CHECK_INT(dtype_from_gguf(d->gguf_id, &back, NULL), ERR_UNSUPPORTED);
        else
            CHECK(dtype_from_gguf(d->gguf_id, &back, NULL) == 0 && (int)back == t);
        CHECK(dtype_from_name(d->name, &back) == 0 && (int)back == t);
    }
    enum dtype t;
    struct err e;
    CHECK_INT(dtype_from_gguf(41, &t, &e), ERR_UNSUPPORTED);
    CHECK(strstr(e.msg, "41") != NULL);
    CHECK(dtype_from_name("Q9_9", &t) < 0);
}

static void row_bytes_refuse_nonsense(void)
{
    uint64_t n = 0;
    struct err e;
    CHECK_INT(dtype_row_bytes(DT_Q4_K, 1536, &n, &e), 0);
    CHECK_INT(n, 864);
    CHECK_INT(dtype_row_bytes(DT_Q4_K, 1500, &n, &e), ERR_FORMAT);
    CHECK_INT(dtype_row_bytes(DT_NVFP4, 192, &n, &e), 0);
    CHECK_INT(n, 108);
    CHECK_INT(dtype_row_bytes(DT_NVFP4, 96, &n, &e), ERR_FORMAT);
    CHECK_STR(e.msg, "a row of 96 elements is no multiple of NVFP4's block of 64");
    CHECK_INT(dtype_row_bytes(DT_MXFP4, 48, &n, &e), ERR_FORMAT);
    CHECK_INT(dtype_row_bytes(DT_F32, UINT64_MAX / 2, &n, &e), ERR_FORMAT);
    CHECK_INT(dtype_row_bytes(DT_Q8_0, UINT64_MAX - 31, &n, &e), ERR_FORMAT);
    CHECK_INT(dtype_row_bytes(DT_F32, 0, &n, &e), 0);
    CHECK_INT(n, 0);
}

/* Relative error an encoder may make on Gaussian-like data (the formats' published figures, with room). */
static void encode_is_close(void)
{
    static const double limit[DT_COUNT] = {
        [DT_F32] = 0,      [DT_F16] = 3e-4,    [DT_BF16] = 3e-3,  [DT_Q4_0] = 0.1,    [DT_Q4_1] = 0.1,
        [DT_Q5_0] = 0.05,  [DT_Q5_1] = 0.05,   [DT_Q8_0] = 0.007, [DT_Q4_K] = 0.085,  [DT_Q5_K] = 0.042,
        [DT_Q6_K] = 0.022, [DT_MXFP4] = 0.115, [DT_NVFP4] = 0.1,  [DT_F8_E4M3] = 0.03};
    enum { N = 8192 };
    static float x[N], y[N];
    static unsigned char enc[N * 4];
    unsigned s = 1;
    for (int i = 0; i < N; i++) {
        double v = 0;
        for (int j = 0; j < 12; j++) {
            s = s * 1664525u + 1013904223u;
            v += (double)(s >> 8) / (1 << 24) - 0.5;
        }
        x[i] = (float)v;
    }
    for (int t = 0; t < DT_COUNT; t++) {
        double num = 0, den = 0;
        dtype_info((enum dtype)t)->encode(enc, x, N);
        dtype_info((enum dtype)t)->decode(y, enc, N);
        for (int i = 0; i < N; i++) {
            num += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
            den += (double)x[i] * (double)x[i];
        }
        if (sqrt(num / den) > limit[t])
            fprintf(stderr, "%s: error %g\n", dtype_info((enum dtype)t)->name, sqrt(num / den));
        CHECK(sqrt(num / den) <= limit[t]);
    }
}

static void encode_survives_anything(void)
{
    static const float odd[] = {0, -0.0f, INFINITY, -INFINITY, NAN, 3.4e38f, -3.4e38f, 1e-45f, 1};
    float x[256];
    unsigned char enc[1024];
    for (int t = 0; t < DT_COUNT; t++)
        for (size_t o = 0; o < sizeof odd / sizeof *odd; o++) {
            for (int i = 0; i < 256; i++)
                x[i] = i % 7 ? odd[o] : 0;
            dtype_info((enum dtype)t)->encode(enc, x, 256);
            dtype_info((enum dtype)t)->decode(x, enc, 256);
            CHECK(o > 1 || x[1] == 0.0f);
        }
}

int main(void)
{
    RUN(decode_equals_reference);
    RUN(f16_all_values);
    RUN(bf16_rounds_to_even);
    RUN(e4m3_all_values);
    RUN(e4m3_is_nearest);
    RUN(e2m1_all_ties);
    RUN(e8m0_all_values);
    RUN(fp4_odd_scales);
    RUN(fp4_fixed_points);
    RUN(table_is_complete);
    RUN(row_bytes_refuse_nonsense);
    RUN(encode_is_close);
    RUN(encode_survives_anything);
    return check_done();
}
