/* norm.cu - layer_norm and rms_norm: the residual stream to activations
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A block per row, of no more warps than the row fills. The row is read once
 * and kept in shared memory while it fits; bound by memory: d (4 + act_bytes)
 * a row.
 */
#include "kernels/cuda/common.cuh"

#define THREADS 256
#define MAX_SHARED 11776 /* floats: 48 KiB less what sums take, rounded */

/* x[j], from shared memory once it is there. */
static __device__ __forceinline__ float
value (const Residual *x, const float *row, int j)
{
  return row ? row[j] : x[j];
}

static __device__ __forceinline__ float
read_row (float *row, const Residual *x, int d)
{
  float sum = 0;
  for (int j = threadIdx.x; j < d; j += blockDim.x) {
    float v = x[j];
    if (row)
      row[j] = v; /* only this thread reads it again */
    sum += v;
  }
  return sum;
}

/* In both, y may be x. */
template <typename T>
__global__ void
__launch_bounds__ (THREADS) layer_norm_kernel (T *y, const Residual *x,
    const float *w, const float *b, int d, float eps, bool keep)
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
    T *y, const Residual *x, const float *w, int d, float eps, bool keep)
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

template <typename T>
static void
launch_layer_norm (Device *dev, T *y, const Residual *x, const float *w,
    const float *b, int n, int d, float eps)
{
  bool keep = d <= MAX_SHARED;
  if (n == 0)
    return;
  LAUNCH (layer_norm_kernel<T>, n, threads_for (d, THREADS),
      keep ? d * sizeof (float) : 0, cuda_stream (dev), y, x, w, b, d, eps,
      keep);
  cuda_launched (dev, "layer_norm");
}

static void
layer_norm (Device *dev, Act *y, const Residual *x, const float *w,
    const float *b, int n, int d, float eps)
{
  with_act (dev, [&] (auto act) {
    launch_layer_norm (dev, (decltype (act) *) y, x, w, b, n, d, eps);
  });
}

static void
layer_norm_residual (Device *dev, Residual *x, const float *w, const float *b,
    int n, int d, float eps)
{
  launch_layer_norm (dev, x, x, w, b, n, d, eps);
}

template <typename T>
static void
launch_rms_norm (Device *dev, T *y, const Residual *x, const float *w, int n,
    int d, float eps)
{
  bool keep = d <= MAX_SHARED;
  if (n == 0)
    return;
  LAUNCH (rms_norm_kernel<T>, n, threads_for (d, THREADS),
      keep ? d * sizeof (float) : 0, cuda_stream (dev), y, x, w, d, eps, keep);
  cuda_launched (dev, "rms_norm");
}

static void
rms_norm (Device *dev, Act *y, const Residual *x, const float *w, int n, int d,
    float eps)
{
  with_act (dev, [&] (auto act) {
    launch_rms_norm (dev, (decltype (act) *) y, x, w, n, d, eps);
  });
}

static void
rms_norm_residual (
    Device *dev, Residual *x, const float *w, int n, int d, float eps)
{
  launch_rms_norm (dev, x, x, w, n, d, eps);
}

void
cuda_init_norm (Ops *op)
{
  op->layer_norm = layer_norm;
  op->layer_norm_residual = layer_norm_residual;
  op->rms_norm = rms_norm;
  op->rms_norm_residual = rms_norm_residual;
}
