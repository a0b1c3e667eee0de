/* norm.c - layer_norm and rms_norm, plain C
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cpu/cpu.h"

#include <math.h>

typedef struct Norm {
  float *y;
  const float *x, *w, *b;
  int d;
  float eps;
} Norm;

static void
layer_norm_rows (void *data, int from, int to, int thread)
{
  const Norm *norm = data;
  const float *w = norm->w, *b = norm->b;
  int d = norm->d;
  for (int i = from; i < to; i++) {
    const float *in = norm->x + (size_t) i * d;
    float *out = norm->y + (size_t) i * d;
    float mean = 0, variance = 0;
    for (int j = 0; j < d; j++)
      mean += in[j];
    mean /= d;
    for (int j = 0; j < d; j++)
      variance += (in[j] - mean) * (in[j] - mean);
    float scale = 1.0f / sqrtf (variance / d + norm->eps);
    for (int j = 0; j < d; j++)
      out[j] = (in[j] - mean) * scale * w[j] + b[j];
  }
}

static void
layer_norm (Device *dev, Act *y, const Residual *x, const float *w,
    const float *b, int n, int d, float eps)
{
  Norm norm = { y, x, w, b, d, eps };
  cpu_run (dev, (size_t) n * d * CPU_VALUE, n, 0, layer_norm_rows, &norm);
}

/* At whatever level the norm is: here y may be x. */
static void
layer_norm_residual (Device *dev, Residual *x, const float *w, const float *b,
    int n, int d, float eps)
{
  dev->op->layer_norm (dev, x, x, w, b, n, d, eps);
}

static void
rms_norm_rows (void *data, int from, int to, int thread)
{
  const Norm *norm = data;
  int d = norm->d;
  for (int i = from; i < to; i++) {
    const float *in = norm->x + (size_t) i * d;
    float *out = norm->y + (size_t) i * d;
    float squares = 0;
    for (int j = 0; j < d; j++)
      squares += in[j] * in[j];
    float scale = 1.0f / sqrtf (squares / d + norm->eps);
    for (int j = 0; j < d; j++)
      out[j] = in[j] * scale * norm->w[j];
  }
}

static void
rms_norm (Device *dev, Act *y, const Residual *x, const float *w, int n, int d,
    float eps)
{
  Norm norm = { y, x, w, NULL, d, eps };
  cpu_run (dev, (size_t) n * d * CPU_VALUE, n, 0, rms_norm_rows, &norm);
}

static void
rms_norm_residual (
    Device *dev, Residual *x, const float *w, int n, int d, float eps)
{
  dev->op->rms_norm (dev, x, x, w, n, d, eps);
}

void
cpu_init_norm (Ops *op)
{
  op->layer_norm = layer_norm;
  op->layer_norm_residual = layer_norm_residual;
  op->rms_norm = rms_norm;
  op->rms_norm_residual = rms_norm_residual;
}
