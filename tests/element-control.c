/* element-control.c - prompts, wishes, curves: control while it plays
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/element-common.h"

#include <gst/controller/gstdirectcontrolbinding.h>
#include <gst/controller/gstinterpolationcontrolsource.h>

static char *
say_settings (const VlmTask *task, gpointer user_data)
{
  const VlmSettings *s = &task->settings;

  return g_strdup_printf (
      "%s %.2f", s->prompt ? s->prompt : "default", s->token_budget);
}

static void
listen (void)
{
  FakeConfig config;

  fake_engine_config_init (&config);
  config.describe = say_settings;
  fake_engine_configure (&config);
}

GST_START_TEST (prompt_by_property)
{
  Bench b;

  listen ();
  bench_init (&b, FALSE, FALSE, "interval", (guint64) 0, NULL);
  push_frames (&b, 0, 1);
  expect_text (&b, "default 0.20");
  g_object_set (b.element, "prompt", "How many?", NULL);
  push_frames (&b, 1, 1);
  expect_text (&b, "How many? 0.20");
  bench_clear (&b);
}
GST_END_TEST;

static char *
say_attention (const VlmTask *task, gpointer user_data)
{
  const VlmSettings *s = &task->settings;

  return g_strdup_printf ("%d %d %d %d %d", s->decode_attention,
      s->tidal.tokens, s->tidal.reselect_layer, s->tidal.group,
      s->tidal.correct_every);
}

GST_START_TEST (attention_by_property)
{
  FakeConfig config;
  Bench b;

  fake_engine_config_init (&config);
  config.describe = say_attention;
  fake_engine_configure (&config);
  bench_init (&b, FALSE, FALSE, "interval", (guint64) 0, NULL);
  push_frames (&b, 0, 1);
  expect_text (&b, "0 256 -1 0 0");
  gst_util_set_object_arg (G_OBJECT (b.element), "decode-attention", "tidal");
  gst_util_set_object_arg (G_OBJECT (b.element), "tidal-group", "pages");
  g_object_set (b.element, "tidal-tokens", 512, "tidal-reselect-layer", 13,
      "tidal-correct-every", 1000, NULL);
  push_frames (&b, 1, 1);
  expect_text (&b, "1 512 13 2 1000");
  bench_clear (&b);
}
GST_END_TEST;

static void
push_prompt (Bench *b, const gchar *prompt, gboolean once)
{
  gst_harness_push_event (
      b->video, gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM,
                    gst_structure_new (GST_VLM_PROMPT_CHANGE, GST_VLM_PROMPT,
                        G_TYPE_STRING, prompt, GST_VLM_ONCE, G_TYPE_BOOLEAN,
                        once, NULL)));
}

GST_START_TEST (prompt_by_event)
{
  Bench b;

  listen ();
  bench_init (&b, FALSE, FALSE, "interval", (guint64) 0, NULL);
  push_prompt (&b, "kept", FALSE);
  push_frames (&b, 0, 2);
  expect_text (&b, "kept 0.20");
  expect_text (&b, "kept 0.20");
  push_prompt (&b, "once", TRUE);
  push_frames (&b, 2, 2);
  expect_text (&b, "once 0.20");
  expect_text (&b, "kept 0.20");
  g_object_set (b.element, "prompt", "property", NULL);
  push_frames (&b, 4, 1);
  expect_text (&b, "property 0.20");
  bench_clear (&b);
}
GST_END_TEST;

/* It is about its buffer, due or not, and about no other. */
GST_START_TEST (prompt_by_meta)
{
  Bench b;
  GstBuffer *buffer = frame_new (FRAME_NS, FRAME_NS);
  GstCustomMeta *meta;

  listen ();
  bench_init (&b, FALSE, FALSE, "interval", 10 * GST_SECOND, NULL);
  push_frames (&b, 0, 1);
  expect_text (&b, "default 0.20");
  meta = gst_buffer_add_custom_meta (buffer, GST_VLM_PROMPT_CHANGE);
  gst_structure_set (gst_custom_meta_get_structure (meta), GST_VLM_PROMPT,
      G_TYPE_STRING, "this one", NULL);
  gst_harness_push (b.video, buffer);
  expect_text (&b, "this one 0.20");
  push_frames (&b, 2, 3);
  fail_unless_equals_uint64 (stat_of (&b, "described"), 2);
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (describe_by_event)
{
  Bench b;

  listen ();
  bench_init (&b, FALSE, FALSE, "interval", GST_CLOCK_TIME_NONE, NULL);
  push_frames (&b, 0, 2);
  gst_harness_push_event (
      b.video, gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM_OOB,
                   gst_structure_new (GST_VLM_DESCRIBE, GST_VLM_PROMPT,
                       G_TYPE_STRING, "down", NULL)));
  push_frames (&b, 2, 2);
  expect_text (&b, "down 0.20");
  gst_harness_push_upstream_event (
      b.video, gst_event_new_custom (GST_EVENT_CUSTOM_UPSTREAM,
                   gst_structure_new (GST_VLM_DESCRIBE, GST_VLM_RUNNING_TIME,
                       G_TYPE_UINT64, (guint64) (200 * GST_MSECOND), NULL)));
  push_frames (&b, 4, 3);
  expect_text (&b, "default 0.20");
  fail_unless_equals_uint64 (stat_of (&b, "described"), 2);
  fail_unless_equals_uint64 (stat_of (&b, "skipped-interval"), 5);
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (describe_by_signal)
{
  Bench b;
  GstPromise *promise = gst_promise_new ();
  const GstStructure *reply;

  listen ();
  bench_init (&b, FALSE, FALSE, "interval", GST_CLOCK_TIME_NONE, NULL);
  g_signal_emit_by_name (b.element, "describe", "tell me", promise);
  push_frames (&b, 0, 1);
  fail_unless_equals_int (
      gst_promise_wait (promise), GST_PROMISE_RESULT_REPLIED);
  reply = gst_promise_get_reply (promise);
  fail_unless (gst_structure_has_name (reply, GST_VLM_CAPTION));
  fail_unless_equals_string (gst_vlm_caption_get_text (reply), "tell me 0.20");
  gst_promise_unref (promise);
  bench_clear (&b);
}
GST_END_TEST;

/* Answered with an error that says why not; the promise is taken. */
static void
expect_cancelled (GstPromise *promise)
{
  const GstStructure *s;

  fail_unless_equals_int (
      gst_promise_wait (promise), GST_PROMISE_RESULT_REPLIED);
  s = gst_promise_get_reply (promise);
  fail_unless (gst_structure_has_name (s, "hiredvlm/error"));
  fail_unless_equals_string (
      gst_structure_get_string (s, "cause"), "cancelled");
  fail_unless (gst_structure_has_field (s, "message"));
  gst_promise_unref (promise);
}

static void
expect_reply (GstPromise *promise, const gchar *expected)
{
  const GstStructure *reply;

  fail_unless_equals_int (
      gst_promise_wait (promise), GST_PROMISE_RESULT_REPLIED);
  reply = gst_promise_get_reply (promise);
  fail_unless (gst_structure_has_name (reply, GST_VLM_CAPTION));
  fail_unless_equals_string (gst_vlm_caption_get_text (reply), expected);
  gst_promise_unref (promise);
}

/* Nothing follows the frame that is there; two wishes get it in turn. */
static void
check_newest (const gchar *mode, GstState state, guint64 interval)
{
  Bench b;
  GstPromise *first = gst_promise_new (), *second = gst_promise_new ();

  listen ();
  bench_init (&b, FALSE, TRUE, "interval", interval, NULL);
  gst_util_set_object_arg (G_OBJECT (b.element), "mode", mode);
  gst_element_set_state (b.element, state);
  push_frames (&b, 0, 3);
  g_signal_emit_by_name (b.element, "describe", "one", first);
  g_signal_emit_by_name (b.element, "describe", "two", second);
  expect_reply (first, "one 0.20");
  expect_reply (second, "two 0.20");
  gst_harness_push_event (b.video, gst_event_new_eos ());
  bench_clear (&b);
}

GST_START_TEST (describe_the_newest)
{
  check_newest ("sync", GST_STATE_PLAYING, GST_CLOCK_TIME_NONE);
  check_newest ("async", GST_STATE_PLAYING, GST_CLOCK_TIME_NONE);
  check_newest ("sync", GST_STATE_PAUSED, GST_SECOND);
  check_newest ("async", GST_STATE_PAUSED, 100 * GST_SECOND);
}
GST_END_TEST;

/* The last frame once more, or a refusal: never no answer. */
GST_START_TEST (describe_after_the_end)
{
  Bench b;
  GstPromise *promise = gst_promise_new ();

  listen ();
  bench_init (&b, FALSE, FALSE, "interval", GST_CLOCK_TIME_NONE, NULL);
  push_frames (&b, 0, 2);
  gst_harness_push_event (b.video, gst_event_new_eos ());
  g_signal_emit_by_name (b.element, "describe", "last", promise);
  expect_reply (promise, "last 0.20");
  bench_clear (&b);

  promise = gst_promise_new ();
  bench_init (&b, FALSE, FALSE, NULL);
  push_frames (&b, 0, 2);
  gst_harness_push_event (b.video, gst_event_new_eos ());
  g_signal_emit_by_name (b.element, "describe", "none", promise);
  expect_cancelled (promise);
  bench_clear (&b);
}
GST_END_TEST;

/* Asked before it starts, it keeps the last frame as well. */
GST_START_TEST (describe_before_the_start)
{
  Bench b;
  GstPromise *first = gst_promise_new (), *second = gst_promise_new ();

  listen ();
  bench_init (&b, FALSE, FALSE, NULL);
  gst_element_set_state (b.element, GST_STATE_READY);
  g_signal_emit_by_name (b.element, "describe", "first", first);
  gst_element_set_state (b.element, GST_STATE_PLAYING);
  gst_harness_set_src_caps_str (b.video, VIDEO_CAPS);
  push_frames (&b, 0, 3);
  expect_reply (first, "first 0.20");
  gst_harness_push_event (b.video, gst_event_new_eos ());
  g_signal_emit_by_name (b.element, "describe", "last", second);
  expect_reply (second, "last 0.20");
  bench_clear (&b);
}
GST_END_TEST;

/* A promise is answered even if no frame comes. */
GST_START_TEST (describe_and_stop)
{
  Bench b;
  GstPromise *promise = gst_promise_new ();

  bench_init (&b, FALSE, FALSE, NULL);
  g_signal_emit_by_name (b.element, "describe", NULL, promise);
  gst_element_set_state (b.element, GST_STATE_NULL);
  expect_cancelled (promise);
  bench_clear (&b);
}
GST_END_TEST;

static void
on_caption (GstElement *element, GstStructure *caption, gpointer text)
{
  *(gchar **) text = g_strdup (gst_vlm_caption_get_text (caption));
}

GST_START_TEST (signal_and_property)
{
  Bench b;
  g_autofree gchar *told = NULL;
  g_autofree gchar *last = NULL;

  bench_init (&b, FALSE, FALSE, NULL);
  g_signal_connect (b.element, "caption", G_CALLBACK (on_caption), &told);
  push_frames (&b, 0, 1);
  fail_unless_equals_string (told, "a red circle on the left");
  g_object_get (b.element, "last-caption", &last, NULL);
  fail_unless_equals_string (last, told);
  bench_clear (&b);
}
GST_END_TEST;

/* A curve takes the budget from 0 to 1 within a second. */
GST_START_TEST (budget_by_controller)
{
  Bench b;
  GstControlSource *source = gst_interpolation_control_source_new ();

  listen ();
  bench_init (&b, FALSE, FALSE, "interval", 500 * GST_MSECOND, NULL);
  g_object_set (source, "mode", GST_INTERPOLATION_MODE_LINEAR, NULL);
  gst_timed_value_control_source_set (
      GST_TIMED_VALUE_CONTROL_SOURCE (source), 0, 0);
  gst_timed_value_control_source_set (
      GST_TIMED_VALUE_CONTROL_SOURCE (source), GST_SECOND, 1);
  gst_object_add_control_binding (GST_OBJECT (b.element),
      gst_direct_control_binding_new_absolute (
          GST_OBJECT (b.element), "token-budget", source));
  push_frames (&b, 0, 31);
  expect_text (&b, "default 0.00");
  expect_text (&b, "default 0.50");
  expect_text (&b, "default 1.00");
  gst_object_unref (source);
  bench_clear (&b);
}
GST_END_TEST;

/* Descriptions take twice the interval, then hardly any time. */
GST_START_TEST (budget_follows_the_load)
{
  FakeConfig config;
  Bench b;

  fake_engine_config_init (&config);
  config.encode_us = 200 * 1000;
  config.describe = say_settings;
  fake_engine_configure (&config);
  bench_init (&b, FALSE, FALSE, "interval", 10 * GST_MSECOND, "token-budget",
      0.4, "min-budget", 0.1, NULL);
  gst_util_set_object_arg (G_OBJECT (b.element), "budget-mode", "adaptive");
  push_frames (&b, 0, 4);
  expect_text (&b, "default 0.40");
  expect_text (&b, "default 0.20");
  expect_text (&b, "default 0.10");
  expect_text (&b, "default 0.10");
  config.encode_us = 0;
  fake_engine_configure (&config);
  g_object_set (b.element, "interval", 100 * GST_SECOND, NULL);
  for (guint i = 1; i < 20; i++)
    gst_harness_push (
        b.video, frame_new ((i * 100 + 1) * GST_SECOND, FRAME_NS));
  for (guint i = 1; i < 19; i++)
    gst_structure_free (pop_structure (&b, GST_VLM_CAPTION));
  expect_text (&b, "default 0.40");
  bench_clear (&b);
}
GST_END_TEST;

/* Every property takes what it gives, and the defaults are as told. */
GST_START_TEST (properties_keep_their_values)
{
  GstElement *element = gst_element_factory_make ("hiredvlm", NULL);
  guint n;
  GParamSpec **specs =
      g_object_class_list_properties (G_OBJECT_GET_CLASS (element), &n);

  for (guint i = 0; i < n; i++) {
    GParamSpec *spec = specs[i];
    g_auto (GValue) value = G_VALUE_INIT;

    if (spec->owner_type != G_OBJECT_TYPE (element))
      continue;
    fail_unless (g_param_spec_get_blurb (spec) != NULL);
    g_value_init (&value, spec->value_type);
    g_object_get_property (G_OBJECT (element), spec->name, &value);
    if (!(spec->flags & G_PARAM_WRITABLE))
      continue;
    if (!G_VALUE_HOLDS_BOXED (&value))
      fail_unless (g_param_value_defaults (spec, &value) ||
                       GST_VALUE_HOLDS_ARRAY (&value),
          "%s", spec->name);
    g_object_set_property (G_OBJECT (element), spec->name, &value);
  }
  g_free (specs);
  gst_object_unref (element);
}
GST_END_TEST;

GST_START_TEST (stop_strings_reach_the_engine)
{
  GstElement *element = gst_element_factory_make ("hiredvlm", NULL);
  GValue array = G_VALUE_INIT;

  gst_util_set_object_arg (G_OBJECT (element), "stop", "<\"a b\", c>");
  g_value_init (&array, GST_TYPE_ARRAY);
  g_object_get_property (G_OBJECT (element), "stop", &array);
  fail_unless_equals_int (gst_value_array_get_size (&array), 2);
  fail_unless_equals_string (
      g_value_get_string (gst_value_array_get_value (&array, 0)), "a b");
  g_value_unset (&array);
  gst_object_unref (element);
}
GST_END_TEST;

/* The application keeps the model of a stopped element for the next. */
GST_START_TEST (model_by_context)
{
  Bench a, b;
  GstMessage *message;
  GstContext *context;
  FakeCounters counters;

  bench_init (&a, FALSE, FALSE, NULL);
  message = pop_message (&a, GST_MESSAGE_HAVE_CONTEXT);
  gst_message_parse_have_context (message, &context);
  gst_message_unref (message);
  fail_unless_equals_string (
      gst_context_get_context_type (context), "hired.model");
  push_frames (&a, 0, 1);
  bench_clear (&a);
  b.element = gst_element_factory_make ("hiredvlm", NULL);
  g_object_set (b.element, "model-path", "fake-model", NULL);
  gst_element_set_context (b.element, context);
  b.video = gst_harness_new_with_element (b.element, "sink", "src");
  gst_harness_set_live (b.video, FALSE);
  gst_harness_set_src_caps_str (b.video, VIDEO_CAPS);
  push_frames (&b, 0, 1);
  fail_unless_equals_uint64 (stat_of (&b, "described"), 1);
  fake_engine_counters (&counters);
  fail_unless_equals_int (counters.opens, 1);
  fail_unless_equals_int (counters.loads, 1);
  gst_context_unref (context);
  gst_harness_teardown (b.video);
  gst_object_unref (b.element);
}
GST_END_TEST;

/* Another model's context is not taken. */
GST_START_TEST (context_of_another_model)
{
  GstElement *pipeline = gst_parse_launch (
      "videotestsrc num-buffers=2 ! hiredvlm model-path=one ! hiredvlm "
      "model-path=two ! hiredvlm model-path=two ! fakesink",
      NULL);
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message;
  FakeCounters counters;

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  message = gst_bus_timed_pop_filtered (
      bus, 60 * GST_SECOND, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  fail_unless_equals_int (GST_MESSAGE_TYPE (message), GST_MESSAGE_EOS);
  gst_message_unref (message);
  fake_engine_counters (&counters);
  fail_unless_equals_int (counters.loads, 2);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (bus);
  gst_object_unref (pipeline);
}
GST_END_TEST;

static Suite *
element_control_suite (void)
{
  Suite *s = suite_create ("element-control");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_set_timeout (tc, 120);
  tcase_add_checked_fixture (tc, element_setup, element_teardown);
  tcase_add_test (tc, prompt_by_property);
  tcase_add_test (tc, attention_by_property);
  tcase_add_test (tc, prompt_by_event);
  tcase_add_test (tc, prompt_by_meta);
  tcase_add_test (tc, describe_by_event);
  tcase_add_test (tc, describe_by_signal);
  tcase_add_test (tc, describe_the_newest);
  tcase_add_test (tc, describe_after_the_end);
  tcase_add_test (tc, describe_before_the_start);
  tcase_add_test (tc, describe_and_stop);
  tcase_add_test (tc, signal_and_property);
  tcase_add_test (tc, budget_by_controller);
  tcase_add_test (tc, budget_follows_the_load);
  tcase_add_test (tc, properties_keep_their_values);
  tcase_add_test (tc, stop_strings_reach_the_engine);
  tcase_add_test (tc, model_by_context);
  tcase_add_test (tc, context_of_another_model);
  return s;
}

GST_CHECK_MAIN (element_control);
