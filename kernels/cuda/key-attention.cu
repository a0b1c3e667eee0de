/* key-attention.cu - how much a query attends to some of its keys
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Scores go to working memory and become probabilities there, a block to a
 * head of a sequence; a third kernel sums heads in ascending order. Bound by
 * reading the keys, kv_len k c act_bytes.
 */
#include "kernels/cuda/attention-block.cuh"
#include "kernels/cuda/key-scores.cuh"

#define THREADS 256

/* Of all keys and heads: p[n_seqs,h,stride]. */
template <typename T, int PER>
__global__ void
__launch_bounds__ (SCORE_THREADS)
    scores_kernel (PagedArgs<T> a, float *p, int stride)
{
  int s = blockIdx.z;
  ScoreBlock block = score_block (a.h, a.n_kv_heads);
  size_t row = (size_t) s * a.h + block.head;
  if (never_here<T> ())
    return;
  score_keys<T, PER> (p + row * stride, stride, a.q + row * a.c,
      keys_of (a, s, block.kv_head), block, 0, a.kv_len[s], a.scale);
}

__global__ void
__launch_bounds__ (THREADS)
    soften_kernel (float *p, const int *kv_len, int h, int stride)
{
  int s = blockIdx.y;
  soften (p + ((size_t) s * h + blockIdx.x) * stride, 0, kv_len[s]);
}

__global__ void
sum_heads_kernel (float *score, const float *p, const int *first, int count,
    int h, int stride)
{
  int s = blockIdx.y, j = blockIdx.x * THREADS + threadIdx.x;
  if (j >= count)
    return;
  p += (size_t) s * h * stride + (first ? first[s] : 0) + j;
  float sum = 0;
  for (int head = 0; head < h; head++)
    sum += p[(size_t) head * stride];
  score[(size_t) s * count + j] = sum;
}

void
cuda_sum_heads (Device *dev, float *score, const float *p, const int *first,
    int n, int count, int h, int stride)
{
  LAUNCH (sum_heads_kernel, dim3 (blocks_for (count, THREADS), n), THREADS, 0,
      cuda_stream (dev), score, p, first, count, h, stride);
}

static void
key_attention (Device *dev, float *score, const Act *q, const KvLayer *kv,
    const PagedBatch *batch, const int *first, int count, int h, int n_kv_heads,
    int c, float scale)
{
  int stride = batch->max_kv_len;
  if (batch->n_seqs == 0 || count == 0)
    return;
  float *p =
      (float *) cuda_scratch (dev, sizeof (float) * batch->n_seqs * h * stride);
  if (!p)
    return;
  with_act (dev, [&] (auto act) {
    typedef decltype (act) T;
    PagedArgs<T> args = { NULL, (const T *) q, (const T *) kv->k,
      (const T *) kv->v, batch->q_start, batch->kv_len, batch->page_start,
      batch->pages, batch->n_seqs, h, n_kv_heads, c, 0, scale };
    with_per (c, [&] (auto per) {
      auto kernel = scores_kernel<T, decltype (per)::value>;
      LAUNCH (kernel, score_grid (stride, h, n_kv_heads, batch->n_seqs),
          SCORE_THREADS, 0, cuda_stream (dev), args, p, stride);
    });
  });
  LAUNCH (soften_kernel, dim3 (h, batch->n_seqs), THREADS, 0, cuda_stream (dev),
      p, batch->kv_len, h, stride);
  cuda_sum_heads (dev, score, p, first, batch->n_seqs, count, h, stride);
  cuda_launched (dev, "key_attention");
}

void
cuda_init_key_attention (Ops *op)
{
  op->key_attention = key_attention;
}
