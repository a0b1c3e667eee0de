/* model-tensors.c - every tensor of the forward pass, by name and shape
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Only headers are read. Encoder layers past the deepest feature layer never
 * run and need not be there.
 */
#include "engine/fine.h"
#include "engine/model-parse.h"

/* The tensor `prefix` + `name`, of one or two dimensions (cols 0: one). */
static gboolean
have (const VlmWeights *weights, const char *prefix, const char *name, int rows,
    int cols, GError **error)
{
  g_autofree char *full = g_strconcat (prefix, name, NULL);

  return vlm_weights_require (weights, error, full, cols ? 2 : 1, rows, cols) !=
         NULL;
}

/* A linear layer's weight [rows,cols] and, if it has one, bias [rows]. */
static gboolean
have_linear (const VlmWeights *weights, const char *prefix, const char *name,
    int rows, int cols, gboolean bias, GError **error)
{
  g_autofree char *part = g_strconcat (prefix, name, NULL);

  return have (weights, part, ".weight", rows, cols, error) &&
         (!bias || have (weights, part, ".bias", rows, 0, error));
}

static gboolean
have_norm (const VlmWeights *weights, const char *prefix, const char *name,
    int width, GError **error)
{
  return have_linear (weights, prefix, name, width, 0, TRUE, error);
}

static gboolean
check_vision_layer (const VlmVisionConfig *v, const VlmWeights *weights,
    int layer, GError **error)
{
  static const char *const square[] = { "self_attn.q_proj", "self_attn.k_proj",
    "self_attn.v_proj", "self_attn.out_proj" };
  g_autofree char *prefix =
      g_strdup_printf ("vision.encoder.layers.%d.", layer);
  int c = v->width, f = v->hidden;

  for (gsize i = 0; i < G_N_ELEMENTS (square); i++)
    if (!have_linear (weights, prefix, square[i], c, c, TRUE, error))
      return FALSE;
  return have_norm (weights, prefix, "layer_norm1", c, error) &&
         have_norm (weights, prefix, "layer_norm2", c, error) &&
         have_linear (weights, prefix, "mlp.fc1", f, c, TRUE, error) &&
         have_linear (weights, prefix, "mlp.fc2", c, f, TRUE, error);
}

static gboolean
check_vision (
    const VlmConfig *config, const VlmWeights *weights, GError **error)
{
  const VlmVisionConfig *v = &config->vision;
  const char *embeddings = "vision.embeddings.";
  int c = v->width, run = 1; /* policies tap the first layer's attention */

  if (!have (weights, embeddings, "class_embedding", c, 0, error) ||
      !vlm_weights_require (weights, error,
          "vision.embeddings.patch_embedding.weight", 4, c, 3, v->patch,
          v->patch) ||
      !have (weights, embeddings, "position_embedding.weight", v->n_patches + 1,
          c, error) ||
      !have_norm (weights, "vision.", "pre_layrnorm", c, error))
    return FALSE;
  for (int i = 0; i < config->n_feature_layers; i++)
    run = MAX (run, config->feature_layer[i]);
  for (int i = 0; i < run; i++)
    if (!check_vision_layer (v, weights, i, error))
      return FALSE;
  return TRUE;
}

static gboolean
check_projector (
    const VlmConfig *config, const VlmWeights *weights, GError **error)
{
  const char *prefix = "multi_modal_projector.";
  int d = config->text.width;
  int c = config->vision.width * config->n_feature_layers;
  gboolean bias = config->projector_bias;

  return have_linear (weights, prefix, "linear_1", d, c, bias, error) &&
         have_linear (weights, prefix, "linear_2", d, d, bias, error) &&
         (!config->newline || have (weights, "", "image_newline", d, 0, error));
}

static gboolean
check_text_layer (const VlmTextConfig *t, const VlmWeights *weights, int layer,
    GError **error)
{
  g_autofree char *prefix = g_strdup_printf ("text.layers.%d.", layer);
  int d = t->width, q = t->heads * t->head_width;
  int kv = t->kv_heads * t->head_width;

  return have (weights, prefix, "input_layernorm.weight", d, 0, error) &&
         have_linear (
             weights, prefix, "self_attn.q_proj", q, d, t->qkv_bias, error) &&
         have_linear (
             weights, prefix, "self_attn.k_proj", kv, d, t->qkv_bias, error) &&
         have_linear (
             weights, prefix, "self_attn.v_proj", kv, d, t->qkv_bias, error) &&
         have_linear (
             weights, prefix, "self_attn.o_proj", d, q, t->o_bias, error) &&
         have (
             weights, prefix, "post_attention_layernorm.weight", d, 0, error) &&
         have_linear (weights, prefix, "mlp.gate_proj", t->hidden, d,
             t->mlp_bias, error) &&
         have_linear (weights, prefix, "mlp.up_proj", t->hidden, d, t->mlp_bias,
             error) &&
         have_linear (weights, prefix, "mlp.down_proj", d, t->hidden,
             t->mlp_bias, error);
}

/* A head that is there counts even when the config calls it tied: so does
 * transformers, unless both are equal. */
static gboolean
check_text (VlmTextConfig *t, const VlmWeights *weights, GError **error)
{
  if (!have (
          weights, "text.", "embed_tokens.weight", t->vocab, t->width, error))
    return FALSE;
  for (int i = 0; i < t->layers; i++)
    if (!check_text_layer (t, weights, i, error))
      return FALSE;
  t->tied = !vlm_weights_has (weights, "lm_head.weight");
  return have (weights, "text.", "norm.weight", t->width, 0, error) &&
         (t->tied ||
             have (weights, "", "lm_head.weight", t->vocab, t->width, error));
}

/* Hierarchical layers' second projections; a folder may leave out those of the
 * layers before. */
static gboolean
check_fine (const VlmConfig *config, const VlmWeights *weights, GError **error)
{
  const VlmTextConfig *t = &config->text;
  int d = t->width, kv = t->kv_heads * t->head_width;

  for (int i = config->zoom.layer; config->zoom.ratio && i < t->layers; i++) {
    g_autofree char *prefix = g_strdup_printf ("text.layers.%d.self_attn.", i);

    if (!have_linear (
            weights, prefix, "k_proj_hd", kv, d, t->qkv_bias, error) ||
        !have_linear (weights, prefix, "v_proj_hd", kv, d, t->qkv_bias, error))
      return FALSE;
  }
  return TRUE;
}

gboolean
vlm_model_check_tensors (VlmModel *model, GError **error)
{
  VlmConfig *config = &model->config;

  return check_vision (config, model->weights, error) &&
         check_projector (config, model->weights, error) &&
         check_text (&config->text, model->weights, error) &&
         check_fine (config, model->weights, error);
}
