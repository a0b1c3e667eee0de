/* choice.cuh - the best of some scores, exactly, by a block of threads
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * kernels/choice.h on the GPU: scores become integers that order alike, a
 * histogram of one digit after another narrows down where the last winner is,
 * and the winners are collected in their order. Candidates are 0 .. n-1 of a
 * list or of a rectangle, which a Scores knows: rank (i), and entry (i), what
 * stands for i in the result. CHOICE_THREADS threads call each together.
 */
#pragma once

#include "kernels/cuda/common.cuh"

#define CHOICE_THREADS 1024
#define CHOICE_DIGITS 256

/* Ascending ranks for ascending scores; both zeros are one, NaN is the top. */
static __device__ __forceinline__ unsigned
choice_rank (float x)
{
  unsigned bits = __float_as_uint (x == 0 ? 0.0f : x);
  if (isnan (x))
    return 0xffffffffu;
  return bits & 0x80000000 ? ~bits : bits | 0x80000000;
}

/* Where the n_best-th best of n is, and how many at that rank win. */
template <typename Scores>
static __device__ unsigned
choice_cut (Scores scores, int n, int n_best, int *n_at)
{
  __shared__ int count[CHOICE_DIGITS];
  __shared__ int found, left;
  unsigned cut = 0, known = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    __syncthreads ();
    if (threadIdx.x < CHOICE_DIGITS)
      count[threadIdx.x] = 0;
    __syncthreads ();
    for (int i = threadIdx.x; i < n; i += CHOICE_THREADS) {
      unsigned rank = scores.rank (i);
      if ((rank & known) == cut)
        atomicAdd (&count[rank >> shift & (CHOICE_DIGITS - 1)], 1);
    }
    __syncthreads ();
    if (threadIdx.x == 0) {
      found = CHOICE_DIGITS - 1;
      for (left = n_best; count[found] < left; found--)
        left -= count[found];
    }
    __syncthreads ();
    cut |= (unsigned) found << shift;
    known |= (unsigned) (CHOICE_DIGITS - 1) << shift;
    n_best = left;
  }
  *n_at = n_best;
  return cut;
}

/* Sum of everybody's x before this thread, and of all in *total. */
static __device__ int
choice_scan (int x, int *total)
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
  for (int i = 0; i < CHOICE_THREADS / WARP; i++) {
    before_warp += i < warp ? parts[i] : 0;
    *total += parts[i];
  }
  return before_warp + sum - x;
}

/* Returns how many it wrote. Counts of a pass share a number: those at the
 * cut in its upper half, those above it in the lower. */
template <typename Scores>
static __device__ int
choice_collect (int *list, Scores scores, int n, unsigned cut, int n_at)
{
  int seen_at = 0, seen_above = 0, total;
  for (int from = 0; from < n; from += CHOICE_THREADS) {
    int i = from + threadIdx.x;
    unsigned rank = i < n ? scores.rank (i) : 0;
    bool above = i < n && rank > cut, at = i < n && rank == cut;
    int before = choice_scan ((at ? 0x10000 : 0) + (above ? 1 : 0), &total);
    int before_at = seen_at + (before >> 16);
    if (above || (at && before_at < n_at))
      list[seen_above + (before & 0xffff) + min (before_at, n_at)] =
          scores.entry (i);
    seen_at += total >> 16;
    seen_above += total & 0xffff;
  }
  return seen_above + min (seen_at, n_at);
}
