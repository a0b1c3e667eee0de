/* element-live.c - live sources: video never waits, captions are in time
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The fake engine is held and let go by hand, so nothing depends on how long
 * anything takes.
 */
#include "tests/element-common.h"

static void
bench_live (Bench *b, gboolean text, guint64 interval)
{
  bench_init (b, TRUE, text, "interval", interval, NULL);
  wait_loaded (b);
}

static guint64
pop_caption_timestamp (Bench *b)
{
  GstStructure *s = pop_structure (b, GST_VLM_CAPTION);
  guint64 timestamp = gst_vlm_caption_get_time (s, GST_VLM_TIMESTAMP);

  gst_structure_free (s);
  return timestamp;
}

GST_START_TEST (video_passes_while_the_model_works)
{
  Bench b;

  bench_live (&b, FALSE, 0);
  fake_engine_hold (TRUE);
  push_frames (&b, 0, 1);
  fail_unless (fake_engine_wait_for (begun, 1));
  push_frames (&b, 1, 10);
  fail_unless_equals_int (gst_harness_buffers_in_queue (b.video), 11);
  fail_unless_equals_uint64 (stat_of (&b, "skipped-busy"), 9);
  fake_engine_hold (FALSE);
  fail_unless_equals_uint64 (pop_caption_timestamp (&b), 0);
  fail_unless_equals_uint64 (
      pop_caption_timestamp (&b), gst_util_uint64_scale (10, GST_SECOND, 30));
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (frames_are_skipped_while_loading)
{
  Bench b;

  fake_engine_hold (TRUE);
  bench_init (&b, TRUE, FALSE, "interval", (guint64) 0, NULL);
  push_frames (&b, 0, 5);
  fail_unless_equals_uint64 (stat_of (&b, "skipped-loading"), 5);
  fail_unless_equals_int (gst_harness_buffers_in_queue (b.video), 5);
  fake_engine_hold (FALSE);
  wait_loaded (&b);
  push_frames (&b, 5, 1);
  fail_unless_equals_uint64 (
      pop_caption_timestamp (&b), gst_util_uint64_scale (5, GST_SECOND, 30));
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (caption_is_on_the_next_buffer)
{
  Bench b;
  GstBuffer *buffer;

  bench_live (&b, FALSE, 10 * GST_SECOND);
  fake_engine_hold (TRUE);
  push_frames (&b, 0, 1);
  buffer = gst_harness_pull (b.video);
  fail_unless (gst_vlm_buffer_get_caption (buffer) == NULL);
  gst_buffer_unref (buffer);
  fake_engine_hold (FALSE);
  pop_caption_timestamp (&b);
  push_frames (&b, 1, 2);
  buffer = gst_harness_pull (b.video);
  fail_unless (gst_vlm_buffer_get_caption (buffer) != NULL);
  gst_buffer_unref (buffer);
  buffer = gst_harness_pull (b.video);
  fail_unless (gst_vlm_buffer_get_caption (buffer) == NULL);
  gst_buffer_unref (buffer);
  bench_clear (&b);
}
GST_END_TEST;

/* Arrival: gaps until the caption, then slices of half a second, end to end;
 * JSON gets one object. */
GST_START_TEST (captions_come_in_slices)
{
  Bench b;
  guint64 end = GST_CLOCK_TIME_NONE;

  bench_live (&b, TRUE, 10 * GST_SECOND);
  push_frames (&b, 0, 1);
  pop_caption_timestamp (&b);
  for (guint i = 0; i < 3; i++) {
    GstBuffer *cue;

    push_frames (&b, 1 + 15 * i, 15);
    cue = gst_harness_pull (b.text);
    if (i > 0)
      fail_unless_equals_uint64 (GST_BUFFER_PTS (cue), end);
    fail_unless_equals_uint64 (GST_BUFFER_DURATION (cue), 500 * GST_MSECOND);
    end = GST_BUFFER_PTS (cue) + GST_BUFFER_DURATION (cue);
    gst_buffer_unref (cue);
  }
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (json_has_no_slices)
{
  Bench b;
  GstEvent *event;
  GstEventType type;

  bench_init (&b, TRUE, TRUE, "interval", 10 * GST_SECOND, NULL);
  gst_harness_set_sink_caps_str (b.text, "application/x-json");
  wait_loaded (&b);
  push_frames (&b, 0, 1);
  pop_caption_timestamp (&b);
  push_frames (&b, 1, 60);
  gst_harness_push_event (b.video, gst_event_new_eos ());
  do {
    event = gst_harness_pull_event (b.text);
    type = GST_EVENT_TYPE (event);
    gst_event_unref (event);
  } while (type != GST_EVENT_EOS);
  fail_unless_equals_int (gst_harness_buffers_in_queue (b.text), 1);
  bench_clear (&b);
}
GST_END_TEST;

/* Events of the text pad up to the first gap that ends at `end` or later. */
static void
pull_gaps_until (Bench *b, GstClockTime end)
{
  GstClockTime position = 0, expected = GST_CLOCK_TIME_NONE;

  while (position < end) {
    GstEvent *event = gst_harness_pull_event (b->text);

    fail_unless (event != NULL);
    if (GST_EVENT_TYPE (event) == GST_EVENT_GAP) {
      GstClockTime start, duration;

      gst_event_parse_gap (event, &start, &duration);
      if (GST_CLOCK_TIME_IS_VALID (expected))
        fail_unless_equals_uint64 (start, expected);
      expected = position = start + duration;
    }
    gst_event_unref (event);
  }
}

GST_START_TEST (gaps_follow_video_without_overlap)
{
  Bench b;

  bench_live (&b, TRUE, GST_CLOCK_TIME_NONE);
  push_frames (&b, 0, 30);
  pull_gaps_until (&b, gst_util_uint64_scale (29, GST_SECOND, 30));
  bench_clear (&b);
}
GST_END_TEST;

/* With latency captions are at their frames, and gaps wait for them. */
GST_START_TEST (gaps_never_pass_a_held_cue)
{
  Bench b;
  GstBuffer *cue;
  GstEvent *event;

  bench_init (&b, TRUE, TRUE, "interval", 200 * GST_MSECOND, "latency",
      4 * GST_SECOND, NULL);
  wait_loaded (&b);
  fake_engine_hold (TRUE);
  push_frames (&b, 3, 1);
  fail_unless (fake_engine_wait_for (begun, 1));
  push_frames (&b, 4, 20);
  g_usleep (100 * 1000);
  while ((event = gst_harness_try_pull_event (b.text))) {
    GstClockTime start, duration;

    if (GST_EVENT_TYPE (event) == GST_EVENT_GAP) {
      gst_event_parse_gap (event, &start, &duration);
      fail_unless (start + duration <= 100 * GST_MSECOND);
    }
    gst_event_unref (event);
  }
  fake_engine_hold (FALSE);
  cue = gst_harness_pull (b.text);
  fail_unless_equals_uint64 (GST_BUFFER_PTS (cue), 100 * GST_MSECOND);
  gst_buffer_unref (cue);
  cue = gst_harness_pull (b.text);
  fail_unless_equals_uint64 (
      GST_BUFFER_PTS (cue), gst_util_uint64_scale (23, GST_SECOND, 30));
  gst_buffer_unref (cue);
  bench_clear (&b);
}
GST_END_TEST;

static GstClockTime
query_latency (GstHarness *h)
{
  GstQuery *query = gst_query_new_latency ();
  GstClockTime min;
  gboolean live;

  fail_unless (gst_pad_peer_query (h->sinkpad, query));
  gst_query_parse_latency (query, &live, &min, NULL);
  gst_query_unref (query);
  return live ? min : GST_CLOCK_TIME_NONE;
}

GST_START_TEST (latency_is_on_the_text_pad_only)
{
  Bench b;

  bench_init (&b, TRUE, TRUE, "latency", 4 * GST_SECOND, NULL);
  gst_harness_set_upstream_latency (b.video, 100 * GST_MSECOND);
  push_frames (&b, 0, 1);
  fail_unless_equals_uint64 (query_latency (b.video), 100 * GST_MSECOND);
  fail_unless_equals_uint64 (query_latency (b.text), 4100 * GST_MSECOND);
  gst_harness_set_live (b.video, FALSE);
  fail_unless_equals_uint64 (query_latency (b.text), GST_CLOCK_TIME_NONE);
  bench_clear (&b);
}
GST_END_TEST;

/* The clock stands at 700 ms when the text is ready. */
GST_START_TEST (lag_is_told)
{
  Bench b;
  GstStructure *s;
  GstMessage *warning;
  guint64 lag;

  bench_init (&b, TRUE, FALSE, "interval", 10 * GST_SECOND, "latency",
      200 * GST_MSECOND, NULL);
  wait_loaded (&b);
  fake_engine_hold (TRUE);
  push_frames (&b, 0, 1);
  fail_unless (fake_engine_wait_for (begun, 1));
  gst_harness_set_time (b.video, 700 * GST_MSECOND);
  fake_engine_hold (FALSE);
  s = pop_structure (&b, GST_VLM_CAPTION);
  fail_unless_equals_uint64 (
      gst_vlm_caption_get_time (s, GST_VLM_LAG), 700 * GST_MSECOND);
  gst_structure_free (s);
  warning = pop_message (&b, GST_MESSAGE_WARNING);
  gst_message_unref (warning);
  g_object_get (b.element, "max-observed-lag", &lag, NULL);
  fail_unless_equals_uint64 (lag, 700 * GST_MSECOND);
  bench_clear (&b);
}
GST_END_TEST;

/* Once for each new maximum, not once for each caption. */
GST_START_TEST (excessive_lag_is_told_once)
{
  static const guint ms[] = { 700, 600, 700, 900, 800 };
  guint warnings, errors;
  Bench b;

  bench_init (&b, TRUE, FALSE, "interval", (guint64) 0, "latency",
      200 * GST_MSECOND, NULL);
  wait_loaded (&b);
  for (guint i = 0; i < G_N_ELEMENTS (ms); i++) {
    GstClockTime now = (i + 1) * 10 * GST_SECOND;

    gst_harness_set_time (b.video, now + ms[i] * GST_MSECOND);
    gst_harness_push (b.video, frame_new (now, FRAME_NS));
    while (stat_of (&b, "described") <= i)
      g_usleep (1000);
  }
  gst_harness_push_event (b.video, gst_event_new_eos ());
  count_faults (&b, &warnings, &errors);
  fail_unless_equals_int (warnings, 2);
  fail_unless_equals_int (errors, 0);
  bench_clear (&b);
}
GST_END_TEST;

/* Upstream shall not drop frames because captions are late. */
GST_START_TEST (qos_of_video_goes_upstream)
{
  Bench b;
  GstEvent *event;
  guint n = 0;

  bench_init (&b, TRUE, TRUE, NULL);
  push_frames (&b, 0, 1);
  gst_harness_push_upstream_event (
      b.text, gst_event_new_qos (GST_QOS_TYPE_UNDERFLOW, 2, 100, 0));
  gst_harness_push_upstream_event (
      b.video, gst_event_new_qos (GST_QOS_TYPE_UNDERFLOW, 3, 100, 0));
  while ((event = gst_harness_try_pull_upstream_event (b.video))) {
    gdouble proportion;

    if (GST_EVENT_TYPE (event) == GST_EVENT_QOS) {
      gst_event_parse_qos (event, NULL, &proportion, NULL, NULL);
      fail_unless (proportion == 3);
      n++;
    }
    gst_event_unref (event);
  }
  fail_unless_equals_int (n, 1);
  bench_clear (&b);
}
GST_END_TEST;

/* Later captions: another segment, and a message that latency changed. */
GST_START_TEST (lateness_while_playing)
{
  Bench b;
  GstMessage *message;
  guint64 base = 0;

  bench_live (&b, TRUE, GST_CLOCK_TIME_NONE);
  push_frames (&b, 0, 2);
  g_object_set (b.element, "lateness", 2 * GST_SECOND, NULL);
  message = pop_message (&b, GST_MESSAGE_LATENCY);
  gst_message_unref (message);
  push_frames (&b, 2, 2);
  while (base < 2 * GST_SECOND) {
    GstEvent *event = gst_harness_pull_event (b.text);
    const GstSegment *segment;

    fail_unless (event != NULL);
    if (GST_EVENT_TYPE (event) == GST_EVENT_SEGMENT) {
      gst_event_parse_segment (event, &segment);
      base = segment->base;
    }
    gst_event_unref (event);
  }
  fail_unless_equals_uint64 (base, 2 * GST_SECOND);
  fail_unless_equals_uint64 (query_latency (b.video), 0);
  bench_clear (&b);
}
GST_END_TEST;

/* A film takes as long as it takes; a camera that waits says how long. */
GST_START_TEST (sync_on_a_live_source_has_latency)
{
  FakeConfig config;
  Bench b;

  fake_engine_config_init (&config);
  config.encode_us = 20 * 1000;
  fake_engine_configure (&config);
  bench_init (&b, TRUE, FALSE, "interval", (guint64) 0, NULL);
  gst_util_set_object_arg (G_OBJECT (b.element), "mode", "sync");
  gst_element_set_state (b.element, GST_STATE_READY);
  gst_element_set_state (b.element, GST_STATE_PLAYING);
  gst_harness_set_src_caps_str (b.video, VIDEO_CAPS);
  push_frames (&b, 0, 1);
  gst_message_unref (pop_message (&b, GST_MESSAGE_LATENCY));
  fail_unless (query_latency (b.video) >= 20 * GST_MSECOND);
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (partial_text_is_posted)
{
  Bench b;
  GstStructure *s;

  bench_init (&b, TRUE, FALSE, "post-partial", TRUE, NULL);
  wait_loaded (&b);
  push_frames (&b, 0, 1);
  s = pop_structure (&b, GST_VLM_PARTIAL);
  fail_unless_equals_string (gst_structure_get_string (s, GST_VLM_TEXT), "a");
  gst_structure_free (s);
  pop_caption_timestamp (&b);
  bench_clear (&b);
}
GST_END_TEST;

/* A pad asked for late begins with stream-start, caps and segment. */
GST_START_TEST (late_text_pad)
{
  static const GstEventType expected[] = { GST_EVENT_STREAM_START,
    GST_EVENT_CAPS, GST_EVENT_SEGMENT };
  Bench b;
  GstPad *another;

  bench_live (&b, FALSE, 100 * GST_MSECOND);
  push_frames (&b, 0, 10);
  b.text = gst_harness_new_with_element (b.element, NULL, "text_src");
  another = gst_element_request_pad (b.element,
      gst_element_get_pad_template (b.element, "text_src"), NULL, NULL);
  fail_unless (another == NULL);
  push_frames (&b, 10, 10);
  for (guint i = 0; i < G_N_ELEMENTS (expected); i++) {
    GstEvent *event = gst_harness_pull_event (b.text);

    fail_unless_equals_int (GST_EVENT_TYPE (event), expected[i]);
    gst_event_unref (event);
  }
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (text_pad_goes_while_running)
{
  Bench b;

  bench_live (&b, FALSE, 0);
  for (guint i = 0; i < 20; i++) {
    GstPad *pad = gst_element_request_pad_simple (b.element, "text_src");

    fail_unless (pad != NULL);
    push_frames (&b, 10 * i, 10);
    gst_element_release_request_pad (b.element, pad);
    gst_object_unref (pad);
  }
  bench_clear (&b);
}
GST_END_TEST;

/* In the midst of the release: the flush lets the consumer go. */
static GstPadProbeReturn
ask_for_another (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Bench *b = data;

  fail_unless (gst_element_request_pad (b->element,
                   gst_element_get_pad_template (b->element, "text_src"), NULL,
                   NULL) == NULL);
  return GST_PAD_PROBE_REMOVE;
}

/* Until the pad is gone there is no other, and then there is. */
GST_START_TEST (another_pad_while_one_goes)
{
  Bench b;
  GstPad *pad, *next;
  GstEvent *event;

  bench_live (&b, FALSE, 0);
  pad = gst_element_request_pad_simple (b.element, "text_src");
  gst_pad_add_probe (
      pad, GST_PAD_PROBE_TYPE_EVENT_FLUSH, ask_for_another, &b, NULL);
  gst_element_release_request_pad (b.element, pad);
  next = gst_element_request_pad_simple (b.element, "text_src");
  fail_unless (next != NULL);
  b.text = gst_harness_new_with_element (b.element, NULL, NULL);
  gst_harness_add_element_src_pad (b.text, next);
  push_frames (&b, 0, 10);
  event = gst_harness_pull_event (b.text);
  fail_unless_equals_int (GST_EVENT_TYPE (event), GST_EVENT_STREAM_START);
  gst_event_unref (event);
  gst_object_unref (pad);
  gst_object_unref (next);
  bench_clear (&b);
}
GST_END_TEST;

static Suite *
element_live_suite (void)
{
  Suite *s = suite_create ("element-live");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_set_timeout (tc, 120);
  tcase_add_checked_fixture (tc, element_setup, element_teardown);
  tcase_add_test (tc, video_passes_while_the_model_works);
  tcase_add_test (tc, frames_are_skipped_while_loading);
  tcase_add_test (tc, caption_is_on_the_next_buffer);
  tcase_add_test (tc, captions_come_in_slices);
  tcase_add_test (tc, json_has_no_slices);
  tcase_add_test (tc, gaps_follow_video_without_overlap);
  tcase_add_test (tc, gaps_never_pass_a_held_cue);
  tcase_add_test (tc, latency_is_on_the_text_pad_only);
  tcase_add_test (tc, lag_is_told);
  tcase_add_test (tc, excessive_lag_is_told_once);
  tcase_add_test (tc, qos_of_video_goes_upstream);
  tcase_add_test (tc, lateness_while_playing);
  tcase_add_test (tc, sync_on_a_live_source_has_latency);
  tcase_add_test (tc, partial_text_is_posted);
  tcase_add_test (tc, late_text_pad);
  tcase_add_test (tc, text_pad_goes_while_running);
  tcase_add_test (tc, another_pad_while_one_goes);
  return s;
}

GST_CHECK_MAIN (element_live);
