/* panels.c - packs weights into panels, and reads rows back out of them
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cpu/panels.h"

#include "kernels/cpu/convert.h"

#include <string.h>

static size_t
panel_bytes (const Mat *w)
{
  return data_type_bytes (w->type) * w->cols * PANEL_ROWS;
}

static size_t
bias_bytes (int rows)
{
  return (size_t) panel_count (rows) * PANEL_ROWS * sizeof (float);
}

static size_t
mat_bytes (Device *dev, DataType want, DataType src_type, int rows, int cols)
{
  size_t per_panel = data_type_bytes (want) * cols * PANEL_ROWS;
  return panel_count (rows) * per_panel + bias_bytes (rows);
}

static void
mat_clear (Device *dev, Mat *w)
{
  device_free (dev, w->pack);
  device_free (dev, w->bias);
  memset (w, 0, sizeof *w);
}

/* Columns are taken in runs, so that what is written stays in the first-level
 * cache while the sixteen rows are read one after the other. */
#define RUN 64

static void
pack_panel (const Mat *w, int panel, const char *src, DataType src_type)
{
  char *out = (char *) w->pack + panel * panel_bytes (w);
  size_t size = data_type_bytes (w->type);
  int first = panel * PANEL_ROWS;
  int n_rows = w->rows - first < PANEL_ROWS ? w->rows - first : PANEL_ROWS;
  if (n_rows < PANEL_ROWS)
    memset (out, 0, panel_bytes (w));
  for (int from = 0; from < w->cols; from += RUN) {
    int to = from + RUN < w->cols ? from + RUN : w->cols;
    for (int r = 0; r < n_rows; r++) {
      size_t row = (size_t) (first + r) * w->cols;
      for (int j = from; j < to; j++) {
        size_t at = (size_t) j * PANEL_ROWS + r;
        if (src_type == w->type)
          memcpy (out + at * size, src + (row + j) * size, size);
        else
          f32_to_type (out, w->type, at, f32_of_type (src, src_type, row + j));
      }
    }
  }
}

static void
mat_init (Device *dev, Mat *w, DataType want, const void *src,
    DataType src_type, int rows, int cols, const float *bias)
{
  *w = (Mat){ .type = want, .rows = rows, .cols = cols, .owns_data = 1 };
  w->pack = device_alloc (dev, panel_count (rows) * panel_bytes (w));
  if (bias)
    w->bias = device_alloc (dev, bias_bytes (rows));
  if (!w->pack || (bias && !w->bias)) {
    mat_clear (dev, w);
    return;
  }
  if (bias) {
    memset (w->bias, 0, bias_bytes (rows));
    memcpy (w->bias, bias, rows * sizeof (float));
  }
#pragma omp parallel for num_threads(dev->n_threads)
  for (int panel = 0; panel < panel_count (rows); panel++)
    pack_panel (w, panel, src, src_type);
}

static void
embed (Device *dev, Act *y, const Mat *table, const int *ids, int n)
{
  int d = table->cols;
#pragma omp parallel for num_threads(dev->n_threads)
  for (int i = 0; i < n; i++) {
    const char *panel =
        (const char *) table->pack + ids[i] / PANEL_ROWS * panel_bytes (table);
    for (int j = 0; j < d; j++)
      ((float *) y)[(size_t) i * d + j] = f32_of_type (
          panel, table->type, (size_t) j * PANEL_ROWS + ids[i] % PANEL_ROWS);
  }
}

void
cpu_init_panels (Ops *op)
{
  op->mat_init = mat_init;
  op->mat_clear = mat_clear;
  op->mat_bytes = mat_bytes;
  op->embed = embed;
}
