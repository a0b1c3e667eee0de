/* merge.c - weighted sums of rows, and what rows are compared by, plain C
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/near.h"

#include <math.h>
#include <string.h>

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
  for (int i = from; i < to; i++) {
    float *y = m->y + (size_t) i * m->d;
    memset (y, 0, m->d * sizeof *y);
    for (int e = m->start[i]; e < m->start[i + 1]; e++)
      for (int j = 0; j < m->d; j++)
        y[j] += m->weight[e] * m->x[(size_t) m->rows[e] * m->d + j];
  }
}

static void
merge_rows (Device *dev, Act *y, const Residual *x, const int *start,
    const int *rows, const float *weight, int n, int d)
{
  Merge m = { y, x, weight, start, rows, d };
  cpu_run (dev, (size_t) start[n] * d, n, 16, merge_some, &m);
}

static void
mean_heads (Device *dev, float *y, const Act *x, int n, int h, int c)
{
  for (int i = 0; i < n; i++)
    for (int j = 0; j < c; j++) {
      float sum = 0;
      for (int head = 0; head < h; head++)
        sum += ((const float *) x)[((size_t) i * h + head) * c + j];
      y[(size_t) i * c + j] = sum / h;
    }
}

static float
dot (const float *a, const float *b, int n)
{
  float sum = 0;
  for (int i = 0; i < n; i++)
    sum += a[i] * b[i];
  return sum;
}

typedef struct Cosines {
  float *y;
  const float *x, *scale;
  int n, d;
} Cosines;

/* Rows from .. to-1 against themselves and all after them. */
static void
cosine_rows (void *data, int from, int to, int thread)
{
  const Cosines *c = data;
  for (int i = from; i < to; i++)
    for (int j = i; j < c->n; j++) {
      float product =
          dot (c->x + (size_t) i * c->d, c->x + (size_t) j * c->d, c->d);
      c->y[(size_t) i * c->n + j] = c->y[(size_t) j * c->n + i] =
          product * c->scale[i] * c->scale[j];
    }
}

static void
cosines (Device *dev, float *y, const Act *x, int n, int d)
{
  float *scale = cpu_scratch (dev, sizeof *scale * n);
  if (!scale)
    return;
  const float *row = x;
  for (int i = 0; i < n; i++) {
    float norm = sqrtf (dot (row + (size_t) i * d, row + (size_t) i * d, d));
    scale[i] = norm == 0 ? 0 : 1 / norm;
  }
  Cosines c = { y, x, scale, n, d };
  cpu_run (dev, (size_t) n * n * d / 2, n, 8, cosine_rows, &c);
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
  Near c = { y, x, side, d };
  cpu_run (dev, (size_t) t * side * side * d * 12, t * side, 1, near_rows, &c);
}

void
cpu_init_merge (Ops *op)
{
  op->merge_rows = merge_rows;
  op->mean_heads = mean_heads;
  op->cosines = cosines;
  op->near_cosines = near_cosines;
}
