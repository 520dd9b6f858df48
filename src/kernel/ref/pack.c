/* ref/pack: file rows -> packed groups (layout.h), and one packed row -> floats. The same bytes for every level, so there is one
 * implementation. Codes move as 32-bit words of four bytes (a quad); all machines Hearth runs on are little-endian. */
#include "kernel/ref/ref.h"
#include <string.h>

static uint32_t load32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint16_t load16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Four bits -> bit 4 of four bytes: the product puts bit i at 8i (among others), the mask keeps that one. */
static uint32_t spread4(uint32_t v)
{
    return ((v & 15u) * 0x00204081u & 0x01010101u) << 4;
}

/* NVFP4: half h of block b is eight bytes of the file, byte j = element j | element j+8 << 4. */
static void codes_nvfp4(uint32_t c[8], const uint8_t *p, int b)
{
    for (int h = 0; h < 2; h++)
        for (int j = 0; j < 2; j++) {
            uint32_t v = load32(p + 4 + 16 * b + 8 * h + 4 * j);
            c[4 * h + j] = v & 0x0f0f0f0fu;
            c[4 * h + j + 2] = v >> 4 & 0x0f0f0f0fu;
        }
}

/* The 32 codes of block b of an encoded row, as eight quads. */
static void codes_simple(uint32_t c[8], const uint8_t *p, enum dtype t)
{
    static const uint8_t before[DT_COUNT] = {
        [DT_Q4_0] = 2, [DT_Q4_1] = 4, [DT_Q5_0] = 6, [DT_Q5_1] = 8, [DT_Q8_0] = 2, [DT_MXFP4] = 1};
    const uint8_t *qs = p + before[t];
    if (t == DT_Q8_0) {
        for (int j = 0; j < 8; j++)
            c[j] = load32(qs + 4 * j) ^ 0x80808080u;
        return;
    }
    uint32_t high = t == DT_Q5_0 ? load32(p + 2) : t == DT_Q5_1 ? load32(p + 4) : 0;
    for (int j = 0; j < 4; j++) {
        uint32_t v = load32(qs + 4 * j);
        c[j] = (v & 0x0f0f0f0fu) | spread4(high >> (4 * j));
        c[j + 4] = (v >> 4 & 0x0f0f0f0fu) | spread4(high >> (4 * j + 16));
    }
}

static void codes_super(uint32_t c[8], const uint8_t *p, enum dtype t, int b)
{
    if (t == DT_Q6_K) {
        const uint8_t *ql = p + 64 * (b / 4) + 32 * (b & 1), *qh = p + 128 + 32 * (b / 4);
        for (int j = 0; j < 8; j++)
            c[j] = (load32(ql + 4 * j) >> (b & 2 ? 4 : 0) & 0x0f0f0f0fu) |
                   (load32(qh + 4 * j) >> (2 * (b & 3)) & 0x03030303u) << 4;
        return;
    }
    const uint8_t *qs = p + (t == DT_Q5_K ? 48 : 16) + 32 * (b / 2);
    for (int j = 0; j < 8; j++) {
        c[j] = load32(qs + 4 * j) >> (b & 1 ? 4 : 0) & 0x0f0f0f0fu;
        if (t == DT_Q5_K)
            c[j] |= (load32(p + 16 + 4 * j) >> b & 0x01010101u) << 4;
    }
}

static void put32(uint8_t *plane, size_t row, uint32_t v)
{
    memcpy(plane + 4 * row, &v, sizeof v);
}

/* Eight quads of one row into its lanes of a block's planes. */
static void put_codes(uint8_t *dst, size_t row, const uint32_t c[8], int bits)
{
    if (bits == 8) {
        for (int j = 0; j < 8; j++)
            put32(dst + 64 * j, row, c[j]);
        return;
    }
    for (int j = 0; j < 4; j++)
        put32(dst + 64 * j, row, (c[j] & 0x0f0f0f0fu) | (c[j + 4] & 0x0f0f0f0fu) << 4);
    uint32_t h[2] = {0, 0};
    for (int j = 0; j < 8; j++)
        if (bits == 5)
            h[0] |= (c[j] >> 4 & 0x01010101u) << j;
        else if (bits == 6)
            h[j / 4] |= (c[j] >> 4 & 0x03030303u) << (2 * (j % 4));
    if (bits >= 5)
        put32(dst + 256, row, h[0]);
    if (bits == 6)
        put32(dst + 320, row, h[1]);
}

static void put_header(uint8_t *dst, size_t row, const uint8_t *p, const struct kernel_format *f)
{
    if (f->dtype == DT_Q6_K) {
        memcpy(dst + 2 * row, p + 208, 2);
        for (size_t i = 0; i < 16; i++)
            dst[32 + 16 * i + row] = p[192 + i];
        return;
    }
    if (f->dtype == DT_MXFP4) {
        dst[row] = p[0];
        return;
    }
    if (f->dtype == DT_NVFP4) {
        for (size_t s = 0; s < 4; s++)
            dst[16 * s + row] = (uint8_t)(f32_to_f16(e4m3_half(p[s])) >> 7); /* three mantissa bits: exact */
        return;
    }
    memcpy(dst + 2 * row, p, 2);
    if (f->minimum)
        memcpy(dst + 32 + 2 * row, p + 2, 2);
    for (size_t i = 0; f->blocks == 8 && i < 12; i++)
        dst[64 + 16 * i + row] = p[4 + i];
}

static inline void pack(void *dst, const void *src, size_t row_bytes, size_t n, size_t k, const struct kernel_format *f)
{
    const size_t file_unit = dtype_info(f->dtype)->bytes, unit = layout_unit_bytes(f);
    const size_t units = k / 32 / (size_t)f->blocks;
    if (n < KERNEL_MR || layout_group_bytes(f, k) != units * unit)
        memset(dst, 0, layout_group_bytes(f, k));
    for (size_t u = 0; u < units; u++) {
        uint8_t *to = (uint8_t *)dst + u * unit;
        for (size_t r = 0; r < n; r++) {
            const uint8_t *p = (const uint8_t *)src + r * row_bytes + u * file_unit;
            put_header(to, r, p, f);
            for (int b = 0; b < f->blocks; b++) {
                uint32_t c[8];
                if (f->dtype == DT_NVFP4)
                    codes_nvfp4(c, p, b);
                else if (f->blocks == 8)
                    codes_super(c, p, f->dtype, b);
                else
                    codes_simple(c, p, f->dtype);
                put_codes(to + f->header + (size_t)b * layout_block_bytes(f), r, c, f->bits);
            }
        }
    }
}

/* Code of element i of a block, from the lanes of `row`. */
static int get_code(const uint8_t *planes, size_t row, size_t i, int bits)
{
    size_t j = i / 4, at = 4 * row + i % 4;
    if (bits == 8)
        return planes[64 * j + at];
    int q = planes[64 * (j % 4) + at] >> (j / 4 * 4) & 15;
    if (bits == 5)
        q |= (planes[256 + at] >> j & 1) << 4;
    if (bits == 6)
        q |= (planes[256 + 64 * (j / 4) + at] >> (2 * (j % 4)) & 3) << 4;
    return q;
}

/* Scale (and minimum, to be added) of 16-element half h of block b of a unit, in the order of operations of dtype decode. */
static void get_scale(const uint8_t *head, size_t row, int b, int h, const struct kernel_format *f, float *d, float *m)
{
    *m = 0.0f;
    if (f->e2m1) {
        *d = f->halves ? layout_e5m3(head[32 * b + 16 * h + (int)row]) : e8m0_half(head[row]);
        return;
    }
    *d = f16_to_f32(load16(head + 2 * row));
    *m = f->minimum ? f16_to_f32(load16(head + 32 + 2 * row)) : 0.0f;
    if (f->dtype == DT_Q6_K) {
        *d *= (float)(int8_t)head[32 + 16 * (2 * b + h) + (int)row];
    } else if (f->blocks == 8) {
        const uint8_t *s = head + 64 + row;
        int sc = b < 4 ? s[16 * b] & 63 : (s[16 * (b + 4)] & 15) | s[16 * (b - 4)] >> 6 << 4;
        int mn = b < 4 ? s[16 * (b + 4)] & 63 : s[16 * (b + 4)] >> 4 | s[16 * b] >> 6 << 4;
        *d *= (float)sc;
        *m = -(*m * (float)mn);
    }
}

static inline void unpack_row(float *dst, const void *w, size_t row, size_t k, const struct kernel_format *f)
{
    const uint8_t *p = (const uint8_t *)w + row / KERNEL_MR * layout_group_bytes(f, k);
    size_t r = row % KERNEL_MR;
    for (size_t i = 0; i < k; i += 16) {
        size_t unit = i / 32 / (size_t)f->blocks;
        int b = (int)(i / 32 % (size_t)f->blocks);
        const uint8_t *head = p + unit * layout_unit_bytes(f);
        const uint8_t *planes = head + f->header + (size_t)b * layout_block_bytes(f);
        float d, m;
        get_scale(head, r, b, (int)(i / 16 % 2), f, &d, &m);
        for (size_t l = 0; l < 16; l++) {
            int q = get_code(planes, r, i % 32 + l, f->bits);
            float v = (float)(f->e2m1 ? LAYOUT_E2M1[q] : q - f->zero) * d;
            dst[i + l] = f->minimum ? v + m : v;
        }
    }
}

static void pack_float(void *dst, const void *src, size_t row_bytes, size_t n, size_t k, size_t elem)
{
    memset(dst, 0, (k * KERNEL_MR * elem + 63) & ~(size_t)63);
    for (size_t i = 0; i < k; i++)
        for (size_t r = 0; r < n; r++)
            memcpy((uint8_t *)dst + (i * KERNEL_MR + r) * elem, (const uint8_t *)src + r * row_bytes + i * elem, elem);
}

static size_t bytes_f32(size_t k)
{
    return k * KERNEL_MR * 4;
}

static size_t bytes_f16(size_t k)
{
    return (k * KERNEL_MR * 2 + 63) & ~(size_t)63;
}

static void pack_f32(void *dst, const void *src, size_t row_bytes, size_t n, size_t k)
{
    pack_float(dst, src, row_bytes, n, k, 4);
}

static void pack_f16(void *dst, const void *src, size_t row_bytes, size_t n, size_t k)
{
    pack_float(dst, src, row_bytes, n, k, 2);
}

static void unpack_f32(float *dst, const void *w, size_t row, size_t k)
{
    const uint8_t *p = (const uint8_t *)w + row / KERNEL_MR * bytes_f32(k) + row % KERNEL_MR * 4;
    for (size_t i = 0; i < k; i++, p += KERNEL_MR * 4)
        memcpy(&dst[i], p, 4);
}

static void unpack_f16(float *dst, const void *w, size_t row, size_t k)
{
    const uint8_t *p = (const uint8_t *)w + row / KERNEL_MR * bytes_f16(k) + row % KERNEL_MR * 2;
    for (size_t i = 0; i < k; i++, p += KERNEL_MR * 2)
        dst[i] = f16_to_f32(load16(p));
}

static void unpack_bf16(float *dst, const void *w, size_t row, size_t k)
{
    const uint8_t *p = (const uint8_t *)w + row / KERNEL_MR * bytes_f16(k) + row % KERNEL_MR * 2;
    for (size_t i = 0; i < k; i++, p += KERNEL_MR * 2)
        dst[i] = bf16_to_f32(load16(p));
}

/* The table wants plain functions: one trio per format, each the generic code with its format known. */
#define PACKED_FORMATS(X) X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q8_0) X(Q4_K) X(Q5_K) X(Q6_K) X(MXFP4) X(NVFP4)
#define DEFINE(T)                                                                                                      \
    static size_t bytes_##T(size_t k)                                                                                  \
    {                                                                                                                  \
        return layout_group_bytes(&FORMAT_##T, k);                                                                     \
    }                                                                                                                  \
    static void pack_##T(void *dst, const void *src, size_t row_bytes, size_t n, size_t k)                             \
    {                                                                                                                  \
        pack(dst, src, row_bytes, n, k, &FORMAT_##T);                                                                  \
    }                                                                                                                  \
    static void unpack_##T(float *dst, const void *w, size_t row, size_t k)                                            \
    {                                                                                                                  \
        unpack_row(dst, w, row, k, &FORMAT_##T);                                                                       \
    }
PACKED_FORMATS(DEFINE)

void ref_init_pack(struct kernels *k)
{
#define ROW(T)                                                                                                         \
    k->linear[DT_##T].group_bytes = bytes_##T;                                                                         \
    k->linear[DT_##T].pack = pack_##T;                                                                                 \
    k->linear[DT_##T].unpack_row = unpack_##T;
    PACKED_FORMATS(ROW)
    k->linear[DT_F32] = (struct linear_kernel){bytes_f32, pack_f32, unpack_f32, NULL, true};
    k->linear[DT_F16] = (struct linear_kernel){bytes_f16, pack_f16, unpack_f16, NULL, true};
    k->linear[DT_BF16] = (struct linear_kernel){bytes_f16, pack_f16, unpack_bf16, NULL, true};
}
