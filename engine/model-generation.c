/* model-generation.c - generation_config.json over transformers' defaults
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Source: transformers' GenerationConfig, its from_model_config, and
 * GenerationMixin._prepare_generation_config.
 */
#include "engine/model-parse.h"

static gboolean
get_eos (VlmGenerationConfig *generation, const VlmJson *json, GError **error)
{
  return generation->n_eos > 0 ||
         vlm_json_get_ints (json, "eos_token_id", 0, G_MAXINT, generation->eos,
             VLM_MAX_EOS, &generation->n_eos, error);
}

gboolean
vlm_config_parse_generation (VlmConfig *config, const VlmJson *top,
    const VlmJson *generation, GError **error)
{
  VlmGenerationConfig *g = &config->generation;
  int beams = 1;
  VlmJson text;

  *g = (VlmGenerationConfig){
    .temperature = 1, .top_p = 1, .repetition_penalty = 1, .top_k = 50
  };
  if (!vlm_json_get_boolean (generation, "do_sample", &g->do_sample, error) ||
      !vlm_json_get_double (
          generation, "temperature", 0, 1e6, &g->temperature, error) ||
      !vlm_json_get_double (generation, "top_p", 0, 1, &g->top_p, error) ||
      !vlm_json_get_double (generation, "repetition_penalty", 1e-3, 1e3,
          &g->repetition_penalty, error) ||
      !vlm_json_get_int (generation, "top_k", 0, G_MAXINT, &g->top_k, error) ||
      !vlm_json_get_int (generation, "num_beams", 1, 4096, &beams, error) ||
      !vlm_json_get_object (top, "text_config", &text, error) ||
      !get_eos (g, generation, error) || !get_eos (g, top, error) ||
      !get_eos (g, &text, error))
    return FALSE;
  if (beams > 1)
    config->quirks |= VLM_QUIRK_BEAMS;
  if (!g->n_eos && config->text.kind != VLM_TEXT_QWEN2)
    g->eos[g->n_eos++] = 2;
  return TRUE;
}
