/* attention-tiles.cu - the encoder's attention and HiRED's score
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * attention_tiles: 4 n_q n_keys h c operations, bound by arithmetic.
 * cls_attention: one query per tile and head; bound by reading the keys.
 */
#include "kernels/cuda/attention.cuh"

#define CLS_THREADS 256

template <typename T> struct TileKeys {
  const T *k, *v;
  size_t apart;
  __device__ size_t
  stride () const
  {
    return apart;
  }
  __device__ const T *
  key (int j) const
  {
    return k + j * apart;
  }
  __device__ const T *
  value (int j) const
  {
    return v + j * apart;
  }
};

template <typename T> struct TileArgs {
  T *y;
  const T *q, *k, *v;
  const int *q_start;
  int t, n_keys, h, c;
  float scale;
};

template <typename Way>
__global__ void
__launch_bounds__ (ATT_THREADS)
    attention_tiles_kernel (TileArgs<typename Way::Act> a)
{
  typedef typename Way::Act T;
  DYNAMIC_SHARED (float, memory);
  int tile, row, d = a.h * a.c, head = blockIdx.y;
  if (!att_find_piece (blockIdx.x, Way::QUERIES, a.q_start, a.t, &tile, &row))
    return;
  size_t keys_at = (size_t) tile * a.n_keys * d + head * a.c;
  size_t rows_at = (size_t) row * d + head * a.c;
  TileKeys<T> keys = { a.k + keys_at, a.v + keys_at, (size_t) d };
  AttQueries<T> queries = { a.q + rows_at, a.y + rows_at,
    min (a.q_start[tile + 1] - row, Way::QUERIES), d, a.n_keys, a.n_keys - 1,
    0 };
  Way::run (memory, queries, keys, 0, a.n_keys - 1, a.c, a.scale);
}

static void
attention_tiles (Device *dev, Act *y, const Act *q, const Act *k, const Act *v,
    const int *q_start, int n_q, int t, int n_keys, int h, int c, float scale)
{
  if (n_q == 0)
    return;
  bool aligned =
      is_aligned (y) && is_aligned (q) && is_aligned (k) && is_aligned (v);
  with_act (dev, [&] (auto act) {
    typedef decltype (act) T;
    TileArgs<T> args = { (T *) y, (const T *) q, (const T *) k, (const T *) v,
      q_start, t, n_keys, h, c, scale };
    with_attention<T> (c, aligned, [&] (auto way) {
      typedef decltype (way) Way;
      launch_attention<Way> (dev, attention_tiles_kernel<Way>, args, n_q, t);
    });
  });
  cuda_launched (dev, "attention_tiles");
}

/* ---- HiRED's score ---- */

template <typename T>
static __device__ __forceinline__ float
dot (const T *a, const T *b, int c)
{
  float sum = 0;
  for (int i = 0; i < c; i++)
    sum += to_float (a[i]) * to_float (b[i]);
  return sum;
}

/* A block per tile; heads one after another, so that they are summed in that
 * order. A thread keeps its own keys' scores. */
template <typename T>
__global__ void
__launch_bounds__ (CLS_THREADS) cls_attention_kernel (
    float *score, const T *q, const T *k, int N, int h, int c, float scale)
{
  DYNAMIC_SHARED (float, row); /* [N+1] */
  int d = h * c;
  q += (size_t) blockIdx.x * d;
  k += (size_t) blockIdx.x * (N + 1) * d;
  score += (size_t) blockIdx.x * N;
  for (int head = 0; head < h; head++) {
    float largest = -INFINITY, sum = 0;
    for (int j = threadIdx.x; j <= N; j += CLS_THREADS) {
      row[j] = scale * dot (q + head * c, k + (size_t) j * d + head * c, c);
      largest = fmaxf (largest, row[j]);
    }
    largest = block_max (largest);
    for (int j = threadIdx.x; j <= N; j += CLS_THREADS)
      sum += row[j] = expf (row[j] - largest);
    sum = block_sum (sum);
    for (int j = threadIdx.x; j <= N; j += CLS_THREADS)
      if (j > 0)
        score[j - 1] = (head ? score[j - 1] : 0) + row[j] / sum;
  }
}

static void
cls_attention (Device *dev, float *score, const Act *q, const Act *k, int t,
    int N, int h, int c, float scale)
{
  if (t == 0)
    return;
  with_act (dev, [&] (auto act) {
    typedef decltype (act) T;
    size_t shared = (N + 1) * sizeof (float);
    allow_shared (cls_attention_kernel<T>, shared);
    LAUNCH (cls_attention_kernel<T>, t, CLS_THREADS, shared, cuda_stream (dev),
        score, (const T *) q, (const T *) k, N, h, c, scale);
  });
  cuda_launched (dev, "cls_attention");
}

void
cuda_init_attention_tiles (Ops *op)
{
  op->attention_tiles = attention_tiles;
  op->cls_attention = cls_attention;
}
