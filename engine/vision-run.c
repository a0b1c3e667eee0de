/* vision-run.c - the image encoder's forward pass
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/vision-private.h"

#include <math.h>
#include <string.h>

#include "engine/error.h"

static VisionRows
rows_of (const VlmVision *v, int first, int n_tiles)
{
  int stride = vlm_vision_tile_rows (v);
  gsize at = (gsize) first * stride * v->config.width;
  Act *k = act_at (v->dev, v->k, at);

  return (VisionRows){ first, n_tiles, n_tiles * stride, v->x + at,
    v->last + at, act_at (v->dev, v->xb, at), act_at (v->dev, v->q, at), k,
    act_at (v->dev, v->v, at), v->dev->act_type == TYPE_F32 ? k : v->hidden };
}

/* x = h0 of live tiles. */
static void
embed (VlmVision *v, const VlmVisionJob *job, const VisionRows *w)
{
  const Ops *op = v->dev->op;
  const VlmVisionConfig *c = &v->config;
  gsize tile_bytes = (gsize) 3 * c->image_size * c->image_size;
  gsize pixels = (gsize) c->n_patches * 3 * c->patch * c->patch;

  for (int i = 0; i < w->n_tiles; i++) {
    const VlmTileGeometry *g = &job->input.geometry;
    Act *y = act_at (v->dev, v->hidden, i * pixels);
    int tile = v->live[w->first + i];

    if (tile == 0 && g->zoomed)
      op->shrunk_patches (v->dev, y, job->tiles + tile_bytes, job->lut, g->rows,
          c->image_size, c->patch);
    else
      op->patches (v->dev, y, job->tiles + tile * tile_bytes, job->lut, 1,
          c->image_size, c->patch);
  }
  op->matmul (v->dev, w->last, v->hidden, &v->patch, w->n_tiles * c->n_patches,
      EPILOGUE_WIDE);
  op->embed_patches (v->dev, w->x, w->last, v->class_embedding, v->positions,
      w->n_tiles, c->n_patches, c->width);
  op->layer_norm_residual (
      v->dev, w->x, v->pre_norm_w, v->pre_norm_b, w->n, c->width, c->eps);
}

/* xb = norm of x[n,C], k and wide_k = its keys in layer l. */
static void
run_keys (
    VlmVision *v, const VisionLayer *l, const VisionRows *w, const Residual *x)
{
  const Ops *op = v->dev->op;

  op->layer_norm (v->dev, w->xb, x, l->norm1_w, l->norm1_b, w->n,
      v->config.width, v->config.eps);
  op->matmul (v->dev, w->wide_k, w->xb, &l->k, w->n, EPILOGUE_WIDE);
  if (w->wide_k != w->k)
    op->narrow_rows (v->dev, w->k, w->wide_k, NULL, w->n, v->config.width);
}

static void
run_values (VlmVision *v, const VisionLayer *l, const VisionRows *w)
{
  v->dev->op->matmul (v->dev, w->v, w->xb, &l->v, w->n, EPILOGUE_SET);
}

/* The first layer's tap of tile 0: needs its keys and one query only. */
static gboolean
tap_base (VlmVision *v, const VlmVisionJob *job, GError **error)
{
  VisionRows w = rows_of (v, 0, 1);

  embed (v, job, &w);
  run_keys (v, &v->layers[0], &w, w.x);
  vlm_vision_tap_first (v, &w);
  return vlm_device_status (v->dev, error);
}

/* The second half of a layer: x[n,C] += MLP. Uses xb[n,C] and hidden. */
static void
run_mlp (VlmVision *v, const VisionLayer *l, Residual *x, Act *xb, int n)
{
  const Ops *op = v->dev->op;

  op->layer_norm (
      v->dev, xb, x, l->norm2_w, l->norm2_b, n, v->config.width, v->config.eps);
  op->matmul (v->dev, v->hidden, xb, &l->fc1, n, v->activation);
  op->matmul (v->dev, x, v->hidden, &l->fc2, n, EPILOGUE_ADD);
}

/* xb of n_q queries in q, those of each tile from q_start on. */
static void
run_attention (VlmVision *v, const VisionRows *w, const int *q_start, int n_q)
{
  const VlmVisionConfig *c = &v->config;
  int width = c->width / c->heads;

  v->dev->op->attention_tiles (v->dev, w->xb, w->q, w->k, w->v, q_start, n_q,
      w->n_tiles, vlm_vision_tile_rows (v), c->heads, width,
      1 / sqrtf ((float) c->width / c->heads));
}

/* The rest of layer l once its queries, keys and values are known: y[n,C]
 * becomes its output from its input. */
static void
run_rest (VlmVision *v, const VisionLayer *l, const VisionRows *w, Residual *y)
{
  run_attention (v, w, v->tile_start, w->n);
  v->dev->op->matmul (v->dev, y, w->xb, &l->out, w->n, EPILOGUE_ADD);
  run_mlp (v, l, y, w->xb, w->n);
}

/* Layer l from w->x, its input, to the same. */
static void
run_layer (VlmVision *v, const VisionLayer *l, const VisionRows *w)
{
  const Ops *op = v->dev->op;
  MatProduct products[] = { { w->k, &l->k, EPILOGUE_SET },
    { w->v, &l->v, EPILOGUE_SET }, { w->q, &l->q, EPILOGUE_SET } };

  op->layer_norm (v->dev, w->xb, w->x, l->norm1_w, l->norm1_b, w->n,
      v->config.width, v->config.eps);
  op->matmul_several (v->dev, products, 3, w->xb, w->n);
  run_rest (v, l, w, w->x);
}

static void
save_hidden_state (VlmVision *v, const VisionRows *w, int state)
{
  int C = v->config.width;
  gsize at = (gsize) w->first * vlm_vision_tile_rows (v) * C;

  for (int i = 0; i < v->n_feature_layers; i++)
    if (v->saved[i] && v->feature_layer[i] == state)
      vlm_copy_rows (
          v->dev, v->saved[i] + at, w->x, w->n, C * sizeof (Residual));
}

static gboolean
check_cancelled (const VlmVisionJob *job, GError **error)
{
  if (!job->cancelled || !g_atomic_int_get (job->cancelled))
    return TRUE;
  vlm_fail (error, VLM_ERROR_CANCELLED, NULL, "The description was cancelled.");
  return FALSE;
}

/* From h0 in x to the last layer's input. */
static gboolean
run_layers (
    VlmVision *v, const VlmVisionJob *job, const VisionRows *w, GError **error)
{
  save_hidden_state (v, w, 0);
  for (int i = 0; i < v->n_layers - 1; i++) {
    const VisionLayer *l = &v->layers[i];

    if (!check_cancelled (job, error))
      return FALSE;
    run_layer (v, l, w);
    save_hidden_state (v, w, i + 1);
  }
  return TRUE;
}

static gboolean
encode_tiles (
    VlmVision *v, const VlmVisionJob *job, const VisionRows *w, GError **error)
{
  DeviceKey key = { { v }, { w->first, w->n_tiles } };
  gboolean done;

  embed (v, job, w);
  if (device_replay (v->dev, &key))
    return check_cancelled (job, error);
  device_record (v->dev, &key);
  done = run_layers (v, job, w, error);
  device_recorded (v->dev, done);
  return done;
}

/* Neighbours from slot `first` on, all of them known to the cache or none. */
static int
count_alike (const VlmVision *v, const VlmVisionJob *job, int first, int end)
{
  gboolean known = vlm_tile_cache_knows (job->cache, v->live[first]);
  int n = 1;

  while (first + n < end &&
         vlm_tile_cache_knows (job->cache, v->live[first + n]) == known)
    n++;
  return n;
}

/* The last layer's input of live tiles: recalled where they did not change. */
static gboolean
reach_last_layer (
    VlmVision *v, VlmVisionJob *job, const VisionRows *w, GError **error)
{
  int end = w->first + w->n_tiles, n;

  for (int first = w->first; first < end; first += n) {
    gboolean known = vlm_tile_cache_knows (job->cache, v->live[first]);
    VisionRows some;

    n = count_alike (v, job, first, end);
    some = rows_of (v, first, n);
    if (!known && !encode_tiles (v, job, &some, error))
      return FALSE;
    for (int slot = first; slot < first + n && job->cache; slot++)
      if (known)
        vlm_tile_cache_get (job->cache, v->live[slot], slot);
      else
        vlm_tile_cache_put (job->cache, v->live[slot], slot);
    job->n_recalled += known ? n : 0;
  }
  return TRUE;
}

/* Live tiles up to the last layer's keys and values; through it, and on to
 * the next layer's keys, if `full`. */
static gboolean
encode (VlmVision *v, VlmVisionJob *job, int first, int n_tiles, unsigned taps,
    GError **error)
{
  VisionRows w = rows_of (v, first, n_tiles);
  const VisionLayer *last = &v->layers[v->n_layers - 1];

  if (n_tiles == 0)
    return TRUE;
  if (!reach_last_layer (v, job, &w, error))
    return FALSE;
  run_keys (v, last, &w, w.x);
  vlm_vision_tap_last (v, &w, taps);
  run_values (v, last, &w);
  if (v->full) {
    v->dev->op->matmul (v->dev, w.q, w.xb, &last->q, w.n, EPILOGUE_SET);
    vlm_copy_rows (v->dev, w.last, w.x, w.n, v->config.width * sizeof *w.last);
    run_rest (v, last, &w, w.last);
    run_keys (v, last + 1, &w, w.last);
  }
  vlm_vision_tap_next (v, &w, taps);
  return vlm_device_status (v->dev, error);
}

static gboolean
plan (VlmVision *v, VlmVisionJob *job, VlmSelection *selection, gboolean *all,
    gint64 *policy_us, GError **error)
{
  gint64 start = g_get_monotonic_time ();

  vlm_vision_offer (v, job->policy->plan_taps, &job->input);
  if (!job->policy->plan (&job->input, selection->per_tile, all, error))
    return FALSE;
  *policy_us += g_get_monotonic_time () - start;
  return TRUE;
}

/* What of the plan no score changes, and who says the rest. */
static gboolean
foresee (VlmVision *v, VlmVisionJob *job, VlmSelection *selection,
    gboolean *all, gint64 *policy_us, GError **error)
{
  v->sharing = VISION_PLAN_SHARES;
  if (!job->policy->area)
    return TRUE;
  v->sharing = VISION_NO_SHARES;
  if (!plan (v, job, selection, all, policy_us, error))
    return FALSE;
  v->sharing = vlm_vision_sharing (v, job, selection->per_tile);
  return TRUE;
}

/* Tile 0 first, as far as the plan reads it, then the tiles that are given
 * tokens. */
static gboolean
see (VlmVision *v, VlmVisionJob *job, VlmSelection *selection,
    gint64 *policy_us, GError **error)
{
  unsigned plan_taps = job->policy->plan_taps;
  unsigned taps = plan_taps | job->policy->select_taps;
  gboolean early = (plan_taps & ~VLM_TAP_CLS_FIRST) != 0, all = FALSE;
  gboolean by_first = (plan_taps & VLM_TAP_CLS_FIRST) != 0, plans;
  int n_tiles = vlm_tile_count (&job->input.geometry);
  int first = early ? 1 : 0;

  if (!foresee (v, job, selection, &all, policy_us, error))
    return FALSE;
  plans = v->sharing == VISION_PLAN_SHARES;
  vlm_vision_set_live (v, NULL, n_tiles, TRUE);
  if (by_first && v->sharing != VISION_NO_SHARES && !tap_base (v, job, error))
    return FALSE;
  if (job->cache)
    vlm_tile_cache_hear (job->cache, by_first && plans);
  if (early && !encode (v, job, 0, 1, taps, error))
    return FALSE;
  if (plans && !plan (v, job, selection, &all, policy_us, error))
    return FALSE;
  vlm_vision_set_live (v, selection->per_tile, n_tiles, early);
  vlm_vision_settle_choice (v, job, selection);
  if (!encode (v, job, first, v->n_live - first, all ? 0 : taps, error))
    return FALSE;
  vlm_vision_offer (v, all || v->chooses ? plan_taps : taps, &job->input);
  return TRUE;
}

/* Says which rows are needed: the policy's rule, on the device or here. */
static gboolean
choose (VlmVision *v, VlmVisionJob *job, VlmSelection *selection,
    gint64 *policy_us, GError **error)
{
  const VlmPolicy *policy = job->policy;
  gint64 start = g_get_monotonic_time ();

  if (policy->select && !policy->select (&job->input, selection, error))
    return FALSE;
  if (v->chooses)
    vlm_vision_choose (v);
  else
    vlm_vision_keep (v, selection);
  *policy_us += g_get_monotonic_time () - start;
  return TRUE;
}

/* The last layer of the needed rows, tile after tile. x is still the layer's
 * input and xb its norm; k and v hold its keys. */
static void
finish_last_layer (VlmVision *v)
{
  const Ops *op = v->dev->op;
  const VisionLayer *l = &v->layers[v->n_layers - 1];
  VisionRows w = rows_of (v, 0, v->n_live);
  int n = v->n_kept, C = v->config.width;

  op->gather_rows (
      v->dev, v->hidden, v->xb, v->kept_rows, n, C * v->dev->act_bytes);
  op->matmul (v->dev, v->q, v->hidden, &l->q, n, EPILOGUE_SET);
  run_attention (v, &w, v->kept_start, n);
  op->gather_rows (v->dev, v->last, v->x, v->kept_rows, n, C * sizeof *v->last);
  op->matmul (v->dev, v->last, v->xb, &l->out, n, EPILOGUE_ADD);
  run_mlp (v, l, v->last, v->xb, n);
}

/* The selection's rows of feature layer i in v [n_out,C]. */
static void
gather_feature (VlmVision *v, int i)
{
  gboolean is_output = v->feature_layer[i] == v->n_layers;

  if (is_output)
    vlm_vision_gather (v, v->v, v->last, !v->full);
  else
    vlm_vision_gather (v, v->v, v->saved[i] ? v->saved[i] : v->x, FALSE);
}

static const Act *
gather_features (VlmVision *v)
{
  gsize bytes = v->config.width * v->dev->act_bytes;
  int n = v->n_feature_layers;

  if (n == 1) {
    gather_feature (v, 0);
    return v->v;
  }
  for (int i = 0; i < n; i++) {
    gather_feature (v, i);
    v->dev->op->copy_columns (
        v->dev, v->features, v->v, v->n_out, bytes, n * bytes, i * bytes);
  }
  return v->features;
}

gboolean
vlm_vision_run (VlmVision *v, VlmVisionJob *job, VlmSelection *selection,
    const Act **features, gint64 *policy_us, GError **error)
{
  unsigned taps = job->policy->plan_taps | job->policy->select_taps;
  gint64 spent = 0;

  g_assert (vlm_tile_count (&job->input.geometry) <= v->max_tiles);
  if (!vlm_vision_can_tap (v, job->policy, error))
    return FALSE;
  v->full = v->beyond && taps & VLM_TAPS_NEXT;
  job->n_recalled = 0;
  v->chooses = FALSE;
  if (!see (v, job, selection, &spent, error) ||
      !choose (v, job, selection, &spent, error))
    return FALSE;
  if (v->n_kept > 0 && v->deepest == v->n_layers && !v->full)
    finish_last_layer (v);
  *features = v->v;
  if (v->n_out > 0)
    *features = gather_features (v);
  vlm_vision_fetch (v, job->ids);
  if (policy_us)
    *policy_us = spent;
  return vlm_device_status (v->dev, error);
}
