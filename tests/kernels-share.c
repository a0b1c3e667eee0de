/* kernels-share.c - cases of the shares that tiles get
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Integers: every backend must give the same bits. The twin follows the quotas
 * one by one, in 128 bits.
 */
#include "tests/kernels.h"

#include <math.h>
#include <string.h>

#define MOST_TILES 17

typedef struct Share {
  int side, t, n, most; /* n of at most so many are shared */
  PatchTile tile[MOST_TILES];
} Share;

static int
count (const PatchRect *rect)
{
  return (rect->y1 - rect->y0) * (rect->x1 - rect->x0);
}

static PatchRect
random_rect (Kt *kt, int side)
{
  PatchRect rect = { 0, side, 0, side };
  if (kt_timing (kt))
    return rect;
  rect.y0 = kt_below (kt, side + 1);
  rect.y1 = rect.y0 + kt_below (kt, side - rect.y0 + 1);
  rect.x0 = kt_below (kt, 3) ? 0 : kt_below (kt, side);
  return rect;
}

/* size: side, tiles but the whole, whether that is among them, rows before the
 * first list, percent of what they could have */
static Share
share_new (Kt *kt, const int *size)
{
  Share s = { .side = size[0] };
  for (int number = size[2] ? 0 : 1; number <= size[1]; number++) {
    PatchTile *tile = &s.tile[s.t];
    *tile = (PatchTile){ number, random_rect (kt, s.side),
      random_rect (kt, s.side), -7, -7 };
    s.t++;
    if (number > 0)
      s.most += count (&tile->used);
    else
      tile->n = kt_below (kt, count (&tile->used) + 1);
  }
  s.tile[0].first = size[3] - 1;
  s.n = (int) ((long) s.most * size[4] / 100);
  return s;
}

static double
sum_of (const Share *s, const float *score, int i)
{
  const PatchRect *area = &s->tile[i].area;
  double sum = 0;
  for (int j = 0; j < s->side * s->side && s->tile[i].number > 0; j++)
    if (j / s->side >= area->y0 && j / s->side < area->y1 &&
        j % s->side >= area->x0 && j % s->side < area->x1)
      sum += score[j];
  return sum;
}

/* Quotas of those that are open: those that reach their caps leave, until none
 * does; true if one did. */
static bool
fill (const Share *s, const long *weight, bool *open, int *left, long *sum,
    int *share)
{
  int before = *left;
  bool any = false;
  *sum = 0;
  for (int i = 0; i < s->t; i++)
    *sum += open[i] ? weight[i] : 0;
  for (int i = 0; i < s->t; i++) {
    int cap = count (&s->tile[i].used);
    if (!open[i] || *sum == 0 ||
        (__int128) before * weight[i] < (__int128) cap * *sum)
      continue;
    *left -= share[i] = cap;
    open[i] = false;
    any = true;
  }
  return any;
}

static void
share_by (const Share *s, long *weight, int *share)
{
  bool open[MOST_TILES];
  int left = s->n;
  long sum;
  for (int i = 0; i < s->t; i++)
    open[i] = s->tile[i].number > 0 && count (&s->tile[i].used) > 0;
  while (fill (s, weight, open, &left, &sum, share))
    continue;
  for (int i = 0; i < s->t && sum == 0; i++)
    weight[i] = count (&s->tile[i].used);
  while (sum == 0 && fill (s, weight, open, &left, &sum, share))
    continue;
  int n = left;
  for (int i = 0; i < s->t; i++)
    if (open[i])
      left -= share[i] = (int) (n * weight[i] / sum);
  for (; left > 0; left--) {
    int best = -1;
    for (int i = 0; i < s->t; i++)
      if (open[i] && (best < 0 || n * weight[i] % sum > n * weight[best] % sum))
        best = i;
    share[best]++;
    open[best] = false;
  }
}

static void
share_patches (Kt *kt, const int *size)
{
  Share s = share_new (kt, size);
  size_t N = (size_t) s.side * s.side;
  float *score = kt_values (kt, N);
  double sum[MOST_TILES];
  long weight[MOST_TILES];
  int share[MOST_TILES] = { 0 }, start[MOST_TILES + 1] = { 0 };
  bool good = true, numbers = true;
  for (size_t j = 0; j < N && !size[5]; j++)
    score[j] = fabsf (score[j]);
  for (int i = 0; i < s.t; i++) {
    sum[i] = sum_of (&s, score, i);
    good = good && sum[i] >= 0;
    numbers = numbers && !isnan (sum[i]);
  }
  for (int i = 0; i < s.t; i++)
    weight[i] = good ? (long) floor (ldexp (sum[i], 24) + 0.5) : 0;
  KtBuf T = kt_array (kt, s.tile, sizeof *s.tile * s.t),
        X = kt_array (kt, start, sizeof *start * (s.t + 1)),
        W = kt_array (kt, NULL, sizeof *sum * s.t),
        S = kt_array (kt, score, sizeof *score * N);
  kt_work (kt, 4.0 * N, 0);
  KT_EACH (kt, dev, on)
  dev->op->share_patches (
      dev, T.on[on], X.on[on], W.on[on], S.on[on], s.t, s.side, s.n);
  share_by (&s, weight, share);
  for (int i = 0, first = s.tile[0].first; i < s.t; i++) {
    s.tile[i].n = s.tile[i].number > 0 ? share[i] : s.tile[i].n;
    s.tile[i].first = first;
    start[i + 1] = first += s.tile[i].n;
  }
  kt_expect_same (kt, &T, s.tile);
  kt_expect_same (kt, &X, start);
  if (numbers)
    kt_expect_same (kt, &W, sum);
}

const KtCase kt_cases_share[] = {
  { KT_SLOT (share_patches), share_patches, true,
      .sizes = { { 5, 4, 1, 1, 50 }, { 24, 4, 1, 1, 20 }, { 24, 4, 1, 2, 75 },
          { 24, 4, 0, 1, 90 }, { 4, 16, 1, 1, 37 }, { 1, 2, 1, 1, 50 },
          { 7, 1, 1, 1, 33 }, { 24, 9, 1, 1, 0 }, { 12, 6, 1, 2, 100 },
          { 24, 3, 1, 1, 1 }, { 8, 5, 1, 1, 60, 1 }, { 24, 4, 0, 2, 10, 1 } },
      .benches = { { 24, 4, 1, 1, 20 } } },
  { NULL },
};
