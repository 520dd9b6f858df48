/* avx2/columns: eight rows of f32 become eight columns of f16. Shared by the vector levels of x86. */
#ifndef HEARTH_KERNEL_AVX2_COLUMNS_H
#define HEARTH_KERNEL_AVX2_COLUMNS_H
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

/* Row i: eight numbers at x + i * ldx. Column d, of eight rounded to nearest even: at to + d * stride. */
static inline __attribute__((always_inline)) void v_store_columns(uint8_t *to, size_t stride, const float *x,
                                                                  size_t ldx)
{
    __m128i r[8];
    for (size_t i = 0; i < 8; i++)
        r[i] = _mm256_cvtps_ph(_mm256_loadu_ps(x + i * ldx), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    for (int step = 0; step < 3; step++) { /* rows i and i + 4 side by side, three times: the matrix is turned */
        __m128i p[8];
        for (int i = 0; i < 4; i++) {
            p[2 * i] = _mm_unpacklo_epi16(r[i], r[i + 4]);
            p[2 * i + 1] = _mm_unpackhi_epi16(r[i], r[i + 4]);
        }
        for (int i = 0; i < 8; i++)
            r[i] = p[i];
    }
    for (size_t d = 0; d < 8; d++)
        _mm_storeu_si128((__m128i *)(void *)(to + d * stride), r[d]);
}

#endif
