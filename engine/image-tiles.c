/* image-tiles.c - a picture's tiles on a device
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each tile is a window of the resized picture, and a window of an axis
 * includes the padding around it, so two passes write finished tiles: no
 * canvas, no copy.
 */
#include "engine/image.h"

#include <string.h>

#include "engine/error.h"
#include "engine/image-axis.h"
#include "engine/image-source.h"

/* Tables of so many windows are kept; a picture needs at most 2 + rows +
 * cols of them. */
#define CACHED_WINDOWS (4 * (VLM_MAX_TILES + 1))

typedef struct {
  int n_in, n_out, from; /* the key; all are a tile wide */
  int lo, hi;            /* see VlmAxis */
  ResizeAxis axis;       /* tables in device memory */
  void *memory;
} Window;

struct VlmTiler {
  Device *dev; /* borrowed */
  VlmResampling resampling;
  VlmImageMode mode;
  int tile_px;
  guint8 pad_colour[3];
  float *lut;
  Window windows[CACHED_WINDOWS];
  int n_windows;
  VlmSource source;
  VlmScratch between, tiles;
};

/* One resize of the whole source: to fit_w x fit_h, of which rows x cols
 * squares of side T are cut, the first one at (-pad_x, -pad_y). */
typedef struct {
  int fit_w, fit_h, pad_x, pad_y;
  int rows, cols;
} Cut;

/* ---- tables ---- */

static void
drop_windows (VlmTiler *tiler)
{
  for (int i = 0; i < tiler->n_windows; i++)
    device_free (tiler->dev, tiler->windows[i].memory);
  tiler->n_windows = 0;
}

/* The three tables in one block of device memory. */
static gboolean
upload_window (
    VlmTiler *tiler, Window *window, const VlmAxis *host, GError **error)
{
  gsize n = host->axis.n_out, taps = host->axis.max_taps;
  gsize row = n * sizeof (int), weights = n * taps * sizeof (gint32);
  char *memory =
      vlm_image_allocate (tiler->dev, 2 * row + weights, "resize table", error);

  if (!memory)
    return FALSE;
  device_upload (tiler->dev, memory, host->weight, weights);
  device_upload (tiler->dev, memory + weights, host->first, row);
  device_upload (tiler->dev, memory + weights + row, host->n_taps, row);
  window->memory = memory;
  window->axis = host->axis;
  window->axis.weight = (const gint32 *) memory;
  window->axis.first = (const int *) (memory + weights);
  window->axis.n_taps = (const int *) (memory + weights + row);
  window->lo = host->lo;
  window->hi = host->hi;
  return TRUE;
}

static const Window *
find_window (VlmTiler *tiler, int n_in, int n_out, int from, GError **error)
{
  Window *window = tiler->windows;
  g_auto (VlmAxis) host = { 0 };

  for (int i = 0; i < tiler->n_windows; i++, window++)
    if (window->n_in == n_in && window->n_out == n_out && window->from == from)
      return window;

  if (!vlm_axis_init (
          &host, tiler->resampling, n_in, n_out, from, tiler->tile_px)) {
    vlm_fail (error, VLM_ERROR_NO_MEMORY, NULL,
        "The table to resize %d pixels to %d does not fit into memory.", n_in,
        n_out);
    return NULL;
  }
  *window = (Window){ n_in, n_out, from };
  if (!upload_window (tiler, window, &host, error))
    return NULL;
  tiler->n_windows++;
  return window;
}

/* ---- passes ---- */

/* Pillow 13's rule, found by trial; torchvision has no such rule. */
static gboolean
columns_first (const VlmTiler *tiler, const VlmRgb *source, const Cut *cut)
{
  return tiler->resampling == VLM_RESAMPLING_PILLOW &&
         source->height - cut->fit_h > 2 * MAX (0, source->width - cut->fit_w);
}

/* `between` holds one column of tiles at a time, [height,T,3]. */
static void
run_rows_first (VlmTiler *tiler, guint8 *tiles, const VlmRgb *source,
    const Cut *cut, const Window *const *x, const Window *const *y)
{
  const Ops *op = tiler->dev->op;
  gsize line = (gsize) 3 * tiler->tile_px, tile = line * tiler->tile_px;
  guint8 *between = tiler->between.data;
  int lo = source->height, hi = 0;

  for (int r = 0; r < cut->rows; r++) {
    lo = MIN (lo, y[r]->lo);
    hi = MAX (hi, y[r]->hi);
  }
  for (int c = 0; c < cut->cols; c++) {
    op->resize_rows (tiler->dev, between + lo * line,
        source->data + lo * source->stride, source->stride, hi - lo,
        &x[c]->axis);
    for (int r = 0; r < cut->rows; r++)
      op->resize_columns (tiler->dev, tiles + (r * cut->cols + c) * tile,
          between, line, tiler->tile_px, &y[r]->axis);
  }
}

/* `between` holds one row of tiles at a time, [T,width,3]. */
static void
run_columns_first (VlmTiler *tiler, guint8 *tiles, const VlmRgb *source,
    const Cut *cut, const Window *const *x, const Window *const *y)
{
  const Ops *op = tiler->dev->op;
  gsize line = (gsize) 3 * source->width;
  gsize tile = (gsize) 3 * tiler->tile_px * tiler->tile_px;

  for (int r = 0; r < cut->rows; r++) {
    op->resize_columns (tiler->dev, tiler->between.data, source->data,
        source->stride, source->width, &y[r]->axis);
    for (int c = 0; c < cut->cols; c++)
      op->resize_rows (tiler->dev, tiles + (r * cut->cols + c) * tile,
          tiler->between.data, line, tiler->tile_px, &x[c]->axis);
  }
}

static gboolean
run_cut (VlmTiler *tiler, guint8 *tiles, const VlmRgb *source, const Cut *cut,
    GError **error)
{
  const Window *x[VLM_MAX_TILES], *y[VLM_MAX_TILES];
  gboolean columns = columns_first (tiler, source, cut);
  gsize length = columns ? source->width : source->height;
  int T = tiler->tile_px;

  for (int c = 0; c < cut->cols; c++)
    if (!(x[c] = find_window (
              tiler, source->width, cut->fit_w, c * T - cut->pad_x, error)))
      return FALSE;
  for (int r = 0; r < cut->rows; r++)
    if (!(y[r] = find_window (
              tiler, source->height, cut->fit_h, r * T - cut->pad_y, error)))
      return FALSE;
  if (!vlm_scratch_reserve (
          tiler->dev, &tiler->between, length * T * 3, "resizing", error))
    return FALSE;
  if (columns)
    run_columns_first (tiler, tiles, source, cut, x, y);
  else
    run_rows_first (tiler, tiles, source, cut, x, y);
  return TRUE;
}

/* ---- the tiler ---- */

/* The picture centred on a square of the mean colour, square as pixels are
 * seen. Source: image_processing_llava.py, pad_to_square. */
static RgbCanvas
square_canvas (
    const VlmTiler *tiler, const VlmPicture *picture, const VlmTileGeometry *g)
{
  int side = MAX (g->img_w, g->img_h);
  int width =
      (int) (((gint64) side * picture->width + g->img_w / 2) / g->img_w);
  RgbCanvas canvas = { width, side, (width - picture->width) / 2,
    (side - picture->height) / 2 };

  memcpy (canvas.colour, tiler->pad_colour, sizeof canvas.colour);
  return canvas;
}

const guint8 *
vlm_tiler_run (VlmTiler *tiler, const VlmPicture *picture,
    const VlmTileGeometry *geometry, GError **error)
{
  const VlmTileGeometry *g = geometry;
  int T = tiler->tile_px;
  gsize tile = (gsize) 3 * T * T;
  Cut base = { T, T, 0, 0, 1, 1 };
  Cut grid = { g->fit_w, g->fit_h, g->pad_x, g->pad_y, g->rows, g->cols };
  gboolean squared = tiler->mode == VLM_IMAGE_PAD_SQUARE || g->zoomed;
  RgbCanvas square = square_canvas (tiler, picture, g);
  VlmRgb source;

  if (tiler->n_windows + 2 + g->rows + g->cols > CACHED_WINDOWS)
    drop_windows (tiler);
  if (tiler->mode == VLM_IMAGE_CENTRE_CROP)
    base = (Cut){ g->fit_w, g->fit_h, g->pad_x, g->pad_y, 1, 1 };

  if (!vlm_scratch_reserve (tiler->dev, &tiler->tiles,
          tile * vlm_tile_count (g), "tiles", error) ||
      !vlm_source_take (&tiler->source, tiler->dev, picture,
          squared ? &square : NULL, &source, error) ||
      (!g->zoomed &&
          !run_cut (tiler, tiler->tiles.data, &source, &base, error)))
    return NULL;
  if (g->rows > 0 && !run_cut (tiler, (guint8 *) tiler->tiles.data + tile,
                         &source, &grid, error))
    return NULL;
  return tiler->tiles.data;
}

/* Float32 steps in the order of the processor reproduced. */
static float
normalise (
    const VlmImageConfig *config, VlmResampling resampling, int c, int byte)
{
  float mean = (float) config->mean[c], std = (float) config->std[c];
  float x = (float) byte;

  if (config->do_rescale && resampling == VLM_RESAMPLING_PILLOW) {
    x = (float) (byte * config->rescale);
  } else if (config->do_rescale && config->do_normalize) {
    mean *= (float) (1.0 / config->rescale);
    std *= (float) (1.0 / config->rescale);
  } else if (config->do_rescale) {
    x *= (float) config->rescale;
  }
  return config->do_normalize ? (x - mean) / std : x;
}

static gboolean
make_lut (VlmTiler *tiler, const VlmImageConfig *config)
{
  float table[3 * 256];

  for (int i = 0; i < 3 * 256; i++)
    table[i] = normalise (config, tiler->resampling, i / 256, i % 256);
  tiler->lut = device_alloc (tiler->dev, sizeof table);
  if (!tiler->lut)
    return FALSE;
  device_upload (tiler->dev, tiler->lut, table, sizeof table);
  return TRUE;
}

VlmTiler *
vlm_tiler_new (Device *dev, const VlmConfig *config, VlmResampling resampling)
{
  g_autoptr (VlmTiler) tiler = g_new0 (VlmTiler, 1);

  tiler->dev = dev;
  tiler->resampling = resampling;
  tiler->mode = config->image.mode;
  tiler->tile_px = config->vision.image_size;
  for (int c = 0; c < 3; c++)
    tiler->pad_colour[c] = (guint8) CLAMP (config->image.mean[c] * 255, 0, 255);
  return make_lut (tiler, &config->image) ? g_steal_pointer (&tiler) : NULL;
}

void
vlm_tiler_free (VlmTiler *tiler)
{
  if (!tiler)
    return;
  drop_windows (tiler);
  device_free (tiler->dev, tiler->lut);
  vlm_source_clear (&tiler->source, tiler->dev);
  vlm_scratch_clear (tiler->dev, &tiler->between);
  vlm_scratch_clear (tiler->dev, &tiler->tiles);
  g_free (tiler);
}

const float *
vlm_tiler_lut (const VlmTiler *tiler)
{
  return tiler->lut;
}
