/* key-attention.cu - how much a query attends to some of its keys
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A block is a head of a sequence: its warps take every eighth key, lanes the
 * channels, scores go to working memory and become probabilities there; a
 * second kernel sums heads in ascending order. Bound by reading the keys,
 * kv_len k c act_bytes.
 */
#include "kernels/cuda/paged.cuh"

#define THREADS 256
#define WARPS (THREADS / WARP)

template <typename T>
__global__ void
key_scores_kernel (PagedArgs<T> a, float *p, int stride)
{
  DYNAMIC_SHARED (float, q);
  int head = blockIdx.x, s = blockIdx.y, lane = threadIdx.x % WARP;
  int length = a.kv_len[s];
  PagedKeys<T> keys = keys_of (a, s, head / (a.h / a.n_kv_heads));
  p += ((size_t) s * a.h + head) * stride;
  for (int i = threadIdx.x; i < a.c; i += THREADS)
    q[i] = to_float (a.q[((size_t) s * a.h + head) * a.c + i]);
  __syncthreads ();
  float largest = -INFINITY, sum = 0;
  for (int j = threadIdx.x / WARP; j < length; j += WARPS) {
    const T *k = keys.key (j);
    float dot = 0;
    for (int i = lane; i < a.c; i += WARP)
      dot += q[i] * to_float (k[i]);
    dot = a.scale * warp_sum (dot);
    if (lane == 0)
      p[j] = dot;
  }
  __syncthreads ();
  for (int j = threadIdx.x; j < length; j += THREADS)
    largest = fmaxf (largest, p[j]);
  largest = block_max (largest);
  for (int j = threadIdx.x; j < length; j += THREADS)
    sum += p[j] = expf (p[j] - largest);
  sum = block_sum (sum);
  for (int j = threadIdx.x; j < length; j += THREADS)
    p[j] /= sum;
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
    LAUNCH (key_scores_kernel<T>, dim3 (h, batch->n_seqs), THREADS,
        c * sizeof (float), cuda_stream (dev), args, p, stride);
  });
  cuda_sum_heads (dev, score, p, first, batch->n_seqs, count, h, stride);
  cuda_launched (dev, "key_attention");
}

void
cuda_init_key_attention (Ops *op)
{
  op->key_attention = key_attention;
}
