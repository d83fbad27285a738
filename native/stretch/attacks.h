/* stretch_attacks.h - where something starts suddenly.
 *
 * The power of the second difference, which stresses what is high, in blocks of
 * 0.67 ms.  A block that is ES_RISE times as strong as every block of the 20 ms
 * before starts an attack: a note that buzzes has as strong blocks in each
 * period, and steady noise does not rise that much. */
#ifndef ES_STRETCH_ATTACKS_H
#define ES_STRETCH_ATTACKS_H

#include "stretch/source.h"

#define ES_RISE 4.0f     /* of power: 6 dB */
#define ES_SILENT 1e-10f /* power of a sample under which nothing starts */
#define ES_ONSET 0.01f   /* of the block's greatest: there the attack starts */

/* Power of the second difference at stream sample i, over channels. */
static float edge_at(const es_source *s, const es_detector *d, size_t i)
{
    float sum = 0.0f;

    for (size_t c = 0; c < s->n_channels; c++) {
        const float *x = s->stream[c] + i;
        float a = x[0] - x[-(ptrdiff_t)d->stride];
        float b = x[-(ptrdiff_t)d->stride] - x[-2 * (ptrdiff_t)d->stride];

        sum += (a - b) * (a - b);
    }
    return sum;
}

/* First sample that reaches a share of the greatest in the block at i and the
 * one before it. */
static size_t onset_in(const es_source *s, const es_detector *d, size_t i)
{
    float most = 0.0f;
    size_t k = i - d->block;

    for (size_t j = k; j < i + d->block; j++) {
        float edge = edge_at(s, d, j);

        most = edge > most ? edge : most;
    }
    while (edge_at(s, d, k) < ES_ONSET * most)
        k++;
    return k;
}

static int is_rise(const es_detector *d, float power)
{
    float most = ES_SILENT * (float)d->block;

    /* The block just before may hold the attack's first samples. */
    for (size_t i = 2; i <= ES_RECENT; i++) {
        float past = d->recent[(d->at + ES_RECENT - i) % ES_RECENT];

        most = past > most ? past : most;
    }
    return power > ES_RISE * most;
}

static void add_attack(es_detector *d, int64_t m)
{
    const size_t n = d->n_attacks;

    if (n && m - d->attacks[n - 1].m < (int64_t)d->apart)
        return;
    if (n == ES_MAX_ATTACKS) {
        memmove(d->attacks, d->attacks + 1, (n - 1) * sizeof *d->attacks);
        d->n_attacks--;
    }
    d->attacks[d->n_attacks++] = (es_attack){ m, 0, 0 };
}

/* Look through the stream as far as it goes. */
static void detect(es_detector *d, const es_source *s)
{
    const size_t margin = 2 * d->stride + d->block;

    if (d->next < s->stream_at + (int64_t)margin)
        d->next = s->stream_at + (int64_t)margin;
    for (;; d->next += (int64_t)d->block) {
        size_t i = (size_t)(d->next - s->stream_at);
        float power = 0.0f;

        if (i + d->block > s->n_stream)
            return;
        for (size_t j = i; j < i + d->block; j++)
            power += edge_at(s, d, j);
        if (is_rise(d, power))
            add_attack(d, s->stream_at + (int64_t)onset_in(s, d, i));
        d->recent[d->at] = power;
        d->at = (d->at + 1) % ES_RECENT;
    }
}

#endif
