/* fft.c - which instruction set, the complex FFT's tables, the real FFT. */
#include "plan/internal.h"

#define ES_PI 3.14159265358979323846

/* ---- Status and levels --------------------------------------------------- */

int es_abi(void)
{
    return ES_ABI;
}

const char *es_strerror(int status)
{
    switch (status) {
    case ES_OK:
        return "no error";
    case ES_ERR_NULL:
        return "a pointer is NULL";
    case ES_ERR_SIZE:
        return "a size, a count or the decay is not supported";
    case ES_ERR_ALIGN:
        return "memory is not aligned to 64 bytes";
    case ES_ERR_MEMORY:
        return "memory is smaller than asked for";
    case ES_ERR_SIMD:
        return "this machine lacks the instruction set";
    case ES_ERR_BANDS:
        return "band edges are negative or do not increase";
    case ES_ERR_THRESHOLDS:
        return "thresholds are NaN, decreasing or too close to each other";
    default:
        return "unknown status";
    }
}

const char *es_simd_name(int simd)
{
    switch (simd) {
    case ES_SIMD_SCALAR:
        return "scalar";
    case ES_SIMD_SSE2:
        return "sse2";
    case ES_SIMD_AVX2:
        return "avx2";
    case ES_SIMD_NEON:
        return "neon";
    default:
        return "?";
    }
}

/* Code of a level, or NULL where this machine does not run it. */
static const es_ops *ops_of(int simd)
{
    switch (simd) {
    case ES_SIMD_SCALAR:
        return &es_scalar_ops;
#ifdef ES_X86
    case ES_SIMD_SSE2:
        return __builtin_cpu_supports("sse2") ? &es_sse2_ops : NULL;
    case ES_SIMD_AVX2:
        return __builtin_cpu_supports("avx2") ? &es_avx2_ops : NULL;
#endif
#ifdef ES_ARM64
    case ES_SIMD_NEON:
        return &es_neon_ops;
#endif
    default:
        return NULL;
    }
}

int es_simd_runs(int simd)
{
    return ops_of(simd) != NULL;
}

int es_simd_best(void)
{
    int simd = ES_SIMD_NEON;

    while (!es_simd_runs(simd))
        simd--;
    return simd;
}

/* Lanes of a row of n points; the column pass wants whole vectors of rows. */
static size_t lanes_of(size_t n)
{
    return n % ES_LANES == 0 && n / ES_LANES >= ES_LANES ? ES_LANES : 1;
}

const es_ops *es_choose(int simd, size_t n)
{
    if (simd == ES_SIMD_BEST)
        simd = es_simd_best();
    const es_ops *ops = ops_of(simd);

    return ops && lanes_of(n) == 1 ? &es_scalar_ops : ops;
}

/* ---- Memory -------------------------------------------------------------- */

int es_aligned(const void *p)
{
    return (uintptr_t)p % ES_ALIGN == 0;
}

void *es_take(es_arena *arena, size_t n, size_t size)
{
    void *p = arena->base ? arena->base + arena->used : NULL;

    arena->used += (n * size + ES_ALIGN - 1) / ES_ALIGN * ES_ALIGN;
    return p;
}

void es_work_layout(es_work *w, es_arena *arena, size_t n, size_t n_powers,
                    size_t n_gains)
{
    const size_t spare = ES_LANES; /* whole vectors at the end */

    w->rows = es_take(arena, 2 * n, sizeof *w->rows);
    w->re = es_take(arena, n + 1 + spare, sizeof *w->re);
    w->im = es_take(arena, n + 1 + spare, sizeof *w->im);
    for (size_t i = 0; i < 3; i++) {
        size_t size = n_powers ? n_powers + spare : 0;

        w->power[i] = es_take(arena, size, sizeof *w->power[i]);
    }
    for (size_t i = 0; i < 2; i++) {
        size_t size = n_gains ? n_gains + spare : 0;

        w->gain[i] = es_take(arena, size, sizeof *w->gain[i]);
    }
}

/* ---- Complex FFT: tables ------------------------------------------------- */

int es_size_ok(size_t n_fft)
{
    const size_t primes[] = { 2, 3, 5 };

    if (n_fft < 16 || n_fft > (size_t)1 << 20 || n_fft % 4)
        return 0;
    for (size_t i = 0; i < 3; i++) {
        while (n_fft % primes[i] == 0)
            n_fft /= primes[i];
    }
    return n_fft == 1;
}

/* Factor the rows: 5s and 3s, then 8s, with 4s (or one 2) for what is left. */
static void choose_passes(es_cfft *c)
{
    size_t rest = c->n_rows;
    size_t twos = 0;

    c->n_passes = 0;
    for (; rest % 5 == 0; rest /= 5)
        c->radix[c->n_passes++] = 5;
    for (; rest % 3 == 0; rest /= 3)
        c->radix[c->n_passes++] = 3;
    for (; rest % 2 == 0; rest /= 2)
        twos++;
    if (twos == 1) {
        c->radix[c->n_passes++] = 2;
        twos = 0;
    }
    for (; twos % 3; twos -= 2)
        c->radix[c->n_passes++] = 4;
    for (; twos; twos -= 3)
        c->radix[c->n_passes++] = 8;
}

/* Pairs of twiddles in all row passes but the last. */
static size_t row_twiddle_count(const es_cfft *c)
{
    size_t m = c->n_rows;
    size_t n = 0;

    for (size_t i = 0; i + 1 < c->n_passes; i++) {
        m /= c->radix[i];
        n += (c->radix[i] - 1) * m;
    }
    return n;
}

void es_cfft_layout(es_cfft *c, es_arena *arena, size_t n, int is_split)
{
    const size_t n_split = is_split ? n + 1 : 0;
    const size_t lanes = lanes_of(n);

    c->n = n;
    c->lanes = lanes;
    c->n_rows = n / lanes;
    choose_passes(c);
    size_t n_groups = (c->n_rows + lanes - 1) / lanes;
    size_t n_column = n_groups * (lanes - 1) * 2 * lanes;
    size_t n_blocks = c->n_rows / c->radix[c->n_passes - 1];

    c->column_twiddles = es_take(arena, n_column, sizeof(float));
    c->row_twiddles = es_take(arena, 2 * row_twiddle_count(c), sizeof(float));
    c->order = es_take(arena, n_blocks, sizeof *c->order);
    c->split_cos = es_take(arena, n_split, sizeof(float));
    c->split_sin = es_take(arena, n_split, sizeof(float));
    if (!is_split)
        c->split_cos = c->split_sin = NULL;
}

/* e^(-2 pi i k / n), rounded once; exact on the axes.  Taylor's sums are as
 * good as double over an eighth of the circle and, unlike the C library's
 * functions, the same on every machine. */
static void twiddle(size_t k, size_t n, float *re, float *im)
{
    const size_t eighth = 8 * (k % n) / n;
    const size_t past = 8 * (k % n) - eighth * n; /* its start, n is its end */
    const size_t part = eighth % 2 ? n - past : past; /* from the near axis */
    const double x = 0.25 * ES_PI * (double)part / (double)n;
    double cos_x = 1.0;
    double sin_x = 1.0;

    for (int i = 16; i > 0; i -= 2) {
        cos_x = 1.0 - x * x / (double)(i * (i - 1)) * cos_x;
        sin_x = 1.0 - x * x / (double)(i * (i + 1)) * sin_x;
    }
    sin_x = x * sin_x;
    int is_steep = (eighth + 1) / 2 % 2 == 1;
    double a = is_steep ? sin_x : cos_x;
    double b = is_steep ? cos_x : sin_x;

    *re = (float)((eighth + 2) / 4 % 2 ? 0.0 - a : a);
    *im = (float)(eighth / 4 ? b : 0.0 - b);
}

static void fill_columns(es_cfft *c)
{
    const size_t lanes = c->lanes;
    float *w = c->column_twiddles;

    for (size_t i = 0; i < c->n_rows && lanes > 1; i += lanes) {
        size_t m = i + lanes <= c->n_rows ? i : c->n_rows - lanes;

        for (size_t q = 1; q < lanes; q++, w += 2 * lanes) {
            for (size_t j = 0; j < lanes; j++)
                twiddle((m + j) * q, c->n, w + j, w + lanes + j);
        }
    }
}

static void fill_rows(es_cfft *c)
{
    float *w = c->row_twiddles;
    size_t n = c->n_rows;

    for (size_t p = 0; p + 1 < c->n_passes; p++) {
        size_t m = n / c->radix[p];

        for (size_t j = 0; j < m; j++) {
            for (size_t i = 1; i < c->radix[p]; i++, w += 2)
                twiddle(i * j, n, w, w + 1);
        }
        n = m;
    }
}

/* The block b of the last pass has the digits i0, i1, ... of the passes
 * before it, i0 the most significant; its first output is the row
 * i0 + r0 (i1 + r1 (i2 + ...)). */
static void fill_order(es_cfft *c)
{
    const size_t n_before = c->n_passes - 1;
    const size_t n_blocks = c->n_rows / c->radix[n_before];

    for (size_t b = 0; b < n_blocks; b++) {
        size_t rest = b;
        size_t row = 0;

        for (size_t p = n_before; p-- > 0;) {
            row = row * c->radix[p] + rest % c->radix[p];
            rest /= c->radix[p];
        }
        c->order[b] = (uint32_t)row;
    }
}

void es_cfft_fill(es_cfft *c)
{
    fill_columns(c);
    fill_rows(c);
    fill_order(c);
    for (size_t k = 0; c->split_cos && k <= c->n; k++)
        twiddle(k, 2 * c->n, c->split_cos + k, c->split_sin + k);
}

/* ---- Real FFT ------------------------------------------------------------ */

static es_fft *fft_layout(es_arena *arena, size_t n_fft, es_cfft *c)
{
    es_fft *plan = es_take(arena, 1, sizeof *plan);

    es_cfft_layout(c, arena, n_fft / 2, 1);
    return plan;
}

size_t es_fft_bytes(size_t n_fft, int simd)
{
    es_arena arena = { NULL, 0 };
    es_cfft c;

    if (!es_size_ok(n_fft))
        return 0;
    if (!es_choose(simd, n_fft / 2))
        return 0;
    fft_layout(&arena, n_fft, &c);
    return arena.used;
}

size_t es_fft_work_bytes(size_t n_fft)
{
    es_arena arena = { NULL, 0 };
    es_work w;

    if (!es_size_ok(n_fft))
        return 0;
    es_work_layout(&w, &arena, n_fft / 2, 0, 0);
    return arena.used;
}

int es_fft_init(void *mem, size_t mem_bytes, size_t n_fft, int simd,
                es_fft **plan)
{
    es_arena arena = { mem, 0 };
    es_cfft c;

    if (!mem || !plan)
        return ES_ERR_NULL;
    if (!es_size_ok(n_fft))
        return ES_ERR_SIZE;
    const es_ops *ops = es_choose(simd, n_fft / 2);
    if (!ops)
        return ES_ERR_SIMD;
    if (!es_aligned(mem))
        return ES_ERR_ALIGN;
    if (mem_bytes < es_fft_bytes(n_fft, simd))
        return ES_ERR_MEMORY;
    es_fft *p = fft_layout(&arena, n_fft, &c);
    p->ops = ops;
    p->n_fft = n_fft;
    p->c = c;
    es_cfft_fill(&p->c);
    *plan = p;
    return ES_OK;
}

int es_fft_simd(const es_fft *plan)
{
    return plan ? plan->ops->simd : ES_ERR_NULL;
}

int es_rfft(const es_fft *plan, const float *x, float *X, void *work)
{
    es_arena arena = { work, 0 };
    es_work w;

    if (!plan || !x || !X || !work)
        return ES_ERR_NULL;
    if (!es_aligned(work))
        return ES_ERR_ALIGN;
    es_work_layout(&w, &arena, plan->c.n, 0, 0);
    plan->ops->rfft(plan, x, X, &w);
    return ES_OK;
}

int es_irfft(const es_fft *plan, const float *X, float *x, void *work)
{
    es_arena arena = { work, 0 };
    es_work w;

    if (!plan || !x || !X || !work)
        return ES_ERR_NULL;
    if (!es_aligned(work))
        return ES_ERR_ALIGN;
    es_work_layout(&w, &arena, plan->c.n, 0, 0);
    plan->ops->irfft(plan, X, x, &w);
    return ES_OK;
}
