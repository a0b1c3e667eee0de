/* few-rows.cu - products of one to eight rows at the speed of memory
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A warp per row of W, lanes along it 16 bytes at a time; x is read through
 * the cache. Bound by memory: rows cols bytes of W. A token's terms are added
 * in an order that depends on cols alone, so its result is the same bits
 * whatever else is in the batch.
 */
#include "kernels/cuda/common.cuh"

#define THREADS 128
#define ROWS_PER_BLOCK (THREADS / WARP)

/* As many numbers of W as fill a pack against the same of each token. */
template <typename T, typename W, int N>
static __device__ __forceinline__ void
add_packs (float *sum, const W *w, const T *x, int cols, int lane)
{
  constexpr int STEP = Pack<W>::N;
  constexpr int BYTES = STEP * sizeof (T);
  struct __align__ (BYTES < 16 ? BYTES : 16) PieceX
  {
    T v[STEP];
  };
  UNROLL (4)
  for (int j = lane * STEP; j < cols; j += WARP * STEP) {
    Pack<W> piece = *(const Pack<W> *) (w + j);
    for (int i = 0; i < N; i++) {
      PieceX other = *(const PieceX *) (x + (size_t) i * cols + j);
      for (int k = 0; k < STEP; k++)
        sum[i] += to_float (piece.v[k]) * to_float (other.v[k]);
    }
  }
}

template <typename T, typename W, int N>
static __device__ __forceinline__ void
add_singles (float *sum, const W *w, const T *x, int cols, int lane)
{
  for (int j = lane; j < cols; j += WARP)
    for (int i = 0; i < N; i++)
      sum[i] += to_float (w[j]) * to_float (x[(size_t) i * cols + j]);
}

/* y[N,rows]; packed: everything is aligned to 16 bytes. */
template <typename Y, typename T, typename W, int N>
__global__ void
__launch_bounds__ (THREADS) few_rows_kernel (Y *y, const T *x, const W *w,
    const float *bias, int rows, int cols, Epilogue epilogue, bool packed)
{
  int row = blockIdx.x * ROWS_PER_BLOCK + threadIdx.x / WARP;
  int lane = threadIdx.x % WARP;
  float sum[N] = {};
  if (row >= rows) /* the whole warp */
    return;
  w += (size_t) row * cols;
  if (packed)
    add_packs<T, W, N> (sum, w, x, cols, lane);
  else
    add_singles<T, W, N> (sum, w, x, cols, lane);
  for (int i = 0; i < N; i++)
    sum[i] = warp_sum (sum[i]) + (bias ? bias[row] : 0);
  for (int i = 0; i < N; i++)
    if (lane == i) {
      Y *to = &y[(size_t) i * rows + row];
      float before = epilogue == EPILOGUE_ADD ? to_float (*to) : 0;
      store (to, apply (epilogue, before, sum[i]));
    }
}

template <typename Y, typename T, typename W, int N>
static void
launch (Device *dev, void *y, const Act *x, const Mat *w, Epilogue epilogue)
{
  bool packed = w->cols % 8 == 0 && is_aligned (x) && is_aligned (w->data);
  LAUNCH ((few_rows_kernel<Y, T, W, N>), blocks_for (w->rows, ROWS_PER_BLOCK),
      THREADS, 0, cuda_stream (dev), (Y *) y, (const T *) x,
      (const W *) w->data, w->bias, w->rows, w->cols, epilogue, packed);
}

/* Rows in pieces of eight, four, two and one; each piece reads W once. */
template <typename Y, typename T, typename W>
static void
run (Device *dev, Y *y, const T *x, const Mat *w, int n, Epilogue epilogue)
{
  for (int i = 0; i < n;) {
    Y *to = y + (size_t) i * w->rows;
    const T *from = x + (size_t) i * w->cols;
    if (n - i >= 8) {
      launch<Y, T, W, 8> (dev, to, from, w, epilogue);
      i += 8;
    } else if (n - i >= 4) {
      launch<Y, T, W, 4> (dev, to, from, w, epilogue);
      i += 4;
    } else if (n - i >= 2) {
      launch<Y, T, W, 2> (dev, to, from, w, epilogue);
      i += 2;
    } else {
      launch<Y, T, W, 1> (dev, to, from, w, epilogue);
      i += 1;
    }
  }
}

/* W is of T; y and x are of T or f32, as backend.h says. */
template <typename T>
static void
run_types (Device *dev, void *y, DataType out, const void *x, DataType in,
    const Mat *w, int n, Epilogue epilogue)
{
  float *to = (float *) y;
  if (in == TYPE_F32)
    run<float, float, T> (dev, to, (const float *) x, w, n, epilogue);
  else if (out == TYPE_F32)
    run<float, T, T> (dev, to, (const T *) x, w, n, epilogue);
  else
    run<T, T, T> (dev, (T *) y, (const T *) x, w, n, epilogue);
}

void
cuda_few_rows (Device *dev, void *y, DataType out, const void *x, DataType in,
    const Mat *w, int n, Epilogue epilogue)
{
  with_act (dev, [&] (auto act) {
    run_types<decltype (act)> (dev, y, out, x, in, w, n, epilogue);
  });
  cuda_launched (dev, "a product of few rows");
}
