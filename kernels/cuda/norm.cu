/* norm.cu - layer_norm and rms_norm: the residual stream to activations
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A block per row, of no more warps than the row fills. The row is read once
 * and kept in shared memory while it fits; bound by memory: d (4 + act_bytes)
 * a row.
 */
#include "kernels/cuda/common.cuh"

#define MAX_THREADS 1024
#define MAX_SHARED 11776 /* floats: 48 KiB less what sums take, rounded */

/* Numbers from x, or from shared memory once they are there: only the thread
 * that put them there reads them. */
template <int N>
static __device__ __forceinline__ Some<float, N>
some_of (const Residual *x, const float *row, int j)
{
  return *(const Some<float, N> *) ((row ? row : x) + j);
}

/* Calls f with each column of the thread from which it has N. */
template <int N, typename F>
static __device__ __forceinline__ void
each_some (int d, F f)
{
  for (int j = threadIdx.x * N; j < d; j += blockDim.x * N)
    f (j);
}

template <int N>
static __device__ __forceinline__ float
read_row (float *row, const Residual *x, int d)
{
  float sum = 0;
  each_some<N> (d, [&] (int j) {
    Some<float, N> some = some_of<N> (x, NULL, j);
    if (row)
      *(Some<float, N> *) (row + j) = some;
    for (int i = 0; i < N; i++)
      sum += some.v[i];
  });
  return sum;
}

/* In both, y may be x. */
template <typename T, int N>
__global__ void
__launch_bounds__ (MAX_THREADS) layer_norm_kernel (T *y, const Residual *x,
    const float *w, const float *b, int d, float eps, bool keep)
{
  DYNAMIC_SHARED (float, shared);
  float *row = keep ? shared : NULL, squares = 0;
  begin_early ();
  x += (size_t) blockIdx.x * d;
  y += (size_t) blockIdx.x * d;
  float mean = block_sum (read_row<N> (row, x, d)) / d;
  each_some<N> (d, [&] (int j) {
    Some<float, N> some = some_of<N> (x, row, j);
    for (int i = 0; i < N; i++)
      squares += (some.v[i] - mean) * (some.v[i] - mean);
  });
  float scale = 1 / sqrtf (block_sum (squares) / d + eps);
  each_some<N> (d, [&] (int j) {
    Some<float, N> some = some_of<N> (x, row, j);
    Some<T, N> result;
    for (int i = 0; i < N; i++)
      store (&result.v[i], (some.v[i] - mean) * scale * w[j + i] + b[j + i]);
    *(Some<T, N> *) (y + j) = result;
  });
}

template <typename T, int N>
__global__ void
__launch_bounds__ (MAX_THREADS) rms_norm_kernel (
    T *y, const Residual *x, const float *w, int d, float eps, bool keep)
{
  DYNAMIC_SHARED (float, shared);
  float *row = keep ? shared : NULL, squares = 0;
  begin_early ();
  x += (size_t) blockIdx.x * d;
  y += (size_t) blockIdx.x * d;
  read_row<N> (row, x, d);
  each_some<N> (d, [&] (int j) {
    Some<float, N> some = some_of<N> (x, row, j);
    for (int i = 0; i < N; i++)
      squares += some.v[i] * some.v[i];
  });
  float scale = 1 / sqrtf (block_sum (squares) / d + eps);
  each_some<N> (d, [&] (int j) {
    Some<float, N> some = some_of<N> (x, row, j);
    Some<T, N> result;
    for (int i = 0; i < N; i++)
      store (&result.v[i], some.v[i] * scale * w[j + i]);
    *(Some<T, N> *) (y + j) = result;
  });
}

template <typename T>
static void
launch_layer_norm (Device *dev, T *y, const Residual *x, const float *w,
    const float *b, int n, int d, float eps)
{
  bool keep = d <= MAX_SHARED;
  if (n == 0)
    return;
  with_some (d, x, y, [&] (auto some) {
    constexpr int N = decltype (some)::value;
    LAUNCH_EARLY ((layer_norm_kernel<T, N>), n,
        threads_for (d / N, MAX_THREADS), keep ? d * sizeof (float) : 0, dev, y,
        x, w, b, d, eps, keep);
  });
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
  with_some (d, x, y, [&] (auto some) {
    constexpr int N = decltype (some)::value;
    LAUNCH_EARLY ((rms_norm_kernel<T, N>), n, threads_for (d / N, MAX_THREADS),
        keep ? d * sizeof (float) : 0, dev, y, x, w, d, eps, keep);
  });
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
