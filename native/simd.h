/* simd.h - about twenty vector operations for the level that is compiled.
 *
 * A level file defines one of ES_AVX2, ES_SSE2, ES_NEON, ES_SCALAR before it
 * includes this.  W is the number of lanes, V a vector of floats.  Loads and
 * stores take any alignment.  The scalar version is the specification. */

#define INLINE static inline __attribute__((always_inline))

#if defined(ES_AVX2)
/* ---- AVX2 with FMA: 8 lanes ---------------------------------------------- */
#include <immintrin.h>

#define W 8
typedef __m256 V;

#define v_load(p) _mm256_loadu_ps(p)
#define v_store(p, a) _mm256_storeu_ps(p, a)
#define v_all(f) _mm256_set1_ps(f)
#define v_spread(p) _mm256_broadcast_ss(p)
#define v_add(a, b) _mm256_add_ps(a, b)
#define v_sub(a, b) _mm256_sub_ps(a, b)
#define v_mul(a, b) _mm256_mul_ps(a, b)
#define v_mul_add(a, b, c) _mm256_fmadd_ps(a, b, c)
#define v_mul_sub(a, b, c) _mm256_fmsub_ps(a, b, c)
#define v_sub_mul(c, a, b) _mm256_fnmadd_ps(a, b, c)

/* Limit to [low, high]; NaN gives low: maxps returns its second operand. */
INLINE V v_clamp(V a, V low, V high)
{
    return _mm256_min_ps(_mm256_max_ps(a, low), high);
}

INLINE V v_reverse(V a)
{
    return _mm256_permutevar8x32_ps(a,
                                    _mm256_setr_epi32(7, 6, 5, 4, 3, 2, 1, 0));
}

/* Load W pairs (re, im) apart. */
INLINE void v_load_pairs(const float *p, V *re, V *im)
{
    V a = _mm256_loadu_ps(p);
    V b = _mm256_loadu_ps(p + 8);
    V low = _mm256_permute2f128_ps(a, b, 0x20);
    V high = _mm256_permute2f128_ps(a, b, 0x31);

    *re = _mm256_shuffle_ps(low, high, 0x88);
    *im = _mm256_shuffle_ps(low, high, 0xdd);
}

/* Interleave and store. */
INLINE void v_store_pairs(float *p, V re, V im)
{
    V low = _mm256_unpacklo_ps(re, im);
    V high = _mm256_unpackhi_ps(re, im);

    _mm256_storeu_ps(p, _mm256_permute2f128_ps(low, high, 0x20));
    _mm256_storeu_ps(p + 8, _mm256_permute2f128_ps(low, high, 0x31));
}

/* Transpose W vectors: rows become columns. */
INLINE void v_transpose(V *r)
{
    V a[8];
    V b[8];

    for (int i = 0; i < 4; i++) {
        a[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        a[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
        b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xee);
        b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
        b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
    }
}

#elif defined(ES_SSE2)
/* ---- SSE2: 4 lanes ------------------------------------------------------- */
#include <emmintrin.h>

#define W 4
typedef __m128 V;

#define v_load(p) _mm_loadu_ps(p)
#define v_store(p, a) _mm_storeu_ps(p, a)
#define v_all(f) _mm_set1_ps(f)
#define v_spread(p) _mm_set1_ps(*(p))
#define v_add(a, b) _mm_add_ps(a, b)
#define v_sub(a, b) _mm_sub_ps(a, b)
#define v_mul(a, b) _mm_mul_ps(a, b)
#define v_mul_add(a, b, c) _mm_add_ps(_mm_mul_ps(a, b), c)
#define v_mul_sub(a, b, c) _mm_sub_ps(_mm_mul_ps(a, b), c)
#define v_sub_mul(c, a, b) _mm_sub_ps(c, _mm_mul_ps(a, b))

INLINE V v_clamp(V a, V low, V high)
{
    return _mm_min_ps(_mm_max_ps(a, low), high);
}

INLINE V v_reverse(V a)
{
    return _mm_shuffle_ps(a, a, 0x1b);
}

INLINE void v_load_pairs(const float *p, V *re, V *im)
{
    V a = _mm_loadu_ps(p);
    V b = _mm_loadu_ps(p + 4);

    *re = _mm_shuffle_ps(a, b, 0x88);
    *im = _mm_shuffle_ps(a, b, 0xdd);
}

INLINE void v_store_pairs(float *p, V re, V im)
{
    _mm_storeu_ps(p, _mm_unpacklo_ps(re, im));
    _mm_storeu_ps(p + 4, _mm_unpackhi_ps(re, im));
}

INLINE void v_transpose(V *r)
{
    _MM_TRANSPOSE4_PS(r[0], r[1], r[2], r[3]);
}

#elif defined(ES_NEON)
/* ---- NEON of aarch64: 4 lanes -------------------------------------------- */
#include <arm_neon.h>

#define W 4
typedef float32x4_t V;

#define v_load(p) vld1q_f32(p)
#define v_store(p, a) vst1q_f32(p, a)
#define v_all(f) vdupq_n_f32(f)
#define v_spread(p) vld1q_dup_f32(p)
#define v_add(a, b) vaddq_f32(a, b)
#define v_sub(a, b) vsubq_f32(a, b)
#define v_mul(a, b) vmulq_f32(a, b)
#define v_mul_add(a, b, c) vfmaq_f32(c, a, b)
#define v_mul_sub(a, b, c) vnegq_f32(vfmsq_f32(c, a, b))
#define v_sub_mul(c, a, b) vfmsq_f32(c, a, b)

/* maxnm returns the number when the other operand is NaN. */
INLINE V v_clamp(V a, V low, V high)
{
    return vminq_f32(vmaxnmq_f32(a, low), high);
}

INLINE V v_reverse(V a)
{
    V b = vrev64q_f32(a);

    return vextq_f32(b, b, 2);
}

INLINE void v_load_pairs(const float *p, V *re, V *im)
{
    float32x4x2_t a = vld2q_f32(p);

    *re = a.val[0];
    *im = a.val[1];
}

INLINE void v_store_pairs(float *p, V re, V im)
{
    float32x4x2_t a = { { re, im } };

    vst2q_f32(p, a);
}

INLINE void v_transpose(V *r)
{
    float32x4x2_t a = vtrnq_f32(r[0], r[1]);
    float32x4x2_t b = vtrnq_f32(r[2], r[3]);

    r[0] = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
    r[1] = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
    r[2] = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
    r[3] = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
}

#else
/* ---- Scalar: 1 lane ------------------------------------------------------ */
#define W 1
typedef float V;

#define v_load(p) (*(p))
#define v_store(p, a) (*(p) = (a))
#define v_all(f) (f)
#define v_spread(p) (*(p))
#define v_add(a, b) ((a) + (b))
#define v_sub(a, b) ((a) - (b))
#define v_mul(a, b) ((a) * (b))
#define v_mul_add(a, b, c) ((a) * (b) + (c))
#define v_mul_sub(a, b, c) ((a) * (b) - (c))
#define v_sub_mul(c, a, b) ((c) - (a) * (b))

/* Written so that NaN gives low. */
INLINE V v_clamp(V a, V low, V high)
{
    a = a > low ? a : low;
    return a < high ? a : high;
}

INLINE V v_reverse(V a)
{
    return a;
}

INLINE void v_load_pairs(const float *p, V *re, V *im)
{
    *re = p[0];
    *im = p[1];
}

INLINE void v_store_pairs(float *p, V re, V im)
{
    p[0] = re;
    p[1] = im;
}
#endif
