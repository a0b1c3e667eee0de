/* policy-hired.h - the steps of HiRED that can be tested alone
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <glib.h>
#include "engine/policy.h"

G_BEGIN_DECLS

/* Tile (1 ..) whose area the centre of patch (y,x) of tile 0 lies in. The
 * whole picture is squeezed to a square there, but letterboxed on the grid. */
int vlm_hired_area (const VlmTileGeometry *g, int y, int x);

/* Shares `budget` among n <= VLM_MAX_TILES tiles in proportion to weight[n],
 * none above cap[n], by largest remainder, ties to the lower tile. A capped
 * tile's excess goes to the others; weights that are all zero count as the
 * caps. budget <= sum of caps; share[n] adds up to it. Products of budget or
 * a cap with the sum of the weights must fit 63 bits. */
void vlm_hired_allocate (
    int budget, const gint64 *weight, const int *cap, int n, int *share);

G_END_DECLS
