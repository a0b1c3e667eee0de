/* gsthiredvlm-error.c - what went wrong, said to people and to programs
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gst/gsthiredvlm-private.h"

#define RESOURCE gst_resource_error_quark
#define STREAM gst_stream_error_quark
#define LIBRARY gst_library_error_quark

static const struct {
  VlmError error;
  const gchar *name;
  GQuark (*domain) (void);
  gint code;
} error_map[] = {
  { VLM_ERROR_SETTINGS, "settings", RESOURCE, GST_RESOURCE_ERROR_SETTINGS },
  { VLM_ERROR_NOT_FOUND, "not-found", RESOURCE, GST_RESOURCE_ERROR_NOT_FOUND },
  { VLM_ERROR_OPEN, "open", RESOURCE, GST_RESOURCE_ERROR_OPEN_READ },
  { VLM_ERROR_DATA, "data", RESOURCE, GST_RESOURCE_ERROR_READ },
  { VLM_ERROR_WRONG_TYPE, "wrong-type", STREAM, GST_STREAM_ERROR_WRONG_TYPE },
  { VLM_ERROR_DEVICE, "device", LIBRARY, GST_LIBRARY_ERROR_INIT },
  { VLM_ERROR_NO_MEMORY, "no-memory", RESOURCE,
      GST_RESOURCE_ERROR_NO_SPACE_LEFT },
  { VLM_ERROR_LOST, "lost", LIBRARY, GST_LIBRARY_ERROR_FAILED },
  { VLM_ERROR_REQUEST, "request", STREAM, GST_STREAM_ERROR_DECODE },
};

static const gchar *
map_error (const GError *error, GQuark *domain, gint *code)
{
  for (guint i = 0; i < G_N_ELEMENTS (error_map); i++)
    if (g_error_matches (error, VLM_ERROR, error_map[i].error)) {
      *domain = error_map[i].domain ();
      *code = error_map[i].code;
      return error_map[i].name;
    }
  *domain = GST_LIBRARY_ERROR;
  *code = GST_LIBRARY_ERROR_FAILED;
  return "other";
}

static void
add_text (GstStructure *details, const gchar *field, const gchar *text)
{
  if (text)
    gst_structure_set (details, field, G_TYPE_STRING, text, NULL);
}

static void
add_about (GstStructure *details, const VlmErrorDetails *about)
{
  add_text (details, "file", about->file);
  add_text (details, "tensor", about->tensor);
  add_text (details, "key", about->key);
  add_text (details, "property", about->setting);
  add_text (details, "expected", about->expected);
  add_text (details, "found", about->found);
  if (about->needed_bytes)
    gst_structure_set (details, "needed-bytes", G_TYPE_UINT64,
        about->needed_bytes, "free-bytes", G_TYPE_UINT64, about->free_bytes,
        NULL);
}

GstStructure *
gst_hired_vlm_error_new (const gchar *cause, const gchar *message)
{
  return gst_structure_new ("hiredvlm/error", "cause", G_TYPE_STRING, cause,
      "message", G_TYPE_STRING, message, NULL);
}

GstStructure *
gst_hired_vlm_error_of (const GError *error)
{
  const VlmErrorDetails *about = vlm_error_details (error);
  GstStructure *details;
  GQuark domain;
  gint code;

  details = gst_hired_vlm_error_new (
      map_error (error, &domain, &code), error->message);
  if (about)
    add_about (details, about);
  return details;
}

/* True for the first who asks; the others keep quiet. */
static gboolean
claim_error (GstHiredVlm *self)
{
  gboolean first;

  g_mutex_lock (&self->lock);
  first = !self->error_posted;
  self->error_posted = TRUE;
  g_mutex_unlock (&self->lock);
  return first;
}

void
gst_hired_vlm_fail (GstHiredVlm *self, const GError *error)
{
  GQuark domain;
  gint code;
  const gchar *cause = map_error (error, &domain, &code);
  GstStructure *details;

  if (claim_error (self)) {
    details = gst_hired_vlm_error_of (error);
    GST_OBJECT_LOCK (self);
    gst_structure_set (details, "model-path", G_TYPE_STRING,
        self->settings.model_path, "device", G_TYPE_STRING,
        self->settings.device, NULL);
    GST_OBJECT_UNLOCK (self);
    gst_element_message_full_with_details (GST_ELEMENT (self),
        GST_MESSAGE_ERROR, domain, code, g_strdup (error->message),
        g_strdup_printf ("cause: %s", cause), __FILE__, GST_FUNCTION, __LINE__,
        details);
  }
  g_mutex_lock (&self->lock);
  self->failed = TRUE;
  g_mutex_unlock (&self->lock);
  gst_hired_vlm_cancel (self);
}

void
gst_hired_vlm_warn (
    GstHiredVlm *self, const GError *error, guint64 timestamp, guint in_row)
{
  GstStructure *details = gst_hired_vlm_error_of (error);

  gst_structure_set (details, "in-a-row", G_TYPE_UINT, in_row, NULL);
  gst_element_message_full_with_details (GST_ELEMENT (self),
      GST_MESSAGE_WARNING, GST_STREAM_ERROR, GST_STREAM_ERROR_DECODE,
      g_strdup (error->message),
      g_strdup_printf ("frame %" GST_TIME_FORMAT ", %u in a row",
          GST_TIME_ARGS (timestamp), in_row),
      __FILE__, GST_FUNCTION, __LINE__, details);
}
