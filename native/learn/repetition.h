/* repetition.h - what the rest was whenever it sounded as it does now.
 *
 * See es_synthesise.  `repetition` is cut into a head, the sums of profiles, a
 * likeness for each age and a ring of rows; a row is a profile and the rest's
 * powers, a plane for each channel. */
#ifndef ES_REPETITION_H
#define ES_REPETITION_H

#include "frame/bands.h"
#include "frame/gains.h"

#include <string.h>

typedef struct es_ring {
    float *n_kept; /* rows written, at most n_past */
    float *next;   /* row that the next frame takes */
    float *weight; /* of the sums */
    float *sums;   /* of profiles, decayed */
    float *alike;  /* cosine for ages 1 to n_kept - 1 */
    float *rows;
} es_ring;

static es_ring cut_repetition(const es_spectral *s, float *repetition)
{
    float *alike = repetition + ES_PAST_HEAD + s->profile_size;
    es_ring r = { repetition,     repetition + 1,
                  repetition + 2, repetition + ES_PAST_HEAD,
                  alike,          alike + s->n_past };

    return r;
}

/* Frames of the past that sound like this one, the most alike first. */
typedef struct es_alike {
    size_t n;
    const float *rows[ES_MOST_ALIKE];
    float weights[ES_MOST_ALIKE];
} es_alike;

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

/* The frames before row `at` that are most alike. */
static void recall(const es_spectral *s, const es_ring *r, size_t at,
                   es_alike *found)
{
    const float *row = row_of(s, r, at, 0);
    const size_t n = (size_t)*r->n_kept;
    float mean[ES_MAX_PROFILE];
    float now[ES_MAX_PROFILE];
    float *weights = found->weights;
    const float **rows = found->rows;
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
    found->n = n_found;
}

/* Gains of channel c from its rest here, row `now`, and where it was alike, to
 * w->power, which is free until the next analysis. */
INLINE void average_rest(const es_spectral *s, const float *X, const float *now,
                         const es_alike *alike, const es_work *w, size_t c)
{
    const size_t plane = s->profile_size + c * s->plane_size;
    float sum = 1.0f;

    for (size_t j = 0; j < alike->n; j++)
        sum += alike->weights[j];
    for (size_t i = 0; i < s->n_powers; i += W) {
        size_t k = fit(i, s->n_bins, W);
        V rest = v_load(now + plane + k);
        V size = v_sqrt(finite_power(X + 2 * (c * s->n_bins + k)));
        V vocals = v_mul(v_load(w->gain[c] + k), size);

        for (size_t j = 0; j < alike->n; j++)
            rest = v_mul_add(v_all(alike->weights[j]),
                             v_load(alike->rows[j] + plane + k), rest);
        rest = v_sqrt(v_div(rest, v_all(sum)));
        rest = v_add(rest, v_all(ES_FAINTEST));
        v_store(w->power[c] + k, v_div(vocals, v_add(vocals, rest)));
    }
}

/* Let the gains of one frame learn from what repeats. */
static void repeat(const es_spectral *s, const float *X, float *repetition,
                   const es_work *w)
{
    const es_ring r = cut_repetition(s, repetition);
    const size_t at = (size_t)*r.next;
    float *row = row_of(s, &r, at, 0);
    es_alike alike;

    remember(s, X, w, row);
    *r.next = (float)((at + 1) % s->n_past);
    if (*r.n_kept < (float)s->n_past)
        *r.n_kept += 1.0f;
    recall(s, &r, at, &alike);
    for (size_t c = 0; c < s->n_channels && alike.n; c++) {
        average_rest(s, X, row, &alike, w, c);
        memcpy(w->gain[c], w->power[c], s->n_powers * sizeof *w->gain[c]);
    }
}

#endif
