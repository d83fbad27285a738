/* flush.h - subnormal numbers count as zero while a call runs.
 *
 * Fading reverb decays into subnormals, which cost 100 times more on many
 * machines and are 600 dB below anything audible. */
#ifndef ES_FLUSH_H
#define ES_FLUSH_H

#include "plan/internal.h"

#ifdef ES_X86
#include <xmmintrin.h>
#endif

typedef uint64_t es_fp_mode;

static inline es_fp_mode flush_subnormals(void)
{
#if defined(ES_X86)
    const unsigned ftz_daz = 0x8040;
    unsigned old = _mm_getcsr();

    _mm_setcsr(old | ftz_daz);
    return old;
#elif defined(ES_ARM64)
    const uint64_t fz = (uint64_t)1 << 24;
    uint64_t old;

    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    __asm__ volatile("msr fpcr, %0" : : "r"(old | fz));
    return old;
#elif defined(ES_VFP)
    const uint32_t fz = (uint32_t)1 << 24;
    uint32_t old;

    __asm__ volatile("vmrs %0, fpscr" : "=r"(old));
    __asm__ volatile("vmsr fpscr, %0" : : "r"(old | fz));
    return old;
#else
    return 0;
#endif
}

static inline void restore_mode(es_fp_mode old)
{
#if defined(ES_X86)
    _mm_setcsr((unsigned)old);
#elif defined(ES_ARM64)
    __asm__ volatile("msr fpcr, %0" : : "r"(old));
#elif defined(ES_VFP)
    __asm__ volatile("vmsr fpscr, %0" : : "r"((uint32_t)old));
#else
    (void)old;
#endif
}

#endif
