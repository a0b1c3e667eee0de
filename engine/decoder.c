/* decoder.c - the language model's weights and working memory
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/decoder-private.h"

#include "engine/error.h"

static void
list_layer (VlmParams *p, DecoderLayer *l, const VlmTextConfig *t, int i)
{
  int D = t->width, I = t->hidden;
  int q = t->heads * t->head_width, kv = t->kv_heads * t->head_width;

#define AT "text.layers.%d."
  vlm_params_vector (p, &l->attn_norm, D, AT "input_layernorm.weight", i);
  vlm_params_mat (p, &l->q, q, D, t->qkv_bias, AT "self_attn.q_proj", i);
  vlm_params_mat (p, &l->k, kv, D, t->qkv_bias, AT "self_attn.k_proj", i);
  vlm_params_mat (p, &l->v, kv, D, t->qkv_bias, AT "self_attn.v_proj", i);
  vlm_params_mat (p, &l->o, D, q, t->o_bias, AT "self_attn.o_proj", i);
  vlm_params_vector (
      p, &l->mlp_norm, D, AT "post_attention_layernorm.weight", i);
  vlm_params_mat (p, &l->gate, I, D, t->mlp_bias, AT "mlp.gate_proj", i);
  vlm_params_mat (p, &l->up, I, D, t->mlp_bias, AT "mlp.up_proj", i);
  vlm_params_mat (p, &l->down, D, I, t->mlp_bias, AT "mlp.down_proj", i);
}

/* Those that the layers before the first hierarchical one have are not used. */
static void
list_fine (VlmParams *p, DecoderLayer *l, const VlmTextConfig *t, int i)
{
  int D = t->width, kv = t->kv_heads * t->head_width;

  vlm_params_mat (
      p, &l->fine_k, kv, D, t->qkv_bias, AT "self_attn.k_proj_hd", i);
  vlm_params_mat (
      p, &l->fine_v, kv, D, t->qkv_bias, AT "self_attn.v_proj_hd", i);
}

#undef AT

static gboolean
is_tied (const VlmModel *model)
{
  return model->config.text.tied ||
         !vlm_weights_find (model->weights, "lm_head.weight");
}

static void
list_weights (VlmDecoder *d, const VlmModel *model)
{
  const VlmTextConfig *t = &d->text;
  VlmParams *p = d->params;

  vlm_params_mat (
      p, &d->embedding, t->vocab, t->width, FALSE, "text.embed_tokens");
  for (int i = 0; i < t->layers; i++)
    list_layer (p, &d->layers[i], t, i);
  for (int i = model->config.zoom.layer; d->fine && i < t->layers; i++)
    list_fine (p, &d->layers[i], t, i);
  vlm_params_vector (p, &d->norm, t->width, "text.norm.weight");
  d->logits_mat = &d->embedding;
  if (is_tied (model))
    return;
  vlm_params_mat (p, &d->head, t->vocab, t->width, FALSE, "lm_head");
  d->logits_mat = &d->head;
}

static gboolean
rope_varies (const VlmTextConfig *text)
{
  return text->rope.kind == VLM_ROPE_DYNAMIC;
}

static void
lay_out (VlmDecoder *d)
{
  const VlmTextConfig *t = &d->text;
  VlmArena *a = &d->arena;
  gsize n = d->max_tokens, act = d->dev->act_bytes;
  gsize q = (gsize) t->heads * t->head_width;
  gsize kv = (gsize) t->kv_heads * t->head_width;
  gsize c = t->head_width, hidden = t->hidden;
  gsize n_freq = rope_varies (t) ? n : 1;
  gsize k_end = (n * kv + 15) / 16 * 16; /* queries behind keys, aligned */

  vlm_decoder_batch_layout (&d->batch, a, d->max_tokens);
  d->x = vlm_arena_take (a, n * t->width, sizeof (Residual));
  d->xb = vlm_arena_take (a, n * t->width, act);
  d->q = vlm_arena_take (a, n * q, act);
  d->attn = vlm_arena_take (a, n * q, act);
  d->v = vlm_arena_take (a, n * kv, act);
  d->wide =
      vlm_arena_take (a, MAX (n * 2 * hidden, k_end + n * q), sizeof (float));
  d->wide_q = d->wide ? d->wide + k_end : NULL;
  d->hidden = vlm_arena_take (a, n * hidden, act);
  d->out_x =
      vlm_arena_take (a, (gsize) d->max_logits * t->width, sizeof (Residual));
  d->out_xb = vlm_arena_take (a, (gsize) d->max_logits * t->width, act);
  d->rope = vlm_arena_take (a, n * c, sizeof (float));
  d->out_rope = vlm_arena_take (a, d->max_logits * c, sizeof (float));
  d->inv_freq = vlm_arena_take (a, n_freq * (c / 2), sizeof (float));
  d->logits =
      vlm_arena_take (a, (gsize) d->max_logits * t->vocab, sizeof (float));
  if (d->fine)
    vlm_decoder_fine_layout (d->fine, a, d->dev, q, d->n_map);
}

static VlmDecoder *
decoder_new_empty (
    Device *dev, const VlmModel *model, int max_tokens, int max_logits)
{
  VlmDecoder *d = g_new0 (VlmDecoder, 1);

  d->dev = dev;
  d->text = model->config.text;
  d->text.window =
      g_memdup2 (d->text.window, d->text.layers * sizeof *d->text.window);
  d->max_tokens = max_tokens;
  d->max_logits = max_logits;
  d->layers = g_new0 (DecoderLayer, d->text.layers);
  d->n_map = model->config.vision.n_patches;
  if (model->config.zoom.ratio)
    d->fine = vlm_decoder_fine_new (max_logits);
  return d;
}

/* All kinds but the dynamic one have one set of frequencies for ever. */
static void
prepare_rope (VlmDecoder *d)
{
  int half = d->text.head_width / 2;
  int n = rope_varies (&d->text) ? d->max_tokens : 1;

  d->host_inv_freq = g_new0 (float, (gsize) n *half);
  vlm_rope_frequencies (&d->text, 0, d->host_inv_freq, &d->rope_scale);
  device_upload (d->dev, d->inv_freq, d->host_inv_freq, half * sizeof (float));
}

VlmDecoder *
vlm_decoder_new (Device *dev, const VlmModel *model, DataType type,
    int max_tokens, int max_logits, GError **error)
{
  g_autoptr (VlmDecoder) d =
      decoder_new_empty (dev, model, max_tokens, max_logits);

  d->params = vlm_params_new (dev, model->weights, type);
  list_weights (d, model);
  if (!vlm_params_check (d->params, error))
    return NULL;
  lay_out (d);
  if (!vlm_arena_allocate (&d->arena, dev, "language model", error))
    return NULL;
  lay_out (d);
  prepare_rope (d);
  if (!vlm_device_check (dev, error))
    return NULL;
  return g_steal_pointer (&d);
}

guint64
vlm_decoder_bytes (Device *dev, const VlmModel *model, DataType type,
    int max_tokens, int max_logits)
{
  g_autoptr (VlmDecoder) d =
      decoder_new_empty (dev, model, max_tokens, max_logits);

  d->params = vlm_params_new_measuring (dev, model->weights, type);
  list_weights (d, model);
  lay_out (d);
  return vlm_params_bytes (d->params) + d->arena.used;
}

void
vlm_decoder_free (VlmDecoder *d)
{
  if (!d)
    return;
  device_forget (d->dev, d);
  vlm_params_free (d->params);
  vlm_decoder_batch_clear (&d->batch);
  vlm_decoder_fine_free (d->fine);
  device_free (d->dev, d->arena.base);
  g_free (d->text.window);
  g_free (d->host_inv_freq);
  g_free (d->layers);
  g_free (d);
}
