/* gsthiredvlm-caption.h - what was said: structure, meta, JSON, cue text
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "engine/engine.h"
#include "gst/gsthiredvlm-frame.h"
#include "gst/gstvlmmeta.h"

G_BEGIN_DECLS

/* What the text pad may carry, in the order it is preferred. */
typedef enum {
  GST_HIRED_VLM_FORMAT_UTF8,
  GST_HIRED_VLM_FORMAT_PANGO,
  GST_HIRED_VLM_FORMAT_JSON,
} GstHiredVlmFormat;

/* Registers the metas; may be called again. */
void gst_hired_vlm_caption_register (void);

/* Model text for people: valid UTF-8 without control characters, stripped;
 * single_line makes any run of white space one space. Owned by the caller. */
gchar *gst_hired_vlm_clean_text (const gchar *text, gboolean single_line);

/* The caption of a frame (schema: gstvlmmeta.h), with the detail fields if
 * asked for and in the result. `lag` may be
 * GST_CLOCK_TIME_NONE. */
GstStructure *gst_hired_vlm_caption_new (const GstHiredVlmFrame *frame,
    const VlmResult *result, const gchar *text, const gchar *model, guint64 seq,
    guint64 lag, gboolean detail);

/* Any structure of numbers, strings, booleans, arrays and structures as one
 * JSON object, without a newline. Owned by the caller. */
gchar *gst_hired_vlm_structure_to_json (const GstStructure *structure);

/* The bytes of one cue, or NULL for a cue that shows nothing: "-->" cannot
 * occur, markup is escaped, JSON ends with a newline. */
gchar *gst_hired_vlm_caption_payload (
    const GstStructure *caption, GstHiredVlmFormat format);

/* Puts (or replaces) the caption meta. The buffer must be writable. */
void gst_hired_vlm_caption_attach (
    GstBuffer *buffer, const GstStructure *caption);

G_END_DECLS
