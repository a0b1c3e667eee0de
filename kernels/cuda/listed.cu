/* listed.cu - scores of all keys, and attention to the listed ones
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Scores are bound by memory, kv_len k c act_bytes, and so is attention, by
 * what the lists name: a key's row is one piece of memory here.
 */
#include "kernels/cuda/attention-decode.cuh"
#include "kernels/cuda/key-scores.cuh"
#include "kernels/cuda/listed.cuh"

#define THREADS 128
#define WARPS (THREADS / WARP)

/* ---- scores ---- */

template <typename T, int PER>
__global__ void
__launch_bounds__ (SCORE_THREADS) score_kernel (PagedArgs<T> a, float *score)
{
  int s = blockIdx.z, length = a.kv_len[s];
  int low = a.window > 0 ? max (length - a.window, 0) : 0;
  if (never_here<T> () || !listed_has_token (a.q_start, s))
    return;
  ScoreBlock block = score_block (a.h, a.n_kv_heads);
  score_keys<T, PER> (score + listed_at (a.page_start, s, a.h, block.head),
      listed_stride (a.page_start, s),
      a.q + ((size_t) a.q_start[s] * a.h + block.head) * a.c,
      keys_of (a, s, block.kv_head), block, low, length, a.scale);
}

/* Sums over each page's keys go to the page's place, in front of or among the
 * keys of pages that have been read. */
static __device__ void
add_pages (float *x, int low, int n)
{
  int lane = threadIdx.x % WARP,
      n_pages = (n + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
  for (int from = 0; from < n_pages; from += WARPS) {
    int page = from + threadIdx.x / WARP, end = (page + 1) * KV_PAGE_TOKENS;
    float sum = 0;
    __syncthreads ();
    for (int j = page * KV_PAGE_TOKENS + lane; j < min (end, n); j += WARP)
      sum += j < low ? 0 : x[j];
    sum = warp_sum (sum);
    __syncthreads ();
    if (lane == 0 && page < n_pages)
      x[page] = min (end, n) <= low ? -INFINITY : sum;
  }
}

/* A block has a key head of a sequence: its heads' rows become one. */
template <typename T>
__global__ void
__launch_bounds__ (THREADS)
    combine_kernel (PagedArgs<T> a, float *score, bool pages)
{
  int s = blockIdx.y, group = a.h / a.n_kv_heads, n = a.kv_len[s];
  int low = a.window > 0 ? max (n - a.window, 0) : 0;
  if (!listed_has_token (a.q_start, s))
    return;
  size_t stride = listed_stride (a.page_start, s);
  score += listed_at (a.page_start, s, a.h, blockIdx.x * group);
  for (int i = 0; i < group; i++)
    soften (score + i * stride, low, n);
  for (int j = threadIdx.x; j < n; j += THREADS) {
    float sum = 0;
    for (int i = 0; i < group; i++)
      sum += score[i * stride + j];
    score[j] = sum;
  }
  if (pages)
    add_pages (score, low, n);
}

template <typename T>
static PagedArgs<T>
make_args (Act *y, const Act *q, const KvLayer *kv, const PagedBatch *batch,
    int h, int n_kv_heads, int c, float scale, int window)
{
  PagedArgs<T> args = { (T *) y, (const T *) q, (const T *) kv->k,
    (const T *) kv->v, batch->q_start, batch->kv_len, batch->page_start,
    batch->pages, batch->n_seqs, h, n_kv_heads, c, window, scale };
  return args;
}

static void
key_scores (Device *dev, float *score, const Act *q, const KvLayer *kv,
    const PagedBatch *batch, KeyGroup group, int h, int n_kv_heads, int c,
    float scale, int window)
{
  int rows = h / n_kv_heads;
  bool pages = group == PAGES_OF_KV_HEAD;
  if (batch->n_seqs == 0)
    return;
  with_act (dev, [&] (auto act) {
    typedef decltype (act) T;
    PagedArgs<T> args =
        make_args<T> (NULL, q, kv, batch, h, n_kv_heads, c, scale, window);
    with_per (c, [&] (auto per) {
      auto kernel = score_kernel<T, decltype (per)::value>;
      LAUNCH (kernel,
          score_grid (batch->max_kv_len, h, n_kv_heads, batch->n_seqs),
          SCORE_THREADS, 0, cuda_stream (dev), args, score);
    });
    if (pages || (group == KEYS_OF_KV_HEAD && rows > 1))
      LAUNCH (combine_kernel<T>, dim3 (n_kv_heads, batch->n_seqs), THREADS, 0,
          cuda_stream (dev), args, score, pages);
  });
  cuda_launched (dev, "key_scores");
}

/* ---- attention ---- */

/* Entry i of a list, or key i of the listed pages. */
template <typename T> struct ListedKeys : PagedKeys<T> {
  const int *list;
  bool whole_pages;
  int low, length; /* what is seen of the sequence */

  __device__ int
  position (int i) const
  {
    return whole_pages
               ? list[i / KV_PAGE_TOKENS] * KV_PAGE_TOKENS + i % KV_PAGE_TOKENS
               : list[i];
  }
  /* In the place of a key that is not seen, the last. */
  __device__ size_t
  find (int i, bool *seen) const
  {
    int j = position (i);
    *seen = j >= low && j < length;
    return this->row (*seen ? j : length - 1);
  }
};

/* Keys that the entries of a list stand for. */
static __host__ __device__ __forceinline__ int
listed_keys (const KeyChoice &choice, int kv_len)
{
  return listed_entries (choice, kv_len) *
         (choice.group == PAGES_OF_KV_HEAD ? KV_PAGE_TOKENS : 1);
}

/* n_lists: of a sequence. */
template <typename T, typename Shape>
__global__ void
__launch_bounds__ (DECODE_THREADS) listed_kernel (PagedArgs<T> a,
    const int *lists, KeyChoice choice, int n_lists, float *out, int n_splits)
{
  DYNAMIC_SHARED (float, parts);
  int s = blockIdx.z, rows = a.h / n_lists, length = a.kv_len[s];
  int n_groups = (rows + DECODE_GROUP - 1) / DECODE_GROUP;
  int row = blockIdx.y / n_groups * rows;
  int from = blockIdx.y % n_groups * DECODE_GROUP;
  int n = listed_keys (choice, length), first = blockIdx.x * DECODE_SPLIT;
  int low = a.window > 0 ? max (length - a.window, 0) : 0;
  if (never_here<T> () || !listed_has_token (a.q_start, s))
    return;
  PagedKeys<T> all = keys_of (a, s, row / (a.h / a.n_kv_heads));
  ListedKeys<T> keys = { all, lists + listed_at (a.page_start, s, a.h, row),
    choice.group == PAGES_OF_KV_HEAD, low, length };
  decode_block<T, Shape> (parts, a, keys, s, row + from,
      min (rows - from, DECODE_GROUP), first, min (first + DECODE_SPLIT, n) - 1,
      out, n_splits);
}

template <typename T>
__global__ void
__launch_bounds__ (DECODE_THREADS) join_listed_kernel (
    PagedArgs<T> a, KeyChoice choice, const float *parts, int n_splits)
{
  int s = blockIdx.y, n = listed_keys (choice, a.kv_len[s]);
  if (listed_has_token (a.q_start, s))
    join_block (a, parts, s, blockIdx.x, (n + DECODE_SPLIT - 1) / DECODE_SPLIT,
        n_splits);
}

template <typename T>
static void
attend_listed (Device *dev, const PagedArgs<T> &args, const int *lists,
    const KeyChoice &choice, int max_kv_len)
{
  int n_splits = blocks_for (listed_keys (choice, max_kv_len), DECODE_SPLIT);
  int n_lists = listed_lists (choice.group, args.h, args.n_kv_heads);
  int rows = args.h / n_lists, n_groups = blocks_for (rows, DECODE_GROUP);
  size_t part = part_floats (args.c) * sizeof (float);
  float *parts = NULL;
  if (n_splits > 1) {
    parts = (float *) cuda_scratch (
        dev, (size_t) args.n_seqs * args.h * n_splits * part);
    if (!parts)
      return;
  }
  with_shape (args, rows, [&] (auto shape) {
    auto kernel = listed_kernel<T, decltype (shape)>;
    LAUNCH (kernel, dim3 (n_splits, n_lists * n_groups, args.n_seqs),
        DECODE_THREADS, min (rows, DECODE_GROUP) * DECODE_WARPS * part,
        cuda_stream (dev), args, lists, choice, n_lists, parts, n_splits);
  });
  if (parts)
    LAUNCH (join_listed_kernel<T>, dim3 (args.h, args.n_seqs), DECODE_THREADS,
        0, cuda_stream (dev), args, choice, (const float *) parts, n_splits);
}

static void
attention_listed (Device *dev, Act *y, const Act *q, const KvLayer *kv,
    const PagedBatch *batch, const int *lists, const KeyChoice *choice, int h,
    int n_kv_heads, int c, float scale, int window)
{
  if (batch->n_seqs == 0)
    return;
  with_act (dev, [&] (auto act) {
    typedef decltype (act) T;
    attend_listed (dev,
        make_args<T> (y, q, kv, batch, h, n_kv_heads, c, scale, window), lists,
        *choice, batch->max_kv_len);
  });
  cuda_launched (dev, "attention_listed");
}

void
cuda_init_listed (Ops *op)
{
  op->key_scores = key_scores;
  op->attention_listed = attention_listed;
}
