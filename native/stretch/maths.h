/* stretch_maths.h - functions that a C library may round as it likes.
 *
 * Sums of their series, in one order: the same bits on every machine. */
#ifndef ES_STRETCH_MATHS_H
#define ES_STRETCH_MATHS_H

#include "plan/internal.h"

#include <string.h>

#define ES_PI 3.14159265358979323846
#define ES_LN2 0.69314718055994530942

/* The largest integer that is not above x, |x| < 2^62. */
static inline int64_t floor_of(double x)
{
    int64_t i = (int64_t)x;

    return (double)i > x ? i - 1 : i;
}

/* sin(pi x). */
static double sin_pi(double x)
{
    int64_t whole = floor_of(x + 0.5);
    double a = ES_PI * (x - (double)whole); /* -pi/2 to pi/2 */
    double sum = 1.0;

    for (int i = 22; i > 0; i -= 2)
        sum = 1.0 - a * a / (double)(i * (i + 1)) * sum;
    return whole % 2 ? 0.0 - a * sum : a * sum;
}

/* 2^x, |x| <= 60. */
static double exp2_of(double x)
{
    int64_t whole = floor_of(x + 0.5);
    double a = ES_LN2 * (x - (double)whole);
    double sum = 1.0;

    for (int i = 16; i > 0; i--)
        sum = 1.0 + a / (double)i * sum;
    for (; whole > 0; whole--)
        sum *= 2.0;
    for (; whole < 0; whole++)
        sum *= 0.5;
    return sum;
}

/* Modified Bessel function I0 of x, for x^2 / 4. */
static double bessel_of(double quarter_square)
{
    double term = 1.0;
    double sum = 1.0;

    for (int i = 1; i < 40; i++) {
        term *= quarter_square / (double)(i * i);
        sum += term;
    }
    return sum;
}

/* log2 of a positive normal number, to 1e-6. */
static inline float log2_of(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    /* x = m 2^e with m from 0.7 to 1.4. */
    uint32_t shifted = bits - 0x3f3504f3u;
    int32_t e = (int32_t)shifted >> 23;

    bits = (shifted & 0x007fffffu) + 0x3f3504f3u;
    memcpy(&x, &bits, sizeof x);
    float z = (x - 1.0f) / (x + 1.0f);
    float s = z * z;
    float sum = 1.0f + s * (0.33333333f + s * (0.2f + s * 0.14285714f));

    return (float)e + 2.88539008f * z * sum; /* 2 / ln 2 */
}

/* 2^x to 1e-6, |x| <= 60. */
static inline float fast_exp2(float x)
{
    int32_t whole = (int32_t)(x + 64.5f) - 64;
    float a = 0.69314718f * (x - (float)whole);
    float sum = 1.0f + a * (0.2f + a * (1.0f / 30.0f));

    sum = 1.0f + a * (1.0f / 3.0f) * (1.0f + a * 0.25f * sum);
    sum = 1.0f + a * (1.0f + a * 0.5f * sum);
    uint32_t bits = (uint32_t)(whole + 127) << 23;
    float scale;

    memcpy(&scale, &bits, sizeof scale);
    return scale * sum;
}

#endif
