/* gsthiredvlm-describe.c - which frames are described
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One frame waits, at most: in async mode the newest due one, fetched when
 * the engine is free; in sync mode the one the streaming thread holds.
 */
#include "gst/gsthiredvlm-private.h"

#include <glib/gi18n-lib.h>

static void
count_skip (GstHiredVlm *self, SkipReason reason)
{
  g_mutex_lock (&self->lock);
  self->stats.skipped[reason]++;
  g_mutex_unlock (&self->lock);
}

gboolean
gst_hired_vlm_is_trick (const GstSegment *segment)
{
  return segment->rate < 0 || (segment->flags & GST_SEGMENT_FLAG_TRICKMODE);
}

/* A prompt that travels on the buffer is about this very frame. */
static void
take_prompt_meta (GstHiredVlmFrame *frame)
{
  GstCustomMeta *meta =
      gst_buffer_get_custom_meta (frame->buffer, GST_VLM_PROMPT_CHANGE);

  if (meta == NULL)
    return;
  g_free (frame->prompt);
  frame->prompt = g_strdup (gst_structure_get_string (
      gst_custom_meta_get_structure (meta), GST_VLM_PROMPT));
  frame->pinned = TRUE;
}

/* Lock held. */
static gboolean
is_due (
    const GstHiredVlm *self, const GstHiredVlmFrame *frame, guint64 interval)
{
  if (!GST_CLOCK_TIME_IS_VALID (interval))
    return FALSE;
  if (!GST_CLOCK_TIME_IS_VALID (self->last_start) ||
      !GST_CLOCK_TIME_IS_VALID (frame->running_time))
    return TRUE;
  return frame->running_time < self->last_start ||
         frame->running_time - self->last_start >= interval;
}

static gboolean
is_loading (GstHiredVlm *self)
{
  return !self->sync && vlm_engine_state (self->engine) != VLM_ENGINE_READY;
}

/* The scene is as it was: the last caption holds on. */
static void
hold_on (GstHiredVlm *self, const GstHiredVlmFrame *frame, guint64 interval)
{
  g_autoptr (GstStructure) caption = NULL;

  g_mutex_lock (&self->lock);
  self->last_start = frame->running_time;
  self->stats.skipped[SKIP_UNCHANGED]++;
  if (self->newest)
    caption = gst_structure_copy (self->newest);
  g_mutex_unlock (&self->lock);
  if (caption && !self->arrival && interval > 0 &&
      GST_CLOCK_TIME_IS_VALID (interval) &&
      GST_CLOCK_TIME_IS_VALID (frame->timestamp))
    gst_hired_vlm_text_repeat (
        &self->text, caption, frame->timestamp, interval);
}

static gboolean
is_unchanged (
    GstHiredVlm *self, const GstHiredVlmFrame *frame, gdouble threshold)
{
  if (threshold <= 0)
    return FALSE;
  if (gst_hired_vlm_thumb_compare (&self->thumb, frame->buffer, &frame->info) <
      threshold)
    return TRUE;
  gst_hired_vlm_thumb_accept (&self->thumb);
  return FALSE;
}

/* Whether this frame shall be described; counts why not. */
static gboolean
choose (GstHiredVlm *self, GstHiredVlmFrame *frame)
{
  guint64 interval;
  gdouble threshold;
  gboolean due;

  GST_OBJECT_LOCK (self);
  interval = self->settings.interval;
  threshold = self->settings.scene_threshold;
  GST_OBJECT_UNLOCK (self);
  if (gst_hired_vlm_is_trick (&self->segment)) {
    count_skip (self, SKIP_TRICK);
    return FALSE;
  }
  if (self->segment.format == GST_FORMAT_TIME &&
      !GST_CLOCK_TIME_IS_VALID (frame->running_time)) {
    count_skip (self, SKIP_OUTSIDE);
    return FALSE;
  }
  g_mutex_lock (&self->lock);
  due = is_due (self, frame, interval);
  g_mutex_unlock (&self->lock);
  if (is_loading (self)) {
    count_skip (self, due ? SKIP_LOADING : SKIP_INTERVAL);
    return FALSE;
  }
  take_prompt_meta (frame);
  g_mutex_lock (&self->lock);
  if (self->slot == NULL || self->slot->wish == NULL)
    gst_hired_vlm_take_wish (self, frame);
  g_mutex_unlock (&self->lock);
  if (frame->wish || frame->pinned)
    return TRUE;
  if (!due) {
    count_skip (self, SKIP_INTERVAL);
    return FALSE;
  }
  if (is_unchanged (self, frame, threshold)) {
    hold_on (self, frame, interval);
    return FALSE;
  }
  return TRUE;
}

/* The prompt event concerns this frame and, unless `once`, those after. */
static void
take_stream_prompt (GstHiredVlm *self, GstHiredVlmFrame *frame)
{
  GST_OBJECT_LOCK (self);
  if (frame->prompt == NULL && self->once_prompt)
    frame->prompt = g_steal_pointer (&self->once_prompt);
  else if (frame->prompt == NULL)
    frame->prompt = g_strdup (self->stream_prompt);
  GST_OBJECT_UNLOCK (self);
}

/* Puts the frame (taken) where the worker looks for it. Lock held; FALSE if
 * the frame that waits must stay. */
static gboolean
place (GstHiredVlm *self, GstHiredVlmFrame *frame)
{
  GstHiredVlmFrame *old = self->slot;

  if (old && old->pinned && !frame->pinned) {
    if (frame->wish)
      g_queue_push_head (&self->wishes, g_steal_pointer (&frame->wish));
    self->stats.skipped[SKIP_BUSY]++;
    gst_hired_vlm_frame_free (frame);
    return FALSE;
  }
  if (old) {
    if (old->wish && frame->wish == NULL)
      frame->wish = g_steal_pointer (&old->wish);
    else if (old->wish)
      g_queue_push_head (&self->wishes, g_steal_pointer (&old->wish));
    self->stats.skipped[SKIP_BUSY]++;
    gst_hired_vlm_text_fill (&self->text, old->id, NULL, 0);
    gst_hired_vlm_frame_free (old);
  }
  frame->id = ++self->next_id;
  frame->epoch = self->epoch;
  if (!self->arrival && !frame->passed)
    gst_hired_vlm_text_reserve (&self->text, frame->id, frame->timestamp);
  self->slot = frame;
  return TRUE;
}

void
gst_hired_vlm_place (GstHiredVlm *self, GstHiredVlmFrame *frame)
{
  if (!place (self, frame) || self->ticket || self->stopping)
    return;
  self->ticket = TRUE;
  vlm_stream_submit (self->stream, &gst_hired_vlm_request_funcs, self);
}

/* Lock held. The frame before may have been waiting when this one was chosen to
 * take its place, and have been taken since. */
static gboolean
is_early (GstHiredVlm *self, const GstHiredVlmFrame *frame)
{
  guint64 interval;

  if (frame->wish || frame->pinned)
    return FALSE;
  GST_OBJECT_LOCK (self);
  interval = self->settings.interval;
  GST_OBJECT_UNLOCK (self);
  return !is_due (self, frame, interval);
}

/* Lock held. */
static gboolean
is_busy (const GstHiredVlm *self)
{
  return (self->slot || self->job) && !self->stopping && !self->flushing &&
         !self->failed;
}

/* A frame (taken) that was chosen goes with the flush or stop. */
static void
give_up (GstHiredVlm *self, GstHiredVlmFrame *frame)
{
  g_mutex_lock (&self->lock);
  self->stats.cancelled++;
  g_mutex_unlock (&self->lock);
  gst_hired_vlm_text_fill (&self->text, frame->id, NULL, 0);
  gst_hired_vlm_wish_answer (
      frame->wish, gst_hired_vlm_error_new (
                       "cancelled", _ ("The stream was flushed or stopped.")));
  gst_hired_vlm_frame_free (frame);
}

void
gst_hired_vlm_consider (
    GstHiredVlm *self, GstBuffer *buffer, guint64 timestamp, guint64 duration)
{
  GstHiredVlmFrame *frame = gst_hired_vlm_frame_new (
      buffer, &self->info, &self->segment, timestamp, duration);

  if (!choose (self, frame)) {
    GST_LOG_OBJECT (self, "frame %" GST_TIME_FORMAT " passes undescribed",
        GST_TIME_ARGS (timestamp));
    gst_hired_vlm_frame_free (frame);
    return;
  }
  frame->stream_id = g_strdup (self->stream_id);
  if (self->sync)
    gst_hired_vlm_text_wait_room (&self->text);
  g_mutex_lock (&self->lock);
  if (self->flushing || self->stopping) {
    g_mutex_unlock (&self->lock);
    give_up (self, frame);
    return;
  }
  if (is_early (self, frame)) {
    self->stats.skipped[SKIP_INTERVAL]++;
    g_mutex_unlock (&self->lock);
    gst_hired_vlm_frame_free (frame);
    return;
  }
  take_stream_prompt (self, frame);
  GST_DEBUG_OBJECT (self, "frame %" GST_TIME_FORMAT " shall be described",
      GST_TIME_ARGS (timestamp));
  gst_hired_vlm_place (self, frame);
  while (self->sync && is_busy (self))
    g_cond_wait (&self->changed, &self->lock);
  g_mutex_unlock (&self->lock);
}

gboolean
gst_hired_vlm_drain (GstHiredVlm *self)
{
  gboolean done;

  g_mutex_lock (&self->lock);
  self->draining = TRUE;
  while (is_busy (self))
    g_cond_wait (&self->changed, &self->lock);
  self->draining = FALSE;
  done = !self->slot && !self->job;
  g_mutex_unlock (&self->lock);
  return done;
}

void
gst_hired_vlm_cancel (GstHiredVlm *self)
{
  GstHiredVlmFrame *frame, *held;

  g_mutex_lock (&self->lock);
  frame = g_steal_pointer (&self->slot);
  held = g_steal_pointer (&self->held);
  self->epoch++;
  if (self->stream)
    vlm_stream_cancel (self->stream, 0);
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
  gst_hired_vlm_frame_free (held);
  if (frame)
    give_up (self, frame);
}
