/* gsthiredvlm-planes.h - frames that a device takes as they are
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <gst/video/video.h>
#include "engine/image.h"

G_BEGIN_DECLS

/* The n formats that a device takes. */
const GstVideoFormat *gst_hired_vlm_planes_formats (guint *n);

/* Whether a device takes such frames: of one of the formats, progressive,
 * YUV of a known matrix or RGB of full range. */
gboolean gst_hired_vlm_planes_taken (const GstVideoInfo *info);

/* Describes the part of a mapped frame, which must be one that is taken, and
 * whose memory pixels then points into. Colours are what GstVideoConverter
 * means to make of them in its default settings: chroma is blended by the
 * frame's chroma site, along columns only where it lies between rows, and
 * repeated in I420; primaries and transfer function stay.
 * Chroma beyond the part is not looked at. */
void gst_hired_vlm_planes_describe (
    Pixels *pixels, const GstVideoFrame *frame, const GstVideoRectangle *part);

G_END_DECLS
