/* stream: inside avx2 and avxvnni: what a walk along one group reads: both halves' scales in registers, codes one vector at a time. */
#ifndef HEARTH_KERNEL_AVX2_STREAM_H
#define HEARTH_KERNEL_AVX2_STREAM_H
#include "kernel/avx2/e2m1.h"

/* The scales of a unit that its blocks share. */
struct head256 {
    __m256 d[2], m[2];
    uint8_t s[256];
};

AVX2_INLINE void load_head(struct head256 *u, const uint8_t *head, const struct kernel_format *f)
{
    bool k = f->minimum && f->blocks == 8;
    if (k)
        unpack_k_scales(u->s, head);
    for (int h = 0; h < 2 && !f->e2m1; h++) {
        u->d[h] = load_half(head + 16 * h);
        if (f->minimum)
            u->m[h] = load_half(head + 32 + 16 * h);
        if (k)
            u->m[h] = _mm256_sub_ps(_mm256_setzero_ps(), u->m[h]);
    }
}

/* Of block b: of both halves of the rows, scales, and minima or the scales of the second half of k. */
AVX2_INLINE void load_scales(__m256 d[2], __m256 m[2], const struct head256 *u, const uint8_t *head, int b,
                             const struct kernel_format *f)
{
    bool k = f->minimum && f->blocks == 8;
    for (int h = 0; h < 2; h++) {
        if (f->e2m1) {
            d[h] = f->halves ? e5m3_ps(head + 32 * b + 8 * h) : e8m0_ps(head + 8 * h);
            if (f->halves)
                m[h] = e5m3_ps(head + 32 * b + 16 + 8 * h);
            continue;
        }
        d[h] = u->d[h];
        if (f->minimum)
            m[h] = u->m[h];
        if (k) {
            d[h] = _mm256_mul_ps(u->d[h], bytes_ps(u->s + 16 * b + 8 * h));
            m[h] = _mm256_mul_ps(u->m[h], bytes_ps(u->s + 128 + 16 * b + 8 * h));
        }
        if (f->halves) {
            d[h] = _mm256_mul_ps(u->d[h], sbytes_ps(head + 32 + 32 * b + 8 * h));
            m[h] = _mm256_mul_ps(u->d[h], sbytes_ps(head + 48 + 32 * b + 8 * h));
        }
    }
}

/* Quad j of eight rows; p: the planes, moved to them; zero: what E2M1's numbers have added. The bits above four go through a table: of a
 * nibble, where they belong. */
AVX2_INLINE __m256i code(const uint8_t *p, int j, const struct kernel_format *f, int zero)
{
    const __m256i low = _mm256_set1_epi8(15);
    const int bits = f->bits;
    if (bits == 8)
        return load256(p + 64 * j);
    __m256i z = load256(p + 64 * (j & 3)), q = _mm256_and_si256(j < 4 ? z : _mm256_srli_epi16(z, 4), low);
    if (bits == 4)
        return f->e2m1 ? _mm256_shuffle_epi8(e2m1_table(zero), q) : q;
    __m256i up = load256(p + 256 + (bits == 6 ? 64 * (j / 4) : 0));
    bool upper = bits == 6 ? j % 4 > 1 : j > 3;
    int at = bits == 6 ? 2 * (j % 2) : j % 4;
    char to[16];
    for (int i = 0; i < 16; i++)
        to[i] = (char)((i >> at & (bits == 6 ? 3 : 1)) << 4);
    __m256i table =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(to[0], to[1], to[2], to[3], to[4], to[5], to[6], to[7], to[8], to[9],
                                                  to[10], to[11], to[12], to[13], to[14], to[15]));
    up = _mm256_and_si256(upper ? _mm256_srli_epi16(up, 4) : up, low);
    return _mm256_or_si256(q, _mm256_shuffle_epi8(table, up));
}

#endif
