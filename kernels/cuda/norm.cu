/* norm.cu - layer_norm and rms_norm
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A block per row, of no more warps than the row fills. The row is read once
 * and kept in shared memory as f32 while it fits; bound by memory: 2 d
 * act_bytes a row.
 */
#include "kernels/cuda/common.cuh"

#define THREADS 256
#define MAX_SHARED 12288 /* floats: 48 KiB */

/* x[j], from shared memory once it is there. */
template <typename T>
static __device__ __forceinline__ float
value (const T *x, const float *row, int j)
{
  return row ? row[j] : to_float (x[j]);
}

template <typename T>
static __device__ __forceinline__ float
read_row (float *row, const T *x, int d)
{
  float sum = 0;
  for (int j = threadIdx.x; j < d; j += blockDim.x) {
    float v = to_float (x[j]);
    if (row)
      row[j] = v; /* only this thread reads it again */
    sum += v;
  }
  return sum;
}

template <typename T>
__global__ void
__launch_bounds__ (THREADS) layer_norm_kernel (T *y, const T *x, const float *w,
    const float *b, int d, float eps, bool keep)
{
  DYNAMIC_SHARED (float, shared);
  float *row = keep ? shared : NULL;
  x += (size_t) blockIdx.x * d;
  y += (size_t) blockIdx.x * d;
  float mean = block_sum (read_row (row, x, d)) / d, squares = 0;
  for (int j = threadIdx.x; j < d; j += blockDim.x) {
    float v = value (x, row, j) - mean;
    squares += v * v;
  }
  float scale = 1 / sqrtf (block_sum (squares) / d + eps);
  for (int j = threadIdx.x; j < d; j += blockDim.x)
    store (&y[j], (value (x, row, j) - mean) * scale * w[j] + b[j]);
}

template <typename T>
__global__ void
__launch_bounds__ (THREADS) rms_norm_kernel (
    T *y, const T *x, const float *w, int d, float eps, bool keep)
{
  DYNAMIC_SHARED (float, shared);
  float *row = keep ? shared : NULL;
  x += (size_t) blockIdx.x * d;
  y += (size_t) blockIdx.x * d;
  read_row (row, x, d);
  float squares = 0;
  for (int j = threadIdx.x; j < d; j += blockDim.x)
    squares += value (x, row, j) * value (x, row, j);
  float scale = 1 / sqrtf (block_sum (squares) / d + eps);
  for (int j = threadIdx.x; j < d; j += blockDim.x)
    store (&y[j], value (x, row, j) * scale * w[j]);
}

static unsigned
threads_for (int d)
{
  return d < THREADS ? blocks_for (d, WARP) * WARP : THREADS;
}

static void
layer_norm (Device *dev, Act *y, const Act *x, const float *w, const float *b,
    int n, int d, float eps)
{
  bool keep = d <= MAX_SHARED;
  if (n == 0)
    return;
  with_act (dev, [&] (auto act) {
    typedef decltype (act) T;
    LAUNCH (layer_norm_kernel<T>, n, threads_for (d),
        keep ? d * sizeof (float) : 0, cuda_stream (dev), (T *) y,
        (const T *) x, w, b, d, eps, keep);
  });
  cuda_launched (dev, "layer_norm");
}

static void
rms_norm (
    Device *dev, Act *y, const Act *x, const float *w, int n, int d, float eps)
{
  bool keep = d <= MAX_SHARED;
  if (n == 0)
    return;
  with_act (dev, [&] (auto act) {
    typedef decltype (act) T;
    LAUNCH (rms_norm_kernel<T>, n, threads_for (d),
        keep ? d * sizeof (float) : 0, cuda_stream (dev), (T *) y,
        (const T *) x, w, d, eps, keep);
  });
  cuda_launched (dev, "rms_norm");
}

void
cuda_init_norm (Ops *op)
{
  op->layer_norm = layer_norm;
  op->rms_norm = rms_norm;
}
