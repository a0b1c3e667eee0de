/* kernels-elementwise.c - cases of the ops that move rows, and of swiglu
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Copies are compared bit for bit.
 */
#include "tests/kernels.h"

#include <math.h>
#include <string.h>

static char *
random_bytes (Kt *kt, size_t bytes)
{
  return (char *) kt_uniform (kt, bytes / sizeof (float) + 1, 4);
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
  size_t count = (size_t) v * d;
  const float *table = kt_rounded (
      kt, type, kt_held (kt, kt_uniform (kt, count, 4), count), count);
  int *ids = kt_bytes (kt, sizeof *ids * n);
  float *want = kt_bytes (kt, sizeof *want * n * d);
  for (int i = 0; i < n; i++) {
    ids[i] = kt_below (kt, v);
    memcpy (want + i * d, table + ids[i] * d, sizeof *want * d);
  }
  KtMat *T = kt_mat (kt, type, type, table, v, d, NULL);
  KtBuf I = kt_array (kt, ids, sizeof *ids * n),
        Y = kt_residual (kt, NULL, (size_t) n * d);
  kt_work (kt, (4.0 + data_type_bytes (type)) * n * d, 0);
  KT_EACH (kt, dev, on)
  dev->op->embed (dev, Y.on[on], &T->on[on], I.on[on], n);
  kt_expect_same (kt, &Y, want);
}

static void
gather_rows (Kt *kt, const int *size)
{
  int n = size[0], bytes = size[1], total = 2 * n;
  const char *x = random_bytes (kt, (size_t) total * bytes);
  const int *rows = distinct_rows (kt, n, total);
  char *want = kt_bytes (kt, (size_t) n * bytes);
  for (int i = 0; i < n; i++)
    memcpy (want + i * bytes, x + rows[i] * bytes, bytes);
  KtBuf X = kt_array (kt, x, (size_t) total * bytes),
        R = kt_array (kt, rows, sizeof *rows * n),
        Y = kt_array (kt, NULL, (size_t) n * bytes);
  kt_work (kt, 2.0 * n * bytes, 0);
  KT_EACH (kt, dev, on)
  dev->op->gather_rows (dev, Y.on[on], X.on[on], R.on[on], n, bytes);
  kt_expect_same (kt, &Y, want);
}

static void
scatter_rows (Kt *kt, const int *size)
{
  int n = size[0], bytes = size[1], total = 2 * n;
  const char *x = random_bytes (kt, (size_t) n * bytes);
  const int *rows = distinct_rows (kt, n, total);
  char *want = random_bytes (kt, (size_t) total * bytes);
  KtBuf X = kt_array (kt, x, (size_t) n * bytes),
        R = kt_array (kt, rows, sizeof *rows * n),
        Y = kt_array (kt, want, (size_t) total * bytes);
  for (int i = 0; i < n; i++)
    memcpy (want + rows[i] * bytes, x + i * bytes, bytes);
  kt_work (kt, 2.0 * n * bytes, 0);
  KT_EACH (kt, dev, on)
  dev->op->scatter_rows (dev, Y.on[on], X.on[on], R.on[on], n, bytes);
  kt_expect_same (kt, &Y, want);
}

static void
fill_rows (Kt *kt, const int *size)
{
  int n = size[0], bytes = size[1], total = 2 * n;
  const char *x = random_bytes (kt, bytes);
  const int *rows = distinct_rows (kt, n, total);
  char *want = random_bytes (kt, (size_t) total * bytes);
  KtBuf X = kt_array (kt, x, bytes), R = kt_array (kt, rows, sizeof *rows * n),
        Y = kt_array (kt, want, (size_t) total * bytes);
  for (int i = 0; i < n; i++)
    memcpy (want + rows[i] * bytes, x, bytes);
  kt_work (kt, 1.0 * n * bytes, 0);
  KT_EACH (kt, dev, on)
  dev->op->fill_rows (dev, Y.on[on], X.on[on], R.on[on], n, bytes);
  kt_expect_same (kt, &Y, want);
}

static void
copy_columns (Kt *kt, const int *size)
{
  int n = size[0], bytes = size[1], stride = 3 * bytes, at = bytes;
  const char *x = random_bytes (kt, (size_t) n * bytes);
  char *want = random_bytes (kt, (size_t) n * stride);
  KtBuf X = kt_array (kt, x, (size_t) n * bytes),
        Y = kt_array (kt, want, (size_t) n * stride);
  for (int i = 0; i < n; i++)
    memcpy (want + i * stride + at, x + i * bytes, bytes);
  kt_work (kt, 2.0 * n * bytes, 0);
  KT_EACH (kt, dev, on)
  dev->op->copy_columns (dev, Y.on[on], X.on[on], n, bytes, stride, at);
  kt_expect_same (kt, &Y, want);
}

/* Of three rows one is as it was, another differs in its last byte only. */
static void
replace_rows (Kt *kt, const int *size)
{
  int n = size[0], bytes = size[1];
  char *x = random_bytes (kt, (size_t) n * bytes),
       *old = random_bytes (kt, (size_t) n * bytes);
  int *want = kt_bytes (kt, sizeof *want * n);
  for (int i = 0; i < n; i++) {
    char *row = old + (size_t) i * bytes;
    if (i % 3)
      memcpy (row, x + (size_t) i * bytes, bytes);
    if (i % 3 == 2)
      row[bytes - 1] ^= 1;
    want[i] = memcmp (row, x + (size_t) i * bytes, bytes) != 0;
  }
  KtBuf X = kt_array (kt, x, (size_t) n * bytes),
        C = kt_array (kt, NULL, sizeof *want * n),
        Y = kt_array (kt, old, (size_t) n * bytes);
  kt_work (kt, 3.0 * n * bytes, 0);
  KT_EACH (kt, dev, on)
  dev->op->replace_rows (dev, C.on[on], Y.on[on], X.on[on], n, bytes);
  kt_expect_same (kt, &C, want);
  kt_expect_same (kt, &Y, x);
}

static void
narrow_rows (Kt *kt, const int *size)
{
  int n = size[0], d = size[1], total = 2 * n;
  const float *x = kt_uniform (kt, (size_t) total * d, 1000);
  const int *rows = distinct_rows (kt, n, total);
  float *want = kt_bytes (kt, sizeof *want * n * d);
  KtBuf X = kt_residual (kt, x, (size_t) total * d),
        R = kt_array (kt, rows, sizeof *rows * n),
        Y = kt_acts (kt, NULL, (size_t) n * d);
  kt_work (kt, (4.0 + kt_device (kt, 0)->act_bytes) * n * d, 0);
  KT_EACH (kt, dev, on)
  dev->op->narrow_rows (dev, Y.on[on], X.on[on], R.on[on], n, d);
  if (kt_timing (kt))
    return;
  for (int listed = 1; listed >= 0; listed--) {
    for (int i = 0; i < n; i++)
      memcpy (want + i * d, x + (listed ? rows[i] : i) * d, sizeof *want * d);
    want = kt_rounded (kt, kt_device (kt, 0)->act_type, want, (size_t) n * d);
    if (memcmp (kt_read (kt, &Y, 0), want, sizeof *want * n * d))
      kt_fail (kt, "rows are not rounded as they should be");
    KT_EACH (kt, dev, on)
    dev->op->narrow_rows (dev, Y.on[on], X.on[on], NULL, n, d);
  }
}

static void
swiglu (Kt *kt, const int *size)
{
  int count = size[0];
  const float *gate = kt_values (kt, count), *up = kt_uniform (kt, count, 1);
  double *want = kt_bytes (kt, sizeof *want * count);
  for (int i = 0; i < count; i++)
    want[i] = gate[i] / (1 + exp (-(double) gate[i])) * up[i];
  KtBuf G = kt_residual (kt, gate, count), U = kt_residual (kt, up, count);
  KtBuf Y = kt_acts (kt, NULL, count);
  kt_work (kt, 12.0 * count, 0);
  KT_EACH (kt, dev, on)
  dev->op->swiglu (dev, Y.on[on], G.on[on], U.on[on], count);
  kt_expect (kt, &Y, want, 1, count, 1e-6); /* a few roundings of exp */
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
  KtBuf P = kt_residual (kt, patch, (size_t) t * N * d),
        C = kt_array (kt, cls, sizeof *cls * d),
        S = kt_array (kt, pos, sizeof *pos * (N + 1) * d),
        X = kt_residual (kt, NULL, (size_t) t * (N + 1) * d);
  kt_work (kt, 8.0 * t * N * d, 1.0 * t * N * d);
  KT_EACH (kt, dev, on)
  dev->op->embed_patches (dev, X.on[on], P.on[on], C.on[on], S.on[on], t, N, d);
  kt_expect (kt, &X, want, t * (N + 1), d, 1e-6); /* one rounding */
}

/* Of a number, and of as many bytes as are moved at once or no multiple. */
#define ROWS                                                                   \
  .sizes = { { 1, 2 }, { 3, 14 }, { 5, 2308 }, { 7, 1154 }, { 300, 256 } },    \
  .benches = { { 577, 4096 }, { 600, 16384 } }

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
  { KT_SLOT (replace_rows), replace_rows,
      .sizes = { { 1, 1 }, { 3, 7 }, { 5, 2352 }, { 7, 1154 }, { 3, 20000 } },
      .benches = { { 5, 338688 } } },
  { KT_SLOT (narrow_rows), narrow_rows,
      .sizes = { { 1, 1 }, { 3, 7 }, { 5, 577 }, { 300, 64 } },
      .benches = { { 577, 1024 }, { 600, 4096 } } },
  { KT_SLOT (swiglu), swiglu, true,
      .sizes = { { 1 }, { 17 }, { 577 }, { 70001 } },
      .benches = { { 11008 }, { 600 * 11008 } } },
  { KT_SLOT (embed_patches), embed_patches, true,
      .sizes = { { 1, 1, 1 }, { 2, 5, 7 }, { 3, 64, 64 } },
      .benches = { { 5, 576, 1024 } } },
  { NULL },
};
