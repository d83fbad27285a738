/* stretch_voice.h - a voice keeps its formants at another pitch.
 *
 * A. Roebel, X. Rodet: Efficient spectral envelope estimation and its
 * application to pitch shifting and envelope preservation, DAFx 2005: the
 * cepstrum's first part, of a spectrum that is raised to it again and again,
 * lies on the partials.  A pitch p moves an envelope E(f) to E(f / p); gains of
 * E(p f) / E(f), as it is in the stream, move it back. */
#ifndef ES_STRETCH_VOICE_H
#define ES_STRETCH_VOICE_H

#include "stretch/bands.h"

#define ES_ROUNDS 4       /* of raising */
#define ES_DEPTH 27.0f    /* log2 of power: 81 dB below the greatest counts */
#define ES_MOST_GAIN 3.3f /* log2 of a gain: 20 dB */

/* Log powers of every second bin, and mirrored, at most ES_DEPTH deep. */
static void fill_levels(es_voice *v, const es_band *b, size_t n_channels)
{
    const size_t half = v->n / 2;
    float most = -100.0f;

    for (size_t i = 0; i <= half; i++) {
        float power = 1e-30f;
        size_t k = 2 * i;

        for (size_t c = 0; c < n_channels; c++) {
            const float *x = b->now[c] + 2 * k;

            power += x[0] * x[0] + x[1] * x[1];
            if (k + 1 < b->n_bins)
                power += x[2] * x[2] + x[3] * x[3];
        }
        v->level[i] = log2_of(power);
        most = v->level[i] > most ? v->level[i] : most;
    }
    for (size_t i = 0; i <= half; i++) {
        float least = most - ES_DEPTH;

        v->level[i] = v->level[i] > least ? v->level[i] : least;
    }
    for (size_t i = 1; i < half; i++)
        v->level[v->n - i] = v->level[i];
}

/* Half the period that the cepstrum shows: what is below belongs to the
 * envelope, not to the partials. */
static size_t cutoff_of(const es_voice *v)
{
    const size_t end = 8 * v->most < v->n / 2 ? 8 * v->most : v->n / 2;
    size_t best = 2 * v->most;
    float most = 0.0f;

    for (size_t q = 2 * v->least; q < end; q++) {
        best = v->cepstrum[2 * q] > most ? q : best;
        most = v->cepstrum[2 * best] > most ? v->cepstrum[2 * best] : most;
    }
    best /= 2;
    best = best < v->least ? v->least : best;
    return best > v->most ? v->most : best;
}

/* Keep the cepstrum below the cut-off, with a soft end. */
static void lift(es_voice *v, size_t cutoff)
{
    for (size_t q = 0; q <= v->n / 2; q++) {
        float t = (float)q / (float)cutoff;
        float keep = t < 0.75f ? 1.0f : 4.0f - 4.0f * t;

        keep = keep > 0.0f ? keep : 0.0f;
        v->cepstrum[2 * q] *= keep;
        v->cepstrum[2 * q + 1] *= keep;
    }
}

/* The envelope of the low band's spectrum, in `smooth`. */
static void find_envelope(es_voice *v, const es_band *b, size_t n_channels,
                          void *work)
{
    size_t cutoff = 0;

    fill_levels(v, b, n_channels);
    for (size_t round = 0; round < ES_ROUNDS; round++) {
        es_rfft(v->fft, v->level, v->cepstrum, work);
        cutoff = round ? cutoff : cutoff_of(v);
        lift(v, cutoff);
        es_irfft(v->fft, v->cepstrum, v->smooth, work);
        for (size_t i = 0; i < v->n; i++)
            v->level[i] =
                v->level[i] > v->smooth[i] ? v->level[i] : v->smooth[i];
    }
}

/* Gains that bring the formants back. */
static void correct_formants(es_voice *v, const es_band *b, size_t n_channels,
                             float pitch, float *correction, void *work)
{
    const size_t half = v->n / 2;

    find_envelope(v, b, n_channels, work);
    for (size_t i = 0; i <= half; i++) {
        float at = pitch * (float)i;
        size_t k = at < (float)(half - 1) ? (size_t)at : half - 1;
        float part = at - (float)k;

        part = part < 1.0f ? part : 1.0f;
        float there = v->smooth[k] + part * (v->smooth[k + 1] - v->smooth[k]);
        float gain = 0.5f * (there - v->smooth[i]);

        gain = gain > -ES_MOST_GAIN ? gain : -ES_MOST_GAIN;
        gain = gain < ES_MOST_GAIN ? gain : ES_MOST_GAIN;
        correction[i] = fast_exp2(gain);
    }
    correction[half + 1] = correction[half];
}

#endif
