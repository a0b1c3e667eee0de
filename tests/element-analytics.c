/* element-analytics.c - captions among a buffer's analytics
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Built where gstreamer-analytics-1.0 is (1.24 and newer).
 */
#include "gst/gsthiredvlm-analytics.h"
#include "gst/gstvlmanalytics.h"
#include "tests/element-common.h"

/* One frame with `n` detected objects through the element. */
static GstBuffer *
described (Bench *b, guint n)
{
  GstBuffer *buffer = frame_new (0, FRAME_NS);
  GstAnalyticsRelationMeta *meta =
      n ? gst_buffer_add_analytics_relation_meta (buffer) : NULL;

  for (guint i = 0; i < n; i++) {
    GstAnalyticsODMtd object;

    gst_analytics_relation_meta_add_od_mtd (
        meta, g_quark_from_string ("cat"), i, 0, 8, 8, 0.5, &object);
  }
  gst_harness_push (b->video, buffer);
  return gst_harness_pull (b->video);
}

GST_START_TEST (caption_is_related_to_objects)
{
  Bench b;
  GstBuffer *buffer;
  GstAnalyticsRelationMeta *meta;
  GstAnalyticsMtd caption = { 0 }, object;
  gpointer state = NULL;
  guint related = 0;

  bench_init (&b, FALSE, FALSE, "analytics-meta", TRUE, NULL);
  buffer = described (&b, 2);
  meta = gst_buffer_get_analytics_relation_meta (buffer);
  fail_unless_equals_string (gst_vlm_analytics_get_caption (meta, &caption),
      gst_vlm_caption_get_text (gst_vlm_buffer_get_caption (buffer)));
  while (gst_analytics_relation_meta_get_direct_related (meta, caption.id,
      GST_ANALYTICS_REL_TYPE_RELATE_TO, gst_analytics_od_mtd_get_mtd_type (),
      &state, &object))
    related++;
  fail_unless_equals_int (related, 2);
  gst_buffer_unref (buffer);
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (caption_goes_with_copies)
{
  Bench b;
  GstBuffer *buffer, *copy;
  g_autofree gchar *text = NULL;

  bench_init (&b, FALSE, FALSE, "analytics-meta", TRUE, NULL);
  buffer = described (&b, 0);
  text =
      g_strdup (gst_vlm_caption_get_text (gst_vlm_buffer_get_caption (buffer)));
  copy = gst_buffer_copy_deep (buffer);
  gst_buffer_unref (buffer);
  fail_unless_equals_string (
      gst_vlm_analytics_get_caption (
          gst_buffer_get_analytics_relation_meta (copy), NULL),
      text);
  gst_buffer_unref (copy);
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (off_unless_asked_for)
{
  Bench b;
  GstBuffer *buffer;

  bench_init (&b, FALSE, FALSE, NULL);
  buffer = described (&b, 0);
  fail_unless (gst_buffer_get_analytics_relation_meta (buffer) == NULL);
  gst_buffer_unref (buffer);
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (labels_are_classes)
{
  Bench b;
  FakeConfig config;
  GstBuffer *buffer;
  GstAnalyticsMtd caption = { 0 };
  GstAnalyticsClsMtd class;
  gpointer state = NULL;

  fake_engine_config_init (&config);
  config.text = "Yes, at the top.";
  fake_engine_configure (&config);
  bench_init (&b, FALSE, FALSE, "analytics-meta", TRUE, NULL);
  gst_util_set_object_arg (G_OBJECT (b.element), "labels", "<yes, no>");
  buffer = described (&b, 0);
  GstAnalyticsRelationMeta *meta =
      gst_buffer_get_analytics_relation_meta (buffer);
  gst_vlm_analytics_get_caption (meta, &caption);
  fail_unless (gst_analytics_relation_meta_get_direct_related (meta, caption.id,
      GST_ANALYTICS_REL_TYPE_RELATE_TO, gst_analytics_cls_mtd_get_mtd_type (),
      &state, &class));
  fail_unless (gst_analytics_cls_mtd_get_quark (&class, 0) ==
               g_quark_from_string ("yes"));
  gst_buffer_unref (buffer);
  bench_clear (&b);
}
GST_END_TEST;

GST_START_TEST (labels_are_words)
{
  gchar *labels[] = { "", "no", "yes", NULL };

  fail_unless_equals_string (
      gst_hired_vlm_analytics_label ("YES.", labels), "yes");
  fail_unless_equals_string (
      gst_hired_vlm_analytics_label ("no", labels), "no");
  fail_unless (gst_hired_vlm_analytics_label ("None.", labels) == NULL);
  fail_unless (gst_hired_vlm_analytics_label ("", labels) == NULL);
  fail_unless (gst_hired_vlm_analytics_label ("Yes", NULL) == NULL);
}
GST_END_TEST;

static Suite *
element_analytics_suite (void)
{
  Suite *s = suite_create ("element-analytics");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_set_timeout (tc, 120);
  tcase_add_checked_fixture (tc, element_setup, element_teardown);
  tcase_add_test (tc, caption_is_related_to_objects);
  tcase_add_test (tc, caption_goes_with_copies);
  tcase_add_test (tc, off_unless_asked_for);
  tcase_add_test (tc, labels_are_classes);
  tcase_add_test (tc, labels_are_words);
  return s;
}

GST_CHECK_MAIN (element_analytics);
