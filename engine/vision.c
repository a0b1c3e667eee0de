/* vision.c - the image encoder's weights and working memory
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/vision-private.h"

#define AT "vision.encoder.layers.%d."

/* What a layer's keys and queries take. */
static void
list_keys (VlmParams *p, VisionLayer *l, int C, int i)
{
  vlm_params_vector (p, &l->norm1_w, C, AT "layer_norm1.weight", i);
  vlm_params_vector (p, &l->norm1_b, C, AT "layer_norm1.bias", i);
  vlm_params_mat (p, &l->q, C, C, TRUE, AT "self_attn.q_proj", i);
  vlm_params_mat (p, &l->k, C, C, TRUE, AT "self_attn.k_proj", i);
}

static void
list_layer (VlmParams *p, VisionLayer *l, int C, int F, int i)
{
  list_keys (p, l, C, i);
  vlm_params_mat (p, &l->v, C, C, TRUE, AT "self_attn.v_proj", i);
  vlm_params_mat (p, &l->out, C, C, TRUE, AT "self_attn.out_proj", i);
  vlm_params_vector (p, &l->norm2_w, C, AT "layer_norm2.weight", i);
  vlm_params_vector (p, &l->norm2_b, C, AT "layer_norm2.bias", i);
  vlm_params_mat (p, &l->fc1, F, C, TRUE, AT "mlp.fc1", i);
  vlm_params_mat (p, &l->fc2, C, F, TRUE, AT "mlp.fc2", i);
}

/* Folders may leave out the layers that never run. */
static gboolean
has_keys (const VlmWeights *weights, int i)
{
  g_autofree char *name = g_strdup_printf (AT "self_attn.k_proj.weight", i);

  return vlm_weights_has (weights, name);
}

#undef AT

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
  if (v->has_beyond)
    list_keys (p, &v->layers[v->n_layers], C, v->n_layers);
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

  v->tile_start = vlm_arena_take (a, tiles + 1, sizeof (int));
  v->kept_start = vlm_arena_take (a, tiles + 1, sizeof (int));
  v->kept_rows = vlm_arena_take (a, rows, sizeof (int));
  v->sequence_rows = vlm_arena_take (a, rows + 1, sizeof (int));
  v->kept_from = vlm_arena_take (a, rows + 1, sizeof (int));
  v->choice = vlm_arena_take (a, tiles, sizeof (PatchTile));
  v->bad = vlm_arena_take (a, tiles, sizeof (int));
  v->sums = vlm_arena_take (a, tiles, sizeof (double));
  v->merge_start = vlm_arena_take (a, rows + 1, sizeof (int));
  v->merge_weight = vlm_arena_take (a, rows, sizeof (float));
}

/* One piece of memory for what is never there at the same time. */
static gsize
shared_bytes (const VlmVision *v)
{
  const VlmVisionConfig *c = &v->config;
  gsize N = c->n_patches, act = v->dev->act_bytes;
  gsize rows = v->max_tiles * (N + 1);
  gsize pixels = v->max_tiles * N * 3 * c->patch * c->patch;
  gsize keys = N * (c->width / c->heads) * sizeof (float);
  gsize cosines = N <= VISION_MAX_COMPARED ? N * N * sizeof (float) : 0;
  gsize near = v->max_tiles * N * 4 * sizeof (float);
  gsize hidden = MAX (rows * MAX (c->hidden, c->width), pixels) * act;
  gsize wide = rows * c->width * sizeof (float);

  return MAX (MAX (hidden, wide), MAX (near, MAX (keys, cosines)));
}

static void
lay_out (VlmVision *v)
{
  const VlmVisionConfig *c = &v->config;
  VlmArena *a = &v->arena;
  gsize tiles = v->max_tiles, act = v->dev->act_bytes;
  gsize rows = tiles * (c->n_patches + 1), C = c->width;

  v->x = vlm_arena_take (a, rows * C, sizeof (Residual));
  v->last = vlm_arena_take (a, rows * C, sizeof (Residual));
  v->xb = vlm_arena_take (a, rows * C, act);
  v->q = vlm_arena_take (a, rows * C, act);
  v->k = vlm_arena_take (a, rows * C, act);
  v->v = vlm_arena_take (a, (rows + 1) * C, act);
  v->hidden = vlm_arena_take (a, shared_bytes (v), 1);
  for (int i = 0; i < v->n_feature_layers; i++)
    if (is_overwritten (v, v->feature_layer[i]))
      v->saved[i] = vlm_arena_take (a, rows * C, sizeof (Residual));
  if (v->n_feature_layers > 1)
    v->features = vlm_arena_take (a, (rows + 1) * C * v->n_feature_layers, act);
  v->class_x = vlm_arena_take (a, tiles * C, act);
  v->class_q = vlm_arena_take (a, tiles * C, sizeof *v->class_q);
  v->score = vlm_arena_take (a, tiles * c->n_patches, sizeof (float));
  lay_out_ints (v, tiles, rows);
}

static VlmVision *
vision_new_empty (Device *dev, const VlmModel *model, int max_tiles)
{
  const VlmConfig *config = &model->config;
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
  v->layers = g_new0 (VisionLayer, v->n_layers + 1);
  v->beyond = v->deepest == v->n_layers && v->n_layers < v->config.layers;
  v->has_beyond = v->beyond && has_keys (model->weights, v->n_layers);
  return v;
}

static void
allocate_fetched (VlmVision *v)
{
  gsize P = v->max_tiles, rows = P * vlm_vision_tile_rows (v);
  VisionFetched *f = &v->fetched;

  f->sums = device_host_alloc (
      v->dev, P * sizeof *f->sums + (P + P + 1 + rows) * sizeof (int));
  f->bad = (int *) (f->sums + P);
  f->starts = f->bad + P;
  f->sequence = f->starts + P + 1;
}

static void
upload_tile_starts (VlmVision *v)
{
  g_autofree int *start = g_new (int, v->max_tiles + 1);

  for (int i = 0; i <= v->max_tiles; i++)
    start[i] = i * vlm_vision_tile_rows (v);
  device_upload (
      v->dev, v->tile_start, start, (v->max_tiles + 1) * sizeof *start);
}

/* Zeroed, so that what no policy asks for is never touched. */
static void
allocate_host (VlmVision *v)
{
  gsize N = v->config.n_patches, P = v->max_tiles, rows = P * (N + 1);

  v->host_ints = g_new0 (int, rows + 1);
  v->host_starts = g_new0 (int, rows + 1);
  v->place = g_new0 (int, rows);
  v->live = g_new0 (int, P);
  v->slot = g_new0 (int, P);
  v->cls_first = g_new0 (float, N);
  v->cls_last = g_new0 (float, P *N);
  v->cls_next = g_new0 (float, P *N);
  v->key = g_new0 (float, P *N *(v->config.width / v->config.heads));
  v->near = g_new0 (float, P *N * 4);
  if (N <= VISION_MAX_COMPARED)
    v->cosine = g_new0 (float, P *N *N);
}

VlmVision *
vlm_vision_new (Device *dev, const VlmModel *model, DataType type,
    int max_tiles, GError **error)
{
  g_autoptr (VlmVision) v = vision_new_empty (dev, model, max_tiles);

  v->params = vlm_params_new (dev, model->weights, type);
  list_weights (v);
  if (!vlm_params_check (v->params, error))
    return NULL;
  lay_out (v);
  if (!vlm_arena_allocate (&v->arena, dev, "image encoder", error))
    return NULL;
  lay_out (v);
  upload_tile_starts (v);
  allocate_host (v);
  allocate_fetched (v);
  if (!vlm_device_check (dev, error))
    return NULL;
  return g_steal_pointer (&v);
}

guint64
vlm_vision_bytes (
    Device *dev, const VlmModel *model, DataType type, int max_tiles)
{
  g_autoptr (VlmVision) v = vision_new_empty (dev, model, max_tiles);

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
  device_forget (v->dev, v);
  vlm_params_free (v->params);
  device_free (v->dev, v->arena.base);
  device_host_free (v->dev, v->fetched.sums);
  g_free (v->host_ints);
  g_free (v->host_starts);
  g_free (v->place);
  g_free (v->live);
  g_free (v->slot);
  g_free (v->cls_first);
  g_free (v->cls_last);
  g_free (v->cls_next);
  g_free (v->key);
  g_free (v->cosine);
  g_free (v->near);
  g_free (v->layers);
  g_free (v);
}
