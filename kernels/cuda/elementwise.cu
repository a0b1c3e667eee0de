/* elementwise.cu - rows moved and narrowed, vectors added, swiglu
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * All bound by memory. Rows are moved 16 bytes at a time where they are
 * aligned to that, else four or two.
 */
#include "kernels/cuda/common.cuh"

#define THREADS 256

/* Rows of `width` bytes, later units: y[to[i]] = x[from[i]]; a NULL list
 * counts rows. */
typedef struct Move {
  const int *from, *to;
  size_t width, x_stride, y_stride;
} Move;

template <typename U>
__global__ void
move_kernel (U *y, const U *x, Move move)
{
  int i = blockIdx.x;
  begin_early ();
  x += (move.from ? move.from[i] : i) * move.x_stride;
  y += (move.to ? move.to[i] : i) * move.y_stride;
  for (size_t j = threadIdx.x; j < move.width; j += blockDim.x)
    y[j] = x[j];
}

template <typename U>
static void
launch_move (Device *dev, void *y, const void *x, Move move, int n)
{
  move.width /= sizeof (U);
  move.x_stride /= sizeof (U);
  move.y_stride /= sizeof (U);
  LAUNCH_EARLY (move_kernel<U>, n, threads_for (move.width, THREADS), 0, dev,
      (U *) y, (const U *) x, move);
}

static void
move_rows (Device *dev, void *y, const void *x, Move move, int n)
{
  size_t all = move.width | move.x_stride | move.y_stride | (uintptr_t) x |
               (uintptr_t) y;
  if (n == 0)
    return;
  if (all % 16 == 0)
    launch_move<uint4> (dev, y, x, move, n);
  else if (all % 4 == 0)
    launch_move<uint32_t> (dev, y, x, move, n);
  else
    launch_move<uint16_t> (dev, y, x, move, n);
  cuda_launched (dev, "moving rows");
}

static void
gather_rows (
    Device *dev, void *y, const void *x, const int *rows, int n, size_t bytes)
{
  Move move = { rows, NULL, bytes, bytes, bytes };
  move_rows (dev, y, x, move, n);
}

static void
scatter_rows (
    Device *dev, void *y, const void *x, const int *rows, int n, size_t bytes)
{
  Move move = { NULL, rows, bytes, bytes, bytes };
  move_rows (dev, y, x, move, n);
}

static void
fill_rows (
    Device *dev, void *y, const void *x, const int *rows, int n, size_t bytes)
{
  Move move = { NULL, rows, bytes, 0, bytes };
  move_rows (dev, y, x, move, n);
}

static void
copy_columns (Device *dev, void *y, const void *x, int n, size_t bytes,
    size_t stride, size_t at)
{
  Move move = { NULL, NULL, bytes, bytes, stride };
  move_rows (dev, (char *) y + at, x, move, n);
}

static __device__ __forceinline__ bool
differ (const uint4 &a, const uint4 &b)
{
  return a.x != b.x || a.y != b.y || a.z != b.z || a.w != b.w;
}

static __device__ __forceinline__ bool
differ (uint8_t a, uint8_t b)
{
  return a != b;
}

#define REPLACE_THREADS 1024
#define REPLACE_PIECES 8 /* blocks of a row: there are few, a tile's pixels */

template <typename U>
__global__ void
__launch_bounds__ (REPLACE_THREADS)
    replace_kernel (int *changed, U *y, const U *x, size_t width)
{
  __shared__ int n_changed;
  size_t row = blockIdx.y * width;
  size_t end = width * (blockIdx.x + 1) / REPLACE_PIECES;
  bool any = false;
  if (threadIdx.x == 0)
    n_changed = 0;
  __syncthreads ();
  for (size_t j = width * blockIdx.x / REPLACE_PIECES + threadIdx.x; j < end;
       j += REPLACE_THREADS) {
    U now = x[row + j];
    any = any || differ (now, y[row + j]);
    y[row + j] = now;
  }
  if (any)
    atomicAdd (&n_changed, 1);
  __syncthreads ();
  if (threadIdx.x == 0 && n_changed > 0)
    atomicMax (&changed[blockIdx.y], 1);
}

template <typename U>
static void
launch_replace (
    Device *dev, int *changed, void *y, const void *x, int n, size_t bytes)
{
  LAUNCH (replace_kernel<U>, dim3 (REPLACE_PIECES, n), REPLACE_THREADS, 0,
      cuda_stream (dev), changed, (U *) y, (const U *) x, bytes / sizeof (U));
}

static void
replace_rows (
    Device *dev, int *changed, void *y, const void *x, int n, size_t bytes)
{
  if (n == 0)
    return;
  cuda_check (dev,
      cudaMemsetAsync (changed, 0, n * sizeof *changed, cuda_stream (dev)),
      "replace_rows");
  if (bytes % 16 == 0 && is_aligned (y) && is_aligned (x))
    launch_replace<uint4> (dev, changed, y, x, n, bytes);
  else
    launch_replace<uint8_t> (dev, changed, y, x, n, bytes);
  cuda_launched (dev, "replace_rows");
}

template <typename T>
__global__ void
narrow_rows_kernel (T *y, const Residual *x, const int *rows, int d)
{
  x += (size_t) (rows ? rows[blockIdx.x] : blockIdx.x) * d;
  y += (size_t) blockIdx.x * d;
  for (int j = threadIdx.x; j < d; j += blockDim.x)
    store (&y[j], x[j]);
}

static void
narrow_rows (
    Device *dev, Act *y, const Residual *x, const int *rows, int n, int d)
{
  if (n == 0)
    return;
  with_act (dev, [&] (auto act) {
    typedef decltype (act) T;
    LAUNCH (narrow_rows_kernel<T>, n, threads_for (d, THREADS), 0,
        cuda_stream (dev), (T *) y, x, rows, d);
  });
  cuda_launched (dev, "narrow_rows");
}

/* N numbers a thread. */
template <typename T, int N>
__global__ void
__launch_bounds__ (THREADS) swiglu_kernel (Some<T, N> *y,
    const Some<float, N> *gate, const Some<float, N> *up, size_t count)
{
  size_t i = (size_t) blockIdx.x * THREADS + threadIdx.x;
  begin_early ();
  if (i >= count)
    return;
  Some<float, N> g = gate[i], u = up[i];
  Some<T, N> result;
  for (int j = 0; j < N; j++)
    store (&result.v[j], silu_times<T> (g.v[j], u.v[j]));
  y[i] = result;
}

static void
swiglu (Device *dev, Act *y, const float *gate, const float *up, size_t count)
{
  if (count == 0)
    return;
  with_act (dev, [&] (auto act) {
    typedef decltype (act) T;
    with_some (is_aligned (up) ? count : 1, gate, (T *) y, [&] (auto some) {
      constexpr int N = decltype (some)::value;
      LAUNCH_EARLY ((swiglu_kernel<T, N>), blocks_for (count / N, THREADS),
          THREADS, 0, dev, (Some<T, N> *) y, (const Some<float, N> *) gate,
          (const Some<float, N> *) up, count / N);
    });
  });
  cuda_launched (dev, "swiglu");
}

/* A block per row of x. */
__global__ void
embed_patches_kernel (Residual *x, const float *patch, const float *cls,
    const float *pos, int N, int d)
{
  int tile = blockIdx.x / (N + 1), j = blockIdx.x % (N + 1);
  x += (size_t) blockIdx.x * d;
  pos += (size_t) j * d;
  patch += ((size_t) tile * N + j - 1) * d;
  for (int i = threadIdx.x; i < d; i += blockDim.x)
    x[i] = (j ? patch[i] : cls[i]) + pos[i];
}

static void
embed_patches (Device *dev, Residual *x, const float *patch, const float *cls,
    const float *pos, int t, int N, int d)
{
  if (t == 0)
    return;
  LAUNCH (embed_patches_kernel, t * (N + 1), THREADS, 0, cuda_stream (dev), x,
      patch, cls, pos, N, d);
  cuda_launched (dev, "embed_patches");
}

void
cuda_init_elementwise (Ops *op)
{
  op->gather_rows = gather_rows;
  op->scatter_rows = scatter_rows;
  op->fill_rows = fill_rows;
  op->copy_columns = copy_columns;
  op->replace_rows = replace_rows;
  op->narrow_rows = narrow_rows;
  op->swiglu = swiglu;
  op->embed_patches = embed_patches;
}
