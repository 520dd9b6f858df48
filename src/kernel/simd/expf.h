/* expf: fm_expf and fm_tanhf of base/fmath.c, step by step in every lane. Included after a level's vec.h. */
#ifndef HEARTH_KERNEL_SIMD_EXPF_H
#define HEARTH_KERNEL_SIMD_EXPF_H
#include <math.h>

/* Steps 1 to 3: e^x without its power of two, whose exponent z carries. */
VEC vf v_exp_base(vf x, vf *z)
{
    vf magic = v_set1(0x1.8p23f);
    *z = v_fma(x, v_set1(0x1.715476p+0f), magic);
    vf n = v_sub(*z, magic);
    vf r = v_fma(n, v_set1(-0x1.62ep-1f), x);
    r = v_fma(n, v_set1(-0x1.0bfbe8p-15f), r);
    vf p = v_set1(0x1.6d10fep-10f);
    p = v_fma(p, r, v_set1(0x1.120b64p-7f));
    p = v_fma(p, r, v_set1(0x1.55551ap-5f));
    p = v_fma(p, r, v_set1(0x1.5554dep-3f));
    p = v_fma(p, r, v_set1(0.5f));
    p = v_fma(p, r, v_set1(1.0f));
    return v_fma(p, r, v_set1(1.0f));
}

VEC vf v_expf(vf x)
{
    vf z, p = v_exp_base(x, &z), y = v_scale2(p, z);
    y = v_if_lt(x, v_set1(-87.33f), v_set1(0.0f), y);
    y = v_if_lt(v_set1(88.72f), x, v_set1(INFINITY), y);
    return v_if_nan(x, x, y);
}

/* The same bits for x <= 0 and NaN, in two thirds of the time: the power is normal, so one product does, and a NaN stays one. */
VEC vf v_expf_falling(vf x)
{
    vf z, p = v_exp_base(x, &z);
    return v_if_lt(x, v_set1(-87.33f), v_set1(0.0f), v_scale1(p, z));
}

VEC vf v_tanhf(vf x)
{
    vf ten = v_set1(10.0f), one = v_set1(1.0f), a = v_abs(x);
    a = v_if_lt(ten, a, ten, a);
    vf t = v_expf(v_add(a, a));
    vf y = v_copysign(v_div(v_sub(t, one), v_add(t, one)), x);
    return v_if_nan(x, x, y);
}

#endif
