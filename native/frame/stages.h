/* stages.h - the calls of a level: frames to features, masks to samples.
 *
 * A level file includes simd.h, then this, and ends up with one es_ops. */
#ifndef ES_STAGES_H
#define ES_STAGES_H

#include "frame/bands.h"
#include "frame/gains.h"
#include "learn/directions.h"
#include "frame/levels.h"
#include "learn/places.h"
#include "learn/repetition.h"

/* ---- Masked spectra to planes -------------------------------------------- */

/* Planes of stereo spectra through their gains, and the filter if places are
 * known, with re and im exchanged: a forward FFT of exchanged planes gives the
 * inverse, exchanged. */
INLINE void merge_stereo(const es_spectral *s, const float *X, float *known,
                         const es_work *w)
{
    for (size_t i = 0; i < s->n_bins; i += W) {
        size_t k = fit(i, s->n_bins, W);
        size_t mirror = s->n_fft - k - (W - 1);
        V l_gain = v_load(w->gain[0] + k);
        V r_gain = v_load(w->gain[1] + k);
        es_bin x = bin_at(s, X, k);

        if (known) {
            x = by_place(s, known + k, i - k, l_gain, r_gain, &x);
        } else {
            x.l_re = v_mul(l_gain, x.l_re);
            x.l_im = v_mul(l_gain, x.l_im);
            x.r_re = v_mul(r_gain, x.r_re);
            x.r_im = v_mul(r_gain, x.r_im);
        }
        v_store(w->re + mirror, v_reverse(v_sub(x.r_re, x.l_im)));
        v_store(w->im + mirror, v_reverse(v_add(x.l_re, x.r_im)));
        v_store(w->re + k, v_add(x.l_im, x.r_re));
        v_store(w->im + k, v_sub(x.l_re, x.r_im));
    }
}

/* The same for mono.  Bins 0 and n are real: their imaginary parts come as
 * they are but must not leak, so the caller sets the edges afterwards. */
INLINE void merge_mono(const es_cfft *p, const float *X, const float *gain,
                       float *z_re, float *z_im)
{
    for (size_t i = 0; i < p->n; i += W) {
        size_t k = fit(i, p->n, W);
        size_t mirror = p->n - k - (W - 1);
        V cos_k = v_load(p->split_cos + k);
        V sin_k = v_load(p->split_sin + k);
        V x_re;
        V x_im;
        V y_re;
        V y_im;

        v_load_pairs(X + 2 * k, &x_re, &x_im);
        v_load_pairs(X + 2 * mirror, &y_re, &y_im);
        if (gain) {
            V x_gain = v_load(gain + k);
            V y_gain = v_load(gain + mirror);

            x_re = v_mul(x_gain, x_re);
            x_im = v_mul(x_gain, x_im);
            y_re = v_mul(y_gain, y_re);
            y_im = v_mul(y_gain, y_im);
        }
        y_re = v_reverse(y_re);
        y_im = v_reverse(y_im);
        V a_re = v_add(x_re, y_re);
        V a_im = v_sub(x_im, y_im);
        V d_re = v_sub(x_re, y_re);
        V d_im = v_add(x_im, y_im);
        /* B = conj(e^(-2 pi i k / 2n)) D, Z = A + i B, exchanged. */
        V b_re = v_mul_add(d_re, cos_k, v_mul(d_im, sin_k));
        V b_im = v_mul_sub(d_im, cos_k, v_mul(d_re, sin_k));

        v_store(z_re + k, v_add(a_im, b_re));
        v_store(z_im + k, v_sub(a_re, b_im));
    }
    /* Bin 0 from the real parts alone. */
    float first = X[0] * (gain ? gain[0] : 1.0f);
    float last = X[2 * p->n] * (gain ? gain[p->n] : 1.0f);

    z_re[0] = first - last;
    z_im[0] = first + last;
}

/* ---- Overlap-add ---------------------------------------------------------
 *
 * The frame sits in the planes, exchanged (see merge_stereo).  Seen as
 * interleaved values, an even value 2 i is im[i], an odd one re[i]. */

/* Windowed value i, plus *old if there is one: to add 0 would lose the sign of
 * a product that vanished. */
INLINE float windowed(const es_spectral *s, const es_work *w, size_t i,
                      const float *old)
{
    size_t k = i / 2;
    float value =
        i % 2 ? s->synthesis_im[k] * w->re[k] : s->synthesis_re[k] * w->im[k];

    return old ? value + *old : value;
}

/* Write the windowed values i to end - 1, plus old if there is one, to out. */
INLINE void add_values(const es_spectral *s, const es_work *w, size_t i,
                       size_t end, const float *old, float *out)
{
    size_t done = 0;
    size_t n = i < end ? end - i : 0;

    if (n && i % 2) {
        out[0] = windowed(s, w, i, old);
        done = 1;
    }
    for (; done + 2 * W <= n; done += 2 * W) {
        size_t k = (i + done) / 2;
        V even = v_mul(v_load(s->synthesis_re + k), v_load(w->im + k));
        V odd = v_mul(v_load(s->synthesis_im + k), v_load(w->re + k));

        if (old) {
            V old_even;
            V old_odd;

            v_load_pairs(old + done, &old_even, &old_odd);
            even = v_add(even, old_even);
            odd = v_add(odd, old_odd);
        }
        v_store_pairs(out + done, even, odd);
    }
    for (; done < n; done++)
        out[done] = windowed(s, w, i + done, old ? old + done : NULL);
}

/* Finish one hop of y and move the tail on.  The tail is read ahead of where
 * it is written, so it needs no second copy. */
static void overlap_add(const es_spectral *s, const es_work *w, float *tail,
                        float *y)
{
    const size_t n = s->n_fft * s->n_channels;
    const size_t first = n - s->n_synthesis * s->n_channels;
    const size_t hop = s->hop * s->n_channels;
    const size_t n_tail = n - first - hop;
    const size_t done = first + hop;
    const size_t old = first + n_tail; /* where the tail had nothing yet */

    if (hop <= n_tail) {
        add_values(s, w, first, done, tail, y);
        add_values(s, w, done, old, tail + hop, tail);
        add_values(s, w, old, n, NULL, tail + n_tail - hop);
    } else {
        add_values(s, w, first, old, tail, y);
        add_values(s, w, old, done, NULL, y + n_tail);
        add_values(s, w, done, n, NULL, tail);
    }
}

/* ---- Whole calls --------------------------------------------------------- */

/* Spectra do not fit into the inner caches: a call reads or writes 33 kB a
 * frame that no cache near has.  Ask for them while the FFT computes. */
INLINE void fetch_ahead(const float *p, size_t n)
{
    const size_t line = 64 / sizeof *p;

    for (size_t i = 0; i < n; i += line)
        __builtin_prefetch(p + i, 0, 2);
}

static void analyse(const es_spectral *s, const float *x, size_t n_frames,
                    float gain, float *X, int8_t *features, const es_work *w)
{
    const float scale = gain * gain;
    const size_t half = s->n_bins * s->n_channels; /* a frame of X, halved */
    es_input in = { x, NULL, NULL, s->window_re, s->window_im, 1.0f };

    for (size_t f = 0; f < n_frames; f++) {
        fetch_ahead(X, half);
        column_pass(&s->c, &in, w->rows);
        fetch_ahead(X + half, half);
        row_passes(&s->c, w->rows, w->re, w->im);
        if (s->n_channels == 1)
            split_mono(&s->c, w, X);
        else
            split_stereo(s, w, X);
        if (features) {
            codes_of(s, X, scale, features, w);
            features += s->n_bands * s->n_features;
        }
        in.pairs += s->hop * s->n_channels;
        X += 2 * half;
    }
}

static void features(const es_spectral *s, const float *X, size_t n_frames,
                     float gain, int8_t *out, const es_work *w)
{
    for (size_t f = 0; f < n_frames; f++) {
        codes_of(s, X, gain * gain, out, w);
        X += 2 * s->n_bins * s->n_channels;
        out += s->n_bands * s->n_features;
    }
}

static void synthesise(const es_spectral *s, const int8_t *mask, const float *X,
                       size_t n_frames, const es_memory *memory, float *y,
                       const es_work *w)
{
    const es_input in = { NULL, w->re, w->im, NULL, NULL, 1.0f };
    const size_t half = s->n_bins * s->n_channels; /* a frame of X, halved */

    for (size_t f = 0; f < n_frames; f++) {
        gains_of(s, mask, w->gain);
        if (memory->directions && s->n_channels == 2)
            turn_to(s, X, memory->directions, w);
        if (memory->repetition && s->n_past)
            repeat(s, X, memory->repetition, w);
        if (s->n_channels == 1)
            merge_mono(&s->c, X, w->gain[0], w->re, w->im);
        else
            merge_stereo(s, X, memory->places, w);
        mask += 2 * s->n_bands;
        if (f + 1 < n_frames)
            X += 2 * half;
        fetch_ahead(X, half);
        column_pass(&s->c, &in, w->rows);
        fetch_ahead(X + half, half);
        row_passes(&s->c, w->rows, w->re, w->im);
        overlap_add(s, w, memory->tail, y);
        y += s->hop * s->n_channels;
    }
}

static void rfft(const es_fft *plan, const float *x, float *X, const es_work *w)
{
    const es_input in = { x, NULL, NULL, NULL, NULL, 0.5f };

    column_pass(&plan->c, &in, w->rows);
    row_passes(&plan->c, w->rows, w->re, w->im);
    split_mono(&plan->c, w, X);
}

static void irfft(const es_fft *plan, const float *X, float *x,
                  const es_work *w)
{
    const es_input in = { NULL, w->re, w->im, NULL, NULL, 1.0f };
    const V scale = v_all(1.0f / (float)plan->n_fft);
    const size_t n = plan->c.n;

    merge_mono(&plan->c, X, NULL, w->re, w->im);
    column_pass(&plan->c, &in, w->rows);
    row_passes(&plan->c, w->rows, w->re, w->im);
    for (size_t i = 0; i < n; i += W) {
        size_t k = fit(i, n, W);

        v_store_pairs(x + 2 * k, v_mul(scale, v_load(w->im + k)),
                      v_mul(scale, v_load(w->re + k)));
    }
}

/* Products of two floats are exact in double, so a fused multiply-add gives
 * the same bits as two roundings: the sum is the same on every level. */
static double energy(const float *x, size_t n)
{
    double acc[8] = { 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0 };
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        for (size_t j = 0; j < 8; j++)
            acc[j] += (double)x[i + j] * (double)x[i + j];
    }
    for (size_t j = 0; i + j < n; j++)
        acc[j] += (double)x[i + j] * (double)x[i + j];
    for (size_t width = 4; width; width /= 2) {
        for (size_t j = 0; j < width; j++)
            acc[j] += acc[j + width];
    }
    return acc[0];
}

#endif
