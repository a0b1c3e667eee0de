/* policy-prumerge.c - tokens of outlying attention, the others merged in
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/policy-prumerge.h"

#include <string.h>

#include "engine/error.h"
#include "engine/policy-merge.h"
#include "engine/policy-rank.h"
#include "engine/policy-share.h"

static gboolean
is_reference (const VlmPolicyInput *input)
{
  return input->param[VLM_PRUMERGE_REFERENCE] != 0;
}

gboolean
vlm_prumerge_is_adaptive (const VlmPolicyInput *input)
{
  return is_reference (input) || input->param[VLM_PRUMERGE_ADAPTIVE] != 0;
}

static VlmCanvas
canvas_of (const VlmPolicyInput *input)
{
  const VlmTileGeometry *g = &input->geometry;

  return is_reference (input) ? vlm_canvas_whole (g) : vlm_canvas_stock (g);
}

/* An adaptive tile has as many rows as its attention says, at most one for
 * each token and one more. */
gboolean
vlm_prumerge_plan (
    const VlmPolicyInput *input, int *per_tile, gboolean *all, GError **error)
{
  const VlmTileGeometry *g = &input->geometry;
  VlmCanvas canvas = canvas_of (input);
  int eligible[VLM_MAX_TILES];

  vlm_share_eligible (g, eligible);
  if (!vlm_share_plan (input, NULL, eligible, per_tile, all, error))
    return FALSE;
  if (!vlm_prumerge_is_adaptive (input))
    return TRUE;
  for (int t = 0; t < vlm_tile_count (g); t++) {
    PatchRect rect = vlm_canvas_tile (&canvas, g, t);
    int n = vlm_patch_count (&rect);

    per_tile[t] = n > 0 ? n + 1 : 0;
  }
  *all = FALSE;
  return TRUE;
}

/* ---- what is kept ---- */

/* numpy's percentile: linear between the two values around it. */
static double
percentile (const VlmPrumergeTile *tile, double share)
{
  double at = share * (tile->n - 1), part, low, high;
  int i = (int) at;

  part = at - i;
  low = tile->a[tile->ranked[tile->n - 1 - i]];
  high = i + 1 < tile->n ? tile->a[tile->ranked[tile->n - 2 - i]] : low;
  return part < 0.5 ? low + (high - low) * part
                    : high - (high - low) * (1 - part);
}

int
vlm_prumerge_outliers (const VlmPrumergeTile *tile)
{
  double q1 = percentile (tile, 0.25), q3 = percentile (tile, 0.75);
  double fence = q3 + 1.5 * (q3 - q1);
  int m = 0;

  while (m < tile->n && tile->a[tile->ranked[m]] > fence)
    m++;
  return m;
}

int
vlm_prumerge_rounded (
    const VlmPolicyInput *input, const VlmPrumergeTile *tile, int m)
{
  return is_reference (input) ? (int) (tile->n * ((double) m / tile->n))
                              : MAX (m, 1);
}

void
vlm_prumerge_keep (VlmPrumergeTile *tile, int j)
{
  tile->kept[tile->n_kept++] = j;
  tile->is_kept[j] = TRUE;
}

static void
choose_outliers (const VlmPolicyInput *input, VlmPrumergeTile *tile, int most)
{
  int n = most >= 0 ? most
                    : vlm_prumerge_rounded (
                          input, tile, vlm_prumerge_outliers (tile));

  for (int i = 0; i < n; i++)
    vlm_prumerge_keep (tile, tile->ranked[i]);
}

/* ---- what is merged ---- */

/* The row of kept token j. `first` is the id of the tile's first patch. */
static gboolean
add_kept (const VlmPolicyInput *input, VlmPrumergeTile *tile,
    VlmSelection *selection, int first, int j, GError **error)
{
  gsize N = input->geometry.side * input->geometry.side;
  const float *cosine = input->cosine + (first + j) * N;
  int wanted = MIN ((int) input->param[VLM_PRUMERGE_NEIGHBOURS], tile->n - 1);
  int *nearest = tile->ranked; /* done with */

  /* One more than wanted, for the token is its own neighbour. */
  if (!vlm_rank_best (
          cosine, tile->list, tile->n, wanted + 1, nearest, error)) {
    g_prefix_error (
        error, vlm_text ("Cosines with the key of token %d: "), first + j);
    return FALSE;
  }
  vlm_merge_token (selection, first + j);
  for (int i = 0; wanted > 0; i++)
    if (nearest[i] != j) {
      vlm_merge_add (selection, first + nearest[i], tile->a[nearest[i]]);
      wanted--;
    }
  return TRUE;
}

static void
add_extra (VlmPrumergeTile *tile, VlmSelection *selection, int first)
{
  vlm_merge_row (selection, -1);
  for (int i = 0; i < tile->n; i++)
    if (!tile->is_kept[tile->list[i]])
      vlm_merge_add (selection, first + tile->list[i], tile->a[tile->list[i]]);
}

static gboolean
merge_tile (const VlmPolicyInput *input, VlmSelection *selection, int t,
    VlmPrumergeChoose choose, GError **error)
{
  const VlmTileGeometry *g = &input->geometry;
  VlmCanvas canvas = canvas_of (input);
  int N = g->side * g->side, *work = selection->work;
  VlmPrumergeTile tile = { .a = input->cls_next + t * N,
    .n = vlm_rank_list (&canvas, g, t, work),
    .list = work,
    .ranked = work + N,
    .kept = work + 2 * N,
    .is_kept = work + 3 * N };

  memset (tile.is_kept, 0, N * sizeof (int));
  if (!vlm_rank_best (tile.a, tile.list, tile.n, tile.n, tile.ranked, error)) {
    g_prefix_error (error, vlm_text ("Tile %d, class attention: "), t);
    return FALSE;
  }
  choose (input, &tile,
      vlm_prumerge_is_adaptive (input) ? -1 : selection->per_tile[t] - 1);
  for (int i = 0; i < tile.n_kept; i++)
    if (!add_kept (input, &tile, selection, t * N, tile.kept[i], error))
      return FALSE;
  if (tile.n_kept < tile.n || is_reference (input))
    add_extra (&tile, selection, t * N);
  return TRUE;
}

gboolean
vlm_prumerge_select (const VlmPolicyInput *input, VlmSelection *selection,
    VlmPrumergeChoose choose, GError **error)
{
  if (!vlm_prumerge_is_adaptive (input) &&
      vlm_pick_everything (input, selection))
    return TRUE;
  vlm_merge_init (selection);
  for (int t = 0; t < vlm_tile_count (&input->geometry); t++) {
    int before = selection->n;

    if (selection->per_tile[t] > 0 &&
        !merge_tile (input, selection, t, choose, error))
      return FALSE;
    selection->per_tile[t] = selection->n - before;
  }
  return TRUE;
}

/* A row for each patch, and every patch once more in a tile's extra row. */
int
vlm_prumerge_entries (const VlmPolicyInput *input)
{
  int N = input->geometry.side * input->geometry.side;
  int row = 1 + MIN ((int) input->param[VLM_PRUMERGE_NEIGHBOURS], N - 1);

  return vlm_policy_tokens (&input->geometry) * (row + 1);
}

static gboolean
prumerge_select (
    const VlmPolicyInput *input, VlmSelection *selection, GError **error)
{
  return vlm_prumerge_select (input, selection, choose_outliers, error);
}

const VlmPolicy vlm_policy_prumerge = {
  .name = "prumerge",
  .nick = "PruMerge",
  .blurb = "Tokens of outlying class attention, their neighbours and the rest "
           "merged in (PruMerge)",
  .select_taps = VLM_TAP_CLS_NEXT | VLM_TAP_COSINES_NEXT,
  .n_params = VLM_PRUMERGE_N_PARAMS,
  .params = { VLM_PRUMERGE_PARAMS },
  .plan = vlm_prumerge_plan,
  .select = prumerge_select,
  .entries = vlm_prumerge_entries,
};
