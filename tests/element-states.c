/* element-states.c - EOS, flushes, states, sharing, errors, flows
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/element-common.h"

/* ---- EOS ---- */

static gpointer
push_eos (gpointer bench)
{
  gst_harness_push_event (((Bench *) bench)->video, gst_event_new_eos ());
  return NULL;
}

static gboolean
saw_eos (GstHarness *h)
{
  gboolean eos = FALSE;

  for (GstEvent *event; (event = gst_harness_try_pull_event (h));) {
    eos = eos || GST_EVENT_TYPE (event) == GST_EVENT_EOS;
    gst_event_unref (event);
  }
  return eos;
}

/* One description runs and one frame waits: both are finished first. */
GST_START_TEST (eos_waits_for_the_descriptions)
{
  Bench b;
  GThread *thread;

  bench_init (&b, TRUE, TRUE, "interval", (guint64) 0, NULL);
  wait_loaded (&b);
  fake_engine_hold (TRUE);
  push_frames (&b, 0, 1);
  fail_unless (fake_engine_wait_for (begun, 1));
  push_frames (&b, 1, 2);
  thread = g_thread_new ("eos", push_eos, &b);
  g_usleep (50 * 1000);
  fail_if (saw_eos (b.video));
  fake_engine_hold (FALSE);
  g_thread_join (thread);
  fail_unless (saw_eos (b.video));
  fail_unless_equals_uint64 (stat_of (&b, "described"), 2);
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (eos_with_nothing_to_do)
{
  Bench b;

  bench_init (&b, FALSE, TRUE, NULL);
  push_eos (&b);
  fail_unless (saw_eos (b.video));
  bench_clear (&b);
}
GST_END_TEST;

/* ---- flushes ---- */

typedef struct {
  Bench *bench;
  GstFlowReturn flow;
} Pusher;

static gpointer
push_one (gpointer data)
{
  Pusher *p = data;

  p->flow = gst_harness_push (p->bench->video, frame_new (0, FRAME_NS));
  return NULL;
}

static void
flush (Bench *b)
{
  GstSegment segment;

  gst_harness_push_event (b->video, gst_event_new_flush_start ());
  gst_harness_push_event (b->video, gst_event_new_flush_stop (TRUE));
  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push_event (b->video, gst_event_new_segment (&segment));
}

/* The engine holds the request for ever; the flush frees the thread. */
GST_START_TEST (flush_breaks_the_wait)
{
  Bench b;
  Pusher p = { &b, GST_FLOW_OK };
  GThread *thread;
  gint64 begin;

  bench_init (&b, FALSE, TRUE, NULL);
  wait_loaded (&b);
  fake_engine_hold (TRUE);
  thread = g_thread_new ("push", push_one, &p);
  fail_unless (fake_engine_wait_for (begun, 1));
  begin = g_get_monotonic_time ();
  gst_harness_push_event (b.video, gst_event_new_flush_start ());
  g_thread_join (thread);
  fail_unless (g_get_monotonic_time () - begin < G_USEC_PER_SEC);
  fail_unless_equals_int (p.flow, GST_FLOW_FLUSHING);
  fake_engine_hold (FALSE);
  flush (&b);
  push_frames (&b, 0, 1);
  fail_unless_equals_uint64 (stat_of (&b, "described"), 1);
  fail_unless_equals_uint64 (stat_of (&b, "cancelled"), 1);
  bench_clear (&b);
}
GST_END_TEST;

static void
flush_storm (gboolean live)
{
  Bench b;

  bench_init (&b, live, TRUE, "interval", (guint64) 0, NULL);
  wait_loaded (&b);
  for (guint i = 0; i < 200; i++) {
    push_frames (&b, 0, i % 4);
    flush (&b);
  }
  push_frames (&b, 0, 1);
  push_eos (&b);
  bench_clear (&b);
}

GST_START_TEST (flush_storm_sync)
{
  flush_storm (FALSE);
}
GST_END_TEST;

GST_START_TEST (flush_storm_async)
{
  flush_storm (TRUE);
}
GST_END_TEST;

/* ---- states ---- */

/* ELEMENT_STORM=N makes it N changes; CK_DEFAULT_TIMEOUT gives it time. */
GST_START_TEST (state_storm_with_two_elements)
{
  static const GstState states[] = { GST_STATE_PLAYING, GST_STATE_READY,
    GST_STATE_PAUSED, GST_STATE_NULL, GST_STATE_PLAYING, GST_STATE_PAUSED,
    GST_STATE_READY, GST_STATE_NULL };
  GstElement *pipeline = gst_parse_launch (
      "fakesrc is-live=true do-timestamp=true sizetype=fixed sizemax=4608 "
      "format=time ! video/x-raw,format=I420,width=64,height=48,framerate=0/1 "
      "! hiredvlm name=a model-path=m interval=0 ! hiredvlm name=b "
      "model-path=m interval=0 mode=sync ! fakesink sync=false "
      "a.text_src ! fakesink sync=false async=false "
      "b.text_src ! fakesink sync=false async=false",
      NULL);
  GRand *rand = g_rand_new_with_seed (7);
  const gchar *longer = g_getenv ("ELEMENT_STORM");
  guint n = longer ? (guint) g_ascii_strtoull (longer, NULL, 10) : 400;

  for (guint i = 0; i < n; i++) {
    GstState state = states[g_rand_int_range (rand, 0, 8)];

    fail_unless (
        gst_element_set_state (pipeline, state) != GST_STATE_CHANGE_FAILURE);
    if (i % 8 == 0)
      g_usleep (2000);
  }
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
  g_rand_free (rand);
}
GST_END_TEST;

/* Stopped in the midst of a load and of a request. */
GST_START_TEST (stop_while_the_engine_holds)
{
  FakeConfig config;
  Bench b;

  fake_engine_config_init (&config);
  config.load_us = 10 * G_USEC_PER_SEC;
  fake_engine_configure (&config);
  bench_init (&b, TRUE, FALSE, NULL);
  bench_clear (&b);
  fake_engine_reset ();
  bench_init (&b, TRUE, FALSE, NULL);
  wait_loaded (&b);
  fake_engine_hold (TRUE);
  push_frames (&b, 0, 1);
  fail_unless (fake_engine_wait_for (begun, 1));
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (one_model_for_two)
{
  FakeCounters counters;
  Bench a, b;

  bench_init (&a, FALSE, FALSE, "interval", (guint64) 0, NULL);
  bench_init (&b, FALSE, FALSE, "interval", (guint64) 0, NULL);
  push_frames (&a, 0, 3);
  push_frames (&b, 0, 3);
  fake_engine_counters (&counters);
  fail_unless_equals_int (counters.loads, 1);
  fail_unless_equals_int (counters.begun, 6);
  bench_clear (&a);
  push_frames (&b, 3, 1);
  bench_clear (&b);
}
GST_END_TEST;

/* Settings of the model changed in READY take effect. */
GST_START_TEST (model_is_opened_anew)
{
  FakeCounters counters;
  Bench b;

  bench_init (&b, FALSE, FALSE, NULL);
  wait_loaded (&b);
  gst_element_set_state (b.element, GST_STATE_READY);
  g_object_set (b.element, "model-path", "another", NULL);
  gst_element_set_state (b.element, GST_STATE_PLAYING);
  wait_loaded (&b);
  fake_engine_counters (&counters);
  fail_unless_equals_int (counters.loads, 2);
  bench_clear (&b);
}
GST_END_TEST;

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

GST_START_TEST (one_description_fails)
{
  Bench b;
  guint warnings, errors;

  fail_requests (VLM_ERROR_REQUEST, 2, 2);
  bench_init (&b, FALSE, TRUE, "interval", (guint64) 0, NULL);
  push_frames (&b, 0, 4);
  count_faults (&b, &warnings, &errors);
  fail_unless_equals_int (warnings, 1);
  fail_unless_equals_int (errors, 0);
  fail_unless_equals_uint64 (stat_of (&b, "failed"), 1);
  fail_unless_equals_uint64 (stat_of (&b, "described"), 3);
  for (guint i = 0; i < 3; i++)
    gst_buffer_unref (gst_harness_pull (b.text));
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (five_in_a_row_fail)
{
  Bench b;
  GstFlowReturn flow = GST_FLOW_OK;
  guint warnings, errors;

  fail_requests (VLM_ERROR_REQUEST, 1, G_MAXINT);
  bench_init (&b, FALSE, TRUE, "interval", (guint64) 0, NULL);
  for (guint i = 0; i < 8 && flow == GST_FLOW_OK; i++)
    flow = gst_harness_push (b.video, frame_new (i * FRAME_NS, FRAME_NS));
  fail_unless_equals_int (flow, GST_FLOW_ERROR);
  fail_unless_equals_uint64 (stat_of (&b, "failed"), 5);
  count_faults (&b, &warnings, &errors);
  fail_unless_equals_int (warnings, 4);
  fail_unless_equals_int (errors, 1);
  bench_clear (&b);
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
add_states (TCase *tc)
{
  tcase_add_test (tc, eos_waits_for_the_descriptions);
  tcase_add_test (tc, eos_with_nothing_to_do);
  tcase_add_test (tc, flush_breaks_the_wait);
  tcase_add_test (tc, flush_storm_sync);
  tcase_add_test (tc, flush_storm_async);
  tcase_add_test (tc, state_storm_with_two_elements);
  tcase_add_test (tc, stop_while_the_engine_holds);
  tcase_add_test (tc, one_model_for_two);
  tcase_add_test (tc, model_is_opened_anew);
}

static Suite *
element_states_suite (void)
{
  Suite *s = suite_create ("element-states");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_checked_fixture (tc, element_setup, element_teardown);
  add_states (tc);
  tcase_add_test (tc, errors_of_opening);
  tcase_add_test (tc, wrong_policy_parameter);
  tcase_add_test (tc, loading_fails_sync);
  tcase_add_test (tc, loading_fails_async);
  tcase_add_test (tc, one_description_fails);
  tcase_add_test (tc, five_in_a_row_fail);
  tcase_add_test (tc, the_device_is_lost);
  tcase_add_test (tc, flows_of_the_text_pad);
  tcase_add_test (tc, unlinked_pads);
  return s;
}

GST_CHECK_MAIN (element_states);
