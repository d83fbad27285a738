/* spectra.h - between planes and the spectra of real signals.
 *
 * A plane pair Z of n bins holds two real signals as Z = A + i B.  With
 * Z'[k] = conj Z[n - k], A[k] = (Z + Z') / 2 and B[k] = (Z - Z') / 2i.
 * Stereo: A and B are L and R, n = n_fft.  Mono: A and B are the even and odd
 * samples, n = n_fft / 2, and X[k] = A[k] + e^(-2 pi i k / n_fft) B[k].
 * The halves are in the window, so the sums below have no 1/2. */
#ifndef ES_SPECTRA_H
#define ES_SPECTRA_H

#include "frame/transform.h"

typedef struct es_pair {
    V a_re, a_im, b_re, b_im;
} es_pair;

INLINE es_pair part(const float *re, const float *im, size_t n, size_t k)
{
    V z_re = v_load(re + k);
    V z_im = v_load(im + k);
    V y_re = v_reverse(v_load(re + (n - k - (W - 1))));
    V y_im = v_reverse(v_load(im + (n - k - (W - 1))));
    es_pair p = { v_add(z_re, y_re), v_sub(z_im, y_im), v_add(z_im, y_im),
                  v_sub(y_re, z_re) };

    return p;
}

INLINE V power_of(V re, V im)
{
    return v_mul_add(re, re, v_mul(im, im));
}

/* X[0..n] of mono samples. */
static void split_mono(const es_cfft *p, const es_work *w, float *X)
{
    for (size_t i = 0; i <= p->n; i += W) {
        size_t k = fit(i, p->n + 1, W);
        es_pair t = part(w->re, w->im, p->n, k);
        V cos_k = v_load(p->split_cos + k);
        V sin_k = v_load(p->split_sin + k);
        V re = v_sub_mul(v_mul_add(t.b_re, cos_k, t.a_re), t.b_im, sin_k);
        V im = v_mul_add(t.b_im, cos_k, v_mul_add(t.b_re, sin_k, t.a_im));

        v_store_pairs(X + 2 * k, re, im);
    }
}

/* X of L and R. */
static void split_stereo(const es_spectral *s, const es_work *w, float *X)
{
    float *right = X + 2 * s->n_bins;

    for (size_t i = 0; i < s->n_bins; i += W) {
        size_t k = fit(i, s->n_bins, W);
        es_pair t = part(w->re, w->im, s->n_fft, k);

        v_store_pairs(X + 2 * k, t.a_re, t.a_im);
        v_store_pairs(right + 2 * k, t.b_re, t.b_im);
    }
}

/* Powers of a frame: of L, for stereo of R, with three features of L - R; at
 * least of the bins below n_powers. */
static void powers_of(const es_spectral *s, const float *X, const es_work *w)
{
    const float *right = X + 2 * s->n_bins;
    const size_t n = s->n_channels == 1 ? 1 : s->n_features;

    for (size_t i = 0; i < s->n_powers; i += W) {
        size_t k = fit(i, s->n_bins, W);
        V l_re;
        V l_im;
        V r_re;
        V r_im;

        v_load_pairs(X + 2 * k, &l_re, &l_im);
        v_store(w->power[0] + k, power_of(l_re, l_im));
        if (n == 1)
            continue;
        v_load_pairs(right + 2 * k, &r_re, &r_im);
        v_store(w->power[1] + k, power_of(r_re, r_im));
        if (n == 3)
            v_store(w->power[2] + k,
                    power_of(v_sub(l_re, r_re), v_sub(l_im, r_im)));
    }
}

/* One bin of both channels, in W frequencies. */
typedef struct es_bin {
    V l_re, l_im, r_re, r_im;
} es_bin;

INLINE es_bin bin_at(const es_spectral *s, const float *X, size_t k)
{
    const float *right = X + 2 * s->n_bins;
    es_bin x;

    v_load_pairs(X + 2 * k, &x.l_re, &x.l_im);
    v_load_pairs(right + 2 * k, &x.r_re, &x.r_im);
    return x;
}

/* A power, damage counting as silence or as very loud. */
INLINE V bounded(V power)
{
    return v_clamp(power, v_all(0.0f), v_all(ES_MOST_POWER));
}

INLINE V finite_power(const float *X)
{
    V re;
    V im;

    v_load_pairs(X, &re, &im);
    return bounded(power_of(re, im));
}

#endif
