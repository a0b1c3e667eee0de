/* convert.h - half-precision numbers to f32 and back, in plain C
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Back means to nearest, ties to even, as the processors' own instructions.
 */
#pragma once

#include "kernels/mat.h"

#include <string.h>

static inline float
f32_of_bits (uint32_t bits)
{
  float x;
  memcpy (&x, &bits, sizeof x);
  return x;
}

static inline uint32_t
bits_of_f32 (float x)
{
  uint32_t bits;
  memcpy (&bits, &x, sizeof bits);
  return bits;
}

static inline float
f32_of_bf16 (uint16_t x)
{
  return f32_of_bits ((uint32_t) x << 16);
}

/* NaN stays NaN, made quiet. */
static inline uint16_t
bf16_of_f32 (float x)
{
  uint32_t bits = bits_of_f32 (x);
  uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
  return (uint16_t) ((x != x ? bits | 0x400000 : rounded) >> 16);
}

/* The exponent is 112 short, which a product mends, subnormals included; of
 * infinity and NaN it is all ones. */
static inline float
f32_of_f16 (uint16_t x)
{
  uint32_t sign = (uint32_t) (x & 0x8000) << 16;
  float magnitude = f32_of_bits ((uint32_t) (x & 0x7fff) << 13) * 0x1p112f;
  uint32_t ones = magnitude >= 65536 ? 0x7f800000 : 0;
  return f32_of_bits (bits_of_f32 (magnitude) | ones | sign);
}

static inline uint16_t
f16_of_f32 (float x)
{
  uint32_t bits = bits_of_f32 (x);
  uint16_t sign = (uint16_t) (bits >> 16 & 0x8000);
  uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000)
    return (uint16_t) (sign | 0x7e00 | (magnitude >> 13 & 0x1ff));
  if (magnitude >= 0x477ff000) /* 65520 and up round to infinity */
    return (uint16_t) (sign | 0x7c00);
  if (magnitude < 0x38800000) { /* below 2^-14: adding 0.5 does the rounding */
    float sum = f32_of_bits (magnitude) + 0.5f;
    return (uint16_t) (sign | (bits_of_f32 (sum) - 0x3f000000));
  }
  uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return (uint16_t) (sign | (rounded - (112u << 23)) >> 13);
}

static inline float
f32_of_type (const void *x, DataType type, size_t i)
{
  if (type == TYPE_F32) {
    float value; /* mapped files promise no alignment */
    memcpy (&value, (const char *) x + 4 * i, sizeof value);
    return value;
  }
  uint16_t half;
  memcpy (&half, (const char *) x + 2 * i, sizeof half);
  return type == TYPE_BF16 ? f32_of_bf16 (half) : f32_of_f16 (half);
}

static inline void
f32_to_type (void *x, DataType type, size_t i, float value)
{
  if (type == TYPE_F32)
    ((float *) x)[i] = value;
  else
    ((uint16_t *) x)[i] =
        type == TYPE_BF16 ? bf16_of_f32 (value) : f16_of_f32 (value);
}
