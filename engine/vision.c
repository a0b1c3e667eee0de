/* vision.c - the image encoder's weights and working memory
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/vision-private.h"

static void
list_layer (VlmParams *p, VisionLayer *l, int C, int F, int i)
{
#define AT "vision.encoder.layers.%d."
  vlm_params_vector (p, &l->norm1_w, C, AT "layer_norm1.weight", i);
  vlm_params_vector (p, &l->norm1_b, C, AT "layer_norm1.bias", i);
  vlm_params_mat (p, &l->q, C, C, TRUE, AT "self_attn.q_proj", i);
  vlm_params_mat (p, &l->k, C, C, TRUE, AT "self_attn.k_proj", i);
  vlm_params_mat (p, &l->v, C, C, TRUE, AT "self_attn.v_proj", i);
  vlm_params_mat (p, &l->out, C, C, TRUE, AT "self_attn.out_proj", i);
  vlm_params_vector (p, &l->norm2_w, C, AT "layer_norm2.weight", i);
  vlm_params_vector (p, &l->norm2_b, C, AT "layer_norm2.bias", i);
  vlm_params_mat (p, &l->fc1, F, C, TRUE, AT "mlp.fc1", i);
  vlm_params_mat (p, &l->fc2, C, F, TRUE, AT "mlp.fc2", i);
#undef AT
}

static void
list_weights (VlmVision *v)
{
  const VlmVisionConfig *c = &v->config;
  VlmParams *p = v->params;
  int C = c->width;

  vlm_params_convolution (
      p, &v->patch, C, c->patch, "vision.embeddings.patch_embedding");
  vlm_params_vector (
      p, &v->class_embedding, C, "vision.embeddings.class_embedding");
  vlm_params_table (p, &v->positions, c->n_patches + 1, C,
      "vision.embeddings.position_embedding.weight");
  vlm_params_vector (p, &v->pre_norm_w, C, "vision.pre_layrnorm.weight");
  vlm_params_vector (p, &v->pre_norm_b, C, "vision.pre_layrnorm.bias");
  for (int i = 0; i < v->n_layers; i++)
    list_layer (p, &v->layers[i], C, c->hidden, i);
}

/* A hidden state must be saved if it is wanted and overwritten before the
 * kept tokens are known: that of the last layer's input is not. */
static gboolean
is_overwritten (const VlmVision *v, int hidden_state)
{
  return hidden_state < v->n_layers - 1;
}

static void
lay_out_ints (VlmVision *v, int tiles, int rows)
{
  VlmArena *a = &v->arena;

  v->class_rows = vlm_arena_take (a, tiles, sizeof (int));
  v->tile_start = vlm_arena_take (a, tiles + 1, sizeof (int));
  v->kept_start = vlm_arena_take (a, tiles + 1, sizeof (int));
  v->kept_rows = vlm_arena_take (a, rows, sizeof (int));
  v->kept_from = vlm_arena_take (a, rows, sizeof (int));
  v->sequence_rows = vlm_arena_take (a, rows, sizeof (int));
}

static void
lay_out (VlmVision *v)
{
  const VlmVisionConfig *c = &v->config;
  VlmArena *a = &v->arena;
  gsize tiles = v->max_tiles, act = v->dev->act_bytes;
  gsize rows = tiles * (c->n_patches + 1), C = c->width;
  gsize pixels = tiles * c->n_patches * 3 * c->patch * c->patch;

  v->x = vlm_arena_take (a, rows * C, act);
  v->xb = vlm_arena_take (a, rows * C, act);
  v->q = vlm_arena_take (a, rows * C, act);
  v->k = vlm_arena_take (a, rows * C, act);
  v->v = vlm_arena_take (a, rows * C, act);
  v->hidden =
      vlm_arena_take (a, MAX (rows * MAX (c->hidden, c->width), pixels), act);
  for (int i = 0; i < v->n_feature_layers; i++)
    if (is_overwritten (v, v->feature_layer[i]))
      v->saved[i] = vlm_arena_take (a, rows * C, act);
  if (v->n_feature_layers > 1)
    v->features = vlm_arena_take (a, rows * C * v->n_feature_layers, act);
  v->class_x = vlm_arena_take (a, tiles * C, act);
  v->class_q = vlm_arena_take (a, tiles * C, act);
  v->score = vlm_arena_take (a, tiles * c->n_patches, sizeof (float));
  lay_out_ints (v, tiles, rows);
}

static VlmVision *
vision_new_empty (Device *dev, const VlmConfig *config, int max_tiles)
{
  VlmVision *v = g_new0 (VlmVision, 1);

  v->dev = dev;
  v->config = config->vision;
  v->activation = v->config.activation == VLM_ACT_GELU ? EPILOGUE_GELU
                                                       : EPILOGUE_QUICK_GELU;
  v->keep_class_token = config->keep_class_token;
  v->n_feature_layers = config->n_feature_layers;
  for (int i = 0; i < v->n_feature_layers; i++) {
    v->feature_layer[i] = config->feature_layer[i];
    v->deepest = MAX (v->deepest, v->feature_layer[i]);
  }
  v->n_layers = MAX (v->deepest, 1);
  v->max_tiles = max_tiles;
  v->layers = g_new0 (VisionLayer, v->n_layers);
  return v;
}

static void
allocate_host (VlmVision *v)
{
  int N = v->config.n_patches, P = v->max_tiles;

  v->host_ints = g_new0 (int, vlm_vision_host_ints (P, N));
  v->live = g_new0 (int, P);
  v->slot = g_new0 (int, P);
  v->cls_first = g_new0 (float, N);
  v->cls_last = g_new0 (float, (gsize) P *N);
}

VlmVision *
vlm_vision_new (Device *dev, const VlmModel *model, DataType type,
    int max_tiles, GError **error)
{
  g_autoptr (VlmVision) v = vision_new_empty (dev, &model->config, max_tiles);

  v->params = vlm_params_new (dev, model->weights, type);
  list_weights (v);
  if (!vlm_params_check (v->params, error))
    return NULL;
  lay_out (v);
  if (!vlm_arena_allocate (&v->arena, dev, "image encoder", error))
    return NULL;
  lay_out (v);
  allocate_host (v);
  if (!vlm_device_check (dev, error))
    return NULL;
  return g_steal_pointer (&v);
}

guint64
vlm_vision_bytes (
    Device *dev, const VlmModel *model, DataType type, int max_tiles)
{
  g_autoptr (VlmVision) v = vision_new_empty (dev, &model->config, max_tiles);

  v->params = vlm_params_new_measuring (dev, model->weights, type);
  list_weights (v);
  lay_out (v);
  return vlm_params_bytes (v->params) + v->arena.used;
}

void
vlm_vision_free (VlmVision *v)
{
  if (!v)
    return;
  vlm_params_free (v->params);
  device_free (v->dev, v->arena.base);
  g_free (v->host_ints);
  g_free (v->live);
  g_free (v->slot);
  g_free (v->cls_first);
  g_free (v->cls_last);
  g_free (v->layers);
  g_free (v);
}
