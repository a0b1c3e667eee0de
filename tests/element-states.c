/* element-states.c - EOS, flushes, states, sharing
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <gst/controller/gstdirectcontrolbinding.h>
#include <gst/controller/gstinterpolationcontrolsource.h>
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

/* A flush while one frame is described and another waits: both are counted. */
GST_START_TEST (flushed_frames_are_counted)
{
  Bench b;

  bench_init (&b, TRUE, FALSE, "interval", (guint64) 0, NULL);
  wait_loaded (&b);
  fake_engine_hold (TRUE);
  push_frames (&b, 0, 1);
  fail_unless (fake_engine_wait_for (begun, 1));
  push_frames (&b, 1, 1);
  gst_harness_push_event (b.video, gst_event_new_flush_start ());
  fake_engine_hold (FALSE);
  flush (&b);
  push_frames (&b, 0, 1);
  gst_harness_push_event (b.video, gst_event_new_eos ());
  fail_unless_equals_uint64 (stat_of (&b, "in"), 3);
  fail_unless_equals_uint64 (stat_of (&b, "cancelled"), 2);
  fail_unless_equals_uint64 (stat_of (&b, "described"), 1);
  bench_clear (&b);
}
GST_END_TEST;

/* Runs in the streaming thread, between the arrival of a frame and the choice
 * whether to describe it. */
static void
flush_in_passing (GObject *element, GParamSpec *spec, gpointer data)
{
  Bench *b = data;

  g_signal_handlers_disconnect_by_func (element, flush_in_passing, data);
  gst_harness_push_event (b->video, gst_event_new_flush_start ());
}

/* A frame that the flush overtakes is not described after it. */
GST_START_TEST (flush_with_a_frame_under_way)
{
  GstControlSource *source = gst_interpolation_control_source_new ();

  gst_timed_value_control_source_set (
      GST_TIMED_VALUE_CONTROL_SOURCE (source), 0, 0.5);
  for (guint live = 0; live < 2; live++) {
    Bench b;

    bench_init (&b, live, TRUE, "interval", (guint64) 0, NULL);
    wait_loaded (&b);
    gst_object_add_control_binding (GST_OBJECT (b.element),
        gst_direct_control_binding_new_absolute (
            GST_OBJECT (b.element), "token-budget", source));
    g_signal_connect (
        b.element, "notify::token-budget", G_CALLBACK (flush_in_passing), &b);
    fail_unless_equals_int (
        gst_harness_push (b.video, frame_new (GST_SECOND, FRAME_NS)),
        GST_FLOW_FLUSHING);
    flush (&b);
    push_frames (&b, 0, 1);
    gst_harness_push_event (b.video, gst_event_new_eos ());
    fail_unless_equals_uint64 (stat_of (&b, "cancelled"), 1);
    fail_unless_equals_uint64 (stat_of (&b, "described"), 1);
    bench_clear (&b);
  }
  gst_object_unref (source);
}
GST_END_TEST;

/* ---- states ---- */

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

static gpointer
set_ready (gpointer element)
{
  gst_element_set_state (element, GST_STATE_READY);
  return NULL;
}

/* Stops the element while its video is held up here, until its pads flush. */
static GstPadProbeReturn
stop_in_passing (GstPad *pad, GstPadProbeInfo *info, gpointer thread)
{
  GstEvent *event = GST_PAD_PROBE_INFO_EVENT (info);

  if (GST_EVENT_TYPE (event) != GST_EVENT_TAG || *(GThread **) thread)
    return GST_PAD_PROBE_OK;
  *(GThread **) thread = g_thread_new ("stop", set_ready, GST_PAD_PARENT (pad));
  while (!GST_PAD_IS_FLUSHING (pad))
    g_usleep (1000);
  return GST_PAD_PROBE_DROP;
}

/* What is kept of a frame that was under way then is freed all the same. */
GST_START_TEST (stop_with_a_frame_under_way)
{
  Bench b;
  GThread *thread = NULL;
  GstPad *pad;

  bench_init (&b, FALSE, FALSE, "tags", TRUE, "interval", (guint64) 0, NULL);
  g_signal_emit_by_name (b.element, "describe", NULL, NULL);
  pad = gst_element_get_static_pad (b.element, "src");
  gst_pad_add_probe (
      pad, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, stop_in_passing, &thread, NULL);
  gst_harness_push (b.video, frame_new (0, FRAME_NS));
  fail_unless (thread != NULL);
  g_thread_join (thread);
  gst_object_unref (pad);
  bench_clear (&b);
}
GST_END_TEST;

static Suite *
element_states_suite (void)
{
  Suite *s = suite_create ("element-states");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_set_timeout (tc, 120);
  tcase_add_checked_fixture (tc, element_setup, element_teardown);
  tcase_add_test (tc, eos_waits_for_the_descriptions);
  tcase_add_test (tc, eos_with_nothing_to_do);
  tcase_add_test (tc, flush_breaks_the_wait);
  tcase_add_test (tc, flushed_frames_are_counted);
  tcase_add_test (tc, flush_with_a_frame_under_way);
  tcase_add_test (tc, stop_while_the_engine_holds);
  tcase_add_test (tc, stop_with_a_frame_under_way);
  tcase_add_test (tc, one_model_for_two);
  tcase_add_test (tc, model_is_opened_anew);
  return s;
}

GST_CHECK_MAIN (element_states);
