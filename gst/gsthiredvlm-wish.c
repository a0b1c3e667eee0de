/* gsthiredvlm-wish.c - descriptions that somebody asks for
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A wish by event is about the next frame (or the first of a running time).
 * The action signal is about the newest, and none may follow: the element is
 * paused, the stream has ended, or frames are rare. While video plays the
 * next one is as good, and holding on to each would make whoever draws on it
 * copy it first.
 */
#include "gst/gsthiredvlm-private.h"

#include <glib/gi18n-lib.h>

/* Frames further apart than this are worth holding. */
#define RARE (200 * GST_MSECOND)

/* Lock held. */
static gboolean
is_wanted (const GstHiredVlmWish *wish, const GstHiredVlmFrame *frame)
{
  if (frame->passed && !wish->now)
    return FALSE;
  return !GST_CLOCK_TIME_IS_VALID (wish->running_time) ||
         !GST_CLOCK_TIME_IS_VALID (frame->running_time) ||
         frame->running_time >= wish->running_time;
}

void
gst_hired_vlm_take_wish (GstHiredVlm *self, GstHiredVlmFrame *frame)
{
  for (GList *l = self->wishes.head; l; l = l->next)
    if (is_wanted (l->data, frame)) {
      frame->wish = l->data;
      g_queue_delete_link (&self->wishes, l);
      return;
    }
}

void
gst_hired_vlm_grant (GstHiredVlm *self)
{
  GstHiredVlmFrame *frame;

  if (g_queue_is_empty (&self->wishes) || self->held == NULL || self->slot ||
      self->flushing || self->stopping || self->failed || self->stream == NULL)
    return;
  frame = gst_hired_vlm_frame_copy (self->held);
  gst_hired_vlm_take_wish (self, frame);
  if (frame->wish)
    gst_hired_vlm_place (self, frame);
  else
    gst_hired_vlm_frame_free (frame);
}

void
gst_hired_vlm_wish (GstHiredVlm *self, GstHiredVlmWish *wish)
{
  gboolean late;

  g_mutex_lock (&self->lock);
  g_queue_push_tail (&self->wishes, wish);
  if (wish->now)
    self->asked = TRUE;
  gst_hired_vlm_grant (self);
  late = self->ended && self->held == NULL;
  g_mutex_unlock (&self->lock);
  if (late)
    gst_hired_vlm_refuse_wishes (self, _ ("The stream has ended."));
}

static gboolean
is_worth_holding (GstHiredVlm *self, guint64 duration)
{
  gboolean alone;

  GST_OBJECT_LOCK (self);
  alone = !GST_CLOCK_TIME_IS_VALID (self->settings.interval) ||
          GST_STATE (self) != GST_STATE_PLAYING;
  GST_OBJECT_UNLOCK (self);
  return alone || !GST_CLOCK_TIME_IS_VALID (duration) || duration > RARE;
}

void
gst_hired_vlm_keep_newest (
    GstHiredVlm *self, GstBuffer *buffer, guint64 timestamp, guint64 duration)
{
  gboolean worth = is_worth_holding (self, duration);
  GstHiredVlmFrame *frame = NULL, *old;

  g_mutex_lock (&self->lock);
  if ((worth || self->asked) && !self->flushing && !self->stopping) {
    frame = gst_hired_vlm_frame_new (
        buffer, &self->info, &self->segment, timestamp, duration);
    frame->stream_id = g_strdup (self->stream_id);
    frame->passed = TRUE;
    if (gst_hired_vlm_is_trick (&self->segment) ||
        (self->segment.format == GST_FORMAT_TIME &&
            !GST_CLOCK_TIME_IS_VALID (frame->running_time)))
      g_clear_pointer (&frame, gst_hired_vlm_frame_free);
  }
  old = self->held;
  self->held = frame;
  g_mutex_unlock (&self->lock);
  gst_hired_vlm_frame_free (old);
}

void
gst_hired_vlm_refuse_wishes (GstHiredVlm *self, const gchar *why)
{
  GstHiredVlmWish *wish;
  GQueue wishes;

  g_mutex_lock (&self->lock);
  wishes = self->wishes;
  g_queue_init (&self->wishes);
  g_mutex_unlock (&self->lock);
  while ((wish = g_queue_pop_head (&wishes))) {
    gst_hired_vlm_wish_answer (
        wish, gst_hired_vlm_error_new ("cancelled", why));
    gst_hired_vlm_wish_free (wish);
  }
}

void
gst_hired_vlm_end_wishes (GstHiredVlm *self)
{
  gboolean held;

  g_mutex_lock (&self->lock);
  self->ended = TRUE;
  held = self->held != NULL;
  g_mutex_unlock (&self->lock);
  if (!held)
    gst_hired_vlm_refuse_wishes (self, _ ("The stream has ended."));
}

void
gst_hired_vlm_describe_now (
    GstHiredVlm *self, const gchar *prompt, GstPromise *promise)
{
  GstHiredVlmWish *wish = g_new0 (GstHiredVlmWish, 1);

  wish->prompt = g_strdup (prompt);
  wish->promise = promise ? gst_promise_ref (promise) : NULL;
  wish->running_time = GST_CLOCK_TIME_NONE;
  wish->now = TRUE;
  gst_hired_vlm_wish (self, wish);
}
