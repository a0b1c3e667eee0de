/* policy-hired.c - HiRED as the paper describes it
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Source: Hasan et al., "HiRED: Attention-Guided Token Dropping for Efficient
 * Inference of High-Resolution Vision-Language Models", AAAI 2025, section
 * 4.2, equations 1 and 2. What the paper leaves open is decided here:
 * padding is never kept, a full tile's excess flows to the others, remainders
 * go to the largest fraction, ties to the lowest index. Scores become
 * integers before anything is decided.
 */
#include "engine/policy-hired.h"

#include <math.h>

#include "engine/error.h"
#include "engine/policy-pick.h"
#include "engine/policy-share.h"

/* Largest content score of a tile that cannot overflow below; real ones stay
 * under the number of heads. */
#define MAX_SCORE (1 << 20)

int
vlm_hired_area (const VlmTileGeometry *g, int y, int x)
{
  gint64 S = g->side, unit = 2 * S * g->tile_px;
  gint64 row = (2 * S * g->pad_y + (gint64) g->fit_h * (2 * y + 1)) / unit;
  gint64 col = (2 * S * g->pad_x + (gint64) g->fit_w * (2 * x + 1)) / unit;

  return (int) (1 + row * g->cols + col);
}

/* ---- plan ---- */

/* Equation 1: attention of the first layer over each tile's area, [n]. */
static gboolean
content_scores (const VlmPolicyInput *input, gint64 *weight, GError **error)
{
  const VlmTileGeometry *g = &input->geometry;
  double score[VLM_MAX_TILES] = { 0 };

  for (int y = 0; y < g->side; y++)
    for (int x = 0; x < g->side; x++)
      score[vlm_hired_area (g, y, x) - 1] += input->cls_first[y * g->side + x];

  for (int i = 0; i < g->rows * g->cols; i++) {
    if (!(score[i] >= 0 && score[i] <= MAX_SCORE)) {
      vlm_fail (error, VLM_ERROR_REQUEST, NULL,
          "The first layer's attention to the area of tile %d sums to %g, "
          "expected 0 to %d.",
          i + 1, vlm_shown_sum (score[i]), MAX_SCORE);
      return FALSE;
    }
    weight[i] = (gint64) floor (score[i] * (1 << 24) + 0.5);
  }
  return TRUE;
}

static gboolean
hired_plan (
    const VlmPolicyInput *input, int *per_tile, gboolean *all, GError **error)
{
  const VlmTileGeometry *g = &input->geometry;
  int eligible[VLM_MAX_TILES], N = g->side * g->side;
  int sub_eligible = vlm_share_eligible (g, eligible) - N;
  gint64 weight[VLM_MAX_TILES] = { 0 };
  int total, full, sub;

  if (!vlm_budget_tokens (input, 1e-6, N + sub_eligible, &total, error))
    return FALSE;
  full = MIN ((int) (input->param[0] * total + 1e-6), N);
  full = MAX (full, total - sub_eligible);
  sub = total - full;
  *all = total == N + sub_eligible;

  if (sub > 0 && sub < sub_eligible && !content_scores (input, weight, error))
    return FALSE;
  per_tile[0] = full;
  vlm_share_tokens (sub, weight, eligible + 1, g->rows * g->cols, per_tile + 1);
  return TRUE;
}

/* ---- choice ---- */

static VlmCanvas
hired_canvas (const VlmPolicyInput *input)
{
  return vlm_canvas_stock (&input->geometry);
}

const VlmPolicy vlm_policy_hired = {
  .name = "hired",
  .nick = "HiRED",
  .blurb = "One layer's attention shares the budget among tiles, another's "
           "spends it (the HiRED paper)",
  .plan_taps = VLM_TAP_CLS_FIRST,
  .select_taps = VLM_TAP_CLS_LAST,
  .n_params = 1,
  .params = { { "alpha", "Share of the budget that the whole picture gets", 0,
      1, 0.5 } },
  .plan = hired_plan,
  .best_of = hired_canvas,
};
