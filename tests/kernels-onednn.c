/* kernels-onednn.c - cases of what oneDNN is asked for
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * bf16 needs a processor that has it; f32 takes the same way through oneDNN's
 * interface on any. Without oneDNN there is nothing to check.
 */
#include "kernels/cpu/onednn.h"
#include "tests/kernels.h"

static void
matmul_f32 (Kt *kt, const int *size)
{
  int n = size[0], rows = size[1], cols = size[2];
  const float *x = kt_uniform (kt, (size_t) n * cols, 1),
              *w = kt_uniform (kt, (size_t) rows * cols, 1);
  float *y = kt_bytes (kt, sizeof *y * n * rows);
  double *want = kt_bytes (kt, sizeof *want * n * rows);
  Onednn *onednn = onednn_new ();
  if (!onednn)
    return;
  for (int i = 0; i < n * rows; i++)
    for (int j = 0; j < cols; j++)
      want[i] += (double) x[i / rows * cols + j] * w[i % rows * cols + j];
  if (!onednn_matmul (onednn, TYPE_F32, y, x, w, n, rows, cols, 2))
    kt_fail (kt, "oneDNN refuses a product in f32");
  if (onednn_matmul (onednn, TYPE_F16, y, x, w, n, rows, cols, 2))
    kt_fail (kt, "f16 was not refused");
  onednn_free (onednn);
  KtBuf Y = kt_array (kt, y, sizeof *y * n * rows);
  kt_expect (kt, &Y, want, n, rows, 1e-5);
}

static void
matmul_int8 (Kt *kt, const int *size)
{
  int n = size[0], rows = size[1], cols = size[2];
  uint8_t *x = kt_bytes (kt, (size_t) n * cols);
  int8_t *w = kt_bytes (kt, (size_t) rows * cols);
  int32_t *y = kt_bytes (kt, sizeof *y * n * rows);
  for (int i = 0; i < n * cols; i++)
    x[i] = (uint8_t) kt_below (kt, 100);
  for (int i = 0; i < rows * cols; i++)
    w[i] = (int8_t) (kt_below (kt, 100) - 50);
  if (!onednn_matmul_int8 (y, x, w, n, rows, cols, 2))
    return;
  for (int i = 0; i < n * rows; i++) {
    int32_t sum = 0;
    for (int j = 0; j < cols; j++)
      sum += x[i / rows * cols + j] * w[i % rows * cols + j];
    if (y[i] != sum)
      kt_fail (kt, "product %d is %d, expected %d", i, y[i], sum);
  }
}

#define SHAPES .sizes = { { 1, 1, 1 }, { 16, 65, 33 }, { 33, 64, 128 } }

const KtCase kt_cases_onednn[] = {
  { "onednn f32", sizeof (Ops), matmul_f32, SHAPES },
  { "onednn int8", sizeof (Ops), matmul_int8, SHAPES },
  { NULL },
};
