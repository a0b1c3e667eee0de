/* gstvlmanalytics.h - the caption of hiredvlm among a buffer's analytics
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * With the property `analytics-meta` (GStreamer 1.24 and newer) a described
 * buffer's GstAnalyticsRelationMeta holds the caption beside what detectors
 * put there, related to each of them by RELATE_TO. Inline, as gstvlmmeta.h;
 * needs GStreamer's core and gstreamer-analytics-1.0.
 */
#pragma once

#include <gst/analytics/analytics.h>

G_BEGIN_DECLS

/* Name of the kind: gst_analytics_mtd_type_get_name (). */
#define GST_VLM_ANALYTICS "hiredvlm-caption"

/* What it holds: plain bytes, copied with the buffer. */
typedef struct {
  gsize length; /* bytes of text */
  gchar text[]; /* UTF-8, and a closing 0 */
} GstVlmAnalytics;

/* The caption, borrowed from the meta, or NULL; `caption`, if not NULL, gets
 * its place there, to ask for relations. */
static inline const gchar *
gst_vlm_analytics_get_caption (
    GstAnalyticsRelationMeta *meta, GstAnalyticsMtd *caption)
{
  GstAnalyticsMtd mtd;
  gpointer state = NULL;

  while (gst_analytics_relation_meta_iterate (
      meta, &state, GST_ANALYTICS_MTD_TYPE_ANY, &mtd)) {
    if (g_strcmp0 (gst_analytics_mtd_type_get_name (
                       gst_analytics_mtd_get_mtd_type (&mtd)),
            GST_VLM_ANALYTICS) != 0)
      continue;
    if (caption != NULL)
      *caption = mtd;
    return ((const GstVlmAnalytics *) gst_analytics_relation_meta_get_mtd_data (
                meta, mtd.id))
        ->text;
  }
  return NULL;
}

G_END_DECLS
