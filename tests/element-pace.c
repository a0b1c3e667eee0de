/* element-pace.c - what live video pays for its captions
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Live pipelines of 30 frames a second over models that take 0.05 to 30
 * seconds, with and without textoverlay and queues: the longest time a frame
 * spends between the element's sink pad and the video sink. Prints a table.
 */
#include "tests/element-common.h"

#define SECONDS 4
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

static Suite *
element_pace_suite (void)
{
  Suite *s = suite_create ("element-pace");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_set_timeout (tc, 120);
  tcase_add_checked_fixture (tc, element_setup, element_teardown);
  tcase_add_test (tc, live_video_does_not_wait);
  return s;
}

GST_CHECK_MAIN (element_pace);
