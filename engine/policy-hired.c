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

/* ---- sharing ---- */

typedef struct {
  int n;
  gint64 left;                  /* budget not yet given */
  gint64 weight[VLM_MAX_TILES]; /* 0 once a tile is full */
  gint64 sum;                   /* of the weights */
  gboolean open[VLM_MAX_TILES]; /* may still get some */
} Sharing;

/* Sums what is open; weights that are all zero become the caps. */
static void
weigh (Sharing *s, const int *cap)
{
  for (int round = 0; round < 2; round++) {
    s->sum = 0;
    for (int i = 0; i < s->n; i++)
      if (s->open[i])
        s->sum += s->weight[i];
    if (s->sum > 0)
      return;
    for (int i = 0; i < s->n; i++)
      s->weight[i] = cap[i];
  }
}

/* Fills the tiles whose quota reaches their cap; FALSE when there is none. */
static gboolean
fill_capped (Sharing *s, const int *cap, int *share)
{
  gint64 given = 0;
  gboolean any = FALSE;

  weigh (s, cap);
  for (int i = 0; i < s->n; i++)
    if (s->open[i] && s->left * s->weight[i] >= cap[i] * s->sum) {
      share[i] = cap[i];
      given += cap[i];
      s->open[i] = FALSE;
      any = TRUE;
    }
  s->left -= given;
  return any;
}

static int
largest_remainder (const Sharing *s, const gint64 *remainder)
{
  int best = -1;

  for (int i = 0; i < s->n; i++)
    if (s->open[i] && (best < 0 || remainder[i] > remainder[best]))
      best = i;
  return best;
}

static void
share_rest (Sharing *s, int *share)
{
  gint64 remainder[VLM_MAX_TILES], left = s->left;

  for (int i = 0; i < s->n; i++)
    if (s->open[i]) {
      share[i] = (int) (s->left * s->weight[i] / s->sum);
      remainder[i] = s->left * s->weight[i] % s->sum;
      left -= share[i];
    }
  for (; left > 0; left--) {
    int i = largest_remainder (s, remainder);

    g_return_if_fail (i >= 0);
    share[i]++;
    remainder[i] = -1;
  }
}

void
vlm_hired_allocate (
    int budget, const gint64 *weight, const int *cap, int n, int *share)
{
  Sharing s = { .n = n, .left = budget };

  g_return_if_fail (n <= VLM_MAX_TILES);
  for (int i = 0; i < n; i++) {
    s.weight[i] = weight[i];
    s.open[i] = cap[i] > 0;
    share[i] = 0;
  }
  while (fill_capped (&s, cap, share))
    continue;
  share_rest (&s, share);
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
      g_set_error (error, VLM_ERROR, VLM_ERROR_REQUEST,
          "The first layer's attention to the area of tile %d sums to %g, "
          "expected 0 to %d.",
          i + 1, score[i], MAX_SCORE);
      return FALSE;
    }
    weight[i] = (gint64) floor (score[i] * (1 << 24) + 0.5);
  }
  return TRUE;
}

/* Tokens of each tile that stock packing would keep, [P]; returns their sum
 * without tile 0. */
static int
eligible_tokens (const VlmTileGeometry *g, int *eligible)
{
  VlmCanvas canvas = vlm_canvas_stock (g);
  int sum = 0;

  for (int t = 0; t < vlm_tile_count (g); t++) {
    VlmPatchRect rect = vlm_canvas_tile (&canvas, g, t);

    eligible[t] = vlm_patch_count (&rect);
    sum += t > 0 ? eligible[t] : 0;
  }
  return sum;
}

static gboolean
hired_plan (
    const VlmPolicyInput *input, int *per_tile, gboolean *all, GError **error)
{
  const VlmTileGeometry *g = &input->geometry;
  int eligible[VLM_MAX_TILES], N = g->side * g->side;
  int sub_eligible = eligible_tokens (g, eligible);
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
  vlm_hired_allocate (
      sub, weight, eligible + 1, g->rows * g->cols, per_tile + 1);
  return TRUE;
}

/* ---- select ---- */

static gboolean
hired_select (
    const VlmPolicyInput *input, VlmSelection *selection, GError **error)
{
  const VlmTileGeometry *g = &input->geometry;
  VlmCanvas canvas = vlm_canvas_stock (g);
  VlmPick pick[VLM_MAX_TILES];
  int missing = 0;

  for (int t = 0; t < vlm_tile_count (g); t++) {
    VlmPatchRect rect = vlm_canvas_tile (&canvas, g, t);

    missing += vlm_patch_count (&rect) - selection->per_tile[t];
  }
  selection->packed = missing == 0;
  for (int t = 0; missing && t < vlm_tile_count (g); t++) {
    VlmPatchRect rect = vlm_canvas_tile (&canvas, g, t);

    if (!vlm_pick_tile (
            &pick[t], input, t, &rect, selection->per_tile[t], error))
      return FALSE;
  }
  vlm_canvas_order (&canvas, input, missing ? pick : NULL, selection);
  return TRUE;
}

const VlmPolicy vlm_policy_hired = {
  .name = "hired",
  .nick = "HiRED",
  .blurb = "One layer's attention shares the budget among tiles, another's "
           "spends it (the HiRED paper)",
  .taps = VLM_TAP_CLS_FIRST | VLM_TAP_CLS_LAST,
  .n_params = 1,
  .params = { { "alpha", "Share of the budget that the whole picture gets", 0,
      1, 0.5 } },
  .plan = hired_plan,
  .select = hired_select,
};
