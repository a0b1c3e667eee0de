/* model-vision.c - vision_config: the CLIP encoder's sizes
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Defaults: transformers' CLIPVisionConfig when the object is there, those of
 * LlavaNextConfig (ViT-L/14 at 336 pixels) when it is not.
 */
#include "engine/model-parse.h"

#include "engine/error.h"
#include "kernels/ops.h"

#define MAX_SIDE 256 /* patches along a tile */

/* A size that may be written as n or as [n,n]. */
static gboolean
get_square (const VlmJson *json, const char *key, int maximum, int *value,
    GError **error)
{
  int sizes[2], n = 0;

  if (!vlm_json_get_ints (json, key, 1, maximum, sizes, 2, &n, error))
    return FALSE;
  if (n == 2 && sizes[0] != sizes[1])
    return vlm_json_fail (
        json, key, VLM_ERROR_WRONG_TYPE, "a square size", error);
  if (n)
    *value = sizes[0];
  return TRUE;
}

static gboolean
check_kind (const VlmJson *json, GError **error)
{
  const char *kind = "clip_vision_model";
  int channels = 3;

  if (!vlm_json_get_string (json, "model_type", &kind, error) ||
      !vlm_json_get_int (json, "num_channels", 1, 4096, &channels, error))
    return FALSE;
  if (!g_str_equal (kind, "clip_vision_model"))
    return vlm_json_fail (json, "model_type", VLM_ERROR_WRONG_TYPE,
        "\"clip_vision_model\"", error);
  return channels == 3 ||
         vlm_json_fail (json, "num_channels", VLM_ERROR_WRONG_TYPE, "3", error);
}

static gboolean
check_sizes (VlmVisionConfig *vision, const VlmJson *json, GError **error)
{
  if (vision->width % vision->heads)
    return vlm_json_fail_format (json, "num_attention_heads", VLM_ERROR_DATA,
        error, "a divisor of hidden_size %d", vision->width);
  if (vision->width / vision->heads > MAX_HEAD_WIDTH)
    return vlm_json_fail_format (json, "num_attention_heads", VLM_ERROR_DATA,
        error, "heads of at most %d of hidden_size %d", MAX_HEAD_WIDTH,
        vision->width);
  if (vision->image_size % vision->patch ||
      vision->image_size / vision->patch > MAX_SIDE)
    return vlm_json_fail_format (json, "patch_size", VLM_ERROR_DATA, error,
        "a divisor of image_size %d that makes at most %d patches a side",
        vision->image_size, MAX_SIDE);
  vision->side = vision->image_size / vision->patch;
  vision->n_patches = vision->side * vision->side;
  return TRUE;
}

gboolean
vlm_config_parse_tower (
    VlmVisionConfig *vision, const VlmJson *json, GError **error)
{
  double eps = 1e-5;

  *vision = json->object ? (VlmVisionConfig){ 768, 3072, 12, 12, 224, 32 }
                         : (VlmVisionConfig){ 1024, 4096, 24, 16, 336, 14 };
  vision->activation = VLM_ACT_QUICK_GELU;
  if (!check_kind (json, error) ||
      !vlm_json_get_int (
          json, "hidden_size", 1, 1 << 17, &vision->width, error) ||
      !vlm_json_get_int (
          json, "intermediate_size", 1, 1 << 20, &vision->hidden, error) ||
      !vlm_json_get_int (
          json, "num_hidden_layers", 1, 1024, &vision->layers, error) ||
      !vlm_json_get_int (
          json, "num_attention_heads", 1, 4096, &vision->heads, error) ||
      !get_square (json, "image_size", 8192, &vision->image_size, error) ||
      !get_square (json, "patch_size", 1024, &vision->patch, error) ||
      !vlm_json_get_double (json, "layer_norm_eps", 0, 1, &eps, error) ||
      !vlm_config_parse_activation (
          &vision->activation, json, "hidden_act", error))
    return FALSE;
  vision->eps = (float) eps;
  return check_sizes (vision, json, error);
}

gboolean
vlm_config_parse_vision (
    VlmVisionConfig *vision, const VlmJson *top, GError **error)
{
  VlmJson json;

  return vlm_json_get_object (top, "vision_config", &json, error) &&
         vlm_config_parse_tower (vision, &json, error);
}
