/* model-original.c - config.json as LLaVA's own repository writes it
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The language model's keys stand at the top, the picture's are called mm_*,
 * and the vision tower is named instead of described. Source: LLaVA's
 * llava_arch.py, multimodal_encoder/, multimodal_projector/, mm_utils.py and
 * conversation.py, versions 1.1 to 1.2.
 */
#include "engine/model-parse.h"

#include <string.h>

#include "engine/error.h"

/* CLIP of OpenAI's, whose shapes are known by name. */
static const struct {
  const char *name;
  int image_size;
} towers[] = {
  { "clip-vit-large-patch14-336", 336 },
  { "clip-vit-large-patch14", 224 },
};

gboolean
vlm_config_is_original (const VlmJson *top)
{
  return vlm_json_has (top, "mm_vision_tower") &&
         !vlm_json_has (top, "text_config");
}

static gboolean
parse_kind (const VlmJson *top, const char **kind, GError **error)
{
  static const char *const kinds[][2] = { { "llava", "llama" },
    { "llava_llama", "llama" }, { "llava_mistral", "mistral" } };
  const char *type = "";

  if (!vlm_json_get_string (top, "model_type", &type, error))
    return FALSE;
  for (gsize i = 0; i < G_N_ELEMENTS (kinds); i++)
    if (g_str_equal (type, kinds[i][0])) {
      *kind = kinds[i][1];
      return TRUE;
    }
  return vlm_json_fail (top, "model_type", VLM_ERROR_WRONG_TYPE,
      "\"llava\", \"llava_llama\" or \"llava_mistral\"", error);
}

/* The picture's shape, and with it the family. */
static gboolean
parse_aspect (VlmConfig *config, const VlmJson *top, GError **error)
{
  const char *aspect = "square", *merge = "flat";

  if (!vlm_json_get_string (top, "image_aspect_ratio", &aspect, error) ||
      !vlm_json_get_string (top, "mm_patch_merge_type", &merge, error))
    return FALSE;
  config->family = &vlm_family_llava;
  if (g_str_equal (aspect, "anyres")) {
    config->family = &vlm_family_llava_next;
    config->image.mode = VLM_IMAGE_ANYRES;
    return g_str_equal (merge, "spatial_unpad") ||
           vlm_json_fail (top, "mm_patch_merge_type", VLM_ERROR_WRONG_TYPE,
               "\"spatial_unpad\" with an image_aspect_ratio of \"anyres\"",
               error);
  }
  config->image.mode = g_str_equal (aspect, "pad") ? VLM_IMAGE_PAD_SQUARE
                                                   : VLM_IMAGE_CENTRE_CROP;
  return g_str_equal (merge, "flat") ||
         vlm_json_fail (top, "mm_patch_merge_type", VLM_ERROR_WRONG_TYPE,
             "\"flat\" unless image_aspect_ratio is \"anyres\"", error);
}

/* The tower's sizes: of vision_config, of the tower's folder, by its name. */
static gboolean
parse_tower (VlmVisionConfig *vision, const VlmJson *top, const VlmJson *tower,
    GError **error)
{
  VlmJson json = *tower, empty = { top->file, "vision_config.", NULL };
  const char *name = "", *base;

  if (vlm_json_has (top, "vision_config"))
    return vlm_config_parse_vision (vision, top, error);
  if (vlm_json_has (tower, "vision_config") &&
      !vlm_json_get_object (tower, "vision_config", &json, error))
    return FALSE;
  if (json.object)
    return vlm_config_parse_tower (vision, &json, error);
  if (!vlm_json_get_string (top, "mm_vision_tower", &name, error))
    return FALSE;
  base = strrchr (name, '/') ? strrchr (name, '/') + 1 : name;
  for (gsize i = 0; i < G_N_ELEMENTS (towers); i++)
    if (g_str_equal (base, towers[i].name)) {
      if (!vlm_config_parse_tower (vision, &empty, error))
        return FALSE;
      vision->image_size = towers[i].image_size;
      vision->side = vision->image_size / vision->patch;
      vision->n_patches = vision->side * vision->side;
      return TRUE;
    }
  return vlm_json_fail (top, "mm_vision_tower", VLM_ERROR_WRONG_TYPE,
      "\"openai/clip-vit-large-patch14-336\", a vision_config beside it or a "
      "vision tower's folder (vision-tower-path)",
      error);
}

static gboolean
parse_select (VlmConfig *config, const VlmJson *top, GError **error)
{
  const char *key = "mm_vision_select_feature", *feature = "patch";
  int layers = config->vision.layers, layer = -2;

  if (!vlm_json_get_int (
          top, "mm_vision_select_layer", -layers - 1, layers, &layer, error) ||
      !vlm_json_get_string (top, key, &feature, error))
    return FALSE;
  config->n_feature_layers = 1;
  config->feature_layer[0] = layer < 0 ? layer + layers + 1 : layer;
  config->keep_class_token = g_str_equal (feature, "cls_patch");
  if (!config->keep_class_token && !g_str_equal (feature, "patch"))
    return vlm_json_fail (
        top, key, VLM_ERROR_WRONG_TYPE, "\"patch\" or \"cls_patch\"", error);
  return !config->keep_class_token || !config->family->tiles ||
         vlm_json_fail (top, key, VLM_ERROR_WRONG_TYPE,
             "\"patch\", for class tokens have no place in a grid of tiles,",
             error);
}

static gboolean
parse_projector (VlmConfig *config, const VlmJson *top, GError **error)
{
  const char *key = "mm_projector_type", *kind = "linear";
  gboolean marks = FALSE;

  config->projector_activation = VLM_ACT_GELU;
  config->projector_bias = TRUE;
  if (!vlm_json_get_string (top, key, &kind, error) ||
      !vlm_json_get_boolean (top, "mm_use_im_start_end", &marks, error))
    return FALSE;
  if (!g_str_equal (kind, "mlp2x_gelu"))
    return vlm_json_fail (
        top, key, VLM_ERROR_WRONG_TYPE, "\"mlp2x_gelu\"", error);
  return !marks || vlm_json_fail (top, "mm_use_im_start_end",
                       VLM_ERROR_WRONG_TYPE, "false", error);
}

gboolean
vlm_config_parse_original (
    VlmConfig *config, const VlmJson *top, const VlmJson *tower, GError **error)
{
  const char *kind = NULL;

  config->original = TRUE;
  config->image_token = -1;
  return parse_kind (top, &kind, error) && parse_aspect (config, top, error) &&
         parse_tower (&config->vision, top, tower, error) &&
         vlm_config_parse_text_as (&config->text, top, kind, error) &&
         parse_select (config, top, error) &&
         parse_projector (config, top, error);
}

/* "<image>\n" before the question: LLaVA's llava_v1 and mistral_instruct. */
#define EACH(kind)                                                             \
  "{% for part in message['content'] | selectattr('type', "                    \
  "'equalto', '" kind "') %}"
#define SAID                                                                   \
  EACH ("image")                                                               \
  "{{ '<image>\\n' }}{% endfor %}" EACH ("text") "{{ part['text'] }}"          \
                                                 "{% endfor %}"
#define RULE                                                                   \
  "A chat between a curious user and an artificial intelligence "              \
  "assistant. The assistant gives helpful, detailed, and polite "              \
  "answers to the user\\'s questions."

static const char vicuna[] =
    "{% if messages[0]['role'] != 'system' %}{{ '" RULE " ' }}{% endif %}"
    "{% for message in messages %}{% if message['role'] == 'system' %}" EACH (
        "text") "{{ part['text'] + ' ' }}{% endfor %}"
                "{% elif message['role'] == 'user' %}{{ 'USER: ' }}" SAID
                "{{ ' ' }}"
                "{% else %}{{ 'ASSISTANT: ' }}" SAID "{{ '</s>' }}{% endif %}"
                "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' "
                "}}{% endif %}";

static const char mistral[] =
    "{% for message in messages %}{% if message['role'] == 'system' %}"
    "{{ '[INST] <<SYS>>\\n' }}" SAID "{{ '\\n<</SYS>>\\n\\n' }}"
    "{% elif message['role'] == 'user' %}"
    "{% if loop.index0 == 0 or messages[0]['role'] != 'system' or "
    "loop.index0 > 1 %}{{ '[INST] ' }}{% endif %}" SAID "{{ ' [/INST]' }}"
    "{% else %}{{ ' ' }}" SAID "{{ ' </s>' }}{% endif %}{% endfor %}";

const char *
vlm_config_original_template (const VlmConfig *config)
{
  return config->text.kind == VLM_TEXT_MISTRAL ? mistral : vicuna;
}
