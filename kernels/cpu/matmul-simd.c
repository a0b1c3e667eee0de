/* matmul-simd.c - products with weights in panels, once per vector level
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Work is cut into tiles of tokens times panels; a thread computes a tile
 * whole. Inside, columns are taken in runs short enough for the caches, and
 * each run is multiplied in blocks of up to six tokens whose sums stay in
 * registers. Sums start at column 0 and wait in memory between runs, so
 * neither the cut nor the number of threads changes a bit of the result.
 * Weights narrower than f32 are widened on the way.
 * (After Goto, van de Geijn: Anatomy of high-performance matrix
 * multiplication, 2008.)
 */
#include "kernels/cpu/multiply-simd.h"

#include "kernels/cpu/panels.h"
#include "kernels/cpu/variants.h"

#include <assert.h>
#include <omp.h>
#include <string.h>

#define RUN 256 /* columns between visits of the sums to memory */
#define TILE_TOKENS 192
#define TILE_PANELS 8
#define SLAB_TOKENS (4 * TILE_TOKENS) /* packed at a time */

static int
at_most (int n, int bound)
{
  return n < bound ? n : bound;
}

/* One run of columns of one tile. */
typedef struct Run {
  float *sum; /* [panels,tokens,16] */
  int n_tokens;
  const float *x; /* packed, at the tile's first token */
  int cols, from, n_k;
  const char *w;   /* at the first panel, column 0 */
  size_t w_stride; /* bytes from panel to panel */
  DataType type;
} Run;

/* All tokens of the tile times n_panels panels from `first` on. */
SIMD_INLINE void
run_panels (const Run *run, int first, int n_panels, const void *w,
    size_t w_stride, DataType type)
{
  for (int token = 0; token < run->n_tokens; token += BLOCK) {
    int m = at_most (run->n_tokens - token, BLOCK);
    Multiply a = { .sum = run->sum +
                          ((size_t) first * run->n_tokens + token) * PANEL,
      .sum_row = PANEL,
      .sum_panel = (size_t) run->n_tokens * PANEL,
      .x = run->x + (size_t) token * run->cols + (size_t) run->from * m,
      .x_row = 1,
      .x_k = m,
      .w = w,
      .w_k = PANEL,
      .w_panel = w_stride / data_type_bytes (type),
      .type = type,
      .n_k = run->n_k,
      .first = run->from == 0 };
    multiply_block (&a, m, n_panels);
  }
}

static void
run_f32 (const Run *run, int first, int n_panels, const void *w, size_t stride)
{
  run_panels (run, first, n_panels, w, stride, TYPE_F32);
}

static void
run_bf16 (const Run *run, int first, int n_panels, const void *w, size_t stride)
{
  run_panels (run, first, n_panels, w, stride, TYPE_BF16);
}

static void
run_f16 (const Run *run, int first, int n_panels, const void *w, size_t stride)
{
  run_panels (run, first, n_panels, w, stride, TYPE_F16);
}

static void
widen (float *out, const char *w, size_t count, DataType type)
{
  for (size_t i = 0; i < count; i += SIMD_LANES)
    vf_store (out + i, vf_load_as (w + i * data_type_bytes (type), type));
}

/* Where many blocks share a panel, it is widened once for all of them. */
static void
run_widened (const Run *run, int n_panels, const char *w)
{
  float wide[RUN * PANEL * PANELS_AT_ONCE (BLOCK)]
      __attribute__ ((aligned (64)));
  size_t stride = (size_t) run->n_k * PANEL;
  for (int panel = 0; panel < n_panels; panel += PANELS_AT_ONCE (BLOCK)) {
    int n = at_most (n_panels - panel, PANELS_AT_ONCE (BLOCK));
    for (int p = 0; p < n; p++)
      widen (wide + p * stride, w + (panel + p) * run->w_stride, stride,
          run->type);
    run_f32 (run, panel, n, wide, stride * sizeof *wide);
  }
}

static void
run_columns (const Run *run, int n_panels)
{
  const char *w =
      run->w + (size_t) run->from * PANEL * data_type_bytes (run->type);
  /* Several blocks take turns on each panel while it is in the cache. */
  int step = run->n_tokens > BLOCK ? PANELS_AT_ONCE (BLOCK) : n_panels;
  if (run->type == TYPE_F32)
    for (int panel = 0; panel < n_panels; panel += step)
      run_f32 (run, panel, at_most (step, n_panels - panel),
          w + panel * run->w_stride, run->w_stride);
  else if (run->n_tokens > 3 * BLOCK)
    run_widened (run, n_panels, w);
  else if (run->type == TYPE_BF16)
    run_bf16 (run, 0, n_panels, w, run->w_stride);
  else
    run_f16 (run, 0, n_panels, w, run->w_stride);
}

/* ---- epilogues ---- */

/* erf by Abramowitz and Stegun 7.1.26, to 1.5e-7. */
SIMD_INLINE vf
vf_erf (vf x)
{
  vf zero = vf_set1 (0), magnitude = vf_max (x, vf_sub (zero, x));
  vf t = vf_div (
      vf_set1 (1), vf_fma (vf_set1 (0.3275911f), magnitude, vf_set1 (1)));
  vf p = vf_set1 (1.061405429f);
  p = vf_fma (p, t, vf_set1 (-1.453152027f));
  p = vf_fma (p, t, vf_set1 (1.421413741f));
  p = vf_fma (p, t, vf_set1 (-0.284496736f));
  p = vf_fma (p, t, vf_set1 (0.254829592f));
  vf e = vf_exp (vf_sub (zero, vf_mul (x, x)));
  vf y = vf_fnma (vf_mul (p, t), e, vf_set1 (1));
  return vf_mul (y, vf_div (x, vf_max (vf_set1 (1e-30f), magnitude)));
}

SIMD_INLINE vf
apply (Epilogue epilogue, vf p)
{
  if (epilogue == EPILOGUE_QUICK_GELU)
    return vf_mul (p, vf_sigmoid (vf_mul (p, vf_set1 (1.702f))));
  if (epilogue == EPILOGUE_GELU) {
    vf phi = vf_add (vf_set1 (1), vf_erf (vf_mul (p, vf_set1 (0.70710678f))));
    return vf_mul (vf_mul (p, vf_set1 (0.5f)), phi);
  }
  return p;
}

SIMD_INLINE void
finish_row (float *y, const float *sum, const float *bias, int n_rows,
    Epilogue epilogue)
{
  for (int v = 0; v < n_rows; v += SIMD_LANES) {
    vf p = vf_load (sum + v);
    int n = n_rows - v;
    if (bias)
      p = vf_add (p, vf_load (bias + v));
    if (epilogue == EPILOGUE_ADD)
      p = vf_add (p, n < SIMD_LANES ? vf_load_n (y + v, n) : vf_load (y + v));
    else
      p = apply (epilogue, p);
    if (n < SIMD_LANES)
      vf_store_n (y + v, n, p);
    else
      vf_store (y + v, p);
  }
}

/* ---- tiles ---- */

typedef struct Product {
  float *y;
  const Mat *w;
  const float *packed;
  int n; /* tokens of this slab */
  int tile_tokens, tile_panels;
  Epilogue epilogue;
} Product;

static void
finish_tile (const Product *product, const float *sum, int token, int n_tokens,
    int panel, int n_panels)
{
  const Mat *w = product->w;
  for (int i = 0; i < n_tokens; i++)
    for (int p = 0; p < n_panels; p++) {
      int row = (panel + p) * PANEL;
      finish_row (product->y + (size_t) (token + i) * w->rows + row,
          sum + ((size_t) p * n_tokens + i) * PANEL,
          w->bias ? w->bias + row : NULL, at_most (w->rows - row, PANEL),
          product->epilogue);
    }
}

static void
do_tile (const Product *product, float *sum, int token, int panel)
{
  const Mat *w = product->w;
  int n_tokens = at_most (product->n - token, product->tile_tokens);
  int n_panels = at_most (panel_count (w->rows) - panel, product->tile_panels);
  size_t stride = data_type_bytes (w->type) * w->cols * PANEL;
  Run run = { sum, n_tokens, product->packed + (size_t) token * w->cols,
    w->cols, 0, 0, (const char *) w->pack + panel * stride, stride, w->type };
  for (; run.from < w->cols; run.from += RUN) {
    run.n_k = at_most (w->cols - run.from, RUN);
    run_columns (&run, n_panels);
  }
  finish_tile (product, sum, token, n_tokens, panel, n_panels);
}

/* Blocks of x[n,cols] become [cols,m], m tokens each. */
static void
pack_block (float *packed, const float *x, int token, int n, int cols)
{
  int m = at_most (n - token, BLOCK);
  float *out = packed + (size_t) token * cols;
  for (int i = 0; i < m; i++) {
    const float *in = x + (size_t) (token + i) * cols;
    for (int j = 0; j < cols; j++)
      out[j * m + i] = in[j];
  }
}

static void
do_slab (Device *dev, Product *product, const float *x)
{
  int n = product->n, cols = product->w->cols;
  int n_panels = panel_count (product->w->rows);
  size_t sum_count = (size_t) TILE_TOKENS * TILE_PANELS * PANEL;
  float *sums = cpu_scratch (
      dev, sizeof *sums * (dev->n_threads * sum_count + (size_t) n * cols));
  if (!sums)
    return;
  float *packed = sums + dev->n_threads * sum_count;
  product->packed = n == 1 ? x : packed;
  int across = (n + product->tile_tokens - 1) / product->tile_tokens;
  int down = (n_panels + product->tile_panels - 1) / product->tile_panels;
#pragma omp parallel num_threads(dev->n_threads)
  {
    float *sum = sums + omp_get_thread_num () * sum_count;
    if (n > 1) {
#pragma omp for
      for (int token = 0; token < n; token += BLOCK)
        pack_block (packed, x, token, n, cols);
    }
#pragma omp for schedule(dynamic) nowait
    for (int tile = 0; tile < across * down; tile++)
      do_tile (product, sum, tile % across * product->tile_tokens,
          tile / across * product->tile_panels);
  }
}

static void
matmul (
    Device *dev, Act *y, const Act *x, const Mat *w, int n, Epilogue epilogue)
{
  assert (w->pack);
  Product product = { .w = w, .epilogue = epilogue };
  int n_panels = panel_count (w->rows);
  for (int from = 0; from < n; from += SLAB_TOKENS) {
    product.n = at_most (n - from, SLAB_TOKENS);
    product.y = (float *) y + (size_t) from * w->rows;
    product.tile_tokens = product.n < TILE_TOKENS ? product.n : TILE_TOKENS;
    product.tile_panels =
        n_panels >= 4 * TILE_PANELS * dev->n_threads ? TILE_PANELS : 4;
    do_slab (dev, &product, (const float *) x + (size_t) from * w->cols);
  }
}

static void
logits (Device *dev, float *y, const Act *x, const Mat *w, int n)
{
  matmul (dev, y, x, w, n, EPILOGUE_SET);
}

void
SIMD_NAME (cpu_init_matmul) (Ops *op)
{
  cpu_init_panels (op);
  op->matmul = matmul;
  op->logits = logits;
}
