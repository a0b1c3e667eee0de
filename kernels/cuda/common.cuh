/* common.cuh - what most kernels include: launches, numbers, sums, epilogues
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/numbers.cuh"

#define ALL_LANES 0xffffffffu

static __device__ __forceinline__ float
warp_sum (float x)
{
  for (int bits = WARP / 2; bits; bits /= 2)
    x += __shfl_xor_sync (ALL_LANES, x, bits);
  return x;
}

static __device__ __forceinline__ float
warp_max (float x)
{
  for (int bits = WARP / 2; bits; bits /= 2)
    x = fmaxf (x, __shfl_xor_sync (ALL_LANES, x, bits));
  return x;
}

/* Over a block of whole warps; every thread gets the result. */
static __device__ __forceinline__ float
block_sum (float x)
{
  __shared__ float parts[WARP];
  int lane = threadIdx.x % WARP, n_warps = blockDim.x / WARP;
  x = warp_sum (x);
  __syncthreads (); /* parts may still be read from the last sum */
  if (lane == 0)
    parts[threadIdx.x / WARP] = x;
  __syncthreads ();
  return warp_sum (lane < n_warps ? parts[lane] : 0);
}

static __device__ __forceinline__ float
block_max (float x)
{
  __shared__ float parts[WARP];
  int lane = threadIdx.x % WARP, n_warps = blockDim.x / WARP;
  x = warp_max (x);
  __syncthreads ();
  if (lane == 0)
    parts[threadIdx.x / WARP] = x;
  __syncthreads ();
  return warp_max (lane < n_warps ? parts[lane] : -INFINITY);
}

/* p times the sigmoid of x. What will be rounded to a T of 16 bits is made by
 * the GPU's own quotient and exponential, a few units of f32 off. */
template <typename T>
static __device__ __forceinline__ float
times_sigmoid (float p, float x)
{
  if constexpr (sizeof (T) == 2)
    return __fdividef (p, 1.0f + __expf (-x));
  return p / (1.0f + expf (-x));
}

/* What matmul does with p; y is what was there, and becomes a T. */
template <typename T>
static __device__ __forceinline__ float
apply (Epilogue epilogue, float y, float p)
{
  switch (epilogue) {
  case EPILOGUE_ADD:
    return y + p;
  case EPILOGUE_GELU:
    return p * 0.5f * (1.0f + erff (p * 0.70710678f));
  case EPILOGUE_QUICK_GELU:
    return times_sigmoid<T> (p, 1.702f * p);
  default:
    return p;
  }
}

template <typename T>
static __device__ __forceinline__ float
silu_times (float gate, float up)
{
  return times_sigmoid<T> (gate, gate) * up;
}
