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
#include "kernels/cpu/simd.h"

#include "kernels/cpu/panels.h"
#include "kernels/cpu/variants.h"

#include <assert.h>
#include <omp.h>
#include <string.h>

#define BLOCK 6 /* tokens whose sums are in registers */
#define RUN 256 /* columns between visits of the sums to memory */
#define TILE_TOKENS 192
#define TILE_PANELS 8
#define SLAB_TOKENS (4 * TILE_TOKENS) /* packed at a time */
#define VECTORS (PANEL_ROWS / SIMD_LANES)

/* Panels multiplied at once by a block of m tokens: enough independent sums
 * to hide the latency of an fma, few enough for the registers. */
#if SIMD_LANES == 8
#define PANELS_AT_ONCE(m) ((m) == 1 ? 4 : (m) <= 3 ? 2 : 1)
#else
#define PANELS_AT_ONCE(m) ((m) <= 2 ? 8 : 4)
#endif
#define MOST_PANELS 8

/* sum[panel,m,16] += x[k,m] times panels w[.,k,16], panel after panel. */
SIMD_INLINE void
multiply (float *sum, size_t sum_stride, const float *x, const char *w,
    size_t w_stride, int n_k, bool first, DataType type, const int m,
    const int n_panels)
{
  vf acc[BLOCK][MOST_PANELS][VECTORS];
  size_t size = data_type_bytes (type);
  for (int i = 0; i < m; i++)
    for (int p = 0; p < n_panels; p++)
      for (int v = 0; v < VECTORS; v++)
        acc[i][p][v] = first ? vf_set1 (0)
                             : vf_load (sum + p * sum_stride + i * PANEL_ROWS +
                                        v * SIMD_LANES);
  for (int k = 0; k < n_k; k++) {
    vf b[MOST_PANELS][VECTORS];
    for (int p = 0; p < n_panels; p++)
      for (int v = 0; v < VECTORS; v++)
        b[p][v] = vf_load_as (
            w + p * w_stride + (k * PANEL_ROWS + v * SIMD_LANES) * size, type);
    for (int i = 0; i < m; i++) {
      vf a = vf_set1 (x[k * m + i]);
      for (int p = 0; p < n_panels; p++)
        for (int v = 0; v < VECTORS; v++)
          acc[i][p][v] = vf_fma (a, b[p][v], acc[i][p][v]);
    }
  }
  for (int i = 0; i < m; i++)
    for (int p = 0; p < n_panels; p++)
      for (int v = 0; v < VECTORS; v++)
        vf_store (sum + p * sum_stride + i * PANEL_ROWS + v * SIMD_LANES,
            acc[i][p][v]);
}

/* One run of columns of one tile. */
typedef struct Run {
  float *sum; /* [panels,tokens,16] */
  int n_tokens;
  const float *x; /* packed, at the tile's first token */
  int cols, from, n_k;
  const char *w; /* at the first panel, column 0 */
  size_t w_stride;
  DataType type;
} Run;

SIMD_INLINE void
run_block (const Run *run, int token, int panel, const char *w, size_t w_stride,
    DataType type, const int m, const int n_panels)
{
  multiply (run->sum + ((size_t) panel * run->n_tokens + token) * PANEL_ROWS,
      (size_t) run->n_tokens * PANEL_ROWS,
      run->x + (size_t) token * run->cols + (size_t) run->from * m, w, w_stride,
      run->n_k, run->from == 0, type, m, n_panels);
}

#define CASE(m)                                                                \
  case m:                                                                      \
    for (; panel + PANELS_AT_ONCE (m) <= n_panels;                             \
         panel += PANELS_AT_ONCE (m))                                          \
      run_block (run, token, first + panel, w + panel * w_stride, w_stride,    \
          type, m, PANELS_AT_ONCE (m));                                        \
    for (; panel < n_panels; panel++)                                          \
      run_block (run, token, first + panel, w + panel * w_stride, w_stride,    \
          type, m, 1);                                                         \
    break

/* All tokens of the tile times n_panels panels from `first` on. */
SIMD_INLINE void
run_panels (const Run *run, int first, int n_panels, const char *w,
    size_t w_stride, DataType type)
{
  for (int token = 0; token < run->n_tokens; token += BLOCK) {
    int m = run->n_tokens - token, panel = 0;
    switch (m < BLOCK ? m : BLOCK) {
      CASE (1);
      CASE (2);
      CASE (3);
      CASE (4);
      CASE (5);
      CASE (6);
    }
  }
}

static void
run_f32 (const Run *run, int first, int n_panels, const char *w, size_t stride)
{
  run_panels (run, first, n_panels, w, stride, TYPE_F32);
}

static void
run_bf16 (const Run *run, int first, int n_panels, const char *w, size_t stride)
{
  run_panels (run, first, n_panels, w, stride, TYPE_BF16);
}

static void
run_f16 (const Run *run, int first, int n_panels, const char *w, size_t stride)
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
  float wide[RUN * PANEL_ROWS * PANELS_AT_ONCE (BLOCK)]
      __attribute__ ((aligned (64)));
  size_t stride = (size_t) run->n_k * PANEL_ROWS;
  for (int panel = 0; panel < n_panels; panel += PANELS_AT_ONCE (BLOCK)) {
    int n = n_panels - panel;
    if (n > PANELS_AT_ONCE (BLOCK))
      n = PANELS_AT_ONCE (BLOCK);
    for (int p = 0; p < n; p++)
      widen (wide + p * stride, w + (panel + p) * run->w_stride, stride,
          run->type);
    run_f32 (run, panel, n, (const char *) wide, stride * sizeof *wide);
  }
}

static void
run_columns (const Run *run, int n_panels)
{
  const char *w =
      run->w + (size_t) run->from * PANEL_ROWS * data_type_bytes (run->type);
  if (run->type == TYPE_F32)
    /* panel by panel, so that each is read once into the nearest cache */
    for (int panel = 0; panel < n_panels; panel += PANELS_AT_ONCE (BLOCK)) {
      int n = n_panels - panel;
      bool all = run->n_tokens <= BLOCK;
      if (all || n > PANELS_AT_ONCE (BLOCK))
        n = all ? n : PANELS_AT_ONCE (BLOCK);
      run_f32 (run, panel, n, w + panel * run->w_stride, run->w_stride);
      if (all)
        break;
    }
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
      int row = (panel + p) * PANEL_ROWS, n_rows = w->rows - row;
      finish_row (product->y + (size_t) (token + i) * w->rows + row,
          sum + ((size_t) p * n_tokens + i) * PANEL_ROWS,
          w->bias ? w->bias + row : NULL,
          n_rows < PANEL_ROWS ? n_rows : PANEL_ROWS, product->epilogue);
    }
}

static void
do_tile (const Product *product, float *sum, int token, int panel)
{
  const Mat *w = product->w;
  int n_tokens = product->n - token, n_panels = panel_count (w->rows) - panel;
  if (n_tokens > product->tile_tokens)
    n_tokens = product->tile_tokens;
  if (n_panels > product->tile_panels)
    n_panels = product->tile_panels;
  size_t stride = data_type_bytes (w->type) * w->cols * PANEL_ROWS;
  Run run = { sum, n_tokens, product->packed + (size_t) token * w->cols,
    w->cols, 0, 0, (const char *) w->pack + panel * stride, stride, w->type };
  for (; run.from < w->cols; run.from += RUN) {
    run.n_k = w->cols - run.from < RUN ? w->cols - run.from : RUN;
    run_columns (&run, n_panels);
  }
  finish_tile (product, sum, token, n_tokens, panel, n_panels);
}

/* Blocks of x[n,cols] become [cols,m], m tokens each. */
static void
pack_block (float *packed, const float *x, int token, int n, int cols)
{
  int m = n - token < BLOCK ? n - token : BLOCK;
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
  size_t sum_count = (size_t) TILE_TOKENS * TILE_PANELS * PANEL_ROWS;
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
    product.n = n - from < SLAB_TOKENS ? n - from : SLAB_TOKENS;
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
