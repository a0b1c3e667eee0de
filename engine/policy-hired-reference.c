/* policy-hired-reference.c - HiRED as the authors' code runs it
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Source: github.com/hasanar1f/HiRED at 502d6dd, modeling_llava_next.py and
 * modeling_llava.py. Kept for comparison, its oddities included: content is
 * counted in horizontal bands, the grid is stitched transposed and then
 * unpadded with the picture's size, padding competes for budget, remainders
 * are lost, newlines are never inserted. Roundings to float32 are the
 * code's. Ties go to the lowest index, there they go to whatever topk gives.
 */
#include "engine/policy-pick.h"

#include <math.h>

#include "engine/error.h"

enum {
  PARAM_ALPHA,
  PARAM_INIT_TOPK,
};

/* How many of the k best tokens of the first layer lie in each band, a run of
 * N / n of the flattened tile; returns how many were counted. */
static int
count_bands (const VlmPolicyInput *input, VlmPick *top, int n, int *count)
{
  int N = input->geometry.side * input->geometry.side, sum = 0;

  for (int i = 0; i < n; i++) {
    count[i] = 0;
    for (int j = i * N / n; j < (i + 1) * N / n; j++)
      count[i] += vlm_pick_takes (top, input->cls_first[j]);
    sum += count[i];
  }
  return sum;
}

static int
init_topk (const VlmPolicyInput *input, int N)
{
  int k = (int) input->param[PARAM_INIT_TOPK];

  return k > 0 ? MIN (k, N) : (int) (N * (1 - input->param[PARAM_ALPHA]));
}

static gboolean
share_by_bands (
    const VlmPolicyInput *input, int sub, int *per_tile, GError **error)
{
  const VlmTileGeometry *g = &input->geometry;
  PatchRect whole = { 0, g->side, 0, g->side };
  int count[VLM_MAX_TILES], n = g->rows * g->cols, N = g->side * g->side;
  VlmPick top;
  int sum;

  if (!vlm_pick_init (&top, input->cls_first, g->side, &whole,
          init_topk (input, N), error)) {
    g_prefix_error (error, vlm_text ("Tile 0, first layer: "));
    return FALSE;
  }
  sum = count_bands (input, &top, n, count);
  for (int i = 0; i < n; i++) {
    float ratio = sum > 0 ? (float) count[i] / (float) sum : 0.0f;
    float share = ratio * (float) sub;

    per_tile[i] = MIN ((int) share, N);
  }
  return TRUE;
}

static gboolean
reference_plan (
    const VlmPolicyInput *input, int *per_tile, gboolean *all, GError **error)
{
  const VlmTileGeometry *g = &input->geometry;
  int N = g->side * g->side, n = g->rows * g->cols;
  int bound = vlm_policy_tokens (g), total, full, sub;

  if (!vlm_budget_tokens (input, 0.0, bound, &total, error))
    return FALSE;
  *all = total == bound && n == 0;
  if (total == bound || n == 0) {
    for (int t = 0; t <= n; t++)
      per_tile[t] = n == 0 ? total : N;
    return TRUE;
  }
  full = MIN ((int) (total * input->param[PARAM_ALPHA]), N);
  sub = MIN (total - full, n * N);
  per_tile[0] = full;
  return share_by_bands (input, sub, per_tile + 1, error);
}

static gboolean
reference_select (
    const VlmPolicyInput *input, VlmSelection *selection, GError **error)
{
  const VlmTileGeometry *g = &input->geometry;
  PatchRect whole = { 0, g->side, 0, g->side };
  VlmCanvas canvas = vlm_canvas_transposed (g);
  VlmPick pick[VLM_MAX_TILES];
  int N = g->side * g->side, dropped = 0;

  for (int t = 0; t < vlm_tile_count (g); t++)
    dropped += N - selection->per_tile[t];
  for (int t = 0; dropped && t < vlm_tile_count (g); t++)
    if (!vlm_pick_tile (
            &pick[t], input, t, &whole, selection->per_tile[t], error))
      return FALSE;
  vlm_canvas_order (&canvas, input, dropped ? pick : NULL, selection);
  selection->packed = !dropped && g->rows == 0;
  return TRUE;
}

const VlmPolicy vlm_policy_hired_reference = {
  .name = "hired-reference",
  .nick = "HiRED, Authors' Code",
  .blurb = "What the published HiRED code keeps, for comparison",
  .plan_taps = VLM_TAP_CLS_FIRST,
  .select_taps = VLM_TAP_CLS_LAST,
  .n_params = 2,
  .params = { { "alpha", "Share of the budget that the whole picture gets", 0,
                  1, 0.5 },
      { "init-topk",
          "Tokens of the first layer that vote on the tiles' shares; 0: "
          "N (1 - alpha)",
          0, 65536, 0 } },
  .plan = reference_plan,
  .select = reference_select,
};
