/* kernels-norm.c - cases of layer_norm and rms_norm
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/kernels.h"

#include <math.h>

/* Sums of d products in f32: their rounding grows like sqrt(d) eps as a rule,
 * 1e-5 is 80 eps; like d eps where one is large and the rest are lost beside
 * it (the one-hot rows), 1e-8 is a twelfth of an eps. */
#define TOLERANCE(d) fmax (1e-5, (d) *1e-8)

static double *
layer_norm_twin (Kt *kt, const float *x, const float *w, const float *b, int n,
    int d, double eps)
{
  double *y = kt_bytes (kt, sizeof *y * n * d);
  for (int i = 0; i < n; i++, x += d) {
    double mean = 0, variance = 0;
    for (int j = 0; j < d; j++)
      mean += x[j] / (double) d;
    for (int j = 0; j < d; j++)
      variance += (x[j] - mean) * (x[j] - mean) / d;
    for (int j = 0; j < d; j++)
      y[i * d + j] = (x[j] - mean) / sqrt (variance + eps) * w[j] + b[j];
  }
  return y;
}

static double *
rms_norm_twin (Kt *kt, const float *x, const float *w, int n, int d, double eps)
{
  double *y = kt_bytes (kt, sizeof *y * n * d);
  for (int i = 0; i < n; i++, x += d) {
    double squares = 0;
    for (int j = 0; j < d; j++)
      squares += (double) x[j] * x[j] / d;
    for (int j = 0; j < d; j++)
      y[i * d + j] = x[j] / sqrt (squares + eps) * w[j];
  }
  return y;
}

static void
layer_norm (Kt *kt, const int *size)
{
  int n = size[0], d = size[1];
  const float *x = kt_values (kt, (size_t) n * d);
  const float *w = kt_uniform (kt, d, 1), *b = kt_uniform (kt, d, 1);
  KtBuf X = kt_residual (kt, x, (size_t) n * d), W = kt_array (kt, w, 4 * d),
        B = kt_array (kt, b, 4 * d), Y = kt_acts (kt, NULL, (size_t) n * d);
  kt_work (kt, 8.0 * n * d, 8.0 * n * d);
  KT_EACH (kt, dev, on)
  dev->op->layer_norm (
      dev, Y.on[on], X.on[on], W.on[on], B.on[on], n, d, 1e-5f);
  double *want = layer_norm_twin (kt, x, w, b, n, d, 1e-5f);
  kt_expect (kt, &Y, want, n, d, TOLERANCE (d));
}

static void
layer_norm_residual (Kt *kt, const int *size)
{
  int n = size[0], d = size[1];
  const float *x = kt_values (kt, (size_t) n * d);
  const float *w = kt_uniform (kt, d, 1), *b = kt_uniform (kt, d, 1);
  KtBuf X = kt_residual (kt, x, (size_t) n * d), W = kt_array (kt, w, 4 * d),
        B = kt_array (kt, b, 4 * d);
  kt_work (kt, 8.0 * n * d, 8.0 * n * d);
  KT_EACH (kt, dev, on)
  dev->op->layer_norm_residual (dev, X.on[on], W.on[on], B.on[on], n, d, 1e-5f);
  kt_expect (
      kt, &X, layer_norm_twin (kt, x, w, b, n, d, 1e-5f), n, d, TOLERANCE (d));
}

static void
rms_norm (Kt *kt, const int *size)
{
  int n = size[0], d = size[1];
  const float *x = kt_values (kt, (size_t) n * d), *w = kt_uniform (kt, d, 1);
  KtBuf X = kt_residual (kt, x, (size_t) n * d), W = kt_array (kt, w, 4 * d),
        Y = kt_acts (kt, NULL, (size_t) n * d);
  kt_work (kt, 8.0 * n * d, 4.0 * n * d);
  KT_EACH (kt, dev, on)
  dev->op->rms_norm (dev, Y.on[on], X.on[on], W.on[on], n, d, 1e-6f);
  double *want = rms_norm_twin (kt, x, w, n, d, 1e-6f);
  kt_expect (kt, &Y, want, n, d, TOLERANCE (d));
}

static void
rms_norm_residual (Kt *kt, const int *size)
{
  int n = size[0], d = size[1];
  const float *x = kt_values (kt, (size_t) n * d), *w = kt_uniform (kt, d, 1);
  KtBuf X = kt_residual (kt, x, (size_t) n * d), W = kt_array (kt, w, 4 * d);
  kt_work (kt, 8.0 * n * d, 4.0 * n * d);
  KT_EACH (kt, dev, on)
  dev->op->rms_norm_residual (dev, X.on[on], W.on[on], n, d, 1e-6f);
  kt_expect (
      kt, &X, rms_norm_twin (kt, x, w, n, d, 1e-6f), n, d, TOLERANCE (d));
}

#define SIZES                                                                  \
  {                                                                            \
    { 1, 1 }, { 1, 64 }, { 3, 7 }, { 5, 577 }, { 1, 12288 }, { 2, 8201 },      \
        { 1, 33000 },                                                          \
    {                                                                          \
      33, 1024                                                                 \
    }                                                                          \
  }
#define BENCHES                                                                \
  {                                                                            \
    { 1, 4096 }, { 577, 1024 },                                                \
    {                                                                          \
      600, 4096                                                                \
    }                                                                          \
  }

const KtCase kt_cases_norm[] = {
  { KT_SLOT (layer_norm), layer_norm, true, SIZES, BENCHES },
  { KT_SLOT (layer_norm_residual), layer_norm_residual, true, SIZES, BENCHES },
  { KT_SLOT (rms_norm), rms_norm, true, SIZES, BENCHES },
  { KT_SLOT (rms_norm_residual), rms_norm_residual, true, SIZES, BENCHES },
  { NULL },
};
