/* element-seek.c - seeks and rates through real pipelines
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/element-common.h"

#define LINE                                                                   \
  "videotestsrc name=src num-buffers=-1 ! "                                    \
  "video/x-raw,format=I420,width=64,height=48,framerate=30/1 ! "               \
  "hiredvlm name=v model-path=m interval=100000000 ! "                         \
  "fakesink name=video sync=false "                                            \
  "v.text_src ! fakesink name=text sync=false signal-handoffs=true"

typedef struct {
  GstElement *pipeline;
  GMutex lock;
  guint64 n_cues, last_start, last_end;
  gboolean overlap;
} Film;

static void
on_cue (GstElement *sink, GstBuffer *buffer, GstPad *pad, gpointer data)
{
  Film *film = data;

  g_mutex_lock (&film->lock);
  if (film->n_cues > 0 && GST_BUFFER_PTS (buffer) < film->last_end)
    film->overlap = TRUE;
  film->last_start = GST_BUFFER_PTS (buffer);
  film->last_end = film->last_start + GST_BUFFER_DURATION (buffer);
  film->n_cues++;
  g_mutex_unlock (&film->lock);
}

static void
film_init (Film *film)
{
  GstElement *text;

  memset (film, 0, sizeof *film);
  g_mutex_init (&film->lock);
  film->pipeline = gst_parse_launch (LINE, NULL);
  text = gst_bin_get_by_name (GST_BIN (film->pipeline), "text");
  g_signal_connect (text, "handoff", G_CALLBACK (on_cue), film);
  gst_object_unref (text);
  gst_element_set_state (film->pipeline, GST_STATE_PAUSED);
  fail_unless_equals_int (
      gst_element_get_state (film->pipeline, NULL, NULL, 10 * GST_SECOND),
      GST_STATE_CHANGE_SUCCESS);
}

static void
film_clear (Film *film)
{
  gst_element_set_state (film->pipeline, GST_STATE_NULL);
  gst_object_unref (film->pipeline);
  g_mutex_clear (&film->lock);
}

static void
film_seek (Film *film, gdouble rate, GstSeekFlags flags, GstClockTime start,
    GstClockTime stop)
{
  g_mutex_lock (&film->lock);
  film->n_cues = 0;
  film->overlap = FALSE;
  g_mutex_unlock (&film->lock);
  fail_unless (gst_element_seek (film->pipeline, rate, GST_FORMAT_TIME,
      flags | GST_SEEK_FLAG_ACCURATE, GST_SEEK_TYPE_SET, start,
      GST_SEEK_TYPE_SET, stop));
}

static void
film_wait (Film *film, GstMessageType type)
{
  GstBus *bus = gst_element_get_bus (film->pipeline);
  GstMessage *message = gst_bus_timed_pop_filtered (
      bus, 30 * GST_SECOND, type | GST_MESSAGE_ERROR);

  fail_unless (message != NULL);
  fail_unless_equals_int (GST_MESSAGE_TYPE (message), type);
  gst_message_unref (message);
  gst_object_unref (bus);
}

/* Until nothing of before comes any more: no cue, no end. */
static void
film_pause (Film *film)
{
  GstBus *bus = gst_element_get_bus (film->pipeline);
  GstMessage *message;

  gst_element_set_state (film->pipeline, GST_STATE_PAUSED);
  gst_element_get_state (film->pipeline, NULL, NULL, 10 * GST_SECOND);
  while ((message = gst_bus_pop_filtered (bus, GST_MESSAGE_EOS)))
    gst_message_unref (message);
  gst_object_unref (bus);
}

/* The part asked for is described from its first frame, every 100 ms of
 * running time. */
static void
play_part (Film *film, gdouble rate, guint n_cues)
{
  film_pause (film);
  film_seek (film, rate, GST_SEEK_FLAG_FLUSH, 2 * GST_SECOND, 3 * GST_SECOND);
  gst_element_set_state (film->pipeline, GST_STATE_PLAYING);
  film_wait (film, GST_MESSAGE_EOS);
  fail_unless_equals_uint64 (film->n_cues, n_cues);
  fail_if (film->overlap);
}

GST_START_TEST (flushing_seeks)
{
  Film film;

  film_init (&film);
  play_part (&film, 1, 10);
  play_part (&film, 2, 5);
  play_part (&film, 1, 10);
  film_clear (&film);
}
GST_END_TEST;

/* The source tells the end of a segment; the last cue is on its way. */
static void
wait_for_cue (Film *film, GstClockTime start)
{
  gboolean came = FALSE;

  for (guint i = 0; i < 10000 && !came; i++) {
    g_mutex_lock (&film->lock);
    came = film->last_start >= start;
    g_mutex_unlock (&film->lock);
    g_usleep (1000);
  }
  fail_unless (came);
}

GST_START_TEST (segment_seeks)
{
  Film film;

  film_init (&film);
  film_seek (&film, 1, GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_SEGMENT, GST_SECOND,
      2 * GST_SECOND);
  gst_element_set_state (film.pipeline, GST_STATE_PLAYING);
  film_wait (&film, GST_MESSAGE_SEGMENT_DONE);
  film_seek (&film, 1, GST_SEEK_FLAG_SEGMENT, 5 * GST_SECOND, 6 * GST_SECOND);
  film_wait (&film, GST_MESSAGE_SEGMENT_DONE);
  wait_for_cue (&film, 5 * GST_SECOND);
  film_clear (&film);
}
GST_END_TEST;

/* Backwards nothing is described, and the end is reached. */
GST_START_TEST (reverse)
{
  Film film;

  film_init (&film);
  film_seek (&film, -1, GST_SEEK_FLAG_FLUSH, 0, GST_SECOND);
  gst_element_set_state (film.pipeline, GST_STATE_PLAYING);
  film_wait (&film, GST_MESSAGE_EOS);
  fail_unless_equals_uint64 (film.n_cues, 0);
  play_part (&film, 1, 10);
  film_clear (&film);
}
GST_END_TEST;

/* Without a flush what is under way is played to the end of the segment. */
GST_START_TEST (seek_without_flush)
{
  Film film;

  film_init (&film);
  film_seek (&film, 1, GST_SEEK_FLAG_FLUSH, 0, 100 * GST_SECOND);
  gst_element_set_state (film.pipeline, GST_STATE_PLAYING);
  wait_for_cue (&film, GST_SECOND);
  film_seek (&film, 1, GST_SEEK_FLAG_NONE, 200 * GST_SECOND, 201 * GST_SECOND);
  film_wait (&film, GST_MESSAGE_EOS);
  fail_unless (film.last_start >= 200 * GST_SECOND);
  fail_if (film.overlap);
  film_clear (&film);
}
GST_END_TEST;

/* Sped up for the eye, nothing is described. */
GST_START_TEST (trick_mode)
{
  Film film;

  film_init (&film);
  film_seek (&film, 8, GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_TRICKMODE, 0,
      8 * GST_SECOND);
  gst_element_set_state (film.pipeline, GST_STATE_PLAYING);
  film_wait (&film, GST_MESSAGE_EOS);
  fail_unless_equals_uint64 (film.n_cues, 0);
  film_clear (&film);
}
GST_END_TEST;

GST_START_TEST (seek_storm)
{
  Film film;

  film_init (&film);
  gst_element_set_state (film.pipeline, GST_STATE_PLAYING);
  for (guint i = 0; i < 100; i++) {
    film_seek (&film, 1, GST_SEEK_FLAG_FLUSH, i % 7 * GST_SECOND,
        (i % 7 + 10) * GST_SECOND);
    if (i % 10 == 0)
      g_usleep (5000);
  }
  play_part (&film, 1, 10);
  film_clear (&film);
}
GST_END_TEST;

static Suite *
element_seek_suite (void)
{
  Suite *s = suite_create ("element-seek");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_set_timeout (tc, 120);
  tcase_add_checked_fixture (tc, element_setup, element_teardown);
  tcase_add_test (tc, flushing_seeks);
  tcase_add_test (tc, segment_seeks);
  tcase_add_test (tc, reverse);
  tcase_add_test (tc, seek_without_flush);
  tcase_add_test (tc, trick_mode);
  tcase_add_test (tc, seek_storm);
  return s;
}

GST_CHECK_MAIN (element_seek);
