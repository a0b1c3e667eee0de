/* cuda_bf16.h - the upper half of an f32 as a type
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Stands in for CUDA's header of this name in the emulation.
 */
#pragma once

#include "cuda_runtime.h"

struct __nv_bfloat16 {
  unsigned short bits;
};

static inline float
__bfloat162float (__nv_bfloat16 x)
{
  return __uint_as_float ((unsigned) x.bits << 16);
}

/* To nearest, ties to even; NaN as the hardware makes it. */
static inline __nv_bfloat16
__float2bfloat16 (float x)
{
  unsigned bits = __float_as_uint (x);
  if ((bits & 0x7fffffff) > 0x7f800000)
    return { 0x7fff };
  return { (unsigned short) ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) };
}

struct __nv_bfloat162 {
  __nv_bfloat16 x, y;
};

static inline __nv_bfloat162
__floats2bfloat162_rn (float x, float y)
{
  return { __float2bfloat16 (x), __float2bfloat16 (y) };
}
