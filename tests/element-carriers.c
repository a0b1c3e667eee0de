/* element-carriers.c - captions and settings as others read them
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The same structure by meta, message and JSON; metadata behind the elements
 * that people put behind this one; tags in a picture file; presets.
 */
#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include "tests/element-common.h"

/* ---- one structure by all ways ---- */

/* A member of the JSON object against the field of its name. */
static gboolean
check_field (GQuark field, const GValue *value, gpointer object)
{
  JsonNode *node = json_object_get_member (object, g_quark_to_string (field));
  g_auto (GValue) number = G_VALUE_INIT;

  fail_unless (node != NULL, "%s", g_quark_to_string (field));
  if (G_VALUE_HOLDS_STRING (value)) {
    fail_unless_equals_string (
        json_node_get_string (node), g_value_get_string (value));
    return TRUE;
  }
  if (!JSON_NODE_HOLDS_VALUE (node))
    return TRUE;
  g_value_init (&number, G_TYPE_DOUBLE);
  fail_unless (g_value_transform (value, &number));
  fail_unless (
      ABS (json_node_get_double (node) - g_value_get_double (&number)) <=
      1e-9 * ABS (g_value_get_double (&number)));
  return TRUE;
}

static void
check_json (GstBuffer *line, const GstStructure *caption)
{
  g_autofree gchar *text = text_of (line);
  g_autoptr (JsonNode) root = json_from_string (text, NULL);

  fail_unless (root != NULL && JSON_NODE_HOLDS_OBJECT (root));
  fail_unless_equals_int (json_object_get_size (json_node_get_object (root)),
      gst_structure_n_fields (caption));
  gst_structure_foreach (caption, check_field, json_node_get_object (root));
}

GST_START_TEST (all_carriers_say_the_same)
{
  Bench b;
  GstBuffer *frame, *line;
  GstStructure *message, *meta;

  bench_init (&b, FALSE, TRUE, "detail", TRUE, NULL);
  gst_harness_set_sink_caps_str (b.text, "application/x-json");
  push_frames (&b, 0, 1);
  message = pop_structure (&b, GST_VLM_CAPTION);
  frame = gst_harness_pull (b.video);
  line = gst_harness_pull (b.text);
  meta = gst_vlm_buffer_get_caption (frame);
  fail_unless (gst_structure_is_equal (meta, message));
  meta = gst_vlm_buffer_get_caption (line);
  fail_unless (gst_structure_is_equal (meta, message));
  check_json (line, message);
  gst_structure_free (message);
  gst_buffer_unref (frame);
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (accessors_of_the_header)
{
  Bench b;
  GstMessage *message;
  const GstStructure *s = NULL;
  GstBuffer *plain = gst_buffer_new ();

  fail_unless (gst_vlm_buffer_get_caption (plain) == NULL);
  gst_buffer_unref (plain);
  bench_init (&b, FALSE, FALSE, "prompt", "What?", NULL);
  message = pop_message (&b, GST_MESSAGE_ANY);
  fail_unless (gst_vlm_message_get_caption (message) == NULL);
  gst_message_unref (message);
  push_frames (&b, 6, 1);
  message = pop_message (&b, GST_MESSAGE_ELEMENT);
  s = gst_vlm_message_get_caption (message);
  fail_unless (s != NULL);
  fail_unless_equals_string (
      gst_vlm_caption_get_text (s), "a red circle on the left");
  fail_unless_equals_string (gst_vlm_caption_get_prompt (s), "What?");
  fail_unless_equals_uint64 (gst_vlm_caption_get_seq (s), 0);
  fail_unless_equals_uint64 (
      gst_vlm_caption_get_time (s, GST_VLM_TIMESTAMP), 200 * GST_MSECOND);
  fail_unless_equals_uint64 (
      gst_vlm_caption_get_time (s, "nothing"), GST_CLOCK_TIME_NONE);
  fail_unless_equals_int (gst_vlm_caption_get_count (s, GST_VLM_TOKENS), 7);
  fail_unless_equals_int (gst_vlm_caption_get_count (s, "nothing"), 0);
  gst_message_unref (message);
  bench_clear (&b);
}
GST_END_TEST;

/* ---- behind other elements ---- */

typedef struct {
  guint buffers, captions;
} Count;

static void
count_captions (
    GstElement *sink, GstBuffer *buffer, GstPad *pad, gpointer user_data)
{
  Count *count = user_data;

  count->buffers++;
  count->captions += gst_vlm_buffer_get_caption (buffer) != NULL;
}

static void
run_to_eos (GstElement *pipeline)
{
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message;

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  message = gst_bus_timed_pop_filtered (
      bus, 60 * GST_SECOND, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  fail_unless (message != NULL);
  fail_unless_equals_int (GST_MESSAGE_TYPE (message), GST_MESSAGE_EOS);
  gst_message_unref (message);
  gst_object_unref (bus);
  gst_element_set_state (pipeline, GST_STATE_NULL);
}

/* Four frames, each with its caption, through what follows the element. */
GST_START_TEST (meta_survives)
{
  static const gchar *const rows[][2] = {
    { "videoconvert", "videoconvert ! video/x-raw,format=RGBA" },
    { "videoscale", "videoscale ! video/x-raw,width=32,height=24" },
    { "videocrop", "videocrop left=8" },
    { "videoflip", "videoflip method=clockwise" },
    { "videorate", "videorate ! video/x-raw,framerate=30/1" },
    { "queue", "queue" },
    { "jpegenc", "jpegenc" },
    { "vp8enc", "vp8enc deadline=1" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
    g_autofree gchar *line = g_strdup_printf (
        "videotestsrc num-buffers=4 ! " VIDEO_CAPS " ! hiredvlm model-path=m "
        "interval=0 ! %s ! fakesink name=s signal-handoffs=true sync=false",
        rows[i][1]);
    GstElement *pipeline, *sink;
    Count count = { 0 };

    if (!gst_registry_check_feature_version (
            gst_registry_get (), rows[i][0], 1, 0, 0)) {
      g_print ("no element %s\n", rows[i][0]);
      continue;
    }
    pipeline = gst_parse_launch (line, NULL);
    sink = gst_bin_get_by_name (GST_BIN (pipeline), "s");
    g_signal_connect (sink, "handoff", G_CALLBACK (count_captions), &count);
    run_to_eos (pipeline);
    /* videorate of newer GStreamers repeats the last frame. */
    fail_unless (count.buffers >= 4, "%s", rows[i][0]);
    fail_unless_equals_int (count.captions, count.buffers);
    gst_object_unref (sink);
    gst_object_unref (pipeline);
  }
}
GST_END_TEST;

/* ---- tags ---- */

static gchar *
description_of (const gchar *path)
{
  g_autofree gchar *line = g_strdup_printf (
      "filesrc location=%s ! jpegparse ! fakesink sync=false", path);
  GstElement *pipeline = gst_parse_launch (line, NULL);
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message;
  gchar *text = NULL;

  run_to_eos (pipeline);
  gst_bus_set_flushing (bus, TRUE);
  gst_bus_set_flushing (bus, FALSE);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  while (text == NULL &&
         (message = gst_bus_timed_pop_filtered (bus, 60 * GST_SECOND,
              GST_MESSAGE_TAG | GST_MESSAGE_EOS | GST_MESSAGE_ERROR))) {
    gboolean last = GST_MESSAGE_TYPE (message) != GST_MESSAGE_TAG;
    GstTagList *tags;

    if (!last) {
      gst_message_parse_tag (message, &tags);
      gst_tag_list_get_string (tags, GST_TAG_DESCRIPTION, &text);
      gst_tag_list_unref (tags);
    }
    gst_message_unref (message);
    if (last)
      break;
  }
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (bus);
  gst_object_unref (pipeline);
  return text;
}

/* A picture file that says what it shows. */
GST_START_TEST (tags_are_written_into_pictures)
{
  g_autofree gchar *folder = g_dir_make_tmp ("hiredvlm-XXXXXX", NULL);
  g_autofree gchar *path = g_build_filename (folder, "a.jpg", NULL);
  g_autofree gchar *line = g_strdup_printf (
      "videotestsrc num-buffers=1 ! " VIDEO_CAPS " ! hiredvlm model-path=m "
      "tags=true ! jpegenc ! jifmux ! filesink location=%s",
      path);
  g_autofree gchar *text = NULL;
  GstElement *pipeline;

  if (!gst_registry_check_feature_version (
          gst_registry_get (), "jifmux", 1, 0, 0) ||
      !gst_registry_check_feature_version (
          gst_registry_get (), "jpegparse", 1, 0, 0)) {
    g_print ("no elements jifmux and jpegparse\n");
    g_rmdir (folder);
    return;
  }
  pipeline = gst_parse_launch (line, NULL);
  run_to_eos (pipeline);
  gst_object_unref (pipeline);
  text = description_of (path);
  fail_unless_equals_string (text, "a red circle on the left");
  g_remove (path);
  g_rmdir (folder);
}
GST_END_TEST;

/* ---- presets ---- */

GST_START_TEST (presets_keep_the_settings)
{
  GstElement *one = gst_element_factory_make ("hiredvlm", NULL);
  GstElement *two = gst_element_factory_make ("hiredvlm", NULL);
  g_autofree gchar *prompt = NULL;
  g_autoptr (GstStructure) params = NULL;
  guint64 interval, duration;
  GValue array = G_VALUE_INIT;
  gdouble alpha = 0;

  g_object_set (one, "prompt", "Who = \"there\"; now? \xc3\xa9", "interval",
      (guint64) 7, NULL);
  gst_util_set_object_arg (G_OBJECT (one), "stop", "<\"a b\", c>");
  gst_util_set_object_arg (
      G_OBJECT (one), "policy-params", "params,alpha=0.25");
  fail_unless (gst_preset_save_preset (GST_PRESET (one), "stairs"));
  fail_unless (gst_preset_load_preset (GST_PRESET (two), "stairs"));
  g_object_get (two, "prompt", &prompt, "interval", &interval,
      "caption-duration", &duration, "policy-params", &params, NULL);
  fail_unless_equals_string (prompt, "Who = \"there\"; now? \xc3\xa9");
  fail_unless_equals_uint64 (interval, 7);
  fail_unless_equals_uint64 (duration, GST_CLOCK_TIME_NONE);
  fail_unless (gst_structure_get_double (params, "alpha", &alpha));
  fail_unless (alpha == 0.25);
  g_value_init (&array, GST_TYPE_ARRAY);
  g_object_get_property (G_OBJECT (two), "stop", &array);
  fail_unless_equals_int (gst_value_array_get_size (&array), 2);
  fail_unless_equals_string (
      g_value_get_string (gst_value_array_get_value (&array, 0)), "a b");
  g_value_unset (&array);
  fail_unless (gst_preset_delete_preset (GST_PRESET (one), "stairs"));
  gst_object_unref (one);
  gst_object_unref (two);
}
GST_END_TEST;

/* An element as it comes has a preset too: nothing unset is in the way. */
GST_START_TEST (presets_of_defaults)
{
  GstElement *element = gst_element_factory_make ("hiredvlm", NULL);

  fail_unless (gst_preset_save_preset (GST_PRESET (element), "plain"));
  fail_unless (gst_preset_load_preset (GST_PRESET (element), "plain"));
  fail_unless (gst_preset_delete_preset (GST_PRESET (element), "plain"));
  gst_object_unref (element);
}
GST_END_TEST;

static Suite *
element_carriers_suite (void)
{
  Suite *s = suite_create ("element-carriers");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_set_timeout (tc, 120);
  tcase_add_checked_fixture (tc, element_setup, element_teardown);
  tcase_add_test (tc, all_carriers_say_the_same);
  tcase_add_test (tc, accessors_of_the_header);
  tcase_add_test (tc, meta_survives);
  tcase_add_test (tc, tags_are_written_into_pictures);
  tcase_add_test (tc, presets_keep_the_settings);
  tcase_add_test (tc, presets_of_defaults);
  return s;
}

GST_CHECK_MAIN (element_carriers);
