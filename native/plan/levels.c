/* levels.c - plans of the first levels of a network, and their call. */
#include "frame/flush.h"
#include "plan/internal.h"

#include <math.h>
#include <string.h>

#define ES_MOST_ROWS ((size_t)1 << 16)
#define ES_MOST_CHANNELS 1024
#define ES_MOST_FEATURES 16

_Static_assert(sizeof((es_levels_config *)0)->level / sizeof(es_level) ==
                   ES_MAX_LEVELS,
               "the config has room for every level");

/* ---- Plans --------------------------------------------------------------- */

static int is_finite(const float *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(p[i]))
            return 0;
    }
    return 1;
}

static int is_grid(float scale, int zero)
{
    return scale > 0.0f && isfinite(scale) && isfinite(1.0f / scale) &&
           zero >= -128 && zero <= 127;
}

static int check_level(const es_level *l, size_t n_in)
{
    if (!l->kernel || !l->bias)
        return ES_ERR_NULL;
    if (l->n_out < 1 || l->n_out % ES_CHANNELS || l->n_out > ES_MOST_CHANNELS ||
        !is_grid(l->scale, l->zero) ||
        !is_finite(l->kernel, ES_TAPS * ES_TAPS * n_in * l->n_out) ||
        !is_finite(l->bias, l->n_out))
        return ES_ERR_SIZE;
    return ES_OK;
}

static int check(const es_levels_config *c)
{
    if (!c)
        return ES_ERR_NULL;
    if (c->n_levels < 1 || c->n_levels > ES_MAX_LEVELS || c->n_features < 1 ||
        c->n_features > ES_MOST_FEATURES || c->n_frames < 1 ||
        c->n_frames > ES_MOST_ROWS || c->n_bands < 1 ||
        c->n_bands > ES_MOST_ROWS || c->n_frames % (1u << c->n_levels) ||
        c->n_bands % (ES_COLUMNS << c->n_levels) ||
        !(c->slope >= 0.0f && c->slope <= 1.0f) ||
        !is_grid(c->heard_scale, c->heard_zero))
        return ES_ERR_SIZE;
    for (size_t i = 0; i < c->n_levels; i++) {
        size_t n_in = i ? c->level[i - 1].n_out : c->n_features;
        int status = check_level(&c->level[i], n_in);

        if (status != ES_OK)
            return status;
    }
    return es_choose(c->simd, ES_ALIGN) ? ES_OK : ES_ERR_SIMD;
}

static es_grid grid_of(float scale, int zero)
{
    es_grid grid = { 1.0f / scale, (float)zero };

    return grid;
}

/* Fill `p` with counts and places; the plan itself is the first piece. */
static es_levels *layout(es_levels *p, es_arena *arena,
                         const es_levels_config *c)
{
    es_levels *plan = es_take(arena, 1, sizeof *plan);

    memset(p, 0, sizeof *p);
    p->ops = es_choose(c->simd, ES_ALIGN);
    p->n_levels = c->n_levels;
    p->n_features = c->n_features;
    p->slope = c->slope;
    p->heard = grid_of(c->heard_scale, c->heard_zero);
    for (size_t i = 0; i < c->n_levels; i++) {
        const es_level *from = &c->level[i];
        es_level_plan *l = &p->level[i];

        l->n_in = i ? c->level[i - 1].n_out : c->n_features;
        l->n_out = from->n_out;
        l->n_rows = c->n_frames >> (i + 1);
        l->n_columns = c->n_bands >> (i + 1);
        l->in_row = (2 * l->n_columns + ES_PAD) * l->n_in;
        l->out_row = (l->n_columns + ES_PAD) * l->n_out;
        l->grid = grid_of(from->scale, from->zero);
        l->kernel = es_take(arena, ES_TAPS * ES_TAPS * l->n_in * l->n_out,
                            sizeof *l->kernel);
        l->bias = es_take(arena, l->n_out, sizeof *l->bias);
    }
    return plan;
}

/* Kernels go group by group, so that a row of taps of one is in one piece. */
static void fill(const es_level_plan *l, const es_level *from)
{
    const size_t n_taps = ES_TAPS * ES_TAPS * l->n_in;
    float *to = l->kernel;

    for (size_t o = 0; o < l->n_out; o += ES_CHANNELS) {
        for (size_t j = 0; j < n_taps; j++, to += ES_CHANNELS)
            memcpy(to, from->kernel + j * l->n_out + o,
                   ES_CHANNELS * sizeof *to);
    }
    memcpy(l->bias, from->bias, l->n_out * sizeof *l->bias);
}

size_t es_levels_bytes(const es_levels_config *config)
{
    es_arena arena = { NULL, 0 };
    es_levels p;

    if (check(config) != ES_OK)
        return 0;
    layout(&p, &arena, config);
    return arena.used;
}

int es_levels_init(void *mem, size_t mem_bytes, const es_levels_config *config,
                   es_levels **plan)
{
    es_arena arena = { mem, 0 };
    es_levels p;

    if (!mem || !plan)
        return ES_ERR_NULL;
    int status = check(config);
    if (status != ES_OK)
        return status;
    if (!es_aligned(mem))
        return ES_ERR_ALIGN;
    if (mem_bytes < es_levels_bytes(config))
        return ES_ERR_MEMORY;
    es_levels *out = layout(&p, &arena, config);
    for (size_t i = 0; i < p.n_levels; i++)
        fill(&p.level[i], &config->level[i]);
    *out = p;
    *plan = out;
    return ES_OK;
}

int es_levels_simd(const es_levels *plan)
{
    return plan ? plan->ops->simd : ES_ERR_NULL;
}

/* ---- The call ------------------------------------------------------------ */

/* Floats of the padded input of a level. */
static size_t plane_of(const es_level_plan *l)
{
    return (2 * l->n_rows + ES_PAD) * l->in_row;
}

/* Inputs of even and of odd levels take turns in two planes. */
static size_t cut_planes(const es_levels *p, void *work, float *plane[2])
{
    es_arena arena = { work, 0 };
    size_t size[2] = { 0, 0 };

    for (size_t i = 0; i < p->n_levels; i++) {
        size_t n = plane_of(&p->level[i]);

        if (n > size[i % 2])
            size[i % 2] = n;
    }
    for (size_t i = 0; i < 2; i++)
        plane[i] = es_take(&arena, size[i], sizeof *plane[i]);
    return arena.used;
}

size_t es_levels_work_bytes(const es_levels_config *config)
{
    es_arena arena = { NULL, 0 };
    es_levels p;
    float *plane[2];

    if (check(config) != ES_OK)
        return 0;
    layout(&p, &arena, config);
    return cut_planes(&p, NULL, plane);
}

/* Where the input of a level begins, in its plane. */
static float *behind_pad(const es_level_plan *l, float *plane)
{
    return plane + l->in_row + l->n_in;
}

static void copy_rows(const es_level_plan *l, const float *from, float *to)
{
    const size_t n = 2 * l->n_columns * l->n_in;

    for (size_t t = 0; t < 2 * l->n_rows; t++)
        memcpy(to + t * l->in_row, from + t * n, n * sizeof *to);
}

int es_levels_codes(const es_levels *plan, const float *magnitudes,
                    int8_t *const *codes, void *work)
{
    float *plane[2];

    if (!plan || !magnitudes || !codes || !work)
        return ES_ERR_NULL;
    for (size_t i = 0; i <= plan->n_levels; i++) {
        if (!codes[i])
            return ES_ERR_NULL;
    }
    if (!es_aligned(work))
        return ES_ERR_ALIGN;
    cut_planes(plan, work, plane);
    es_fp_mode old = flush_subnormals();
    memset(plane[0], 0, plane_of(plan->level) * sizeof *plane[0]);
    copy_rows(plan->level, magnitudes, behind_pad(plan->level, plane[0]));
    for (size_t i = 0; i < plan->n_levels; i++) {
        const es_level_plan *l = &plan->level[i];
        int is_last = i + 1 == plan->n_levels;
        float *out = plane[(i + 1) % 2];
        es_level_io io = { plane[i % 2], NULL,        codes[i],
                           NULL,         plan->heard, plan->slope };

        if (is_last) {
            io.heard = codes[i + 1];
        } else {
            memset(out, 0, plane_of(l + 1) * sizeof *out);
            io.out = behind_pad(l + 1, out);
        }
        plan->ops->level(l, &io);
    }
    restore_mode(old);
    return ES_OK;
}
