/* mma.cuh - tensor cores, and copies that run beside the arithmetic
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The only file with PTX. Each of its functions has a plain twin that does the
 * same lane by lane: the emulation runs it, and architectures that lack the
 * instruction. All 32 lanes call each function together, in blocks of at most
 * MMA_WARPS warps.
 *
 * A fragment is what the lanes hold of a small matrix. Lane 4 g + p has, each
 * register being two 16-bit numbers side by side:
 *
 *   A[16,16]  a[0]: row g, columns 2p, 2p+1; a[1]: row g+8;
 *             a[2], a[3]: the same rows, columns 2p+8, 2p+9
 *   B[16,8]   b[0]: rows 2p, 2p+1 of column g; b[1]: rows 2p+8, 2p+9
 *   D[16,8]   f32: d[0], d[1]: row g, columns 2p, 2p+1; d[2], d[3]: row g+8
 *
 * Source: the PTX ISA, "Matrix fragments for mma.m16n8k16" and "ldmatrix".
 */
#pragma once

#include "kernels/cuda/common.cuh"

#include <assert.h>
#include <cuda_pipeline.h>

#define MMA_WARPS 4

/* Two numbers as a register of a fragment, the first in the lower half. */
static __device__ __forceinline__ uint32_t
pack_pair (float first, float second, __nv_bfloat16)
{
  __nv_bfloat162 pair = __floats2bfloat162_rn (first, second);
  uint32_t bits;
  memcpy (&bits, &pair, sizeof bits);
  return bits;
}

static __device__ __forceinline__ uint32_t
pack_pair (float first, float second, __half)
{
  __half2 pair = __floats2half2_rn (first, second);
  uint32_t bits;
  memcpy (&bits, &pair, sizeof bits);
  return bits;
}

/* 2 to the power of x, to 2 ulp; 0 for results below the normal numbers. */
static __device__ __forceinline__ float
power_of_two (float x)
{
#ifdef __CUDA_ARCH__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return exp2f (x);
#endif
}

/* ---- D += A B ---- */

template <typename T>
static __device__ __forceinline__ void
unpack_pair (float *to, uint32_t bits)
{
  T pair[2];
  memcpy (pair, &bits, sizeof bits);
  to[0] = to_float (pair[0]);
  to[1] = to_float (pair[1]);
}

template <typename T>
static __device__ void
mma_plain (float *d, const uint32_t *a, const uint32_t *b)
{
  __shared__ float left[MMA_WARPS][16][16], right[MMA_WARPS][8][16];
  int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
  int g = lane / 4, p = lane % 4;
  for (int i = 0; i < 4; i++)
    unpack_pair<T> (&left[warp][g + i % 2 * 8][2 * p + i / 2 * 8], a[i]);
  for (int i = 0; i < 2; i++)
    unpack_pair<T> (&right[warp][g][2 * p + 8 * i], b[i]);
  __syncwarp ();
  const float *upper = left[warp][g], *lower = left[warp][g + 8];
  const float *first = right[warp][2 * p], *second = right[warp][2 * p + 1];
  float sum[4] = {};
  for (int k = 0; k < 16; k++) {
    sum[0] += upper[k] * first[k];
    sum[1] += upper[k] * second[k];
    sum[2] += lower[k] * first[k];
    sum[3] += lower[k] * second[k];
  }
  for (int i = 0; i < 4; i++)
    d[i] += sum[i];
  __syncwarp ();
}

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define MMA_16816(type)                                                        \
  asm volatile(                                                                \
      "mma.sync.aligned.m16n8k16.row.col.f32." type "." type ".f32 "           \
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                  \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                         \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))

static __device__ __forceinline__ void
mma (float *d, const uint32_t *a, const uint32_t *b, __nv_bfloat16)
{
  MMA_16816 ("bf16");
}

static __device__ __forceinline__ void
mma (float *d, const uint32_t *a, const uint32_t *b, __half)
{
  MMA_16816 ("f16");
}
#elif defined(__CUDA_ARCH__)
static __device__ __forceinline__ void
mma (float *d, const uint32_t *a, const uint32_t *b, __nv_bfloat16)
{
  mma_plain<__nv_bfloat16> (d, a, b);
}

/* Columns of A, and rows of B, eight at a time. */
static __device__ __forceinline__ void
mma (float *d, const uint32_t *a, const uint32_t *b, __half)
{
  for (int i = 0; i < 2; i++)
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[2 * i]), "r"(a[2 * i + 1]), "r"(b[i]));
}
#else
template <typename T>
static __device__ void
mma (float *d, const uint32_t *a, const uint32_t *b, T)
{
  mma_plain<T> (d, a, b);
}
#endif

/* ---- shared memory, by addresses of 32 bits where there are such ---- */

#ifdef __CUDA_ARCH__
typedef uint32_t SharedAddress;

static __device__ __forceinline__ SharedAddress
shared_address (const void *ptr)
{
  return (SharedAddress) __cvta_generic_to_shared (ptr);
}
#else
typedef uintptr_t SharedAddress;

static __device__ __forceinline__ SharedAddress
shared_address (const void *ptr)
{
  return (SharedAddress) ptr;
}
#endif

/* ---- four matrices of 8 by 8 from shared memory ----
 *
 * Lane 8 m + i gives where row i of matrix m is: 16 bytes, aligned to that.
 * r[m] of lane 4 g + p is row g, columns 2p, 2p+1; transposed, column g, rows
 * 2p, 2p+1. */

template <bool TRANSPOSED, typename T>
static __device__ void
load_matrices_plain (uint32_t *r, const T *row)
{
  __shared__ const T *shown[MMA_WARPS][WARP];
  const T **rows = shown[threadIdx.x / WARP];
  int lane = threadIdx.x % WARP, g = lane / 4, p = lane % 4;
  assert ((uintptr_t) row % 16 == 0);
  rows[lane] = row;
  __syncwarp ();
  for (int m = 0; m < 4; m++) {
    const T *const *matrix = rows + 8 * m;
    T pair[2] = { TRANSPOSED ? matrix[2 * p][g] : matrix[g][2 * p],
      TRANSPOSED ? matrix[2 * p + 1][g] : matrix[g][2 * p + 1] };
    memcpy (&r[m], pair, sizeof r[m]);
  }
  __syncwarp ();
}

#ifdef __CUDA_ARCH__
#define LDMATRIX_X4(form)                                                      \
  asm volatile("ldmatrix.sync.aligned.m8n8.x4" form ".shared.b16 "             \
               "{%0,%1,%2,%3}, [%4];"                                          \
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])                \
               : "r"(row)                                                      \
               : "memory")
#endif

template <typename T>
static __device__ __forceinline__ void
load_matrices (uint32_t *r, SharedAddress row, T)
{
#ifdef __CUDA_ARCH__
  LDMATRIX_X4 ("");
#else
  load_matrices_plain<false> (r, (const T *) row);
#endif
}

template <typename T>
static __device__ __forceinline__ void
load_transposed (uint32_t *r, SharedAddress row, T)
{
#ifdef __CUDA_ARCH__
  LDMATRIX_X4 (".trans");
#else
  load_matrices_plain<true> (r, (const T *) row);
#endif
}

/* ---- copies ----
 *
 * cp.async; the toolkit's names for it branch where zeros are asked for, and
 * copy at once before compute capability 8.0. A thread waits for its own
 * copies; the others of the block see them behind a barrier after that. */

/* 16 bytes, aligned to that, into shared memory; zeros, and `from` is not read,
 * if not `there`. */
static __device__ __forceinline__ void
copy_async (SharedAddress to, const void *from, bool there)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(to), "l"(from), "r"(there ? 16 : 0)
               : "memory");
#elif defined(__CUDA_ARCH__)
  uint4 zeros = {};
  *(uint4 *) __cvta_shared_to_generic (to) =
      there ? *(const uint4 *) from : zeros;
#else
  __pipeline_memcpy_async ((void *) to, from, 16, there ? 0 : 16);
#endif
}

/* Waits for all of this thread's copies. */
static __device__ __forceinline__ void
copies_wait ()
{
  __pipeline_commit ();
  __pipeline_wait_prior (0);
}
