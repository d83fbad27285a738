/* level_avx2.c - the algorithm for AVX2, chosen at run time. */
#include "plan/internal.h"

#ifdef ES_X86

/* The whole file, so that inlined helpers get the instructions too. */
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2"))),                  \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif

#define ES_AVX2
#include "frame/simd.h"

#include "frame/stages.h"

const es_ops es_avx2_ops = { ES_SIMD_AVX2, rfft,       irfft,
                             analyse,      features,   synthesise,
                             energy,       magnitudes, level };

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#else

typedef int es_not_this_machine;

#endif
