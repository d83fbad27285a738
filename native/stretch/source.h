/* stretch_source.h - from source to stream: band-limited interpolation.
 *
 * J. O. Smith, P. Gossett: A flexible sampling-rate conversion method, 1984: a
 * sinc under a Kaiser window, in a table; read faster than it was made, the
 * kernel widens and cuts off what would fold. */
#ifndef ES_STRETCH_SOURCE_H
#define ES_STRETCH_SOURCE_H

#include "stretch/maths.h"
#include "stretch/state.h"

#define ES_CUTOFF 0.97 /* of the lower Nyquist frequency */
#define ES_BETA 8.0    /* of Kaiser's window: -81 dB */

/* ---- The kernel ---------------------------------------------------------- */

static void fill_kernel(es_source *s)
{
    const double whole = bessel_of(0.25 * ES_BETA * ES_BETA);
    const size_t n = ES_ZEROS * ES_FINE;

    for (size_t i = 0; i < n; i++) {
        double u = (double)i / ES_FINE; /* samples from the middle */
        double x = u * ES_CUTOFF;
        double sinc = i ? sin_pi(x) / (ES_PI * x) : 1.0;
        double t = (double)i / (double)n;
        double square = 0.25 * ES_BETA * ES_BETA * (1.0 - t * t);

        s->kernel[i] = (float)(ES_CUTOFF * sinc * bessel_of(square) / whole);
    }
    s->kernel[n] = s->kernel[n + 1] = 0.0f;
}

/* Samples on each side of a place that count at a pitch. */
static size_t reach_of(double pitch)
{
    double wide = pitch > 1.0 ? pitch : 1.0;

    return (size_t)floor_of((double)ES_ZEROS * wide) + 1;
}

/* Row i takes 2 reach samples around a place that is i / ES_PHASES behind the
 * sample at reach - 1. */
static void fill_rows_for(es_source *s, double pitch)
{
    const size_t reach = reach_of(pitch);
    const double narrow = pitch > 1.0 ? 1.0 / pitch : 1.0;
    const size_t end = ES_ZEROS * ES_FINE;

    if (s->rows_pitch == pitch)
        return;
    s->rows_pitch = pitch;
    s->n_taps = (2 * reach + ES_LANES - 1) / ES_LANES * ES_LANES;
    for (size_t i = 0; i <= ES_PHASES; i++) {
        float *row = s->rows + i * ES_MAX_TAPS;
        double phase = (double)i / ES_PHASES + (double)(reach - 1);

        for (size_t j = 0; j < s->n_taps; j++) {
            double u = phase - (double)j;
            double at = (u < 0.0 ? -u : u) * narrow * ES_FINE;
            size_t k = (size_t)at < end ? (size_t)at : end;
            float part = (float)(at - (double)k);

            part = k < end ? part : 0.0f;
            float value =
                s->kernel[k] + part * (s->kernel[k + 1] - s->kernel[k]);
            row[j] = (float)narrow * value;
        }
    }
}

/* Dot product in eight lanes, which are added in pairs as es_energy does. */
static float dot(const float *restrict a, const float *restrict b, size_t n)
{
    float lane[ES_LANES] = { 0.0f };

    for (size_t i = 0; i < n; i += ES_LANES) {
        for (size_t j = 0; j < ES_LANES; j++)
            lane[j] += a[i + j] * b[i + j];
    }
    for (size_t step = ES_LANES / 2; step; step /= 2) {
        for (size_t j = 0; j < step; j++)
            lane[j] += lane[j + step];
    }
    return lane[0];
}

/* ---- Chunks -------------------------------------------------------------- */

/* What decides the pitch and the place of the next chunk. */
typedef struct es_pace {
    double place, semitones, wanted;
    size_t ramp;
    double fastest;
    size_t calm, late;
} es_pace;

static es_pace pace_of(const es_source *s)
{
    es_pace pace = { s->next_place, s->semitones, s->wanted_semitones,
                     s->ramp,       s->fastest,   s->calm,
                     s->late };

    return pace;
}

/* One step along a ramp to what is wanted: exactly that with the last. */
static double toward(double value, double wanted, size_t *steps)
{
    if (!*steps)
        return wanted;
    double next = value + (wanted - value) / (double)*steps;

    *steps -= 1;
    return *steps ? next : wanted;
}

/* The pitch of the chunk at pace->place, which moves on to the next. */
static double next_pitch(const es_source *s, es_pace *pace)
{
    pace->calm = pace->ramp ? 0 : pace->calm + 1;
    pace->semitones = toward(pace->semitones, pace->wanted, &pace->ramp);
    double pitch = exp2_of(pace->semitones / 12.0);

    pace->place += pitch * (double)s->chunk;
    if (pitch > pace->fastest || pace->calm > pace->late)
        pace->fastest = pitch;
    return pitch;
}

/* End of the samples that a chunk from `place` on needs. */
static int64_t end_of_need(const es_source *s, double place, double pitch)
{
    double last = place + pitch * (double)s->chunk;

    return floor_of(last) + (int64_t)reach_of(pitch) + ES_LANES + 1;
}

static void drop_chunks(es_source *s, size_t n)
{
    const size_t gone = n * s->chunk;
    const size_t left = s->n_stream - gone;

    for (size_t c = 0; c < s->n_channels; c++) {
        memmove(s->stream[c], s->stream[c] + gone, left * sizeof(float));
        memmove(s->sharp[c], s->sharp[c] + gone, left * sizeof(float));
    }
    memmove(s->place, s->place + n, left / s->chunk * sizeof *s->place);
    memmove(s->pitch, s->pitch + n, left / s->chunk * sizeof *s->pitch);
    s->n_stream = left;
    s->stream_at += (int64_t)gone;
}

/* High-pass the chunk that has just become complete on both sides: a window
 * that is cut off would spread what is low over all bins. */
static void sharpen(es_source *s)
{
    const size_t reach = s->reach;

    if (s->n_stream < 2 * reach + s->chunk)
        return;
    const size_t first = s->n_stream - reach - s->chunk;

    for (size_t c = 0; c < s->n_channels; c++) {
        const float *restrict x = s->stream[c] + first;
        const float *restrict h = s->high_pass;
        float *restrict y = s->sharp[c] + first;

        for (size_t i = 0; i < s->chunk; i++)
            y[i] = h[0] * x[i];
        for (size_t j = 1; j <= reach; j++) {
            const float *restrict before = x - j;
            const float *restrict after = x + j;

            for (size_t i = 0; i < s->chunk; i++)
                y[i] += h[j] * (before[i] + after[i]);
        }
    }
}

/* Interpolate one chunk; its input is there. */
static void add_chunk(es_source *s)
{
    if (s->n_stream == s->max_stream)
        drop_chunks(s, s->max_stream / s->chunk / 4);
    es_pace pace = pace_of(s);
    const double start = pace.place;
    const double pitch = next_pitch(s, &pace);
    const size_t reach = reach_of(pitch);
    float row[ES_MAX_TAPS];

    fill_rows_for(s, pitch);
    for (size_t i = 0; i < s->chunk; i++) {
        double at = start + pitch * (double)i;
        int64_t whole = floor_of(at);
        double phase = (at - (double)whole) * ES_PHASES;
        size_t k = (size_t)phase;
        float part = (float)(phase - (double)k);
        const float *a = s->rows + k * ES_MAX_TAPS;
        const float *b = a + ES_MAX_TAPS;
        size_t from = (size_t)(whole - s->input_at) + 1 - reach;

        for (size_t j = 0; j < s->n_taps; j++)
            row[j] = a[j] + part * (b[j] - a[j]);
        for (size_t c = 0; c < s->n_channels; c++) {
            float *to = s->stream[c] + s->n_stream + i;
            const float *x = s->input[c] + from;

            /* At its own pitch a whole place needs no kernel. */
            *to = pitch == 1.0 && phase == 0.0 ? x[reach - 1]
                                               : dot(row, x, s->n_taps);
        }
    }
    s->place[s->n_stream / s->chunk] = start;
    s->pitch[s->n_stream / s->chunk] = pitch;
    s->n_stream += s->chunk;
    sharpen(s);
    s->next_place = pace.place;
    s->semitones = pace.semitones;
    s->ramp = pace.ramp;
    s->fastest = pace.fastest;
    s->calm = pace.calm;
}

/* Forget input before the next chunk's. */
static void drop_input(es_source *s)
{
    int64_t first = floor_of(s->next_place) - ES_MAX_TAPS / 2;

    if (first <= s->input_at)
        return;
    size_t gone = (size_t)(first - s->input_at);

    gone = gone < s->n_input ? gone : s->n_input;
    for (size_t c = 0; c < s->n_channels; c++)
        memmove(s->input[c], s->input[c] + gone,
                (s->n_input - gone) * sizeof(float));
    s->n_input -= gone;
    s->input_at += (int64_t)gone;
}

/* Not finite: 0; beyond 2^30: that. */
static inline float tame(float x)
{
    const float most = 0x1p30f;

    x = x - x == 0.0f ? x : 0.0f;
    x = x < most ? x : most;
    return x > -most ? x : -most;
}

static void take_input(es_source *s, const float *x, size_t n)
{
    const size_t n_channels = s->n_channels;

    for (size_t c = 0; c < n_channels; c++) {
        for (size_t i = 0; i < n; i++)
            s->input[c][s->n_input + i] = tame(x[n_channels * i + c]);
    }
    s->n_input += n;
}

/* ---- Places -------------------------------------------------------------- */

/* Stream place of a source place; before the stream or after it, its ends. */
static int64_t stream_place(const es_source *s, double place)
{
    size_t low = 0;
    size_t high = s->n_stream / s->chunk;

    while (high - low > 1) {
        size_t middle = (low + high) / 2;

        if (s->place[middle] <= place)
            low = middle;
        else
            high = middle;
    }
    double past = (place - s->place[low]) / s->pitch[low];
    double most = (double)s->chunk;

    past = past > 0.0 ? past : 0.0;
    past = past < most ? past : most;
    return s->stream_at + (int64_t)(low * s->chunk) + floor_of(past + 0.5);
}

/* Source place and pitch of a stream place. */
static double source_place(const es_source *s, int64_t m, double *pitch)
{
    int64_t last = (int64_t)s->n_stream - 1;
    int64_t i = m - s->stream_at;

    i = i < 0 ? 0 : i;
    i = i > last ? last : i;
    size_t k = (size_t)i / s->chunk;

    if (pitch)
        *pitch = s->pitch[k];
    return s->place[k] + s->pitch[k] * (double)((size_t)i % s->chunk);
}

#endif
