/* describe-draw.c - the kept tokens of a frame, as a picture
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Left the whole picture squeezed to a square (tile 0), right the grid of
 * tiles with the picture fitted and centred in it. What is darkened was
 * dropped.
 */
#include <cairo.h>
#include <gst/video/video.h>
#include "gst/gstvlmmeta.h"
#include "pipelines/describe.h"

#define TILE 336 /* pixels a tile is drawn with */
#define GAP 24
#define HEAD 28 /* line of text above */

typedef struct {
  int side, rows, cols, tile_px;
  int fit_w, fit_h, pad_x, pad_y;
} Geometry;

static gboolean
read_geometry (const GstStructure *caption, Geometry *g)
{
  const GValue *value = gst_structure_get_value (caption, GST_VLM_GEOMETRY);
  const GstStructure *s = value ? gst_value_get_structure (value) : NULL;
  return s && gst_structure_get (s, "side", G_TYPE_INT, &g->side, "rows",
                  G_TYPE_INT, &g->rows, "cols", G_TYPE_INT, &g->cols, "tile-px",
                  G_TYPE_INT, &g->tile_px, "fit-width", G_TYPE_INT, &g->fit_w,
                  "fit-height", G_TYPE_INT, &g->fit_h, "pad-x", G_TYPE_INT,
                  &g->pad_x, "pad-y", G_TYPE_INT, &g->pad_y, NULL);
}

/* One flag per patch of all tiles. */
static GByteArray *
read_kept (const GstStructure *caption, const Geometry *g)
{
  const GValue *ids = gst_structure_get_value (caption, GST_VLM_KEPT_IDS);
  guint n = (guint) ((1 + g->rows * g->cols) * g->side * g->side);
  GByteArray *kept = g_byte_array_new ();
  g_byte_array_set_size (kept, n);
  for (guint i = 0; i < n; i++)
    kept->data[i] = 0;
  for (guint i = 0; ids && i < gst_value_array_get_size (ids); i++) {
    int id = g_value_get_int (gst_value_array_get_value (ids, i));
    if (id >= 0 && (guint) id < n)
      kept->data[id] = 1;
  }
  return kept;
}

static void
draw_image (
    cairo_t *cr, cairo_surface_t *image, double x, double y, double w, double h)
{
  cairo_save (cr);
  cairo_translate (cr, x, y);
  cairo_scale (cr, w / cairo_image_surface_get_width (image),
      h / cairo_image_surface_get_height (image));
  cairo_set_source_surface (cr, image, 0, 0);
  cairo_pattern_set_extend (cairo_get_source (cr), CAIRO_EXTEND_PAD);
  cairo_rectangle (cr, 0, 0, cairo_image_surface_get_width (image),
      cairo_image_surface_get_height (image));
  cairo_fill (cr);
  cairo_restore (cr);
}

/* Paths around the patches whose flag is `wanted`, `inset` within them. */
static void
add_patches (cairo_t *cr, const guint8 *flags, int side, guint8 wanted,
    double x, double y, double inset)
{
  double patch = (double) TILE / side;
  for (int j = 0; j < side * side; j++)
    if (flags[j] == wanted)
      cairo_rectangle (cr, x + j % side * patch + inset,
          y + j / side * patch + inset, patch - 2 * inset, patch - 2 * inset);
}

/* Darkens what tile `tile`, drawn at (x,y), has dropped, and frames what it
 * keeps, which tells them apart in a dark picture, too. */
static void
draw_tile (cairo_t *cr, const Geometry *g, const GByteArray *kept, int tile,
    double x, double y)
{
  const guint8 *flags = kept->data + tile * g->side * g->side;
  cairo_set_source_rgba (cr, 0.06, 0.07, 0.1, 0.78);
  add_patches (cr, flags, g->side, 0, x, y, 0);
  cairo_fill (cr);
  cairo_set_line_width (cr, 1);
  cairo_set_source_rgba (cr, 1, 0.65, 0.1, 0.6);
  add_patches (cr, flags, g->side, 1, x, y, 0.5);
  cairo_stroke (cr);
  cairo_set_source_rgb (cr, 1, 1, 1);
  cairo_rectangle (cr, x + 0.5, y + 0.5, TILE - 1, TILE - 1);
  cairo_stroke (cr);
}

static void
draw_tiles (cairo_t *cr, const Geometry *g, const GByteArray *kept,
    cairo_surface_t *image)
{
  double scale = (double) TILE / g->tile_px, left = 2 * GAP + TILE;
  double w = g->cols * TILE, h = g->rows * TILE;
  draw_image (cr, image, GAP, HEAD, TILE, TILE);
  draw_tile (cr, g, kept, 0, GAP, HEAD);
  cairo_set_source_rgb (cr, 0, 0, 0);
  cairo_rectangle (cr, left, HEAD, w, h);
  cairo_fill (cr);
  if (g->rows)
    draw_image (cr, image, left + g->pad_x * scale, HEAD + g->pad_y * scale,
        g->fit_w * scale, g->fit_h * scale);
  for (int i = 0; i < g->rows * g->cols; i++)
    draw_tile (cr, g, kept, 1 + i, left + i % g->cols * TILE,
        HEAD + i / g->cols * TILE);
}

static void
draw_text (cairo_t *cr, const GstStructure *caption, int height)
{
  g_autofree char *head = g_strdup_printf ("%s: %u of %u tokens kept",
      gst_structure_get_string (caption, GST_VLM_POLICY),
      gst_vlm_caption_get_count (caption, GST_VLM_IMAGE_TOKENS_KEPT),
      gst_vlm_caption_get_count (caption, GST_VLM_IMAGE_TOKENS));
  cairo_select_font_face (
      cr, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
  cairo_set_font_size (cr, 14);
  cairo_set_source_rgb (cr, 0.1, 0.1, 0.1);
  cairo_move_to (cr, GAP, HEAD - 9);
  cairo_show_text (cr, head);
  cairo_move_to (cr, GAP, height - 10);
  cairo_show_text (cr, gst_vlm_caption_get_text (caption));
}

static gboolean
write_png (const Geometry *g, const GByteArray *kept,
    const GstStructure *caption, cairo_surface_t *image, const char *file,
    GError **error)
{
  int tiles_w = g->cols ? g->cols * TILE + GAP : 0;
  int width = 2 * GAP + TILE + tiles_w;
  int height = 2 * HEAD + MAX (g->rows, 1) * TILE;
  cairo_surface_t *page =
      cairo_image_surface_create (CAIRO_FORMAT_RGB24, width, height);
  cairo_t *cr = cairo_create (page);
  cairo_set_source_rgb (cr, 0.96, 0.96, 0.94);
  cairo_paint (cr);
  draw_tiles (cr, g, kept, image);
  draw_text (cr, caption, height);
  cairo_destroy (cr);
  cairo_status_t status = cairo_surface_write_to_png (page, file);
  cairo_surface_destroy (page);
  if (status != CAIRO_STATUS_SUCCESS)
    g_set_error (error, G_FILE_ERROR, G_FILE_ERROR_FAILED,
        "%s cannot be written: %s.", file, cairo_status_to_string (status));
  return status == CAIRO_STATUS_SUCCESS;
}

/* The frame as cairo wants it. */
static GstSample *
to_cairo_format (GstSample *frame, GError **error)
{
  const char *format = G_BYTE_ORDER == G_LITTLE_ENDIAN ? "BGRx" : "xRGB";
  g_autoptr (GstCaps) caps = gst_caps_new_simple (
      "video/x-raw", "format", G_TYPE_STRING, format, NULL);
  return gst_video_convert_sample (frame, caps, 10 * GST_SECOND, error);
}

gboolean
describe_draw (GstSample *frame, const GstStructure *caption, const char *file,
    GError **error)
{
  Geometry g;
  GstVideoInfo info;
  GstVideoFrame pixels;
  if (!read_geometry (caption, &g)) {
    g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED,
        "%s was not drawn: the caption has no geometry.", file);
    return FALSE;
  }
  g_autoptr (GstSample) converted = to_cairo_format (frame, error);
  if (!converted)
    return FALSE;
  gst_video_info_from_caps (&info, gst_sample_get_caps (converted));
  if (!gst_video_frame_map (
          &pixels, &info, gst_sample_get_buffer (converted), GST_MAP_READ)) {
    g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED,
        "%s was not drawn: the frame cannot be read.", file);
    return FALSE;
  }
  g_autoptr (GByteArray) kept = read_kept (caption, &g);
  cairo_surface_t *image = cairo_image_surface_create_for_data (
      GST_VIDEO_FRAME_PLANE_DATA (&pixels, 0), CAIRO_FORMAT_RGB24, info.width,
      info.height, GST_VIDEO_FRAME_PLANE_STRIDE (&pixels, 0));
  gboolean written = write_png (&g, kept, caption, image, file, error);
  cairo_surface_destroy (image);
  gst_video_frame_unmap (&pixels);
  return written;
}
