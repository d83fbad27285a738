/* digest_stretch.c - the bits of the stretcher on every level.
 *
 *   digest_stretch         each case as "few", and three times as long as "all"
 *   digest_stretch few     these alone, to 96 kHz: for emulated processors
 *   digest_stretch wild    few steps, wilder samples: for sanitizers
 *
 * Keys and tempos move while it runs; the samples are a decaying sawtooth with
 * hits, from integers alone. */
#include "edgestem.h"
#include "stretch.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct test_case {
    size_t sample_rate, n_channels;
    int keeps_formants;
} test_case;

static const test_case cases[] = {
    { 8000, 1, 1 },  { 11025, 2, 0 }, { 44100, 2, 1 },
    { 48000, 2, 0 }, { 96000, 1, 0 }, { 192000, 1, 1 },
};

static const double wishes[][2] = { { 0.0, 1.0 },   { 3.0, 0.8 },
                                    { -12.0, 2.0 }, { 12.0, 0.5 },
                                    { 12.0, 2.0 },  { -5.5, 0.5 },
                                    { 0.0, 1.3 },   { 0.0, 1.0 } };

static void *grab(size_t n)
{
    void *p = aligned_alloc(ES_ALIGN, (n + ES_ALIGN - 1) / ES_ALIGN * ES_ALIGN);

    if (!p)
        abort();
    memset(p, 0x5a, n);
    return p;
}

static void require(int status)
{
    if (status == ES_OK)
        return;
    fprintf(stderr, "%s\n", es_strerror(status));
    exit(1);
}

/* Sample at place i: a sawtooth that is struck anew each 6000 samples. */
static float music(int64_t i, size_t c)
{
    uint32_t place = (uint32_t)(i + 1000000);
    uint32_t noise = (place * 2u + (uint32_t)c) * 2654435761u;
    int32_t age = (int32_t)(place % 6000u);
    int32_t saw = (int32_t)(place * (327u + 5u * (uint32_t)c) % 65536u) - 32768;
    int32_t hit = (int32_t)(noise >> 17) - 16384;

    return (float)(saw / 4 / (1 + age / 900) + hit / (1 + age / 60)) / 32768.0f;
}

static float wild(int64_t i)
{
    const float values[] = { NAN,    INFINITY, -INFINITY, 3e38f, -3e38f,
                             1e-40f, 0.0f,     -0.0f,     1.0f,  0x1p31f };

    return values[(uint64_t)(i + 1000000) * 7 / 5 % 10];
}

static void fill(float *x, int64_t first, size_t n, size_t n_channels,
                 int is_wild)
{
    for (size_t i = 0; i < n; i++) {
        int64_t at = first + (int64_t)i;

        for (size_t c = 0; c < n_channels; c++)
            x[n_channels * i + c] =
                is_wild && at / 3000 % 2 ? wild(at) : music(at, c);
    }
}

static uint64_t digest(uint64_t old, const void *data, size_t n)
{
    const unsigned char *p = data;

    for (size_t i = 0; i < n; i++)
        old = (old ^ p[i]) * 0x100000001b3u;
    return old;
}

static uint64_t step(es_stretch *s, const test_case *t, uint64_t old,
                     int is_wild)
{
    size_t n = es_stretch_wants(s);
    size_t n_y = es_stretch_hop(s) * t->n_channels;
    float *x = grab(n * t->n_channels * sizeof *x + 1);
    float *y = grab(n_y * sizeof *y);

    fill(x, es_stretch_next(s), n, t->n_channels, is_wild);
    if (es_stretch_step(s, x, n + 1, y) != ES_ERR_SIZE)
        exit(2);
    require(es_stretch_step(s, x, n, y));
    for (size_t i = 0; i < n_y; i++) {
        if (!isfinite(y[i]))
            exit(3);
    }
    old = digest(old, y, n_y * sizeof *y);
    double place = es_stretch_position(s, 0);

    free(x);
    free(y);
    return digest(old, &place, sizeof place);
}

static void show(const test_case *t, int simd, size_t n_steps, int is_wild)
{
    es_stretch_config config = { t->sample_rate, t->n_channels,
                                 t->keeps_formants, simd };
    size_t bytes = es_stretch_bytes(&config);
    void *mem = grab(bytes);
    es_stretch *s = NULL;
    uint64_t sum = 0xcbf29ce484222325u;

    require(es_stretch_init(mem, bytes, &config, &s));
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++) {
        require(es_stretch_set(s, wishes[i][0], wishes[i][1]));
        for (size_t j = 0; j < n_steps; j++)
            sum = step(s, t, sum, is_wild);
        double place = es_stretch_position(s, 0);

        if (i % 2)
            require(
                es_stretch_reset(s, place + 0.3, wishes[i][0], wishes[i][1]));
    }
    printf("%s %s %zu %zu %d %016" PRIx64 "\n", es_simd_name(simd),
           n_steps == 1 ? "few" : "all", t->sample_rate, t->n_channels,
           t->keeps_formants, sum);
    free(mem);
}

int main(int argc, char **argv)
{
    int is_wild = argc > 1 && !strcmp(argv[1], "wild");
    int is_few = argc > 1 && !strcmp(argv[1], "few");

    for (int simd = ES_SIMD_SCALAR; simd <= ES_SIMD_NEON; simd++) {
        if (!es_simd_runs(simd))
            continue;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            if (is_few && cases[i].sample_rate > 96000)
                continue;
            if (!is_wild && cases[i].sample_rate <= 96000)
                show(cases + i, simd, 1, 0);
            if (!is_few)
                show(cases + i, simd, is_wild ? 2 : 3, is_wild);
        }
        if (is_wild)
            break;
    }
    return 0;
}
