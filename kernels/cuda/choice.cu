/* choice.cu - tiles' shares, their best patches, the order of packing
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Sharing is one block, a thread to a tile and then one alone: a few hundred
 * steps. Else a block has a tile. Choosing is bound by its passes over 576
 * scores; packing finds a row's place by counting, in each tile beside its own,
 * the rows that come before it, and is bound by the steps of these searches.
 */
#include "kernels/cuda/choice.cuh"
#include "kernels/share.h"

#define THREADS CHOICE_THREADS
#define NONE 0x7fffffff

__global__ void
__launch_bounds__ (SHARE_MAX_TILES) share_patches_kernel (PatchTile *tiles,
    int *start, double *sum, const float *score, int t, int side, int n)
{
  __shared__ Sharing sharing;
  int i = threadIdx.x;
  if (i < t)
    sum[i] = tiles[i].number > 0 ? share_sum (score, &tiles[i].area, side) : 0;
  __syncthreads ();
  if (i == 0)
    share_tiles (&sharing, tiles, start, sum, t, n);
}

static void
share_patches (Device *dev, PatchTile *tiles, int *start, double *sum,
    const float *score, int t, int side, int n)
{
  if (t == 0)
    return;
  LAUNCH (share_patches_kernel, 1, SHARE_MAX_TILES, 0, cuda_stream (dev), tiles,
      start, sum, score, t, side, n);
  cuda_launched (dev, "share_patches");
}

/* A tile's rectangle, row by row. */
struct PatchScores {
  const float *score; /* [side,side] */
  PatchRect used;
  int side, row; /* of patch 0 */

  __device__ int
  count () const
  {
    return (used.y1 - used.y0) * (used.x1 - used.x0);
  }

  __device__ int
  patch (int i) const
  {
    int width = used.x1 - used.x0;
    return (used.y0 + i / width) * side + used.x0 + i % width;
  }

  __device__ unsigned
  rank (int i) const
  {
    return choice_rank (score[patch (i)]);
  }

  __device__ int
  entry (int i) const
  {
    return row + patch (i);
  }
};

/* The first patch that is not a number, or -1. */
static __device__ int
find_bad (const PatchScores &scores)
{
  __shared__ int least;
  if (threadIdx.x == 0)
    least = NONE;
  __syncthreads ();
  for (int i = threadIdx.x; i < scores.count (); i += THREADS)
    if (isnan (scores.score[scores.patch (i)]))
      atomicMin (&least, scores.patch (i));
  __syncthreads ();
  return least == NONE ? -1 : least;
}

__global__ void
__launch_bounds__ (THREADS) choose_patches_kernel (
    int *rows, int *bad, const float *score, const PatchTile *tiles, int side)
{
  int i = blockIdx.x, N = side * side, n = tiles[i].n, n_at;
  PatchScores scores = { score + (size_t) i * N, tiles[i].used, side,
    i * (N + 1) + 1 };
  int first_bad = n > 0 ? find_bad (scores) : -1;
  if (threadIdx.x == 0)
    bad[i] = first_bad;
  if (n == 0)
    return;
  unsigned cut = choice_cut (scores, scores.count (), n, &n_at);
  choice_collect (rows + tiles[i].first, scores, scores.count (), cut, n_at);
}

static void
choose_patches (Device *dev, int *rows, int *bad, const float *score,
    const PatchTile *tiles, int t, int side)
{
  if (t == 0)
    return;
  LAUNCH (choose_patches_kernel, t, THREADS, 0, cuda_stream (dev), rows, bad,
      score, tiles, side);
  cuda_launched (dev, "choose_patches");
}

/* How many of ascending rows[n] are below `past`. */
static __device__ int
count_below (const int *rows, int n, int past)
{
  int low = 0;
  while (low < n) {
    int middle = (low + n) / 2;
    if (rows[middle] < past)
      low = middle + 1;
    else
      n = middle;
  }
  return low;
}

/* Whether two tiles lie in one row of the canvas; tile 0 lies alone. */
static __device__ bool
are_beside (const PatchTile &a, const PatchTile &b, int across)
{
  return a.number > 0 && b.number > 0 &&
         (a.number - 1) / across == (b.number - 1) / across;
}

__global__ void
__launch_bounds__ (THREADS) pack_patches_kernel (int *sequence, int *from,
    const int *rows, const PatchTile *tiles, int t, int side, int across)
{
  int i = blockIdx.x, stride = side * side + 1, begin = i, end = i + 1;
  while (begin > 0 && are_beside (tiles[begin - 1], tiles[i], across))
    begin--;
  while (end < t && are_beside (tiles[end], tiles[i], across))
    end++;
  for (int p = threadIdx.x; i == 0 && p < tiles[0].first; p += THREADS) {
    sequence[p] = rows[p];
    from[p] = p;
  }
  for (int k = threadIdx.x; k < tiles[i].n; k += THREADS) {
    int p = tiles[i].first + k, at = tiles[begin].first + k;
    int y = (rows[p] - i * stride - 1) / side;
    for (int other = begin; other < end; other++)
      if (other != i)
        at += count_below (rows + tiles[other].first, tiles[other].n,
            other * stride + 1 + (y + (other < i)) * side);
    sequence[at] = rows[p];
    from[at] = p;
  }
}

static void
pack_patches (Device *dev, int *sequence, int *from, const int *rows,
    const PatchTile *tiles, int t, int side, int across)
{
  if (t == 0)
    return;
  LAUNCH (pack_patches_kernel, t, THREADS, 0, cuda_stream (dev), sequence, from,
      rows, tiles, t, side, across);
  cuda_launched (dev, "pack_patches");
}

void
cuda_init_choice (Ops *op)
{
  op->share_patches = share_patches;
  op->choose_patches = choose_patches;
  op->pack_patches = pack_patches;
}
