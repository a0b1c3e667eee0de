/* gsthiredvlm-events.c - what the pads hear and answer
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gst/gsthiredvlm-private.h"

#include <glib/gi18n-lib.h>
#include <string.h>

static void
refuse_caps (GstHiredVlm *self, const GstCaps *caps)
{
  const gchar *message = _ ("The video format cannot be understood.");
  GstStructure *details = gst_hired_vlm_error_new ("caps", message);
  g_autofree gchar *found = gst_caps_to_string (caps);

  gst_structure_set (details, "found", G_TYPE_STRING, found, NULL);
  gst_element_message_full_with_details (GST_ELEMENT (self), GST_MESSAGE_ERROR,
      GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, g_strdup (message),
      g_strdup_printf ("caps: %s", found), __FILE__, GST_FUNCTION, __LINE__,
      details);
}

static gboolean
on_caps (GstHiredVlm *self, GstEvent *event)
{
  GstCaps *caps;
  GstVideoInfo info;

  gst_event_parse_caps (event, &caps);
  if (!gst_video_info_from_caps (&info, caps)) {
    refuse_caps (self, caps);
    gst_event_unref (event);
    return FALSE;
  }
  self->info = info;
  self->have_info = TRUE;
  return gst_pad_push_event (self->srcpad, event);
}

static gboolean
on_segment (GstHiredVlm *self, GstEvent *event)
{
  g_mutex_lock (&self->lock);
  gst_event_copy_segment (event, &self->segment);
  self->position = GST_CLOCK_TIME_NONE;
  self->last_start = GST_CLOCK_TIME_NONE;
  self->ended = self->end_known = FALSE;
  g_mutex_unlock (&self->lock);
  gst_hired_vlm_text_event (&self->text, gst_event_ref (event));
  return gst_pad_push_event (self->srcpad, event);
}

static gboolean
on_stream_start (GstHiredVlm *self, GstEvent *event)
{
  const gchar *id;

  gst_event_parse_stream_start (event, &id);
  g_free (self->stream_id);
  self->stream_id = g_strdup (id);
  gst_hired_vlm_text_event (&self->text, gst_event_ref (event));
  return gst_pad_push_event (self->srcpad, event);
}

static gboolean
on_tag (GstHiredVlm *self, GstEvent *event)
{
  GstTagList *tags;

  gst_event_parse_tag (event, &tags);
  if (gst_tag_list_get_scope (tags) == GST_TAG_SCOPE_GLOBAL)
    gst_hired_vlm_text_event (&self->text, gst_event_ref (event));
  return gst_pad_push_event (self->srcpad, event);
}

static gboolean
on_gap (GstHiredVlm *self, GstEvent *event)
{
  GstClockTime start, duration;

  gst_event_parse_gap (event, &start, &duration);
  gst_hired_vlm_text_gap (&self->text, start,
      GST_CLOCK_TIME_IS_VALID (duration) ? start + duration : start);
  return gst_pad_push_event (self->srcpad, event);
}

static gboolean
on_eos (GstHiredVlm *self, GstEvent *event)
{
  if (!gst_hired_vlm_drain (self))
    GST_DEBUG_OBJECT (self, "EOS without the last description");
  gst_hired_vlm_end_wishes (self);
  gst_hired_vlm_text_set_end (&self->text, self->position);
  gst_hired_vlm_text_event (&self->text, gst_event_ref (event));
  return gst_pad_push_event (self->srcpad, event);
}

/* The pad with a reference, or NULL. */
static GstPad *
text_pad (GstHiredVlm *self)
{
  GstPad *pad;

  GST_OBJECT_LOCK (self);
  pad = self->textpad ? gst_object_ref (self->textpad) : NULL;
  GST_OBJECT_UNLOCK (self);
  return pad;
}

static gboolean
on_flush_start (GstHiredVlm *self, GstEvent *event)
{
  g_autoptr (GstPad) pad = text_pad (self);

  g_mutex_lock (&self->lock);
  self->flushing = TRUE;
  g_mutex_unlock (&self->lock);
  gst_hired_vlm_text_set_flushing (&self->text);
  gst_hired_vlm_cancel (self);
  if (pad)
    gst_pad_push_event (pad, gst_event_ref (event));
  gst_pad_push_event (self->srcpad, event);
  gst_hired_vlm_text_flush_start (&self->text);
  return TRUE;
}

static void
reset_choice (GstHiredVlm *self)
{
  g_mutex_lock (&self->lock);
  self->flushing = FALSE;
  self->last_start = self->position = GST_CLOCK_TIME_NONE;
  gst_hired_vlm_attach_reset (self);
  gst_segment_init (&self->segment, GST_FORMAT_UNDEFINED);
  gst_flow_combiner_reset (self->combiner);
  g_mutex_unlock (&self->lock);
  self->thumb.valid = FALSE;
}

static gboolean
on_flush_stop (GstHiredVlm *self, GstEvent *event)
{
  g_autoptr (GstPad) pad = text_pad (self);

  reset_choice (self);
  if (pad) {
    gst_pad_push_event (pad, gst_event_ref (event));
    gst_hired_vlm_text_flush_stop (&self->text);
  }
  return gst_pad_push_event (self->srcpad, event);
}

static void
on_prompt (GstHiredVlm *self, const GstStructure *s)
{
  gboolean once = FALSE;
  gchar **place;

  gst_structure_get_boolean (s, GST_VLM_ONCE, &once);
  GST_OBJECT_LOCK (self);
  place = once ? &self->once_prompt : &self->stream_prompt;
  g_free (*place);
  *place = g_strdup (gst_structure_get_string (s, GST_VLM_PROMPT));
  GST_OBJECT_UNLOCK (self);
}

static void
on_describe (GstHiredVlm *self, const GstStructure *s)
{
  GstHiredVlmWish *wish = g_new0 (GstHiredVlmWish, 1);

  wish->prompt = g_strdup (gst_structure_get_string (s, GST_VLM_PROMPT));
  wish->running_time = GST_CLOCK_TIME_NONE;
  gst_structure_get_uint64 (s, GST_VLM_RUNNING_TIME, &wish->running_time);
  gst_hired_vlm_wish (self, wish);
}

static void
look_at_custom (GstHiredVlm *self, GstEvent *event)
{
  const GstStructure *s = gst_event_get_structure (event);

  if (s == NULL)
    return;
  if (gst_structure_has_name (s, GST_VLM_PROMPT_CHANGE))
    on_prompt (self, s);
  else if (gst_structure_has_name (s, GST_VLM_DESCRIBE))
    on_describe (self, s);
}

/* Every sink has to know of it, and it is not serialised. */
static void
to_text_at_once (GstHiredVlm *self, GstEvent *event)
{
  g_autoptr (GstPad) pad = text_pad (self);

  if (pad)
    gst_pad_push_event (pad, gst_event_ref (event));
}

/* What the latency tracer sends along with frames is about frames only. */
static gboolean
is_probe (GstEvent *event)
{
  const GstStructure *s = gst_event_get_structure (event);

  return s && strstr (gst_structure_get_name (s), "latency_probe");
}

static gboolean
on_other (GstHiredVlm *self, GstEvent *event)
{
  if (GST_EVENT_TYPE (event) >= GST_EVENT_CUSTOM_UPSTREAM)
    look_at_custom (self, event);
  if (GST_EVENT_IS_SERIALIZED (event) && !is_probe (event))
    gst_hired_vlm_text_event (&self->text, gst_event_ref (event));
  else if (GST_EVENT_TYPE (event) == GST_EVENT_INSTANT_RATE_CHANGE)
    to_text_at_once (self, event);
  return gst_pad_push_event (self->srcpad, event);
}

gboolean
gst_hired_vlm_sink_event (GstPad *pad, GstObject *parent, GstEvent *event)
{
  GstHiredVlm *self = GST_HIRED_VLM (parent);

  GST_LOG_OBJECT (pad, "%" GST_PTR_FORMAT, event);
  switch (GST_EVENT_TYPE (event)) {
  case GST_EVENT_STREAM_START:
    return on_stream_start (self, event);
  case GST_EVENT_CAPS:
    return on_caps (self, event);
  case GST_EVENT_SEGMENT:
    return on_segment (self, event);
  case GST_EVENT_TAG:
    return on_tag (self, event);
  case GST_EVENT_GAP:
    return on_gap (self, event);
  case GST_EVENT_EOS:
    return on_eos (self, event);
  case GST_EVENT_FLUSH_START:
    return on_flush_start (self, event);
  case GST_EVENT_FLUSH_STOP:
    return on_flush_stop (self, event);
  default:
    return on_other (self, event);
  }
}

/* Both branches may bring the same seek; upstream needs it once. */
static gboolean
is_second_seek (GstHiredVlm *self, GstEvent *event)
{
  guint32 seqnum = gst_event_get_seqnum (event);
  gboolean second;

  GST_OBJECT_LOCK (self);
  second = self->textpad && seqnum == self->seek_seqnum;
  self->seek_seqnum = seqnum;
  GST_OBJECT_UNLOCK (self);
  return second;
}

gboolean
gst_hired_vlm_src_event (GstPad *pad, GstObject *parent, GstEvent *event)
{
  GstHiredVlm *self = GST_HIRED_VLM (parent);
  gboolean from_text = pad != self->srcpad;

  GST_LOG_OBJECT (pad, "%" GST_PTR_FORMAT, event);
  if (GST_EVENT_TYPE (event) >= GST_EVENT_CUSTOM_UPSTREAM)
    look_at_custom (self, event);
  switch (GST_EVENT_TYPE (event)) {
  case GST_EVENT_SEEK:
    if (is_second_seek (self, event)) {
      gst_event_unref (event);
      return TRUE;
    }
    break;
  case GST_EVENT_RECONFIGURE:
    if (from_text) {
      gst_hired_vlm_text_reset_flow (&self->text);
      gst_event_unref (event);
      return TRUE;
    }
    break;
  case GST_EVENT_QOS:
    /* Late captions say nothing about the video decoder. */
    if (from_text) {
      gst_event_unref (event);
      return TRUE;
    }
    break;
  default:
    break;
  }
  return gst_pad_push_event (self->sinkpad, event);
}

/* We may hold a buffer that waits and the newest while downstream holds its
 * own. */
static void
ask_for_more (GstQuery *query)
{
  for (guint i = 0; i < gst_query_get_n_allocation_pools (query); i++) {
    GstBufferPool *pool;
    guint size, min, max;

    gst_query_parse_nth_allocation_pool (query, i, &pool, &size, &min, &max);
    gst_query_set_nth_allocation_pool (
        query, i, pool, size, min + 2, max > 0 ? max + 2 : 0);
    if (pool)
      gst_object_unref (pool);
  }
}

/* About models or GPUs. */
static gboolean
answer_context (GstHiredVlm *self, GstQuery *query)
{
  GstObject *cuda = NULL;
  gboolean answered = gst_hired_vlm_context_query (self, query);

  g_mutex_lock (&self->lock);
  if (self->cuda)
    cuda = gst_object_ref (self->cuda);
  g_mutex_unlock (&self->lock);
  answered = answered || (cuda && gst_hired_vlm_cuda_answer (
                                      GST_ELEMENT (self), cuda, query));
  gst_clear_object (&cuda);
  return answered;
}

gboolean
gst_hired_vlm_sink_query (GstPad *pad, GstObject *parent, GstQuery *query)
{
  gboolean answered;

  if (GST_QUERY_TYPE (query) == GST_QUERY_CONTEXT &&
      answer_context (GST_HIRED_VLM (parent), query))
    return TRUE;
  answered = gst_pad_query_default (pad, parent, query);
  if (answered && GST_QUERY_TYPE (query) == GST_QUERY_ALLOCATION)
    ask_for_more (query);
  return answered;
}

static void
add_latency (GstQuery *query, guint64 extra)
{
  gboolean live;
  GstClockTime min, max;

  gst_query_parse_latency (query, &live, &min, &max);
  if (!live)
    return;
  min += extra;
  if (GST_CLOCK_TIME_IS_VALID (max))
    max += extra;
  gst_query_set_latency (query, live, min, max);
}

gboolean
gst_hired_vlm_src_query (GstPad *pad, GstObject *parent, GstQuery *query)
{
  GstHiredVlm *self = GST_HIRED_VLM (parent);
  gboolean answered;
  guint64 extra;

  if (GST_QUERY_TYPE (query) == GST_QUERY_CONTEXT &&
      answer_context (self, query))
    return TRUE;
  answered = gst_pad_query_default (pad, parent, query);
  if (answered && GST_QUERY_TYPE (query) == GST_QUERY_LATENCY) {
    g_mutex_lock (&self->lock);
    extra = self->sync ? self->slowest : 0;
    g_mutex_unlock (&self->lock);
    add_latency (query, extra);
  }
  return answered;
}

gboolean
gst_hired_vlm_text_query (GstPad *pad, GstObject *parent, GstQuery *query)
{
  GstHiredVlm *self = GST_HIRED_VLM (parent);
  guint64 extra;

  switch (GST_QUERY_TYPE (query)) {
  case GST_QUERY_LATENCY:
    if (!gst_pad_peer_query (self->sinkpad, query))
      return FALSE;
    GST_OBJECT_LOCK (self);
    extra = self->settings.latency;
    GST_OBJECT_UNLOCK (self);
    add_latency (query, extra);
    return TRUE;
  case GST_QUERY_POSITION:
  case GST_QUERY_DURATION:
  case GST_QUERY_SEEKING:
  case GST_QUERY_SEGMENT:
    return gst_pad_peer_query (self->sinkpad, query);
  default:
    return gst_pad_query_default (pad, parent, query);
  }
}
