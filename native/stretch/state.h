/* stretch_state.h - what a stretcher is made of; not part of the contract.
 *
 * Three clocks.  The *source* counts samples of the song.  The *stream* is the
 * source read at the pitch: place m of it is place q(m) of the source, and q
 * grows by 2^(semitones / 12) a sample.  The *output* counts what is heard:
 * frame n stands for place P(n) of the source, and P grows by the tempo.
 * Stretching is from stream to output. */
#ifndef ES_STRETCH_STATE_H
#define ES_STRETCH_STATE_H

#include "plan/internal.h"
#include "stretch.h"

#define ES_OVERLAP 4      /* windows over each sample */
#define ES_WIDE 4         /* hops of the high band in one of the low band */
#define ES_PHASES 256     /* of the interpolation, between two samples */
#define ES_ZEROS 20       /* zero crossings on each side of its kernel */
#define ES_FINE 256       /* values of the kernel from one to the next */
#define ES_MAX_TAPS 96    /* at twice the pitch 80 and some, in whole vectors */
#define ES_MAX_ATTACKS 64 /* that the stream holds */
#define ES_N_PLACES 8     /* steps whose place is kept */
#define ES_RECENT 32      /* blocks that a rise is compared with */

/* What starts suddenly. */
typedef struct es_attack {
    int64_t m;     /* its place in the stream */
    int64_t n;     /* and in the output, once is_placed */
    int is_placed; /* the map has come that far */
} es_attack;

/* From source to stream. */
typedef struct es_source {
    size_t n_channels;
    size_t chunk;      /* stream samples at one pitch */
    float *kernel;     /* ES_ZEROS * ES_FINE + 2 values from its middle on */
    float *rows;       /* (ES_PHASES + 1, ES_MAX_TAPS): for the pitch below */
    double rows_pitch; /* of rows; 0: none yet */
    size_t n_taps;     /* of rows */
    float *input[2];   /* planes of samples not yet used up */
    size_t n_input, max_input;
    int64_t input_at; /* source place of input[.][0] */
    float *stream[2]; /* planes */
    float *sharp[2];  /* what is high of them, `reach` samples less */
    float *high_pass; /* reach + 1 coefficients from the middle on */
    size_t reach;
    size_t n_stream, max_stream; /* whole chunks */
    int64_t stream_at;           /* stream place of stream[.][0] */
    double *place;               /* q of each chunk's first sample */
    double *pitch;               /* and its ratio */
    double next_place;           /* q of the next chunk */
    double semitones, wanted_semitones;
    size_t ramp;    /* chunks until they are the same */
    double fastest; /* pitch of late */
    size_t calm;    /* chunks since a ramp */
    size_t late;    /* chunks that are of late */
} es_source;

/* What finds attacks in the stream. */
typedef struct es_detector {
    size_t block;            /* samples */
    size_t stride;           /* of the differences: 48 kHz and below 1 */
    size_t apart;            /* samples that two attacks are apart */
    int64_t next;            /* stream place of the next block */
    float recent[ES_RECENT]; /* power of the last blocks, a ring */
    size_t at;               /* where the next goes */
    es_attack attacks[ES_MAX_ATTACKS];
    size_t n_attacks;
} es_detector;

/* The phase vocoder of one part of the spectrum. */
typedef struct es_band {
    es_fft *fft;
    size_t n, hop, n_bins;
    size_t first, last; /* bins that sound: first to last - 1 */
    size_t fade;        /* samples at the edge of what is passed through */
    size_t hold;        /* samples that are passed through */
    int is_cut;         /* high: windows end where an attack starts */
    float *window;      /* n */
    float *gain;        /* n_bins: this band's share, over n */
    float *now[2], *before[2], *sounded[2]; /* spectra, interleaved */
    float *cut_window;                      /* n: of the frame at hand */
    float *frame;                           /* n */
    float *power, *past_power;              /* n_bins, of both channels */
    float *turn_re, *turn_im;               /* n_bins */
    float *sum[2], *weight;                 /* overlap-add, size */
    size_t size;                            /* of sum */
    int64_t sum_at;                         /* output place of sum[.][0] */
    int64_t next; /* output place of the next frame's middle */
    int is_fresh; /* no frame has sounded */
    size_t guard; /* samples of an attack that sound once */
} es_band;

/* The spectral envelope of a voice. */
typedef struct es_voice {
    es_fft *fft; /* of n points */
    size_t n;
    size_t least, most;             /* cut-off of the cepstrum, samples */
    float *level;                   /* n: log2 of the power */
    float *smooth;                  /* n */
    float *cepstrum;                /* n + 2 */
    float *correction[ES_N_PLACES]; /* n / 2 + 2: gains at every second bin of
                                       the low band, by step % ES_N_PLACES */
} es_voice;

struct es_stretch {
    size_t sample_rate, n_channels, hop;
    int keeps_formants;
    double tempo, wanted_tempo;
    size_t ramp;                /* steps until they are the same */
    int64_t step;               /* of the head: its frame is at step * hop */
    int64_t heard;              /* the step that is written next */
    double place[ES_N_PLACES];  /* P at step * hop, by step % ES_N_PLACES */
    double tempos[ES_N_PLACES]; /* the tempo from there on */
    int plain[ES_N_PLACES];     /* neither key nor tempo is changed there */
    es_source source;
    es_detector detector;
    es_band low, high;
    es_voice voice;
    void *work; /* of the largest FFT */
};

#endif
