/* bands.h - sums over bins, regions, and the codes of features. */
#ifndef ES_BANDS_H
#define ES_BANDS_H

#include "frame/spectra.h"

#include <string.h>

/* First bin behind region i; regions that have none are empty. */
static size_t region_end(const es_spectral *s, size_t i)
{
    const size_t end = (size_t)ES_FIRST_REGION << i;

    return i + 1 < ES_N_REGIONS && end < s->n_powers ? end : s->n_powers;
}

/* Add up ES_LANES accumulators in pairs, see v_sum; uses them up. */
INLINE float total_of(V *sum)
{
    for (size_t half = ES_LANES / W / 2; half; half /= 2) {
        for (size_t i = 0; i < half; i++)
            sum[i] = v_add(sum[i], sum[i + half]);
    }
    return v_sum(sum[0]);
}

/* Sum p[0..n), n > 0: ES_LANES accumulators take the values round-robin and
 * are added in pairs (see v_sum), which is the same order for every W. */
INLINE float sum_of(const float *p, size_t n)
{
    V sum[ES_LANES / W];

    for (size_t i = 0; i < ES_LANES / W; i++)
        sum[i] = v_all(0.0f);
    for (; n > ES_LANES; n -= ES_LANES, p += ES_LANES) {
        for (size_t i = 0; i < ES_LANES / W; i++)
            sum[i] = v_add(sum[i], v_load(p + i * W));
    }
    for (size_t i = 0; i < ES_LANES / W && i * W < n; i++) {
        size_t there = n - i * W < W ? n - i * W : W;

        sum[i] = v_add(sum[i], v_first(v_load(p + i * W), there));
    }
    return total_of(sum);
}

/* Turn powers of bins into powers of bands, in place.  Band b goes to index
 * edges[0] + b, which is not above edges[b]: nothing is overwritten unread. */
static void average_bands(const es_spectral *s, float *power)
{
    float *band = power + s->edges[0];

    for (size_t b = s->n_single; b < s->n_there; b++) {
        const float *first = power + s->edges[b];

        band[b] =
            sum_of(first, s->edges[b + 1] - s->edges[b]) * s->inverse_width[b];
    }
    memset(band + s->n_there, 0, (s->n_bands - s->n_there) * sizeof *band);
}

/* Code of one scaled power. */
static int8_t code_of(const es_spectral *s, float power)
{
    const int32_t mask = (int32_t)((1u << s->shift) - 1);
    int32_t bits;

    /* NaN gives lowest, see v_clamp. */
    power = power > s->lowest ? power : s->lowest;
    power = power < s->highest ? power : s->highest;
    memcpy(&bits, &power, sizeof bits);
    int32_t cell = s->codes[(bits >> s->shift) - s->first_cell];

    return (int8_t)((cell & 255) + ((bits & mask) >= cell >> 8) - 128);
}

/* Codes of n features, a constant, from the powers of their bands. */
INLINE void quantise(const es_spectral *s, size_t n, const float *const *band,
                     float scale, int8_t *out)
{
    size_t b = 0;

#if W > 1
    const V low = v_all(s->lowest);
    const V high = v_all(s->highest);

    for (; b + W <= s->n_bands; b += W) {
        I codes[3];

        for (size_t f = 0; f < n; f++) {
            V power = v_mul(v_all(scale), v_load(band[f] + b));

            codes[f] = v_codes(v_clamp(power, low, high), s->codes,
                               s->first_cell, (int)s->shift);
        }
        if (n == 2)
            v_store_code_pairs(out + 2 * b, codes[0], codes[1]);
        else
            v_store_code_triples(out + 3 * b, codes);
    }
#endif
    for (; b < s->n_bands; b++) {
        for (size_t f = 0; f < n; f++)
            out[n * b + f] = code_of(s, scale * band[f][b]);
    }
}

/* Codes of a frame. */
static void codes_of(const es_spectral *s, const float *X, float scale,
                     int8_t *out, const es_work *w)
{
    const size_t n = s->n_channels == 1 ? 1 : s->n_features;
    const float *band[3] = { NULL, NULL, NULL };

    powers_of(s, X, w);
    for (size_t f = 0; f < n; f++) {
        average_bands(s, w->power[f]);
        band[f] = w->power[f] + s->edges[0];
    }
    if (s->n_channels == 1) {
        memset(w->power[2], 0, s->n_bands * sizeof *w->power[2]);
        band[1] = band[0];
        band[2] = w->power[2];
    }
    if (s->n_features == 2)
        quantise(s, 2, band, scale, out);
    else
        quantise(s, 3, band, scale, out);
}

#endif
