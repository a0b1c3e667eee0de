/* model-config.c - config.json and its companions, from texts to VlmConfig
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/model-parse.h"

#include <string.h>

#include "engine/error.h"

gboolean
vlm_config_parse_activation (
    VlmActivation *act, const VlmJson *json, const char *key, GError **error)
{
  const char *name = NULL;

  if (!vlm_json_get_string (json, key, &name, error))
    return FALSE;
  if (!name)
    return TRUE;
  if (g_str_equal (name, "gelu"))
    *act = VLM_ACT_GELU;
  else if (g_str_equal (name, "quick_gelu"))
    *act = VLM_ACT_QUICK_GELU;
  else
    return vlm_json_fail (
        json, key, VLM_ERROR_WRONG_TYPE, "\"gelu\" or \"quick_gelu\"", error);
  return TRUE;
}

static gboolean
parse_family (VlmConfig *config, const VlmJson *top, GError **error)
{
  g_autoptr (GString) expected = g_string_new (NULL);
  const char *name = "";

  if (!vlm_json_get_string (top, "model_type", &name, error))
    return FALSE;
  config->family = vlm_family_find (name);
  if (config->family)
    return TRUE;
  for (int i = 0; vlm_families[i] && !vlm_families[i]->zooms; i++)
    g_string_append_printf (
        expected, "%s\"%s\"", i ? " or " : "", vlm_families[i]->model_type);
  return vlm_json_fail (
      top, "model_type", VLM_ERROR_WRONG_TYPE, expected->str, error);
}

/* Resolves vision_feature_layer to hidden states 0..L. */
static gboolean
parse_feature_layers (VlmConfig *config, const VlmJson *top, GError **error)
{
  const char *key = "vision_feature_layer";
  int layers = config->vision.layers;

  config->n_feature_layers = 1;
  config->feature_layer[0] = -2;
  if (!vlm_json_get_ints (top, key, -layers - 1, layers, config->feature_layer,
          VLM_MAX_FEATURE_LAYERS, &config->n_feature_layers, error))
    return FALSE;
  for (int i = 0; i < config->n_feature_layers; i++)
    if (config->feature_layer[i] < 0)
      config->feature_layer[i] += layers + 1;
  return config->n_feature_layers > 0 ||
         vlm_json_fail (top, key, VLM_ERROR_DATA, "at least one layer", error);
}

static gboolean
parse_strategy (VlmConfig *config, const VlmJson *top, GError **error)
{
  const char *key = "vision_feature_select_strategy", *name = "default";

  if (!vlm_json_get_string (top, key, &name, error))
    return FALSE;
  config->keep_class_token = g_str_equal (name, "full");
  if (!config->keep_class_token && !g_str_equal (name, "default"))
    return vlm_json_fail (
        top, key, VLM_ERROR_WRONG_TYPE, "\"default\" or \"full\"", error);
  if (config->keep_class_token && config->family->tiles)
    return vlm_json_fail (top, key, VLM_ERROR_WRONG_TYPE,
        "\"default\", for class tokens have no place in a grid of tiles,",
        error);
  return TRUE;
}

static gboolean
parse_model (VlmConfig *config, const VlmJson *top, GError **error)
{
  config->projector_activation = VLM_ACT_GELU;
  config->projector_bias = TRUE;
  config->image_token = 32000;
  return parse_family (config, top, error) &&
         vlm_config_parse_vision (&config->vision, top, error) &&
         vlm_config_parse_text (&config->text, top, error) &&
         parse_feature_layers (config, top, error) &&
         parse_strategy (config, top, error) &&
         vlm_config_parse_activation (&config->projector_activation, top,
             "projector_hidden_act", error) &&
         vlm_json_get_boolean (top, "multimodal_projector_bias",
             &config->projector_bias, error) &&
         vlm_json_get_int (
             top, "image_token_id", 0, G_MAXINT, &config->image_token, error) &&
         vlm_json_get_int (top, "image_token_index", 0, G_MAXINT,
             &config->image_token, error);
}

/* One of the texts and its tree; both absent if the folder has no such file. */
typedef struct {
  char *file;
  JsonNode *node;
  VlmJson json;
} Source;

static void
source_clear (Source *source)
{
  g_clear_pointer (&source->node, json_node_unref);
  g_clear_pointer (&source->file, g_free);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Source, source_clear)

static gboolean
source_init (Source *source, const char *name, const char *file,
    const char *text, GError **error)
{
  source->file = g_strdup_printf ("%s/%s", name, file);
  if (text) {
    source->node =
        vlm_json_parse (text, strlen (text), source->file, FALSE, error);
    if (!source->node)
      return FALSE;
  }
  source->json = vlm_json_root (source->node, source->file);
  return TRUE;
}

/* transformers' processor writes as many placeholders as its own settings
 * give: those of the patches, num_additional_image_tokens, less one for
 * "default". Source: its LlavaNextProcessor and LlavaProcessor. */
static gboolean
check_processor (VlmConfig *config, const VlmJson *processor, GError **error)
{
  const char *strategy = "", *marker = "<image>";
  int patch = config->vision.patch, additional = 0;

  if (!vlm_json_get_string (processor, "image_token", &marker, error) ||
      !vlm_json_get_int (processor, "patch_size", 1, G_MAXINT, &patch, error) ||
      !vlm_json_get_int (processor, "num_additional_image_tokens", 0, G_MAXINT,
          &additional, error) ||
      !vlm_json_get_string (
          processor, "vision_feature_select_strategy", &strategy, error))
    return FALSE;
  if (!g_str_equal (marker, "<image>"))
    return vlm_json_fail (
        processor, "image_token", VLM_ERROR_WRONG_TYPE, "\"<image>\"", error);
  additional -= g_str_equal (strategy, "default") ? 1 : 0;
  if (vlm_json_has (processor, "patch_size") &&
      (patch != config->vision.patch ||
          additional != (config->keep_class_token ? 1 : 0)))
    config->quirks |= VLM_QUIRK_TOKEN_COUNT;
  return TRUE;
}

gboolean
vlm_config_parse (VlmConfig *config, const char *name,
    const VlmConfigTexts *texts, GError **error)
{
  g_auto (Source) top = { 0 }, generation = { 0 }, tower = { 0 };
  g_auto (Source) preprocessor = { 0 }, processor = { 0 };
  gboolean apart = !texts->preprocessor && texts->tower_preprocessor;
  VlmJson nested;
  gboolean parsed;

  *config = (VlmConfig){ 0 };
  if (!source_init (&top, name, "config.json", texts->config, error) ||
      !source_init (&generation, name, "generation_config.json",
          texts->generation, error) ||
      !source_init (&preprocessor, apart ? texts->tower_name : name,
          "preprocessor_config.json",
          apart ? texts->tower_preprocessor : texts->preprocessor, error) ||
      !source_init (
          &processor, name, "processor_config.json", texts->processor, error) ||
      !source_init (&tower, texts->tower_name ? texts->tower_name : name,
          "config.json", texts->tower_config, error) ||
      !vlm_json_get_object (&processor.json, "image_processor", &nested, error))
    return FALSE;
  parsed =
      (vlm_config_is_original (&top.json)
              ? vlm_config_parse_original (
                    config, &top.json, &tower.json, error)
              : parse_model (config, &top.json, error)) &&
      vlm_config_parse_image (config, &top.json,
          nested.object ? &nested : &preprocessor.json, error) &&
      check_processor (config, &processor.json, error) &&
      vlm_config_parse_zoom (config, &top.json, error) &&
      vlm_config_parse_generation (config, &top.json, &generation.json, error);
  config->newline = parsed && config->family->tiles;
  if (!parsed)
    vlm_config_clear (config);
  return parsed;
}

void
vlm_config_clear (VlmConfig *config)
{
  g_clear_pointer (&config->text.window, g_free);
}
