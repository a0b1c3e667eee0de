/* attention-tiles.cu - the encoder's attention and HiRED's score
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * attention_tiles: 4 n_q n_keys h c operations, bound by arithmetic.
 * cls_attention: one query per tile and head, heads summed in order after;
 * bound by reading the keys.
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
__launch_bounds__ (ATT_THREADS, Way::BLOCKS)
    attention_tiles_kernel (TileArgs<typename Way::Act> a)
{
  typedef typename Way::Act T;
  DYNAMIC_SHARED (float, memory);
  int tile, row, d = a.h * a.c, head = blockIdx.x;
  if (never_here<T> () ||
      !att_find_piece (blockIdx.y, Way::QUERIES, a.q_start, a.t, &tile, &row))
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

/* One key, by 16 bytes where rows are aligned to that. */
static __device__ __forceinline__ float
dot (const float *q, const float *k, int c, bool packed)
{
  float sum = 0;
  if (!packed) {
    for (int i = 0; i < c; i++)
      sum += q[i] * k[i];
    return sum;
  }
#pragma unroll 8
  for (int i = 0; i < c; i += 4) {
    float4 part = *(const float4 *) (k + i);
    sum += q[i] * part.x;
    sum += q[i + 1] * part.y;
    sum += q[i + 2] * part.z;
    sum += q[i + 3] * part.w;
  }
  return sum;
}

/* A block per head and tile: p[t,h,N], the class token's attention to the
 * patches. A thread keeps its own keys' scores. */
__global__ void
__launch_bounds__ (CLS_THREADS) cls_head_kernel (float *p, const float *q,
    const float *k, int N, int c, float scale, bool packed)
{
  DYNAMIC_SHARED (float, row); /* [N+1], and the query behind */
  int head = blockIdx.x, tile = blockIdx.y, d = gridDim.x * c;
  float *query = row + N + 1, largest = -INFINITY, sum = 0;
  q += (size_t) tile * d + head * c;
  k += (size_t) tile * (N + 1) * d + head * c;
  p += ((size_t) tile * gridDim.x + head) * N;
  for (int i = threadIdx.x; i < c; i += CLS_THREADS)
    query[i] = q[i];
  __syncthreads ();
  for (int j = threadIdx.x; j <= N; j += CLS_THREADS) {
    row[j] = scale * dot (query, k + (size_t) j * d, c, packed);
    largest = fmaxf (largest, row[j]);
  }
  largest = block_max (largest);
  for (int j = threadIdx.x; j <= N; j += CLS_THREADS)
    sum += row[j] = expf (row[j] - largest);
  sum = block_sum (sum);
  for (int j = threadIdx.x; j <= N; j += CLS_THREADS)
    if (j > 0)
      p[j - 1] = row[j] / sum;
}

static void
cls_attention (Device *dev, float *score, const float *q, const float *k, int t,
    int N, int h, int c, float scale)
{
  cudaStream_t stream = cuda_stream (dev);
  bool packed = c % 4 == 0 && is_aligned (k);
  if (t == 0)
    return;
  float *p = (float *) cuda_scratch (dev, sizeof (float) * t * h * N);
  if (!p)
    return;
  size_t shared = (N + 1 + c) * sizeof (float);
  allow_shared (dev, cls_head_kernel, shared);
  LAUNCH (cls_head_kernel, dim3 (h, t), CLS_THREADS, shared, stream, p, q, k, N,
      c, scale, packed);
  cuda_sum_heads (dev, score, p, NULL, t, N, h, N);
  cuda_launched (dev, "cls_attention");
}

void
cuda_init_attention_tiles (Ops *op)
{
  op->attention_tiles = attention_tiles;
  op->cls_attention = cls_attention;
}
