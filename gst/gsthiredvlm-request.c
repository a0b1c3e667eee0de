/* gsthiredvlm-request.c - the engine's callbacks: pixels out, captions in
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Everything here runs on the engine's worker, which other elements share:
 * nothing waits and nothing is pushed.
 */
#include "gst/gsthiredvlm-private.h"

#include <glib/gi18n-lib.h>

#define MAX_FAILURES 5
#define PARTIAL_US (G_USEC_PER_SEC / 10)
/* How long a caption nobody limits is shown. */
#define UNLIMITED (2 * GST_SECOND)

static gboolean
on_fetch (VlmTask *task, gpointer user_data, GError **error)
{
  GstHiredVlm *self = user_data;
  GstHiredVlmFrame *frame;
  const gchar *prompt;
  VlmEngineInfo info;
  gdouble budget;
  gboolean good;

  g_mutex_lock (&self->lock);
  self->ticket = FALSE;
  frame = g_steal_pointer (&self->slot);
  self->job = frame;
  if (frame)
    self->last_start = frame->running_time;
  g_mutex_unlock (&self->lock);
  if (frame == NULL)
    return FALSE;
  self->partial_us = 0;
  prompt =
      frame->wish && frame->wish->prompt ? frame->wish->prompt : frame->prompt;
  budget = gst_hired_vlm_budget (self);
  GST_OBJECT_LOCK (self);
  good = gst_hired_vlm_settings_task (
      &self->settings, prompt, budget, &task->settings, error);
  GST_OBJECT_UNLOCK (self);
  vlm_engine_info (self->engine, &info);
  return good && gst_hired_vlm_pixels_take (&self->pixels, frame, info.gpu >= 0,
                     self->cuda, &task->picture, error);
}

static void
on_release (gpointer user_data)
{
  GstHiredVlm *self = user_data;

  gst_hired_vlm_pixels_release (&self->pixels);
}

static void
on_text (const VlmResult *so_far, gpointer user_data)
{
  GstHiredVlm *self = user_data;
  gint64 now = g_get_monotonic_time ();
  g_autofree gchar *text = NULL;
  gboolean wanted, single_line;
  guint64 seq;

  GST_TRACE_OBJECT (self, "%d tokens: %s", so_far->tokens, so_far->text);
  GST_OBJECT_LOCK (self);
  wanted = self->settings.post_partial;
  single_line = self->settings.single_line;
  GST_OBJECT_UNLOCK (self);
  if (!wanted || (self->partial_us && now - self->partial_us < PARTIAL_US))
    return;
  self->partial_us = now;
  text = gst_hired_vlm_clean_text (so_far->text, single_line);
  g_mutex_lock (&self->lock);
  seq = self->next_seq;
  g_mutex_unlock (&self->lock);
  gst_element_post_message (GST_ELEMENT (self),
      gst_message_new_element (GST_OBJECT (self),
          gst_structure_new (GST_VLM_PARTIAL, GST_VLM_SEQ, G_TYPE_UINT64, seq,
              GST_VLM_TEXT, G_TYPE_STRING, text, NULL)));
}

void
gst_hired_vlm_wish_answer (GstHiredVlmWish *wish, GstStructure *reply)
{
  if (wish == NULL || wish->promise == NULL) {
    gst_structure_free (reply);
    return;
  }
  gst_promise_reply (wish->promise, reply);
  g_clear_pointer (&wish->promise, gst_promise_unref);
}

static void
dropped (GstHiredVlm *self, GstHiredVlmFrame *job)
{
  gst_hired_vlm_text_fill (&self->text, job->id, NULL, 0);
  gst_hired_vlm_wish_answer (
      job->wish, gst_hired_vlm_error_new (
                     "cancelled", _ ("The description was cancelled.")));
  g_mutex_lock (&self->lock);
  self->stats.cancelled++;
  g_mutex_unlock (&self->lock);
}

static void
failed (GstHiredVlm *self, GstHiredVlmFrame *job, const GError *error)
{
  guint in_row;

  gst_hired_vlm_text_fill (&self->text, job->id, NULL, 0);
  gst_hired_vlm_wish_answer (job->wish, gst_hired_vlm_error_of (error));
  g_mutex_lock (&self->lock);
  self->stats.failed++;
  in_row = ++self->failures_in_row;
  g_mutex_unlock (&self->lock);
  if (!g_error_matches (error, VLM_ERROR, VLM_ERROR_REQUEST) ||
      in_row >= MAX_FAILURES)
    gst_hired_vlm_fail (self, error);
  else
    gst_hired_vlm_warn (self, error, job->timestamp, in_row);
}

/* How long a caption at the time of its frame is shown. Lock held. */
static guint64
cue_duration (const GstHiredVlm *self, const GstHiredVlmFrame *job,
    guint64 interval, guint64 caption_duration)
{
  guint64 duration = UNLIMITED;

  if (GST_CLOCK_TIME_IS_VALID (caption_duration))
    return caption_duration;
  if (interval == 0)
    duration = GST_CLOCK_TIME_IS_VALID (job->duration) ? job->duration
                                                       : 40 * GST_MSECOND;
  else if (GST_CLOCK_TIME_IS_VALID (interval))
    duration = interval;
  if (self->slot && GST_CLOCK_TIME_IS_VALID (self->slot->timestamp) &&
      self->slot->timestamp > job->timestamp)
    duration = MAX (duration, self->slot->timestamp - job->timestamp);
  if (self->draining && !self->arrival && self->position > job->timestamp)
    duration = MIN (duration, self->position - job->timestamp);
  return duration;
}

static void
to_text_pad (
    GstHiredVlm *self, const GstHiredVlmFrame *job, const GstStructure *caption)
{
  guint64 interval, caption_duration, duration, position;

  GST_OBJECT_LOCK (self);
  interval = self->settings.interval;
  caption_duration = self->settings.caption_duration;
  GST_OBJECT_UNLOCK (self);
  g_mutex_lock (&self->lock);
  duration = cue_duration (self, job, interval, caption_duration);
  position = self->position;
  g_mutex_unlock (&self->lock);
  if (self->arrival || job->passed)
    gst_hired_vlm_text_arrive (
        &self->text, caption, position, caption_duration, duration);
  else
    gst_hired_vlm_text_fill (&self->text, job->id, caption, duration);
}

static guint64
lag_of (GstHiredVlm *self, const GstHiredVlmFrame *job)
{
  GstClockTime now = gst_element_get_current_running_time (GST_ELEMENT (self));

  if (!GST_CLOCK_TIME_IS_VALID (now) ||
      !GST_CLOCK_TIME_IS_VALID (job->running_time))
    return GST_CLOCK_TIME_NONE;
  return now > job->running_time ? now - job->running_time : 0;
}

/* Remembers the caption for buffers to come. TRUE if our latency grew. */
static gboolean
remember (GstHiredVlm *self, const GstStructure *caption,
    const VlmResult *result, guint64 lag)
{
  guint64 total = (guint64) result->total_us * GST_USECOND;
  gboolean slower;

  g_mutex_lock (&self->lock);
  gst_clear_structure (&self->fresh);
  gst_clear_structure (&self->newest);
  self->fresh = gst_structure_copy (caption);
  self->newest = gst_structure_copy (caption);
  self->failures_in_row = 0;
  self->next_seq++;
  gst_hired_vlm_stats_described (self, result, lag);
  slower = self->sync && self->live && total > self->slowest;
  self->slowest = MAX (self->slowest, total);
  g_mutex_unlock (&self->lock);
  return slower;
}

/* The worker's crop is that of the frame just described. */
static void
set_overlay (GstHiredVlm *self, const VlmResult *result)
{
  GstVideoOverlayComposition *overlay =
      result ? gst_hired_vlm_overlay_new (result, &self->pixels.crop) : NULL;

  g_mutex_lock (&self->lock);
  g_clear_pointer (&self->overlay, gst_video_overlay_composition_unref);
  self->overlay = overlay;
  g_mutex_unlock (&self->lock);
}

static void
announce (GstHiredVlm *self, const GstStructure *caption)
{
  gboolean post;

  GST_OBJECT_LOCK (self);
  post = self->settings.post_messages;
  GST_OBJECT_UNLOCK (self);
  gst_hired_vlm_set_last_caption (self, gst_vlm_caption_get_text (caption));
  if (post)
    gst_element_post_message (
        GST_ELEMENT (self), gst_message_new_element (GST_OBJECT (self),
                                gst_structure_copy (caption)));
  g_signal_emit (self, gst_hired_vlm_signal_caption, 0, caption);
}

static void
described (GstHiredVlm *self, GstHiredVlmFrame *job, const VlmResult *result)
{
  guint64 lag = lag_of (self, job);
  g_autofree gchar *text = NULL;
  g_autoptr (GstStructure) caption = NULL;
  VlmEngineInfo info;
  gboolean single_line, detail, draw;

  GST_OBJECT_LOCK (self);
  single_line = self->settings.single_line;
  detail = self->settings.detail;
  draw = self->settings.draw_tokens;
  GST_OBJECT_UNLOCK (self);
  vlm_engine_info (self->engine, &info);
  text = gst_hired_vlm_clean_text (result->text, single_line);
  caption = gst_hired_vlm_caption_new (
      job, result, text, info.model, self->next_seq, lag, detail);
  GST_INFO_OBJECT (self, "%" GST_TIME_FORMAT " (%d of %d tokens): %s",
      GST_TIME_ARGS (job->timestamp), result->image_tokens_kept,
      result->image_tokens, text);
  if (remember (self, caption, result, lag))
    gst_element_post_message (
        GST_ELEMENT (self), gst_message_new_latency (GST_OBJECT (self)));
  set_overlay (self, draw ? result : NULL);
  to_text_pad (self, job, caption);
  announce (self, caption);
  gst_hired_vlm_note_lag (self, lag);
  gst_hired_vlm_budget_learn (
      self, result->token_budget, (guint64) result->total_us * GST_USECOND);
  gst_hired_vlm_wish_answer (job->wish, g_steal_pointer (&caption));
}

static gboolean
was_cancelled (const VlmResult *result, const GError *error)
{
  return error ? g_error_matches (error, VLM_ERROR, VLM_ERROR_CANCELLED)
               : g_strcmp0 (result->finish_reason, "cancelled") == 0;
}

static void
on_done (const VlmResult *result, const GError *error, gpointer user_data)
{
  GstHiredVlm *self = user_data;
  GstHiredVlmFrame *job;
  gboolean valid;

  g_mutex_lock (&self->lock);
  job = self->job;
  valid = job && job->epoch == self->epoch && !self->stopping;
  if (job == NULL)
    self->ticket = FALSE;
  g_mutex_unlock (&self->lock);
  if (job && (!valid || was_cancelled (result, error)))
    dropped (self, job);
  else if (job && error)
    failed (self, job, error);
  else if (job)
    described (self, job, result);
  else if (error && !was_cancelled (NULL, error))
    gst_hired_vlm_fail (self, error);
  g_mutex_lock (&self->lock);
  self->job = NULL;
  /* A request cancelled before its turn may have been a new frame's. */
  if (self->slot && !self->ticket && !self->failed && !self->stopping &&
      self->stream) {
    self->ticket = TRUE;
    vlm_stream_submit (self->stream, &gst_hired_vlm_request_funcs, self);
  }
  gst_hired_vlm_grant (self);
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
  gst_hired_vlm_frame_free (job);
}

const VlmRequestFuncs gst_hired_vlm_request_funcs = {
  .fetch = on_fetch,
  .release = on_release,
  .text = on_text,
  .done = on_done,
};
