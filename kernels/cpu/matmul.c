/* matmul.c - weight matrices and their products, plain C
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Weights stay where and as they are if their type is the wanted one.
 */
#include "kernels/cpu/cpu.h"

#include "kernels/cpu/convert.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t
mat_bytes (Device *dev, DataType want, DataType src_type, int rows, int cols)
{
  size_t bias = rows * sizeof (float);
  if (want == src_type)
    return bias;
  return bias + data_type_bytes (want) * rows * cols;
}

static void
mat_clear (Device *dev, Mat *w)
{
  if (w->owns_data)
    device_free (dev, (void *) w->data);
  device_free (dev, w->bias);
  memset (w, 0, sizeof *w);
}

static void *
convert (Device *dev, DataType want, const void *src, DataType src_type,
    size_t count)
{
  void *data = device_alloc (dev, count * data_type_bytes (want));
  if (data)
    for (size_t i = 0; i < count; i++)
      f32_to_type (data, want, i, f32_of_type (src, src_type, i));
  return data;
}

static void
mat_init (Device *dev, Mat *w, DataType want, const void *src,
    DataType src_type, int rows, int cols, const float *bias)
{
  *w = (Mat){ .type = want, .rows = rows, .cols = cols, .data = src };
  if (want != src_type) {
    w->data = convert (dev, want, src, src_type, (size_t) rows * cols);
    w->owns_data = 1;
  }
  if (bias && (w->bias = device_alloc (dev, rows * sizeof (float))))
    memcpy (w->bias, bias, rows * sizeof (float));
  if (!w->data || (bias && !w->bias))
    mat_clear (dev, w);
}

static float
apply (Epilogue epilogue, float y, float p)
{
  switch (epilogue) {
  case EPILOGUE_ADD:
    return y + p;
  case EPILOGUE_GELU:
    return p * 0.5f * (1.0f + erff (p * 0.70710678f));
  case EPILOGUE_QUICK_GELU:
    return p / (1.0f + expf (-1.702f * p));
  default:
    return p;
  }
}

static float
dot_row (const Mat *w, int row, const float *x)
{
  float sum = 0;
  size_t start = (size_t) row * w->cols;
  for (int j = 0; j < w->cols; j++)
    sum += f32_of_type (w->data, w->type, start + j) * x[j];
  return sum;
}

typedef struct Product {
  float *y;
  const float *x;
  const Mat *w;
  int n;
  Epilogue epilogue;
} Product;

static void
matmul_rows (void *data, int from, int to, int thread)
{
  const Product *product = data;
  const Mat *w = product->w;
  Epilogue epilogue = product->epilogue;
  for (int row = from; row < to; row++)
    for (int i = 0; i < product->n; i++) {
      float *out = product->y + (size_t) i * w->rows + row;
      float p = dot_row (w, row, product->x + (size_t) i * w->cols);
      if (w->bias)
        p += w->bias[row];
      *out = apply (epilogue, epilogue == EPILOGUE_ADD ? *out : 0, p);
    }
}

static void
matmul (
    Device *dev, void *y, const Act *x, const Mat *w, int n, Epilogue epilogue)
{
  Product product = { y, x, w, n, epilogue };
  assert (w->data);
  cpu_run (
      dev, (size_t) n * w->rows * w->cols, w->rows, 0, matmul_rows, &product);
}

static void
logits (Device *dev, float *y, const Residual *x, const Mat *w, int n)
{
  matmul (dev, y, x, w, n, EPILOGUE_SET);
}

static void
embed (Device *dev, Residual *y, const Mat *table, const int *ids, int n)
{
  int d = table->cols;
  for (int i = 0; i < n; i++)
    for (int j = 0; j < d; j++)
      y[(size_t) i * d + j] =
          f32_of_type (table->data, table->type, (size_t) ids[i] * d + j);
}

void
cpu_init_matmul (Ops *op)
{
  op->mat_init = mat_init;
  op->mat_clear = mat_clear;
  op->mat_bytes = mat_bytes;
  op->matmul = matmul;
  op->logits = logits;
  op->embed = embed;
}
