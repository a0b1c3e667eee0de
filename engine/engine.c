/* engine.c - opening an engine and asking about it
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/engine.h"
#include "engine/error.h"
#include "engine/registry.h"

/* The folder itself or the model `tiny` in it; owned. */
static char *
model_in (const char *folder)
{
  g_autofree char *tiny = g_build_filename (folder, "tiny", NULL);
  const char *const candidates[] = { folder, tiny };
  for (guint i = 0; i < G_N_ELEMENTS (candidates); i++) {
    g_autofree char *config =
        g_build_filename (candidates[i], "config.json", NULL);
    if (g_file_test (config, G_FILE_TEST_EXISTS))
      return g_strdup (candidates[i]);
  }
  return NULL;
}

static const char *
default_folder (void)
{
  const char *folder = g_getenv ("HIREDVLM_MODEL_DIR");
  return folder && *folder ? folder : HIREDVLM_MODEL_DIR;
}

char *
vlm_engine_default_model (void)
{
  return model_in (default_folder ());
}

VlmEngine *
vlm_engine_open (const VlmOpenOptions *options, GError **error)
{
  g_return_val_if_fail (options != NULL, NULL);

  VlmOpenOptions resolved = *options;
  g_autofree char *folder = NULL;
  if (!resolved.path) {
    resolved.path = folder = vlm_engine_default_model ();
    if (!folder) {
      vlm_fail (error, VLM_ERROR_SETTINGS,
          VLM_ABOUT (.file = default_folder (), .setting = "model-path"),
          "No model folder was given, and the shipped model is not in %s.",
          default_folder ());
      return NULL;
    }
  }

  g_autoptr (VlmRunner) runner = vlm_runner_open (&resolved, error);
  if (!runner)
    return NULL;
  VlmEngine *engine = NULL;
  if (resolved.share)
    engine = vlm_registry_find (vlm_runner_key (runner));
  if (engine)
    return engine;
  /* Only a new one needs memory of its own. */
  if (!vlm_runner_plan (runner, error))
    return NULL;
  engine = vlm_scheduler_new (g_steal_pointer (&runner));
  return vlm_registry_add (engine, resolved.share);
}

VlmEngine *
vlm_engine_ref (VlmEngine *engine)
{
  g_return_val_if_fail (engine != NULL, NULL);

  vlm_registry_ref (engine, TRUE);
  return engine;
}

void
vlm_engine_unref (VlmEngine *engine)
{
  if (engine)
    vlm_registry_unref (engine, TRUE);
}

void
vlm_engine_info (VlmEngine *engine, VlmEngineInfo *info)
{
  g_return_if_fail (engine && info);

  vlm_runner_info (engine->runner, info);
  info->sharers = vlm_registry_sharers (engine);
}
