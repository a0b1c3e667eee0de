/* gsthiredvlm-text-task.c - the task that pushes on the text pad
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gst/gsthiredvlm-text-private.h"

#include <string.h>

static const gchar *const format_caps[] = {
  [GST_HIRED_VLM_FORMAT_UTF8] = "text/x-raw, format=(string)utf8",
  [GST_HIRED_VLM_FORMAT_PANGO] = "text/x-raw, format=(string)pango-markup",
  [GST_HIRED_VLM_FORMAT_JSON] = "application/x-json",
};

/* Whether captions are repeated; then the length of a slice. */
static gboolean
in_slices (GstHiredVlmText *text, guint64 *slice)
{
  gboolean arrival;

  g_mutex_lock (&text->lock);
  *slice = text->refresh;
  arrival = text->arrival;
  g_mutex_unlock (&text->lock);
  return arrival && *slice > 0 && text->format != GST_HIRED_VLM_FORMAT_JSON;
}

/* The first format the peer takes; utf8 while there is no peer. */
static GstHiredVlmFormat
choose_format (GstPad *pad)
{
  g_autoptr (GstCaps) allowed = gst_pad_peer_query_caps (pad, NULL);

  for (guint i = 0; i < G_N_ELEMENTS (format_caps); i++) {
    g_autoptr (GstCaps) caps = gst_caps_from_string (format_caps[i]);

    if (allowed == NULL || gst_caps_can_intersect (caps, allowed))
      return i;
  }
  return GST_HIRED_VLM_FORMAT_UTF8;
}

static void
negotiate (GstHiredVlmText *text)
{
  gboolean again = gst_pad_check_reconfigure (text->pad);
  g_autoptr (GstCaps) caps = NULL;
  GstHiredVlmFormat format;

  if (text->negotiated && !again)
    return;
  format = choose_format (text->pad);
  if (text->negotiated && format == text->format)
    return;
  g_mutex_lock (&text->lock);
  text->format = format;
  text->negotiated = TRUE;
  g_mutex_unlock (&text->lock);
  caps = gst_caps_from_string (format_caps[format]);
  gst_pad_push_event (text->pad, gst_event_new_caps (caps));
}

static void
set_flow (GstHiredVlmText *text, GstFlowReturn flow)
{
  g_mutex_lock (&text->lock);
  text->flow = flow;
  g_mutex_unlock (&text->lock);
}

static void
push_event (GstHiredVlmText *text, GstEvent *event)
{
  if (!gst_pad_push_event (text->pad, event) && !gst_pad_is_linked (text->pad))
    set_flow (text, GST_FLOW_NOT_LINKED);
}

static void
push_gap (GstHiredVlmText *text, guint64 start, guint64 end)
{
  if (end > start)
    push_event (text, gst_event_new_gap (start, end - start));
}

/* From where the last cue or gap ended. */
static void
gap_until (GstHiredVlmText *text, guint64 start, guint64 end)
{
  if (GST_CLOCK_TIME_IS_VALID (text->position))
    start = text->position;
  if (end > start) {
    push_gap (text, start, end);
    text->position = end;
  }
}

/* Durations of frames are rounded, and add up to a little less. */
#define ROUNDING GST_USECOND

/* The end of a cue within segment and film. A film that goes on after its end
 * as told has none. */
static guint64
cut (GstHiredVlmText *text, guint64 start, guint64 end)
{
  guint64 film_end;

  if (!GST_CLOCK_TIME_IS_VALID (start) || !GST_CLOCK_TIME_IS_VALID (end))
    return end;
  g_mutex_lock (&text->lock);
  film_end = text->film_end;
  g_mutex_unlock (&text->lock);
  if (film_end > start && end > film_end && end - film_end > ROUNDING)
    end = film_end;
  return MAX (MIN (end, text->segment.stop), start);
}

static void
push_cue (GstHiredVlmText *text, const GstStructure *caption, guint64 start,
    guint64 end)
{
  gchar *payload;
  GstBuffer *buffer;

  end = cut (text, start, end);
  payload = gst_hired_vlm_caption_payload (caption, text->format);
  if (payload == NULL) {
    if (GST_CLOCK_TIME_IS_VALID (start))
      gap_until (text, start, end);
    return;
  }
  buffer = gst_buffer_new_wrapped (payload, strlen (payload));
  GST_BUFFER_PTS (buffer) = start;
  if (GST_CLOCK_TIME_IS_VALID (start)) {
    GST_BUFFER_DURATION (buffer) = end - start;
    if (!GST_CLOCK_TIME_IS_VALID (text->position) || end > text->position)
      text->position = end;
  }
  if (text->discont)
    GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_DISCONT);
  text->discont = FALSE;
  gst_hired_vlm_caption_attach (buffer, caption);
  g_mutex_lock (&text->lock);
  text->n_buffers++;
  g_mutex_unlock (&text->lock);
  set_flow (text, gst_pad_push (text->pad, buffer));
}

/* Pushes the current caption once more if it still holds at `start`. */
static gboolean
push_slice (GstHiredVlmText *text, guint64 start)
{
  guint64 slice;

  if (text->current == NULL || !in_slices (text, &slice) ||
      (text->shown && start >= text->current_until))
    return FALSE;
  if (text->current_until > start)
    slice = MIN (slice, text->current_until - start);
  text->shown = TRUE;
  push_cue (text, text->current, start, start + slice);
  return TRUE;
}

static void
do_gap (GstHiredVlmText *text, const TextItem *item)
{
  guint64 start = item->start, slice;

  if (GST_CLOCK_TIME_IS_VALID (text->position))
    start = text->position;
  in_slices (text, &slice);
  /* Far behind: a caption shows where video is now, not where it was. */
  if (text->current && item->newest > start + slice) {
    gap_until (text, start, item->newest);
    start = item->newest;
  }
  while (
      start < item->end && push_slice (text, start) && text->position > start)
    start = text->position;
  if (start < item->end)
    gap_until (text, start, item->end);
}

static void
set_current (GstHiredVlmText *text, TextItem *item)
{
  gst_clear_structure (&text->current);
  text->current = g_steal_pointer (&item->caption);
  text->shown = FALSE;
  text->current_until = item->unlimited ? GST_CLOCK_TIME_NONE : item->end;
}

static void
do_cue (GstHiredVlmText *text, TextItem *item)
{
  guint64 start = item->start, end = item->end, slice;

  if (item->floating && in_slices (text, &slice)) {
    set_current (text, item);
    return;
  }

  if (item->floating && GST_CLOCK_TIME_IS_VALID (text->position) &&
      GST_CLOCK_TIME_IS_VALID (start) && text->position > start) {
    end += text->position - start;
    start = text->position;
  }
  if (item->caption == NULL ||
      (item->repeat && text->format == GST_HIRED_VLM_FORMAT_JSON))
    return;
  if (GST_CLOCK_TIME_IS_VALID (start))
    gap_until (text, MIN (start, text->segment.start), start);
  push_cue (text, item->caption, start, end);
}

static GstEvent *
text_stream_start (GstPad *pad, GstEvent *event)
{
  const gchar *id;
  guint group;
  g_autofree gchar *own = NULL;
  GstEvent *start;

  gst_event_parse_stream_start (event, &id);
  own = g_strconcat (id, "/caption", NULL);
  start = gst_event_new_stream_start (own);
  gst_event_set_seqnum (start, gst_event_get_seqnum (event));
  gst_event_set_stream_flags (start, GST_STREAM_FLAG_SPARSE);
  if (gst_event_parse_group_id (event, &group))
    gst_event_set_group_id (start, group);
  return start;
}

static GstEvent *
text_segment (GstHiredVlmText *text, GstEvent *event)
{
  GstEvent *own;

  gst_event_copy_segment (event, &text->segment);
  if (text->segment.format != GST_FORMAT_TIME)
    gst_segment_init (&text->segment, GST_FORMAT_TIME);
  g_mutex_lock (&text->lock);
  text->segment.base += text->lateness;
  g_mutex_unlock (&text->lock);
  text->position = GST_CLOCK_TIME_NONE;
  text->discont = TRUE;
  own = gst_event_new_segment (&text->segment);
  gst_event_set_seqnum (own, gst_event_get_seqnum (event));
  return own;
}

static void
push_language (GstHiredVlmText *text)
{
  GstEvent *tags = NULL;

  g_mutex_lock (&text->lock);
  if (text->language && *text->language)
    tags = gst_event_new_tag (
        gst_tag_list_new (GST_TAG_LANGUAGE_CODE, text->language, NULL));
  g_mutex_unlock (&text->lock);
  if (tags)
    push_event (text, tags);
}

/* A caption that came after the last frame is still shown once. */
static void
flush_current (GstHiredVlmText *text)
{
  if (!text->shown && GST_CLOCK_TIME_IS_VALID (text->position))
    push_slice (text, text->position);
}

static void
do_event (GstHiredVlmText *text, TextItem *item)
{
  GstEvent *event = g_steal_pointer (&item->event);

  switch (GST_EVENT_TYPE (event)) {
  case GST_EVENT_STREAM_START:
    push_event (text, text_stream_start (text->pad, event));
    gst_event_unref (event);
    break;
  case GST_EVENT_SEGMENT:
    negotiate (text);
    push_event (text, text_segment (text, event));
    push_language (text);
    gst_event_unref (event);
    break;
  case GST_EVENT_EOS:
    flush_current (text);
    push_event (text, event);
    break;
  default:
    push_event (text, event);
  }
}

/* NULL when flushing. */
static TextItem *
next_item (GstHiredVlmText *text)
{
  TextItem *item = NULL;

  g_mutex_lock (&text->lock);
  while (!text->flushing) {
    item = g_queue_peek_head (&text->items);
    if (item && !item->pending)
      break;
    g_cond_wait (&text->changed, &text->lock);
  }
  if (text->flushing) {
    item = NULL;
  } else {
    g_queue_pop_head (&text->items);
    if (item->kind == ITEM_CUE) {
      text->n_cues--;
      g_cond_broadcast (&text->changed);
    }
  }
  g_mutex_unlock (&text->lock);
  return item;
}

void
gst_hired_vlm_text_loop (GstHiredVlmText *text)
{
  TextItem *item = next_item (text);

  if (item == NULL) {
    gst_pad_pause_task (text->pad);
    return;
  }
  if (item->kind != ITEM_EVENT)
    negotiate (text);
  switch (item->kind) {
  case ITEM_EVENT:
    do_event (text, item);
    break;
  case ITEM_GAP:
    do_gap (text, item);
    break;
  case ITEM_GAP_EXACT:
    push_gap (text, item->start, item->end);
    break;
  case ITEM_CUE:
    do_cue (text, item);
    break;
  }
  gst_hired_vlm_text_item_free (item);
}
