/* settings.c - what a description is asked for, with its defaults
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/engine.h"

void
vlm_settings_init (VlmSettings *settings)
{
  *settings = (VlmSettings){
    .token_budget = 0.2,
    .max_tokens = 128,
    .sampling = { .temperature = 0, .top_p = 1 },
    .resampling = VLM_RESAMPLING_TORCHVISION,
    .reuse = VLM_REUSE_ALL,
    .tidal = { .tokens = 256, .reselect_layer = VLM_TIDAL_KNOWN_LAYER },
  };
  vlm_settings_set_policy (settings, vlm_policies[0]);
  settings->policy = NULL;
}

void
vlm_settings_set_policy (VlmSettings *settings, const VlmPolicy *policy)
{
  settings->policy = policy;
  for (int i = 0; i < policy->n_params; i++)
    settings->policy_param[i] = policy->params[i].fallback;
}

void
vlm_settings_clear (VlmSettings *settings)
{
  g_clear_pointer (&settings->prompt, g_free);
  g_clear_pointer (&settings->system_prompt, g_free);
  g_clear_pointer (&settings->stop, g_strfreev);
}
