/* kernels-rope.c - cases of rope_table and rope
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/kernels.h"

#include <math.h>

static float *
frequencies (Kt *kt, int c)
{
  float *f = kt_bytes (kt, sizeof *f * c);
  for (int j = 0; j < c / 2; j++)
    f[j] = (float) pow (10000, -2.0 * j / c);
  return f;
}

static void
rope_table (Kt *kt, const int *size)
{
  int n = size[0], c = size[1];
  const float *f = frequencies (kt, c);
  int *pos = kt_bytes (kt, sizeof *pos * n);
  double *want = kt_bytes (kt, sizeof *want * n * c);
  for (int i = 0; i < n; i++) {
    pos[i] = i ? kt_below (kt, 32768) : 0;
    for (int j = 0; j < c / 2; j++) {
      /* the product in f32 is part of the definition */
      float angle = (float) pos[i] * f[j];
      want[i * c + j] = 1.25 * cos (angle);
      want[i * c + c / 2 + j] = 1.25 * sin (angle);
    }
  }
  KtBuf F = kt_array (kt, f, sizeof *f * (c / 2)),
        P = kt_array (kt, pos, sizeof *pos * n),
        T = kt_array (kt, NULL, sizeof (float) * n * c);
  kt_work (kt, 4.0 * n * c, 0);
  KT_EACH (kt, dev, on)
  dev->op->rope_table (dev, T.on[on], P.on[on], F.on[on], n, c, 1.25f);
  kt_expect (kt, &T, want, n, c, 1e-6); /* one rounding of each function */
}

static void
rope (Kt *kt, const int *size)
{
  int n = size[0], h = size[1], c = size[2], d = h * c;
  const float *x = kt_values (kt, (size_t) n * d),
              *table = kt_uniform (kt, (size_t) n * c, 1);
  double *want = kt_bytes (kt, sizeof *want * n * d);
  for (int i = 0; i < n * h; i++)
    for (int j = 0; j < c / 2; j++) {
      const float *cosine = table + i / h * c, *sine = cosine + c / 2;
      double a = x[i * c + j], b = x[i * c + c / 2 + j];
      want[i * c + j] = a * cosine[j] - b * sine[j];
      want[i * c + c / 2 + j] = b * cosine[j] + a * sine[j];
    }
  KtBuf X = kt_residual (kt, x, (size_t) n * d),
        Y = kt_acts (kt, NULL, (size_t) n * d),
        T = kt_array (kt, table, sizeof (float) * n * c);
  kt_work (kt, 8.0 * n * d, 6.0 * n * d / 2);
  KT_EACH (kt, dev, on)
  dev->op->rope (dev, Y.on[on], X.on[on], T.on[on], n, h, c);
  kt_expect (kt, &Y, want, n, d, 1e-6); /* two roundings */
}

const KtCase kt_cases_rope[] = {
  { KT_SLOT (rope_table), rope_table,
      .sizes = { { 1, 2 }, { 5, 34 }, { 577, 64 }, { 3, 128 } },
      .benches = { { 1, 128 }, { 600, 128 } } },
  { KT_SLOT (rope), rope, true,
      .sizes = { { 1, 1, 2 }, { 5, 3, 34 }, { 577, 2, 64 }, { 3, 4, 128 } },
      .benches = { { 1, 32, 128 }, { 600, 32, 128 } } },
  { NULL },
};
