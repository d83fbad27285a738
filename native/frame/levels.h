/* levels.h - the first levels of a network, in float: see es_levels_codes.
 *
 * Lanes are output channels, so every sum is in the contract's order on every
 * level; what is computed at once is only how many columns share a kernel's
 * loads. */
#ifndef ES_LEVELS_H
#define ES_LEVELS_H

#include "frame/bands.h"

#include <float.h>

#define ES_N_VECTORS (ES_CHANNELS / W) /* of a group of channels */

/* Columns at once: as many as leave registers for their sums. */
#if defined(ES_AVX2) || defined(ES_NEON)
#define ES_AT_ONCE 4
#elif defined(ES_SSE2)
#define ES_AT_ONCE 2
#else
#define ES_AT_ONCE 1
#endif

/* Round to the code's integer, half to even: in this range a float's last bit
 * is 1, and the low byte of its bits is the code. */
#define ES_TO_INTEGER 0x1.8p23f

/* Codes of a column's channels on a grid. */
INLINE void put_codes(const V *value, const es_grid *grid, int8_t *code)
{
    const V scale = v_all(grid->inverse_scale);
    const V zero = v_all(grid->zero);
    float rounded[ES_CHANNELS];
    int32_t bits[ES_CHANNELS];

    for (size_t v = 0; v < ES_N_VECTORS; v++) {
        V on_grid = v_clamp(v_mul_add(value[v], scale, zero), v_all(-128.0f),
                            v_all(127.0f));

        v_store(rounded + v * W, v_add(on_grid, v_all(ES_TO_INTEGER)));
    }
    memcpy(bits, rounded, sizeof bits);
    for (size_t i = 0; i < ES_CHANNELS; i++)
        code[i] = (int8_t)(bits[i] & 255);
}

/* LeakyReLU of a column's channels. */
INLINE void bend(V *value, float slope)
{
    for (size_t v = 0; v < ES_N_VECTORS; v++)
        value[v] =
            v_clamp(value[v], v_mul(v_all(slope), value[v]), v_all(FLT_MAX));
}

/* Sums of `n` columns, a constant, from column f of the output's row t on, for
 * the group of channels that `kernel` and `bias` belong to.  `in` is padded. */
INLINE void convolve(const es_level_plan *l, const float *in, size_t t,
                     size_t f, size_t n, const float *kernel, const float *bias,
                     V sum[][ES_N_VECTORS])
{
    const size_t n_taps = ES_TAPS * l->n_in; /* of a row: they are neighbours */
    const size_t step = 2 * l->n_in;

    for (size_t p = 0; p < n; p++) {
        for (size_t v = 0; v < ES_N_VECTORS; v++)
            sum[p][v] = v_load(bias + v * W);
    }
    for (size_t k = 0; k < ES_TAPS; k++) {
        const float *x = in + (2 * t + k) * l->in_row + f * step;

        for (size_t j = 0; j < n_taps; j++, kernel += ES_CHANNELS) {
            for (size_t p = 0; p < n; p++) {
                V value = v_spread(x + p * step + j);

                for (size_t v = 0; v < ES_N_VECTORS; v++)
                    sum[p][v] =
                        v_mul_add(value, v_load(kernel + v * W), sum[p][v]);
            }
        }
    }
}

/* One row of one group of channels. */
INLINE void level_row(const es_level_plan *l, size_t t, size_t group,
                      const es_level_io *io)
{
    const size_t first = group * ES_CHANNELS;
    const float *kernel = l->kernel + first * ES_TAPS * ES_TAPS * l->n_in;
    V sum[ES_AT_ONCE][ES_N_VECTORS];

    /* 1, 2 or 4 at once divide the columns, which come in ES_COLUMNS. */
    for (size_t f = 0; f < l->n_columns; f += ES_AT_ONCE) {
        convolve(l, io->in, t, f, ES_AT_ONCE, kernel, l->bias + first, sum);
        for (size_t p = 0; p < ES_AT_ONCE; p++) {
            size_t at = (f + p) * l->n_out + first;
            size_t code = t * l->n_columns * l->n_out + at;

            put_codes(sum[p], &l->grid, io->codes + code);
            bend(sum[p], io->slope);
            if (io->heard)
                put_codes(sum[p], &io->heard_grid, io->heard + code);
            for (size_t v = 0; io->out && v < ES_N_VECTORS; v++)
                v_store(io->out + t * l->out_row + at + v * W, sum[p][v]);
        }
    }
}

/* A whole level. */
static void level(const es_level_plan *l, const es_level_io *io)
{
    for (size_t t = 0; t < l->n_rows; t++) {
        for (size_t g = 0; g < l->n_out / ES_CHANNELS; g++)
            level_row(l, t, g, io);
    }
}

/* Root powers of bands: see es_magnitudes. */
INLINE void take_roots(const es_spectral *s, float *band, float scale)
{
    const V most = v_all(ES_MOST_MAGNITUDE * ES_MOST_MAGNITUDE);

    /* Up to a whole vector: the bands have spare room behind them. */
    for (size_t i = 0; i < s->n_bands; i += W) {
        V power = v_mul(v_all(scale), v_load(band + i));

        v_store(band + i, v_sqrt(v_clamp(power, v_all(0.0f), most)));
    }
}

static void magnitudes(const es_spectral *s, const float *X, size_t n_frames,
                       float gain, float *out, const es_work *w)
{
    const size_t n = s->n_channels == 1 ? 1 : s->n_features;

    for (size_t k = 0; k < n_frames; k++) {
        powers_of(s, X, w);
        for (size_t f = 0; f < s->n_features; f++) {
            const size_t source = n == 1 ? 0 : f; /* mono is L and R at once */
            float *band = w->power[source] + s->edges[0];

            if (f < n) {
                average_bands(s, w->power[f]);
                take_roots(s, band, gain * gain);
            }
            for (size_t b = 0; b < s->n_bands; b++)
                out[b * s->n_features + f] = f - source == 2 ? 0.0f : band[b];
        }
        X += 2 * s->n_bins * s->n_channels;
        out += s->n_bands * s->n_features;
    }
}

#endif
