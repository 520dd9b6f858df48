/* fmath against long double libm: promised errors, cut-offs, special values, and a digest of many results: it must be the same
 * number on every machine, or tokens are not. */
#include "../check.h"
#include "base/fmath.h"
#include "base/rng.h"
#include <float.h>
#include <math.h>

static double uniform(double lo, double hi, uint64_t i)
{
    return lo + (hi - lo) * rng_uniform(3, 1, i);
}

/* |got - want| in units of the last place of a number with `bits` of mantissa. */
static double ulps(long double got, long double want, int bits)
{
    int e;
    frexpl(want, &e);
    return (double)(fabsl(got - want) / ldexpl(1.0L, e - bits));
}

static void expf_error(void)
{
    double worst = 0;
    for (uint64_t i = 0; i < 200000; i++) {
        float x = (float)uniform(-87.33, 88.72, i);
        double u = ulps((long double)fm_expf(x), expl((long double)x), FLT_MANT_DIG);
        worst = u > worst ? u : worst;
    }
    printf("     fm_expf: worst %.3f ulp\n", worst);
    CHECK(worst <= 2);
}

static void expf_edges(void)
{
    CHECK(fm_expf(0.0f) == 1.0f && fm_expf(-0.0f) == 1.0f);
    CHECK(fm_expf(-87.33f) >= FLT_MIN); /* the last result is normal */
    CHECK(fm_expf(nextafterf(-87.33f, -100.0f)) == 0.0f);
    CHECK(!signbit(fm_expf(-INFINITY)) && fm_expf(-INFINITY) == 0.0f);
    CHECK(isfinite(fm_expf(88.72f)) && fm_expf(88.72f) > 3.38e38f);
    CHECK(isinf(fm_expf(nextafterf(88.72f, 100.0f))));
    CHECK(isinf(fm_expf(INFINITY)) && isinf(fm_expf(FLT_MAX)));
    CHECK(isnan(fm_expf(NAN)));
    CHECK(fm_expf(FLT_TRUE_MIN) == 1.0f);
    float last = 0;
    int fell = 0;
    for (int i = -8733; i < 8872; i++) {
        float y = fm_expf((float)i / 100.0f);
        fell += y <= last;
        last = y;
    }
    CHECK_INT(fell, 0);
}

static void tanhf_error(void)
{
    double worst = 0;
    for (uint64_t i = 0; i < 200000; i++) {
        float x = (float)uniform(-12, 12, i) * (i & 1 ? 1.0f : 0.05f);
        long double want = tanhl((long double)x);
        double u = ulps((long double)fm_tanhf(x), want, FLT_MANT_DIG),
               a = (double)fabsl((long double)fm_tanhf(x) - want);
        if (a > 1e-7 && u > worst)
            worst = u;
        CHECK(a <= 1e-7 || u <= 4);
        if (check_bad > 5)
            return;
    }
    CHECK(fm_tanhf(0.0f) == 0.0f && signbit(fm_tanhf(-0.0f)));
    CHECK(fm_tanhf(20.0f) == 1.0f && fm_tanhf(-INFINITY) == -1.0f && isnan(fm_tanhf(NAN)));
    CHECK(fm_tanhf(0.5f) == -fm_tanhf(-0.5f));
    printf("     fm_tanhf: worst beyond 1e-7 absolute %.3f ulp\n", worst);
}

static void exp_error(void)
{
    double worst = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        double x = uniform(-708, 709.7, i);
        double u = ulps((long double)fm_exp(x), expl((long double)x), DBL_MANT_DIG);
        worst = u > worst ? u : worst;
    }
    printf("     fm_exp: worst %.3f ulp\n", worst);
    CHECK(worst <= 2);
    CHECK(fm_exp(0) == 1 && fm_exp(-1000) == 0 && fm_exp(-INFINITY) == 0);
    CHECK(isinf(fm_exp(710)) && isinf(fm_exp(INFINITY)) && isnan(fm_exp(NAN)));
    CHECK(isfinite(fm_exp(709.78)) && isinf(fm_exp(709.79)));
    CHECK(fm_exp(-745) > 0 && fm_exp(-745) < 1e-323);
}

static void log_error(void)
{
    double worst = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        double x = i & 1 ? uniform(0.5, 2, i) : ldexp(uniform(1, 2, i), (int)(i % 2000) - 1000);
        double u = ulps((long double)fm_log(x), logl((long double)x), DBL_MANT_DIG);
        worst = u > worst ? u : worst;
    }
    printf("     fm_log: worst %.3f ulp\n", worst);
    CHECK(worst <= 2);
    CHECK(fm_log(1) == 0 && isinf(fm_log(INFINITY)) && fm_log(0) == -INFINITY);
    CHECK(isnan(fm_log(-1)) && isnan(fm_log(NAN)));
    CHECK(fabs(fm_log(DBL_TRUE_MIN) - log(DBL_TRUE_MIN)) < 1e-12);
}

static void pow_error(void)
{
    double worst = 0;
    for (uint64_t i = 0; i < 20000; i++) {
        double x = uniform(1, 1e6, i), y = uniform(-2, 2, i + 20000);
        long double want = powl((long double)x, (long double)y);
        double rel = (double)fabsl(((long double)fm_pow(x, y) - want) / want);
        worst = rel > worst ? rel : worst;
    }
    printf("     fm_pow: worst relative %.2e\n", worst);
    CHECK(worst < 1e-14);
    CHECK(fm_pow(5, 0) == 1 && fm_pow(1, 1e300) == 1 && fm_pow(0, 2) == 0 && isinf(fm_pow(0, -1)));
    CHECK(isnan(fm_pow(-2, 0.5)));
}

static void sincos_error(void)
{
    double worst = 0, s, c;
    for (uint64_t i = 0; i < 100000; i++) {
        double x = uniform(-1, 1, i) * (i % 3 == 0 ? 0x1p31 : i % 3 == 1 ? 100000 : 4);
        fm_sincos(x, &s, &c);
        double a = (double)fabsl((long double)s - sinl((long double)x)),
               b = (double)fabsl((long double)c - cosl((long double)x));
        worst = a > worst ? a : worst;
        worst = b > worst ? b : worst;
    }
    for (int n = -2000; n <= 2000; n++) { /* next to multiples of pi/2, where reduction is hardest */
        double x = (double)n * 1.5707963267948966;
        fm_sincos(x, &s, &c);
        double a = (double)fabsl((long double)s - sinl((long double)x)),
               b = (double)fabsl((long double)c - cosl((long double)x));
        worst = a > worst ? a : worst;
        worst = b > worst ? b : worst;
    }
    printf("     fm_sincos: worst absolute %.2e\n", worst);
    CHECK(worst <= 1e-15);
    fm_sincos(0, &s, &c);
    CHECK(s == 0 && c == 1);
    fm_sincos(INFINITY, &s, &c);
    CHECK(isnan(s) && isnan(c));
    fm_sincos(1e300, &s, &c);
    CHECK(isnan(s) && isnan(c));
}

static uint64_t digest(uint64_t h, const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ ((const unsigned char *)p)[i]) * 0x100000001B3u;
    return h;
}

static void same_bits_everywhere(void)
{
    uint64_t h = 0xCBF29CE484222325u;
    for (uint64_t i = 0; i < 20000; i++) {
        double u = uniform(-1, 1, i), s, c;
        float a = fm_expf((float)(u * 90)), b = fm_tanhf((float)(u * 5));
        double d = fm_exp(u * 700), l = fm_log(u * u + 1e-9), p = fm_pow(10000, u);
        fm_sincos(u * 1e6, &s, &c);
        h = digest(h, &a, sizeof a);
        h = digest(h, &b, sizeof b);
        h = digest(h, &d, sizeof d);
        h = digest(h, &l, sizeof l);
        h = digest(h, &p, sizeof p);
        h = digest(h, &s, sizeof s);
        h = digest(h, &c, sizeof c);
    }
    printf("     digest %016llx\n", (unsigned long long)h);
    CHECK(h == UINT64_C(0xBE007F6B6E522D55));
}

int main(void)
{
    RUN(expf_error);
    RUN(expf_edges);
    RUN(tanhf_error);
    RUN(exp_error);
    RUN(log_error);
    RUN(pow_error);
    RUN(sincos_error);
    RUN(same_bits_everywhere);
    return check_done();
}
