/* cuda_fp16.h - IEEE half as a type
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Stands in for CUDA's header of this name in the emulation.
 */
#pragma once

#include "cuda_runtime.h"

struct __half {
  unsigned short bits;
};

static inline float
__half2float (__half x)
{
  unsigned sign = (unsigned) (x.bits & 0x8000) << 16;
  unsigned exponent = (x.bits >> 10) & 31, fraction = x.bits & 0x3ff;
  if (exponent == 31)
    return __uint_as_float (sign | 0x7f800000 | fraction << 13);
  if (exponent)
    return __uint_as_float (sign | (exponent + 112) << 23 | fraction << 13);
  return (sign ? -1.0f : 1.0f) * (float) fraction * 0x1p-24f;
}

/* To nearest, ties to even. Numbers below 2^-14 are multiples of 2^-24, which
 * adding 0.5 rounds them to. */
static inline __half
__float2half (float x)
{
  unsigned bits = __float_as_uint (x);
  unsigned sign = (bits >> 16) & 0x8000, rest = bits & 0x7fffffff;
  if (rest > 0x7f800000)
    return { 0x7fff };
  if (rest >= 0x477ff000) /* rounds to more than 65504 */
    return { (unsigned short) (sign | 0x7c00) };
  if (rest < 0x38800000)
    return { (unsigned short) (sign | (__float_as_uint (
                                           __uint_as_float (rest) + 0.5f) -
                                          0x3f000000)) };
  rest += 0xfff + ((rest >> 13) & 1);
  return { (unsigned short) (sign | ((rest - 0x38000000) >> 13)) };
}

struct __half2 {
  __half x, y;
};

static inline __half2
__floats2half2_rn (float x, float y)
{
  return { __float2half (x), __float2half (y) };
}
