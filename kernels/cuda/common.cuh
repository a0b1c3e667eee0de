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
#include <utility>

/* The only two things that the emulation cannot give CUDA's spelling. */
#ifdef __CUDACC__
template <typename... P, typename... A>
static inline void
launch_as (bool early, void (*kernel) (P...), dim3 grid, dim3 block,
    size_t shared, cudaStream_t stream, A &&...args)
{
  cudaLaunchAttribute overlap = {};
  cudaLaunchConfig_t config = {};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  config.attrs = &overlap;
  config.numAttrs = early;
  cudaLaunchKernelEx (&config, kernel, std::forward<A> (args)...);
}

#define LAUNCH_AS(early, kernel, grid, block, shared, stream, ...)             \
  launch_as (early, kernel, grid, block, shared, stream, __VA_ARGS__)
#define DYNAMIC_SHARED(type, name)                                             \
  extern __shared__ __align__ (16) unsigned char dynamic_shared[];             \
  type *name = (type *) dynamic_shared
#define PRAGMA(text) _Pragma (#text)
#define UNROLL(n) PRAGMA (unroll n)
#else
#define UNROLL(n)
#endif

#define LAUNCH(kernel, grid, block, shared, stream, ...)                       \
  LAUNCH_AS (false, kernel, grid, block, shared, stream, __VA_ARGS__)

/* Of kernels that wait_for_earlier, in every block: on a GPU that can, they
 * begin while the kernels before them still run. */
#define LAUNCH_EARLY(kernel, grid, block, shared, dev, ...)                    \
  LAUNCH_AS (cuda_of (dev)->overlaps, kernel, grid, block, shared,             \
      cuda_stream (dev), __VA_ARGS__)

#define WARP 32
#define ALL_LANES 0xffffffffu
#define OVERLAP_ARCH 900 /* from which on kernels can begin early */

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

static inline bool
is_aligned (const void *ptr)
{
  return (uintptr_t) ptr % 16 == 0;
}

/* Waits for all kernels before this one. What comes before it in a kernel that
 * was launched early may read what no kernel writes, and write nothing. */
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

static __device__ __forceinline__ void
wait_for_earlier ()
{
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= OVERLAP_ARCH
  cudaGridDependencySynchronize ();
#endif
}

/* Lets the kernel behind begin once all blocks have come here. */
static __device__ __forceinline__ void
let_next_begin ()
{
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= OVERLAP_ARCH
  cudaTriggerProgrammaticLaunchCompletion ();
#endif
}

/* What every kernel that is launched early does, most of them at once. */
static __device__ __forceinline__ void
begin_early ()
{
  let_next_begin ();
  wait_for_earlier ();
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

static __device__ __forceinline__ float
silu_times (float gate, float up)
{
  return gate / (1.0f + expf (-gate)) * up;
}
