/* avx512/linear: quantised weights. The loops are simd/vnni.h's; a block is unpacked into registers. */
#include "kernel/avx512/avx512.h"
#include "kernel/avx512/vec.h"

enum { VNNI_TOK = 8, VNNI_SHORT = 0 };

typedef __m512i vi;

VEC vi vi_set1(int32_t a)
{
    return _mm512_set1_epi32(a);
}
VEC vi vi_add(vi a, vi b)
{
    return _mm512_add_epi32(a, b);
}
VEC vi vi_shl(vi a, int n)
{
    return _mm512_slli_epi32(a, (unsigned)n);
}
VEC vf vi_ps(vi a)
{
    return _mm512_cvtepi32_ps(a);
}

VEC vi vi_xor(vi a, vi b)
{
    return _mm512_xor_si512(a, b);
}
VEC vi vi_madd(vi a, vi b)
{
    return _mm512_madd_epi16(a, b);
}

struct vnni_block {
    __m512i q[8], s[1];
    __m512 d[1], m[1];
    float unit;
};

/* Header numbers of a unit. */
struct vnni_unit {
    __m512 d, m;
    __m512i s[4];                                    /* bytes [8 scales, 8 minima][16 rows], of the next block first */
    uint8_t bytes[256] __attribute__((aligned(64))); /* the same, for one token */
    int exponent;                                    /* NVFP4 */
};

#include "kernel/simd/vnni.h"

/* Eight come out of one register: with two chains a token, loads are what a core has least of while it multiplies (12 a block, two a
 * cycle). */
VEC void vnni_begin(vi (*s)[VNNI_VECS], const int32_t *start, int n)
{
    if (n < 8) {
        for (int i = 0; i < n; i++)
            s[i][0] = vi_set1(start[i]);
        return;
    }
    __m512i all = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(const void *)start));
    __asm__("" : "+v"(all)); /* else gcc makes loads of them again */
    for (int i = 0; i < 8; i++)
        s[i][0] = _mm512_permutexvar_epi32(vi_set1(i), all);
}

VEC void vnni_scale(float *to, const float *x, float by, int n)
{
    __mmask8 m = (__mmask8)((1 << n) - 1);
    _mm256_storeu_ps(to, _mm256_mul_ps(_mm256_maskz_loadu_ps(m, x), _mm256_set1_ps(by)));
    __asm__("" : "+m"(*(float(*)[8])to)); /* gcc would shuffle them out of the register */
}

/* The numbers of E2M1, zero added. */
AVX512_INLINE __m512i e2m1_table(int zero)
{
    __m128i t = _mm_loadu_si128((const __m128i *)(const void *)LAYOUT_E2M1);
    return _mm512_broadcast_i32x4(_mm_add_epi8(t, _mm_set1_epi8((char)zero)));
}

/* 64 bytes in a register. As an operand they would be loaded once for each use, where half the units do not begin on a line, or gcc
 * would put them on the stack first. */
AVX512_INLINE __m512i load_plane(const uint8_t *p)
{
    __m512i x = _mm512_loadu_si512(p);
    __asm__("" : "+v"(x));
    return x;
}

AVX512_INLINE void load_codes(__m512i q[8], const uint8_t *p, const struct kernel_format *f)
{
    const __m512i low = _mm512_set1_epi8(15), e2m1 = f->e2m1 ? e2m1_table(f->zero) : low;
    const int bits = f->bits;
    if (bits == 8) {
        for (int j = 0; j < 8; j++)
            q[j] = _mm512_loadu_si512(p + 64 * j);
        return;
    }
    for (int j = 0; j < 4; j++) {
        __m512i z = load_plane(p + 64 * j);
        q[j] = _mm512_and_si512(z, low);
        q[j + 4] = _mm512_and_si512(_mm512_srli_epi16(z, 4), low);
    }
    for (int j = 0; f->e2m1 && j < 8; j++)
        q[j] = _mm512_shuffle_epi8(e2m1, q[j]);
    if (bits == 5) { /* bit j of the plane becomes bit 4 of quad j; 0xF8: a | (b & c) */
        __m512i h = load_plane(p + 256), bit = _mm512_set1_epi8(16);
        for (int j = 0; j < 8; j++) {
            __m512i at4 = j < 4 ? _mm512_slli_epi16(h, (unsigned)(4 - j)) : _mm512_srli_epi16(h, (unsigned)(j - 4));
            q[j] = _mm512_ternarylogic_epi32(q[j], at4, bit, 0xF8);
        }
    }
    if (bits == 6) { /* bits 2s..2s+1 of plane p become bits 4..5 of quad 4p+s */
        __m512i two = _mm512_set1_epi8(48), plane[2] = {load_plane(p + 256), load_plane(p + 320)};
        for (int j = 0; j < 8; j++) {
            __m512i h = plane[j / 4];
            int s = j % 4;
            __m512i at4 =
                s < 2 ? _mm512_slli_epi16(h, (unsigned)(4 - 2 * s)) : _mm512_srli_epi16(h, (unsigned)(2 * s - 4));
            q[j] = _mm512_ternarylogic_epi32(q[j], at4, two, 0xF8);
        }
    }
}

/* The twelve packed bytes of 16 rows -> bytes [8 scales, 8 minima][16 rows]. In registers: through memory
 * one to four tokens took 3 to 6 % longer. */
AVX512_INLINE void unpack_k_scales(__m512i s[4], const uint8_t *head)
{
    const __m512i m63 = _mm512_set1_epi8(63), m15 = _mm512_set1_epi8(15), m48 = _mm512_set1_epi8(48);
    __m512i a = _mm512_loadu_si512(head + 64), b = _mm512_loadu_si512(head + 128), c = _mm512_loadu_si512(head + 192);
    __m512i a2 = _mm512_srli_epi16(a, 2), b2 = _mm512_srli_epi16(b, 2), c4 = _mm512_srli_epi16(c, 4);
    s[0] = _mm512_and_si512(a, m63);
    s[1] = _mm512_ternarylogic_epi32(_mm512_and_si512(c, m15), a2, m48, 0xF8);
    s[2] = _mm512_and_si512(b, m63);
    s[3] = _mm512_ternarylogic_epi32(_mm512_and_si512(c4, m15), b2, m48, 0xF8);
}

/* The first 16 of a queue of 128 bytes, which go to its end. */
AVX512_INLINE __m512 next_bytes_ps(__m512i q[2])
{
    __m512 first = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm512_castsi512_si128(q[0])));
    __m512i rest = _mm512_alignr_epi32(q[1], q[0], 4);
    q[1] = _mm512_alignr_epi32(q[0], q[1], 4);
    q[0] = rest;
    return first;
}

AVX512_INLINE __m512 bytes_ps(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

/* 2^(e - 128) of 16 bytes e. Below 2 it is subnormal, and the second number the greater. */
AVX512_INLINE __m512 e8m0_ps(const uint8_t *p)
{
    __m512i e = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)), one = _mm512_set1_epi32(1);
    return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_slli_epi32(_mm512_sub_epi32(e, one), 23),
                                                _mm512_slli_epi32(_mm512_add_epi32(e, one), 21)));
}

/* 16 of NVFP4's scales, halved. */
AVX512_INLINE __m512 e5m3_ps(const uint8_t *p)
{
    __m256i v = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p));
    return _mm512_cvtph_ps(_mm256_slli_epi16(v, 7));
}

/* What avx2/e2m1.h says of eight rows: the exponent whose number is 8 units, or 0 where scales are too far apart. */
AVX512_INLINE int e5m3_exponent(const uint8_t *head)
{
    __m512i s = _mm512_loadu_si512(head), below = _mm512_sub_epi8(s, _mm512_set1_epi8(1)); /* 0 becomes the greatest */
    if (!_mm512_cmplt_epu8_mask(below, _mm512_set1_epi8(0x57)))
        return 11;
    return _mm512_cmpgt_epu8_mask(s, _mm512_set1_epi8((char)0x9f)) ? 0 : 8;
}

/* Both scales of 16 rows as pairs of int16: 8 to 15, shifted to the left or, where zeros are behind it, to the right; by more than there
 * is gives 0. */
AVX512_INLINE __m512i e5m3_ints(const uint8_t *p, int exponent)
{
    __m128i a = _mm_loadu_si128((const __m128i *)(const void *)p),
            b = _mm_loadu_si128((const __m128i *)(const void *)(p + 16));
    __m512i x = _mm512_cvtepu8_epi16(_mm256_set_m128i(_mm_unpackhi_epi8(a, b), _mm_unpacklo_epi8(a, b)));
    __m512i by = _mm512_sub_epi16(_mm512_srli_epi16(x, 3), _mm512_set1_epi16((int16_t)exponent));
    __m512i m = _mm512_or_si512(_mm512_and_si512(x, _mm512_set1_epi16(7)), _mm512_set1_epi16(8));
    return _mm512_or_si512(_mm512_sllv_epi16(m, by),
                           _mm512_srlv_epi16(m, _mm512_sub_epi16(_mm512_setzero_si512(), by)));
}

VEC void vnni_load_unit(struct vnni_unit *u, const uint8_t *head, const struct vnni_shape *of)
{
    const struct kernel_format *f = of->f;
    u->exponent = of->ints ? e5m3_exponent(head) : 0;
    if (f->e2m1) /* their scales belong to one block */
        return;
    u->d = v_load_half(head);
    if (f->minimum)
        u->m = v_load_half(head + 32);
    if (f->minimum && f->blocks == 8) {
        u->m = _mm512_sub_ps(_mm512_setzero_ps(), u->m);
        unpack_k_scales(u->s, head);
        for (int i = 0; of->one && i < 4; i++)
            _mm512_store_si512(u->bytes + 64 * i, u->s[i]);
    }
}

VEC void vnni_load_block(struct vnni_block *w, struct vnni_unit *u, const uint8_t *head, int b,
                         const struct vnni_shape *of)
{
    const struct kernel_format *f = of->f;
    w->unit = u->exponent == 11 ? 0x1p-7f : u->exponent == 8 ? 0x1p-10f : 0;
    if (of->ints && u->exponent) {
        w->s[0] = e5m3_ints(head + 32 * b, u->exponent);
        w->d[0] = w->m[0] = _mm512_setzero_ps(); /* not looked at */
    } else if (f->e2m1) {
        w->d[0] = f->halves ? e5m3_ps(head + 32 * b) : e8m0_ps(head);
        if (f->halves)
            w->m[0] = e5m3_ps(head + 32 * b + 16);
    } else {
        w->d[0] = u->d;
        w->m[0] = u->m;
    }
    if (f->dtype == DT_Q6_K) {
        w->d[0] = _mm512_mul_ps(u->d, v_load_s8(head + 32 + 32 * b));
        w->m[0] = _mm512_mul_ps(u->d, v_load_s8(head + 48 + 32 * b));
    } else if (f->blocks == 8 && of->one) {
        w->d[0] = _mm512_mul_ps(u->d, bytes_ps(u->bytes + 16 * b));
        w->m[0] = _mm512_mul_ps(u->m, bytes_ps(u->bytes + 128 + 16 * b));
    } else if (f->blocks == 8) {
        w->d[0] = _mm512_mul_ps(u->d, next_bytes_ps(u->s));
        w->m[0] = _mm512_mul_ps(u->m, next_bytes_ps(u->s + 2));
    }
    load_codes(w->q, head + f->header + (size_t)b * layout_block_bytes(f), f);
    if (of->one)
        return;
    for (int j = 0; j < 8; j++)
        __asm__("" : "+v"(w->q[j])); /* in registers, for all tokens */
}

VEC void vnni_store(const struct linear_args *a, size_t g, size_t t, const vf *sum)
{
    size_t left = a->n_rows - g * 16;
    __mmask16 m = left >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << left) - 1);
    __m512 y = _mm512_mul_ps(*sum, _mm512_set1_ps(linear_factor(a)));
    if (a->bias)
        y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(m, a->bias + g * 16));
    _mm512_mask_storeu_ps(a->y + t * a->ldy + g * 16, m, y);
}

/* Zen 4 gives a broadcast of its own a place among the multiplications; as part of one it costs nothing. */
VEC void vnni_quad(vi (*s)[1], const struct vnni_block *w, int j, const int8_t *x, int n, const struct vnni_shape *of)
{
    typedef int32_t __attribute__((may_alias, aligned(1))) word;
    (void)of;
    for (int i = 0; i < n; i++)
        __asm__("vpdpbusd %2%{1to16%}, %1, %0"
                : "+v"(s[i][0])
                : "v"(w->q[j]), "m"(*(const word *)(const void *)(x + 32 * i)));
}

VNNI_FORMATS(VNNI_DEFINE)

void avx512_linear_mul(const struct linear_args *a, enum dtype dtype)
{
#define MUL(T) [DT_##T] = mul_##T,
    static void (*const MULS[DT_COUNT])(const struct linear_args *a) = {VNNI_FORMATS(MUL)};
    MULS[dtype](a);
}

void avx512_init_linear(struct kernels *k)
{
    VNNI_FORMATS(VNNI_ROW)
}
