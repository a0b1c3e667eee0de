/* gsthiredvlm-model.c - the element's hold on a model: open, load
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gst/gsthiredvlm-private.h"

#include <glib/gi18n-lib.h>

/* A wrong policy parameter shows before anything runs. */
static gboolean
check_settings (GstHiredVlm *self, GError **error)
{
  VlmSettings task;
  gboolean right;

  vlm_settings_init (&task);
  GST_OBJECT_LOCK (self);
  right = gst_hired_vlm_settings_task (
      &self->settings, NULL, self->settings.token_budget, &task, error);
  GST_OBJECT_UNLOCK (self);
  vlm_settings_clear (&task);
  if (!right && error && *error)
    (*error)->code = VLM_ERROR_SETTINGS;
  return right;
}

static VlmEngine *
find_or_open (GstHiredVlm *self, const VlmOpenOptions *options, GError **error)
{
  VlmEngine *engine = NULL;

  if (options->share)
    engine = gst_hired_vlm_context_find (self, options);
  if (engine)
    return engine;
  engine = vlm_engine_open (options, error);
  if (engine && options->share)
    gst_hired_vlm_context_offer (self, options, engine);
  return engine;
}

/* State changes go upstream: decoders and uploaders, which look for a context
 * later, find this one. */
static void
offer_gpu (GstHiredVlm *self)
{
  GstObject *cuda = NULL;
  VlmEngineInfo info;

  vlm_engine_info (self->engine, &info);
  if (info.gpu >= 0)
    cuda = gst_hired_vlm_cuda_context_new (info.gpu);
  if (cuda == NULL)
    return;
  g_mutex_lock (&self->lock);
  self->cuda = cuda;
  g_mutex_unlock (&self->lock);
  gst_hired_vlm_cuda_offer (GST_ELEMENT (self), cuda);
}

gboolean
gst_hired_vlm_model_open (GstHiredVlm *self)
{
  VlmOpenOptions options;
  g_autofree gchar *path = NULL;
  g_autofree gchar *tower = NULL;
  g_autofree gchar *device = NULL;
  g_autoptr (GError) error = NULL;
  VlmEngine *engine = NULL;

  g_mutex_lock (&self->lock);
  self->error_posted = self->failed = FALSE;
  g_mutex_unlock (&self->lock);
  GST_OBJECT_LOCK (self);
  options = (VlmOpenOptions){
    .path = path = g_strdup (self->settings.model_path),
    .tower = tower = g_strdup (self->settings.tower_path),
    .device = device = g_strdup (self->settings.device),
    .weights = self->settings.weights,
    .threads = self->settings.threads,
    .share = self->settings.share_model,
  };
  self->reopen = FALSE;
  GST_OBJECT_UNLOCK (self);
  if (check_settings (self, &error))
    engine = find_or_open (self, &options, &error);
  if (engine == NULL) {
    gst_hired_vlm_fail (self, error);
    return FALSE;
  }
  g_mutex_lock (&self->lock);
  self->engine = engine;
  g_mutex_unlock (&self->lock);
  offer_gpu (self);
  return TRUE;
}

void
gst_hired_vlm_model_close (GstHiredVlm *self)
{
  VlmEngine *engine;
  GstObject *cuda;

  g_mutex_lock (&self->lock);
  engine = g_steal_pointer (&self->engine);
  cuda = g_steal_pointer (&self->cuda);
  g_mutex_unlock (&self->lock);
  g_clear_pointer (&engine, vlm_engine_unref);
  gst_clear_object (&cuda);
}

static void
progress (GstHiredVlm *self, GstProgressType type, const gchar *text)
{
  gst_element_post_message (GST_ELEMENT (self),
      gst_message_new_progress (GST_OBJECT (self), type, "load", text));
}

/* Whether progress was being told; it no longer is. */
static gboolean
end_loading (GstHiredVlm *self)
{
  gboolean was;

  g_mutex_lock (&self->lock);
  was = self->loading;
  self->loading = FALSE;
  g_mutex_unlock (&self->lock);
  return was;
}

static void
log_facts (GstHiredVlm *self, VlmEngine *engine)
{
  VlmEngineInfo info;

  vlm_engine_info (engine, &info);
  GST_INFO_OBJECT (self,
      "model %s on %s: weights %s, %" G_GUINT64_FORMAT " bytes, context %d, "
      "batch %d",
      info.model, info.device, info.weights, info.weight_bytes, info.context,
      info.batch);
}

/* Worker. */
static void
on_load (
    VlmEngine *engine, int percent, const GError *error, gpointer user_data)
{
  GstHiredVlm *self = user_data;

  if (error && g_error_matches (error, VLM_ERROR, VLM_ERROR_CANCELLED)) {
    if (end_loading (self))
      progress (self, GST_PROGRESS_TYPE_CANCELED,
          _ ("Loading the model was cancelled."));
  } else if (error) {
    if (end_loading (self))
      progress (self, GST_PROGRESS_TYPE_ERROR, _ ("Loading the model failed."));
    gst_hired_vlm_fail (self, error);
  } else if (percent < 100) {
    g_autofree gchar *text =
        g_strdup_printf (_ ("Loading the model: %d %%"), percent);

    progress (self, GST_PROGRESS_TYPE_CONTINUE, text);
  } else if (end_loading (self)) {
    log_facts (self, engine);
    progress (self, GST_PROGRESS_TYPE_COMPLETE, _ ("The model is loaded."));
  }
}

static gboolean
wants_reopen (GstHiredVlm *self)
{
  gboolean wants;

  GST_OBJECT_LOCK (self);
  wants = self->reopen;
  GST_OBJECT_UNLOCK (self);
  return wants || vlm_engine_state (self->engine) == VLM_ENGINE_FAILED;
}

gboolean
gst_hired_vlm_model_start (GstHiredVlm *self)
{
  if (wants_reopen (self)) {
    gst_hired_vlm_model_close (self);
    if (!gst_hired_vlm_model_open (self))
      return FALSE;
  }
  g_mutex_lock (&self->lock);
  self->stream = vlm_stream_new (self->engine);
  self->loading = TRUE;
  self->stopping = self->flushing = self->draining = FALSE;
  self->error_posted = self->failed = FALSE;
  self->failures_in_row = 0;
  g_mutex_unlock (&self->lock);
  progress (self, GST_PROGRESS_TYPE_START, _ ("Loading the model."));
  self->load_id = vlm_engine_load (self->engine, on_load, self);
  return TRUE;
}

void
gst_hired_vlm_model_stop (GstHiredVlm *self)
{
  VlmStream *stream;

  g_mutex_lock (&self->lock);
  stream = g_steal_pointer (&self->stream);
  g_mutex_unlock (&self->lock);
  if (stream == NULL)
    return;
  vlm_engine_load_leave (self->engine, self->load_id);
  if (end_loading (self))
    progress (self, GST_PROGRESS_TYPE_CANCELED,
        _ ("Loading the model was cancelled."));
  vlm_stream_free (stream);
  gst_hired_vlm_pixels_clear (&self->pixels);
}
