/* planes.c - colours that a device makes against GstVideoConverter's
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * GstVideoConverter computes 8-bit formats around middle grey with 8-bit
 * coefficients, which makes white of limited range two levels too dark; so the
 * formulas themselves are tested as well, within one level.
 */
#include "gst/gsthiredvlm-planes.h"

#include <stdlib.h>
#include <string.h>

static Device *device;

/* Pictures whose chroma jumps, or changes slowly: GstVideoConverter blends with
 * what lies above a crop, and in crops of odd places with the wrong neighbour.
 */
typedef enum { NOISE, SLOW } Content;

static guint8
content_byte (Content content, guint *seed, int y, int x)
{
  *seed = *seed * 1664525 + 1013904223;
  return content == NOISE ? *seed >> 24
                          : (y * 3 + x * 2 + (*seed >> 31)) % 512 / 2;
}

/* GStreamer's offset of P010's V is that of the second byte of U. */
static guint8 *
sample_at (const GstVideoFrame *frame, int c, int y, int x)
{
  int bytes = GST_VIDEO_FRAME_COMP_DEPTH (frame, c) > 8 ? 2 : 1;

  return (guint8 *) GST_VIDEO_FRAME_PLANE_DATA (
             frame, GST_VIDEO_FRAME_COMP_PLANE (frame, c)) +
         GST_ROUND_UP_N (GST_VIDEO_FRAME_COMP_POFFSET (frame, c), bytes) +
         y * GST_VIDEO_FRAME_COMP_STRIDE (frame, c) +
         x * GST_VIDEO_FRAME_COMP_PSTRIDE (frame, c);
}

static GstBuffer *
frame_new (GstVideoInfo *info, Content content, int extra)
{
  GstVideoAlignment align;
  GstVideoFrame frame;
  GstBuffer *buffer;
  guint seed = 7;

  gst_video_alignment_reset (&align);
  align.padding_right = align.padding_bottom = extra;
  g_assert_true (gst_video_info_align (info, &align));
  buffer = gst_buffer_new_allocate (NULL, info->size, NULL);
  g_assert_true (gst_video_frame_map (&frame, info, buffer, GST_MAP_WRITE));
  for (guint c = 0; c < GST_VIDEO_FRAME_N_COMPONENTS (&frame); c++)
    for (int y = 0; y < GST_VIDEO_FRAME_COMP_HEIGHT (&frame, c); y++)
      for (int x = 0; x < GST_VIDEO_FRAME_COMP_WIDTH (&frame, c); x++) {
        guint8 *p = sample_at (&frame, c, y, x);

        if (GST_VIDEO_FRAME_COMP_DEPTH (&frame, c) > 8)
          *p++ = content_byte (NOISE, &seed, y, x) & 0xc0;
        *p = content_byte (content, &seed, y, x);
      }
  gst_video_frame_unmap (&frame);
  return buffer;
}

static guint8 *
converted (const GstVideoFrame *frame, const GstVideoRectangle *part)
{
  GstVideoInfo info;
  GstVideoFrame rgb;
  GstVideoConverter *converter;
  guint8 *bytes = g_malloc (part->w * part->h * 3);
  g_autoptr (GstBuffer) buffer = NULL;

  gst_video_info_set_format (&info, GST_VIDEO_FORMAT_RGB, part->w, part->h);
  info.fps_n = frame->info.fps_n;
  info.fps_d = frame->info.fps_d;
  converter = gst_video_converter_new (&frame->info, &info,
      gst_structure_new ("config", GST_VIDEO_CONVERTER_OPT_SRC_X, G_TYPE_INT,
          part->x, GST_VIDEO_CONVERTER_OPT_SRC_Y, G_TYPE_INT, part->y,
          GST_VIDEO_CONVERTER_OPT_SRC_WIDTH, G_TYPE_INT, part->w,
          GST_VIDEO_CONVERTER_OPT_SRC_HEIGHT, G_TYPE_INT, part->h,
          GST_VIDEO_CONVERTER_OPT_DITHER_METHOD, GST_TYPE_VIDEO_DITHER_METHOD,
          GST_VIDEO_DITHER_NONE, NULL));
  buffer = gst_buffer_new_allocate (NULL, info.size, NULL);
  g_assert_true (gst_video_frame_map (&rgb, &info, buffer, GST_MAP_READWRITE));
  gst_video_converter_frame (converter, frame, &rgb);
  for (int y = 0; y < part->h; y++)
    memcpy (bytes + y * part->w * 3,
        (guint8 *) GST_VIDEO_FRAME_PLANE_DATA (&rgb, 0) +
            y * GST_VIDEO_FRAME_PLANE_STRIDE (&rgb, 0),
        part->w * 3);
  gst_video_frame_unmap (&rgb);
  gst_video_converter_free (converter);
  return bytes;
}

/* The largest difference of a byte. */
static int
compare (const char *format, const char *colorimetry, const char *site,
    Content content, const int size[2], const GstVideoRectangle *part)
{
  GstVideoInfo info;
  GstVideoFrame frame;
  Pixels pixels;
  RgbCanvas canvas = { part->w, part->h };
  g_autofree guint8 *want = NULL, *got = g_malloc (part->w * part->h * 3);
  g_autoptr (GstBuffer) buffer = NULL;
  int most = 0;

  gst_video_info_set_format (
      &info, gst_video_format_from_string (format), size[0], size[1]);
  g_assert_true (
      gst_video_colorimetry_from_string (&info.colorimetry, colorimetry));
  if (!GST_VIDEO_INFO_IS_RGB (&info))
    info.chroma_site = gst_video_chroma_site_from_string (site);
  g_assert_true (gst_hired_vlm_planes_taken (&info));
  buffer = frame_new (&info, content, size[0] % 5);
  g_assert_true (gst_video_frame_map (&frame, &info, buffer, GST_MAP_READ));
  want = converted (&frame, part);
  gst_hired_vlm_planes_describe (&pixels, &frame, part);
  device->op->to_rgb (device, got, &pixels, &canvas);
  gst_video_frame_unmap (&frame);
  for (int i = 0; i < part->w * part->h * 3; i++)
    most = MAX (most, abs (want[i] - got[i]));
  return most;
}

/* The levels that GstVideoConverter may be away. */
static int
tolerance (const char *format, const char *colorimetry, Content content)
{
  gboolean full = g_str_has_prefix (colorimetry, "1:");

  if (content == SLOW)
    return 5;
  return strcmp (format, "P010_10LE") == 0 ? 2 : full ? 3 : 6;
}

static void
check (const char *format, const char *colorimetry, const char *site,
    Content content, const int size[2], const GstVideoRectangle *part)
{
  int most = compare (format, colorimetry, site, content, size, part);

  if (g_test_verbose () || most > tolerance (format, colorimetry, content))
    g_printerr ("%s %s %s %dx%d, %dx%d at %d,%d: %d levels\n", format,
        colorimetry, site, size[0], size[1], part->w, part->h, part->x, part->y,
        most);
  if (most > tolerance (format, colorimetry, content))
    g_test_fail ();
}

/* What the colours are to be, in doubles. */
static double
exact (const GstVideoInfo *info, const double v[3], int c)
{
  gboolean full = info->colorimetry.range == GST_VIDEO_COLOR_RANGE_0_255;
  int depth = info->finfo->depth[0], more = 1 << (depth - 8);
  double most = (1 << depth) - 1, r, b;
  double y = 255 * (full ? v[0] / most : (v[0] / more - 16) / 219);
  double u = 255 * (v[1] - 128 * more) / (full ? most : 224 * more);
  double w = 255 * (v[2] - 128 * more) / (full ? most : 224 * more);

  gst_video_color_matrix_get_Kr_Kb (info->colorimetry.matrix, &r, &b);
  y += c == 0   ? 2 * (1 - r) * w
       : c == 2 ? 2 * (1 - b) * u
                : -2 * (b * (1 - b) * u + r * (1 - r) * w) / (1 - r - b);
  return CLAMP (y, 0, 255);
}

/* A picture of one colour, which no blending changes. */
static void
check_exact (const char *format, const char *colorimetry, guint *seed)
{
  GstVideoInfo info;
  GstVideoFrame frame;
  Pixels pixels;
  GstVideoRectangle part = { 0, 0, 3, 3 };
  RgbCanvas canvas = { 3, 3 };
  guint8 got[27];
  double v[3];
  g_autoptr (GstBuffer) buffer = NULL;

  gst_video_info_set_format (
      &info, gst_video_format_from_string (format), 3, 3);
  gst_video_colorimetry_from_string (&info.colorimetry, colorimetry);
  buffer = gst_buffer_new_allocate (NULL, info.size, NULL);
  g_assert_true (
      gst_video_frame_map (&frame, &info, buffer, GST_MAP_READWRITE));
  for (int c = 0; c < 3; c++) {
    guint8 value = content_byte (NOISE, seed, 0, 0);
    int bytes = GST_VIDEO_FRAME_COMP_DEPTH (&frame, c) > 8 ? 2 : 1;

    v[c] = value << (GST_VIDEO_FRAME_COMP_DEPTH (&frame, c) - 8);
    for (int i = 0; i < (c ? 4 : 9); i++)
      sample_at (&frame, c, i / (c ? 2 : 3), i % (c ? 2 : 3))[bytes - 1] =
          value;
    for (int i = 0; bytes == 2 && i < (c ? 4 : 9); i++)
      sample_at (&frame, c, i / (c ? 2 : 3), i % (c ? 2 : 3))[0] = 0;
  }
  gst_hired_vlm_planes_describe (&pixels, &frame, &part);
  device->op->to_rgb (device, got, &pixels, &canvas);
  for (int i = 0; i < 27; i++)
    g_assert_cmpfloat_with_epsilon (got[i], exact (&frame.info, v, i % 3), 0.6);
  gst_video_frame_unmap (&frame);
}

static const char *const yuv[] = { "NV12", "I420", "P010_10LE" };
static const char *const sites[] = { "mpeg2", "jpeg", "cosited" };
static const char *const colours[] = { "bt601", "bt709", "bt2020", "1:4:0:0",
  "1:3:0:0", "1:6:0:0" };

static void
test_yuv (void)
{
  static const int sizes[][2] = { { 64, 48 }, { 63, 47 }, { 2, 2 }, { 1, 1 },
    { 1, 9 }, { 130, 3 } };

  for (guint f = 0; f < G_N_ELEMENTS (yuv); f++)
    for (guint c = 0; c < G_N_ELEMENTS (colours); c++)
      for (guint s = 0; s < G_N_ELEMENTS (sites); s++)
        for (guint i = 0; i < G_N_ELEMENTS (sizes); i++) {
          GstVideoRectangle whole = { 0, 0, sizes[i][0], sizes[i][1] };

          check (yuv[f], colours[c], sites[s], NOISE, sizes[i], &whole);
        }
}

static void
test_exact (void)
{
  guint seed = 1;

  for (guint f = 0; f < G_N_ELEMENTS (yuv); f++)
    for (guint c = 0; c < G_N_ELEMENTS (colours); c++)
      for (int i = 0; i < 200; i++)
        check_exact (yuv[f], colours[c], &seed);
}

static void
test_crops (void)
{
  static const int size[2] = { 67, 50 };
  static const GstVideoRectangle parts[] = { { 10, 4, 20, 31 },
    { 11, 5, 21, 30 }, { 1, 0, 66, 50 }, { 0, 49, 67, 1 }, { 66, 49, 1, 1 } };

  for (guint f = 0; f < G_N_ELEMENTS (yuv); f++)
    for (guint i = 0; i < G_N_ELEMENTS (parts); i++)
      check (yuv[f], "1:3:0:0", "mpeg2", SLOW, size, &parts[i]);
}

static void
test_rgb (void)
{
  static const int size[2] = { 37, 11 };
  static const GstVideoRectangle part = { 3, 1, 33, 9 };
  guint n;
  const GstVideoFormat *formats = gst_hired_vlm_planes_formats (&n);

  for (guint i = 0; i < n; i++) {
    const char *name = gst_video_format_to_string (formats[i]);

    if (!GST_VIDEO_FORMAT_INFO_IS_RGB (gst_video_format_get_info (formats[i])))
      continue;
    g_assert_cmpint (compare (name, "sRGB", "", NOISE, size, &part), ==, 0);
  }
}

static void
test_refusals (void)
{
  GstVideoInfo info;

  gst_video_info_set_format (&info, GST_VIDEO_FORMAT_NV12, 64, 48);
  g_assert_true (gst_hired_vlm_planes_taken (&info));
  info.interlace_mode = GST_VIDEO_INTERLACE_MODE_MIXED;
  g_assert_false (gst_hired_vlm_planes_taken (&info));
  gst_video_info_set_format (&info, GST_VIDEO_FORMAT_NV12, 64, 48);
  info.colorimetry.matrix = GST_VIDEO_COLOR_MATRIX_UNKNOWN;
  g_assert_false (gst_hired_vlm_planes_taken (&info));
  gst_video_info_set_format (&info, GST_VIDEO_FORMAT_RGB, 64, 48);
  info.colorimetry.range = GST_VIDEO_COLOR_RANGE_16_235;
  g_assert_false (gst_hired_vlm_planes_taken (&info));
  gst_video_info_set_format (&info, GST_VIDEO_FORMAT_YUY2, 64, 48);
  g_assert_false (gst_hired_vlm_planes_taken (&info));
}

int
main (int argc, char **argv)
{
  DeviceStatus status;
  int failed;

  g_test_init (&argc, &argv, NULL);
  gst_init (NULL, NULL);
  device = device_open ("cpu", 1, &status);
  g_test_add_func ("/planes/yuv", test_yuv);
  g_test_add_func ("/planes/exact", test_exact);
  g_test_add_func ("/planes/crops", test_crops);
  g_test_add_func ("/planes/rgb", test_rgb);
  g_test_add_func ("/planes/refusals", test_refusals);
  failed = g_test_run ();
  device_close (device);
  return failed;
}
