/* matmul-simd.c - products with weights in panels, once per vector level
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Work is cut into tiles of tokens times panels; a thread computes a tile
 * whole. Inside, columns are taken in runs short enough for the caches, and
 * each run is multiplied in blocks of up to six tokens whose sums stay in
 * registers. Sums start at column 0 and wait in memory between runs, so
 * neither the cut nor the number of threads changes a bit of the result.
 * Weights narrower than f32 are widened on the way, or, with SIMD_PAIRS,
 * bf16 is multiplied as it is and a column here means a pair of columns.
 * (After Goto, van de Geijn: Anatomy of high-performance matrix
 * multiplication, 2008.)
 */
#include "kernels/cpu/epilogue-simd.h"
#include "kernels/cpu/multiply-simd.h"

#include "kernels/cpu/onednn.h"
#include "kernels/cpu/panels.h"
#include "kernels/cpu/variants.h"

#include <assert.h>
#include <string.h>

#define RUN 256 /* columns between visits of the sums to memory */
#define TILE_TOKENS 192
#define TILE_PANELS 8
#define SLAB_TOKENS (4 * TILE_TOKENS) /* packed at a time */
#define PAIR_PANELS 4                 /* panels that lie side by side */
#define PACK_PAIRS 128                /* rounded at a time */

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
  const char *w; /* at the first panel, column 0 */
  DataType type;
} Run;

/* Where panel p of a tile, and column k in it, is, in elements. */
static size_t
panel_offset (const Run *run, int panel)
{
  if (run->type != TYPE_PAIRS)
    return ((size_t) panel * run->cols + run->from) * PANEL;
  int group = panel / PAIR_PANELS, member = panel % PAIR_PANELS;
  return ((size_t) group * run->cols + run->from) * PANEL * PAIR_PANELS +
         member * PANEL;
}

/* All tokens of the tile times n_panels panels from `first` on, which lie at
 * w, w_panel elements apart. */
SIMD_INLINE void
run_panels (const Run *run, int first, int n_panels, const void *w,
    size_t w_panel, const DataType type)
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
      .w_k = type == TYPE_PAIRS ? PANEL * PAIR_PANELS : PANEL,
      .w_panel = w_panel,
      .type = type,
      .n_k = run->n_k,
      .first = run->from == 0 };
    multiply_block (&a, m, n_panels);
  }
}

static void
run_f32 (const Run *run, int first, int n_panels, const void *w, size_t w_panel)
{
  run_panels (run, first, n_panels, w, w_panel, TYPE_F32);
}

/* One copy of the inner loops for each type. */
static void
run_stored (const Run *run, int first, int n_panels)
{
  const char *w =
      run->w + panel_offset (run, first) * element_bytes (run->type);
  size_t w_panel = (size_t) run->cols * PANEL;
  if (run->type == TYPE_F32)
    run_f32 (run, first, n_panels, w, w_panel);
  else if (run->type == TYPE_BF16)
    run_panels (run, first, n_panels, w, w_panel, TYPE_BF16);
  else if (run->type == TYPE_F16)
    run_panels (run, first, n_panels, w, w_panel, TYPE_F16);
#ifdef SIMD_PAIRS
  else
    run_panels (run, first, n_panels, w, PANEL, TYPE_PAIRS);
#endif
}

static void
widen (float *out, const char *w, size_t count, DataType type)
{
  for (size_t i = 0; i < count; i += SIMD_LANES)
    vf_store (out + i, vf_load_as (w + i * data_type_bytes (type), type));
}

/* Where many blocks share panels, they are widened once for all of them. */
static void
run_widened (const Run *run, int first, int n_panels)
{
  float wide[RUN * PANEL * PANELS_AT_ONCE (BLOCK)]
      __attribute__ ((aligned (64)));
  size_t count = (size_t) run->n_k * PANEL;
  for (int p = 0; p < n_panels; p++)
    widen (wide + p * count,
        run->w + panel_offset (run, first + p) * data_type_bytes (run->type),
        count, run->type);
  run_f32 (run, first, n_panels, wide, count);
}

static void
run_columns (const Run *run, int n_panels)
{
  bool halves = run->type == TYPE_BF16 || run->type == TYPE_F16;
  bool many = run->n_tokens > 3 * BLOCK;
  /* Many blocks take turns on panels while these are in the nearest cache; of
   * few, the last is small and wants several panels at once. */
  int step = many ? PANELS_AT_ONCE (BLOCK) : PANELS_AT_ONCE (1);
  for (int panel = 0; panel < n_panels; panel += step)
    if (many && halves)
      run_widened (run, panel, at_most (n_panels - panel, step));
    else
      run_stored (run, panel, at_most (n_panels - panel, step));
}

/* ---- tiles ---- */

typedef struct Product {
  float *y;
  const float *x;
  const Mat *w;
  DataType type;
  int n, cols, n_panels; /* tokens of this slab, columns or pairs, panels */
  int tile_tokens, tile_panels, across; /* across: tiles of tokens */
  Epilogue epilogue;
  float *sums; /* [threads,SUM_COUNT] */
  float *packed;
} Product;

#define SUM_COUNT ((size_t) TILE_TOKENS * TILE_PANELS * PANEL)

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
  int n_tokens = at_most (product->n - token, product->tile_tokens);
  int n_panels = at_most (product->n_panels - panel, product->tile_panels);
  size_t start = (size_t) panel * PANEL * product->cols;
  bool packed = product->n > 1 || product->type == TYPE_PAIRS;
  const float *x = packed ? product->packed : product->x;
  Run run = { sum, n_tokens, x + (size_t) token * product->cols, product->cols,
    0, 0,
    (const char *) product->w->pack + start * element_bytes (product->type),
    product->type };
  /* One token's sums fit the registers: nothing to visit. */
  int step = n_tokens == 1 ? run.cols : RUN;
  for (; run.from < run.cols; run.from += step) {
    run.n_k = at_most (run.cols - run.from, step);
    run_columns (&run, n_panels);
  }
  finish_tile (product, sum, token, n_tokens, panel, n_panels);
}

/* out[n,m]: elements of four bytes of m rows, row_bytes apart, side by side. */
SIMD_INLINE void
interleave (float *out, const void *rows, size_t row_bytes, int n, const int m)
{
  for (int j = 0; j < n; j++)
    for (int i = 0; i < m; i++)
      memcpy (out + (size_t) j * m + i,
          (const char *) rows + i * row_bytes + j * sizeof *out, sizeof *out);
}

static void
interleave_block (float *out, const void *rows, size_t row_bytes, int n, int m)
{
  if (m == BLOCK)
    interleave (out, rows, row_bytes, n, BLOCK);
  else
    interleave (out, rows, row_bytes, n, m);
}

/* Blocks of x[n,cols] become [cols,m], m tokens each. */
static void
pack_block (float *packed, const float *x, int token, int n, int cols)
{
  interleave_block (packed + (size_t) token * cols, x + (size_t) token * cols,
      sizeof *x * cols, cols, at_most (n - token, BLOCK));
}

static void
narrow (uint16_t *out, const float *x, int n)
{
  for (int j = 0; j < n; j++)
    out[j] = bf16_of_f32 (x[j]);
}

/* The same, two columns rounded to bf16 in each element; zeros behind the
 * last. */
static void
pack_pairs (float *packed, const float *x, int token, const Product *product)
{
  int m = at_most (product->n - token, BLOCK), cols = product->w->cols;
  float *out = packed + (size_t) token * product->cols;
  for (int from = 0; from < product->cols; from += PACK_PAIRS) {
    int n = at_most (product->cols - from, PACK_PAIRS);
    int there = at_most (cols - 2 * from, 2 * n);
    uint16_t pairs[BLOCK][2 * PACK_PAIRS] = { 0 };
    for (int i = 0; i < m; i++)
      narrow (pairs[i], x + (size_t) (token + i) * cols + 2 * from, there);
    interleave_block (out + (size_t) from * m, pairs, sizeof pairs[0], n, m);
  }
}

static void
pack_blocks (void *data, int from, int to, int thread)
{
  const Product *product = data;
  for (int token = from * BLOCK; token < to * BLOCK && token < product->n;
       token += BLOCK)
    if (product->type == TYPE_PAIRS)
      pack_pairs (product->packed, product->x, token, product);
    else
      pack_block (
          product->packed, product->x, token, product->n, product->cols);
}

static void
do_tiles (void *data, int from, int to, int thread)
{
  const Product *product = data;
  float *sum = product->sums + thread * SUM_COUNT;
  for (int tile = from; tile < to; tile++)
    do_tile (product, sum, tile % product->across * product->tile_tokens,
        tile / product->across * product->tile_panels);
}

static int
parts (int n, int size)
{
  return (n + size - 1) / size;
}

/* One token needs no packing: x lies as it would. */
static void
do_slab (Device *dev, Product *product)
{
  int n = product->n, cols = product->cols;
  size_t n_sums = dev->n_threads * SUM_COUNT;
  product->sums =
      cpu_scratch (dev, sizeof (float) * (n_sums + (size_t) n * cols));
  if (!product->sums)
    return;
  product->packed = product->sums + n_sums;
  product->across = parts (n, product->tile_tokens);
  if (n > 1 || product->type == TYPE_PAIRS)
    cpu_run (dev, (size_t) n * cols * CPU_VALUE, parts (n, BLOCK), 0,
        pack_blocks, product);
  cpu_run (dev, (size_t) n * product->w->rows * product->w->cols,
      product->across * parts (product->n_panels, product->tile_panels), 1,
      do_tiles, product);
}

/* ---- oneDNN, where the processor has tiles ---- */

#ifdef SIMD_PAIRS

/* Numbers of tokens are rounded up to this, or oneDNN would compile code for
 * every number that occurs. */
#define ONEDNN_TOKENS 16

typedef struct Wide {
  const Product *product;
  float *out;       /* [padded,rows] */
  uint16_t *narrow; /* x as bf16, [padded,cols] */
} Wide;

static void
narrow_rows (void *data, int from, int to, int thread)
{
  const Wide *wide = data;
  int cols = wide->product->w->cols;
  for (int i = from; i < to; i++)
    for (int j = 0; j < cols; j++)
      wide->narrow[(size_t) i * cols + j] =
          i < wide->product->n
              ? bf16_of_f32 (wide->product->x[(size_t) i * cols + j])
              : 0;
}

static void
finish_rows (void *data, int from, int to, int thread)
{
  const Wide *wide = data;
  const Product *product = wide->product;
  size_t rows = product->w->rows;
  for (int i = from; i < to; i++)
    finish_row (product->y + i * rows, wide->out + i * rows, product->w->bias,
        (int) rows, product->epilogue);
}

static bool
do_onednn (Device *dev, const Product *product)
{
  Cpu *cpu = dev->backend;
  const Mat *w = product->w;
  int n = product->n, cols = w->cols, rows = w->rows;
  int padded = parts (n, ONEDNN_TOKENS) * ONEDNN_TOKENS;
  float *out = cpu_scratch (
      dev, sizeof *out * padded * rows + sizeof (uint16_t) * padded * cols);
  if (!out)
    return true; /* reported; nothing else would fit either */
  Wide wide = { product, out, (uint16_t *) (out + (size_t) padded * rows) };
  cpu_run (
      dev, (size_t) padded * cols * CPU_VALUE, padded, 0, narrow_rows, &wide);
  if (!onednn_matmul (cpu->onednn, TYPE_BF16, out, wide.narrow, w->pack, padded,
          rows, cols, dev->n_threads))
    return false;
  cpu_run (dev, (size_t) n * rows * CPU_VALUE, n, 0, finish_rows, &wide);
  return true;
}

static bool
wants_onednn (Device *dev, const Product *product)
{
  const Cpu *cpu = dev->backend;
  return product->type == TYPE_PAIRS && cpu->onednn &&
         product->n > ONEDNN_TOKENS / 2;
}

#endif

/* ---- ops ---- */

static Product
product_of (const Device *dev, const Mat *w, Epilogue epilogue)
{
  PanelLayout layout = panel_layout (dev, w->type, w->rows, w->cols);
  Product product = { .w = w, .type = w->type, .epilogue = epilogue };
  if (layout.step == 2)
    product.type = TYPE_PAIRS;
  product.cols = layout.cols / layout.step;
  product.n_panels = layout.n_panels * layout.rows / PANEL;
  product.tile_panels = product.n_panels >= 4 * TILE_PANELS * dev->n_threads
                            ? TILE_PANELS
                            : PAIR_PANELS;
  return product;
}

static void
matmul (
    Device *dev, void *y, const Act *x, const Mat *w, int n, Epilogue epilogue)
{
  assert (w->pack);
  Product product = product_of (dev, w, epilogue);
  for (int from = 0; from < n; from += SLAB_TOKENS) {
    product.x = (const float *) x + (size_t) from * w->cols;
    product.n = at_most (n - from, SLAB_TOKENS);
    product.y = (float *) y + (size_t) from * w->rows;
    product.tile_tokens = at_most (product.n, TILE_TOKENS);
#ifdef SIMD_PAIRS
    if (wants_onednn (dev, &product) && do_onednn (dev, &product))
      continue;
#endif
    do_slab (dev, &product);
  }
}

static void
logits (Device *dev, float *y, const Residual *x, const Mat *w, int n)
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
