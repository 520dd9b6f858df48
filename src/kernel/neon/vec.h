/* vec: the few float operations that simd/ is written in, 4 lanes wide. */
#ifndef HEARTH_KERNEL_NEON_VEC_H
#define HEARTH_KERNEL_NEON_VEC_H
#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#define VEC static inline __attribute__((always_inline))
typedef float32x4_t vf;
enum {
    VW = 4,
    ATTN_ROWS = 6, /* times 4 vectors: 24 accumulators, 4 loads and a broadcast of 32 registers */
    ATTN_ACC = 24,
    FLOAT_TOK = 4
};

VEC void v_fetch(const uint8_t *p)
{
    __builtin_prefetch(p, 0, 2);
}
VEC vf v_load(const float *p)
{
    return vld1q_f32(p);
}
VEC void v_store(float *p, vf a)
{
    vst1q_f32(p, a);
}
VEC vf v_set1(float a)
{
    return vdupq_n_f32(a);
}
VEC vf v_fma(vf a, vf b, vf c)
{
    return vfmaq_f32(c, a, b);
}
VEC vf v_fms(vf a, vf b, vf c)
{
    return vfmaq_f32(vnegq_f32(c), a, b);
}
VEC vf v_add(vf a, vf b)
{
    return vaddq_f32(a, b);
}
VEC vf v_sub(vf a, vf b)
{
    return vsubq_f32(a, b);
}
VEC vf v_mul(vf a, vf b)
{
    return vmulq_f32(a, b);
}
VEC vf v_div(vf a, vf b)
{
    return vdivq_f32(a, b);
}
VEC vf v_max(vf a, vf b)
{
    return vbslq_f32(vcgtq_f32(a, b), a, b);
} /* a > b ? a : b, so b when either is NaN */
VEC vf v_if_lt(vf a, vf b, vf yes, vf no)
{
    return vbslq_f32(vcltq_f32(a, b), yes, no);
}
VEC vf v_if_nan(vf a, vf yes, vf no)
{
    return vbslq_f32(vceqq_f32(a, a), no, yes);
}
VEC vf v_abs(vf a)
{
    return vabsq_f32(a);
}
VEC vf v_copysign(vf mag, vf sign)
{
    return vbslq_f32(vdupq_n_u32(0x7fffffffu), mag, sign);
}
/* p * 2^k in two exact steps, k the integer whose bits z carries above those of 0x1.8p23 */
VEC vf v_scale2(vf p, vf z)
{
    int32x4_t k = vsubq_s32(vreinterpretq_s32_f32(z), vdupq_n_s32(0x4B400000)), h = vshrq_n_s32(k, 1),
              bias = vdupq_n_s32(127);
    vf a = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(h, bias), 23));
    vf b = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vsubq_s32(k, h), bias), 23));
    return vmulq_f32(vmulq_f32(p, a), b);
}
/* p * 2^k where k is -126 or more and the result is no less than 2^-126 */
VEC vf v_scale1(vf p, vf z)
{
    int32x4_t k = vaddq_s32(vreinterpretq_s32_f32(z), vdupq_n_s32(127));
    return vmulq_f32(p, vreinterpretq_f32_s32(vshlq_n_s32(k, 23)));
}
VEC vf v_load_half(const uint8_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}
VEC float v_half(uint16_t h)
{
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(h))), 0);
}
VEC vf v_load_bf16(const uint8_t *p)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16));
}
/* Four bytes, sign extended to 16 bits. */
VEC int16x4_t v_bytes(const uint8_t *p)
{
    uint32_t u;
    memcpy(&u, p, sizeof u);
    return vget_low_s16(vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(u))));
}
VEC vf v_load_s8(const uint8_t *p)
{
    return vcvtq_f32_s32(vmovl_s16(v_bytes(p)));
}
/* An E4M3 number's bits are those of an f16 2^8 times smaller, but for NaN. */
VEC vf v_load_e4m3(const uint8_t *p)
{
    uint16x4_t h = vand_u16(vreinterpret_u16_s16(vshl_n_s16(v_bytes(p), 7)), vdup_n_u16(0xbf80));
    uint16x4_t nan = vceq_u16(vand_u16(h, vdup_n_u16(0x3f80)), vdup_n_u16(0x3f80));
    h = vorr_u16(h, vand_u16(nan, vdup_n_u16(0x7e00)));
    return vmulq_f32(vcvt_f32_f16(vreinterpret_f16_u16(h)), vdupq_n_f32(256.0f));
}
VEC void v_store_half(uint8_t *p, vf a)
{
    vst1_u8(p, vreinterpret_u8_f16(vcvt_f16_f32(a)));
}

/* Eight rows of eight numbers, ldx apart, become eight columns of f16, `stride` bytes apart. */
VEC void v_store_columns(uint8_t *to, size_t stride, const float *x, size_t ldx)
{
    uint16x8_t r[8];
    for (size_t i = 0; i < 8; i++) {
        float16x4_t low = vcvt_f16_f32(vld1q_f32(x + i * ldx)), high = vcvt_f16_f32(vld1q_f32(x + i * ldx + 4));
        r[i] = vreinterpretq_u16_f16(vcombine_f16(low, high));
    }
    for (int step = 0; step < 3; step++) { /* rows i and i + 4 side by side, three times: the matrix is turned */
        uint16x8_t p[8];
        for (int i = 0; i < 4; i++) {
            p[2 * i] = vzip1q_u16(r[i], r[i + 4]);
            p[2 * i + 1] = vzip2q_u16(r[i], r[i + 4]);
        }
        for (int i = 0; i < 8; i++)
            r[i] = p[i];
    }
    for (size_t d = 0; d < 8; d++)
        vst1q_u8(to + d * stride, vreinterpretq_u8_u16(r[d]));
}

#endif
