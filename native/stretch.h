/* stretch.h - another key and another tempo for one stem, live.
 *
 * A plan turns the samples of a stem into the same music at another pitch (-12
 * to 12 semitones) and another speed (0.5 to 2).  What is steady goes through a
 * phase vocoder whose bins are locked to their peaks; what starts suddenly is
 * passed through as it is, at its place.  A voice keeps its formants.
 * docs/stretch.md has the mathematics.
 *
 * Restrictions
 *   - Sample rates of 8000 to 192000 Hz, mono or stereo.
 *   - `mem` must be aligned to ES_ALIGN bytes.
 *
 * Memory: the kernel never allocates.  Ask es_stretch_bytes, hand that many
 * bytes to es_stretch_init.  A plan holds pointers into itself: do not move or
 * copy it.
 *
 * Time: the plan reads its source in order and writes in steps of
 * es_stretch_hop frames.  The first frame of a step stands for the place
 * es_stretch_position of the source, in samples; places between two steps lie
 * on the straight line.  They follow from what was set alone, never from the
 * samples: plans that are reset and set alike run alike, so stems stay
 * together.
 *
 * Threads: a plan holds its state: one thread at a time.
 *
 * Order: as in edgestem.h.  Steps do not depend on how they are grouped into
 * calls, and their bits are the same on every level and machine.
 *
 * Floating point: subnormals count as silence inside.  Samples that are not
 * finite count as 0, others are limited to 2^30; what is written is finite.
 *
 * Errors: functions return ES_OK or a negative status of edgestem.h.  On an
 * error nothing has changed.
 */
#ifndef ES_STRETCH_H
#define ES_STRETCH_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin */

typedef struct es_stretch es_stretch;

typedef struct es_stretch_config {
    size_t sample_rate; /* 8000 to 192000 */
    size_t n_channels;  /* 1 or 2 */
    int keeps_formants; /* 1: a voice */
    int simd;           /* ES_SIMD_*: the most the plan may use */
} es_stretch_config;

/* Bytes of a plan; 0 if the config is not supported. */
size_t es_stretch_bytes(const es_stretch_config *config);

/* Make a plan in mem, as after es_stretch_reset(plan, 0.0, 0.0, 1.0).
 * ES_OK, ES_ERR_NULL, _SIZE, _ALIGN, _MEMORY, _SIMD. */
int es_stretch_init(void *mem, size_t mem_bytes,
                    const es_stretch_config *config, es_stretch **plan);

/* Output frames of a step: 25 to 29 ms, most often. */
size_t es_stretch_hop(const es_stretch *plan);

/* Start anew: the next step's first frame stands for `position` (samples,
 * between -2^40 and 2^40), at `semitones` (-12 to 12) and `tempo` (0.5 to 2),
 * without a ramp.  ES_OK, ES_ERR_NULL, ES_ERR_SIZE. */
int es_stretch_reset(es_stretch *plan, double position, double semitones,
                     double tempo);

/* Move key and tempo to these values within 0.11 seconds of what is computed
 * next, which is heard two steps later.  ES_OK, ES_ERR_NULL, ES_ERR_SIZE. */
int es_stretch_set(es_stretch *plan, double semitones, double tempo);

/* The place of the first sample that the next step takes; it may lie before
 * the song's start. */
int64_t es_stretch_next(const es_stretch *plan);

/* How many samples the next step takes, 0 and up. */
size_t es_stretch_wants(const es_stretch *plan);

/* The place that the first frame of the next step stands for; `frames` of
 * them later, 0 to es_stretch_hop. */
double es_stretch_position(const es_stretch *plan, size_t frames);

/* Whether the next step is all at semitones 0 and tempo 1: 1 or 0. */
int es_stretch_is_plain(const es_stretch *plan);

/* One step.
 *   x  (n, n_channels), interleaved: the samples from es_stretch_next on;
 *      n is es_stretch_wants, or ES_ERR_SIZE
 *   y  written: (es_stretch_hop, n_channels), interleaved
 * ES_OK, ES_ERR_NULL, ES_ERR_SIZE. */
int es_stretch_step(es_stretch *plan, const float *x, size_t n, float *y);

/* cffi: end */

#endif
