/* undecided.h - how often masks were undecided, and gains softened by that.
 *
 * See es_synthesise.  `undecided` holds U of each region, M of each, and V. */
#ifndef ES_UNDECIDED_H
#define ES_UNDECIDED_H

#include "frame/bands.h"
#include "frame/gains.h"

#include <string.h>

/* What one channel adds to U, M and V, bin by bin, to w->power, which is free
 * until the next analysis. */
INLINE void weigh(const es_spectral *s, const float *X, const es_work *w,
                  size_t c)
{
    const V none = v_all(0.0f);
    const V one = v_all(1.0f);

    for (size_t i = 0; i < s->n_powers; i += W) {
        size_t k = fit(i, s->n_bins, W);
        V gain = v_clamp(v_load(w->gain[c] + k), none, one);
        V rest = v_sub(one, gain);
        V lesser = v_clamp(gain, none, rest);
        V power = finite_power(X + 2 * (c * s->n_bins + k));
        V sung = v_mul(gain, power);

        v_store(w->power[0] + k, v_mul(sung, rest));
        v_store(w->power[1] + k, v_mul(lesser, power));
        v_store(w->power[2] + k, sung);
    }
}

static void count_undecided(const es_spectral *s, const float *X,
                            float *undecided, const es_work *w)
{
    for (size_t i = 0; i < ES_UNDECIDED_FLOATS; i++)
        undecided[i] *= s->decay;
    for (size_t c = 0; c < s->n_channels; c++) {
        size_t start = 0;

        weigh(s, X, w, c);
        for (size_t i = 0; i < ES_N_REGIONS; i++) {
            const size_t n = region_end(s, i) - start;

            if (!n)
                break;
            undecided[i] += sum_of(w->power[0] + start, n);
            undecided[ES_N_REGIONS + i] += sum_of(w->power[1] + start, n);
            undecided[2 * ES_N_REGIONS] += sum_of(w->power[2] + start, n);
            start += n;
        }
    }
}

/* How soft the gains of region i become, 0 to 1. */
static float softness_of(const es_spectral *s, const float *undecided, size_t i)
{
    const float most = undecided[ES_N_REGIONS + i];
    const float vocals = undecided[2 * ES_N_REGIONS];
    float sum = 0.0f;

    for (size_t j = 0; j < ES_N_REGIONS; j++)
        sum += undecided[j];
    float sharp = most > 0.0f ? undecided[i] / most : 1.0f;
    float share = vocals > 0.0f ? root(root(sum / vocals)) : 0.0f;
    float t = s->softness[0] + s->softness[1] * sharp + s->softness[2] * share;

    t = t > 0.0f ? t : 0.0f;
    return t < 1.0f ? t : 1.0f;
}

/* Soften the gains of one frame as far as the stream so far asks for. */
static void soften(const es_spectral *s, const float *X, float *undecided,
                   const es_work *w)
{
    const V none = v_all(0.0f);
    const V one = v_all(1.0f);
    float *soft = w->power[2];
    size_t start = 0;

    count_undecided(s, X, undecided, w);
    for (size_t i = 0; i < ES_N_REGIONS && start < s->n_powers; i++) {
        const size_t end = region_end(s, i);
        const int is_last = end == s->n_powers;

        spread(soft + start, (is_last ? s->n_bins : end) - start,
               softness_of(s, undecided, i));
        start = end;
    }
    for (size_t c = 0; c < s->n_channels; c++) {
        for (size_t i = 0; i < s->n_bins; i += W) {
            size_t k = fit(i, s->n_bins, W);
            V gain = v_clamp(v_load(w->gain[c] + k), none, one);
            V rest = v_clamp(v_sub(one, gain), v_all(ES_LEAST_REST), one);
            V vocals = v_sqrt(gain);
            V softer = v_div(vocals, v_add(vocals, v_sqrt(rest)));

            softer = v_mul_add(v_load(soft + k), v_sub(softer, gain), gain);
            v_store(w->power[c] + k, softer);
        }
        memcpy(w->gain[c], w->power[c], s->n_bins * sizeof *w->gain[c]);
    }
}

#endif
