/* element-storm.c - states, flushes, seeks and pads that change all the time
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Nothing is compared with a clock: a storm passes if it ends, if nothing is
 * left behind, and if the sanitizers keep quiet.
 */
#include "gst/gsthiredvlm.h"
#include "tests/element-common.h"

/* The thread sanitizer is some twenty times slower. */
#ifdef __SANITIZE_THREAD__
#define STATE_CHANGES 1000
#define STORM 60
#else
#define STATE_CHANGES 10000
#define STORM 300
#endif

#define CAMERA                                                                 \
  "fakesrc is-live=true do-timestamp=true sizetype=fixed sizemax=4608 "        \
  "datarate=4608000 format=time ! "                                            \
  "video/x-raw,format=I420,width=64,height=48,framerate=0/1 ! "

/* Video that waits and video that does not, over one model. */
static const gchar *const storm_lines[] = {
  CAMERA "hiredvlm name=v model-path=m interval=0 ! fakesink name=end "
         "sync=false v.text_src ! fakesink sync=false async=false",
  CAMERA "hiredvlm name=v model-path=m interval=0 mode=sync ! fakesink "
         "name=end sync=false v.text_src ! queue ! fakesink async=false",
  CAMERA "hiredvlm name=a model-path=m interval=0 ! hiredvlm name=b "
         "model-path=m interval=0 mode=sync ! fakesink name=end sync=false "
         "a.text_src ! fakesink sync=false async=false "
         "b.text_src ! fakesink sync=false async=false",
};

static GstPadProbeReturn
count (GstPad *pad, GstPadProbeInfo *info, gpointer n)
{
  g_atomic_int_inc ((gint *) n);
  return GST_PAD_PROBE_OK;
}

static GstElement *
parse (const gchar *line)
{
  GError *error = NULL;
  GstElement *pipeline = gst_parse_launch (line, &error);

  fail_unless (error == NULL, "%s", error ? error->message : "");
  return pipeline;
}

/* Counts the buffers that come to the element of that name. */
static void
count_at (GstElement *pipeline, const gchar *name, gint *n)
{
  GstElement *element = gst_bin_get_by_name (GST_BIN (pipeline), name);
  GstPad *pad = gst_element_get_static_pad (element, "sink");

  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, count, n, NULL);
  gst_object_unref (pad);
  gst_object_unref (element);
}

/* The element's errors since the last call; takes all messages. What stops in
 * the midst of its negotiation may say that this failed (capsfilter, 1.22). */
static guint
count_errors (GstElement *pipeline)
{
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message;
  guint n = 0;

  while ((message = gst_bus_pop (bus))) {
    n += GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR &&
         GST_IS_HIRED_VLM (GST_MESSAGE_SRC (message));
    gst_message_unref (message);
  }
  gst_object_unref (bus);
  return n;
}

static void
stop (GstElement *pipeline)
{
  gst_element_set_state (pipeline, GST_STATE_NULL);
  fail_unless_equals_int (count_errors (pipeline), 0);
  gst_object_unref (pipeline);
}

/* ---- states ---- */

GST_START_TEST (state_storm)
{
  static const GstState states[] = { GST_STATE_PLAYING, GST_STATE_READY,
    GST_STATE_PAUSED, GST_STATE_NULL, GST_STATE_PLAYING, GST_STATE_PAUSED };
  GstElement *pipelines[G_N_ELEMENTS (storm_lines)];
  gint n_frames[G_N_ELEMENTS (storm_lines)] = { 0 };
  GRand *rand = g_rand_new_with_seed (7);

  for (guint i = 0; i < G_N_ELEMENTS (pipelines); i++) {
    pipelines[i] = parse (storm_lines[i]);
    count_at (pipelines[i], "end", &n_frames[i]);
  }
  for (guint i = 0; i < STATE_CHANGES; i++) {
    GstElement *pipeline =
        pipelines[g_rand_int_range (rand, 0, G_N_ELEMENTS (pipelines))];
    GstState state = states[g_rand_int_range (rand, 0, G_N_ELEMENTS (states))];

    fail_unless (
        gst_element_set_state (pipeline, state) != GST_STATE_CHANGE_FAILURE);
    if (i % 16 == 0)
      g_usleep (1000);
    if (i % 256 == 0)
      fail_unless_equals_int (count_errors (pipeline), 0);
  }
  for (guint i = 0; i < G_N_ELEMENTS (pipelines); i++) {
    stop (pipelines[i]);
    fail_unless (n_frames[i] > 0);
  }
  g_rand_free (rand);
}
GST_END_TEST;

/* What a load says when it ends: [GstProgressType] messages. */
static void
count_progress (Bench *b, guint *n)
{
  GstMessage *message;

  while ((message = gst_bus_pop (b->bus))) {
    GstProgressType type;

    if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_PROGRESS) {
      gst_message_parse_progress (message, &type, NULL, NULL);
      n[type]++;
    }
    n[GST_PROGRESS_TYPE_ERROR] +=
        GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR;
    gst_message_unref (message);
  }
}

/* Stopped at each percent; then the same element loads to the end. */
GST_START_TEST (load_is_cancelled_at_any_percent)
{
  for (guint percent = 0; percent < 100; percent++) {
    guint n[GST_PROGRESS_TYPE_ERROR + 1] = { 0 };
    FakeCounters counters;
    Bench b;

    fake_engine_reset ();
    fake_engine_hold (TRUE);
    bench_init (&b, percent % 2, percent % 3 == 0, NULL);
    fail_unless (fake_engine_wait_for (loads, 1));
    for (guint i = 0; i < percent; i++)
      fake_engine_let_one ();
    fail_unless (fake_engine_wait_for (percents, (int) percent));
    gst_element_set_state (b.element, GST_STATE_READY);
    fake_engine_hold (FALSE);
    count_progress (&b, n);
    fail_unless_equals_int (n[GST_PROGRESS_TYPE_START], 1);
    fail_unless_equals_int (n[GST_PROGRESS_TYPE_CANCELED], 1);
    fail_unless_equals_int (n[GST_PROGRESS_TYPE_COMPLETE], 0);
    fail_unless_equals_int (n[GST_PROGRESS_TYPE_ERROR], 0);
    gst_element_set_state (b.element, GST_STATE_PLAYING);
    wait_loaded (&b);
    fake_engine_counters (&counters);
    fail_unless_equals_int (counters.loaded, 1);
    bench_clear (&b);
  }
}
GST_END_TEST;

/* ---- flushes and seeks ---- */

typedef struct {
  Bench *bench;
  GMutex lock; /* one sender at a time, but for flush-starts */
  gboolean stop;
  guint n_pushed;
} Pusher;

static gpointer
push_always (gpointer data)
{
  Pusher *p = data;

  g_mutex_lock (&p->lock);
  while (!p->stop) {
    gst_harness_push (p->bench->video,
        frame_new (
            gst_util_uint64_scale (p->n_pushed++, GST_SECOND, 30), FRAME_NS));
    g_mutex_unlock (&p->lock);
    g_thread_yield ();
    g_mutex_lock (&p->lock);
  }
  g_mutex_unlock (&p->lock);
  return NULL;
}

static void
drop_output (GstHarness *h)
{
  GstBuffer *buffer;
  GstEvent *event;

  while ((buffer = gst_harness_try_pull (h)))
    gst_buffer_unref (buffer);
  while ((event = gst_harness_try_pull_event (h)))
    gst_event_unref (event);
}

static void
flush_once (Pusher *p)
{
  GstHarness *h = p->bench->video;
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push_event (h, gst_event_new_flush_start ());
  g_mutex_lock (&p->lock);
  gst_harness_push_event (h, gst_event_new_flush_stop (TRUE));
  gst_harness_push_event (h, gst_event_new_segment (&segment));
  g_mutex_unlock (&p->lock);
  drop_output (h);
  drop_output (p->bench->text);
}

/* Flushes of another thread than the one that pushes, as a seek's are. */
static void
flush_storm (gboolean live)
{
  Bench b;
  Pusher p = { .bench = &b };
  GThread *thread;

  g_mutex_init (&p.lock);
  bench_init (&b, live, TRUE, "interval", (guint64) 0, NULL);
  wait_loaded (&b);
  thread = g_thread_new ("push", push_always, &p);
  for (guint i = 0; i < STORM; i++) {
    flush_once (&p);
    if (i % 8 == 0)
      g_usleep (1000);
  }
  g_mutex_lock (&p.lock);
  p.stop = TRUE;
  g_mutex_unlock (&p.lock);
  g_thread_join (thread);
  fail_unless (p.n_pushed > 0);
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

/* Seeks by turns of either sink, while captions are drawn. */
GST_START_TEST (seek_storm)
{
  GstElement *pipeline = parse (
      "videotestsrc ! video/x-raw,format=I420,width=64,height=48,framerate=30/1"
      " ! hiredvlm name=v model-path=m interval=100000000 ! tee name=t ! queue "
      "! fakesink name=end v.text_src ! tee name=u ! queue ! fakesink "
      "name=text async=false");
  GstElement *text = gst_bin_get_by_name (GST_BIN (pipeline), "text");
  gint n_frames = 0;

  count_at (pipeline, "end", &n_frames);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  fail_unless_equals_int (
      gst_element_get_state (pipeline, NULL, NULL, 60 * GST_SECOND),
      GST_STATE_CHANGE_SUCCESS);
  for (guint i = 0; i < STORM; i++) {
    GstElement *target = i % 3 == 1 ? text : pipeline;
    GstSeekFlags flags = i % 5 ? GST_SEEK_FLAG_FLUSH : GST_SEEK_FLAG_NONE;

    /* Without a flush it waits for the source, which waits for sinks that the
     * last flush left on their way to PLAYING, and they for the seek. */
    if (flags == GST_SEEK_FLAG_NONE)
      gst_element_get_state (pipeline, NULL, NULL, 60 * GST_SECOND);
    fail_unless (gst_element_seek (target, i % 7 == 6 ? 2 : 1, GST_FORMAT_TIME,
        flags | (i % 4 ? 0 : GST_SEEK_FLAG_ACCURATE), GST_SEEK_TYPE_SET,
        i % 11 * GST_SECOND, GST_SEEK_TYPE_NONE, 0));
    if (i % 10 == 0)
      g_usleep (2000);
  }
  gst_object_unref (text);
  stop (pipeline);
  fail_unless (n_frames > 0);
}
GST_END_TEST;

/* ---- the text pad ---- */

/* Asked for, linked to a sink that waits for the clock, and given back. */
GST_START_TEST (pad_storm)
{
  GstElement *pipeline = parse (
      CAMERA "hiredvlm name=v model-path=m interval=0 ! fakesink name=end");
  GstElement *vlm = gst_bin_get_by_name (GST_BIN (pipeline), "v");
  gint n_frames = 0, n_text = 0;

  count_at (pipeline, "end", &n_frames);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  for (guint i = 0; i < STORM; i++) {
    GstElement *sink = gst_element_factory_make ("fakesink", NULL);
    GstPad *pad = gst_element_request_pad_simple (vlm, "text_src");
    GstPad *peer = gst_element_get_static_pad (sink, "sink");

    fail_unless (pad != NULL);
    g_object_set (sink, "async", FALSE, "sync", i % 2, NULL);
    gst_pad_add_probe (
        peer, GST_PAD_PROBE_TYPE_DATA_DOWNSTREAM, count, &n_text, NULL);
    gst_bin_add (GST_BIN (pipeline), sink);
    fail_unless_equals_int (gst_pad_link (pad, peer), GST_PAD_LINK_OK);
    gst_element_sync_state_with_parent (sink);
    g_usleep (i % 7 * 1000);
    gst_element_release_request_pad (vlm, pad);
    /* The pipeline, on its own way to PLAYING, shall not take it along. */
    gst_element_set_locked_state (sink, TRUE);
    gst_element_set_state (sink, GST_STATE_NULL);
    gst_bin_remove (GST_BIN (pipeline), sink);
    gst_object_unref (peer);
    gst_object_unref (pad);
  }
  gst_object_unref (vlm);
  stop (pipeline);
  fail_unless (n_frames > 0);
  fail_unless (n_text > 0);
}
GST_END_TEST;

static Suite *
element_storm_suite (void)
{
  Suite *s = suite_create ("element-storm");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_set_timeout (tc, 900);
  tcase_add_checked_fixture (tc, element_setup, element_teardown);
  tcase_add_test (tc, state_storm);
  tcase_add_test (tc, load_is_cancelled_at_any_percent);
  tcase_add_test (tc, flush_storm_sync);
  tcase_add_test (tc, flush_storm_async);
  tcase_add_test (tc, seek_storm);
  tcase_add_test (tc, pad_storm);
  return s;
}

GST_CHECK_MAIN (element_storm);
