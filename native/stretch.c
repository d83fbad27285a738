/* stretch.c - plans of the stretcher, and its steps; see stretch.h. */
#include "flush.h"

#define ES_SCALAR
#include "simd.h"

#include "stretch_map.h"
#include "stretch_voice.h"

#define ES_LOW_MS 120.0        /* window of the low band */
#define ES_CROSSING 2000.0     /* Hz between the bands */
#define ES_PASS_BETA 7.0       /* of the high-pass's window: -70 dB */
#define ES_LEAST 1e-3          /* share of a bin that sounds */
#define ES_RAMP 0.1            /* seconds from one key or tempo to another */
#define ES_AHEAD 3             /* hops of stream behind a frame's middle */

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
    size_t n = size_near((size_t)(ES_LOW_MS * (double)c->sample_rate / (1000.0 * ES_WIDE)));

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
    if (c->sample_rate < 8000 || c->sample_rate > 192000 ||
        c->n_channels < 1 || c->n_channels > 2)
        return ES_ERR_SIZE;
    return es_choose(c->simd, ES_ALIGN) ? ES_OK : ES_ERR_SIMD;
}

size_t es_stretch_bytes(const es_stretch_config *config)
{
    es_arena arena = { NULL, 0 };
    es_parts parts;
    es_stretch s;

    if (check(config) != ES_OK)
        return 0;
    layout(&s, &parts, &arena, config);
    return arena.used;
}

static int make_fft(void *mem, size_t n, int simd, es_fft **fft)
{
    return es_fft_init(mem, es_fft_bytes(n, simd), n, simd, fft);
}

int es_stretch_init(void *mem, size_t mem_bytes,
                    const es_stretch_config *config, es_stretch **plan)
{
    es_arena arena = { mem, 0 };
    es_parts parts;
    es_stretch s;

    if (!mem || !plan || !config)
        return ES_ERR_NULL;
    int status = check(config);
    if (status != ES_OK)
        return status;
    if (!es_aligned(mem))
        return ES_ERR_ALIGN;
    if (mem_bytes < es_stretch_bytes(config))
        return ES_ERR_MEMORY;
    es_stretch *p = layout(&s, &parts, &arena, config);
    make_fft(parts.low, s.low.n, config->simd, &s.low.fft);
    make_fft(parts.high, s.high.n, config->simd, &s.high.fft);
    if (s.keeps_formants)
        make_fft(parts.voice, s.voice.n, config->simd, &s.voice.fft);
    fill_high_pass(&s.source, s.sample_rate);
    fill_band(&s.low, &s.source, s.sample_rate, 0);
    fill_band(&s.high, &s.source, s.sample_rate, 1);
    fill_kernel(&s.source);
    s.detector.block = s.sample_rate / 1500;
    s.detector.stride = s.sample_rate < 72000 ? 1 : s.sample_rate / 48000;
    s.detector.apart = s.sample_rate * 3 / 100;
    *p = s;
    *plan = p;
    return es_stretch_reset(p, 0.0, 0.0, 1.0);
}

/* ---- What is wanted ------------------------------------------------------ */

size_t es_stretch_hop(const es_stretch *plan)
{
    return plan ? plan->hop : 0;
}

/* Written so that NaN is refused. */
static int are_wishes(double semitones, double tempo)
{
    return semitones >= -12.0 && semitones <= 12.0 && tempo >= 0.5 &&
           tempo <= 2.0;
}

static void reset_band(es_band *b, size_t n_channels, int64_t start,
                       int64_t first)
{
    for (size_t c = 0; c < n_channels; c++)
        memset(b->sum[c], 0, b->size * sizeof(float));
    memset(b->weight, 0, b->size * sizeof(float));
    b->sum_at = start;
    b->next = first;
    b->is_fresh = 1;
}

static void reset_source(es_source *s, double place, double semitones)
{
    double pitch = exp2_of(semitones / 12.0);

    s->n_input = s->n_stream = s->ramp = 0;
    s->stream_at = 0;
    s->next_place = (double)floor_of(place);
    s->input_at = floor_of(place) - ES_MAX_TAPS / 2;
    s->semitones = s->wanted_semitones = semitones;
    s->fastest = pitch;
    s->calm = s->late;
}

/* Frames before the first step's output, which reach into it. */
static const int64_t first_step = -3;

int es_stretch_reset(es_stretch *plan, double position, double semitones,
                     double tempo)
{
    if (!plan)
        return ES_ERR_NULL;
    if (!are_wishes(semitones, tempo) ||
        !(position >= -0x1p40 && position <= 0x1p40))
        return ES_ERR_SIZE;
    const int64_t hop = (int64_t)plan->hop;
    const double pitch = exp2_of(semitones / 12.0);
    const double before = position - 2.0 * tempo * (double)hop;
    const double reach = (double)(4 * hop) * (pitch > 1.0 ? pitch : 1.0);

    plan->tempo = plan->wanted_tempo = tempo;
    plan->ramp = 0;
    plan->heard = first_step;
    plan->step = -2; /* the first frame is at the step behind it */
    plan->place[slot_of(-2)] = before;
    plan->tempos[slot_of(-2)] = tempo;
    reset_band(&plan->low, plan->n_channels, first_step * hop, -hop);
    reset_band(&plan->high, plan->n_channels, first_step * hop,
               -(int64_t)plan->high.hop);
    reset_source(&plan->source, before - reach, semitones);
    plan->detector.n_attacks = plan->detector.at = 0;
    plan->detector.next = 0;
    memset(plan->detector.recent, 0, sizeof plan->detector.recent);
    return ES_OK;
}

int es_stretch_set(es_stretch *plan, double semitones, double tempo)
{
    if (!plan)
        return ES_ERR_NULL;
    if (!are_wishes(semitones, tempo))
        return ES_ERR_SIZE;
    es_source *s = &plan->source;
    const size_t samples = (size_t)(ES_RAMP * (double)plan->sample_rate);

    if (semitones != s->wanted_semitones) {
        s->wanted_semitones = semitones;
        s->ramp = samples / s->chunk + 1;
    }
    if (tempo != plan->wanted_tempo) {
        plan->wanted_tempo = tempo;
        plan->ramp = samples / plan->hop + 1;
    }
    return ES_OK;
}

/* ---- How far to read ----------------------------------------------------- */

/* Is the stream that ends at `pace` long enough for the frame at `place`? */
static int covers(const es_stretch *s, const es_pace *pace, double place)
{
    const size_t n = ES_AHEAD * s->hop + 2 * s->source.chunk;

    return pace->place >= place + pace->fastest * (double)n;
}

/* End of the samples that frames up to step `last` need. */
static int64_t end_of_input(const es_stretch *s, int64_t last)
{
    es_pace pace = pace_of(&s->source);
    int64_t end = s->source.input_at + (int64_t)s->source.n_input;
    double place = s->place[slot_of(s->step)];
    double tempo = s->tempo;
    size_t ramp = s->ramp;

    for (int64_t step = s->step + 1; step <= last; step++) {
        place += tempo * (double)s->hop;
        tempo = toward(tempo, s->wanted_tempo, &ramp);
        while (!covers(s, &pace, place)) {
            double start = pace.place;
            double pitch = next_pitch(&s->source, &pace);
            int64_t need = end_of_need(&s->source, start, pitch);

            end = need > end ? need : end;
        }
    }
    return end;
}

/* The step whose frame the next output waits for. */
static int64_t last_step(const es_stretch *s)
{
    return (s->heard < 0 ? 0 : s->heard) + 2;
}

int64_t es_stretch_next(const es_stretch *plan)
{
    return plan ? plan->source.input_at + (int64_t)plan->source.n_input : 0;
}

size_t es_stretch_wants(const es_stretch *plan)
{
    if (!plan)
        return 0;
    return (size_t)(end_of_input(plan, last_step(plan)) -
                    es_stretch_next(plan));
}

double es_stretch_position(const es_stretch *plan, size_t frames)
{
    if (!plan)
        return 0.0;
    int64_t step = plan->heard < 0 ? 0 : plan->heard;

    if (plan->step >= step) /* it is computed */
        return place_at(plan, step * (int64_t)plan->hop + (int64_t)frames);
    double place = plan->place[slot_of(-2)];

    place += plan->tempos[slot_of(-2)] * (double)(2 * plan->hop);
    return place + plan->tempo * (double)frames;
}

int es_stretch_is_plain(const es_stretch *plan)
{
    int is_plain = plan && plan->heard >= 0 && plan->step > plan->heard;

    for (int64_t i = 0; is_plain && i < 2; i++)
        is_plain = plan->plain[slot_of(plan->heard + i)];
    return is_plain;
}

/* ---- Steps --------------------------------------------------------------- */

/* Move the head on by one step, and the stream with it. */
static void advance(es_stretch *s)
{
    es_source *source = &s->source;
    double place =
        s->place[slot_of(s->step)] + s->tempo * (double)s->hop;

    s->step++;
    s->tempo = toward(s->tempo, s->wanted_tempo, &s->ramp);
    for (;;) {
        es_pace pace = pace_of(source);

        if (covers(s, &pace, place))
            break;
        add_chunk(source);
        detect(&s->detector, source);
    }
    drop_input(source);
    size_t i = slot_of(s->step);

    s->place[i] = place;
    s->tempos[i] = s->tempo;
    s->plain[i] = source->calm >= source->late && source->semitones == 0.0 &&
                  s->tempo == 1.0;
    place_attacks(s);
}

/* The gains that keep formants at a step, NULL without a voice. */
static const float *correction_at(const es_stretch *s, int64_t step)
{
    return s->keeps_formants ? s->voice.correction[slot_of(step)] : NULL;
}

static void low_frame(es_stretch *s)
{
    es_band *b = &s->low;
    es_reading r = read_at(s, b, b->next);
    double pitch;

    analyse_frame(b, &s->source, &r, s->work);
    source_place(&s->source, r.m, &pitch);
    if (s->keeps_formants)
        correct_formants(&s->voice, b, s->n_channels, (float)pitch,
                         s->voice.correction[slot_of(s->step)], s->work);
    add_frame(b, s->n_channels, correction_at(s, s->step), 1, s->work);
    b->next += (int64_t)b->hop;
}

static void high_frame(es_stretch *s)
{
    es_band *b = &s->high;
    es_reading r = read_at(s, b, b->next);
    const int64_t hop = (int64_t)s->hop;
    int64_t step = (b->next + hop + hop / 2) / hop - 1; /* the nearest */

    analyse_frame(b, &s->source, &r, s->work);
    add_frame(b, s->n_channels, correction_at(s, step), ES_WIDE, s->work);
    b->next += (int64_t)b->hop;
}

/* All frames that reach into the step that is written next. */
static void compute_step(es_stretch *s, float *y)
{
    const int64_t end = (s->heard + 1) * (int64_t)s->hop;
    const int64_t half = (int64_t)s->high.n / 2;

    memset(y, 0, s->hop * s->n_channels * sizeof *y);
    advance(s);
    low_frame(s);
    while (s->high.next - half < end)
        high_frame(s);
    take_output(&s->low, s->n_channels, s->hop, y);
    take_output(&s->high, s->n_channels, s->hop, y);
    s->heard++;
}

int es_stretch_step(es_stretch *plan, const float *x, size_t n, float *y)
{
    if (!plan || !y || (!x && n))
        return ES_ERR_NULL;
    if (n != es_stretch_wants(plan) ||
        n > plan->source.max_input - plan->source.n_input)
        return ES_ERR_SIZE;
    const int64_t last = plan->heard < 0 ? 0 : plan->heard;
    es_fp_mode old = flush_subnormals();

    take_input(&plan->source, x, n);
    while (plan->heard <= last)
        compute_step(plan, y);
    restore_mode(old);
    return ES_OK;
}
