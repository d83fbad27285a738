/* level_scalar.c - the algorithm without vectors: the specification. */
#include "plan/internal.h"

#define ES_SCALAR
#include "frame/simd.h"

#include "frame/stages.h"

const es_ops es_scalar_ops = { ES_SIMD_SCALAR, rfft,       irfft,
                               analyse,        features,   synthesise,
                               energy,         magnitudes, level };
