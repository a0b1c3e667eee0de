/* common.cuh - what the kernels share: number types, launches, sums
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Kernels are templates over the type of activations and weights: bf16, f16
 * before compute capability 8.0, or f32 ("cuda:f32").
 * Arithmetic is f32.
 */
#pragma once

#include "kernels/cuda/backend.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

/* The only two things that the emulation cannot give CUDA's spelling. */
#ifdef __CUDACC__
#define LAUNCH(kernel, grid, block, shared, stream, ...)                       \
  (kernel)<<<grid, block, shared, stream>>> (__VA_ARGS__)
#define DYNAMIC_SHARED(type, name)                                             \
  extern __shared__ __align__ (16) unsigned char dynamic_shared[];             \
  type *name = (type *) dynamic_shared
#define PRAGMA(text) _Pragma (#text)
#define UNROLL(n) PRAGMA (unroll n)
#else
#define UNROLL(n)
#endif

#define WARP 32
#define ALL_LANES 0xffffffffu

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

/* 16 bytes of T, read and written as one. */
template <typename T> struct __align__ (16) Pack
{
  static constexpr int N = 16 / sizeof (T);
  T v[N];
};

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

static inline unsigned
blocks_for (size_t count, int per_block)
{
  return (unsigned) ((count + per_block - 1) / per_block);
}

/* Whole warps for a row, `most` at most. */
static inline unsigned
threads_for (size_t width, unsigned most)
{
  return width < most ? blocks_for (width, WARP) * WARP : most;
}

/* Before a launch with more than 47 KiB of dynamic shared memory. */
template <typename F>
static inline void
allow_shared (F *kernel, size_t bytes)
{
  cudaFuncSetAttribute (
      kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int) bytes);
}

static inline bool
is_aligned (const void *ptr)
{
  return (uintptr_t) ptr % 16 == 0;
}

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

/* What matmul does with p; y is what was there. */
static __device__ __forceinline__ float
apply (Epilogue epilogue, float y, float p)
{
  switch (epilogue) {
  case EPILOGUE_ADD:
    return y + p;
  case EPILOGUE_GELU:
    return p * 0.5f * (1.0f + erff (p * 0.70710678f));
  case EPILOGUE_QUICK_GELU:
    return p / (1.0f + expf (-1.702f * p));
  default:
    return p;
  }
}
