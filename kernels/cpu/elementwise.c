/* elementwise.c - rows moved, vectors added, swiglu, plain C
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cpu/cpu.h"

#include <math.h>
#include <string.h>

static void
gather_rows (
    Device *dev, void *y, const void *x, const int *rows, int n, size_t bytes)
{
  for (int i = 0; i < n; i++)
    memcpy ((char *) y + i * bytes, (const char *) x + rows[i] * bytes, bytes);
}

static void
scatter_rows (
    Device *dev, void *y, const void *x, const int *rows, int n, size_t bytes)
{
  for (int i = 0; i < n; i++)
    memcpy ((char *) y + rows[i] * bytes, (const char *) x + i * bytes, bytes);
}

static void
fill_rows (
    Device *dev, void *y, const void *x, const int *rows, int n, size_t bytes)
{
  for (int i = 0; i < n; i++)
    memcpy ((char *) y + rows[i] * bytes, x, bytes);
}

static void
copy_columns (Device *dev, void *y, const void *x, int n, size_t bytes,
    size_t stride, size_t at)
{
  for (int i = 0; i < n; i++)
    memcpy ((char *) y + i * stride + at, (const char *) x + i * bytes, bytes);
}

static void
replace_rows (
    Device *dev, int *changed, void *y, const void *x, int n, size_t bytes)
{
  for (int i = 0; i < n; i++) {
    char *to = (char *) y + i * bytes;
    const char *from = (const char *) x + i * bytes;
    changed[i] = memcmp (to, from, bytes) != 0;
    if (changed[i])
      memcpy (to, from, bytes);
  }
}

/* Activations are f32 here. */
static void
narrow_rows (
    Device *dev, Act *y, const Residual *x, const int *rows, int n, int d)
{
  for (int i = 0; i < n; i++)
    memcpy ((float *) y + (size_t) i * d, x + (size_t) (rows ? rows[i] : i) * d,
        d * sizeof *x);
}

#define RUN 4096 /* values a thread takes at a time */

typedef struct Swiglu {
  float *y;
  const float *gate, *up;
  size_t count;
} Swiglu;

static void
swiglu_runs (void *data, int from, int to, int thread)
{
  const Swiglu *s = data;
  const float *g = s->gate;
  size_t end = (size_t) to * RUN < s->count ? (size_t) to * RUN : s->count;
  for (size_t i = (size_t) from * RUN; i < end; i++)
    s->y[i] = g[i] / (1.0f + expf (-g[i])) * s->up[i];
}

static void
swiglu (Device *dev, Act *y, const float *gate, const float *up, size_t count)
{
  Swiglu s = { y, gate, up, count };
  cpu_run (dev, count * CPU_VALUE, (int) ((count + RUN - 1) / RUN), 0,
      swiglu_runs, &s);
}

static void
matmul_several (
    Device *dev, const MatProduct *products, int count, const Act *x, int n)
{
  for (int i = 0; i < count; i++)
    dev->op->matmul (
        dev, products[i].y, x, products[i].w, n, products[i].epilogue);
}

static void
gated (Device *dev, Act *y, const Act *x, const Mat *gate, const Mat *up, int n,
    float *work)
{
  size_t count = (size_t) n * gate->rows;
  dev->op->matmul (dev, work, x, gate, n, EPILOGUE_WIDE);
  dev->op->matmul (dev, work + count, x, up, n, EPILOGUE_WIDE);
  dev->op->swiglu (dev, y, work, work + count, count);
}

typedef struct Embedding {
  float *x;
  const float *patch, *cls, *pos;
  int N, d;
} Embedding;

static void
embed_patches_rows (void *data, int from, int to, int thread)
{
  const Embedding *e = data;
  int N = e->N, d = e->d;
  for (int row = from; row < to; row++) {
    int tile = row / (N + 1), j = row % (N + 1);
    const float *token = e->cls;
    if (j > 0)
      token = e->patch + ((size_t) tile * N + j - 1) * d;
    for (int i = 0; i < d; i++)
      e->x[(size_t) row * d + i] = token[i] + e->pos[(size_t) j * d + i];
  }
}

static void
embed_patches (Device *dev, Residual *x, const float *patch, const float *cls,
    const float *pos, int t, int N, int d)
{
  Embedding e = { x, patch, cls, pos, N, d };
  cpu_run (dev, (size_t) t * N * d * CPU_VALUE, t * (N + 1), 0,
      embed_patches_rows, &e);
}

void
cpu_init_elementwise (Ops *op)
{
  op->gather_rows = gather_rows;
  op->scatter_rows = scatter_rows;
  op->fill_rows = fill_rows;
  op->copy_columns = copy_columns;
  op->replace_rows = replace_rows;
  op->narrow_rows = narrow_rows;
  op->swiglu = swiglu;
  op->matmul_several = matmul_several;
  op->gated = gated;
  op->embed_patches = embed_patches;
}
