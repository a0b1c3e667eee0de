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

#include "engine/policy-pick.h"
#include "engine/policy-share.h"
#include "kernels/share.h"

int
vlm_hired_area (const VlmTileGeometry *g, int y, int x)
{
  gint64 S = g->side, unit = 2 * S * g->tile_px;
  gint64 row = (2 * S * g->pad_y + (gint64) g->fit_h * (2 * y + 1)) / unit;
  gint64 col = (2 * S * g->pad_x + (gint64) g->fit_w * (2 * x + 1)) / unit;

  return (int) (1 + row * g->cols + col);
}

/* ---- plan ---- */

/* The patches of tile 0 whose centres lie in tile t: a rectangle, as rows and
 * columns are told apart alone. */
static PatchRect
hired_area (const VlmPolicyInput *input, int t)
{
  const VlmTileGeometry *g = &input->geometry;
  int row = (t - 1) / g->cols, col = (t - 1) % g->cols;
  PatchRect area = { 0 };

  for (int i = 0; i < g->side; i++) {
    int of_row = (vlm_hired_area (g, i, 0) - 1) / g->cols;
    int of_col = (vlm_hired_area (g, 0, i) - 1) % g->cols;

    area.y0 += of_row < row;
    area.y1 += of_row <= row;
    area.x0 += of_col < col;
    area.x1 += of_col <= col;
  }
  return area;
}

/* Equation 1: attention of the first layer over each tile's area, [n]. */
static gboolean
content_scores (const VlmPolicyInput *input, gint64 *weight, GError **error)
{
  const VlmTileGeometry *g = &input->geometry;

  for (int t = 1; t < vlm_tile_count (g); t++) {
    PatchRect area = hired_area (input, t);
    double sum = share_sum (input->cls_first, &area, g->side);

    if (!vlm_share_check (t, sum, error))
      return FALSE;
    weight[t - 1] = share_weight (sum);
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
  Sharing sharing = { .n = g->rows * g->cols };
  int total, full, sub;

  if (!vlm_budget_tokens (input, 1e-6, N + sub_eligible, &total, error))
    return FALSE;
  full = MIN ((int) (input->param[0] * total + 1e-6), N);
  full = MAX (full, total - sub_eligible);
  sub = total - full;
  *all = total == N + sub_eligible;

  if (input->cls_first && sub > 0 && sub < sub_eligible &&
      !content_scores (input, sharing.weight, error))
    return FALSE;
  per_tile[0] = full;
  memcpy (sharing.cap, eligible + 1, sharing.n * sizeof *sharing.cap);
  share_out (&sharing, sub);
  memcpy (per_tile + 1, sharing.share, sharing.n * sizeof *per_tile);
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
  .area = hired_area,
  .best_of = hired_canvas,
};
