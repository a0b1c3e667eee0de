/* describe-draw.c - the kept tokens of frames, as a picture
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A panel per frame: left the whole picture squeezed to a square (tile 0),
 * right the grid of tiles with the picture fitted and centred in it. What is
 * darkened was dropped. Panels stand in rows on one page.
 */
#include <gst/video/video.h>
#include <math.h>
#include <pango/pangocairo.h>
#include "gst/gstvlmmeta.h"
#include "pipelines/describe.h"

#define TILE 336       /* pixels a tile of a lone panel is drawn with */
#define SMALL_TILE 168 /* ... of one among several */
#define GAP 24
#define HEAD 28    /* line of text above */
#define ASPECT 1.5 /* width to height that a page of several panels is near */

typedef struct {
  int side, rows, cols, tile_px;
  int fit_w, fit_h, pad_x, pad_y;
} Geometry;

typedef struct {
  const GstStructure *caption; /* borrowed of the frame */
  Geometry geometry;
  GstSample *frame; /* as cairo wants it */
  GByteArray *kept; /* a flag per patch of all tiles */
} Panel;

typedef struct {
  Panel *panels;
  guint n, columns;
  int tile;          /* pixels a tile is drawn with */
  int width, height; /* of a panel */
  int text_height;   /* of a panel's caption */
} Page;

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
add_patches (cairo_t *cr, int tile, const guint8 *flags, int side,
    guint8 wanted, double x, double y, double inset)
{
  double patch = (double) tile / side;
  for (int j = 0; j < side * side; j++)
    if (flags[j] == wanted)
      cairo_rectangle (cr, x + j % side * patch + inset,
          y + j / side * patch + inset, patch - 2 * inset, patch - 2 * inset);
}

/* Darkens what tile t, drawn at (x,y), has dropped, and frames what it keeps,
 * which tells them apart in a dark picture, too. */
static void
draw_tile (cairo_t *cr, const Page *page, const Panel *panel, int t, double x,
    double y)
{
  int side = panel->geometry.side;
  const guint8 *flags = panel->kept->data + t * side * side;
  cairo_set_source_rgba (cr, 0.06, 0.07, 0.1, 0.78);
  add_patches (cr, page->tile, flags, side, 0, x, y, 0);
  cairo_fill (cr);
  cairo_set_line_width (cr, 1);
  cairo_set_source_rgba (cr, 1, 0.65, 0.1, 0.6);
  add_patches (cr, page->tile, flags, side, 1, x, y, 0.5);
  cairo_stroke (cr);
  cairo_set_source_rgb (cr, 1, 1, 1);
  cairo_rectangle (cr, x + 0.5, y + 0.5, page->tile - 1, page->tile - 1);
  cairo_stroke (cr);
}

static void
draw_tiles (
    cairo_t *cr, const Page *page, const Panel *panel, cairo_surface_t *image)
{
  const Geometry *g = &panel->geometry;
  int tile = page->tile, left = 2 * GAP + tile;
  double scale = (double) tile / g->tile_px;
  draw_image (cr, image, GAP, HEAD, tile, tile);
  draw_tile (cr, page, panel, 0, GAP, HEAD);
  cairo_set_source_rgb (cr, 0, 0, 0);
  cairo_rectangle (cr, left, HEAD, g->cols * tile, g->rows * tile);
  cairo_fill (cr);
  if (g->rows)
    draw_image (cr, image, left + g->pad_x * scale, HEAD + g->pad_y * scale,
        g->fit_w * scale, g->fit_h * scale);
  for (int i = 0; i < g->rows * g->cols; i++)
    draw_tile (cr, page, panel, 1 + i, left + i % g->cols * tile,
        HEAD + i / g->cols * tile);
}

static PangoLayout *
lay_out (cairo_t *cr, const Page *page, const char *text)
{
  PangoLayout *layout = pango_cairo_create_layout (cr);
  PangoFontDescription *font =
      pango_font_description_from_string ("DejaVu Sans 10.5");
  pango_layout_set_font_description (layout, font);
  pango_font_description_free (font);
  pango_layout_set_width (layout, (page->width - 2 * GAP) * PANGO_SCALE);
  pango_layout_set_wrap (layout, PANGO_WRAP_WORD_CHAR);
  pango_layout_set_text (layout, text ? text : "", -1);
  return layout;
}

/* Returns the text's height. */
static int
draw_text (cairo_t *cr, const Page *page, const char *text, double x, double y)
{
  g_autoptr (PangoLayout) layout = lay_out (cr, page, text);
  int height;
  cairo_set_source_rgb (cr, 0.1, 0.1, 0.1);
  cairo_move_to (cr, x, y);
  pango_cairo_show_layout (cr, layout);
  pango_layout_get_pixel_size (layout, NULL, &height);
  return height;
}

static gboolean
draw_panel (cairo_t *cr, const Page *page, const Panel *panel)
{
  const GstStructure *caption = panel->caption;
  GstVideoInfo info;
  GstVideoFrame pixels;
  g_autofree char *head = g_strdup_printf ("%s: %u of %u tokens kept",
      gst_structure_get_string (caption, GST_VLM_POLICY),
      gst_vlm_caption_get_count (caption, GST_VLM_IMAGE_TOKENS_KEPT),
      gst_vlm_caption_get_count (caption, GST_VLM_IMAGE_TOKENS));

  gst_video_info_from_caps (&info, gst_sample_get_caps (panel->frame));
  if (!gst_video_frame_map (
          &pixels, &info, gst_sample_get_buffer (panel->frame), GST_MAP_READ))
    return FALSE;
  cairo_surface_t *image = cairo_image_surface_create_for_data (
      GST_VIDEO_FRAME_PLANE_DATA (&pixels, 0), CAIRO_FORMAT_RGB24, info.width,
      info.height, GST_VIDEO_FRAME_PLANE_STRIDE (&pixels, 0));
  draw_tiles (cr, page, panel, image);
  cairo_surface_destroy (image);
  gst_video_frame_unmap (&pixels);
  draw_text (cr, page, head, GAP, 6);
  draw_text (cr, page, gst_vlm_caption_get_text (caption), GAP,
      page->height - page->text_height - 6);
  return TRUE;
}

/* ---- the page ---- */

/* Panels are as large as the largest; captions take the lines they need. */
static void
measure (Page *page)
{
  cairo_surface_t *none = cairo_image_surface_create (CAIRO_FORMAT_RGB24, 1, 1);
  cairo_t *cr = cairo_create (none);
  int rows = 1, cols = 0;

  page->tile = page->n > 1 ? SMALL_TILE : TILE;
  for (guint i = 0; i < page->n; i++) {
    rows = MAX (rows, page->panels[i].geometry.rows);
    cols = MAX (cols, page->panels[i].geometry.cols);
  }
  page->width = 2 * GAP + page->tile + (cols ? cols * page->tile + GAP : 0);
  for (guint i = 0; i < page->n; i++)
    page->text_height = MAX (page->text_height,
        draw_text (cr, page, gst_vlm_caption_get_text (page->panels[i].caption),
            0, 0));
  page->height = HEAD + rows * page->tile + 12 + page->text_height;
  page->columns =
      (guint) round (sqrt (page->n * ASPECT * page->height / page->width));
  page->columns = CLAMP (page->columns, 1, page->n);
  cairo_destroy (cr);
  cairo_surface_destroy (none);
}

static gboolean
draw_page (cairo_t *cr, const Page *page)
{
  gboolean drawn = TRUE;
  cairo_set_source_rgb (cr, 0.96, 0.96, 0.94);
  cairo_paint (cr);
  for (guint i = 0; i < page->n && drawn; i++) {
    cairo_save (cr);
    cairo_translate (
        cr, i % page->columns * page->width, i / page->columns * page->height);
    drawn = draw_panel (cr, page, &page->panels[i]);
    cairo_restore (cr);
  }
  return drawn;
}

static gboolean
write_png (const Page *page, const char *file, GError **error)
{
  guint rows = (page->n + page->columns - 1) / page->columns;
  cairo_surface_t *paper = cairo_image_surface_create (CAIRO_FORMAT_RGB24,
      (int) page->columns * page->width, (int) rows * page->height);
  cairo_t *cr = cairo_create (paper);
  gboolean drawn = draw_page (cr, page);
  cairo_status_t status = cairo_status (cr);
  cairo_destroy (cr);
  if (drawn && status == CAIRO_STATUS_SUCCESS)
    status = cairo_surface_write_to_png (paper, file);
  cairo_surface_destroy (paper);
  if (!drawn || status != CAIRO_STATUS_SUCCESS)
    g_set_error (error, G_FILE_ERROR, G_FILE_ERROR_FAILED,
        "%s cannot be written: %s.", file,
        drawn ? cairo_status_to_string (status) : "a frame cannot be read");
  return drawn && status == CAIRO_STATUS_SUCCESS;
}

/* ---- its panels ---- */

/* The frame as cairo wants it. */
static GstSample *
to_cairo_format (GstSample *frame, GError **error)
{
  const char *format = G_BYTE_ORDER == G_LITTLE_ENDIAN ? "BGRx" : "xRGB";
  g_autoptr (GstCaps) caps = gst_caps_new_simple (
      "video/x-raw", "format", G_TYPE_STRING, format, NULL);
  return gst_video_convert_sample (frame, caps, 10 * GST_SECOND, error);
}

static gboolean
panel_init (Panel *panel, GstSample *frame, GError **error)
{
  panel->caption = gst_vlm_buffer_get_caption (gst_sample_get_buffer (frame));
  if (!panel->caption || !read_geometry (panel->caption, &panel->geometry)) {
    g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED,
        "No picture was drawn: a caption has no geometry.");
    return FALSE;
  }
  panel->kept = read_kept (panel->caption, &panel->geometry);
  panel->frame = to_cairo_format (frame, error);
  return panel->frame != NULL;
}

static void
panel_clear (Panel *panel)
{
  g_clear_pointer (&panel->kept, g_byte_array_unref);
  g_clear_pointer (&panel->frame, gst_sample_unref);
}

gboolean
describe_draw (
    GstSample *const *frames, guint n, const char *file, GError **error)
{
  g_autofree Panel *panels = g_new0 (Panel, n);
  Page page = { .panels = panels, .n = n };
  gboolean done = TRUE;

  for (guint i = 0; i < n && done; i++)
    done = panel_init (&panels[i], frames[i], error);
  if (done) {
    measure (&page);
    done = write_png (&page, file, error);
  }
  for (guint i = 0; i < n; i++)
    panel_clear (&panels[i]);
  return done;
}
