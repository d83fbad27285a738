/* spectral.c - plans of the fused calls: windows, bands, the quantiser. */
#include "frame/flush.h"
#include "plan/internal.h"
#include "frame/flush.h"

#include <math.h>
#include <string.h>

#define ES_N_THRESHOLDS 255
#define ES_MAX_BANDS ((size_t)1 << 20)
#define ES_LEAST_THRESHOLD 0x1p-125f /* the cell below it is still normal */
#define ES_MAX_SHIFT                                                           \
    22                  /* of 23 mantissa bits; a cell has 32 bits, 8 of code  \
                         */
#define ES_MIN_SHIFT 13 /* 2^10 cells an octave: thresholds 0.2 % apart */

/* ---- Quantiser -----------------------------------------------------------
 *
 * Positive floats sort like their bits.  The upper bits of a power name a cell
 * of a table; a cell is so narrow that it holds one threshold at most.  It
 * keeps the code below that threshold and the threshold's lower bits, so a
 * code costs one look-up and one comparison, and is exact. */

typedef struct es_quantiser {
    size_t shift;       /* bits below the cell number */
    int32_t first_cell; /* one below the first threshold's: has none */
    size_t n_cells;     /* up to one above the last threshold's: has none */
    int n_below;        /* thresholds that every power reaches */
    int n_finite;       /* thresholds that a finite power can reach */
} es_quantiser;

static int32_t bits_of(float value)
{
    int32_t bits;

    if (value < ES_LEAST_THRESHOLD)
        value = ES_LEAST_THRESHOLD;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(int32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Choose the widest cells that hold one threshold each at most. */
static int choose_cells(const float *t, es_quantiser *q)
{
    const int32_t inf = 0x7f800000;

    q->n_below = q->n_finite = 0;
    for (int i = 0; i < ES_N_THRESHOLDS; i++) {
        if (t[i] != t[i] || (i && t[i] < t[i - 1]))
            return ES_ERR_THRESHOLDS;
        q->n_below += t[i] <= 0.0f;
        q->n_finite += t[i] <= 0.0f || bits_of(t[i]) < inf;
    }
    q->shift = ES_MAX_SHIFT;
    for (int i = q->n_below + 1; i < q->n_finite; i++) {
        int32_t low = bits_of(t[i - 1]);
        int32_t high = bits_of(t[i]);

        while (q->shift >= ES_MIN_SHIFT && low >> q->shift == high >> q->shift)
            q->shift--;
    }
    if (q->shift < ES_MIN_SHIFT)
        return ES_ERR_THRESHOLDS;
    /* Without any threshold in reach, two cells around 1. */
    int is_empty = q->n_below == q->n_finite;
    float first = is_empty ? 1.0f : t[q->n_below];
    float last = is_empty ? 1.0f : t[q->n_finite - 1];

    q->first_cell = (bits_of(first) >> q->shift) - 1;
    q->n_cells = (size_t)((bits_of(last) >> q->shift) + 2 - q->first_cell);
    return ES_OK;
}

static void fill_cells(es_spectral *s, const es_quantiser *q, const float *t)
{
    const int32_t never = (int32_t)1 << q->shift; /* above all lower bits */
    int next = q->n_below;

    s->shift = q->shift;
    s->first_cell = q->first_cell;
    s->lowest = float_of(q->first_cell * ((int32_t)1 << q->shift));
    for (size_t i = 0; i < q->n_cells; i++) {
        int32_t number = q->first_cell + (int32_t)i;
        int32_t low = never;
        int32_t base = next;

        if (next < q->n_finite && bits_of(t[next]) >> q->shift == number)
            low = bits_of(t[next++]) & (never - 1);
        s->codes[i] = low * 256 + base;
        s->highest = float_of(number * never);
    }
}

/* ---- Repetition ----------------------------------------------------------
 */

static size_t in_lanes(size_t n)
{
    return (n + ES_LANES - 1) / ES_LANES * ES_LANES;
}

/* Edges of a profile over bins 1 to n_powers - 1; returns its values. */
static size_t profile_of(size_t n_powers, uint32_t *edges)
{
    size_t n = 0;

    for (size_t e = 1; e < n_powers; e += 1 + e / 16, n++) {
        if (edges)
            edges[n] = (uint32_t)e;
    }
    if (edges)
        edges[n] = (uint32_t)n_powers;
    return n;
}

size_t es_repetition_floats(const es_spectral *plan)
{
    if (!plan || !plan->n_past)
        return 0;
    return ES_PAST_HEAD + plan->profile_size +
           plan->n_past * (1 + plan->row_size);
}

/* ---- Bands ---------------------------------------------------------------
 */

static int check_bands(const es_config *c)
{
    if (c->band_edges[0] < 0)
        return ES_ERR_BANDS;
    for (size_t b = 0; b < c->n_bands; b++) {
        if (c->band_edges[b + 1] <= c->band_edges[b])
            return ES_ERR_BANDS;
    }
    return ES_OK;
}

static void fill_bands(es_spectral *s, const es_config *c)
{
    s->n_there = s->n_single = 0;
    for (size_t b = 0; b <= s->n_bands; b++) {
        size_t edge = (size_t)c->band_edges[b];

        s->edges[b] = (uint32_t)(edge < s->n_bins ? edge : s->n_bins);
    }
    for (size_t b = 0; b < s->n_bands; b++) {
        uint32_t width = s->edges[b + 1] - s->edges[b];

        s->inverse_width[b] = width ? 1.0f / (float)width : 0.0f;
        s->n_there += width > 0;
        s->n_single += width == 1 && s->n_single == b;
    }
    profile_of(s->n_powers, s->profile_edges);
}

/* ---- Windows -------------------------------------------------------------
 *
 * Stereo pairs are (L, R) of one sample: both parts take the same window.
 * Mono pairs are (even, odd) samples. */

/* The scaled synthesis window at sample i of a frame, 0 before it starts. */
static float synthesis_at(const es_config *c, size_t i)
{
    const size_t first = c->n_fft - c->n_synthesis;

    if (i < first)
        return 0.0f;
    return (float)(1.0 / (double)c->n_fft *
                   (double)c->synthesis_window[i - first]);
}

static void fill_windows(es_spectral *s, const es_config *c)
{
    const size_t step = s->n_channels == 1 ? 2 : 1;

    for (size_t i = 0; i < s->c.n; i++) {
        s->window_re[i] = 0.5f * c->analysis_window[step * i];
        s->synthesis_re[i] = synthesis_at(c, step * i);
        if (step == 1)
            continue;
        s->window_im[i] = 0.5f * c->analysis_window[2 * i + 1];
        s->synthesis_im[i] = synthesis_at(c, 2 * i + 1);
    }
}

/* ---- Plans ---------------------------------------------------------------
 */

/* Say whether what repeats has a size at all: where size_t has 32 bits, the
 * largest windows with the most frames have none.  Everything else that
 * es_take() adds up is bounded by es_size_ok() and ES_MAX_BANDS. */
static int past_fits(const es_config *c)
{
    size_t most = SIZE_MAX / sizeof(float);
    size_t profile = in_lanes(ES_MAX_PROFILE);
    size_t plane = in_lanes(c->n_fft / 2 + 1 + ES_LANES);

    return c->n_past <= (most - ES_PAST_HEAD - profile) /
                            (1 + profile + c->n_channels * plane);
}

static int check(const es_config *c, es_quantiser *q)
{
    if (!c || !c->analysis_window || !c->synthesis_window || !c->band_edges ||
        !c->thresholds || !c->mask_table)
        return ES_ERR_NULL;
    if (!es_size_ok(c->n_fft) || c->hop < 1 || c->hop > c->n_synthesis ||
        c->n_synthesis > c->n_fft || c->n_channels < 1 || c->n_channels > 2 ||
        c->n_features < 2 || c->n_features > 3 || c->n_bands < 1 ||
        c->n_bands > ES_MAX_BANDS || c->top_bands > c->n_bands ||
        c->n_past > ES_MAX_PAST || !(c->decay >= 0.0f && c->decay < 1.0f))
        return ES_ERR_SIZE;
    if (!past_fits(c))
        return ES_ERR_SIZE;
    if (!es_choose(c->simd, c->n_fft))
        return ES_ERR_SIMD;
    int status = check_bands(c);

    return status == ES_OK ? choose_cells(c->thresholds, q) : status;
}

/* Fill `s` with counts and places; the plan itself is the first piece. */
static es_spectral *layout(es_spectral *s, es_arena *arena, const es_config *c,
                           const es_quantiser *q)
{
    es_spectral *plan = es_take(arena, 1, sizeof *plan);
    size_t n = c->n_channels == 1 ? c->n_fft / 2 : c->n_fft;

    s->ops = es_choose(c->simd, n);
    s->n_fft = c->n_fft;
    s->hop = c->hop;
    s->n_synthesis = c->n_synthesis;
    s->n_bins = c->n_fft / 2 + 1;
    s->n_channels = c->n_channels;
    s->n_features = c->n_features;
    s->n_bands = c->n_bands;
    s->top_bands = c->top_bands;
    s->decay = c->decay;
    s->n_past = c->n_past;
    s->n_powers = (size_t)c->band_edges[c->n_bands];
    if (s->n_powers > s->n_bins)
        s->n_powers = s->n_bins;
    s->n_profile = profile_of(s->n_powers, NULL);
    s->profile_size = in_lanes(s->n_profile);
    s->plane_size = in_lanes(s->n_powers + ES_LANES);
    s->row_size = s->profile_size + s->n_channels * s->plane_size;
    s->window_re = es_take(arena, n, sizeof *s->window_re);
    s->synthesis_re = es_take(arena, n, sizeof *s->synthesis_re);
    s->window_im = s->window_re;
    s->synthesis_im = s->synthesis_re;
    if (c->n_channels == 1) {
        s->window_im = es_take(arena, n, sizeof *s->window_im);
        s->synthesis_im = es_take(arena, n, sizeof *s->synthesis_im);
    }
    s->edges = es_take(arena, c->n_bands + 1, sizeof *s->edges);
    s->profile_edges =
        es_take(arena, s->n_profile + 1, sizeof *s->profile_edges);
    s->inverse_width = es_take(arena, c->n_bands, sizeof *s->inverse_width);
    s->codes = es_take(arena, q->n_cells, sizeof *s->codes);
    s->mask_table = es_take(arena, ES_CODES, sizeof *s->mask_table);
    es_cfft_layout(&s->c, arena, n, c->n_channels == 1);
    return plan;
}

size_t es_spectral_bytes(const es_config *config)
{
    es_arena arena = { NULL, 0 };
    es_quantiser q;
    es_spectral s;

    if (check(config, &q) != ES_OK)
        return 0;
    layout(&s, &arena, config, &q);
    return arena.used;
}

static size_t cut_work(es_work *w, void *work, const es_spectral *s)
{
    es_arena arena = { work, 0 };

    es_work_layout(w, &arena, s->c.n, s->n_bins + s->n_bands, s->n_bins);
    return arena.used;
}

size_t es_spectral_work_bytes(const es_config *config)
{
    es_arena arena = { NULL, 0 };
    es_quantiser q;
    es_spectral s;
    es_work w;

    if (check(config, &q) != ES_OK)
        return 0;
    layout(&s, &arena, config, &q);
    return cut_work(&w, NULL, &s);
}

int es_spectral_init(void *mem, size_t mem_bytes, const es_config *config,
                     es_spectral **plan)
{
    es_arena arena = { mem, 0 };
    es_quantiser q;
    es_spectral s;

    if (!mem || !plan)
        return ES_ERR_NULL;
    int status = check(config, &q);
    if (status != ES_OK)
        return status;
    if (!es_aligned(mem))
        return ES_ERR_ALIGN;
    if (mem_bytes < es_spectral_bytes(config))
        return ES_ERR_MEMORY;
    es_spectral *p = layout(&s, &arena, config, &q);
    fill_cells(&s, &q, config->thresholds);
    fill_bands(&s, config);
    fill_windows(&s, config);
    memcpy(s.mask_table, config->mask_table, ES_CODES * sizeof *s.mask_table);
    es_cfft_fill(&s.c);
    *p = s;
    *plan = p;
    return ES_OK;
}

int es_spectral_simd(const es_spectral *plan)
{
    return plan ? plan->ops->simd : ES_ERR_NULL;
}

/* ---- Calls ---------------------------------------------------------------
 */

int es_analyse(const es_spectral *plan, const float *x, size_t n_frames,
               float gain, float *X, int8_t *features, void *work)
{
    es_work w;

    if (!plan || !x || !X || !work)
        return ES_ERR_NULL;
    if (!es_aligned(work))
        return ES_ERR_ALIGN;
    cut_work(&w, work, plan);
    es_fp_mode old = flush_subnormals();
    plan->ops->analyse(plan, x, n_frames, gain, X, features, &w);
    restore_mode(old);
    return ES_OK;
}

int es_features(const es_spectral *plan, const float *X, size_t n_frames,
                float gain, int8_t *features, void *work)
{
    es_work w;

    if (!plan || !X || !features || !work)
        return ES_ERR_NULL;
    if (!es_aligned(work))
        return ES_ERR_ALIGN;
    cut_work(&w, work, plan);
    es_fp_mode old = flush_subnormals();
    plan->ops->features(plan, X, n_frames, gain, features, &w);
    restore_mode(old);
    return ES_OK;
}

int es_magnitudes(const es_spectral *plan, const float *X, size_t n_frames,
                  float gain, float *magnitudes, void *work)
{
    es_work w;

    if (!plan || !X || !magnitudes || !work)
        return ES_ERR_NULL;
    if (!es_aligned(work))
        return ES_ERR_ALIGN;
    cut_work(&w, work, plan);
    es_fp_mode old = flush_subnormals();
    plan->ops->magnitudes(plan, X, n_frames, gain, magnitudes, &w);
    restore_mode(old);
    return ES_OK;
}

int es_synthesise(const es_spectral *plan, const int8_t *mask, const float *X,
                  size_t n_frames, const es_memory *memory, float *y,
                  void *work)
{
    es_work w;

    if (!plan || !mask || !X || !memory || !y || !work ||
        (!memory->tail && plan->hop < plan->n_synthesis))
        return ES_ERR_NULL;
    if (!es_aligned(work))
        return ES_ERR_ALIGN;
    cut_work(&w, work, plan);
    es_fp_mode old = flush_subnormals();
    plan->ops->synthesise(plan, mask, X, n_frames, memory, y, &w);
    restore_mode(old);
    return ES_OK;
}

double es_energy(const float *x, size_t n)
{
    return x ? es_choose(ES_SIMD_BEST, ES_ALIGN)->energy(x, n) : 0.0;
}
