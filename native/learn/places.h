/* places.h - where vocals and the rest are: a Wiener filter over channels.
 *
 * See es_synthesise. */
#ifndef ES_PLACES_H
#define ES_PLACES_H

#include "frame/spectra.h"

/* A Hermitian matrix of the channels: powers and the product L conj(R). */
typedef struct es_matrix {
    V ll, rr, re, im;
} es_matrix;

/* The parts above and below 0, at most ES_LOUDEST; NaN gives 0 and 0. */
INLINE void halves(V a, V *above, V *below)
{
    const V none = v_all(0.0f);
    const V most = v_all(ES_LOUDEST);

    *above = v_clamp(a, none, most);
    *below = v_clamp(v_sub(none, a), none, most);
}

/* x x^H / |x| of a bin; see es_synthesise for what |x| means. */
INLINE es_matrix covariance_of(const es_bin *x)
{
    const V parts[4] = { x->l_re, x->l_im, x->r_re, x->r_im };
    V size = v_all(ES_FAINTEST);
    V kept[4];

    for (int i = 0; i < 4; i++) {
        V above;
        V below;

        halves(parts[i], &above, &below);
        kept[i] = v_sub(above, below);
        size = v_add(size, v_add(above, below));
    }
    V scale = v_div(v_all(1.0f), size);
    V l_re = v_mul(scale, kept[0]);
    V l_im = v_mul(scale, kept[1]);
    V r_re = v_mul(scale, kept[2]);
    V r_im = v_mul(scale, kept[3]);
    es_matrix c = { v_mul_add(l_re, kept[0], v_mul(l_im, kept[1])),
                    v_mul_add(r_re, kept[2], v_mul(r_im, kept[3])),
                    v_mul_add(l_re, kept[2], v_mul(l_im, kept[3])),
                    v_mul_sub(l_im, kept[2], v_mul(l_re, kept[3])) };

    return c;
}

/* Bring one plane of the state up to date: decay it and add; the first `done`
 * lanes already are. */
INLINE V follow(float *plane, size_t done, V decay, V weight, V now)
{
    V before = v_load(plane);
    V after = v_mul_add(decay, before, v_mul(weight, now));

    if (done)
        after =
            v_add(v_sub(after, v_first(after, done)), v_first(before, done));
    v_store(plane, after);
    return after;
}

/* Bring a covariance up to date and to mean power 1; add what is everywhere. */
INLINE es_matrix places(const es_spectral *s, float *planes, size_t done,
                        V weight, const es_matrix *now)
{
    const V decay = v_all(s->decay);
    const V here = v_all(ES_EVERYWHERE);
    const V half = v_all(0.5f);
    V ll = follow(planes, done, decay, weight, now->ll);
    V rr = follow(planes + s->n_bins, done, decay, weight, now->rr);
    V re = follow(planes + 2 * s->n_bins, done, decay, weight, now->re);
    V im = follow(planes + 3 * s->n_bins, done, decay, weight, now->im);
    V mean = v_mul_add(half, v_add(ll, rr), v_all(ES_FAINTEST));
    V scale = v_div(v_all(1.0f), mean);
    es_matrix r = { v_mul_add(scale, ll, here), v_mul_add(scale, rr, here),
                    v_mul(scale, re), v_mul(scale, im) };

    return r;
}

INLINE es_matrix scaled(V gain, const es_matrix *a)
{
    es_matrix b = { v_mul(gain, a->ll), v_mul(gain, a->rr), v_mul(gain, a->re),
                    v_mul(gain, a->im) };

    return b;
}

/* V M^-1 x, M being V + R. */
INLINE es_bin wiener(const es_matrix *v, const es_matrix *r, const es_bin *x)
{
    V ll = v_add(v->ll, r->ll);
    V rr = v_add(v->rr, r->rr);
    V re = v_add(v->re, r->re);
    V im = v_add(v->im, r->im);
    V square = v_mul_add(re, re, v_mul(im, im));
    V scale = v_div(v_all(1.0f), v_mul_sub(ll, rr, square));
    /* M^-1 x, but for the scale. */
    es_bin y = {
        v_sub_mul(v_mul_add(im, x->r_im, v_mul(rr, x->l_re)), re, x->r_re),
        v_sub(v_mul_sub(rr, x->l_im, v_mul(re, x->r_im)), v_mul(im, x->r_re)),
        v_sub(v_mul_sub(ll, x->r_re, v_mul(re, x->l_re)), v_mul(im, x->l_im)),
        v_sub_mul(v_mul_add(im, x->l_re, v_mul(ll, x->r_im)), re, x->l_im)
    };
    V l_re = v_mul_sub(v->re, y.r_re, v_mul(v->im, y.r_im));
    V l_im = v_mul_add(v->re, y.r_im, v_mul(v->im, y.r_re));
    V r_re = v_mul_add(v->re, y.l_re, v_mul(v->im, y.l_im));
    V r_im = v_mul_sub(v->re, y.l_im, v_mul(v->im, y.l_re));
    es_bin out = { v_mul(scale, v_mul_add(v->ll, y.l_re, l_re)),
                   v_mul(scale, v_mul_add(v->ll, y.l_im, l_im)),
                   v_mul(scale, v_mul_add(v->rr, y.r_re, r_re)),
                   v_mul(scale, v_mul_add(v->rr, y.r_im, r_im)) };

    return out;
}

/* Vocals of a bin x by gains and by place; see es_synthesise.  `planes` is the
 * places at this bin. */
INLINE es_bin by_place(const es_spectral *s, float *planes, size_t done,
                       V l_gain, V r_gain, const es_bin *x)
{
    const V one = v_all(1.0f);
    V l_power = power_of(x->l_re, x->l_im);
    V r_power = power_of(x->r_re, x->r_im);
    V power = v_add(v_add(l_power, r_power), v_all(ES_FAINTEST));
    V heard = v_mul_add(l_gain, l_power, v_mul(r_gain, r_power));
    V gain = v_clamp(v_div(heard, power), v_all(0.0f), one);
    V rest = v_sub(one, gain);
    es_matrix now = covariance_of(x);
    es_matrix v = places(s, planes, done, v_mul(gain, v_mul(gain, gain)), &now);
    es_matrix r = places(s, planes + 4 * s->n_bins, done,
                         v_mul(rest, v_mul(rest, rest)), &now);

    v = scaled(gain, &v);
    r = scaled(rest, &r);
    return wiener(&v, &r, x);
}

#endif
