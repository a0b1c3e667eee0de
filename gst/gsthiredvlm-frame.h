/* gsthiredvlm-frame.h - a frame that shall be described, and its pixels
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A frame keeps the times of the segment it was taken in: messages about it
 * stay right whatever happens to the stream meanwhile.
 */
#pragma once

#include <gst/video/video.h>
#include "engine/image.h"

G_BEGIN_DECLS

/* A description asked for by event or action signal. */
typedef struct {
  gchar *prompt;        /* or NULL */
  guint64 running_time; /* not before; GST_CLOCK_TIME_NONE: the next frame */
  gboolean now;         /* of the newest frame, though it has passed */
  GstPromise *promise;  /* or NULL */
} GstHiredVlmWish;

void gst_hired_vlm_wish_free (GstHiredVlmWish *wish);

typedef struct {
  guint64 id;
  guint epoch;       /* flushes seen when it was taken */
  GstBuffer *buffer; /* released once its pixels were read */
  GstVideoInfo info;
  gchar *prompt;         /* in-band prompt, or NULL */
  GstHiredVlmWish *wish; /* or NULL */
  gboolean pinned;       /* no newer frame may take its place */
  gboolean passed;       /* video is behind it already */
  gchar *stream_id;
  /* ns, GST_CLOCK_TIME_NONE if unknown */
  guint64 timestamp, duration, stream_time, running_time;
} GstHiredVlmFrame;

/* Takes a reference on buffer; the times follow from segment and timestamp
 * (which may differ from the buffer's when that has none). */
GstHiredVlmFrame *gst_hired_vlm_frame_new (GstBuffer *buffer,
    const GstVideoInfo *info, const GstSegment *segment, guint64 timestamp,
    guint64 duration);
/* The same frame for another description, without prompt and wish. */
GstHiredVlmFrame *gst_hired_vlm_frame_copy (const GstHiredVlmFrame *frame);
void gst_hired_vlm_frame_free (GstHiredVlmFrame *frame);

/* Gives the pixels of frames of any raw format: as they are where a GPU takes
 * them, else turned into RGB. Worker thread only. */
typedef struct {
  GstVideoConverter *converter;
  GstVideoInfo info, rgb; /* of the frames it was made for, of the picture */
  GstVideoRectangle part; /* of the frames it was made for */
  GstVideoRectangle crop; /* of the last frame */
  GstBuffer *rgb_buffer;  /* the picture, kept for the next frame */
  GstVideoFrame map;      /* of it or of the frame */
  gboolean mapped;
  Pixels planes; /* the frame's as it is */
} GstHiredVlmPixels;

/* Lends the picture, at source size and within the frame's GstVideoCropMeta,
 * until gst_hired_vlm_pixels_release. as_is: the device that gets it is a GPU,
 * and cuda its context or NULL. Frames in GPU memory that it cannot take are
 * downloaded. The frame's buffer is let go of when it was turned into RGB, or
 * at the release. Fails with VLM_ERROR_REQUEST. */
gboolean gst_hired_vlm_pixels_take (GstHiredVlmPixels *pixels,
    GstHiredVlmFrame *frame, gboolean as_is, GstObject *cuda,
    VlmPicture *picture, GError **error);
void gst_hired_vlm_pixels_release (GstHiredVlmPixels *pixels);
void gst_hired_vlm_pixels_clear (GstHiredVlmPixels *pixels);

#define GST_HIRED_VLM_THUMB_W 32
#define GST_HIRED_VLM_THUMB_H 18

/* A small luma picture of frames, to see whether a scene changed. */
typedef struct {
  GstVideoConverter *converter;
  GstVideoInfo info, grey; /* of the frames, of the small picture */
  guint8 last[GST_HIRED_VLM_THUMB_W * GST_HIRED_VLM_THUMB_H];
  guint8 now[GST_HIRED_VLM_THUMB_W * GST_HIRED_VLM_THUMB_H];
  gboolean valid; /* last holds a picture */
} GstHiredVlmThumb;

/* Mean absolute difference, 0 to 1, between this buffer and the one last
 * accepted; 1 if there was none or the buffer cannot be read. */
gdouble gst_hired_vlm_thumb_compare (
    GstHiredVlmThumb *thumb, GstBuffer *buffer, const GstVideoInfo *info);
/* The buffer last compared is the one described. */
void gst_hired_vlm_thumb_accept (GstHiredVlmThumb *thumb);
void gst_hired_vlm_thumb_clear (GstHiredVlmThumb *thumb);

G_END_DECLS
