/* element-real.c - the element over the real engine and a folder of its own
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The other tests have an engine that does as told; here the model is real,
 * though random, and its files come and go.
 */
#include <glib/gstdio.h>
#include <gst/check/gstcheck.h>
#include <string.h>
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

/* ---- faults of the folder ---- */

/* One fault of a folder that is well otherwise, and the details it makes; a
 * NULL field is not there, of "..." only that it is. */
typedef struct {
  const gchar *property, *value;   /* set, if any */
  const gchar *spoilt, *from, *to; /* NULL: cut off, without `from` its end */
  const gchar *fields[6];          /* as in `field_names` */
} Fault;

static const gchar *const field_names[] = { "file", "tensor", "key", "property",
  "expected", "found" };

static const Fault faults[] = {
  { "device", "abacus", .fields = { [3] = "device", [5] = "abacus" } },
  { "policy-params", "params,alpha=7.0",
      .fields = { [3] = "policy-params", "0 to 1", "7" } },
  { .spoilt = "model.safetensors",
      .fields = { "model.safetensors",
          "language_model.lm_head.weight", [4] = "...", "..." } },
  { .spoilt = "config.json",
      .from = "\"num_attention_heads\":2",
      .to = "\"num_attention_heads\":0",
      .fields = { "config.json", NULL, "vision_config.num_attention_heads",
          NULL, "...", "0" } },
  { .spoilt = "config.json",
      .from = "\"vocab_size\":320",
      .to = "\"vocab_size\":330",
      .fields = { "model.safetensors",
          "language_model.model.embed_tokens.weight", NULL, NULL, "[330,64]",
          "[320,64]" } },
  { .spoilt = "config.json",
      .from = "\"vision_config\"",
      .fields = { "config.json", [4] = "a JSON object", "it ends too early" } },
  { .spoilt = "tokenizer_config.json",
      .from = "",
      .fields = { "tokenizer_config.json", [4] = "a JSON object",
          "it ends too early" } },
};

static void
spoil (const Fault *fault)
{
  g_autofree gchar *path = g_build_filename (folder, fault->spoilt, NULL);
  g_autofree gchar *bytes = NULL;
  gchar *at;
  gsize length;

  fail_unless (g_file_get_contents (path, &bytes, &length, NULL));
  at = fault->from ? strstr (bytes, fault->from) : bytes + length - 4;
  fail_unless (at != NULL);
  if (fault->to)
    memcpy (at, fault->to, strlen (fault->to));
  else
    length = at - bytes;
  folder_write (folder, fault->spoilt, bytes, (gssize) length);
}

/* Why the element does not come to READY, owned. */
static GstStructure *
refusal (const gchar *property, const gchar *value)
{
  GstElement *element = gst_element_factory_make ("hiredvlm", NULL);
  GstBus *bus = gst_bus_new ();
  const GstStructure *details;
  GstStructure *copy;
  GstMessage *message;

  g_object_set (element, "model-path", folder, NULL);
  if (property)
    gst_util_set_object_arg (G_OBJECT (element), property, value);
  gst_element_set_bus (element, bus);
  fail_unless_equals_int (gst_element_set_state (element, GST_STATE_READY),
      GST_STATE_CHANGE_FAILURE);
  message = gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR);
  gst_message_parse_error_details (message, &details);
  copy = gst_structure_copy (details);
  gst_message_unref (message);
  gst_element_set_state (element, GST_STATE_NULL);
  gst_element_set_bus (element, NULL);
  gst_object_unref (bus);
  gst_object_unref (element);
  return copy;
}

GST_START_TEST (details_of_faults)
{
  const Fault *fault = &faults[__i__];
  g_autoptr (GstStructure) details = NULL;

  if (fault->spoilt)
    spoil (fault);
  details = refusal (fault->property, fault->value);
  for (guint i = 0; i < G_N_ELEMENTS (field_names); i++) {
    const gchar *found = gst_structure_get_string (details, field_names[i]);
    const gchar *expected = fault->fields[i];
    g_autofree gchar *path = NULL;

    if (i == 0 && expected)
      expected = path = g_build_filename (folder, expected, NULL);
    if (g_strcmp0 (expected, "...") == 0)
      fail_unless (found != NULL, "no %s", field_names[i]);
    else
      fail_unless_equals_string (found, expected);
  }
}
GST_END_TEST;

/* A file that is missing is named by its folder: there are two of them. */
GST_START_TEST (details_of_a_missing_file)
{
  g_autofree gchar *path = g_build_filename (folder, "model.safetensors", NULL);
  g_autoptr (GstStructure) details = NULL;

  fail_unless_equals_int (g_remove (path), 0);
  details = refusal (NULL, NULL);
  fail_unless_equals_string (
      gst_structure_get_string (details, "cause"), "not-found");
  fail_unless_equals_string (
      gst_structure_get_string (details, "file"), folder);
  fail_unless_equals_string (gst_structure_get_string (details, "expected"),
      "model.safetensors or model.safetensors.index.json");
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
  tcase_add_loop_test (tc, details_of_faults, 0, G_N_ELEMENTS (faults));
  tcase_add_test (tc, details_of_a_missing_file);
  return s;
}

GST_CHECK_MAIN (element_real);
