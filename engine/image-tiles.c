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

/* Tables of so many windows are kept; a picture needs at most 2 + rows +
 * cols of them. */
#define CACHED_WINDOWS (4 * (VLM_MAX_TILES + 1))

typedef struct {
  int n_in, n_out, from; /* the key; all are a tile wide */
  int lo, hi;            /* see VlmAxis */
  ResizeAxis axis;       /* tables in device memory */
  void *memory;
} Window;

typedef struct {
  void *data;
  gsize size;
} Scratch;

struct VlmTiler {
  Device *dev; /* borrowed */
  VlmResampling resampling;
  VlmImageMode mode;
  int tile_px;
  guint8 pad_colour[3];
  float *lut;
  Window windows[CACHED_WINDOWS];
  int n_windows;
  Scratch source, between, tiles; /* device memory */
  guint8 *squared;                /* host memory of pad_to_square */
  gsize squared_size;
};

/* One resize of the whole source: to fit_w x fit_h, of which rows x cols
 * squares of side T are cut, the first one at (-pad_x, -pad_y). */
typedef struct {
  int fit_w, fit_h, pad_x, pad_y;
  int rows, cols;
} Cut;

typedef struct {
  const guint8 *data; /* device memory */
  int width, height;
  gsize stride;
} Source;

/* Asks first: a device keeps a failed allocation as its own failure. */
static void *
allocate (VlmTiler *tiler, gsize size, const char *what, GError **error)
{
  gsize available = device_memory_free (tiler->dev);
  void *data = size <= available ? device_alloc (tiler->dev, size) : NULL;

  if (!data)
    g_set_error (error, VLM_ERROR, VLM_ERROR_NO_MEMORY,
        "The %s of a picture needs %" G_GSIZE_FORMAT
        " bytes, but only %" G_GSIZE_FORMAT " are free on %s.",
        what, size, available, tiler->dev->name);
  return data;
}

static gboolean
reserve (VlmTiler *tiler, Scratch *scratch, gsize size, const char *what,
    GError **error)
{
  if (size <= scratch->size)
    return TRUE;
  device_free (tiler->dev, scratch->data);
  scratch->size = 0;
  scratch->data = allocate (tiler, size, what, error);
  if (!scratch->data)
    return FALSE;
  scratch->size = size;
  return TRUE;
}

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
  char *memory = allocate (tiler, 2 * row + weights, "resize table", error);

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
    g_set_error (error, VLM_ERROR, VLM_ERROR_NO_MEMORY,
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
columns_first (const VlmTiler *tiler, const Source *source, const Cut *cut)
{
  return tiler->resampling == VLM_RESAMPLING_PILLOW &&
         source->height - cut->fit_h > 2 * MAX (0, source->width - cut->fit_w);
}

/* `between` holds one column of tiles at a time, [height,T,3]. */
static void
run_rows_first (VlmTiler *tiler, guint8 *tiles, const Source *source,
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
run_columns_first (VlmTiler *tiler, guint8 *tiles, const Source *source,
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
run_cut (VlmTiler *tiler, guint8 *tiles, const Source *source, const Cut *cut,
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
  if (!reserve (tiler, &tiler->between, length * T * 3, "resizing", error))
    return FALSE;
  if (columns)
    run_columns_first (tiler, tiles, source, cut, x, y);
  else
    run_rows_first (tiler, tiles, source, cut, x, y);
  return TRUE;
}

/* ---- source ---- */

/* The picture centred on a square of the mean colour, square as pixels are
 * seen; in host memory. Source: image_processing_llava.py, pad_to_square. */
static gboolean
pad_to_square (VlmTiler *tiler, const VlmPicture *picture,
    const VlmTileGeometry *g, VlmPicture *square, GError **error)
{
  int side = MAX (g->img_w, g->img_h);
  int width =
      (int) (((gint64) side * picture->width + g->img_w / 2) / g->img_w);
  gsize stride = (gsize) 3 * width, size = stride * side;
  int left = (width - picture->width) / 2, top = (side - picture->height) / 2;

  if (size > tiler->squared_size) {
    g_free (tiler->squared);
    tiler->squared = g_try_malloc (size);
    tiler->squared_size = tiler->squared ? size : 0;
  }
  if (!tiler->squared) {
    g_set_error (error, VLM_ERROR, VLM_ERROR_NO_MEMORY,
        "The picture padded to a square needs %" G_GSIZE_FORMAT
        " bytes, which do not fit into memory.",
        size);
    return FALSE;
  }
  for (gsize i = 0; i < size; i++)
    tiler->squared[i] = tiler->pad_colour[i % 3];
  for (int y = 0; y < picture->height; y++)
    memcpy (tiler->squared + (top + y) * stride + (gsize) 3 * left,
        picture->data + y * picture->stride, (gsize) 3 * picture->width);
  *square = (VlmPicture){ tiler->squared, width, side, stride, 1, 1 };
  return TRUE;
}

static gboolean
upload_picture (
    VlmTiler *tiler, const VlmPicture *picture, Source *source, GError **error)
{
  gsize size =
      (picture->height - 1) * picture->stride + (gsize) 3 * picture->width;

  if (!reserve (tiler, &tiler->source, size, "copy", error))
    return FALSE;
  device_upload (tiler->dev, tiler->source.data, picture->data, size);
  *source = (Source){ tiler->source.data, picture->width, picture->height,
    picture->stride };
  return TRUE;
}

static gboolean
check_picture (const VlmPicture *picture, GError **error)
{
  if (picture->data && picture->width >= 1 && picture->height >= 1 &&
      picture->width <= VLM_MAX_PICTURE_SIDE &&
      picture->height <= VLM_MAX_PICTURE_SIDE &&
      picture->stride >= (gsize) 3 * picture->width)
    return TRUE;
  g_set_error (error, VLM_ERROR, VLM_ERROR_REQUEST,
      "The picture is %dx%d pixels with %" G_GSIZE_FORMAT
      " bytes a row, expected sides of 1 to %d and 3 bytes a pixel.",
      picture->width, picture->height, picture->stride, VLM_MAX_PICTURE_SIDE);
  return FALSE;
}

/* ---- the tiler ---- */

const guint8 *
vlm_tiler_run (VlmTiler *tiler, const VlmPicture *picture,
    const VlmTileGeometry *geometry, GError **error)
{
  const VlmTileGeometry *g = geometry;
  int T = tiler->tile_px;
  gsize tile = (gsize) 3 * T * T;
  Cut base = { T, T, 0, 0, 1, 1 };
  Cut grid = { g->fit_w, g->fit_h, g->pad_x, g->pad_y, g->rows, g->cols };
  VlmPicture input = *picture;
  Source source;

  if (tiler->n_windows + 2 + g->rows + g->cols > CACHED_WINDOWS)
    drop_windows (tiler);
  if (tiler->mode == VLM_IMAGE_CENTRE_CROP)
    base = (Cut){ g->fit_w, g->fit_h, g->pad_x, g->pad_y, 1, 1 };

  if (!check_picture (picture, error) ||
      ((tiler->mode == VLM_IMAGE_PAD_SQUARE || g->zoomed) &&
          !pad_to_square (tiler, picture, g, &input, error)) ||
      !reserve (
          tiler, &tiler->tiles, tile * vlm_tile_count (g), "tiles", error) ||
      !upload_picture (tiler, &input, &source, error) ||
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
  device_free (tiler->dev, tiler->source.data);
  device_free (tiler->dev, tiler->between.data);
  device_free (tiler->dev, tiler->tiles.data);
  g_free (tiler->squared);
  g_free (tiler);
}

const float *
vlm_tiler_lut (const VlmTiler *tiler)
{
  return tiler->lut;
}
