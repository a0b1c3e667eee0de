/* element-real.c - the element over the real engine and a folder of its own
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The other tests have an engine that does as told; here the model is real,
 * though random, and its files come and go.
 */
#include <gst/check/gstcheck.h>
#include "gst/gsthiredvlm.h"
#include "gst/gstvlmmeta.h"
#include "tests/folder.h"
#include "tests/tiny-model.h"

#define LINE                                                                   \
  "videotestsrc pattern=ball num-buffers=%d ! "                                \
  "video/x-raw,width=64,height=48,framerate=10/1 ! hiredvlm name=v "           \
  "model-path=%s max-tokens=8 interval=0 ! fakesink name=end sync=false"

static gchar *folder;

static void
setup (void)
{
  GST_ELEMENT_REGISTER (hiredvlm, NULL);
  folder = folder_new ();
  tiny_model_write (folder, NULL);
}

static void
teardown (void)
{
  folder_remove (folder);
}

static GstElement *
parse (gint n_frames)
{
  g_autofree gchar *line = g_strdup_printf (LINE, n_frames, folder);
  GError *error = NULL;
  GstElement *pipeline = gst_parse_launch (line, &error);

  fail_unless (error == NULL, "%s", error ? error->message : "");
  return pipeline;
}

/* What comes by the bus until the pipeline ends or fails. */
typedef struct {
  GString *said; /* a line for each caption: its time and text */
  guint captions, errors;
} Report;

static void
report_add (Report *report, GstMessage *message)
{
  const GstStructure *s = gst_vlm_message_get_caption (message);

  if (s) {
    g_string_append_printf (report->said, "%" G_GUINT64_FORMAT " %s\n",
        gst_vlm_caption_get_time (s, GST_VLM_TIMESTAMP),
        gst_vlm_caption_get_text (s));
    report->captions++;
  }
  report->errors += GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR &&
                    GST_IS_HIRED_VLM (GST_MESSAGE_SRC (message));
}

/* Plays; deletes the folder when as many captions came. */
static void
play (GstElement *pipeline, guint delete_after, Report *report)
{
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message;
  gboolean last = FALSE;

  *report = (Report){ g_string_new (NULL), 0, 0 };
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  while (!last) {
    message = gst_bus_timed_pop (bus, 60 * GST_SECOND);
    fail_unless (message != NULL);
    report_add (report, message);
    if (report->captions == delete_after)
      folder_remove (g_strdup (folder));
    last = GST_MESSAGE_TYPE (message) & (GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
    gst_message_unref (message);
  }
  gst_element_set_state (pipeline, GST_STATE_NULL);
  while ((message = gst_bus_pop (bus))) {
    report_add (report, message);
    gst_message_unref (message);
  }
  gst_object_unref (bus);
}

/* Every frame, each at its time; and the same when it is played again. */
GST_START_TEST (the_same_twice)
{
  GstElement *pipeline = parse (6);
  Report once, again;

  play (pipeline, G_MAXUINT, &once);
  play (pipeline, G_MAXUINT, &again);
  fail_unless_equals_int (once.captions, 6);
  fail_unless_equals_int (once.errors + again.errors, 0);
  fail_unless_equals_string (once.said->str, again.said->str);
  g_string_free (once.said, TRUE);
  g_string_free (again.said, TRUE);
  gst_object_unref (pipeline);
}
GST_END_TEST;

/* What is loaded stays; what comes anew is told once. */
GST_START_TEST (folder_deleted_while_running)
{
  GstElement *pipeline = parse (6);
  Report whole, cut, gone;

  play (pipeline, G_MAXUINT, &whole);
  play (pipeline, 2, &cut);
  fail_unless_equals_int (cut.errors, 0);
  fail_unless_equals_string (cut.said->str, whole.said->str);
  play (pipeline, G_MAXUINT, &gone);
  fail_unless_equals_int (gone.captions, 0);
  fail_unless_equals_int (gone.errors, 1);
  g_string_free (whole.said, TRUE);
  g_string_free (cut.said, TRUE);
  g_string_free (gone.said, TRUE);
  gst_object_unref (pipeline);
}
GST_END_TEST;

/* Between the look at it and the load: it runs, or says why not, once. */
GST_START_TEST (folder_deleted_before_loading)
{
  GstElement *pipeline = parse (3);
  Report report;

  fail_unless_equals_int (gst_element_set_state (pipeline, GST_STATE_READY),
      GST_STATE_CHANGE_SUCCESS);
  folder_remove (g_strdup (folder));
  play (pipeline, G_MAXUINT, &report);
  fail_unless (report.captions == 3 ? report.errors == 0 : report.errors == 1);
  g_string_free (report.said, TRUE);
  gst_object_unref (pipeline);
}
GST_END_TEST;

static Suite *
element_real_suite (void)
{
  Suite *s = suite_create ("element-real");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_set_timeout (tc, 120);
  tcase_add_checked_fixture (tc, setup, teardown);
  tcase_add_test (tc, the_same_twice);
  tcase_add_test (tc, folder_deleted_while_running);
  tcase_add_test (tc, folder_deleted_before_loading);
  return s;
}

GST_CHECK_MAIN (element_real);
