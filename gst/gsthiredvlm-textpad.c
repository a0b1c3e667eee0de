/* gsthiredvlm-textpad.c - the request pad: asked for, activated, given back
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gst/gsthiredvlm-private.h"

static gboolean
activate_mode (GstPad *pad, GstObject *parent, GstPadMode mode, gboolean active)
{
  /* Activated before it is added, the pad has no parent yet. */
  GstHiredVlm *self = gst_pad_get_element_private (pad);

  if (mode != GST_PAD_MODE_PUSH)
    return FALSE;
  return gst_hired_vlm_text_activate (&self->text, active);
}

GstIterator *
gst_hired_vlm_internal_links (GstPad *pad, GstObject *parent)
{
  GstHiredVlm *self = GST_HIRED_VLM (parent);
  GValue value = G_VALUE_INIT;
  GstIterator *iterator;
  GstPad *other = NULL;

  if (pad == self->sinkpad)
    other = self->srcpad;
  else if (pad == self->srcpad)
    other = self->sinkpad;
  if (other == NULL)
    return NULL;
  g_value_init (&value, GST_TYPE_PAD);
  g_value_set_object (&value, other);
  iterator = gst_iterator_new_single (GST_TYPE_PAD, &value);
  g_value_unset (&value);
  return iterator;
}

void
gst_hired_vlm_configure_text (GstHiredVlm *self)
{
  g_autofree gchar *language = NULL;
  guint64 refresh, lateness;

  /* In one go: the streaming thread and who sets properties may both be here.
   */
  g_mutex_lock (&self->lock);
  GST_OBJECT_LOCK (self);
  language = g_strdup (self->settings.language);
  refresh = self->settings.text_refresh;
  lateness = self->settings.lateness;
  GST_OBJECT_UNLOCK (self);
  gst_hired_vlm_text_configure (
      &self->text, self->arrival, refresh, lateness, language);
  g_mutex_unlock (&self->lock);
}

void
gst_hired_vlm_restart_text (GstHiredVlm *self)
{
  GstEvent *event =
      gst_pad_get_sticky_event (self->sinkpad, GST_EVENT_SEGMENT, 0);

  if (event)
    gst_hired_vlm_text_event (&self->text, event);
}

/* The pad of this element, or NULL if there is one already. */
static GstPad *
new_pad (GstHiredVlm *self, GstPadTemplate *template)
{
  GstPad *pad = gst_pad_new_from_template (template, "text_src");
  gboolean taken;

  gst_pad_set_element_private (pad, self);
  gst_pad_set_activatemode_function (pad, activate_mode);
  gst_pad_set_event_function (pad, gst_hired_vlm_src_event);
  gst_pad_set_query_function (pad, gst_hired_vlm_text_query);
  gst_pad_set_iterate_internal_links_function (
      pad, gst_hired_vlm_internal_links);
  GST_OBJECT_LOCK (self);
  taken = self->textpad != NULL;
  if (!taken)
    self->textpad = pad;
  GST_OBJECT_UNLOCK (self);
  if (!taken)
    return pad;
  GST_WARNING_OBJECT (self, "there is one text_src pad, and it is in use");
  gst_object_unref (gst_object_ref_sink (pad));
  return NULL;
}

/* A segment that came since `known` was looked up and before the pad was
 * active. The events are compared, not read. */
static void
catch_up (GstHiredVlm *self, const GstEvent *known)
{
  GstEvent *event =
      gst_pad_get_sticky_event (self->sinkpad, GST_EVENT_SEGMENT, 0);

  if (event && event != known)
    gst_hired_vlm_text_event (&self->text, event);
  else if (event)
    gst_event_unref (event);
}

GstPad *
gst_hired_vlm_request_pad (GstElement *element, GstPadTemplate *template,
    const gchar *name, const GstCaps *caps)
{
  GstHiredVlm *self = GST_HIRED_VLM (element);
  GstPad *pad = new_pad (self, template);
  g_autoptr (GstEvent) segment = NULL;
  GstEvent *start;

  if (pad == NULL)
    return NULL;
  gst_hired_vlm_configure_text (self);
  /* Asked for while video flows, it begins with what it missed. */
  start = gst_pad_get_sticky_event (self->sinkpad, GST_EVENT_STREAM_START, 0);
  segment = gst_pad_get_sticky_event (self->sinkpad, GST_EVENT_SEGMENT, 0);
  gst_hired_vlm_text_attach (
      &self->text, pad, start, segment ? gst_event_ref (segment) : NULL);
  g_mutex_lock (&self->lock);
  gst_flow_combiner_add_pad (self->combiner, pad);
  g_mutex_unlock (&self->lock);
  if (GST_PAD_IS_ACTIVE (self->srcpad)) {
    gst_pad_set_active (pad, TRUE);
    catch_up (self, segment);
  }
  gst_element_add_pad (element, pad);
  return pad;
}

void
gst_hired_vlm_release_pad (GstElement *element, GstPad *pad)
{
  GstHiredVlm *self = GST_HIRED_VLM (element);

  /* Its consumer may hold the task in a push: let it go first. */
  gst_hired_vlm_text_set_flushing (&self->text);
  gst_pad_push_event (pad, gst_event_new_flush_start ());
  gst_hired_vlm_text_activate (&self->text, FALSE);
  gst_pad_push_event (pad, gst_event_new_flush_stop (FALSE));
  gst_pad_set_active (pad, FALSE);
  gst_hired_vlm_text_attach (&self->text, NULL, NULL, NULL);
  /* From here on another may be asked for. */
  g_mutex_lock (&self->lock);
  gst_flow_combiner_remove_pad (self->combiner, pad);
  GST_OBJECT_LOCK (self);
  self->textpad = NULL;
  GST_OBJECT_UNLOCK (self);
  g_mutex_unlock (&self->lock);
  gst_element_remove_pad (element, pad);
}
