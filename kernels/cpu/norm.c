/* norm.c - layer_norm and rms_norm, plain C
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cpu/cpu.h"

#include <math.h>

static void
layer_norm (Device *dev, Act *y, const Act *x, const float *w, const float *b,
    int n, int d, float eps)
{
#pragma omp parallel for num_threads(dev->n_threads)
  for (int i = 0; i < n; i++) {
    const float *in = (const float *) x + (size_t) i * d;
    float *out = (float *) y + (size_t) i * d;
    float mean = 0, variance = 0;
    for (int j = 0; j < d; j++)
      mean += in[j];
    mean /= d;
    for (int j = 0; j < d; j++)
      variance += (in[j] - mean) * (in[j] - mean);
    float scale = 1.0f / sqrtf (variance / d + eps);
    for (int j = 0; j < d; j++)
      out[j] = (in[j] - mean) * scale * w[j] + b[j];
  }
}

static void
rms_norm (
    Device *dev, Act *y, const Act *x, const float *w, int n, int d, float eps)
{
#pragma omp parallel for num_threads(dev->n_threads)
  for (int i = 0; i < n; i++) {
    const float *in = (const float *) x + (size_t) i * d;
    float *out = (float *) y + (size_t) i * d;
    float squares = 0;
    for (int j = 0; j < d; j++)
      squares += in[j] * in[j];
    float scale = 1.0f / sqrtf (squares / d + eps);
    for (int j = 0; j < d; j++)
      out[j] = in[j] * scale * w[j];
  }
}

void
cpu_init_norm (Ops *op)
{
  op->layer_norm = layer_norm;
  op->rms_norm = rms_norm;
}
