/* element-pace.c - what live video pays for its captions
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Live pipelines of 30 frames a second over models that take 0.05 to 30
 * seconds, with and without textoverlay and queues: the longest time a frame
 * spends between the element's sink pad and the video sink. Prints a table.
 */
#include <stdio.h>
#include "tests/element-common.h"

#define SECONDS 4
/* Simulated; the sanitizer is fifty times slower. */
#ifdef __SANITIZE_ADDRESS__
#define LIVE_SECONDS 300
#else
#define LIVE_SECONDS 3600
#endif
/* Far above one frame's time, for loaded machines, and far below the time of
 * the slow models. */
#define LIMIT (1500 * GST_MSECOND)

typedef struct {
  const gchar *name, *line;
  GstElement *pipeline;
  GMutex lock;
  GHashTable *came; /* PTS -> monotonic time, both in ns */
  guint64 worst;
  guint n_in, n_out;
} Case;

#define SOURCE                                                                 \
  "videotestsrc is-live=true num-buffers=120 ! "                               \
  "video/x-raw,format=I420,width=160,height=120,framerate=30/1 ! "             \
  "hiredvlm name=v model-path=m interval=0 "
#define SINK "fakesink name=end sync=false "

static const struct {
  const gchar *name, *line;
} cases[] = {
  { "no text pad", SOURCE "! " SINK },
  { "text pad to a sink",
      SOURCE "! " SINK "v.text_src ! fakesink sync=true async=false" },
  { "textoverlay, queues", SOURCE "! queue ! textoverlay name=o ! " SINK
                                  "v.text_src ! queue ! o.text_sink" },
  { "textoverlay, no queues",
      SOURCE "! textoverlay name=o ! " SINK "v.text_src ! o.text_sink" },
};

static GstPadProbeReturn
on_in (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Case *c = data;
  guint64 *key = g_new (guint64, 1), *value = g_new (guint64, 1);

  *key = GST_BUFFER_PTS (GST_PAD_PROBE_INFO_BUFFER (info));
  *value = (guint64) g_get_monotonic_time () * GST_USECOND;
  g_mutex_lock (&c->lock);
  g_hash_table_insert (c->came, key, value);
  c->n_in++;
  g_mutex_unlock (&c->lock);
  return GST_PAD_PROBE_OK;
}

static GstPadProbeReturn
on_out (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Case *c = data;
  guint64 pts = GST_BUFFER_PTS (GST_PAD_PROBE_INFO_BUFFER (info)), *came;
  guint64 now = (guint64) g_get_monotonic_time () * GST_USECOND;

  g_mutex_lock (&c->lock);
  came = g_hash_table_lookup (c->came, &pts);
  if (came)
    c->worst = MAX (c->worst, now - *came);
  c->n_out++;
  g_mutex_unlock (&c->lock);
  return GST_PAD_PROBE_OK;
}

static void
probe (Case *c, const gchar *element, GstPadProbeCallback callback)
{
  GstElement *e = gst_bin_get_by_name (GST_BIN (c->pipeline), element);
  GstPad *pad = gst_element_get_static_pad (e, "sink");

  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, callback, c, NULL);
  gst_object_unref (pad);
  gst_object_unref (e);
}

static void
case_start (Case *c)
{
  GError *error = NULL;

  g_mutex_init (&c->lock);
  c->came = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, g_free);
  c->pipeline = gst_parse_launch (c->line, &error);
  fail_unless (error == NULL, "%s", error ? error->message : "");
  probe (c, "v", on_in);
  probe (c, "end", on_out);
  gst_element_set_state (c->pipeline, GST_STATE_PLAYING);
}

static void
case_end (Case *c)
{
  gst_element_set_state (c->pipeline, GST_STATE_NULL);
  gst_object_unref (c->pipeline);
  g_hash_table_unref (c->came);
  g_mutex_clear (&c->lock);
}

static void
run_model (gdouble seconds)
{
  Case running[G_N_ELEMENTS (cases)] = { 0 };
  FakeConfig config;

  fake_engine_config_init (&config);
  config.encode_us = (gint64) (seconds * G_USEC_PER_SEC);
  fake_engine_configure (&config);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    running[i].name = cases[i].name;
    running[i].line = cases[i].line;
    case_start (&running[i]);
  }
  g_usleep (SECONDS * G_USEC_PER_SEC);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_print ("| %.2f s | %s | %u | %.1f ms |\n", seconds, running[i].name,
        running[i].n_out, running[i].worst / (gdouble) GST_MSECOND);
    if (seconds >= 3)
      fail_unless (running[i].worst < LIMIT);
    fail_unless (running[i].n_out > SECONDS * 5);
    case_end (&running[i]);
  }
}

GST_START_TEST (live_video_does_not_wait)
{
  static const gdouble seconds[] = { 0.05, 0.7, 3, 30 };

  if (!gst_registry_check_feature_version (
          gst_registry_get (), "textoverlay", 1, 0, 0))
    return;
  g_print ("| model | text | frames | worst latency |\n|---|---|---|---|\n");
  for (guint i = 0; i < G_N_ELEMENTS (seconds); i++)
    run_model (seconds[i]);
}
GST_END_TEST;

/* Resident memory in pages. */
static guint64
resident (void)
{
  g_autofree gchar *text = NULL;
  guint64 size, pages;

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
      "detail", second % 3 == 0, NULL);
  gst_util_set_object_arg (object, "policy", second % 2 ? "hired" : "all");
}

static void
drop_all (Bench *b, guint64 *n_video)
{
  GstBuffer *buffer;
  GstEvent *event;
  GstMessage *message;

  while ((buffer = gst_harness_try_pull (b->video))) {
    gst_buffer_unref (buffer);
    ++*n_video;
  }
  while ((buffer = gst_harness_try_pull (b->text)))
    gst_buffer_unref (buffer);
  while ((event = gst_harness_try_pull_event (b->text)))
    gst_event_unref (event);
  while ((event = gst_harness_try_pull_event (b->video)))
    gst_event_unref (event);
  while ((message = gst_bus_pop (b->bus)))
    gst_message_unref (message);
}

/* As fast as it goes (an hour in the plain build): every frame comes out, every
 * caption is accounted for, memory stays. */
GST_START_TEST (an_hour_of_live_video)
{
  Bench b;
  FakeCounters counters;
  guint64 n_video = 0, settled = 0;

  bench_init (&b, TRUE, TRUE, NULL);
  wait_loaded (&b);
  for (guint second = 0; second < LIVE_SECONDS; second++) {
    change_something (b.element, second);
    push_frames (&b, second * 30, 30);
    drop_all (&b, &n_video);
    if (second == LIVE_SECONDS / 3)
      settled = resident ();
  }
  gst_harness_push_event (b.video, gst_event_new_eos ());
  drop_all (&b, &n_video);
  fail_unless_equals_uint64 (n_video, LIVE_SECONDS * 30);
  fake_engine_counters (&counters);
  fail_unless_equals_uint64 (stat_of (&b, "in"), LIVE_SECONDS * 30);
  fail_unless_equals_uint64 (stat_of (&b, "described"), counters.begun);
  fail_unless_equals_uint64 (stat_of (&b, "described") +
                                 stat_of (&b, "skipped-busy") +
                                 stat_of (&b, "skipped-interval"),
      LIVE_SECONDS * 30);
  g_print ("%d captions, memory %+.2f %%\n", counters.begun,
      100.0 * ((gdouble) resident () - settled) / settled);
#ifndef __SANITIZE_ADDRESS__
  /* The sanitizer keeps what was freed, to see who touches it. */
  fail_unless (resident () <= settled * 1.05);
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

GST_CHECK_MAIN (element_pace);
