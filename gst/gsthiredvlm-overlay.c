/* gsthiredvlm-overlay.c - the kept tokens, drawn over video
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gst/gsthiredvlm-overlay.h"

/* Pixels of the frame per pixel of the overlay, each way. */
#define COARSE 2
#define DARK 0xb0

/* One flag per patch of all tiles; freed by the caller. */
static guint8 *
kept_flags (const VlmResult *r)
{
  const VlmTileGeometry *g = &r->geometry;
  gint n = vlm_tile_count (g) * g->side * g->side;
  guint8 *flags = g_malloc0 (n);

  for (gint i = 0; i < r->n_kept; i++)
    if (r->kept_ids[i] >= 0 && r->kept_ids[i] < n)
      flags[r->kept_ids[i]] = 1;
  return flags;
}

/* Pixel of the canvas of tiles for each overlay pixel of one axis: the
 * picture lies in the canvas at `pad`, `fit` long. A single tile that is not
 * cropped is the picture padded to a square of the longer side. */
static gint *
canvas_pixels (const VlmTileGeometry *g, gint n, gint other, gint fit, gint pad)
{
  gint *at = g_new (gint, n), longer = MAX (n, other);
  gboolean square = g->rows == 0 && g->fit_w == g->fit_h;

  for (gint i = 0; i < n; i++)
    at[i] = square ? (gint) ((i + (longer - n) / 2.0) * g->tile_px / longer)
                   : pad + (gint) ((gint64) i * fit / n);
  return at;
}

static gboolean
is_kept (const VlmTileGeometry *g, const guint8 *flags, gint x, gint y)
{
  gint T = g->tile_px, cols = MAX (g->cols, 1), rows = MAX (g->rows, 1);
  gint tile, patch;

  if (x < 0 || y < 0 || x >= cols * T || y >= rows * T)
    return FALSE;
  tile = (g->rows > 0) + y / T * cols + x / T;
  patch = y % T * g->side / T * g->side + x % T * g->side / T;
  return flags[tile * g->side * g->side + patch];
}

/* Black with an alpha for each pixel of the overlay, in the byte order of
 * overlays (alpha last or first). */
static GstBuffer *
make_pixels (const VlmResult *r, gint w, gint h)
{
  const VlmTileGeometry *g = &r->geometry;
  g_autofree guint8 *flags = kept_flags (r);
  g_autofree gint *xs = canvas_pixels (g, w, h, g->fit_w, g->pad_x);
  g_autofree gint *ys = canvas_pixels (g, h, w, g->fit_h, g->pad_y);
  guint8 *data = g_malloc0 ((gsize) w * h * 4);
  GstBuffer *buffer = gst_buffer_new_wrapped (data, (gsize) w * h * 4);

  for (gint y = 0; y < h; y++)
    for (gint x = 0; x < w; x++)
      if (!is_kept (g, flags, xs[x], ys[y]))
        data[((gsize) y * w + x) * 4 + (G_BYTE_ORDER == G_LITTLE_ENDIAN) * 3] =
            DARK;
  gst_buffer_add_video_meta (buffer, GST_VIDEO_FRAME_FLAG_NONE,
      GST_VIDEO_OVERLAY_COMPOSITION_FORMAT_RGB, w, h);
  return buffer;
}

GstVideoOverlayComposition *
gst_hired_vlm_overlay_new (
    const VlmResult *result, const GstVideoRectangle *area)
{
  gint w = MAX (area->w / COARSE, 1), h = MAX (area->h / COARSE, 1);
  GstVideoOverlayComposition *overlay;
  GstVideoOverlayRectangle *rectangle;
  GstBuffer *pixels;

  if (result->kept_ids == NULL || result->geometry.side <= 0 ||
      result->image_tokens_kept >= result->image_tokens)
    return NULL;
  pixels = make_pixels (result, w, h);
  rectangle = gst_video_overlay_rectangle_new_raw (pixels, area->x, area->y,
      area->w, area->h, GST_VIDEO_OVERLAY_FORMAT_FLAG_NONE);
  gst_buffer_unref (pixels);
  overlay = gst_video_overlay_composition_new (rectangle);
  gst_video_overlay_rectangle_unref (rectangle);
  return overlay;
}

void
gst_hired_vlm_overlay_attach (
    GstBuffer *buffer, GstVideoOverlayComposition *overlay)
{
  GstVideoOverlayCompositionMeta *meta =
      gst_buffer_get_video_overlay_composition_meta (buffer);
  GstVideoOverlayComposition *both;

  if (meta == NULL) {
    gst_buffer_add_video_overlay_composition_meta (buffer, overlay);
    return;
  }
  both = gst_video_overlay_composition_copy (meta->overlay);
  for (guint i = 0; i < gst_video_overlay_composition_n_rectangles (overlay);
       i++)
    gst_video_overlay_composition_add_rectangle (
        both, gst_video_overlay_composition_get_rectangle (overlay, i));
  gst_video_overlay_composition_unref (meta->overlay);
  meta->overlay = both;
}
