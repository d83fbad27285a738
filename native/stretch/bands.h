/* stretch_bands.h - the phase vocoder.
 *
 * J. Laroche, M. Dolson: Improved phase vocoder time-scale modification of
 * audio, IEEE Trans. Speech and Audio Processing 7 (3), 1999: a peak's phase
 * goes on as the signal's does, and the bins around it turn along with it.
 * A. Roebel: A new approach to transient processing in the phase vocoder,
 * DAFx 2003: at an attack phases start anew. */
#ifndef ES_STRETCH_BANDS_H
#define ES_STRETCH_BANDS_H

#include "stretch/attacks.h"

#define ES_STARTS 4.0f /* times the power before: a peak that is new */

/* Where a frame is read, and what of it counts. */
typedef struct es_reading {
    int64_t m;         /* stream place of its middle */
    int64_t low, high; /* output samples from its middle that it covers */
    int is_attack;     /* passed through */
} es_reading;

/* ---- Windows ------------------------------------------------------------- */

/* Of a sample that is i behind `low` and j before `high`. */
static float edge_of(int64_t i, int64_t j, int64_t fade)
{
    int64_t a = i + fade; /* rises before low */

    j = j < 0 ? 0 : j;
    a = a < 0 ? 0 : a;
    float up = a < fade ? (float)a / (float)fade : 1.0f;
    float down = j < fade ? (float)j / (float)fade : 1.0f;

    return up * down;
}

static void cut_window(es_band *b, const es_reading *r)
{
    const int64_t half = (int64_t)b->n / 2;

    memcpy(b->cut_window, b->window, b->n * sizeof *b->window);
    if (r->low <= -half && r->high >= half)
        return;
    for (int64_t i = -half; i < half; i++) {
        float edge = edge_of(i - r->low, r->high - i, (int64_t)b->fade);

        b->cut_window[i + half] *= edge;
    }
}

/* ---- Phases -------------------------------------------------------------- */

/* Powers, and how far the frame's bins turned against what sounded: the sum
 * over channels of sounded * conj(before). */
static void compare_bins(es_band *b, size_t n_channels)
{
    memset(b->power, 0, b->n_bins * sizeof *b->power);
    memset(b->past_power, 0, b->n_bins * sizeof *b->power);
    memset(b->turn_re, 0, b->n_bins * sizeof *b->power);
    memset(b->turn_im, 0, b->n_bins * sizeof *b->power);
    for (size_t c = 0; c < n_channels; c++) {
        const float *restrict x = b->now[c];
        const float *restrict p = b->before[c];
        const float *restrict y = b->sounded[c];
        float *restrict power = b->power;
        float *restrict past = b->past_power;
        float *restrict re = b->turn_re;
        float *restrict im = b->turn_im;

        for (size_t k = b->first; k < b->last; k++) {
            float p_re = p[2 * k];
            float p_im = p[2 * k + 1];

            power[k] += x[2 * k] * x[2 * k] + x[2 * k + 1] * x[2 * k + 1];
            past[k] += p_re * p_re + p_im * p_im;
            re[k] += y[2 * k] * p_re + y[2 * k + 1] * p_im;
            im[k] += y[2 * k + 1] * p_re - y[2 * k] * p_im;
        }
    }
}

/* Turn bins from..to - 1 of all channels by the angle of (re, im). */
static void turn_bins(es_band *b, size_t n_channels, size_t from, size_t to,
                      float re, float im)
{
    float size = v_sqrt(re * re + im * im);

    if (!(size > 1e-30f))
        return;
    re /= size;
    im /= size;
    for (size_t c = 0; c < n_channels; c++) {
        float *x = b->now[c];

        for (size_t k = from; k < to; k++) {
            float x_re = x[2 * k];
            float x_im = x[2 * k + 1];

            x[2 * k] = x_re * re - x_im * im;
            x[2 * k + 1] = x_re * im + x_im * re;
        }
    }
}

/* Does the region of a peak hold far more than it did? */
static int is_start(const es_band *b, size_t from, size_t to)
{
    float now = 0.0f;
    float past = 0.0f;

    for (size_t k = from; k < to; k++) {
        now += b->power[k];
        past += b->past_power[k];
    }
    return now > ES_STARTS * past;
}

static void lock_region(es_band *b, size_t n_channels, size_t peak, size_t from,
                        size_t to, int is_attack)
{
    size_t low = peak > from ? peak - 1 : peak;
    size_t high = peak + 1 < to ? peak + 1 : peak;
    float re = 0.0f;
    float im = 0.0f;

    if (is_attack && is_start(b, from, to))
        return;
    for (size_t k = low; k <= high; k++) {
        re += b->turn_re[k];
        im += b->turn_im[k];
    }
    turn_bins(b, n_channels, from, to, re, im);
}

/* The next peak from bin k on: greater than two neighbours on each side. */
static size_t next_peak(const es_band *b, size_t k)
{
    const float *p = b->power;

    for (; k + 2 < b->last; k++) {
        if (k >= b->first + 2 && p[k] > p[k - 1] && p[k] > p[k - 2] &&
            p[k] >= p[k + 1] && p[k] >= p[k + 2])
            break;
    }
    return k;
}

/* Regions go from valley to valley. */
static void lock_phases(es_band *b, size_t n_channels, int is_attack)
{
    size_t from = b->first;
    size_t peak = next_peak(b, b->first);

    while (from < b->last) {
        size_t next = next_peak(b, peak + 1);
        size_t to = b->last;

        if (next + 2 < b->last) {
            to = peak + 1;
            for (size_t k = peak + 2; k <= next; k++)
                to = b->power[k] < b->power[to] ? k : to;
        }
        lock_region(b, n_channels, peak < b->last ? peak : from, from, to,
                    is_attack);
        from = to;
        peak = next;
    }
}

/* ---- Frames -------------------------------------------------------------- */

static void transform(es_band *b, const es_source *s, int64_t m, float *X[2],
                      void *work)
{
    int64_t most = (int64_t)s->n_stream - (int64_t)b->n;
    int64_t at = m - (int64_t)b->n / 2 - s->stream_at;

    at = at > most ? most : at;
    at = at < 0 ? 0 : at;
    for (size_t c = 0; c < s->n_channels; c++) {
        const float *restrict x = (b->is_cut ? s->sharp : s->stream)[c] + at;
        const float *restrict w = b->cut_window;
        float *restrict frame = b->frame;

        for (size_t i = 0; i < b->n; i++)
            frame[i] = w[i] * x[i];
        es_rfft(b->fft, frame, X[c], work);
    }
}

/* Spectrum `now` times gains to the overlap. */
static void add_frame(es_band *b, size_t n_channels, const float *correction,
                      size_t step, void *work)
{
    const size_t at = (size_t)(b->next - (int64_t)b->n / 2 - b->sum_at);
    float *restrict weight = b->weight + at;
    const float *restrict w = b->cut_window;

    for (size_t i = 0; i < b->n; i++)
        weight[i] += w[i] * w[i];
    for (size_t c = 0; c < n_channels; c++) {
        float *restrict X = b->before[c];
        const float *restrict now = b->now[c];
        float *restrict sum = b->sum[c] + at;
        float *restrict frame = b->frame;

        memset(X, 0, 2 * b->n_bins * sizeof *X);
        for (size_t k = b->first; k < b->last; k++) {
            float gain = b->gain[k];

            gain *= correction ? correction[k * step / 2] : 1.0f;
            X[2 * k] = gain * now[2 * k];
            X[2 * k + 1] = gain * now[2 * k + 1];
        }
        es_irfft(b->fft, X, frame, work);
        for (size_t i = 0; i < b->n; i++)
            sum[i] += w[i] * frame[i];
    }
}

/* Read, lock; the spectrum is in `now`. */
static void analyse_frame(es_band *b, const es_source *s, const es_reading *r,
                          void *work)
{
    cut_window(b, r);
    transform(b, s, r->m, b->now, work);
    if (!b->is_fresh && !(r->is_attack && b->is_cut)) {
        transform(b, s, r->m - (int64_t)b->hop, b->before, work);
        compare_bins(b, s->n_channels);
        lock_phases(b, s->n_channels, r->is_attack);
    }
    b->is_fresh = 0;
    for (size_t c = 0; c < s->n_channels; c++)
        memcpy(b->sounded[c], b->now[c], 2 * b->n_bins * sizeof(float));
}

/* ---- Output -------------------------------------------------------------- */

/* Add n samples from sum_at on to y and forget them. */
static void take_output(es_band *b, size_t n_channels, size_t n, float *y)
{
    const size_t left = b->size - n;

    for (size_t c = 0; c < n_channels; c++) {
        for (size_t i = 0; i < n; i++) {
            float weight = b->weight[i] > 0.05f ? b->weight[i] : 0.05f;

            y[n_channels * i + c] += b->sum[c][i] / weight;
        }
        memmove(b->sum[c], b->sum[c] + n, left * sizeof(float));
        memset(b->sum[c] + left, 0, n * sizeof(float));
    }
    memmove(b->weight, b->weight + n, left * sizeof(float));
    memset(b->weight + left, 0, n * sizeof(float));
    b->sum_at += (int64_t)n;
}

#endif
