/* stretch_map.h - which place of the stream a place of the output reads.
 *
 * Between attacks that of the tempo.  Around an attack the stream runs on as it
 * is, so that an attack at stream place m sounds at the output place n where
 * the tempo has it, and all around it with it. */
#ifndef ES_STRETCH_MAP_H
#define ES_STRETCH_MAP_H

#include "stretch/bands.h"

#define ES_CATCH_UP 3 /* times as long as it was held */

static size_t slot_of(int64_t step)
{
    return (size_t)(step + ES_N_PLACES) % ES_N_PLACES;
}

/* P(n) for n from a few steps before the head to one behind it. */
static double place_at(const es_stretch *s, int64_t n)
{
    const int64_t hop = (int64_t)s->hop;
    int64_t step = n >= 0 ? n / hop : -((hop - 1 - n) / hop);
    int64_t oldest = s->step - ES_N_PLACES + 1;

    step = step > s->step ? s->step : step;
    step = step < oldest ? oldest : step;
    step = step < -1 ? -1 : step;
    size_t i = slot_of(step);

    return s->place[i] + s->tempos[i] * (double)(n - step * hop);
}

/* The output place of a source place that the map has reached. */
static int64_t output_of(const es_stretch *s, double place)
{
    int64_t step = s->step;
    int64_t oldest = s->step - ES_N_PLACES + 1;

    oldest = oldest < -1 ? -1 : oldest;
    while (step > oldest && s->place[slot_of(step)] > place)
        step--;
    size_t i = slot_of(step);
    double past = (place - s->place[i]) / s->tempos[i];

    return step * (int64_t)s->hop + floor_of(past + 0.5);
}

/* Give attacks that the map has reached their output place; forget old ones. */
static void place_attacks(es_stretch *s)
{
    es_detector *d = &s->detector;
    const int64_t hop = (int64_t)s->hop;
    const double end = place_at(s, (s->step + 1) * hop);
    size_t n_old = 0;

    for (size_t i = 0; i < d->n_attacks; i++) {
        es_attack *a = d->attacks + i;
        double place = source_place(&s->source, a->m, NULL);

        if (!a->is_placed && place < end) {
            a->n = output_of(s, place);
            a->is_placed = 1;
        }
        n_old += a->is_placed && a->n < (s->heard - 4) * hop;
    }
    d->n_attacks -= n_old;
    memmove(d->attacks, d->attacks + n_old, d->n_attacks * sizeof *d->attacks);
}

/* How far a band reads ahead of the tempo when its hold of an attack ends. */
static int64_t lead_of(const es_stretch *s, const es_attack *a, int64_t hold)
{
    double place = place_at(s, a->n + hold);

    return a->m + hold - stream_place(&s->source, place);
}

/* What the attack before the frame at n leaves of it. */
static void read_after(const es_stretch *s, const es_band *b,
                       const es_attack *a, int64_t n, es_reading *r)
{
    const int64_t hold = (int64_t)b->hold;
    const int64_t past = n - a->n;
    const int64_t rest = ES_CATCH_UP * hold - (past - hold);

    r->low = -past > r->low ? -past : r->low;
    if (past <= hold) {
        r->m = a->m + past;
        r->is_attack = 1;
        return;
    }
    if (rest > 0)
        r->m += lead_of(s, a, hold) * rest / (ES_CATCH_UP * hold);
    /* It must not sound again where the stream is read more slowly. */
    int64_t again = a->m + (int64_t)b->guard - r->m;

    if (r->m - a->m < past && again > r->low)
        r->low = again < 0 ? again : 0;
}

/* What the attack behind the frame at n leaves of it. */
static void read_before(const es_band *b, const es_attack *a, int64_t n,
                        es_reading *r)
{
    const int64_t until = a->n - n;
    const int64_t aligned = a->m - until;
    const int64_t half = (int64_t)b->n / 2;

    if (until >= half)
        return;
    if (!b->is_cut && until <= (int64_t)b->hop / 2) {
        r->m = aligned;
        r->is_attack = 1;
    }
    if (!r->is_attack && aligned < r->m)
        r->m = aligned;
    int64_t early = a->m - r->m; /* it would sound there */

    r->high = until < early ? until : early;
    r->high = r->high > 0 ? r->high : 0;
}

/* How the frame at output place n is read. */
static es_reading read_at(const es_stretch *s, const es_band *b, int64_t n)
{
    const es_detector *d = &s->detector;
    const int64_t half = (int64_t)b->n / 2;
    const es_attack *before = NULL;
    const es_attack *after = NULL;
    es_reading r = { stream_place(&s->source, place_at(s, n)), -half, half, 0 };

    for (size_t i = 0; i < d->n_attacks && !after; i++) {
        const es_attack *a = d->attacks + i;

        if (!a->is_placed)
            break;
        if (a->n <= n)
            before = a;
        else
            after = a;
    }
    if (before)
        read_after(s, b, before, n, &r);
    if (after)
        read_before(b, after, n, &r);
    if (!b->is_cut) {
        r.low = -half;
        r.high = half;
    }
    return r;
}

#endif
