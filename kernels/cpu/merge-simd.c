/* merge-simd.c - sums and cosines of rows, once per vector level
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cpu/simd.h"

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/near.h"
#include "kernels/cpu/variants.h"

#include <math.h>

/* ---- merge_rows ---- */

#define COLUMNS 4 /* registers of one pass over the entries of a row */

/* Columns at .. at + n - 1 of one row, n at most COLUMNS * SIMD_LANES. */
SIMD_INLINE void
merge_columns (float *y, const float *x, const int *rows, const float *weight,
    int n_entries, int d, int n)
{
  vf sum[COLUMNS];
  for (int u = 0; u < COLUMNS; u++)
    sum[u] = vf_set1 (0);
  for (int e = 0; e < n_entries; e++) {
    const float *from = x + (size_t) rows[e] * d;
    for (int u = 0; u < COLUMNS && u * SIMD_LANES < n; u++)
      sum[u] = vf_fma (vf_set1 (weight[e]),
          vf_load_n (from + u * SIMD_LANES, n - u * SIMD_LANES), sum[u]);
  }
  for (int u = 0; u < COLUMNS && u * SIMD_LANES < n; u++)
    vf_store_n (y + u * SIMD_LANES, n - u * SIMD_LANES, sum[u]);
}

typedef struct Merge {
  float *y;
  const float *x, *weight;
  const int *start, *rows;
  int d;
} Merge;

static void
merge_some (void *data, int from, int to, int thread)
{
  const Merge *m = data;
  const int run = COLUMNS * SIMD_LANES;
  for (int i = from; i < to; i++) {
    int first = m->start[i], n = m->start[i + 1] - first;
    for (int at = 0; at < m->d; at += run)
      merge_columns (m->y + (size_t) i * m->d + at, m->x + at, m->rows + first,
          m->weight + first, n, m->d, m->d - at < run ? m->d - at : run);
  }
}

static void
merge_rows (Device *dev, Act *y, const Residual *x, const int *start,
    const int *rows, const float *weight, int n, int d)
{
  Merge m = { (float *) y, x, weight, start, rows, d };
  cpu_run (dev, (size_t) start[n] * d, n, 16, merge_some, &m);
}

/* ---- cosines ---- */

#define BLOCK 4 /* rows against rows: 16 sums from 8 loads */

/* product[a][b] = x[a] . y[b], d wide. */
static void
multiply_block (float product[BLOCK][BLOCK], const float *const *x,
    const float *const *y, int d)
{
  vf sum[BLOCK][BLOCK];
  for (int a = 0; a < BLOCK; a++)
    for (int b = 0; b < BLOCK; b++)
      sum[a][b] = vf_set1 (0);
  for (int j = 0; j < d; j += SIMD_LANES) {
    vf right[BLOCK];
    for (int b = 0; b < BLOCK; b++)
      right[b] = vf_load_n (y[b] + j, d - j);
    for (int a = 0; a < BLOCK; a++) {
      vf left = vf_load_n (x[a] + j, d - j);
      for (int b = 0; b < BLOCK; b++)
        sum[a][b] = vf_fma (left, right[b], sum[a][b]);
    }
  }
  for (int a = 0; a < BLOCK; a++)
    for (int b = 0; b < BLOCK; b++)
      product[a][b] = vf_sum (sum[a][b]);
}

/* BLOCK rows from `first` on; past the last one the last again. */
static void
block_rows (const float *row[BLOCK], const float *x, int first, int n, int d)
{
  for (int a = 0; a < BLOCK; a++)
    row[a] = x + (size_t) (first + a < n ? first + a : n - 1) * d;
}

static void
fill_block (float *y, const float product[BLOCK][BLOCK], const float *scale,
    int i, int j, int n)
{
  for (int a = 0; a < BLOCK && i + a < n; a++)
    for (int b = 0; b < BLOCK && j + b < n; b++)
      if (j + b >= i + a)
        y[(size_t) (i + a) * n + j + b] = y[(size_t) (j + b) * n + i + a] =
            product[a][b] * scale[i + a] * scale[j + b];
}

static float
dot (const float *a, const float *b, int n)
{
  vf sum = vf_set1 (0);
  for (int j = 0; j < n; j += SIMD_LANES)
    sum = vf_fma (vf_load_n (a + j, n - j), vf_load_n (b + j, n - j), sum);
  return vf_sum (sum);
}

static void
inverse_norms (float *scale, const float *x, int n, int d)
{
  for (int i = 0; i < n; i++) {
    const float *row = x + (size_t) i * d;
    float norm = sqrtf (dot (row, row, d));
    scale[i] = norm == 0 ? 0 : 1 / norm;
  }
}

typedef struct Cosines {
  float *y;
  const float *x, *scale;
  int n, d;
} Cosines;

/* Blocks of rows from .. to-1 against themselves and all after them. */
static void
cosine_blocks (void *data, int from, int to, int thread)
{
  const Cosines *c = data;
  for (int i = from * BLOCK; i < to * BLOCK && i < c->n; i += BLOCK) {
    const float *left[BLOCK], *right[BLOCK];
    block_rows (left, (const Act *) c->x, i, c->n, c->d);
    for (int j = i; j < c->n; j += BLOCK) {
      float product[BLOCK][BLOCK];
      block_rows (right, (const Act *) c->x, j, c->n, c->d);
      multiply_block (product, left, right, c->d);
      fill_block (c->y, (const float (*)[BLOCK]) product, c->scale, i, j, c->n);
    }
  }
}

static void
cosines (Device *dev, float *y, const Act *x, int n, int d)
{
  float *scale = cpu_scratch (dev, sizeof *scale * n);
  if (!scale)
    return;
  inverse_norms (scale, x, n, d);
  Cosines c = { y, (const float *) x, scale, n, d };
  cpu_run (dev, (size_t) n * n * d / 2, (n + BLOCK - 1) / BLOCK, 1,
      cosine_blocks, &c);
}

/* ---- near_cosines ---- */

/* Rows of patches from .. to-1. */
static void
near_rows (void *data, int from, int to, int thread)
{
  for (int row = from; row < to; row++)
    near_row (data, row, dot);
}

static void
near_cosines (Device *dev, float *y, const Act *x, int t, int side, int d)
{
  Near c = { y, (const float *) x, side, d };
  cpu_run (dev, (size_t) t * side * side * d * 12, t * side, 1, near_rows, &c);
}

void
SIMD_NAME (cpu_init_merge) (Ops *op)
{
  op->merge_rows = merge_rows;
  op->cosines = cosines;
  op->near_cosines = near_cosines;
}
