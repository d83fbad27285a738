/* stretch.c - plans of the stretcher, and its steps; see stretch.h. */
#include "frame/flush.h"

#define ES_SCALAR
#include "frame/simd.h"

#include "stretch/map.h"
#include "stretch/plan.h"
#include "stretch/voice.h"

#define ES_RAMP 0.1 /* seconds from one key or tempo to another */
#define ES_AHEAD 3  /* hops of stream behind a frame's middle */

/* ---- Plans --------------------------------------------------------------- */

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
        if (step > 0)
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
    double place = s->place[slot_of(s->step)] + s->tempo * (double)s->hop;

    s->step++;
    if (s->step > 0) /* the first output stands for the place of the reset */
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
