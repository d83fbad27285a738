/* directions.h - from which directions vocals came so far.
 *
 * See es_synthesise.  `directions` holds N of each region's cells, then H. */
#ifndef ES_DIRECTIONS_H
#define ES_DIRECTIONS_H

#include "frame/bands.h"
#include "frame/gains.h"

#include <string.h>

/* The side's steps: sin^2(k pi / 18); the turn's: cos(k pi / 6). */
static const float side_steps[ES_N_SIDES - 1] = {
    0.03015368960704584f, 0.11697777844051105f, 0.25f,
    0.41317591116653485f, 0.5868240888334652f,  0.75f,
    0.8830222215594889f,  0.9698463103929542f
};
static const float turn_steps[ES_N_TURNS - 1] = { 0.8660254037844387f, 0.5f,
                                                  0.0f, -0.5f,
                                                  -0.8660254037844387f };

/* Weight of each bin, that times its gain, the right channel's share of power
 * and the cosine between the channels, to w->power and w->re, which are free
 * until the next analysis and transform. */
static void look_around(const es_spectral *s, const float *X, const es_work *w)
{
    const V none = v_all(0.0f);
    const V one = v_all(1.0f);
    const V faintest = v_all(ES_FAINTEST);

    for (size_t i = 0; i < s->n_powers; i += W) {
        size_t k = fit(i, s->n_bins, W);
        es_bin x = bin_at(s, X, k);
        V l_power = bounded(power_of(x.l_re, x.l_im));
        V r_power = bounded(power_of(x.r_re, x.r_im));
        V l_gain = v_clamp(v_load(w->gain[0] + k), none, one);
        V r_gain = v_clamp(v_load(w->gain[1] + k), none, one);
        V power = v_add(l_power, r_power);
        V weight = v_sqrt(power);
        V heard = v_mul_add(l_gain, l_power, v_mul(r_gain, r_power));
        V both = v_mul(v_sqrt(l_power), v_sqrt(r_power));
        V cross = v_mul_add(x.l_re, x.r_re, v_mul(x.l_im, x.r_im));

        power = v_add(power, faintest);
        heard = v_clamp(v_div(heard, power), none, one);
        v_store(w->power[0] + k, weight);
        v_store(w->power[1] + k, v_mul(weight, heard));
        v_store(w->power[2] + k, v_div(r_power, power));
        v_store(w->re + k, v_div(cross, v_add(both, faintest)));
    }
}

/* Cell of a direction; damage is in some cell, too. */
INLINE size_t cell_of(float share, float cosine)
{
    size_t side = 0;
    size_t turn = 0;

    for (size_t i = 0; i < ES_N_SIDES - 1; i++)
        side += share >= side_steps[i];
    for (size_t i = 0; i < ES_N_TURNS - 1; i++)
        turn += cosine <= turn_steps[i];
    return ES_N_TURNS * side + turn;
}

/* The odds of p against those of mean, to the power 1.5. */
static float odds_of(float p, float mean)
{
    const float least = ES_LEAST_ODDS;
    const float most = 1.0f - ES_LEAST_ODDS;

    p = p > least ? p : least;
    p = p < most ? p : most;
    mean = mean > least ? mean : least;
    mean = mean < most ? mean : most;
    float odds = p * (1.0f - mean) / ((1.0f - p) * mean);

    return odds * root(odds);
}

/* Odds of a region's cells from their sums. */
static void weigh_cells(const float *total, const float *heard, float *odds)
{
    float n = 0.0f;
    float h = 0.0f;

    for (size_t i = 0; i < ES_N_CELLS; i++) {
        n += total[i];
        h += heard[i];
        odds[i] = 1.0f;
    }
    if (!(n > 0.0f))
        return;
    float mean = h / n;
    float prior = ES_PRIOR / ES_N_CELLS * n;

    for (size_t i = 0; i < ES_N_CELLS && prior > 0.0f; i++) {
        float p = (heard[i] + prior * mean) / (total[i] + prior);

        odds[i] = odds_of(p, mean);
    }
}

/* Bring the sums of a frame's bins up to date, and write the odds that each
 * bin's direction gives its gains to w->im. */
static void follow_cells(const es_spectral *s, float *directions,
                         const es_work *w)
{
    float *total = directions;
    float *heard = directions + ES_N_REGIONS * ES_N_CELLS;
    float odds[ES_N_CELLS];
    size_t start = 0;

    for (size_t i = 0; i < ES_DIRECTIONS_FLOATS; i++)
        directions[i] *= s->decay;
    for (size_t i = 0; i < ES_N_REGIONS && start < s->n_powers; i++) {
        const size_t end = region_end(s, i);

        for (size_t k = start; k < end; k++) {
            size_t cell = cell_of(w->power[2][k], w->re[k]);

            total[cell] += w->power[0][k];
            heard[cell] += w->power[1][k];
            w->im[k] = (float)cell;
        }
        weigh_cells(total, heard, odds);
        for (size_t k = start; k < end; k++)
            w->im[k] = odds[(size_t)w->im[k]];
        total += ES_N_CELLS;
        heard += ES_N_CELLS;
        start = end;
    }
}

/* Change the gains of a stereo frame by where its bins come from. */
static void turn_to(const es_spectral *s, const float *X, float *directions,
                    const es_work *w)
{
    const V none = v_all(0.0f);
    const V one = v_all(1.0f);

    look_around(s, X, w);
    follow_cells(s, directions, w);
    for (size_t c = 0; c < 2; c++) {
        for (size_t i = 0; i < s->n_powers; i += W) {
            size_t k = fit(i, s->n_bins, W);
            V gain = v_clamp(v_load(w->gain[c] + k), none, one);
            V sung = v_mul(gain, v_load(w->im + k));

            v_store(w->power[c] + k,
                    v_div(sung, v_add(sung, v_sub(one, gain))));
        }
        memcpy(w->gain[c], w->power[c], s->n_powers * sizeof *w->gain[c]);
    }
}

#endif
