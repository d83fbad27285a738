/* edgestem.h - spectrogram kernel: samples to int8 features, mask to samples.
 *
 * Two fused calls carry the hot path of a two-stem separator.  es_analyse
 * turns PCM into complex spectra and quantised band features; es_synthesise
 * turns a quantised band mask and those spectra back into PCM.  es_features
 * quantises spectra once more, at another gain.  For networks whose first
 * levels int8 cannot hold, es_magnitudes and es_levels_codes compute these in
 * float.  A plain real FFT is exported for tests and benchmarks.
 *
 * Restrictions
 *   - n_fft is 2^a 3^b 5^c, divisible by 4, 16 to 2^20.
 *   - Single precision; twiddle factors and window scaling are computed in
 *     double.  Signal to rounding noise of one transform is above 120 dB.
 *   - Compile with -ffp-contract=off where the compiler would fuse products
 *     and sums; otherwise see Order.
 *   - `mem` and `work` must be aligned to ES_ALIGN bytes.  Other buffers need
 *     the alignment of their element only, and results do not depend on it.
 *
 * Memory: the kernel never allocates.  Ask es_*_bytes for the size of a plan,
 * hand that many bytes to es_*_init, and es_*_work_bytes for the scratch that
 * every call needs.  A plan holds pointers into itself: do not move or copy
 * it.  Tables given in es_config are copied; they may go after init.
 *
 * Threads: a plan is read-only after init and may be shared.  `work` may not:
 * one per thread.  Calls are reentrant; there are no globals.
 *
 * Order: every frame is computed in one order, and what one leaves to the next
 * is in es_memory, so results do not depend, to the bit, on how frames are
 * grouped into calls.  The order is the same on every level
 * (see es_config.simd), nothing is fused, and the tables owe nothing to the C
 * library: all functions give the same bits on every level and machine whose
 * floats are those of IEEE 754 (x86-64, aarch64, ARM with VFP).  Two things
 * stay the machine's own: the bits of a NaN, and whether a value that rounds up
 * to the least normal number is flushed.
 *
 * Aliasing: no two pointers of a call may overlap.
 *
 * Floating point: the calls of fused plans and of levels set flush-to-zero
 * (FTZ and DAZ on x86, FZ on ARM) while they run, and restore the caller's
 * mode: subnormal samples count as silence.  NaN and infinity in the samples
 * are safe; a NaN power counts as 0, an infinite one as the greatest.
 *
 * Errors: functions return ES_OK or a negative status.  On an error nothing
 * has been written.
 */
#ifndef EDGESTEM_H
#define EDGESTEM_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin */

#define ES_ABI 10   /* changes with any change of this contract */
#define ES_ALIGN 64 /* bytes; alignment of mem and work */

#define ES_OK 0
#define ES_ERR_NULL -1       /* a pointer is NULL */
#define ES_ERR_SIZE -2       /* n_fft, hop, decay or a count is not supported */
#define ES_ERR_ALIGN -3      /* mem or work is not aligned to ES_ALIGN */
#define ES_ERR_MEMORY -4     /* mem_bytes is less than es_*_bytes said */
#define ES_ERR_SIMD -5       /* this machine lacks the instruction set */
#define ES_ERR_BANDS -6      /* band edges are negative or do not increase */
#define ES_ERR_THRESHOLDS -7 /* NaN, decreasing or too close to each other */

#define ES_DIRECTIONS_FLOATS 756 /* of es_memory.directions */

#define ES_MAX_LEVELS 4 /* of a network, computed in float */

#define ES_SIMD_BEST -1 /* the best this machine has */
#define ES_SIMD_SCALAR 0
#define ES_SIMD_SSE2 1
#define ES_SIMD_AVX2 2
#define ES_SIMD_NEON 3 /* aarch64 */

typedef struct es_fft es_fft;
typedef struct es_spectral es_spectral;
typedef struct es_levels es_levels;

/* Everything a fused plan is made of.
 *
 * Band b is the mean of re^2 + im^2 over the bins band_edges[b] to
 * band_edges[b + 1] - 1.  Bins from n_fft / 2 + 1 on do not exist: the mean
 * goes over those that do, and is 0 without any.
 *
 * A feature is -128 plus the number of thresholds that are <= power * gain^2.
 * Thresholds do not decrease.  Finite ones above 0 must be distinct, 0.2 % or
 * more apart; those below 2^-125 count as 2^-125.  Infinite ones are never
 * reached.
 */
typedef struct es_config {
    size_t n_fft;                  /* frame length in samples */
    size_t hop;                    /* samples between frames */
    size_t n_synthesis;            /* hop to n_fft; see es_synthesise */
    size_t n_channels;             /* audio channels, 1 or 2 */
    size_t n_features;             /* 2: |L|, |R|; 3: |L|, |R|, |L - R| */
    size_t n_bands;                /* 1 to 2^20 */
    size_t top_bands;              /* 0 to n_bands; see es_synthesise */
    const float *analysis_window;  /* n_fft */
    const float *synthesis_window; /* n_synthesis */
    const int32_t *band_edges;     /* n_bands + 1, increasing, not negative */
    const float *thresholds;       /* 255 */
    const float *mask_table;       /* 256: gain of mask code q at q + 128 */
    float decay;                   /* 0 to below 1; see es_synthesise */
    size_t n_past;                 /* frames remembered, 0 to 2^16, and as far
                                      as their bytes are a size_t; likewise */
    int simd;                      /* ES_SIMD_*: the most a plan may use */
} es_config;

/* What a stream's frames leave to the next: the caller's, zeros at the start.
 * NULL leaves out what it stands for; see es_synthesise for what each does. */
typedef struct es_memory {
    float *tail;       /* (n_synthesis - hop, n_channels): overlap-add; NULL
                        * only where it is empty */
    float *directions; /* ES_DIRECTIONS_FLOATS: from where vocals came */
    float *repetition; /* es_repetition_floats(): what was played */
    float *places;     /* (2, 4, n_fft / 2 + 1): where vocals and the rest are:
                        * C_LL, C_RR, re C_LR and im C_LR of each */
} es_memory;

/* Say what a status means, in a few words.  Never NULL. */
const char *es_strerror(int status);

/* Report ES_ABI as this library was compiled. */
int es_abi(void);

/* Report the best ES_SIMD_* level that this machine runs. */
int es_simd_best(void);

/* Report whether this machine and this build run a level: 1 or 0. */
int es_simd_runs(int simd);

/* Name a level: "scalar", "sse2", "avx2", "neon"; "?" for another number. */
const char *es_simd_name(int simd);

/* Bytes of a real FFT plan; 0 if n_fft or simd is not supported. */
size_t es_fft_bytes(size_t n_fft, int simd);

/* Bytes of the scratch that es_rfft and es_irfft need; 0 as above. */
size_t es_fft_work_bytes(size_t n_fft);

/* Make a plan in mem.  `simd` is the most the plan may use: an n_fft / 2 that
 * is below 64 or no multiple of 8 uses none (see es_fft_simd).
 * ES_OK, ES_ERR_NULL, _SIZE, _ALIGN, _MEMORY, _SIMD. */
int es_fft_init(void *mem, size_t mem_bytes, size_t n_fft, int simd,
                es_fft **plan);

/* Report the level that a plan uses. */
int es_fft_simd(const es_fft *plan);

/* Transform x[n_fft] to X[n_fft / 2 + 1] complex, interleaved re, im.
 * Not scaled.  ES_OK, ES_ERR_NULL, ES_ERR_ALIGN (work). */
int es_rfft(const es_fft *plan, const float *x, float *X, void *work);

/* The inverse, scaled by 1 / n_fft: irfft(rfft(x)) is x.  The imaginary parts
 * of bins 0 and n_fft / 2 do not count.  ES_OK, ES_ERR_NULL, ES_ERR_ALIGN. */
int es_irfft(const es_fft *plan, const float *X, float *x, void *work);

/* Bytes of a fused plan and of its scratch; 0 if the config is not valid. */
size_t es_spectral_bytes(const es_config *config);
size_t es_spectral_work_bytes(const es_config *config);

/* Make a fused plan in mem.
 * ES_OK, ES_ERR_NULL, _SIZE, _ALIGN, _MEMORY, _SIMD, _BANDS, _THRESHOLDS. */
int es_spectral_init(void *mem, size_t mem_bytes, const es_config *config,
                     es_spectral **plan);

/* Report the level that a plan uses. */
int es_spectral_simd(const es_spectral *plan);

/* Floats of es_memory.repetition; 0 if the plan remembers no frames. */
size_t es_repetition_floats(const es_spectral *plan);

/* Samples to spectra and features.
 *   x         ((n_frames - 1) * hop + n_fft, n_channels), interleaved
 *   gain      linear; features see power * gain^2, X is not scaled
 *   X         written: (n_frames, n_channels, n_fft / 2 + 1) complex
 *   features  written: (n_frames, n_bands, n_features); or NULL: not asked for
 * Mono audio is L and R at once; its L - R is 0.
 * ES_OK, ES_ERR_NULL, ES_ERR_ALIGN (work). */
int es_analyse(const es_spectral *plan, const float *x, size_t n_frames,
               float gain, float *X, int8_t *features, void *work);

/* Spectra to features: to the bit what es_analyse gave with X at this gain.
 *   X         as es_analyse wrote it
 *   features  written: (n_frames, n_bands, n_features)
 * ES_OK, ES_ERR_NULL, ES_ERR_ALIGN (work). */
int es_features(const es_spectral *plan, const float *X, size_t n_frames,
                float gain, int8_t *features, void *work);

/* Spectra to magnitudes: the root of the power that a feature is the code of.
 *   X           as es_analyse wrote it
 *   gain        linear; magnitudes see it
 *   magnitudes  written: (n_frames, n_bands, n_features), 0 to 2^20; NaN is 0
 * ES_OK, ES_ERR_NULL, ES_ERR_ALIGN (work). */
int es_magnitudes(const es_spectral *plan, const float *X, size_t n_frames,
                  float gain, float *magnitudes, void *work);

/* Mask and spectra to samples.
 *   mask        (n_frames, n_bands, 2): codes of L and R; mono takes the mean
 *               gain
 *   X           as es_analyse wrote it (bins 0 and n_fft / 2 are real)
 *   memory      read and written; no part may overlap another
 *   y           written: (n_frames * hop, n_channels); hop k is finished by
 *               frame k: it begins n_synthesis samples before that frame's end
 * Only the last n_synthesis samples of a frame overlap-add.  Bins from
 * band_edges[n_bands] on get the mean gain of the last top_bands bands (0 if
 * top_bands is 0), bins below band_edges[0] get 0.
 *
 * With directions, and in stereo, the gains g of the bins below
 * band_edges[n_bands] learn from which direction vocals come.  A bin's
 * direction is one of 54 cells: 6 i + j, where i is the number of k from 1 to 8
 * with |R|^2 >= sin^2(k pi / 18) (|L|^2 + |R|^2), and j that of k from 1 to 5
 * with Re(L conj(R)) <= cos(k pi / 6) |L| |R|.  Per cell and region (they end
 * at bins 8, 16, 32, 64, 128, 256 and with the last of these bins) there are
 * two sums over the frames so far (weights 1, decay, decay^2, ...), N = sum w,
 * H = sum w h, w = sqrt(|L|^2 + |R|^2), h being the mean of the channels' g
 * weighted by power.  With the totals N_r and H_r of the region, m = H_r / N_r,
 * a = 0.05 N_r / 54 and p = (H + a m) / (N + a), m and p kept within 0.02 to
 * 0.98, the odds of g change half as much again as those of m would have to
 * become p's: g' = g e^1.5 / (g e^1.5 + 1 - g), e = p (1 - m) / ((1 - p) m), 1
 * without any N_r.
 *
 * With repetition the gains below band_edges[n_bands] learn from what repeats.
 * The rest of a frame, r = (1 - g)^2 |x|^2 for each channel and bin, has a
 * profile: its sums over both channels and over the bins e[i] to e[i + 1] - 1,
 * each to the power 1/8, where e[0] = 1 and e[i + 1] = e[i] + 1 + e[i] / 16.
 * Profiles, less their mean over the stream (weights decay, decay^2, ...), are
 * alike by the cosine c between them.  Among the n_past - 1 frames before this
 * one, those that are alike by more than 0.4 and no less than their two
 * neighbours are candidates; with the 16 most alike (the later one first, where
 * equal) r' = (r + sum w[i] r[i]) / (1 + sum w[i]), w[i] = (c[i] - 0.4) / 0.6,
 *   g' = g |x| / (g |x| + sqrt r'):
 * what the accompaniment was where it sounded like this says what it is here.
 *
 * Without places, and for mono, each channel is multiplied by its gain.
 * With it stereo goes through a multichannel Wiener filter: g being the gains'
 * mean over L and R, weighted by power, and x the bin (L, R) of a frame,
 *   C_v = decay C_v + g^3 x x^H / |x|, C_r = decay C_r + (1 - g)^3 x x^H / |x|
 * (|x| as the sum of the real and imaginary parts' magnitudes), and with both
 * brought to mean power 1 and 1 % uncorrelated power added, R_v and R_r,
 *   y = g R_v (g R_v + (1 - g) R_r)^-1 x:
 * y = g x where vocals and the rest come from the same places, and what comes
 * from where no vocals are stays out of them.  Places hold C_v, then C_r.
 * Values that are not finite, or above 2^60, leave no trace in them.
 * ES_OK, ES_ERR_NULL, ES_ERR_ALIGN (work). */
int es_synthesise(const es_spectral *plan, const int8_t *mask, const float *X,
                  size_t n_frames, const es_memory *memory, float *y,
                  void *work);

/* One of the first levels of a network: see es_levels_codes. */
typedef struct es_level {
    size_t n_out;        /* channels, a multiple of 16 */
    const float *kernel; /* (5, 5, n_in, n_out), finite */
    const float *bias;   /* n_out, finite */
    float scale;         /* of its codes, above 0 */
    int zero;            /* code of 0, -128 to 127 */
} es_level;

/* Everything a plan of levels is made of; kernels and biases are copied. */
typedef struct es_levels_config {
    size_t n_frames;   /* of a call: a multiple of 2^n_levels, to 2^16 */
    size_t n_bands;    /* a multiple of 4 * 2^n_levels, to 2^16 */
    size_t n_features; /* of the magnitudes, 1 to 16 */
    size_t n_levels;   /* 1 to ES_MAX_LEVELS */
    float slope;       /* of LeakyReLU, 0 to 1 */
    float heard_scale; /* of the codes of what the last level hands on */
    int heard_zero;    /* code of 0 there */
    int simd;          /* ES_SIMD_*: the most a plan may use */
    es_level level[4]; /* n_levels of them; n_out up to 1024 */
} es_levels_config;

/* Bytes of a plan of levels and of its scratch; 0 if the config is not valid.
 */
size_t es_levels_bytes(const es_levels_config *config);
size_t es_levels_work_bytes(const es_levels_config *config);

/* Make a plan of levels in mem.
 * ES_OK, ES_ERR_NULL, _SIZE (or a number that is not finite), _ALIGN, _MEMORY,
 * _SIMD. */
int es_levels_init(void *mem, size_t mem_bytes, const es_levels_config *config,
                   es_levels **plan);

/* Report the level of instructions that a plan uses. */
int es_levels_simd(const es_levels *plan);

/* Magnitudes to codes of what each level computes.
 *   magnitudes  (n_frames, n_bands, n_features), finite; h[0] below
 *   codes       n_levels + 1 pointers: i to (n_frames / 2^(i + 1),
 *               n_bands / 2^(i + 1), n_out) codes of level i, written; the last
 *               one to as many codes of h[n_levels] as of the last level
 * Level i is a convolution of 5 x 5 with a step of 2; what is outside of h is
 * 0: z[t, f, o] = bias[o] + sum h[i][2 t + y - 1, 2 f + x - 1, c]
 *                              * kernel[y, x, c, o],
 * over y, x and c from 0 up, the last fastest, every product and every sum
 * rounded to float; the next level hears h[i + 1] = max(z, slope z).  Codes are
 * z (1 / scale) + zero, kept within -128 to 127 and rounded half to even.
 * The same bits on every level of instructions and machine, as above.
 * ES_OK, ES_ERR_NULL, ES_ERR_ALIGN (work). */
int es_levels_codes(const es_levels *plan, const float *magnitudes,
                    int8_t *const *codes, void *work);

/* Sum the squares of x[n] in double: eight accumulators take the values
 * round-robin and are added in pairs (0+4, 1+5, ...; then 0+2, 1+3; 0+1).
 * The same bits on every level; 0 for n == 0 or x == NULL. */
double es_energy(const float *x, size_t n);

/* cffi: end */

#endif
