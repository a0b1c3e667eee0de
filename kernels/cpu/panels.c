/* panels.c - packs weights into panels, and reads rows back out of them
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cpu/panels.h"

#include "kernels/cpu/convert.h"

#include <string.h>

static int
round_up (int n, int unit)
{
  return (n + unit - 1) / unit * unit;
}

PanelLayout
panel_layout (const Device *dev, DataType type, int rows, int cols)
{
  bool pairs = dev->has_bf16 && type == TYPE_BF16;
  PanelLayout layout = { .rows = pairs ? 64 : 16, .step = pairs ? 2 : 1 };
  layout.cols = pairs ? round_up (cols, 32) : cols;
  layout.n_panels = round_up (rows, layout.rows) / layout.rows;
  return layout;
}

static size_t
pack_bytes (const PanelLayout *layout, DataType type)
{
  return data_type_bytes (type) * layout->n_panels * layout->rows *
         layout->cols;
}

static size_t
bias_bytes (const PanelLayout *layout)
{
  return sizeof (float) * layout->n_panels * layout->rows;
}

static size_t
mat_bytes (Device *dev, DataType want, DataType src_type, int rows, int cols)
{
  PanelLayout layout = panel_layout (dev, want, rows, cols);
  return pack_bytes (&layout, want) + bias_bytes (&layout);
}

static void
mat_clear (Device *dev, Mat *w)
{
  device_free (dev, w->pack);
  device_free (dev, w->bias);
  memset (w, 0, sizeof *w);
}

/* Columns are taken in runs, so that what is written stays in the first-level
 * cache while the rows are read one after the other. */
#define RUN 64

/* n columns of a row, from an even one on: every `step` of them lie together,
 * `jump` elements after the ones before. */
typedef struct RowRun {
  void *restrict to;
  const char *restrict from;
  int n, step, jump;
} RowRun;

#define COPY_RUN(run, integer, step)                                           \
  for (int j = 0; j < (run)->n; j++) {                                         \
    integer value;                                                             \
    memcpy (&value, (run)->from + j * sizeof value, sizeof value);             \
    ((integer *) (run)->to)[j / (step) * (run)->jump + j % (step)] = value;    \
  }

static void
copy_run (const RowRun *shared, size_t size)
{
  RowRun run = *shared;
  if (run.step == 2)
    COPY_RUN (&run, uint16_t, 2)
  else if (size == 2)
    COPY_RUN (&run, uint16_t, 1)
  else
    COPY_RUN (&run, uint32_t, 1)
}

static void
widen_run (float *restrict x, const RowRun *run, DataType type)
{
  if (type == TYPE_BF16)
    for (int j = 0; j < run->n; j++)
      x[j] = f32_of_type (run->from, TYPE_BF16, j);
  else if (type == TYPE_F16)
    for (int j = 0; j < run->n; j++)
      x[j] = f32_of_type (run->from, TYPE_F16, j);
  else
    memcpy (x, run->from, run->n * sizeof *x);
}

static void
narrow_run (void *restrict out, const float *x, int n, DataType type)
{
  if (type == TYPE_BF16)
    for (int j = 0; j < n; j++)
      f32_to_type (out, TYPE_BF16, j, x[j]);
  else if (type == TYPE_F16)
    for (int j = 0; j < n; j++)
      f32_to_type (out, TYPE_F16, j, x[j]);
  else
    memcpy (out, x, n * sizeof *x);
}

/* Loops of one type each, for the compiler to vectorise. */
static void
convert_run (const RowRun *run, DataType type, DataType src_type)
{
  float wide[RUN], narrow[RUN];
  RowRun converted = *run;
  widen_run (wide, run, src_type);
  narrow_run (narrow, wide, run->n, type);
  converted.from = (const char *) narrow;
  copy_run (&converted, data_type_bytes (type));
}

static void
pack_panel (const Mat *w, const PanelLayout *layout, int panel, const char *src,
    DataType src_type)
{
  size_t src_size = data_type_bytes (src_type);
  size_t size = data_type_bytes (w->type);
  int first = panel * layout->rows, n_rows = w->rows - first;
  if (n_rows > layout->rows)
    n_rows = layout->rows;
  for (int col = 0; col < w->cols; col += RUN)
    for (int row = first; row < first + n_rows; row++) {
      RowRun run = { (char *) w->pack + panel_index (layout, row, col) * size,
        src + ((size_t) row * w->cols + col) * src_size,
        w->cols - col < RUN ? w->cols - col : RUN, layout->step,
        layout->rows * layout->step };
      if (src_type == w->type)
        copy_run (&run, size);
      else
        convert_run (&run, w->type, src_type);
    }
}

typedef struct Pack {
  Mat *w;
  PanelLayout layout;
  const void *src;
  DataType src_type;
} Pack;

static void
pack_panels (void *data, int from, int to, int thread)
{
  const Pack *pack = data;
  const PanelLayout *layout = &pack->layout;
  Mat *w = pack->w;
  size_t bytes = pack_bytes (layout, w->type) / layout->n_panels;
  bool padded = w->rows % layout->rows || w->cols % layout->cols;
  for (int panel = from; panel < to; panel++) {
    if (padded)
      memset ((char *) w->pack + panel * bytes, 0, bytes);
    pack_panel (w, layout, panel, pack->src, pack->src_type);
  }
}

static void
mat_init (Device *dev, Mat *w, DataType want, const void *src,
    DataType src_type, int rows, int cols, const float *bias)
{
  PanelLayout layout = panel_layout (dev, want, rows, cols);
  *w = (Mat){ .type = want, .rows = rows, .cols = cols, .owns_data = 1 };
  w->pack = device_alloc (dev, pack_bytes (&layout, want));
  if (bias)
    w->bias = device_alloc (dev, bias_bytes (&layout));
  if (!w->pack || (bias && !w->bias)) {
    mat_clear (dev, w);
    return;
  }
  if (bias) {
    memset (w->bias, 0, bias_bytes (&layout));
    memcpy (w->bias, bias, rows * sizeof (float));
  }
  Pack pack = { w, layout, src, src_type };
  cpu_run (dev, (size_t) rows * cols * CPU_VALUE, layout.n_panels, 0,
      pack_panels, &pack);
}

typedef struct Embed {
  float *y;
  const Mat *table;
  PanelLayout layout;
  const int *ids;
} Embed;

static void
embed_rows (void *data, int from, int to, int thread)
{
  const Embed *e = data;
  int d = e->table->cols;
  for (int i = from; i < to; i++)
    for (int j = 0; j < d; j++)
      e->y[(size_t) i * d + j] = f32_of_type (e->table->pack, e->table->type,
          panel_index (&e->layout, e->ids[i], j));
}

static void
embed (Device *dev, Residual *y, const Mat *table, const int *ids, int n)
{
  int d = table->cols;
  Embed e = { y, table, panel_layout (dev, table->type, table->rows, d), ids };
  cpu_run (dev, (size_t) n * d * CPU_VALUE, n, 0, embed_rows, &e);
}

void
cpu_init_panels (Ops *op)
{
  op->mat_init = mat_init;
  op->mat_clear = mat_clear;
  op->mat_bytes = mat_bytes;
  op->embed = embed;
}
