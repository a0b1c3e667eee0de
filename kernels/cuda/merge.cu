/* merge.cu - weighted sums of rows, and what rows are compared by
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Terms are added in the order of kernels/cpu/merge.c. cosines is bound by
 * arithmetic, n n d operations, once per picture; the others by memory.
 */
#include "kernels/cuda/common.cuh"

#define THREADS 128
#define SIDE 16 /* of a square of cosines */

/* A block per row of y. */
template <typename T>
__global__ void
merge_rows_kernel (T *y, const Residual *x, const int *start, const int *rows,
    const float *weight, int d)
{
  int i = blockIdx.x;
  for (int j = threadIdx.x; j < d; j += THREADS) {
    float sum = 0;
    for (int e = start[i]; e < start[i + 1]; e++)
      sum += weight[e] * x[(size_t) rows[e] * d + j];
    store (&y[(size_t) i * d + j], sum);
  }
}

static void
merge_rows (Device *dev, Act *y, const Residual *x, const int *start,
    const int *rows, const float *weight, int n, int d)
{
  if (n == 0)
    return;
  with_act (dev, [&] (auto act) {
    typedef decltype (act) T;
    LAUNCH (merge_rows_kernel<T>, n, THREADS, 0, cuda_stream (dev), (T *) y, x,
        start, rows, weight, d);
  });
  cuda_launched (dev, "merge_rows");
}

template <typename T>
__global__ void
mean_heads_kernel (float *y, const T *x, int h, int c)
{
  x += (size_t) blockIdx.x * h * c;
  for (int j = threadIdx.x; j < c; j += THREADS) {
    float sum = 0;
    for (int head = 0; head < h; head++)
      sum += to_float (x[head * c + j]);
    y[(size_t) blockIdx.x * c + j] = sum / h;
  }
}

static void
mean_heads (Device *dev, float *y, const Act *x, int n, int h, int c)
{
  if (n == 0)
    return;
  with_act (dev, [&] (auto act) {
    typedef decltype (act) T;
    LAUNCH (mean_heads_kernel<T>, n, THREADS, 0, cuda_stream (dev), y,
        (const T *) x, h, c);
  });
  cuda_launched (dev, "mean_heads");
}

/* One over the norm of a row, 0 of zeros; a warp per row. */
template <typename T>
__global__ void
row_scale_kernel (float *scale, const T *x, int d)
{
  float squares = 0;
  x += (size_t) blockIdx.x * d;
  for (int j = threadIdx.x; j < d; j += WARP)
    squares += to_float (x[j]) * to_float (x[j]);
  float norm = sqrtf (warp_sum (squares));
  if (threadIdx.x == 0)
    scale[blockIdx.x] = norm == 0 ? 0 : 1 / norm;
}

/* Rows y0.. and x0.. of SIDE x SIDE pairs through shared memory. */
template <typename T>
__global__ void
__launch_bounds__ (SIDE *SIDE)
    cosines_kernel (float *y, const T *x, const float *scale, int n, int d)
{
  __shared__ float a[SIDE][SIDE + 1], b[SIDE][SIDE + 1];
  int i = blockIdx.y * SIDE + threadIdx.y, j = blockIdx.x * SIDE + threadIdx.x;
  int other = blockIdx.x * SIDE + threadIdx.y; /* this thread loads of b */
  float sum = 0;
  for (int first = 0; first < d; first += SIDE) {
    int column = first + threadIdx.x;
    bool inside = column < d;
    a[threadIdx.y][threadIdx.x] =
        inside && i < n ? to_float (x[(size_t) i * d + column]) : 0;
    b[threadIdx.y][threadIdx.x] =
        inside && other < n ? to_float (x[(size_t) other * d + column]) : 0;
    __syncthreads ();
    for (int k = 0; k < SIDE; k++)
      sum += a[threadIdx.y][k] * b[threadIdx.x][k];
    __syncthreads ();
  }
  if (i < n && j < n)
    y[(size_t) i * n + j] = sum * (scale[i] * scale[j]);
}

static void
cosines (Device *dev, float *y, const Act *x, int n, int d)
{
  float *scale = (float *) cuda_scratch (dev, n * sizeof *scale);
  unsigned side = blocks_for (n, SIDE);
  if (!scale || n == 0)
    return;
  with_act (dev, [&] (auto act) {
    typedef decltype (act) T;
    LAUNCH (row_scale_kernel<T>, n, WARP, 0, cuda_stream (dev), scale,
        (const T *) x, d);
    LAUNCH (cosines_kernel<T>, dim3 (side, side), dim3 (SIDE, SIDE), 0,
        cuda_stream (dev), y, (const T *) x, (const float *) scale, n, d);
  });
  cuda_launched (dev, "cosines");
}

/* A block per patch, a warp per neighbour. */
template <typename T>
__global__ void __launch_bounds__ (4 * WARP)
    near_cosines_kernel (float *y, const T *x, int side, int d)
{
  int n = side * side, tile = blockIdx.x / n, j = blockIdx.x % n;
  int way = threadIdx.x / WARP; /* right; below: left, middle, right */
  int column = j % side + (way == 0 ? 1 : way - 2), row = j / side + (way > 0);
  const T *a = x + ((size_t) tile * (n + 1) + 1 + j) * d;
  float product = 0, left = 0, right = 0;

  if (column >= 0 && column < side && row < side) {
    const T *b = a + (row * side + column - j) * d;
    for (int i = threadIdx.x % WARP; i < d; i += WARP) {
      float u = to_float (a[i]), v = to_float (b[i]);
      product += u * v;
      left += u * u;
      right += v * v;
    }
  }
  product = warp_sum (product);
  float norms = sqrtf (warp_sum (left)) * sqrtf (warp_sum (right));
  if (threadIdx.x % WARP == 0)
    y[(size_t) blockIdx.x * 4 + way] = norms == 0 ? 0 : product / norms;
}

static void
near_cosines (Device *dev, float *y, const Act *x, int t, int side, int d)
{
  if (t == 0)
    return;
  with_act (dev, [&] (auto act) {
    typedef decltype (act) T;
    LAUNCH (near_cosines_kernel<T>, t * side * side, 4 * WARP, 0,
        cuda_stream (dev), y, (const T *) x, side, d);
  });
  cuda_launched (dev, "near_cosines");
}

void
cuda_init_merge (Ops *op)
{
  op->merge_rows = merge_rows;
  op->mean_heads = mean_heads;
  op->cosines = cosines;
  op->near_cosines = near_cosines;
}
