/* model-text.c - text_config: the language model's sizes and windows
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Published text configs are short diffs against the class defaults of
 * transformers, so these defaults are part of the format.
 */
#include "engine/model-parse.h"

#include <string.h>

#include "engine/error.h"
#include "kernels/ops.h"

typedef struct {
  const char *model_type;
  VlmTextKind kind;
  int vocab, hidden, kv_heads; /* kv_heads 0: as many as heads */
  int max_position, window;
} Kind;

static const Kind kinds[] = {
  { "llama", VLM_TEXT_LLAMA, 32000, 11008, 0, 2048, 0 },
  { "mistral", VLM_TEXT_MISTRAL, 32000, 14336, 8, 131072, 4096 },
  { "qwen2", VLM_TEXT_QWEN2, 151936, 22016, 32, 32768, 4096 },
};

static const Kind *
find_kind (const VlmJson *json, const char *name, GError **error)
{
  for (gsize i = 0; i < G_N_ELEMENTS (kinds); i++)
    if (g_str_equal (name, kinds[i].model_type))
      return &kinds[i];
  vlm_json_fail (json, "model_type", VLM_ERROR_WRONG_TYPE,
      "\"llama\", \"mistral\" or \"qwen2\"", error);
  return NULL;
}

static gboolean
check_activation (const VlmJson *json, GError **error)
{
  const char *name = "silu";

  if (!vlm_json_get_string (json, "hidden_act", &name, error))
    return FALSE;
  return g_str_equal (name, "silu") || g_str_equal (name, "swish") ||
         vlm_json_fail (
             json, "hidden_act", VLM_ERROR_WRONG_TYPE, "\"silu\"", error);
}

static gboolean
parse_sizes (
    VlmTextConfig *text, const VlmJson *json, const Kind *kind, GError **error)
{
  double eps = 1e-6;

  text->kind = kind->kind;
  text->vocab = kind->vocab;
  text->width = 4096;
  text->hidden = kind->hidden;
  text->layers = text->heads = 32;
  text->max_position = kind->max_position;
  if (!vlm_json_get_int (json, "vocab_size", 1, 1 << 24, &text->vocab, error) ||
      !vlm_json_get_int (
          json, "hidden_size", 1, 1 << 17, &text->width, error) ||
      !vlm_json_get_int (
          json, "intermediate_size", 1, 1 << 20, &text->hidden, error) ||
      !vlm_json_get_int (
          json, "num_hidden_layers", 1, 1024, &text->layers, error) ||
      !vlm_json_get_int (
          json, "num_attention_heads", 1, 4096, &text->heads, error) ||
      !vlm_json_get_int (json, "max_position_embeddings", 1, G_MAXINT,
          &text->max_position, error) ||
      !vlm_json_get_double (json, "rms_norm_eps", 0, 1, &eps, error))
    return FALSE;
  text->eps = (float) eps;
  return TRUE;
}

static gboolean
parse_heads (
    VlmTextConfig *text, const VlmJson *json, const Kind *kind, GError **error)
{
  text->kv_heads = kind->kv_heads ? kind->kv_heads : text->heads;
  if (vlm_json_is_null (json, "num_key_value_heads"))
    text->kv_heads = text->heads;
  text->head_width = text->width / text->heads;
  if (!vlm_json_get_int (
          json, "num_key_value_heads", 1, 4096, &text->kv_heads, error) ||
      !vlm_json_get_int (json, "head_dim", 2, 1024, &text->head_width, error))
    return FALSE;
  if (!vlm_json_has (json, "head_dim") && text->width % text->heads)
    return vlm_json_fail_format (json, "num_attention_heads", VLM_ERROR_DATA,
        error, "a divisor of hidden_size %d", text->width);
  if (text->head_width < 2 || text->head_width % 2 ||
      text->head_width > MAX_HEAD_WIDTH)
    return vlm_json_fail_format (json, "head_dim", VLM_ERROR_DATA, error,
        "an even head width of at most %d", MAX_HEAD_WIDTH);
  if (text->heads % text->kv_heads)
    return vlm_json_fail_format (json, "num_key_value_heads", VLM_ERROR_DATA,
        error, "a divisor of num_attention_heads %d", text->heads);
  return TRUE;
}

static gboolean
parse_biases (VlmTextConfig *text, const VlmJson *json, GError **error)
{
  gboolean attention = FALSE;

  if (text->kind == VLM_TEXT_LLAMA &&
      (!vlm_json_get_boolean (json, "attention_bias", &attention, error) ||
          !vlm_json_get_boolean (json, "mlp_bias", &text->mlp_bias, error)))
    return FALSE;
  text->qkv_bias = attention || text->kind == VLM_TEXT_QWEN2;
  text->o_bias = attention;
  return TRUE;
}

/* The window that the config asks for, before it is dealt out to layers. */
static gboolean
parse_window (
    const VlmJson *json, const Kind *kind, int *window, GError **error)
{
  gboolean on = kind->kind == VLM_TEXT_MISTRAL;

  *window = 0;
  if (kind->kind == VLM_TEXT_QWEN2 &&
      !vlm_json_get_boolean (json, "use_sliding_window", &on, error))
    return FALSE;
  if (!on || vlm_json_is_null (json, "sliding_window"))
    return TRUE;
  *window = kind->window;
  return vlm_json_get_int (json, "sliding_window", 1, G_MAXINT, window, error);
}

/* layer_types overrides max_window_layers, for qwen2 alone. */
static gboolean
apply_layer_types (
    VlmTextConfig *text, const VlmJson *json, int window, GError **error)
{
  JsonNode *node = vlm_json_member (json, "layer_types");
  JsonArray *types;

  if (!JSON_NODE_HOLDS_ARRAY (node) ||
      (int) json_array_get_length (json_node_get_array (node)) != text->layers)
    return vlm_json_fail (json, "layer_types", VLM_ERROR_DATA,
        "a list of one name per layer", error);
  types = json_node_get_array (node);
  for (int i = 0; i < text->layers; i++) {
    JsonNode *type = json_array_get_element (types, i);
    const char *name = JSON_NODE_HOLDS_VALUE (type) &&
                               json_node_get_value_type (type) == G_TYPE_STRING
                           ? json_node_get_string (type)
                           : "";
    gboolean sliding = g_str_equal (name, "sliding_attention");

    if (!sliding && !g_str_equal (name, "full_attention"))
      return vlm_json_fail (json, "layer_types", VLM_ERROR_WRONG_TYPE,
          "\"full_attention\" or \"sliding_attention\" per layer", error);
    if (sliding && !window)
      return vlm_json_fail (json, "layer_types", VLM_ERROR_WRONG_TYPE,
          "no \"sliding_attention\" without use_sliding_window and a "
          "sliding_window",
          error);
    text->window[i] = sliding ? window : 0;
  }
  return TRUE;
}

static gboolean
parse_windows (
    VlmTextConfig *text, const VlmJson *json, const Kind *kind, GError **error)
{
  int window = 0, first = 0;

  text->window = g_new0 (int, text->layers);
  if (!parse_window (json, kind, &window, error))
    return FALSE;
  if (kind->kind == VLM_TEXT_QWEN2) {
    first = 28;
    if (!vlm_json_get_int (
            json, "max_window_layers", 0, G_MAXINT, &first, error))
      return FALSE;
    if (vlm_json_has (json, "layer_types"))
      return apply_layer_types (text, json, window, error);
  }
  for (int i = first; i < text->layers; i++)
    text->window[i] = window;
  return TRUE;
}

gboolean
vlm_config_parse_text_as (
    VlmTextConfig *text, const VlmJson *json, const char *name, GError **error)
{
  const Kind *kind = find_kind (json, name, error);

  return kind && check_activation (json, error) &&
         parse_sizes (text, json, kind, error) &&
         parse_heads (text, json, kind, error) &&
         parse_biases (text, json, error) &&
         parse_windows (text, json, kind, error) &&
         vlm_config_parse_rope (&text->rope, json, text->max_position, error);
}

gboolean
vlm_config_parse_text (VlmTextConfig *text, const VlmJson *top, GError **error)
{
  const char *name = "llama";
  VlmJson json;

  return vlm_json_get_object (top, "text_config", &json, error) &&
         vlm_json_get_string (&json, "model_type", &name, error) &&
         vlm_config_parse_text_as (text, &json, name, error);
}
