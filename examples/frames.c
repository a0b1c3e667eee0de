/* frames.c - an application's own frames in, captions out
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 *   example-frames [MODEL]
 *
 * Shows the three ways an application hears from hiredvlm: JSON by appsink,
 * the signal `caption`, and a question about one frame with a promise. The
 * frames here are drawn by the program; take yours from wherever they come.
 */
#include <gst/app/app.h>
#include <gst/gstvlmmeta.h>
#include <gst/video/video.h>

#define WIDTH 320
#define HEIGHT 240
#define N_FRAMES 4

/* A frame of one colour; the buffer is the caller's. */
static GstBuffer *
make_frame (guint number)
{
  gsize size = WIDTH * HEIGHT * 3;
  guint8 *pixels = g_malloc (size);

  for (gsize i = 0; i < size; i++)
    pixels[i] = i % 3 == number % 3 ? 200 : 40;
  GstBuffer *buffer = gst_buffer_new_wrapped (pixels, size);
  GST_BUFFER_PTS (buffer) = number * GST_SECOND;
  GST_BUFFER_DURATION (buffer) = GST_SECOND;
  return buffer;
}

/* On the engine's worker: return quickly. */
static void
on_caption (GstElement *vlm, GstStructure *caption, gpointer user_data)
{
  g_print ("signal: %" GST_TIME_FORMAT " %s\n",
      GST_TIME_ARGS (gst_vlm_caption_get_time (caption, GST_VLM_TIMESTAMP)),
      gst_vlm_caption_get_text (caption));
}

static GstElement *
make_pipeline (const char *model)
{
  GError *error = NULL;
  GstElement *pipeline = gst_parse_launch (
      "appsrc name=in format=time caps=video/x-raw,format=RGB,width=320,"
      "height=240,framerate=1/1 ! hiredvlm name=v max-tokens=20 ! fakesink "
      "v.text_src ! application/x-json ! appsink name=out sync=false",
      &error);
  if (!pipeline) {
    g_printerr ("%s\n", error->message);
    g_clear_error (&error);
    return NULL;
  }
  g_autoptr (GstElement) vlm = gst_bin_get_by_name (GST_BIN (pipeline), "v");
  if (model)
    g_object_set (vlm, "model-path", model, NULL);
  g_signal_connect (vlm, "caption", G_CALLBACK (on_caption), NULL);
  return pipeline;
}

/* Asks about the next frame, whatever is asked about the others. */
static GstPromise *
ask (GstElement *pipeline, const char *question)
{
  g_autoptr (GstElement) vlm = gst_bin_get_by_name (GST_BIN (pipeline), "v");
  GstPromise *promise = gst_promise_new ();
  g_signal_emit_by_name (vlm, "describe", question, promise);
  return promise;
}

static void
print_json (GstElement *pipeline)
{
  g_autoptr (GstElement) out = gst_bin_get_by_name (GST_BIN (pipeline), "out");
  GstSample *sample;

  while ((sample = gst_app_sink_pull_sample (GST_APP_SINK (out)))) {
    GstMapInfo map;
    gst_buffer_map (gst_sample_get_buffer (sample), &map, GST_MAP_READ);
    g_print ("json: %.*s", (int) map.size, (const char *) map.data);
    gst_buffer_unmap (gst_sample_get_buffer (sample), &map);
    gst_sample_unref (sample);
  }
}

int
main (int argc, char **argv)
{
  gst_init (&argc, &argv);
  GstElement *pipeline = make_pipeline (argc > 1 ? argv[1] : NULL);
  if (!pipeline)
    return 1;
  if (gst_element_set_state (pipeline, GST_STATE_PLAYING) ==
      GST_STATE_CHANGE_FAILURE) {
    g_printerr ("The pipeline does not start; is there a model?\n");
    gst_element_set_state (pipeline, GST_STATE_NULL);
    gst_object_unref (pipeline);
    return 1;
  }

  GstPromise *promise = ask (pipeline, "What colour is it?");
  GstElement *in = gst_bin_get_by_name (GST_BIN (pipeline), "in");
  for (guint i = 0; i < N_FRAMES; i++)
    gst_app_src_push_buffer (GST_APP_SRC (in), make_frame (i));
  gst_app_src_end_of_stream (GST_APP_SRC (in));
  gst_object_unref (in);

  if (gst_promise_wait (promise) == GST_PROMISE_RESULT_REPLIED)
    g_print ("answer: %s\n",
        gst_vlm_caption_get_text (gst_promise_get_reply (promise)));
  gst_promise_unref (promise);
  print_json (pipeline);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
  return 0;
}
