/* gsthiredvlm-planes.c - frames that a device takes as they are
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gst/gsthiredvlm-planes.h"

#include <math.h>

static const GstVideoFormat formats[] = {
  GST_VIDEO_FORMAT_NV12,
  GST_VIDEO_FORMAT_I420,
  GST_VIDEO_FORMAT_P010_10LE,
  GST_VIDEO_FORMAT_RGB,
  GST_VIDEO_FORMAT_BGR,
  GST_VIDEO_FORMAT_RGBx,
  GST_VIDEO_FORMAT_BGRx,
  GST_VIDEO_FORMAT_xRGB,
  GST_VIDEO_FORMAT_xBGR,
  GST_VIDEO_FORMAT_RGBA,
  GST_VIDEO_FORMAT_BGRA,
  GST_VIDEO_FORMAT_ARGB,
  GST_VIDEO_FORMAT_ABGR,
  GST_VIDEO_FORMAT_RGBP,
};

const GstVideoFormat *
gst_hired_vlm_planes_formats (guint *n)
{
  *n = G_N_ELEMENTS (formats);
  return formats;
}

static gboolean
is_listed (GstVideoFormat format)
{
  for (guint i = 0; i < G_N_ELEMENTS (formats); i++)
    if (formats[i] == format)
      return TRUE;
  return FALSE;
}

static gboolean
are_colours_known (const GstVideoInfo *info)
{
  double r, b;

  return GST_VIDEO_INFO_IS_RGB (info)
             ? info->colorimetry.range != GST_VIDEO_COLOR_RANGE_16_235
             : gst_video_color_matrix_get_Kr_Kb (
                   info->colorimetry.matrix, &r, &b);
}

gboolean
gst_hired_vlm_planes_taken (const GstVideoInfo *info)
{
  return is_listed (GST_VIDEO_INFO_FORMAT (info)) &&
         !GST_VIDEO_INFO_IS_INTERLACED (info) && are_colours_known (info);
}

/* From Y of 0..1, U and V of -0.5..0.5 to R, G and B of 0..1. */
static void
colours_of (const GstVideoInfo *info, double m[3][3])
{
  double r = 0, b = 0, g;

  gst_video_color_matrix_get_Kr_Kb (info->colorimetry.matrix, &r, &b);
  g = 1 - r - b;
  m[0][0] = m[1][0] = m[2][0] = 1;
  m[0][1] = m[2][2] = 0;
  m[0][2] = 2 * (1 - r);
  m[1][1] = -2 * b * (1 - b) / g;
  m[1][2] = -2 * r * (1 - r) / g;
  m[2][1] = 2 * (1 - b);
}

static void
make_matrix (Pixels *pixels, const GstVideoInfo *info)
{
  gint offset[GST_VIDEO_MAX_COMPONENTS], scale[GST_VIDEO_MAX_COMPONENTS];
  double m[3][3];

  gst_video_color_range_offsets (
      info->colorimetry.range, info->finfo, offset, scale);
  colours_of (info, m);
  for (int c = 0; c < 3; c++) {
    double constant = 0;

    for (int part = 0; part < 3; part++) {
      double unit = ldexp (255 * m[c][part] / scale[part], PIXELS_PRECISION);

      constant -= unit * offset[part];
      pixels->matrix[c][part] =
          (gint32) lrint (ldexp (unit, -info->finfo->shift[part]));
    }
    pixels->matrix[c][3] = (gint32) lrint (constant);
  }
}

/* Quarters of the neighbour: see Pixels. */
static void
make_chroma (Pixels *pixels, const GstVideoInfo *info)
{
  GstVideoChromaSite site = info->chroma_site;

  if (GST_VIDEO_INFO_FORMAT (info) == GST_VIDEO_FORMAT_I420)
    return;
  if (site & GST_VIDEO_CHROMA_SITE_H_COSITED)
    pixels->near_x[1] = 2;
  else
    pixels->near_x[0] = pixels->near_x[1] = 1;
  if (!(site & GST_VIDEO_CHROMA_SITE_V_COSITED))
    pixels->near_y[0] = pixels->near_y[1] = 1;
}

/* Planes begin at the sample that has the part's first pixel. */
static void
place (Pixels *pixels, const GstVideoFrame *frame, gint x, gint y)
{
  const GstVideoFormatInfo *finfo = frame->info.finfo;

  pixels->skip_x = x & pixels->shift_x;
  pixels->skip_y = y & pixels->shift_y;
  for (int c = 0; c < 3; c++) {
    int plane = finfo->plane[c];
    gint column = (x - pixels->skip_x) >> finfo->w_sub[c];
    gint row = (y - pixels->skip_y) >> finfo->h_sub[c];

    /* Of P010 GStreamer says that V begins a byte after U. */
    pixels->part[c] =
        (PixelPart){ plane, GST_ROUND_UP_N (finfo->poffset[c], pixels->bytes),
          finfo->pixel_stride[c] };
    pixels->stride[plane] = GST_VIDEO_FRAME_PLANE_STRIDE (frame, plane);
    pixels->plane[plane] =
        (const guint8 *) GST_VIDEO_FRAME_PLANE_DATA (frame, plane) +
        row * pixels->stride[plane] + (gsize) column * finfo->pixel_stride[c];
  }
}

void
gst_hired_vlm_planes_describe (
    Pixels *pixels, const GstVideoFrame *frame, const GstVideoRectangle *part)
{
  const GstVideoFormatInfo *finfo = frame->info.finfo;

  *pixels = (Pixels){
    .width = part->w,
    .height = part->h,
    .bytes = (finfo->depth[0] + 7) / 8,
    .shift_x = finfo->w_sub[1],
    .shift_y = finfo->h_sub[1],
    .is_rgb = GST_VIDEO_INFO_IS_RGB (&frame->info) &&
              frame->info.colorimetry.range != GST_VIDEO_COLOR_RANGE_16_235,
  };
  place (pixels, frame, part->x, part->y);
  if (pixels->is_rgb)
    return;
  make_chroma (pixels, &frame->info);
  make_matrix (pixels, &frame->info);
}
