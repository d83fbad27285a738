/* transform.h - the complex FFT, above the vector operations of simd.h.
 *
 * Numbers are split: real and imaginary parts live in vectors of their own.
 * See es_cfft in internal.h for the way an FFT is cut up.  Below, L is the
 * lanes of a row (a constant to the compiler), W those of a vector. */
#ifndef ES_TRANSFORM_H
#define ES_TRANSFORM_H

#include "plan/internal.h"

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

#endif
