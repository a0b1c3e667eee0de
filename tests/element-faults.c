/* element-faults.c - what goes wrong is said once, and stops what it must
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/element-common.h"

/* ---- errors ---- */

static void
expect_error (GstBus *bus, GQuark domain, gint code)
{
  GstMessage *message =
      gst_bus_timed_pop_filtered (bus, 10 * GST_SECOND, GST_MESSAGE_ERROR);
  const GstStructure *details;
  GError *error;

  fail_unless (message != NULL);
  gst_message_parse_error (message, &error, NULL);
  fail_unless (g_error_matches (error, domain, code), "%s", error->message);
  gst_message_parse_error_details (message, &details);
  fail_unless (gst_structure_has_name (details, "hiredvlm/error"));
  g_error_free (error);
  gst_message_unref (message);
  fail_unless (gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR) == NULL);
}

GST_START_TEST (errors_of_opening)
{
  const struct {
    gint code;
    GQuark domain;
    gint expected;
  } rows[] = {
    { VLM_ERROR_SETTINGS, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS },
    { VLM_ERROR_NOT_FOUND, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_FOUND },
    { VLM_ERROR_OPEN, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_OPEN_READ },
    { VLM_ERROR_DATA, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_READ },
    { VLM_ERROR_WRONG_TYPE, GST_STREAM_ERROR, GST_STREAM_ERROR_WRONG_TYPE },
    { VLM_ERROR_DEVICE, GST_LIBRARY_ERROR, GST_LIBRARY_ERROR_INIT },
    { VLM_ERROR_NO_MEMORY, GST_RESOURCE_ERROR,
        GST_RESOURCE_ERROR_NO_SPACE_LEFT },
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
    GstElement *element = gst_element_factory_make ("hiredvlm", NULL);
    GstBus *bus = gst_bus_new ();
    FakeConfig config;

    fake_engine_config_init (&config);
    config.open_error = (FakeError){ rows[i].code, "It is so." };
    fake_engine_configure (&config);
    g_object_set (element, "model-path", "fake", NULL);
    gst_element_set_bus (element, bus);
    fail_unless_equals_int (gst_element_set_state (element, GST_STATE_READY),
        GST_STATE_CHANGE_FAILURE);
    expect_error (bus, rows[i].domain, rows[i].expected);
    gst_element_set_state (element, GST_STATE_NULL);
    gst_element_set_bus (element, NULL);
    gst_object_unref (bus);
    gst_object_unref (element);
  }
}
GST_END_TEST;

GST_START_TEST (wrong_policy_parameter)
{
  GstElement *element = gst_element_factory_make ("hiredvlm", NULL);
  GstBus *bus = gst_bus_new ();

  g_object_set (element, "model-path", "fake", NULL);
  gst_util_set_object_arg (
      G_OBJECT (element), "policy-params", "params,nonsense=1.0");
  gst_element_set_bus (element, bus);
  fail_unless_equals_int (gst_element_set_state (element, GST_STATE_READY),
      GST_STATE_CHANGE_FAILURE);
  expect_error (bus, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS);
  gst_element_set_state (element, GST_STATE_NULL);
  gst_element_set_bus (element, NULL);
  gst_object_unref (bus);
  gst_object_unref (element);
}
GST_END_TEST;

/* All that an error is about stands in the details, and nothing else. */
GST_START_TEST (details_of_errors)
{
  FakeConfig config;
  Bench b;
  GstMessage *message;
  const GstStructure *details;
  g_autofree gchar *said = NULL;

  fake_engine_config_init (&config);
  config.load_error = (FakeError){ VLM_ERROR_NO_MEMORY, "It does not fit.",
    { "a/b", "c.d", "e.f", "g-h", "i", "j", G_MAXUINT64, 0 } };
  config.load_error_percent = 50;
  fake_engine_configure (&config);
  bench_init (&b, FALSE, FALSE, NULL);
  message =
      gst_bus_timed_pop_filtered (b.bus, 10 * GST_SECOND, GST_MESSAGE_ERROR);
  gst_message_parse_error_details (message, &details);
  said = gst_structure_to_string (details);
  fail_unless_equals_string (said,
      "hiredvlm/error, cause=(string)no-memory, message=(string)\"It\\ does\\ "
      "not\\ fit.\", file=(string)a/b, tensor=(string)c.d, key=(string)e.f, "
      "property=(string)g-h, expected=(string)i, found=(string)j, "
      "needed-bytes=(guint64)18446744073709551615, free-bytes=(guint64)0, "
      "model-path=(string)fake-model, device=(string)auto;");
  gst_message_unref (message);
  bench_clear (&b);
}
GST_END_TEST;

static void
load_fails (gboolean live)
{
  FakeConfig config;
  Bench b;
  GstFlowReturn flow = GST_FLOW_OK;

  fake_engine_config_init (&config);
  config.load_error = (FakeError){ VLM_ERROR_NO_MEMORY, "It does not fit." };
  config.load_error_percent = 50;
  fake_engine_configure (&config);
  bench_init (&b, live, FALSE, "interval", (guint64) 0, NULL);
  if (live)
    g_usleep (100 * 1000);
  for (guint i = 0; i < 100 && flow == GST_FLOW_OK; i++) {
    flow = gst_harness_push (b.video, frame_new (i * FRAME_NS, FRAME_NS));
    g_usleep (1000);
  }
  fail_unless_equals_int (flow, GST_FLOW_ERROR);
  expect_error (b.bus, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NO_SPACE_LEFT);
  bench_clear (&b);
}

GST_START_TEST (loading_fails_sync)
{
  load_fails (FALSE);
}
GST_END_TEST;

GST_START_TEST (loading_fails_async)
{
  load_fails (TRUE);
}
GST_END_TEST;

static void
fail_requests (gint code, gint from, gint to)
{
  FakeConfig config;

  fake_engine_config_init (&config);
  config.request_error = (FakeError){ code, "Not this one." };
  config.request_error_first = from;
  config.request_error_last = to;
  fake_engine_configure (&config);
}

/* Pushes frames until the flow is no longer OK; live at the engine's pace. */
static GstFlowReturn
push_while_good (Bench *b, guint n, gboolean live)
{
  GstFlowReturn flow = GST_FLOW_OK;

  for (guint i = 0; i < n && flow == GST_FLOW_OK; i++) {
    guint64 done = stat_of (b, "failed") + stat_of (b, "described");

    flow = gst_harness_push (b->video, frame_new (i * FRAME_NS, FRAME_NS));
    for (guint j = 0; live && flow == GST_FLOW_OK && j < 5000 &&
                      stat_of (b, "failed") + stat_of (b, "described") == done;
         j++)
      g_usleep (1000);
  }
  return flow;
}

/* The worker fails from one description to another: warnings, and errors. */
static void
worker_fails (gint code, gint from, gint to, guint n_warnings, guint n_errors)
{
  for (guint live = 0; live < 2; live++) {
    guint warnings, errors;
    GstFlowReturn flow;
    Bench b;

    fake_engine_reset ();
    fail_requests (code, from, to);
    bench_init (&b, live, TRUE, "interval", (guint64) 0, NULL);
    if (live)
      wait_loaded (&b);
    flow = push_while_good (&b, 12, live);
    /* Live, another may come between the failure and its message. */
    if (n_errors > 0 && flow == GST_FLOW_OK)
      flow = gst_harness_push (b.video, frame_new (GST_SECOND, FRAME_NS));
    fail_unless_equals_int (flow, n_errors ? GST_FLOW_ERROR : GST_FLOW_OK);
    count_faults (&b, &warnings, &errors);
    fail_unless_equals_int (warnings, n_warnings);
    fail_unless_equals_int (errors, n_errors);
    fail_unless (stat_of (&b, "failed") >= n_warnings + (n_errors ? 1 : 0));
    bench_clear (&b);
  }
}

GST_START_TEST (worker_fails_once)
{
  worker_fails (VLM_ERROR_REQUEST, 2, 2, 1, 0);
}
GST_END_TEST;

/* Never five in a row: it goes on. */
GST_START_TEST (worker_fails_four_times)
{
  worker_fails (VLM_ERROR_REQUEST, 3, 6, 4, 0);
}
GST_END_TEST;

GST_START_TEST (worker_fails_five_times)
{
  worker_fails (VLM_ERROR_REQUEST, 3, 7, 4, 1);
}
GST_END_TEST;

GST_START_TEST (worker_fails_for_ever)
{
  worker_fails (VLM_ERROR_REQUEST, 1, G_MAXINT, 4, 1);
}
GST_END_TEST;

GST_START_TEST (worker_fails_for_good)
{
  worker_fails (VLM_ERROR_LOST, 2, G_MAXINT, 0, 1);
  worker_fails (VLM_ERROR_NO_MEMORY, 1, 1, 0, 1);
}
GST_END_TEST;

/* Stopped and started, it fails anew: with a message of its own. */
GST_START_TEST (an_error_is_not_for_ever)
{
  guint warnings, errors;
  Bench b;

  fail_requests (VLM_ERROR_LOST, 1, 2);
  bench_init (&b, FALSE, TRUE, "interval", (guint64) 0, NULL);
  for (guint i = 0; i < 3; i++) {
    GstFlowReturn expected = i < 2 ? GST_FLOW_ERROR : GST_FLOW_OK;

    fail_unless_equals_int (
        gst_harness_push (b.video, frame_new (0, FRAME_NS)), expected);
    count_faults (&b, &warnings, &errors);
    fail_unless_equals_int (errors, i < 2 ? 1 : 0);
    if (i == 2)
      break;
    gst_element_set_state (b.element, GST_STATE_READY);
    gst_element_set_state (b.element, GST_STATE_PLAYING);
    gst_harness_set_src_caps_str (b.video, VIDEO_CAPS);
  }
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (a_failed_description_leaves_no_cue)
{
  Bench b;

  fail_requests (VLM_ERROR_REQUEST, 2, 2);
  bench_init (&b, FALSE, TRUE, "interval", (guint64) 0, NULL);
  push_frames (&b, 0, 4);
  gst_harness_push_event (b.video, gst_event_new_eos ());
  for (guint i = 0; i < 4; i++) {
    GstBuffer *cue;

    if (i == 1)
      continue;
    cue = gst_harness_pull (b.text);
    fail_unless_equals_uint64 (
        GST_BUFFER_PTS (cue), gst_util_uint64_scale (i, GST_SECOND, 30));
    gst_buffer_unref (cue);
  }
  bench_clear (&b);
}
GST_END_TEST;

/* Frames without memory are nobody's, on a GPU or not. */
GST_START_TEST (an_empty_frame)
{
  for (gint gpu = -1; gpu < 1; gpu++) {
    FakeConfig config;
    GstBuffer *buffer = gst_buffer_new ();
    guint warnings, errors;
    Bench b;

    fake_engine_config_init (&config);
    config.gpu = gpu;
    fake_engine_configure (&config);
    GST_BUFFER_PTS (buffer) = 0;
    bench_init (&b, FALSE, FALSE, "interval", (guint64) 0, NULL);
    fail_unless_equals_int (gst_harness_push (b.video, buffer), GST_FLOW_OK);
    push_frames (&b, 1, 1);
    count_faults (&b, &warnings, &errors);
    fail_unless_equals_int (warnings, 1);
    fail_unless_equals_int (errors, 0);
    fail_unless_equals_uint64 (stat_of (&b, "described"), 1);
    bench_clear (&b);
  }
}
GST_END_TEST;

GST_START_TEST (the_device_is_lost)
{
  Bench b;

  fail_requests (VLM_ERROR_LOST, 1, 1);
  bench_init (&b, FALSE, FALSE, NULL);
  fail_unless_equals_int (
      gst_harness_push (b.video, frame_new (0, FRAME_NS)), GST_FLOW_ERROR);
  expect_error (b.bus, GST_LIBRARY_ERROR, GST_LIBRARY_ERROR_FAILED);
  bench_clear (&b);
}
GST_END_TEST;

/* ---- flows ---- */

static GstFlowReturn wanted_flow;

static GstFlowReturn
return_wanted (GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
  gst_buffer_unref (buffer);
  return wanted_flow;
}

/* Pushes until the flow is `expected`: the text pad's comes a little later. */
static void
push_until (Bench *b, GstFlowReturn expected)
{
  GstFlowReturn flow = GST_FLOW_OK;

  for (guint i = 0; i < 500 && flow != expected; i++) {
    flow = gst_harness_push (b->video, frame_new (i * FRAME_NS, FRAME_NS));
    g_usleep (1000);
  }
  fail_unless_equals_int (flow, expected);
}

GST_START_TEST (flows_of_the_text_pad)
{
  static const struct {
    GstFlowReturn text, expected;
  } rows[] = { { GST_FLOW_ERROR, GST_FLOW_ERROR },
    { GST_FLOW_NOT_NEGOTIATED, GST_FLOW_NOT_NEGOTIATED },
    { GST_FLOW_EOS, GST_FLOW_OK }, { GST_FLOW_NOT_LINKED, GST_FLOW_OK } };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
    Bench b;

    wanted_flow = rows[i].text;
    bench_init (&b, FALSE, TRUE, "interval", (guint64) 0, NULL);
    gst_pad_set_chain_function (b.text->sinkpad, return_wanted);
    if (rows[i].expected == GST_FLOW_OK)
      push_frames (&b, 0, 10);
    else
      push_until (&b, rows[i].expected);
    bench_clear (&b);
  }
}
GST_END_TEST;

/* What video's consumer says is what upstream hears, but a text branch goes on
 * alone. */
GST_START_TEST (flows_of_the_video_pad)
{
  static const struct {
    GstFlowReturn video, alone, with_text;
  } rows[] = { { GST_FLOW_ERROR, GST_FLOW_ERROR, GST_FLOW_ERROR },
    { GST_FLOW_NOT_NEGOTIATED, GST_FLOW_NOT_NEGOTIATED,
        GST_FLOW_NOT_NEGOTIATED },
    { GST_FLOW_FLUSHING, GST_FLOW_FLUSHING, GST_FLOW_FLUSHING },
    { GST_FLOW_EOS, GST_FLOW_EOS, GST_FLOW_OK },
    { GST_FLOW_NOT_LINKED, GST_FLOW_NOT_LINKED, GST_FLOW_OK } };

  for (guint i = 0; i < 4 * G_N_ELEMENTS (rows); i++) {
    gboolean text = i % 2, live = i / 2 % 2;
    GstFlowReturn expected = text ? rows[i / 4].with_text : rows[i / 4].alone;
    guint warnings, errors;
    Bench b;

    wanted_flow = rows[i / 4].video;
    bench_init (&b, live, text, "interval", (guint64) 0, NULL);
    gst_pad_set_chain_function (b.video->sinkpad, return_wanted);
    if (expected == GST_FLOW_OK)
      push_frames (&b, 0, 10);
    else
      push_until (&b, expected);
    count_faults (&b, &warnings, &errors);
    fail_unless_equals_int (warnings + errors, 0);
    bench_clear (&b);
  }
}
GST_END_TEST;

/* Only when neither pad is linked is that an error. */
GST_START_TEST (unlinked_pads)
{
  Bench b;
  GstPad *src, *text;

  bench_init (&b, FALSE, TRUE, "interval", (guint64) 0, NULL);
  src = gst_element_get_static_pad (b.element, "src");
  text = gst_pad_get_peer (b.text->sinkpad);
  gst_pad_unlink (src, b.video->sinkpad);
  push_frames (&b, 0, 5);
  gst_buffer_unref (gst_harness_pull (b.text));
  gst_pad_unlink (text, b.text->sinkpad);
  push_until (&b, GST_FLOW_NOT_LINKED);
  gst_object_unref (src);
  gst_object_unref (text);
  bench_clear (&b);
}
GST_END_TEST;

static void
add_engine (TCase *tc)
{
  tcase_add_test (tc, errors_of_opening);
  tcase_add_test (tc, wrong_policy_parameter);
  tcase_add_test (tc, details_of_errors);
  tcase_add_test (tc, loading_fails_sync);
  tcase_add_test (tc, loading_fails_async);
  tcase_add_test (tc, worker_fails_once);
  tcase_add_test (tc, worker_fails_four_times);
  tcase_add_test (tc, worker_fails_five_times);
  tcase_add_test (tc, worker_fails_for_ever);
  tcase_add_test (tc, worker_fails_for_good);
  tcase_add_test (tc, an_error_is_not_for_ever);
  tcase_add_test (tc, a_failed_description_leaves_no_cue);
  tcase_add_test (tc, the_device_is_lost);
  tcase_add_test (tc, an_empty_frame);
}

static Suite *
element_faults_suite (void)
{
  Suite *s = suite_create ("element-faults");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_set_timeout (tc, 120);
  tcase_add_checked_fixture (tc, element_setup, element_teardown);
  add_engine (tc);
  tcase_add_test (tc, flows_of_the_text_pad);
  tcase_add_test (tc, flows_of_the_video_pad);
  tcase_add_test (tc, unlinked_pads);
  return s;
}

GST_CHECK_MAIN (element_faults);
