/* element-common.c - what the tests of the element share
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/element-common.h"

#include <string.h>
#include "gst/gsthiredvlm.h"

void
element_setup (void)
{
  GstElementFactory *factory;

  GST_ELEMENT_REGISTER (hiredvlm, NULL);
  /* A factory without a plugin stays until the end. */
  factory = gst_element_factory_find ("hiredvlm");
  GST_OBJECT_FLAG_SET (factory, GST_OBJECT_FLAG_MAY_BE_LEAKED);
  gst_object_unref (factory);
  fake_engine_reset ();
}

/* What the leaks tracer saw made and not freed. */
static void
expect_nothing_alive (GstTracer *tracer)
{
  g_autoptr (GstStructure) info = NULL;
  const GValue *objects;

  g_signal_emit_by_name (tracer, "get-live-objects", &info);
  objects = gst_structure_get_value (info, "live-objects-list");
  for (guint i = 0; i < gst_value_list_get_size (objects); i++) {
    const GstStructure *s =
        gst_value_get_structure (gst_value_list_get_value (objects, i));
    g_autofree gchar *text = gst_structure_to_string (s);

    g_printerr ("alive: %s\n", text);
  }
  fail_unless_equals_int (gst_value_list_get_size (objects), 0);
}

void
element_teardown (void)
{
  GList *tracers = gst_tracing_get_active_tracers ();
  FakeCounters counters;

  fake_engine_counters (&counters);
  fail_unless_equals_int (counters.alive, 0);
  gst_task_cleanup_all ();
  for (GList *l = tracers; l; l = l->next)
    if (g_str_equal (G_OBJECT_TYPE_NAME (l->data), "GstLeaksTracer"))
      expect_nothing_alive (l->data);
  g_list_free_full (tracers, gst_object_unref);
}

void
bench_init (
    Bench *bench, gboolean live, gboolean text, const gchar *property, ...)
{
  va_list args;

  memset (bench, 0, sizeof *bench);
  bench->element = gst_element_factory_make ("hiredvlm", NULL);
  fail_unless (bench->element != NULL);
  gst_object_ref_sink (bench->element);
  bench->bus = gst_bus_new ();
  gst_element_set_bus (bench->element, bench->bus);
  g_object_set (bench->element, "model-path", "fake-model", NULL);
  va_start (args, property);
  if (property)
    g_object_set_valist (G_OBJECT (bench->element), property, args);
  va_end (args);
  bench->video = gst_harness_new_with_element (bench->element, "sink", "src");
  gst_harness_set_live (bench->video, live);
  if (text)
    bench->text =
        gst_harness_new_with_element (bench->element, NULL, "text_src");
  gst_harness_set_src_caps_str (bench->video, VIDEO_CAPS);
}

void
bench_clear (Bench *bench)
{
  gst_element_set_state (bench->element, GST_STATE_NULL);
  if (bench->text)
    gst_harness_teardown (bench->text);
  gst_harness_teardown (bench->video);
  gst_element_set_bus (bench->element, NULL);
  gst_bus_set_flushing (bench->bus, TRUE);
  gst_object_unref (bench->bus);
  gst_object_unref (bench->element);
}

GstBuffer *
grey_frame_new (GstClockTime pts, GstClockTime duration, guint8 y)
{
  gsize size = 64 * 48 * 3 / 2;
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, size, NULL);

  gst_buffer_memset (buffer, 0, 128, size);
  gst_buffer_memset (buffer, 0, y, 64 * 48);
  GST_BUFFER_PTS (buffer) = pts;
  GST_BUFFER_DURATION (buffer) = duration;
  return buffer;
}

GstBuffer *
frame_new (GstClockTime pts, GstClockTime duration)
{
  return grey_frame_new (pts, duration, 90);
}

void
push_frames (Bench *bench, guint begin, guint n)
{
  for (guint i = begin; i < begin + n; i++) {
    GstClockTime pts = gst_util_uint64_scale (i, GST_SECOND, 30);

    fail_unless_equals_int (
        gst_harness_push (bench->video, frame_new (pts, FRAME_NS)),
        GST_FLOW_OK);
  }
}

GstMessage *
pop_message (Bench *bench, GstMessageType type)
{
  GstMessage *message =
      gst_bus_timed_pop_filtered (bench->bus, 10 * GST_SECOND, type);

  fail_unless (message != NULL, "no message of type %s",
      gst_message_type_get_name (type));
  return message;
}

void
count_faults (Bench *bench, guint *warnings, guint *errors)
{
  GstMessage *message;

  *warnings = *errors = 0;
  while ((message = gst_bus_pop (bench->bus))) {
    *warnings += GST_MESSAGE_TYPE (message) == GST_MESSAGE_WARNING;
    *errors += GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR;
    gst_message_unref (message);
  }
}

GstStructure *
pop_structure (Bench *bench, const gchar *name)
{
  for (;;) {
    GstMessage *message = pop_message (bench, GST_MESSAGE_ELEMENT);
    GstStructure *s = gst_structure_copy (gst_message_get_structure (message));

    gst_message_unref (message);
    if (gst_structure_has_name (s, name))
      return s;
    gst_structure_free (s);
  }
}

void
expect_text (Bench *bench, const gchar *expected)
{
  GstStructure *s = pop_structure (bench, GST_VLM_CAPTION);

  fail_unless_equals_string (gst_vlm_caption_get_text (s), expected);
  gst_structure_free (s);
}

void
wait_for_gaps (Bench *bench, GstClockTime end)
{
  for (GstClockTime reached = 0; reached < end;) {
    GstEvent *event = gst_harness_pull_event (bench->text);
    GstClockTime start, duration;

    fail_unless (event != NULL);
    if (GST_EVENT_TYPE (event) == GST_EVENT_GAP) {
      gst_event_parse_gap (event, &start, &duration);
      reached = start + duration;
    }
    gst_event_unref (event);
  }
}

void
wait_loaded (Bench *bench)
{
  for (;;) {
    GstMessage *message = pop_message (bench, GST_MESSAGE_PROGRESS);
    GstProgressType type;

    gst_message_parse_progress (message, &type, NULL, NULL);
    gst_message_unref (message);
    if (type == GST_PROGRESS_TYPE_COMPLETE)
      return;
  }
}

guint64
stat_of (Bench *bench, const gchar *field)
{
  GstStructure *stats;
  guint64 value = 0;

  g_object_get (bench->element, "stats", &stats, NULL);
  fail_unless (gst_structure_get_uint64 (stats, field, &value), "%s", field);
  gst_structure_free (stats);
  return value;
}

gchar *
text_of (GstBuffer *buffer)
{
  GstMapInfo map;
  gchar *text;

  fail_unless (gst_buffer_map (buffer, &map, GST_MAP_READ));
  text = g_strndup ((const gchar *) map.data, map.size);
  gst_buffer_unmap (buffer, &map);
  gst_buffer_unref (buffer);
  return text;
}
