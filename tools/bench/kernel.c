/* kernel.c - run one fused call often; `spectral.py --instructions` counts.
 *
 *   kernel analyse|synthesise LEVEL N_FRAMES
 *
 * The karaoke model's shape: n_fft 4096, hop 1024, stereo, 1024 bands.  The
 * difference of two runs is free of set-up. */
#include "edgestem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    N_FFT = 4096,
    HOP = 1024,
    N_BANDS = 1024,
    N_BINS = N_FFT / 2 + 1,
    N_PAST = 646,
    N_MASKS = 61
};

static float window[N_FFT], thresholds[255], mask_table[256];
static int32_t edges[N_BANDS + 1];
static float x[2 * N_FFT], X[4 * N_BINS], tail[2 * (N_FFT - HOP)], y[2 * HOP];
static float places[8 * N_BINS];
static int8_t features[2 * N_BANDS], mask[2 * N_BANDS + N_MASKS];

static void fill(void)
{
    uint32_t seed = 1;

    for (size_t i = 0; i < N_FFT; i++)
        window[i] = 0.5f - 0.5f * cosf(6.2831853f * (float)i / N_FFT);
    for (size_t i = 0; i < 255; i++)
        thresholds[i] = powf(((float)i + 0.5f) / 40.0f, 5.0f);
    for (size_t i = 0; i < 256; i++)
        mask_table[i] = (float)i / 255.0f;
    for (int32_t b = 0; b <= N_BANDS; b++)
        edges[b] = b;
    for (size_t i = 0; i < 2 * N_FFT; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(int32_t)seed * 0x1p-33f;
    }
    for (size_t i = 0; i < 2 * N_BANDS + N_MASKS; i++)
        mask[i] = (int8_t)(i * i * 7);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    es_config config = { N_FFT,      HOP,        N_FFT,  2,      2,
                         N_BANDS,    64,         window, window, edges,
                         thresholds, mask_table, 0.998f, N_PAST, 0 };
    es_spectral *plan = NULL;
    long n_frames = atol(argv[3]);

    config.simd = atoi(argv[2]);
    fill();
    size_t bytes = es_spectral_bytes(&config);
    void *mem = aligned_alloc(ES_ALIGN, bytes);
    void *work = aligned_alloc(ES_ALIGN, es_spectral_work_bytes(&config));

    if (es_spectral_init(mem, bytes, &config, &plan) != ES_OK)
        return 1;
    float *repetition = calloc(es_repetition_floats(plan), sizeof *repetition);
    float directions[ES_DIRECTIONS_FLOATS] = { 0.0f };
    const es_memory memory = { tail, directions, repetition, places };

    es_analyse(plan, x, 1, 1.0f, X, features, work);
    for (long i = 0; i < n_frames; i++) {
        if (strcmp(argv[1], "analyse") == 0)
            es_analyse(plan, x, 1, 1.0f, X, features, work);
        else
            es_synthesise(plan, mask + i % N_MASKS, X, 1, &memory, y, work);
    }
    free(mem);
    free(work);
    free(repetition);
    return 0;
}
