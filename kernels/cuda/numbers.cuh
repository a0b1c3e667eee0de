/* numbers.cuh - types of numbers, and how many move at a time
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Kernels are templates over the type of activations and weights: bf16, f16
 * before compute capability 8.0, or f32 ("cuda:f32"). Arithmetic is f32.
 */
#pragma once

#include "kernels/device.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>
#include <type_traits>

#define BF16_ARCH 800 /* from which on activations of 16 bits are bf16 */

/* Whether no activations are of this type on the architecture that is compiled
 * for. The large kernels are empty then, which saves the compiler a third of
 * its work and the module a third of its code. */
template <typename T>
static __device__ __forceinline__ bool
never_here ()
{
#ifdef __CUDA_ARCH__
  typedef std::conditional_t<(__CUDA_ARCH__ >= BF16_ARCH), __half,
      __nv_bfloat16>
      Never;
  if (std::is_same<T, Never>::value) {
    __trap ();
    return true;
  }
#endif
  return false;
}

static __device__ __forceinline__ float
to_float (float x)
{
  return x;
}

static __device__ __forceinline__ float
to_float (__nv_bfloat16 x)
{
  return __bfloat162float (x);
}

static __device__ __forceinline__ float
to_float (__half x)
{
  return __half2float (x);
}

static __device__ __forceinline__ void
store (float *y, float x)
{
  *y = x;
}

static __device__ __forceinline__ void
store (__nv_bfloat16 *y, float x)
{
  *y = __float2bfloat16 (x);
}

static __device__ __forceinline__ void
store (__half *y, float x)
{
  *y = __float2half (x);
}

/* The numbers that 16 bytes are. They stay whole until they are needed: taken
 * apart at once, they would be waited for at once. */
static __device__ __forceinline__ void
unpack (float *to, const uint4 &bits, float)
{
  to[0] = __uint_as_float (bits.x);
  to[1] = __uint_as_float (bits.y);
  to[2] = __uint_as_float (bits.z);
  to[3] = __uint_as_float (bits.w);
}

static __device__ __forceinline__ void
unpack_two (float *to, unsigned bits, __nv_bfloat16)
{
  to[0] = __uint_as_float (bits << 16);
  to[1] = __uint_as_float (bits & 0xffff0000u);
}

static __device__ __forceinline__ void
unpack_two (float *to, unsigned bits, __half)
{
  __half2 pair;
  memcpy (&pair, &bits, sizeof pair);
  to[0] = __half2float (pair.x);
  to[1] = __half2float (pair.y);
}

template <typename T>
static __device__ __forceinline__ void
unpack (float *to, const uint4 &bits, T type)
{
  unpack_two (to, bits.x, type);
  unpack_two (to + 2, bits.y, type);
  unpack_two (to + 4, bits.z, type);
  unpack_two (to + 6, bits.w, type);
}

static inline bool
is_aligned (const void *ptr)
{
  return (uintptr_t) ptr % 16 == 0;
}

/* A number as a type, for generic lambdas. */
template <int N> struct Constant {
  static constexpr int value = N;
};

/* N neighbouring numbers, read and written as one. */
template <typename T, int N> struct __align__ (N * sizeof (T)) Some
{
  T v[N];
};

/* Calls f with how many numbers of rows of `width` go at a time: four, or one
 * where they are not aligned to that. The width's affair where the arrays are
 * aligned, so that a row's sums do not depend on others. */
template <typename T, typename F>
static inline void
with_some (size_t width, const float *x, const T *y, F f)
{
  if (width % 4 == 0 && is_aligned (x) &&
      (uintptr_t) y % sizeof (Some<T, 4>) == 0)
    f (Constant<4> ());
  else
    f (Constant<1> ());
}

/* Calls f with a value of the type; f is a generic lambda. */
template <typename F>
static inline void
with_type (DataType type, F f)
{
  switch (type) {
  case TYPE_F32:
    f (float ());
    break;
  case TYPE_BF16:
    f (__nv_bfloat16 ());
    break;
  case TYPE_F16:
    f (__half ());
    break;
  }
}

/* With the type of the device's activations. */
template <typename F>
static inline void
with_act (const Device *dev, F f)
{
  with_type (dev->act_type, f);
}
