/* level_neon.c - the algorithm for NEON, which every aarch64 has. */
#include "plan/internal.h"

#ifdef ES_ARM64

#define ES_NEON
#include "frame/simd.h"

#include "frame/stages.h"

const es_ops es_neon_ops = { ES_SIMD_NEON, rfft,       irfft,
                             analyse,      features,   synthesise,
                             energy,       magnitudes, level };

#else

typedef int es_not_this_machine;

#endif
