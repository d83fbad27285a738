/* level_sse2.c - the algorithm for SSE2, which every x86-64 has. */
#include "plan/internal.h"

#ifdef ES_X86

/* The whole file, so that inlined helpers get the instructions too. */
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("sse2"))),                  \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("sse2")
#endif

#define ES_SSE2
#include "frame/simd.h"

#include "frame/stages.h"

const es_ops es_sse2_ops = { ES_SIMD_SSE2, rfft,       irfft,
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
