/* policy-share.h - a budget divided among the tiles of a picture
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Integers only. Eligible are the tokens that stock packing would keep: all
 * but padding.
 */
#pragma once

#include <glib.h>
#include "engine/policy.h"

G_BEGIN_DECLS

/* Shares `budget` among n <= VLM_MAX_TILES tiles in proportion to weight[n],
 * none above cap[n], by largest remainder, ties to the lower tile. A capped
 * tile's excess goes to the others; weights that are all zero count as the
 * caps. budget <= sum of caps; share[n] adds up to it. Products of budget or
 * a cap with the sum of the weights must fit 63 bits. */
void vlm_share_tokens (
    int budget, const gint64 *weight, const int *cap, int n, int *share);

/* Eligible tokens of each tile, [P]; returns their sum. */
int vlm_share_eligible (const VlmTileGeometry *g, int *eligible);

/* The plan of policies that know no better than the geometry: the budget in
 * tokens, divided in proportion to weight[P], NULL meaning evenly, none above
 * eligible[P]. *all when that is everything. Fails as VlmPolicy.plan. */
gboolean vlm_share_plan (const VlmPolicyInput *input, const gint64 *weight,
    const int *eligible, int *per_tile, gboolean *all, GError **error);

G_END_DECLS
