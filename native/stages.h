/* stages.h - the algorithm, once, above the vector operations of simd.h.
 *
 * A level file includes simd.h, then this, and ends up with one es_ops.
 * Numbers are split: real and imaginary parts live in vectors of their own.
 * See es_cfft in internal.h for the way an FFT is cut up.  Below, L is the
 * lanes of a row (a constant to the compiler), W those of a vector. */

#include "internal.h"

#include <string.h>

/* A column of at most 8 complex vectors; the compiler keeps it in registers. */
typedef struct es_column {
    V re[8], im[8];
} es_column;

/* Start of a run of n that starts at i, moved back to end by `end`. */
INLINE size_t fit(size_t i, size_t end, size_t n)
{
    return i + n <= end ? i : end - n;
}

/* ---- Butterflies --------------------------------------------------------- */

INLINE void radix2(es_column *c)
{
    V re = c->re[1];
    V im = c->im[1];

    c->re[1] = v_sub(c->re[0], re);
    c->im[1] = v_sub(c->im[0], im);
    c->re[0] = v_add(c->re[0], re);
    c->im[0] = v_add(c->im[0], im);
}

INLINE void radix3(es_column *c)
{
    V half = v_all(0.5f);
    V sin3 = v_all(0.86602540378443864676f); /* sin(2 pi / 3) */
    V sum_re = v_add(c->re[1], c->re[2]);
    V sum_im = v_add(c->im[1], c->im[2]);
    V dif_re = v_mul(sin3, v_sub(c->re[1], c->re[2]));
    V dif_im = v_mul(sin3, v_sub(c->im[1], c->im[2]));
    V mid_re = v_sub_mul(c->re[0], half, sum_re);
    V mid_im = v_sub_mul(c->im[0], half, sum_im);

    c->re[0] = v_add(c->re[0], sum_re);
    c->im[0] = v_add(c->im[0], sum_im);
    c->re[1] = v_add(mid_re, dif_im);
    c->im[1] = v_sub(mid_im, dif_re);
    c->re[2] = v_sub(mid_re, dif_im);
    c->im[2] = v_add(mid_im, dif_re);
}

/* Four points of c, from `first` in steps of `step`, in natural order. */
INLINE void radix4_of(es_column *c, size_t first, size_t step)
{
    size_t i1 = first + step;
    size_t i2 = first + 2 * step;
    size_t i3 = first + 3 * step;
    V even_re = v_add(c->re[first], c->re[i2]);
    V even_im = v_add(c->im[first], c->im[i2]);
    V edge_re = v_sub(c->re[first], c->re[i2]);
    V edge_im = v_sub(c->im[first], c->im[i2]);
    V odd_re = v_add(c->re[i1], c->re[i3]);
    V odd_im = v_add(c->im[i1], c->im[i3]);
    V turn_re = v_sub(c->re[i1], c->re[i3]);
    V turn_im = v_sub(c->im[i1], c->im[i3]);

    c->re[first] = v_add(even_re, odd_re);
    c->im[first] = v_add(even_im, odd_im);
    c->re[i1] = v_add(edge_re, turn_im);
    c->im[i1] = v_sub(edge_im, turn_re);
    c->re[i2] = v_sub(even_re, odd_re);
    c->im[i2] = v_sub(even_im, odd_im);
    c->re[i3] = v_sub(edge_re, turn_im);
    c->im[i3] = v_add(edge_im, turn_re);
}

INLINE void radix5(es_column *c)
{
    V cos1 = v_all(0.30901699437494742410f);  /* cos(2 pi / 5) */
    V cos2 = v_all(-0.80901699437494742410f); /* cos(4 pi / 5) */
    V sin1 = v_all(0.95105651629515357212f);  /* sin(2 pi / 5) */
    V sin2 = v_all(0.58778525229247312917f);  /* sin(4 pi / 5) */
    V s1_re = v_add(c->re[1], c->re[4]);
    V s1_im = v_add(c->im[1], c->im[4]);
    V d1_re = v_sub(c->re[1], c->re[4]);
    V d1_im = v_sub(c->im[1], c->im[4]);
    V s2_re = v_add(c->re[2], c->re[3]);
    V s2_im = v_add(c->im[2], c->im[3]);
    V d2_re = v_sub(c->re[2], c->re[3]);
    V d2_im = v_sub(c->im[2], c->im[3]);
    V a1_re = v_mul_add(cos2, s2_re, v_mul_add(cos1, s1_re, c->re[0]));
    V a1_im = v_mul_add(cos2, s2_im, v_mul_add(cos1, s1_im, c->im[0]));
    V a2_re = v_mul_add(cos1, s2_re, v_mul_add(cos2, s1_re, c->re[0]));
    V a2_im = v_mul_add(cos1, s2_im, v_mul_add(cos2, s1_im, c->im[0]));
    V b1_re = v_mul_add(sin1, d1_re, v_mul(sin2, d2_re));
    V b1_im = v_mul_add(sin1, d1_im, v_mul(sin2, d2_im));
    V b2_re = v_mul_sub(sin2, d1_re, v_mul(sin1, d2_re));
    V b2_im = v_mul_sub(sin2, d1_im, v_mul(sin1, d2_im));

    c->re[0] = v_add(c->re[0], v_add(s1_re, s2_re));
    c->im[0] = v_add(c->im[0], v_add(s1_im, s2_im));
    c->re[1] = v_add(a1_re, b1_im);
    c->im[1] = v_sub(a1_im, b1_re);
    c->re[2] = v_add(a2_re, b2_im);
    c->im[2] = v_sub(a2_im, b2_re);
    c->re[3] = v_sub(a2_re, b2_im);
    c->im[3] = v_add(a2_im, b2_re);
    c->re[4] = v_sub(a1_re, b1_im);
    c->im[4] = v_add(a1_im, b1_re);
}

INLINE void radix8(es_column *c)
{
    V root = v_all(0.70710678118654752440f); /* 1 / sqrt(2) */
    es_column t;

    radix4_of(c, 0, 2); /* even points, to 0 2 4 6 */
    radix4_of(c, 1, 2); /* odd points, to 1 3 5 7 */
    /* Output k and k + 4 are even[k] +- e^(-2 pi i k / 8) odd[k]. */
    t.re[0] = v_add(c->re[3], c->im[3]);
    t.im[0] = v_sub(c->im[3], c->re[3]);
    t.re[1] = v_sub(c->im[7], c->re[7]);
    t.im[1] = v_add(c->re[7], c->im[7]);
    t.re[2] = c->re[1];
    t.im[2] = c->im[1];
    t.re[3] = c->re[5];
    t.im[3] = c->im[5];
    V e1_re = c->re[2];
    V e1_im = c->im[2];
    V e2_re = c->re[4];
    V e2_im = c->im[4];
    V e3_re = c->re[6];
    V e3_im = c->im[6];

    c->re[4] = v_sub(c->re[0], t.re[2]);
    c->im[4] = v_sub(c->im[0], t.im[2]);
    c->re[0] = v_add(c->re[0], t.re[2]);
    c->im[0] = v_add(c->im[0], t.im[2]);
    c->re[1] = v_mul_add(root, t.re[0], e1_re);
    c->im[1] = v_mul_add(root, t.im[0], e1_im);
    c->re[5] = v_sub_mul(e1_re, root, t.re[0]);
    c->im[5] = v_sub_mul(e1_im, root, t.im[0]);
    c->re[2] = v_add(e2_re, t.im[3]);
    c->im[2] = v_sub(e2_im, t.re[3]);
    c->re[6] = v_sub(e2_re, t.im[3]);
    c->im[6] = v_add(e2_im, t.re[3]);
    c->re[3] = v_mul_add(root, t.re[1], e3_re);
    c->im[3] = v_sub_mul(e3_im, root, t.im[1]);
    c->re[7] = v_sub_mul(e3_re, root, t.re[1]);
    c->im[7] = v_mul_add(root, t.im[1], e3_im);
}

/* DFT of the first r vectors of c, in natural order; r is a constant. */
INLINE void butterfly(es_column *c, size_t r)
{
    if (r == 2)
        radix2(c);
    else if (r == 3)
        radix3(c);
    else if (r == 4)
        radix4_of(c, 0, 1);
    else if (r == 5)
        radix5(c);
    else if (r == 8)
        radix8(c);
}

/* Multiply vector i by re + i im. */
INLINE void turn(es_column *c, size_t i, V re, V im)
{
    V old = c->re[i];

    c->re[i] = v_mul_sub(old, re, v_mul(c->im[i], im));
    c->im[i] = v_mul_add(old, im, v_mul(c->im[i], re));
}

/* ---- Column pass ---------------------------------------------------------
 *
 * Three kinds of input: what the caller says is a constant, so that each kind
 * becomes a loop of its own. */
typedef struct es_input {
    const float *pairs;               /* interleaved re, im; or NULL: */
    const float *re, *im;             /* planes */
    const float *scale_re, *scale_im; /* multiply pairs by these; or NULL: */
    float scale;                      /* multiply pairs by this */
} es_input;

INLINE void load(const es_input *in, size_t at, V *re, V *im)
{
    if (!in->pairs) {
        *re = v_load(in->re + at);
        *im = v_load(in->im + at);
        return;
    }
    v_load_pairs(in->pairs + 2 * at, re, im);
    if (in->scale_re) {
        *re = v_mul(*re, v_load(in->scale_re + at));
        *im = v_mul(*im, v_load(in->scale_im + at));
    } else {
        *re = v_mul(*re, v_all(in->scale));
        *im = v_mul(*im, v_all(in->scale));
    }
}

/* The twiddles of the vector of rows that starts at i or, moved back, at m;
 * their groups of L rows are cut in the same way. */
INLINE const float *column_twiddles(const es_cfft *p, size_t i, size_t m,
                                    size_t L)
{
    const size_t group = i / L;
    const size_t start = fit(group * L, p->n_rows, L);

    return p->column_twiddles + group * (L - 1) * 2 * L + (m - start);
}

INLINE void column_pass_of(const es_cfft *p, const es_input *in, float *rows,
                           size_t L)
{
    const size_t n_rows = p->n_rows;

    for (size_t i = 0; i < n_rows; i += W) {
        /* The last vector may overlap the one before: the same values. */
        const size_t m = fit(i, n_rows, W);
        const float *w = column_twiddles(p, i, m, L);
        es_column c;

        for (size_t l = 0; l < L; l++)
            load(in, m + l * n_rows, &c.re[l], &c.im[l]);
        butterfly(&c, L);
        for (size_t q = 1; q < L; q++, w += 2 * L)
            turn(&c, q, v_load(w), v_load(w + L));
        for (size_t q = 0; q < L; q += W) {
            v_transpose(c.re + q);
            v_transpose(c.im + q);
            for (size_t l = 0; l < W; l++) {
                v_store(rows + 2 * L * (m + l) + q, c.re[q + l]);
                v_store(rows + 2 * L * (m + l) + q + L, c.im[q + l]);
            }
        }
    }
}

/* ---- Row passes ---------------------------------------------------------- */

/* Cut every run of r * m rows into r runs of m, in place; r is a constant. */
INLINE void row_pass_of(float *rows, size_t n_rows, size_t r, size_t m,
                        const float *twiddles, size_t L)
{
    for (size_t first = 0; first < n_rows; first += r * m) {
        const float *w = twiddles;

        for (size_t j = 0; j < m; j++, w += 2 * (r - 1)) {
            for (size_t l = 0; l < L; l += W) {
                float *at = rows + 2 * L * (first + j) + l;
                es_column c;

                for (size_t i = 0; i < r; i++) {
                    c.re[i] = v_load(at + 2 * L * m * i);
                    c.im[i] = v_load(at + 2 * L * m * i + L);
                }
                butterfly(&c, r);
                for (size_t i = 1; i < r; i++)
                    turn(&c, i, v_spread(w + 2 * i - 2),
                         v_spread(w + 2 * i - 1));
                for (size_t i = 0; i < r; i++) {
                    v_store(at + 2 * L * m * i, c.re[i]);
                    v_store(at + 2 * L * m * i + L, c.im[i]);
                }
            }
        }
    }
}

/* The last pass: runs of r rows, each row to its own bins of the planes. */
INLINE void last_pass_of(const float *rows, size_t n_rows, size_t r,
                         const uint32_t *order, float *re, float *im, size_t L)
{
    const size_t step = n_rows / r * L;

    for (size_t b = 0; b < n_rows / r; b++) {
        for (size_t l = 0; l < L; l += W) {
            const float *at = rows + 2 * L * r * b + l;
            const size_t to = order[b] * L + l;
            es_column c;

            for (size_t i = 0; i < r; i++) {
                c.re[i] = v_load(at + 2 * L * i);
                c.im[i] = v_load(at + 2 * L * i + L);
            }
            butterfly(&c, r);
            for (size_t i = 0; i < r; i++) {
                v_store(re + to + i * step, c.re[i]);
                v_store(im + to + i * step, c.im[i]);
            }
        }
    }
}

#define ROW_PASS(r)                                                            \
    case r:                                                                    \
        row_pass_of(rows, p->n_rows, r, m / r, w, L);                          \
        break

#define LAST_PASS(r)                                                           \
    case r:                                                                    \
        last_pass_of(rows, p->n_rows, r, p->order, re, im, L);                 \
        break

/* FFT over the rows, into the planes re and im. */
INLINE void row_passes_of(const es_cfft *p, float *rows, float *re, float *im,
                          size_t L)
{
    const float *w = p->row_twiddles;
    size_t m = p->n_rows;

    for (size_t i = 0; i + 1 < p->n_passes; i++) {
        size_t r = p->radix[i];

        switch (r) {
            ROW_PASS(2);
            ROW_PASS(3);
            ROW_PASS(4);
            ROW_PASS(5);
            ROW_PASS(8);
        }
        m /= r;
        w += 2 * (r - 1) * m;
    }
    switch (m) {
        LAST_PASS(2);
        LAST_PASS(3);
        LAST_PASS(4);
        LAST_PASS(5);
        LAST_PASS(8);
    }
    re[p->n] = re[0];
    im[p->n] = im[0];
}

/* ---- Complex FFT --------------------------------------------------------- */

/* Only the scalar level meets rows of one lane. */
INLINE void column_pass(const es_cfft *p, const es_input *in, float *rows)
{
    if (W > 1 || p->lanes == ES_LANES)
        column_pass_of(p, in, rows, ES_LANES);
    else
        column_pass_of(p, in, rows, 1);
}

static void row_passes(const es_cfft *p, float *rows, float *re, float *im)
{
    if (W > 1 || p->lanes == ES_LANES)
        row_passes_of(p, rows, re, im, ES_LANES);
    else
        row_passes_of(p, rows, re, im, 1);
}

/* ---- Between planes and real spectra -------------------------------------
 *
 * A plane pair Z of n bins holds two real signals as Z = A + i B.  With
 * Z'[k] = conj Z[n - k], A[k] = (Z + Z') / 2 and B[k] = (Z - Z') / 2i.
 * Stereo: A and B are L and R, n = n_fft.  Mono: A and B are the even and odd
 * samples, n = n_fft / 2, and X[k] = A[k] + e^(-2 pi i k / n_fft) B[k].
 * The halves are in the window, so the sums below have no 1/2. */

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
 * covariance at this bin. */
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

/* Planes of stereo spectra through their gains, and the filter if there is a
 * covariance, with re and im exchanged: a forward FFT of exchanged planes gives
 * the inverse, exchanged. */
INLINE void merge_stereo(const es_spectral *s, const float *X,
                         float *covariance, const es_work *w)
{
    for (size_t i = 0; i < s->n_bins; i += W) {
        size_t k = fit(i, s->n_bins, W);
        size_t mirror = s->n_fft - k - (W - 1);
        V l_gain = v_load(w->gain[0] + k);
        V r_gain = v_load(w->gain[1] + k);
        es_bin x = bin_at(s, X, k);

        if (covariance) {
            x = by_place(s, covariance + k, i - k, l_gain, r_gain, &x);
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

/* ---- Bands and codes ----------------------------------------------------- */

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

/* ---- Gains --------------------------------------------------------------- */

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

static float root(float a)
{
    float lanes[W];

    v_store(lanes, v_sqrt(v_all(a)));
    return lanes[0];
}

/* ---- Doubt ---------------------------------------------------------------
 *
 * See es_synthesise.  `doubt` holds U of each region, M of each, and V. */

/* First bin behind region i; regions that have none are empty. */
static size_t region_end(const es_spectral *s, size_t i)
{
    const size_t end = (size_t)ES_FIRST_REGION << i;

    return i + 1 < ES_N_REGIONS && end < s->n_powers ? end : s->n_powers;
}

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

static void count_doubt(const es_spectral *s, const float *X, float *doubt,
                        const es_work *w)
{
    for (size_t i = 0; i < ES_DOUBT_FLOATS; i++)
        doubt[i] *= s->decay;
    for (size_t c = 0; c < s->n_channels; c++) {
        size_t start = 0;

        weigh(s, X, w, c);
        for (size_t i = 0; i < ES_N_REGIONS; i++) {
            const size_t n = region_end(s, i) - start;

            if (!n)
                break;
            doubt[i] += sum_of(w->power[0] + start, n);
            doubt[ES_N_REGIONS + i] += sum_of(w->power[1] + start, n);
            doubt[2 * ES_N_REGIONS] += sum_of(w->power[2] + start, n);
            start += n;
        }
    }
}

/* How soft the gains of region i become, 0 to 1. */
static float softness_of(const es_spectral *s, const float *doubt, size_t i)
{
    const float most = doubt[ES_N_REGIONS + i];
    const float vocals = doubt[2 * ES_N_REGIONS];
    float sum = 0.0f;

    for (size_t j = 0; j < ES_N_REGIONS; j++)
        sum += doubt[j];
    float sharp = most > 0.0f ? doubt[i] / most : 1.0f;
    float share = vocals > 0.0f ? root(root(sum / vocals)) : 0.0f;
    float t = s->softness[0] + s->softness[1] * sharp + s->softness[2] * share;

    t = t > 0.0f ? t : 0.0f;
    return t < 1.0f ? t : 1.0f;
}

/* Soften the gains of one frame as far as the stream so far asks for. */
static void soften(const es_spectral *s, const float *X, float *doubt,
                   const es_work *w)
{
    const V none = v_all(0.0f);
    const V one = v_all(1.0f);
    float *soft = w->power[2];
    size_t start = 0;

    count_doubt(s, X, doubt, w);
    for (size_t i = 0; i < ES_N_REGIONS && start < s->n_powers; i++) {
        const size_t end = region_end(s, i);
        const int is_last = end == s->n_powers;

        spread(soft + start, (is_last ? s->n_bins : end) - start,
               softness_of(s, doubt, i));
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

/* ---- Panorama ------------------------------------------------------------
 *
 * See es_synthesise.  `panorama` holds N of each region's cells, then H. */

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
static void follow_cells(const es_spectral *s, float *panorama,
                         const es_work *w)
{
    float *total = panorama;
    float *heard = panorama + ES_N_REGIONS * ES_N_CELLS;
    float odds[ES_N_CELLS];
    size_t start = 0;

    for (size_t i = 0; i < ES_PANORAMA_FLOATS; i++)
        panorama[i] *= s->decay;
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
static void turn_to(const es_spectral *s, const float *X, float *panorama,
                    const es_work *w)
{
    const V none = v_all(0.0f);
    const V one = v_all(1.0f);

    look_around(s, X, w);
    follow_cells(s, panorama, w);
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

/* ---- Repetition ----------------------------------------------------------
 *
 * See es_synthesise.  `past` is cut into a head, the sums of profiles, a
 * likeness for each age and a ring of rows; a row is a profile and the rest's
 * powers, a plane for each channel. */

typedef struct es_ring {
    float *n_kept; /* rows written, at most n_past */
    float *next;   /* row that the next frame takes */
    float *weight; /* of the sums */
    float *sums;   /* of profiles, decayed */
    float *alike;  /* cosine for ages 1 to n_kept - 1 */
    float *rows;
} es_ring;

static es_ring cut_past(const es_spectral *s, float *past)
{
    float *alike = past + ES_PAST_HEAD + s->profile_size;
    es_ring r = { past,  past + 1,         past + 2, past + ES_PAST_HEAD,
                  alike, alike + s->n_past };

    return r;
}

/* Row of the frame that came `age` frames before row `at`. */
INLINE float *row_of(const es_spectral *s, const es_ring *r, size_t at,
                     size_t age)
{
    return r->rows + (at + s->n_past - age) % s->n_past * s->row_size;
}

/* Write what a frame's gains leave, and its profile, to a row. */
static void remember(const es_spectral *s, const float *X, const es_work *w,
                     float *row)
{
    const size_t behind = s->plane_size - s->n_powers;
    float *planes = row + s->profile_size;

    for (size_t c = 0; c < s->n_channels; c++) {
        float *rest = planes + c * s->plane_size;

        for (size_t i = 0; i < s->n_powers; i += W) {
            size_t k = fit(i, s->n_bins, W);
            V left = v_sub(v_all(1.0f), v_load(w->gain[c] + k));
            V power = finite_power(X + 2 * (c * s->n_bins + k));

            v_store(rest + k, v_mul(v_mul(left, left), power));
        }
        memset(rest + s->n_powers, 0, behind * sizeof *rest);
    }
    for (size_t i = 0; i < s->n_profile; i++) {
        const size_t e = s->profile_edges[i];
        const size_t n = s->profile_edges[i + 1] - e;
        float sum = sum_of(planes + e, n);

        if (s->n_channels == 2)
            sum += sum_of(planes + s->plane_size + e, n);
        row[i] = sum;
    }
    memset(row + s->n_profile, 0,
           (s->profile_size - s->n_profile) * sizeof *row);
    for (size_t i = 0; i < s->profile_size; i += W)
        v_store(row + i, v_sqrt(v_sqrt(v_sqrt(v_load(row + i)))));
}

/* Bring the mean profile up to date; `now` becomes how this one differs. */
static void centre(const es_spectral *s, const es_ring *r, const float *row,
                   float *mean, float *now)
{
    *r->weight = s->decay * *r->weight + 1.0f;
    for (size_t i = 0; i < s->profile_size; i += W) {
        V value = v_load(row + i);
        V sum = v_mul_add(v_all(s->decay), v_load(r->sums + i), value);
        V average = v_div(sum, v_all(*r->weight));

        v_store(r->sums + i, sum);
        v_store(mean + i, average);
        v_store(now + i, v_sub(value, average));
    }
}

/* Products of a row's difference from the mean: with `now` and with itself.
 * The order is sum_of's. */
INLINE void products(const es_spectral *s, const float *row, const float *mean,
                     const float *now, float *with_now, float *with_itself)
{
    V a[ES_LANES / W];
    V b[ES_LANES / W];

    for (size_t l = 0; l < ES_LANES / W; l++)
        a[l] = b[l] = v_all(0.0f);
    for (size_t i = 0; i < s->profile_size; i += ES_LANES) {
        for (size_t l = 0; l < ES_LANES / W; l++) {
            const size_t k = i + l * W;
            V differs = v_sub(v_load(row + k), v_load(mean + k));

            a[l] = v_mul_add(differs, v_load(now + k), a[l]);
            b[l] = v_mul_add(differs, differs, b[l]);
        }
    }
    *with_now = total_of(a);
    *with_itself = total_of(b);
}

/* The frames before row `at` that are most alike: their rows and weights, the
 * most alike first.  Returns how many. */
static size_t recall(const es_spectral *s, const es_ring *r, size_t at,
                     const float **rows, float *weights)
{
    const float *row = row_of(s, r, at, 0);
    const size_t n = (size_t)*r->n_kept;
    float mean[ES_MAX_PROFILE];
    float now[ES_MAX_PROFILE];
    size_t n_found = 0;
    float own;
    float size;

    centre(s, r, row, mean, now);
    products(s, row, mean, now, &own, &size);
    own = root(size);
    for (size_t age = 1; age < n; age++) {
        float product;

        products(s, row_of(s, r, at, age), mean, now, &product, &size);
        float both = own * root(size);

        r->alike[age - 1] = both > 0.0f ? product / both : 0.0f;
    }
    for (size_t age = 1; age < n; age++) {
        const float *c = r->alike + age - 1;
        size_t i = n_found;

        if (!(*c > ES_ALIKE) || (age > 1 && *c < c[-1]) ||
            (age + 1 < n && *c < c[1]))
            continue;
        float weight = (*c - ES_ALIKE) / (1.0f - ES_ALIKE);

        if (i == ES_MOST_ALIKE && !(weight > weights[--i]))
            continue;
        for (; i && weight > weights[i - 1]; i--) {
            weights[i] = weights[i - 1];
            rows[i] = rows[i - 1];
        }
        weights[i] = weight;
        rows[i] = row_of(s, r, at, age);
        n_found += n_found < ES_MOST_ALIKE;
    }
    return n_found;
}

/* Gains of one channel from its rest here and where it was alike, to w->power,
 * which is free until the next analysis. */
INLINE void average_rest(const es_spectral *s, const float *X, const float *now,
                         const float *const *rows, const float *weights,
                         size_t n, size_t plane, const es_work *w, size_t c)
{
    float sum = 1.0f;

    for (size_t j = 0; j < n; j++)
        sum += weights[j];
    for (size_t i = 0; i < s->n_powers; i += W) {
        size_t k = fit(i, s->n_bins, W);
        V rest = v_load(now + plane + k);
        V size = v_sqrt(finite_power(X + 2 * (c * s->n_bins + k)));
        V vocals = v_mul(v_load(w->gain[c] + k), size);

        for (size_t j = 0; j < n; j++)
            rest =
                v_mul_add(v_all(weights[j]), v_load(rows[j] + plane + k), rest);
        rest = v_sqrt(v_div(rest, v_all(sum)));
        rest = v_add(rest, v_all(ES_FAINTEST));
        v_store(w->power[c] + k, v_div(vocals, v_add(vocals, rest)));
    }
}

/* Let the gains of one frame learn from what repeats. */
static void repeat(const es_spectral *s, const float *X, float *past,
                   const es_work *w)
{
    const es_ring r = cut_past(s, past);
    const size_t at = (size_t)*r.next;
    float *row = row_of(s, &r, at, 0);
    const float *rows[ES_MOST_ALIKE];
    float weights[ES_MOST_ALIKE];

    remember(s, X, w, row);
    *r.next = (float)((at + 1) % s->n_past);
    if (*r.n_kept < (float)s->n_past)
        *r.n_kept += 1.0f;
    size_t n = recall(s, &r, at, rows, weights);

    for (size_t c = 0; c < s->n_channels && n; c++) {
        average_rest(s, X, row, rows, weights, n,
                     s->profile_size + c * s->plane_size, w, c);
        memcpy(w->gain[c], w->power[c], s->n_powers * sizeof *w->gain[c]);
    }
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
        codes_of(s, X, scale, features, w);
        in.pairs += s->hop * s->n_channels;
        X += 2 * half;
        features += s->n_bands * s->n_features;
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
                       size_t n_frames, float *doubt, float *panorama,
                       float *past, float *covariance, float *tail, float *y,
                       const es_work *w)
{
    const es_input in = { NULL, w->re, w->im, NULL, NULL, 1.0f };
    const size_t half = s->n_bins * s->n_channels; /* a frame of X, halved */

    for (size_t f = 0; f < n_frames; f++) {
        gains_of(s, mask, w->gain);
        if (doubt)
            soften(s, X, doubt, w);
        if (panorama && s->n_channels == 2)
            turn_to(s, X, panorama, w);
        if (past && s->n_past)
            repeat(s, X, past, w);
        if (s->n_channels == 1)
            merge_mono(&s->c, X, w->gain[0], w->re, w->im);
        else
            merge_stereo(s, X, covariance, w);
        mask += 2 * s->n_bands;
        if (f + 1 < n_frames)
            X += 2 * half;
        fetch_ahead(X, half);
        column_pass(&s->c, &in, w->rows);
        fetch_ahead(X + half, half);
        row_passes(&s->c, w->rows, w->re, w->im);
        overlap_add(s, w, tail, y);
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
