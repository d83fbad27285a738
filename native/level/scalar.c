/* level_scalar.c - the algorithm without vectors: the specification. */
#include "internal.h"

#define ES_SCALAR
#include "simd.h"

#include "stages.h"

const es_ops es_scalar_ops = { ES_SIMD_SCALAR, rfft,       irfft,
                               analyse,        features,   synthesise,
                               energy,         magnitudes, level };
