/* fuzz_kernel.c - any config and any samples: a status or a result, no more.
 *
 * For libFuzzer: clang -fsanitize=fuzzer,address,undefined fuzz_kernel.c and
 * the kernel.  With -DES_FUZZ_MAIN it runs the files named on the command
 * line, or noise from a fixed seed, without libFuzzer.
 *
 * Input: a header of 16 bytes that chooses the config, then bytes that the
 * tables, samples and masks are cut from, repeated as often as it takes. */
#include "edgestem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct source {
    const uint8_t *data;
    size_t size, at;
} source;

static uint8_t byte(source *s)
{
    return s->size ? s->data[s->at++ % s->size] : 0;
}

static uint32_t word(source *s)
{
    uint32_t low = (uint32_t)byte(s) | (uint32_t)byte(s) << 8;

    return low | (uint32_t)byte(s) << 16 | (uint32_t)byte(s) << 24;
}

/* Any bits, NaN and infinity among them. */
static float any_float(source *s)
{
    uint32_t bits = word(s);
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static void *grab(size_t n)
{
    void *p = aligned_alloc(ES_ALIGN, (n / ES_ALIGN + 1) * ES_ALIGN);

    if (!p)
        abort();
    return p;
}

/* Exactly n values, so that the sanitizer sees the first one too many. */
static float *floats(source *s, size_t n)
{
    float *p = malloc(n ? n * sizeof *p : 1);

    if (!p)
        abort();
    for (size_t i = 0; i < n; i++)
        p[i] = any_float(s);
    return p;
}

static int8_t *codes(source *s, size_t n)
{
    int8_t *p = malloc(n ? n : 1);

    if (!p)
        abort();
    for (size_t i = 0; i < n; i++)
        p[i] = (int8_t)byte(s);
    return p;
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a;
    float y = *(const float *)b;

    return (x > y) - (x < y);
}

/* Mostly valid: else init refuses nearly everything. */
static void choose(source *s, es_config *c)
{
    static const size_t sizes[] = { 16,  20,  32,  48,  60,  64,  96, 100,
                                    120, 128, 180, 192, 256, 320, 7,  500 };

    c->n_fft = sizes[byte(s) % 16];
    c->hop = 1 + byte(s) % c->n_fft;
    c->n_synthesis = c->hop + byte(s) % (c->n_fft - c->hop + 1);
    c->n_channels = 1 + byte(s) % 2;
    c->n_features = 2 + byte(s) % 2;
    c->n_bands = 1 + byte(s) % 80;
    c->top_bands = byte(s) % (c->n_bands + 1);
    c->decay = (float)byte(s) / 256.0f;
    c->n_past = byte(s) % 20;
    c->simd = byte(s) % 4 - 1;
}

static void run(source *s, const es_config *c, size_t n_frames)
{
    size_t n_bins = c->n_fft / 2 + 1;
    size_t bytes = es_spectral_bytes(c);
    void *mem = grab(bytes);
    void *work = grab(es_spectral_work_bytes(c));
    es_spectral *plan;

    if (es_spectral_init(mem, bytes, c, &plan) == ES_OK) {
        size_t n_x = (n_frames - 1) * c->hop + c->n_fft;
        float *x = floats(s, n_x * c->n_channels);
        float *X = floats(s, n_frames * c->n_channels * n_bins * 2);
        float *tail = floats(s, (c->n_synthesis - c->hop) * c->n_channels);
        float *y = floats(s, n_frames * c->hop * c->n_channels);
        float *places = floats(s, 8 * n_bins);
        size_t n_past = es_repetition_floats(plan);
        float *repetition = grab(n_past * sizeof *repetition);

        memset(repetition, 0, n_past * sizeof *repetition);
        int8_t *features = codes(s, n_frames * c->n_bands * c->n_features);
        int8_t *mask = codes(s, n_frames * c->n_bands * 2);

        float *directions = floats(s, ES_DIRECTIONS_FLOATS);

        const es_memory bare = { tail, NULL, NULL, NULL };
        const es_memory whole = { tail, directions, repetition, places };

        float *heard = floats(s, n_frames * c->n_bands * c->n_features);

        es_magnitudes(plan, X, n_frames, any_float(s), heard, work);
        free(heard);
        es_features(plan, X, n_frames, any_float(s), features, work);
        es_synthesise(plan, mask, X, n_frames, &bare, y, work);
        es_analyse(plan, x, n_frames, any_float(s), X, features, work);
        es_synthesise(plan, mask, X, n_frames, &whole, y, work);
        es_energy(x, n_x);
        free(x);
        free(X);
        free(tail);
        free(places);
        free(repetition);
        free(directions);
        free(y);
        free(features);
        free(mask);
    }
    free(mem);
    free(work);
}

/* Levels of any numbers; sizes are mostly valid. */
static void run_levels(source *s)
{
    static const size_t outs[] = { 16, 32, 16, 24 };
    es_levels_config c;
    float *made[8];
    int8_t *out[ES_MAX_LEVELS + 1];
    size_t n_in = 1 + byte(s) % 3;

    memset(&c, 0, sizeof c);
    c.n_levels = byte(s) % 4;
    c.n_frames = (size_t)(1 + byte(s) % 2) << c.n_levels;
    c.n_bands = (size_t)(4 + 4 * (byte(s) % 3)) << c.n_levels;
    c.n_features = n_in;
    c.slope = (float)byte(s) / 255.0f;
    c.heard_scale = any_float(s);
    c.heard_zero = (int8_t)byte(s);
    c.simd = byte(s) % 4 - 1;
    float *x = floats(s, c.n_frames * c.n_bands * n_in);
    int is_finite = byte(s) % 4;

    for (size_t i = 0; i < c.n_levels; i++) {
        es_level *l = &c.level[i];

        l->n_out = outs[byte(s) % 4];
        size_t n = 25 * n_in * l->n_out;
        made[2 * i] = floats(s, n);
        made[2 * i + 1] = floats(s, l->n_out);
        for (size_t k = 0; is_finite && k < n; k++)
            made[2 * i][k] = (float)(int8_t)byte(s) / 64.0f;
        for (size_t k = 0; is_finite && k < l->n_out; k++)
            made[2 * i + 1][k] = (float)(int8_t)byte(s);
        l->kernel = made[2 * i];
        l->bias = made[2 * i + 1];
        l->scale = is_finite ? 0.1f : any_float(s);
        l->zero = (int8_t)byte(s);
        n_in = l->n_out;
    }
    if (is_finite)
        c.heard_scale = 0.05f;
    for (size_t i = 0; i <= c.n_levels && c.n_levels; i++) {
        size_t at = i < c.n_levels ? i : i - 1;
        size_t n = (c.n_frames >> (at + 1)) * (c.n_bands >> (at + 1));

        out[i] = codes(s, n * c.level[at].n_out);
    }
    size_t bytes = es_levels_bytes(&c);
    void *mem = grab(bytes);
    void *work = grab(es_levels_work_bytes(&c));
    es_levels *plan;

    if (es_levels_init(mem, bytes, &c, &plan) == ES_OK)
        es_levels_codes(plan, x, out, work);
    for (size_t i = 0; i < c.n_levels; i++) {
        free(made[2 * i]);
        free(made[2 * i + 1]);
    }
    for (size_t i = 0; i <= c.n_levels && c.n_levels; i++)
        free(out[i]);
    free(x);
    free(mem);
    free(work);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    source s = { data, size, 0 };
    es_config c;

    choose(&s, &c);
    size_t n_frames = 1 + byte(&s) % 3;
    int sorted = byte(&s) % 8;
    float *analysis = floats(&s, c.n_fft);
    float *synthesis = floats(&s, c.n_synthesis);
    float *thresholds = floats(&s, 255);
    float *mask = floats(&s, 256);
    int32_t *edges = (int32_t *)floats(&s, c.n_bands + 1);

    if (sorted) {
        int32_t edge = byte(&s) % 8;

        for (size_t b = 0; b <= c.n_bands; b++, edge += 1 + byte(&s) % 5)
            edges[b] = edge;
        for (size_t i = 0; i < 255; i++) {
            if (thresholds[i] != thresholds[i])
                thresholds[i] = 0.0f;
        }
        qsort(thresholds, 255, sizeof *thresholds, compare);
        /* Half of the time far enough apart, too. */
        for (size_t i = 1; i < 255 && sorted > 3; i++) {
            float least = thresholds[i - 1] * 1.01f;

            if (thresholds[i - 1] > 0.0f && thresholds[i] < least)
                thresholds[i] = least;
        }
    }
    c.analysis_window = analysis;
    c.synthesis_window = synthesis;
    c.band_edges = edges;
    c.thresholds = thresholds;
    c.mask_table = mask;
    run(&s, &c, n_frames);
    run_levels(&s);
    free(analysis);
    free(synthesis);
    free(thresholds);
    free(mask);
    free(edges);
    return 0;
}

#ifdef ES_FUZZ_MAIN
static void run_file(const char *path)
{
    static uint8_t data[1 << 16];
    FILE *file = fopen(path, "rb");

    if (!file)
        abort();
    size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
}

int main(int n, char **paths)
{
    uint8_t data[257];
    uint32_t seed = 1;

    for (int i = 1; i < n; i++)
        run_file(paths[i]);
    for (int i = 0; n == 1 && i < 400; i++) {
        for (size_t k = 0; k < sizeof data; k++) {
            seed = seed * 1664525u + 1013904223u;
            data[k] = (uint8_t)(seed >> 24);
        }
        LLVMFuzzerTestOneInput(data, sizeof data);
    }
    return 0;
}
#endif
