/* policy-rank.h - tokens as lists: those of a tile, the best of them, in order
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * For policies that merge or sample, whose tokens are no threshold of a score.
 * Nothing here allocates; ties go to the lower index.
 */
#pragma once

#include <glib.h>
#include "engine/policy-pick.h"

G_BEGIN_DECLS

/* Patches j of tile t that the canvas uses, ascending: list[N]. Returns how
 * many. */
int vlm_rank_list (
    const VlmCanvas *canvas, const VlmTileGeometry *g, int t, int *list);

/* The k best of n candidates by score[candidate], best first, in best[k];
 * 0 <= k <= n, best may be the list itself if k is n. FALSE and an error if
 * the score of a candidate is not a number. */
gboolean vlm_rank_best (const float *score, const int *candidate, int n, int k,
    int *best, GError **error);

/* Sorts ids of patches into packing order: tile 0 ascending, then the canvas
 * in raster order. Those that the canvas does not use are left out; returns
 * how many remain. */
int vlm_rank_pack (
    const VlmCanvas *canvas, const VlmTileGeometry *g, int *ids, int n);

/* Position i of n in a list of `length`, evenly spread: exact, 0 <= i < n. */
static inline int
vlm_rank_spread (int i, int n, int length)
{
  return (int) ((gint64) (2 * i + 1) * length / (2 * n));
}

G_END_DECLS
