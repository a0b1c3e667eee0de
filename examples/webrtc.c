/* webrtc.c - captions to a browser: a WebRTC data channel
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 *   example-webrtc [MODEL]
 *
 * A camera's captions go as JSON through a data channel named "captions" to
 * another webrtcbin, here in the same process: a page in a browser does what
 * `receiver` does. What two machines would exchange by a server of their own
 * (offer, answer, candidates) is handed over by function calls. Video would be
 * one more branch into `send`. Needs webrtcbin with its ICE elements, in
 * Debian gstreamer1.0-nice.
 */
#define GST_USE_UNSTABLE_API
#include <gst/app/app.h>
#include <gst/gst.h>
#include <gst/webrtc/webrtc.h>

#define N_CAPTIONS 3

typedef struct {
  GMainLoop *loop;
  GstElement *send, *receive; /* webrtcbin */
  GstWebRTCDataChannel *channel;
  int open; /* atomic */
  int n_received;
} Call;

/* ---- what the other side does ---- */

static void
on_message (GstWebRTCDataChannel *channel, char *text, Call *call)
{
  g_print ("received: %s", text);
  if (++call->n_received == N_CAPTIONS)
    g_main_loop_quit (call->loop);
}

static void
on_channel (GstElement *receive, GstWebRTCDataChannel *channel, Call *call)
{
  g_signal_connect (
      channel, "on-message-string", G_CALLBACK (on_message), call);
}

static GstElement *
receiver (Call *call)
{
  GstElement *pipeline = gst_pipeline_new (NULL);

  call->receive = gst_element_factory_make ("webrtcbin", NULL);
  gst_bin_add (GST_BIN (pipeline), gst_object_ref (call->receive));
  g_signal_connect (
      call->receive, "on-data-channel", G_CALLBACK (on_channel), call);
  return pipeline;
}

/* ---- offer, answer, candidates ---- */

static GstWebRTCSessionDescription *
description (GstPromise *promise, const char *name)
{
  GstWebRTCSessionDescription *made = NULL;

  gst_promise_wait (promise);
  gst_structure_get (gst_promise_get_reply (promise), name,
      GST_TYPE_WEBRTC_SESSION_DESCRIPTION, &made, NULL);
  gst_promise_unref (promise);
  return made;
}

static void
set_both (GstElement *mine, GstElement *other, GstWebRTCSessionDescription *d)
{
  g_signal_emit_by_name (mine, "set-local-description", d, NULL);
  g_signal_emit_by_name (other, "set-remote-description", d, NULL);
  gst_webrtc_session_description_free (d);
}

static void
on_answer (GstPromise *promise, gpointer data)
{
  Call *call = data;

  set_both (call->receive, call->send, description (promise, "answer"));
}

static void
on_offer (GstPromise *promise, gpointer data)
{
  Call *call = data;

  set_both (call->send, call->receive, description (promise, "offer"));
  g_signal_emit_by_name (call->receive, "create-answer", NULL,
      gst_promise_new_with_change_func (on_answer, call, NULL));
}

static void
on_negotiation (GstElement *send, Call *call)
{
  g_signal_emit_by_name (send, "create-offer", NULL,
      gst_promise_new_with_change_func (on_offer, call, NULL));
}

static void
on_candidate (
    GstElement *from, guint line, const char *candidate, GstElement *to)
{
  g_signal_emit_by_name (to, "add-ice-candidate", line, candidate);
}

/* ---- the camera and its captions ---- */

static void
on_open (GstWebRTCDataChannel *channel, Call *call)
{
  g_atomic_int_set (&call->open, TRUE);
}

/* One JSON object per caption, on the text pad's thread. */
static GstFlowReturn
on_sample (GstAppSink *sink, Call *call)
{
  GstSample *sample = gst_app_sink_pull_sample (sink);
  GstBuffer *buffer = sample ? gst_sample_get_buffer (sample) : NULL;
  GstMapInfo map;

  if (buffer && g_atomic_int_get (&call->open) &&
      gst_buffer_map (buffer, &map, GST_MAP_READ)) {
    g_autofree char *text = g_strndup ((const char *) map.data, map.size);

    g_signal_emit_by_name (call->channel, "send-string", text);
    gst_buffer_unmap (buffer, &map);
  }
  if (sample)
    gst_sample_unref (sample);
  return GST_FLOW_OK;
}

static GstElement *
sender (Call *call, const char *model)
{
  g_autoptr (GError) error = NULL;
  GstElement *pipeline = gst_parse_launch (
      "videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,"
      "height=240,framerate=15/1 ! hiredvlm name=v interval=500000000 "
      "max-tokens=20 ! fakesink v.text_src ! application/x-json ! appsink "
      "name=json emit-signals=true sync=false async=false webrtcbin name=send",
      &error);
  if (error)
    g_error ("%s", error->message);
  g_autoptr (GstElement) vlm = gst_bin_get_by_name (GST_BIN (pipeline), "v");
  g_autoptr (GstElement) json =
      gst_bin_get_by_name (GST_BIN (pipeline), "json");

  if (model)
    g_object_set (vlm, "model-path", model, NULL);
  g_signal_connect (json, "new-sample", G_CALLBACK (on_sample), call);
  call->send = gst_bin_get_by_name (GST_BIN (pipeline), "send");
  g_signal_connect (
      call->send, "on-negotiation-needed", G_CALLBACK (on_negotiation), call);
  return pipeline;
}

/* A data channel is made when its webrtcbin is ready, before the offer. */
static void
connect (Call *call, GstElement *from, GstElement *to)
{
  g_signal_connect (
      call->send, "on-ice-candidate", G_CALLBACK (on_candidate), call->receive);
  g_signal_connect (
      call->receive, "on-ice-candidate", G_CALLBACK (on_candidate), call->send);
  gst_element_set_state (to, GST_STATE_PLAYING);
  gst_element_set_state (from, GST_STATE_READY);
  g_signal_emit_by_name (
      call->send, "create-data-channel", "captions", NULL, &call->channel);
  g_signal_connect (call->channel, "on-open", G_CALLBACK (on_open), call);
  gst_element_set_state (from, GST_STATE_PLAYING);
}

static gboolean
give_up (gpointer call)
{
  g_printerr ("No caption came through within a minute.\n");
  g_main_loop_quit (((Call *) call)->loop);
  return G_SOURCE_REMOVE;
}

int
main (int argc, char **argv)
{
  Call call = { 0 };

  gst_init (&argc, &argv);
  call.loop = g_main_loop_new (NULL, FALSE);
  GstElement *to = receiver (&call);
  GstElement *from = sender (&call, argc > 1 ? argv[1] : NULL);
  connect (&call, from, to);
  g_timeout_add_seconds (60, give_up, &call);
  g_main_loop_run (call.loop);
  gst_element_set_state (from, GST_STATE_NULL);
  gst_element_set_state (to, GST_STATE_NULL);
  g_clear_object (&call.channel);
  gst_object_unref (call.send);
  gst_object_unref (call.receive);
  gst_object_unref (from);
  gst_object_unref (to);
  g_main_loop_unref (call.loop);
  return call.n_received >= N_CAPTIONS ? 0 : 1;
}
