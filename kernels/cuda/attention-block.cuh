/* attention-block.cuh - a block's queries, and which of them there are
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "kernels/cuda/common.cuh"

#define ATT_THREADS 128

/* The keys low < j <= high. */
struct AttRange {
  int low, high;
  __device__ __forceinline__ bool
  has (int j) const
  {
    return j > low && j <= high;
  }
};

/* The block's queries: row i of n is at q + i * stride, and sees keys
 * low + i - window (if window > 0) < j <= min (low + i, last), low being large
 * where all keys are seen. */
template <typename T> struct AttQueries {
  const T *q;
  T *y;
  int n, stride;
  int low, last, window;

  __device__ __forceinline__ AttRange
  range (int i) const
  {
    AttRange range = { window > 0 ? low + i - window : -1,
      min (low + i, last) };
    return range;
  }
};

/* Calls f with the channels of a lane as a constant's type. */
#define ATT_MAX_PER (MAX_HEAD_WIDTH / WARP)

template <typename F>
static inline void
with_per (int c, F f)
{
  if (c <= WARP)
    f (Constant<1> ());
  else if (c <= 2 * WARP)
    f (Constant<2> ());
  else if (c <= 3 * WARP)
    f (Constant<3> ());
  else if (c <= 4 * WARP)
    f (Constant<4> ());
  else
    f (Constant<ATT_MAX_PER> ());
}

/* Piece `block` of sequences of rows start[s] .. start[s+1]-1, each cut into
 * pieces of n_rows: finds sequence and first row; false if past the end. */
static __device__ __forceinline__ bool
att_find_piece (
    int block, int n_rows, const int *start, int n, int *sequence, int *row)
{
  for (int s = 0; s < n; s++) {
    int pieces = (start[s + 1] - start[s] + n_rows - 1) / n_rows;
    if (block < pieces) {
      *sequence = s;
      *row = start[s] + block * n_rows;
      return true;
    }
    block -= pieces;
  }
  return false;
}
