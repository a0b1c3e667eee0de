/* few-rows.cu - products of one to eight rows at the speed of memory
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A warp has a row of W, or four where eight tokens share what is read of x,
 * and goes along it 16 bytes a lane at a time, the next of them on their way.
 * Of the gated product it has pairs of rows, one of each matrix.
 * Bound by memory: rows cols bytes of W, whose first the kernel fetches while
 * those before it still run. A token's terms are added in an order that depends
 * on cols alone, so its result is the same bits whatever else is in the batch.
 */
#include "kernels/cuda/common.cuh"

#define THREADS 128

/* Of a product of N tokens: rows of W a warp has, packs of each that are on
 * their way, and rows of y that it makes. */
template <int N, bool GATED> struct Few {
  static constexpr int MATS = GATED ? 2 : 1;
  static constexpr int ROWS = N < 8 ? MATS : 4;
  static constexpr int AHEAD = ROWS == 1 ? 4 : 2;
  static constexpr int OUT = ROWS / MATS, PER_BLOCK = THREADS / WARP * OUT;
};

/* The two matrices of a product; up is NULL unless it is gated. */
template <typename W> struct FewMats {
  const W *w, *up;
  const float *bias, *up_bias;
  int rows, cols;
};

/* A lane's next packs of its rows of W, from column j on; each is of COUNT
 * columns and WARP packs behind the one before. Read once, they need not stay
 * in the caches. */
template <typename W, typename F> struct Ahead {
  static constexpr int COUNT = 16 / sizeof (W), STEP = WARP * COUNT;
  uint4 packs[F::AHEAD][F::ROWS];

  __device__ __forceinline__ void
  fetch (const W *const *w, int j, int cols)
  {
    UNROLL (4)
    for (int i = 0; i < F::AHEAD; i++)
      for (int row = 0; row < F::ROWS; row++)
        if (j + i * STEP < cols)
          packs[i][row] = __ldcs ((const uint4 *) (w[row] + j + i * STEP));
  }
};

template <int N, typename F> struct Sums {
  float v[F::ROWS][N];
};

/* A pack of each row of W against the same columns of each token, from x on. */
template <typename T, typename W, int N, typename F>
static __device__ __forceinline__ void
add_pack (Sums<N, F> &sum, const uint4 *packs, const T *x, int cols)
{
  constexpr int COUNT = Ahead<W, F>::COUNT, PER = 16 / sizeof (T);
  float weight[F::ROWS][COUNT], other[COUNT];
  for (int row = 0; row < F::ROWS; row++)
    unpack (weight[row], packs[row], W ());
  for (int i = 0; i < N; i++) {
    const uint4 *from = (const uint4 *) (x + (size_t) i * cols);
    for (int k = 0; k < COUNT / PER; k++)
      unpack (other + k * PER, from[k], T ());
    for (int row = 0; row < F::ROWS; row++)
      for (int k = 0; k < COUNT; k++)
        sum.v[row][i] += weight[row][k] * other[k];
  }
}

/* `ahead` has what begins at the lane's first column. */
template <typename T, typename W, int N, typename F>
static __device__ __forceinline__ void
add_packs (Sums<N, F> &sum, Ahead<W, F> &ahead, const W *const *w, const T *x,
    int cols, int lane)
{
  constexpr int STEP = Ahead<W, F>::STEP;
  for (int at = 0, j; at < cols; at += F::AHEAD * STEP) {
    Ahead<W, F> now = ahead;
    bool whole = at + F::AHEAD * STEP <= cols;
    j = at + lane * Ahead<W, F>::COUNT;
    ahead.fetch (w, j + F::AHEAD * STEP, cols);
    UNROLL (4)
    for (int i = 0; i < F::AHEAD; i++)
      if (whole || j + i * STEP < cols)
        add_pack<T, W, N, F> (sum, now.packs[i], x + j + i * STEP, cols);
  }
}

template <typename T, typename W, int N, typename F>
static __device__ __forceinline__ void
add_singles (Sums<N, F> &sum, const W *const *w, const T *x, int cols, int lane)
{
  for (int j = lane; j < cols; j += WARP)
    for (int row = 0; row < F::ROWS; row++)
      for (int i = 0; i < N; i++)
        sum.v[row][i] +=
            to_float (w[row][j]) * to_float (x[(size_t) i * cols + j]);
}

static __device__ __forceinline__ float
biased (float sum, const float *bias, int row)
{
  return warp_sum (sum) + (bias ? bias[row] : 0);
}

/* Row `row` of y from the lanes' parts of its sums. */
template <typename Y, typename W, int N, typename F>
static __device__ __forceinline__ void
finish_row (Y *y, const float (*sum)[N], const FewMats<W> &mats, int row,
    Epilogue epilogue)
{
  int lane = threadIdx.x % WARP;
  for (int i = 0; i < N; i++) {
    float p = biased (sum[0][i], mats.bias, row), result;
    Y *to = y + (size_t) i * mats.rows + row;
    if constexpr (F::MATS == 2)
      result = silu_times (p, biased (sum[1][i], mats.up_bias, row));
    else
      result =
          apply (epilogue, epilogue == EPILOGUE_ADD ? to_float (*to) : 0, p);
    if (lane == i)
      store (to, result);
  }
}

/* y[N,rows]; packed: everything is aligned to 16 bytes. */
template <typename Y, typename T, typename W, int N, bool GATED>
__global__ void
__launch_bounds__ (THREADS) few_rows_kernel (
    Y *y, const T *x, FewMats<W> mats, Epilogue epilogue, bool packed)
{
  typedef Few<N, GATED> F;
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  int first = blockIdx.x * F::PER_BLOCK + warp * F::OUT;
  const W *of[F::ROWS];
  Sums<N, F> sum = {};
  Ahead<W, F> ahead;
  let_next_begin ();
  for (int row = 0; row < F::ROWS; row++)
    of[row] = (row % F::MATS ? mats.up : mats.w) +
              (size_t) min (first + row / F::MATS, mats.rows - 1) * mats.cols;
  if (packed)
    ahead.fetch (of, lane * Ahead<W, F>::COUNT, mats.cols);
  wait_for_earlier ();
  if (packed)
    add_packs<T, W, N, F> (sum, ahead, of, x, mats.cols, lane);
  else
    add_singles<T, W, N, F> (sum, of, x, mats.cols, lane);
  UNROLL (4)
  for (int i = 0; i < F::OUT; i++)
    if (first + i < mats.rows)
      finish_row<Y, W, N, F> (
          y, sum.v + i * F::MATS, mats, first + i, epilogue);
}

template <typename Y, typename T, typename W, int N, bool GATED>
static void
launch (
    Device *dev, Y *y, const T *x, const FewMats<W> &mats, Epilogue epilogue)
{
  bool packed = mats.cols % 8 == 0 && is_aligned (x) && is_aligned (mats.w) &&
                is_aligned (mats.up);
  LAUNCH_EARLY ((few_rows_kernel<Y, T, W, N, GATED>),
      blocks_for (mats.rows, Few<N, GATED>::PER_BLOCK), THREADS, 0, dev, y, x,
      mats, epilogue, packed);
}

/* Rows in pieces of eight, four, two and one; each piece reads W once. */
template <bool GATED, typename Y, typename T, typename W>
static void
run (Device *dev, Y *y, const T *x, const FewMats<W> &mats, int n,
    Epilogue epilogue)
{
  for (int i = 0; i < n;) {
    Y *to = y + (size_t) i * mats.rows;
    const T *from = x + (size_t) i * mats.cols;
    if (n - i >= 8) {
      launch<Y, T, W, 8, GATED> (dev, to, from, mats, epilogue);
      i += 8;
    } else if (n - i >= 4) {
      launch<Y, T, W, 4, GATED> (dev, to, from, mats, epilogue);
      i += 4;
    } else if (n - i >= 2) {
      launch<Y, T, W, 2, GATED> (dev, to, from, mats, epilogue);
      i += 2;
    } else {
      launch<Y, T, W, 1, GATED> (dev, to, from, mats, epilogue);
      i += 1;
    }
  }
}

template <typename T>
static FewMats<T>
mats_of (const Mat *w, const Mat *up)
{
  return { (const T *) w->data, up ? (const T *) up->data : NULL, w->bias,
    up ? up->bias : NULL, w->rows, w->cols };
}

/* W is of T; y and x are of T or f32, as backend.h says. */
template <typename T>
static void
run_types (Device *dev, void *y, DataType out, const void *x, DataType in,
    const Mat *w, int n, Epilogue epilogue)
{
  FewMats<T> mats = mats_of<T> (w, NULL);
  float *to = (float *) y;
  if (in == TYPE_F32)
    run<false> (dev, to, (const float *) x, mats, n, epilogue);
  else if (out == TYPE_F32)
    run<false> (dev, to, (const T *) x, mats, n, epilogue);
  else
    run<false> (dev, (T *) y, (const T *) x, mats, n, epilogue);
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

void
cuda_few_rows_gated (
    Device *dev, Act *y, const Act *x, const Mat *gate, const Mat *up, int n)
{
  with_act (dev, [&] (auto act) {
    typedef decltype (act) T;
    run<true> (
        dev, (T *) y, (const T *) x, mats_of<T> (gate, up), n, EPILOGUE_SET);
  });
  cuda_launched (dev, "a gated product of few rows");
}
