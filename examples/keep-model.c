/* keep-model.c - one model for pipeline after pipeline, by GstContext
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 *   example-keep-model [MODEL]
 *
 * A model is let go of when the last pipeline that uses it goes to NULL. An
 * application that will need it again keeps the context "hired.model" that
 * the first pipeline tells, and sets it on the next, which then loads nothing.
 */
#include <gst/gst.h>
#include <gst/gstvlmmeta.h>
#include <string.h>

/* Keeps the context of the first element that opened the model. */
static void
look_at_context (GstMessage *message, GstContext **model)
{
  GstContext *context;

  gst_message_parse_have_context (message, &context);
  if (strcmp (gst_context_get_context_type (context), "hired.model") == 0) {
    g_print ("opened a model\n");
    if (*model == NULL)
      *model = gst_context_ref (context);
  }
  gst_context_unref (context);
}

static gboolean
look_at (GstMessage *message, GstContext **model)
{
  const GstStructure *caption = gst_vlm_message_get_caption (message);
  g_autoptr (GError) error = NULL;

  if (caption)
    g_print ("caption: %s\n", gst_vlm_caption_get_text (caption));
  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_HAVE_CONTEXT)
    look_at_context (message, model);
  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR) {
    gst_message_parse_error (message, &error, NULL);
    g_printerr ("%s\n", error->message);
  }
  return GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS ||
         GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR;
}

/* Describes a test picture. The context is set before the pipeline starts;
 * *model is what was kept, or is kept now. */
static void
describe (const char *pattern, const char *path, GstContext **model)
{
  g_autofree char *line = g_strdup_printf (
      "videotestsrc num-buffers=1 pattern=%s ! video/x-raw,width=320,"
      "height=240 ! hiredvlm name=v max-tokens=20 ! fakesink",
      pattern);
  g_autoptr (GstElement) pipeline = gst_parse_launch (line, NULL);
  g_autoptr (GstElement) vlm = gst_bin_get_by_name (GST_BIN (pipeline), "v");
  g_autoptr (GstBus) bus = gst_element_get_bus (pipeline);
  gboolean ended = FALSE;

  if (path)
    g_object_set (vlm, "model-path", path, NULL);
  if (*model)
    gst_element_set_context (pipeline, *model);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  while (!ended) {
    GstMessage *message = gst_bus_timed_pop (bus, GST_CLOCK_TIME_NONE);

    ended = look_at (message, model);
    gst_message_unref (message);
  }
  gst_element_set_state (pipeline, GST_STATE_NULL);
}

int
main (int argc, char **argv)
{
  static const char *const patterns[] = { "ball", "smpte", "red" };
  GstContext *model = NULL;

  gst_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (patterns); i++)
    describe (patterns[i], argc > 1 ? argv[1] : NULL, &model);
  if (model == NULL)
    return 1;
  gst_context_unref (model);
  return 0;
}
