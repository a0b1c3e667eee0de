/* gsthiredvlm-analytics.h - captions among a buffer's analytics
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

/* Adds a caption's text to the analytics of a writable buffer, related to the
 * objects detected there; and, if the text begins with one of `labels` (or
 * NULL), whatever the case, that label as a classification. */
void gst_hired_vlm_analytics_attach (
    GstBuffer *buffer, const gchar *text, gchar *const *labels);

/* The label that a text begins with as a word of its own, or NULL. */
const gchar *gst_hired_vlm_analytics_label (
    const gchar *text, gchar *const *labels);

G_END_DECLS
