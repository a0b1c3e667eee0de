/* gsthiredvlm-attach.c - captions and overlays on video buffers
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gst/gsthiredvlm-analytics.h"
#include "gst/gsthiredvlm-private.h"

void
gst_hired_vlm_attach_reset (GstHiredVlm *self)
{
  gst_clear_structure (&self->fresh);
  gst_clear_structure (&self->newest);
  g_clear_pointer (&self->overlay, gst_video_overlay_composition_unref);
}

static void
push_tags (GstHiredVlm *self, const GstStructure *caption)
{
  gst_pad_push_event (
      self->srcpad, gst_event_new_tag (gst_tag_list_new (GST_TAG_DESCRIPTION,
                        gst_vlm_caption_get_text (caption), NULL)));
}

/* The caption this buffer is due, or NULL; `is_new` if none had it before. */
static GstStructure *
take_caption (GstHiredVlm *self, gint mode, gboolean *is_new)
{
  GstStructure *caption = NULL;

  g_mutex_lock (&self->lock);
  *is_new = self->fresh != NULL;
  if (*is_new)
    caption = g_steal_pointer (&self->fresh);
  else if (mode == GST_HIRED_VLM_ATTACH_ALWAYS && self->newest)
    caption = gst_structure_copy (self->newest);
  g_mutex_unlock (&self->lock);
  return caption;
}

static GstVideoOverlayComposition *
take_overlay (GstHiredVlm *self)
{
  GstVideoOverlayComposition *overlay = NULL;

  g_mutex_lock (&self->lock);
  if (self->overlay)
    overlay = gst_video_overlay_composition_ref (self->overlay);
  g_mutex_unlock (&self->lock);
  return overlay;
}

#if HAVE_ANALYTICS
static void
attach_analytics (
    GstHiredVlm *self, GstBuffer *buffer, const GstStructure *caption)
{
  g_auto (GStrv) labels = NULL;
  gboolean wanted;

  GST_OBJECT_LOCK (self);
  wanted = self->settings.analytics_meta;
  labels = g_strdupv (self->settings.labels);
  GST_OBJECT_UNLOCK (self);
  if (wanted)
    gst_hired_vlm_analytics_attach (
        buffer, gst_vlm_caption_get_text (caption), labels);
}
#endif

GstBuffer *
gst_hired_vlm_attach (GstHiredVlm *self, GstBuffer *buffer)
{
  g_autoptr (GstStructure) caption = NULL;
  GstVideoOverlayComposition *overlay = take_overlay (self);
  gboolean tags, is_new;
  gint mode;

  GST_OBJECT_LOCK (self);
  mode = self->settings.attach_meta;
  tags = self->settings.tags;
  GST_OBJECT_UNLOCK (self);
  caption = take_caption (self, mode, &is_new);
  if (caption && is_new && tags && self->sync)
    push_tags (self, caption);
  if (caption && mode != GST_HIRED_VLM_ATTACH_NONE) {
    buffer = gst_buffer_make_writable (buffer);
    gst_hired_vlm_caption_attach (buffer, caption);
#if HAVE_ANALYTICS
    attach_analytics (self, buffer, caption);
#endif
  }
  if (overlay) {
    buffer = gst_buffer_make_writable (buffer);
    gst_hired_vlm_overlay_attach (buffer, overlay);
    gst_video_overlay_composition_unref (overlay);
  }
  return buffer;
}
