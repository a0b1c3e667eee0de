/* listed-choice.cu - the best keys of each list, exactly
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * As kernels/cpu/listed-choice.c: scores become integers that order alike, a
 * histogram of one digit after another narrows down where the last winner is,
 * and the winners are collected in their order. A block has a list; bound by
 * its five passes over the scores.
 */
#include "kernels/cuda/listed.cuh"

#define THREADS 1024
#define DIGITS 256

/* Ascending ranks for ascending scores; both zeros are one, NaN is the top. */
static __device__ __forceinline__ unsigned
rank_of (float x)
{
  unsigned bits = __float_as_uint (x == 0 ? 0.0f : x);
  if (isnan (x))
    return 0xffffffffu;
  return bits & 0x80000000 ? ~bits : bits | 0x80000000;
}

/* Where the n_best-th best of n scores is, and how many at that rank win. */
static __device__ unsigned
find_cut (const float *score, int n, int n_best, int *n_at)
{
  __shared__ int count[DIGITS];
  __shared__ int found, left;
  unsigned cut = 0, known = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    __syncthreads ();
    if (threadIdx.x < DIGITS)
      count[threadIdx.x] = 0;
    __syncthreads ();
    for (int i = threadIdx.x; i < n; i += THREADS) {
      unsigned rank = rank_of (score[i]);
      if ((rank & known) == cut)
        atomicAdd (&count[rank >> shift & (DIGITS - 1)], 1);
    }
    __syncthreads ();
    if (threadIdx.x == 0) {
      found = DIGITS - 1;
      for (left = n_best; count[found] < left; found--)
        left -= count[found];
    }
    __syncthreads ();
    cut |= (unsigned) found << shift;
    known |= (unsigned) (DIGITS - 1) << shift;
    n_best = left;
  }
  *n_at = n_best;
  return cut;
}

/* Sum of everybody's x before this thread, and of all in *total. */
static __device__ int
block_scan (int x, int *total)
{
  __shared__ int parts[WARP];
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, sum = x;
  for (int by = 1; by < WARP; by *= 2) {
    int before = __shfl_up_sync (ALL_LANES, sum, by);
    sum += lane >= by ? before : 0;
  }
  __syncthreads ();
  if (lane == WARP - 1)
    parts[warp] = sum;
  __syncthreads ();
  int before_warp = 0;
  *total = 0;
  for (int i = 0; i < THREADS / WARP; i++) {
    before_warp += i < warp ? parts[i] : 0;
    *total += parts[i];
  }
  return before_warp + sum - x;
}

/* Returns how many it wrote. Counts of a pass share a number: those at the
 * cut in its upper half, those above it in the lower. */
static __device__ int
collect (int *list, const float *score, int n, unsigned cut, int n_at)
{
  int seen_at = 0, seen_above = 0, total;
  for (int from = 0; from < n; from += THREADS) {
    int i = from + threadIdx.x;
    unsigned rank = i < n ? rank_of (score[i]) : 0;
    bool above = i < n && rank > cut, at = i < n && rank == cut;
    int before = block_scan ((at ? 0x10000 : 0) + (above ? 1 : 0), &total);
    int before_at = seen_at + (before >> 16);
    if (above || (at && before_at < n_at))
      list[seen_above + (before & 0xffff) + min (before_at, n_at)] = i;
    seen_at += total >> 16;
    seen_above += total & 0xffff;
  }
  return seen_above + min (seen_at, n_at);
}

__global__ void
__launch_bounds__ (THREADS)
    choose_kernel (int *lists, const float *score, const int *q_start,
        const int *kv_len, const int *page_start, KeyChoice choice, int h)
{
  int s = blockIdx.y, row = blockIdx.x * (h / gridDim.x), n_at = 0, m = 0;
  int n = listed_candidates (choice.group, kv_len[s]);
  int n_old = max (n - choice.n_recent, 0);
  int n_best = listed_entries (choice, kv_len[s]) - (n - n_old);
  if (!listed_has_token (q_start, s))
    return;
  lists += listed_at (page_start, s, h, row);
  score += listed_at (page_start, s, h, row);
  if (n_best > 0) {
    unsigned cut = find_cut (score, n_old, n_best, &n_at);
    m = collect (lists, score, n_old, cut, n_at);
  }
  for (int i = n_old + threadIdx.x; i < n; i += THREADS)
    lists[m + i - n_old] = i;
}

static void
choose_keys (Device *dev, int *lists, const float *score,
    const PagedBatch *batch, const KeyChoice *choice, int h, int n_kv_heads)
{
  if (batch->n_seqs == 0)
    return;
  dim3 grid (listed_lists (choice->group, h, n_kv_heads), batch->n_seqs);
  LAUNCH (choose_kernel, grid, THREADS, 0, cuda_stream (dev), lists, score,
      batch->q_start, batch->kv_len, batch->page_start, *choice, h);
  cuda_launched (dev, "choose_keys");
}

void
cuda_init_listed_choice (Ops *op)
{
  op->choose_keys = choose_keys;
}
