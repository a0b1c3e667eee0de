/* model-rope.c - rotary embeddings: settings and inverse frequencies
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Source: transformers' modeling_rope_utils.py, in float32 where it is.
 */
#include "engine/model-parse.h"

#include <math.h>

#include "engine/error.h"

static const char *const kind_names[] = {
  [VLM_ROPE_DEFAULT] = "default",
  [VLM_ROPE_LINEAR] = "linear",
  [VLM_ROPE_DYNAMIC] = "dynamic",
  [VLM_ROPE_LLAMA3] = "llama3",
  [VLM_ROPE_YARN] = "yarn",
};

/* The settings: rope_scaling if it says anything, else rope_parameters. */
static gboolean
find_settings (const VlmJson *json, VlmJson *settings, GError **error)
{
  if (!vlm_json_get_object (json, "rope_scaling", settings, error))
    return FALSE;
  if (settings->object && json_object_get_size (settings->object))
    return TRUE;
  return vlm_json_get_object (json, "rope_parameters", settings, error);
}

/* Settings by layer type, as other models have them, would nest here. */
static gboolean
check_flat (const VlmJson *settings, GError **error)
{
  JsonObjectIter iter;
  const char *key;
  JsonNode *node;

  if (!settings->object)
    return TRUE;
  json_object_iter_init (&iter, settings->object);
  while (json_object_iter_next (&iter, &key, &node))
    if (JSON_NODE_HOLDS_OBJECT (node))
      return vlm_json_fail (settings, key, VLM_ERROR_WRONG_TYPE,
          "one setting for all layers", error);
  return TRUE;
}

static gboolean
parse_kind (
    VlmRope *rope, const VlmJson *json, const VlmJson *settings, GError **error)
{
  const char *factor = "partial_rotary_factor";
  const VlmJson *place = vlm_json_has (settings, factor) ? settings : json;
  const char *key = vlm_json_has (settings, "rope_type") ? "rope_type" : "type";
  const char *name = "default";
  double share = 1;

  if (!vlm_json_get_string (settings, key, &name, error) ||
      !vlm_json_get_double (place, factor, 0, 1, &share, error))
    return FALSE;
  if (share != 1)
    return vlm_json_fail (place, factor, VLM_ERROR_WRONG_TYPE,
        "1 (rotation of whole heads)", error);
  for (guint i = 0; i < G_N_ELEMENTS (kind_names); i++)
    if (g_str_equal (name, kind_names[i])) {
      rope->kind = (VlmRopeKind) i;
      return TRUE;
    }
  return vlm_json_fail (settings, key, VLM_ERROR_WRONG_TYPE,
      "\"default\", \"linear\", \"dynamic\", \"llama3\" or \"yarn\"", error);
}

static gboolean
require (const VlmJson *settings, const char *key, GError **error)
{
  return vlm_json_has (settings, key) ||
         vlm_json_fail (settings, key, VLM_ERROR_DATA, "a number", error);
}

static gboolean
parse_original (VlmRope *rope, const VlmJson *json, const VlmJson *settings,
    int max_position, GError **error)
{
  const char *key = "original_max_position_embeddings";

  rope->original_max_position = max_position;
  if (rope->kind == VLM_ROPE_DYNAMIC)
    return TRUE;
  return vlm_json_get_int (vlm_json_has (json, key) ? json : settings, key, 1,
      G_MAXINT, &rope->original_max_position, error);
}

static gboolean
parse_llama3 (VlmRope *rope, const VlmJson *settings, GError **error)
{
  if (!require (settings, "low_freq_factor", error) ||
      !require (settings, "high_freq_factor", error) ||
      !vlm_json_get_double (settings, "low_freq_factor", 1e-6, 1e6,
          &rope->low_freq_factor, error) ||
      !vlm_json_get_double (settings, "high_freq_factor", 1e-6, 1e6,
          &rope->high_freq_factor, error))
    return FALSE;
  return rope->high_freq_factor > rope->low_freq_factor ||
         vlm_json_fail (settings, "high_freq_factor", VLM_ERROR_DATA,
             "more than low_freq_factor", error);
}

static double
magnitude (double scale, double factor)
{
  return scale <= 1 ? 1 : 0.1 * factor * log (scale) + 1;
}

/* beta_fast and beta_slow: 0 stands for the default, as in the source. */
static gboolean
parse_yarn (
    VlmRope *rope, const VlmJson *settings, int max_position, GError **error)
{
  double mscale = 0, mscale_all = 0;

  rope->truncate = TRUE;
  if (!vlm_json_has (settings, "factor"))
    rope->factor = (double) max_position / rope->original_max_position;
  if (!vlm_json_get_double (
          settings, "beta_fast", 0, 1e6, &rope->beta_fast, error) ||
      !vlm_json_get_double (
          settings, "beta_slow", 0, 1e6, &rope->beta_slow, error) ||
      !vlm_json_get_double (settings, "mscale", 0, 1e6, &mscale, error) ||
      !vlm_json_get_double (
          settings, "mscale_all_dim", 0, 1e6, &mscale_all, error) ||
      !vlm_json_get_boolean (settings, "truncate", &rope->truncate, error))
    return FALSE;
  if (rope->beta_fast == 0)
    rope->beta_fast = 32;
  if (rope->beta_slow == 0)
    rope->beta_slow = 1;
  rope->attention_factor = mscale != 0 && mscale_all != 0
                               ? magnitude (rope->factor, mscale) /
                                     magnitude (rope->factor, mscale_all)
                               : magnitude (rope->factor, 1);
  return vlm_json_get_double (
      settings, "attention_factor", 1e-6, 1e6, &rope->attention_factor, error);
}

gboolean
vlm_config_parse_rope (
    VlmRope *rope, const VlmJson *json, int max_position, GError **error)
{
  VlmJson settings;

  *rope = (VlmRope){ .theta = 10000, .factor = 1, .attention_factor = 1 };
  if (!find_settings (json, &settings, error) ||
      !check_flat (&settings, error) ||
      !parse_kind (rope, json, &settings, error) ||
      !vlm_json_get_double (
          vlm_json_has (&settings, "rope_theta") ? &settings : json,
          "rope_theta", 1.001, 1e12, &rope->theta, error))
    return FALSE;
  if (rope->kind == VLM_ROPE_DEFAULT)
    return TRUE;
  if (rope->kind != VLM_ROPE_YARN && !require (&settings, "factor", error))
    return FALSE;
  if (!vlm_json_get_double (
          &settings, "factor", 1e-6, 1e6, &rope->factor, error) ||
      !parse_original (rope, json, &settings, max_position, error))
    return FALSE;
  if (rope->kind == VLM_ROPE_LLAMA3)
    return parse_llama3 (rope, &settings, error);
  return rope->kind != VLM_ROPE_YARN ||
         parse_yarn (rope, &settings, max_position, error);
}

/* base^(2 i / d) for each i. */
static void
base_powers (double base, int d, float *powers)
{
  for (int i = 0; i < d / 2; i++)
    powers[i] = powf ((float) base, (float) (2 * i) / (float) d);
}

static double
dynamic_theta (const VlmTextConfig *text, int length)
{
  const VlmRope *rope = &text->rope;
  double m = rope->original_max_position, d = text->head_width;
  double l = MAX (length, m);

  return rope->theta *
         pow (rope->factor * l / m - (rope->factor - 1), d / (d - 2));
}

static void
scale_llama3 (const VlmRope *rope, int n, float *f)
{
  double m = rope->original_max_position;
  double low = rope->low_freq_factor, high = rope->high_freq_factor;
  float factor = (float) rope->factor;

  for (int i = 0; i < n; i++) {
    float wavelength = (float) (2 * G_PI) / f[i];
    float smooth =
        ((float) m / wavelength - (float) low) / (float) (high - low);

    if (wavelength > (float) (m / low))
      f[i] /= factor;
    else if (!(wavelength < (float) (m / high)))
      f[i] = (1 - smooth) * f[i] / factor + smooth * f[i];
  }
}

/* The dimension whose wave turns `rotations` times within the original
 * context. */
static double
correction_dim (const VlmRope *rope, double rotations, int d)
{
  return d * log (rope->original_max_position / (rotations * 2 * G_PI)) /
         (2 * log (rope->theta));
}

static void
scale_yarn (const VlmRope *rope, int d, const float *powers, float *f)
{
  double low = correction_dim (rope, rope->beta_fast, d);
  double high = correction_dim (rope, rope->beta_slow, d);

  if (rope->truncate) {
    low = floor (low);
    high = ceil (high);
  }
  low = MAX (low, 0);
  high = MIN (high, d - 1);
  if (low == high)
    high += 0.001;
  for (int i = 0; i < d / 2; i++) {
    float ramp = ((float) i - (float) low) / (float) (high - low);
    float keep = 1 - CLAMP (ramp, 0, 1);

    f[i] = 1 / ((float) rope->factor * powers[i]) * (1 - keep) +
           1 / powers[i] * keep;
  }
}

void
vlm_rope_frequencies (
    const VlmTextConfig *text, int length, float *inv_freq, float *scale)
{
  const VlmRope *rope = &text->rope;
  int d = text->head_width;
  g_autofree float *powers = g_new (float, d / 2);

  base_powers (rope->kind == VLM_ROPE_DYNAMIC ? dynamic_theta (text, length)
                                              : rope->theta,
      d, powers);
  for (int i = 0; i < d / 2; i++)
    inv_freq[i] = 1 / powers[i];
  if (rope->kind == VLM_ROPE_LINEAR)
    for (int i = 0; i < d / 2; i++)
      inv_freq[i] /= (float) rope->factor;
  else if (rope->kind == VLM_ROPE_LLAMA3)
    scale_llama3 (rope, d / 2, inv_freq);
  else if (rope->kind == VLM_ROPE_YARN)
    scale_yarn (rope, d, powers, inv_freq);
  *scale = (float) rope->attention_factor;
}
