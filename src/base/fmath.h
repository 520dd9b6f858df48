/* fmath: elementary functions with one answer on every machine. libm's differ by CPU dispatch, so results that reach a
 * token use these: plain C, explicit fma, -ffp-contract=off, no table, round to nearest. The f32 forms are the definition
 * that SIMD kernels repeat lane by lane. */
#ifndef HEARTH_BASE_FMATH_H
#define HEARTH_BASE_FMATH_H
float fm_expf(float x);                         /* error <= 2 ulp; x < -87.33 gives 0, x > 88.72 gives inf, NaN stays */
float fm_tanhf(float x);                        /* by fm_expf; |error| <= 4 ulp or 1e-7 */
double fm_exp(double x);                        /* error <= 2 ulp */
double fm_log(double x);                        /* x > 0 */
double fm_pow(double x, double y);              /* exp(y log x) */
void fm_sincos(double x, double *s, double *c); /* |x| <= 2^31, error <= 1e-15 absolute */
#endif
