/* gstvlmmeta.h - the caption of hiredvlm as applications read it
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One GstStructure, named "hiredvlm-caption", travels by four carriers: a
 * GstCustomMeta of that name on video and text buffers, an element message on
 * the bus, the signal GstHiredVlm::caption, and (as an object with the same
 * member names) application/x-json on the text pad. Nothing to link: the
 * functions below are inline and need GStreamer's core only.
 *
 *   GstStructure *caption = gst_vlm_buffer_get_caption (buffer);
 *   if (caption != NULL)
 *     g_print ("%s\n", gst_vlm_caption_get_text (caption));
 */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

/* Name of the structure, of the message and of the meta. */
#define GST_VLM_CAPTION "hiredvlm-caption"
/* Message while a description grows: GST_VLM_SEQ and GST_VLM_TEXT. */
#define GST_VLM_PARTIAL "hiredvlm-partial"
/* Serialised downstream event, or meta on one buffer: GST_VLM_PROMPT
 * (string) and, in the event, GST_VLM_ONCE (boolean). */
#define GST_VLM_PROMPT_CHANGE "hiredvlm-prompt"
/* Custom event from either side: describe a frame now. GST_VLM_RUNNING_TIME
 * (uint64, not before) and GST_VLM_PROMPT (string) are optional. */
#define GST_VLM_DESCRIBE "hiredvlm-describe"

/* ---- fields ---- */

#define GST_VLM_TEXT "text"            /* string, the description */
#define GST_VLM_PROMPT "prompt"        /* string, what was asked */
#define GST_VLM_STREAM_ID "stream-id"  /* string, of the video */
#define GST_VLM_MODEL "model"          /* string */
#define GST_VLM_POLICY "policy"        /* string, how tokens were chosen */
#define GST_VLM_FINISH "finish-reason" /* string: eos, length, stop */
#define GST_VLM_SEQ "seq"              /* uint64, number in this element */
/* Of the described frame, uint64 in nanoseconds; left out if unknown. */
#define GST_VLM_TIMESTAMP "timestamp"
#define GST_VLM_STREAM_TIME "stream-time"
#define GST_VLM_RUNNING_TIME "running-time"
#define GST_VLM_DURATION "duration"
/* uint64 ns: running time when the text was ready minus GST_VLM_RUNNING_TIME;
 * left out without a clock. */
#define GST_VLM_LAG "lag"
#define GST_VLM_IMAGE_TOKENS "image-tokens"           /* uint, undropped */
#define GST_VLM_IMAGE_TOKENS_KEPT "image-tokens-kept" /* uint */
#define GST_VLM_PROMPT_TOKENS "prompt-tokens" /* uint, before the first new */
#define GST_VLM_TOKENS "tokens"               /* uint, generated */
#define GST_VLM_TOKEN_BUDGET "token-budget"   /* double, as asked for */
#define GST_VLM_TOKENS_PER_SECOND "tokens-per-second" /* double */
/* uint64 ns: spent waiting for a turn, in the image encoder, in the prompt,
 * until the first token, and altogether. */
#define GST_VLM_QUEUE_TIME "queue-time"
#define GST_VLM_VISION_TIME "vision-time"
#define GST_VLM_PREFILL_TIME "prefill-time"
#define GST_VLM_TTFT "ttft"
#define GST_VLM_TOTAL_TIME "total-time"

/* ---- with the property `detail` ---- */

#define GST_VLM_RENDERED_PROMPT "rendered-prompt" /* string */
/* Arrays of int (GST_TYPE_ARRAY): the prompt's ids with each image once, the
 * generated ids with the closing eos, rows and columns of the tile grid,
 * tokens taken from each tile, the kept token ids in their order (patch
 * y * side + x of tile t is t * side * side + y * side + x; the class token
 * of tile t follows all patches; -1 is a sum of tokens that has no place of
 * its own). */
#define GST_VLM_PROMPT_IDS "prompt-ids"
#define GST_VLM_TOKEN_IDS "token-ids"
#define GST_VLM_GRID "grid"
#define GST_VLM_TILE_BUDGETS "tile-budgets"
#define GST_VLM_KEPT_IDS "kept-ids"
#define GST_VLM_FINE_TOKENS                                                    \
  "fine-tokens" /* int array, of each hierarchical                             \
                   layer, mean over new tokens */
/* Structure: where the tiles lie in the picture. Members, all int: side,
 * tile-px, rows, cols, width, height, fit-width, fit-height, pad-x, pad-y,
 * unpad. */
#define GST_VLM_GEOMETRY "geometry"

/* Member of GST_VLM_PROMPT_CHANGE: TRUE for the next description only. */
#define GST_VLM_ONCE "once"

/* ---- access ---- */

/* The caption on a buffer, borrowed from it, or NULL. */
static inline GstStructure *
gst_vlm_buffer_get_caption (GstBuffer *buffer)
{
  GstCustomMeta *meta;

  if (gst_meta_get_info (GST_VLM_CAPTION) == NULL)
    return NULL;
  meta = gst_buffer_get_custom_meta (buffer, GST_VLM_CAPTION);
  return meta ? gst_custom_meta_get_structure (meta) : NULL;
}

/* The caption in a bus message, borrowed from it, or NULL. */
static inline const GstStructure *
gst_vlm_message_get_caption (GstMessage *message)
{
  const GstStructure *s;

  if (GST_MESSAGE_TYPE (message) != GST_MESSAGE_ELEMENT)
    return NULL;
  s = gst_message_get_structure (message);
  return gst_structure_has_name (s, GST_VLM_CAPTION) ? s : NULL;
}

/* Never NULL for a caption; "" if the model had nothing to say. */
static inline const gchar *
gst_vlm_caption_get_text (const GstStructure *caption)
{
  return gst_structure_get_string (caption, GST_VLM_TEXT);
}

static inline const gchar *
gst_vlm_caption_get_prompt (const GstStructure *caption)
{
  return gst_structure_get_string (caption, GST_VLM_PROMPT);
}

static inline guint64
gst_vlm_caption_get_seq (const GstStructure *caption)
{
  guint64 seq = 0;

  gst_structure_get_uint64 (caption, GST_VLM_SEQ, &seq);
  return seq;
}

/* Any of the nanosecond fields; GST_CLOCK_TIME_NONE if it is not there. */
static inline GstClockTime
gst_vlm_caption_get_time (const GstStructure *caption, const gchar *field)
{
  guint64 time = GST_CLOCK_TIME_NONE;

  gst_structure_get_uint64 (caption, field, &time);
  return time;
}

/* Any of the token counts; 0 if it is not there. */
static inline guint
gst_vlm_caption_get_count (const GstStructure *caption, const gchar *field)
{
  guint count = 0;

  gst_structure_get_uint (caption, field, &count);
  return count;
}

G_END_DECLS
