/* element-streams.c - streams that change, jump, pause or are odd
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/element-common.h"

static char *
say_picture (const VlmTask *task, gpointer user_data)
{
  const VlmPicture *p = &task->picture;
  const guint8 *last = p->data + (p->height - 1) * p->stride;

  return g_strdup_printf ("%dx%d first %d last %d", p->width, p->height,
      p->data[0] > 128, last[(p->width - 1) * 3] > 128);
}

static void
look (void)
{
  FakeConfig config;

  fake_engine_config_init (&config);
  config.describe = say_picture;
  fake_engine_configure (&config);
}

static guint64
expect_timestamp (Bench *b)
{
  GstStructure *s = pop_structure (b, GST_VLM_CAPTION);
  guint64 timestamp = gst_vlm_caption_get_time (s, GST_VLM_TIMESTAMP);

  gst_structure_free (s);
  return timestamp;
}

/* The frame that waits keeps the caps it came with. */
GST_START_TEST (caps_change_while_a_frame_waits)
{
  Bench b;
  GstBuffer *big = gst_buffer_new_allocate (NULL, 128 * 96 * 3, NULL);

  look ();
  bench_init (&b, TRUE, FALSE, "interval", (guint64) 0, NULL);
  wait_loaded (&b);
  fake_engine_hold (TRUE);
  push_frames (&b, 0, 1);
  fail_unless (fake_engine_wait_for (begun, 1));
  push_frames (&b, 1, 1);
  gst_harness_set_src_caps_str (
      b.video, "video/x-raw,format=RGB,width=128,height=96,framerate=30/1");
  fake_engine_hold (FALSE);
  expect_text (&b, "64x48 first 0 last 0");
  expect_text (&b, "64x48 first 0 last 0");
  gst_buffer_memset (big, 0, 255, 128 * 96 * 3);
  GST_BUFFER_PTS (big) = GST_SECOND;
  gst_harness_push (b.video, big);
  expect_text (&b, "128x96 first 1 last 1");
  bench_clear (&b);
}
GST_END_TEST;

/* Rows wider than the picture, and planes that do not start at 0. */
GST_START_TEST (strides_and_offsets)
{
  Bench b;
  gsize offset[GST_VIDEO_MAX_PLANES] = { 1000 };
  gint stride[GST_VIDEO_MAX_PLANES] = { 64 * 3 + 52 };
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, 20000, NULL);

  look ();
  bench_init (&b, FALSE, FALSE, "interval", (guint64) 0, NULL);
  gst_harness_set_src_caps_str (
      b.video, "video/x-raw,format=RGB,width=64,height=48,framerate=0/1");
  gst_buffer_memset (buffer, 0, 0, 20000);
  gst_buffer_memset (buffer, 1000, 255, 3);
  gst_buffer_memset (buffer, 1000 + 47 * stride[0] + 63 * 3, 255, 3);
  gst_buffer_add_video_meta_full (buffer, GST_VIDEO_FRAME_FLAG_NONE,
      GST_VIDEO_FORMAT_RGB, 64, 48, 1, offset, stride);
  GST_BUFFER_PTS (buffer) = 0;
  gst_harness_push (b.video, buffer);
  expect_text (&b, "64x48 first 1 last 1");
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (interlaced)
{
  static const gchar *const modes[] = { "interleaved", "mixed" };

  look ();
  for (guint i = 0; i < G_N_ELEMENTS (modes); i++) {
    g_autofree gchar *caps =
        g_strdup_printf (VIDEO_CAPS ",interlace-mode=%s", modes[i]);
    Bench b;

    bench_init (&b, FALSE, FALSE, "interval", (guint64) 0, "scene-threshold",
        0.01, NULL);
    gst_harness_set_src_caps_str (b.video, caps);
    gst_harness_push (b.video, grey_frame_new (0, FRAME_NS, 235));
    expect_text (&b, "64x48 first 1 last 1");
    bench_clear (&b);
  }
}
GST_END_TEST;

/* 2 frames a second and 100 a second: time counts, not frames. */
GST_START_TEST (variable_frame_rate)
{
  Bench b;

  bench_init (&b, FALSE, FALSE, "interval", GST_SECOND, NULL);
  for (guint i = 0; i < 4; i++)
    gst_harness_push (
        b.video, frame_new (i * 500 * GST_MSECOND, 500 * GST_MSECOND));
  for (guint i = 0; i < 200; i++)
    gst_harness_push (b.video,
        frame_new (2 * GST_SECOND + i * 10 * GST_MSECOND, 10 * GST_MSECOND));
  for (guint i = 0; i < 4; i++)
    fail_unless_equals_uint64 (expect_timestamp (&b), i * GST_SECOND);
  fail_unless_equals_uint64 (stat_of (&b, "described"), 4);
  bench_clear (&b);
}
GST_END_TEST;

/* A source that starts again without a segment is described at once. */
GST_START_TEST (time_jumps_back)
{
  Bench b;

  bench_init (&b, FALSE, TRUE, "interval", GST_SECOND, NULL);
  push_frames (&b, 300, 3);
  push_frames (&b, 0, 3);
  fail_unless_equals_uint64 (expect_timestamp (&b), 10 * GST_SECOND);
  fail_unless_equals_uint64 (expect_timestamp (&b), 0);
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (frames_outside_the_segment)
{
  Bench b;
  GstSegment segment;

  bench_init (&b, FALSE, TRUE, "interval", (guint64) 0, NULL);
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.start = segment.time = GST_SECOND;
  segment.stop = 2 * GST_SECOND;
  gst_harness_push_event (b.video, gst_event_new_segment (&segment));
  push_frames (&b, 28, 4);
  fail_unless_equals_uint64 (stat_of (&b, "described"), 2);
  fail_unless_equals_uint64 (stat_of (&b, "skipped-outside"), 2);
  bench_clear (&b);
}
GST_END_TEST;

/* A camera that pauses sends gaps; so does the text pad. */
GST_START_TEST (gap_events)
{
  Bench b;

  bench_init (&b, TRUE, TRUE, "interval", GST_CLOCK_TIME_NONE, NULL);
  push_frames (&b, 0, 1);
  gst_harness_push_event (
      b.video, gst_event_new_gap (GST_SECOND, 2 * GST_SECOND));
  wait_for_gaps (&b, 3 * GST_SECOND);
  bench_clear (&b);
}
GST_END_TEST;

/* As from a network: no frame rate, no durations. Text passes each frame
 * before the next comes, or textoverlay would hold it. */
GST_START_TEST (frames_without_duration)
{
  Bench b;

  bench_init (&b, TRUE, TRUE, "interval", GST_CLOCK_TIME_NONE, NULL);
  gst_harness_set_src_caps_str (
      b.video, "video/x-raw,format=I420,width=64,height=48,framerate=0/1");
  for (guint i = 1; i < 20; i++) {
    GstClockTime pts = i * 70 * GST_MSECOND;

    gst_harness_push (b.video, frame_new (pts, GST_CLOCK_TIME_NONE));
    wait_for_gaps (&b, pts + 1);
  }
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (only_raw_video_in_system_memory)
{
  static const gchar *const refused[] = { "image/jpeg",
    "video/x-raw(memory:DMABuf),format=NV12", "video/x-h264", "text/x-raw" };
  GstElement *element = gst_element_factory_make ("hiredvlm", NULL);
  GstPad *pad = gst_element_get_static_pad (element, "sink");

  for (guint i = 0; i < G_N_ELEMENTS (refused); i++) {
    GstCaps *caps = gst_caps_from_string (refused[i]);

    fail_if (gst_pad_query_accept_caps (pad, caps), "%s", refused[i]);
    gst_caps_unref (caps);
  }
  gst_object_unref (pad);
  gst_object_unref (element);
}
GST_END_TEST;

/* Nothing comes from a camera for a while: captions go on after it. */
GST_START_TEST (a_camera_that_pauses)
{
  GstClockTime last = 0;
  GstBuffer *cue;
  Bench b;

  bench_init (&b, TRUE, TRUE, "interval", GST_SECOND, "text-refresh",
      (guint64) 0, NULL);
  wait_loaded (&b);
  push_frames (&b, 0, 5);
  expect_text (&b, "a red circle on the left");
  push_frames (&b, 1000, 5);
  expect_text (&b, "a red circle on the left");
  push_frames (&b, 1005, 5);
  for (guint i = 0; i < 2; i++) {
    cue = gst_harness_pull (b.text);
    fail_unless (cue != NULL);
    fail_unless (i == 0 || GST_BUFFER_PTS (cue) >= last);
    last = GST_BUFFER_PTS (cue) + GST_BUFFER_DURATION (cue);
    gst_buffer_unref (cue);
  }
  fail_unless (last >= gst_util_uint64_scale (1000, GST_SECOND, 30));
  fail_unless_equals_uint64 (stat_of (&b, "described"), 2);
  bench_clear (&b);
}
GST_END_TEST;

/* A camera's frame without a time is of now. */
GST_START_TEST (a_camera_without_time)
{
  GstStructure *s;
  Bench b;

  bench_init (&b, TRUE, FALSE, NULL);
  wait_loaded (&b);
  gst_harness_set_time (b.video, 5 * GST_SECOND);
  gst_harness_push (b.video, frame_new (GST_CLOCK_TIME_NONE, FRAME_NS));
  s = pop_structure (&b, GST_VLM_CAPTION);
  fail_unless_equals_uint64 (
      gst_vlm_caption_get_time (s, GST_VLM_TIMESTAMP), 5 * GST_SECOND);
  gst_structure_free (s);
  bench_clear (&b);
}
GST_END_TEST;

static Suite *
element_streams_suite (void)
{
  Suite *s = suite_create ("element-streams");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_set_timeout (tc, 120);
  tcase_add_checked_fixture (tc, element_setup, element_teardown);
  tcase_add_test (tc, caps_change_while_a_frame_waits);
  tcase_add_test (tc, strides_and_offsets);
  tcase_add_test (tc, interlaced);
  tcase_add_test (tc, variable_frame_rate);
  tcase_add_test (tc, time_jumps_back);
  tcase_add_test (tc, frames_outside_the_segment);
  tcase_add_test (tc, gap_events);
  tcase_add_test (tc, frames_without_duration);
  tcase_add_test (tc, a_camera_that_pauses);
  tcase_add_test (tc, a_camera_without_time);
  tcase_add_test (tc, only_raw_video_in_system_memory);
  return s;
}

GST_CHECK_MAIN (element_streams);
