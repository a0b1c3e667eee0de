/* policy-all.c - keep everything: the unmodified model
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/policy-pick.h"

static gboolean
all_plan (
    const VlmPolicyInput *input, int *per_tile, gboolean *all, GError **error)
{
  const VlmTileGeometry *g = &input->geometry;
  VlmCanvas canvas = vlm_canvas_stock (g);

  for (int t = 0; t < vlm_tile_count (g); t++) {
    PatchRect rect = vlm_canvas_tile (&canvas, g, t);

    per_tile[t] = vlm_patch_count (&rect);
  }
  *all = TRUE;
  return TRUE;
}

static gboolean
all_select (
    const VlmPolicyInput *input, VlmSelection *selection, GError **error)
{
  VlmCanvas canvas = vlm_canvas_stock (&input->geometry);

  vlm_canvas_order (&canvas, input, NULL, selection);
  selection->packed = TRUE;
  return TRUE;
}

const VlmPolicy vlm_policy_all = {
  .name = "all",
  .nick = "Keep Everything",
  .blurb = "Keeps every token, as the unmodified model does",
  .plan = all_plan,
  .select = all_select,
};
