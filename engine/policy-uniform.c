/* policy-uniform.c - tokens at even steps, whatever the picture shows
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A baseline. The reference mode is the spatial one of the HiRED paper, as
 * github.com/hasanar1f/HiRED at 502d6dd has it: the step is a whole number,
 * so that 50 % is as much as 40 %, and tokens go the way of hired-reference.
 */
#include "engine/policy-rank.h"
#include "engine/policy-share.h"

enum {
  PARAM_REFERENCE,
};

/* Every `step`-th token but the last is kept; 0: none is. */
static int
reference_step (const VlmPolicyInput *input)
{
  int N = input->geometry.side * input->geometry.side;
  double share = input->budget > 1
                     ? input->budget / vlm_policy_tokens (&input->geometry)
                     : input->budget;
  int wanted = (int) (N * MIN (share, 1));

  return wanted > 0 ? N / wanted : 0;
}

static gboolean
uniform_plan (
    const VlmPolicyInput *input, int *per_tile, gboolean *all, GError **error)
{
  const VlmTileGeometry *g = &input->geometry;
  int eligible[VLM_MAX_TILES], N = g->side * g->side, step;
  gint64 weight[VLM_MAX_TILES];

  vlm_share_eligible (g, eligible);
  for (int t = 0; t < vlm_tile_count (g); t++)
    weight[t] = eligible[t];
  if (!vlm_share_plan (input, weight, eligible, per_tile, all, error))
    return FALSE;
  if (input->param[PARAM_REFERENCE] == 0)
    return TRUE;
  step = reference_step (input);
  for (int t = 0; t < vlm_tile_count (g); t++)
    per_tile[t] = step > 0 ? (N - 1 + step - 1) / step : 0;
  *all = FALSE;
  return TRUE;
}

static void
reference_select (const VlmPolicyInput *input, VlmSelection *selection)
{
  const VlmTileGeometry *g = &input->geometry;
  VlmCanvas canvas = vlm_canvas_transposed (g);
  int N = g->side * g->side, step = reference_step (input), n = 0;

  for (int t = 0; step > 0 && t < vlm_tile_count (g); t++)
    for (int j = 0; j < N - 1; j += step)
      selection->order[n++] = t * N + j;
  selection->n = vlm_rank_pack (&canvas, g, selection->order, n);
  selection->packed = FALSE;
}

static gboolean
uniform_select (
    const VlmPolicyInput *input, VlmSelection *selection, GError **error)
{
  const VlmTileGeometry *g = &input->geometry;
  VlmCanvas canvas = vlm_canvas_stock (g);
  int N = g->side * g->side, *list = selection->work, n = 0;

  if (input->param[PARAM_REFERENCE] != 0) {
    reference_select (input, selection);
    return TRUE;
  }
  if (vlm_pick_everything (input, selection))
    return TRUE;
  for (int t = 0; t < vlm_tile_count (g); t++) {
    int length = vlm_rank_list (&canvas, g, t, list);

    for (int i = 0; i < selection->per_tile[t]; i++)
      selection->order[n++] =
          t * N + list[vlm_rank_spread (i, selection->per_tile[t], length)];
  }
  selection->n = vlm_rank_pack (&canvas, g, selection->order, n);
  return TRUE;
}

const VlmPolicy vlm_policy_uniform = {
  .name = "uniform",
  .nick = "Uniform",
  .blurb = "Tokens at even steps, whatever the picture shows",
  .n_params = 1,
  .params = { { "reference",
      "1: as the spatial baseline of the published HiRED code", 0, 1, 0 } },
  .plan = uniform_plan,
  .select = uniform_select,
};
