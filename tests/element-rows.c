/* element-rows.c - each property, message, event, query, stat and field
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Those that the tests of what the element does pass by: that they are there,
 * have their types, and reach what they are for.
 */
#include "engine/policy.h"
#include "tests/element-common.h"

/* ---- properties ---- */

static char *
say_all (const VlmTask *task, gpointer user_data)
{
  const VlmSettings *s = &task->settings;

  return g_strdup_printf (
      "%s %s %d %s %.2f %.2f %d %.1f %.1f %d %.1f %" G_GUINT64_FORMAT
      " %s %d %d %d %d",
      s->prompt, s->system_prompt, s->raw_prompt, s->policy->name,
      s->token_budget, s->policy_param[0], s->max_tokens,
      s->sampling.temperature, s->sampling.top_p, s->sampling.top_k,
      s->sampling.repetition_penalty, s->sampling.seed, s->stop[0],
      s->positions, s->resampling, s->reuse, s->detail);
}

GST_START_TEST (settings_reach_the_engine)
{
  static const gchar *const values[][2] = { { "prompt", "Who?" },
    { "system-prompt", "Brief." }, { "raw-prompt", "true" },
    { "policy", "hired-plus" }, { "token-budget", "0.75" },
    { "policy-params", "params,alpha=0.25" }, { "max-tokens", "99" },
    { "temperature", "0.5" }, { "top-p", "0.9" }, { "top-k", "40" },
    { "repetition-penalty", "1.5" }, { "seed", "7" }, { "stop", "<end>" },
    { "positions", "whole" }, { "resampling", "pillow" }, { "reuse", "0" },
    { "detail", "true" } };
  FakeConfig config;
  Bench b;

  fake_engine_config_init (&config);
  config.describe = say_all;
  fake_engine_configure (&config);
  bench_init (&b, FALSE, FALSE, "interval", (guint64) 0, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (values); i++)
    gst_util_set_object_arg (G_OBJECT (b.element), values[i][0], values[i][1]);
  push_frames (&b, 0, 1);
  expect_text (
      &b, "Who? Brief. 1 hired-plus 0.75 0.25 99 0.5 0.9 40 1.5 7 end 2 1 0 1");
  bench_clear (&b);
}
GST_END_TEST;

/* When each may be set (R before it loads, P any time) and whether by curve. */
GST_START_TEST (when_properties_may_be_set)
{
  static const struct {
    GParamFlags flags;
    const gchar *names;
  } rows[] = {
    { GST_PARAM_MUTABLE_READY, "model-path vision-tower-path device weights "
                               "threads share-model mode caption-timing "
                               "latency" },
    { GST_PARAM_MUTABLE_PLAYING | GST_PARAM_CONTROLLABLE,
        "interval scene-threshold token-budget min-budget max-tokens "
        "temperature top-p repetition-penalty" },
    { GST_PARAM_MUTABLE_PLAYING,
        "prompt system-prompt raw-prompt policy policy-params positions "
        "budget-mode "
        "top-k seed stop caption-duration text-refresh lateness single-line "
        "language attach-meta post-messages post-partial tags detail "
        "draw-tokens" },
    { 0, "last-caption max-observed-lag stats" },
  };
  const GParamFlags mask = GST_PARAM_MUTABLE_READY | GST_PARAM_MUTABLE_PLAYING |
                           GST_PARAM_CONTROLLABLE;
  GstElement *element = gst_element_factory_make ("hiredvlm", NULL);

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
    g_auto (GStrv) names = g_strsplit (rows[i].names, " ", -1);

    for (guint j = 0; names[j]; j++) {
      GParamSpec *spec =
          g_object_class_find_property (G_OBJECT_GET_CLASS (element), names[j]);

      fail_unless (spec != NULL, "%s", names[j]);
      fail_unless ((spec->flags & mask) == rows[i].flags, "%s", names[j]);
      fail_unless (
          !(spec->flags & G_PARAM_WRITABLE) == !rows[i].flags, "%s", names[j]);
    }
  }
  gst_object_unref (element);
}
GST_END_TEST;

GST_START_TEST (a_model_of_its_own)
{
  FakeCounters counters;
  Bench a, b;

  bench_init (&a, FALSE, FALSE, "share-model", FALSE, NULL);
  bench_init (&b, FALSE, FALSE, "share-model", FALSE, NULL);
  push_frames (&a, 0, 1);
  push_frames (&b, 0, 1);
  fake_engine_counters (&counters);
  fail_unless_equals_int (counters.loads, 2);
  bench_clear (&a);
  bench_clear (&b);
}
GST_END_TEST;

/* The next tag event of the text pad says what the captions are in. */
static void
expect_language (Bench *b, const gchar *expected)
{
  for (;;) {
    GstEvent *event = gst_harness_pull_event (b->text);
    g_autofree gchar *code = NULL;
    GstTagList *tags;

    fail_unless (event != NULL);
    if (GST_EVENT_TYPE (event) == GST_EVENT_TAG) {
      gst_event_parse_tag (event, &tags);
      gst_tag_list_get_string (tags, GST_TAG_LANGUAGE_CODE, &code);
    }
    gst_event_unref (event);
    if (code == NULL)
      continue;
    fail_unless_equals_string (code, expected);
    return;
  }
}

GST_START_TEST (settings_of_the_text)
{
  FakeConfig config;
  Bench b;
  GstBuffer *cue;
  g_autofree gchar *text = NULL;
  GstMessage *message;

  fake_engine_config_init (&config);
  config.text = "eins\nzwei";
  fake_engine_configure (&config);
  bench_init (&b, FALSE, TRUE, "language", "de", "single-line", FALSE,
      "caption-duration", 70 * GST_MSECOND, "post-messages", FALSE, NULL);
  push_frames (&b, 0, 2);
  expect_language (&b, "de");
  cue = gst_harness_pull (b.text);
  fail_unless_equals_uint64 (GST_BUFFER_DURATION (cue), 70 * GST_MSECOND);
  text = text_of (cue);
  fail_unless_equals_string (text, "eins\nzwei");
  while ((message = gst_bus_pop (b.bus))) {
    fail_unless (gst_vlm_message_get_caption (message) == NULL);
    gst_message_unref (message);
  }
  bench_clear (&b);
}
GST_END_TEST;

/* ---- stats and fields ---- */

static void
expect_fields (const GstStructure *s, GType type, const gchar *list)
{
  g_auto (GStrv) names = g_strsplit (list, " ", -1);

  for (guint i = 0; names[i]; i++)
    fail_unless (
        gst_structure_has_field_typed (s, names[i], type), "%s", names[i]);
}

GST_START_TEST (stats_have_their_fields)
{
  GstStructure *stats;
  Bench b;

  bench_init (&b, FALSE, TRUE, NULL);
  push_frames (&b, 0, 1);
  g_object_get (b.element, "stats", &stats, NULL);
  expect_fields (stats, G_TYPE_UINT64,
      "in described failed cancelled skipped-interval skipped-busy "
      "skipped-unchanged skipped-loading skipped-trick skipped-outside "
      "text-buffers text-lost image-tokens image-tokens-kept tokens "
      "tiles-reused prompt-tokens-reused tokens-drafted last-ttft mean-ttft "
      "max-ttft last-total mean-total max-total last-lag mean-lag max-lag "
      "weight-bytes cache-bytes");
  expect_fields (
      stats, G_TYPE_DOUBLE, "tokens-per-second token-budget fine-tokens");
  expect_fields (stats, G_TYPE_STRING, "model device weights");
  expect_fields (stats, G_TYPE_UINT, "sharers");
  fail_unless_equals_int (gst_structure_n_fields (stats), 36);
  gst_structure_free (stats);
  bench_clear (&b);
}
GST_END_TEST;

/* The schema of gstvlmmeta.h; lag is left out without a clock. */
GST_START_TEST (captions_have_their_fields)
{
  GstStructure *s;
  Bench b;

  bench_init (&b, TRUE, FALSE, NULL);
  wait_loaded (&b);
  push_frames (&b, 0, 1);
  s = pop_structure (&b, GST_VLM_CAPTION);
  expect_fields (
      s, G_TYPE_STRING, "text prompt stream-id model policy finish-reason");
  expect_fields (s, G_TYPE_UINT64,
      "seq timestamp stream-time running-time duration lag queue-time "
      "vision-time prefill-time ttft total-time");
  expect_fields (
      s, G_TYPE_UINT, "image-tokens image-tokens-kept prompt-tokens tokens");
  expect_fields (s, G_TYPE_DOUBLE, "token-budget tokens-per-second");
  fail_unless_equals_int (gst_structure_n_fields (s), 23);
  gst_structure_free (s);
  bench_clear (&b);
}
GST_END_TEST;

/* ---- messages ---- */

GST_START_TEST (progress_of_a_load)
{
  gint last = -1;
  guint n_started = 0, n_told = 0;
  GstProgressType type;
  Bench b;

  bench_init (&b, FALSE, FALSE, NULL);
  do {
    GstMessage *message = pop_message (&b, GST_MESSAGE_PROGRESS);
    g_autofree gchar *code = NULL;
    g_autofree gchar *text = NULL;

    gst_message_parse_progress (message, &type, &code, &text);
    gst_message_unref (message);
    fail_unless_equals_string (code, "load");
    n_started += type == GST_PROGRESS_TYPE_START;
    if (type == GST_PROGRESS_TYPE_CONTINUE) {
      gint percent = atoi (text + strcspn (text, "0123456789"));

      fail_unless (percent > last && percent < 100, "%s", text);
      last = percent;
      n_told++;
    }
  } while (type != GST_PROGRESS_TYPE_COMPLETE);
  fail_unless_equals_int (n_started, 1);
  fail_unless (n_told > 0);
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (progress_of_a_load_that_fails)
{
  FakeConfig config;
  GstProgressType type;
  Bench b;

  fake_engine_config_init (&config);
  config.load_error = (FakeError){ VLM_ERROR_DATA, "It is cut short." };
  config.load_error_percent = 20;
  fake_engine_configure (&config);
  bench_init (&b, FALSE, FALSE, NULL);
  do {
    GstMessage *message = pop_message (&b, GST_MESSAGE_PROGRESS);

    gst_message_parse_progress (message, &type, NULL, NULL);
    gst_message_unref (message);
    fail_unless (type != GST_PROGRESS_TYPE_COMPLETE);
  } while (type != GST_PROGRESS_TYPE_ERROR);
  gst_message_unref (pop_message (&b, GST_MESSAGE_ERROR));
  bench_clear (&b);
}
GST_END_TEST;

/* Words that come faster than ten a second are not all told. */
GST_START_TEST (partial_text_keeps_its_pace)
{
  FakeConfig config;
  guint n = 0;
  gint64 begin, seconds;
  GstMessage *message;
  Bench b;

  fake_engine_config_init (&config);
  config.text = "a b c d e f g h i j k l m n o p q r s t u v w x y z";
  config.token_us = 10 * 1000;
  fake_engine_configure (&config);
  bench_init (&b, FALSE, FALSE, "post-partial", TRUE, NULL);
  begin = g_get_monotonic_time ();
  push_frames (&b, 0, 1);
  seconds = (g_get_monotonic_time () - begin) / G_USEC_PER_SEC;
  while ((message = gst_bus_pop (b.bus))) {
    n += gst_message_has_name (message, GST_VLM_PARTIAL);
    gst_message_unref (message);
  }
  fail_unless (n > 0 && n <= 10 * (seconds + 1) + 1, "%u", n);
  bench_clear (&b);
}
GST_END_TEST;

/* Video that fits into no memory is refused, once. */
GST_START_TEST (caps_too_large)
{
  GstMessage *message;
  const GstStructure *details;
  GError *error = NULL;
  GstCaps *caps;
  guint warnings, errors;
  Bench b;

  bench_init (&b, FALSE, FALSE, NULL);
  wait_loaded (&b);
  caps = gst_caps_from_string ("video/x-raw,format=RGBA,width=2000000,"
                               "height=2000000,framerate=30/1");
  gst_harness_push_event (b.video, gst_event_new_caps (caps));
  gst_caps_unref (caps);
  message = pop_message (&b, GST_MESSAGE_ERROR);
  gst_message_parse_error (message, &error, NULL);
  fail_unless (
      g_error_matches (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT));
  g_error_free (error);
  gst_message_parse_error_details (message, &details);
  expect_fields (details, G_TYPE_STRING, "cause message found");
  gst_message_unref (message);
  count_faults (&b, &warnings, &errors);
  fail_unless_equals_int (errors, 0);
  bench_clear (&b);
}
GST_END_TEST;

/* ---- events and queries ---- */

static GstEvent *
event_of_type (GstHarness *h, GstEventType type)
{
  for (;;) {
    GstEvent *event = gst_harness_pull_event (h);

    fail_unless (event != NULL, "no %s", gst_event_type_get_name (type));
    if (GST_EVENT_TYPE (event) == type)
      return event;
    gst_event_unref (event);
  }
}

static void
push_title (Bench *b, GstTagScope scope, const gchar *title)
{
  GstTagList *tags = gst_tag_list_new (GST_TAG_TITLE, title, NULL);

  gst_tag_list_set_scope (tags, scope);
  gst_harness_push_event (b->video, gst_event_new_tag (tags));
}

/* Tags of the film, but not of its video; what others send; the end. */
GST_START_TEST (events_that_text_shares)
{
  GstEvent *start, *event, *eos = gst_event_new_eos ();
  guint32 seqnum = gst_event_get_seqnum (eos);
  guint group = 0, expected = gst_util_group_id_next ();
  gchar *title = NULL;
  GstTagList *tags;
  const gchar *id;
  Bench b;

  bench_init (&b, FALSE, TRUE, "language", "", NULL);
  start = gst_event_new_stream_start ("film");
  gst_event_set_group_id (start, expected);
  gst_harness_push_event (b.video, start);
  push_frames (&b, 0, 1);
  push_title (&b, GST_TAG_SCOPE_STREAM, "video");
  push_title (&b, GST_TAG_SCOPE_GLOBAL, "film");
  gst_harness_push_event (
      b.video, gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM,
                   gst_structure_new_empty ("of-others")));
  gst_harness_push_event (b.video, eos);
  do {
    event = event_of_type (b.text, GST_EVENT_STREAM_START);
    gst_event_parse_group_id (event, &group);
    gst_event_parse_stream_start (event, &id);
    if (group == expected)
      fail_unless_equals_string (id, "film/caption");
    gst_event_unref (event);
  } while (group != expected);
  do {
    event = event_of_type (b.text, GST_EVENT_TAG);
    gst_event_parse_tag (event, &tags);
    gst_tag_list_get_string (tags, GST_TAG_TITLE, &title);
    gst_event_unref (event);
  } while (title == NULL);
  fail_unless_equals_string (title, "film");
  g_free (title);
  event = event_of_type (b.text, GST_EVENT_CUSTOM_DOWNSTREAM);
  fail_unless (gst_event_has_name (event, "of-others"));
  gst_event_unref (event);
  event = event_of_type (b.text, GST_EVENT_EOS);
  fail_unless_equals_int (gst_event_get_seqnum (event), seqnum);
  gst_event_unref (event);
  bench_clear (&b);
}
GST_END_TEST;

/* Both sinks change their pace, or neither. */
GST_START_TEST (rate_that_changes_at_once)
{
  GstEvent *event;
  gdouble rate;
  Bench b;

  bench_init (&b, FALSE, TRUE, NULL);
  push_frames (&b, 0, 1);
  gst_harness_push_event (
      b.video, gst_event_new_instant_rate_change (2, GST_SEGMENT_FLAG_NONE));
  for (guint i = 0; i < 2; i++) {
    event = event_of_type (i ? b.text : b.video, GST_EVENT_INSTANT_RATE_CHANGE);
    gst_event_parse_instant_rate_change (event, &rate, NULL);
    fail_unless (rate == 2);
    gst_event_unref (event);
  }
  bench_clear (&b);
}
GST_END_TEST;

static GstPad *
linked_inside (GstElement *element, const gchar *name)
{
  GstPad *pad = gst_element_get_static_pad (element, name), *other = NULL;
  GstIterator *links = gst_pad_iterate_internal_links (pad);
  GValue value = G_VALUE_INIT;

  if (links && gst_iterator_next (links, &value) == GST_ITERATOR_OK) {
    other = g_value_get_object (&value);
    g_value_unset (&value);
  }
  if (links)
    gst_iterator_free (links);
  gst_object_unref (pad);
  return other;
}

/* Video is linked to video; text is nobody's caps. */
GST_START_TEST (links_inside)
{
  GstPad *pad;
  Bench b;

  bench_init (&b, FALSE, TRUE, NULL);
  pad = linked_inside (b.element, "sink");
  fail_unless_equals_string (GST_PAD_NAME (pad), "src");
  pad = linked_inside (b.element, "src");
  fail_unless_equals_string (GST_PAD_NAME (pad), "sink");
  fail_unless (linked_inside (b.element, "text_src") == NULL);
  bench_clear (&b);
}
GST_END_TEST;

/* Frames that wait are taken into account when pools are made. */
GST_START_TEST (pools_have_room_for_those_that_wait)
{
  GstQuery *query;
  GstCaps *caps = gst_caps_from_string (VIDEO_CAPS);
  guint size, min, max;
  Bench b;

  bench_init (&b, FALSE, FALSE, NULL);
  push_frames (&b, 0, 1);
  gst_harness_add_propose_allocation_meta (
      b.video, GST_VIDEO_META_API_TYPE, NULL);
  query = gst_query_new_allocation (caps, FALSE);
  gst_query_add_allocation_pool (query, NULL, 4608, 3, 4);
  fail_unless (gst_pad_peer_query (b.video->srcpad, query));
  gst_query_parse_nth_allocation_pool (query, 0, NULL, &size, &min, &max);
  fail_unless_equals_int (min, 5);
  fail_unless_equals_int (max, 6);
  gst_query_unref (query);
  gst_caps_unref (caps);
  bench_clear (&b);
}
GST_END_TEST;

static Suite *
element_rows_suite (void)
{
  Suite *s = suite_create ("element-rows");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_set_timeout (tc, 120);
  tcase_add_checked_fixture (tc, element_setup, element_teardown);
  tcase_add_test (tc, settings_reach_the_engine);
  tcase_add_test (tc, when_properties_may_be_set);
  tcase_add_test (tc, a_model_of_its_own);
  tcase_add_test (tc, settings_of_the_text);
  tcase_add_test (tc, stats_have_their_fields);
  tcase_add_test (tc, captions_have_their_fields);
  tcase_add_test (tc, progress_of_a_load);
  tcase_add_test (tc, progress_of_a_load_that_fails);
  tcase_add_test (tc, partial_text_keeps_its_pace);
  tcase_add_test (tc, caps_too_large);
  tcase_add_test (tc, events_that_text_shares);
  tcase_add_test (tc, rate_that_changes_at_once);
  tcase_add_test (tc, links_inside);
  tcase_add_test (tc, pools_have_room_for_those_that_wait);
  return s;
}

GST_CHECK_MAIN (element_rows);
