/* kernels-merge.c - cases of the ops that merge rows and compare them
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/kernels.h"

#include <math.h>
#include <string.h>

/* Rows of none, one and several entries; returns all of them. */
static int
make_starts (Kt *kt, int *start, int n, int per_row)
{
  start[0] = 0;
  for (int i = 0; i < n; i++)
    start[i + 1] =
        start[i] + (kt_timing (kt) ? per_row : kt_below (kt, per_row + 1));
  return start[n];
}

static void
merge_rows (Kt *kt, const int *size)
{
  int n = size[0], d = size[1], n_x = size[2];
  int *start = kt_bytes (kt, sizeof *start * (n + 1));
  int n_entries = make_starts (kt, start, n, size[3]);
  int *rows = kt_bytes (kt, sizeof *rows * (n_entries + 1));
  const float *x = kt_values (kt, (size_t) n_x * d);
  const float *weight = kt_uniform (kt, n_entries + 1, 1);
  double *want = kt_bytes (kt, sizeof *want * n * d);
  for (int e = 0; e < n_entries; e++)
    rows[e] = kt_below (kt, n_x);
  for (int i = 0; i < n && !kt_timing (kt); i++)
    for (int e = start[i]; e < start[i + 1]; e++)
      for (int j = 0; j < d; j++)
        want[i * d + j] += (double) weight[e] * x[rows[e] * d + j];
  KtBuf X = kt_residual (kt, x, (size_t) n_x * d),
        S = kt_array (kt, start, sizeof *start * (n + 1)),
        R = kt_array (kt, rows, sizeof *rows * (n_entries + 1)),
        W = kt_array (kt, weight, sizeof *weight * (n_entries + 1)),
        Y = kt_acts (kt, NULL, (size_t) n * d);
  kt_work (kt, 4.0 * d * (n + n_entries), 2.0 * n_entries * d);
  KT_EACH (kt, dev, on)
  dev->op->merge_rows (
      dev, Y.on[on], X.on[on], S.on[on], R.on[on], W.on[on], n, d);
  /* terms of both signs lose what their sum has less than they */
  kt_expect (kt, &Y, want, 1, n * d, 1e-5);
}

static void
mean_heads (Kt *kt, const int *size)
{
  int n = size[0], h = size[1], c = size[2];
  size_t count = (size_t) n * h * c;
  const float *x = kt_values (kt, count);
  double *want = kt_bytes (kt, sizeof *want * n * c);
  for (size_t i = 0; i < count; i++)
    want[i / (h * c) * c + i % c] += (double) x[i] / h;
  KtBuf X = kt_acts (kt, x, count),
        Y = kt_array (kt, NULL, sizeof (float) * n * c);
  kt_work (kt, 4.0 * count, 1.0 * count);
  KT_EACH (kt, dev, on)
  dev->op->mean_heads (dev, Y.on[on], X.on[on], n, h, c);
  kt_expect (kt, &Y, want, 1, n * c, 1e-5);
}

static double
product (const float *a, const float *b, int d)
{
  double sum = 0;
  for (int i = 0; i < d; i++)
    sum += (double) a[i] * b[i];
  return sum;
}

static void
cosines (Kt *kt, const int *size)
{
  int n = size[0], d = size[1];
  const float *x = kt_values (kt, (size_t) n * d);
  double *want = kt_bytes (kt, sizeof *want * n * n);
  for (int i = 0; i < n && !kt_timing (kt); i++)
    for (int j = 0; j < n; j++) {
      const float *a = x + (size_t) i * d, *b = x + (size_t) j * d;
      double norms = sqrt (product (a, a, d)) * sqrt (product (b, b, d));
      want[i * n + j] = norms == 0 ? 0 : product (a, b, d) / norms;
    }
  KtBuf X = kt_acts (kt, x, (size_t) n * d),
        Y = kt_array (kt, NULL, sizeof (float) * n * n);
  kt_work (kt, 4.0 * n * (d + n), 1.0 * n * n * d);
  KT_EACH (kt, dev, on)
  dev->op->cosines (dev, Y.on[on], X.on[on], n, d);
  kt_expect (kt, &Y, want, n, n, 1e-5);
}

/* Patches of t tiles by their neighbours, by the words of ops.h. */
static void
near_cosines (Kt *kt, const int *size)
{
  static const int right[] = { 1, -1, 0, 1 }, below[] = { 0, 1, 1, 1 };
  int t = size[0], side = size[1], d = size[2], N = side * side;
  float *x = kt_values (kt, (size_t) t * (N + 1) * d);
  double *want = kt_bytes (kt, sizeof *want * t * N * 4);
  memset (x + d, 0, sizeof *x * d); /* a row of zeros */
  for (int i = 0; i < t * N * 4 && !kt_timing (kt); i++) {
    int tile = i / (4 * N), j = i / 4 % N;
    int column = j % side + right[i % 4], row = j / side + below[i % 4];
    want[i] = 0;
    if (column < 0 || column >= side || row >= side)
      continue;
    const float *tile_x = x + (size_t) (tile * (N + 1) + 1) * d;
    const float *a = tile_x + j * d, *b = tile_x + (row * side + column) * d;
    double norms = sqrt (product (a, a, d)) * sqrt (product (b, b, d));
    want[i] = norms == 0 ? 0 : product (a, b, d) / norms;
  }
  KtBuf X = kt_acts (kt, x, (size_t) t * (N + 1) * d),
        Y = kt_array (kt, NULL, sizeof (float) * t * N * 4);
  kt_work (kt, 4.0 * t * N * (d + 4), 18.0 * t * N * d);
  KT_EACH (kt, dev, on)
  dev->op->near_cosines (dev, Y.on[on], X.on[on], t, side, d);
  kt_expect (kt, &Y, want, t * N, 4, 1e-5);
}

const KtCase kt_cases_merge[] = {
  { KT_SLOT (merge_rows), merge_rows, true,
      .sizes = { { 1, 1, 1, 1 }, { 3, 7, 5, 4 }, { 5, 577, 40, 33 },
          { 130, 64, 300, 40 } },
      .benches = { { 600, 1024, 2885, 33 } } },
  { KT_SLOT (mean_heads), mean_heads, true,
      .sizes = { { 1, 1, 1 }, { 3, 2, 7 }, { 17, 16, 64 } },
      .benches = { { 576, 16, 64 } } },
  { KT_SLOT (cosines), cosines, true,
      .sizes = { { 1, 1 }, { 3, 7 }, { 17, 64 }, { 65, 33 }, { 36, 130 } },
      .benches = { { 576, 1024 }, { 64, 128 } } },
  { KT_SLOT (near_cosines), near_cosines, true,
      .sizes = { { 1, 1, 3 }, { 2, 2, 7 }, { 3, 5, 64 }, { 1, 24, 33 } },
      .benches = { { 5, 24, 1024 } } },
  { NULL },
};
