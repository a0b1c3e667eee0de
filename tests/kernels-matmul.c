/* kernels-matmul.c - cases of weight matrices and their products
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cpu/cpu.h"
#include "tests/kernels.h"

#include <math.h>
#include <string.h>

/* Sums of up to 1100 products in f32, and erf to 1.5e-7. */
#define TOLERANCE 1e-5

static double
apply (Epilogue epilogue, double y, double p)
{
  switch (epilogue) {
  case EPILOGUE_ADD:
    return y + p;
  case EPILOGUE_GELU:
    return p * 0.5 * erfc (-p * sqrt (0.5));
  case EPILOGUE_QUICK_GELU:
    return p / (1 + exp (-1.702 * p));
  default:
    return p;
  }
}

/* y[n,rows] */
static double *
matmul_twin (Kt *kt, const float *y, const float *x, const float *w,
    const float *bias, int n, int rows, int cols, Epilogue epilogue)
{
  double *out = kt_bytes (kt, sizeof *out * n * rows);
  for (int i = 0; i < n; i++)
    for (int row = 0; row < rows; row++) {
      double sum = bias ? bias[row] : 0;
      for (int j = 0; j < cols; j++)
        sum += (double) w[(size_t) row * cols + j] * x[(size_t) i * cols + j];
      size_t at = (size_t) i * rows + row;
      out[at] = apply (epilogue, y[at], sum);
    }
  return out;
}

/* Where the processor multiplies bf16 it rounds x to it first, as part of the
 * definition: the case's x is then made of such numbers. */
typedef struct Product {
  int n, rows, cols;
  DataType type;
  const float *x, *w, *bias;
  KtMat *mat;
  KtBuf X;
} Product;

static Product
product_of (Kt *kt, const int *size, DataType type, bool has_bias)
{
  Product p = { size[0], size[1], size[2], type };
  size_t count = (size_t) p.rows * p.cols;
  p.x = kt_values (kt, (size_t) p.n * p.cols);
  if (kt_device (kt, 0)->gpu < 0 && kt_device (kt, 0)->has_bf16 &&
      type == TYPE_BF16)
    p.x = kt_rounded (kt, TYPE_BF16, p.x, (size_t) p.n * p.cols);
  p.w = kt_held (kt, kt_uniform (kt, count, 1), count);
  p.bias = has_bias ? kt_uniform (kt, p.rows, 1) : NULL;
  p.mat = kt_mat (kt, type, type, p.w, p.rows, p.cols, p.bias);
  p.w = kt_rounded (kt, type, p.w, count);
  p.X = kt_acts (kt, p.x, (size_t) p.n * p.cols);
  kt_work (kt, (double) count * data_type_bytes (type), 2.0 * p.n * count);
  return p;
}

static void
check_epilogue (Kt *kt, const Product *p, Epilogue epilogue)
{
  size_t count = (size_t) p->n * p->rows;
  const float *y = kt_uniform (kt, count, 1);
  KtBuf Y = epilogue_is_wide (epilogue) ? kt_residual (kt, y, count)
                                        : kt_acts (kt, y, count);
  KT_EACH (kt, dev, on)
  dev->op->matmul (dev, Y.on[on], p->X.on[on], &p->mat->on[on], p->n, epilogue);
  if (kt_timing (kt))
    return;
  double *want = NULL;
  if (kt_n_devices (kt) == 1)
    want = matmul_twin (
        kt, y, p->x, p->w, p->bias, p->n, p->rows, p->cols, epilogue);
  kt_expect (kt, &Y, want, p->n, p->rows, TOLERANCE);
}

/* Products of more tokens than this may go another way: on a GPU, and where
 * oneDNN has tiles. */
#define FEW 8

static bool
has_two_ways (const Device *dev, const Product *p)
{
  if (dev->gpu >= 0)
    return true;
  const Cpu *cpu = dev->backend;
  return cpu->onednn && p->mat->on[0].type == TYPE_BF16;
}

/* A token's result is the same bits whatever else is in the batch. */
static void
check_alone (Kt *kt, const Product *whole)
{
  Device *dev = kt_device (kt, 0);
  Product few = *whole, *p = &few;
  if (has_two_ways (dev, p) && few.n > FEW)
    few.n = FEW;
  KtBuf all = kt_acts (kt, NULL, (size_t) p->n * p->rows),
        one = kt_acts (kt, NULL, p->rows);
  dev->op->matmul (
      dev, all.on[0], p->X.on[0], &p->mat->on[0], p->n, EPILOGUE_SET);
  for (int i = 0; i < p->n; i += p->n / 4 + 1) {
    const Act *x = act_at (dev, p->X.on[0], (size_t) i * p->cols);
    dev->op->matmul (dev, one.on[0], x, &p->mat->on[0], 1, EPILOGUE_SET);
    const float *got = kt_read (kt, &one, 0);
    const float *want = kt_read (kt, &all, 0) + (size_t) i * p->rows;
    if (memcmp (got, want, sizeof *got * p->rows))
      kt_fail (kt, "row %d of %d differs from the same row alone", i, p->n);
  }
}

static void
matmul (Kt *kt, const int *size)
{
  if (kt_timing (kt)) {
    Product p = product_of (kt, size, (DataType) size[3], false);
    check_epilogue (kt, &p, EPILOGUE_SET);
    return;
  }
  for (int type = TYPE_F32; type <= TYPE_F16; type++) {
    Product p = product_of (kt, size, (DataType) type, type != TYPE_BF16);
    bool all =
        kt_fill (kt) == KT_UNIFORM || (double) p.n * p.rows * p.cols < 1e5;
    for (int e = EPILOGUE_SET; e <= (all ? EPILOGUE_ADD : EPILOGUE_SET); e++)
      check_epilogue (kt, &p, (Epilogue) e);
    check_alone (kt, &p);
  }
}

/* Several are the same bits as one after another. */
static void
several (Kt *kt, const int *size)
{
  static const Epilogue epilogues[] = { EPILOGUE_WIDE, EPILOGUE_SET,
    EPILOGUE_WIDE };
  Product p[MAX_PRODUCTS];
  KtBuf Y[2][MAX_PRODUCTS];
  int n = size[0], cols = size[2];
  for (int i = 0; i < MAX_PRODUCTS; i++) {
    int shape[] = { n, size[1] * (i + 1) / 2 + 1, cols };
    size_t count = (size_t) n * shape[1];
    p[i] = product_of (kt, shape, TYPE_BF16, i > 0);
    for (int way = 0; way < 2; way++)
      Y[way][i] = epilogue_is_wide (epilogues[i])
                      ? kt_residual (kt, NULL, count)
                      : kt_acts (kt, NULL, count);
  }
  KT_EACH (kt, dev, on)
  {
    MatProduct products[MAX_PRODUCTS];
    for (int i = 0; i < MAX_PRODUCTS; i++) {
      products[i] =
          (MatProduct){ Y[0][i].on[on], &p[i].mat->on[on], epilogues[i] };
      if (!kt_timing (kt))
        dev->op->matmul (dev, Y[1][i].on[on], p[0].X.on[on], &p[i].mat->on[on],
            n, epilogues[i]);
    }
    dev->op->matmul_several (dev, products, MAX_PRODUCTS, p[0].X.on[on], n);
  }
  for (int i = 0; i < MAX_PRODUCTS && !kt_timing (kt); i++)
    if (memcmp (kt_read (kt, &Y[0][i], 0), kt_read (kt, &Y[1][i], 0),
            sizeof (float) * n * p[i].rows))
      kt_fail (kt, "product %d differs from the same alone", i);
}

static double *
gated_twin (Kt *kt, const Product *gate, const Product *up)
{
  int n = gate->n, rows = gate->rows, cols = gate->cols;
  const float *none = kt_bytes (kt, sizeof *none * n * rows);
  double *g = matmul_twin (
      kt, none, gate->x, gate->w, gate->bias, n, rows, cols, EPILOGUE_WIDE);
  const double *u = matmul_twin (
      kt, none, gate->x, up->w, up->bias, n, rows, cols, EPILOGUE_WIDE);
  for (int i = 0; i < n * rows; i++)
    g[i] *= u[i] / (1 + exp (-g[i]));
  return g;
}

/* Of few tokens, each has the same bits alone. */
static void
check_gated_alone (
    Kt *kt, const Product *gate, const Product *up, KtBuf *Y, KtBuf *Work)
{
  Device *dev = kt_device (kt, 0);
  int rows = gate->rows;
  KtBuf one = kt_acts (kt, NULL, rows);
  if (has_two_ways (dev, gate) && gate->n > FEW)
    return;
  for (int i = 0; i < gate->n; i += gate->n / 4 + 1) {
    dev->op->gated (dev, one.on[0],
        act_at (dev, gate->X.on[0], (size_t) i * gate->cols), &gate->mat->on[0],
        &up->mat->on[0], 1, Work->on[0]);
    if (memcmp (kt_read (kt, &one, 0), kt_read (kt, Y, 0) + (size_t) i * rows,
            sizeof (float) * rows))
      kt_fail (kt, "row %d of %d differs from the same row alone", i, gate->n);
  }
}

static void
gated (Kt *kt, const int *size)
{
  Product gate = product_of (kt, size, TYPE_BF16, true),
          up = product_of (kt, size, TYPE_BF16, false);
  size_t count = (size_t) gate.n * gate.rows, cols = gate.cols;
  KtBuf Y = kt_acts (kt, NULL, count), Work = kt_residual (kt, NULL, 2 * count);
  kt_work (kt, 4.0 * gate.rows * cols, 4.0 * count * cols);
  KT_EACH (kt, dev, on)
  dev->op->gated (dev, Y.on[on], gate.X.on[on], &gate.mat->on[on],
      &up.mat->on[on], gate.n, Work.on[on]);
  if (kt_timing (kt))
    return;
  kt_expect (kt, &Y,
      kt_n_devices (kt) == 1 ? gated_twin (kt, &gate, &up) : NULL, gate.n,
      gate.rows, TOLERANCE);
  check_gated_alone (kt, &gate, &up, &Y, &Work);
}

static void
logits (Kt *kt, const int *size)
{
  Product p = product_of (kt, size, TYPE_BF16, false);
  size_t count = (size_t) p.n * p.rows;
  KtBuf X = kt_residual (kt, p.x, (size_t) p.n * p.cols),
        Y = kt_array (kt, NULL, sizeof (float) * count);
  KT_EACH (kt, dev, on)
  dev->op->logits (dev, Y.on[on], X.on[on], &p.mat->on[on], p.n);
  if (kt_timing (kt))
    return;
  double *want = NULL;
  if (kt_n_devices (kt) == 1)
    want = matmul_twin (kt, kt_bytes (kt, sizeof (float) * count), p.x, p.w,
        NULL, p.n, p.rows, p.cols, EPILOGUE_SET);
  kt_expect (kt, &Y, want, p.n, p.rows, TOLERANCE);
}

/* Every pair of types, read back through embed; bytes are honest. */
static void
mat_init (Kt *kt, const int *size)
{
  int rows = size[0], cols = size[1];
  size_t count = (size_t) rows * cols;
  const float *w = kt_held (kt, kt_uniform (kt, count, 2), count);
  int *ids = kt_bytes (kt, sizeof *ids * rows);
  for (int i = 0; i < rows; i++)
    ids[i] = i;
  KtBuf I = kt_array (kt, ids, sizeof *ids * rows);
  for (int pair = 0; pair < 9; pair++) {
    DataType want = (DataType) (pair / 3), src = (DataType) (pair % 3);
    KtMat *mat = kt_mat (kt, want, src, w, rows, cols, NULL);
    const float *rounded =
        kt_rounded (kt, want, kt_rounded (kt, src, w, count), count);
    KtBuf Y = kt_residual (kt, NULL, count);
    double *exact = kt_bytes (kt, sizeof *exact * count);
    for (size_t i = 0; i < count; i++)
      exact[i] = rounded[i];
    KT_EACH (kt, dev, on)
    dev->op->embed (dev, Y.on[on], &mat->on[on], I.on[on], rows);
    Device *dev = kt_device (kt, 0);
    kt_expect (kt, &Y, exact, rows, cols, 0);
    size_t bytes = dev->gpu < 0 ? data_type_bytes (want) : dev->act_bytes;
    size_t stored = bytes * count;
    if (want != src && dev->op->mat_bytes (dev, want, src, rows, cols) < stored)
      kt_fail (kt, "mat_bytes is less than the numbers stored");
  }
}

static void
mat_clear (Kt *kt, const int *size)
{
  Device *dev = kt_device (kt, 0);
  Mat empty = { .type = TYPE_F32 };
  dev->op->mat_clear (dev, &empty);
  dev->op->mat_clear (dev, &empty);
}

#define SHAPES                                                                 \
  { 1, 1, 1 }, { 1, 577, 65 }, { 2, 16, 64 }, { 5, 33, 577 }, { 8, 100, 130 }, \
      { 13, 48, 1 }, { 70, 97, 40 }, { 577, 40, 129 },                         \
  {                                                                            \
    19, 300, 1100                                                              \
  }

const KtCase kt_cases_matmul[] = {
  { KT_SLOT (mat_init), mat_init,
      .sizes = { { 1, 1 }, { 3, 7 }, { 16, 32 }, { 37, 577 }, { 500, 577 } } },
  { KT_SLOT (mat_clear), mat_clear, .sizes = { { 1 } } },
  { KT_SLOT (mat_bytes), mat_init, .sizes = { { 5, 3 } } },
  { KT_SLOT (matmul), matmul, true, .sizes = { SHAPES },
      .benches = { { 1, 4096, 4096, TYPE_BF16 }, { 4, 4096, 4096, TYPE_BF16 },
          { 8, 4096, 4096, TYPE_F32 }, { 600, 4096, 4096, TYPE_F32 },
          { 600, 4096, 4096, TYPE_BF16 }, { 2885, 1024, 4096, TYPE_F32 },
          { 2885, 1024, 4096, TYPE_BF16 }, { 2885, 4096, 1024, TYPE_BF16 },
          { 2885, 1024, 1024, TYPE_BF16 } } },
  { KT_SLOT (matmul_several), several, true,
      .sizes = { { 1, 1, 1 }, { 3, 36, 65 }, { 8, 50, 96 }, { 5, 130, 577 },
          { 70, 34, 64 } },
      .benches = { { 1, 4096, 4096 }, { 600, 4096, 4096 } } },
  { KT_SLOT (gated), gated, true,
      .sizes = { { 1, 1, 1 }, { 3, 37, 65 }, { 8, 50, 96 }, { 2, 19, 1104 },
          { 5, 130, 577 }, { 70, 33, 64 } },
      .benches = { { 1, 11008, 4096 }, { 8, 11008, 4096 },
          { 600, 11008, 4096 } } },
  { KT_SLOT (logits), logits, true,
      .sizes = { { 1, 1, 1 }, { 1, 577, 64 }, { 3, 1000, 65 } },
      .benches = { { 1, 32000, 4096 } } },
  { NULL },
};
