/* elementwise.c - rows moved, vectors added, swiglu, plain C
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cpu/cpu.h"

#include <math.h>
#include <string.h>

static void
copy_row (Act *y, size_t to, const Act *x, size_t from, int d)
{
  memcpy (
      (float *) y + to * d, (const float *) x + from * d, d * sizeof (float));
}

static void
gather_rows (Device *dev, Act *y, const Act *x, const int *rows, int n, int d)
{
  for (int i = 0; i < n; i++)
    copy_row (y, i, x, rows[i], d);
}

static void
scatter_rows (Device *dev, Act *y, const Act *x, const int *rows, int n, int d)
{
  for (int i = 0; i < n; i++)
    copy_row (y, rows[i], x, i, d);
}

static void
fill_rows (Device *dev, Act *y, const float *x, const int *rows, int n, int d)
{
  for (int i = 0; i < n; i++)
    copy_row (y, rows[i], x, 0, d);
}

static void
copy_columns (
    Device *dev, Act *y, const Act *x, int n, int d, int stride, int at)
{
  for (int i = 0; i < n; i++)
    memcpy ((float *) y + (size_t) i * stride + at,
        (const float *) x + (size_t) i * d, d * sizeof (float));
}

static void
swiglu (Device *dev, Act *gate, const Act *up, size_t count)
{
  float *g = gate;
  const float *u = up;
#pragma omp parallel for num_threads(dev->n_threads)
  for (size_t i = 0; i < count; i++)
    g[i] = g[i] / (1.0f + expf (-g[i])) * u[i];
}

static void
embed_patches (Device *dev, Act *x, const Act *patch, const float *cls,
    const float *pos, int t, int N, int d)
{
  size_t count = (size_t) t * N * d;
#pragma omp parallel for num_threads(dev->n_threads) if (count > CPU_SMALL)
  for (int row = 0; row < t * (N + 1); row++) {
    int tile = row / (N + 1), j = row % (N + 1);
    const float *token = cls;
    if (j > 0)
      token = (const float *) patch + ((size_t) tile * N + j - 1) * d;
    for (int i = 0; i < d; i++)
      ((float *) x)[(size_t) row * d + i] = token[i] + pos[(size_t) j * d + i];
  }
}

void
cpu_init_elementwise (Ops *op)
{
  op->gather_rows = gather_rows;
  op->scatter_rows = scatter_rows;
  op->fill_rows = fill_rows;
  op->copy_columns = copy_columns;
  op->swiglu = swiglu;
  op->embed_patches = embed_patches;
}
