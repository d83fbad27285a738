/* gains.h - from the codes of masks to the gains of bins. */
#ifndef ES_GAINS_H
#define ES_GAINS_H

#include "frame/spectra.h"

/* Set p[0..n) and perhaps W - 1 more: there is room, and what lies behind is
 * set later. */
INLINE void spread(float *p, size_t n, float value)
{
    for (size_t i = 0; i < n; i += W)
        v_store(p + i, v_all(value));
}

/* Gain of code q[0], for mono the mean of those of q[0] and q[1]. */
INLINE float gain_of(const float *table, const int8_t *q, int is_mono)
{
    return is_mono ? 0.5f * (table[q[0]] + table[q[1]]) : table[q[0]];
}

/* Gains of the bins of one channel from the mask codes of one frame. */
INLINE void expand(const es_spectral *s, const int8_t *mask, int is_mono,
                   float *gain)
{
    const float *table = s->mask_table + 128;
    const uint32_t *edges = s->edges;
    const size_t top = edges[s->n_bands];
    float sum = 0.0f;
    size_t b = 0;

    spread(gain, edges[0], 0.0f);
    for (; b < s->n_single; b++)
        gain[edges[0] + b] = gain_of(table, mask + 2 * b, is_mono);
    for (; b < s->n_there; b++)
        spread(gain + edges[b], edges[b + 1] - edges[b],
               gain_of(table, mask + 2 * b, is_mono));
    for (b = s->n_bands - s->top_bands; b < s->n_bands; b++)
        sum += gain_of(table, mask + 2 * b, is_mono);
    if (s->top_bands)
        sum /= (float)s->top_bands;
    spread(gain + top, s->n_bins - top, sum);
}

static void gains_of(const es_spectral *s, const int8_t *mask,
                     float *const *gain)
{
    if (s->n_channels == 1) {
        expand(s, mask, 1, gain[0]);
    } else {
        expand(s, mask, 0, gain[0]);
        expand(s, mask + 1, 0, gain[1]);
    }
}

static float root(float a)
{
    float lanes[W];

    v_store(lanes, v_sqrt(v_all(a)));
    return lanes[0];
}

#endif
