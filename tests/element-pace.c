/* element-pace.c - what live video pays for its captions
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Live pipelines of 30 frames a second over models that take 0.05 to 30
 * seconds, with and without textoverlay and queues: the longest time a frame
 * takes from the source to the video sink, as GST_TRACERS=latency has it.
 * Prints the table of docs/pipelines.md.
 */
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include "engine/policy.h"
#include "tests/element-common.h"

#define SECONDS 4
/* Simulated; the sanitizer is fifty times slower. */
#ifdef __SANITIZE_ADDRESS__
#define LIVE_SECONDS 150
#define WARM_SECONDS 50
#else
#define LIVE_SECONDS 7200
#define WARM_SECONDS 3600
#endif
/* Far above one frame's time, for loaded machines, and far below the time of
 * the slow models. */
#define LIMIT (1500 * GST_MSECOND)

/* %u: number of the case, in the name of its sink. */
#define SOURCE                                                                 \
  "videotestsrc is-live=true num-buffers=120 ! "                               \
  "video/x-raw,format=I420,width=160,height=120,framerate=30/1 ! "             \
  "hiredvlm name=v model-path=m%u interval=0 "
#define SINK "fakesink name=end%u sync=false "

static const struct {
  const gchar *name, *line;
} cases[] = {
  { "no text pad", SOURCE "! " SINK },
  { "text pad to a sink",
      SOURCE "! " SINK "v.text_src ! fakesink sync=true async=false" },
  { "textoverlay, queues", SOURCE "! queue ! textoverlay name=o ! " SINK
                                  "v.text_src ! queue ! o.text_sink" },
  { "textoverlay",
      SOURCE "! textoverlay name=o ! " SINK "v.text_src ! o.text_sink" },
};

#define N_CASES G_N_ELEMENTS (cases)

/* What the tracer said of each case. */
static struct {
  guint n;
  guint64 worst; /* ns */
} traced[N_CASES];
static GMutex traced_lock;

/* "latency, ..., sink-element=(string)end2, ..., time=(guint64)123, ..." */
static void
on_log (GstDebugCategory *category, GstDebugLevel level, const gchar *file,
    const gchar *function, gint line, GObject *object, GstDebugMessage *message,
    gpointer user_data)
{
  const gchar *text = gst_debug_message_get (message);
  const gchar *sink = strstr (text, "sink-element=(string)end");
  const gchar *time = strstr (text, " time=(guint64)");
  guint64 value;
  guint i;

  if (!g_str_has_prefix (text, "latency,") || sink == NULL || time == NULL)
    return;
  i = (guint) g_ascii_strtoull (strchr (sink, ')') + 4, NULL, 10);
  value = g_ascii_strtoull (strchr (time, ')') + 1, NULL, 10);
  g_mutex_lock (&traced_lock);
  if (i < N_CASES) {
    traced[i].n++;
    traced[i].worst = MAX (traced[i].worst, value);
  }
  g_mutex_unlock (&traced_lock);
}

static GstElement *
case_start (guint number)
{
  GError *error = NULL;
  GString *line = g_string_new (cases[number].line);
  g_autofree gchar *digit = g_strdup_printf ("%u", number);
  GstElement *pipeline;

  g_string_replace (line, "%u", digit, 0);
  pipeline = gst_parse_launch (line->str, &error);
  fail_unless (error == NULL, "%s", error ? error->message : "");
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  g_string_free (line, TRUE);
  return pipeline;
}

static void
run_model (gdouble seconds)
{
  GstElement *pipelines[N_CASES];
  FakeConfig config;

  fake_engine_config_init (&config);
  config.encode_us = (gint64) (seconds * G_USEC_PER_SEC);
  fake_engine_configure (&config);
  memset (traced, 0, sizeof traced);
  for (guint i = 0; i < N_CASES; i++)
    pipelines[i] = case_start (i);
  g_usleep (SECONDS * G_USEC_PER_SEC);
  g_mutex_lock (&traced_lock);
  g_print ("| %g s |", seconds);
  for (guint i = 0; i < N_CASES; i++) {
    g_print (" %.1f ms |", traced[i].worst / (gdouble) GST_MSECOND);
    if (seconds >= 3)
      fail_unless (traced[i].worst < LIMIT);
    fail_unless (traced[i].n > SECONDS * 5);
  }
  g_print ("\n");
  g_mutex_unlock (&traced_lock);
  for (guint i = 0; i < N_CASES; i++) {
    gst_element_set_state (pipelines[i], GST_STATE_NULL);
    gst_object_unref (pipelines[i]);
  }
}

GST_START_TEST (live_video_does_not_wait)
{
  static const gdouble seconds[] = { 0.05, 0.7, 3, 30 };

  if (!gst_registry_check_feature_version (
          gst_registry_get (), "textoverlay", 1, 0, 0))
    return;
  gst_debug_add_log_function (on_log, NULL, NULL);
  g_print ("| model |");
  for (guint i = 0; i < N_CASES; i++)
    g_print (" %s |", cases[i].name);
  g_print ("\n|---|---|---|---|---|\n");
  for (guint i = 0; i < G_N_ELEMENTS (seconds); i++)
    run_model (seconds[i]);
  gst_debug_remove_log_function (on_log);
}
GST_END_TEST;

/* Resident memory in pages, without what the allocator could give back. */
static guint64
resident (void)
{
  g_autofree gchar *text = NULL;
  guint64 size, pages;

  malloc_trim (0);
  fail_unless (g_file_get_contents ("/proc/self/statm", &text, NULL, NULL));
  fail_unless_equals_int (
      sscanf (text, "%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT, &size, &pages),
      2);
  return pages;
}

/* Prompt, budget, policy, interval: something else every second. */
static void
change_something (GstElement *element, guint second)
{
  g_autofree gchar *prompt = g_strdup_printf ("Question %u?", second);
  GObject *object = G_OBJECT (element);

  g_object_set (object, "prompt", prompt, "token-budget",
      (second % 100) / 100.0, "interval", second % 7 * 100 * GST_MSECOND,
      "detail", second % 3 == 0, "draw-tokens", second % 5 == 0, NULL);
  gst_util_set_object_arg (object, "policy",
      vlm_policies[second % g_strv_length ((gchar **) vlm_policies)]->name);
  gst_util_set_object_arg (
      object, "budget-mode", second % 4 ? "fixed" : "adaptive");
}

typedef struct {
  guint64 frames, captions; /* that came out, that were told on the bus */
  gint64 longest;           /* us, of a push */
} Hour;

static void
drop_all (Bench *b, Hour *hour)
{
  GstBuffer *buffer;
  GstEvent *event;
  GstMessage *message;

  while ((buffer = gst_harness_try_pull (b->video))) {
    gst_buffer_unref (buffer);
    hour->frames++;
  }
  while ((buffer = gst_harness_try_pull (b->text)))
    gst_buffer_unref (buffer);
  while ((event = gst_harness_try_pull_event (b->text)))
    gst_event_unref (event);
  while ((event = gst_harness_try_pull_event (b->video)))
    gst_event_unref (event);
  while ((message = gst_bus_pop (b->bus))) {
    hour->captions += gst_vlm_message_get_caption (message) != NULL;
    gst_message_unref (message);
  }
}

/* The hour goes by in seconds: the engine shall have its share of them. */
static void
wait_for_caption (Bench *b, Hour *hour)
{
  gst_structure_free (pop_structure (b, GST_VLM_CAPTION));
  hour->captions++;
}

static void
push_second (Bench *b, guint second, Hour *hour)
{
  for (guint i = 0; i < 30; i++) {
    gint64 begin = g_get_monotonic_time ();

    push_frames (b, second * 30 + i, 1);
    hour->longest = MAX (hour->longest, g_get_monotonic_time () - begin);
  }
}

/* As fast as it goes (in the plain build an hour to fill the allocator's bins,
 * and an hour): every frame comes out and at once, every caption is accounted
 * for, memory stays. */
GST_START_TEST (an_hour_of_live_video)
{
  Bench b;
  FakeCounters counters;
  guint64 settled = 0;
  Hour hour = { 0 };

  bench_init (&b, TRUE, TRUE, NULL);
  wait_loaded (&b);
  for (guint second = 0; second < LIVE_SECONDS; second++) {
    change_something (b.element, second);
    push_second (&b, second, &hour);
    wait_for_caption (&b, &hour);
    drop_all (&b, &hour);
    if (second == WARM_SECONDS)
      settled = resident ();
  }
  gst_harness_push_event (b.video, gst_event_new_eos ());
  drop_all (&b, &hour);
  fake_engine_counters (&counters);
  g_print ("%d captions, longest push %.1f ms, memory %+.2f %%\n",
      counters.begun, hour.longest / 1000.0,
      100.0 * ((gdouble) resident () - settled) / settled);
  fail_unless_equals_uint64 (hour.frames, LIVE_SECONDS * 30);
  fail_unless_equals_uint64 (hour.captions, counters.begun);
  fail_unless (hour.longest < LIMIT / 1000);
  fail_unless_equals_uint64 (stat_of (&b, "in"), LIVE_SECONDS * 30);
  fail_unless_equals_uint64 (stat_of (&b, "described"), counters.begun);
  fail_unless_equals_uint64 (stat_of (&b, "described") +
                                 stat_of (&b, "skipped-busy") +
                                 stat_of (&b, "skipped-interval"),
      LIVE_SECONDS * 30);
#ifndef __SANITIZE_ADDRESS__
  /* The sanitizer keeps what was freed, to see who touches it. */
  fail_unless (resident () <= settled * 1.02);
#endif
  bench_clear (&b);
}
GST_END_TEST;

static Suite *
element_pace_suite (void)
{
  Suite *s = suite_create ("element-pace");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_set_timeout (tc, 120);
  tcase_add_checked_fixture (tc, element_setup, element_teardown);
  tcase_add_test (tc, live_video_does_not_wait);
  tcase_add_test (tc, an_hour_of_live_video);
  return s;
}

int
main (int argc, char **argv)
{
  /* Told to on_log alone. */
  g_setenv ("GST_TRACERS", "latency(flags=pipeline)", TRUE);
  mallopt (M_ARENA_MAX, 1); /* threads' own arenas fill as threads interleave */
  gst_check_init (&argc, &argv);
  gst_debug_remove_log_function (gst_debug_log_default);
  gst_debug_set_threshold_from_string ("GST_TRACER:7", FALSE);
  return gst_check_run_suite (element_pace_suite (), "element_pace", __FILE__);
}
