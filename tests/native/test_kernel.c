/* test_kernel.c - the kernel alone: statuses, memory, poisoned buffers.
 *
 * Built plain and under sanitizers by test_kernel.py; every buffer has the
 * exact size that the header promises to be enough, so that AddressSanitizer
 * and valgrind see one byte too many.  Numbers are checked in pytest. */
#include "edgestem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                       \
    do {                                                                       \
        n_checks++;                                                            \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);    \
            n_failed++;                                                        \
        }                                                                      \
    } while (0)

static int n_checks;
static int n_failed;

/* ---- Helpers ------------------------------------------------------------- */

/* Memory of exactly n bytes behind the pointer, aligned as the plan wants. */
static void *grab(size_t n)
{
    void *p = aligned_alloc(ES_ALIGN, (n + ES_ALIGN - 1) / ES_ALIGN * ES_ALIGN);

    if (!p)
        abort();
    memset(p, 0xa5, n);
    return p;
}

static void *grab_array(size_t n, size_t size)
{
    void *p = malloc(n > 0 ? n * size : 1);

    if (!p)
        abort();
    memset(p, 0xa5, n * size);
    return p;
}

static float next_noise(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(int32_t)*seed * 0x1p-31f;
}

/* Everything a config points to, of the least size that is allowed. */
typedef struct tables {
    es_config config;
    float *analysis, *synthesis, *thresholds, *mask;
    int32_t *edges;
} tables;

static tables make_tables(size_t n_fft, size_t hop, size_t n_channels,
                          size_t n_features, int simd)
{
    const double pi = 3.14159265358979323846;
    size_t n_bins = n_fft / 2 + 1;
    tables t;

    memset(&t, 0, sizeof t);
    t.analysis = grab_array(n_fft, sizeof(float));
    t.synthesis = grab_array(n_fft, sizeof(float));
    t.thresholds = grab_array(255, sizeof(float));
    t.mask = grab_array(256, sizeof(float));
    t.edges = grab_array(n_bins + 1, sizeof(int32_t));
    for (size_t i = 0; i < n_fft; i++) {
        double w = 0.5 - 0.5 * cos(2.0 * pi * (double)i / (double)n_fft);

        t.analysis[i] = (float)w;
        t.synthesis[i] = (float)(w * (double)hop / (double)n_fft * 8.0 / 3.0);
    }
    for (size_t i = 0; i < 255; i++)
        t.thresholds[i] = powf((float)(i + 1) / 40.0f, 5.0f);
    for (size_t i = 0; i < 256; i++)
        t.mask[i] = (float)i / 255.0f;
    for (size_t b = 0; b <= n_bins; b++)
        t.edges[b] = (int32_t)b;
    t.config.n_fft = n_fft;
    t.config.hop = hop;
    t.config.n_synthesis = n_fft;
    t.config.n_channels = n_channels;
    t.config.n_features = n_features;
    t.config.n_bands = n_bins;
    t.config.top_bands = n_bins / 2;
    t.config.analysis_window = t.analysis;
    t.config.synthesis_window = t.synthesis;
    t.config.band_edges = t.edges;
    t.config.thresholds = t.thresholds;
    t.config.mask_table = t.mask;
    t.config.decay = 0.9f;
    t.config.n_past = 4;
    t.config.simd = simd;
    return t;
}

static void free_tables(tables *t)
{
    free(t->analysis);
    free(t->synthesis);
    free(t->thresholds);
    free(t->mask);
    free(t->edges);
}

/* ---- Real FFT ------------------------------------------------------------ */

static void test_fft_of(size_t n, int simd)
{
    size_t bytes = es_fft_bytes(n, simd);
    void *mem = grab(bytes);
    void *work = grab(es_fft_work_bytes(n));
    float *x = grab_array(n, sizeof *x);
    float *y = grab_array(n, sizeof *y);
    float *X = grab_array(n + 2, sizeof *X);
    double error = 0.0;
    double total = 0.0;
    uint32_t seed = (uint32_t)n;
    es_fft *plan = NULL;

    CHECK(es_fft_init(mem, bytes, n, simd, &plan) == ES_OK);
    CHECK(es_fft_simd(plan) <= simd);
    for (size_t i = 0; i < n; i++)
        x[i] = next_noise(&seed);
    CHECK(es_rfft(plan, x, X, work) == ES_OK);
    CHECK(X[1] == 0.0f && X[n + 1] == 0.0f);
    CHECK(es_irfft(plan, X, y, work) == ES_OK);
    for (size_t i = 0; i < n; i++) {
        error += (double)(x[i] - y[i]) * (double)(x[i] - y[i]);
        total += (double)x[i] * (double)x[i];
    }
    CHECK(error <= 1e-12 * total);
    free(mem);
    free(work);
    free(x);
    free(y);
    free(X);
}

static void test_fft(void)
{
    for (int simd = ES_SIMD_SCALAR; simd <= ES_SIMD_NEON; simd++) {
        if (!es_simd_runs(simd))
            continue;
        for (size_t n = 0; n < 1100; n++) {
            if (es_fft_bytes(n, simd))
                test_fft_of(n, simd);
        }
        test_fft_of(4096, simd);
        test_fft_of(4500, simd);
    }
}

static void test_fft_statuses(void)
{
    size_t bytes = es_fft_bytes(64, ES_SIMD_BEST);
    char *mem = grab(bytes + ES_ALIGN);
    char *work = grab(es_fft_work_bytes(64) + ES_ALIGN);
    float x[64] = { 0.0f };
    float X[66] = { 0.0f };
    es_fft *plan = NULL;
    int other = es_simd_runs(ES_SIMD_NEON) ? ES_SIMD_SSE2 : ES_SIMD_NEON;

    CHECK(es_fft_bytes(62, ES_SIMD_BEST) == 0);
    CHECK(es_fft_bytes(7 * 64, ES_SIMD_BEST) == 0);
    CHECK(es_fft_bytes((size_t)1 << 21, ES_SIMD_BEST) == 0);
    CHECK(es_fft_bytes(64, other) == 0);
    CHECK(es_fft_bytes(64, 99) == 0);
    CHECK(es_fft_work_bytes(62) == 0);
    CHECK(es_fft_init(NULL, bytes, 64, -1, &plan) == ES_ERR_NULL);
    CHECK(es_fft_init(mem, bytes, 64, -1, NULL) == ES_ERR_NULL);
    CHECK(es_fft_init(mem, bytes, 63, -1, &plan) == ES_ERR_SIZE);
    CHECK(es_fft_init(mem + 4, bytes, 64, -1, &plan) == ES_ERR_ALIGN);
    CHECK(es_fft_init(mem, bytes - 1, 64, -1, &plan) == ES_ERR_MEMORY);
    CHECK(es_fft_init(mem, bytes, 64, other, &plan) == ES_ERR_SIMD);
    CHECK(plan == NULL);
    CHECK(es_fft_simd(NULL) == ES_ERR_NULL);
    CHECK(es_fft_init(mem, bytes, 64, -1, &plan) == ES_OK);
    CHECK(es_rfft(NULL, x, X, work) == ES_ERR_NULL);
    CHECK(es_rfft(plan, NULL, X, work) == ES_ERR_NULL);
    CHECK(es_rfft(plan, x, NULL, work) == ES_ERR_NULL);
    CHECK(es_rfft(plan, x, X, NULL) == ES_ERR_NULL);
    CHECK(es_rfft(plan, x, X, work + 4) == ES_ERR_ALIGN);
    CHECK(es_irfft(NULL, X, x, work) == ES_ERR_NULL);
    CHECK(es_irfft(plan, NULL, x, work) == ES_ERR_NULL);
    CHECK(es_irfft(plan, X, NULL, work) == ES_ERR_NULL);
    CHECK(es_irfft(plan, X, x, NULL) == ES_ERR_NULL);
    CHECK(es_irfft(plan, X, x, work + 4) == ES_ERR_ALIGN);
    free(mem);
    free(work);
}

/* ---- Fused calls -----------------------------------------------------------
 */

/* An open mask gives the signal back; a poison value does no harm. */
static void test_round_trip(const tables *t, size_t n_frames, float poison)
{
    const es_config *c = &t->config;
    size_t n_bins = c->n_fft / 2 + 1;
    size_t n_x = ((n_frames - 1) * c->hop + c->n_fft) * c->n_channels;
    size_t n_X = n_frames * c->n_channels * n_bins * 2;
    size_t n_y = n_frames * c->hop * c->n_channels;
    size_t n_tail = (c->n_synthesis - c->hop) * c->n_channels;
    size_t bytes = es_spectral_bytes(c);
    void *mem = grab(bytes);
    void *work = grab(es_spectral_work_bytes(c));
    float *x = grab_array(n_x, sizeof *x);
    float *X = grab_array(n_X, sizeof *X);
    float *y = grab_array(n_y, sizeof *y);
    float *tail = calloc(n_tail + 1, sizeof *tail);
    float *places = calloc(8 * n_bins, sizeof *places);
    int8_t *features = grab_array(n_frames * c->n_bands * c->n_features, 1);
    int8_t *mask = grab_array(n_frames * c->n_bands * 2, 1);
    uint32_t seed = 1;
    es_spectral *plan = NULL;

    CHECK(es_spectral_init(mem, bytes, c, &plan) == ES_OK);
    for (size_t i = 0; i < n_x; i++)
        x[i] = poison == poison && poison == 0.0f ? next_noise(&seed) : poison;
    memset(mask, 127, n_frames * c->n_bands * 2);
    CHECK(es_analyse(plan, x, n_frames, 1.0f, X, features, work) == ES_OK);
    size_t n_past = es_repetition_floats(plan);
    float *repetition = calloc(n_past, sizeof *repetition);
    float directions[ES_DIRECTIONS_FLOATS] = { 0.0f };
    const es_memory memory = { tail, directions, repetition, places };

    CHECK(es_synthesise(plan, mask, X, n_frames, &memory, y, work) == ES_OK);
    for (size_t i = 0; i < n_past; i++)
        CHECK(isfinite(repetition[i]));
    for (size_t i = 0; i < ES_DIRECTIONS_FLOATS; i++)
        CHECK(isfinite(directions[i]) && directions[i] >= 0.0f);
    for (size_t i = 0; i < 8 * n_bins; i++)
        CHECK(isfinite(places[i]));
    memset(mask, -128, n_frames * c->n_bands * 2);
    if (poison == 0.0f && c->hop * 4 == c->n_fft) {
        size_t late = (c->n_synthesis - c->hop) * c->n_channels;
        size_t early = (c->n_fft - c->n_synthesis) * c->n_channels;

        for (size_t i = late; i < n_y; i++)
            CHECK(fabsf(x[early + i] - y[i]) < 1e-5f);
    }
    free(mem);
    free(work);
    free(x);
    free(X);
    free(y);
    free(tail);
    free(places);
    free(repetition);
    free(features);
    free(mask);
}

/* A live model's windows: flat, then a Hann window over the last half. */
static void shorten(tables *t)
{
    const double pi = 3.14159265358979323846;
    size_t n = t->config.n_fft / 2;

    t->config.n_synthesis = n;
    for (size_t i = 0; i < 2 * n; i++)
        t->analysis[i] = 1.0f;
    for (size_t i = 0; i < n; i++)
        t->synthesis[i] =
            (float)(0.5 - 0.5 * cos(2.0 * pi * (double)i / (double)n));
}

static void test_spectral(void)
{
    const size_t sizes[][2] = { { 16, 1 },     { 16, 16 },    { 60, 7 },
                                { 64, 16 },    { 96, 24 },    { 100, 50 },
                                { 256, 64 },   { 300, 75 },   { 512, 500 },
                                { 1536, 384 }, { 4096, 1024 } };
    const float poisons[] = { 0.0f, NAN, INFINITY, 3e38f, 1e-42f };

    for (int simd = ES_SIMD_SCALAR; simd <= ES_SIMD_NEON; simd++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            for (size_t k = 0; k < 4 && es_simd_runs(simd); k++) {
                tables t = make_tables(sizes[i][0], sizes[i][1], 1 + k % 2,
                                       2 + k / 2, simd);

                for (size_t p = 0; p < 5; p++)
                    test_round_trip(&t, 5, poisons[p]);
                if (sizes[i][1] * 4 == sizes[i][0]) {
                    shorten(&t);
                    test_round_trip(&t, 5, 0.0f);
                }
                free_tables(&t);
            }
        }
    }
}

/* What one level makes of fixed noise; the buffers have room for it. */
static void run_level(const es_config *c, float *X, int8_t *features, float *y)
{
    size_t bytes = es_spectral_bytes(c);
    void *mem = grab(bytes);
    void *work = grab(es_spectral_work_bytes(c));
    float *x = grab_array(c->n_fft * c->n_channels, sizeof *x);
    float *tail = calloc(c->n_fft * c->n_channels, sizeof *tail);
    float *places = calloc(4 * (c->n_fft + 2), sizeof *places);
    int8_t *mask = grab_array(c->n_bands * 2, 1);
    uint32_t seed = 7;
    es_spectral *plan = NULL;

    for (size_t i = 0; i < c->n_fft * c->n_channels; i++)
        x[i] = next_noise(&seed);
    for (size_t i = 0; i < c->n_bands * 2; i++)
        mask[i] = (int8_t)(next_noise(&seed) * 127.0f);
    CHECK(es_spectral_init(mem, bytes, c, &plan) == ES_OK);
    float *repetition = calloc(es_repetition_floats(plan), sizeof *repetition);
    float directions[ES_DIRECTIONS_FLOATS] = { 0.0f };
    const es_memory memory = { tail, directions, repetition, places };

    CHECK(es_analyse(plan, x, 1, 0.7f, X, features, work) == ES_OK);
    CHECK(es_synthesise(plan, mask, X, 1, &memory, y, work) == ES_OK);
    free(mem);
    free(work);
    free(x);
    free(tail);
    free(places);
    free(repetition);
    free(mask);
}

/* Scalar is the specification; this runs under emulators, too. */
static void test_levels_agree(size_t n_fft, size_t n_channels, int simd)
{
    size_t n_X = (n_fft + 2) * n_channels;
    size_t n_codes = 3 * (n_fft / 2 + 1);
    size_t n_y = n_fft / 4 * n_channels;
    float *X = grab_array(2 * n_X, sizeof *X);
    float *y = grab_array(2 * n_y, sizeof *y);
    int8_t *codes = grab_array(2 * n_codes, 1);
    tables t = make_tables(n_fft, n_fft / 4, n_channels, 3, simd);

    run_level(&t.config, X, codes, y);
    t.config.simd = ES_SIMD_SCALAR;
    run_level(&t.config, X + n_X, codes + n_codes, y + n_y);
    CHECK(memcmp(X, X + n_X, n_X * sizeof *X) == 0);
    CHECK(memcmp(y, y + n_y, n_y * sizeof *y) == 0);
    CHECK(memcmp(codes, codes + n_codes, n_codes) == 0);
    free(X);
    free(y);
    free(codes);
    free_tables(&t);
}

static void test_all_levels_agree(void)
{
    const size_t sizes[] = { 64, 128, 192, 320, 1536, 4096, 4608 };

    for (int simd = ES_SIMD_SCALAR; simd <= ES_SIMD_NEON; simd++) {
        for (size_t i = 0; i < 14 && es_simd_runs(simd); i++)
            test_levels_agree(sizes[i / 2], 1 + i % 2, simd);
    }
}

/* Bands that end before, at and after the last bin, and odd thresholds. */
static void test_odd_tables(void)
{
    tables t = make_tables(256, 64, 2, 3, ES_SIMD_BEST);

    t.config.n_bands = 3;
    t.config.top_bands = 1;
    for (int32_t start = 0; start < 140; start++) {
        t.edges[0] = start;
        t.edges[1] = start + 1;
        t.edges[2] = start + 40;
        t.edges[3] = INT32_MAX;
        test_round_trip(&t, 1, 0.0f);
    }
    t.config.n_bands = 129;
    for (int32_t b = 0; b < 130; b++)
        t.edges[b] = 1000 + b;
    test_round_trip(&t, 1, 0.0f);
    for (size_t i = 0; i < 255; i++)
        t.thresholds[i] = i < 100 ? -INFINITY : INFINITY;
    test_round_trip(&t, 2, 0.0f);
    test_round_trip(&t, 2, NAN);
    for (size_t i = 0; i < 255; i++)
        t.thresholds[i] = ldexpf(1.0f, (int)i - 125);
    test_round_trip(&t, 2, 0.0f);
    test_round_trip(&t, 2, INFINITY);
    free_tables(&t);
}

static int init_status(const es_config *c)
{
    size_t bytes = es_spectral_bytes(c);
    void *mem = grab(bytes + ES_ALIGN);
    es_spectral *plan = NULL;
    int status = es_spectral_init(mem, bytes, c, &plan);

    CHECK((status == ES_OK) == (plan != NULL));
    CHECK((status == ES_OK) == (bytes > 0));
    CHECK((status == ES_OK) == (es_spectral_work_bytes(c) > 0));
    free(mem);
    return status;
}

#define REFUSES(field, value, status)                                          \
    do {                                                                       \
        es_config broken = t.config;                                           \
        broken.field = value;                                                  \
        CHECK(init_status(&broken) == (status));                               \
    } while (0)

static void test_config_statuses(void)
{
    tables t = make_tables(64, 16, 2, 2, ES_SIMD_BEST);

    CHECK(init_status(&t.config) == ES_OK);
    CHECK(init_status(NULL) == ES_ERR_NULL);
    REFUSES(analysis_window, NULL, ES_ERR_NULL);
    REFUSES(synthesis_window, NULL, ES_ERR_NULL);
    REFUSES(band_edges, NULL, ES_ERR_NULL);
    REFUSES(thresholds, NULL, ES_ERR_NULL);
    REFUSES(mask_table, NULL, ES_ERR_NULL);
    REFUSES(n_fft, 62, ES_ERR_SIZE);
    REFUSES(n_fft, SIZE_MAX, ES_ERR_SIZE);
    REFUSES(hop, 0, ES_ERR_SIZE);
    REFUSES(hop, 65, ES_ERR_SIZE);
    REFUSES(n_synthesis, 15, ES_ERR_SIZE);
    REFUSES(n_synthesis, 65, ES_ERR_SIZE);
    REFUSES(n_channels, 0, ES_ERR_SIZE);
    REFUSES(n_channels, 3, ES_ERR_SIZE);
    REFUSES(n_features, 1, ES_ERR_SIZE);
    REFUSES(n_features, 4, ES_ERR_SIZE);
    REFUSES(n_bands, 0, ES_ERR_SIZE);
    REFUSES(n_bands, SIZE_MAX, ES_ERR_SIZE);
    REFUSES(top_bands, 34, ES_ERR_SIZE);
    REFUSES(decay, -0.1f, ES_ERR_SIZE);
    REFUSES(decay, 1.0f, ES_ERR_SIZE);
    REFUSES(decay, NAN, ES_ERR_SIZE);
    REFUSES(simd, 99, ES_ERR_SIMD);
    t.edges[3] = 2;
    CHECK(init_status(&t.config) == ES_ERR_BANDS);
    t.edges[3] = 3;
    t.edges[0] = -1;
    CHECK(init_status(&t.config) == ES_ERR_BANDS);
    t.edges[0] = 0;
    t.thresholds[9] = NAN;
    CHECK(init_status(&t.config) == ES_ERR_THRESHOLDS);
    t.thresholds[9] = t.thresholds[11];
    CHECK(init_status(&t.config) == ES_ERR_THRESHOLDS);
    t.thresholds[9] = t.thresholds[10];
    CHECK(init_status(&t.config) == ES_ERR_THRESHOLDS);
    t.thresholds[9] = nextafterf(t.thresholds[10], 0.0f);
    CHECK(init_status(&t.config) == ES_ERR_THRESHOLDS);
    free_tables(&t);
}

/* What repeats has a size that a size_t can say: 17 GiB are refused below. */
static void test_large_past(void)
{
    tables t = make_tables((size_t)1 << 16, 1 << 14, 2, 2, ES_SIMD_BEST);

    REFUSES(n_past, (size_t)1 << 16,
            SIZE_MAX > UINT32_MAX ? ES_OK : ES_ERR_SIZE);
    REFUSES(n_past, ((size_t)1 << 16) + 1, ES_ERR_SIZE);
    REFUSES(n_past, (size_t)1 << 10, ES_OK);
    free_tables(&t);
}

/* Wrong calls return a status and leave the outputs as they were. */
static void test_call_statuses(void)
{
    tables t = make_tables(64, 16, 1, 2, ES_SIMD_BEST);
    size_t bytes = es_spectral_bytes(&t.config);
    char *mem = grab(bytes);
    char *work = grab(es_spectral_work_bytes(&t.config) + ES_ALIGN);
    float x[64] = { 1.0f };
    float X[66];
    float tail[48];
    float y[16];
    int8_t codes[66];
    unsigned char *outputs[] = { (unsigned char *)X, (unsigned char *)tail,
                                 (unsigned char *)y, (unsigned char *)codes };
    const size_t n_bytes[] = { sizeof X, sizeof tail, sizeof y, sizeof codes };
    es_spectral *p = NULL;

    for (size_t i = 0; i < 4; i++)
        memset(outputs[i], 0x5a, n_bytes[i]);
    CHECK(es_spectral_init(mem, bytes - 1, &t.config, &p) == ES_ERR_MEMORY);
    CHECK(es_spectral_init(mem + 4, bytes, &t.config, &p) == ES_ERR_ALIGN);
    CHECK(es_spectral_init(NULL, bytes, &t.config, &p) == ES_ERR_NULL);
    CHECK(es_spectral_init(mem, bytes, &t.config, NULL) == ES_ERR_NULL);
    CHECK(es_spectral_init(mem, bytes, &t.config, &p) == ES_OK);
    CHECK(es_spectral_simd(NULL) == ES_ERR_NULL);
    CHECK(es_spectral_simd(p) >= ES_SIMD_SCALAR);
    CHECK(es_analyse(NULL, x, 1, 1.0f, X, codes, work) == ES_ERR_NULL);
    CHECK(es_analyse(p, NULL, 1, 1.0f, X, codes, work) == ES_ERR_NULL);
    CHECK(es_analyse(p, x, 1, 1.0f, NULL, codes, work) == ES_ERR_NULL);
    CHECK(es_analyse(p, x, 1, 1.0f, X, codes, NULL) == ES_ERR_NULL);
    CHECK(es_analyse(p, x, 1, 1.0f, X, codes, work + 4) == ES_ERR_ALIGN);
    const es_memory bare = { tail, NULL, NULL, NULL };
    const es_memory none = { NULL, NULL, NULL, NULL };

    CHECK(es_synthesise(NULL, codes, X, 1, &bare, y, work) == ES_ERR_NULL);
    CHECK(es_synthesise(p, NULL, X, 1, &bare, y, work) == ES_ERR_NULL);
    CHECK(es_synthesise(p, codes, NULL, 1, &bare, y, work) == ES_ERR_NULL);
    CHECK(es_synthesise(p, codes, X, 1, NULL, y, work) == ES_ERR_NULL);
    CHECK(es_synthesise(p, codes, X, 1, &none, y, work) == ES_ERR_NULL);
    CHECK(es_synthesise(p, codes, X, 1, &bare, NULL, work) == ES_ERR_NULL);
    CHECK(es_synthesise(p, codes, X, 1, &bare, y, NULL) == ES_ERR_NULL);
    CHECK(es_synthesise(p, codes, X, 1, &bare, y, work + 4) == ES_ERR_ALIGN);
    CHECK(es_features(NULL, X, 1, 1.0f, codes, work) == ES_ERR_NULL);
    CHECK(es_features(p, NULL, 1, 1.0f, codes, work) == ES_ERR_NULL);
    CHECK(es_features(p, X, 1, 1.0f, NULL, work) == ES_ERR_NULL);
    CHECK(es_features(p, X, 1, 1.0f, codes, NULL) == ES_ERR_NULL);
    CHECK(es_features(p, X, 1, 1.0f, codes, work + 4) == ES_ERR_ALIGN);
    CHECK(es_magnitudes(NULL, X, 1, 1.0f, y, work) == ES_ERR_NULL);
    CHECK(es_magnitudes(p, NULL, 1, 1.0f, y, work) == ES_ERR_NULL);
    CHECK(es_magnitudes(p, X, 1, 1.0f, NULL, work) == ES_ERR_NULL);
    CHECK(es_magnitudes(p, X, 1, 1.0f, y, NULL) == ES_ERR_NULL);
    CHECK(es_magnitudes(p, X, 1, 1.0f, y, work + 4) == ES_ERR_ALIGN);
    CHECK(es_analyse(p, x, 0, 1.0f, X, codes, work) == ES_OK);
    CHECK(es_magnitudes(p, X, 0, 1.0f, y, work) == ES_OK);
    CHECK(es_features(p, X, 0, 1.0f, codes, work) == ES_OK);
    CHECK(es_synthesise(p, codes, X, 0, &bare, y, work) == ES_OK);
    for (size_t i = 0; i < 4; i++) {
        for (size_t k = 0; k < n_bytes[i]; k++)
            CHECK(outputs[i][k] == 0x5a);
    }
    free(mem);
    free(work);
    free_tables(&t);
}

/* ---- Levels of a network ------------------------------------------------- */

enum { N_IN = 2, N_OUT = 16, N_ROWS = 4, N_BANDS = 16 };

static void test_levels_statuses(void)
{
    size_t n_kernel = 25 * N_IN * N_OUT;
    float *kernel = grab_array(n_kernel, sizeof *kernel);
    float *bias = grab_array(N_OUT, sizeof *bias);
    float *x = grab_array(N_ROWS * N_BANDS * N_IN, sizeof *x);
    int8_t *codes[2];
    es_levels_config c;
    es_levels *p = NULL;
    uint32_t seed = 3;

    for (size_t i = 0; i < n_kernel; i++)
        kernel[i] = next_noise(&seed);
    for (size_t i = 0; i < N_OUT; i++)
        bias[i] = next_noise(&seed);
    for (size_t i = 0; i < N_ROWS * N_BANDS * N_IN; i++)
        x[i] = next_noise(&seed);
    for (size_t i = 0; i < 2; i++)
        codes[i] = grab_array(N_ROWS / 2 * N_BANDS / 2 * N_OUT, 1);
    memset(&c, 0, sizeof c);
    c.n_frames = N_ROWS;
    c.n_bands = N_BANDS;
    c.n_features = N_IN;
    c.n_levels = 1;
    c.slope = 0.2f;
    c.heard_scale = 0.1f;
    c.simd = ES_SIMD_BEST;
    c.level[0].n_out = N_OUT;
    c.level[0].kernel = kernel;
    c.level[0].bias = bias;
    c.level[0].scale = 0.1f;
    size_t bytes = es_levels_bytes(&c);
    char *mem = grab(bytes + ES_ALIGN);
    char *work = grab(es_levels_work_bytes(&c) + ES_ALIGN);

    CHECK(es_levels_bytes(NULL) == 0);
    CHECK(es_levels_work_bytes(NULL) == 0);
    CHECK(es_levels_init(NULL, bytes, &c, &p) == ES_ERR_NULL);
    CHECK(es_levels_init(mem, bytes, NULL, &p) == ES_ERR_NULL);
    CHECK(es_levels_init(mem, bytes, &c, NULL) == ES_ERR_NULL);
    CHECK(es_levels_init(mem + 4, bytes, &c, &p) == ES_ERR_ALIGN);
    CHECK(es_levels_init(mem, bytes - 1, &c, &p) == ES_ERR_MEMORY);
    c.simd = 99;
    CHECK(es_levels_init(mem, bytes, &c, &p) == ES_ERR_SIMD);
    c.simd = ES_SIMD_BEST;
    c.level[0].bias = NULL;
    CHECK(es_levels_init(mem, bytes, &c, &p) == ES_ERR_NULL);
    c.level[0].bias = bias;
    c.n_levels = ES_MAX_LEVELS + 1;
    CHECK(es_levels_init(mem, bytes, &c, &p) == ES_ERR_SIZE);
    c.n_levels = 1;
    CHECK(p == NULL);
    CHECK(es_levels_simd(NULL) == ES_ERR_NULL);
    CHECK(es_levels_init(mem, bytes, &c, &p) == ES_OK);
    CHECK(es_levels_simd(p) == es_simd_best());
    CHECK(es_levels_codes(NULL, x, codes, work) == ES_ERR_NULL);
    CHECK(es_levels_codes(p, NULL, codes, work) == ES_ERR_NULL);
    CHECK(es_levels_codes(p, x, NULL, work) == ES_ERR_NULL);
    CHECK(es_levels_codes(p, x, codes, NULL) == ES_ERR_NULL);
    CHECK(es_levels_codes(p, x, codes, work + 4) == ES_ERR_ALIGN);
    CHECK(es_levels_codes(p, x, codes, work) == ES_OK);
    free(codes[1]);
    codes[1] = NULL;
    CHECK(es_levels_codes(p, x, codes, work) == ES_ERR_NULL);
    free(codes[0]);
    free(kernel);
    free(bias);
    free(x);
    free(mem);
    free(work);
}

/* ---- The rest ---------------------------------------------------------------
 */

static void test_names(void)
{
    CHECK(es_abi() == ES_ABI);
    CHECK(es_repetition_floats(NULL) == 0);
    for (int status = ES_ERR_THRESHOLDS; status <= ES_OK; status++)
        CHECK(strcmp(es_strerror(status), es_strerror(1)) != 0);
    for (int simd = ES_SIMD_SCALAR; simd <= ES_SIMD_NEON; simd++)
        CHECK(strcmp(es_simd_name(simd), "?") != 0);
    CHECK(strcmp(es_simd_name(99), "?") == 0);
    CHECK(es_simd_runs(ES_SIMD_SCALAR) == 1);
    CHECK(es_simd_runs(es_simd_best()) == 1);
    CHECK(es_simd_runs(99) == 0);
}

static void test_energy(void)
{
    float *x = grab_array(19, sizeof *x);

    for (size_t i = 0; i < 19; i++)
        x[i] = (float)i;
    CHECK(es_energy(x, 0) == 0.0);
    CHECK(es_energy(NULL, 5) == 0.0);
    CHECK(es_energy(x, 3) == 5.0);
    CHECK(es_energy(x, 19) == 18.0 * 19.0 * 37.0 / 6.0);
    free(x);
}

int main(void)
{
    test_names();
    test_energy();
    test_fft();
    test_fft_statuses();
    test_spectral();
    test_all_levels_agree();
    test_odd_tables();
    test_config_statuses();
    test_large_past();
    test_call_statuses();
    test_levels_statuses();
    printf("%d checks, %d failed, best level %s\n", n_checks, n_failed,
           es_simd_name(es_simd_best()));
    return n_failed != 0;
}
