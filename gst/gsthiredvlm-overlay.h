/* gsthiredvlm-overlay.h - the kept tokens, drawn over video
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <gst/video/video.h>
#include "engine/engine.h"

G_BEGIN_DECLS

/* An overlay that darkens what the language model did not see of a picture
 * lying at `area` (pixels) of a frame: the patches of the grid's tiles, or of
 * the one tile there is. Needs the detail members of the result; NULL if
 * nothing was dropped or they are missing. */
GstVideoOverlayComposition *gst_hired_vlm_overlay_new (
    const VlmResult *result, const GstVideoRectangle *area);

/* Puts it on a writable buffer, over what is there already. */
void gst_hired_vlm_overlay_attach (
    GstBuffer *buffer, GstVideoOverlayComposition *overlay);

G_END_DECLS
