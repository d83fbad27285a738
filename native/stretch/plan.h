/* stretch_plan.h - tables and memory of a stretcher. */
#ifndef ES_STRETCH_PLAN_H
#define ES_STRETCH_PLAN_H

#include "stretch/maths.h"
#include "stretch/state.h"

#define ES_LOW_MS 120.0    /* window of the low band */
#define ES_CROSSING 2000.0 /* Hz between the bands */
#define ES_PASS_BETA 7.0   /* of the high-pass's window: -70 dB */
#define ES_LEAST 1e-3      /* share of a bin that sounds */

/* ---- Windows and shares -------------------------------------------------- */

/* Hann's, whose square overlap-adds to a constant. */
static void fill_window(es_band *b)
{
    for (size_t i = 0; i < b->n; i++) {
        double sine = sin_pi((double)i / (double)b->n);

        b->window[i] = (float)(sine * sine);
    }
}

/* A low-pass of `reach` samples on each side: a sinc under a Kaiser window.
 * What it leaves is the high band's. */
static void fill_high_pass(es_source *s, size_t sample_rate)
{
    const double whole = bessel_of(0.25 * ES_PASS_BETA * ES_PASS_BETA);
    const double cutoff = 2.0 * ES_CROSSING / (double)sample_rate;

    for (size_t i = 0; i <= s->reach; i++) {
        double t = (double)i / (double)(s->reach + 1);
        double square = 0.25 * ES_PASS_BETA * ES_PASS_BETA * (1.0 - t * t);
        double x = cutoff * (double)i;
        double sinc = i ? sin_pi(x) / (ES_PI * x) : 1.0;
        double low = cutoff * sinc * bessel_of(square) / whole;

        s->high_pass[i] = (float)((i ? 0.0 : 1.0) - low);
    }
}

/* What the high-pass leaves of bin k of n. */
static double high_share(const es_source *s, size_t k, size_t n)
{
    double sum = (double)s->high_pass[0];

    for (size_t i = 1; i <= s->reach; i++) {
        double angle = 2.0 * (double)(i * k % n) / (double)n;

        sum += 2.0 * (double)s->high_pass[i] * sin_pi(angle + 0.5);
    }
    return sum;
}

static void fill_band(es_band *b, const es_source *s, size_t sample_rate,
                      int is_high)
{
    fill_window(b);
    b->first = b->n_bins;
    b->last = 0;
    for (size_t k = 0; k < b->n_bins; k++) {
        double f = (double)(k * sample_rate) / (double)b->n;
        double share = f < 2.0 * ES_CROSSING ? high_share(s, k, b->n) : 1.0;
        int sounds = is_high ? share > ES_LEAST : share < 1.0 - ES_LEAST;

        b->gain[k] = is_high ? 1.0f : (float)(1.0 - share);
        b->first = sounds && k < b->first ? k : b->first;
        b->last = sounds ? k + 1 : b->last;
    }
    b->is_cut = is_high;
    b->fade = sample_rate / 2000 + 1;
    b->guard = sample_rate / 250;
    b->hold = is_high ? b->n / 2 : b->hop / 2;
}

/* ---- Layout -------------------------------------------------------------- */

/* Of n points near `wanted`, for rows of lanes; four times as many are good,
 * too. */
static size_t size_near(size_t wanted)
{
    const size_t step = 2 * ES_LANES;
    size_t n = wanted / step * step;

    n = n < ES_LANES * step ? ES_LANES * step : n;
    while (!es_size_ok(n))
        n += step;
    return n;
}

static void *take_fft(es_arena *arena, size_t n, int simd)
{
    return es_take(arena, es_fft_bytes(n, simd), 1);
}

static void lay_floats(es_arena *arena, size_t n, float **p)
{
    *p = es_take(arena, n + ES_LANES, sizeof **p);
}

static void lay_band(es_band *b, es_arena *arena, size_t n, size_t n_channels)
{
    b->n = n;
    b->hop = n / ES_OVERLAP;
    b->n_bins = n / 2 + 1;
    b->size = 4 * n;
    lay_floats(arena, n, &b->window);
    lay_floats(arena, n, &b->cut_window);
    lay_floats(arena, n, &b->frame);
    lay_floats(arena, b->size, &b->weight);
    lay_floats(arena, b->n_bins, &b->gain);
    lay_floats(arena, b->n_bins, &b->power);
    lay_floats(arena, b->n_bins, &b->past_power);
    lay_floats(arena, b->n_bins, &b->turn_re);
    lay_floats(arena, b->n_bins, &b->turn_im);
    for (size_t c = 0; c < n_channels; c++) {
        lay_floats(arena, 2 * b->n_bins, &b->now[c]);
        lay_floats(arena, 2 * b->n_bins, &b->before[c]);
        lay_floats(arena, 2 * b->n_bins, &b->sounded[c]);
        lay_floats(arena, b->size, &b->sum[c]);
    }
}

static void lay_source(es_source *s, es_arena *arena, size_t sample_rate,
                       size_t hop)
{
    s->chunk = 16;
    while (s->chunk * 2 <= sample_rate / 375)
        s->chunk *= 2;
    s->late = 8 * hop / s->chunk;
    s->max_stream = 64 * hop / s->chunk * s->chunk;
    s->max_input = 40 * hop;
    s->reach = sample_rate * 3 / 1000;
    const size_t n_chunks = s->max_stream / s->chunk;

    lay_floats(arena, ES_ZEROS * ES_FINE + 2, &s->kernel);
    lay_floats(arena, s->reach + 1, &s->high_pass);
    lay_floats(arena, (ES_PHASES + 1) * ES_MAX_TAPS, &s->rows);
    for (size_t c = 0; c < s->n_channels; c++) {
        lay_floats(arena, s->max_input, &s->input[c]);
        lay_floats(arena, s->max_stream, &s->stream[c]);
        lay_floats(arena, s->max_stream, &s->sharp[c]);
    }
    s->place = es_take(arena, n_chunks, sizeof *s->place);
    s->pitch = es_take(arena, n_chunks, sizeof *s->pitch);
}

static void lay_voice(es_voice *v, es_arena *arena, size_t sample_rate,
                      size_t n)
{
    v->n = n;
    v->least = (sample_rate * 7 + 9999) / 10000; /* 0.7 ms */
    v->most = sample_rate * 25 / 10000;
    lay_floats(arena, n, &v->level);
    lay_floats(arena, n, &v->smooth);
    lay_floats(arena, n + 2, &v->cepstrum);
    for (size_t i = 0; i < ES_N_PLACES; i++)
        lay_floats(arena, n / 2 + 2, &v->correction[i]);
}

/* Where the three transforms go. */
typedef struct es_parts {
    void *low, *high, *voice;
} es_parts;

static es_stretch *layout(es_stretch *s, es_parts *parts, es_arena *arena,
                          const es_stretch_config *c)
{
    es_stretch *plan = es_take(arena, 1, sizeof *plan);
    size_t n = size_near(
        (size_t)(ES_LOW_MS * (double)c->sample_rate / (1000.0 * ES_WIDE)));

    memset(s, 0, sizeof *s);
    s->sample_rate = c->sample_rate;
    s->n_channels = s->source.n_channels = c->n_channels;
    s->keeps_formants = c->keeps_formants != 0;
    s->hop = ES_WIDE * n / ES_OVERLAP;
    lay_band(&s->high, arena, n, c->n_channels);
    lay_band(&s->low, arena, ES_WIDE * n, c->n_channels);
    lay_source(&s->source, arena, c->sample_rate, s->hop);
    parts->high = take_fft(arena, n, c->simd);
    parts->low = take_fft(arena, ES_WIDE * n, c->simd);
    if (s->keeps_formants) {
        lay_voice(&s->voice, arena, c->sample_rate, ES_WIDE * n / 2);
        parts->voice = take_fft(arena, ES_WIDE * n / 2, c->simd);
    }
    s->work = es_take(arena, es_fft_work_bytes(ES_WIDE * n), 1);
    return plan;
}

static int check(const es_stretch_config *c)
{
    if (!c)
        return ES_ERR_NULL;
    if (c->sample_rate < 8000 || c->sample_rate > 192000 || c->n_channels < 1 ||
        c->n_channels > 2)
        return ES_ERR_SIZE;
    return es_choose(c->simd, ES_ALIGN) ? ES_OK : ES_ERR_SIMD;
}

#endif
