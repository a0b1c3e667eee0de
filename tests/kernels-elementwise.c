/* kernels-elementwise.c - cases of the ops that move rows, and of swiglu
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Copies are compared bit for bit. Their inputs are numbers that survive
 * bf16, so that a device with narrower activations copies them exactly too.
 */
#include "tests/kernels.h"

#include <math.h>
#include <string.h>

static float *
copyable (Kt *kt, size_t count)
{
  return kt_rounded (kt, TYPE_BF16, kt_uniform (kt, count, 4), count);
}

/* n distinct rows below `bound`, in no order. */
static int *
distinct_rows (Kt *kt, int n, int bound)
{
  int *rows = kt_bytes (kt, sizeof *rows * bound);
  for (int i = 0; i < bound; i++)
    rows[i] = i;
  for (int i = 0; i < n; i++) {
    int j = i + kt_below (kt, bound - i), row = rows[j];
    rows[j] = rows[i];
    rows[i] = row;
  }
  return rows;
}

static void
embed (Kt *kt, const int *size)
{
  int n = size[0], d = size[1], v = size[2];
  DataType type = (DataType) size[3];
  const float *table =
      kt_rounded (kt, type, copyable (kt, (size_t) v * d), (size_t) v * d);
  int *ids = kt_bytes (kt, sizeof *ids * n);
  float *want = kt_bytes (kt, sizeof *want * n * d);
  for (int i = 0; i < n; i++) {
    ids[i] = kt_below (kt, v);
    memcpy (want + i * d, table + ids[i] * d, sizeof *want * d);
  }
  KtMat *T = kt_mat (kt, type, type, table, v, d, NULL);
  KtBuf I = kt_array (kt, ids, sizeof *ids * n),
        Y = kt_acts (kt, NULL, (size_t) n * d);
  kt_work (kt, (4.0 + data_type_bytes (type)) * n * d, 0);
  KT_EACH (kt, dev, on)
  dev->op->embed (dev, Y.on[on], &T->on[on], I.on[on], n);
  kt_expect_same (kt, &Y, want);
}

static void
gather_rows (Kt *kt, const int *size)
{
  int n = size[0], d = size[1], total = 2 * n;
  const float *x = copyable (kt, (size_t) total * d);
  const int *rows = distinct_rows (kt, n, total);
  float *want = kt_bytes (kt, sizeof *want * n * d);
  for (int i = 0; i < n; i++)
    memcpy (want + i * d, x + rows[i] * d, sizeof *want * d);
  KtBuf X = kt_acts (kt, x, (size_t) total * d),
        R = kt_array (kt, rows, sizeof *rows * n),
        Y = kt_acts (kt, NULL, (size_t) n * d);
  kt_work (kt, 8.0 * n * d, 0);
  KT_EACH (kt, dev, on)
  dev->op->gather_rows (dev, Y.on[on], X.on[on], R.on[on], n, d);
  kt_expect_same (kt, &Y, want);
}

static void
scatter_rows (Kt *kt, const int *size)
{
  int n = size[0], d = size[1], total = 2 * n;
  const float *x = copyable (kt, (size_t) n * d);
  const int *rows = distinct_rows (kt, n, total);
  float *want = copyable (kt, (size_t) total * d);
  KtBuf X = kt_acts (kt, x, (size_t) n * d),
        R = kt_array (kt, rows, sizeof *rows * n),
        Y = kt_acts (kt, want, (size_t) total * d);
  for (int i = 0; i < n; i++)
    memcpy (want + rows[i] * d, x + i * d, sizeof *want * d);
  kt_work (kt, 8.0 * n * d, 0);
  KT_EACH (kt, dev, on)
  dev->op->scatter_rows (dev, Y.on[on], X.on[on], R.on[on], n, d);
  kt_expect_same (kt, &Y, want);
}

static void
fill_rows (Kt *kt, const int *size)
{
  int n = size[0], d = size[1], total = 2 * n;
  const float *x = copyable (kt, d);
  const int *rows = distinct_rows (kt, n, total);
  float *want = copyable (kt, (size_t) total * d);
  KtBuf X = kt_array (kt, x, sizeof *x * d),
        R = kt_array (kt, rows, sizeof *rows * n),
        Y = kt_acts (kt, want, (size_t) total * d);
  for (int i = 0; i < n; i++)
    memcpy (want + rows[i] * d, x, sizeof *want * d);
  kt_work (kt, 4.0 * n * d, 0);
  KT_EACH (kt, dev, on)
  dev->op->fill_rows (dev, Y.on[on], X.on[on], R.on[on], n, d);
  kt_expect_same (kt, &Y, want);
}

static void
copy_columns (Kt *kt, const int *size)
{
  int n = size[0], d = size[1], stride = 3 * d, at = d;
  const float *x = copyable (kt, (size_t) n * d);
  float *want = copyable (kt, (size_t) n * stride);
  KtBuf X = kt_acts (kt, x, (size_t) n * d),
        Y = kt_acts (kt, want, (size_t) n * stride);
  for (int i = 0; i < n; i++)
    memcpy (want + i * stride + at, x + i * d, sizeof *want * d);
  kt_work (kt, 8.0 * n * d, 0);
  KT_EACH (kt, dev, on)
  dev->op->copy_columns (dev, Y.on[on], X.on[on], n, d, stride, at);
  kt_expect_same (kt, &Y, want);
}

static void
swiglu (Kt *kt, const int *size)
{
  int count = size[0];
  const float *gate = kt_values (kt, count), *up = kt_uniform (kt, count, 1);
  double *want = kt_bytes (kt, sizeof *want * count);
  for (int i = 0; i < count; i++)
    want[i] = gate[i] / (1 + exp (-(double) gate[i])) * up[i];
  KtBuf G = kt_acts (kt, gate, count), U = kt_acts (kt, up, count);
  kt_work (kt, 12.0 * count, 0);
  KT_EACH (kt, dev, on)
  dev->op->swiglu (dev, G.on[on], U.on[on], count);
  kt_expect (kt, &G, want, 1, count, 1e-6); /* a few roundings of exp */
}

static void
embed_patches (Kt *kt, const int *size)
{
  int t = size[0], N = size[1], d = size[2];
  const float *patch = kt_values (kt, (size_t) t * N * d),
              *cls = kt_uniform (kt, d, 1),
              *pos = kt_uniform (kt, (size_t) (N + 1) * d, 1);
  double *want = kt_bytes (kt, sizeof *want * t * (N + 1) * d);
  for (int i = 0; i < t; i++)
    for (int j = 0; j <= N; j++)
      for (int k = 0; k < d; k++)
        want[((size_t) i * (N + 1) + j) * d + k] =
            (double) pos[(size_t) j * d + k] +
            (j ? patch[((size_t) i * N + j - 1) * d + k] : cls[k]);
  KtBuf P = kt_acts (kt, patch, (size_t) t * N * d),
        C = kt_array (kt, cls, sizeof *cls * d),
        S = kt_array (kt, pos, sizeof *pos * (N + 1) * d),
        X = kt_acts (kt, NULL, (size_t) t * (N + 1) * d);
  kt_work (kt, 8.0 * t * N * d, 1.0 * t * N * d);
  KT_EACH (kt, dev, on)
  dev->op->embed_patches (dev, X.on[on], P.on[on], C.on[on], S.on[on], t, N, d);
  kt_expect (kt, &X, want, t * (N + 1), d, 1e-6); /* one rounding */
}

#define ROWS                                                                   \
  .sizes = { { 1, 1 }, { 3, 7 }, { 5, 577 }, { 300, 64 } },                    \
  .benches = { { 577, 1024 }, { 600, 4096 } }

const KtCase kt_cases_elementwise[] = {
  { KT_SLOT (embed), embed,
      .sizes = { { 1, 1, 1, TYPE_F32 }, { 3, 7, 5, TYPE_BF16 },
          { 40, 577, 33, TYPE_F16 }, { 9, 64, 100, TYPE_F32 },
          { 9, 64, 100, TYPE_BF16 } },
      .benches = { { 1, 4096, 32000, TYPE_BF16 },
          { 600, 4096, 32000, TYPE_BF16 } } },
  { KT_SLOT (gather_rows), gather_rows, ROWS },
  { KT_SLOT (scatter_rows), scatter_rows, ROWS },
  { KT_SLOT (fill_rows), fill_rows, ROWS },
  { KT_SLOT (copy_columns), copy_columns, ROWS },
  { KT_SLOT (swiglu), swiglu, true,
      .sizes = { { 1 }, { 17 }, { 577 }, { 70001 } },
      .benches = { { 11008 }, { 600 * 11008 } } },
  { KT_SLOT (embed_patches), embed_patches, true,
      .sizes = { { 1, 1, 1 }, { 2, 5, 7 }, { 3, 64, 64 } },
      .benches = { { 5, 576, 1024 } } },
  { NULL },
};
