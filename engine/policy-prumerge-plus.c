/* policy-prumerge-plus.c - PruMerge, and tokens at even steps besides
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * "Even" is meant along the list of tokens, not over the picture. The more
 * outliers a tile has, the closer the steps: from a sixth of the tokens on,
 * nothing is dropped but perhaps the last.
 */
#include "engine/policy-prumerge.h"

#include <math.h>

#include "engine/policy-rank.h"

#define PARAM_ATTENTION VLM_PRUMERGE_N_PARAMS

/* Three samples for each outlier, those among them that are kept already
 * not replaced. */
static void
choose_adaptive (const VlmPolicyInput *input, VlmPrumergeTile *tile)
{
  int m = MAX (vlm_prumerge_outliers (tile), 1), step;
  int n_ranked = vlm_prumerge_rounded (input, tile, m);

  for (int i = 0; i < n_ranked; i++)
    vlm_prumerge_keep (tile, tile->ranked[i]);
  step = MAX ((int) (1 / ((double) m / tile->n)) / 3, 1);
  for (int i = 0; i < tile->n - 1; i += step)
    if (!tile->is_kept[tile->list[i]])
      vlm_prumerge_keep (tile, tile->list[i]);
}

/* A part by attention, the others spread over the tokens that are left. */
static void
choose_plus (const VlmPolicyInput *input, VlmPrumergeTile *tile, int most)
{
  int n_outliers, n_left = 0, *left = tile->ranked;

  if (most < 0) {
    choose_adaptive (input, tile);
    return;
  }
  n_outliers = (int) ceil (input->param[PARAM_ATTENTION] * most - 1e-6);
  for (int i = 0; i < n_outliers; i++)
    vlm_prumerge_keep (tile, tile->ranked[i]);
  for (int i = 0; i < tile->n; i++)
    if (!tile->is_kept[tile->list[i]])
      left[n_left++] = tile->list[i];
  for (int i = 0; i < most - n_outliers; i++)
    vlm_prumerge_keep (
        tile, left[vlm_rank_spread (i, most - n_outliers, n_left)]);
}

static gboolean
prumerge_plus_select (
    const VlmPolicyInput *input, VlmSelection *selection, GError **error)
{
  return vlm_prumerge_select (input, selection, choose_plus, error);
}

const VlmPolicy vlm_policy_prumerge_plus = {
  .name = "prumerge-plus",
  .nick = "PruMerge+",
  .blurb = "PruMerge, and tokens at even steps besides (PruMerge+)",
  .select_taps = VLM_TAP_CLS_NEXT | VLM_TAP_COSINES_NEXT,
  .n_params = VLM_PRUMERGE_N_PARAMS + 1,
  .params = { VLM_PRUMERGE_PARAMS,
      { "attention",
          "Not adaptive: share of the kept tokens that attention chooses, the "
          "others are at even steps",
          0, 1, 0.25 } },
  .plan = vlm_prumerge_plan,
  .select = prumerge_plus_select,
  .entries = vlm_prumerge_entries,
};
