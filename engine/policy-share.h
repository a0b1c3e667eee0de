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

/* Eligible tokens of each tile, [P]; returns their sum. */
int vlm_share_eligible (const VlmTileGeometry *g, int *eligible);

/* The plan of policies that know no better than the geometry: the budget in
 * tokens, divided in proportion to weight[P], NULL meaning evenly, none above
 * eligible[P]. *all when that is everything. Fails as VlmPolicy.plan. */
gboolean vlm_share_plan (const VlmPolicyInput *input, const gint64 *weight,
    const int *eligible, int *per_tile, gboolean *all, GError **error);

/* Whether what the first layer's attention to the area of a tile sums to is a
 * weight (kernels/share.h); else an error of VLM_ERROR_REQUEST. */
gboolean vlm_share_check (int tile, double sum, GError **error);

G_END_DECLS
