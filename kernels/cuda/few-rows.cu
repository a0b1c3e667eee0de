/* few-rows.cu - products of one to eight rows at the speed of memory
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A warp has a row of W, or four where eight tokens share what is read of x,
 * and goes along it 16 bytes a lane at a time, the next of them on their way.
 * Bound by memory: rows cols bytes of W, whose first the kernel fetches while
 * those before it still run. A token's terms are added in an order that depends
 * on cols alone, so its result is the same bits whatever else is in the batch.
 */
#include "kernels/cuda/common.cuh"

#define THREADS 128

/* Of a product of N tokens: rows of W a warp has, and packs of each that are
 * on their way. */
template <int N> struct Few {
  static constexpr int ROWS = N < 8 ? 1 : 4, AHEAD = N < 8 ? 4 : 2;
  static constexpr int ROWS_PER_BLOCK = THREADS / WARP * ROWS;
};

/* A lane's next packs of its rows of W, from column j on; each is of COUNT
 * columns and WARP packs behind the one before. Read once, they need not stay
 * in the caches. */
template <typename W, int N> struct Ahead {
  static constexpr int COUNT = 16 / sizeof (W), STEP = WARP * COUNT;
  uint4 packs[Few<N>::AHEAD][Few<N>::ROWS];

  __device__ __forceinline__ void
  fetch (const W *const *w, int j, int cols)
  {
    UNROLL (4)
    for (int i = 0; i < Few<N>::AHEAD; i++)
      for (int row = 0; row < Few<N>::ROWS; row++)
        if (j + i * STEP < cols)
          packs[i][row] = __ldcs ((const uint4 *) (w[row] + j + i * STEP));
  }
};

template <int N> struct Sums {
  float v[Few<N>::ROWS][N];
};

/* A pack of each row of W against the same columns of each token, from x on. */
template <typename T, typename W, int N>
static __device__ __forceinline__ void
add_pack (Sums<N> &sum, const uint4 *packs, const T *x, int cols)
{
  constexpr int COUNT = Ahead<W, N>::COUNT, PER = 16 / sizeof (T);
  float weight[Few<N>::ROWS][COUNT], other[COUNT];
  for (int row = 0; row < Few<N>::ROWS; row++)
    unpack (weight[row], packs[row], W ());
  for (int i = 0; i < N; i++) {
    const uint4 *from = (const uint4 *) (x + (size_t) i * cols);
    for (int k = 0; k < COUNT / PER; k++)
      unpack (other + k * PER, from[k], T ());
    for (int row = 0; row < Few<N>::ROWS; row++)
      for (int k = 0; k < COUNT; k++)
        sum.v[row][i] += weight[row][k] * other[k];
  }
}

/* `ahead` has what begins at the lane's first column. */
template <typename T, typename W, int N>
static __device__ __forceinline__ void
add_packs (Sums<N> &sum, Ahead<W, N> &ahead, const W *const *w, const T *x,
    int cols, int lane)
{
  constexpr int STEP = Ahead<W, N>::STEP, AHEAD = Few<N>::AHEAD;
  for (int at = 0, j; at < cols; at += AHEAD * STEP) {
    Ahead<W, N> now = ahead;
    bool whole = at + AHEAD * STEP <= cols;
    j = at + lane * Ahead<W, N>::COUNT;
    ahead.fetch (w, j + AHEAD * STEP, cols);
    UNROLL (4)
    for (int i = 0; i < AHEAD; i++)
      if (whole || j + i * STEP < cols)
        add_pack<T, W, N> (sum, now.packs[i], x + j + i * STEP, cols);
  }
}

template <typename T, typename W, int N>
static __device__ __forceinline__ void
add_singles (Sums<N> &sum, const W *const *w, const T *x, int cols, int lane)
{
  for (int j = lane; j < cols; j += WARP)
    for (int row = 0; row < Few<N>::ROWS; row++)
      for (int i = 0; i < N; i++)
        sum.v[row][i] +=
            to_float (w[row][j]) * to_float (x[(size_t) i * cols + j]);
}

/* Of one row of W; each lane has a part of the sums. */
template <typename Y, int N>
static __device__ __forceinline__ void
finish_row (Y *y, const float *sum, float bias, int rows, Epilogue epilogue)
{
  int lane = threadIdx.x % WARP;
  for (int i = 0; i < N; i++) {
    float p = warp_sum (sum[i]) + bias;
    Y *to = y + (size_t) i * rows;
    if (lane == i)
      store (to,
          apply (epilogue, epilogue == EPILOGUE_ADD ? to_float (*to) : 0, p));
  }
}

/* y[N,rows]; packed: everything is aligned to 16 bytes. */
template <typename Y, typename T, typename W, int N>
__global__ void
__launch_bounds__ (THREADS) few_rows_kernel (Y *y, const T *x, const W *w,
    const float *bias, int rows, int cols, Epilogue epilogue, bool packed)
{
  constexpr int ROWS = Few<N>::ROWS;
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  int first = blockIdx.x * Few<N>::ROWS_PER_BLOCK + warp * ROWS;
  const W *of[ROWS];
  Sums<N> sum = {};
  Ahead<W, N> ahead;
  let_next_begin ();
  for (int row = 0; row < ROWS; row++)
    of[row] = w + (size_t) min (first + row, rows - 1) * cols;
  if (packed)
    ahead.fetch (of, lane * Ahead<W, N>::COUNT, cols);
  wait_for_earlier ();
  if (packed)
    add_packs<T, W, N> (sum, ahead, of, x, cols, lane);
  else
    add_singles<T, W, N> (sum, of, x, cols, lane);
  UNROLL (4)
  for (int row = 0; row < ROWS; row++)
    if (first + row < rows)
      finish_row<Y, N> (y + first + row, sum.v[row],
          bias ? bias[first + row] : 0, rows, epilogue);
}

template <typename Y, typename T, typename W, int N>
static void
launch (Device *dev, void *y, const Act *x, const Mat *w, Epilogue epilogue)
{
  bool packed = w->cols % 8 == 0 && is_aligned (x) && is_aligned (w->data);
  LAUNCH_EARLY ((few_rows_kernel<Y, T, W, N>),
      blocks_for (w->rows, Few<N>::ROWS_PER_BLOCK), THREADS, 0, dev, (Y *) y,
      (const T *) x, (const W *) w->data, w->bias, w->rows, w->cols, epilogue,
      packed);
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
