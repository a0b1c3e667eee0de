/* launch.cuh - launches, some of which overlap with what is before them
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "kernels/cuda/backend.h"

#include <utility>

#define WARP 32
#define OVERLAP_ARCH 900 /* from which on kernels can begin early */
/* Of dynamic shared memory; a KiB is left for static arrays. */
#define UNASKED_SHARED ((size_t) 47 << 10)

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
#endif

#define LAUNCH(kernel, grid, block, shared, stream, ...)                       \
  LAUNCH_AS (false, kernel, grid, block, shared, stream, __VA_ARGS__)

/* Of kernels that wait_for_earlier, in every block: on a GPU that can, they
 * begin while the kernels before them still run. */
#define LAUNCH_EARLY(kernel, grid, block, shared, dev, ...)                    \
  LAUNCH_AS (cuda_of (dev)->overlaps, kernel, grid, block, shared,             \
      cuda_stream (dev), __VA_ARGS__)

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

/* Before a launch whose dynamic shared memory may be more than there is without
 * asking. What a kernel may have is the same for all devices on a GPU, which
 * threads of their own use: so it is all that there is or what it was. */
template <typename F>
static inline void
allow_shared (Device *dev, F *kernel, size_t bytes)
{
  const char *what = "asking for shared memory";
  cudaFuncAttributes attributes = {};
  if (bytes <= UNASKED_SHARED)
    return;
  cuda_stream (dev);
  if (!cuda_check (dev, cudaFuncGetAttributes (&attributes, kernel), what))
    return;
  size_t most = cuda_of (dev)->block_shared - attributes.sharedSizeBytes;
  if (bytes > most)
    device_fail (dev, DEVICE_UNAVAILABLE,
        "%s: a block needs %zu bytes of shared memory, and can have %zu",
        dev->name, bytes, most);
  else
    cuda_check (dev,
        cudaFuncSetAttribute (
            kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int) most),
        what);
}

/* Waits for all kernels before this one. What comes before it in a kernel that
 * was launched early may read what no kernel writes, and write nothing. */
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
