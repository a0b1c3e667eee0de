/* model-flexattention.c - the family FlexAttention, LLaVA 1.5 with a magnifier
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A LLaVA 1.5 whose config.json has a dictionary `extra` with a zoom_ratio,
 * whose values are strings. Source: the FlexAttention paper and its released
 * code (llava_arch.py, modeling_llama.py), where an absent threshold is 64,
 * lowres_size 336 and highres_size 336 times the ratio. The first hierarchical
 * layer is a constant there, 9; `first_layer` is ours, for models of fewer
 * layers.
 */
#include "engine/model-parse.h"

#include "engine/error.h"

const VlmFamily vlm_family_flexattention = {
  .model_type = "llava",
  .blurb = "FlexAttention: one tile, and a finer look where the text attends",
  .zooms = TRUE,
  .processor = {
      { "CLIPImageProcessor", VLM_IMAGE_CENTRE_CROP, VLM_IMAGE_CENTRE_CROP },
      { "LlavaImageProcessor", VLM_IMAGE_CENTRE_CROP, VLM_IMAGE_PAD_SQUARE },
  },
};

#define MAX_ZOOM 7 /* 1 + 7 * 7 tiles are no more than VLM_MAX_TILES */
#define FIRST_LAYER 9

/* A whole number, written as one or as a string of one. */
static gboolean
get_number (const VlmJson *json, const char *key, int minimum, int maximum,
    int *value, GError **error)
{
  JsonNode *node = vlm_json_member (json, key);
  const char *text = NULL;
  gint64 number;

  if (!node || !JSON_NODE_HOLDS_VALUE (node) ||
      json_node_get_value_type (node) != G_TYPE_STRING)
    return vlm_json_get_int (json, key, minimum, maximum, value, error);
  text = json_node_get_string (node);
  if (!g_ascii_string_to_signed (text, 10, minimum, maximum, &number, NULL))
    return vlm_json_fail_format (json, key, VLM_ERROR_WRONG_TYPE, error,
        "a number of %d to %d", minimum, maximum);
  *value = (int) number;
  return TRUE;
}

static gboolean
check_size (const VlmJson *extra, const char *key, int side, int expected_side,
    GError **error)
{
  return side == expected_side ||
         vlm_json_fail_format (extra, key, VLM_ERROR_DATA, error,
             "%d, by the side of the vision tower's pictures", expected_side);
}

static gboolean
parse_extra (VlmConfig *config, const VlmJson *extra, GError **error)
{
  VlmZoom *zoom = &config->zoom;
  int T = config->vision.image_size, low = 336, high;
  const char *special = "";

  zoom->threshold = 64;
  zoom->layer = FIRST_LAYER;
  if (!get_number (extra, "zoom_ratio", 1, MAX_ZOOM, &zoom->ratio, error) ||
      !get_number (extra, "threshold", 0, 255, &zoom->threshold, error) ||
      !get_number (extra, "first_layer", 1, 1 << 16, &zoom->layer, error) ||
      !get_number (extra, "lowres_size", 1, 1 << 16, &low, error))
    return FALSE;
  high = 336 * zoom->ratio;
  if (!get_number (extra, "highres_size", 1, 1 << 16, &high, error) ||
      !vlm_json_get_string (extra, "special", &special, error) ||
      !check_size (extra, "lowres_size", low, T, error) ||
      !check_size (extra, "highres_size", high, T * zoom->ratio, error))
    return FALSE;
  return !g_str_equal (special, "random") ||
         vlm_json_fail (extra, "special", VLM_ERROR_WRONG_TYPE,
             "no \"random\", which is an ablation and selects nothing that "
             "was learned,",
             error);
}

gboolean
vlm_config_parse_zoom (VlmConfig *config, const VlmJson *top, GError **error)
{
  VlmJson extra;

  if (!vlm_json_has (top, "extra") ||
      !JSON_NODE_HOLDS_OBJECT (vlm_json_member (top, "extra")))
    return TRUE;
  if (!vlm_json_get_object (top, "extra", &extra, error))
    return FALSE;
  if (!vlm_json_has (&extra, "zoom_ratio"))
    return TRUE;
  if (config->family->tiles)
    return vlm_json_fail (&extra, "zoom_ratio", VLM_ERROR_WRONG_TYPE,
        "nothing: pictures in tiles of any resolution have no finer look",
        error);
  config->family = &vlm_family_flexattention;
  if (config->text.kind != VLM_TEXT_LLAMA)
    return vlm_json_fail (&extra, "zoom_ratio", VLM_ERROR_WRONG_TYPE,
        "nothing: only Llama models have hierarchical layers", error);
  if (config->keep_class_token || config->n_feature_layers != 1 ||
      config->image.mode != VLM_IMAGE_PAD_SQUARE)
    return vlm_json_fail (&extra, "zoom_ratio", VLM_ERROR_WRONG_TYPE,
        "nothing, or pictures padded to a square and patch features of one "
        "layer",
        error);
  config->image.mode = VLM_IMAGE_ZOOM;
  return parse_extra (config, &extra, error);
}
