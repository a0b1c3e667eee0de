/* gsthiredvlm-frame.c - a frame that shall be described, and its pixels
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gst/gsthiredvlm-frame.h"

#include <stdlib.h>
#include <string.h>
#include "engine/error.h"
#include "gst/gsthiredvlm-cuda.h"
#include "gst/gsthiredvlm-planes.h"

void
gst_hired_vlm_wish_free (GstHiredVlmWish *wish)
{
  if (wish == NULL)
    return;
  g_free (wish->prompt);
  if (wish->promise)
    gst_promise_unref (wish->promise);
  g_free (wish);
}

GstHiredVlmFrame *
gst_hired_vlm_frame_new (GstBuffer *buffer, const GstVideoInfo *info,
    const GstSegment *segment, guint64 timestamp, guint64 duration)
{
  GstHiredVlmFrame *frame = g_new0 (GstHiredVlmFrame, 1);

  frame->buffer = gst_buffer_ref (buffer);
  frame->info = *info;
  frame->timestamp = timestamp;
  frame->duration = duration;
  frame->stream_time = frame->running_time = GST_CLOCK_TIME_NONE;
  if (segment->format == GST_FORMAT_TIME) {
    frame->stream_time =
        gst_segment_to_stream_time (segment, GST_FORMAT_TIME, timestamp);
    frame->running_time =
        gst_segment_to_running_time (segment, GST_FORMAT_TIME, timestamp);
  }
  return frame;
}

GstHiredVlmFrame *
gst_hired_vlm_frame_copy (const GstHiredVlmFrame *frame)
{
  GstHiredVlmFrame *copy = g_memdup2 (frame, sizeof *frame);

  copy->buffer = gst_buffer_ref (frame->buffer);
  copy->stream_id = g_strdup (frame->stream_id);
  copy->prompt = NULL;
  copy->wish = NULL;
  return copy;
}

void
gst_hired_vlm_frame_free (GstHiredVlmFrame *frame)
{
  if (frame == NULL)
    return;
  gst_clear_buffer (&frame->buffer);
  g_free (frame->prompt);
  g_free (frame->stream_id);
  gst_hired_vlm_wish_free (frame->wish);
  g_free (frame);
}

static GstVideoRectangle
crop_of (const GstHiredVlmFrame *frame)
{
  GstVideoCropMeta *meta = gst_buffer_get_video_crop_meta (frame->buffer);
  GstVideoRectangle r = { 0, 0, frame->info.width, frame->info.height };

  if (meta && meta->width > 0 && meta->height > 0 && meta->x < (guint) r.w &&
      meta->y < (guint) r.h) {
    r.x = meta->x;
    r.y = meta->y;
    r.w = MIN (meta->width, (guint) r.w - meta->x);
    r.h = MIN (meta->height, (guint) r.h - meta->y);
  }
  return r;
}

/* A converter changes neither frame rate nor interlacing, and insists. */
static void
output_info (GstVideoInfo *info, GstVideoFormat format, gint width, gint height,
    const GstVideoInfo *input)
{
  gst_video_info_set_format (info, format, width, height);
  info->fps_n = input->fps_n;
  info->fps_d = input->fps_d;
  info->interlace_mode = input->interlace_mode;
}

/* Makes the converter anew where another crop or format needs another one. */
static void
converter_setup (GstHiredVlmPixels *pixels, const GstHiredVlmFrame *frame,
    const GstVideoRectangle *crop)
{
  if (pixels->converter &&
      gst_video_info_is_equal (&pixels->info, &frame->info) &&
      memcmp (crop, &pixels->part, sizeof *crop) == 0)
    return;
  gst_hired_vlm_pixels_clear (pixels);
  pixels->info = frame->info;
  pixels->part = *crop;
  output_info (
      &pixels->rgb, GST_VIDEO_FORMAT_RGB, crop->w, crop->h, &frame->info);
  pixels->converter = gst_video_converter_new (&pixels->info, &pixels->rgb,
      gst_structure_new ("config", GST_VIDEO_CONVERTER_OPT_SRC_X, G_TYPE_INT,
          crop->x, GST_VIDEO_CONVERTER_OPT_SRC_Y, G_TYPE_INT, crop->y,
          GST_VIDEO_CONVERTER_OPT_SRC_WIDTH, G_TYPE_INT, crop->w,
          GST_VIDEO_CONVERTER_OPT_SRC_HEIGHT, G_TYPE_INT, crop->h,
          GST_VIDEO_CONVERTER_OPT_DITHER_METHOD, GST_TYPE_VIDEO_DITHER_METHOD,
          GST_VIDEO_DITHER_NONE, NULL));
  pixels->rgb_buffer =
      gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (&pixels->rgb), NULL);
}

static gboolean
pixels_convert (GstHiredVlmPixels *pixels, const GstHiredVlmFrame *frame)
{
  GstVideoFrame src, dst;

  if (pixels->converter == NULL ||
      !gst_video_frame_map (&src, &pixels->info, frame->buffer, GST_MAP_READ))
    return FALSE;
  if (!gst_video_frame_map (
          &dst, &pixels->rgb, pixels->rgb_buffer, GST_MAP_WRITE)) {
    gst_video_frame_unmap (&src);
    return FALSE;
  }
  gst_video_converter_frame (pixels->converter, &src, &dst);
  gst_video_frame_unmap (&dst);
  gst_video_frame_unmap (&src);
  return gst_video_frame_map (
      &pixels->map, &pixels->rgb, pixels->rgb_buffer, GST_MAP_READ);
}

static gboolean
pixels_map (
    GstHiredVlmPixels *pixels, const GstHiredVlmFrame *frame, VlmMemory memory)
{
  if (!gst_hired_vlm_cuda_map (
          &pixels->map, &frame->info, frame->buffer, memory))
    return FALSE;
  gst_hired_vlm_planes_describe (&pixels->planes, &pixels->map, &pixels->crop);
  return TRUE;
}

gboolean
gst_hired_vlm_pixels_take (GstHiredVlmPixels *pixels, GstHiredVlmFrame *frame,
    gboolean as_is, GstObject *cuda, VlmPicture *picture, GError **error)
{
  GstVideoRectangle crop = crop_of (frame);
  VlmMemory memory = VLM_MEMORY_HOST;

  g_return_val_if_fail (!pixels->mapped, FALSE);

  as_is = as_is && gst_hired_vlm_planes_taken (&frame->info);
  if (as_is)
    memory = gst_hired_vlm_cuda_memory (cuda, frame->buffer);
  else
    converter_setup (pixels, frame, &crop);
  pixels->crop = crop;
  pixels->mapped = as_is ? pixels_map (pixels, frame, memory)
                         : pixels_convert (pixels, frame);
  gst_clear_buffer (&frame->buffer);
  if (!pixels->mapped) {
    vlm_fail (error, VLM_ERROR_REQUEST, NULL,
        "A %s frame of %dx%d could not be read or converted to RGB.",
        frame->info.finfo->name, frame->info.width, frame->info.height);
    return FALSE;
  }
  *picture = (VlmPicture){
    .data = GST_VIDEO_FRAME_PLANE_DATA (&pixels->map, 0),
    .width = crop.w,
    .height = crop.h,
    .stride = GST_VIDEO_FRAME_PLANE_STRIDE (&pixels->map, 0),
    .pixel_aspect_n = MAX (frame->info.par_n, 1),
    .pixel_aspect_d = MAX (frame->info.par_d, 1),
    .pixels = as_is ? &pixels->planes : NULL,
    .memory = memory,
  };
  return TRUE;
}

void
gst_hired_vlm_pixels_release (GstHiredVlmPixels *pixels)
{
  if (pixels->mapped)
    gst_video_frame_unmap (&pixels->map);
  pixels->mapped = FALSE;
}

void
gst_hired_vlm_pixels_clear (GstHiredVlmPixels *pixels)
{
  gst_hired_vlm_pixels_release (pixels);
  g_clear_pointer (&pixels->converter, gst_video_converter_free);
  gst_clear_buffer (&pixels->rgb_buffer);
}

static void
thumb_setup (GstHiredVlmThumb *thumb, const GstVideoInfo *info)
{
  if (thumb->converter && gst_video_info_is_equal (&thumb->info, info))
    return;
  gst_hired_vlm_thumb_clear (thumb);
  thumb->info = *info;
  output_info (&thumb->grey, GST_VIDEO_FORMAT_GRAY8, GST_HIRED_VLM_THUMB_W,
      GST_HIRED_VLM_THUMB_H, info);
  /* A few source lines per thumbnail line are enough, and cheap. */
  thumb->converter = gst_video_converter_new (info, &thumb->grey,
      gst_structure_new ("config", GST_VIDEO_CONVERTER_OPT_RESAMPLER_METHOD,
          GST_TYPE_VIDEO_RESAMPLER_METHOD, GST_VIDEO_RESAMPLER_METHOD_LINEAR,
          GST_VIDEO_CONVERTER_OPT_RESAMPLER_TAPS, G_TYPE_UINT, 4, NULL));
}

static gboolean
thumb_make (
    GstHiredVlmThumb *thumb, GstBuffer *buffer, const GstVideoInfo *info)
{
  GstVideoFrame src, dst;
  g_autoptr (GstBuffer) small = NULL;

  thumb_setup (thumb, info);
  if (thumb->converter == NULL ||
      !gst_video_frame_map (&src, info, buffer, GST_MAP_READ))
    return FALSE;
  small =
      gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (&thumb->grey), NULL);
  gst_video_frame_map (&dst, &thumb->grey, small, GST_MAP_READWRITE);
  gst_video_converter_frame (thumb->converter, &src, &dst);
  for (int y = 0; y < GST_HIRED_VLM_THUMB_H; y++)
    memcpy (thumb->now + y * GST_HIRED_VLM_THUMB_W,
        (guint8 *) GST_VIDEO_FRAME_PLANE_DATA (&dst, 0) +
            (gsize) y * GST_VIDEO_FRAME_PLANE_STRIDE (&dst, 0),
        GST_HIRED_VLM_THUMB_W);
  gst_video_frame_unmap (&dst);
  gst_video_frame_unmap (&src);
  return TRUE;
}

gdouble
gst_hired_vlm_thumb_compare (
    GstHiredVlmThumb *thumb, GstBuffer *buffer, const GstVideoInfo *info)
{
  guint sum = 0;

  if (!thumb_make (thumb, buffer, info) || !thumb->valid)
    return 1;
  for (gsize i = 0; i < sizeof thumb->now; i++)
    sum += abs (thumb->now[i] - thumb->last[i]);
  return sum / (255.0 * sizeof thumb->now);
}

void
gst_hired_vlm_thumb_accept (GstHiredVlmThumb *thumb)
{
  memcpy (thumb->last, thumb->now, sizeof thumb->last);
  thumb->valid = TRUE;
}

void
gst_hired_vlm_thumb_clear (GstHiredVlmThumb *thumb)
{
  g_clear_pointer (&thumb->converter, gst_video_converter_free);
  thumb->valid = FALSE;
}
