/* vision-run.c - the image encoder's forward pass
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/vision-private.h"

#include <math.h>
#include <string.h>

#include "engine/error.h"

static int
rows_per_tile (const VlmVision *v)
{
  return v->config.n_patches + 1;
}

static float
scale_of (const VlmVision *v)
{
  return 1 / sqrtf ((float) v->config.width / v->config.heads);
}

/* x = h0 of the given tiles, in that order. */
static void
embed (VlmVision *v, const VlmVisionJob *job, const int *tiles, int n)
{
  const Ops *op = v->dev->op;
  const VlmVisionConfig *c = &v->config;
  gsize tile_bytes = (gsize) 3 * c->image_size * c->image_size;
  gsize pixels = (gsize) c->n_patches * 3 * c->patch * c->patch;

  for (int i = 0; i < n; i++)
    op->patches (v->dev, act_at (v->dev, v->hidden, i * pixels),
        job->tiles + tiles[i] * tile_bytes, job->lut, 1, c->image_size,
        c->patch);
  op->matmul (
      v->dev, v->q, v->hidden, &v->patch, n * c->n_patches, EPILOGUE_SET);
  op->embed_patches (v->dev, v->x, v->q, v->class_embedding, v->positions, n,
      c->n_patches, c->width);
  op->layer_norm (v->dev, v->x, v->x, v->pre_norm_w, v->pre_norm_b,
      n * rows_per_tile (v), c->width, c->eps);
}

/* score[n,N] of the first n tiles of xb, whose keys are k. */
static void
score_tiles (VlmVision *v, const VisionLayer *l, int n)
{
  const Ops *op = v->dev->op;
  const VlmVisionConfig *c = &v->config;

  op->gather_rows (v->dev, v->class_x, v->xb, v->class_rows, n, c->width);
  op->matmul (v->dev, v->class_q, v->class_x, &l->q, n, EPILOGUE_SET);
  op->cls_attention (v->dev, v->score, v->class_q, v->k, n, c->n_patches,
      c->heads, c->width / c->heads, scale_of (v));
}

/* The first layer's tap of tile 0: needs its keys and one query only. */
static gboolean
tap_first (VlmVision *v, VlmVisionJob *job, GError **error)
{
  const Ops *op = v->dev->op;
  const VisionLayer *l = &v->layers[0];
  int n = rows_per_tile (v), C = v->config.width;
  const int one_token[] = { 1 }, base_tile[] = { 0 };

  vlm_vision_set_live (v, one_token, 1);
  embed (v, job, base_tile, 1);
  op->layer_norm (
      v->dev, v->xb, v->x, l->norm1_w, l->norm1_b, n, C, v->config.eps);
  op->matmul (v->dev, v->k, v->xb, &l->k, n, EPILOGUE_SET);
  score_tiles (v, l, 1);
  device_download (
      v->dev, v->cls_first, v->score, v->config.n_patches * sizeof (float));
  job->input.cls_first = v->cls_first;
  return vlm_device_check (v->dev, error);
}

static gboolean
plan (VlmVision *v, VlmVisionJob *job, VlmSelection *selection,
    gint64 *policy_us, GError **error)
{
  int n_tiles = vlm_tile_count (&job->input.geometry);
  gboolean all;
  gint64 start;

  job->input.cls_first = job->input.cls_last = NULL;
  if (job->policy->taps & VLM_TAP_CLS_FIRST && !tap_first (v, job, error))
    return FALSE;
  start = g_get_monotonic_time ();
  if (!job->policy->plan (&job->input, selection->per_tile, &all, error))
    return FALSE;
  *policy_us = g_get_monotonic_time () - start;
  vlm_vision_set_live (v, selection->per_tile, n_tiles);
  return TRUE;
}

/* The second half of a layer: x[n,C] += MLP. Uses xb and hidden. */
static void
run_mlp (VlmVision *v, const VisionLayer *l, Act *x, int n)
{
  const Ops *op = v->dev->op;

  op->layer_norm (v->dev, v->xb, x, l->norm2_w, l->norm2_b, n, v->config.width,
      v->config.eps);
  op->matmul (v->dev, v->hidden, v->xb, &l->fc1, n, v->activation);
  op->matmul (v->dev, x, v->hidden, &l->fc2, n, EPILOGUE_ADD);
}

static void
run_keys (VlmVision *v, const VisionLayer *l, int n)
{
  const Ops *op = v->dev->op;

  op->layer_norm (v->dev, v->xb, v->x, l->norm1_w, l->norm1_b, n,
      v->config.width, v->config.eps);
  op->matmul (v->dev, v->k, v->xb, &l->k, n, EPILOGUE_SET);
  op->matmul (v->dev, v->v, v->xb, &l->v, n, EPILOGUE_SET);
}

static void
run_attention (VlmVision *v, const int *q_start, int n_q)
{
  const VlmVisionConfig *c = &v->config;

  v->dev->op->attention_tiles (v->dev, v->xb, v->q, v->k, v->v, q_start, n_q,
      v->n_live, rows_per_tile (v), c->heads, c->width / c->heads,
      scale_of (v));
}

static void
run_layer (VlmVision *v, const VisionLayer *l)
{
  const Ops *op = v->dev->op;
  int n = v->n_live * rows_per_tile (v);

  run_keys (v, l, n);
  op->matmul (v->dev, v->q, v->xb, &l->q, n, EPILOGUE_SET);
  run_attention (v, v->tile_start, n);
  op->matmul (v->dev, v->x, v->xb, &l->out, n, EPILOGUE_ADD);
  run_mlp (v, l, v->x, n);
}

static void
save_hidden_state (VlmVision *v, int state)
{
  for (int i = 0; i < v->n_feature_layers; i++)
    if (v->saved[i] && v->feature_layer[i] == state)
      vlm_copy_rows (v->dev, v->saved[i], v->x, v->n_live * rows_per_tile (v),
          v->config.width);
}

static gboolean
run_layers (VlmVision *v, const VlmVisionJob *job, GError **error)
{
  embed (v, job, v->live, v->n_live);
  save_hidden_state (v, 0);
  for (int i = 0; i < v->n_layers - 1; i++) {
    if (job->cancelled && g_atomic_int_get (job->cancelled)) {
      g_set_error (error, VLM_ERROR, VLM_ERROR_CANCELLED,
          "The description was cancelled.");
      return FALSE;
    }
    run_layer (v, &v->layers[i]);
    save_hidden_state (v, i + 1);
  }
  return TRUE;
}

static gboolean
tap_last (VlmVision *v, VlmVisionJob *job, GError **error)
{
  int N = v->config.n_patches;

  memset (v->cls_last, 0, (gsize) v->max_tiles * N * sizeof (float));
  job->input.cls_last = v->cls_last;
  if (v->n_live > 0)
    score_tiles (v, &v->layers[v->n_layers - 1], v->n_live);
  for (int i = 0; i < v->n_live; i++)
    device_download (v->dev, v->cls_last + (gsize) v->live[i] * N,
        v->score + (gsize) i * N, N * sizeof (float));
  return vlm_device_check (v->dev, error);
}

static gboolean
select_tokens (VlmVision *v, VlmVisionJob *job, VlmSelection *selection,
    gint64 *policy_us, GError **error)
{
  gint64 start = g_get_monotonic_time ();

  if (!job->policy->select (&job->input, selection, error))
    return FALSE;
  *policy_us += g_get_monotonic_time () - start;
  vlm_vision_keep (v, selection, vlm_tile_count (&job->input.geometry));
  return TRUE;
}

/* The last layer of the kept rows, into k [n_kept,C], tile after tile. x is
 * still the layer's input and xb its norm; k and v hold its keys. */
static void
finish_last_layer (VlmVision *v)
{
  const Ops *op = v->dev->op;
  const VisionLayer *l = &v->layers[v->n_layers - 1];
  int n = v->n_kept, C = v->config.width;

  op->gather_rows (v->dev, v->hidden, v->xb, v->kept_rows, n, C);
  op->matmul (v->dev, v->q, v->hidden, &l->q, n, EPILOGUE_SET);
  run_attention (v, v->kept_start, n);
  op->gather_rows (v->dev, v->k, v->x, v->kept_rows, n, C);
  op->matmul (v->dev, v->k, v->xb, &l->out, n, EPILOGUE_ADD);
  run_mlp (v, l, v->k, n);
}

/* Kept rows of feature layer i in sequence order, in v [n_kept,C]. */
static void
gather_feature (VlmVision *v, int i)
{
  const Ops *op = v->dev->op;
  gboolean is_output = v->feature_layer[i] == v->n_layers;
  const Act *from = is_output ? v->k : v->saved[i] ? v->saved[i] : v->x;

  op->gather_rows (v->dev, v->v, from,
      is_output ? v->kept_from : v->sequence_rows, v->n_kept, v->config.width);
}

static const Act *
gather_features (VlmVision *v)
{
  int C = v->config.width, n = v->n_feature_layers;

  if (n == 1) {
    gather_feature (v, 0);
    return v->v;
  }
  for (int i = 0; i < n; i++) {
    gather_feature (v, i);
    v->dev->op->copy_columns (
        v->dev, v->features, v->v, v->n_kept, C, n * C, i * C);
  }
  return v->features;
}

gboolean
vlm_vision_run (VlmVision *v, VlmVisionJob *job, VlmSelection *selection,
    const Act **features, gint64 *policy_us, GError **error)
{
  gint64 spent = 0;

  g_assert (vlm_tile_count (&job->input.geometry) <= v->max_tiles);
  if (!plan (v, job, selection, &spent, error))
    return FALSE;
  if (v->n_live > 0) {
    if (!run_layers (v, job, error))
      return FALSE;
    run_keys (v, &v->layers[v->n_layers - 1], v->n_live * rows_per_tile (v));
  }
  if (job->policy->taps & VLM_TAP_CLS_LAST && !tap_last (v, job, error))
    return FALSE;
  if (!select_tokens (v, job, selection, &spent, error))
    return FALSE;
  *features = v->v;
  if (v->n_kept > 0 && v->deepest == v->n_layers)
    finish_last_layer (v);
  if (v->n_kept > 0)
    *features = gather_features (v);
  if (policy_us)
    *policy_us = spent;
  return vlm_device_check (v->dev, error);
}
