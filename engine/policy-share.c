/* policy-share.c - a budget divided among the tiles of a picture
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/policy-share.h"

#include "engine/error.h"
#include "engine/policy-pick.h"
#include "kernels/share.h"

G_STATIC_ASSERT (VLM_MAX_TILES <= SHARE_MAX_TILES);

gboolean
vlm_share_check (int tile, double sum, GError **error)
{
  if (share_weight (sum) >= 0)
    return TRUE;
  return vlm_fail (error, VLM_ERROR_REQUEST, NULL,
      "The first layer's attention to the area of tile %d sums to %g, "
      "expected 0 to %d.",
      tile, vlm_shown_sum (sum), SHARE_MAX_SUM);
}

int
vlm_share_eligible (const VlmTileGeometry *g, int *eligible)
{
  VlmCanvas canvas = vlm_canvas_stock (g);
  int sum = 0;

  for (int t = 0; t < vlm_tile_count (g); t++) {
    PatchRect rect = vlm_canvas_tile (&canvas, g, t);

    sum += eligible[t] = vlm_patch_count (&rect);
  }
  return sum;
}

gboolean
vlm_share_plan (const VlmPolicyInput *input, const gint64 *weight,
    const int *eligible, int *per_tile, gboolean *all, GError **error)
{
  Sharing sharing = { .n = vlm_tile_count (&input->geometry) };
  int sum = 0, total;

  for (int t = 0; t < sharing.n; t++) {
    sum += eligible[t];
    sharing.cap[t] = eligible[t];
    sharing.weight[t] = weight ? weight[t] : 1;
  }
  if (!vlm_budget_tokens (input, 1e-6, sum, &total, error))
    return FALSE;
  share_out (&sharing, total);
  memcpy (per_tile, sharing.share, sharing.n * sizeof *per_tile);
  *all = total == sum;
  return TRUE;
}
