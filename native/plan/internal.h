/* internal.h - what the files of the kernel share; not part of the contract.
 *
 * The algorithm (stages.h and what it includes) is compiled once per
 * instruction set; each result is an es_ops.  A plan points to the es_ops that
 * it was made for. */
#ifndef ES_INTERNAL_H
#define ES_INTERNAL_H

#include "edgestem.h"

#if defined(__x86_64__) || defined(__i386__)
#define ES_X86 1
#elif defined(__aarch64__)
#define ES_ARM64 1
#elif defined(__arm__) && defined(__ARM_PCS_VFP)
#define ES_VFP 1 /* 32-bit ARM with hard floating point */
#endif

#define ES_MAX_PASSES 16 /* of radix 2 to 8 over at most 2^20 rows */
#define ES_LANES 8       /* of a row; a multiple of every level's lanes */
#define ES_CODES 256     /* values of an int8 */

/* Of the multichannel Wiener filter. */
#define ES_EVERYWHERE 0.01f  /* uncorrelated power beside a place's */
#define ES_LOUDEST 0x1p60f   /* of what leaves a trace */
#define ES_FAINTEST 0x1p-80f /* keeps silence from dividing by 0 */

/* Of the first levels of a network. */
#define ES_TAPS 5                 /* of a kernel, each way */
#define ES_PAD (ES_TAPS - 2)      /* rows and columns of zeros: 1 and 2 */
#define ES_CHANNELS 16            /* a group: summed in registers */
#define ES_COLUMNS 4u             /* the most that are computed at once */
#define ES_MOST_MAGNITUDE 0x1p20f /* sums of it stay finite */

/* Of directions. */
#define ES_N_REGIONS 7    /* of the spectrum */
#define ES_FIRST_REGION 8 /* bins; the others end at twice as many each */
#define ES_N_SIDES 9      /* steps from left to right */
#define ES_N_TURNS 6      /* steps from in phase to out of phase */
#define ES_N_CELLS (ES_N_SIDES * ES_N_TURNS)
#define ES_PRIOR 0.05f      /* weight of the region's mean beside all cells' */
#define ES_LEAST_ODDS 0.02f /* what is known of a cell is never sure */
_Static_assert(ES_DIRECTIONS_FLOATS == 2 * ES_N_REGIONS * ES_N_CELLS,
               "two sums a cell");

/* Of what repeats. */
#define ES_MAX_PAST ((size_t)1 << 16)
#define ES_MAX_PROFILE 256 /* values: 2^19 bins have 190 */
#define ES_PAST_HEAD 8     /* floats: frames kept, next row, weight of sums */
#define ES_ALIKE 0.4f      /* the least cosine that counts */
#define ES_MOST_ALIKE 16   /* frames that are averaged */
#define ES_MOST_POWER 0x1p96f /* of a bin; sums of it stay finite */

/* ---- Plans --------------------------------------------------------------- */

/* A complex FFT of n points that sit in rows of L lanes: ES_LANES, whatever the
 * level, or 1 for sizes that do not divide into rows.
 *
 * 1. Column pass: DFTs of L points over x[m + M l], M = n / L, on vectors of
 *    W neighbouring m; times e^(-2 pi i m q / n); transposed.  Now row m has
 *    the L values of q in its lanes.
 * 2. Row passes: an FFT of M points over the rows, all lanes alike, in place,
 *    decimated in frequency.
 * 3. The last row pass writes row k, which is the bins L k to L k + L - 1,
 *    where it belongs.
 *
 * A level of W lanes takes a row in L / W vectors.  What is added to what does
 * not depend on W, so every level gives the same bits. */
typedef struct es_cfft {
    size_t n;                     /* complex points */
    size_t lanes;                 /* L */
    size_t n_rows;                /* M */
    size_t n_passes;              /* row passes, 1 or more */
    size_t radix[ES_MAX_PASSES];  /* 2, 3, 4, 5 or 8 each */
    float *column_twiddles;       /* per L of m: L - 1 times (re L, im L) */
    float *row_twiddles;          /* per pass and row: radix - 1 times re, im */
    uint32_t *order;              /* row of the first output of a last block */
    float *split_cos, *split_sin; /* e^(-2 pi i k / 2n), k = 0..n, or NULL */
} es_cfft;

typedef struct es_ops es_ops;

struct es_fft {
    const es_ops *ops; /* code for the plan's level */
    size_t n_fft;      /* real points; c.n is half of it */
    es_cfft c;
};

struct es_spectral {
    const es_ops *ops;   /* code for the plan's level */
    size_t n_fft, hop;   /* samples */
    size_t n_synthesis;  /* samples at the end that overlap-add */
    size_t n_bins;       /* n_fft / 2 + 1 */
    size_t n_channels;   /* 1: c.n is n_fft / 2; 2: c.n is n_fft (L + i R) */
    size_t n_features;   /* 2 or 3 */
    size_t n_bands;      /* of the features and the mask */
    size_t n_there;      /* bands that have a bin; the others are last */
    size_t n_single;     /* leading bands of one bin each */
    size_t n_powers;     /* bins below the last edge, clamped to n_bins */
    size_t top_bands;    /* whose mean gain the bins above get */
    float decay;         /* of all that is learnt, per frame */
    size_t n_past;       /* rows of what repeats */
    size_t n_profile;    /* values of a profile */
    size_t profile_size; /* the same in whole rows of lanes */
    size_t plane_size;   /* floats that a channel's n_powers take in a row */
    size_t row_size;     /* floats of a row: a profile and its planes */
    size_t shift;        /* of a power's bits to get its cell */
    int32_t first_cell;  /* cell of codes[0] */
    float lowest;        /* power where codes[0] starts */
    float highest;       /* power where the last of codes starts */
    float *window_re;    /* analysis / 2 for the real parts of c's input */
    float *window_im;    /* and for the imaginary parts */
    float *synthesis_re; /* synthesis / n_fft, likewise */
    float *synthesis_im;
    uint32_t *edges;         /* n_bands + 1, clamped to n_bins */
    uint32_t *profile_edges; /* n_profile + 1 */
    float *inverse_width;    /* n_bands: 1 / bins of the band */
    int32_t *codes;    /* cells: (threshold's low bits << 8) + base code */
    float *mask_table; /* 256 */
    es_cfft c;
};

/* A grid of codes. */
typedef struct es_grid {
    float inverse_scale;
    float zero; /* code of 0 */
} es_grid;

/* One level of a network, in float.  Planes of its input and output are padded:
 * a row and a column of zeros before, two of each behind. */
typedef struct es_level_plan {
    size_t n_in, n_out;       /* channels; n_out in whole groups */
    size_t n_rows, n_columns; /* of the output */
    size_t in_row, out_row;   /* floats of a padded row */
    es_grid grid;             /* of the codes */
    float *kernel; /* per group of channels (5, 5, n_in, ES_CHANNELS) */
    float *bias;   /* n_out */
} es_level_plan;

/* What one level reads and writes; see es_levels_codes. */
typedef struct es_level_io {
    const float *in;    /* padded: from its row and column of zeros on */
    float *out;         /* padded: behind them; NULL for the last level */
    int8_t *codes;      /* of the sums */
    int8_t *heard;      /* of what is next heard; NULL but for the last level */
    es_grid heard_grid; /* of these */
    float slope;        /* of LeakyReLU */
} es_level_io;

struct es_levels {
    const es_ops *ops;
    size_t n_levels;
    size_t n_features; /* of the magnitudes */
    float slope;       /* of LeakyReLU */
    es_grid heard;     /* codes of what the last level hands on */
    es_level_plan level[ES_MAX_LEVELS];
};

/* Scratch, cut out of `work` anew in every call. */
typedef struct es_work {
    float *rows;     /* 2 n: rows of L re, then L im */
    float *re, *im;  /* n + 1 and some each: planes; [n] repeats [0] */
    float *power[3]; /* of bins, then of bands */
    float *gain[2];  /* of bins */
} es_work;

/* ---- Levels -------------------------------------------------------------- */

struct es_ops {
    int simd;
    void (*rfft)(const es_fft *, const float *, float *, const es_work *);
    void (*irfft)(const es_fft *, const float *, float *, const es_work *);
    void (*analyse)(const es_spectral *, const float *, size_t, float, float *,
                    int8_t *, const es_work *);
    void (*features)(const es_spectral *, const float *, size_t, float,
                     int8_t *, const es_work *);
    void (*synthesise)(const es_spectral *, const int8_t *, const float *,
                       size_t, const es_memory *, float *, const es_work *);
    double (*energy)(const float *, size_t);
    void (*magnitudes)(const es_spectral *, const float *, size_t, float,
                       float *, const es_work *);
    void (*level)(const es_level_plan *, const es_level_io *);
};

extern const es_ops es_scalar_ops;
#ifdef ES_X86
extern const es_ops es_sse2_ops;
extern const es_ops es_avx2_ops;
#endif
#ifdef ES_ARM64
extern const es_ops es_neon_ops;
#endif

/* ---- Memory and complex FFT, shared by both kinds of plan ---------------- */

/* Hands out aligned pieces of a block; with base NULL it only counts. */
typedef struct es_arena {
    char *base;
    size_t used;
} es_arena;

void *es_take(es_arena *arena, size_t n, size_t size);

/* Is n_fft = 2^a 3^b 5^c, divisible by 4 and in range? */
int es_size_ok(size_t n_fft);

/* Code of `simd`, or scalar code if n points do not divide into rows; NULL if
 * this machine lacks `simd`. */
const es_ops *es_choose(int simd, size_t n);

/* Lay out a complex FFT of n points; without a base only `used` counts. */
void es_cfft_layout(es_cfft *c, es_arena *arena, size_t n, int is_split);

/* Compute the tables of a laid-out FFT. */
void es_cfft_fill(es_cfft *c);

/* Cut scratch; n_powers and n_gains are 0 for a bare FFT. */
void es_work_layout(es_work *w, es_arena *arena, size_t n, size_t n_powers,
                    size_t n_gains);

/* Is p aligned to ES_ALIGN? */
int es_aligned(const void *p);

#endif
