/* avxvnni/linear: quantised weights. The loops are simd/vnni.h's, codes and scales are read as avx2/ does. Sixteen registers hold the
 * sums of 4 tokens x 16 rows, two vectors of codes and a broadcast: a block that several tokens meet is unpacked into L1. One token
 * alone meets codes as they are unpacked, in registers. */
#include "kernel/avxvnni/avxvnni.h"
#include "kernel/avx2/stream.h"
#include "kernel/avx2/vec.h"

enum { VNNI_TOK = 4, VNNI_SHORT = 1 };

typedef __m256i vi;

VEC vi vi_set1(int32_t a)
{
    return _mm256_set1_epi32(a);
}
VEC vi vi_add(vi a, vi b)
{
    return _mm256_add_epi32(a, b);
}
VEC vi vi_shl(vi a, int n)
{
    return _mm256_slli_epi32(a, n);
}
VEC vf vi_ps(vi a)
{
    return _mm256_cvtepi32_ps(a);
}

VEC vi vi_xor(vi a, vi b)
{
    return _mm256_xor_si256(a, b);
}
VEC vi vi_madd(vi a, vi b)
{
    return _mm256_madd_epi16(a, b);
}

struct vnni_unit {
    struct head256 head;
    float per; /* NVFP4: what makes its scales integers, or 0 */
};

struct vnni_block {
    const uint8_t *p; /* the planes */
    __m256 d[2], m[2];
    __m256i s[2];
    __m256i q[2][8]; /* quads of both halves of the rows */
    float unit;
};

#include "kernel/simd/vnni.h"

VEC void vnni_begin(vi (*s)[VNNI_VECS], const int32_t *start, int n)
{
    for (int i = 0; i < n; i++)
        s[i][0] = s[i][1] = vi_set1(start[i]);
}

VEC void vnni_scale(float *to, const float *x, float by, int n)
{
    for (int i = 0; i < n; i++)
        to[i] = x[i] * by;
    __asm__("" : "+m"(*(float(*)[8])to));
}

VEC void vnni_load_unit(struct vnni_unit *u, const uint8_t *head, const struct vnni_shape *of)
{
    const struct kernel_format *f = of->f;
    load_head(&u->head, head, f);
    u->per = of->ints ? e5m3_per_unit(head) : 0;
}

VEC void vnni_load_block(struct vnni_block *w, struct vnni_unit *u, const uint8_t *head, int b,
                         const struct vnni_shape *of)
{
    const struct kernel_format *f = of->f;
    w->unit = u->per > 0 ? 1 / u->per : 0;
    if (of->ints && u->per > 0)
        for (int v = 0; v < 2; v++)
            w->s[v] = e5m3_ints(head + 32 * b + 8 * v, u->per);
    else
        load_scales(w->d, w->m, &u->head, head, b, f);
    w->p = head + f->header + (size_t)b * layout_block_bytes(f);
    if (of->one || f->bits == 8) /* which are what they are */
        return;
    for (int v = 0; v < 2; v++)
        if (f->e2m1)
            e2m1_codes(w->q[v], w->p + 32 * v, f->zero, false);
        else
            load_codes(w->q[v], w->p + 32 * v, f->bits);
}

typedef vi __attribute__((aligned(1))) vi_any;

/* From memory, each time: else gcc keeps some in registers, and spills sums. */
VEC vi load_now(const vi *p)
{
    vi x;
    __asm__ volatile("vmovdqa %1, %0" : "=x"(x) : "m"(*p));
    return x;
}

VEC vi loadu_now(const uint8_t *p)
{
    vi x;
    __asm__ volatile("vmovdqu %1, %0" : "=x"(x) : "m"(*(const vi_any *)(const void *)p));
    return x;
}

VEC vi quad_of(const struct vnni_block *w, int j, int v, const struct vnni_shape *of)
{
    if (of->one)
        return code(w->p + 32 * v, j, of->f, of->f->zero);
    return of->f->bits == 8 ? loadu_now(w->p + 64 * j + 32 * v) : load_now(&w->q[v][j]);
}

VEC void vnni_quad(vi (*s)[2], const struct vnni_block *w, int j, const int8_t *x, int n, const struct vnni_shape *of)
{
    const vi q0 = quad_of(w, j, 0, of), q1 = quad_of(w, j, 1, of);
    for (int i = 0; i < n; i++) {
        vi four = quad(x + 32 * i);
        s[i][0] = _mm256_dpbusd_avx_epi32(s[i][0], q0, four);
        s[i][1] = _mm256_dpbusd_avx_epi32(s[i][1], q1, four);
    }
}

VEC void vnni_store(const struct linear_args *a, size_t g, size_t t, const vf *sum)
{
    float rows[16];
    v_store(rows, sum[0]);
    v_store(rows + 8, sum[1]);
    store_rows(a, g, t, rows);
}

VNNI_FORMATS(VNNI_DEFINE)

void avxvnni_init_linear(struct kernels *k)
{
    VNNI_FORMATS(VNNI_ROW)
}
