/* simd.h - about twenty vector operations for the level that is compiled.
 *
 * A level file defines one of ES_AVX2, ES_SSE2, ES_NEON, ES_SCALAR before it
 * includes this.  W is the number of lanes, V a vector of floats.  Loads and
 * stores take any alignment.  The scalar version is the specification: every
 * level does its operations in its order, so that all give the same bits. */

#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

#if defined(ES_AVX2)
/* ---- AVX2: 8 lanes ------------------------------------------------------- */
#include <immintrin.h>

#define W 8
typedef __m256 V;
typedef __m256i I;

#define v_load(p) _mm256_loadu_ps(p)
#define v_store(p, a) _mm256_storeu_ps(p, a)
#define v_all(f) _mm256_set1_ps(f)
#define v_spread(p) _mm256_broadcast_ss(p)
#define v_add(a, b) _mm256_add_ps(a, b)
#define v_sub(a, b) _mm256_sub_ps(a, b)
#define v_mul(a, b) _mm256_mul_ps(a, b)
#define v_div(a, b) _mm256_div_ps(a, b)
#define v_sqrt(a) _mm256_sqrt_ps(a)

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

/* Keep the first n lanes, 1 to W, and clear the others. */
INLINE V v_first(V a, size_t n)
{
    static const int32_t mask[] = { -1, -1, -1, -1, -1, -1, -1, -1,
                                    0,  0,  0,  0,  0,  0,  0,  0 };
    const int32_t *at = mask + 8 - n;

    return _mm256_and_ps(a, _mm256_loadu_ps((const float *)(const void *)at));
}

/* Add the lanes in pairs: 0 + 4, 1 + 5, ...; then 0 + 2, 1 + 3; 0 + 1. */
INLINE float v_sum(V a)
{
    __m128 b =
        _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));

    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_shuffle_ps(b, b, 1)));
}

/* Codes of clamped powers, see code_of in bands.h. */
INLINE I v_codes(V power, const int32_t *table, int32_t first, int shift)
{
    __m256i bits = _mm256_castps_si256(power);
    __m256i low = _mm256_set1_epi32((1 << shift) - 1);
    __m256i number = _mm256_srl_epi32(bits, _mm_cvtsi32_si128(shift));
    __m256i at = _mm256_sub_epi32(number, _mm256_set1_epi32(first));
    __m256i cell = _mm256_i32gather_epi32(table, at, 4);
    __m256i below = _mm256_cmpgt_epi32(_mm256_srai_epi32(cell, 8),
                                       _mm256_and_si256(bits, low));
    __m256i base = _mm256_and_si256(cell, _mm256_set1_epi32(255));

    return _mm256_add_epi32(_mm256_add_epi32(base, below),
                            _mm256_set1_epi32(-127));
}

INLINE __m128i v_narrow(I a)
{
    __m128i b = _mm_packs_epi32(_mm256_castsi256_si128(a),
                                _mm256_extracti128_si256(a, 1));

    return _mm_packs_epi16(b, b);
}

/* Store W pairs or triples of codes, interleaved. */
INLINE void v_store_code_pairs(int8_t *p, I a, I b)
{
    _mm_storeu_si128((__m128i *)(void *)p,
                     _mm_unpacklo_epi8(v_narrow(a), v_narrow(b)));
}

INLINE void v_store_code_triples(int8_t *p, const I *codes)
{
    /* Byte i of p is band i / 3, feature i % 3; a is features 0 and 1. */
    const __m128i a_low =
        _mm_setr_epi8(0, 8, -1, 1, 9, -1, 2, 10, -1, 3, 11, -1, 4, 12, -1, 5);
    const __m128i b_low = _mm_setr_epi8(-1, -1, 0, -1, -1, 1, -1, -1, 2, -1, -1,
                                        3, -1, -1, 4, -1);
    const __m128i a_high = _mm_setr_epi8(13, -1, 6, 14, -1, 7, 15, -1, -1, -1,
                                         -1, -1, -1, -1, -1, -1);
    const __m128i b_high = _mm_setr_epi8(-1, 5, -1, -1, 6, -1, -1, 7, -1, -1,
                                         -1, -1, -1, -1, -1, -1);
    __m128i a = _mm_unpacklo_epi64(v_narrow(codes[0]), v_narrow(codes[1]));
    __m128i b = v_narrow(codes[2]);

    _mm_storeu_si128(
        (__m128i *)(void *)p,
        _mm_or_si128(_mm_shuffle_epi8(a, a_low), _mm_shuffle_epi8(b, b_low)));
    _mm_storel_epi64(
        (__m128i *)(void *)(p + 16),
        _mm_or_si128(_mm_shuffle_epi8(a, a_high), _mm_shuffle_epi8(b, b_high)));
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
typedef __m128i I;

#define v_load(p) _mm_loadu_ps(p)
#define v_store(p, a) _mm_storeu_ps(p, a)
#define v_all(f) _mm_set1_ps(f)
#define v_spread(p) _mm_set1_ps(*(p))
#define v_add(a, b) _mm_add_ps(a, b)
#define v_sub(a, b) _mm_sub_ps(a, b)
#define v_mul(a, b) _mm_mul_ps(a, b)
#define v_div(a, b) _mm_div_ps(a, b)
#define v_sqrt(a) _mm_sqrt_ps(a)

INLINE V v_clamp(V a, V low, V high)
{
    return _mm_min_ps(_mm_max_ps(a, low), high);
}

INLINE V v_reverse(V a)
{
    return _mm_shuffle_ps(a, a, 0x1b);
}

INLINE V v_first(V a, size_t n)
{
    static const int32_t mask[] = { -1, -1, -1, -1, 0, 0, 0, 0 };
    const int32_t *at = mask + 4 - n;

    return _mm_and_ps(a, _mm_loadu_ps((const float *)(const void *)at));
}

INLINE float v_sum(V a)
{
    V b = _mm_add_ps(a, _mm_movehl_ps(a, a));

    return _mm_cvtss_f32(_mm_add_ss(b, _mm_shuffle_ps(b, b, 1)));
}

INLINE I v_codes(V power, const int32_t *table, int32_t first, int shift)
{
    __m128i bits = _mm_castps_si128(power);
    __m128i low = _mm_set1_epi32((1 << shift) - 1);
    __m128i number = _mm_srl_epi32(bits, _mm_cvtsi32_si128(shift));
    int32_t at[4];

    _mm_storeu_si128((__m128i *)(void *)at,
                     _mm_sub_epi32(number, _mm_set1_epi32(first)));
    __m128i cell =
        _mm_setr_epi32(table[at[0]], table[at[1]], table[at[2]], table[at[3]]);
    __m128i below =
        _mm_cmpgt_epi32(_mm_srai_epi32(cell, 8), _mm_and_si128(bits, low));
    __m128i base = _mm_and_si128(cell, _mm_set1_epi32(255));

    return _mm_add_epi32(_mm_add_epi32(base, below), _mm_set1_epi32(-127));
}

INLINE __m128i v_narrow(I a)
{
    __m128i b = _mm_packs_epi32(a, a);

    return _mm_packs_epi16(b, b);
}

INLINE void v_store_codes(int8_t *p, I a)
{
    int32_t four = _mm_cvtsi128_si32(v_narrow(a));

    memcpy(p, &four, sizeof four);
}

INLINE void v_store_code_pairs(int8_t *p, I a, I b)
{
    _mm_storel_epi64((__m128i *)(void *)p,
                     _mm_unpacklo_epi8(v_narrow(a), v_narrow(b)));
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
typedef int32x4_t I;

#define v_load(p) vld1q_f32(p)
#define v_store(p, a) vst1q_f32(p, a)
#define v_all(f) vdupq_n_f32(f)
#define v_spread(p) vld1q_dup_f32(p)
#define v_add(a, b) vaddq_f32(a, b)
#define v_sub(a, b) vsubq_f32(a, b)
#define v_mul(a, b) vmulq_f32(a, b)
#define v_div(a, b) vdivq_f32(a, b)
#define v_sqrt(a) vsqrtq_f32(a)

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

INLINE V v_first(V a, size_t n)
{
    static const uint32_t mask[] = { ~0u, ~0u, ~0u, ~0u, 0, 0, 0, 0 };
    uint32x4_t bits = vreinterpretq_u32_f32(a);

    return vreinterpretq_f32_u32(vandq_u32(bits, vld1q_u32(mask + 4 - n)));
}

INLINE float v_sum(V a)
{
    float32x2_t b = vadd_f32(vget_low_f32(a), vget_high_f32(a));

    return vget_lane_f32(b, 0) + vget_lane_f32(b, 1);
}

INLINE I v_codes(V power, const int32_t *table, int32_t first, int shift)
{
    int32x4_t bits = vreinterpretq_s32_f32(power);
    int32x4_t low = vdupq_n_s32((1 << shift) - 1);
    int32x4_t number = vshlq_s32(bits, vdupq_n_s32(-shift));
    int32x4_t at = vsubq_s32(number, vdupq_n_s32(first));
    int32x4_t cell = vdupq_n_s32(table[vgetq_lane_s32(at, 0)]);

    cell = vsetq_lane_s32(table[vgetq_lane_s32(at, 1)], cell, 1);
    cell = vsetq_lane_s32(table[vgetq_lane_s32(at, 2)], cell, 2);
    cell = vsetq_lane_s32(table[vgetq_lane_s32(at, 3)], cell, 3);
    uint32x4_t below = vcgtq_s32(vshrq_n_s32(cell, 8), vandq_s32(bits, low));
    int32x4_t base = vandq_s32(cell, vdupq_n_s32(255));

    return vaddq_s32(vaddq_s32(base, vreinterpretq_s32_u32(below)),
                     vdupq_n_s32(-127));
}

INLINE int8x8_t v_narrow(I a)
{
    int16x4_t b = vmovn_s32(a);

    return vmovn_s16(vcombine_s16(b, b));
}

INLINE void v_store_codes(int8_t *p, I a)
{
    int32_t four = vget_lane_s32(vreinterpret_s32_s8(v_narrow(a)), 0);

    memcpy(p, &four, sizeof four);
}

INLINE void v_store_code_pairs(int8_t *p, I a, I b)
{
    vst1_s8(p, vzip1_s8(v_narrow(a), v_narrow(b)));
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
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#define W 1
typedef float V;

#define v_load(p) (*(p))
#define v_store(p, a) (*(p) = (a))
#define v_all(f) (f)
#define v_spread(p) (*(p))
#define v_add(a, b) ((a) + (b))
#define v_sub(a, b) ((a) - (b))
#define v_mul(a, b) ((a) * (b))
#define v_div(a, b) ((a) / (b))

/* The machine's instruction: sqrtf is in a library and sets errno. */
INLINE float v_sqrt(float a)
{
#if defined(__SSE__)
    return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(a)));
#elif defined(__aarch64__)
    __asm__("fsqrt %s0, %s1" : "=w"(a) : "w"(a));
    return a;
#elif defined(__ARM_PCS_VFP)
    __asm__("vsqrt.f32 %0, %1" : "=t"(a) : "t"(a));
    return a;
#else
    return __builtin_sqrtf(a);
#endif
}

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

INLINE V v_first(V a, size_t n)
{
    return n ? a : 0.0f;
}

INLINE float v_sum(V a)
{
    return a;
}

INLINE void v_transpose(V *r)
{
    (void)r;
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

/* Two roundings everywhere, though some levels could fuse them into one: not
 * all can, and every level has to give the same bits. */
#define v_mul_add(a, b, c) v_add(v_mul(a, b), c)
#define v_mul_sub(a, b, c) v_sub(v_mul(a, b), c)
#define v_sub_mul(c, a, b) v_sub(c, v_mul(a, b))

#if W == 4
INLINE void v_store_code_triples(int8_t *p, const I *codes)
{
    int8_t some[3][W];

    for (size_t f = 0; f < 3; f++)
        v_store_codes(some[f], codes[f]);
    for (size_t j = 0; j < W; j++) {
        p[3 * j] = some[0][j];
        p[3 * j + 1] = some[1][j];
        p[3 * j + 2] = some[2][j];
    }
}
#endif
