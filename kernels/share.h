/* share.h - patches shared among tiles: the rule of every device
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * In proportion to weights, none above its cap, by largest remainder, ties to
 * the lowest tile; what a full tile cannot take flows to the others. Integers,
 * so that the same weights give the same shares everywhere: this very code runs
 * on the GPU, too. Compiles as C, as C++ and as CUDA.
 */
#pragma once

#include "kernels/ops.h"

#ifdef __CUDACC__
#define SHARE_RULE static __host__ __device__ inline
#else
#define SHARE_RULE static inline
#endif

/* Largest sum of scores that a weight is made of; real ones stay under the
 * number of heads. */
#define SHARE_MAX_SUM (1 << 20)

/* What is shared among n tiles, and the work of sharing. A GPU has it in shared
 * memory: a thread's own arrays are memory for as many threads as there can be.
 */
typedef struct Sharing {
  int n;
  int64_t weight[SHARE_MAX_TILES]; /* in; overwritten */
  int cap[SHARE_MAX_TILES];        /* in */
  int share[SHARE_MAX_TILES];      /* out */
  int64_t left;                    /* not yet given */
  int64_t sum;                     /* of the weights of those that are open */
  bool open[SHARE_MAX_TILES];      /* may still get some */
  int64_t remainder[SHARE_MAX_TILES];
} Sharing;

/* Sums what is open; weights that are all zero become the caps. */
SHARE_RULE void
share_weigh (Sharing *s)
{
  for (int round = 0; round < 2; round++) {
    s->sum = 0;
    for (int i = 0; i < s->n; i++)
      s->sum += s->open[i] ? s->weight[i] : 0;
    if (s->sum > 0)
      return;
    for (int i = 0; i < s->n; i++)
      s->weight[i] = s->cap[i];
  }
}

/* Fills the tiles whose quota reaches their cap; false when there is none. */
SHARE_RULE bool
share_fill_capped (Sharing *s)
{
  int64_t given = 0;
  bool any = false;
  share_weigh (s);
  for (int i = 0; i < s->n; i++)
    if (s->open[i] && s->left * s->weight[i] >= s->cap[i] * s->sum) {
      s->share[i] = s->cap[i];
      given += s->cap[i];
      s->open[i] = false;
      any = true;
    }
  s->left -= given;
  return any;
}

SHARE_RULE int
share_largest_remainder (const Sharing *s)
{
  int best = -1;
  for (int i = 0; i < s->n; i++)
    if (s->open[i] && (best < 0 || s->remainder[i] > s->remainder[best]))
      best = i;
  return best;
}

SHARE_RULE void
share_rest (Sharing *s)
{
  int64_t left = s->left;
  int next;
  for (int i = 0; i < s->n; i++)
    if (s->open[i]) {
      s->share[i] = (int) (s->left * s->weight[i] / s->sum);
      s->remainder[i] = s->left * s->weight[i] % s->sum;
      left -= s->share[i];
    }
  for (; left > 0 && (next = share_largest_remainder (s)) >= 0; left--) {
    s->share[next]++;
    s->remainder[next] = -1;
  }
}

/* The shares add up to `count`, at most the sum of the caps. Products of count
 * or a cap with the sum of the weights must fit 63 bits. */
SHARE_RULE void
share_out (Sharing *s, int count)
{
  s->left = count;
  for (int i = 0; i < s->n; i++) {
    s->open[i] = s->cap[i] > 0;
    s->share[i] = 0;
  }
  while (share_fill_capped (s))
    continue;
  share_rest (s);
}

/* A sum of scores as a weight; -1 if it is negative, too large or not a
 * number. */
SHARE_RULE int64_t
share_weight (double sum)
{
  if (!(sum >= 0 && sum <= SHARE_MAX_SUM))
    return -1;
  return (int64_t) (sum * (1 << 24) + 0.5);
}

/* Of score[side,side], in ascending order. */
SHARE_RULE double
share_sum (const float *score, const PatchRect *area, int side)
{
  double sum = 0;
  for (int y = area->y0; y < area->y1; y++)
    for (int x = area->x0; x < area->x1; x++)
      sum += score[y * side + x];
  return sum;
}

/* What share_patches does once it has the sums. */
SHARE_RULE void
share_tiles (
    Sharing *s, PatchTile *tiles, int *start, const double *sum, int t, int n)
{
  int first = tiles[0].first;
  bool good = true;
  s->n = t;
  for (int i = 0; i < t; i++) {
    const PatchRect *used = &tiles[i].used;
    int area = (used->y1 - used->y0) * (used->x1 - used->x0);
    s->weight[i] = share_weight (sum[i]);
    good = good && s->weight[i] >= 0;
    s->cap[i] = tiles[i].number > 0 ? area : 0;
  }
  for (int i = 0; i < t && !good; i++)
    s->weight[i] = 0;
  share_out (s, n);
  for (int i = 0; i < t; i++) {
    tiles[i].n = tiles[i].number > 0 ? s->share[i] : tiles[i].n;
    tiles[i].first = first;
    first += tiles[i].n;
    start[i + 1] = first;
  }
}
