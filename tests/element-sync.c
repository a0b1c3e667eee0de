/* element-sync.c - captions of files: formats, metadata, timing, EOS
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/element-common.h"

static const gchar *
caption_text (GstBuffer *buffer)
{
  GstStructure *caption = gst_vlm_buffer_get_caption (buffer);

  return caption ? gst_vlm_caption_get_text (caption) : NULL;
}

GST_START_TEST (meta_is_on_the_described_buffer)
{
  Bench b;

  bench_init (&b, FALSE, FALSE, "interval", 100 * GST_MSECOND, NULL);
  push_frames (&b, 0, 7);
  for (guint i = 0; i < 7; i++) {
    GstBuffer *buffer = gst_harness_pull (b.video);

    fail_unless_equals_string (
        caption_text (buffer), i % 3 ? NULL : "a red circle on the left");
    gst_buffer_unref (buffer);
  }
  fail_unless_equals_uint64 (stat_of (&b, "described"), 3);
  fail_unless_equals_uint64 (stat_of (&b, "skipped-interval"), 4);
  fail_unless_equals_uint64 (stat_of (&b, "in"), 7);
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (structure_has_its_fields)
{
  Bench b;
  GstStructure *s;

  bench_init (&b, FALSE, FALSE, "detail", TRUE, "prompt", "What is it?", NULL);
  push_frames (&b, 3, 1);
  s = pop_structure (&b, GST_VLM_CAPTION);
  fail_unless_equals_string (
      gst_vlm_caption_get_text (s), "a red circle on the left");
  fail_unless_equals_string (gst_vlm_caption_get_prompt (s), "What is it?");
  fail_unless_equals_string (
      gst_structure_get_string (s, GST_VLM_FINISH), "eos");
  fail_unless_equals_uint64 (
      gst_vlm_caption_get_time (s, GST_VLM_TIMESTAMP), 100 * GST_MSECOND);
  fail_unless_equals_uint64 (
      gst_vlm_caption_get_time (s, GST_VLM_RUNNING_TIME), 100 * GST_MSECOND);
  fail_unless_equals_uint64 (
      gst_vlm_caption_get_time (s, GST_VLM_DURATION), FRAME_NS);
  fail_unless_equals_uint64 (gst_vlm_caption_get_seq (s), 0);
  fail_unless_equals_int (
      gst_vlm_caption_get_count (s, GST_VLM_IMAGE_TOKENS), 320);
  fail_unless_equals_int (
      gst_vlm_caption_get_count (s, GST_VLM_IMAGE_TOKENS_KEPT), 64);
  fail_unless (
      gst_structure_has_field_typed (s, GST_VLM_KEPT_IDS, GST_TYPE_ARRAY));
  fail_unless (
      gst_structure_has_field_typed (s, GST_VLM_GEOMETRY, GST_TYPE_STRUCTURE));
  fail_unless (gst_structure_has_field (s, GST_VLM_RENDERED_PROMPT));
  gst_structure_free (s);
  bench_clear (&b);
}
GST_END_TEST;

/* Every raw format, an odd size and a pixel aspect: describes or refuses. */
GST_START_TEST (every_format_is_read)
{
  const gchar *caption;
  GstHarness *h;
  GstElement *element = gst_element_factory_make ("hiredvlm", NULL);

  g_object_set (element, "model-path", "fake", "interval", (guint64) 0, NULL);
  h = gst_harness_new_with_element (element, "sink", "src");
  gst_harness_set_live (h, FALSE);
  for (gint f = GST_VIDEO_FORMAT_I420; f <= GST_VIDEO_FORMAT_AV12; f++) {
    GstVideoInfo info;
    GstBuffer *buffer;

    if (gst_video_format_get_info (f)->n_planes == 0)
      continue;
    if (!gst_video_info_set_format (&info, f, 33, 17))
      continue;
    info.par_n = 16;
    info.par_d = 15;
    gst_harness_set_src_caps (h, gst_video_info_to_caps (&info));
    buffer = gst_buffer_new_allocate (NULL, info.size, NULL);
    gst_buffer_memset (buffer, 0, 60, info.size);
    GST_BUFFER_PTS (buffer) = f * GST_SECOND;
    fail_unless_equals_int (gst_harness_push (h, buffer), GST_FLOW_OK);
    buffer = gst_harness_pull (h);
    caption = caption_text (buffer);
    fail_unless (caption != NULL, "%s", gst_video_format_to_string (f));
    gst_buffer_unref (buffer);
  }
  gst_object_unref (element);
  gst_harness_teardown (h);
}
GST_END_TEST;

/* What of a picture that is as it was decoded. */
static char *
say_planes (const VlmTask *task, gpointer user_data)
{
  const VlmPicture *p = &task->picture;
  const Pixels *pixels = p->pixels;

  if (pixels == NULL)
    return g_strdup_printf ("%dx%d rgb", p->width, p->height);
  return g_strdup_printf ("%dx%d bytes %d stride %d luma %d chroma %d",
      pixels->width, pixels->height, pixels->bytes, (int) pixels->stride[0],
      pixels->plane[0][0], pixels->plane[1][0]);
}

/* A GPU gets what it can convert itself as it is, the processor RGB. */
GST_START_TEST (gpus_take_frames_as_they_are)
{
  static const gchar *const expected[][2] = {
    { "I420", "20x31 bytes 1 stride 64 luma 235 chroma 128" },
    { "NV12", "20x31 bytes 1 stride 64 luma 235 chroma 128" },
    { "YUY2", "20x31 rgb" },
  };

  for (guint i = 0; i < 2 * G_N_ELEMENTS (expected); i++) {
    const gchar *format = expected[i / 2][0];
    FakeConfig config;
    Bench b;
    g_autofree gchar *caps = NULL;
    GstBuffer *buffer = gst_buffer_new_allocate (NULL, 64 * 48 * 2, NULL);
    GstVideoCropMeta *crop = gst_buffer_add_video_crop_meta (buffer);

    fake_engine_config_init (&config);
    config.describe = say_planes;
    config.gpu = i % 2 - 1;
    fake_engine_configure (&config);
    bench_init (&b, FALSE, FALSE, "interval", (guint64) 0, NULL);
    caps = g_strdup_printf (
        "video/x-raw,format=%s,width=64,height=48,framerate=30/1", format);
    gst_harness_set_src_caps_str (b.video, caps);
    gst_buffer_memset (buffer, 0, 235, 64 * 48);
    gst_buffer_memset (buffer, 64 * 48, 128, 64 * 48);
    crop->x = 11;
    crop->y = 5;
    crop->width = 20;
    crop->height = 31;
    GST_BUFFER_PTS (buffer) = 0;
    gst_harness_push (b.video, buffer);
    buffer = gst_harness_pull (b.video);
    fail_unless_equals_string (
        caption_text (buffer), i % 2 ? expected[i / 2][1] : "20x31 rgb");
    gst_buffer_unref (buffer);
    bench_clear (&b);
  }
}
GST_END_TEST;

static char *
say_size (const VlmTask *task, gpointer user_data)
{
  const VlmPicture *p = &task->picture;

  return g_strdup_printf ("%dx%d %d/%d %d", p->width, p->height,
      p->pixel_aspect_n, p->pixel_aspect_d, p->data[0] > 250);
}

GST_START_TEST (crop_aspect_and_colour_reach_the_engine)
{
  FakeConfig config;
  Bench b;
  GstBuffer *buffer;
  GstVideoCropMeta *crop;

  fake_engine_config_init (&config);
  config.describe = say_size;
  fake_engine_configure (&config);
  bench_init (&b, FALSE, FALSE, "interval", (guint64) 0, NULL);
  gst_harness_set_src_caps_str (b.video,
      "video/x-raw,format=I420,width=64,height=48,framerate=30/1,"
      "pixel-aspect-ratio=16/15,colorimetry=bt601");
  buffer = grey_frame_new (0, FRAME_NS, 235);
  crop = gst_buffer_add_video_crop_meta (buffer);
  crop->x = 10;
  crop->y = 4;
  crop->width = 20;
  crop->height = 31;
  gst_harness_push (b.video, buffer);
  buffer = gst_harness_pull (b.video);
  fail_unless_equals_string (caption_text (buffer), "20x31 16/15 1");
  gst_buffer_unref (buffer);
  gst_harness_push (b.video, grey_frame_new (FRAME_NS, FRAME_NS, 16));
  buffer = gst_harness_pull (b.video);
  fail_unless_equals_string (caption_text (buffer), "64x48 16/15 0");
  gst_buffer_unref (buffer);
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (cues_are_at_their_frames)
{
  Bench b;

  bench_init (&b, FALSE, TRUE, "interval", 100 * GST_MSECOND, NULL);
  push_frames (&b, 0, 9);
  gst_harness_push_event (b.video, gst_event_new_eos ());
  for (guint i = 0; i < 3; i++) {
    GstBuffer *cue = gst_harness_pull (b.text);
    g_autofree gchar *text = NULL;

    fail_unless_equals_uint64 (GST_BUFFER_PTS (cue), i * 100 * GST_MSECOND);
    fail_unless_equals_uint64 (GST_BUFFER_DURATION (cue), 100 * GST_MSECOND);
    fail_unless_equals_int (
        GST_BUFFER_FLAG_IS_SET (cue, GST_BUFFER_FLAG_DISCONT), i == 0);
    fail_unless (gst_vlm_buffer_get_caption (cue) != NULL);
    text = text_of (cue);
    fail_unless_equals_string (text, "a red circle on the left");
  }
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (events_of_the_text_pad)
{
  static const GstEventType expected[] = { GST_EVENT_STREAM_START,
    GST_EVENT_CAPS, GST_EVENT_SEGMENT, GST_EVENT_TAG, GST_EVENT_EOS };
  Bench b;
  guint i = 0;

  bench_init (&b, FALSE, TRUE, "lateness", 3 * GST_SECOND, NULL);
  push_frames (&b, 0, 2);
  gst_harness_push_event (b.video, gst_event_new_eos ());
  while (i < G_N_ELEMENTS (expected)) {
    GstEvent *event = gst_harness_pull_event (b.text);
    const GstSegment *segment;
    GstStreamFlags flags;
    const gchar *id;

    fail_unless (event != NULL);
    if (GST_EVENT_TYPE (event) == GST_EVENT_GAP) {
      gst_event_unref (event);
      continue;
    }
    fail_unless_equals_int (GST_EVENT_TYPE (event), expected[i]);
    if (i == 0) {
      gst_event_parse_stream_start (event, &id);
      gst_event_parse_stream_flags (event, &flags);
      fail_unless (g_str_has_suffix (id, "/caption"));
      fail_unless (flags & GST_STREAM_FLAG_SPARSE);
    } else if (i == 2) {
      gst_event_parse_segment (event, &segment);
      fail_unless_equals_uint64 (segment->base, 3 * GST_SECOND);
    }
    gst_event_unref (event);
    i++;
  }
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (json_on_the_text_pad)
{
  Bench b;
  g_autofree gchar *text = NULL;

  bench_init (&b, FALSE, TRUE, NULL);
  gst_harness_set_sink_caps_str (b.text, "application/x-json");
  push_frames (&b, 0, 1);
  text = text_of (gst_harness_pull (b.text));
  fail_unless (g_str_has_prefix (text, "{"));
  fail_unless (g_str_has_suffix (text, "}\n"));
  fail_unless (strstr (text, "\"text\":\"a red circle on the left\""));
  fail_unless (strstr (text, "\"seq\":0"));
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (hostile_text_is_cleaned)
{
  FakeConfig config;
  Bench b;
  g_autofree gchar *text = NULL;

  fake_engine_config_init (&config);
  config.text = "one\n\ntwo --> <b>\"three\"</b> & \xf0\x9f\x98\x80";
  fake_engine_configure (&config);
  bench_init (&b, FALSE, TRUE, NULL);
  gst_harness_set_sink_caps_str (
      b.text, "text/x-raw,format=(string)pango-markup");
  push_frames (&b, 0, 1);
  text = text_of (gst_harness_pull (b.text));
  fail_unless_equals_string (text,
      "one two \xe2\x86\x92 &lt;b&gt;\"three\"&lt;/b&gt; &amp; "
      "\xf0\x9f\x98\x80");
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (empty_text_is_a_gap)
{
  FakeConfig config;
  Bench b;
  GstStructure *s;
  gboolean gap = FALSE;

  fake_engine_config_init (&config);
  config.text = " ";
  fake_engine_configure (&config);
  bench_init (&b, FALSE, TRUE, NULL);
  push_frames (&b, 0, 1);
  gst_harness_push_event (b.video, gst_event_new_eos ());
  for (;;) {
    GstEvent *event = gst_harness_pull_event (b.text);
    GstEventType type = GST_EVENT_TYPE (event);

    gst_event_unref (event);
    gap = gap || type == GST_EVENT_GAP;
    if (type == GST_EVENT_EOS)
      break;
  }
  fail_unless (gap);
  fail_unless (gst_harness_try_pull (b.text) == NULL);
  s = pop_structure (&b, GST_VLM_CAPTION);
  fail_unless_equals_string (gst_vlm_caption_get_text (s), "");
  gst_structure_free (s);
  bench_clear (&b);
}
GST_END_TEST;

/* Still scene, then a change: described twice, the cue held on in between. */
GST_START_TEST (unchanged_scene_keeps_its_caption)
{
  Bench b;

  bench_init (&b, FALSE, TRUE, "interval", (guint64) FRAME_NS,
      "scene-threshold", 0.1, NULL);
  for (guint i = 0; i < 4; i++) {
    guint8 y = i < 3 ? 50 : 200;

    gst_harness_push (b.video, grey_frame_new (i * FRAME_NS, FRAME_NS, y));
  }
  fail_unless_equals_uint64 (stat_of (&b, "described"), 2);
  fail_unless_equals_uint64 (stat_of (&b, "skipped-unchanged"), 2);
  for (guint i = 0; i < 4; i++) {
    GstBuffer *cue = gst_harness_pull (b.text);

    fail_unless_equals_uint64 (GST_BUFFER_PTS (cue), i * FRAME_NS);
    gst_buffer_unref (cue);
  }
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (frames_without_time)
{
  Bench b;

  bench_init (&b, FALSE, TRUE, "interval", (guint64) 0, NULL);
  for (guint i = 0; i < 3; i++)
    gst_harness_push (b.video, frame_new (GST_CLOCK_TIME_NONE, FRAME_NS));
  for (guint i = 0; i < 3; i++) {
    GstBuffer *cue = gst_harness_pull (b.text);

    fail_unless_equals_uint64 (GST_BUFFER_PTS (cue), i * FRAME_NS);
    gst_buffer_unref (cue);
  }
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (meta_always_and_none)
{
  Bench b;
  GstBuffer *buffer;

  bench_init (&b, FALSE, FALSE, NULL);
  gst_util_set_object_arg (G_OBJECT (b.element), "attach-meta", "always");
  push_frames (&b, 0, 2);
  for (guint i = 0; i < 2; i++) {
    buffer = gst_harness_pull (b.video);
    fail_unless (caption_text (buffer) != NULL);
    gst_buffer_unref (buffer);
  }
  gst_util_set_object_arg (G_OBJECT (b.element), "attach-meta", "none");
  push_frames (&b, 60, 1);
  buffer = gst_harness_pull (b.video);
  fail_unless (caption_text (buffer) == NULL);
  gst_buffer_unref (buffer);
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (tags_come_before_the_buffer)
{
  Bench b;
  gboolean found = FALSE;

  bench_init (&b, FALSE, FALSE, "tags", TRUE, NULL);
  push_frames (&b, 0, 1);
  for (GstEvent *event; (event = gst_harness_try_pull_event (b.video));) {
    GstTagList *tags;
    g_autofree gchar *text = NULL;

    if (GST_EVENT_TYPE (event) == GST_EVENT_TAG) {
      gst_event_parse_tag (event, &tags);
      found = gst_tag_list_get_string (tags, GST_TAG_DESCRIPTION, &text);
    }
    gst_event_unref (event);
  }
  fail_unless (found);
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (kept_tokens_are_drawn_on_request)
{
  Bench b;
  GstBuffer *buffer;
  GstVideoOverlayCompositionMeta *meta;

  bench_init (&b, FALSE, FALSE, "draw-tokens", TRUE, NULL);
  push_frames (&b, 0, 2);
  for (guint i = 0; i < 2; i++) {
    buffer = gst_harness_pull (b.video);
    meta = gst_buffer_get_video_overlay_composition_meta (buffer);
    fail_unless (meta != NULL);
    fail_unless_equals_int (
        gst_video_overlay_composition_n_rectangles (meta->overlay), 1);
    gst_buffer_unref (buffer);
  }
  g_object_set (b.element, "draw-tokens", FALSE, NULL);
  push_frames (&b, 60, 1);
  buffer = gst_harness_pull (b.video);
  meta = gst_buffer_get_video_overlay_composition_meta (buffer);
  fail_unless (meta == NULL);
  gst_buffer_unref (buffer);
  bench_clear (&b);
}
GST_END_TEST;

static void
note_end (GstElement *sink, GstBuffer *buffer, GstPad *pad, gpointer ends)
{
  guint64 end = GST_BUFFER_PTS (buffer) + GST_BUFFER_DURATION (buffer);

  g_array_append_val (ends, end);
}

/* A film of 1.5 seconds, described each second: its length is known. */
GST_START_TEST (last_cue_ends_with_the_film)
{
  g_autoptr (GArray) ends = g_array_new (FALSE, FALSE, sizeof (guint64));
  GstElement *pipeline = gst_parse_launch (
      "videotestsrc num-buffers=45 ! " VIDEO_CAPS " ! hiredvlm name=v "
      "model-path=fake-model ! fakesink sync=false v.text_src ! text/x-raw ! "
      "fakesink name=t signal-handoffs=true sync=false async=false",
      NULL);
  GstElement *sink = gst_bin_get_by_name (GST_BIN (pipeline), "t");
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message;

  g_signal_connect (sink, "handoff", G_CALLBACK (note_end), ends);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  message = gst_bus_timed_pop_filtered (
      bus, 60 * GST_SECOND, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  fail_unless_equals_int (GST_MESSAGE_TYPE (message), GST_MESSAGE_EOS);
  gst_message_unref (message);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  fail_unless_equals_int (ends->len, 2);
  fail_unless_equals_uint64 (g_array_index (ends, guint64, 0), GST_SECOND);
  fail_unless_equals_uint64 (
      g_array_index (ends, guint64, 1), 1500 * GST_MSECOND);
  gst_object_unref (sink);
  gst_object_unref (bus);
  gst_object_unref (pipeline);
}
GST_END_TEST;

static Suite *
element_sync_suite (void)
{
  Suite *s = suite_create ("element-sync");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_set_timeout (tc, 120);
  tcase_add_checked_fixture (tc, element_setup, element_teardown);
  tcase_add_test (tc, meta_is_on_the_described_buffer);
  tcase_add_test (tc, structure_has_its_fields);
  tcase_add_test (tc, every_format_is_read);
  tcase_add_test (tc, gpus_take_frames_as_they_are);
  tcase_add_test (tc, crop_aspect_and_colour_reach_the_engine);
  tcase_add_test (tc, cues_are_at_their_frames);
  tcase_add_test (tc, events_of_the_text_pad);
  tcase_add_test (tc, json_on_the_text_pad);
  tcase_add_test (tc, hostile_text_is_cleaned);
  tcase_add_test (tc, empty_text_is_a_gap);
  tcase_add_test (tc, unchanged_scene_keeps_its_caption);
  tcase_add_test (tc, frames_without_time);
  tcase_add_test (tc, meta_always_and_none);
  tcase_add_test (tc, tags_come_before_the_buffer);
  tcase_add_test (tc, kept_tokens_are_drawn_on_request);
  tcase_add_test (tc, last_cue_ends_with_the_film);
  return s;
}

GST_CHECK_MAIN (element_sync);
