/* gsthiredvlm.c - the element: class, states, and the way of a buffer
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
/**
 * SECTION:element-hiredvlm
 * @title: hiredvlm
 * @short_description: captions video by a vision-language model
 *
 * Video or pictures pass through untouched; beside them comes what a LLaVA
 * checkpoint says about them: as text on the request pad `text_src`, as
 * metadata on the buffers, as bus messages, as JSON and by a signal.
 * High-resolution pictures cost such a model up to 2,900 visual tokens; HiRED
 * keeps the share #GstHiredVlm:token-budget of them, chosen by the image
 * encoder's own attention, before the language model runs.
 *
 * From a file every due frame is described and video waits for it (sync);
 * from a live source video never waits and the newest frame is described
 * when the model is free (async). #GstHiredVlm:mode overrides. A frame is due
 * every #GstHiredVlm:interval.
 *
 * On a live source captions appear when they are ready. To see them exactly
 * on their frames set #GstHiredVlm:latency above the time of one description
 * and give the video branch a queue that holds as much.
 *
 * ## Example launch lines
 * |[
 * gst-launch-1.0 -q filesrc location=a.jpg ! jpegdec ! hiredvlm name=v
 * v.text_src ! fdsink
 * ]| Describe a picture on standard output.
 * |[
 * gst-launch-1.0 filesrc location=in.mp4 ! decodebin3 ! hiredvlm name=v ! queue
 * ! textoverlay name=o ! videoconvert ! x264enc ! mp4mux ! filesink
 * location=out.mp4 v.text_src ! queue ! o.text_sink
 * ]| Burn captions into a film.
 * |[
 * gst-launch-1.0 filesrc location=in.mp4 ! decodebin3 ! hiredvlm name=v !
 * fakesink v.text_src ! text/x-raw,format=pango-markup ! webvttenc ! filesink
 * location=out.vtt
 * ]| Write a WebVTT file.
 * |[
 * gst-launch-1.0 v4l2src ! videoconvert ! hiredvlm prompt="Is anybody on the
 * stairs? Answer yes or no." name=v ! queue ! textoverlay name=o ! videoconvert
 * ! autovideosink v.text_src ! queue ! o.text_sink
 * ]| Watch a camera; video never stalls.
 * |[
 * gst-launch-1.0 filesrc location=in.mp4 ! decodebin3 ! hiredvlm name=v !
 * fakesink v.text_src ! application/x-json ! filesink location=captions.jsonl
 * ]| One JSON object per caption and line.
 *
 * Since: 0.1
 */
#include "gst/gsthiredvlm-private.h"

#include <glib/gi18n-lib.h>

GST_DEBUG_CATEGORY (gst_hired_vlm_debug);

guint gst_hired_vlm_signal_caption;

static GstStaticPadTemplate text_template =
    GST_STATIC_PAD_TEMPLATE ("text_src", GST_PAD_SRC, GST_PAD_REQUEST,
        GST_STATIC_CAPS ("text/x-raw, format=(string){ utf8, pango-markup };"
                         "application/x-json"));

G_DEFINE_TYPE_WITH_CODE (GstHiredVlm, gst_hired_vlm, GST_TYPE_ELEMENT,
    G_IMPLEMENT_INTERFACE (GST_TYPE_PRESET, gst_hired_vlm_preset_init))
GST_ELEMENT_REGISTER_DEFINE (
    hiredvlm, "hiredvlm", GST_RANK_NONE, GST_TYPE_HIRED_VLM)

void
gst_hired_vlm_set_last_caption (GstHiredVlm *self, const gchar *text)
{
  GST_OBJECT_LOCK (self);
  g_free (self->last_caption);
  self->last_caption = g_strdup (text);
  GST_OBJECT_UNLOCK (self);
  g_object_notify (G_OBJECT (self), "last-caption");
}

void
gst_hired_vlm_note_lag (GstHiredVlm *self, guint64 lag)
{
  gboolean grew, exceeded;
  guint64 latency;

  if (!GST_CLOCK_TIME_IS_VALID (lag) || !self->live)
    return;
  GST_OBJECT_LOCK (self);
  latency = self->settings.latency;
  grew = lag > self->max_observed_lag;
  exceeded = grew && latency > 0 && lag > latency;
  self->max_observed_lag = MAX (self->max_observed_lag, lag);
  GST_OBJECT_UNLOCK (self);
  if (grew)
    g_object_notify (G_OBJECT (self), "max-observed-lag");
  if (exceeded)
    gst_element_message_full_with_details (GST_ELEMENT (self),
        GST_MESSAGE_WARNING, GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED,
        g_strdup (_ ("Captions are later than the latency promised.")),
        g_strdup_printf ("lag %" GST_TIME_FORMAT ", latency %" GST_TIME_FORMAT,
            GST_TIME_ARGS (lag), GST_TIME_ARGS (latency)),
        __FILE__, GST_FUNCTION, __LINE__,
        gst_structure_new ("hiredvlm/excessive-lag", "lag", G_TYPE_UINT64, lag,
            "latency", G_TYPE_UINT64, latency, NULL));
}

/* ---- the way of a buffer ---- */

/* Whether upstream is live decides between sync and async, once a stream. */
static void
ensure_timing (GstHiredVlm *self)
{
  GstQuery *query;
  gint mode, timing;
  gboolean live = FALSE;
  guint64 latency;

  if (self->timing_known)
    return;
  query = gst_query_new_latency ();
  if (gst_pad_peer_query (self->sinkpad, query))
    gst_query_parse_latency (query, &live, NULL, NULL);
  gst_query_unref (query);
  GST_OBJECT_LOCK (self);
  mode = self->settings.mode;
  timing = self->settings.timing;
  latency = self->settings.latency;
  GST_OBJECT_UNLOCK (self);
  g_mutex_lock (&self->lock);
  self->live = live;
  self->sync =
      mode == GST_HIRED_VLM_MODE_AUTO ? !live : mode == GST_HIRED_VLM_MODE_SYNC;
  self->arrival = timing == GST_HIRED_VLM_TIMING_AUTO
                      ? live && latency == 0
                      : timing == GST_HIRED_VLM_TIMING_ARRIVAL;
  self->timing_known = TRUE;
  g_mutex_unlock (&self->lock);
  gst_hired_vlm_configure_text (self);
  GST_DEBUG_OBJECT (self, "%s source, %s, captions at the time of %s",
      self->live ? "live" : "not live", self->sync ? "sync" : "async",
      self->arrival ? "arrival" : "their frame");
}

/* Asks once a segment where the film ends, that the last cue may end there
 * too. Live there is no end. */
static void
ensure_end (GstHiredVlm *self)
{
  guint64 end = GST_CLOCK_TIME_NONE;
  gint64 duration;

  if (self->end_known)
    return;
  if (!self->live && self->segment.format == GST_FORMAT_TIME &&
      gst_pad_peer_query_duration (self->sinkpad, GST_FORMAT_TIME, &duration) &&
      duration > 0)
    end = gst_segment_position_from_stream_time (
        &self->segment, GST_FORMAT_TIME, duration);
  gst_hired_vlm_text_set_end (&self->text, end);
  self->end_known = TRUE;
}

/* Frames without a time get one: live the running time of now, else the end
 * of the frame before. */
static guint64
time_of (GstHiredVlm *self, GstBuffer *buffer)
{
  GstClockTime now;

  if (GST_BUFFER_PTS_IS_VALID (buffer))
    return GST_BUFFER_PTS (buffer);
  if (!self->warned_pts)
    GST_WARNING_OBJECT (self, "frames come without timestamps");
  self->warned_pts = TRUE;
  if (self->segment.format != GST_FORMAT_TIME)
    return GST_CLOCK_TIME_IS_VALID (self->position) ? self->position : 0;
  now = gst_element_get_current_running_time (GST_ELEMENT (self));
  if (self->live && GST_CLOCK_TIME_IS_VALID (now))
    return gst_segment_position_from_running_time (
        &self->segment, GST_FORMAT_TIME, now);
  return GST_CLOCK_TIME_IS_VALID (self->position) ? self->position
                                                  : self->segment.start;
}

static guint64
duration_of (GstHiredVlm *self, GstBuffer *buffer)
{
  if (GST_BUFFER_DURATION_IS_VALID (buffer))
    return GST_BUFFER_DURATION (buffer);
  if (self->info.fps_n > 0 && self->info.fps_d > 0)
    return gst_util_uint64_scale (
        GST_SECOND, self->info.fps_d, self->info.fps_n);
  return GST_CLOCK_TIME_NONE;
}

/* Before the frame is offered: its caption may come at once, and belongs behind
 * the frame. */
static void
move_position (GstHiredVlm *self, guint64 timestamp, guint64 duration)
{
  if (!GST_CLOCK_TIME_IS_VALID (timestamp))
    return;
  g_mutex_lock (&self->lock);
  self->position = timestamp;
  if (GST_CLOCK_TIME_IS_VALID (duration))
    self->position += duration;
  g_mutex_unlock (&self->lock);
}

/* After it: a cue that is reserved for the frame comes first. */
static void
tell_text (GstHiredVlm *self, guint64 timestamp, guint64 duration)
{
  guint64 end;

  if (!GST_CLOCK_TIME_IS_VALID (timestamp))
    return;
  /* A frame of unknown length has a beginning, and text has to pass it. */
  end = timestamp + (GST_CLOCK_TIME_IS_VALID (duration) ? duration : 0);
  end = MAX (end, timestamp + 1);
  if (self->segment.rate < 0)
    gst_hired_vlm_text_gap_exact (&self->text, timestamp, end);
  else
    gst_hired_vlm_text_gap (&self->text, timestamp, end);
}

static GstFlowReturn
combine_flows (GstHiredVlm *self, GstFlowReturn flow)
{
  GstFlowReturn text_flow = gst_hired_vlm_text_flow (&self->text);
  GstPad *pad;

  g_mutex_lock (&self->lock);
  GST_OBJECT_LOCK (self);
  pad = self->textpad;
  GST_OBJECT_UNLOCK (self);
  if (pad)
    gst_flow_combiner_update_pad_flow (self->combiner, pad, text_flow);
  flow = gst_flow_combiner_update_pad_flow (self->combiner, self->srcpad, flow);
  if (self->failed)
    flow = GST_FLOW_ERROR;
  g_mutex_unlock (&self->lock);
  return flow;
}

static GstFlowReturn
chain (GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
  GstHiredVlm *self = GST_HIRED_VLM (parent);
  guint64 timestamp, duration, stream_time;
  gboolean flushing, failed;

  if (!self->have_info) {
    GST_WARNING_OBJECT (self, "a frame came before its caps");
    gst_buffer_unref (buffer);
    return GST_FLOW_NOT_NEGOTIATED;
  }
  ensure_timing (self);
  ensure_end (self);
  timestamp = time_of (self, buffer);
  duration = duration_of (self, buffer);
  stream_time = gst_segment_to_stream_time (
      &self->segment, self->segment.format, timestamp);
  if (self->segment.format == GST_FORMAT_TIME &&
      GST_CLOCK_TIME_IS_VALID (stream_time))
    gst_object_sync_values (GST_OBJECT (self), stream_time);
  g_mutex_lock (&self->lock);
  self->stats.in++;
  g_mutex_unlock (&self->lock);

  move_position (self, timestamp, duration);
  gst_hired_vlm_consider (self, buffer, timestamp, duration);
  tell_text (self, timestamp, duration);

  g_mutex_lock (&self->lock);
  flushing = self->flushing || self->stopping;
  failed = self->failed;
  g_mutex_unlock (&self->lock);
  if (flushing || failed) {
    gst_buffer_unref (buffer);
    return failed ? GST_FLOW_ERROR : GST_FLOW_FLUSHING;
  }
  buffer = gst_hired_vlm_attach (self, buffer);
  gst_hired_vlm_keep_newest (self, buffer, timestamp, duration);
  return combine_flows (self, gst_pad_push (self->srcpad, buffer));
}

/* ---- states ---- */

static void
reset_stream (GstHiredVlm *self)
{
  g_mutex_lock (&self->lock);
  self->have_info = self->timing_known = self->warned_pts = FALSE;
  self->end_known = FALSE;
  self->position = self->last_start = GST_CLOCK_TIME_NONE;
  self->slowest = 0;
  self->asked = !g_queue_is_empty (&self->wishes);
  self->ended = FALSE;
  self->next_seq = 0;
  gst_segment_init (&self->segment, GST_FORMAT_UNDEFINED);
  gst_hired_vlm_attach_reset (self);
  self->stats = (Stats){ 0 };
  gst_flow_combiner_reset (self->combiner);
  g_mutex_unlock (&self->lock);
  gst_hired_vlm_thumb_clear (&self->thumb);
  g_clear_pointer (&self->stream_id, g_free);
  GST_OBJECT_LOCK (self);
  g_clear_pointer (&self->stream_prompt, g_free);
  g_clear_pointer (&self->once_prompt, g_free);
  self->max_observed_lag = 0;
  GST_OBJECT_UNLOCK (self);
}

static void
begin_stop (GstHiredVlm *self)
{
  g_mutex_lock (&self->lock);
  self->stopping = TRUE;
  g_mutex_unlock (&self->lock);
  gst_hired_vlm_text_set_flushing (&self->text);
  gst_hired_vlm_cancel (self);
}

static GstStateChangeReturn
change_state (GstElement *element, GstStateChange transition)
{
  GstHiredVlm *self = GST_HIRED_VLM (element);
  GstStateChangeReturn ret;

  if (transition == GST_STATE_CHANGE_NULL_TO_READY &&
      !gst_hired_vlm_model_open (self))
    return GST_STATE_CHANGE_FAILURE;
  if (transition == GST_STATE_CHANGE_READY_TO_PAUSED) {
    reset_stream (self);
    if (!gst_hired_vlm_model_start (self))
      return GST_STATE_CHANGE_FAILURE;
  }
  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY)
    begin_stop (self);

  ret = GST_ELEMENT_CLASS (gst_hired_vlm_parent_class)
            ->change_state (element, transition);

  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY ||
      (transition == GST_STATE_CHANGE_READY_TO_PAUSED &&
          ret == GST_STATE_CHANGE_FAILURE)) {
    gst_hired_vlm_model_stop (self);
    gst_hired_vlm_cancel (self); /* frames that were under way meanwhile */
    gst_hired_vlm_refuse_wishes (self, _ ("The element was stopped."));
  }
  if (transition == GST_STATE_CHANGE_READY_TO_NULL)
    gst_hired_vlm_model_close (self);
  return ret;
}

/* ---- class ---- */

static void
finalize (GObject *object)
{
  GstHiredVlm *self = GST_HIRED_VLM (object);

  gst_hired_vlm_refuse_wishes (self, _ ("The element was stopped."));
  reset_stream (self);
  gst_hired_vlm_text_clear (&self->text);
  gst_flow_combiner_free (self->combiner);
  gst_hired_vlm_settings_clear (&self->settings);
  g_free (self->last_caption);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->changed);
  G_OBJECT_CLASS (gst_hired_vlm_parent_class)->finalize (object);
}

static void
install_signals (GType type)
{
  /**
   * GstHiredVlm::caption:
   * @element: the element
   * @caption: a #GstStructure "hiredvlm-caption", see gstvlmmeta.h
   *
   * A description is ready. Emitted on the engine's worker thread, which
   * other elements share: return quickly, and change no states from here.
   */
  gst_hired_vlm_signal_caption =
      g_signal_new ("caption", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
          G_TYPE_NONE, 1, GST_TYPE_STRUCTURE | G_SIGNAL_TYPE_STATIC_SCOPE);
  /**
   * GstHiredVlm::describe:
   * @element: the element
   * @prompt: (nullable): what to ask, or NULL for the prompt in force
   * @promise: (nullable): answered with the caption, or with a structure
   *     "hiredvlm/error"
   *
   * Describes the newest frame, whether it is due or not. While video plays
   * at more than five frames a second that is the next one to come; the last
   * frame of a stream that has ended is described if the element held on to
   * it, as it does after the first use of this signal or with an `interval`
   * of -1.
   */
  g_signal_new_class_handler ("describe", type,
      G_SIGNAL_RUN_LAST | G_SIGNAL_ACTION,
      G_CALLBACK (gst_hired_vlm_describe_now), NULL, NULL, NULL, G_TYPE_NONE, 2,
      G_TYPE_STRING, GST_TYPE_PROMISE);
}

/* Every format in system memory, what a GPU takes in its own. */
static void
add_video_template (
    GstElementClass *klass, const gchar *name, GstPadDirection direction)
{
  GstCaps *caps =
      gst_caps_from_string (GST_VIDEO_CAPS_MAKE (GST_VIDEO_FORMATS_ALL));

  gst_caps_append (caps, gst_hired_vlm_cuda_caps ());
  gst_element_class_add_pad_template (
      klass, gst_pad_template_new (name, direction, GST_PAD_ALWAYS, caps));
  gst_caps_unref (caps);
}

static void
gst_hired_vlm_class_init (GstHiredVlmClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GstElementClass *element_class = GST_ELEMENT_CLASS (klass);

  GST_DEBUG_CATEGORY_INIT (
      gst_hired_vlm_debug, "hiredvlm", 0, "captions by HiRED");
  gst_hired_vlm_caption_register ();
  object_class->finalize = finalize;
  gst_hired_vlm_install_properties (object_class);
  install_signals (G_TYPE_FROM_CLASS (klass));
  element_class->change_state = change_state;
  element_class->request_new_pad = gst_hired_vlm_request_pad;
  element_class->release_pad = gst_hired_vlm_release_pad;
  add_video_template (element_class, "sink", GST_PAD_SINK);
  add_video_template (element_class, "src", GST_PAD_SRC);
  gst_element_class_add_static_pad_template (element_class, &text_template);
  gst_element_class_set_static_metadata (element_class,
      "Vision-language captioner", "Filter/Analyzer/Video",
      "Says what video shows, by LLaVA checkpoints with HiRED token dropping",
      "The hiredvlm authors");
}

static GstPad *
add_pad (GstHiredVlm *self, const gchar *name)
{
  GstElementClass *klass = GST_ELEMENT_GET_CLASS (self);
  GstPad *pad = gst_pad_new_from_template (
      gst_element_class_get_pad_template (klass, name), name);

  gst_pad_set_iterate_internal_links_function (
      pad, gst_hired_vlm_internal_links);
  GST_PAD_SET_PROXY_CAPS (pad);
  GST_PAD_SET_PROXY_ALLOCATION (pad);
  gst_element_add_pad (GST_ELEMENT (self), pad);
  return pad;
}

static void
gst_hired_vlm_init (GstHiredVlm *self)
{
  gst_hired_vlm_settings_init (&self->settings);
  g_mutex_init (&self->lock);
  g_cond_init (&self->changed);
  g_queue_init (&self->wishes);
  gst_hired_vlm_text_init (&self->text);
  self->combiner = gst_flow_combiner_new ();
  self->sinkpad = add_pad (self, "sink");
  gst_pad_set_chain_function (self->sinkpad, chain);
  gst_pad_set_event_function (self->sinkpad, gst_hired_vlm_sink_event);
  gst_pad_set_query_function (self->sinkpad, gst_hired_vlm_sink_query);
  self->srcpad = add_pad (self, "src");
  gst_pad_set_event_function (self->srcpad, gst_hired_vlm_src_event);
  gst_pad_set_query_function (self->srcpad, gst_hired_vlm_src_query);
  gst_flow_combiner_add_pad (self->combiner, self->srcpad);
  reset_stream (self);
}
