/* digest.c - the bits of every level: one line per level and case.
 *
 *   digest       each case as "few" and, as "all", with more signals
 *   digest few   a third of the work: for processors that are emulated
 *
 * Compiled for this machine, for aarch64 and for armhf by test_kernel.py, which
 * compares the lines with digests.txt.  The input is made of integers and of
 * products that no C library has a say in. */
#include "edgestem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_FRAMES = 4, MAX_FFT = 17280, MAX_BINS = MAX_FFT / 2 + 1 };

/* FNV-1a, 64 bits. */
static uint64_t digest(uint64_t old, const void *data, size_t n)
{
    const unsigned char *p = data;

    for (size_t i = 0; i < n; i++)
        old = (old ^ p[i]) * 0x100000001b3u;
    return old;
}

static const uint64_t start = 0xcbf29ce484222325u;

static void *grab(size_t n)
{
    void *p = aligned_alloc(ES_ALIGN, (n + ES_ALIGN - 1) / ES_ALIGN * ES_ALIGN);

    if (!p)
        abort();
    memset(p, 0, n);
    return p;
}

static void require(int status)
{
    if (status == ES_OK)
        return;
    fprintf(stderr, "%s\n", es_strerror(status));
    exit(1);
}

/* ---- Signals ------------------------------------------------------------- */

static float next_noise(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(int32_t)*seed * 0x1p-31f;
}

static void make_noise(float *x, size_t n)
{
    uint32_t seed = (uint32_t)n;

    for (size_t i = 0; i < n; i++)
        x[i] = next_noise(&seed);
}

/* Decaying sawtooth chords and a hiss, in steps of 16 bits like a sound file.
 */
static void make_music(float *x, size_t n)
{
    uint32_t seed = 5;

    for (size_t i = 0; i < n; i++) {
        int32_t age = (int32_t)(i % 6000);
        int32_t low = (int32_t)(i * 327 % 65536) - 32768;
        int32_t mid = (int32_t)(i * 411 % 65536) - 32768;
        int32_t high = (int32_t)(i * (i % 2 ? 1307 : 1310) % 65536) - 32768;
        int32_t hiss = (int32_t)(next_noise(&seed) * 200.0f);
        int32_t sum = (low + mid + high) / 4 / (1 + age / 500) + hiss;

        x[i] = (float)sum / 32768.0f;
    }
}

/* Noise that fades into silence, through all subnormal numbers. */
static void make_fade(float *x, size_t n)
{
    float level = 1.0f;

    make_noise(x, n);
    for (size_t i = 0; i < n; i++) {
        if (i % (n / 200 + 1) == 0)
            level *= 0.5f;
        x[i] *= level;
    }
}

static void (*const signals[])(float *, size_t) = { make_noise, make_music,
                                                    make_fade };

/* ---- Real FFT ------------------------------------------------------------ */

static uint64_t fft_digest(uint64_t old, size_t n, int simd)
{
    size_t bytes = es_fft_bytes(n, simd);
    void *mem = grab(bytes);
    void *work = grab(es_fft_work_bytes(n));
    float *x = grab(n * sizeof *x);
    float *X = grab((n + 2) * sizeof *X);
    es_fft *plan = NULL;

    make_noise(x, n);
    require(es_fft_init(mem, bytes, n, simd, &plan));
    require(es_rfft(plan, x, X, work));
    require(es_irfft(plan, X, x, work));
    old = digest(old, X, (n + 2) * sizeof *X);
    old = digest(old, x, n * sizeof *x);
    free(mem);
    free(work);
    free(x);
    free(X);
    return old;
}

static void show_ffts(int simd)
{
    const size_t sizes[] = { 1536, 4096, 4500, 4608, 9216, 17280, 65536 };
    uint64_t small = start;

    for (size_t n = 0; n < 1100; n++) {
        if (es_fft_bytes(n, simd))
            small = fft_digest(small, n, simd);
    }
    printf("%s fft to 1100 %016" PRIx64 "\n", es_simd_name(simd), small);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        printf("%s fft %zu %016" PRIx64 "\n", es_simd_name(simd), sizes[i],
               fft_digest(start, sizes[i], simd));
}

/* ---- Fused calls -----------------------------------------------------------
 */

typedef struct digests {
    uint64_t X, codes, y, magnitudes;
} digests;

static float window[MAX_FFT], thresholds[255], mask_table[256];
static int32_t edges[MAX_BINS + 1];

/* A parabola: no cosine, whose last digit is the C library's. */
static void make_tables(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double t = (double)(2 * i + 1) / (double)n - 1.0;

        window[i] = (float)(1.0 - t * t);
    }
    for (size_t i = 0; i < 255; i++) {
        double t = (double)(i + 1) / 40.0;

        thresholds[i] = (float)(t * t * t * t * t);
    }
    for (size_t i = 0; i < 256; i++)
        mask_table[i] = (float)i / 255.0f;
}

/* Single bins up to a quarter, or widening bands up to Nyquist and beyond. */
static size_t make_edges(size_t n_fft, int is_wide)
{
    size_t b = 0;

    edges[0] = is_wide ? 1 : 0;
    while (b < n_fft / 4 && edges[b] <= (int32_t)n_fft / 2) {
        int32_t width = is_wide ? 1 + edges[b] / 8 : 1;

        edges[b + 1] = edges[b] + width;
        b++;
    }
    return b;
}

static void run(const es_config *c, const float *x, digests *d)
{
    size_t n_X = N_FRAMES * c->n_channels * (c->n_fft + 2);
    size_t n_codes = N_FRAMES * c->n_bands;
    size_t n_y = N_FRAMES * c->hop * c->n_channels;
    size_t n_tail = (c->n_synthesis - c->hop) * c->n_channels;
    size_t bytes = es_spectral_bytes(c);
    void *mem = grab(bytes);
    void *work = grab(es_spectral_work_bytes(c));
    float *X = grab(n_X * sizeof *X);
    float *y = grab(n_y * sizeof *y);
    float *tail = grab(n_tail * sizeof *tail);
    float *places = grab(4 * (c->n_fft + 2) * sizeof *places);
    int8_t *codes = grab(n_codes * c->n_features);
    int8_t *mask = grab(n_codes * 2);
    es_spectral *plan = NULL;

    for (size_t i = 0; i < 2 * n_codes; i++)
        mask[i] = (int8_t)((int)(i * 7 % 256) - 128);
    require(es_spectral_init(mem, bytes, c, &plan));
    size_t n_past = es_repetition_floats(plan);
    float *repetition = grab(n_past * sizeof *repetition);
    float directions[ES_DIRECTIONS_FLOATS] = { 0.0f };

    require(es_analyse(plan, x, N_FRAMES, 0.7f, X, codes, work));
    d->X = digest(d->X, X, n_X * sizeof *X);
    uint64_t analysed = digest(d->codes, codes, n_codes * c->n_features);
    memset(codes, 0, n_codes * c->n_features);
    require(es_features(plan, X, N_FRAMES, 0.7f, codes, work));
    d->codes = digest(d->codes, codes, n_codes * c->n_features);
    if (d->codes != analysed)
        abort();
    float *magnitudes = grab(n_codes * c->n_features * sizeof *magnitudes);

    require(es_magnitudes(plan, X, N_FRAMES, 0.7f, magnitudes, work));
    d->magnitudes = digest(d->magnitudes, magnitudes,
                           n_codes * c->n_features * sizeof *magnitudes);
    free(magnitudes);
    for (int i = 0; i < 2; i++) {
        const es_memory bare = { tail, NULL, NULL, NULL };
        const es_memory whole = { tail, directions, repetition, places };

        require(es_synthesise(plan, mask, X, N_FRAMES, i ? &whole : &bare, y,
                              work));
        d->y = digest(d->y, y, n_y * sizeof *y);
        d->y = digest(d->y, tail, n_tail * sizeof *tail);
        memset(tail, 0, n_tail * sizeof *tail);
    }
    d->y = digest(d->y, places, 4 * (c->n_fft + 2) * sizeof *places);
    d->y = digest(d->y, repetition, n_past * sizeof *repetition);
    d->y = digest(d->y, directions, sizeof directions);
    free(mem);
    free(work);
    free(repetition);
    free(X);
    free(y);
    free(tail);
    free(places);
    free(codes);
    free(mask);
}

static es_config config_of(size_t n_fft, size_t hop, size_t n_channels,
                           int simd)
{
    es_config c;

    memset(&c, 0, sizeof c);
    c.n_fft = n_fft;
    c.hop = hop;
    c.n_channels = n_channels;
    c.analysis_window = c.synthesis_window = window;
    c.band_edges = edges;
    c.thresholds = thresholds;
    c.mask_table = mask_table;
    c.decay = 0.75f;
    c.n_past = N_FRAMES - 1;
    c.simd = simd;
    return c;
}

static void show_sums(const char *what, const es_config *c, const digests *d)
{
    printf("%s %s %zu %zu %zu %016" PRIx64 " %016" PRIx64 " %016" PRIx64
           " %016" PRIx64 "\n",
           es_simd_name(c->simd), what, c->n_fft, c->hop, c->n_channels, d->X,
           d->codes, d->y, d->magnitudes);
}

/* All signals, both kinds of bands, both numbers of features; the synthesis
 * window is as long as the frame or half of it.  The first four have each of
 * them, and each pair of bands, features and windows. */
static void show_fused(size_t n_fft, size_t hop, size_t n_channels, int simd,
                       int is_few)
{
    es_config c = config_of(n_fft, hop, n_channels, simd);
    size_t n_x = ((N_FRAMES - 1) * hop + n_fft) * n_channels;
    float *x = grab(n_x * sizeof *x);
    digests d = { start, start, start, start };

    make_tables(n_fft);
    for (size_t i = 0; i < (is_few ? 4 : 12); i++) {
        signals[(i + i / 4) % 3](x, n_x);
        c.n_synthesis = i % 2 ? n_fft : n_fft / 2;
        c.n_features = 2 + i / 2 % 2;
        c.n_bands = make_edges(n_fft, (i ^ i / 2) & 1);
        c.top_bands = c.n_bands / 3;
        run(&c, x, &d);
        if (i == 3)
            show_sums("few", &c, &d);
    }
    if (!is_few)
        show_sums("all", &c, &d);
    free(x);
}

/* ---- Levels of a network ------------------------------------------------- */

static void show_levels(size_t n_levels, size_t n_features, int simd)
{
    enum { ROWS = 16, BANDS = 128, CHANNELS = 48 };
    static float kernels[ES_MAX_LEVELS][25 * CHANNELS * CHANNELS];
    static float biases[ES_MAX_LEVELS][CHANNELS];
    static float x[ROWS * BANDS * 3];
    static int8_t codes[ES_MAX_LEVELS + 1][ROWS / 2 * BANDS / 2 * CHANNELS];
    int8_t *at[ES_MAX_LEVELS + 1];
    es_levels_config c;
    es_levels *plan = NULL;
    uint64_t d = start;

    memset(&c, 0, sizeof c);
    memset(codes, 0, sizeof codes);
    c.n_frames = ROWS;
    c.n_bands = BANDS;
    c.n_features = n_features;
    c.n_levels = n_levels;
    c.slope = 0.2f;
    c.heard_scale = 0.03f;
    c.heard_zero = -80;
    c.simd = simd;
    make_music(x, ROWS * BANDS * n_features);
    for (size_t i = 0; i < n_levels; i++) {
        make_noise(kernels[i], sizeof kernels[i] / sizeof(float));
        make_noise(biases[i], CHANNELS);
        c.level[i].n_out = CHANNELS - 16 * (i % 3);
        c.level[i].kernel = kernels[i];
        c.level[i].bias = biases[i];
        c.level[i].scale = 0.05f * (float)(1 + 4 * i * i);
        c.level[i].zero = 9;
    }
    for (size_t i = 0; i <= n_levels; i++)
        at[i] = codes[i];
    size_t bytes = es_levels_bytes(&c);
    void *mem = grab(bytes);
    void *work = grab(es_levels_work_bytes(&c));

    require(es_levels_init(mem, bytes, &c, &plan));
    require(es_levels_codes(plan, x, at, work));
    d = digest(d, codes, sizeof codes);
    printf("%s levels %zu %zu %016" PRIx64 "\n", es_simd_name(simd), n_levels,
           n_features, d);
    free(mem);
    free(work);
}

int main(int argc, char **argv)
{
    int is_few = argc > 1 && !strcmp(argv[1], "few");
    const size_t sizes[][2] = { { 16, 4 },      { 60, 7 },      { 64, 16 },
                                { 128, 32 },    { 192, 48 },    { 300, 75 },
                                { 640, 160 },   { 1024, 256 },  { 1536, 384 },
                                { 2048, 512 },  { 2304, 576 },  { 3072, 768 },
                                { 4096, 1024 }, { 4608, 1152 }, { 9216, 2304 },
                                { 17280, 4320 } };

    for (int simd = ES_SIMD_SCALAR; simd <= ES_SIMD_NEON; simd++) {
        if (!es_simd_runs(simd))
            continue;
        show_ffts(simd);
        for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++)
            show_fused(sizes[i / 2][0], sizes[i / 2][1], 1 + i % 2, simd,
                       is_few);
        for (size_t i = 1; i <= ES_MAX_LEVELS; i++)
            show_levels(i, 1 + i % 3, simd);
    }
    return 0;
}
