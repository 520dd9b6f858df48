/* fmath: exp, tanh, log, pow, sin, cos from +, -, *, / and fma alone, so that every IEEE machine gives the same bits.
 * fma() is one correctly rounded operation whether it is an instruction or a library call.
 *
 * The f32 functions are the contract of the SIMD kernels, which repeat fm_expf step by step in each lane:
 *   1. z = fmaf(x, LOG2E, 0x1.8p23)   the sum's low mantissa bits are n = x / ln 2 rounded to nearest even
 *      n = z - 0x1.8p23 (as float), k = bits(z) - bits(0x1.8p23) (as int32)
 *   2. r = fmaf(n, -LN2_HI, x), r = fmaf(n, -LN2_LO, r)          |r| <= 0.3466
 *   3. p = C4; p = fmaf(p, r, C3); ... C2, C1, 0.5, 1, 1            e^r, relative error 1e-8 before rounding
 *   4. h = k >> 1 (arithmetic); result = p * 2^h * 2^(k - h), each power made as (e + 127) << 23: both products are exact
 *   5. x < -87.33f gives +0, x > 88.72f gives +inf, NaN gives that NaN: chosen last, over whatever steps 1 to 4 made
 * Inside the cut-offs no step overflows and no result is subnormal, so flush-to-zero modes cannot change it. */
#include "base/fmath.h"
#include <math.h>
#include <stdint.h>
#include <string.h>

static const double LN2_HI = 0x1.62e42fefa3000p-1; /* 41 bits: k * LN2_HI is exact for |k| < 2^12 */
static const double LN2_LO = 0x1.3de6af278ece6p-42;

static float fm_pow2f(int32_t e)
{
    uint32_t bits = (uint32_t)(e + 127) << 23;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static double fm_pow2(int64_t e)
{
    uint64_t bits = (uint64_t)(e + 1023) << 52;
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

float fm_expf(float x)
{
    if (x != x)
        return x;
    if (x < -87.33f)
        return 0.0f;
    if (x > 88.72f)
        return INFINITY;
    float z = fmaf(x, 0x1.715476p+0f, 0x1.8p23f);
    float n = z - 0x1.8p23f;
    int32_t bits;
    memcpy(&bits, &z, sizeof bits);
    int32_t k = bits - 0x4B400000;
    float r = fmaf(n, -0x1.62ep-1f, x);
    r = fmaf(n, -0x1.0bfbe8p-15f, r);
    float p = 0x1.6d10fep-10f;
    p = fmaf(p, r, 0x1.120b64p-7f);
    p = fmaf(p, r, 0x1.55551ap-5f);
    p = fmaf(p, r, 0x1.5554dep-3f);
    p = fmaf(p, r, 0.5f);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    int32_t h = k >> 1;
    return p * fm_pow2f(h) * fm_pow2f(k - h);
}

/* (t - 1) / (t + 1) with t = e^(2|x|); |x| is cut at 10, where the quotient rounds to 1; the sign goes back on last. */
float fm_tanhf(float x)
{
    if (x != x)
        return x;
    float a = fabsf(x);
    if (a > 10.0f)
        a = 10.0f;
    float t = fm_expf(a + a);
    return copysignf((t - 1.0f) / (t + 1.0f), x);
}

double fm_exp(double x)
{
    if (x != x)
        return x;
    if (x < -745.2)
        return 0.0;
    if (x > 709.8)
        return INFINITY;
    double z = fma(x, 0x1.71547652b82fep+0, 0x1.8p52);
    double n = z - 0x1.8p52;
    int64_t k = (int64_t)n;
    double r = fma(n, -LN2_HI, x);
    double lo = n * LN2_LO; /* taken off late: r = hi - lo exactly enough */
    double t = r - lo;
    double err = (r - t) - lo;     /* what the subtraction lost */
    double p = 1.0 / 6227020800.0; /* 1/13!; the first term left out is < 5e-18 */
    p = fma(p, t, 1.0 / 479001600.0);
    p = fma(p, t, 1.0 / 39916800.0);
    p = fma(p, t, 1.0 / 3628800.0);
    p = fma(p, t, 1.0 / 362880.0);
    p = fma(p, t, 1.0 / 40320.0);
    p = fma(p, t, 1.0 / 5040.0);
    p = fma(p, t, 1.0 / 720.0);
    p = fma(p, t, 1.0 / 120.0);
    p = fma(p, t, 1.0 / 24.0);
    p = fma(p, t, 1.0 / 6.0);
    p = fma(p, t, 0.5);
    p = fma(p * t, t, err);
    p = 1.0 + (t + p);
    int64_t h = k >> 1;
    return p * fm_pow2(h) * fm_pow2(k - h);
}

/* x = 2^k * m, sqrt(1/2) <= m < sqrt(2), f = m - 1, s = f / (2 + f): log m = 2 atanh(s) = f - s (f - R),
 * R = 2 (z/3 + z^2/5 + ...), z = s^2 <= 0.0295. */
double fm_log(double x)
{
    if (!(x > 0.0))
        return x == 0.0 ? -INFINITY : NAN;
    if (x > 0x1.fffffffffffffp1023)
        return x;
    int64_t k = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        k = -54;
    }
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    k += (int64_t)(bits >> 52) - 1023;
    bits = (bits & 0x000FFFFFFFFFFFFFu) | 0x3FF0000000000000u;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 0x1.6a09e667f3bcdp+0) {
        m *= 0.5;
        k++;
    }
    double f = m - 1.0;
    double s = f / (2.0 + f);
    double z = s * s;
    double r = 2.0 / 21.0;
    r = fma(r, z, 2.0 / 19.0);
    r = fma(r, z, 2.0 / 17.0);
    r = fma(r, z, 2.0 / 15.0);
    r = fma(r, z, 2.0 / 13.0);
    r = fma(r, z, 2.0 / 11.0);
    r = fma(r, z, 2.0 / 9.0);
    r = fma(r, z, 2.0 / 7.0);
    r = fma(r, z, 2.0 / 5.0);
    r = fma(r, z, 2.0 / 3.0);
    r *= z;
    double n = (double)k;
    return n * LN2_HI - ((s * (f - r) - n * LN2_LO) - f);
}

double fm_pow(double x, double y)
{
    if (y == 0.0 || x == 1.0)
        return 1.0;
    if (x == 0.0)
        return y > 0.0 ? 0.0 : INFINITY;
    return fm_exp(y * fm_log(x));
}

/* x = n pi/2 + r, |r| <= pi/4. The first fma is exact (both operands are multiples of 2^-53 and the difference is below 1);
 * the second brings the next 53 bits of pi/2, which at |n| < 2^31 leaves an error of 2^-75. */
void fm_sincos(double x, double *s, double *c)
{
    if (!(fabs(x) <= 0x1p31)) {
        *s = *c = NAN;
        return;
    }
    double n = fma(x, 0x1.45f306dc9c883p-1, 0x1.8p52) - 0x1.8p52;
    double r = fma(n, -0x1.921fb54442d18p+0, x);
    r = fma(n, -0x1.1a62633145c07p-54, r);
    double z = r * r;
    double a = 1.0 / 355687428096000.0; /* sin: 1/17! */
    a = fma(a, z, -1.0 / 1307674368000.0);
    a = fma(a, z, 1.0 / 6227020800.0);
    a = fma(a, z, -1.0 / 39916800.0);
    a = fma(a, z, 1.0 / 362880.0);
    a = fma(a, z, -1.0 / 5040.0);
    a = fma(a, z, 1.0 / 120.0);
    a = fma(a, z, -1.0 / 6.0);
    a = fma(a * z, r, r);
    double b = 1.0 / 20922789888000.0; /* cos: 1/16! */
    b = fma(b, z, -1.0 / 87178291200.0);
    b = fma(b, z, 1.0 / 479001600.0);
    b = fma(b, z, -1.0 / 3628800.0);
    b = fma(b, z, 1.0 / 40320.0);
    b = fma(b, z, -1.0 / 720.0);
    b = fma(b, z, 1.0 / 24.0);
    b = fma(b, z, -0.5);
    b = fma(b, z, 1.0);
    switch ((int64_t)n & 3) {
    case 0:
        *s = a, *c = b;
        break;
    case 1:
        *s = b, *c = -a;
        break;
    case 2:
        *s = -a, *c = -b;
        break;
    default:
        *s = -b, *c = a;
    }
}
