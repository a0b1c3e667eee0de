/* image-grid.c - grid choice, tile geometry, token counts
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Source: transformers' image_processing_utils.py, select_best_resolution;
 * image_processing_llava_next.py, get_patch_output_size;
 * modeling_llava_next.py, unpad_image.
 */
#include "engine/image.h"

#include <math.h>

#include "engine/error.h"

typedef struct {
  gint64 used, wasted; /* pixels */
} PinpointScore;

/* Doubles and this order of operations: exact arithmetic chooses other grids
 * for some sizes, 577x1153 for one. */
static PinpointScore
score_pinpoint (const int pinpoint[2], int width, int height)
{
  double scale =
      MIN ((double) pinpoint[1] / width, (double) pinpoint[0] / height);
  gint64 scaled_width = (gint64) (width * scale);
  gint64 scaled_height = (gint64) (height * scale);
  PinpointScore score;

  score.used = MIN (scaled_width * scaled_height, (gint64) width * height);
  score.wasted = (gint64) pinpoint[0] * pinpoint[1] - score.used;
  return score;
}

static const int *
best_pinpoint (const VlmImageConfig *config, int width, int height)
{
  PinpointScore best = { 0, G_MAXINT64 };
  const int *found = NULL;

  for (int i = 0; i < config->n_pinpoints; i++) {
    const int *pinpoint = config->pinpoint[i];
    PinpointScore s = score_pinpoint (pinpoint, width, height);

    if (s.used > best.used || (s.used == best.used && s.wasted < best.wasted)) {
      best = s;
      found = pinpoint;
    }
  }
  return found;
}

/* The product is rounded up with its error, as the reference does. */
static void
fit_and_centre (VlmTileGeometry *g, int target_h, int target_w)
{
  double scale_w = (double) target_w / g->img_w;
  double scale_h = (double) target_h / g->img_h;

  if (scale_w < scale_h) {
    g->fit_w = target_w;
    g->fit_h = (int) MIN (ceil (g->img_h * scale_w), target_h);
  } else {
    g->fit_h = target_h;
    g->fit_w = (int) MIN (ceil (g->img_w * scale_h), target_w);
  }
  g->pad_y = (target_h - g->fit_h) / 2;
  g->pad_x = (target_w - g->fit_w) / 2;
}

static gboolean
anyres_geometry (
    VlmTileGeometry *g, const VlmImageConfig *config, GError **error)
{
  const int *best = best_pinpoint (config, g->img_w, g->img_h);

  if (!best) {
    vlm_fail (error, VLM_ERROR_REQUEST, NULL,
        "None of the %d grid sizes of the model takes a picture of %dx%d.",
        config->n_pinpoints, g->img_w, g->img_h);
    return FALSE;
  }
  g->rows = best[0] / g->tile_px;
  g->cols = best[1] / g->tile_px;
  if (g->rows < 1 || g->cols < 1 || g->rows > VLM_MAX_TILES ||
      g->cols > VLM_MAX_TILES || vlm_tile_count (g) > VLM_MAX_TILES) {
    vlm_fail (error, VLM_ERROR_REQUEST, NULL,
        "The grid size %dx%d of the model makes %d x %d tiles of %d pixels, "
        "expected 1 to %d with the whole picture.",
        best[0], best[1], g->rows, g->cols, g->tile_px, VLM_MAX_TILES);
    return FALSE;
  }
  g->unpad = TRUE;
  fit_and_centre (g, best[0], best[1]);
  return TRUE;
}

/* The short side becomes the tile's; the long one sticks out on both sides,
 * which makes its padding negative. */
static void
centre_crop_geometry (VlmTileGeometry *g)
{
  int T = g->tile_px;
  gint64 longer = MAX (g->img_w, g->img_h), shorter = MIN (g->img_w, g->img_h);
  int fit_longer = (int) ((double) (T * longer) / (double) shorter);

  g->fit_w = g->img_w > g->img_h ? fit_longer : T;
  g->fit_h = g->img_w > g->img_h ? T : fit_longer;
  g->pad_y = -((g->fit_h - T) / 2);
  g->pad_x = -((g->fit_w - T) / 2);
}

static gboolean
fail_size (int width, int height, int limit, GError **error)
{
  g_autofree char *expected = g_strdup_printf ("sides of 1 to %d", limit);
  g_autofree char *found = g_strdup_printf ("%dx%d pixels", width, height);

  return vlm_fail (error, VLM_ERROR_REQUEST,
      VLM_ABOUT (.expected = expected, .found = found),
      "The picture is %dx%d pixels, expected sides of 1 to %d.", width, height,
      limit);
}

gboolean
vlm_tile_geometry (VlmTileGeometry *geometry, const VlmConfig *config,
    int width, int height, GError **error)
{
  gboolean squared = config->image.mode == VLM_IMAGE_PAD_SQUARE ||
                     config->image.mode == VLM_IMAGE_ZOOM;
  int limit = squared ? VLM_MAX_SQUARE_SIDE : VLM_MAX_PICTURE_SIDE;
  VlmTileGeometry g = { .side = config->vision.side,
    .tile_px = config->vision.image_size,
    .img_h = height,
    .img_w = width };

  if (width < 1 || height < 1 || width > limit || height > limit)
    return fail_size (width, height, limit, error);
  switch (config->image.mode) {
  case VLM_IMAGE_ANYRES:
    if (!anyres_geometry (&g, &config->image, error))
      return FALSE;
    break;
  case VLM_IMAGE_CENTRE_CROP:
    centre_crop_geometry (&g);
    break;
  case VLM_IMAGE_PAD_SQUARE:
    g.fit_h = g.fit_w = g.tile_px;
    break;
  case VLM_IMAGE_ZOOM:
    g.zoomed = TRUE;
    g.rows = g.cols = config->zoom.ratio;
    g.fit_h = g.fit_w = g.rows * g.tile_px;
    break;
  }
  *geometry = g;
  return TRUE;
}

gboolean
vlm_picture_square_size (
    const VlmPicture *picture, int *width, int *height, GError **error)
{
  gint64 n = picture->pixel_aspect_n, d = picture->pixel_aspect_d;
  gint64 square_width;

  if (n < 1 || d < 1 || picture->width < 1 || picture->height < 1) {
    vlm_fail (error, VLM_ERROR_REQUEST, NULL,
        "The picture is %dx%d pixels of aspect %d/%d, expected positive "
        "numbers.",
        picture->width, picture->height, picture->pixel_aspect_n,
        picture->pixel_aspect_d);
    return FALSE;
  }
  square_width = (picture->width * n + d / 2) / d;
  *width = (int) CLAMP (square_width, 1, VLM_MAX_PICTURE_SIDE);
  *height = picture->height;
  return TRUE;
}

void
vlm_tile_kept (const VlmTileGeometry *g, int *first_row, int *n_rows,
    int *first_col, int *n_cols)
{
  gint64 canvas_h = g->rows * g->side, canvas_w = g->cols * g->side;
  int cut_rows = 0, cut_cols = 0;

  if (g->unpad) {
    if (g->img_w * canvas_h > canvas_w * g->img_h)
      cut_rows = (int) (canvas_h - g->img_h * canvas_w / g->img_w) / 2;
    else
      cut_cols = (int) (canvas_w - g->img_w * canvas_h / g->img_h) / 2;
  }
  *first_row = cut_rows;
  *n_rows = (int) canvas_h - 2 * cut_rows;
  *first_col = cut_cols;
  *n_cols = (int) canvas_w - 2 * cut_cols;
}

int
vlm_tile_image_tokens (const VlmTileGeometry *g, const VlmConfig *config)
{
  int y, x, n_rows, n_cols;
  int base = g->side * g->side + (config->keep_class_token ? 1 : 0);

  if (g->zoomed)
    return base;
  vlm_tile_kept (g, &y, &n_rows, &x, &n_cols);
  return base + n_rows * (n_cols + (config->newline ? 1 : 0));
}

/* What packing keeps of the canvas, and the place of its first cell. */
typedef struct {
  int first_row, n_rows, first_col, n_cols;
  int stride; /* places from line to line */
  int place;
} KeptCanvas;

static KeptCanvas
kept_canvas (const VlmTileGeometry *g, const VlmConfig *config, int first)
{
  KeptCanvas c;

  vlm_tile_kept (g, &c.first_row, &c.n_rows, &c.first_col, &c.n_cols);
  c.stride = c.n_cols + (config->newline ? 1 : 0);
  c.place = first + g->side * g->side + (config->keep_class_token ? 1 : 0);
  return c;
}

static int
place_of_cell (const KeptCanvas *c, int y, int x)
{
  y = CLAMP (y - c->first_row, 0, MAX (c->n_rows - 1, 0));
  x = CLAMP (x - c->first_col, 0, MAX (c->n_cols - 1, 0));
  return c->place + y * c->stride + x;
}

void
vlm_tile_places (
    const VlmTileGeometry *g, const VlmConfig *config, int first, int *place)
{
  KeptCanvas canvas = kept_canvas (g, config, first);
  int S = g->side, N = S * S, P = vlm_tile_count (g);

  for (int j = 0; j < N; j++)
    place[j] = canvas.place - N + j;
  for (int id = N; id < P * N; id++) {
    int t = id / N - 1, j = id % N;

    place[id] = place_of_cell (
        &canvas, t / g->cols * S + j / S, t % g->cols * S + j % S);
  }
  place[P * N] = first;
  for (int t = 1; t < P; t++)
    place[P * N + t] = place[t * N];
  place[P * (N + 1)] = first + vlm_tile_image_tokens (g, config) - 1;
}

int
vlm_tile_line_end (
    const VlmTileGeometry *g, const VlmConfig *config, int first, int place)
{
  KeptCanvas c = kept_canvas (g, config, first);

  return place - (place - c.place) % c.stride + c.n_cols;
}
