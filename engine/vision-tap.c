/* vision-tap.c - what the encoder records for a policy
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/vision-private.h"

#include <math.h>

#include "engine/error.h"

gboolean
vlm_vision_can_tap (const VlmVision *v, const VlmPolicy *policy, GError **error)
{
  unsigned taps = policy->plan_taps | policy->select_taps;
  VlmErrorDetails about = { .setting = "policy", .found = policy->name };

  if (taps & VLM_TAPS_NEXT && v->beyond && !v->has_beyond)
    return vlm_fail (error, VLM_ERROR_SETTINGS, &about,
        "The policy %s reads the keys of layer %d of the image encoder, which "
        "the checkpoint does not have: its layers end with %d, the last whose "
        "output is used.",
        policy->name, v->n_layers, v->n_layers - 1);
  if (taps & VLM_TAP_COSINES_NEXT && !v->cosine)
    return vlm_fail (error, VLM_ERROR_SETTINGS, &about,
        "The policy %s compares all patches of a tile with each other, "
        "expected at most %d of them, found %d.",
        policy->name, VISION_MAX_COMPARED, v->config.n_patches);
  return TRUE;
}

void
vlm_vision_offer (const VlmVision *v, unsigned taps, VlmPolicyInput *input)
{
  if (v->sharing != VISION_PLAN_SHARES)
    taps &= ~VLM_TAP_CLS_FIRST;
  input->cls_first = taps & VLM_TAP_CLS_FIRST ? v->cls_first : NULL;
  input->cls_last = taps & VLM_TAP_CLS_LAST ? v->cls_last : NULL;
  input->key = taps & VLM_TAP_KEYS_LAST ? v->key : NULL;
  input->key_width = v->config.width / v->config.heads;
  input->cls_next = taps & VLM_TAP_CLS_NEXT ? v->cls_next : NULL;
  input->cosine = taps & VLM_TAP_COSINES_NEXT ? v->cosine : NULL;
  input->near = taps & VLM_TAP_NEAR_LAST ? v->near : NULL;
}

/* `from`, device, `count` numbers of each live tile, to the host, by tile: as
 * many tiles at a time as follow each other, since the host waits for each
 * download. */
static void
fetch (VlmVision *v, const VisionRows *w, const float *from, gsize count,
    float *host)
{
  int run;

  for (int i = 0; i < w->n_tiles; i += run) {
    const int *tile = &v->live[w->first + i];

    for (run = 1; i + run < w->n_tiles && tile[run] == tile[0] + run; run++)
      continue;
    device_download (v->dev, host + tile[0] * count, from + i * count,
        run * count * sizeof (float));
  }
}

/* The class token's attention in layer l to v->score, and from there to
 * score[.,N], host, by tile; or NULL. */
static void
tap_class (VlmVision *v, const VisionLayer *l, const VisionRows *w, int heads,
    float *score)
{
  const Ops *op = v->dev->op;
  int N = v->config.n_patches, C = v->config.width, n = w->n_tiles;

  op->gather_rows (
      v->dev, v->class_x, w->xb, v->tile_start, n, C * v->dev->act_bytes);
  op->matmul (v->dev, v->class_q, v->class_x, &l->q, n, EPILOGUE_WIDE);
  op->cls_attention (v->dev, v->score, v->class_q, w->wide_k, n, N, heads,
      C / heads, 1 / sqrtf ((float) C / heads));
  if (score)
    fetch (v, w, v->score, N, score);
}

void
vlm_vision_tap_first (VlmVision *v, const VisionRows *w)
{
  tap_class (v, &v->layers[0], w, v->config.heads,
      v->sharing == VISION_PLAN_SHARES ? v->cls_first : NULL);
}

/* Keys of the patches of the i-th tile. */
static const Act *
patch_keys (const VlmVision *v, const VisionRows *w, int i)
{
  gsize row = (gsize) i * vlm_vision_tile_rows (v) + 1;

  return act_at (v->dev, w->k, row * v->config.width);
}

static void
tap_keys (VlmVision *v, const VisionRows *w)
{
  int N = v->config.n_patches, heads = v->config.heads;
  int c = v->config.width / heads;
  gsize count = (gsize) N * c;

  for (int i = 0; i < w->n_tiles; i++) {
    v->dev->op->mean_heads (
        v->dev, v->hidden, patch_keys (v, w, i), N, heads, c);
    device_download (v->dev, v->key + v->live[w->first + i] * count, v->hidden,
        count * sizeof (float));
  }
}

static void
tap_cosines (VlmVision *v, const VisionRows *w)
{
  int N = v->config.n_patches;
  gsize count = (gsize) N * N;

  for (int i = 0; i < w->n_tiles; i++) {
    v->dev->op->cosines (
        v->dev, v->hidden, patch_keys (v, w, i), N, v->config.width);
    device_download (v->dev, v->cosine + v->live[w->first + i] * count,
        v->hidden, count * sizeof (float));
  }
}

/* What neighbours bring to the last layer. */
static void
tap_near (VlmVision *v, const VisionRows *w)
{
  float *near = (float *) v->hidden;

  v->dev->op->near_cosines (
      v->dev, near, w->xb, w->n_tiles, v->config.side, v->config.width);
  fetch (v, w, near, 4 * v->config.n_patches, v->near);
}

void
vlm_vision_tap_last (VlmVision *v, const VisionRows *w, unsigned taps)
{
  if (taps & VLM_TAP_CLS_LAST)
    tap_class (v, &v->layers[v->n_layers - 1], w, v->config.heads,
        v->chooses ? NULL : v->cls_last);
  if (taps & VLM_TAP_KEYS_LAST)
    tap_keys (v, w);
  if (taps & VLM_TAP_NEAR_LAST)
    tap_near (v, w);
}

void
vlm_vision_tap_next (VlmVision *v, const VisionRows *w, unsigned taps)
{
  int next = v->has_beyond ? v->n_layers : v->n_layers - 1;

  if (taps & VLM_TAP_CLS_NEXT)
    tap_class (v, &v->layers[next], w, 1, v->cls_next);
  if (taps & VLM_TAP_COSINES_NEXT)
    tap_cosines (v, w);
}
