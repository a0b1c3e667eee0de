/* policy-fastervlm.c - the last layer's best tokens, as many of every tile
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Source: Zhang et al., "[CLS] Attention is All You Need for Training-Free
 * Visual Token Pruning: Make VLM Inference Faster" (FasterVLM), and
 * github.com/Theia-4869/FasterVLM. Heads are averaged there and added here,
 * which ranks alike. With one tile it is HiRED.
 */
#include "engine/policy-pick.h"
#include "engine/policy-share.h"

enum {
  PARAM_REFERENCE,
};

static VlmCanvas
canvas_of (const VlmPolicyInput *input)
{
  const VlmTileGeometry *g = &input->geometry;
  VlmCanvas canvas = vlm_canvas_stock (g);

  if (input->param[PARAM_REFERENCE] != 0) {
    canvas = vlm_canvas_whole (g);
    canvas.bare = g->rows > 0; /* the authors insert no newlines */
  }
  return canvas;
}

/* The authors' code takes a number of tokens per tile; here the share of a
 * tile, rounded. */
static gboolean
reference_plan (
    const VlmPolicyInput *input, int *per_tile, gboolean *all, GError **error)
{
  const VlmTileGeometry *g = &input->geometry;
  int n = vlm_tile_count (g), N = g->side * g->side, total;

  if (!vlm_budget_tokens (input, 0.5 * n, n * N, &total, error))
    return FALSE;
  for (int t = 0; t < n; t++)
    per_tile[t] = total / n;
  *all = n == 1 && total == N;
  return TRUE;
}

static gboolean
fastervlm_plan (
    const VlmPolicyInput *input, int *per_tile, gboolean *all, GError **error)
{
  int eligible[VLM_MAX_TILES];

  if (input->param[PARAM_REFERENCE] != 0)
    return reference_plan (input, per_tile, all, error);
  vlm_share_eligible (&input->geometry, eligible);
  return vlm_share_plan (input, NULL, eligible, per_tile, all, error);
}

const VlmPolicy vlm_policy_fastervlm = {
  .name = "fastervlm",
  .nick = "FasterVLM",
  .blurb = "As many of every tile, the best by the last layer's class "
           "attention (FasterVLM)",
  .select_taps = VLM_TAP_CLS_LAST,
  .n_params = 1,
  .params = { { "reference",
      "1: as the authors' code, padding included and shares rounded", 0, 1,
      0 } },
  .plan = fastervlm_plan,
  .best_of = canvas_of,
};
