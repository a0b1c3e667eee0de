/* norm.cu - layer_norm and rms_norm: the residual stream to activations
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A block per row, which its threads keep in registers; bound by memory:
 * d (4 + act_bytes) a row.
 */
#include "kernels/cuda/common.cuh"

#define MAX_THREADS 1024

/* How many loads a thread of most rows has. The encoder norms thousands of rows
 * at once: a warp for each, up to 1,024 numbers, never waits for another. A
 * decoder also norms a single one, which is done sooner by more threads. */
#define LAYER_NORM_LOADS 8
#define RMS_NORM_LOADS 2

template <int N>
static __device__ __forceinline__ Some<float, N>
some_at (const float *x, int j)
{
  return *(const Some<float, N> *) (x + j);
}

/* A thread's part of a row: N neighbours at a time, LOADS of them in registers;
 * the rest of a row too long for that is read each time. */
template <int N, int LOADS> struct Row {
  const Residual *x;
  int d;
  Some<float, N> held[LOADS];

  __device__ __forceinline__ int
  column (int load) const
  {
    return (load * blockDim.x + threadIdx.x) * N;
  }

  __device__ __forceinline__ void
  read (const Residual *from, int width)
  {
    x = from;
    d = width;
#pragma unroll
    for (int i = 0; i < LOADS; i++)
      if (column (i) < d)
        held[i] = some_at<N> (x, column (i));
    __syncwarp (); /* the compiler would read each where it is needed */
  }

  /* Calls f (column, N numbers) for all of them. */
  template <typename F>
  __device__ __forceinline__ void
  each (F f) const
  {
#pragma unroll
    for (int i = 0; i < LOADS; i++)
      if (column (i) < d)
        f (column (i), held[i]);
    for (int i = LOADS; column (i) < d; i++)
      f (column (i), some_at<N> (x, column (i)));
  }

  /* Of the whole row, f of each number summed. */
  template <typename F>
  __device__ __forceinline__ float
  sum (F f) const
  {
    float sum = 0;
    each ([&] (int, const Some<float, N> &some) {
      for (int i = 0; i < N; i++)
        sum += f (some.v[i]);
    });
    return block_sum (sum);
  }
};

/* In both, y may be x; nothing else may be y. */
template <typename T, int N>
__global__ void
__launch_bounds__ (MAX_THREADS) layer_norm_kernel (T *y, const Residual *x,
    const float *__restrict__ w, const float *__restrict__ b, int d, float eps)
{
  Row<N, LAYER_NORM_LOADS> row;
  begin_early ();
  row.read (x + (size_t) blockIdx.x * d, d);
  y += (size_t) blockIdx.x * d;
  float mean = row.sum ([] (float v) { return v; }) / d;
  float squares =
      row.sum ([mean] (float v) { return (v - mean) * (v - mean); });
  float scale = 1 / sqrtf (squares / d + eps);
  row.each ([&] (int j, const Some<float, N> &some) {
    Some<float, N> weight = some_at<N> (w, j), bias = some_at<N> (b, j);
    Some<T, N> result;
    for (int i = 0; i < N; i++)
      store (
          &result.v[i], (some.v[i] - mean) * scale * weight.v[i] + bias.v[i]);
    *(Some<T, N> *) (y + j) = result;
  });
}

template <typename T, int N>
__global__ void
__launch_bounds__ (MAX_THREADS) rms_norm_kernel (
    T *y, const Residual *x, const float *__restrict__ w, int d, float eps)
{
  Row<N, RMS_NORM_LOADS> row;
  begin_early ();
  row.read (x + (size_t) blockIdx.x * d, d);
  y += (size_t) blockIdx.x * d;
  float squares = row.sum ([] (float v) { return v * v; });
  float scale = 1 / sqrtf (squares / d + eps);
  row.each ([&] (int j, const Some<float, N> &some) {
    Some<float, N> weight = some_at<N> (w, j);
    Some<T, N> result;
    for (int i = 0; i < N; i++)
      store (&result.v[i], some.v[i] * scale * weight.v[i]);
    *(Some<T, N> *) (y + j) = result;
  });
}

/* Threads for a row of d, N at a time and LOADS times. */
static int
row_threads (int d, int n, int loads)
{
  return threads_for ((d / n + loads - 1) / loads, MAX_THREADS);
}

template <typename T>
static void
launch_layer_norm (Device *dev, T *y, const Residual *x, const float *w,
    const float *b, int n, int d, float eps)
{
  if (n == 0)
    return;
  with_some (is_aligned (w) && is_aligned (b) ? d : 1, x, y, [&] (auto some) {
    constexpr int N = decltype (some)::value;
    LAUNCH_EARLY ((layer_norm_kernel<T, N>), n,
        row_threads (d, N, LAYER_NORM_LOADS), 0, dev, y, x, w, b, d, eps);
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
  if (n == 0)
    return;
  with_some (is_aligned (w) ? d : 1, x, y, [&] (auto some) {
    constexpr int N = decltype (some)::value;
    LAUNCH_EARLY ((rms_norm_kernel<T, N>), n,
        row_threads (d, N, RMS_NORM_LOADS), 0, dev, y, x, w, d, eps);
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
