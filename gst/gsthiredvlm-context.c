/* gsthiredvlm-context.c - a model handed from element to element
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The GstContext "hired.model" carries a model (boxed GstHiredVlmModel) and
 * the settings it was opened with: model-path, vision-tower-path, device,
 * weights. An element takes it if its own settings are the same and share-model
 * is on. Elements of one process share by the engine's registry anyway; the
 * context is for applications, which may keep a model loaded while no pipeline
 * uses it, or see when one is opened. The order of asking is that of
 * gstglutils.c.
 */
#include "gst/gsthiredvlm-private.h"

#include <string.h>

#define CONTEXT_TYPE "hired.model"

typedef VlmEngine GstHiredVlmModel;
GType gst_hired_vlm_model_get_type (void);
G_DEFINE_BOXED_TYPE (
    GstHiredVlmModel, gst_hired_vlm_model, vlm_engine_ref, vlm_engine_unref)

static GstContext *
context_new (const VlmOpenOptions *options, VlmEngine *engine)
{
  /* Not persistent: a pipeline lets go of it when it goes to NULL. */
  GstContext *context = gst_context_new (CONTEXT_TYPE, FALSE);

  gst_structure_set (gst_context_writable_structure (context), "model",
      gst_hired_vlm_model_get_type (), engine, "model-path", G_TYPE_STRING,
      options->path, "vision-tower-path", G_TYPE_STRING, options->tower,
      "device", G_TYPE_STRING, options->device, "weights", G_TYPE_INT,
      (gint) options->weights, NULL);
  return context;
}

/* Takes the context, which may be NULL; a reference on its model if that is
 * the one asked for. */
static VlmEngine *
model_of (GstContext *context, const VlmOpenOptions *options)
{
  const GstStructure *s;
  VlmEngine *engine = NULL;
  gint weights = -1;

  if (context == NULL)
    return NULL;
  s = gst_context_get_structure (context);
  gst_structure_get_int (s, "weights", &weights);
  if (weights == (gint) options->weights &&
      g_strcmp0 (gst_structure_get_string (s, "model-path"), options->path) ==
          0 &&
      g_strcmp0 (gst_structure_get_string (s, "vision-tower-path"),
          options->tower) == 0 &&
      g_strcmp0 (gst_structure_get_string (s, "device"), options->device) == 0)
    gst_structure_get (
        s, "model", gst_hired_vlm_model_get_type (), &engine, NULL);
  gst_context_unref (context);
  if (engine && vlm_engine_state (engine) == VLM_ENGINE_FAILED)
    g_clear_pointer (&engine, vlm_engine_unref);
  return engine;
}

static VlmEngine *
ask_neighbour (GstPad *pad, const VlmOpenOptions *options)
{
  GstQuery *query = gst_query_new_context (CONTEXT_TYPE);
  GstContext *context = NULL;

  if (gst_pad_peer_query (pad, query)) {
    gst_query_parse_context (query, &context);
    if (context)
      gst_context_ref (context);
  }
  gst_query_unref (query);
  return model_of (context, options);
}

static VlmEngine *
own (GstHiredVlm *self, const VlmOpenOptions *options)
{
  return model_of (
      gst_element_get_context (GST_ELEMENT (self), CONTEXT_TYPE), options);
}

VlmEngine *
gst_hired_vlm_context_find (GstHiredVlm *self, const VlmOpenOptions *options)
{
  VlmEngine *engine = own (self, options);

  if (engine == NULL)
    engine = ask_neighbour (self->srcpad, options);
  if (engine == NULL)
    engine = ask_neighbour (self->sinkpad, options);
  if (engine == NULL) {
    gst_element_post_message (GST_ELEMENT (self),
        gst_message_new_need_context (GST_OBJECT (self), CONTEXT_TYPE));
    engine = own (self, options);
  }
  return engine;
}

void
gst_hired_vlm_context_offer (
    GstHiredVlm *self, const VlmOpenOptions *options, VlmEngine *engine)
{
  gst_element_post_message (
      GST_ELEMENT (self), gst_message_new_have_context (GST_OBJECT (self),
                              context_new (options, engine)));
}

gboolean
gst_hired_vlm_context_query (GstHiredVlm *self, GstQuery *query)
{
  const gchar *type;
  VlmOpenOptions options = { 0 };
  g_autofree gchar *path = NULL;
  g_autofree gchar *tower = NULL;
  g_autofree gchar *device = NULL;
  g_autoptr (VlmEngine) engine = NULL;
  GstContext *context;

  gst_query_parse_context_type (query, &type);
  if (strcmp (type, CONTEXT_TYPE) != 0)
    return FALSE;
  g_mutex_lock (&self->lock);
  if (self->engine)
    engine = vlm_engine_ref (self->engine);
  g_mutex_unlock (&self->lock);
  GST_OBJECT_LOCK (self);
  options.path = path = g_strdup (self->settings.model_path);
  options.tower = tower = g_strdup (self->settings.tower_path);
  options.device = device = g_strdup (self->settings.device);
  options.weights = self->settings.weights;
  options.share = self->settings.share_model && !self->reopen;
  GST_OBJECT_UNLOCK (self);
  if (engine == NULL || !options.share)
    return FALSE;
  context = context_new (&options, engine);
  gst_query_set_context (query, context);
  gst_context_unref (context);
  return TRUE;
}
