/* gsthiredvlm-analytics.c - captions among a buffer's analytics
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Not GstAnalyticsClsMtd for the text: its label is a quark, and a quark per
 * sentence would never be freed. A fixed list of labels is another matter.
 */
#include "gst/gsthiredvlm-analytics.h"

#include <string.h>

#include "gst/gstvlmanalytics.h"

static const GstAnalyticsMtdImpl caption_impl = { .name = GST_VLM_ANALYTICS };

static void
add_text (
    GstAnalyticsRelationMeta *meta, const gchar *text, GstAnalyticsMtd *caption)
{
  gsize length = strlen (text);
  GstVlmAnalytics *data = gst_analytics_relation_meta_add_mtd (
      meta, &caption_impl, sizeof *data + length + 1, caption);

  data->length = length;
  memcpy (data->text, text, length + 1);
}

static void
relate_objects (GstAnalyticsRelationMeta *meta, guint id)
{
  GstAnalyticsMtd object;
  gpointer state = NULL;

  while (gst_analytics_relation_meta_iterate (
      meta, &state, gst_analytics_od_mtd_get_mtd_type (), &object))
    gst_analytics_relation_meta_set_relation (
        meta, GST_ANALYTICS_REL_TYPE_RELATE_TO, id, object.id);
}

static gboolean
ends_word (const gchar *rest)
{
  return *rest == '\0' || !g_unichar_isalnum (g_utf8_get_char (rest));
}

const gchar *
gst_hired_vlm_analytics_label (const gchar *text, gchar *const *labels)
{
  g_autofree gchar *folded = g_utf8_casefold (text, -1);

  for (; labels && *labels; labels++) {
    g_autofree gchar *label = g_utf8_casefold (*labels, -1);

    if (*label != '\0' && g_str_has_prefix (folded, label) &&
        ends_word (folded + strlen (label)))
      return *labels;
  }
  return NULL;
}

void
gst_hired_vlm_analytics_attach (
    GstBuffer *buffer, const gchar *text, gchar *const *labels)
{
  GstAnalyticsRelationMeta *meta =
      gst_buffer_get_analytics_relation_meta (buffer);
  const gchar *label = gst_hired_vlm_analytics_label (text, labels);
  GstAnalyticsMtd caption;
  GstAnalyticsClsMtd class;

  if (meta == NULL)
    meta = gst_buffer_add_analytics_relation_meta (buffer);
  add_text (meta, text, &caption);
  relate_objects (meta, caption.id);
  if (label == NULL)
    return;
  gst_analytics_relation_meta_add_one_cls_mtd (
      meta, 1, g_quark_from_string (label), &class);
  gst_analytics_relation_meta_set_relation (
      meta, GST_ANALYTICS_REL_TYPE_RELATE_TO, caption.id, class.id);
}
