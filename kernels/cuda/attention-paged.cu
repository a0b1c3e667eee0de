/* attention-paged.cu - causal attention over the cache, and writing to it
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A sequence with several tokens in the step (a prompt, or a draft) goes a
 * block for some of them; with one, its keys are split (attention-decode.cu).
 * Which way is the sequence's own affair, so a text does not depend on the
 * batch.
 */
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/paged.cuh"
#include "kernels/cuda/rotate.cuh"

#define THREADS 128

/* A token's keys, N pairs a thread at a time. */
template <typename T, int N>
static __device__ __forceinline__ void
write_rotated (
    T *to, const float *k, const float *table, int slot, int n_kv_heads, int c)
{
  int half = c / 2, items = half / N;
  for (int at = threadIdx.x; at < n_kv_heads * items; at += THREADS) {
    int head = at / items, j = at % items * N;
    rotate<T, N> (to + page_row (slot, head, n_kv_heads, c) + j,
        k + (size_t) head * c + j, table + j, half);
  }
}

template <typename T>
static __device__ __forceinline__ void
write_keys (T *to, const float *k, int slot, int n_kv_heads, int c)
{
  for (int at = threadIdx.x; at < n_kv_heads * c; at += THREADS)
    store (&to[page_row (slot, at / c, n_kv_heads, c) + at % c], k[at]);
}

/* A token's values, in units that a head's are a whole number of. */
template <typename U, typename T>
static __device__ __forceinline__ void
write_values (T *to, const T *v, int slot, int n_kv_heads, int c)
{
  int per_head = c * sizeof (T) / sizeof (U);
  for (int at = threadIdx.x; at < n_kv_heads * per_head; at += THREADS) {
    U *y = (U *) (to + page_row (slot, at / per_head, n_kv_heads, c));
    y[at % per_head] = ((const U *) v)[at];
  }
}

/* A block per token, N pairs at a time. */
template <typename T, int N>
__global__ void
__launch_bounds__ (THREADS)
    kv_write_kernel (T *to_k, T *to_v, const float *k, const float *table,
        const T *v, const int *slots, int n_kv_heads, int c, bool packed)
{
  begin_early ();
  int i = blockIdx.x, slot = slots[i];
  size_t at = (size_t) i * n_kv_heads * c;
  if (table)
    write_rotated<T, N> (
        to_k, k + at, table + (size_t) i * c, slot, n_kv_heads, c);
  else
    write_keys (to_k, k + at, slot, n_kv_heads, c);
  if (packed)
    write_values<uint4> (to_v, v + at, slot, n_kv_heads, c);
  else
    write_values<T> (to_v, v + at, slot, n_kv_heads, c);
}

static void
kv_write (Device *dev, const KvLayer *kv, const float *k, const float *table,
    const Act *v, const PagedBatch *batch, int n_kv_heads, int c)
{
  bool packed =
      c * dev->act_bytes % 16 == 0 && is_aligned (v) && is_aligned (kv->v);
  if (batch->n == 0)
    return;
  with_act (dev, [&] (auto act) {
    typedef decltype (act) T;
    with_pairs (c, table, k, (T *) kv->k, [&] (auto pairs) {
      constexpr int N = decltype (pairs)::value;
      LAUNCH_EARLY ((kv_write_kernel<T, N>), batch->n, THREADS, 0, dev,
          (T *) kv->k, (T *) kv->v, k, table, (const T *) v, batch->slots,
          n_kv_heads, c, packed);
    });
  });
  cuda_launched (dev, "kv_write");
}

/* Blocks begin with the last rows, which see the most keys. */
template <typename Way>
__global__ void
__launch_bounds__ (ATT_THREADS, Way::BLOCKS)
    attention_paged_kernel (PagedArgs<typename Way::Act> a)
{
  typedef typename Way::Act T;
  DYNAMIC_SHARED (float, memory);
  int s, row, head = blockIdx.x, d = a.h * a.c;
  if (never_here<T> () ||
      !att_find_piece (gridDim.y - 1 - blockIdx.y, Way::QUERIES, a.q_start,
          a.n_seqs, &s, &row) ||
      a.q_start[s + 1] - a.q_start[s] == 1)
    return;
  int n = min (a.q_start[s + 1] - row, Way::QUERIES);
  int position = a.kv_len[s] - (a.q_start[s + 1] - row); /* of row */
  int first = a.window > 0 ? max (position - a.window + 1, 0) : 0;
  size_t at = (size_t) row * d + head * a.c;
  PagedKeys<T> keys = keys_of (a, s, head / (a.h / a.n_kv_heads));
  AttQueries<T> queries = { a.q + at, a.y + at, n, d, position,
    position + n - 1, a.window };
  Way::run (memory, queries, keys, first, queries.last, a.c, a.scale);
}

template <typename T>
static void
attend_several (Device *dev, const PagedArgs<T> &args, int n)
{
  bool aligned = is_aligned (args.y) && is_aligned (args.q) &&
                 is_aligned (args.k) && is_aligned (args.v);
  with_attention<T> (args.c, aligned, [&] (auto way) {
    typedef decltype (way) Way;
    launch_attention<Way> (
        dev, attention_paged_kernel<Way>, args, n, args.n_seqs);
  });
}

static void
attention_paged (Device *dev, Act *y, const Act *q, const KvLayer *kv,
    const PagedBatch *batch, int h, int n_kv_heads, int c, float scale,
    int window)
{
  if (batch->n == 0)
    return;
  with_act (dev, [&] (auto act) {
    typedef decltype (act) T;
    PagedArgs<T> args = { (T *) y, (const T *) q, (const T *) kv->k,
      (const T *) kv->v, batch->q_start, batch->kv_len, batch->page_start,
      batch->pages, batch->n_seqs, h, n_kv_heads, c, window, scale };
    if (batch->max_q_len > 1)
      attend_several (dev, args, batch->n);
    if (batch->max_q_len == 1 || batch->n_seqs > 1)
      attend_single (dev, args, batch->max_kv_len);
  });
  cuda_launched (dev, "attention_paged");
}

void
cuda_init_attention_paged (Ops *op)
{
  op->kv_write = kv_write;
  op->attention_paged = attention_paged;
}
