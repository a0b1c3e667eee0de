/* norm-simd.c - layer_norm and rms_norm, once per vector level
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cpu/simd.h"

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/variants.h"

#include <math.h>

/* Sum over (x[j] - mean)^2, or over x[j] - mean. */
SIMD_INLINE float
sum_row (const float *x, int d, float mean, bool squares)
{
  vf sum[4] = { vf_set1 (0), vf_set1 (0), vf_set1 (0), vf_set1 (0) };
  int j = 0;
  for (; j + 4 * SIMD_LANES <= d; j += 4 * SIMD_LANES)
    for (int u = 0; u < 4; u++) {
      vf a = vf_sub (vf_load (x + j + u * SIMD_LANES), vf_set1 (mean));
      sum[u] = squares ? vf_fma (a, a, sum[u]) : vf_add (a, sum[u]);
    }
  float total =
      vf_sum (vf_add (vf_add (sum[0], sum[1]), vf_add (sum[2], sum[3])));
  for (; j < d; j++)
    total += squares ? (x[j] - mean) * (x[j] - mean) : x[j] - mean;
  return total;
}

/* y = (x - mean) * scale * w + b; b may be NULL. */
SIMD_INLINE void
apply_row (float *y, const float *x, const float *w, const float *b, int d,
    float mean, float scale)
{
  int j = 0;
  for (; j + SIMD_LANES <= d; j += SIMD_LANES) {
    vf a = vf_sub (vf_load (x + j), vf_set1 (mean));
    a = vf_mul (vf_mul (a, vf_set1 (scale)), vf_load (w + j));
    vf_store (y + j, b ? vf_add (a, vf_load (b + j)) : a);
  }
  for (; j < d; j++)
    y[j] = (x[j] - mean) * scale * w[j] + (b ? b[j] : 0);
}

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
  int d = norm->d;
  for (int i = from; i < to; i++) {
    const float *in = norm->x + (size_t) i * d;
    float mean = sum_row (in, d, 0, false) / d;
    float variance = sum_row (in, d, mean, true) / d;
    apply_row (norm->y + (size_t) i * d, in, norm->w, norm->b, d, mean,
        1.0f / sqrtf (variance + norm->eps));
  }
}

static void
layer_norm (Device *dev, Act *y, const Residual *x, const float *w,
    const float *b, int n, int d, float eps)
{
  Norm norm = { y, x, w, b, d, eps };
  cpu_run (dev, (size_t) n * d * CPU_VALUE, n, 0, layer_norm_rows, &norm);
}

static void
rms_norm_rows (void *data, int from, int to, int thread)
{
  const Norm *norm = data;
  int d = norm->d;
  for (int i = from; i < to; i++) {
    const float *in = norm->x + (size_t) i * d;
    float squares = sum_row (in, d, 0, true) / d;
    apply_row (norm->y + (size_t) i * d, in, norm->w, NULL, d, 0,
        1.0f / sqrtf (squares + norm->eps));
  }
}

static void
rms_norm (Device *dev, Act *y, const Residual *x, const float *w, int n, int d,
    float eps)
{
  Norm norm = { y, x, w, NULL, d, eps };
  cpu_run (dev, (size_t) n * d * CPU_VALUE, n, 0, rms_norm_rows, &norm);
}

void
SIMD_NAME (cpu_init_norm) (Ops *op)
{
  op->layer_norm = layer_norm;
  op->rms_norm = rms_norm;
}
