/* few-rows.cu - products of one to eight rows at the speed of memory
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A warp has a row of W, or four where eight tokens share what is read of x,
 * and goes along it 16 bytes a lane at a time, the next of them on their way.
 * Of the gated product it has pairs of rows, one of each matrix; several
 * products of the same x are one launch.
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

/* A product; up is NULL unless it is gated. y is f32 if `wide`. */
template <typename W> struct FewProduct {
  const W *w, *up;
  const float *bias, *up_bias;
  void *y;
  int rows;
  bool wide;
  Epilogue epilogue;
};

/* Those of one launch. packed: everything is aligned to 16 bytes. */
template <typename W> struct FewArgs {
  FewProduct<W> products[MAX_PRODUCTS];
  int cols;
  bool packed;
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
#pragma unroll 4
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
#pragma unroll 4
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
template <typename W, int N, typename F>
static __device__ __forceinline__ void
finish_row (const FewProduct<W> &product, const float (*sum)[N], int row)
{
  int lane = threadIdx.x % WARP;
  for (int i = 0; i < N; i++) {
    float p = biased (sum[0][i], product.bias, row), result;
    size_t at = (size_t) i * product.rows + row;
    float *wide = (float *) product.y + at;
    if constexpr (F::MATS == 2)
      result = silu_times<float> (p, biased (sum[1][i], product.up_bias, row));
    else
      result = apply<float> (
          product.epilogue, product.epilogue == EPILOGUE_ADD ? *wide : 0, p);
    if (lane != i)
      continue;
    if (product.wide)
      *wide = result;
    else
      store ((W *) product.y + at, result);
  }
}

/* y[N,rows] of each product. */
template <typename T, typename W, int N, bool GATED>
__global__ void
__launch_bounds__ (THREADS) few_rows_kernel (const T *x, FewArgs<W> args)
{
  typedef Few<N, GATED> F;
  const FewProduct<W> &product = args.products[blockIdx.y];
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  int first = blockIdx.x * F::PER_BLOCK + warp * F::OUT;
  const W *of[F::ROWS];
  Sums<N, F> sum = {};
  Ahead<W, F> ahead;
  if (never_here<W> ())
    return;
  let_next_begin ();
  for (int row = 0; row < F::ROWS; row++)
    of[row] =
        (row % F::MATS ? product.up : product.w) +
        (size_t) min (first + row / F::MATS, product.rows - 1) * args.cols;
  if (args.packed && first < product.rows)
    ahead.fetch (of, lane * Ahead<W, F>::COUNT, args.cols);
  wait_for_earlier ();
  if (first >= product.rows)
    return;
  if (args.packed)
    add_packs<T, W, N, F> (sum, ahead, of, x, args.cols, lane);
  else
    add_singles<T, W, N, F> (sum, of, x, args.cols, lane);
#pragma unroll 4
  for (int i = 0; i < F::OUT; i++)
    if (first + i < product.rows)
      finish_row<W, N, F> (product, sum.v + i * F::MATS, first + i);
}

template <typename T, typename W, int N, bool GATED>
static void
launch (Device *dev, const T *x, const FewArgs<W> &args, int count, int rows)
{
  LAUNCH_EARLY ((few_rows_kernel<T, W, N, GATED>),
      dim3 (blocks_for (rows, Few<N, GATED>::PER_BLOCK), count), THREADS, 0,
      dev, x, args);
}

/* n tokens' results from y on are done. */
template <typename W>
static void
advance (FewArgs<W> *args, int count, int n)
{
  for (int i = 0; i < count; i++) {
    FewProduct<W> *p = &args->products[i];
    size_t bytes = p->wide ? sizeof (float) : sizeof (W);
    p->y = (char *) p->y + bytes * n * p->rows;
  }
}

/* Tokens in pieces of eight, four, two and one; each piece reads W once. */
template <bool GATED, typename T, typename W>
static void
run (Device *dev, const T *x, FewArgs<W> args, int count, int n)
{
  int rows = 0, piece;
  args.packed = args.cols % 8 == 0 && is_aligned (x);
  for (int i = 0; i < count; i++) {
    const FewProduct<W> &p = args.products[i];
    args.packed = args.packed && is_aligned (p.w) && is_aligned (p.up);
    rows = max (rows, p.rows);
  }
  for (; n > 0; n -= piece, x += (size_t) piece * args.cols) {
    piece = n >= 8 ? 8 : n >= 4 ? 4 : n >= 2 ? 2 : 1;
    if (piece == 8)
      launch<T, W, 8, GATED> (dev, x, args, count, rows);
    else if (piece == 4)
      launch<T, W, 4, GATED> (dev, x, args, count, rows);
    else if (piece == 2)
      launch<T, W, 2, GATED> (dev, x, args, count, rows);
    else
      launch<T, W, 1, GATED> (dev, x, args, count, rows);
    advance (&args, count, piece);
  }
}

template <typename W>
static FewProduct<W>
product_of (void *y, const Mat *w, const Mat *up, Epilogue epilogue, bool wide)
{
  return { (const W *) w->data, up ? (const W *) up->data : NULL, w->bias,
    up ? up->bias : NULL, y, w->rows, wide, epilogue };
}

void
cuda_few_rows (Device *dev, const MatProduct *products, int count,
    const void *x, DataType in, int n)
{
  bool x_is_wide = in == TYPE_F32;
  with_act (dev, [&] (auto act) {
    typedef decltype (act) T;
    FewArgs<T> args = {};
    args.cols = products[0].w->cols;
    for (int i = 0; i < count; i++)
      args.products[i] = product_of<T> (products[i].y, products[i].w, NULL,
          products[i].epilogue,
          x_is_wide || epilogue_is_wide (products[i].epilogue));
    if (x_is_wide)
      run<false> (dev, (const float *) x, args, count, n);
    else
      run<false> (dev, (const T *) x, args, count, n);
  });
  cuda_launched (dev, "a product of few rows");
}

void
cuda_few_rows_gated (
    Device *dev, Act *y, const Act *x, const Mat *gate, const Mat *up, int n)
{
  with_act (dev, [&] (auto act) {
    typedef decltype (act) T;
    FewArgs<T> args = {};
    args.cols = gate->cols;
    args.products[0] = product_of<T> (y, gate, up, EPILOGUE_SET, false);
    run<true> (dev, (const T *) x, args, 1, n);
  });
  cuda_launched (dev, "a gated product of few rows");
}
