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

typedef struct Sharing {
  int n;
  int64_t left; /* not yet given */
  int64_t weight[SHARE_MAX_TILES];
  int64_t sum;                /* of the weights of those that are open */
  bool open[SHARE_MAX_TILES]; /* may still get some */
} Sharing;

/* Sums what is open; weights that are all zero become the caps. */
SHARE_RULE void
share_weigh (Sharing *s, const int *cap)
{
  for (int round = 0; round < 2; round++) {
    s->sum = 0;
    for (int i = 0; i < s->n; i++)
      s->sum += s->open[i] ? s->weight[i] : 0;
    if (s->sum > 0)
      return;
    for (int i = 0; i < s->n; i++)
      s->weight[i] = cap[i];
  }
}

/* Fills the tiles whose quota reaches their cap; false when there is none. */
SHARE_RULE bool
share_fill_capped (Sharing *s, const int *cap, int *share)
{
  int64_t given = 0;
  bool any = false;
  share_weigh (s, cap);
  for (int i = 0; i < s->n; i++)
    if (s->open[i] && s->left * s->weight[i] >= cap[i] * s->sum) {
      share[i] = cap[i];
      given += cap[i];
      s->open[i] = false;
      any = true;
    }
  s->left -= given;
  return any;
}

SHARE_RULE int
share_largest_remainder (const Sharing *s, const int64_t *remainder)
{
  int best = -1;
  for (int i = 0; i < s->n; i++)
    if (s->open[i] && (best < 0 || remainder[i] > remainder[best]))
      best = i;
  return best;
}

SHARE_RULE void
share_rest (Sharing *s, int *share)
{
  int64_t remainder[SHARE_MAX_TILES], left = s->left;
  int next;
  for (int i = 0; i < s->n; i++)
    if (s->open[i]) {
      share[i] = (int) (s->left * s->weight[i] / s->sum);
      remainder[i] = s->left * s->weight[i] % s->sum;
      left -= share[i];
    }
  for (; left > 0 && (next = share_largest_remainder (s, remainder)) >= 0;
       left--) {
    share[next]++;
    remainder[next] = -1;
  }
}

/* share[n], which add up to `count`, at most the sum of the caps. Products of
 * count or a cap with the sum of the weights must fit 63 bits. */
SHARE_RULE void
share_out (int count, const int64_t *weight, const int *cap, int n, int *share)
{
  Sharing s;
  s.n = n;
  s.left = count;
  for (int i = 0; i < n; i++) {
    s.weight[i] = weight[i];
    s.open[i] = cap[i] > 0;
    share[i] = 0;
  }
  while (share_fill_capped (&s, cap, share))
    continue;
  share_rest (&s, share);
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
share_tiles (PatchTile *tiles, int *start, const double *sum, int t, int n)
{
  int64_t weight[SHARE_MAX_TILES];
  int cap[SHARE_MAX_TILES], share[SHARE_MAX_TILES], first = tiles[0].first;
  bool good = true;
  for (int i = 0; i < t; i++) {
    const PatchRect *used = &tiles[i].used;
    weight[i] = share_weight (sum[i]);
    good = good && weight[i] >= 0;
    cap[i] = (used->y1 - used->y0) * (used->x1 - used->x0);
    cap[i] = tiles[i].number > 0 ? cap[i] : 0;
  }
  for (int i = 0; i < t && !good; i++)
    weight[i] = 0;
  share_out (n, weight, cap, t, share);
  for (int i = 0; i < t; i++) {
    tiles[i].n = tiles[i].number > 0 ? share[i] : tiles[i].n;
    tiles[i].first = first;
    first += tiles[i].n;
    start[i + 1] = first;
  }
}
